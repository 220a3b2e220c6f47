//! The story language: CI announces, people press, the channel is read.
//!
//! A story runs on real Postgres, the stand-in for Slack over HTTP, and a runner that the story steers. Its end always
//! runs: every message is folded and rendered again and compared with the last call, every event is validated against
//! `events/`, the chain is verified, the projections are rebuilt and must not differ.

pub mod anchored;
pub mod browser;
mod changes;
mod checks;
pub mod database;
pub mod dice;
pub mod given;
pub mod invariants;
pub mod podman;
#[cfg(feature = "failpoints")]
pub mod process;
pub mod proxy;
pub mod read;
pub mod redis;
pub mod runner;
pub mod schema;
pub mod service;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use coolops::app::App;
use coolops::domain::deployment::State;
use coolops::domain::event::Actor;
use coolops::domain::ids::{BuildId, ProjectId};
use coolops::domain::settings::ProjectChange;
use coolops::http;
use coolops::jobs::crew::{Crew, Tools};
use coolops::jobs::slack_calls::Paces;
use coolops::jobs::{RUNNER_KINDS, SLACK_KINDS};
use coolops::keys::{self, Keyring};
use coolops::runner::Runner;
use coolops::slack::client::Slack;
use coolops::store::Store;
use coolops::store::jobs::Via;
use coolops_lab::standin::press::{Press, Signed};
use coolops_lab::standin::workspace::TEAM;
use coolops_lab::standin::{Options, StandIn};
use futures::FutureExt;
use http_body_util::BodyExt;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use database::Database;
use runner::FakeRunner;

pub const CHANNEL: &str = "C0DEPLOYS1";
pub const OWED_TO_SLACK: &str = "select count(*) from job where state in ('ready', 'leased') and kind in ('sync_message', 'reply_privately', 'report', 'report_lock', 'erase_output', 'erase_person')";
const TO_BE_RUN: &str = "select count(*) from job where state = 'ready' and kind in ('run_deployment', 'move_lines')";
/// A run that is over may still have to be tidied up after.
pub const RUNS_NOT_DONE: &str = "select count(*) from job j where j.kind = 'move_lines' and j.state <> 'done' or j.kind = 'run_deployment' and (j.state = 'ready' or j.state = 'leased'
  and exists (select 1 from deployment d where d.id = j.key and d.state in ('succeeded', 'failed', 'timed_out', 'cancelled', 'refused', 'unknown')))";
pub const MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// Everything a story works with.
pub struct Story {
    pub app: Arc<App>,
    pub router: Router,
    pub standin: StandIn,
    pub runner: Arc<FakeRunner>,
    pub database: Database,
    pub token: String,
    /// The story changed the log behind our back, so the end's checks would rightly fail.
    pub tampered: bool,
    slack: Crew,
    pub run: Crew,
}

/// Runs a story on a database of its own, and its end whatever happens in it.
pub fn story(tell: impl AsyncFnOnce(&mut Story)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let database = Database::create().await;
        let mut story = Story::begin(database).await;
        let told = AssertUnwindSafe(async {
            tell(&mut story).await;
            story.end().await;
        })
        .catch_unwind()
        .await;
        story.database.drop().await;
        if let Err(panic) = told {
            std::panic::resume_unwind(panic);
        }
    });
}

/// What CI announces.
pub struct Announcement {
    pub name: String,
    pub params: Vec<(String, String)>,
    pub metadata: Vec<(String, String)>,
}

/// A build of that name, with a tag and a job's address.
pub fn build(name: &str) -> Announcement {
    let pair = |k: &str, v: &str| vec![(k.to_owned(), v.to_owned())];
    Announcement {
        name: name.to_owned(),
        params: pair("DOCKER_TAG", name),
        metadata: pair("Job url", "https://ci.example.com/7"),
    }
}

