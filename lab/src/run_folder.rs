//! The folder of one run: data, sockets, and the process ids of what was started, so that nothing is orphaned for good.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::orphans;

/// The folder of a run. Dropping it removes it, unless its data is to be kept.
pub struct RunFolder {
    path: PathBuf,
    /// Where others find a kept folder while it is in use.
    link: Option<PathBuf>,
}

/// Where the folders of this user's runs are.
fn parent() -> Result<PathBuf> {
    let user = fs::metadata("/proc/self").context("/proc is not there; the demo needs Linux")?.uid();
    let path = std::env::temp_dir().join(format!("coolops-{user}"));
    // Somebody else could have made it first, and what is in it is run.
    match fs::symlink_metadata(&path) {
        Ok(there) if !there.is_dir() || there.uid() != user || there.mode() & 0o022 != 0 => {
            bail!("{} is not this user's own folder; remove it, or set TMPDIR to a folder of yours", path.display())
        }
        _ => Ok(path),
    }
}

impl RunFolder {
    /// Makes the folder of this process, or takes the given one, whose data is kept.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn make(kind: &str, keep: Option<&Path>) -> Result<Self> {
        let path = match keep {
            Some(path) => std::path::absolute(path)?,
            None => parent()?.join(format!("{kind}-{}", std::process::id())),
        };
        // Others may pass through (the services run as another user) but not look around.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&path)
            .with_context(|| format!("the folder {} can't be made", path.display()))?;
        fs::write(path.join("owner"), std::process::id().to_string())?;
        fs::write(path.join("processes"), "")?;
        let link = match keep {
            Some(_) => {
                let link = parent()?.join(format!("{kind}-{}", std::process::id()));
                fs::DirBuilder::new().recursive(true).mode(0o711).create(parent()?)?;
                std::os::unix::fs::symlink(&path, &link)
                    .with_context(|| format!("{} can't be made", link.display()))?;
                Some(link)
            }
            None => None,
        };
        Ok(Self { path, link })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes a process that was started.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn started(&self, pid: u32) -> Result<()> {
        let path = self.path.join("processes");
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{before}{pid}\n")).context("the list of processes can't be written")
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // An engine that stopped leaves the network of its containers mounted, and nothing is deleted through a mount.
        orphans::unmount_engine_s(&self.path);
        if let Some(link) = &self.link {
            drop(fs::remove_file(link));
            drop(fs::remove_file(self.path.join("owner")));
            drop(fs::remove_file(self.path.join("env")));
        } else {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// The environment of the newest demo that runs, as shell lines.
///
/// # Errors
/// When none runs.
pub fn env_of_running() -> Result<String> {
    let mut runs: Vec<(std::time::SystemTime, String)> = all()?
        .into_iter()
        .filter(|folder| is_alive(folder))
        .filter_map(|folder| {
            let env = folder.join("env");
            Some((fs::metadata(&env).ok()?.modified().ok()?, fs::read_to_string(env).ok()?))
        })
        .collect();
    runs.sort_by_key(|(at, _)| *at);
    runs.pop().map(|(_, env)| env).context("no demo is running; start one in another terminal with: ./just demo")
}

/// The folders of this user's runs, of those that ended by being killed too.
///
/// # Errors
/// When the folder they are in is somebody else's.
pub fn all() -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(parent()?) else { return Ok(Vec::new()) };
    Ok(entries.filter_map(Result::ok).map(|e| e.path()).filter(|p| p.join("owner").exists()).collect())
}

/// Whether the process that made the folder still runs (and is a coolops).
pub fn is_alive(folder: &Path) -> bool {
    runs(&fs::read_to_string(folder.join("owner")).unwrap_or_default(), "coolops")
}

/// Whether there is such a process with a name that begins so. One that has ended and waits for its parent to notice
/// does not run.
pub fn runs(pid: &str, name: &str) -> bool {
    // `pid (name) state …`, proc(5); the name may hold anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((before, state)) = stat.rsplit_once(") ") else { return false };
    !state.starts_with('Z') && before.split_once(" (").is_some_and(|(_, is)| is.starts_with(name))
}
