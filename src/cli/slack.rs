//! `coolops slack audit`: what Slack shows, held against what it was sent.

use std::collections::{BTreeSet, HashSet};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use serde_json::json;

use super::operate_asking;
use super::output::{self, Format};
use crate::app::App;
use crate::app::locks::Telling;
use crate::app::slack_audit::{Found, NoAudit, Wrong};
use crate::domain::moment::Moment;
use crate::domain::react::Task;
use crate::jobs::slack_calls::{HISTORY, Paces};
use crate::slack::shown::Of;
use crate::telemetry::causes;

/// Arguments of `slack`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read back what Slack shows of ours: messages, replies and messages of locks that are missing, edited, doubled, stale, or not ours
    Audit {
        /// Only in this channel, by its id
        #[arg(long)]
        channel: Option<String>,
        /// What was posted since this time
        #[arg(long, default_value = "7d")]
        since: String,
        /// Make it right from the log: an edit, a new post of a build's message (once), the deletion of a second one
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
    ensure!(at <= app.store.clock().now(), "{since} is in the future");
    let channels = match channel {
        Some(channel) => BTreeSet::from([channel]),
        None => app.channels_since(at).await?,
    };
    ensure!(!channels.is_empty(), "there is no project whose channel could be looked at");
    let closed = app.store.checkpoints().closed().await?;
    ensure!(
        !repair || closed.is_none(),
        "the log is closed, and what Slack shows may be what it lost: look at it without --repair, decide (coolops audit fork), then repair"
    );
    let (mut found, mut unread) = (Vec::new(), Vec::new());
    for channel in &channels {
        match app.audit_slack(&slack, channel, at, (HISTORY, Paces::slack(1).history)).await {
            Ok(of_channel) => found.extend(of_channel),
            Err(e @ NoAudit::Database(_)) => return Err(e.into()),
            Err(e) => {
                let why = causes(&e);
                output::hint(&format!("Not looked through: {why}"));
                unread.push(why);
            }
        }
    }
    let on_their_way = if repair { app.repair_slack(&found, &HashSet::new()).await? } else { 0 };
    if format.json {
        output::json(&json!({ "found": found, "repaired": on_their_way, "unread": unread }));
    } else {
        let mut rows = Vec::new();
        for one in &found {
            let name = output::safe(&name(&app, one.of).await?);
            rows.push(vec![one.channel.clone(), one.ts.clone(), name, words(one).to_owned()]);
        }
        if rows.is_empty() && unread.is_empty() {
            output::line("What Slack shows is what it was sent.");
        } else if !rows.is_empty() {
            output::table(&["CHANNEL", "MESSAGE", "OF", "WHAT"], &rows);
        }
        if on_their_way > 0 {
            output::line(&format!(
                "{on_their_way} of them are made right within seconds, by a running coolops serve or web."
            ));
        }
    }
    Ok(if found.is_empty() && unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn words(found: &Found) -> &'static str {
    match found.wrong {
        Wrong::Missing if matches!(found.of, Of::Report(_)) => "missing: somebody deleted it; it is not told again",
        Wrong::Missing => "missing: Slack does not show it any more",
        Wrong::Doubled => "doubled: it is a second one",
        Wrong::Edited => "edited: it says what the log does not bear out",
        Wrong::Stale => "stale: it says what was so before",
        Wrong::NotOurs if found.is_by_us => "not ours: what it is of is not known here",
        Wrong::NotOurs => "not ours: another app posted it",
    }
}

/// What people call it.
async fn name(app: &App, of: Of) -> Result<String> {
    let store = &app.store;
    Ok(match of {
        Of::Build(build) => store.directory().build(build).await?.map_or_else(|| build.to_string(), |b| b.name),
        Of::Report(report) => match store.reports().subject(report).await? {
            Some((_, Task::Report(id))) => match store.deployments().get(id).await? {
                Some(d) => format!("{} on {}, a reply", d.build_name, d.environment_name),
                None => format!("{id}, a reply"),
            },
            Some((_, Task::ReportLock(lockable))) => match app.told_of_locks(lockable).await.ok().flatten() {
                Some(Telling { what, project, .. }) => {
                    format!("a lock of {what}{}", project.map(|p| format!(" ({p})")).unwrap_or_default())
                }
                None => "a lock".to_owned(),
            },
            _ => report.to_string(),
        },
    })
}
