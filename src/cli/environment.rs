//! `coolops environment …`: set-up of environments, their variables and secrets.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::output::{self, Format};
use super::{environment_check, lock, operate, operator, who};
use crate::app::App;
use crate::app::locks::Target;
use crate::domain::names;
use crate::domain::project::{Environment, VariableValue};
use crate::domain::rights::{Rights, Who};
use crate::domain::settings::EnvironmentChange;
use crate::runner::parts::unmasked;

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
    Set {
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
    },
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
    Allow {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
        /// Who may deploy there
        #[arg(long, num_args = 1.., value_name = "WHO")]
        deploy: Vec<String>,
        /// Who may lock it, and take the locks of others away
        #[arg(long, num_args = 1.., value_name = "WHO")]
        lock: Vec<String>,
        /// Who may end what others deployed there
        #[arg(long, num_args = 1.., value_name = "WHO")]
        stop: Vec<String>,
        /// Who may do all that, and take locks away without being asked back
        #[arg(long, num_args = 1.., value_name = "WHO")]
        administer: Vec<String>,
        /// Whether people of other workspaces in a shared channel may too: yes or no
        #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
        other_workspaces: Option<bool>,
        /// Whether guests may too: yes or no
        #[arg(long, value_name = "YES|NO", value_parser = clap::builder::BoolishValueParser::new())]
        guests: Option<bool>,
    },
    /// Close an environment: its buttons on older messages are refused
    Archive {
        /// The project's slug
        project: String,
        /// The environment's name
        environment: String,
    },
}

/// Who is named by these words; nothing for everybody.
pub(super) async fn named(app: &App, words: &[String]) -> Result<Option<Vec<Who>>> {
    let words: Vec<&str> = words.iter().flat_map(|w| w.split(',')).map(str::trim).filter(|w| !w.is_empty()).collect();
    match words[..] {
        ["everybody"] => return Ok(None),
        ["nobody"] => return Ok(Some(vec![])),
        _ => {}
    }
    let mut all = Vec::new();
    for word in words {
        let is_id = |first: &[char]| {
            word.starts_with(first)
                && (9..=21).contains(&word.len())
                && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        let who = match word.strip_prefix('@') {
            Some(handle) => app.group_called(handle).await.map_err(anyhow::Error::msg)?,
            None if is_id(&['U', 'W']) => app.person_named(word).await,
            None if is_id(&['S']) => Who::Group { id: word.to_owned(), handle: None },
            None => anyhow::bail!(
                "\"{}\" is nobody; give @group, Slack's id of a person (U…) or of a group (S…), everybody, or nobody",
                names::printable(word)
            ),
        };
        if !all.contains(&who) {
            all.push(who);
        }
    }
    Ok(Some(all))
}

/// Reads a secret from a file or from standard input, without the line's end.
///
/// # Errors
/// When it can't be read, or is not text.
pub fn secret_input(file: Option<&Path>, what: &str) -> Result<SecretString> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?,
        None => {
            if std::io::stdin().is_terminal() {
                anyhow::bail!(
                    "{what} comes from standard input, so that it stays out of your shell's history; pipe it in: printf %s … | coolops …"
                );
            }
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .with_context(|| format!("{what} can't be read from standard input"))?;
            text
        }
    };
    Ok(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').to_owned().into())
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
        Command::Set {
            project,
            environment,
            variables,
            secret,
            from_file,
            position,
            protected,
            superseding,
            broadcasting,
            locking,
        } => {
            anyhow::ensure!(
                !variables.is_empty()
                    || secret.is_some()
                    || position.is_some()
                    || protected.is_some()
                    || superseding.is_some()
                    || broadcasting.is_some()
                    || locking.is_some(),
                "nothing to set; give NAME=VALUE, --secret NAME, --position, --protected, --superseding, --broadcasting or --locking"
            );
            let split = |text: &String| {
                let (name, value) = text
                    .split_once('=')
                    .with_context(|| format!("\"{}\" should have the NAME=VALUE format", names::printable(text)))?;
                Ok(EnvironmentChange::SetVariable { name: name.to_owned(), value: value.to_owned() })
            };
            let mut changes = variables.iter().map(split).collect::<Result<Vec<_>>>()?;
            changes.extend(position.map(EnvironmentChange::Move));
            changes.extend(protected.map(EnvironmentChange::Protect));
            changes.extend(superseding.map(EnvironmentChange::Supersede));
            changes.extend(broadcasting.map(EnvironmentChange::Broadcast));
            changes.extend(locking.map(EnvironmentChange::LockByDeployment));
            let before = app.project_named(&project).await?;
            // All are judged before the first is recorded.
            for change in &changes {
                before.change_environment(&environment, change.clone())?;
            }
            if let Some(name) = secret {
                let value = secret_input(from_file.as_deref(), "the secret")?;
                app.set_secret(before.id, &environment, &name, &value, &actor).await?;
                if let Some(note) = unmasked(value.expose_secret()) {
                    output::hint(&format!("Note on {name}: {note}."));
                }
            }
            for change in changes {
                app.change_environment(before.id, &environment, change, &actor).await?;
            }
            show(app.project_named(&project).await?.environment_named(&environment)?, Format { json: false });
        }
        Command::Unset { project, environment, names } => {
            let before = app.project_named(&project).await?;
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
        Command::Allow { project, environment, deploy, lock, stop, administer, other_workspaces, guests } => {
            let project = app.project_named(&project).await?;
            let mut rights = project.environment_named(&environment)?.rights.clone();
            let before = rights.clone();
            for (given, of) in [(deploy, &mut rights.deploy), (lock, &mut rights.lock), (stop, &mut rights.stop)] {
                if !given.is_empty() {
                    *of = named(&app, &given).await?;
                }
            }
            if !administer.is_empty() {
                let everybody = "everybody can't administer an environment; name people, groups, or nobody";
                rights.administer = named(&app, &administer).await?.context(everybody)?;
            }
            rights.other_workspaces = other_workspaces.unwrap_or(rights.other_workspaces);
            rights.guests = guests.unwrap_or(rights.guests);
            anyhow::ensure!(
                rights != before,
                "nothing changes; give --deploy, --lock, --stop, --administer, --other-workspaces or --guests"
            );
            app.change_environment(project.id, &environment, EnvironmentChange::Allow(rights), &actor).await?;
            let project = app.project_named(&project.slug).await?;
            who::show(&app, project.environment_named(&environment)?).await?;
        }
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
