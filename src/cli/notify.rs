//! `coolops notify`: what somebody in Slack is told in direct messages.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::{operate, operator, output};
use crate::domain::deployment::Person;
use crate::domain::person_events::Wants;

/// Arguments of `notify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom: their id in Slack, such as U0123456789
    person: String,
    /// What; without it, what that is now
    #[arg(value_enum)]
    what: Option<What>,
    /// Their workspace's id, such as T0123456789, where it is not the app's own
    #[arg(long)]
    team: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Off,
    Failures,
    All,
}

/// Runs it.
///
/// # Errors
/// When it is no person's id, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let is_id = args.person.starts_with(['U', 'W'])
        && (2..=30).contains(&args.person.len())
        && args.person.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    anyhow::ensure!(
        is_id,
        "\"{}\" is no person's id in Slack; it is in their profile, under \"Copy member ID\", such as U0123456789",
        output::safe(&args.person)
    );
    let unknown = "nobody knows yet which workspace the app is in; give --team, such as T0123456789";
    let team = match args.team {
        Some(team) => team,
        None => app.home().await?.context(unknown)?,
    };
    let person = Person { team, name: args.person.clone(), user: args.person };
    if let Some(what) = args.what {
        let wants = match what {
            What::Off => Wants::Off,
            What::Failures => Wants::Failures,
            What::All => Wants::All,
        };
        app.choose(&person, wants, &operator()).await?;
    }
    let told = match app.wants(&person).await? {
        Wants::Off => "is told nothing directly",
        Wants::Failures => "is told directly of what went wrong",
        Wants::All => "is told directly how deployments end, and what they wait for",
    };
    output::line(&format!("{} {told}.", person.user));
    Ok(ExitCode::SUCCESS)
}
