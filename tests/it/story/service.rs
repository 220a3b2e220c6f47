//! The real thing: `coolops serve` as a child process, with real Redis and Docker; only Slack is the stand-in.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coolops::keys::{self, Keyring};
use coolops_lab::engine::Engine;
use coolops_lab::image;
use coolops_lab::standin::press::{Press, Signed};
use coolops_lab::standin::{Options, StandIn};

use super::database::{Database, service};
use super::{CHANNEL, read};

/// A running service and what belongs to it.
pub struct Service {
    pub database: Database,
    pub standin: StandIn,
    pub url: String,
    pub admin: String,
    pub token: String,
    pub log: PathBuf,
    pub image: String,
    pub began: std::time::SystemTime,
    environment: Vec<(String, String)>,
    children: Vec<Child>,
}

/// Runs a test on a service of its own and cleans up whatever happens in it. `script` is what its image runs.
pub fn service_story(script: &str, rust_log: &str, tell: impl AsyncFnOnce(&mut Service)) {
    use futures::FutureExt;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let image = format!("coolops-test-{}:1", super::random_name());
        let docker = Engine::connect(Some(&service("TEST_DOCKER_HOST"))).unwrap();
        docker.import(&image, image::busybox_with(&[("deploy", script)]).unwrap()).await.unwrap();
        let mut story = Service::begin(&image, rust_log).await;
        let told = std::panic::AssertUnwindSafe(tell(&mut story)).catch_unwind().await;
        let log = std::fs::read_to_string(&story.log).unwrap_or_default();
        story.stop("-TERM");
        docker.forget(&image).await.ok();
        std::fs::remove_file(&story.log).ok();
        story.database.drop().await;
        if let Err(panic) = told {
            eprintln!(
                "the service's log:\n{}",
                log.lines().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
            );
            std::panic::resume_unwind(panic);
        }
    });
}

/// A port for a process that is started, and perhaps started again, later. Not one of those that the kernel gives to
/// whoever connects: such a connection of any test may have it by then. Nor does another test get it before this one's process
/// ends, also while nobody listens: it is held by a socket of its name, which is in no file system.
pub fn free_port() -> u16 {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    loop {
        let port = 10_000 + u16::from_le_bytes(keys::random::<2>()) % 20_000;
        let name = SocketAddr::from_abstract_name(format!("coolops-test-port-{port}")).unwrap();
        let Ok(held) = UnixListener::bind_addr(&name) else { continue };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            std::mem::forget(held);
            return port;
        }
    }
}

impl Service {
    async fn begin(image: &str, rust_log: &str) -> Self {
        let database = Database::create().await;
        let options = Options {
            port: 0,
            bot_token: "xoxb-service-test".into(),
            signing_secret: "signing-secret-of-the-test".into(),
            page_token: "page".into(),
        };
        let standin = StandIn::start(options).await.unwrap();
        let (port, admin) = (free_port(), free_port());
        let url = format!("http://127.0.0.1:{port}");
        standin.send_presses_to(&format!("{url}/slack/interactions"));
        let log = std::env::temp_dir().join(format!("{}.log", database.name));
        let environment = [
            ("DATABASE_URL", database.url.clone()),
            ("REDIS_URL", service("TEST_REDIS_URL")),
            ("DOCKER_HOST", service("TEST_DOCKER_HOST")),
            ("COOLOPS_LISTEN", format!("127.0.0.1:{port}")),
            ("COOLOPS_ADMIN_LISTEN", format!("127.0.0.1:{admin}")),
            ("COOLOPS_PUBLIC_URL", url.clone()),
            ("COOLOPS_MASTER_KEY", keys::new_master_key()),
            ("COOLOPS_URL", url.clone()),
            ("SLACK_API_URL", standin.api_url()),
            ("SLACK_BOT_TOKEN", "xoxb-service-test".to_owned()),
            ("SLACK_SIGNING_SECRET", "signing-secret-of-the-test".to_owned()),
            ("RUST_LOG", rust_log.to_owned()),
            ("USER", "test".to_owned()),
        ];
        let environment = environment.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let admin = format!("http://127.0.0.1:{admin}");
        let began = std::time::SystemTime::now();
        let image = image.to_owned();
        let mut this = Self {
            database,
            standin,
            url,
            admin,
            token: String::new(),
            log,
            image,
            began,
            environment,
            children: Vec::new(),
        };
        this.cli(&["project", "create", "Api", "--image", &this.image, "--channel", CHANNEL]);
        this.cli(&["environment", "create", "api", "Production"]);
        this.cli(&["environment", "create", "api", "Staging"]);
        this.token = this.cli(&["project", "token", "new", "api"]).trim().to_owned();
        this.start().await;
        this
    }

