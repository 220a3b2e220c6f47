//! Private Postgres, Redis and, where no Docker answers, a private Docker Engine: child processes on unix sockets.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::{Child, Command};

use crate::engine::Engine;
use crate::run_folder::RunFolder;

/// What was started, in the order of its stopping.
pub struct Services {
    children: Vec<(&'static str, Child)>,
    user: Option<(u32, u32)>,
    private_engine: Option<String>,
    /// Where memory is mounted.
    in_memory: Option<PathBuf>,
}

/// How careful Postgres is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in production.
    Full,
    /// Faster, for tests that don't pull the plug.
    Tests,
}

impl Services {
    /// None yet.
    ///
    /// # Errors
    /// As root, when there is no unprivileged user to run the services as.
    pub fn new() -> Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let root = std::fs::metadata("/proc/self")?.uid() == 0;
        let user = if root {
            Some(unprivileged().context("run as root, the demo needs the user postgres or nobody to run Postgres as")?)
        } else {
            None
        };
        Ok(Self { children: Vec::new(), user, private_engine: None, in_memory: None })
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A process group of its own: Ctrl-C reaches us first, and we stop things in order.
        command.process_group(0).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        std::fs::create_dir_all(path)?;
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid))
                .with_context(|| format!("{} can't be handed to the services' user", path.display()))?;
        }
        // Whoever reaches a socket in it is let in.
        Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?)
    }

    fn start(&mut self, name: &'static str, mut command: Command, folder: &RunFolder) -> Result<()> {
        let log = std::fs::File::create(folder.path().join(format!("{name}.log")))?;
        command.stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().with_context(|| format!("{name} can't be started"))?;
        folder.started(child.id().unwrap_or_default())?;
        self.children.push((name, child));
        Ok(())
    }

    async fn until_up(
        &mut self,
        name: &'static str,
        folder: &RunFolder,
        seconds: u64,
        mut up: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        let log = folder.path().join(format!("{name}.log"));
        let tail = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        for _ in 0..seconds * 20 {
            if up().await {
                return Ok(());
            }
            if let Some((_, child)) = self.children.iter_mut().find(|(n, _)| *n == name)
                && let Some(status) = child.try_wait()?
            {
                bail!("{name} ended at once ({status}). It said:\n{}", tail());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{name} did not come up within {seconds} s. It said:\n{}", tail())
    }

    /// Starts a private Postgres and tells its address for the database `coolops`.
    ///
    /// # Errors
    /// When the server's programs aren't installed or don't come up.
    pub async fn postgres(&mut self, folder: &RunFolder, durability: Durability) -> Result<String> {
        let programs = postgres_programs()
            .context("the PostgreSQL server is not installed; install it with: apt-get install postgresql")?;
        let data = folder.path().join("postgres");
        let fresh = !data.join("PG_VERSION").exists();
        if fresh {
            if durability == Durability::Tests {
                self.keep_in_memory(&data);
            }
            self.own(&data)?;
            let mut init = self.command(&programs.join("initdb"), folder.path());
            init.args(["-U", "coolops", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-D"]).arg(&data);
            let output =
                init.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.context("initdb can't be started")?;
            ensure!(
                output.status.success(),
                "Postgres' data folder can't be made:\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let socket = folder.path().join("s");
        self.own(&socket)?;
        let mut server = self.command(&programs.join("postgres"), folder.path());
        // Four simulated weeks beside four random lives hold some 310 connections at once.
        server.arg("-D").arg(&data).arg("-k").arg(&socket).args([
            "-p",
            "5432",
            "-c",
            "listen_addresses=",
            "-c",
            "max_connections=1000",
        ]);
        server.args(["-c", "shared_buffers=128MB", "-c", "log_min_messages=fatal"]);
        if durability == Durability::Tests {
            server.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
        }
        self.start("postgres", server, folder)?;
        let address =
            |database: &str| format!("postgres:///{database}?host={}&port=5432&user=coolops", socket.display());
        // Its own programs, of the same version.
        let ask = |program: &str| {
            let mut command = self.command(&programs.join(program), folder.path());
            command.arg("-h").arg(&socket).args(["-p", "5432", "-U", "coolops"]);
            command
        };
        let (mut ready, mut create) = (ask("pg_isready"), ask("createdb"));
        let answers = async || ready.status().await.is_ok_and(|s| s.success());
        self.until_up("postgres", folder, 30, answers).await?;
        if fresh {
            let made = create.arg("coolops").stderr(Stdio::piped()).output().await?;
            ensure!(made.status.success(), "the database can't be made: {}", String::from_utf8_lossy(&made.stderr));
        }
        Ok(address("coolops"))
    }

    /// Mounts memory at a path, where there is plenty and this user may. Each test has a database of its own, which is
    /// hundreds of files: making and deleting them is a fifth of what tests cost on a disk.
    fn keep_in_memory(&mut self, path: &Path) {
        if self.user.is_none() || available_memory() < MEMORY_WANTED || std::fs::create_dir_all(path).is_err() {
            return;
        }
        let mount = quietly("mount", &[OsStr::new("-t"), OsStr::new("tmpfs"), OsStr::new("coolops"), path.as_os_str()]);
        self.in_memory = mount.then(|| path.to_owned());
    }

    fn let_go_of_memory(&mut self) {
        if let Some(path) = self.in_memory.take() {
            quietly("umount", &[OsStr::new("--lazy"), path.as_os_str()]);
        }
    }

    /// Starts a private Redis and tells its address.
    ///
    /// # Errors
    /// When it isn't installed or doesn't come up.
    pub async fn redis(&mut self, folder: &RunFolder) -> Result<String> {
        let program =
            find("redis-server").context("Redis is not installed; install it with: apt-get install redis-server")?;
        let home = folder.path().join("redis");
        self.own(&home)?;
        let socket = home.join("redis.sock");
        let mut server = self.command(&program, &home);
        server
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(&home);
        self.start("redis", server, folder)?;
        let answers = async || tokio::net::UnixStream::connect(&socket).await.is_ok();
        self.until_up("redis", folder, 10, answers).await?;
        Ok(format!("redis+unix://{}", socket.display()))
    }

    /// Finds a Docker that answers, or starts a private one as root. Tells its address, and whether it is private.
    ///
    /// # Errors
    /// When there is none and none can be started; says what to do.
    pub async fn docker(&mut self, folder: &RunFolder, given: Option<&str>) -> Result<(String, bool)> {
        let address = given.unwrap_or("unix:///var/run/docker.sock").to_owned();
        let answer = answers(&address).await;
        if answer.is_ok() {
            return Ok((address, false));
        }
        if given.is_some() {
            bail!("no Docker answers at DOCKER_HOST={address}; start it, or unset DOCKER_HOST");
        }
        if Path::new("/var/run/docker.sock").exists()
            && tokio::net::UnixStream::connect("/var/run/docker.sock")
                .await
                .is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
        {
            bail!(
                "this user may not use Docker; add it to the group docker (sudo usermod -aG docker $USER, then log in again), or run with sudo"
            );
        }
        let program =
            find("dockerd").context("Docker Engine is not installed; install it with: apt-get install docker.io")?;
        ensure!(
            self.user.is_some(),
            "no Docker is running, and only root can start one; start it (sudo systemctl start docker), or run with sudo"
        );
        let socket = folder.path().join("docker.sock");
        let mut server = Command::new(program);
        server.current_dir(folder.path()).stdin(Stdio::null()).process_group(0);
        let host = format!("unix://{}", socket.display());
        server
            .arg("-H")
            .arg(&host)
            .arg("--data-root")
            .arg(folder.path().join("docker"))
            .arg("--exec-root")
            .arg(folder.path().join("x"));
        server.arg("--pidfile").arg(folder.path().join("docker.pid")).args(["--log-level", "warn"]);
        self.start("dockerd", server, folder)?;
        let up = async || answers(&host).await.is_ok();
        self.until_up("dockerd", folder, 60, up).await.context(
            "a private Docker Engine did not come up; it needs root, iptables and overlay file systems (a machine or VM, not a plain container)",
        )?;
        self.private_engine = Some(host.clone());
        Ok((host, true))
    }

    /// Adds a process that is stopped before the services.
    pub fn adopt(&mut self, name: &'static str, child: Child) {
        self.children.push((name, child));
    }

    /// Whether everything still runs; the name of what doesn't.
    ///
    /// # Errors
    /// When that can't be asked.
    pub fn ended(&mut self) -> Result<Option<&'static str>> {
        for (name, child) in &mut self.children {
            if child.try_wait()?.is_some() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Stops what was started last under that name, ahead of the rest.
    pub async fn stop_last(&mut self, name: &str) {
        if let Some(at) = self.children.iter().rposition(|(n, _)| *n == name) {
            let (name, mut child) = self.children.remove(at);
            stop(name, &mut child).await;
        }
    }

    /// Stops everything, the last started first, gently and then not.
    pub async fn stop(mut self) {
        // A network's bridge outlives its engine, and a machine has room for thirty of them.
        if let Some(host) = self.private_engine.take()
            && let Ok(engine) = Engine::connect(Some(&host))
        {
            drop(engine.remove_networks().await);
        }
        for (name, child) in self.children.iter_mut().rev() {
            stop(name, child).await;
        }
        self.children.clear();
        self.let_go_of_memory();
    }
}

async fn stop(name: &str, child: &mut Child) {
    let Some(pid) = child.id() else { return };
    // SIGINT is Postgres' fast shutdown: it does not wait for its clients.
    let signal = if name == "postgres" { "-INT" } else { "-TERM" };
    drop(Command::new("kill").arg(signal).arg(pid.to_string()).stderr(Stdio::null()).status().await);
    if tokio::time::timeout(Duration::from_secs(15), child.wait()).await.is_err() {
        drop(child.kill().await);
    }
}

impl Drop for Services {
    /// What was not stopped in order is killed.
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            drop(child.start_kill());
        }
        self.let_go_of_memory();
    }
}

/// So much is to be free for a Postgres in memory, in KiB: it takes a tenth of it.
const MEMORY_WANTED: u64 = 10 << 20;

/// What programs may still take of this machine's memory, in KiB.
fn available_memory() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn quietly(program: &str, arguments: &[&OsStr]) -> bool {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

async fn answers(address: &str) -> Result<()> {
    Engine::connect(Some(address))?.answers().await
}

/// Where the machine's Docker is said to be, as the docker command reads it.
#[expect(clippy::disallowed_methods, reason = "as the docker command does")]
pub fn docker_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty())
}

fn unprivileged() -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].into_iter().find_map(|wanted| {
        let line = users.lines().find(|l| l.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn find(program: &str) -> Option<PathBuf> {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .into_iter()
        .map(|d| Path::new(d).join(program))
        .find(|p| p.exists())
}

/// The folder of the newest installed server: Debian keeps its programs off the path.
fn postgres_programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|e| e.path().join("bin"))
        .collect();
    versions.retain(|bin| bin.join("initdb").exists() && bin.join("postgres").exists());
    versions.sort_by_key(|bin| {
        bin.parent().and_then(Path::file_name).and_then(|v| v.to_str()).and_then(|v| v.parse::<u32>().ok())
    });
    versions.pop().or_else(|| find("initdb").and_then(|p| p.parent().map(Path::to_owned)))
}
