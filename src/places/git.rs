//! A git repository as a place: a repository on this machine, with a commit for what is kept at a time, and its `origin` where it
//! has one.
//!
//! **Invariant:** where there is an origin, what is there is what is known, and nothing is kept before it is there: a clone that
//! was put back to an older state with its database bears nothing out. Commits are made upon what is known, from objects
//! and an index of their own: whatever lies in the folder, or was left half done there, is in nobody's way. No ref is written
//! but the branch, and that only where nothing of it is lost: several processes use one repository, and so may people.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Kept, PlaceError};

/// What git needs of our environment: what else is there is not for its hooks and helpers.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL"];

/// Runs git in a repository, with nobody there to answer questions.
async fn git(repository: &Path, arguments: &[&str], input: &str) -> Result<Vec<u8>, PlaceError> {
    git_with(repository, None, arguments, input).await
}

/// Runs git as [`git`] does, on an index of its own: what is staged in the clone stays as it is.
async fn git_with(
    repository: &Path,
    index: Option<&Path>,
    arguments: &[&str],
    input: &str,
) -> Result<Vec<u8>, PlaceError> {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository).args(["-c", "user.name=coolops", "-c", "user.email=coolops@localhost"]);
    command.args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]).args(arguments);
    let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, variable(name)?)));
    command.env_clear().envs(passed_on).env("GIT_TERMINAL_PROMPT", "0");
    command.envs(index.map(|index| ("GIT_INDEX_FILE", index)));
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

/// Where a repository keeps its notes.
struct At {
    /// The full name of the branch.
    branch: String,
    /// The folder in it that is the place, with a slash at its end; empty for all of it.
    prefix: String,
    /// Whether there is an origin.
    has_origin: bool,
    /// The commit that says what is kept: that of the origin, fetched anew, where there is one; none before the first.
    known: Option<String>,
}

async fn at(repository: &Path) -> Result<At, PlaceError> {
    let branch = text(repository, &["symbolic-ref", "HEAD"]).await?.trim().to_owned();
    let prefix = text(repository, &["rev-parse", "--show-prefix"]).await?.trim_end_matches('\n').to_owned();
    let has_origin = text(repository, &["remote"]).await?.lines().any(|remote| remote == "origin");
    let known = if has_origin {
        let told = text(repository, &["ls-remote", "origin", &branch]).await?;
        // None where it is new, or somebody took the branch away.
        let known = told.lines().filter_map(|line| line.split_once('\t')).find(|(_, name)| *name == branch);
        if let Some((commit, _)) = known {
            // Nothing is noted but the objects: whoever fetches at the same time is in nobody's way.
            let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", "origin", &branch];
            text(repository, &fetch).await?;
            text(repository, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).await?;
        }
        known.map(|(commit, _)| commit.to_owned())
    } else {
        let known = text(repository, &["rev-parse", "--verify", "--quiet", &format!("{branch}^{{commit}}")]).await.ok();
        known.map(|id| id.trim().to_owned())
    };
    Ok(At { branch, prefix, has_origin, known })
}

impl At {
    /// The files that are known in a folder of the place, or one of them: the name of each there, and the id of its content.
    async fn files(&self, repository: &Path, path: &str) -> Result<Vec<(String, String)>, PlaceError> {
        let Some(known) = &self.known else { return Ok(Vec::new()) };
        let path = format!("{}{path}", self.prefix);
        let listed = text(repository, &["ls-tree", "-r", "-z", "--full-tree", known, "--", &path]).await?;
        // "<mode> <type> <id>", a tabulator, the name.
        let file = |entry: &str| {
            let (what, name) = entry.split_once('\t')?;
            let id = what.split(' ').skip_while(|part| *part != "blob").nth(1)?;
            Some((name.strip_prefix(&self.prefix)?.to_owned(), id.to_owned()))
        };
        Ok(listed.split('\0').filter_map(file).collect())
    }

