//! `GET /projects/{slug}/history`: who deployed what where and when, and how it ended; the same as JSON.

use std::collections::HashSet;

use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::deployment_page::sentence;
use super::error::HttpError;
use super::parameters::{Path, Query};
use super::{Web, page, traced};
use crate::app::history::{Changed, NoSuchMoment, as_json, changed_as_json, changes, states_called};
use crate::domain::deployment::duration;
use crate::domain::event::{Event, SettingsEvent};
use crate::domain::project::Project;
use crate::domain::state::State;
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
    extract::State(web): extract::State<Web>,
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

async fn told(web: &Web, slug: &str, wanted: &Wanted, as_data: bool) -> Result<Response, HttpError> {
    let Some(project) = web.app.opened_project(slug, &wanted.key).await? else {
        return if as_data { Err(HttpError::not_found()) } else { Ok(page::not_found()) };
    };
    traced::about("project.id", project.id);
    let read = async {
        let asked = asked(web, &project, wanted).await?;
        match wanted.before.trim() {
            "" => Ok((asked, None)),
            text => match text.parse() {
                Ok(before) => match web.app.cursor(before).await {
                    Ok(before) => Ok((asked, Some(before))),
                    Err(NoSuchMoment::Database(e)) => Err(e.into()),
                    Err(no) => Err(HttpError::malformed(no.to_string())),
                },
                Err(_) => Err(HttpError::malformed("before is a position: the cursor of the last one")),
            },
        }
    };
    let (asked, before) = match read.await {
        Ok(read) => read,
        // What was asked for can be asked for otherwise.
        Err(HttpError(StatusCode::BAD_REQUEST, why)) if !as_data => {
            let heading = html! { (heading(&project, wanted)) (choices(&project, wanted)) };
            return Ok(page::asked_otherwise(&format!("{}: history", project.name), &heading, &why));
        }
        Err(answer) => return Err(answer),
    };
    if wanted.show == "settings" {
        let (mut all, _) =
            web.app.settings_changed(&asked, before, PAGE as usize + 1, |event| said(event).is_some()).await?;
        let more = all.len() > PAGE as usize;
        all.truncate(PAGE as usize);
        let next = all.last().filter(|_| more).map(|change| change.recorded.position);
        if as_data {
            let said = |change: &Changed| said(&change.recorded.event).unwrap_or_default();
            let all: Vec<_> = all.iter().map(|change| changed_as_json(change, &said(change))).collect();
            return Ok((page::HEADERS, axum::Json(json!({ "settings": all, "next": next }))).into_response());
        }
        return Ok(settings_page(&project, wanted, next, &all));
    }
    let page = web.app.readers().history().deployments(&asked, before, PAGE).await?;
    let next = page.next;
    if as_data {
        let now = web.app.store.clock().now();
        let told = |one: &Deployed| {
            let mut told = as_json(one, now);
            told["log"] = json!(web.app.log_of_deployed(one));
            told
        };
        let all: Vec<_> = page.deployed.iter().map(told).collect();
        let answer = json!({ "deployments": all, "untold": page.untold, "next": next });
        return Ok((page::HEADERS, axum::Json(answer)).into_response());
    }
    // What is new comes by itself; what is old stays as it is.
    let is_plain = before.is_none()
        && address(wanted, "show", "") == address(&Wanted { key: wanted.key.clone(), ..Wanted::default() }, "show", "");
    let script = if is_plain { page::Script::Renewed } else { page::Script::Times };
    let body = html! {
        main.plain #renewed {
            (heading(&project, wanted))
            (choices(&project, wanted))
            @if !page.untold.is_empty() { p.reason { "Left out, because their rows can't be read: " (page.untold.len()) ". An operator makes them anew with coolops replay." } }
            @if page.deployed.is_empty() { p { "Nothing was deployed that is asked for here." } }
            ol.history {
                @for one in &page.deployed { li { (line(web, one)) } }
            }
            @if let Some(next) = next { p { a href=(address(wanted, "before", &next.to_string())) { "Older" } } }
        }
    };
    Ok(page::framed(&format!("{}: history", project.name), None, script, &body))
}

async fn asked(web: &Web, project: &Project, wanted: &Wanted) -> Result<Asked, HttpError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    if wanted.show == "settings" && (given(&wanted.outcome).is_some() || given(&wanted.build).is_some()) {
        return Err(HttpError::malformed("changes of settings have no outcome and no build; leave both out"));
    }
    let environments = match given(&wanted.environment) {
        None => vec![],
        Some(name) => match web.app.environments_called(project, &name).await? {
            none if none.is_empty() => {
                let known: Vec<&str> = project.environments.iter().map(|environment| &environment.name[..]).collect();
                return Err(HttpError::malformed(format!(
                    "there is no environment {name:?}; there are: {}",
                    known.join(", ")
                )));
            }
            found => found,
        },
    };
    let states = match given(&wanted.outcome) {
        None => vec![],
        Some(word) => match states_called(&word) {
            none if none.is_empty() => {
                let known = State::ALL.map(State::as_str).join(", ");
                return Err(HttpError::malformed(format!("there is no outcome {word:?}; there are: {known}")));
            }
            found => found,
        },
    };
    let (since, until) = (given(&wanted.since), given(&wanted.until));
    let (after, until) = web.app.range(since.as_deref(), until.as_deref()).await?;
    let (user, build) = (given(&wanted.user), given(&wanted.build));
    Ok(Asked { project: Some(project.id), environments, user, build, after, until, states })
}

fn heading(project: &Project, wanted: &Wanted) -> Markup {
    let here = if wanted.show == "settings" { "settings" } else { "deployments" };
    html! {
        h1 { (project.name) }
        (choices_of(&project.slug, &wanted.key, here))
    }
}

