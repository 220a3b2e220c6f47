//! `coolops project token …`: tokens that CI announces builds with.

use anyhow::Result;
use clap::Subcommand;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::output::{self, Format};
use crate::app::App;
use crate::domain::event::Actor;
use crate::domain::project::Token;
use crate::domain::settings::ProjectChange;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token; it is shown this once
    New {
        /// The project's slug
        project: String,
        /// What to call it
        #[arg(long, default_value = "CI")]
        label: String,
        #[command(flatten)]
        format: Format,
    },
    /// List the tokens
    List {
        /// The project's slug
        project: String,
        #[command(flatten)]
        format: Format,
    },
    /// Stop accepting a token
    Revoke {
        /// The project's slug
        project: String,
        /// The token's label or id
        token: String,
    },
}

/// Runs it.
///
/// # Errors
/// A refusal, or that the database is away.
pub(super) async fn run(app: &App, command: Command, actor: &Actor) -> Result<()> {
    match command {
        Command::New { project, label, format } => {
            let (id, token) = app.issue_token(app.project_named(&project).await?.id, &label, actor).await?;
            if format.json {
                output::json(&json!({ "id": id, "label": label, "token": token.expose_secret() }));
            } else {
                output::line(token.expose_secret());
                output::hint(
                    "This is the only time that the token is shown. Give it to CI as COOLOPS_PROJECT_API_TOKEN.",
                );
            }
        }
        Command::List { project, format } => {
            let tokens = app.project_named(&project).await?.tokens;
            if format.json {
                output::json(&tokens.iter().map(as_json).collect::<Vec<_>>());
            } else {
                let row = |t: &Token| {
                    vec![t.label.clone(), if t.revoked { "revoked" } else { "valid" }.to_owned(), t.id.to_string()]
                };
                output::table(&["LABEL", "STATE", "ID"], &tokens.iter().map(row).collect::<Vec<_>>());
            }
        }
        Command::Revoke { project, token } => {
            let id = app.project_named(&project).await?.id;
            app.change_project(id, ProjectChange::RevokeToken(token.clone()), actor).await?;
            output::line(&format!("The token {} is revoked.", output::safe(&token)));
        }
    }
    Ok(())
}

/// A token for machines, without its digest.
pub(super) fn as_json(t: &Token) -> Value {
    json!({ "id": t.id, "label": t.label, "revoked": t.revoked })
}
