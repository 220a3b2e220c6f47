//! The example of a deployment image, as a container would run it: with what CI and operators may give it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with an `ssh` that writes down what it is asked for.
struct Target(PathBuf);

impl Target {
    fn new(does: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("coolops-target-{}", crate::story::random_name()));
        std::fs::create_dir(&folder).unwrap();
        let ssh = folder.join("ssh");
        let script = format!(
            "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\n' \"$a\"; done >\"{}/asked\"\n{does}\n",
            folder.display()
        );
        std::fs::write(&ssh, script).unwrap();
        Command::new("chmod").arg("+x").arg(&ssh).status().unwrap();
        Self(folder)
    }

    fn asked(&self) -> Option<String> {
        std::fs::read_to_string(self.0.join("asked")).ok()
    }

    fn command(&self, shell: &[&str], variables: &[(&str, &str)]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy-image/deploy.sh");
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(script).env_clear().current_dir(&self.0).stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.0.display())).env("TMPDIR", &self.0);
        command.envs(variables.iter().copied());
        command
    }

    fn deploys(&self, shell: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
        let output = self.command(shell, variables).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];
const ALL: [(&str, &str); 6] = [
    ("DOCKER_TAG", "v1.2-3_4"),
    ("DEPLOY_HOST", "app.example.com"),
    ("DEPLOY_HOST_KEY", "app.example.com ssh-ed25519 AAAA"),
    ("DEPLOY_KEY", "-----BEGIN KEY-----\r\nsecret\r\n-----END KEY-----\r\n"),
    ("COOLOPS_BUILD_NAME", "main-42"),
    ("COOLOPS_ENVIRONMENT", "Production"),
];

fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    ALL.into_iter().map(|(known, before)| (known, if known == name { value } else { before })).collect()
}

#[test]
fn it_deploys_with_a_pinned_key_and_leaves_nothing_behind() {
    for shell in SHELLS {
        let target = Target::new("cat \"$2\"; exit 0");
        let (code, out, said) = target.deploys(shell, &ALL);
        assert_eq!((code, said.as_str()), (0, ""), "{shell:?}: {out}");
        assert!(out.starts_with("--- Deploying main-42 to Production\n") && out.ends_with("--- Deployed\n"), "{out}");
        assert!(out.contains("BEGIN KEY-----\nsecret\n-----END"), "the key has no carriage returns: {out:?}");
        let asked = target.asked().unwrap();
        assert!(asked.contains("StrictHostKeyChecking=yes") && !asked.contains("secret"), "{asked}");
        assert!(asked.ends_with("deploy@app.example.com\nupdate-the-service 'v1.2-3_4'\n"), "{asked}");
        let left: Vec<_> = std::fs::read_dir(&target.0).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the key is gone: {left:?}");
    }
}

#[test]
fn what_is_missing_or_hostile_is_told_before_anything_is_touched() {
    for shell in SHELLS {
        let target = Target::new("exit 0");
        let (code, _, said) = target.deploys(shell, &[("DEPLOY_HOST", "app.example.com"), ("DOCKER_TAG", "")]);
        assert_eq!(code, 1);
        assert!(said.starts_with("deploy: not set: DOCKER_TAG DEPLOY_HOST_KEY DEPLOY_KEY ("), "{said}");
        for tag in [
            "1'; id; '",
            "$(id)",
            "`id`",
            "a b",
            "a;b",
            "-oProxyCommand=id",
            ".hidden",
            "1\n2",
            "1\r",
            "a/b",
            "é",
            "x'\"y",
        ] {
            let (code, out, said) = target.deploys(shell, &with("DOCKER_TAG", tag));
            assert!(code == 1 && said.contains("DOCKER_TAG is no tag of an image"), "{shell:?} {tag:?}: {out}{said}");
        }
        let long: &'static str = "x".repeat(10_000).leak();
        let (code, _, said) = target.deploys(shell, &with("DOCKER_TAG", long));
        assert!(code == 1 && said.contains("DOCKER_TAG is longer than a tag can be"), "{said}");
        for host in ["-oProxyCommand=id", "a b", "a;id", "$(id)", "h\n"] {
            let (code, _, said) = target.deploys(shell, &with("DEPLOY_HOST", host));
            assert!(code == 1 && said.contains("DEPLOY_HOST is no name"), "{host:?}: {said}");
        }
        assert_eq!(target.asked(), None, "nothing was touched");
    }
}

#[test]
fn the_target_s_failure_is_its_own_and_sigterm_is_heard_while_it_goes_on() {
    for shell in SHELLS {
        let target = Target::new("echo 'no such service' >&2; exit 7");
        let (code, out, said) = target.deploys(shell, &ALL);
        assert_eq!((code, said.as_str()), (7, "no such service\n"), "{shell:?}: {out}");
        assert!(!out.contains("Deployed"), "{out}");
        let target = Target::new(": >\"$0.began\"; exec sleep 60");
        let mut child = target.command(shell, &ALL).stdout(Stdio::null()).spawn().unwrap();
        let began = std::time::Instant::now();
        while !target.0.join("ssh.began").exists() {
            assert!(began.elapsed().as_secs() < 20, "it never began");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143), "{shell:?}");
        assert!(began.elapsed().as_secs() < 30, "it did not wait for the end of what it had begun");
        assert!(
            !target.0.join("key").exists() && std::fs::read_dir(&target.0).unwrap().count() == 3,
            "the key is gone"
        );
    }
}
