//! `GET /projects/{slug}`: what is where.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::deployment_page::sentence;
use super::error::HttpError;
use super::history_page::choices_of;
use super::link::Key;
use super::page;
use super::parameters::{Path, Query};
use super::{Web, traced};
use crate::domain::deployment::{Deployment, duration};
use crate::domain::ids::BuildId;
use crate::projections::standing::Standing;
use crate::projections::timed::Timed;
use crate::projections::words::{Words, locked_with};
use crate::slack::render::log_url;
use coolops_client::limits::visible;

/// Handles the request.
///
/// 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(State(web): State<Web>, Path(slug): Path<String>, Query(key): Query<Key>) -> Response {
    shown(&web, &slug, &key).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, slug: &str, key: &Key) -> Result<Response, HttpError> {
    let Some(project) = web.app.opened_project(slug, key.value()).await? else { return Ok(page::not_found()) };
    let standings = web.app.shown_standings(&project).await?;
    traced::about("project.id", project.id);
    let shown = |s: &Standing| s.open.iter().chain(&s.failed).map(|d| d.deployment.of.build_id).collect::<Vec<_>>();
    let builds: Vec<BuildId> = standings.iter().flat_map(shown).collect();
    let linked = web.app.unproven().directory().linked(&builds).await?;
    let links = web.app.keys.links(&project.link_key);
    // Links that were revoked open nothing.
    let log_of = |d: &Deployment| {
        Some(log_url("", links.as_ref().filter(|_| linked.contains(&d.of.build_id))?, d.of.deployment_id))
    };
    let now = web.app.store.clock().now();
    let body = html! {
        main.plain #renewed {
            h1 { (project.name) }
            (choices_of(&project.slug, key.value(), "what is where"))
            @if project.archived { p.facts { "This project is archived: nothing is deployed any more." } }
            @if standings.is_empty() { p { "This project has no environment yet." } }
            @for standing in &standings { (environment(standing, &log_of, now)) }
        }
    };
    let newest = standings.iter().flat_map(|s| &s.open).map(|d| d.deployment.state()).next();
    Ok(page::framed(&format!("{}: what is where", project.name), newest, page::Script::Renewed, &body))
}

fn environment(s: &Standing, log_of: &dyn Fn(&Deployment) -> Option<String>, now: DateTime<Utc>) -> Markup {
    let line = |d: &Timed| {
        html! {
            strong { (d.deployment.build_name) }
            (page::badge(d.deployment.state()))
            @if Words::of(&d.deployment).says_more() { span { (sentence(&d.deployment)) } }
            span.facts {
                (d.deployment.requested_by.name()) " · " (page::time(d.since))
                @if let Some(seconds) = d.ran(now) { " · " span.ran { (duration(seconds)) } }
            }
            @if let Some(log) = log_of(&d.deployment) { a href=(log) { "See logs" } }
        }
    };
    html! {
        section.environment aria-label=(s.name) {
            h3 {
                span { (s.name) }
                @if s.protected { span.badge { "protected" } }
            }
            @for lock in &s.locks {
                p {
                    "Locked" (locked_with(lock.scope)) " by " (lock.holder.name()) " since " (page::time(lock.since))
                    @if let Some(until) = lock.until { ", until " (page::time(until)) }
                    @if let Some(build) = &lock.build { ", for " strong { (build) } }
                    @if let Some(reason) = &lock.reason { ": " (visible(reason)) }
                }
            }
            @match &s.good {
                Some(good) => p { "Runs " strong { (good.deployment.build_name) } " since " (page::time(good.since)) ", by " (good.deployment.requested_by.name()) "." },
                None => p.facts { "Nothing was deployed here with success yet." },
            }
            @if !s.open.is_empty() || s.failed.is_some() {
                ol.history {
                    @for deployment in s.open.iter().chain(&s.failed) { li { (line(deployment)) } }
                }
            }
        }
    }
}
