//! The command line: one file per command.
//!
//! **How to add a command:** write its file, add a variant to [`Command`] and an arm to `run`.

pub mod at;
pub mod audit;
mod audit_export;
mod audit_proof;
mod audit_show;
pub mod ci;
pub mod demo;
pub mod deploy;
pub mod deployment;
mod deployment_logs;
pub mod doctor;
pub mod environment;
mod environment_allow;
mod environment_check;
mod environment_set;
pub mod events;
pub mod explain;
pub mod history;
pub mod images;
pub mod insights;
pub mod installation;
mod lock;
pub mod notify;
pub mod output;
pub mod person;
pub mod project;
mod project_set;
mod project_token;
mod ready;
mod secret_input;
pub mod serve;
pub mod slack;
pub mod status;
pub mod who;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use coolops_client::command;
use secrecy::ExposeSecret;

use crate::app::App;
use crate::app::checkpoints::Keeping;
use crate::app::witnesses::{Witness, Witnessing};
use crate::config::{Config, ConfigError, Role};
use crate::domain::event::Actor;
use crate::slack::client::Slack;
use crate::store::Store;

/// Exit codes, as in `docs/CONFIGURATION.md`.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done; for checks: all is well"),
    (1, "refused or failed, the reason is on standard error; for checks: there are findings"),
    (
        2,
        "the command line or the configuration is wrong, or Postgres can't be used, and nothing was changed; or Postgres went away in the middle (build:new… says 1 for a missing name, token or variable, as the original did)",
    ),
];

/// Deployments from Slack, with a history that can be replayed and checked.
#[derive(Debug, Parser)]
#[command(name = "coolops", max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What CI runs
    #[command(flatten)]
    Client(command::Command),
    /// Run everything in one process: web server, Slack, workers
    Serve,
    /// Run the web server and Slack only
    Web,
    /// Run workers only
    Worker,
    /// Bring the database's tables up to date
    Migrate,
    /// Ask the web server of this machine, at COOLOPS_LISTEN, whether it is ready (for the probes of containers)
    Ready,
    /// Check Postgres, Redis, Docker, Slack and what is stuck; say what to fix
    Doctor(doctor::Args),
    /// Try everything on this machine, with a stand-in for Slack (coolops-lab, beside this program; --help says what it takes)
    #[command(disable_help_flag = true)]
    Demo {
        /// What `coolops-lab demo` takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Projects: image, channel, tokens, registry credentials
    Project(project::Args),
    /// Environments: order, variables, secrets
    Environment(environment::Args),
    /// The deployment images that come with coolops, and their variables
    Images(images::Args),
    /// Webhooks of CI systems: secrets, rules, deliveries
    Ci(ci::Args),
    /// Deployments: list, show, logs, stop, resolve
    Deployment(deployment::Args),
    /// Deploy a build, as a press in Slack does
    Deploy(deploy::DeployArgs),
    /// Deploy the build that went well before the present one
    Rollback(deploy::RollbackArgs),
    /// What goes for all projects: who administers everything, and the lock on everything
    Installation(installation::Args),
    /// Whom the history names, and erasing somebody from it
    Person(person::Args),
    /// What somebody in Slack is told in direct messages
    Notify(notify::Args),
    /// What is where: of each environment the build that runs, since when, by whom, and what is on its way
    Status(status::Args),
    /// Measures of delivery: deployments, failures, times, by environment and week
    Insights(insights::Args),
    /// The story of a build's message: each event, what it changed there, and when Slack was sent it
    Explain(explain::Args),
    /// What was where at a moment: what ran, who held it, what waited and why; or what changed between two
    At(at::Args),
    /// Who deployed what where and when, and how it ended; or who changed which setting
    History(history::Args),
    /// Who may do what in an environment, and by which rule
    Who(who::Args),
    /// Rebuild everything that is derived from the log, or check that it fits
    Replay(audit::ReplayArgs),
    /// What Slack shows, held against what it was sent
    Slack(slack::Args),
    /// Check that the log was not changed; show, export and prove what is in it
    Audit(audit::AuditArgs),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the event contract (for developers: ./just events)
    #[command(hide = true)]
    Events {
        /// The folder
        folder: std::path::PathBuf,
    },
    /// Print a generated reference (for developers: ./just events)
    #[command(hide = true)]
    Reference {
        /// Of the configuration, or of the events
        #[arg(value_parser = ["configuration", "events"], default_value = "configuration")]
        of: String,
    },
}

