//! `GET /projects/{slug}/history`: who deployed what where and when, and how it ended; the same as JSON.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::deployment_page::sentence;
use super::error::Answer;
use super::{Web, page, traced};
use crate::app::history::{Changed, as_json, changes};
use crate::domain::deployment::{State as Stands, duration};
use crate::domain::event::{Event, SettingsEvent};
use crate::domain::moment::Moment;
use crate::domain::project::Project;
use crate::keys::Links;
use crate::projections::happened::{actor, happened};
use crate::projections::words::Words;
use crate::slack::render::log_url;
use crate::store::history::{Asked, Deployed};
use coolops_client::limits::visible;

/// What is asked for in the address; what is empty is not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    key: String,
    environment: String,
    user: String,
    build: String,
    outcome: String,
    since: String,
    until: String,
    before: String,
    show: String,
    format: String,
}

/// Deployments on a page, and settings.
const PAGE: i64 = 50;

/// Handles the request.
///
/// 400 for what can't be read, 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(
    State(web): State<Web>,
    Path(slug): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let as_data = wanted.format == "json" || accepts.starts_with("application/json");
    match told(&web, &slug, &wanted, as_data).await {
        Ok(response) => response,
        Err(answer) if as_data => answer.into_response(),
        Err(answer) => page::for_people(&answer),
    }
}

async fn told(web: &Web, slug: &str, wanted: &Wanted, as_data: bool) -> Result<Response, Answer> {
    let Some((project, _)) = web.app.opened_project(slug, &wanted.key).await? else {
        return if as_data { Err(Answer::not_found()) } else { Ok(page::not_found()) };
    };
    traced::about("project.id", project.id);
    let asked = asked(web, &project, wanted).await?;
    let before = match wanted.before.trim() {
        "" => None,
        text => Some(text.parse().map_err(|_| Answer::malformed("before is a position: the cursor of the last one"))?),
    };
    let links = web.app.keys.links(&project.link_key);
    if wanted.show == "settings" && !as_data {
        let all = web.app.settings_changed(Some(project.id)).await?;
        return Ok(settings_page(&project, wanted, &asked, before, all));
    }
    let mut deployed = web.app.readers().history().deployments(&asked, before, PAGE + 1).await?;
    let more = deployed.len() > PAGE as usize;
    deployed.truncate(PAGE as usize);
    let next = if more { deployed.last().map(|last| last.position) } else { None };
    if as_data {
        let now = web.app.store.clock().now();
        let all: Vec<_> = deployed.iter().map(|one| as_json(one, now)).collect();
        return Ok((page::HEADERS, axum::Json(json!({ "deployments": all, "next": next }))).into_response());
    }
    // What is new comes by itself; what is old stays as it is.
    let script = if before.is_none() { page::Script::Renewed } else { page::Script::None };
    let body = html! {
        main.plain #renewed {
            (heading(&project, wanted))
            (choices(&project, wanted))
            @if deployed.is_empty() { p { "Nothing was deployed that is asked for here." } }
            ol.history {
                @for one in &deployed { li { (line(web, one, links.as_ref())) } }
            }
            @if let Some(next) = next { p { a href=(address(wanted, "before", &next.to_string())) { "Older" } } }
        }
    };
    Ok(page::framed(&format!("{}: history", project.name), None, script, &body))
}

async fn asked(web: &Web, project: &Project, wanted: &Wanted) -> Result<Asked, Answer> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let environment = match given(&wanted.environment) {
        None => None,
        Some(name) => {
            let found = project.environments.iter().find(|e| e.name.eq_ignore_ascii_case(&name));
            Some(found.ok_or_else(|| Answer(StatusCode::BAD_REQUEST, format!("there is no environment {name:?}")))?.id)
        }
    };
    let states = match given(&wanted.outcome) {
        None => vec![],
        Some(word) => {
            let states: Vec<Stands> =
                Stands::ALL.into_iter().filter(|state| state.as_str() == word || state.word() == word).collect();
            if states.is_empty() {
                return Err(Answer(StatusCode::BAD_REQUEST, format!("there is no outcome {word:?}")));
            }
            states
        }
    };
    let position = async |written: Option<String>| -> Result<Option<i64>, Answer> {
        let Some(written) = written else { return Ok(None) };
        let moment = Moment::parse(&written, web.app.store.clock().now());
        Ok(Some(match moment.map_err(|e| Answer::malformed(e.to_string()))? {
            Moment::Position(position) => position,
            Moment::Time(at) => web.app.readers().history().position_at(at).await?,
        }))
    };
    Ok(Asked {
        project: Some(project.id),
        environment,
        user: given(&wanted.user),
        build: given(&wanted.build),
        after: position(given(&wanted.since)).await?.map(|position| position.saturating_sub(1)),
        until: position(given(&wanted.until)).await?,
        states,
    })
}

