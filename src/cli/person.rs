//! `coolops person …`: who is named in the history, and erasing somebody from it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::output::{self, Format};
use super::{operate, operator};
use crate::app::erasure::{PersonKind, Whom};
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
        /// Their id in Slack (U…), what they are called there, an operator's login name, or an author's name
        who: String,
        /// It is the login name of an operator
        #[arg(long)]
        operator: bool,
        /// It is whom CI named as the author of builds, by that name
        #[arg(long, conflicts_with = "operator")]
        author: bool,
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
        Command::Erase { who, operator: is_operator, author, reason } => {
            let kind = match (is_operator, author) {
                (true, _) => PersonKind::Operator,
                (_, true) => PersonKind::Author,
                _ => PersonKind::Person,
            };
            let erased = app.erase_person(Whom { text: &who, kind }, &reason, &operator()).await?;
            let who = match &erased.who.name {
                Some(name) if *name != erased.who.id => format!("{name} ({})", erased.who.id),
                _ => erased.who.id.clone(),
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
            for author in &erased.authors {
                output::hint(&format!(
                    "CI named an author {}: if it is the same person, erase that too, with --author.",
                    output::safe(author)
                ));
            }
            if !erased.by_ci.is_empty() {
                let some: Vec<String> = erased.by_ci.iter().take(5).map(|build| output::safe(build)).collect();
                let more = match erased.by_ci.len() - some.len() {
                    0 => String::new(),
                    n => format!(", and {n} more"),
                };
                output::hint(&format!(
                    "That name stands in what CI told of some builds, and stays there: {}{more}.",
                    some.join(", ")
                ));
            }
            output::hint(
                "Not reached: direct messages to them, and what Slack does not let be edited any more; what others wrote of them, what deployments printed, what CI said of its builds but for their authors; exports, and dumps of this database from before.",
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(of: &Erasable) -> serde_json::Value {
    json!({ "id": of.id, "name": of.name, "kind": of.kind, "since": of.since })
}
