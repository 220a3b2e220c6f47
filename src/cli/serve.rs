//! `coolops serve`, `web` and `worker`: builds the parts of a role and wires them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::{Config, Role};
use crate::http;
use crate::http::server::ConnectionLimits;
use crate::jobs::crew::{Crew, Tools};
use crate::jobs::queue::Doorbell;
use crate::jobs::slack_calls::Paces;
use crate::jobs::{RUNNER_KINDS, SLACK_KINDS, checkpointer, relay};
use crate::runner::Runner;
use crate::runner::docker::DockerRunner;
use crate::slack::client::Slack;
use crate::store::{OpenError, Store};

/// Slack jobs at a time: they wait for the network, not for a core.
const SLACK_SLOTS: usize = 8;
/// Open files that are enough for anything.
const FILES: u64 = 65_536;
/// Between two looks for a database that is not there yet, and between two words about it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// How long a start waits for each of the places where checkpoints are kept.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// How long open answers (live logs) may hold up a stop.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a role until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the configuration or the database isn't usable, or the port is taken. Redis and Docker may come later.
pub async fn run(role: Role) -> Result<()> {
    let config = Config::from_environment(role)?;
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let room = ConnectionLimits::within(raise_file_limit());
    // The door is open before the database is there, so that whoever asks hears what is waited for.
    let routes: Arc<OnceLock<Router>> = Arc::default();
    if role != Role::Worker {
        let listener = bind(config.listen, "COOLOPS_LISTEN").await?;
        let (routes, until) = (Arc::clone(&routes), stop.clone());
        let routes = move || routes.get().cloned().unwrap_or_else(http::waiting);
        tasks.spawn(async move { http::server::serve(listener, routes, room, until).await });
    }
    let store = tokio::select! {
        store = open_patiently(&config.database_url) => store?,
        signalled = signalled() => return signalled,
    };
    let slack = super::slack(&config)?;
    let keeping = super::keeping(&config);
    let keys = config.keys.context("COOLOPS_MASTER_KEY is not set")?;
    let paces = Paces::slack(config.slack_speed);
    let home: Arc<OnceLock<String>> = Arc::default();
    let app = App::new(store, keys, &config.public_url).pacing_posts(paces.post).keeping(keeping);
    let app = Arc::new(match slack {
        Some(slack) => app.asking(slack, Arc::clone(&home)),
        None => app,
    });
    // Before anything is judged by a time, and before anything is said to Slack: the token may be a new one.
    app.store.keep_clock().await.context("the database's clock can't be read")?;
    if role != Role::Worker {
        app.store.paces().resume().await.context("the database can't be written to")?;
    }
    // A backup that was restored is seen before anything is recorded on it; a place that does not answer is not waited for.
    if !config.checkpoints.is_empty()
        && let Err(e) = app.hold_against_places(FIRST_LOOK).await
    {
        let error = crate::telemetry::causes(&e);
        tracing::error!(error, "the checkpoints that are kept outside do not bear out this log");
    }
    let mut crews = Vec::new();
    // Whoever appends also rings, so every role knows both queues; it answers only its own.
    let instance = app.store.instance().await?;
    let queues = [
        ("slack", SLACK_KINDS, SLACK_SLOTS, relay::MESSAGE_PAUSE),
        ("run", RUNNER_KINDS, config.slots, Duration::ZERO),
    ];
    let mut doorbells = Vec::new();
    let mut runner = None;
    for (name, kinds, slots, pause) in queues {
        let doorbell = Arc::new(Doorbell::new(&config.redis_url, &format!("{instance}:{name}"))?);
        tasks.spawn(relay::run(app.store.clone(), Arc::clone(&doorbell), kinds, pause, stop.clone()));
        let tools = match (name, role) {
            ("slack", Role::Serve | Role::Web) => {
                let slack = Slack::new(&config.slack_api_url, &config.slack_token)?;
                tasks.spawn(learn_home(
                    Arc::clone(&app),
                    Slack::new(&config.slack_api_url, &config.slack_token)?,
                    Arc::clone(&home),
                    stop.clone(),
                ));
                Some(Tools::Slack(Box::new(slack), paces))
            }
            ("run", Role::Serve | Role::Worker) => {
                let docker = docker(config.docker_host.as_deref(), config.network_guard).await?;
                runner = Some(Arc::clone(&docker));
                Some(Tools::Runner(docker))
            }
            _ => None,
        };
        if let Some(tools) = tools {
            let crew = Crew::new(Arc::clone(&app), tools, kinds, slots, stop.clone());
            crews.push(crew.clone());
            let (listening, sweeping) = (crew.clone(), crew);
            let (bell, until) = (Arc::clone(&doorbell), stop.clone());
            let watched = Arc::clone(&doorbell);
            tasks.spawn(async move { bell.serve(listening, slots, until).await });
            tasks.spawn(async move { sweeping.sweep(|| watched.is_well()).await });
        }
        doorbells.push(doorbell);
    }
    if role != Role::Worker && config.checkpoint_key.is_some() {
        tasks.spawn(checkpointer::run(Arc::clone(&app), stop.clone()));
    }
    let slack_host = url::Url::parse(&config.slack_api_url).ok().and_then(|u| u.host_str().map(str::to_owned));
    let web = http::Web::new(http::Parts {
        app: Arc::clone(&app),
        signing_secret: config.slack_signing_secret.expose_secret().to_owned().into(),
        response_hosts: slack_host.into_iter().chain(["hooks.slack.com".to_owned()]).collect(),
        home,
        client: config.client_dir.clone().unwrap_or_else(beside_the_program),
        readiness: http::health::Readiness { doorbell: doorbells.first().cloned(), runner },
        room: Arc::default(),
        logs: http::Logs::default(),
    });
    if let Some(address) = config.admin_listen {
        let listener = bind(address, "COOLOPS_ADMIN_LISTEN").await?;
        let router = http::metrics::router(http::metrics::Recorder::start()?, web.clone());
        let until = stop.clone();
        tasks.spawn(async move { http::server::serve(listener, move || router.clone(), room, until).await });
    }
    if role != Role::Worker {
        tracing::info!(address = %config.listen, public_url = %config.public_url, "coolops is listening");
        drop(routes.set(http::router(web)));
    } else {
        tracing::info!(slots = config.slots, "coolops waits for deployments to run");
    }
    let ended = tokio::select! {
        signalled = signalled() => signalled,
        () = app.store.writer_ended() => Err(anyhow::anyhow!("the writer of events has ended by itself")),
        // A part that ends by itself has failed; whoever looks after this process starts it again.
        Some(ended) = tasks.join_next() => Err(match ended {
            Ok(()) => anyhow::anyhow!("a part of coolops has ended by itself"),
            Err(e) => anyhow::Error::from(e).context("a part of coolops has failed"),
        }),
    };
    tracing::info!("stopping: jobs are handed over, containers run on");
    stop.cancel();
    for crew in crews {
        drop(tokio::time::timeout(Duration::from_secs(10), crew.finish()).await);
    }
    drop(tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await);
    drop(tokio::time::timeout(Duration::from_secs(2), app.flush_refusals()).await);
    if role != Role::Worker {
        checkpointer::last(&app).await;
    }
    ended
}

