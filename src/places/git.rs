//! A git repository as a place: a clone on this machine, with a commit for each note, pushed where it has an `origin`.
//!
//! **Invariant:** where there is an origin, what is there is what is known: a clone that was put back to an older state with
//! its database bears nothing out.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Kept, PlaceError};

/// What git needs of our environment: what else is there is not for its hooks and helpers.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL"];

/// Runs git in a repository, with nobody there to answer questions.
async fn git(repository: &Path, arguments: &[&str], input: &str) -> Result<Vec<u8>, PlaceError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["-c", "user.name=coolops", "-c", "user.email=coolops@localhost"]);
    command.args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]).args(arguments);
    let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, variable(name)?)));
    command.env_clear().envs(passed_on).env("GIT_TERMINAL_PROMPT", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let no_git = |e: std::io::Error| PlaceError::Trouble(format!("git can't be run: {e}"));
    let mut child = command.spawn().map_err(no_git)?;
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    // What it says may be more than it reads at once: both go on beside each other.
    let writing = tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input.as_bytes()).await.ok();
        }
    });
    let output = child.wait_with_output().await.map_err(no_git)?;
    writing.await.ok();
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let is_why = |line: &&str| ["fatal:", "error:", "!", "remote:"].iter().any(|begin| line.trim().starts_with(begin));
    let said = said.lines().find(is_why).or_else(|| said.lines().next()).unwrap_or("it says nothing");
    Err(PlaceError::Trouble(format!("git {}: {}", arguments.first().unwrap_or(&""), said.trim())))
}

#[expect(clippy::disallowed_methods, reason = "what a program that is run needs is no configuration of ours")]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

async fn text(repository: &Path, arguments: &[&str]) -> Result<String, PlaceError> {
    Ok(String::from_utf8_lossy(&git(repository, arguments, "").await?).into_owned())
}

fn io(error: &std::io::Error) -> PlaceError {
    PlaceError::Trouble(error.to_string())
}

/// Keeps a file.
pub(super) async fn keep(repository: &Path, file: &str, note: &str) -> Result<(), PlaceError> {
    text(repository, &["rev-parse", "--is-inside-work-tree"]).await?;
    match tokio::fs::read_to_string(repository.join(file)).await {
        Ok(there) if there == note => {}
        Ok(_) if is_in(repository, "HEAD", file).await? => return Err(PlaceError::Other(file.to_owned())),
        // What was never committed is what a full disk left of it.
        _ => write(repository, file, note).await?,
    }
    commit(repository, file, note).await
}

/// Writes a file whole, or not at all.
async fn write(repository: &Path, file: &str, note: &str) -> Result<(), PlaceError> {
    let path = repository.join(file);
    let beside = path.with_extension("new");
    let written = async {
        tokio::fs::create_dir_all(path.parent().unwrap_or(repository)).await?;
        let mut to = tokio::fs::File::create(&beside).await?;
        to.write_all(note.as_bytes()).await?;
        to.sync_all().await?;
        tokio::fs::rename(&beside, &path).await
    };
    written.await.map_err(|e| io(&e))
}

/// Writes the copy of the newest.
pub(super) async fn call_newest(repository: &Path, name: &str, note: &str) -> Result<(), PlaceError> {
    write(repository, name, note).await?;
    commit(repository, name, note).await?;
    if !has_origin(repository).await? {
        return Ok(());
    }
    // Others may have committed there: notes have names of their own, and of the newest this one counts.
    if known(repository).await?.is_some_and(|known| known == ORIGINS)
        && text(repository, &["merge-base", "--is-ancestor", ORIGINS, "HEAD"]).await.is_err()
    {
        let merged =
            text(repository, &["merge", "--quiet", "-X", "ours", "-m", "What others committed", ORIGINS]).await;
        if let Err(e) = merged {
            text(repository, &["merge", "--abort"]).await.ok();
            return Err(e);
        }
    }
    text(repository, &["push", "--quiet", "origin", "HEAD"]).await.map(drop)
}

