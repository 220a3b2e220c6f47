//! `coolops environment allow`: who in Slack may do what.

use anyhow::{Context, Result};

use super::who;
use crate::app::App;
use crate::domain::event::Actor;
use crate::domain::settings::EnvironmentChange;

/// Arguments of `environment allow`.
#[derive(Debug, clap::Args)]
pub struct Args {
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
}

/// Changes the rights that are given, and shows them all.
///
/// # Errors
/// A refusal, or that the database or Slack is away.
pub(super) async fn run(app: &App, args: Args, actor: &Actor) -> Result<()> {
    let Args { project, environment, deploy, lock, stop, administer, other_workspaces, guests } = args;
    let project = app.project_named(&project).await?;
    let before = &project.environment_named(&environment)?.rights;
    let mut rights = before.clone();
    for (given, of) in [(deploy, &mut rights.deploy), (lock, &mut rights.lock), (stop, &mut rights.stop)] {
        if !given.is_empty() {
            *of = who::named(app, &given).await?;
        }
    }
    if !administer.is_empty() {
        let everybody = "everybody can't administer an environment; name people, groups, or nobody";
        rights.administer = who::named(app, &administer).await?.context(everybody)?;
    }
    rights.other_workspaces = other_workspaces.unwrap_or(rights.other_workspaces);
    rights.guests = guests.unwrap_or(rights.guests);
    anyhow::ensure!(
        rights != *before,
        "nothing changes; give --deploy, --lock, --stop, --administer, --other-workspaces or --guests"
    );
    app.change_environment(
        project.id,
        &environment,
        EnvironmentChange::Allow { rights, was: Some(before.clone()) },
        actor,
    )
    .await?;
    let project = app.project_named(&project.slug).await?;
    who::show(app, project.environment_named(&environment)?).await
}
