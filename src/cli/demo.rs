//! `coolops demo`: everything on this machine, for trying.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use secrecy::ExposeSecret;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::output;
use crate::app::App;
use crate::demo::run_folder::{self, RunFolder};
use crate::demo::services::{Durability, Services};
use crate::demo::{image, orphans};
use crate::domain::event::Actor;
use crate::domain::project::{EnvironmentChange, ProjectChange};
use crate::keys::{self, Keyring};
use crate::runner::docker::DockerRunner;
use crate::standin::{Options, StandIn};
use crate::store::{self, Store};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    /// Port of the stand-in's page; the service gets the next one. Any free ones when they are taken
    #[arg(long, default_value_t = 4400)]
    port: u16,
    /// Keep the data in this folder and go on with it next time
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Print what puts coolops and the demo's token at hand: eval "$(coolops demo env)"
    Env,
    /// Remove what demos left behind: folders and processes of killed runs, the demo's image and containers
    Clean,
}

/// Runs it.
///
/// # Errors
/// When something is missing; says what to do.
pub async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Some(DemoCommand::Env) => output::line(&run_folder::env_of_running()?),
        Some(DemoCommand::Clean) => clean().await?,
        None => start(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(args: Args) -> Result<()> {
    let cleaned = orphans::clean()?;
    if cleaned.runs > 0 {
        output::line(&format!("Cleaned up after {} run(s) that were killed.", cleaned.runs));
    }
    cleaned.stuck.iter().for_each(|why| output::hint(why));
    let folder = RunFolder::make("demo", args.keep.as_deref())?;
    let mut services = Services::new()?;
    let ran = demo(&args, &folder, &mut services).await;
    output::line("\nStopping everything …");
    services.stop_last("coolops serve").await;
    forget(&folder).await;
    services.stop().await;
    ran
}

/// Removes the run's image and containers from the Docker Engine that it used, while that is still there.
async fn forget(folder: &RunFolder) {
    let Ok(host) = std::fs::read_to_string(folder.path().join("docker-host")) else { return };
    if let Ok(runner) = DockerRunner::connect(Some(&host))
        && runner.forget(&image::name()).await.is_err()
    {
        output::line("The demo's image could not be removed; later: coolops demo clean");
    }
}

/// What a kept folder remembers besides the database.
struct Secrets {
    master_key: String,
    bot_token: String,
    signing_secret: String,
}

impl Secrets {
    fn of(folder: &RunFolder) -> Result<Self> {
        let path = folder.path().join("master-key");
        let master_key = match std::fs::read_to_string(&path) {
            Ok(key) => key,
            Err(_) => {
                let key = keys::new_master_key();
                write_private(&path, &key)?;
                key
            }
        };
        let random = || hex::encode(keys::random::<16>());
        Ok(Self { master_key, bot_token: format!("xoxb-demo-{}", random()), signing_secret: random() })
    }
}

fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

async fn demo(args: &Args, folder: &RunFolder, services: &mut Services) -> Result<()> {
    step("Starting a private Postgres and Redis");
    let database = services.postgres(folder, Durability::Full).await?;
    let redis = services.redis(folder).await?;
    let (docker, private) = services.docker(folder, docker_host().as_deref()).await?;
    step(if private { "Started a private Docker Engine" } else { "Using the Docker Engine of this machine" });
    std::fs::write(folder.path().join("docker-host"), &docker)?;
    DockerRunner::connect(Some(&docker))?
        .import(&image::name(), "[\"/bin/sh\",\"/deploy\"]", image::archive()?)
        .await?;
    store::migrate(&database).await?;
    let secrets = Secrets::of(folder)?;
    let options = |port| Options {
        port,
        bot_token: secrets.bot_token.clone(),
        signing_secret: secrets.signing_secret.clone(),
        page_token: hex::encode(keys::random::<16>()),
    };
    let standin = match StandIn::start(options(args.port)).await {
        Ok(standin) => standin,
        Err(_) => {
            step(&format!("Port {} is taken; using another one", args.port));
            StandIn::start(options(0)).await.context("no port is free on 127.0.0.1")?
        }
    };
    let listen = free_port(standin.address.port().saturating_add(1))?;
    let public_url = format!("http://127.0.0.1:{listen}");
    standin.send_presses_to(&format!("{public_url}/slack/interactions"));
    let token = seed(&database, &secrets.master_key, &public_url).await?;
    step("Starting coolops serve");
    let program = std::env::current_exe().context("the program's own file can't be found")?;
    let mut service = Command::new(&program);
    service.arg("serve").stdin(Stdio::null()).process_group(0).env_clear();
    service.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("COOLOPS_RUN_FOLDER", folder.path());
    let admin = free_port(listen.saturating_add(1))?;
    for (name, value) in [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", &redis),
        ("DOCKER_HOST", &docker),
        ("COOLOPS_LISTEN", &format!("127.0.0.1:{listen}")),
        ("COOLOPS_ADMIN_LISTEN", &format!("127.0.0.1:{admin}")),
        ("COOLOPS_PUBLIC_URL", &public_url),
        ("COOLOPS_MASTER_KEY", &secrets.master_key),
        ("SLACK_API_URL", &standin.api_url()),
        ("SLACK_BOT_TOKEN", &secrets.bot_token),
        ("SLACK_SIGNING_SECRET", &secrets.signing_secret),
        ("RUST_LOG", &rust_log()),
    ] {
        service.env(name, value);
    }
    let log = std::fs::File::create(folder.path().join("serve.log"))?;
    service.stdout(log.try_clone()?).stderr(log);
    let child = service.spawn().context("the service can't be started")?;
    folder.started(child.id().unwrap_or_default())?;
    services.adopt("coolops serve", child);
    until_ready(listen, folder, services).await?;
    let env = environment(&program, &public_url, &token, &database, &secrets.master_key);
    write_private(&folder.path().join("env"), &env)?;
    announce(&program, &standin.page_url(), listen, folder);
    wait(services, folder).await
}

fn announce(program: &std::path::Path, page: &str, service: u16, folder: &RunFolder) {
    let program = program.display();
    if let Some(ports) = forwarded(page, service) {
        output::line(&format!(
            "\nThis is a remote machine: forward the ports from your own first, with\n\n    {ports}"
        ));
    }
    output::line(&format!(
        "\nOpen this address in a browser:\n\n    {page}\n\nThen announce a build from a second terminal:\n\n    \
         eval \"$({program} demo env)\"; coolops build:new master-94657536 -p DOCKER_TAG=94657536 -m 'Job url=https://ci.example.com/job/94657536'\n\n\
         Ctrl-C stops everything. The service's log: {}",
        folder.path().join("serve.log").display()
    ));
}

fn step(text: &str) {
    output::line(&format!("  {text}"));
}

#[expect(clippy::disallowed_methods, reason = "the demo finds the machine's Docker as the docker command does")]
fn docker_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok().filter(|h| !h.is_empty())
}

