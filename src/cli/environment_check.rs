//! `coolops environment check`: whether an environment has what its project's deployment image says that it reads.

use std::process::ExitCode;

use anyhow::{Context, Result};
use coolops_client::limits;
use serde_json::json;

use super::output::{self, Format};
use crate::app::App;
use crate::config::{Config, Role};
use crate::domain::declared::{Declared, LABEL};
use crate::domain::project::{Environment, Project};
use crate::runner::Credentials;
use crate::runner::docker::DockerRunner;

/// Variables that every container gets.
const OURS: &str = "COOLOPS_";

/// Checks an environment; with findings the code is 1.
///
/// # Errors
/// When the engine has not got the image and can't fetch it, its label can't be read, or the database is away.
pub async fn run(app: &App, project: &Project, environment: &Environment, format: Format) -> Result<ExitCode> {
    let image = &project.image;
    let login = match app.registry_login(project, image).await? {
        Some((registry, password)) => {
            let password = password.with_context(|| format!("the password for {}", registry.host))?;
            Some(Credentials { registry: registry.host, username: registry.username, password })
        }
        None => None,
    };
    let config = Config::from_environment(Role::Operate)?;
    let runner = DockerRunner::connect(config.docker_host.as_deref()).context("DOCKER_HOST")?;
    let label = runner.label(image, login, LABEL).await.with_context(|| format!("the image {}", image.as_str()))?;
    let Some(label) = label else {
        let words =
            format!("{} does not say which variables it reads (no label {LABEL}): nothing is checked.", image.as_str());
        match format.json {
            true => output::json(&json!({ "image": image, "checked": false, "missing": [], "unknown": [] })),
            false => output::line(&words),
        }
        return Ok(ExitCode::SUCCESS);
    };
    let declared = Declared::parse(&label).map_err(anyhow::Error::msg)?;
    // What a build brings is known of the newest one.
    let newest = app.store.directory().builds_like(project.id, "", 1).await?.into_iter().next();
    let build = match &newest {
        Some(build) => app.build(build.id).await?,
        None => None,
    };
    let params: Vec<&str> = build.iter().flat_map(|b| &b.params).map(|param| param.name.as_str()).collect();
    let variables: Vec<&str> = environment.variables.iter().map(|v| v.name.as_str()).collect();
    // What the operators let builds bring, they may.
    let may_bring = |name: &str| {
        declared.takes_of_build(name) || project.params.as_ref().is_some_and(|named| named.iter().any(|n| n == name))
    };
    let brings = |name: &str| params.contains(&name) && may_bring(name);
    let is_there = |name: &str| variables.contains(&name) || brings(name) || name.starts_with(OURS);
    let missing = declared.missing(is_there);
    // What programs read by themselves no image declares: proxies, time zones, languages.
    let is_of_programs = |name: &str| {
        limits::changes_programs(name)
            || ["TZ", "LANG", "TERM", "NO_COLOR", "DEBUG"].contains(&name)
            || name.starts_with("LC_")
    };
    let is_told = |name: &&str| !name.starts_with(OURS) && !is_of_programs(name);
    let unknown = declared.unknown(variables.iter().copied().filter(is_told));
    let brought: Vec<&str> =
        params.iter().copied().filter(|name| !variables.contains(name) && !may_bring(name)).collect();
    let findings = missing.len() + unknown.len() + brought.len();
    if format.json {
        let unknown: Vec<_> = unknown.iter().map(|(name, near)| json!({ "name": name, "near": near })).collect();
        let build = build.as_ref().map(|b| &b.name);
        output::json(
            &json!({ "image": image, "checked": true, "build": build, "missing": missing, "unknown": unknown, "brought": brought }),
        );
    } else {
        let (image, environment) = (image.as_str(), output::safe(&environment.name));
        let of_build = match &build {
            Some(build) => format!("the newest build, {}, has not got it either", output::safe(&build.name)),
            None => "there is no build yet that could have it".to_owned(),
        };
        for name in missing {
            output::line(&format!("MISSING  {}: {of_build}", name.replace('|', " or ")));
        }
        for (name, near) in unknown {
            let near = near.map(|near| format!("; is {near} meant?")).unwrap_or_default();
            output::line(&format!("UNKNOWN  {name}: the image does not read it{near}"));
        }
        for name in brought {
            output::line(&format!(
                "BROUGHT  {name}: the newest build brings it, and it is the environment's; coolops environment set, or let builds: coolops project params"
            ));
        }
        output::line(&match findings {
            0 => format!("{environment} has what {image} reads."),
            1 => format!("1 finding; {image} and {environment}."),
            n => format!("{n} findings; {image} and {environment}."),
        });
    }
    Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
