//! `GET /board`: all projects by environments, now or at a moment; and what changed between two.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::TimeDelta;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::HttpError;
use super::parameters::Query;
use super::{Web, page};
use crate::app::history::{NoSuchMoment, When};
use crate::app::travel::{Board, between};
use crate::domain::moment::Moment;
use crate::projections::standing::Standing;
use crate::projections::words::{Words, locked_with};
use coolops_client::limits::visible;

/// What is asked for in the address; what is empty is not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    key: String,
    at: String,
    since: String,
}

/// Handles the request.
///
/// 400 for what is no moment of the log, 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(State(web): State<Web>, Query(wanted): Query<Wanted>) -> Response {
    match shown(&web, &wanted).await {
        Ok(page) => page,
        // What was asked for can be asked for otherwise.
        Err(HttpError(StatusCode::BAD_REQUEST, why)) => {
            page::asked_otherwise("All projects", &html! { h1 { "All projects" } (form(&wanted)) }, &why)
        }
        Err(answer) => page::for_people(&answer),
    }
}

fn form(wanted: &Wanted) -> Markup {
    let field = |name, label, value, example| page::Field { name, label, value, example };
    page::form(
        &[("key", &wanted.key)],
        &[field("at", "At", wanted.at.trim(), "now"), field("since", "What changed since", wanted.since.trim(), "7d")],
    )
}

/// The moment that somebody wrote; now where nothing is.
///
/// # Errors
/// When it is none, or not of this log.
pub(super) async fn moment(web: &Web, written: &str) -> Result<When, HttpError> {
    let now = web.app.store.clock().now();
    let when = match written.trim() {
        "" => match web.app.now().await {
            Err(NoSuchMoment::Empty) => Ok(When { position: 0, at: now }),
            when => when,
        },
        text => web.app.when(Moment::parse(text, now).map_err(|e| HttpError::malformed(e.to_string()))?).await,
    };
    when.map_err(|no| match no {
        NoSuchMoment::Database(e) => e.into(),
        lost @ NoSuchMoment::RowsLost => HttpError::not_now(lost.to_string()),
        no => HttpError::malformed(no.to_string()),
    })
}

async fn shown(web: &Web, wanted: &Wanted) -> Result<Response, HttpError> {
    if !web.app.keys.board_links().allows("board", uuid::Uuid::nil(), &wanted.key) {
        return Ok(page::not_found());
    }
    let board = web.app.board(moment(web, &wanted.at).await?, None).await?;
    let before = match wanted.since.trim() {
        "" => None,
        since => Some(web.app.board(moment(web, since).await?, None).await?),
    };
    let key = |board: &Board| (board.when.position, board.when.at);
    if before.as_ref().is_some_and(|before| key(before) > key(&board)) {
        return Err(HttpError::malformed(
            "since is after the moment that is looked at; name an earlier one".to_owned(),
        ));
    }
    let is_now = wanted.at.trim().is_empty();
    let position = board.when.position;
    let (first, head) = match web.app.readers().history().span().await? {
        Some((first, _, head)) => (Some(first), head),
        None => (None, 0),
    };
    let now = web.app.store.clock().now();
    let steps = [("1h", "an hour ago", 1), ("1d", "a day ago", 24), ("7d", "a week ago", 7 * 24)];
    let is_there = |hours: i64| first.is_some_and(|first| now - TimeDelta::hours(hours) >= first);
    let earlier = steps.into_iter().filter(|(.., hours)| is_there(*hours)).map(|(ago, words, _)| (ago, words));
    let body = html! {
        main.plain {
            h1 { "All projects" }
            p.facts { @if is_now { "Now" } @else { "As of " (page::time(board.when.at)) } " · event " (position) }
            nav.choices aria-label="Moment" {
                a href=(address(wanted, "1", "")) { "first event" }
                @if position > 1 { a href=(address(wanted, &(position - 1).to_string(), "")) { "an event earlier" } }
                @for (ago, words) in earlier { a href=(address(wanted, ago, "")) { (words) } }
                @if !is_now {
                    @if position < head { a href=(address(wanted, &(position + 1).to_string(), "")) { "an event later" } }
                    a href=(address(wanted, "", "")) { "now" }
                    a href=(address(wanted, "", &position.to_string())) { "what changed since" }
                }
            }
            (form(wanted))
            @if let Some(before) = &before { (differences(before, &board)) }
            @if board.projects.is_empty() && board.unread.is_empty() { p { "There was no project." } }
            @for not_told in &board.unread { p { (visible(&not_told.sentence())) } }
            @for (project, standings) in &board.projects { (table(&project.name, standings)) }
        }
    };
    Ok(page::framed("All projects", None, page::Script::Times, &body))
}

fn address(wanted: &Wanted, at: &str, since: &str) -> String {
    let given =
        [("key", wanted.key.as_str()), ("at", at), ("since", since)].into_iter().filter(|(_, value)| !value.is_empty());
    format!("/board?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish())
}

fn differences(before: &Board, after: &Board) -> Markup {
    let all = between(before, after);
    html! {
        h2 { "What changed since event " (before.when.position) }
        @if all.is_empty() { p.facts { "Nothing." } }
        ol.history {
            @for one in &all { li { strong { (one.project) @if !one.environment.is_empty() { ", " (one.environment) } } span { (visible(&one.what)) } } }
        }
    }
}

fn table(name: &str, standings: &[Standing]) -> Markup {
    html! {
        h2 { (name) }
        @if standings.is_empty() { p.facts { "This project has no environment." } }
        @if !standings.is_empty() {
            div.wide tabindex="0" role="region" aria-label=(name) {
                table {
                    thead { tr { th scope="col" { "Environment" } th scope="col" { "Runs" } th scope="col" { "Since" } th scope="col" { "By" } th scope="col" { "Held, waiting, failed" } } }
                    tbody { @for standing in standings { (row(standing)) } }
                }
            }
        }
    }
}

fn row(s: &Standing) -> Markup {
    html! {
        tr {
            th scope="row" { (s.name) }
            @match &s.good {
                Some(good) => {
                    td { (good.deployment.build_name) }
                    td { (page::time(good.since)) }
                    td { (good.deployment.requested_by.name()) }
                }
                None => { td { "–" } td { "–" } td { "–" } }
            }
            td {
                @for lock in &s.locks { p { "Locked" (locked_with(lock.scope)) " by " (lock.holder.name()) @if let Some(until) = lock.until { " until " (page::time(until)) } @if let Some(reason) = &lock.reason { ": " (visible(reason)) } } }
                @for d in s.open.iter().chain(&s.failed) {
                    p { (d.deployment.build_name) " " (page::badge(d.deployment.state())) @if Words::of(&d.deployment).says_more() { " " (visible(&Words::of(&d.deployment).sentence(str::to_owned))) } }
                }
            }
        }
    }
}
