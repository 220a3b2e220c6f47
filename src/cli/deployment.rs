//! `coolops deployment …`: what ran, how it went, and closing what nobody could tell.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::output::{self, Format};
use super::{operate, operator, project_named, the_only};
use crate::domain::deployment::{LeftOut, State, StopReason, Verdict, duration, stop_words};
use crate::domain::event::Actor;
use crate::domain::ids::DeploymentId;
use crate::store::deployments::Dated;
use crate::store::journal::Chunk;
use crate::store::tail::Newest;

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
        /// Only those in this state
        #[arg(long, value_parser = PossibleValuesParser::new(State::ALL.map(State::as_str)))]
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
    /// Print a deployment's output
    Logs {
        /// Its id, or the beginning of it
        deployment: String,
        /// Go on until it ends
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop a deployment: SIGTERM, and SIGKILL after the project's grace
    Stop {
        /// Its id, or the beginning of it
        deployment: String,
        /// Why; it is recorded, and shown in Slack
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
            Err(_) => the_only("deployment", "coolops deployment list", text, app.store.deployments_like(text).await?),
        }
    };
    match args.command {
        Command::List { project, state, limit, format } => {
            let project = match project {
                Some(slug) => Some(project_named(&app, &slug).await?.id),
                None => None,
            };
            let all = app.store.deployments(project, state.as_deref(), limit.clamp(1, 10_000)).await?;
            if format.json {
                output::json(&all.iter().map(as_json).collect::<Vec<_>>());
            } else {
                let row = |d: &Dated| {
                    let x = &d.deployment;
                    let id = x.of.deployment_id.to_string();
                    let words = [&x.build_name, &x.environment_name].map(|t| output::safe(t));
                    vec![
                        id[..8].to_owned(),
                        words[0].clone(),
                        words[1].clone(),
                        output::safe(&x.requested_by.name),
                        output::time(d.requested_at),
                        state_words(d),
                    ]
                };
                output::table(&["ID", "BUILD", "ENVIRONMENT", "BY", "PRESSED", "STATE"], &all.iter().map(row).collect::<Vec<_>>());
            }
        }
        Command::Show { deployment, format } => {
            let id = find(&deployment).await?;
            let dated = app.store.dated(id).await?.with_context(|| format!("there is no deployment {id}; see: coolops deployment list"))?;
            if format.json {
                output::json(&as_json(&dated));
            } else {
                let d = &dated.deployment;
                output::line(&format!("{} → {}: {}", output::safe(&d.build_name), output::safe(&d.environment_name), state_words(&dated)));
                output::line(&format!("  id       {}", d.of.deployment_id));
                output::line(&format!("  pressed  {} by {}", output::time(dated.requested_at), d.requested_by.name));
                output::line(&format!("  changed  {}", output::time(dated.changed_at)));
                output::line(&format!("  image    {}", d.image.as_str()));
                if let Some(image) = &d.image_id {
                    output::line(&format!("  image id {image}"));
                }
                if let Some(digest) = &d.digest {
                    output::line(&format!("  digest   {digest}"));
                }
                if d.unchecked {
                    output::line("  checked  no: the registry could not be asked whether there is a newer image");
                }
                if let Some(started) = dated.started_at {
                    output::line(&format!("  started  {}", output::time(started)));
                    let until = if d.state.is_over() || d.state == State::Unknown { dated.changed_at } else { app.store.clock().now() };
                    output::line(&format!("  ran      {}", duration((until - started).num_seconds())));
                }
                if let Some(code) = dated.exit_code() {
                    output::line(&format!("  exit     code {code}"));
                }
                if let Some(delay) = d.delay.as_ref().filter(|_| !d.state.is_over()) {
                    output::line(&format!("  waits    {}", output::safe(delay)));
                }
                if let Some(found) = &d.found {
                    output::line(&format!("  found    {}", output::safe(found)));
                }
                if let Some(reason) = &d.resolved {
                    output::line(&format!("  resolved {}", output::safe(reason)));
                }
                if let Some(log) = &d.log {
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
        }
        Command::Logs { deployment, follow } => {
            let id = find(&deployment).await?;
            let mut printed = Printed::default();
            loop {
                let dated =
                    app.store.dated(id).await?.with_context(|| format!("there is no deployment {id}; see: coolops deployment list"))?;
                loop {
                    let chunks = app.store.chunks_from(id, printed.next_chunk, 64).await?;
                    if chunks.is_empty() {
                        break;
                    }
                    chunks.iter().for_each(|c| printed.stored(c));
                }
                if dated.deployment.state.is_over() {
                    break;
                }
                app.store.newest_after(id, printed.line).await?.iter().for_each(|n| printed.newest(n));
                if !follow || dated.deployment.state == State::Unknown {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        }
        Command::Stop { deployment, reason } => {
            anyhow::ensure!(!reason.trim().is_empty(), "--reason is empty; say why, it is recorded and shown in Slack");
            let actor = operator();
            let Actor::Operator { login } = &actor else { unreachable!("an operator sits here") };
            let reason = StopReason::Operator { by: login.clone(), reason: reason.trim().to_owned() };
            let stopped = app.stop(find(&deployment).await?, &reason, &actor).await?;
            let words = if stopped.state.is_over() { "is cancelled" } else { "is being stopped" };
            output::line(&format!("{} → {} {words}.", output::safe(&stopped.build_name), output::safe(&stopped.environment_name)));
        }
        Command::Resolve { deployment, r#as, reason } => {
            anyhow::ensure!(!reason.trim().is_empty(), "--reason is empty; say why you think so, it is recorded");
            let verdict = match r#as {
                As::Succeeded => Verdict::Succeeded,
                As::Failed => Verdict::Failed,
            };
            let resolved = app.resolve(find(&deployment).await?, verdict, reason.trim(), &operator()).await?;
            output::line(&format!(
                "{} → {} is {}; {} is open again.",
                resolved.build_name,
                resolved.environment_name,
                resolved.state.as_str(),
                resolved.environment_name
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How far a log is printed. What is shown while a deployment runs is stored in part at its end, and is not printed again then.
#[derive(Default)]
struct Printed {
    next_chunk: i32,
    /// The last line, counted over all that was printed by the container.
    line: i64,
    /// What a line's number in the journal lacks of that.
    ahead: i64,
}

impl Printed {
    fn stored(&mut self, chunk: &Chunk) {
        self.next_chunk = chunk.number + 1;
        let first = chunk.first_line + self.ahead;
        if chunk.left_out > 0 {
            // The note that stands for lines which whoever watched has seen.
            if self.line < first + chunk.left_out - 1 {
                output::bytes(&chunk.body);
            }
            self.ahead += chunk.left_out - 1;
            self.line = self.line.max(first + chunk.left_out - 1);
            return;
        }
        let piece = Newest { first_line: first, lines: i64::from(chunk.lines), body: chunk.body.clone() };
        if let Some(rest) = piece.after(self.line) {
            output::bytes(&rest.body);
            self.line = self.line.max(piece.last_line());
        }
    }

    fn newest(&mut self, piece: &Newest) {
        if piece.first_line > self.line + 1 {
            output::hint(&format!("… [{} lines are not shown while it runs]", piece.first_line - self.line - 1));
        }
        output::bytes(&piece.body);
        self.line = piece.last_line();
    }
}

fn state_words(d: &Dated) -> String {
    let x = &d.deployment;
    match (&x.failure, &x.stop) {
        (Some(failure), _) if x.state == State::Failed => format!("failed: {}", output::safe(&failure.sentence(x.image.as_str()))),
        (_, Some(reason)) => format!("{}: {}", x.state.word(), output::safe(&stop_words(reason, x.exit_code, x.cut_off_after))),
        _ => x.state.word().to_owned(),
    }
}

fn as_json(d: &Dated) -> serde_json::Value {
    let mut value = serde_json::to_value(&d.deployment).unwrap_or_default();
    value["requested_at"] = json!(d.requested_at);
    value["changed_at"] = json!(d.changed_at);
    value["started_at"] = json!(d.started_at);
    value
}
