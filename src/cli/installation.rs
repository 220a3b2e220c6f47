//! `coolops installation …`: what goes for all projects: who administers everything, and the lock on everything.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;

use super::output::{self, Format};
use super::{lock, operate, operator, who};
use crate::app::locks::Target;

/// What is locked.
const EVERYTHING: &str = "everything";

/// Arguments of `installation`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show who administers everything, and whether everything is locked
    Show(Format),
    /// Say who in Slack administers everything, and may lock all of it: @group, ids of people (U…) and groups (S…), or nobody
    Administrators {
        /// Who
        #[arg(required = true, value_name = "WHO")]
        who: Vec<String>,
    },
    /// Lock everything: all deployments but yours wait until the lock is taken away or runs out
    Lock {
        #[command(flatten)]
        terms: lock::Terms,
    },
    /// Take the lock on everything away, whosever it is; the first in each line has its turn
    Unlock,
}

/// Runs it.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let actor = operator();
    match args.command {
        Command::Show(format) => {
            let installation = &app.installation_anew().await?.value;
            if format.json {
                output::json(&json!({ "administrators": installation.administrators, "lock": installation.lock }));
                return Ok(ExitCode::SUCCESS);
            }
            let named: Vec<String> = installation.administrators.iter().map(|who| output::safe(&who.name())).collect();
            output::line(&match &named[..] {
                [] => "Operators alone administer everything.".to_owned(),
                named => format!("Administered by {}.", named.join(", ")),
            });
            output::line(&match &installation.lock {
                Some(lock) => format!("Everything is {}.", lock::words(lock)),
                None => "Not everything is locked.".to_owned(),
            });
        }
        Command::Administrators { who } => {
            let everybody = "everybody can't administer everything; name people, groups, or nobody";
            let named = who::named(&app, &who).await?.context(everybody)?;
            let names: Vec<String> = named.iter().map(|who| output::safe(&who.name())).collect();
            app.appoint(named, &actor).await?;
            output::line(&match &names[..] {
                [] => "Operators alone administer everything now.".to_owned(),
                names => format!("Everything is administered by {} now.", names.join(", ")),
            });
        }
        Command::Lock { terms } => lock::lock(&app, Target::Everything, EVERYTHING, terms, &actor).await?,
        Command::Unlock => lock::unlock(&app, Target::Everything, EVERYTHING, &actor).await?,
    }
    Ok(ExitCode::SUCCESS)
}