    /// Starts the service (again).
    pub async fn start(&mut self) {
        self.start_roles(&["serve"]).await;
    }

    /// Starts one process for each role.
    pub async fn start_roles(&mut self, roles: &[&str]) {
        for role in roles {
            let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
            let mut command = self.command(&[role]);
            if !self.children.is_empty() {
                command.env_remove("COOLOPS_ADMIN_LISTEN");
            }
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            self.children.push(command.spawn().unwrap());
        }
        let url = format!("{}/readyz", self.url);
        let deadline = Instant::now() + Duration::from_mins(1);
        while ureq::get(&url).call().is_err() {
            let said = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < deadline, "the service is not ready; it says:\n{}", said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a process and doesn't wait until it is ready.
    pub fn launch(&mut self, role: &str) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(&[role]);
        self.children.push(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Starts one more worker; it is the last of the processes.
    pub fn start_worker(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(&["worker"]);
        command.env_remove("COOLOPS_ADMIN_LISTEN").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(command.spawn().unwrap());
    }

    /// Sends a signal to the n-th process.
    pub fn signal(&self, n: usize, signal: &str) {
        Command::new("kill").args([signal, &self.children[n].id().to_string()]).status().unwrap();
    }

    /// Ends the n-th process with a signal and waits for its end.
    pub fn end_process(&mut self, n: usize, signal: &str) {
        self.signal(n, signal);
        self.children.remove(n).wait().unwrap();
    }

    /// Waits until the n-th process has ended by itself.
    pub async fn until_process_ended(&mut self, n: usize) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.children[n].try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "process {n} does not end; the channel shows:\n{}", self.channel());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.children.remove(n);
    }

    /// Resident memory of the n-th process, in kB.
    pub fn resident(&self, n: usize) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.children[n].id())).unwrap_or_default();
        status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .and_then(|l| l.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Takes a variable away for the next start.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Changes a variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The short name of this installation, in its keys on Redis and its labels on Docker.
    pub async fn instance(&self) -> String {
        self.database
            .text("select left(md5(current_database() || min(installed_on)::text), 12) from _sqlx_migrations")
            .await
    }

    /// A variable of the service.
    pub fn variable(&self, name: &str) -> String {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coolops"));
        command.args(arguments).env_clear().envs(self.environment.iter().cloned());
        command.env("PATH", "/usr/bin:/bin").env("COOLOPS_PROJECT_API_TOKEN", &self.token);
        command
    }

    /// Ends the service with a signal and waits for it.
    pub fn stop(&mut self, signal: &str) {
        for mut child in self.children.drain(..) {
            let id = child.id().to_string();
            // One that was held must go on to hear it.
            Command::new("kill").args(["-CONT", &id]).stderr(Stdio::null()).status().unwrap();
            Command::new("kill").args([signal, &id]).stderr(Stdio::null()).status().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs a command, with something on its standard input.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The keys of this installation.
    pub fn keys(&self) -> Arc<Keyring> {
        let (_, key) = self.environment.iter().find(|(name, _)| name == "COOLOPS_MASTER_KEY").unwrap();
        Arc::new(Keyring::new(&key.clone().into(), &[]).unwrap())
    }

    /// Runs a command that must succeed; tells what it printed.
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.cli_with(arguments, "")
    }

    pub fn cli_with(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "coolops {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command that must fail; tells its exit code and what it said.
    pub fn cli_fails(&self, arguments: &[&str], input: &str) -> (i32, String) {
        let output = self.run(arguments, input);
        (
            output.status.code().unwrap_or(-1),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    }

    /// Somebody presses a button in Slack; the answer's status.
    pub async fn presses(&self, user: &str, build: &str, environment: &str) -> u16 {
        self.standin.shared().deliver(self.press_of(user, build, environment)).await.unwrap()
    }

    /// The signed press of a button, as Slack would send it.
    pub fn press_of(&self, user: &str, build: &str, environment: &str) -> Signed {
        self.try_press_of(user, build, environment)
            .unwrap_or_else(|| panic!("no message of {build} has a button for {environment}"))
    }

    /// The same, if there is a message with such a button whose text holds these words; of the newest one.
    pub fn try_press_of(&self, user: &str, words: &str, environment: &str) -> Option<Signed> {
        let words = words.trim_start_matches("# Api: ");
        let press = {
            let workspace = self.standin.workspace();
            let (message, (action_id, option)) = workspace.channels[0]
                .messages
                .iter()
                .rev()
                .filter(|m| m.only_for.is_none() && read::title(m).contains(words))
                .find_map(|m| Some((m, read::button(m, environment)?)))?;
            let user = workspace.users.iter().find(|u| u.name == user).unwrap().id.clone();
            Press { channel: CHANNEL.to_owned(), ts: message.ts.clone(), user, action_id, option }
        };
        self.standin.shared().signed_press(&press)
    }

    /// The signed press of a button by a clock that is so many seconds ahead.
    pub fn press_of_at(&self, user: &str, build: &str, environment: &str, ahead: u64) -> Signed {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        self.standin.shared().sign_at(self.press_of(user, build, environment).body, now + ahead)
    }

    /// Starts a second web server on the same installation and tells its address.
    pub async fn second_web(&mut self) -> String {
        let port = free_port();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command(&["web"]);
        command.env_remove("COOLOPS_ADMIN_LISTEN").env("COOLOPS_LISTEN", format!("127.0.0.1:{port}"));
        self.children.push(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let url = format!("http://127.0.0.1:{port}");
        self.until("the second web server is ready", async || ureq::get(format!("{url}/readyz")).call().is_ok()).await;
        url
    }

    /// Delivers a press to another web server.
    pub async fn deliver_to(&self, url: &str, press: Signed) -> Result<u16, String> {
        self.standin.shared().deliver_to(format!("{url}/slack/interactions"), press).await
    }

    /// Waits for a condition, longer than usual.
    pub async fn until_long(&self, what: &str, limit: Duration, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + limit;
        while !condition().await {
            assert!(Instant::now() < deadline, "it never came that {what}; the channel shows:\n{}", self.channel());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn channel(&self) -> String {
        read::channel(&self.standin.workspace().channels[0], None)
    }

    /// What only this person sees.
    pub fn private_notes_of(&self, user: &str) -> Vec<String> {
        read::private_notes(&self.standin.workspace(), user)
    }

    /// Nobody sees private notes any more.
    pub fn forget_private_notes(&self) {
        self.standin.workspace().channels[0].messages.retain(|m| m.only_for.is_none());
    }

    /// Waits until the channel shows something.
    pub async fn shows(&self, text: &str) {
        self.shows_times(text, 1).await;
    }

    pub async fn shows_times(&self, text: &str, times: usize) {
        self.until(&format!("the channel shows {text:?} {times} times"), async || {
            self.channel().matches(text).count() >= times
        })
        .await;
    }

    /// Waits for a condition, a minute at the most.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !condition().await {
            assert!(Instant::now() < deadline, "it never came that {what}; the channel shows:\n{}", self.channel());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The address of the newest line's log.
    pub fn log_url(&self) -> String {
        let workspace = self.standin.workspace();
        let text = workspace.channels[0]
            .messages
            .iter()
            .rfind(|m| read::build_of(m).is_some())
            .unwrap()
            .attachments
            .to_string();
        let start = text.find(&format!("{}/deployments/", self.url)).expect("a line with a link");
        text[start..].split(['|', '"']).next().unwrap().to_owned()
    }

    /// The newest line's log.
    pub fn logs(&self) -> String {
        let url = self.log_url().replace("?key=", "/raw?key=");
        ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap()
    }
}
