//! A deployment's log as a page and as downloads. Server-rendered; what comes later is `live.rs`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::error::Answer;
use super::log_window::{known_line, last_lines, window};
use super::page;
use super::parameters::{Path, Query};
use super::traced;
use super::{Parts, Web};
use crate::app::questions::Opens;
use crate::domain::deployment::{Deployment, State as Phase, duration};
use crate::domain::erasure_events::OutputErased;
use crate::domain::event::Recorded;
use crate::domain::ids::DeploymentId;
use crate::keys::Links;
use crate::projections::happened;
use crate::projections::timed::Timed;
use crate::projections::words::Words;
use crate::slack::render::{build_url, log_url};
use crate::terminal::{Row, Screen};
use coolops_client::limits::visible;

/// Lines that the page's script fetches together.
const BLOCK: i64 = 200;
/// Lines around the one that is asked for, without a script.
const LINES: i64 = 300;
/// Lines that are shown above the log of what went wrong.
const LINES_OF_EXCERPT: i64 = 8;

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
    Ok(opened(web, id, key).await?.map(|(timed, _)| timed))
}

/// The deployment that a link opens, and the links of its build.
pub(super) async fn opened(web: &Parts, id: &str, key: &str) -> Result<Option<(Timed, Links)>, Answer> {
    let Ok(id) = id.parse::<DeploymentId>() else { return Ok(None) };
    traced::about("deployment.id", id);
    let Some(timed) = web.app.unproven().deployments().timed(id).await? else { return Ok(None) };
    let allowed = web.app.opened(Opens::Deployment, id.0, timed.deployment.of.build_id, key).await?;
    Ok(allowed.map(|links| (timed, links)))
}

/// What a page may be asked to show.
#[derive(Deserialize)]
pub struct Shows {
    #[serde(default)]
    key: String,
    /// The line around which the page shows the log, without a script.
    line: Option<i64>,
}

/// `GET /deployments/{id}`.
///
/// 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn page(State(web): State<Web>, Path(id): Path<String>, Query(shows): Query<Shows>) -> Response {
    shown(&web, &id, &shows).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, id: &str, shows: &Shows) -> Result<Response, Answer> {
    let key = &shows.key;
    let Some((timed, links)) = opened(web, id, key).await? else { return Ok(page::not_found()) };
    let deployment = &timed.deployment;
    let state = deployment.state();
    let over = state.is_over() || state == Phase::Unknown;
    let last = known_line(web, deployment).await?;
    let window = match shows.line {
        Some(line) => {
            let (from, to) = (line.saturating_sub(LINES / 2), line.saturating_add(LINES / 2));
            Arc::new(window(web, deployment, from, to, last).await?)
        }
        // Whole blocks, so that the script finds them as it would fetch them.
        None => last_lines(web, deployment, (last - 1).rem_euclid(BLOCK) + 1 + BLOCK).await?,
    };
    let store = web.app.readers();
    let around = store.deployments().around(&deployment.of).await?;
    let message = store.messages().get(deployment.of.build_id).await?;
    let gone = web.app.output_erased(deployment.of.deployment_id).await?;
    let log_of = |d: &Deployment| log_url("", &links, d.of.deployment_id);
    let address = |what: &str| format!("/deployments/{id}/{what}?key={key}");
    let at_line = |line: i64| format!("?key={key}&line={line}");
    let body = html! {
        header {
            div #head { (head(&timed)) }
            p.facts {
                a href=(build_url("", &links, deployment.of.build_id)) { "This build" }
                @if let Some(url) = message.and_then(|m| m.ts.map(|ts| message_url(&m.channel, &ts))) {
                    " · " a href=(url) rel="noopener noreferrer" { "Message in Slack" }
                }
                @if let Some(before) = &around.before { " · " a href=(log_of(before)) rel="prev" { "← " (before.build_name) } }
                @if let Some(after) = &around.after { " · " a href=(log_of(after)) rel="next" { (after.build_name) " →" } }
                @if around.good.is_some() { " · " a href=(address("compare")) { "Compare with the last good one" } }
            }
        }
        nav.bar #bar aria-label="Log" {
            span.small { span #small { (deployment.build_name) " → " (deployment.environment_name) } " " span #small-state { (page::badge(state)) } }
            div.tools {
                form #search role="search" hidden {
                    input #query type="search" placeholder="Find in the log" aria-label="Find in the log" autocomplete="off" spellcheck="false" maxlength="1000";
                    label { input #regex type="checkbox"; " regex" }
                    span #hits role="status" {}
                    button #up type="button" aria-label="Previous hit" { "↑" }
                    button #down type="submit" aria-label="Next hit" { "↓" }
                    button #close type="button" aria-label="Close the search" { "×" }
                }
                button #find type="button" aria-keyshortcuts="/" hidden { "Find" }
                button #follow type="button" aria-pressed="false" aria-keyshortcuts="f" hidden { "Follow" }
                button #times type="button" aria-keyshortcuts="t" hidden { "Times" }
                button #wrap type="button" aria-pressed="true" aria-keyshortcuts="w" hidden { "Wrap" }
                button #copy type="button" hidden { "Copy" }
                a href=(address("text")) download { "Download" }
                a href=(address("raw")) download { "Raw" }
            }
            p.reason #status role="status" {}
        }
        main {
            @if matches!(state, Phase::Failed | Phase::TimedOut | Phase::Unknown | Phase::Cancelled) && window.lines > LINES_OF_EXCERPT {
                section.excerpt aria-label="The last lines" {
                    h2 { "The last lines" }
                    (PreEscaped(last_lines(web, deployment, LINES_OF_EXCERPT).await?.html.replace(" id=\"L", " data-l=\"")))
                }
            }
            @if window.lines == 0 {
                p.note #empty {
                    @if let Some((recorded, erased)) = &gone { (gone_words(recorded, erased)) }
                    @else if over { "It printed nothing." }
                    @else { "Nothing printed yet." }
                }
            }
            noscript {
                p.note {
                    "Lines " (window.from) " to " (window.to) " of " (window.lines) ". "
                    @if window.from > 1 { a href=(at_line(1)) { "First" } " " a href=(at_line((window.from - LINES / 2).max(1))) { "Earlier" } " " }
                    @if window.to < window.lines { a href=(at_line(window.to + LINES / 2)) { "Later" } " " a href=(at_line(window.lines)) { "Last" } }
                    @if !over { " " a href="" { "Reload" } }
                }
            }
            div.log #log role="log" aria-label="Output" aria-live="off" tabindex="0"
                data-base=(format!("/deployments/{id}")) data-key=(key) data-over=(over) data-state=(state.as_str())
                data-lines=(window.lines) data-from=(window.from) data-to=(window.to)
                data-begun=(timed.started_at.unwrap_or(timed.requested_at).timestamp_millis()) {
                (PreEscaped(&window.html))
            }
            button #new type="button" hidden {}
            p.sr #said role="status" aria-live="polite" {}
        }
    };
    Ok(page::framed(&title(deployment), Some(state), page::Script::Log, &body))
}