    /// What is known to be in a file.
    async fn shown(&self, repository: &Path, file: &str) -> Result<Option<String>, PlaceError> {
        match self.files(repository, file).await?.into_iter().find(|(name, _)| name == file) {
            Some((_, id)) => text(repository, &["cat-file", "blob", &id]).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Keeps notes, each in a file of its own, and calls one of them the newest; in one commit, which is pushed where there is an
/// origin. Of a file that is there and says something else the others are kept all the same.
pub(super) async fn keep(
    repository: &Path,
    notes: &[(String, String)],
    newest: Option<(&str, &str)>,
) -> Result<(), PlaceError> {
    // Somebody else may commit there at the same time.
    let mut again = 3;
    loop {
        again -= 1;
        let at = at(repository).await?;
        let (mut missing, mut other) = (Vec::new(), None);
        for (file, note) in notes {
            match at.shown(repository, file).await? {
                Some(there) if there == *note => {}
                Some(_) => drop(other.get_or_insert(file)),
                None => missing.push((file.as_str(), note.as_str())),
            }
        }
        if let Some((name, note)) = newest {
            let there = at.shown(repository, name).await?;
            missing.extend((there.as_deref() != Some(note)).then_some((name, note)));
        }
        if !missing.is_empty()
            && let Err(e) = commit(repository, &at, &missing).await
        {
            let is_late = ["rejected", "cannot lock ref"].iter().any(|why| e.to_string().contains(why));
            if again == 0 || !is_late {
                return Err(e);
            }
            continue;
        }
        return other.map_or(Ok(()), |file| Err(PlaceError::Other(file.clone())));
    }
}

/// Makes a commit of files upon what is known, and puts it where the next one looks.
async fn commit(repository: &Path, at: &At, files: &[(&str, &str)]) -> Result<(), PlaceError> {
    let folder = text(repository, &["rev-parse", "--absolute-git-dir"]).await?;
    // Processes of other machines may use it too, and are in containers that count from one.
    let random = || RandomState::new().hash_one(std::process::id());
    let index = Path::new(folder.trim()).join(format!("coolops-{:016x}{:016x}", random(), random()));
    let made = commit_with(repository, at, &index, files).await;
    tokio::fs::remove_file(&index).await.ok();
    let made = made?;
    let before = text(repository, &["rev-parse", "--verify", "--quiet", &format!("{}^{{commit}}", at.branch)]).await;
    let before = before.ok().map(|before| before.trim().to_owned());
    let none = "0".repeat(made.len());
    if at.has_origin {
        text(repository, &["push", "--quiet", "origin", &format!("{made}:{}", at.branch)]).await?;
        if let Some(before) = &before
            && text(repository, &["merge-base", "--is-ancestor", before, &made]).await.is_err()
        {
            // Somebody committed here what is not at the origin: that is theirs to push or to let go.
            return Ok(());
        }
        // It is kept where it counts; whoever moved the branch meanwhile may have it.
        let seen = before.as_deref().unwrap_or(&none);
        if text(repository, &["update-ref", &at.branch, &made, seen]).await.is_err() {
            return Ok(());
        }
    } else {
        // Only where it was as it was seen.
        text(repository, &["update-ref", &at.branch, &made, at.known.as_deref().unwrap_or(&none)]).await?;
    }
    // The folder follows as far as nobody changed it.
    let mut follow = vec!["read-tree", "-m", "-u"];
    follow.extend(before.as_deref());
    follow.push(&made);
    text(repository, &follow).await.ok();
    // A checkpoint a minute is millions of small files in a year; where there is an origin a fetch packs them, and else nothing does.
    // It goes on in the background: the first time may take long.
    text(repository, &["gc", "--auto", "--quiet"]).await.ok();
    Ok(())
}

async fn commit_with(repository: &Path, at: &At, index: &Path, files: &[(&str, &str)]) -> Result<String, PlaceError> {
    let indexed = async |arguments: &[&str], input: &str| {
        let told = git_with(repository, Some(index), arguments, input).await?;
        Ok::<_, PlaceError>(String::from_utf8_lossy(&told).trim().to_owned())
    };
    indexed(&["read-tree", at.known.as_deref().unwrap_or("--empty")], "").await?;
    let mut entries = String::new();
    for (file, note) in files {
        let blob = indexed(&["hash-object", "-w", "--stdin"], note).await?;
        entries += &format!("100644 {blob}\t{}{file}\n", at.prefix);
    }
    indexed(&["update-index", "--add", "--index-info"], &entries).await?;
    let tree = indexed(&["write-tree"], "").await?;
    let lines: Vec<&str> = files[0].1.lines().take(3).collect();
    let what = match lines[..] {
        [_, "fork", ..] => "A decision between two histories".to_owned(),
        [_, size, _] if files.len() < 3 => format!("Checkpoint of {size} events"),
        _ => format!("{} notes", files.len()),
    };
    let mut arguments = vec!["commit-tree", &tree, "-m", &what];
    if let Some(known) = &at.known {
        arguments.extend(["-p", known]);
    }
    indexed(&arguments, "").await
}

/// The newest checkpoint of the newest commit: what lies in the folder may not be committed.
pub(super) async fn newest(repository: &Path, name: &str) -> Result<Option<Kept>, PlaceError> {
    let note = at(repository).await?.shown(repository, name).await?;
    Ok(note.map(|note| Kept { file: name.to_owned(), note }))
}

/// Every note in a folder of the newest commit.
pub(super) async fn all(repository: &Path, folder: &str) -> Result<Vec<Kept>, PlaceError> {
    let files = at(repository).await?.files(repository, folder).await?;
    let asked: String = files.iter().map(|(_, id)| format!("{id}\n")).collect();
    let told = git(repository, &["cat-file", "--batch"], &asked).await?;
    let mut rest = &told[..];
    let mut all = Vec::new();
    for (file, _) in files {
        // "<object> blob <size>", a line's end, so many bytes, a line's end.
        let broken = || PlaceError::Trouble(format!("git cat-file: {file} can't be read"));
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(broken)?;
        let head = String::from_utf8_lossy(&rest[..end]);
        let size: usize = head.rsplit(' ').next().and_then(|size| size.parse().ok()).ok_or_else(broken)?;
        let note = rest.get(end + 1..end + 1 + size).ok_or_else(broken)?;
        all.push(Kept { file, note: String::from_utf8_lossy(note).into_owned() });
        rest = rest.get(end + 2 + size..).unwrap_or_default();
    }
    Ok(all)
}
