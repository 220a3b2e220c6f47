//! The demo's deployment image, made on the spot: a static busybox and a script. No registry is needed.

use std::path::Path;

use anyhow::{Context, Result};

use super::run_folder;

/// What the image of each run is called, before the run's number.
pub const PREFIX: &str = "coolops-demo-";

/// The image of this process's run: of its own, so that one demo's end doesn't touch another's containers.
pub fn name() -> String {
    format!("{PREFIX}{}:1", std::process::id())
}

/// Whether the run of a demo's image is still there, whoever started it and wherever its folder is.
pub fn is_in_use(name: &str) -> bool {
    let run = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(":1"));
    run.is_some_and(|pid| run_folder::runs(pid, "coolops"))
}

const SCRIPT: &str = r#"#!/bin/sh
# What a deployment image does in real life: take the build's params and the environment's variables, and deploy.
say() { printf '\033[1;34m==>\033[0m %s\n' "$1"; sleep "${STEP_SECONDS:-1}"; }
say "Deploying $COOLOPS_PROJECT $COOLOPS_BUILD_NAME to $COOLOPS_ENVIRONMENT for $COOLOPS_DEPLOYER_NAME"
say "Fetching image api:${DOCKER_TAG:-latest}"
say "Connecting with token $API_TOKEN"
n=0
while [ $n -lt 5 ]; do n=$((n + 1)); printf 'instance %d of 5 \033[32mhealthy\033[0m\n' $n; sleep "${STEP_SECONDS:-1}"; done
case "${DOCKER_TAG:-}" in fail*) printf '\033[31mhealth check failed\033[0m\n' >&2; exit 3 ;; esac
say "Done: ${GREETING:-deployed}"
"#;

/// The image's root file system as a tar archive.
///
/// # Errors
/// When no static busybox is on this machine.
pub fn archive() -> Result<Vec<u8>> {
    busybox_with(&[("deploy", SCRIPT)])
}

/// A root file system of busybox and some scripts.
///
/// # Errors
/// When no static busybox is on this machine.
pub fn busybox_with(scripts: &[(&str, &str)]) -> Result<Vec<u8>> {
    busybox_and(&scripts.iter().map(|(name, script)| (*name, script.as_bytes())).collect::<Vec<_>>())
}

/// A root file system of busybox and files that can be run.
///
/// # Errors
/// When no static busybox is on this machine.
pub fn busybox_and(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|p| p.exists());
    let busybox = busybox.context("busybox is not installed; install it with: apt-get install busybox-static")?;
    let program = std::fs::read(busybox).context("busybox can't be read")?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut file = |path: &str, content: &[u8]| -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        Ok(tar.append_data(&mut header, path, content)?)
    };
    file("bin/busybox", &program)?;
    for (name, content) in files {
        file(name, content)?;
    }
    file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")?;
    file("tmp/.keep", b"")?;
    for applet in [
        "sh",
        "sleep",
        "env",
        "cat",
        "echo",
        "printf",
        "seq",
        "yes",
        "head",
        "tail",
        "date",
        "base64",
        "true",
        "false",
        "test",
        "tr",
        "wc",
        "dd",
        "od",
        "ls",
        "id",
        "kill",
        "ln",
        "awk",
        "cp",
        "dirname",
        "find",
        "grep",
        "mkdir",
        "mktemp",
        "mv",
        "rm",
        "sed",
        "gzip",
        "sha256sum",
        "tar",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(tar.into_inner()?)
}
