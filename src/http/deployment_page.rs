//! A deployment's log as a page and as downloads. Server-rendered; what comes later is `live.rs`.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::ansi::Look;
use super::error::Answer;
use super::live::{Place, last_lines};
use super::log_html::paint;
use super::page;
use super::traced;
use super::{Parts, Web};
use crate::app::questions::Opens;
use crate::domain::deployment::{Deployment, State as Phase};
use crate::domain::ids::DeploymentId;
use crate::projections::timed::Timed;
use crate::projections::words::Words;
use crate::store::tail::Newest;
use coolops_client::limits::visible;

/// Lines on the page at once; the raw download has all.
pub(super) const LINES_MAX: i64 = 5_000;
/// Bytes of output on the page at once, for logs of very long lines.
const BYTES_MAX: i64 = 4 * 1024 * 1024;

/// The capability in a link.
#[derive(Deserialize)]
pub struct Key {
    #[serde(default)]
    key: String,
}

impl Key {
    pub(super) fn value(&self) -> &str {
        &self.key
    }
}

pub(super) async fn open(web: &Parts, id: &str, key: &str) -> Result<Option<Timed>, Answer> {
    let Ok(id) = id.parse::<DeploymentId>() else { return Ok(None) };
    traced::about("deployment.id", id);
    let Some(timed) = web.app.unproven().deployments().timed(id).await? else { return Ok(None) };
    let allowed = web.app.opened(Opens::Deployment, id.0, timed.deployment.of.build_id, key).await?;
    Ok(allowed.map(|_| timed))
}

/// `GET /deployments/{id}`.
///
/// 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn page(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Response {
    shown(&web, &id, &key).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, id: &str, key: &Key) -> Result<Response, Answer> {
    let Some(timed) = open(web, id, &key.key).await? else { return Ok(page::not_found()) };
    let deployment = &timed.deployment;
    let (first, total) =
        web.app.readers().journals().tail_start(deployment.of.deployment_id, LINES_MAX, BYTES_MAX).await?;
    let chunks = web.app.readers().journals().chunks_from(deployment.of.deployment_id, first, i64::MAX).await?;
    let next = chunks.last().map_or(first, |c| c.number + 1);
    let newest = match deployment.state().is_over() {
        // Its journal has what is kept of it.
        true => Vec::new(),
        false => last_lines(&web.app.readers().tails().after(deployment.of.deployment_id, total).await?),
    };
    let seen = newest.last().map_or(0, Newest::last_line);
    let shown = chunks.first().map_or(0, |c| (total - c.first_line + 1).min(LINES_MAX));
    let mut look = Look::default();
    let mut html = |first, body, after| paint(first, body, after, usize::MAX, &mut look).html;
    let lines: String = chunks.iter().map(|c| html(c.first_line, &c.body, total - LINES_MAX)).collect();
    let tail: String = newest.iter().map(|n| html(n.first_line, &n.body, 0)).collect();
    let over = deployment.state().is_over() || deployment.state() == Phase::Unknown;
    let address = |what: &str| format!("/deployments/{id}/{what}?key={}", key.key);
    let body = html! {
        header {
            div #head { (head(&timed)) }
            p.reason #status role="status" {}
            nav.tools aria-label="Log" {
                button #follow type="button" aria-pressed="false" hidden { "Follow" }
                a href=(address("raw")) download { "Download" }
                @if !over { a #reload href="" { "Reload" } }
            }
        }
        main {
            @if shown < total {
                p.note { "The last " (shown) " of " (total) " lines. " a href=(address("raw")) download { "Download all of them" } "." }
            }
            @if total == 0 && newest.is_empty() {
                p.note #empty { @if over { "It printed nothing." } @else { "Nothing printed yet." } }
            }
            div.log #log role="log" aria-label="Output" aria-live="off" data-over=(over) data-live=(address("live")) data-at=(Place { chunk: next, line: total, seen }) {
                (PreEscaped(lines))
                div #tail { (PreEscaped(tail)) }
            }
        }
    };
    let title = format!("{} → {} · {}", deployment.build_name, deployment.environment_name, deployment.state().word());
    Ok(page::framed(&title, true, &body))
}

pub(super) fn head(timed: &Timed) -> Markup {
    let d = &timed.deployment;
    html! {
        h1 { span { (d.build_name) " → " (d.environment_name) } (page::badge(d.state())) }
        @if Words::of(d).says_more() { p.reason { (sentence(d)) } }
        p.facts {
            "Pressed by " (d.requested_by.name) " · " (page::time(timed.requested_at))
            @if d.state().is_over() { " · ended " (page::time(timed.since)) }
        }
    }
}

/// How a deployment goes, as a sentence.
pub(super) fn sentence(deployment: &Deployment) -> String {
    let text = Words::of(deployment).sentence(|text| visible(text).into_owned());
    let first = text.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    // It begins with the word for its state, which is ours.
    format!("{first}{}", text.get(1..).unwrap_or_default())
}

/// `GET /deployments/{id}/logs`: the original's answer, `{"finished": …, "logs": "…"}`.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn logs(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Result<Response, Answer> {
    let timed = open(&web, &id, &key.key).await?.ok_or_else(Answer::not_found)?;
    let begin = format!("{{\"finished\":{},\"logs\":\"", timed.deployment.state().is_over());
    let logs = stored(web, &timed.deployment).map_ok(|bytes| {
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
fn stored(web: Web, deployment: &Deployment) -> impl Stream<Item = Result<Vec<u8>, sqlx::Error>> + use<> {
    let (id, runs) = (deployment.of.deployment_id, !deployment.state().is_over());
    stream::try_unfold((web, Some((0, 0_i64))), move |(web, at)| async move {
        let Some((from, lines)) = at else { return Ok(None) };
        let chunks = web.app.readers().journals().chunks_from(id, from, 1).await?;
        if let Some(last) = chunks.last() {
            let at = (last.number.saturating_add(1), last.first_line - 1 + i64::from(last.lines));
            let bytes: Vec<u8> = chunks.into_iter().flat_map(|c| c.body).collect();
            return Ok(Some((bytes, (web, Some(at)))));
        }
        let newest = if runs { web.app.readers().tails().after(id, lines).await? } else { Vec::new() };
        let gap = newest.first().map_or(0, |n| n.first_line - lines - 1);
        let note = (gap > 0).then(|| format!("… [{gap} lines are not shown here while it runs]\n").into_bytes());
        let bytes: Vec<u8> = note.into_iter().chain(newest.into_iter().map(|n| n.body)).flatten().collect();
        Ok(Some((bytes, (web, None))))
    })
}

/// `GET /deployments/{id}/raw`: the stored bytes, as a download.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn raw(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Result<Response, Answer> {
    let timed = open(&web, &id, &key.key).await?.ok_or_else(Answer::not_found)?;
    let id = timed.deployment.of.deployment_id;
    let body = Body::from_stream(stored(web, &timed.deployment));
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.log\"")),
    ];
    Ok((page::HEADERS, headers, body).into_response())
}