/// How to reach the pages from the machine that this terminal was opened from, when that is another one.
#[expect(clippy::disallowed_methods, reason = "ssh tells of itself in the environment")]
fn forwarded(page: &str, service: u16) -> Option<String> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let host = connection.split(' ').nth(2)?;
    let port = url::Url::parse(page).ok()?.port()?;
    Some(format!("ssh -L {port}:127.0.0.1:{port} -L {service}:127.0.0.1:{service} {host}"))
}

#[expect(clippy::disallowed_methods, reason = "handed on to the service")]
fn rust_log() -> String {
    std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned())
}

/// The wanted port, or the next one that is free.
fn free_port(wanted: u16) -> Result<u16> {
    let free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).and_then(|l| l.local_addr()).map(|a| a.port());
    free(wanted).or_else(|_| free(0)).context("no port is free on 127.0.0.1")
}

/// Sets the project Api up, unless a kept folder has it. The token is new each time.
async fn seed(database: &str, master_key: &str, public_url: &str) -> Result<String> {
    let store = Store::open(database, 2).await?;
    let app = App::new(store, Keyring::new(&master_key.to_owned().into(), &[])?, public_url);
    let actor = Actor::Operator { login: "demo".to_owned() };
    let id = crate::domain::ids::ProjectId::of_slug("api");
    if app.store.project(id).await?.is_none() {
        app.create_project("api", "Api", &image::name(), "C0DEPLOYS1", &actor).await?;
        for (name, greeting) in [("Production", "production is up to date"), ("Staging", "staging is up to date")] {
            app.create_environment(id, name, None, &actor).await?;
            let change = EnvironmentChange::SetVariable { name: "GREETING".to_owned(), value: greeting.to_owned() };
            app.change_environment(id, name, change, &actor).await?;
            app.set_secret(id, name, "API_TOKEN", &hex::encode(keys::random::<12>()).into(), &actor).await?;
        }
    }
    app.change_project(id, ProjectChange::Image(image::name()), &actor).await?;
    let token = app.issue_token(id, "demo", &actor).await?;
    Ok(token.expose_secret().to_owned())
}