/// Parses the process's arguments and runs.
pub fn main(commit: Option<&str>) -> ExitCode {
    let cli = command::parsed::<Cli>(commit, "");
    let serves = matches!(cli.command, Command::Serve | Command::Web | Command::Worker);
    let _telemetry = crate::telemetry::start(serves);
    crate::failpoint::start();
    match &cli.command {
        Command::Client(command) => return command::run(command),
        Command::Demo { arguments } => return fail(&demo::run(arguments)),
        Command::Ready => return ready::run().unwrap_or_else(|e| fail(&e)),
        _ => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads()).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&anyhow::Error::from(e).context("the runtime can't start")),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => match output::failed() {
            None => code,
            Some(why) => fail(&anyhow::anyhow!("not all that was to be printed could be written: {why}")),
        },
        Err(e) => fail(&e),
    }
}

/// Two threads serve any load that one Postgres takes; more cost memory.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4))
}

/// Makes sure that addresses of pages can be told.
fn with_address(app: &App) -> anyhow::Result<()> {
    anyhow::ensure!(!app.public_url.is_empty(), "COOLOPS_PUBLIC_URL is not set; addresses of pages begin with it");
    Ok(())
}

fn fail(error: &anyhow::Error) -> ExitCode {
    // Nothing is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "coolops: {}", crate::telemetry::causes(error.as_ref()));
    if error.chain().any(|e| {
        e.is::<ConfigError>()
            || e.is::<crate::store::OpenError>()
            || e.downcast_ref().is_some_and(crate::store::is_away)
            // As an append that several wait for tells it.
            || e.downcast_ref::<Arc<sqlx::Error>>().is_some_and(|e| crate::store::is_away(e))
    }) {
        ExitCode::from(2)
    } else {
        ExitCode::from(1)
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Client(_) | Command::Demo { .. } | Command::Ready => {
            unreachable!("it is run before the runtime starts")
        }
        Command::Serve => serve::run(Role::Serve).await.map(|()| ExitCode::SUCCESS),
        Command::Web => serve::run(Role::Web).await.map(|()| ExitCode::SUCCESS),
        Command::Worker => serve::run(Role::Worker).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate => migrate().await,
        Command::Doctor(args) => doctor::run(args).await,
        Command::Project(args) => project::run(args).await,
        Command::Environment(args) => Box::pin(environment::run(args)).await,
        Command::Images(args) => images::run(&args),
        Command::Ci(args) => ci::run(args).await,
        Command::Deployment(args) => deployment::run(args).await,
        Command::Deploy(args) => deploy::deploy(args).await,
        Command::Rollback(args) => deploy::rollback(args).await,
        Command::Installation(args) => installation::run(args).await,
        Command::Person(args) => person::run(args).await,
        Command::Notify(args) => notify::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Insights(args) => insights::run(args).await,
        Command::Explain(args) => explain::run(args).await,
        Command::At(args) => at::run(args).await,
        Command::History(args) => history::run(args).await,
        Command::Who(args) => who::run(args).await,
        Command::Replay(args) => audit::replay(args).await,
        Command::Slack(args) => slack::run(args).await,
        Command::Audit(args) => audit::audit(args).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "coolops", &mut script);
            output::bytes(&script);
            Ok(ExitCode::SUCCESS)
        }
        Command::Events { folder } => events::write(&folder).map(|()| ExitCode::SUCCESS),
        Command::Reference { of } => {
            output::line(&if of == "events" { events::reference() } else { reference() });
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `docs/CONFIGURATION.md`: the variables of each role, the exit codes, the commands.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration, exit codes and commands\n\nGenerated from the types by `./just events`.\n\n## Variables\n\n\
         A role reads its variables once, at the start, and tells all problems at once (exit 2).\n\n",
    );
    text.push_str(&crate::config::reference());
    text.push_str("\nThe commands `build:new…` read `COOLOPS_PROJECT_API_TOKEN`, `COOLOPS_URL`, and `COOLOPS_PARAMS` and `COOLOPS_METADATA` (one `KEY=VALUE` in each line). Flags are added to those, and win for the same key.\n");
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!("| {code} | {meaning} |\n"));
    }
    text.push_str("\n## Commands\n\n| command | what it does |\n|---|---|\n");
    let mut add = |name: &str, command: &clap::Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("| `coolops {name}` | {about} |\n"));
    };
    for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
        let leaves: Vec<_> = command.get_subcommands().collect();
        if leaves.is_empty() {
            add(command.get_name(), command);
        }
        for leaf in leaves {
            let deeper: Vec<_> = leaf.get_subcommands().collect();
            if deeper.is_empty() {
                add(&format!("{} {}", command.get_name(), leaf.get_name()), leaf);
            }
            for last in deeper {
                add(&format!("{} {} {}", command.get_name(), leaf.get_name(), last.get_name()), last);
            }
        }
    }
    text
}