impl Announcement {
    pub fn body(&self) -> String {
        let object = |pairs: &[(String, String)]| {
            let entries: Vec<String> =
                pairs.iter().map(|(k, v)| format!("{}:{}", serde_json::json!(k), serde_json::json!(v))).collect();
            format!("{{{}}}", entries.join(","))
        };
        format!(
            r#"{{"name":{},"params":{},"metadata":{}}}"#,
            serde_json::json!(self.name),
            object(&self.params),
            object(&self.metadata)
        )
    }
}

/// A signed request as Slack sends it.
pub fn from_slack(path: &str, signed: &Signed) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", &signed.timestamp)
        .header("x-slack-signature", &signed.signature)
        .body(Body::from(signed.body.clone()))
        .unwrap()
}

/// A build as CI announces it.
pub fn from_ci(authorization: &str, body: &str) -> Request<Body> {
    Request::post("/builds").header("authorization", authorization).body(Body::from(body.to_owned())).unwrap()
}

/// The routes of a shell.
pub fn routes(app: Arc<App>, home: Arc<std::sync::OnceLock<String>>) -> Router {
    http::router(http::Web::new(http::Parts {
        app,
        signing_secret: SIGNING_SECRET.to_owned().into(),
        response_hosts: vec!["127.0.0.1".to_owned()],
        home,
        client: std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dist"),
        readiness: http::health::Readiness::default(),
        room: Arc::default(),
        logs: http::Logs::default(),
    }))
}

impl Story {
    async fn begin(database: Database) -> Self {
        let store = Store::open(&database.url, 12).await.expect("the test's database opens");
        let keyring = keyring();
        store.keep_clock().await.unwrap();
        let options = Options {
            port: 0,
            bot_token: "xoxb-test".to_owned(),
            signing_secret: SIGNING_SECRET.to_owned(),
            page_token: "page".to_owned(),
        };
        let standin = StandIn::start(options).await.unwrap();
        // A story has no time to lose: it posts as fast as it can.
        standin.workspace().counts_posts = false;
        let runner = Arc::new(FakeRunner::default());
        let stop = CancellationToken::new();
        let slack = || Slack::new(&standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let home = Arc::new(TEAM.to_owned().into());
        let app = Arc::new(App::new(store, keyring, "https://coolops.test").asking(slack(), Arc::clone(&home)));
        let tools = Tools::Slack(Box::new(slack()), Paces::unbounded());
        let slack = Crew::new(Arc::clone(&app), tools, SLACK_KINDS, 4, stop.clone());
        let run =
            Crew::new(Arc::clone(&app), Tools::Runner(Arc::clone(&runner) as Arc<dyn Runner>), RUNNER_KINDS, 16, stop);
        let router = routes(Arc::clone(&app), home);
        let mut story =
            Self { app, router, standin, runner, database, token: String::new(), tampered: false, slack, run };
        story.set_up().await;
        story
    }

    async fn set_up(&mut self) {
        let actor = operator();
        self.app.create_project("api", "Api", "registry.test/deploy:1", CHANNEL, &actor).await.unwrap();
        for name in ["Production", "Staging"] {
            self.app.create_environment(self.project(), name, None, &actor).await.unwrap();
        }
        self.token = self.app.issue_token(self.project(), "CI", &actor).await.unwrap().1.expose_secret().to_owned();
    }

    /// The keys that a story's service has, for another process beside it.
    pub fn keyring(&self) -> Keyring {
        keyring()
    }

    pub fn project(&self) -> ProjectId {
        ProjectId::of_slug("api")
    }

    /// Runs a command of the program on the story's database: its exit code, what it printed, and what it said of errors.
    pub fn coolops(&self, arguments: &[&str]) -> (i32, String, String) {
        self.coolops_with(arguments, &[])
    }

    /// The same with more variables.
    pub fn coolops_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_coolops"))
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", &self.database.url)
            .env("COOLOPS_MASTER_KEY", MASTER_KEY)
            .env("COOLOPS_PUBLIC_URL", "https://coolops.test")
            .env("USER", "test")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// CI announces a build, and what follows from it is done.
    pub async fn ci_announces(&self, build: Announcement) {
        let (status, body) = self.post_build(&build.body()).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        self.settle().await;
    }

    /// Posts a body to `/builds` with the project's token.
    pub async fn post_build(&self, body: &str) -> (StatusCode, serde_json::Value) {
        self.post_build_as(&format!("Token {}", self.token), body).await
    }

    pub async fn post_build_as(&self, authorization: &str, body: &str) -> (StatusCode, serde_json::Value) {
        self.send(from_ci(authorization, body)).await
    }

    pub async fn send(&self, request: Request<Body>) -> (StatusCode, serde_json::Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = || serde_json::Value::String(String::from_utf8_lossy(&bytes).into_owned());
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        (status, String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes()).into_owned())
    }

