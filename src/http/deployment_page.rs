//! `GET /deployments/{id}`: a deployment and its log as a page. Server-rendered; what comes later is `live.rs`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, PreEscaped, html};
use serde::Deserialize;

use super::Web;
use super::error::HttpError;
use super::link::opened;
use super::log_window::{known_line, last_lines, window};
use super::page;
use super::parameters::{Path, Query};
use crate::domain::deployment::{Deployment, State as Phase, duration};
use crate::domain::erasure_events::OutputErased;
use crate::domain::event::Recorded;
use crate::domain::ids::BuildId;
use crate::projections::happened;
use crate::projections::timed::Timed;
use crate::projections::words::Words;
use crate::slack::render::{build_url, log_url};
use coolops_client::limits::visible;

/// Lines that the page's script fetches together.
const BLOCK: i64 = 200;
/// Lines around the one that is asked for, without a script.
const LINES: i64 = 300;
/// Lines that are shown above the log of what went wrong.
const LINES_OF_EXCERPT: i64 = 8;

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

async fn shown(web: &Web, id: &str, shows: &Shows) -> Result<Response, HttpError> {
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
    let neighbours: Vec<BuildId> =
        [&around.before, &around.after].into_iter().flatten().map(|d| d.of.build_id).collect();
    let linked = store.directory().linked(&neighbours).await?;
    let beside = |d: Option<Deployment>| d.filter(|d| linked.contains(&d.of.build_id));
    let (before, after) = (beside(around.before), beside(around.after));
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
                @if let Some(before) = &before { " · " a href=(log_of(before)) rel="prev" { "← " (before.build_name) } }
                @if let Some(after) = &after { " · " a href=(log_of(after)) rel="next" { (after.build_name) " →" } }
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
pub(super) fn gone_words(recorded: &Recorded, erased: &OutputErased) -> Markup {
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
