//! `GET /projects/{slug}/insights`: measures of delivery, drawn on the server.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::HttpError;
use super::history_page::choices_of;
use super::parameters::{Path, Query};
use super::{Web, page, traced};
use crate::domain::deployment::duration;
use crate::projections::insights::Week;

/// What is asked for in the address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wanted {
    key: String,
    since: String,
}

/// Weeks that are drawn: more are narrower than a finger.
const WEEKS: usize = 26;

/// Handles the request.
///
/// 400 for what is no moment, 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn handle(State(web): State<Web>, Path(slug): Path<String>, Query(wanted): Query<Wanted>) -> Response {
    shown(&web, &slug, &wanted).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, slug: &str, wanted: &Wanted) -> Result<Response, HttpError> {
    let Some(project) = web.app.opened_project(slug, &wanted.key).await? else { return Ok(page::not_found()) };
    traced::about("project.id", project.id);
    let since = Some(wanted.since.trim()).filter(|since| !since.is_empty()).unwrap_or("84d");
    let heading = html! {
        h1 { (project.name) }
        (choices_of(&project.slug, &wanted.key, "insights"))
        (page::form(&[("key", &wanted.key)], &[page::Field { name: "since", label: "Since", value: since, example: "84d" }]))
    };
    let after = match web.app.before_week_of(since).await.map_err(HttpError::from) {
        Ok(after) => after,
        Err(HttpError(StatusCode::BAD_REQUEST, why)) => {
            return Ok(page::asked_otherwise(&format!("{}: insights", project.name), &heading, &why));
        }
        Err(answer) => return Err(answer),
    };
    // What is not drawn is not read either.
    let drawn = web.app.before_week_of(&format!("{}w", WEEKS - 1)).await?;
    let _turn = web.room.work().await?;
    let weeks = web.app.insights(&project, after.max(drawn)).await?;
    let (now, of_each) = (web.app.store.clock().now(), weeks.chunk_by(|a, b| a.of == b.of));
    let body = html! {
        main.plain {
            (heading)
            @if weeks.is_empty() { p { "Nothing has ended in this time." } }
            @if after < drawn { p.facts { "These are the last " (WEEKS) " weeks; coolops insights tells of all." } }
            @for weeks in of_each { (environment(weeks, now)) }
            p.facts { "A deployment belongs to the week in which it ended; what was cancelled or refused is left out. Times are medians: from the announcement of a build to the end of its first deployment there that went well; from start to end; from a failure to the next success there." }
        }
    };
    Ok(page::framed(&format!("{}: insights", project.name), None, page::Script::None, &body))
}

fn environment(weeks: &[Week], now: DateTime<Utc>) -> Markup {
    let time = |seconds: Option<i64>| seconds.map_or_else(none, duration);
    let share = |week: &Week| week.failure_rate().unwrap_or_default() / 100.0;
    let percent = |rate: Option<f64>| rate.map_or_else(none, |rate| format!("{rate:.0} %"));
    let name = &weeks[0].environment;
    html! {
        h2 { (name) }
        div.charts {
            (chart(name, "Deployments a day", weeks, &|week| Bar {
                good: week.a_day(now) * (1.0 - share(week)),
                bad: week.a_day(now) * share(week),
                said: format!("{:.1} a day: {} succeeded, {} failed", week.a_day(now), week.succeeded, week.failed),
            }, &|most| format!("{most:.1}")))
            (chart(name, "Failed", weeks, &|week| Bar {
                good: 0.0,
                bad: week.failure_rate().unwrap_or_default(),
                said: percent(week.failure_rate()),
            }, &|most| format!("{most:.0} %")))
            @for (title, of) in TIMES {
                (chart(name, title, weeks, &|week| Bar {
                    good: of(week).unwrap_or_default() as f64,
                    bad: 0.0,
                    said: time(of(week)),
                }, &|most| duration(most as i64)))
            }
        }
        div.wide tabindex="0" role="region" aria-label=(name) {
            table {
                thead { tr { @for heading in ["Week of", "Deployed", "A day", "Failed", "From build", "Took", "Next good after"] { th scope="col" { (heading) } } } }
                tbody {
                    @for week in weeks.iter().rev() {
                        tr {
                            th scope="row" { (week.week) }
                            td { (week.deployments()) }
                            td { (format!("{:.1}", week.a_day(now))) }
                            td { (percent(week.failure_rate())) }
                            td { (time(week.from_build)) }
                            td { (time(week.duration)) }
                            td { (time(week.to_next_good)) }
                        }
                    }
                }
            }
        }
    }
}

fn none() -> String {
    "–".to_owned()
}

/// What is told of a week as a time, in seconds.
type OfWeek = fn(&Week) -> Option<i64>;
const TIMES: [(&str, OfWeek); 3] = [
    ("From build", |week| week.from_build),
    ("Took", |week| week.duration),
    ("Next good after", |week| week.to_next_good),
];

/// A week in a chart.
struct Bar {
    good: f64,
    /// On top of what is good.
    bad: f64,
    said: String,
}

/// A measure week by week, drawn as bars. The table has the numbers.
fn chart(
    environment: &str,
    title: &str,
    weeks: &[Week],
    bar: &dyn Fn(&Week) -> Bar,
    scale: &dyn Fn(f64) -> String,
) -> Markup {
    const WIDTH: usize = 24;
    const HEIGHT: f64 = 96.0;
    let bars: Vec<Bar> = weeks.iter().map(bar).collect();
    let most = bars.iter().map(|bar| bar.good + bar.bad).fold(0.0, f64::max);
    let tall = |value: f64| if most > 0.0 { (value / most * HEIGHT).round() } else { 0.0 };
    let wide = weeks.len().max(4) * WIDTH;
    let (first, last) = (weeks[0].week, weeks[weeks.len() - 1].week);
    let at_most = scale(most);
    html! {
        figure {
            figcaption { (title) @if most > 0.0 { span.facts { " · at most " (at_most) } } @else { span.facts { " · none" } } }
            svg.chart role="img" aria-label=(format!("{environment}: {title}, week by week, {first} to {last}, at most {at_most}"))
                viewBox=(format!("0 0 {wide} {}", HEIGHT + 2.0)) preserveAspectRatio="none" {
                @for (n, (week, bar)) in weeks.iter().zip(&bars).enumerate() {
                    g {
                        title { (week.week) ": " (bar.said) }
                        rect.good x=(n * WIDTH + 2) y=(HEIGHT - tall(bar.good)) width=(WIDTH - 4) height=(tall(bar.good)) {}
                        rect.bad x=(n * WIDTH + 2) y=(HEIGHT - tall(bar.good) - tall(bar.bad)) width=(WIDTH - 4) height=(tall(bar.bad)) {}
                    }
                }
            }
            p.weeks aria-hidden="true" { span { (first) } @if last != first { span { (last) } } }
        }
    }
}
