//! `coolops person …`: who is named in the history, and erasing somebody from it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::output::{self, Format};
use super::{operate, operator};
use crate::app::erasure::Whom;
use crate::store::private::Erasable;

/// Arguments of `person`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List whom the history names
    List(Format),
    /// Erase somebody's name, id and words from the whole history and from Slack's messages. It can't be undone; chain and proofs hold
    Erase {
        /// Their id in Slack (U…), what they are called there, or an operator's login name
        who: String,
        /// It is the login name of an operator
        #[arg(long)]
        operator: bool,
        /// Why, without their name; it is recorded for ever
        #[arg(long)]
        reason: String,
    },
}

/// Runs it.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    match args.command {
        Command::List(format) => {
            let people = app.store.subjects().people().await?;
            if format.json {
                output::json(&people.iter().map(as_json).collect::<Vec<_>>());
            } else {
                let row = |of: &Erasable| {
                    let name = of.name.as_deref().unwrap_or_default();
                    vec![output::safe(&of.id), output::safe(name), of.kind.clone(), output::time(of.since)]
                };
                output::table(&["ID", "NAME", "IS", "SINCE"], &people.iter().map(row).collect::<Vec<_>>());
            }
        }
        Command::Erase { who, operator: is_operator, reason } => {
            let erased = app.erase_person(Whom { text: &who, is_operator }, &reason, &operator()).await?;
            let who = match &erased.who.name {
                Some(name) => format!("{name} ({})", erased.who.id),
                None => erased.who.id.clone(),
            };
            output::line(&format!(
                "{} is being erased: from the history at once, from what Slack shows as Slack takes the edits.",
                output::safe(&who)
            ));
            if erased.in_plain > 0 {
                output::hint(&format!(
                    "{} events from before names were encrypted name them, and stay as they are.",
                    erased.in_plain
                ));
            }
            output::hint(
                "Not reached: direct messages to them, and what Slack does not let be edited any more; what others wrote of them, what deployments printed, what CI said of its builds; exports, and dumps of this database from before.",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(of: &Erasable) -> serde_json::Value {
    json!({ "id": of.id, "name": of.name, "kind": of.kind, "since": of.since })
}
