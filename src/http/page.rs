//! What all pages share: the frame, the headers, the assets.

use std::sync::LazyLock;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::error::{AWAY, HttpError};
use super::parameters::Path;
use crate::domain::deployment::State;

/// Nothing from elsewhere is loaded, nothing is framed, nothing inline runs, and no form leads elsewhere.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Headers of every page: private to the holder of the link, and silent about it.
pub const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

const CSS: &str = include_str!("assets/page.css");
const JS: &str = include_str!("assets/log.js");
const RENEWED_JS: &str = include_str!("assets/renewed.js");
const SLIDER_JS: &str = include_str!("assets/slider.js");
const TIMES_JS: &str = include_str!("assets/times.js");
/// The page's own rules, and those of the palette of 256 colours.
static STYLES: LazyLock<String> = LazyLock::new(|| format!("{CSS}{}", crate::terminal::html::style_sheet()));
const ICON: &str = include_str!("assets/icon.svg");

/// What runs on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Nothing.
    None,
    /// A deployment's log.
    Log,
    /// A build, or what is where: the page renews itself.
    Renewed,
    /// A build as it was: a slider over its events.
    Slider,
    /// Times are shown in the reader's zone, and nothing else.
    Times,
}

/// 400 for what was asked for in words that can't be read, with the page's own form: it can be asked for otherwise.
pub fn asked_otherwise(title: &str, heading: &Markup, why: &str) -> Response {
    let mut page = framed(title, None, Script::None, &html! { main.plain { (heading) p role="alert" { (why) } } });
    *page.status_mut() = StatusCode::BAD_REQUEST;
    page
}

/// A page in its frame; its icon has the colour of a state.
pub fn framed(title: &str, state: Option<State>, script: Script, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href=(icon(state));
                link rel="stylesheet" href="/assets/page.css";
                @if script == Script::Log { script type="module" src="/assets/log.js" {} }
                @if script == Script::Times { script type="module" src="/assets/times.js" {} }
                @if script == Script::Slider { script type="module" src="/assets/slider.js" {} }
                @if script == Script::Renewed { script type="module" src="/assets/renewed.js" {} }
            }
            body { (body) }
        }
    };
    (HEADERS, page).into_response()
}

/// The address of an icon.
fn icon(state: Option<State>) -> String {
    state.map_or_else(|| "/assets/icon.svg".to_owned(), |state| format!("/assets/icon-{}.svg", state.as_str()))
}

/// The icon with a dot in the colour of a state.
fn icon_of(state: State) -> String {
    let colour = match state {
        State::Succeeded => "#3fb950",
        State::Failed | State::TimedOut | State::Cancelled | State::Refused | State::Unknown => "#f85149",
        State::Running | State::Starting | State::Cancelling => "#d29922",
        State::Queued | State::Ready | State::Pulling => "#9198a1",
    };
    ICON.replace(
        "</svg>",
        &format!("<circle cx=\"24\" cy=\"24\" r=\"7\" fill=\"{colour}\" stroke=\"#fff\" stroke-width=\"2\"/></svg>"),
    )
}

/// What a wrong, missing or revoked link gets: the same as a thing that isn't there.
pub fn not_found() -> Response {
    let body = html! {
        main.plain {
            h1 { "Nothing here" }
            p { "This link is not valid (any more). Newer ones stand in Slack: under a build's message, and in the answer to /coolops status." }
        }
    };
    let mut response = framed("Not found", None, Script::None, &body);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// What somebody may write in a form.
pub(super) struct Field<'a> {
    pub name: &'a str,
    pub label: &'a str,
    /// What is written there.
    pub value: &'a str,
    /// What may be.
    pub example: &'a str,
}

/// A form that asks for the same page otherwise, without a script. What is `kept` stays as it is.
pub(super) fn form(kept: &[(&str, &str)], fields: &[Field<'_>]) -> Markup {
    html! {
        form.filter role="search" {
            @for (name, value) in kept { @if !value.is_empty() { input type="hidden" name=(name) value=(value); } }
            @for Field { name, label, value, example } in fields {
                label { (label) input name=(name) value=(value) placeholder=(example) autocomplete="off" spellcheck="false"; }
            }
            button { "Show" }
        }
    }
}

/// What went wrong, as a page.
pub(super) fn for_people(answer: &HttpError) -> Response {
    if answer.0 == StatusCode::SERVICE_UNAVAILABLE && answer.1 == AWAY {
        return unavailable();
    }
    let body = html! { main.plain { h1 { "This can't be shown" } p { (answer.1) } } };
    let mut response = framed("This can't be shown", None, Script::None, &body);
    *response.status_mut() = answer.0;
    response
}

/// What a browser gets while the database is away, in place of JSON.
fn unavailable() -> Response {
    let body = html! {
        main.plain {
            h1 { "Back in a moment" }
            p { "coolops can't reach its database right now. Nothing is lost: deployments go on, and this page is here again when it answers." }
            p { a href="" { "Try again" } }
        }
    };
    let mut response = framed("Back in a moment", None, Script::None, &body);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}

/// A state as a badge: the words carry the meaning, the colour repeats it.
pub fn badge(state: State) -> Markup {
    html! { span class={ "badge " (state.as_str()) } { (state.word()) } }
}

/// A time in UTC that the page's script turns into local time.
pub fn time(at: DateTime<Utc>) -> Markup {
    html! { time datetime=(at.to_rfc3339()) { (at.format("%Y-%m-%d %H:%M:%S")) " UTC" } }
}

/// `GET /assets/{name}`.
pub async fn asset(Path(name): Path<String>) -> Response {
    let script = "text/javascript; charset=utf-8";
    let (kind, content) = match name.as_str() {
        "page.css" => ("text/css; charset=utf-8", STYLES.clone()),
        "log.js" => (script, JS.to_owned()),
        "renewed.js" => (script, RENEWED_JS.to_owned()),
        "slider.js" => (script, SLIDER_JS.to_owned()),
        "times.js" => (script, TIMES_JS.to_owned()),
        "icon.svg" => ("image/svg+xml", ICON.to_owned()),
        other => {
            let state = other.strip_prefix("icon-").and_then(|name| name.strip_suffix(".svg"));
            match state.and_then(|name| State::ALL.into_iter().find(|state| state.as_str() == name)) {
                Some(state) => ("image/svg+xml", icon_of(state)),
                None => return super::error::HttpError::not_found().into_response(),
            }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, content).into_response()
}