/// The pages of a project, of which one is shown.
pub(super) fn choices_of(slug: &str, key: &str, here: &str) -> Markup {
    let query = |more: &[(&str, &str)]| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("key", key).extend_pairs(more).finish()
    };
    let (plain, settings) = (query(&[]), query(&[("show", "settings")]));
    let pages = [
        ("what is where", format!("/projects/{slug}?{plain}"), "What is where"),
        ("deployments", format!("/projects/{slug}/history?{plain}"), "Deployments"),
        ("settings", format!("/projects/{slug}/history?{settings}"), "Settings"),
        ("insights", format!("/projects/{slug}/insights?{plain}"), "Insights"),
    ];
    html! {
        nav.choices aria-label="What is shown" {
            @for (name, address, words) in &pages { a href=(address) aria-current=[(*name == here).then_some("page")] { (words) } }
        }
    }
}

/// What can be chosen: links and a form, so that it works without a script.
fn choices(project: &Project, wanted: &Wanted) -> Markup {
    let (over, open): (Vec<State>, Vec<State>) = State::ALL.into_iter().partition(|state| state.is_over());
    let mut outcomes: Vec<&str> = over.into_iter().chain(open).map(State::word).collect();
    // Two of them are one to people.
    let mut seen = HashSet::new();
    outcomes.retain(|word| seen.insert(*word));
    html! {
        nav.choices aria-label="Environment" {
            a href=(address(wanted, "environment", "")) aria-current=[wanted.environment.is_empty().then_some("true")] { "everywhere" }
            @for environment in names_of(project) {
                a href=(address(wanted, "environment", environment)) aria-current=[(wanted.environment == environment).then_some("true")] { (environment) }
            }
        }
        @if wanted.show != "settings" {
            nav.choices aria-label="Outcome" {
                a href=(address(wanted, "outcome", "")) aria-current=[wanted.outcome.is_empty().then_some("true")] { "any" }
                @for word in outcomes {
                    a href=(address(wanted, "outcome", word)) aria-current=[(wanted.outcome == word).then_some("true")] { (word) }
                }
            }
        }
        (filter(wanted))
    }
}

/// Whatever is no choice among a few. What the links chose stays as it is.
fn filter(wanted: &Wanted) -> Markup {
    let chosen = [
        ("key", wanted.key.as_str()),
        ("environment", &wanted.environment),
        ("outcome", &wanted.outcome),
        ("show", &wanted.show),
    ];
    let build = page::Field { name: "build", label: "Build", value: &wanted.build, example: "its name begins with" };
    let mut fields = vec![page::Field { name: "user", label: "By", value: &wanted.user, example: "name or id" }];
    fields.extend((wanted.show != "settings").then_some(build));
    fields.extend([
        page::Field { name: "since", label: "Since", value: &wanted.since, example: "7d" },
        page::Field { name: "until", label: "Until", value: &wanted.until, example: "2026-01-31T12:00Z" },
    ]);
    page::form(&chosen, &fields)
}

/// The names of a project's environments, each once: one that is gone may have been made again.
fn names_of(project: &Project) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for environment in &project.environments {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&environment.name)) {
            names.push(&environment.name);
        }
    }
    names
}

/// The address of this page with one thing chosen otherwise, from its beginning.
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

fn line(web: &Web, deployed: &Deployed) -> Markup {
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
        @if let Some(links) = &of_build { a href=(log_url("", links, deployment.of.deployment_id)) { "See logs" } }
    }
}

/// What was changed, for everybody in the channel: values of variables, and everything about tokens, credentials and rights,
/// stay with those who have the command line.
fn said(event: &Event) -> Option<String> {
    let Event::Settings(event) = event else { return None };
    match event {
        SettingsEvent::VariableSet(e) => Some(format!("set {}", e.name)),
        SettingsEvent::SecretSet(e) => Some(format!("set the secret {}", e.name)),
        // Why is not for everybody who may deploy.
        SettingsEvent::ProjectHoldChanged(e) => {
            Some(if e.reason.is_some() { "put a legal hold on the output" } else { "ended the legal hold" }.to_owned())
        }
        SettingsEvent::TokenIssued(_)
        | SettingsEvent::TokenRevoked(_)
        | SettingsEvent::RegistryCredentialsSet(_)
        | SettingsEvent::RegistryCredentialsUnset(_)
        | SettingsEvent::CiSecretSet(_)
        | SettingsEvent::CiUnset(_)
        | SettingsEvent::CiRulesChanged(_)
        | SettingsEvent::EnvironmentRightsChanged(_) => None,
        event => Some(happened(&Event::Settings(event.clone()))),
    }
}

fn settings_page(project: &Project, wanted: &Wanted, next: Option<i64>, all: &[Changed]) -> Response {
    let body = html! {
        main.plain {
            (heading(project, wanted))
            (choices(project, wanted))
            @if all.is_empty() { p { "Nothing was changed that is asked for here." } }
            ol.history {
                @for change in all {
                    li {
                        @if let Some((_, name)) = &change.environment { strong { (name) } }
                        span { (visible(&actor(&change.recorded.actor))) ": " (visible(&said(&change.recorded.event).unwrap_or_default())) }
                        span.facts { (page::time(change.recorded.recorded_at)) " · event " (change.recorded.position) }
                    }
                }
            }
            @if let Some(next) = next { p { a href=(address(wanted, "before", &next.to_string())) { "Older" } } }
        }
    };
    page::framed(&format!("{}: settings", project.name), None, page::Script::Times, &body)
}
