//! `GET /builds/{id}`: everything that a build's message has no room for.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::html;

use super::Web;
use super::deployment_page::{Key, allowed};
use super::error::Answer;
use super::page;
use crate::domain::deployment::stop_words;
use crate::domain::ids::BuildId;
use crate::limits::visible;
use crate::projections::build_card::{BuildCard, Reason};
use crate::slack::render::log_url;

/// Handles the request.
///
/// 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Response {
    shown(&web, &id, &key).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, id: &str, key: &Key) -> Result<Response, Answer> {
    let Ok(id) = id.parse::<BuildId>() else { return Ok(page::not_found()) };
    let Some(links) = allowed(web, id, "builds", id.0, key.value()).await? else { return Ok(page::not_found()) };
    let events = web.app.unproven().read_build(id).await?;
    let Some(card) = BuildCard::fold(&events) else { return Ok(page::not_found()) };
    let body = html! {
        main.plain {
            h1 { (card.project_name) ": " (card.build_name) }
            p.facts { "Announced " (page::time(card.registered_at)) }
            @if !card.metadata.is_empty() {
                h2 { "About this build" }
                dl { @for entry in &card.metadata { dt { (visible(&entry.name)) } dd { (visible(&entry.value)) } } }
            }
            h2 { "Deployments" }
            @if card.lines.is_empty() { p.facts { "None yet. Press a button in the build's Slack message." } }
            ul.lines {
                @for line in card.lines.iter().rev() {
                    li {
                        (page::badge(line.state))
                        strong { (line.environment) }
                        @match &line.reason {
                            Some(Reason::Failed(failure)) => { span { (failure.sentence(&line.image)) } }
                            Some(Reason::Stopped(reason, code, cut_off)) => { span { (stop_words(reason, *code, *cut_off)) } }
                            Some(Reason::Lost(found)) => { span { (found) } }
                            Some(Reason::Resolved(reason)) => { span { "a person decided: " (reason) } }
                            None => {}
                        }
                        @if let Some(problem) = &line.delay { span { "waits, and tries again: " (visible(problem)) } }
                        @if let Some(image) = &line.unchecked { span { "runs " (image) ", which the registry could not be asked about" } }
                        @if line.stray { span { "its container was found running afterwards, and was stopped" } }
                        span.facts { (page::time(line.requested_at)) }
                        a href=(log_url("", &links, line.deployment_id)) { "See logs" }
                    }
                }
            }
        }
    };
    Ok(page::framed(&format!("{}: {}", card.project_name, card.build_name), false, &body))
}