    /// The signed press of a button, as Slack would send it.
    pub fn press_of(&self, user: &str, build: &str, environment: &str) -> Signed {
        let user = self.standin.workspace().users.iter().find(|u| u.name == user).unwrap().id.clone();
        let (ts, action_id, option) = {
            let workspace = self.standin.workspace();
            let messages = &workspace.channels[0].messages;
            let message = messages
                .iter()
                .rev()
                .find(|m| read::build_of(m).is_some() && read::title(m).contains(build))
                .unwrap_or_else(|| panic!("no message of {build}"));
            let (action, option) =
                read::button(message, environment).unwrap_or_else(|| panic!("no button for {environment}"));
            (message.ts.clone(), action, option)
        };
        self.standin.shared().signed_press(&Press { channel: CHANNEL.to_owned(), ts, user, action_id, option }).unwrap()
    }

    /// The signed choice of an entry in the menu of the newest line whose words hold these.
    pub fn choice_of(&self, user: &str, words: &str, entry: &str) -> Signed {
        let user = self.standin.workspace().users.iter().find(|u| u.name == user).unwrap().id.clone();
        let (ts, action_id, option) = {
            let workspace = self.standin.workspace();
            let mut messages = workspace.channels[0].messages.iter().rev();
            messages
                .find_map(|m| read::entry(m, words, entry).map(|(action, option)| (m.ts.clone(), action, option)))
                .unwrap_or_else(|| panic!("no line of {words} with {entry}"))
        };
        self.standin.shared().signed_press(&Press { channel: CHANNEL.to_owned(), ts, user, action_id, option }).unwrap()
    }

    /// Somebody chooses an entry of a line's menu; everything that follows happens.
    pub async fn chooses(&self, user: &str, words: &str, entry: &str) {
        let signed = self.choice_of(user, words, entry);
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
        self.settle().await;
    }

    /// The dialog that asks whether the newest line with these words shall be cancelled, filled in: as Slack would send it.
    pub async fn cancel_of(&self, user: &str, words: &str, reason: &str) -> Signed {
        assert_eq!(self.deliver(&self.choice_of(user, words, "Cancel …")).await, StatusCode::OK);
        let id = {
            let workspace = self.standin.workspace();
            let user = &workspace.users.iter().find(|u| u.name == user).unwrap().id;
            workspace.dialogs.iter().find(|d| d.user == *user).expect("a dialog").id.clone()
        };
        self.standin.shared().signed_submission(&id, &[("reason", reason)]).unwrap()
    }

    /// Somebody cancels the newest line with these words, with or without a reason; everything that follows happens.
    pub async fn cancels(&self, user: &str, words: &str, reason: &str) {
        let signed = self.cancel_of(user, words, reason).await;
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
        self.settle().await;
    }

    /// Delivers a press after something in what Slack says was changed, signed anew; everything that follows happens.
    pub async fn deliver_changed(&self, press: &Signed, change: impl FnOnce(&mut serde_json::Value)) {
        let form: Vec<(String, String)> = serde_urlencoded::from_str(&press.body).unwrap();
        let mut payload: serde_json::Value = serde_json::from_str(&form[0].1).unwrap();
        change(&mut payload);
        let body = serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap();
        assert_eq!(self.deliver(&self.standin.shared().sign(body)).await, StatusCode::OK);
        self.settle().await;
    }

