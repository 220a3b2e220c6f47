//! `coolops deployment …`: what ran, how it went, and closing what nobody could tell.

use std::process::ExitCode;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::builder::PossibleValuesParser;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::output::{self, Format};
use super::{beginning_of_id, operate, operator, the_only};
use super::{deploy, deployment_logs};
use crate::app::App;
use crate::app::history::{SHORT_ID, states_called};
use crate::domain::deployment::{Deployment, LeftOut, Stand, State, StopReason, Verdict, duration};
use crate::domain::erasure_events::OutputGone;
use crate::domain::event::Actor;
use crate::domain::ids::DeploymentId;
use crate::domain::names;
use crate::projections::timed::Timed;
use crate::projections::words::Words;

/// Arguments of `deployment`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deployments, newest first
    List {
        /// Only this project's
        #[arg(long)]
        project: Option<String>,
        /// Only those in this state, by the word that is shown or stored
        #[arg(long, value_parser = PossibleValuesParser::new(state_names()))]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: i64,
        #[command(flatten)]
        format: Format,
    },
    /// Show a deployment
    Show {
        /// Its id, or the beginning of it
        deployment: String,
        #[command(flatten)]
        format: Format,
    },
    /// Print a deployment's output: text for a pipe, with its colours for a terminal
    Logs(deployment_logs::Args),
    /// Deploy the same build to the same environment once more
    Again {
        /// Its id, or the beginning of it
        deployment: String,
        #[command(flatten)]
        consent: deploy::Consent,
    },
    /// Stop a deployment: SIGTERM, and SIGKILL after the project's grace
    Stop {
        /// Its id, or the beginning of it
        deployment: String,
        /// Why; it is recorded, and shown in Slack
        #[arg(long)]
        reason: String,
    },
    /// Erase what a deployment printed, here and in Slack: what no mask knew. It can't be undone; digests and seal stay
    EraseOutput {
        /// Its id, or the beginning of it
        deployment: String,
        /// Why; it is recorded, and shown in the place of the output
        #[arg(long)]
        reason: String,
    },
    /// Decide how an unknown deployment ended; its environment opens again
    Resolve {
        /// Its id, or the beginning of it
        deployment: String,
        /// How it ended
        #[arg(long, value_enum, name = "VERDICT")]
        r#as: As,
        /// Why you think so; it is recorded
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum As {
    Succeeded,
    Failed,
}

/// Runs it.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let find = async |text: &str| -> Result<DeploymentId> {
        match text.parse() {
            Ok(id) => Ok(id),
            Err(_) => {
                let (what, list) = ("deployment", "coolops deployment list");
                let beginning = beginning_of_id(what, list, text)?;
                the_only(what, list, text, app.store.deployments().like(&beginning).await?)
            }
        }
    };
    match args.command {
        Command::List { project, state, limit, format } => {
            let project = match project {
                Some(slug) => Some(app.project_named(&slug).await?.id),
                None => None,
            };
            let all =
                app.store.deployments().list(project, &states_named(state.as_deref()), limit.clamp(1, 10_000)).await?;
            if format.json {
                output::json(&all.iter().map(as_json).collect::<Vec<_>>());
            } else {
                let row = |d: &Timed| {
                    let x = &d.deployment;
                    let id = x.of.deployment_id.to_string();
                    let [build, environment] = [&x.build_name, &x.environment_name].map(|t| output::safe(t));
                    vec![
                        id[..SHORT_ID].to_owned(),
                        build,
                        environment,
                        output::safe(x.requested_by.name()),
                        output::time(d.requested_at),
                        words(&d.deployment),
                    ]
                };
                output::table(
                    &["ID", "BUILD", "ENVIRONMENT", "BY", "PRESSED", "STATE"],
                    &all.iter().map(row).collect::<Vec<_>>(),
                );
            }
        }
        Command::Show { deployment, format } => {
            let id = find(&deployment).await?;
            let timed = app
                .store
                .deployments()
                .timed(id)
                .await?
                .with_context(|| format!("there is no deployment {id}; see: coolops deployment list"))?;
            match format.json {
                true => output::json(&as_json(&timed)),
                false => show(&timed, app.store.clock().now()),
            }
        }
        Command::Logs(args) => {
            let id = find(&args.deployment).await?;
            return deployment_logs::run(&app, id, &args).await;
        }
        Command::Again { deployment, consent } => {
            return deploy::again(&app, find(&deployment).await?, &consent).await;
        }
        Command::Stop { deployment, reason } => {
            let reason = names::reason(&reason)?;
            let actor = operator();
            let Actor::Operator { login } = &actor else { unreachable!("an operator sits here") };
            let reason = StopReason::Operator { by: login.clone(), reason };
            let stopped = app.stop(find(&deployment).await?, &reason, &actor).await?;
            let words = if stopped.state().is_over() { "is cancelled" } else { "is being stopped" };
            output::line(&format!(
                "{} → {} {words}.",
                output::safe(&stopped.build_name),
                output::safe(&stopped.environment_name)
            ));
        }
        Command::EraseOutput { deployment, reason } => erase_output(&app, find(&deployment).await?, reason).await?,
        Command::Resolve { deployment, r#as, reason } => {
            let reason = names::reason(&reason)?;
            let verdict = match r#as {
                As::Succeeded => Verdict::Succeeded,
                As::Failed => Verdict::Failed,
            };
            let resolved = app.resolve(find(&deployment).await?, verdict, &reason, &operator()).await?;
            let (build, environment) = (output::safe(&resolved.build_name), output::safe(&resolved.environment_name));
            let word = resolved.state().word();
            output::line(&format!("{build} → {environment} is {word}; {environment} is open again."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(timed: &Timed, now: DateTime<Utc>) {
    let d = &timed.deployment;
    output::line(&format!("{} → {}: {}", output::safe(&d.build_name), output::safe(&d.environment_name), words(d)));
    output::line(&format!("  id       {}", d.of.deployment_id));
    let by = output::safe(d.requested_by.name());
    output::line(&format!("  pressed  {} by {by}", output::time(timed.requested_at)));
    output::line(&format!("  since    {}", output::time(timed.since)));
    output::line(&format!("  image    {}", d.image.as_str()));
    if let Some(prepared) = &d.prepared {
        output::line(&format!("  image id {}", prepared.image_id));
        if let Some(digest) = &prepared.digest {
            output::line(&format!("  digest   {digest}"));
        }
        if prepared.unchecked {
            output::line("  checked  no: the registry could not be asked whether there is a newer image");
        }
    }
    if let Some(started) = timed.started_at {
        output::line(&format!("  started  {}", output::time(started)));
    }
    if let Some(seconds) = timed.ran(now) {
        output::line(&format!("  ran      {}", duration(seconds)));
    }
    if let Some(code) = d.stand.exit_code() {
        output::line(&format!("  exit     code {code}"));
    }
    if let Stand::Resolved { loss, .. } = &d.stand {
        output::line(&format!("  found    {}", loss.sentence()));
    }
    if let Some(log) = d.stand.log() {
        let gaps = match log.gaps {
            0 => String::new(),
            1 => ", with a gap".to_owned(),
            n => format!(", with {n} gaps"),
        };
        let left_out = match log.left_out {
            LeftOut { bytes: 0, .. } => String::new(),
            LeftOut { lines, bytes } => format!(", {lines} more lines ({bytes} bytes) left out"),
        };
        output::line(&format!("  log      {} lines, {} bytes{left_out}{gaps}", log.lines, log.bytes));
    }
}

async fn erase_output(app: &App, id: DeploymentId, reason: String) -> Result<()> {
    let before = app.output_erased(id).await?;
    let of = app.erase_output(id, OutputGone::Asked { reason }, &operator()).await?;
    let in_plain = matches!(&of.stand, Stand::Failed { last_lines, .. } if !last_lines.is_empty())
        && app.store.subjects().key_of_output(id).await?.is_none();
    let (build, environment) = (output::safe(&of.build_name), output::safe(&of.environment_name));
    if let Some((recorded, _)) = before {
        output::line(&format!(
            "What {build} printed on {environment} was to be erased before: event {} of {}. It is seen to again, and nothing new is recorded.",
            recorded.position,
            output::time(recorded.recorded_at)
        ));
        return Ok(());
    }
    output::line(&format!(
        "What {build} printed on {environment} is being erased, here and in Slack. Copies that were downloaded, and dumps of this database from before, still have it."
    ));
    if in_plain {
        output::hint(
            "Its last lines stand in its end's event in plain, from before they were encrypted, and stay there.",
        );
    }
    Ok(())
}

fn words(deployment: &Deployment) -> String {
    Words::of(deployment).sentence(output::safe)
}

/// The words that people read, and those that are stored.
pub(super) fn state_names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        State::ALL.iter().flat_map(|state| [state.as_str(), state.word()]).filter(|n| !n.contains(' ')).collect();
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

fn states_named(name: Option<&str>) -> Vec<State> {
    name.map(states_called).unwrap_or_default()
}

fn as_json(d: &Timed) -> serde_json::Value {
    let mut value = serde_json::to_value(&d.deployment).unwrap_or_default();
    value["state"] = json!(d.deployment.state());
    value["exit_code"] = json!(d.deployment.stand.exit_code());
    value["requested_at"] = json!(d.requested_at);
    value["since"] = json!(d.since);
    value["started_at"] = json!(d.started_at);
    value
}
