//! `coolops demo`: everything on this machine, for trying.

use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::Engine;
use crate::run_folder::{self, RunFolder};
use crate::services::{Durability, Services, docker_host};
use crate::standin::{Options, StandIn};
use crate::{hint, image, line, orphans, program, random};

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
        Some(DemoCommand::Env) => line(&run_folder::env_of_running()?),
        Some(DemoCommand::Clean) => clean().await?,
        None => start(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn start(args: Args) -> Result<()> {
    let cleaned = orphans::clean()?;
    if cleaned.runs > 0 {
        line(&format!("Cleaned up after {} run(s) that were killed.", cleaned.runs));
    }
    cleaned.stuck.iter().for_each(|why| hint(why));
    let folder = RunFolder::make("demo", args.keep.as_deref())?;
    let mut services = Services::new()?;
    let ran = demo(&args, &folder, &mut services).await;
    line("\nStopping everything …");
    services.stop_last("coolops serve").await;
    forget(&folder).await;
    services.stop().await;
    ran
}

/// Removes the run's image and containers from the Docker Engine that it used, while that is still there.
async fn forget(folder: &RunFolder) {
    let Ok(host) = std::fs::read_to_string(folder.path().join("docker-host")) else { return };
    if let Ok(engine) = Engine::connect(Some(&host))
        && engine.forget(&image::name()).await.is_err()
    {
        line("The demo's image could not be removed; later: coolops demo clean");
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
                let key = STANDARD.encode(random::<32>());
                write_private(&path, &key)?;
                key
            }
        };
        let secret = || hex::encode(random::<16>());
        Ok(Self { master_key, bot_token: format!("xoxb-demo-{}", secret()), signing_secret: secret() })
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
    Engine::connect(Some(&docker))?.import(&image::name(), image::archive()?).await?;
    program::migrate(&database).await?;
    let secrets = Secrets::of(folder)?;
    let options = |port| Options {
        port,
        bot_token: secrets.bot_token.clone(),
        signing_secret: secrets.signing_secret.clone(),
        page_token: hex::encode(random::<16>()),
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
    let admin = free_port(listen.saturating_add(1))?;
    // What the service is told, commands beside it are told too: `doctor` and `slack audit` ask what it asks.
    let api_url = standin.api_url();
    let settings: [(&str, &str); 8] = [
        ("DATABASE_URL", &database[..]),
        ("REDIS_URL", &redis),
        ("DOCKER_HOST", &docker),
        ("COOLOPS_PUBLIC_URL", &public_url),
        ("COOLOPS_MASTER_KEY", &secrets.master_key),
        ("SLACK_API_URL", &api_url),
        ("SLACK_BOT_TOKEN", &secrets.bot_token),
        ("SLACK_SIGNING_SECRET", &secrets.signing_secret),
    ];
    let mut service = program::command(&settings)?;
    service.env("COOLOPS_LISTEN", format!("127.0.0.1:{listen}"));
    service.env("COOLOPS_ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
    service.env("RUST_LOG", rust_log());
    service.arg("serve").stdin(Stdio::null()).process_group(0).env("COOLOPS_RUN_FOLDER", folder.path());
    let log = std::fs::File::create(folder.path().join("serve.log"))?;
    service.stdout(log.try_clone()?).stderr(log);
    let child = service.spawn().context("the service can't be started")?;
    folder.started(child.id().unwrap_or_default())?;
    services.adopt("coolops serve", child);
    until_ready(listen, folder, services).await?;
    let program = program::path()?;
    let env = environment(&program, &token, &settings);
    write_private(&folder.path().join("env"), &env)?;
    announce(&program, &standin.page_url(), listen, folder);
    wait(services, folder).await
}

fn announce(program: &std::path::Path, page: &str, service: u16, folder: &RunFolder) {
    let program = program.display();
    if let Some(ports) = forwarded(page, service) {
        line(&format!("\nThis is a remote machine: forward the ports from your own first, with\n\n    {ports}"));
    }
    line(&format!(
        "\nOpen this address in a browser:\n\n    {page}\n\nThen announce a build from a second terminal:\n\n    \
         eval \"$({program} demo env)\"; coolops build:new master-94657536 -p DOCKER_TAG=94657536 -m 'Job url=https://ci.example.com/job/94657536'\n\n\
         Ctrl-C stops everything. The service's log: {}",
        folder.path().join("serve.log").display()
    ));
}

fn step(text: &str) {
    line(&format!("  {text}"));
}

/// How to reach the pages from the machine that this terminal was opened from, when that is another one.
#[expect(clippy::disallowed_methods, reason = "ssh tells of itself in the environment")]
fn forwarded(page: &str, service: u16) -> Option<String> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let host = connection.split(' ').nth(2)?;
    let port: u16 = page.split([':', '/']).nth(4)?.parse().ok()?;
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

/// Sets the project Api up as a person does, unless a kept folder has it. The token is new each time.
async fn seed(database: &str, master_key: &str, public_url: &str) -> Result<String> {
    let environment = [
        ("DATABASE_URL", database),
        ("COOLOPS_MASTER_KEY", master_key),
        ("COOLOPS_PUBLIC_URL", public_url),
        ("USER", "demo"),
    ];
    let coolops = async |arguments: &[&str], input: &str| program::run(&environment, arguments, input).await;
    let image = image::name();
    if coolops(&["project", "show", "api"], "").await.is_err() {
        coolops(&["project", "create", "Api", "--image", &image, "--channel", "C0DEPLOYS1"], "").await?;
        for (name, greeting) in [("Staging", "staging is up to date"), ("Production", "production is up to date")] {
            coolops(&["environment", "create", "api", name], "").await?;
            coolops(&["environment", "set", "api", name, &format!("GREETING={greeting}")], "").await?;
            let secret = hex::encode(random::<12>());
            coolops(&["environment", "set", "api", name, "--secret", "API_TOKEN"], &secret).await?;
        }
        coolops(&["environment", "set", "api", "Production", "--protected", "yes"], "").await?;
    }
    coolops(&["project", "set", "api", "--image", &image], "").await?;
    Ok(coolops(&["project", "token", "new", "api", "--label", "demo"], "").await?.trim().to_owned())
}

fn environment(program: &std::path::Path, token: &str, settings: &[(&str, &str)]) -> String {
    let folder = program.parent().map(|p| p.display().to_string()).unwrap_or_default();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let url = settings.iter().find(|(name, _)| *name == "COOLOPS_PUBLIC_URL").map_or("", |(_, url)| *url);
    let client = [("COOLOPS_URL", url), ("COOLOPS_PROJECT_API_TOKEN", token)];
    let exports = client.iter().chain(settings).map(|(name, value)| format!("export {name}={}", quoted(value)));
    std::iter::once(format!("export PATH={}:\"$PATH\"", quoted(&folder))).chain(exports).collect::<Vec<_>>().join("\n")
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
    line(&format!("Removed the folders and processes of {} killed run(s).", cleaned.runs));
    ensure!(cleaned.stuck.is_empty(), "{}", cleaned.stuck.join("\n"));
    let found = async {
        let engine = Engine::connect(docker_host().as_deref())?;
        Ok::<_, anyhow::Error>((engine.images(image::PREFIX).await?, engine))
    };
    let Ok((names, engine)) = found.await else {
        line("No Docker answers, so there is no image to remove.");
        return Ok(());
    };
    // Several folders, and several people, share the engine of a machine.
    let (in_use, left): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| image::is_in_use(name));
    let mut containers = 0;
    for name in &left {
        containers += engine.forget(name).await?;
    }
    line(&format!("Removed {} image(s) of demos and {containers} container(s).", left.len()));
    if !in_use.is_empty() {
        line(&format!("{} demo(s) run; what is theirs stays. Ctrl-C ends a demo.", in_use.len()));
    }
    Ok(())
}
