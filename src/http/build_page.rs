//! `GET /builds/{id}`: everything that a build's message has no room for.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Web;
use super::board_page::moment;
use super::deployment_page::{message_url, sentence};
use super::error::HttpError;
use super::page;
use super::parameters::{Path, Query};
use super::traced;
use crate::app::questions::Opens;
use crate::domain::build::{BuildRegistered, Entry};
use crate::domain::deployment::duration;
use crate::domain::event::{Actor, DeploymentEvent, Event, Recorded};
use crate::domain::ids::BuildId;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::happened::{actor, happened};
use crate::projections::timed::Timed;
use crate::projections::words::{Words, unchecked};
use crate::slack::plain::{self, Names};
use crate::slack::render::{self, log_url};
use coolops_client::limits::visible;

/// What is asked for in the address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    key: String,
    /// A moment of the log; the page is as it was then.
    at: String,
}

/// Handles the request.
///
/// 400 for what is no moment of the log, 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(State(web): State<Web>, Path(id): Path<String>, Query(wanted): Query<Wanted>) -> Response {
    shown(&web, &id, &wanted).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, id: &str, wanted: &Wanted) -> Result<Response, HttpError> {
    let Ok(id) = id.parse::<BuildId>() else { return Ok(page::not_found()) };
    traced::about("build.id", id);
    let Some(links) = web.app.opened(Opens::Build, id.0, id, &wanted.key).await? else { return Ok(page::not_found()) };
    let events = web.app.unproven().log().build(id).await?;
    let then = match wanted.at.trim() {
        "" => None,
        at => match moment(web, at).await {
            Ok(then) => Some(then),
            Err(HttpError(StatusCode::BAD_REQUEST, why)) => return Ok(as_it_is_now(wanted, &why)),
            Err(answer) => return Err(answer),
        },
    };
    // A refusal is told to whoever pressed alone.
    let public: Vec<Recorded> =
        events.iter().filter(|e| !matches!(e.event, Event::Deployment(DeploymentEvent::Refused(_)))).cloned().collect();
    let count = events.iter().take_while(|event| then.is_none_or(|then| event.position <= then.position)).count();
    let Some(card) = BuildCard::as_of(&events, count) else {
        return match events.first() {
            Some(first) => {
                let why = format!("this build was announced later, by event {}", first.position);
                Ok(as_it_is_now(wanted, &why))
            }
            None => Ok(page::not_found()),
        };
    };
    let params = BuildRegistered::among(&events).map(|build| &build.params[..]);
    let message = web.app.readers().messages().get(id).await?;
    let now = then.map_or_else(|| web.app.store.clock().now(), |then| then.at);
    // Environments in the order of the buttons, and those that are gone since after them.
    let mut environments: Vec<(uuid::Uuid, &str)> =
        card.environments.iter().map(|e| (e.id.0, e.name.as_str())).collect();
    for line in &card.lines {
        let of = line.deployment.of.environment_id.0;
        if !environments.iter().any(|(id, _)| *id == of) {
            environments.push((of, &line.deployment.environment_name));
        }
    }
    let row = |(environment, name): &(uuid::Uuid, &str)| {
        let of = |line: &&Timed| line.deployment.of.environment_id.0 == *environment;
        let mut all: Vec<&Timed> = card.lines.iter().filter(of).collect();
        all.reverse();
        html! {
            section.environment aria-label=(name) {
                h3 { span { (name) } @if let Some(newest) = all.first() { (page::badge(newest.deployment.state())) } @else { span.badge { "not deployed" } } }
                @if all.is_empty() { p.facts { "Nobody has pressed its button for this build." } }
                ol.history reversed {
                    @for line in &all { li { (history(line, &links, now)) } }
                }
            }
        }
    };
    let newest = card.lines.iter().map(|line| line.deployment.state()).find(|state| !state.is_over());
    let state = newest.or(card.lines.last().map(|line| line.deployment.state()));
    let body = html! {
        main.plain #renewed data-open=(then.is_none() && card.lines.iter().any(|line| !line.deployment.state().is_over())) {
            h1 { (card.project_name) ": " (card.build_name) }
            p.facts {
                "Announced " (page::time(card.registered_at))
                @if let Some(url) = message.and_then(|m| m.ts.map(|ts| message_url(&m.channel, &ts))) {
                    " · " a href=(url) rel="noopener noreferrer" { "Message in Slack" }
                }
            }
            @if let Some(then) = then {
                p.reason { "As it was at event " (then.position) ", " (page::time(then.at)) ". " a href=(format!("?key={}", wanted.key)) { "How it is now" } }
                (slider(&public, then.position))
            }
            @if then.is_some() {
                h2 { "The message, as it was" }
                pre.message { (visible(&plain::lines(&render::render(&card, &links), &Names::of(&events)).join("\n"))) }
            }
            h2 { "Environments" }
            @for environment in &environments { (row(environment)) }
            @if !card.metadata.is_empty() { h2 { "About this build" } (entries(&card.metadata)) }
            @if let Some(params) = params.filter(|params| !params.is_empty()) {
                h2 { "Its params" }
                p.facts { "Each container gets them as variables." }
                (entries(params))
            }
            details.happened #happened open[then.is_some()] {
                summary { "What happened" }
                (happenings(&public, &wanted.key, then.map(|then| then.position)))
            }
        }
    };
    let word = state.map_or_else(String::new, |state| format!("{} · ", state.word()));
    let script = if then.is_some() { page::Script::Slider } else { page::Script::Renewed };
    Ok(page::framed(&format!("{word}{}: {}", card.project_name, card.build_name), state, script, &body))
}