/// That the output is not there any more, and why.
fn gone_words(recorded: &Recorded, erased: &OutputErased) -> Markup {
    let words = erased.why.sentence(&happened::actor(&recorded.actor));
    html! { (visible(&words)) " (" (page::time(recorded.recorded_at)) "). Its digests are still part of the history." }
}

/// The title of a tab: how it stands comes first, because that is what is seen of it.
pub(super) fn title(deployment: &Deployment) -> String {
    format!("{} · {} → {}", deployment.state().word(), deployment.build_name, deployment.environment_name)
}

/// What changes while it runs.
pub(super) fn head(timed: &Timed) -> Markup {
    let d = &timed.deployment;
    let over = d.state().is_over() || d.state() == Phase::Unknown;
    html! {
        h1 { span { (d.build_name) " → " (d.environment_name) } (page::badge(d.state())) }
        @if Words::of(d).says_more() { p.reason { (sentence(d)) } }
        p.facts {
            "Pressed by " (d.requested_by.name()) " · " (page::time(timed.requested_at))
            @if let Some(started) = timed.started_at {
                " · "
                @if over {
                    "ran " (duration(timed.ran(timed.since).unwrap_or_default()))
                } @else {
                    "running for " time.ticks data-since=(started.timestamp_millis()) { "a while" }
                }
            }
            @if let Some(ended) = timed.ended_at() { " · ended " (page::time(ended)) }
            @if timed.ended_at().is_some_and(|ended| ended != timed.since) { " · decided " (page::time(timed.since)) }
            @if d.state() == Phase::Unknown { " · lost " (page::time(timed.since)) }
            @if let Some(code) = d.stand.exit_code() { " · exit code " (code) }
        }
        p.facts {
            "Image " (visible(d.image.as_str()))
            @if let Some(prepared) = &d.prepared {
                " · " code.digest title=(prepared.digest.as_deref().unwrap_or(&prepared.image_id)) {
                    (short_digest(prepared.digest.as_deref().unwrap_or(&prepared.image_id)))
                }
                @if prepared.unchecked { " · the registry could not be asked whether there is a newer one" }
            }
        }
    }
}

/// The beginning of a digest, as people know it.
fn short_digest(digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    format!("sha256:{}", hex.chars().take(12).collect::<String>())
}

/// Where a message is, for whoever is in its workspace. Source: Slack's own "Copy link".
pub(super) fn message_url(channel: &str, ts: &str) -> String {
    format!("https://slack.com/archives/{channel}/p{}", ts.replace('.', ""))
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
) -> Result<impl Stream<Item = Result<Vec<u8>, sqlx::Error>> + use<>, Answer> {
    let place = web.room.download()?;
    let (id, runs) = (deployment.of.deployment_id, !deployment.state().is_over());
    let pieces = stream::try_unfold((web, Some((0, 0_i64))), move |(web, at)| async move {
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
pub async fn raw(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Result<Response, Answer> {
    let timed = open(&web, &id, &key.key).await?.ok_or_else(Answer::not_found)?;
    let body = Body::from_stream(stored(web, &timed.deployment)?);
    Ok(download(body, file_name(&timed.deployment, ".raw.log")))
}

/// `GET /deployments/{id}/text`: what a terminal shows of it, without colours, as a download.
///
/// # Errors
/// 404 for a wrong link, 503 when the database is away.
pub async fn text(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Result<Response, Answer> {
    let timed = open(&web, &id, &key.key).await?.ok_or_else(Answer::not_found)?;
    let name = file_name(&timed.deployment, ".log");
    let stored = Box::pin(stored(web, &timed.deployment)?);
    let shown = stream::try_unfold((stored, Some(Screen::new()), 0_i64), async |(mut stored, screen, number)| {
        let Some(mut screen) = screen else { return Ok::<_, sqlx::Error>(None) };
        let Some(bytes) = stored.try_next().await? else {
            return Ok(Some((text_of(screen.rows()), (stored, None, number))));
        };
        // Drawing is no work for the threads that answer requests.
        let drawing = tokio::task::spawn_blocking(move || {
            let (mut text, mut number) = (String::new(), number);
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                number += 1;
                screen.line(number, line.strip_suffix(b"\n").unwrap_or(line));
                text.push_str(&text_of(&screen.take_gone()));
            }
            (text, screen, number)
        });
        let (text, screen, number) = drawing.await.map_err(|e| sqlx::Error::Io(std::io::Error::other(e)))?;
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
