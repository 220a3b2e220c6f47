//! `coolops environment set`: variables, a secret, and how presses are treated.

use std::path::PathBuf;

use anyhow::{Context, Result};
use secrecy::ExposeSecret;

use super::output;
use super::secret_input::secret_input;
use crate::app::App;
use crate::domain::event::Actor;
use crate::domain::names;
use crate::domain::project::Environment;
use crate::domain::settings::EnvironmentChange;
use crate::runner::parts::unmasked;

/// Arguments of `environment set`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's slug
    project: String,
    /// The environment's name
    environment: String,
    /// Plain variables: stored as they are, shown by environment show, not masked in logs
    #[arg(value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// A secret variable; its value comes from standard input or --from-file, never from the command line
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Read the secret's value from a file
    #[arg(long, value_name = "FILE", requires = "secret")]
    from_file: Option<PathBuf>,
    /// Another place among the buttons
    #[arg(long)]
    position: Option<i32>,
    /// Whether a press is asked back first, on builds announced from now on: yes or no
    #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
    protected: Option<bool>,
    /// Whether a press takes the place of those that wait there: yes or no
    #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
    superseding: Option<bool>,
    /// Whether a failure is shown in the channel too, not in the thread alone: yes or no
    #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
    broadcasting: Option<bool>,
    /// Whether each deployment locks it for whoever had it deployed: yes or no
    #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
    locking: Option<bool>,
}

impl Args {
    /// What is to be changed, but for the secret.
    fn changes(&self) -> Result<Vec<EnvironmentChange>> {
        let split = |text: &String| {
            let (name, value) = text
                .split_once('=')
                .with_context(|| format!("\"{}\" should have the NAME=VALUE format", names::printable(text)))?;
            Ok(EnvironmentChange::SetVariable { name: name.to_owned(), value: value.to_owned() })
        };
        let mut changes = self.variables.iter().map(split).collect::<Result<Vec<_>>>()?;
        changes.extend(self.position.map(EnvironmentChange::Move));
        changes.extend(self.protected.map(EnvironmentChange::Protect));
        changes.extend(self.superseding.map(EnvironmentChange::Supersede));
        changes.extend(self.broadcasting.map(EnvironmentChange::Broadcast));
        changes.extend(self.locking.map(EnvironmentChange::LockByDeployment));
        Ok(changes)
    }
}

/// Changes it, and hands over the environment as it is then.
///
/// # Errors
/// A refusal, or that the database is away.
pub(super) async fn run(app: &App, args: Args, actor: &Actor) -> Result<Environment> {
    let changes = args.changes()?;
    anyhow::ensure!(
        !changes.is_empty() || args.secret.is_some(),
        "nothing to set; give NAME=VALUE, --secret NAME, --position, --protected, --superseding, --broadcasting or --locking"
    );
    let Args { project, environment, secret, from_file, .. } = args;
    if let Some(name) = &secret {
        let plain = changes
            .iter()
            .any(|change| matches!(change, EnvironmentChange::SetVariable { name: plain, .. } if plain == name));
        anyhow::ensure!(!plain, "{name} is given as a secret and in plain; give it once");
    }
    let before = app.project_named(&project).await?;
    // All are judged before the first is recorded.
    for change in &changes {
        before.change_environment(&environment, change.clone())?;
    }
    if let Some(name) = secret {
        let value = secret_input(from_file.as_deref(), "the secret")?;
        app.set_secret(before.id, &environment, &name, &value, actor).await?;
        if let Some(note) = unmasked(value.expose_secret()) {
            output::hint(&format!("Note on {name}: {note}."));
        }
    }
    for change in changes {
        app.change_environment(before.id, &environment, change, actor).await?;
    }
    Ok(app.project_named(&project).await?.environment_named(&environment)?.clone())
}