/// What was fetched last.
const ORIGINS: &str = "FETCH_HEAD";

async fn has_origin(repository: &Path) -> Result<bool, PlaceError> {
    Ok(text(repository, &["remote"]).await?.lines().any(|remote| remote == "origin"))
}

/// The commit that says what is kept: that of the origin, fetched anew, where there is one; none before the first.
async fn known(repository: &Path) -> Result<Option<&'static str>, PlaceError> {
    let is_empty = is_empty(repository).await?;
    if has_origin(repository).await? {
        let branch = text(repository, &["symbolic-ref", "HEAD"]).await?.trim().to_owned();
        if !text(repository, &["ls-remote", "origin", &branch]).await?.trim().is_empty() {
            text(repository, &["fetch", "--quiet", "origin", &branch]).await?;
            return Ok(Some(ORIGINS));
        }
    }
    Ok((!is_empty).then_some("HEAD"))
}

/// Whether a commit has a file.
async fn is_in(repository: &Path, commit: &str, file: &str) -> Result<bool, PlaceError> {
    let there = !(commit == "HEAD" && is_empty(repository).await?);
    Ok(there && !text(repository, &["ls-tree", "--name-only", commit, "--", file]).await?.trim().is_empty())
}

async fn commit(repository: &Path, file: &str, note: &str) -> Result<(), PlaceError> {
    text(repository, &["add", "--", file]).await?;
    if !text(repository, &["status", "--porcelain", "--", file]).await?.trim().is_empty() {
        let lines: Vec<&str> = note.lines().take(3).collect();
        let what = match lines[..] {
            [_, "fork", ..] => "A decision between two histories".to_owned(),
            [_, size, _] => format!("Checkpoint of {size} events"),
            _ => "A note".to_owned(),
        };
        text(repository, &["commit", "--quiet", "-m", &what, "--", file]).await?;
    }
    Ok(())
}

/// Whether anything is committed at all.
async fn is_empty(repository: &Path) -> Result<bool, PlaceError> {
    text(repository, &["rev-parse", "--is-inside-work-tree"]).await?;
    Ok(text(repository, &["rev-parse", "--verify", "--quiet", "HEAD"]).await.is_err())
}

/// The newest checkpoint of the newest commit: what lies in the folder may not be committed.
pub(super) async fn newest(repository: &Path, name: &str) -> Result<Option<Kept>, PlaceError> {
    let Some(commit) = known(repository).await? else { return Ok(None) };
    if !is_in(repository, commit, name).await? {
        return Ok(None);
    }
    let note = text(repository, &["show", &format!("{commit}:./{name}")]).await?;
    Ok(Some(Kept { file: name.to_owned(), note }))
}

/// Every note in a folder of the newest commit.
pub(super) async fn all(repository: &Path, folder: &str) -> Result<Vec<Kept>, PlaceError> {
    let Some(commit) = known(repository).await? else { return Ok(Vec::new()) };
    let names = text(repository, &["ls-tree", "-r", "--name-only", commit, "--", folder]).await?;
    let asked: String = names.lines().map(|file| format!("{commit}:./{file}\n")).collect();
    let told = git(repository, &["cat-file", "--batch"], &asked).await?;
    let mut rest = &told[..];
    let mut all = Vec::new();
    for file in names.lines() {
        // "<object> blob <size>", a line's end, so many bytes, a line's end.
        let broken = || PlaceError::Trouble(format!("git cat-file: {file} can't be read"));
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(broken)?;
        let head = String::from_utf8_lossy(&rest[..end]);
        let size: usize = head.rsplit(' ').next().and_then(|size| size.parse().ok()).ok_or_else(broken)?;
        let note = rest.get(end + 1..end + 1 + size).ok_or_else(broken)?;
        all.push(Kept { file: file.to_owned(), note: String::from_utf8_lossy(note).into_owned() });
        rest = rest.get(end + 2 + size..).unwrap_or_default();
    }
    Ok(all)
}
