//! The deployment images' entry points, as a container would run them: with real tools where they can be had, and
//! recording stand-ins for what can't (`gcloud`, `helm`, `terraform`).

pub mod amazon;
mod ansible;
mod built;
mod cluster;
mod kubernetes;
mod ssh_compose;
mod terraform;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The shells that images have.
pub const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// Tells a story in each of the shells, with a bench for each. They go on beside each other: what they do most is wait, and a
/// story has two minutes for all of it.
pub fn in_each_shell(story: impl Fn(&Bench, &[&str]) + Sync) {
    std::thread::scope(|threads| {
        for shell in SHELLS {
            threads.spawn(|| story(&Bench::new(), shell));
        }
    });
}

/// A folder with tools of its own, in which an entry point is run.
pub struct Bench {
    folder: PathBuf,
}

/// How a run went.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn all(&self) -> String {
        format!("exit {:?}\n{}\n{}", self.code, self.out, self.err)
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.all());
        self
    }

    #[track_caller]
    pub fn failed(self) -> Self {
        assert_eq!(self.code, Some(1), "{}", self.all());
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.out.contains(words) || self.err.contains(words), "{words:?} is not in\n{}", self.all());
        self
    }
}

pub type Variables = Vec<(&'static str, String)>;

/// Variables with one of them replaced.
pub fn with(all: &[(&'static str, String)], name: &'static str, value: &str) -> Variables {
    let mut all: Variables = all.iter().filter(|(known, _)| *known != name).cloned().collect();
    all.push((name, value.to_owned()));
    all
}

impl Bench {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("coolops-bench-{}", crate::story::random_name()));
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::create_dir(folder.join("keys")).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A tool that notes its arguments, a line for each call, and then does this.
    pub fn tool(&self, name: &str, does: &str) {
        let asked = self.path("asked");
        let script = format!(
            "#!/bin/sh\n{{ printf '%s' {name}; for a in \"$@\"; do printf ' %s' \"$a\"; done; echo; }} >>'{}'\n{does}\n",
            asked.display()
        );
        self.file(&format!("bin/{name}"), &script);
        Command::new("chmod").arg("+x").arg(self.path("bin").join(name)).status().unwrap();
    }

    /// What the tools were asked for since this was asked last.
    pub fn asked(&self) -> String {
        let asked = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        std::fs::remove_file(self.path("asked")).ok();
        asked.replace(&self.folder.display().to_string(), "(bench)")
    }

    fn command(&self, image: &str, shell: &[&str], variables: &[(&str, String)]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deployment-images").join(image).join("deploy.sh");
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(script).env_clear().current_dir(&self.folder).stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).env("TMPDIR", self.path("keys"));
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs an image's entry point; no key is left behind, however it ends.
    #[track_caller]
    pub fn deploys(&self, image: &str, shell: &[&str], variables: &[(&str, String)]) -> Ran {
        let output = self.command(image, shell, variables).output().unwrap();
        self.nothing_is_left();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs it, and sends SIGTERM as soon as this is so.
    #[track_caller]
    pub fn is_stopped(
        &self,
        image: &str,
        shell: &[&str],
        variables: &[(&str, String)],
        when: impl Fn() -> bool,
    ) -> Ran {
        let (out, err) = (self.path("out"), self.path("err"));
        let mut command = self.command(image, shell, variables);
        command.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        while !when() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before: {}", std::fs::read_to_string(&err).unwrap());
            assert!(began.elapsed() < Duration::from_secs(30), "it never came to that");
            std::thread::sleep(Duration::from_millis(5));
        }
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let code = child.wait().unwrap().code();
        assert!(began.elapsed() < Duration::from_secs(40), "it did not wait for the end of what it had begun");
        self.nothing_is_left();
        Ran { code, out: std::fs::read_to_string(out).unwrap(), err: std::fs::read_to_string(err).unwrap() }
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left: Vec<_> = std::fs::read_dir(self.path("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// What is missing is named all at once, and no value that a shell or an option could read gets through.
    pub fn checks(
        &self,
        image: &str,
        all: &[(&'static str, String)],
        required: &[&'static str],
        hostile: &[&'static str],
    ) {
        for (n, shell) in SHELLS.into_iter().enumerate() {
            let without: Variables = all.iter().filter(|(name, _)| !required.contains(name)).cloned().collect();
            let nothing = self.deploys(image, shell, &without).failed().err;
            for name in required {
                assert!(nothing.contains(&format!("  {name} ")), "{name} is not named: {nothing}");
            }
            // Each shell reads the same script; of what is one rule for all names the others are asked about the first.
            for name in &required[..if n == 0 { required.len() } else { 1 }] {
                for empty in ["", "\r\n", "\n"] {
                    self.deploys(image, shell, &with(all, name, empty)).failed().says(name).says("is not set");
                }
            }
            for name in &hostile[..if n == 0 { hostile.len() } else { 1 }] {
                for value in [
                    "1'; id; '",
                    "$(id)",
                    "`id`",
                    "a;b",
                    "-oProxyCommand=id",
                    "a\nb",
                    "x'\"y",
                    "é",
                    "{{ 7 * 7 }}",
                    "a|b",
                    "*",
                ] {
                    let ran = self.deploys(image, shell, &with(all, name, value)).failed();
                    let is_told = ran.err.contains(name) && ran.err.contains("nothing was touched");
                    assert!(is_told, "{name}={value:?}: {}", ran.all());
                    let may_be_secret = value.len() > 1 && ran.err.contains(value);
                    assert!(!may_be_secret, "a secret may be in the wrong place: {}", ran.err);
                }
                self.deploys(image, shell, &with(all, name, &"x".repeat(10_000))).failed().says(name);
            }
        }
        assert_eq!(self.asked(), "", "nothing was touched");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// Values as a container gets them.
pub fn variables(all: &[(&'static str, &str)]) -> Variables {
    all.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
