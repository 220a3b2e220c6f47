//! `coolops history`: who deployed what where and when, and how it ended; or who changed which setting.

use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::deployment::state_names;
use super::output;
use super::{operate, with_address};
use crate::app::App;
use crate::app::history::{Changed, NotTold, SHORT_ID, as_json, changed_as_json, changes, states_called};
use crate::domain::deployment::duration;
use crate::projections::happened::{actor, happened};
use crate::projections::words::Words;
use crate::store::history::{Asked, Deployed};

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this project's
    #[arg(long)]
    project: Option<String>,
    /// Only to this environment
    #[arg(long)]
    environment: Option<String>,
    /// Only by whoever was called so then, or has this id in Slack
    #[arg(long)]
    user: Option<String>,
    /// Only what was pressed, or changed, from this moment on: a time with its zone, how long ago (7d), or a position
    #[arg(long)]
    since: Option<String>,
    /// Only until this moment
    #[arg(long)]
    until: Option<String>,
    /// Only what ended so, or stands so
    #[arg(long, value_parser = PossibleValuesParser::new(state_names()), conflicts_with = "settings")]
    outcome: Option<String>,
    /// Only builds whose names begin so
    #[arg(long, conflicts_with = "settings")]
    build: Option<String>,
    /// Who changed which setting, in place of what was deployed
    #[arg(long)]
    settings: bool,
    /// Print the addresses of the logs and of the changes as well: whoever has a log's address can read it
    #[arg(long, conflicts_with = "settings")]
    links: bool,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
    /// Only what is older than this position, the `cursor` of the last line before
    #[arg(long)]
    before: Option<i64>,
    /// Print JSON for machines, an object in each line
    #[arg(long)]
    json: bool,
}

/// Deployments that are read at a time.
const PAGE: i64 = 500;

/// Runs it.
///
/// # Errors
/// When there is no such project or environment, a moment can't be read, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    if args.links {
        with_address(&app)?;
    }
    if let Some(before) = args.before {
        app.cursor(before).await?;
    }
    let mut is_whole = true;
    let project = match &args.project {
        Some(slug) => Some(app.project_named(slug).await?),
        None => None,
    };
    let environments = match (&project, &args.environment) {
        (Some(project), Some(name)) => match app.environments_called(project, name).await? {
            // What there is, is told by the refusal.
            none if none.is_empty() => vec![project.environment_named(name)?.id],
            found => found,
        },
        (None, Some(name)) => {
            let all = app.readers().directory().projects().await?;
            let mut found = Vec::new();
            for project in &all {
                match app.environments_called(project, name).await {
                    Ok(called) => found.extend(called),
                    Err(why) if why.is_of_one_thing() => {
                        untold(&NotTold::of(project, &why));
                        is_whole = false;
                    }
                    Err(why) => return Err(why.into()),
                }
            }
            anyhow::ensure!(
                !found.is_empty(),
                "no project has an environment {name}; see: coolops environment list PROJECT"
            );
            found
        }
        (_, None) => vec![],
    };
    let (after, until) = app.range(args.since.as_deref(), args.until.as_deref()).await?;
    let asked = Asked {
        project: project.as_ref().map(|project| project.id),
        environments,
        user: args.user.clone(),
        build: args.build.clone(),
        after,
        until,
        states: args.outcome.as_deref().map(states_called).unwrap_or_default(),
    };
    is_whole &= match args.settings {
        true => settings(&app, &args, &asked).await?,
        false => deployments(&app, &args, &asked).await?,
    };
    // Whoever reads this with a program learns that something is missing.
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Tells whether nothing is left out.
async fn deployments(app: &App, args: &Args, asked: &Asked) -> Result<bool> {
    let (mut before, mut left, mut rows, mut is_whole) = (args.before, args.limit, Vec::new(), true);
    let more = loop {
        let page = app.readers().history().deployments(asked, before, left.min(PAGE)).await?;
        left -= left.min(PAGE);
        for id in &page.untold {
            output::hint(&format!("deployment {id} is left out: its row can't be read; coolops replay makes it anew"));
            is_whole = false;
        }
        for deployed in &page.deployed {
            if args.json {
                output::line(&output::harmless(&deployed_as_json(app, deployed, args.links).to_string()));
            } else {
                rows.push(row(app, deployed, args.links));
            }
        }
        match page.next {
            Some(next) if left > 0 => before = Some(next),
            next => break next,
        }
    };
    if !args.json {
        let mut headings = vec!["ID", "PRESSED", "PROJECT", "ENVIRONMENT", "BUILD", "BEFORE IT", "BY", "TOOK", "ENDED"];
        if args.links {
            headings.extend(["LOG", "CHANGES"]);
        }
        output::table(&headings, &rows);
    }
    if let Some(last) = more {
        output::hint(&format!("There are more: --before {last}, or a greater --limit."));
    }
    Ok(is_whole)
}

fn row(app: &App, deployed: &Deployed, links: bool) -> Vec<String> {
    let (timed, deployment) = (&deployed.timed, &deployed.timed.deployment);
    let none = || "–".to_owned();
    let id = deployment.of.deployment_id.to_string();
    let replaces = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces.as_deref());
    let mut row = vec![
        id[..SHORT_ID].to_owned(),
        output::time(timed.requested_at),
        deployed.project.clone(),
        output::safe(&deployment.environment_name),
        output::safe(&deployment.build_name),
        replaces.map_or_else(none, output::safe),
        output::safe(deployment.requested_by.name()),
        timed.ran(app.store.clock().now()).map_or_else(none, duration),
        Words::of(deployment).sentence(output::safe),
    ];
    if links {
        row.push(app.log_of_deployed(deployed).unwrap_or_else(none));
        row.push(changes(deployed).map_or_else(none, |url| output::safe(&url)));
    }
    row
}

fn deployed_as_json(app: &App, deployed: &Deployed, links: bool) -> Value {
    let mut value = as_json(deployed, app.store.clock().now());
    if links {
        value["log"] = json!(app.log_of_deployed(deployed));
    }
    value
}

fn untold(not_told: &NotTold) {
    output::hint(&output::safe(&not_told.sentence()));
}

/// Tells whether nothing is left out.
async fn settings(app: &App, args: &Args, asked: &Asked) -> Result<bool> {
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (mut changed, unread) = app.settings_changed(asked, args.before, limit.saturating_add(1), |_| true).await?;
    unread.iter().for_each(untold);
    let more = changed.len() > limit;
    changed.truncate(limit);
    if args.json {
        for change in &changed {
            output::line(&output::harmless(&changed_as_json(change, &happened(&change.recorded.event)).to_string()));
        }
    }
    let row = |change: &Changed| {
        vec![
            change.recorded.position.to_string(),
            output::time(change.recorded.recorded_at),
            change.project.clone().unwrap_or_else(|| "–".to_owned()),
            change.environment.as_ref().map_or_else(|| "–".to_owned(), |(_, name)| output::safe(name)),
            output::safe(&actor(&change.recorded.actor)),
            output::safe(&happened(&change.recorded.event)),
        ]
    };
    if !args.json {
        output::table(
            &["EVENT", "WHEN", "PROJECT", "ENVIRONMENT", "BY", "WHAT"],
            &changed.iter().map(row).collect::<Vec<_>>(),
        );
    }
    if let (true, Some(last)) = (more, changed.last()) {
        output::hint(&format!("There are more: --before {}, or a greater --limit.", last.recorded.position));
    }
    Ok(unread.is_empty())
}