async fn migrate() -> anyhow::Result<ExitCode> {
    let config = Config::from_environment(Role::Migrate)?;
    let version =
        crate::store::migrate(&config.migrate_database_url).await.context("the database could not be migrated")?;
    output::line(&format!("The database has schema version {version}."));
    Ok(ExitCode::SUCCESS)
}

/// The shell for commands that work on the database.
async fn operate() -> anyhow::Result<App> {
    operate_asking().await.map(|(app, _)| app)
}

/// The shell for commands that work on the database, and the way to Slack where there is a token. Without the rows that are
/// made of the log nothing would be found, and everything would seem to be allowed.
async fn operate_asking() -> anyhow::Result<(App, Option<Slack>)> {
    let (app, slack) = operate_on_the_log_asking().await?;
    anyhow::ensure!(!app.store.directory().rows_are_lost().await?, "{}", crate::store::log::ROWS_LOST);
    Ok((app, slack))
}

/// The shell for commands that work on the log itself, whatever became of the rows that are made of it.
async fn operate_on_the_log() -> anyhow::Result<App> {
    operate_on_the_log_asking().await.map(|(app, _)| app)
}

async fn operate_on_the_log_asking() -> anyhow::Result<(App, Option<Slack>)> {
    let config = Config::from_environment(Role::Operate)?;
    let store = Store::open(&config.database_url, 4).await?;
    let (slack, asked) = (slack(&config)?, slack(&config)?);
    let keeping = keeping(&config);
    let keys = config.keys.context("COOLOPS_MASTER_KEY is not set")?;
    // Times are compared by the database's clock, here too.
    store.keep_clock().await.context("the database's clock can't be read")?;
    let app = App::new(store, keys, &config.public_url).keeping(keeping);
    Ok(match asked {
        Some(asked) => (app.asking(asked, Arc::default()), slack),
        None => (app, None),
    })
}

/// What checkpoints are made and kept with.
fn keeping(config: &Config) -> Keeping {
    Keeping {
        signer: config.checkpoint_key.clone(),
        believed: config.checkpoint_keys.clone(),
        places: config.checkpoints.clone(),
        witnesses: config.witnesses.iter().cloned().map(|(key, at)| Witness { key, at }).collect(),
        threshold: config.witness_threshold,
        witnessing: config.witness_key.clone().map(|key| Witnessing { key, logs: config.witness_logs.clone() }),
    }
}

/// The way to Slack, where there is a token.
fn slack(config: &Config) -> anyhow::Result<Option<Slack>> {
    let has_token = !config.slack_token.expose_secret().is_empty();
    let slack = has_token.then(|| Slack::new(&config.slack_api_url, &config.slack_token));
    slack.transpose().context("no root certificates on this machine")
}

/// Who sits at this terminal.
#[expect(clippy::disallowed_methods, reason = "the login name is no configuration")]
fn operator() -> Actor {
    let name = |variable: &str| std::env::var(variable).ok().filter(|v| !v.is_empty());
    let login =
        name("SUDO_USER").or_else(|| name("USER")).or_else(|| name("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    Actor::Operator { login: login.chars().filter(|c| !c.is_control()).take(60).collect() }
}

/// Characters of an id that name something: with fewer, as with none, anything that is alone there would be meant.
const ID_MIN: usize = 4;

/// A text as the beginning of an id, as ids are written.
fn beginning_of_id(what: &str, list: &str, text: &str) -> anyhow::Result<String> {
    let beginning = text.trim().to_ascii_lowercase();
    let is_one = beginning.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    anyhow::ensure!(is_one, "there is no {what} {}; see: {list}", output::safe(text));
    anyhow::ensure!(
        beginning.len() >= ID_MIN,
        "\"{beginning}\" is too little of a {what}'s id; give at least {ID_MIN} characters of it; see: {list}"
    );
    Ok(beginning)
}

/// The one thing whose id begins with a text.
fn the_only<T>(what: &str, list: &str, text: &str, found: Vec<T>) -> anyhow::Result<T> {
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => anyhow::bail!("there is no {what} {text}; see: {list}"),
        (Some(_), Some(_)) => anyhow::bail!("more than one {what} begins with {text}; give more of its id"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::CommandError;
    use crate::domain::project::ProjectRefusal;
    use crate::store::append::AppendError;

    #[test]
    fn a_database_that_is_away_while_something_is_recorded_is_no_refusal() {
        let away = AppendError::Unavailable(Arc::new(sqlx::Error::PoolTimedOut));
        let away: CommandError<ProjectRefusal> = CommandError::Unavailable(Box::new(away));
        let refused: CommandError<ProjectRefusal> = CommandError::Refused(ProjectRefusal::Overtaken);
        let code = |error| format!("{:?}", fail(&anyhow::Error::new(error)));
        assert_eq!(code(away), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(refused), format!("{:?}", ExitCode::from(1)));
    }
}