    /// Somebody writes `/coolops …` in the first channel; tells what only they see of it at last, after everything that
    /// follows has happened.
    pub async fn writes(&self, user: &str, text: &str) -> String {
        self.writes_in(CHANNEL, user, text).await;
        self.settle().await;
        self.last_seen_only_by(user)
    }

    /// The same in another channel; its answer is shown there.
    pub async fn writes_in(&self, channel: &str, user: &str, text: &str) {
        let user = self.standin.workspace().users.iter().find(|u| u.name == user).unwrap().id.clone();
        let signed = self.standin.shared().signed_command(channel, &user, text).unwrap();
        let (status, body) = self.deliver_command(&signed).await;
        self.standin.shared().show_answer(channel, &user, status.as_u16(), &body).unwrap();
    }

    /// The signed bytes of a command.
    pub async fn deliver_command(&self, signed: &Signed) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(from_slack("/slack/commands", signed)).await.unwrap();
        let status = response.status();
        (status, String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes()).into_owned())
    }

    /// The direct messages between the bot and a person.
    pub fn direct(&self, user: &str) -> String {
        let workspace = self.standin.workspace();
        let id = workspace.users.iter().find(|u| u.name == user).unwrap().id.clone();
        read::channel(workspace.channels.iter().find(|c| c.with.as_ref() == Some(&id)).unwrap(), None)
    }

    /// What stands in the threads under the first channel's messages.
    pub fn threads(&self) -> String {
        read::threads(&self.standin.workspace().channels[0])
    }

    /// What only this person sees at last, in any channel.
    pub fn last_seen_only_by(&self, user: &str) -> String {
        let workspace = self.standin.workspace();
        let id = &workspace.users.iter().find(|u| u.name == user).unwrap().id;
        let all = workspace.channels.iter().flat_map(|c| &c.messages).filter(|m| m.only_for.as_ref() == Some(id));
        all.max_by(|a, b| a.ts.cmp(&b.ts)).map(read::message).unwrap_or_default()
    }

    /// Somebody presses a button of the newest message that holds these words; everything that follows happens.
    pub async fn presses_in_place(&self, words: &str, user: &str, label: &str) {
        let signed = self.press_in_place(words, user, label);
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
        self.settle().await;
    }

    /// The signed press of that button.
    pub fn press_in_place(&self, words: &str, user: &str, label: &str) -> Signed {
        let press = {
            let workspace = self.standin.workspace();
            let user = workspace.users.iter().find(|u| u.name == user).unwrap().id.clone();
            let mut all = workspace.channels[0].messages.iter().rev();
            let message = all.find(|m| m.only_for.is_none() && read::message(m).contains(words)).expect("a message");
            let action_id = read::labelled(message, label).unwrap_or_else(|| panic!("no button {label}"));
            Press { channel: CHANNEL.to_owned(), ts: message.ts.clone(), user, action_id, option: None }
        };
        self.standin.shared().signed_press(&press).unwrap()
    }

    /// Somebody presses a button in the newest direct message to them that has it.
    pub async fn presses_in_direct(&self, user: &str, label: &str) {
        let press = {
            let workspace = self.standin.workspace();
            let user = workspace.users.iter().find(|u| u.name == user).unwrap().id.clone();
            let channel = workspace.channels.iter().find(|c| c.with.as_ref() == Some(&user)).unwrap();
            let mut all = channel.messages.iter().rev().filter(|m| m.only_for.is_none());
            let (ts, action_id) = all
                .find_map(|m| Some((m.ts.clone(), read::labelled(m, label)?)))
                .unwrap_or_else(|| panic!("no {label}"));
            Press { channel: channel.id.clone(), ts, user, action_id, option: None }
        };
        let mut signed = self.standin.shared().signed_press(&press).unwrap();
        // The story's clock may be ahead of this machine's.
        let now = u64::try_from(self.app.store.clock().now().timestamp()).unwrap();
        signed = self.standin.shared().sign_at(signed.body, now);
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
        self.settle().await;
    }

    /// Waits until what only this person sees at last begins so: it comes through Slack's address for the choice.
    pub async fn told_only(&self, user: &str, words: &str) {
        let told = async {
            while !self.last_seen_only_by(user).starts_with(words) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), told).await.is_err() {
            panic!("it never came that {user} is told {words:?}:\n{}", self.last_seen_only_by(user));
        }
    }

    /// Somebody presses a button of what only they see at last; everything that follows happens.
    pub async fn presses_in_answer(&self, user: &str, label: &str) {
        let signed = {
            let workspace = self.standin.workspace();
            let user = workspace.users.iter().find(|u| u.name == user).unwrap().id.clone();
            let all = workspace.channels.iter().flat_map(|c| c.messages.iter().map(move |m| (&c.id, m)));
            let (channel, message) = all
                .filter(|(_, m)| m.only_for.as_ref() == Some(&user))
                .max_by(|(_, a), (_, b)| a.ts.cmp(&b.ts))
                .expect("something that only they see");
            let action_id = read::labelled(message, label).unwrap_or_else(|| panic!("no button {label}"));
            Press { channel: channel.clone(), ts: message.ts.clone(), user, action_id, option: None }
        };
        let signed = self.standin.shared().signed_press(&signed).unwrap();
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
        self.settle().await;
    }

    /// Delivers a signed request; tells what came back.
    pub async fn deliver_and_read(&self, signed: &Signed) -> (StatusCode, serde_json::Value) {
        self.send(from_slack("/slack/interactions", signed)).await
    }

    pub async fn deliver(&self, signed: &Signed) -> StatusCode {
        self.deliver_and_read(signed).await.0
    }

    /// Somebody presses a button; everything that follows happens.
    pub async fn presses(&self, user: &str, build: &str, environment: &str) {
        let signed = self.press_of(user, build, environment);
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
        self.settle().await;
    }

    /// A person presses a button, and nothing has followed from it yet.
    pub async fn only_presses(&self, user: &str, build: &str, environment: &str) {
        let signed = self.press_of(user, build, environment);
        assert_eq!(self.deliver(&signed).await, StatusCode::OK);
    }

    /// A worker looks once after what is to be run, and Slack is told.
    pub async fn a_worker_tries_once(&self) {
        self.hurry().await;
        self.run.take(Via::Sweep, Duration::ZERO).await;
        self.hurry().await;
        while self.slack.take(Via::Sweep, Duration::ZERO).await {}
    }

    /// Lets everything happen that is owed, until only held deployments run. Waits for events, never for time.
    pub async fn settle(&self) {
        let settled = async {
            let mut events = self.app.store.wake().events();
            loop {
                events.borrow_and_update();
                self.hurry().await;
                while self.slack.take(Via::Sweep, Duration::ZERO).await {}
                for _ in 0..self.database.count(TO_BE_RUN).await {
                    let crew = self.run.clone();
                    tokio::spawn(async move { crew.take(Via::Sweep, Duration::ZERO).await });
                }
                let open = self.app.store.deployments().list(None, &[], 10_000).await.unwrap();
                let moving = open.iter().map(|d| &d.deployment).any(|d| match d.state() {
                    State::Ready | State::Starting | State::Cancelling => true,
                    State::Running => !self.runner.holds(d.of.deployment_id),
                    State::Queued | State::Unknown => false,
                    over => !over.is_over(),
                });
                // Runs make Slack's work, and never the other way round.
                let runs = self.database.count(RUNS_NOT_DONE).await;
                let owed = runs + self.database.count(OWED_TO_SLACK).await;
                if !moving && owed == 0 {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(100), events.changed()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), settled).await.is_err() {
            panic!("the story does not come to rest; the channel shows:\n{}", self.channel());
        }
    }

    /// Waits until the channel shows something that a running deployment leads to.
    pub async fn comes_to_show(&self, text: &str) {
        let shown = async {
            let mut events = self.app.store.wake().events();
            loop {
                events.borrow_and_update();
                self.settle().await;
                if self.channel().contains(text) {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(100), events.changed()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), shown).await.is_err() {
            panic!("it never came that the channel shows {text:?}:\n{}", self.channel());
        }
    }

    /// Waits until the time limit of all that run is being counted: a clock that is moved before that is not noticed as
    /// moved.
    pub async fn time_is_counted(&self) {
        let counted = async {
            let running = self.app.store.deployments().list(None, &[State::Running], 100).await.unwrap().len();
            while self.database.count("select count(*) from job where phase = 'run'").await
                < i64::try_from(running).unwrap()
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), counted).await.expect("a worker looks at its time limit");
    }

    /// What waits for a time to come need not wait in a story.
    async fn hurry(&self) {
        self.database.execute("update job set run_at = clock_timestamp(), rung_at = null where state = 'ready' and kind <> 'end_lock'").await;
    }

    /// The address of a page of the project, with its key.
    pub async fn project_path(&self, page: &str) -> String {
        let project = self.app.project_named("api").await.unwrap();
        let links = self.app.keys.links(&project.link_key).unwrap();
        let path = coolops::slack::render::project_url("", &links, &project);
        path.replace("/projects/api?", &format!("/projects/api/{page}?"))
    }

    /// Does Slack's jobs once, without waiting for trouble to pass.
    pub async fn slack_works_once(&self) {
        self.hurry().await;
        self.slack.take(Via::Sweep, Duration::ZERO).await;
    }

    /// Does those of Slack's jobs that are due, and leaves those that were put off.
    pub async fn slack_works_as_due(&self) {
        while self.slack.take(Via::Sweep, Duration::ZERO).await {}
    }

    /// The deployment that runs ends.
    pub async fn container_ends(&self, build: &str, code: i64) {
        let all = self.app.store.deployments().list(None, &[State::Running], 1_000).await.unwrap();
        let running =
            all.iter().find(|d| d.deployment.build_name == build).unwrap_or_else(|| panic!("{build} does not run"));
        self.runner.ends(running.deployment.of.deployment_id, code);
        self.settle().await;
    }

    /// The channel as its members read it.
    pub fn channel(&self) -> String {
        read::channel(&self.standin.workspace().channels[0], None)
    }

    /// What only this person sees.
    pub fn private_notes_of(&self, user: &str) -> Vec<String> {
        read::private_notes(&self.standin.workspace(), user)
    }

    pub fn build_id(&self, name: &str) -> BuildId {
        BuildId::of_name(self.project(), name)
    }

    pub async fn archive_project(&self) {
        self.app.change_project(self.project(), ProjectChange::Archive, &operator()).await.unwrap();
    }

    /// The address of a deployment's log, as the newest message line links to it; without the host.
    pub fn log_path(&self) -> String {
        let workspace = self.standin.workspace();
        let text = workspace.channels[0]
            .messages
            .iter()
            .rfind(|m| read::build_of(m).is_some())
            .unwrap()
            .attachments
            .to_string();
        let start =
            text.find("https://coolops.test/deployments/").expect("a line with a link") + "https://coolops.test".len();
        text[start..].split(['|', '"']).next().unwrap().to_owned()
    }

    /// The path of the page of a deployment's log, with its key.
    pub async fn log_path_of(&self, id: &str) -> String {
        let project = self.app.project_named("api").await.unwrap();
        let links = self.app.keys.links(&project.link_key).unwrap();
        coolops::slack::render::log_url("", &links, id.parse().unwrap())
    }
}

fn keyring() -> Keyring {
    Keyring::new(&MASTER_KEY.to_owned().into(), &[]).unwrap()
}

/// Who sets things up in stories.
pub fn operator() -> Actor {
    Actor::Operator { login: "test".to_owned() }
}

/// A random hex text.
pub fn random_name() -> String {
    hex::encode(keys::random::<6>())
}

/// Compares a text with `snapshots/<name>.snap`.
#[macro_export]
macro_rules! snapshot {
    ($name:expr, $text:expr) => {{
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[time]");
        settings.add_filter(r"ran \d+ s", "ran [n] s");
        settings.add_filter(r"<!date\^\d+", "<!date^[seconds]");
        settings.bind(|| insta::assert_snapshot!($name, $text));
    }};
}
