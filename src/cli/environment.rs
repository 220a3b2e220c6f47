//! `coolops environment …`: set-up of environments, their variables and secrets.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::output::{self, Format};
use super::{environment_allow, environment_check, environment_set, lock, operate, operator};
use crate::app::locks::Target;
use crate::domain::project::{Environment, VariableValue};
use crate::domain::rights::Rights;
use crate::domain::settings::EnvironmentChange;

/// Arguments of `environment`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add an environment; builds announced from now on get a button for it
    Create {
        /// The project's slug
        project: String,
        /// What people read, such as Production
        name: String,
        /// Its place among the buttons; last otherwise
        #[arg(long)]
        position: Option<i32>,
        #[command(flatten)]
        format: Format,
    },
    /// List a project's environments in the order of their buttons
    List {
        /// The project's slug
        project: String,
        #[command(flatten)]
        format: Format,
    },
    /// Show an environment with its variables; secrets by fingerprint only
    Show {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
        #[command(flatten)]
        format: Format,
    },
    /// Say which variables that the project's image reads are missing, and which are set that it does not read
    Check {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
        #[command(flatten)]
        format: Format,
    },
    /// Set variables (NAME=VALUE), a secret (--secret NAME, value from standard input), the position, or how presses and failures are treated
    Set(environment_set::Args),
    /// Remove variables, secret or not; a secret's value is erased
    Unset {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Give an environment another name
    Rename {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
        /// The new name
        name: String,
    },
    /// Lock an environment: the deployments of others wait until the lock is taken away or runs out
    Lock {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
        #[command(flatten)]
        terms: lock::Terms,
    },
    /// Take a lock away, whosever it is; the first in the line has its turn
    Unlock {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
    },
    /// Say who in Slack may do what: @group, ids of people (U…) and groups (S…), everybody, or nobody; see: coolops who
    Allow(environment_allow::Args),
    /// Close an environment, for good: its buttons are refused, what waits for it ends, and its secrets are erased
    Archive {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
    },
}

/// Runs it.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let actor = operator();
    let id = async |slug: &str| app.project_named(slug).await.map(|p| p.id);
    match args.command {
        Command::Create { project, name, position, format } => {
            let changed = app.create_environment(id(&project).await?, &name, position, &actor).await?;
            show(changed.environment_named(&name)?, format);
        }
        Command::List { project, format } => {
            let project = app.project_named(&project).await?;
            let environments = project.open_environments();
            if format.json {
                output::json(&environments.into_iter().map(as_json).collect::<Vec<_>>());
            } else {
                let row = |e: &&Environment| {
                    let protected = if e.protected { "yes" } else { "no" };
                    vec![e.name.clone(), e.position.to_string(), protected.to_owned(), e.variables.len().to_string()]
                };
                let rows: Vec<_> = environments.iter().map(row).collect();
                output::table(&["NAME", "POSITION", "PROTECTED", "VARIABLES"], &rows);
            }
        }
        Command::Show { project, environment, format } => {
            show(app.project_named(&project).await?.environment_named(&environment)?, format);
        }
        Command::Check { project, environment, format } => {
            let project = app.project_named(&project).await?;
            let environment = project.environment_named(&environment)?;
            return environment_check::run(&app, &project, environment, format).await;
        }
        Command::Set(args) => show(&environment_set::run(&app, args, &actor).await?, Format { json: false }),
        Command::Unset { project, environment, names } => {
            let before = app.project_named(&project).await?;
            // All are judged before the first is recorded; a name that comes again is the same one.
            let names: BTreeSet<String> = names.into_iter().collect();
            for name in &names {
                before.change_environment(&environment, EnvironmentChange::UnsetVariable(name.clone()))?;
            }
            for name in names {
                app.change_environment(before.id, &environment, EnvironmentChange::UnsetVariable(name), &actor).await?;
            }
            show(app.project_named(&project).await?.environment_named(&environment)?, Format { json: false });
        }
        Command::Rename { project, environment, name } => {
            app.change_environment(id(&project).await?, &environment, EnvironmentChange::Rename(name.clone()), &actor)
                .await?;
            output::line(&format!("{environment} is now called {name}; messages posted before keep the old name."));
        }
        Command::Allow(args) => environment_allow::run(&app, args, &actor).await?,
        Command::Lock { project, environment, terms } => {
            let project = app.project_named(&project).await?;
            let environment = project.environment_named(&environment)?;
            lock::lock(&app, Target::Environment(project.id, environment.id), &environment.name, terms, &actor).await?;
        }
        Command::Unlock { project, environment } => {
            let project = app.project_named(&project).await?;
            let environment = project.environment_named(&environment)?;
            lock::unlock(&app, Target::Environment(project.id, environment.id), &environment.name, &actor).await?;
        }
        Command::Archive { project, environment } => {
            app.change_environment(id(&project).await?, &environment, EnvironmentChange::Archive, &actor).await?;
            output::line(&format!("{environment} is archived."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An environment for machines, secrets by fingerprint.
pub fn as_json(e: &Environment) -> serde_json::Value {
    let variable = |v: &crate::domain::project::Variable| match &v.value {
        VariableValue::Plain(value) => json!({ "name": v.name, "value": value }),
        VariableValue::Secret(secret) => json!({ "name": v.name, "secret": secret }),
    };
    json!({ "id": e.id, "name": e.name, "position": e.position, "protected": e.protected, "superseding": e.superseding, "broadcasting": e.broadcasting, "locking": e.locking, "rights": e.rights, "lock": e.lock, "variables": e.variables.iter().map(variable).collect::<Vec<_>>() })
}

fn show(e: &Environment, format: Format) {
    if format.json {
        return output::json(&as_json(e));
    }
    let protected = if e.protected { ", protected: a press is asked back first" } else { "" };
    output::line(&format!("{} (position {}{protected})", e.name, e.position));
    if e.superseding {
        output::line("  a press takes the place of those that wait");
    }
    if e.rights != Rights::default() {
        output::line(&format!("  not everybody may do everything; see: coolops who PROJECT {}", output::safe(&e.name)));
    }
    if e.locking {
        output::line("  each deployment locks it for whoever had it deployed");
    }
    if e.broadcasting {
        output::line("  a failure is shown in the channel too");
    }
    if let Some(lock) = &e.lock {
        output::line(&format!("  {}", lock::words(lock)));
    }
    for v in &e.variables {
        match &v.value {
            VariableValue::Plain(value) => output::line(&format!("  {}={}", v.name, output::safe(value))),
            VariableValue::Secret(s) => {
                output::line(&format!("  {} is secret (version {}, fingerprint {})", v.name, s.version, s.fingerprint));
            }
        }
    }
}