/// What was asked for can't be shown.
fn as_it_is_now(wanted: &Wanted, why: &str) -> Response {
    let heading =
        html! { h1 { "A build, as it was" } p { a href=(format!("?key={}", wanted.key)) { "How it is now" } } };
    page::asked_otherwise("A build, as it was", &heading, why)
}

/// A slider over the events, shown where there is a script; the list of what happened has the same as links.
fn slider(events: &[Recorded], position: i64) -> Markup {
    let positions: Vec<String> = events.iter().map(|event| event.position.to_string()).collect();
    let here = events.iter().filter(|event| event.position <= position).count().saturating_sub(1);
    html! {
        input #slider type="range" min="0" max=(events.len().saturating_sub(1)) value=(here) data-positions=(positions.join(" ")) aria-label="Event" hidden;
    }
}

/// Who did it; a token by no id of its own.
fn who(by: &Actor) -> String {
    if let Actor::Token(_) = by { "CI".to_owned() } else { actor(by) }
}

/// Every event about the build, as links to how it was then.
fn happenings(events: &[Recorded], key: &str, position: Option<i64>) -> Markup {
    let here =
        position.and_then(|position| events.iter().rfind(|event| event.position <= position)).map(|e| e.position);
    html! {
        ol.events {
            @for event in events {
                li {
                    a href=(format!("?key={key}&at={}", event.position)) aria-current=[(here == Some(event.position)).then_some("true")] { (page::time(event.recorded_at)) }
                    " " (visible(&who(&event.actor))) ": " (visible(&happened(&event.event)))
                }
            }
        }
    }
}

/// One deployment: how it went, who, when, how long.
fn history(line: &Timed, links: &Links, now: chrono::DateTime<chrono::Utc>) -> Markup {
    let deployment = &line.deployment;
    html! {
        (page::badge(deployment.state()))
        @if Words::of(deployment).says_more() { span { (sentence(deployment)) } }
        @if let Some(image) = unchecked(deployment) {
            span { "runs " (image) ", which the registry could not be asked about" }
        }
        span.facts {
            (deployment.requested_by.name()) " · " (page::time(line.requested_at))
            @if let Some(seconds) = line.ran(now) { " · " span.ran { (duration(seconds)) } }
        }
        a href=(log_url("", links, deployment.of.deployment_id)) { "See logs" }
    }
}

/// Names and values; addresses are links, and what is fenced in Slack is shown without its fences.
fn entries(entries: &[Entry]) -> Markup {
    html! {
        dl {
            @for entry in entries {
                dt { (visible(&entry.name)) }
                dd { (value(visible(&entry.value).trim())) }
            }
        }
    }
}

fn value(text: &str) -> Markup {
    let fenced = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    if let Some(code) = fenced {
        return html! { pre { (code.trim_matches('\n')) } };
    }
    let is_address = |word: &str| {
        let web = word.starts_with("https://") || word.starts_with("http://");
        web && url::Url::parse(word).is_ok_and(|url| url.has_host())
    };
    html! {
        @for (n, line) in text.split('\n').enumerate() {
            @if n > 0 { "\n" }
            @for (n, word) in line.split(' ').enumerate() {
                @if n > 0 { " " }
                @if is_address(word) { a href=(word) rel="noopener noreferrer nofollow" { (word) } } @else { (word) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_links_and_nothing_else_is() {
        let shown = |text: &str| value(text).into_string();
        assert_eq!(
            shown("see https://ci.example.com/7?a=1&b=2 <b>"),
            "see <a href=\"https://ci.example.com/7?a=1&amp;b=2\" rel=\"noopener noreferrer nofollow\">https://ci.example.com/7?a=1&amp;b=2</a> &lt;b&gt;"
        );
        assert!(!shown("javascript:alert(1) https://").contains("<a"));
        assert_eq!(shown("```\nfix <x>\n```"), "<pre>fix &lt;x&gt;</pre>");
    }
}
