//! `coolops status`: what is where.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::{operate, with_address};
use crate::app::status;
use crate::domain::project::Project;
use crate::projections::standing::Standing;
use crate::projections::timed::Timed;
use crate::projections::words::{Words, locked_with};
use crate::slack::render::project_url;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this project's environments
    project: Option<String>,
    /// Print the address of the project's page as well: whoever has it sees what is printed here
    #[arg(long, requires = "project")]
    link: bool,
    #[command(flatten)]
    format: Format,
}

/// Runs it.
///
/// # Errors
/// When there is no such project, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    if args.link {
        with_address(&app)?;
    }
    let projects = match &args.project {
        Some(slug) => vec![app.project_named(slug).await?],
        None => app.store.directory().projects().await?.into_iter().filter(|p| !p.archived).collect(),
    };
    let mut standings = Vec::new();
    let everything = app.installation_anew().await?.value.lock.clone();
    for project in &projects {
        standings.push((project, status::of(&app.store, project, everything.as_ref()).await?));
    }
    if args.format.json {
        let link = |project: &Project| {
            let links = args.link.then(|| app.keys.links(&project.link_key)).flatten();
            links.map(|links| project_url(&app.public_url, &links, project))
        };
        let linked = |project: &Project, standing: &Standing| {
            let mut standing = as_json(project, standing);
            if args.link {
                standing["link"] = link(project).into();
            }
            standing
        };
        let all: Vec<Value> = standings.iter().flat_map(|(p, all)| all.iter().map(|s| linked(p, s))).collect();
        output::json(&all);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = standings.iter().flat_map(|(p, all)| all.iter().map(|s| row(p, s))).collect();
    output::table(&["PROJECT", "ENVIRONMENT", "RUNS", "SINCE", "BY", "NOW"], &rows);
    if args.link {
        for project in &projects {
            match app.keys.links(&project.link_key) {
                Some(links) => output::line(&format!("\n{}", project_url(&app.public_url, &links, project))),
                None => output::hint(&format!("There is no link to {}: its master key is not set.", project.slug)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn row(project: &Project, s: &Standing) -> Vec<String> {
    let told = |d: &Timed| {
        let words = Words::of(&d.deployment).sentence(output::safe);
        format!(
            "{} {words} ({})",
            output::safe(&d.deployment.build_name),
            output::safe(d.deployment.requested_by.name())
        )
    };
    let none = || "–".to_owned();
    let lock = s.locks.iter().map(|lock| {
        let until = lock.until.map(|until| format!(" until {}", output::time(until))).unwrap_or_default();
        let with = locked_with(lock.scope);
        let why = lock.reason.as_ref().map(|why| format!(": {}", output::safe(why))).unwrap_or_default();
        format!("locked{with} by {}{until}{why}", output::safe(lock.holder.name()))
    });
    let now: Vec<String> = lock.chain(s.open.iter().chain(&s.failed).map(told)).collect();
    let good = |value: fn(&Timed) -> String| s.good.as_ref().map_or_else(none, value);
    vec![
        project.slug.clone(),
        s.name.clone(),
        good(|d| output::safe(&d.deployment.build_name)),
        good(|d| output::time(d.since)),
        good(|d| output::safe(d.deployment.requested_by.name())),
        now.join("; "),
    ]
}

pub(super) fn as_json(project: &Project, s: &Standing) -> Value {
    let told = |d: &Timed| {
        json!({
            "deployment": d.deployment.of.deployment_id, "build": d.deployment.build_name, "state": d.deployment.state(),
            "said": Words::of(&d.deployment).sentence(str::to_owned), "by": d.deployment.requested_by, "requested_at": d.requested_at, "started_at": d.started_at, "since": d.since,
        })
    };
    json!({
        "project": project.slug, "environment": s.name, "protected": s.protected, "locks": s.locks,
        "runs": s.good.as_ref().map(told), "failed": s.failed.as_ref().map(told),
        "open": s.open.iter().map(told).collect::<Vec<_>>(),
    })
}
