//! `coolops insights`: measures of delivery, by environment and week.

use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::operate;
use super::output::{self, Format};
use crate::domain::deployment::duration;
use crate::projections::insights::Week;

/// Arguments of `insights`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only what ended since this moment: a time with its zone, how long ago, or a position
    #[arg(long, default_value = "84d")]
    since: String,
    #[command(flatten)]
    format: Format,
}

/// Runs it.
///
/// # Errors
/// When there is no such project, the moment can't be read, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let projects = match &args.project {
        Some(slug) => vec![app.project_named(slug).await?],
        None => app.store.directory().projects().await?,
    };
    let after = app.before_week_of(&args.since).await?;
    let now = app.store.clock().now();
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for project in &projects {
        for week in app.insights(project, after).await? {
            rows.push(row(&project.slug, &week, now));
            let mut value = json!(week);
            value["project"] = json!(project.slug);
            value["a_day"] = json!(week.a_day(now));
            value["failure_rate"] = json!(week.failure_rate());
            all.push(value);
        }
    }
    if args.format.json {
        output::json(&all);
    } else {
        let headings = [
            "PROJECT",
            "ENVIRONMENT",
            "WEEK OF",
            "DEPLOYED",
            "A DAY",
            "FAILED",
            "FROM BUILD",
            "TOOK",
            "NEXT GOOD AFTER",
        ];
        output::table(&headings, &rows);
    }
    Ok(ExitCode::SUCCESS)
}

fn row(project: &str, week: &Week, now: DateTime<Utc>) -> Vec<String> {
    let time = |seconds: Option<i64>| seconds.map_or_else(|| "–".to_owned(), duration);
    vec![
        project.to_owned(),
        output::safe(&week.environment),
        week.week.to_string(),
        week.deployments().to_string(),
        format!("{:.1}", week.a_day(now)),
        week.failure_rate().map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0} %")),
        time(week.from_build),
        time(week.duration),
        time(week.to_next_good),
    ]
}
