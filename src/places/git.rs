//! A git repository as a place: a clone on this machine, with a commit for each checkpoint, pushed where it has a remote.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{Kept, NEWEST, PlaceError};

/// Runs git in a repository, with nobody there to answer questions.
async fn git(repository: &Path, arguments: &[&str]) -> Result<String, PlaceError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["-c", "user.name=coolops", "-c", "user.email=coolops@localhost"]);
    command.args(["-c", "commit.gpgsign=false"]).args(arguments);
    command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|e| PlaceError::Trouble(format!("git can't be run: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(PlaceError::Trouble(format!("git {}: {}", arguments.first().unwrap_or(&""), said.trim())))
}

fn io(error: &std::io::Error) -> PlaceError {
    PlaceError::Trouble(error.to_string())
}

/// Keeps a file, and the copy of the newest.
pub(super) async fn keep(repository: &Path, file: &str, note: &str) -> Result<(), PlaceError> {
    git(repository, &["rev-parse", "--is-inside-work-tree"]).await?;
    let path = repository.join(file);
    match tokio::fs::read_to_string(&path).await {
        Ok(there) if there != note => return Err(PlaceError::Other(file.to_owned())),
        Ok(_) => {}
        Err(_) => {
            tokio::fs::create_dir_all(path.parent().unwrap_or(repository)).await.map_err(|e| io(&e))?;
            tokio::fs::write(&path, note).await.map_err(|e| io(&e))?;
        }
    }
    tokio::fs::write(repository.join(NEWEST), note).await.map_err(|e| io(&e))?;
    git(repository, &["add", "--", file, NEWEST]).await?;
    if !git(repository, &["status", "--porcelain", "--", file, NEWEST]).await?.trim().is_empty() {
        let size = note.lines().nth(1).unwrap_or_default();
        git(repository, &["commit", "--quiet", "-m", &format!("Checkpoint of {size} events"), "--", file, NEWEST])
            .await?;
    }
    if !git(repository, &["remote"]).await?.trim().is_empty() {
        git(repository, &["push", "--quiet", "origin", "HEAD"]).await?;
    }
    Ok(())
}

/// The newest checkpoint of the newest commit: what lies in the folder may not be committed.
pub(super) async fn newest(repository: &Path, name: &str) -> Result<Option<Kept>, PlaceError> {
    if git(repository, &["rev-parse", "--verify", "--quiet", "HEAD"]).await.is_err() {
        git(repository, &["rev-parse", "--is-inside-work-tree"]).await?;
        return Ok(None);
    }
    if git(repository, &["ls-tree", "--name-only", "HEAD", "--", name]).await?.trim().is_empty() {
        return Ok(None);
    }
    let note = git(repository, &["show", &format!("HEAD:{name}")]).await?;
    Ok(Some(Kept { file: name.to_owned(), note }))
}

/// Every checkpoint of the newest commit.
pub(super) async fn all(repository: &Path, folder: &str) -> Result<Vec<Kept>, PlaceError> {
    if git(repository, &["rev-parse", "--verify", "--quiet", "HEAD"]).await.is_err() {
        git(repository, &["rev-parse", "--is-inside-work-tree"]).await?;
        return Ok(Vec::new());
    }
    let names = git(repository, &["ls-tree", "-r", "--name-only", "HEAD", "--", folder]).await?;
    let mut all = Vec::new();
    for file in names.lines() {
        all.push(Kept { file: file.to_owned(), note: git(repository, &["show", &format!("HEAD:{file}")]).await? });
    }
    Ok(all)
}
