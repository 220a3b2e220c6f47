//! `GET /builds/{id}`: everything that a build's message has no room for.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::html;

use super::Web;
use super::deployment_page::{Key, sentence};
use super::error::Answer;
use super::page;
use super::traced;
use crate::app::questions::Opens;
use crate::domain::ids::BuildId;
use crate::projections::build_card::BuildCard;
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
                        @let deployment = &line.deployment;
                        (page::badge(deployment.state()))
                        strong { (deployment.environment_name) }
                        @if Words::of(deployment).says_more() { span { (sentence(deployment)) } }
                        @if let Some(image) = unchecked(deployment) {
                            span { "runs " (image) ", which the registry could not be asked about" }
                        }
                        span.facts { (page::time(line.requested_at)) }
                        a href=(log_url("", &links, deployment.of.deployment_id)) { "See logs" }
                    }
                }
            }
        }
    };
    Ok(page::framed(&format!("{}: {}", card.project_name, card.build_name), false, &body))
}
