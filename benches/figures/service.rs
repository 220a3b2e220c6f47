//! The service under measurement: the release binary, the stand-in for Slack, real Postgres, Redis and Docker.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use coolops::domain::ids::BuildId;
use coolops::keys::{self, Keyring};
use coolops::slack::render::{self, RENDER_VERSION};
use coolops::store::Store;
use coolops::store::messages::Stamp;
use coolops_lab::engine::Engine;
use coolops_lab::image;
use coolops_lab::standin::press::Signed;
use coolops_lab::standin::{Options, StandIn};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use uuid::Uuid;

use crate::load::Client;

pub const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// A link key under that master key; its first half is the master key's id.
pub const LINK_KEY: &str = "6be4e184-bench";

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run the benchmark with ./just bench"))
}

pub fn random() -> String {
    hex::encode(keys::random::<6>())
}

pub struct Database {
    pub url: String,
    name: String,
    admin: String,
}

impl Database {
    pub async fn execute(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }

    pub async fn number(&self, statement: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        sqlx::query(AssertSqlSafe(statement.to_owned())).fetch_one(&mut connection).await.unwrap().get(0)
    }

    /// What Slack was sent of builds: up to which position, and the bytes.
    pub async fn sent(&self, rows: &[(Uuid, i64, String)], keys: &Keyring) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let (mut ids, mut positions, mut payloads, mut codes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (id, position, payload) in rows {
            let (digest, position) = (&render::digest(payload)[..], *position);
            let stamp = Stamp { digest, render_version: RENDER_VERSION, position, is_plain: false };
            codes.push(stamp.code(keys, BuildId(*id)));
            ids.push(*id);
            positions.push(position);
            payloads.push(payload.as_str());
        }
        sqlx::query(
            "insert into slack_message (build_id, state, channel, ts, sent_position, sent_payload, sent_digest, render_version, sent_code)
             select id, 'live', 'C1', '1.000001', position, payload, sha256(convert_to(payload, 'UTF8')), $5, code
               from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) t(id, position, payload, code)",
        )
        .bind(ids)
        .bind(positions)
        .bind(payloads)
        .bind(codes)
        .bind(RENDER_VERSION)
        .execute(&mut connection)
        .await
        .unwrap();
    }
}

