//! A Podman of a story's own, in its folder: the second engine.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Podman's service, and everything of it.
pub struct Podman {
    child: Option<Child>,
    folder: PathBuf,
}

// Without systemd: no cgroups of its, no journal, and limits that such a place allows.
const CONFIG: &str = r#"[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"#;

impl Podman {
    pub fn start() -> Self {
        let folder = PathBuf::from(format!("/tmp/podman-{}", super::random_name()));
        for name in ["root", "run", "tmp", "networks"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        std::fs::write(folder.join("containers.conf"), CONFIG).unwrap();
        let mut podman = Self { child: None, folder };
        podman.up();
        podman
    }

    pub fn host(&self) -> String {
        format!("unix://{}/podman.sock", self.folder.display())
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.join(name);
        let mut command = Command::new("podman");
        command
            .env("CONTAINERS_CONF", at("containers.conf"))
            .arg("--root")
            .arg(at("root"))
            .arg("--runroot")
            .arg(at("run"));
        command.arg("--tmpdir").arg(at("tmp")).arg("--network-config-dir").arg(at("networks"));
        command.stdin(Stdio::null());
        command
    }

    /// Starts the service, again after [`down`](Self::down).
    pub fn up(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = self.command();
        command.args(["system", "service", "--time=0", &self.host()]).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().expect("podman is installed"));
        let (socket, begun) = (self.folder.join("podman.sock"), Instant::now());
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let said = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(20), "Podman does not come up:\n{said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the service; its containers run on.
    pub fn down(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_file(self.folder.join("podman.sock")).ok();
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let quiet = |command: &mut Command| drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
        quiet(self.command().args(["rm", "--all", "--force", "--time", "0"]));
        quiet(self.command().args(["network", "rm", "--force", "coolops"]));
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        let mine = self.folder.display().to_string();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut below: Vec<&str> =
            mounts.lines().filter_map(|l| l.split(' ').nth(1)).filter(|m| m.starts_with(&mine)).collect();
        below.sort_by_key(|m| std::cmp::Reverse(m.len()));
        for mount in below {
            quiet(Command::new("umount").args(["-l", mount]));
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
