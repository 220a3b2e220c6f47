//! What killed runs left behind, and its removal: processes, containers, mounts, network bridges, folders.
//!
//! Nothing is touched that does not belong to such a run, and nothing is deleted through a mount: a folder that still
//! has one stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::run_folder;

/// How long a process is given to end in order. A Docker Engine stops its containers first.
const GRACE: Duration = Duration::from_secs(15);

/// What a cleaning came to.
pub struct Cleaned {
    /// Runs of which nothing is left.
    pub runs: usize,
    /// Why others are still there, a sentence each. They are in nobody's way: every run has a folder of its own.
    pub stuck: Vec<String>,
}

/// Stops and removes what runs that were killed left behind.
///
/// # Errors
/// When the folders can't be listed.
pub fn clean() -> Result<Cleaned> {
    let mut cleaned = Cleaned { runs: 0, stuck: Vec::new() };
    for folder in run_folder::all()?.into_iter().filter(|folder| !run_folder::is_alive(folder)) {
        match remove(&folder) {
            Ok(()) => cleaned.runs += 1,
            Err(e) => {
                cleaned.stuck.push(format!("what a killed run left in {} can't be removed: {e:#}", folder.display()));
            }
        }
    }
    Ok(cleaned)
}

fn remove(folder: &Path) -> Result<()> {
    // A kept folder is a person's own: only the link to it goes.
    let kept = fs::symlink_metadata(folder)?.is_symlink();
    let real = fs::canonicalize(folder)?;
    for pid in fs::read_to_string(real.join("processes")).unwrap_or_default().lines().rev() {
        // Only what still is what was started there: its command line or its environment names the folder.
        if ["cmdline", "environ"].iter().any(|file| names(&Path::new("/proc").join(pid).join(file), &real)) {
            stop(pid);
        }
    }
    end_containers(&real);
    // A kept folder is a person's own: only what the engine mounted there goes.
    let engine_s = |point: &Path| !kept || point.starts_with(real.join("docker")) || point.starts_with(real.join("x"));
    unmount(&real, &engine_s)?;
    for bridge in bridges(&real) {
        quietly(Command::new("ip").args(["link", "delete", &bridge]));
    }
    if kept {
        return Ok(fs::remove_file(folder)?);
    }
    fs::remove_dir_all(&real).inspect_err(|_| {
        // What is left is to be found again.
        drop(fs::write(real.join("owner"), ""));
    })?;
    Ok(())
}

/// Whether a file of a process names the folder, and not one whose name only begins so.
fn names(file: &Path, folder: &Path) -> bool {
    let text = fs::read(file).unwrap_or_default();
    let folder = folder.as_os_str().as_encoded_bytes();
    let ends = |after: Option<&u8>| after.is_none_or(|b| matches!(b, b'/' | b'\0' | b'=' | b':' | b',' | b' ' | b'\n'));
    text.windows(folder.len()).enumerate().any(|(at, part)| part == folder && ends(text.get(at + folder.len())))
}

fn quietly(command: &mut Command) {
    drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

fn signal(pid: &str, signal: &str) {
    quietly(Command::new("kill").args([signal, pid]));
}

fn stop(pid: &str) {
    signal(pid, "-TERM");
    let since = Instant::now();
    while since.elapsed() < GRACE && run_folder::runs(pid, "") {
        std::thread::sleep(Duration::from_millis(20));
    }
    if run_folder::runs(pid, "") {
        signal(pid, "-KILL");
    }
}

/// Kills the containers that outlived a killed engine, and the shims that hold them.
fn end_containers(folder: &Path) {
    let containers: Vec<String> = entries(&folder.join("docker/containers"));
    for pid in entries(Path::new("/proc")).iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let process = Path::new("/proc").join(pid);
        let groups = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let shim = fs::read_to_string(process.join("comm")).unwrap_or_default().starts_with("containerd-shim");
        if containers.iter().any(|id| groups.contains(id.as_str())) || (shim && names(&process.join("cmdline"), folder))
        {
            signal(pid, "-KILL");
        }
    }
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Unmounts what a Docker Engine mounted in a run's folder, as far as that can be done.
pub fn unmount_engine_s(folder: &Path) {
    let engine_s = |point: &Path| point.starts_with(folder.join("docker")) || point.starts_with(folder.join("x"));
    drop(unmount(folder, &engine_s));
}

/// Unmounts what is meant of all that is mounted in the folder, the last mounted first.
fn unmount(folder: &Path, is_meant: &dyn Fn(&Path) -> bool) -> Result<()> {
    for mount in mounts(folder, is_meant)?.iter().rev() {
        quietly(Command::new("umount").arg("--lazy").arg(mount));
    }
    let left = mounts(folder, is_meant)?;
    ensure!(
        left.is_empty(),
        "{} is still mounted; unmount it with: umount --lazy {0}",
        left.first().unwrap_or(&PathBuf::new()).display()
    );
    Ok(())
}

fn mounts(folder: &Path, is_meant: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("the mounts of this machine can't be read")?;
    // Field 5 is the mount point (proc(5)); spaces in it are written \040.
    let points = table.lines().filter_map(|line| Some(PathBuf::from(line.split(' ').nth(4)?.replace("\\040", " "))));
    Ok(points.filter(|point| point.starts_with(folder) && point != folder && is_meant(point)).collect())
}

/// The network bridges of the folder's private engine, which outlive it; a machine has room for thirty of them.
fn bridges(folder: &Path) -> Vec<String> {
    // The engine keeps its networks in a key-value file with JSON values, of which only this name is wanted.
    let networks = fs::read(folder.join("docker/network/files/local-kv.db")).unwrap_or_default();
    let networks = String::from_utf8_lossy(&networks);
    let names = networks.split("\"BridgeName\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("br-") || (name.len() == 15 && name.starts_with("coolops")))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}
