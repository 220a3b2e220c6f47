//! The workspace as a web page: what is in it as JSON, changes as server-sent events, presses by whoever one acts as.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Deserialize;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::Shared;
use super::command::NAME;
use super::press::Press;

const HTML: &str = include_str!("assets/page.html");
const CSS: &str = include_str!("assets/page.css");
const JS: &str = include_str!("assets/page.js");
const COOKIE: &str = "standin";
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

fn equal(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// Whether a request comes from the page that the printed address opened: right host, no foreign origin, the cookie.
fn let_in(shared: &Shared, headers: &HeaderMap) -> Result<(), StatusCode> {
    let text = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let hosts = [format!("127.0.0.1:{}", shared.address.port()), format!("localhost:{}", shared.address.port())];
    if !text(header::HOST).is_some_and(|h| hosts.iter().any(|known| known == h)) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    if text(header::ORIGIN).is_some_and(|o| !hosts.iter().any(|h| o == format!("http://{h}"))) {
        return Err(StatusCode::FORBIDDEN);
    }
    let cookies = text(header::COOKIE).unwrap_or_default();
    let ours = cookies.split(';').filter_map(|c| c.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
    if ours.is_some_and(|(_, value)| equal(value, &shared.options.page_token)) {
        Ok(())
    } else {
        Err(StatusCode::FORBIDDEN)
    }
}

/// The token in the printed address.
#[derive(Deserialize)]
pub struct Token {
    token: Option<String>,
}

/// `GET /`: with the token it sets the cookie and drops the token from the address; with the cookie it shows the page.
pub async fn index(State(shared): State<Arc<Shared>>, Query(token): Query<Token>, headers: HeaderMap) -> Response {
    if let Some(token) = token.token {
        if !equal(&token, &shared.options.page_token) {
            return (
                StatusCode::FORBIDDEN,
                "This address belongs to another run of the demo; use the one that it printed last.",
            )
                .into_response();
        }
        let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict");
        return (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, "/".to_owned())])
            .into_response();
    }
    match let_in(&shared, &headers) {
        Ok(()) => (HEADERS, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], HTML).into_response(),
        Err(status) => {
            (status, "Open the address that the demo printed; it has the token that this page needs.").into_response()
        }
    }
}

/// `GET /page.css`.
pub async fn css() -> Response {
    (HEADERS, [(header::CONTENT_TYPE, "text/css; charset=utf-8")], CSS).into_response()
}

/// `GET /page.js`.
pub async fn js() -> Response {
    (HEADERS, [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], JS).into_response()
}

/// `GET /state`: the workspace.
///
/// # Errors
/// 403 without the cookie.
pub async fn state(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, StatusCode> {
    let_in(&shared, &headers)?;
    let state = serde_json::to_string(&*shared.workspace()).unwrap_or_default();
    Ok((HEADERS, [(header::CONTENT_TYPE, "application/json")], state).into_response())
}

/// `GET /changes`: an event whenever something may look different.
///
/// # Errors
/// 403 without the cookie.
pub async fn changes(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, StatusCode> {
    let_in(&shared, &headers)?;
    let events = stream::unfold(shared.changes.subscribe(), async |mut changes| {
        changes.changed().await.ok()?;
        let number = *changes.borrow_and_update();
        Some((Ok::<_, Infallible>(Event::default().data(number.to_string())), changes))
    });
    Ok((HEADERS, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

/// What the page sends when a button is pressed.
#[derive(Deserialize)]
pub struct Pressed {
    channel: String,
    ts: String,
    user: String,
    action_id: String,
    option: Option<String>,
}

/// `POST /press`: delivers the press to the app and tells the page how it went.
///
/// # Errors
/// 403 without the cookie, 404 without such a button.
pub async fn press(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    axum::Json(p): axum::Json<Pressed>,
) -> Result<Response, StatusCode> {
    let_in(&shared, &headers)?;
    let press = Press { channel: p.channel, ts: p.ts, user: p.user, action_id: p.action_id, option: p.option };
    let signed = shared.signed_press(&press).ok_or(StatusCode::NOT_FOUND)?;
    let problem = match shared.deliver(signed).await {
        Ok(200) => None,
        Ok(status) => Some(format!("The app answered {status}.")),
        Err(problem) => Some(format!("This app didn't respond: {problem}.")),
    };
    Ok((HEADERS, axum::Json(json!({ "problem": problem }))).into_response())
}

/// What the page sends when a command is written.
#[derive(Deserialize)]
pub struct Written {
    channel: String,
    user: String,
    text: String,
}

/// `POST /command`: delivers the command to the app and tells the page how it went.
///
/// # Errors
/// 403 without the cookie.
pub async fn command(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    axum::Json(w): axum::Json<Written>,
) -> Result<Response, StatusCode> {
    let_in(&shared, &headers)?;
    let written = w.text.trim();
    let behind = written.strip_prefix(NAME).filter(|rest| rest.is_empty() || rest.starts_with(' '));
    let problem = match behind {
        Some(text) => shared.command(&w.channel, &w.user, text.trim()).await.err(),
        None => Some(format!("Only commands are taken here: {NAME} help")),
    };
    Ok((HEADERS, axum::Json(json!({ "problem": problem }))).into_response())
}

/// What the page sends when a dialog is filled in, or closed.
#[derive(Deserialize)]
pub struct FilledIn {
    id: String,
    /// What was written, by block; none when it is closed.
    written: Option<std::collections::BTreeMap<String, String>>,
}

/// `POST /dialog`: delivers what was filled in to the app, or closes the dialog.
///
/// # Errors
/// 403 without the cookie.
pub async fn dialog(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    axum::Json(f): axum::Json<FilledIn>,
) -> Result<Response, StatusCode> {
    let_in(&shared, &headers)?;
    let problem = match &f.written {
        Some(written) => {
            let written: Vec<(&str, &str)> = written.iter().map(|(block, text)| (&**block, &**text)).collect();
            shared.submit(&f.id, &written).await.err()
        }
        None => {
            shared.close_dialog(&f.id);
            None
        }
    };
    Ok((HEADERS, axum::Json(json!({ "problem": problem }))).into_response())
}

/// Which message to delete.
#[derive(Deserialize)]
pub struct Deleted {
    channel: String,
    ts: String,
}

/// `POST /delete`: deletes a message as a person would.
///
/// # Errors
/// 403 without the cookie.
pub async fn delete(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    axum::Json(d): axum::Json<Deleted>,
) -> Result<StatusCode, StatusCode> {
    let_in(&shared, &headers)?;
    shared.workspace().delete(&d.channel, &d.ts);
    shared.changed();
    Ok(StatusCode::OK)
}
