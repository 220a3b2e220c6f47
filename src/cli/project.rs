//! `coolops project …`: set-up of projects, from the command line against the database.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::output::{self, Format};
use super::secret_input::secret_input;
use super::{environment, lock, operate, operator, project_set, project_token};
use crate::app::locks::Target;
use crate::domain::lock::Lockable;
use crate::domain::names;
use crate::domain::project::Project;
use crate::domain::settings::ProjectChange;

/// Arguments of `project`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up a project
    Create {
        /// What people read, such as Api
        name: String,
        /// The image that a deployment runs; coolops images lists some that are ready
        #[arg(long)]
        image: String,
        /// The Slack channel's id, such as C0123456789
        #[arg(long)]
        channel: String,
        /// What it is called on the command line; made from the name otherwise
        #[arg(long)]
        slug: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// List the projects
    List(Format),
    /// Show a project with its environments
    Show {
        /// The project's slug
        project: String,
        #[command(flatten)]
        format: Format,
    },
    /// Change a project
    Set(project_set::Args),
    /// Which params builds may carry: only those that are listed; without a list, all that don't change how programs
    /// run
    Params {
        /// The project's slug
        project: String,
        /// Their names
        params: Vec<String>,
        /// Take every param that doesn't change how programs run, as at first
        #[arg(long, conflicts_with = "params")]
        any: bool,
        /// Take none
        #[arg(long, conflicts_with_all = ["params", "any"])]
        none: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Hold a project, or end that: while it is held none of its output is erased, and nobody is
    Hold {
        /// The project's slug
        project: String,
        /// Why; it is recorded
        #[arg(long, required_unless_present = "end")]
        reason: Option<String>,
        /// End it
        #[arg(long, conflicts_with = "reason")]
        end: bool,
    },
    /// Lock all environments of a project: the deployments of others wait until the lock is taken away or runs out
    Lock {
        /// The project's slug
        project: String,
        #[command(flatten)]
        terms: lock::Terms,
    },
    /// Take a project's lock away, whosever it is; the first in each line has its turn
    Unlock {
        /// The project's slug
        project: String,
    },
    /// Close a project, for good: no new builds or deployments, what waits ends, secrets are erased; its history stays
    Archive {
        /// The project's slug
        project: String,
    },
    /// Tokens for CI
    #[command(subcommand)]
    Token(project_token::Command),
    /// Credentials for pulling the deployment image
    #[command(subcommand)]
    Registry(Registry),
    /// Links to logs
    #[command(subcommand)]
    Links(Links),
}

#[derive(Debug, Subcommand)]
enum Registry {
    /// Set the login for a registry; the password comes from standard input
    Set {
        /// The project's slug
        project: String,
        /// The registry's host, such as registry.example.com
        registry: String,
        /// The login name
        #[arg(long)]
        username: String,
        /// Read the password from a file instead
        #[arg(long, value_name = "FILE")]
        password_file: Option<std::path::PathBuf>,
    },
    /// Remove the login for a registry
    Unset {
        /// The project's slug
        project: String,
        /// The registry's host
        registry: String,
    },
}

#[derive(Debug, Subcommand)]
enum Links {
    /// Declare all links made so far void
    Revoke {
        /// The project's slug
        project: String,
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
        Command::Create { name, image, channel, slug, format } => {
            let is_derived = slug.is_none();
            let slug = slug.unwrap_or_else(|| names::slug_from(&name));
            anyhow::ensure!(
                !(is_derived && slug.is_empty()),
                "nothing of \"{}\" can stand in an address; give the project a short name for it: --slug NAME",
                output::safe(&name)
            );
            let project = app.create_project(&slug, &name, &image, &channel, &actor).await?;
            show(&project, format);
            if !format.json {
                output::line(&format!(
                    "\nNext: coolops environment create {slug} Production\n      coolops project token new {slug}"
                ));
            }
        }
        Command::List(format) => {
            let projects = app.store.directory().projects().await?;
            if format.json {
                output::json(&projects.iter().map(as_json).collect::<Vec<_>>());
            } else {
                let row = |p: &Project| {
                    let environments: Vec<&str> = p.open_environments().into_iter().map(|e| e.name.as_str()).collect();
                    let name = if p.archived { format!("{} (archived)", p.name) } else { p.name.clone() };
                    vec![p.slug.clone(), name, p.channel.clone(), p.image.as_str().to_owned(), environments.join(", ")]
                };
                output::table(
                    &["SLUG", "NAME", "CHANNEL", "IMAGE", "ENVIRONMENTS"],
                    &projects.iter().map(row).collect::<Vec<_>>(),
                );
            }
        }
        Command::Show { project, format } => show(&app.project_named(&project).await?, format),
        Command::Set(args) => {
            let format = args.format;
            show(&project_set::run(&app, args, &actor).await?, format);
        }
        Command::Params { project, params, any, none, format } => {
            let there = app.project_named(&project).await?;
            let changed = match (any, none, params.is_empty()) {
                (true, ..) => app.change_project(there.id, ProjectChange::Params(None), &actor).await?,
                (_, true, _) => app.change_project(there.id, ProjectChange::Params(Some(vec![])), &actor).await?,
                (.., false) => app.change_project(there.id, ProjectChange::Params(Some(params)), &actor).await?,
                (.., true) => there,
            };
            if format.json {
                output::json(&changed.params);
            } else {
                output::line(&params_words(&changed));
            }
        }
        Command::Hold { project, reason, end: _ } => {
            let there = app.project_named(&project).await?;
            let held = app.change_project(there.id, ProjectChange::Hold(reason), &actor).await?;
            output::line(&match &held.hold {
                Some(_) => format!("{} is held: none of its output is erased, and nobody is.", held.slug),
                None => {
                    format!("{} is not held any more; what is older than it is kept goes within minutes.", held.slug)
                }
            });
        }
        Command::Lock { project, terms } => {
            let project = app.project_named(&project).await?;
            let what = Lockable::Project(&project).name();
            lock::lock(&app, Target::Project(project.id), &what, terms, &actor).await?;
        }
        Command::Unlock { project } => {
            let project = app.project_named(&project).await?;
            let what = Lockable::Project(&project).name();
            lock::unlock(&app, Target::Project(project.id), &what, &actor).await?;
        }
        Command::Archive { project } => {
            app.change_project(id(&project).await?, ProjectChange::Archive, &actor).await?;
            output::line(&format!("The project {project} is archived."));
        }
        Command::Token(command) => project_token::run(&app, command, &actor).await?,
        Command::Registry(Registry::Set { project, registry, username, password_file }) => {
            let id = id(&project).await?;
            let password = secret_input(password_file.as_deref(), "the password")?;
            app.set_registry(id, &registry, &username, &password, &actor).await?;
            output::line(&format!("The login for {registry} is set."));
        }
        Command::Registry(Registry::Unset { project, registry }) => {
            app.unset_registry(id(&project).await?, &registry, &actor).await?;
            output::line(&format!("The login for {registry} is removed."));
        }
        Command::Links(Links::Revoke { project }) => {
            app.revoke_links(id(&project).await?, &actor).await?;
            output::line("All links made so far are void; builds announced from now on have new ones.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn params_words(p: &Project) -> String {
    match &p.params {
        None => "any that doesn't change how programs run".to_owned(),
        Some(none) if none.is_empty() => "none".to_owned(),
        Some(listed) => listed.join(", "),
    }
}

/// A project for machines, without digests.
fn as_json(p: &Project) -> serde_json::Value {
    json!({
        "id": p.id, "slug": p.slug, "name": p.name, "image": p.image, "channel": p.channel, "archived": p.archived,
        "time_limit_minutes": p.time_limit_minutes, "log_limit_mebibytes": p.log_limit_mebibytes, "params": p.params,
        "start_patience_minutes": p.start_patience_minutes, "stop_grace_seconds": p.stop_grace_seconds, "unchecked_image": p.unchecked_image,
        "lock_reminder_hours": p.lock_reminder_hours, "lock": p.lock, "output_kept_days": p.output_kept_days, "hold": p.hold,
        "environments": p.open_environments().into_iter().map(environment::as_json).collect::<Vec<_>>(),
        "tokens": p.tokens.iter().map(project_token::as_json).collect::<Vec<_>>(),
        "registries": p.registries.iter().map(|r| json!({ "host": r.host, "username": r.username })).collect::<Vec<_>>(),
    })
}

fn show(p: &Project, format: Format) {
    if format.json {
        return output::json(&as_json(p));
    }
    output::line(&format!("{} ({}){}", p.name, p.slug, if p.archived { ", archived" } else { "" }));
    output::line(&format!("  image    {}", p.image.as_str()));
    output::line(&format!("  channel  {}", p.channel));
    output::line(&format!(
        "  limits   {} min to run, {} MiB of output kept",
        p.time_limit_minutes, p.log_limit_mebibytes
    ));
    output::line(&format!(
        "  starting {} min while Docker can't; stopping {} s to clean up",
        p.start_patience_minutes, p.stop_grace_seconds
    ));
    output::line(&format!("  params   {}", params_words(p)));
    output::line(&match p.lock_reminder_hours {
        Some(hours) => format!("  locks    without an end: a reminder after {hours} h"),
        None => "  locks    without an end: no reminder".to_owned(),
    });
    output::line(&match p.output_kept_days {
        Some(days) => format!("  output   kept for {days} day{}", if days == 1 { "" } else { "s" }),
        None => "  output   kept for ever".to_owned(),
    });
    if let Some(reason) = &p.hold {
        output::line(&format!("  held     none of its output is erased, and nobody: {}", output::safe(reason)));
    }
    if let Some(lock) = &p.lock {
        output::line(&format!("  all of it is {}", lock::words(lock)));
    }
    for r in &p.registries {
        output::line(&format!("  registry {} as {}", r.host, r.username));
    }
    let valid = p.tokens.iter().filter(|t| !t.revoked).count();
    output::line(&format!("  tokens   {valid} valid"));
    for e in p.open_environments() {
        output::line(&format!("  environment {} with {} variables", e.name, e.variables.len()));
    }
}
