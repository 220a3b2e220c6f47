//! `coolops deploy` and `coolops rollback`: a build goes somewhere, as by a press in Slack.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;

use super::{lock, operate, operator, output};
use crate::app::way_back::Question;
use crate::app::{App, new_id};
use crate::domain::ids::{BuildId, DeploymentId};
use crate::domain::press::RequestDeployment;
use crate::slack::command::{Destination, Misunderstood};

/// Arguments of `deploy`.
#[derive(Debug, clap::Args)]
pub struct DeployArgs {
    /// The project's slug
    project: String,
    /// The build's name, the beginning of it, or latest
    build: String,
    /// The environment's name
    environment: String,
    #[command(flatten)]
    consent: Consent,
}

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The project's slug
    project: String,
    /// The environment's name
    environment: String,
    #[command(flatten)]
    consent: Consent,
}

/// Whether what is asked back is agreed to.
#[derive(Debug, clap::Args)]
pub(super) struct Consent {
    /// Do not ask: before an older build than the one that runs, on a protected environment, before a rollback
    #[arg(long)]
    yes: bool,
}

/// Runs `deploy`.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn deploy(args: DeployArgs) -> Result<ExitCode> {
    let app = operate().await?;
    let project = app.project_named(&args.project).await?;
    let place = Destination { project: &project, environment: project.environment_named(&args.environment)? };
    let form = |build: &str| format!("coolops deploy {} {build} {:?}", project.slug, place.environment.name);
    let build = app.build_named(place, &args.build, form).await?.map_err(wrong)?;
    let question = app.asked_before(place, &build).await?;
    go(&app, place, (build.id, &build.name), question, &args.consent).await
}

/// Runs `rollback`.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn rollback(args: RollbackArgs) -> Result<ExitCode> {
    let app = operate().await?;
    let project = app.project_named(&args.project).await?;
    let place = Destination { project: &project, environment: project.environment_named(&args.environment)? };
    let before = app.before_present(place).await?.map_err(anyhow::Error::msg)?;
    go(&app, place, (before.build, &before.build_name), Some(before.question), &args.consent).await
}

/// Deploys a build that was deployed before; what is asked back is asked.
///
/// # Errors
/// A refusal, or that the database is away.
pub(super) async fn again(app: &App, before: DeploymentId, consent: &Consent) -> Result<ExitCode> {
    let there =
        app.deployment_of_log(before).await?.ok_or_else(|| anyhow::anyhow!("there is no deployment {before}"))?;
    let project =
        app.project_of_log(there.of.project_id).await?.ok_or_else(|| anyhow::anyhow!("its project is gone"))?;
    let environment = project.value.environment(there.of.environment_id).filter(|e| !e.archived);
    let gone = || anyhow::anyhow!("the environment {} does not exist any more", output::safe(&there.environment_name));
    let place = Destination { project: &project.value, environment: environment.ok_or_else(gone)? };
    let build = app.store.directory().build_of(there.of.build_id).await?;
    let build =
        build.ok_or_else(|| anyhow::anyhow!("the build {} is not known any more", output::safe(&there.build_name)))?;
    let question = app.asked_before(place, &build).await?;
    go(app, place, (build.id, &build.name), question, consent).await
}

async fn go(
    app: &App,
    place: Destination<'_>,
    (build_id, build): (BuildId, &str),
    question: Option<Question>,
    consent: &Consent,
) -> Result<ExitCode> {
    if let Some(question) = question
        && !agreed(&question, consent)?
    {
        output::line("Nothing was started.");
        return Ok(ExitCode::from(1));
    }
    let request = RequestDeployment {
        deployment_id: DeploymentId(new_id()),
        build_id,
        environment_id: place.environment.id,
        requested_by: lock::operator(&operator()),
        pressed: None,
    };
    let requested = app.deploy(request).await?;
    let (build, environment) = (output::safe(build), output::safe(&place.environment.name));
    output::line(&match (&requested.behind, &requested.lock) {
        (None, None) => format!("{build} is on its way to {environment}."),
        (Some(ahead), None) => format!("{build} waits for {environment} behind {}.", output::safe(&ahead.build_name)),
        (None, Some(there)) => format!("{build} waits: {environment} is {}.", lock::words(there)),
        (Some(ahead), Some(there)) => format!(
            "{build} waits behind {}, and {environment} is {}.",
            output::safe(&ahead.build_name),
            lock::words(there)
        ),
    });
    output::line(&format!("How it goes: coolops deployment logs --follow {}", requested.of.deployment_id));
    Ok(ExitCode::SUCCESS)
}

/// Asks whoever sits at a terminal; where nobody does, `--yes` is the answer.
fn agreed(question: &Question, consent: &Consent) -> Result<bool> {
    let why = output::safe(&question.why);
    if consent.yes {
        return Ok(true);
    }
    let changes = question.changes.as_ref().map(|url| format!("\nChanges: {}", output::safe(url))).unwrap_or_default();
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("{why}{changes}\nNothing was started; give --yes when it shall be");
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "{why}{changes}\nDeploy? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn wrong(misunderstood: Misunderstood) -> anyhow::Error {
    let Misunderstood { wrong, instead } = misunderstood;
    let instead = instead.iter().map(|form| format!("\n  {}", output::safe(form))).collect::<String>();
    let could_be = if instead.is_empty() { "" } else { "\nIt could be:" };
    anyhow::anyhow!("{}{could_be}{instead}", output::safe(&wrong))
}
