//! `GET /builds/{id}`: everything that a build's message has no room for.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::html;

use super::Web;
use super::deployment_page::{Key, allowed};
use super::error::Answer;
use super::page;
use crate::domain::ids::BuildId;
use crate::projections::build_card::{BuildCard, Reason};
use crate::slack::render::log_url;

/// Handles the request.
///
/// # Errors
/// 503 when the database is away; a wrong link is a 404 page.
pub async fn handle(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Result<Response, Answer> {
    let Ok(id) = id.parse::<BuildId>() else { return Ok(page::not_found()) };
    let Some(links) = allowed(&web, id, "builds", id.0, key.value()).await? else { return Ok(page::not_found()) };
    let events = web.app.store.read_build(id).await?;
    let Some(card) = BuildCard::fold(&events) else { return Ok(page::not_found()) };
    let body = html! {
        main.plain {
            h1 { (card.project_name) ": " (card.build_name) }
            p.facts { "Announced " (page::time(card.registered_at)) }
            @if !card.metadata.is_empty() {
                h2 { "About this build" }
                dl { @for entry in &card.metadata { dt { (entry.name) } dd { (entry.value) } } }
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
                            Some(Reason::Stopped(reason, _)) => { span { (reason.sentence()) } }
                            Some(Reason::Lost(found)) => { span { (found) } }
                            Some(Reason::Resolved(reason)) => { span { "a person decided: " (reason) } }
                            None => {}
                        }
                        span.facts { (page::time(line.requested_at)) }
                        a href=(log_url("", &links, line.deployment_id)) { "See logs" }
                    }
                }
            }
        }
    };
    Ok(page::framed(&format!("{}: {}", card.project_name, card.build_name), false, &body))
}
