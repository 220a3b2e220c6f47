//! `coolops-lab with-services`: a command beside private services, for tests and figures.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::run_folder::RunFolder;
use crate::services::{Durability, Services, docker_host};
use crate::{hint, orphans, program};

/// Arguments of `with-services`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Postgres as in production, not as fast as can be
    #[arg(long)]
    durable: bool,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs a command with `TEST_DATABASE_URL`, `TEST_REDIS_URL` and `TEST_DOCKER_HOST` set to private services.
///
/// # Errors
/// When a service can't be started.
pub async fn run(args: Args) -> Result<ExitCode> {
    orphans::clean()?.stuck.iter().for_each(|why| hint(why));
    let folder = RunFolder::make("services", None)?;
    let mut services = Services::new()?;
    let ran = beside(&args, &folder, &mut services).await;
    services.stop().await;
    ran
}

/// How long a command and what it started may take to end.
const GROUP_GRACE: std::time::Duration = std::time::Duration::from_secs(10);

async fn tell_group(signal: &str, group: u32) {
    let mut kill = Command::new("kill");
    kill.args([signal, "--", &format!("-{group}")]).stderr(std::process::Stdio::null());
    drop(kill.status().await);
}

async fn beside(args: &Args, folder: &RunFolder, services: &mut Services) -> Result<ExitCode> {
    let durability = if args.durable { Durability::Full } else { Durability::Tests };
    let database = services.postgres(folder, durability).await?;
    program::migrate(&database).await?;
    let redis = services.redis(folder).await?;
    let (docker, _) = services.docker(folder, docker_host().as_deref()).await?;
    let (program, rest) = args.command.split_first().context("there is no command")?;
    ensure!(!program.is_empty(), "there is no command");
    let mut command = Command::new(program);
    // A group of its own, so that whatever it starts ends with it. At a terminal it stays in the group that may read
    // from there.
    let grouped = !std::io::stdin().is_terminal();
    if grouped {
        command.process_group(0);
    }
    let mut child = command
        .args(rest)
        .env("TEST_DATABASE_URL", &database)
        .env("TEST_REDIS_URL", &redis)
        .env("TEST_DOCKER_HOST", &docker)
        .spawn()
        .with_context(|| format!("{program} can't be started"))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let group = child.id().context("the command has no process id")?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let status = match status {
        Some(status) => status,
        None => {
            tell_group("-TERM", group).await;
            let ended = tokio::time::timeout(GROUP_GRACE, child.wait()).await;
            tell_group("-KILL", group).await;
            match ended {
                Ok(status) => status?,
                Err(_) => child.wait().await?,
            }
        }
    };
    // What it left running would hold its ports for ever.
    tell_group("-KILL", group).await;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}
