//! Faults, one test each, on several real processes with real Postgres, Redis and Docker. Each is named after its row
//! in the table of docs/RELIABILITY.md, says what it injected and what it saw, and ends with every invariant checked.
//!
//! Those marked `ignore` take long; `./just chaos` runs them too.

mod clock;
mod duplicates;
mod engine;
mod invariants;
mod locks;
mod output;
mod postgres;
mod redis;
mod slack;
mod soak;
mod starts;
mod workers;

use std::time::Instant;

use crate::story::proxy::Proxy;
use crate::story::service::{Service, service_story};

/// A secret that every chaos story sets, and prints: it must show nowhere.
pub const CANARY: &str = "chaos-canary-7f3a9c";

/// Counts to `n`, so many milliseconds between the lines, and ends with a code. The secret is printed too.
pub fn counting(n: usize, milliseconds: u32, code: i32) -> String {
    format!(
        "echo \"secret $CANARY\"; i=0; while [ $i -lt {n} ]; do i=$((i+1)); echo line $i; sleep {}; done; exit {code}",
        f64::from(milliseconds) / 1_000.0
    )
}

/// What that prints.
pub fn counted(n: usize) -> String {
    std::iter::once("secret ***\n".to_owned()).chain((1..=n).map(|i| format!("line {i}\n"))).collect()
}

/// A service under faults.
pub struct Chaos<'a> {
    pub s: &'a mut Service,
    begun: Instant,
    /// What each finished deployment must have printed.
    pub output: Option<String>,
    /// What must be there until the invariants are checked.
    pub engine: Option<engine::Engine>,
    pub proxies: Vec<Proxy>,
    /// Told by every engine that ran containers.
    pub starts: starts::Starts,
}

impl std::ops::Deref for Chaos<'_> {
    type Target = Service;
    fn deref(&self) -> &Service {
        self.s
    }
}

impl std::ops::DerefMut for Chaos<'_> {
    fn deref_mut(&mut self) -> &mut Service {
        self.s
    }
}

impl Chaos<'_> {
    /// Says what is about to be broken.
    pub fn injects(&self, what: &str) {
        println!("{:8.2} s  injected: {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Says what came of it.
    pub fn saw(&self, what: &str) {
        println!("{:8.2} s  saw: {what}", self.begun.elapsed().as_secs_f64());
    }

    /// A build is announced and its message appears.
    pub async fn announces(&self, build: &str) {
        self.cli(&["build:new", build]);
        self.shows(&format!("# Api: {build}")).await;
    }

    /// A build is announced, its button pressed, and some of its output is there.
    pub async fn runs(&self, build: &str) {
        self.announces(build).await;
        self.presses("ana", build, "Staging").await;
        self.shows("*running*").await;
        self.until("some lines are stored", async || self.logs().contains("line 3\n")).await;
    }

    /// The engine itself, past any proxy.
    pub fn docker(&self) -> bollard::Docker {
        let host = self.variable("DOCKER_HOST");
        let host = if host.contains("proxy-") { crate::story::database::service("TEST_DOCKER_HOST") } else { host };
        bollard::Docker::connect_with_socket(host.trim_start_matches("unix://"), 30, bollard::API_DEFAULT_VERSION)
            .unwrap()
    }

    /// How often containers were started.
    pub async fn starts(&self) -> usize {
        self.starts_by_deployment().await.values().sum()
    }

    /// The same for each deployment.
    pub async fn starts_by_deployment(&self) -> std::collections::BTreeMap<String, usize> {
        self.starts.count(&self.docker(), &self.instance().await, self.began).await
    }
}

/// Tells a story of faults and checks every invariant at its end.
pub fn chaos(script: &str, output: Option<String>, tell: impl AsyncFnOnce(&mut Chaos<'_>)) {
    service_story(script, "info", async |s| {
        for environment in ["Staging", "Production"] {
            s.cli_with(&["environment", "set", "api", environment, "--secret", "CANARY"], CANARY);
        }
        let mut starts = starts::Starts::default();
        starts.listen(&crate::story::database::service("TEST_DOCKER_HOST"), &s.instance().await);
        let mut chaos = Chaos { s, begun: Instant::now(), output, engine: None, proxies: Vec::new(), starts };
        tell(&mut chaos).await;
        invariants::hold(&chaos).await;
        chaos.saw("every invariant holds");
    });
}
