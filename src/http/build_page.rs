//! `GET /builds/{id}`: everything that a build's message has no room for.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};

use super::Web;
use super::deployment_page::{Key, message_url, sentence};
use super::error::Answer;
use super::page;
use super::traced;
use crate::app::questions::Opens;
use crate::domain::build::Entry;
use crate::domain::deployment::duration;
use crate::domain::event::Event;
use crate::domain::ids::BuildId;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::timed::Timed;
use crate::projections::words::{Words, unchecked};
use crate::slack::render::log_url;
use coolops_client::limits::visible;

/// Handles the request.
///
/// 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Response {
    shown(&web, &id, &key).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, id: &str, key: &Key) -> Result<Response, Answer> {
    let Ok(id) = id.parse::<BuildId>() else { return Ok(page::not_found()) };
    traced::about("build.id", id);
    let Some(links) = web.app.opened(Opens::Build, id.0, id, key.value()).await? else { return Ok(page::not_found()) };
    let events = web.app.unproven().log().build(id).await?;
    let Some(card) = BuildCard::fold(&events) else { return Ok(page::not_found()) };
    let params = events.iter().find_map(|recorded| match &recorded.event {
        Event::BuildRegistered(build) => Some(&build.params[..]),
        _ => None,
    });
    let message = web.app.readers().messages().get(id).await?;
    let now = web.app.store.clock().now();
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
        main.plain #renewed data-open=(card.lines.iter().any(|line| !line.deployment.state().is_over())) {
            h1 { (card.project_name) ": " (card.build_name) }
            p.facts {
                "Announced " (page::time(card.registered_at))
                @if let Some(url) = message.and_then(|m| m.ts.map(|ts| message_url(&m.channel, &ts))) {
                    " · " a href=(url) rel="noopener noreferrer" { "Message in Slack" }
                }
            }
            h2 { "Environments" }
            @for environment in &environments { (row(environment)) }
            @if !card.metadata.is_empty() { h2 { "About this build" } (entries(&card.metadata)) }
            @if let Some(params) = params.filter(|params| !params.is_empty()) {
                h2 { "Its params" }
                p.facts { "Each container gets them as variables." }
                (entries(params))
            }
        }
    };
    let word = state.map_or_else(String::new, |state| format!("{} · ", state.word()));
    Ok(page::framed(&format!("{word}{}: {}", card.project_name, card.build_name), state, page::Script::Renewed, &body))
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
