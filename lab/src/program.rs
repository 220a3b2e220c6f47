//! The program that is tried: `coolops`, which stands beside this one.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Where it is.
///
/// # Errors
/// When it was not built.
pub fn path() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's own file can't be found")?;
    let path = own.with_file_name("coolops");
    ensure!(path.exists(), "{} is not there; build it with: cargo build", path.display());
    Ok(path)
}

/// A command of it, with nothing but this in its environment.
///
/// # Errors
/// When it was not built.
pub fn command(environment: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(path()?);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(environment.iter().copied());
    Ok(command)
}

/// Runs a command of it and tells what it printed.
///
/// # Errors
/// When it fails, with what it said.
pub async fn run(environment: &[(&str, &str)], arguments: &[&str], input: &str) -> Result<String> {
    let mut command = command(environment)?;
    let piped = Stdio::piped;
    let mut child = command.args(arguments).stdin(piped()).stdout(piped()).stderr(piped()).spawn()?;
    let mut stdin = child.stdin.take().context("a pipe was asked for")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "coolops {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Brings a database up to date.
///
/// # Errors
/// When that fails.
pub async fn migrate(database: &str) -> Result<()> {
    run(&[("DATABASE_URL", database)], &["migrate"], "").await.map(drop)
}
