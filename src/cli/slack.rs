//! `coolops slack audit`: what Slack shows, held against what it was sent.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use serde_json::json;

use super::operate_asking;
use super::output::{self, Format};
use crate::app::slack_audit::{Found, Wrong};
use crate::domain::moment::Moment;

/// Arguments of `slack`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read back what Slack shows of builds: messages that are missing, doubled, stale, or not ours
    Audit {
        /// Only in this channel, by its id
        #[arg(long)]
        channel: Option<String>,
        /// What was posted since this time
        #[arg(long, default_value = "7d")]
        since: String,
        /// Make it right from the log: an edit, a new post, the deletion of a second one
        #[arg(long)]
        repair: bool,
        #[command(flatten)]
        format: Format,
    },
}

/// Runs it.
///
/// # Errors
/// When the time can't be read, Slack says no, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let Command::Audit { channel, since, repair, format } = args.command;
    let (app, slack) = operate_asking().await?;
    let slack = slack.context("SLACK_BOT_TOKEN is not set, and Slack can't be asked without it")?;
    let at = match Moment::parse(&since, app.store.clock().now())? {
        Moment::Time(at) => at,
        Moment::Position(position) => app.when(Moment::Position(position)).await?.at,
    };
    let channels = match channel {
        Some(channel) => vec![channel],
        None => app.store.directory().channels().await?,
    };
    ensure!(!channels.is_empty(), "there is no project whose channel could be looked at");
    let found = app.audit_slack(&slack, &channels, at, None).await?;
    let on_their_way = if repair { app.repair_slack(&found).await? } else { 0 };
    if format.json {
        output::json(&json!({ "found": found, "repaired": on_their_way }));
    } else {
        let mut rows = Vec::new();
        for one in &found {
            let build = app.store.directory().build(one.build).await?.map_or_else(|| one.build.to_string(), |b| b.name);
            rows.push(vec![one.channel.clone(), one.ts.clone(), output::safe(&build), words(one).to_owned()]);
        }
        if rows.is_empty() {
            output::line("What Slack shows is what it was sent.");
        } else {
            output::table(&["CHANNEL", "MESSAGE", "BUILD", "WHAT"], &rows);
        }
        if on_their_way > 0 {
            output::line(&format!(
                "{on_their_way} of them are made right within seconds, by a running coolops serve or web."
            ));
        }
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn words(found: &Found) -> &'static str {
    match found.wrong {
        Wrong::Missing => "missing: Slack does not show it any more",
        Wrong::Doubled => "doubled: a second message of its build",
        Wrong::Stale => "stale: it says something else than what was sent last",
        Wrong::NotOurs => "not ours: its build is not known here",
    }
}
