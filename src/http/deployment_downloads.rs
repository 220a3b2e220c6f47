//! A deployment's output to be taken away: as the original answered it, as bytes, and as text.
//!
//! **Invariant:** it is never all in memory.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};

use super::error::HttpError;
use super::link::{Key, open};
use super::off_thread::off_thread;
use super::parameters::{Path, Query};
use super::{Web, page};
use crate::domain::deployment::Deployment;
use crate::terminal::{Row, Screen};

/// `GET /deployments/{id}/logs`: the original's answer, `{"finished": …, "logs": "…"}`.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn logs(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, key.value()).await?.ok_or_else(HttpError::not_found)?;
    let begin = format!("{{\"finished\":{},\"logs\":\"", timed.deployment.state().is_over());
    let logs = stored(web, &timed.deployment)?.map_ok(|bytes| {
        // Chunks end at line ends, and lines are UTF-8 or made so one by one.
        let text = serde_json::Value::from(String::from_utf8_lossy(&bytes)).to_string();
        text[1..text.len() - 1].to_owned()
    });
    let ends = |text: String| stream::once(async { Ok::<_, sqlx::Error>(text) });
    let body = ends(begin).chain(logs).chain(ends("\"}".to_owned()));
    Ok((page::HEADERS, [(header::CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// A deployment's stored output, piece by piece, never all in memory; while it runs with the newest of what is not
/// stored yet.
fn stored(
    web: Web,
    deployment: &Deployment,
) -> Result<impl Stream<Item = Result<Vec<u8>, sqlx::Error>> + use<>, HttpError> {
    let place = web.room.download()?;
    let (id, runs) = (deployment.of.deployment_id, !deployment.state().is_over());
    let pieces = stream::try_unfold((web, Some((0, 0_i64))), move |(web, at)| async move {
        let Some((from, lines)) = at else { return Ok(None) };
        let chunks = web.app.readers().journals().chunks_from(id, from, 1).await?;
        if let Some(last) = chunks.last() {
            let at = (last.next(), last.last_line());
            let bytes: Vec<u8> = chunks.into_iter().flat_map(|c| c.body).collect();
            return Ok(Some((bytes, (web, Some(at)))));
        }
        let newest = if runs { web.app.readers().tails().after(id, lines).await? } else { Vec::new() };
        let gap = newest.first().map_or(0, |n| n.first_line - lines - 1);
        let note = (gap > 0).then(|| format!("… [{gap} lines are not shown here while it runs]\n").into_bytes());
        let bytes: Vec<u8> = note.into_iter().chain(newest.into_iter().map(|n| n.body)).flatten().collect();
        Ok(Some((bytes, (web, None))))
    });
    Ok(pieces.inspect(move |_| {
        // Kept until all was read, or nobody reads on.
        let _ = &place;
    }))
}

/// What a download is called: `main-42-production.log`.
fn file_name(deployment: &Deployment, end: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let text: String = format!("{}-{}", deployment.build_name, deployment.environment_name.to_lowercase());
    let name: String = text.chars().map(plain).take(100).collect();
    let name: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    format!("attachment; filename=\"{}{end}\"", name.join("-").trim_start_matches('.'))
}

/// `GET /deployments/{id}/raw`: the stored bytes, as a download.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn raw(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, key.value()).await?.ok_or_else(HttpError::not_found)?;
    let body = Body::from_stream(stored(web, &timed.deployment)?);
    Ok(download(body, file_name(&timed.deployment, ".raw.log")))
}

/// `GET /deployments/{id}/text`: what a terminal shows of it, without colours, as a download.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn text(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, key.value()).await?.ok_or_else(HttpError::not_found)?;
    let name = file_name(&timed.deployment, ".log");
    let stored = Box::pin(stored(web, &timed.deployment)?);
    let shown = stream::try_unfold((stored, Some(Screen::new()), 0_i64), async |(mut stored, screen, number)| {
        let Some(mut screen) = screen else { return Ok::<_, sqlx::Error>(None) };
        let Some(bytes) = stored.try_next().await? else {
            return Ok(Some((text_of(screen.rows()), (stored, None, number))));
        };
        let drawn = off_thread(move || {
            let (mut text, mut number) = (String::new(), number);
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                number += 1;
                screen.line(number, line.strip_suffix(b"\n").unwrap_or(line));
                text.push_str(&text_of(&screen.take_gone()));
            }
            (text, screen, number)
        });
        let (text, screen, number) = drawn.await;
        Ok(Some((text, (stored, Some(screen), number))))
    });
    Ok(download(Body::from_stream(shown), name))
}

fn text_of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    rows.into_iter().map(|row| row.text() + "\n").collect()
}

fn download(body: Body, name: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    (page::HEADERS, headers, body).into_response()
}