fn environment(program: &std::path::Path, url: &str, token: &str, database: &str, master_key: &str) -> String {
    let folder = program.parent().map(|p| p.display().to_string()).unwrap_or_default();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    [
        format!("export PATH={}:\"$PATH\"", quoted(&folder)),
        format!("export COOLOPS_URL={}", quoted(url)),
        format!("export COOLOPS_PUBLIC_URL={}", quoted(url)),
        format!("export COOLOPS_PROJECT_API_TOKEN={}", quoted(token)),
        format!("export DATABASE_URL={}", quoted(database)),
        format!("export COOLOPS_MASTER_KEY={}", quoted(master_key)),
    ]
    .join("\n")
}

async fn until_ready(port: u16, folder: &RunFolder, services: &mut Services) -> Result<()> {
    let ready = move || ureq::get(format!("http://127.0.0.1:{port}/readyz")).call().is_ok();
    for _ in 0..300 {
        if let Some(name) = services.ended()? {
            let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap_or_default();
            bail!("{name} ended at once. The service said:\n{log}");
        }
        if tokio::task::spawn_blocking(ready).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the service did not get ready within 15 s; see {}", folder.path().join("serve.log").display())
}

/// Waits for Ctrl-C, or for something to end that should not.
async fn wait(services: &mut Services, folder: &RunFolder) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if let Some(name) = services.ended()? {
            let log = std::fs::read_to_string(folder.path().join("serve.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            bail!("{name} ended. The service's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

async fn clean() -> Result<()> {
    let cleaned = orphans::clean()?;
    output::line(&format!("Removed the folders and processes of {} killed run(s).", cleaned.runs));
    ensure!(cleaned.stuck.is_empty(), "{}", cleaned.stuck.join("\n"));
    if run_folder::env_of_running().is_ok() {
        output::line("A demo is running; its image and containers stay. Stop it with Ctrl-C first.");
        return Ok(());
    }
    let forgotten = async { DockerRunner::connect(docker_host().as_deref())?.forget_all(image::PREFIX).await };
    match forgotten.await {
        Ok((images, containers)) => {
            output::line(&format!("Removed {images} image(s) of demos and {containers} container(s)."));
        }
        Err(_) => output::line("No Docker answers, so there is no image to remove."),
    }
    Ok(())
}

/// Arguments of `with-services`.
#[derive(Debug, clap::Args)]
pub struct ServicesArgs {
    /// Postgres as in production, not as fast as can be
    #[arg(long)]
    durable: bool,
    /// The command
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs a command with `TEST_DATABASE_URL`, `TEST_REDIS_URL` and `TEST_DOCKER_HOST` set to private services.
///
/// # Errors
/// When a service can't be started.
pub async fn with_services(args: ServicesArgs) -> Result<ExitCode> {
    orphans::clean()?.stuck.iter().for_each(|why| output::hint(why));
    let folder = RunFolder::make("services", None)?;
    let mut services = Services::new()?;
    let ran = beside(&args, &folder, &mut services).await;
    services.stop().await;
    ran
}

/// How long a command and what it started may take to end.
const GROUP_GRACE: std::time::Duration = std::time::Duration::from_secs(10);

async fn tell_group(signal: &str, group: u32) {
    let mut kill = Command::new("kill");
    kill.args([signal, "--", &format!("-{group}")]).stderr(std::process::Stdio::null());
    drop(kill.status().await);
}

async fn beside(args: &ServicesArgs, folder: &RunFolder, services: &mut Services) -> Result<ExitCode> {
    let durability = if args.durable { Durability::Full } else { Durability::Tests };
    let database = services.postgres(folder, durability).await?;
    store::migrate(&database).await?;
    let redis = services.redis(folder).await?;
    let (docker, _) = services.docker(folder, docker_host().as_deref()).await?;
    let (program, rest) = args.command.split_first().context("there is no command")?;
    ensure!(!program.is_empty(), "there is no command");
    let mut command = Command::new(program);
    // A group of its own, so that whatever it starts ends with it. At a terminal it stays in the group that may read
    // from there.
    let grouped = !std::io::stdin().is_terminal();
    if grouped {
        command.process_group(0);
    }
    let mut child = command
        .args(rest)
        .env("TEST_DATABASE_URL", &database)
        .env("TEST_REDIS_URL", &redis)
        .env("TEST_DOCKER_HOST", &docker)
        .spawn()
        .with_context(|| format!("{program} can't be started"))?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let group = child.id().context("the command has no process id")?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    let status = match status {
        Some(status) => status,
        None => {
            tell_group("-TERM", group).await;
            let ended = tokio::time::timeout(GROUP_GRACE, child.wait()).await;
            tell_group("-KILL", group).await;
            match ended {
                Ok(status) => status?,
                Err(_) => child.wait().await?,
            }
        }
    };
    // What it left running would hold its ports for ever.
    tell_group("-KILL", group).await;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}