pub struct Service {
    pub database: Database,
    pub image: String,
    pub port: u16,
    pub token: String,
    standin: StandIn,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Service {
    pub async fn begin(script: &str, slots: u32) -> Self {
        Self::begin_at(script, slots, 1).await
    }

    /// The same at so many times Slack's pace; the stand-in lets that through.
    pub async fn begin_at(script: &str, slots: u32, speed: u32) -> Self {
        let template = variable("TEST_DATABASE_URL");
        let admin = template.replace("/coolops?", "/postgres?");
        let name = format!("b_{}", random());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("create database {name} template coolops")))
            .execute(&mut connection)
            .await
            .unwrap();
        let database = Database { url: template.replace("/coolops?", &format!("/{name}?")), name, admin };
        let image = format!("coolops-bench-{}:1", random());
        let docker = Engine::connect(Some(&variable("TEST_DOCKER_HOST"))).unwrap();
        docker.import(&image, image::busybox_with(&[("deploy", script)]).unwrap()).await.unwrap();
        let options = Options {
            port: 0,
            bot_token: "xoxb-bench".into(),
            signing_secret: "bench-secret".into(),
            page_token: "page".into(),
        };
        let standin = StandIn::start(options).await.unwrap();
        standin.workspace().counts_posts = speed == 1;
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        standin.send_presses_to(&format!("{url}/slack/interactions"));
        let environment = [
            ("DATABASE_URL", database.url.clone()),
            ("REDIS_URL", variable("TEST_REDIS_URL")),
            ("DOCKER_HOST", variable("TEST_DOCKER_HOST")),
            ("COOLOPS_LISTEN", format!("127.0.0.1:{port}")),
            ("COOLOPS_PUBLIC_URL", url),
            ("COOLOPS_MASTER_KEY", MASTER_KEY.to_owned()),
            ("COOLOPS_WORKER_SLOTS", slots.to_string()),
            ("COOLOPS_SLACK_SPEED", speed.to_string()),
            ("SLACK_API_URL", standin.api_url()),
            ("SLACK_BOT_TOKEN", "xoxb-bench".to_owned()),
            ("SLACK_SIGNING_SECRET", "bench-secret".to_owned()),
            ("RUST_LOG", "warn".to_owned()),
        ];
        let environment = environment.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let mut this =
            Self { database, image: image.clone(), port, token: String::new(), standin, environment, child: None };
        this.cli(&["project", "create", "Api", "--image", &image, "--channel", "C0DEPLOYS1"]);
        this.cli(&["environment", "create", "api", "Staging"]);
        this.token = this.cli(&["project", "token", "new", "api"]).trim().to_owned();
        this.start();
        this.announce_until_accepted("ready").await;
        this
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coolops"));
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).env("PATH", "/usr/bin:/bin");
        command
    }

    pub fn start(&mut self) {
        self.child = Some(self.command(&["serve"]).stdin(Stdio::null()).spawn().unwrap());
    }

    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").arg(child.id().to_string()).status().unwrap();
            child.wait().unwrap();
        }
    }

    pub async fn end(mut self) {
        self.stop();
        Engine::connect(Some(&variable("TEST_DOCKER_HOST"))).unwrap().forget(&self.image).await.ok();
        let mut connection = PgConnection::connect(&self.database.admin).await.unwrap();
        let statement = format!("drop database {} with (force)", self.database.name);
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }

    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command; tells its seconds, its peak memory in MB, and what it printed.
    pub async fn timed_cli(&self, arguments: &[&str]) -> (f64, f64, String) {
        let before = Instant::now();
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0.0_f64;
        while child.try_wait().unwrap().is_none() {
            peak = peak.max(kilobytes(&std::fs::read_to_string(&status).unwrap_or_default(), "VmHWM:") as f64 / 1024.0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seconds = before.elapsed().as_secs_f64();
        let output = child.wait_with_output().unwrap();
        (seconds, peak, String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command that goes on meanwhile.
    pub fn in_background(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).spawn().unwrap()
    }

    /// The same with its output to nowhere, and with more variables.
    pub async fn timed_to_nowhere(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (f64, f64) {
        let before = Instant::now();
        let mut command = self.command(arguments);
        let mut child =
            command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0.0_f64;
        let ended = loop {
            peak = peak.max(kilobytes(&std::fs::read_to_string(&status).unwrap_or_default(), "VmHWM:") as f64 / 1024.0);
            match child.try_wait().unwrap() {
                Some(ended) => break ended,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(ended.success(), "{arguments:?}");
        (before.elapsed().as_secs_f64(), peak)
    }

    /// Slack takes no part in what is measured: messages are not brought up to date meanwhile.
    pub async fn quiet(&self) {
        self.standin.workspace().plan(
            "chat.update",
            coolops_lab::standin::workspace::Fault::RateLimited(600),
            u32::MAX,
        );
    }

    pub fn body(&self, name: &str) -> String {
        format!(
            r#"{{"name":"{name}","params":{{"DOCKER_TAG":"{name}"}},"metadata":{{"Job url":"https://ci.example.com/job/{name}"}}}}"#
        )
    }

    pub async fn announce(&self, name: &str) {
        let mut client = Client::connect(self.port).await.unwrap();
        assert_eq!(client.post_build(&self.token, &self.body(name)).await.unwrap(), 201);
    }

    pub async fn announce_until_accepted(&self, name: &str) {
        loop {
            if let Ok(mut client) = Client::connect(self.port).await
                && client.post_build(&self.token, &self.body(name)).await.is_ok_and(|status| status == 201)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The signed press of a build's button for an environment, without a message: Slack may not have it yet.
    pub fn press(&self, build: &str, environment: Uuid) -> Signed {
        let project = coolops::domain::ids::ProjectId::of_slug("api");
        let id = coolops::domain::ids::BuildId::of_name(project, build);
        let payload = serde_json::json!({
            "type": "block_actions", "team": {"id": "T0DEMO0001"}, "user": {"id": "U0ANA00001", "username": "ana"},
            "channel": {"id": "C0DEPLOYS1"}, "trigger_id": random(),
            "actions": [{"type": "button", "block_id": "deploy", "action_id": "deploy.0", "value": format!("v1.{id}.{environment}")}],
        });
        self.standin.shared().sign(serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap())
    }

    /// A signed command of Ben's; presses are Ana's.
    pub fn command_of(&self, text: &str) -> Signed {
        self.standin.shared().signed_command("C0DEPLOYS1", "U0BEN00001", text).unwrap()
    }

    /// Ben writes a command.
    pub async fn writes(&self, text: &str) {
        let mut client = Client::connect(self.port).await.unwrap();
        assert_eq!(client.command(&self.command_of(text)).await.unwrap(), 200);
    }

    pub async fn environments(&self) -> Vec<Uuid> {
        let list: serde_json::Value =
            serde_json::from_str(&self.cli(&["environment", "list", "api", "--json"])).unwrap();
        list.as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Its database.
    pub async fn store(&self, connections: u32) -> Store {
        let keys = Keyring::new(&MASTER_KEY.to_owned().into(), &[]).unwrap();
        Store::open(&self.database.url, connections).await.unwrap().with_keys(Arc::new(keys))
    }

    pub async fn until_ended(&self, count: i64) {
        let store = self.store(1).await;
        let mut changes = store.wake().events();
        loop {
            let done =
                self.database.number("select count(*) from deployment where state in ('succeeded', 'failed')").await;
            if done >= count {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), changes.changed()).await;
        }
    }

    /// Announces a build, presses, waits for the recorded end; tells the seconds from the press to the end's own time.
    pub async fn deploy(&self, build: &str) -> f64 {
        self.announce(build).await;
        let before =
            self.database.number("select count(*) from deployment where state in ('succeeded', 'failed')").await;
        let environment = self.environments().await[0];
        let pressed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
        let mut client = Client::connect(self.port).await.unwrap();
        assert_eq!(client.press(&self.press(build, environment)).await.unwrap(), 200);
        self.until_ended(before + 1).await;
        let ended = self.database.number("select (extract(epoch from recorded_at) * 1000000)::bigint from event where type in ('deployment_succeeded', 'deployment_failed') order by position desc limit 1").await;
        (ended - i64::try_from(pressed).unwrap()) as f64 / 1e6
    }

    /// Announces a build, presses, and waits until its container runs.
    pub async fn deploy_and_leave_running(&self, build: &str) {
        self.announce(build).await;
        self.deploy_beside(build, 0).await;
    }

    /// Presses for one of the environments.
    pub async fn press_for(&self, build: &str, environment: usize) {
        let environment = self.environments().await[environment];
        let mut client = Client::connect(self.port).await.unwrap();
        assert_eq!(client.press(&self.press(build, environment)).await.unwrap(), 200);
    }

    /// Presses for one of the environments, and waits until one container more runs.
    pub async fn deploy_beside(&self, build: &str, environment: usize) {
        let running = "select count(*) from deployment where state = 'running'";
        let before = self.database.number(running).await;
        self.press_for(build, environment).await;
        while self.database.number(running).await == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Announces a build and presses; tells the milliseconds until a worker holds the job.
    pub async fn press_to_claim(&self, build: &str) -> f64 {
        self.announce(build).await;
        let environment = self.environments().await[0];
        let ended =
            self.database.number("select count(*) from deployment where state in ('succeeded', 'failed')").await;
        let mut client = Client::connect(self.port).await.unwrap();
        assert_eq!(client.press(&self.press(build, environment)).await.unwrap(), 200);
        // A lease is for 20 s, and a run shorter than the first renewal after 5 s.
        let claimed = "select coalesce(max((extract(epoch from j.lease_until - interval '20 s' - e.recorded_at) * 1000000)::bigint), -1)
                         from job j join event e on e.stream_id = j.key and e.stream_version = 1
                        where j.kind = 'run_deployment' and j.state = 'leased'";
        let mut microseconds = -1;
        while microseconds < 0 {
            microseconds = self.database.number(claimed).await;
        }
        self.until_ended(ended + 1).await;
        microseconds as f64 / 1_000.0
    }

    /// Announces a build and presses; tells the milliseconds from the press to the container's start.
    pub async fn press_to_start(&self, build: &str, docker: &Docker) -> f64 {
        self.announce(build).await;
        let environment = self.environments().await[0];
        let signed = self.press(build, environment);
        let mut client = Client::connect(self.port).await.unwrap();
        self.to_start(docker, async move || client.press(&signed).await.unwrap()).await
    }

    /// Announces a build that waits for a lock; tells the milliseconds from the unlock to its container's start.
    pub async fn unlock_to_start(&self, build: &str, docker: &Docker) -> f64 {
        self.announce(build).await;
        self.writes("lock staging").await;
        self.press_for(build, 0).await;
        let signed = self.command_of("unlock staging");
        let mut client = Client::connect(self.port).await.unwrap();
        self.to_start(docker, async move || client.command(&signed).await.unwrap()).await
    }

    /// The milliseconds from a request that is taken to the start of a container.
    async fn to_start(&self, docker: &Docker, ask: impl AsyncFnOnce() -> u16) -> f64 {
        let ended =
            self.database.number("select count(*) from deployment where state in ('succeeded', 'failed')").await;
        // The container is removed when its deployment has ended, so its start is taken from the engine's own events.
        let options = bollard::query_parameters::EventsOptionsBuilder::new()
            .filters(&std::collections::HashMap::from([("event".to_owned(), vec!["start".to_owned()])]))
            .build();
        let mut events = Box::pin(docker.events(Some(options)));
        let first = tokio::spawn(async move { futures::StreamExt::next(&mut events).await.unwrap().unwrap() });
        tokio::time::sleep(Duration::from_millis(50)).await;
        let pressed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        assert_eq!(ask().await, 200);
        let started = first.await.unwrap().time_nano.unwrap();
        self.until_ended(ended + 1).await;
        (started - i64::try_from(pressed).unwrap()) as f64 / 1e6
    }

    /// Many deployments, spread over the environments.
    pub async fn deploy_many(&self, count: usize) {
        let environments = self.environments().await;
        let mut client = Client::connect(self.port).await.unwrap();
        for n in 0..count {
            let signed = self.press(&format!("master-{n}"), environments[n % environments.len()]);
            assert_eq!(client.press(&signed).await.unwrap(), 200);
        }
        self.until_ended(i64::try_from(count).unwrap()).await;
    }

    /// The address of the newest deployment's log, as soon as a message has it.
    pub async fn newest_log(&self) -> String {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        let newest =
            "select stream_id::text from event where type = 'deployment_requested' order by position desc limit 1";
        let id: String = sqlx::query_scalar(newest).fetch_one(&mut connection).await.unwrap();
        let path = format!("/deployments/{id}?key=");
        loop {
            let messages: Vec<String> =
                self.standin.workspace().channels[0].messages.iter().map(|m| m.attachments.to_string()).collect();
            if let Some((before, after)) = messages.iter().find_map(|text| text.split_once(&path)) {
                let begin = before.rfind("http").unwrap();
                return format!("{}{path}{}", &before[begin..], after.split('|').next().unwrap());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Messages in the channel.
    pub fn posted(&self) -> usize {
        self.standin.workspace().channels[0].messages.len()
    }

    pub fn resident_kilobytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().unwrap().id())).unwrap();
        kilobytes(&status, "VmRSS:")
    }

    /// The most that the service holds in memory until something is done, in kilobytes.
    pub async fn peak_until(&self, done: impl Future<Output = ()>) -> u64 {
        let (mut done, mut peak) = (std::pin::pin!(done), 0);
        loop {
            tokio::select! {
                () = &mut done => return peak,
                () = tokio::time::sleep(Duration::from_millis(50)) => peak = peak.max(self.resident_kilobytes()),
            }
        }
    }

    pub fn processor_seconds(&self) -> f64 {
        processor_seconds(self.child.as_ref().unwrap().id())
    }

    /// The same of the service and of its connections' backends together.
    pub async fn processor_seconds_with_postgres(&self) -> f64 {
        let mut connection = PgConnection::connect(&self.database.url).await.unwrap();
        let backends: Vec<i32> = sqlx::query_scalar(
            "select pid from pg_stat_activity where datname = current_database() and application_name = 'coolops'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let backends = backends.into_iter().map(|pid| processor_seconds(pid.cast_unsigned()));
        self.processor_seconds() + backends.sum::<f64>()
    }

    /// Waits until nothing is left to do: Slack would take a quarter of an hour for a thousand new messages at its
    /// pace.
    pub async fn until_idle(&self) {
        self.database
            .execute("update job set state = 'done', done = wanted where kind = 'sync_message' and state = 'ready'")
            .await;
        while self.database.number("select count(*) from job where state <> 'done'").await > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// User and system time of a process; none of one that has ended.
fn processor_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

pub fn kilobytes(status: &str, field: &str) -> u64 {
    status
        .lines()
        .find(|l| l.starts_with(field))
        .and_then(|l| l.split_whitespace().nth(1))
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
