//! A deployment's log: `GET /deployments/{id}` and what belongs to it. Server-rendered, live through server-sent
//! events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::ansi::{self, Look};
use super::error::Answer;
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
const LINES_MAX: i64 = 5_000;
/// Bytes of output on the page at once, for logs of very long lines.
const BYTES_MAX: i64 = 4 * 1024 * 1024;
/// Between two looks of a live reader that changes of others lead to.
const PAUSE: Duration = Duration::from_millis(100);
/// A live reader looks so often even when nothing woke it.
const POLL: Duration = Duration::from_secs(1);

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

async fn open(web: &Parts, id: &str, key: &str) -> Result<Option<Timed>, Answer> {
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
        web.app.unproven().journals().tail_start(deployment.of.deployment_id, LINES_MAX, BYTES_MAX).await?;
    let chunks = web.app.unproven().journals().chunks_from(deployment.of.deployment_id, first, i64::MAX).await?;
    let next = chunks.last().map_or(first, |c| c.number + 1);
    let newest = web.app.unproven().tails().after(deployment.of.deployment_id, total).await?;
    let seen = newest.last().map_or(0, Newest::last_line);
    let shown = chunks.first().map_or(0, |c| (total - c.first_line + 1).min(LINES_MAX));
    let mut look = Look::default();
    let lines: String =
        chunks.iter().map(|c| lines_html(c.first_line, &c.body, total - LINES_MAX, &mut look)).collect();
    let tail: String = newest.iter().map(|n| lines_html(n.first_line, &n.body, 0, &mut look)).collect();
    let over = deployment.state().is_over() || deployment.state() == Phase::Unknown;
    let address = |what: &str| format!("/deployments/{id}/{what}?key={}", key.key);
    let body = html! {
        header {
            div #head { (head(&timed)) }
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
            div.log #log role="log" aria-label="Output" aria-live="off" data-over=(over) data-live=(format!("{}&from={next}&seen={seen}", address("live"))) {
                (PreEscaped(lines))
                div #tail { (PreEscaped(tail)) }
            }
        }
    };
    let title = format!("{} → {} · {}", deployment.build_name, deployment.environment_name, deployment.state().word());
    Ok(page::framed(&title, true, &body))
}

fn head(timed: &Timed) -> Markup {
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

/// Lines after line number `after`, the first one being numbered `first`.
fn lines_html(first: i64, lines: &[u8], after: i64, look: &mut Look) -> String {
    let body = lines.strip_suffix(b"\n").unwrap_or(lines);
    let mut html = String::with_capacity(body.len() * 2);
    for (number, line) in (first..).zip(body.split(|b| *b == b'\n')) {
        let text = ansi::line(line, look);
        if number > after {
            html.push_str(&format!(
                "<div class=\"l\" id=\"L{number}\"><a href=\"#L{number}\">{number}</a><span>{text}</span></div>"
            ));
        }
    }
    html
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
        let chunks = web.app.unproven().journals().chunks_from(id, from, 16).await?;
        if let Some(last) = chunks.last() {
            let at = (last.number.saturating_add(1), last.first_line - 1 + i64::from(last.lines));
            let bytes: Vec<u8> = chunks.into_iter().flat_map(|c| c.body).collect();
            return Ok(Some((bytes, (web, Some(at)))));
        }
        let newest = if runs { web.app.unproven().tails().after(id, lines).await? } else { Vec::new() };
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

/// Where a live reader stands.
#[derive(Deserialize)]
pub struct From {
    /// The next chunk of the journal.
    #[serde(default)]
    from: i32,
    /// The last line of the newest output that was shown.
    #[serde(default)]
    seen: i64,
}

/// `GET /deployments/{id}/live`: new lines and state changes as server-sent events. An event's id is the number of its
/// chunk, so a reader that comes back with `Last-Event-ID` misses and doubles nothing.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn live(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    let timed = open(&web, &id, &key.key).await?.ok_or_else(Answer::not_found)?;
    let place = web.room.reader()?;
    // "chunk", or "chunk.line" while the newest output is shown.
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| {
        let (chunk, line) = v.split_once('.').unwrap_or((v, "0"));
        Some((chunk.parse::<i32>().ok()?, line.parse::<i64>().ok()?))
    });
    let id = timed.deployment.of.deployment_id;
    let (next, seen) = last.map_or((from.from, from.seen), |(chunk, line)| (chunk.saturating_add(1), line));
    let events = follow(web, place, id, next, seen);
    Ok((page::HEADERS, Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))).into_response())
}

struct Reader {
    web: Web,
    _place: OwnedSemaphorePermit,
    id: DeploymentId,
    next: i32,
    seen: i64,
    look: Look,
    shown: Option<String>,
    ended: bool,
}

fn follow(
    web: Web,
    place: OwnedSemaphorePermit,
    id: DeploymentId,
    next: i32,
    seen: i64,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let reader = Reader { web, _place: place, id, next, seen, look: Look::default(), shown: None, ended: false };
    let logs = reader.web.app.store.wake().logs();
    let changes = reader.web.app.store.wake().events();
    stream::unfold((reader, logs, changes), async |(mut reader, mut logs, mut changes)| {
        loop {
            if reader.ended {
                return None;
            }
            if let Ok(Some(event)) = reader.next_event().await {
                return Some((Ok(event), (reader, logs, changes)));
            }
            let mine = async {
                while let Ok(id) = logs.recv().await {
                    if id == reader.id {
                        break;
                    }
                }
            };
            tokio::select! {
                () = mine => {}
                // Changes are those of everybody; what is not about this deployment is looked at in one go.
                _ = changes.changed() => tokio::time::sleep(PAUSE).await,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    })
}

impl Reader {
    async fn next_event(&mut self) -> Result<Option<Event>, sqlx::Error> {
        let store = self.web.app.unproven();
        // The state is read before the lines: an end that is seen has all its lines stored.
        let Some(timed) = store.deployments().timed(self.id).await? else { return Ok(None) };
        let chunks = store.journals().chunks_from(self.id, self.next, 32).await?;
        if let Some(last) = chunks.last() {
            self.next = last.number.saturating_add(1);
            let html: String = chunks.iter().map(|c| lines_html(c.first_line, &c.body, 0, &mut self.look)).collect();
            return Ok(Some(Event::default().event("lines").id(last.number.to_string()).data(json!(html).to_string())));
        }
        if !timed.deployment.state().is_over() {
            let newest = store.tails().after(self.id, self.seen).await?;
            if let Some(last) = newest.last() {
                self.seen = last.last_line();
                let html: String =
                    newest.iter().map(|n| lines_html(n.first_line, &n.body, 0, &mut self.look)).collect();
                let id = format!("{}.{}", self.next - 1, self.seen);
                return Ok(Some(Event::default().event("newest").id(id).data(json!(html).to_string())));
            }
        }
        let head = head(&timed).into_string();
        if self.shown.as_ref() != Some(&head) {
            self.shown = Some(head.clone());
            return Ok(Some(Event::default().event("state").data(json!(head).to_string())));
        }
        if timed.deployment.state().is_over() || timed.deployment.state() == Phase::Unknown {
            self.ended = true;
            return Ok(Some(Event::default().event("end").data("{}")));
        }
        Ok(None)
    }
}