fn heading(project: &Project, wanted: &Wanted) -> Markup {
    let here = |show: &str| wanted.show == show;
    html! {
        h1 { (project.name) }
        nav.choices aria-label="What is shown" {
            a href=(format!("/projects/{}?key={}", project.slug, wanted.key)) { "What is where" }
            a href=(address(wanted, "show", "")) aria-current=[(!here("settings")).then_some("page")] { "Deployments" }
            a href=(address(wanted, "show", "settings")) aria-current=[here("settings").then_some("page")] { "Settings" }
        }
    }
}

/// What can be chosen: links, so that it works without a script.
fn choices(project: &Project, wanted: &Wanted) -> Markup {
    let outcomes = [("", "any end"), ("succeeded", "succeeded"), ("failed", "failed"), ("cancelled", "cancelled")];
    html! {
        nav.choices aria-label="Environment" {
            a href=(address(wanted, "environment", "")) aria-current=[wanted.environment.is_empty().then_some("true")] { "everywhere" }
            @for environment in &project.environments {
                a href=(address(wanted, "environment", &environment.name)) aria-current=[(wanted.environment == environment.name).then_some("true")] { (environment.name) }
            }
        }
        nav.choices aria-label="Outcome" {
            @for (value, word) in outcomes {
                a href=(address(wanted, "outcome", value)) aria-current=[(wanted.outcome == value).then_some("true")] { (word) }
            }
        }
        @for (name, value) in [("user", &wanted.user), ("build", &wanted.build), ("since", &wanted.since), ("until", &wanted.until)] {
            @if !value.is_empty() { p.facts { (name) " " (visible(value)) " " a href=(address(wanted, name, "")) { "(any)" } } }
        }
    }
}

/// The same page with one thing chosen otherwise, from its beginning.
fn address(wanted: &Wanted, name: &str, value: &str) -> String {
    let is = |other: &str, now: &str| if other == name { value.to_owned() } else { now.to_owned() };
    let all = [
        ("key", wanted.key.clone()),
        ("environment", is("environment", &wanted.environment)),
        ("user", is("user", &wanted.user)),
        ("build", is("build", &wanted.build)),
        ("outcome", is("outcome", &wanted.outcome)),
        ("since", is("since", &wanted.since)),
        ("until", is("until", &wanted.until)),
        ("show", is("show", &wanted.show)),
        ("before", is("before", "")),
    ];
    let given = all.iter().filter(|(_, value)| !value.is_empty());
    let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    format!("?{query}")
}

fn line(web: &Web, deployed: &Deployed, links: Option<&Links>) -> Markup {
    let (timed, deployment) = (&deployed.timed, &deployed.timed.deployment);
    let of_build = deployed.link_key.as_deref().and_then(|key| web.app.keys.links(key));
    let replaces = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces.as_deref());
    html! {
        strong { (deployment.build_name) }
        (page::badge(deployment.state()))
        span { "to " (deployment.environment_name) @if let Some(before) = replaces { ", in place of " (before) } }
        @if Words::of(deployment).says_more() { span { (sentence(deployment)) } }
        span.facts {
            (deployment.requested_by.name()) " · " (page::time(timed.requested_at))
            @if let Some(seconds) = timed.ran(web.app.store.clock().now()) { " · " span.ran { (duration(seconds)) } }
        }
        @if let Some(url) = changes(deployed) { a href=(url) rel="noopener noreferrer" { "Changes" } }
        @if let Some(links) = of_build.as_ref().or(links) { a href=(log_url("", links, deployment.of.deployment_id)) { "See logs" } }
    }
}

/// What was changed. The value of a variable stays with those who have the command line: a project's page is for everybody
/// in the channel.
fn said(event: &Event) -> String {
    match event {
        Event::Settings(SettingsEvent::VariableSet(e)) => format!("set {}", e.name),
        event => happened(event),
    }
}

fn settings_page(
    project: &Project,
    wanted: &Wanted,
    asked: &Asked,
    before: Option<i64>,
    mut all: Vec<Changed>,
) -> Response {
    all.retain(|change| {
        let position = change.recorded.position;
        before.is_none_or(|before| position < before)
            && asked.after.is_none_or(|after| position > after)
            && asked.until.is_none_or(|until| position <= until)
    });
    let more = all.len() > PAGE as usize;
    all.truncate(PAGE as usize);
    let next = all.last().filter(|_| more).map(|change| change.recorded.position.to_string());
    let body = html! {
        main.plain {
            (heading(project, wanted))
            @if all.is_empty() { p { "Nothing was changed." } }
            ol.history {
                @for change in &all {
                    li {
                        @if let Some((_, name)) = &change.environment { strong { (name) } }
                        span { (visible(&actor(&change.recorded.actor))) ": " (visible(&said(&change.recorded.event))) }
                        span.facts { (page::time(change.recorded.recorded_at)) " · event " (change.recorded.position) }
                    }
                }
            }
            @if let Some(next) = next { p { a href=(address(wanted, "before", &next)) { "Older" } } }
        }
    };
    page::framed(&format!("{}: settings", project.name), None, page::Script::None, &body)
}