async fn bind(address: std::net::SocketAddr, variable: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the address {address} can't be listened on; is it taken? Set {variable} to another one")
    })
}

/// Opens the database, and waits for it where it isn't there yet: after a reboot everything starts at once. What will
/// not pass by itself (no such database, a wrong password, no tables) ends the process.
async fn open_patiently(url: &str) -> Result<Store> {
    let mut told: Option<Instant> = None;
    loop {
        match Store::open(url, 10).await {
            Err(e @ OpenError::Unreachable { passing: true, .. }) => {
                if told.is_none_or(|at| at.elapsed() > SAY_AGAIN) {
                    tracing::warn!("waiting for Postgres: {e}");
                    told = Some(Instant::now());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            opened => {
                if told.is_some() && opened.is_ok() {
                    tracing::info!("Postgres is there");
                }
                return Ok(opened?);
            }
        }
    }
}

/// Asks Slack which workspace the token is of, until it says so: presses on messages of others are told apart by it.
async fn learn_home(app: Arc<App>, slack: Slack, home: Arc<OnceLock<String>>, stop: CancellationToken) {
    loop {
        // It may be known from a start before this one, and another one by now.
        if let Ok(who) = slack.identity().await
            && app.learned_home(&who.team_id).await.is_ok()
        {
            drop(home.set(who.team_id));
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(30)) => {}
            () = stop.cancelled() => return,
        }
    }
    // A part that ends has failed; this one is done.
    stop.cancelled().await;
}

/// Raises this process's own limit of open files as far as it may, and tells it: systemd's default of 1,024 is soon
/// used up by connections that ask for nothing.
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(FILES).min(FILES);
    if limit.current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(FILES)).unwrap_or(1_024)
}

async fn docker(host: Option<&str>, guards: bool) -> Result<Arc<dyn Runner>> {
    let runner = DockerRunner::connect(host)?.guarding(guards);
    let answered = tokio::time::timeout(Duration::from_secs(3), runner.version()).await;
    if !matches!(answered, Ok(Ok(_))) {
        let address = runner.address();
        tracing::warn!(
            address,
            "Docker does not answer there; deployments wait until it does. Is it running, and may this user use it?"
        );
    }
    Ok(Arc::new(runner))
}

async fn signalled() -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Where the program for CI is looked for unless the configuration says: in the folder `client` beside this program.
fn beside_the_program() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.parent().map(|folder| folder.join("client")).unwrap_or_default()
}
