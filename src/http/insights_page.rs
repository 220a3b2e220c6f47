//! `GET /projects/{slug}/insights`: measures of delivery, drawn on the server.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::Answer;
use super::history_page::choices_of;
use super::{Web, page, traced};
use crate::app::history::NoRange;
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

async fn shown(web: &Web, slug: &str, wanted: &Wanted) -> Result<Response, Answer> {
    let Some((project, _)) = web.app.opened_project(slug, &wanted.key).await? else { return Ok(page::not_found()) };
    traced::about("project.id", project.id);
    let since = Some(wanted.since.trim()).filter(|since| !since.is_empty()).unwrap_or("84d");
    let (after, _) = web.app.range(Some(since), None).await.map_err(|e| match e {
        NoRange::Moment(e) => Answer::malformed(e.to_string()),
        NoRange::Database(e) => e.into(),
    })?;
    let weeks = web.app.insights(project.id, after.unwrap_or(0)).await?;
    let of_each = weeks.chunk_by(|a, b| a.environment == b.environment);
    let body = html! {
        main.plain {
            h1 { (project.name) }
            (choices_of(&project.slug, &wanted.key, "insights"))
            @if weeks.is_empty() { p { "Nothing has ended in this time." } }
            @for weeks in of_each { (environment(weeks)) }
            p.facts { "A deployment belongs to the week in which it ended; what was cancelled or refused is left out. Times are medians: from the announcement of a build to the end of a deployment that went well; from start to end; from a failure to the next success there." }
        }
    };
    Ok(page::framed(&format!("{}: insights", project.name), None, page::Script::None, &body))
}

fn environment(weeks: &[Week]) -> Markup {
    let shown = &weeks[weeks.len().saturating_sub(WEEKS)..];
    let time = |seconds: Option<i64>| seconds.map_or_else(|| "–".to_owned(), duration);
    html! {
        h2 { (weeks[0].environment) }
        (chart(shown))
        div.wide tabindex="0" role="region" aria-label=(weeks[0].environment) {
            table {
                thead { tr { @for heading in ["Week of", "Deployed", "A day", "Failed", "From build", "Took", "Next good after"] { th scope="col" { (heading) } } } }
                tbody {
                    @for week in shown.iter().rev() {
                        tr {
                            th scope="row" { (week.week) }
                            td { (week.deployments()) }
                            td { (format!("{:.1}", week.deployments() as f64 / 7.0)) }
                            td { (format!("{:.0} %", week.failure_rate())) }
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

/// Deployments of each week as bars: what went well below, what did not on top of it. The table has the numbers.
fn chart(weeks: &[Week]) -> Markup {
    const WIDTH: usize = 24;
    const HEIGHT: usize = 96;
    let most = weeks.iter().map(Week::deployments).max().unwrap_or(1).max(1);
    let tall = |n: usize| n * HEIGHT / most;
    let said =
        format!("Deployments a week: {} to {}, at most {most} in a week", weeks[0].week, weeks[weeks.len() - 1].week);
    html! {
        svg.chart role="img" aria-label=(said) viewBox=(format!("0 0 {} {}", (weeks.len() * WIDTH).max(WIDTH), HEIGHT + 2)) preserveAspectRatio="xMinYMax meet" {
            @for (n, week) in weeks.iter().enumerate() {
                g {
                    title { (week.week) ": " (week.succeeded) " succeeded, " (week.failed) " failed" }
                    rect.good x=(n * WIDTH + 2) y=(HEIGHT - tall(week.succeeded)) width=(WIDTH - 4) height=(tall(week.succeeded)) {}
                    rect.bad x=(n * WIDTH + 2) y=(HEIGHT - tall(week.succeeded) - tall(week.failed)) width=(WIDTH - 4) height=(tall(week.failed)) {}
                }
            }
        }
    }
}
