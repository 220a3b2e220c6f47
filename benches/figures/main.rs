//! `./just bench`: every figure of the promises, measured side by side with its yardstick in the same run.
//!
//! Each row prints what was measured, the ratio and the target. `-- NAME…` runs only the rows whose name holds a word.
#![expect(
    clippy::assigning_clones,
    clippy::cast_sign_loss,
    clippy::unused_async,
    clippy::unused_self,
    reason = "plainer as it is where nothing but a figure depends on it"
)]
#![expect(clippy::unwrap_used, reason = "a figure that can't be taken is no figure")]
#![expect(clippy::disallowed_methods, reason = "the bench reads the addresses of its services")]
#![allow(missing_docs, reason = "a program")]

mod backlog;
#[path = "../../tests/it/story/browser.rs"]
#[expect(dead_code, reason = "the stories need more of it")]
mod browser;
mod controls;
mod load;
mod logs;
mod million;
mod seeded;
mod service;

use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use coolops::domain::event::Actor;
use coolops::keys::Keyring;
use coolops::projections::build_card::BuildCard;
use coolops::slack::render;
use coolops::store::log::Raw;
use coolops::store::private::Opener;
use seeded::story_of;
use service::{Service, variable};
use uuid::Uuid;

/// A measured row.
struct Row {
    name: &'static str,
    measured: String,
    target: &'static str,
    met: bool,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        println!("| row | measured | target | |\n|---|---|---|---|");
        let tell = |rows: Vec<Row>| {
            for row in rows {
                println!(
                    "| {} | {} | {} | {} |",
                    row.name,
                    row.measured,
                    row.target,
                    if row.met { "met" } else { "MISSED" }
                );
            }
        };
        if wanted("builds") {
            tell(builds().await);
        }
        if wanted("webhook") {
            tell(vec![webhooks().await]);
        }
        if wanted("client") {
            tell(client().await);
        }
        if wanted("press") {
            tell(presses().await);
        }
        if wanted("status") {
            tell(vec![controls::status().await]);
        }
        if wanted("locked") {
            tell(vec![controls::locked().await]);
        }
        if wanted("unlock") {
            tell(vec![controls::unlock().await]);
        }
        if wanted("pick-up") {
            tell(vec![pick_up().await]);
        }
        if wanted("start") {
            tell(vec![start().await]);
        }
        if wanted("lines") {
            tell(logs::lines().await);
        }
        if wanted("latency") {
            tell(vec![logs::latency().await]);
        }
        if wanted("readers") {
            tell(vec![logs::readers().await]);
        }
        if wanted("gigabyte") {
            tell(vec![logs::gigabyte().await]);
        }
        if wanted("fold") {
            tell(vec![fold()]);
        }
        if wanted("claims") {
            tell(vec![backlog::claims().await]);
        }
        if wanted("behind") {
            tell(vec![backlog::behind().await]);
        }
        if wanted("waiting") {
            tell(vec![backlog::waiting().await]);
        }
        if wanted("memory") || wanted("idle") {
            tell(memory().await);
        }
        if wanted("replay") || wanted("million") {
            tell(million::rows().await);
        }
    });
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 - 1.0) * p).round() as usize]
}

/// `POST /builds` against pgbench's single-row inserts, in turns, on the same Postgres.
async fn builds() -> Vec<Row> {
    let service = Service::begin("true", 4).await;
    service
        .database
        .execute("create table yardstick (id bigserial primary key, payload text, at timestamptz default now())")
        .await;
    let mut rows = Vec::new();
    for (connections, least, name, target) in [
        (16, 0.8, "POST /builds, 16 connections ÷ pgbench, 16 clients", "at least 0.8"),
        (64, 1.6, "POST /builds, 64 connections ÷ pgbench, 64 clients", "at least 1.6"),
    ] {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..3 {
            let bench = load::pgbench(&service.database.url, connections).await;
            let builds = load::builds(&service, connections, Duration::from_secs(5), round).await;
            ours.push(builds);
            theirs.push(bench);
            ratios.push(builds / bench);
        }
        let ratio = median(&mut ratios);
        rows.push(Row {
            name,
            measured: format!("{ratio:.2} ({:.0}/s ÷ {:.0}/s)", median(&mut ours), median(&mut theirs)),
            target,
            met: ratio >= least,
        });
    }
    service.end().await;
    rows
}

/// A workflow run's signed webhook against `POST /builds`, in turns, on the same service.
async fn webhooks() -> Row {
    let service = Service::begin("true", 4).await;
    let secret = service.cli(&["ci", "secret", "api", "github", "--generate"]).trim().to_owned();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        let builds = load::builds(&service, 16, Duration::from_secs(5), round).await;
        let webhooks = load::webhooks(&service, &secret, 16, Duration::from_secs(5), round).await;
        ours.push(webhooks);
        theirs.push(builds);
        ratios.push(webhooks / builds);
    }
    service.end().await;
    let ratio = median(&mut ratios);
    Row {
        name: "GitHub's webhook of 22 kB ÷ POST /builds, 16 connections",
        measured: format!("{ratio:.2} ({:.0}/s ÷ {:.0}/s)", median(&mut ours), median(&mut theirs)),
        target: "at least 0.6",
        met: ratio >= 0.6,
    }
}

/// The small program of CI against a server that answers at once.
async fn client() -> Vec<Row> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/coolops-x86_64-linux");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let peak = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = std::sync::Arc::clone(&peak);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            // The program waits for its answer now: all that it needs is in memory.
            let of = |id: &str| std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let processes =
                std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
            let ours = processes
                .filter(|id| id.bytes().all(|b| b.is_ascii_digit()))
                .map(|id| of(&id))
                .filter(|s| s.starts_with("Name:\tcoolops-x86_64"));
            let kilobytes = ours.map(|s| service::kilobytes(&s, "VmHWM:")).max().unwrap_or(0);
            seen.fetch_max(kilobytes, std::sync::atomic::Ordering::Relaxed);
            let _ = stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await;
        }
    });
    let mut times = Vec::new();
    for round in 0..60 {
        let before = Instant::now();
        let run =
            tokio::process::Command::new(program).args(["build:new", "m", "-t", "x", "--url", &url]).status().await;
        assert!(run.expect("./just client made it").success());
        if round >= 10 {
            times.push(before.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    let (middle, high) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let memory = peak.load(std::sync::atomic::Ordering::Relaxed) as f64 / 1_024.0;
    let size = std::fs::metadata(program).unwrap().len() as f64 / 1e6;
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/dist");
    let (mut scripted, mut installed) = (Vec::new(), Vec::new());
    let folder = std::env::temp_dir().join(format!("coolops-bench-{}", std::process::id()));
    for round in 0..25 {
        let before = Instant::now();
        let script = format!("{dist}/coolops.sh");
        let arguments = [&script, "build:new", "m", "-t", "x", "-p", "A=1", "--url", &url];
        let run = tokio::process::Command::new("sh").args(arguments).status().await;
        assert!(run.expect("./just client made it").success());
        let sent = before.elapsed().as_secs_f64() * 1_000.0;
        let before = Instant::now();
        let mut install = tokio::process::Command::new("sh");
        install.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh")).stdout(std::process::Stdio::null());
        install.envs([
            ("COOLOPS_DOWNLOAD_URL", format!("file://{dist}")),
            ("COOLOPS_INSTALL_DIR", folder.display().to_string()),
        ]);
        assert!(install.status().await.unwrap().success());
        if round >= 5 {
            scripted.push(sent);
            installed.push(before.elapsed().as_secs_f64() * 1_000.0);
        }
    }
    std::fs::remove_dir_all(&folder).ok();
    let (script, installer) = (percentile(&mut scripted, 0.5), percentile(&mut installed, 0.5));
    let row = |name, measured, target, met| Row { name, measured, target, met };
    let mut rows = vec![
        row("coolops.sh build:new, start to end, median", format!("{script:.0} ms"), "under 150 ms", script < 150.0),
        row(
            "install.sh, warm, from this machine, median",
            format!("{installer:.0} ms"),
            "under 1 s",
            installer < 1_000.0,
        ),
        row(
            "coolops build:new, start to end, median and 99th percentile",
            format!("{middle:.1} ms, {high:.1} ms"),
            "10 ms",
            middle < 10.0,
        ),
        row(
            "coolops build:new, resident memory",
            format!("{memory:.1} MB"),
            "under 8 MB",
            memory > 0.0 && memory < 8.0,
        ),
        row("coolops build:new, size of the program", format!("{size:.1} MB"), "under 5 MB", size < 5.0),
    ];
    // What `./just image` made, where it did.
    if let Ok(listed) = std::process::Command::new("du").args(["-sb", &format!("{dist}/image")]).output()
        && let Some(bytes) =
            String::from_utf8_lossy(&listed.stdout).split_whitespace().next().and_then(|n| n.parse::<f64>().ok())
    {
        rows.push(row(
            "size of the service's container image",
            format!("{:.1} MB", bytes / 1e6),
            "under 40 MB",
            bytes < 40e6,
        ));
    }
    rows
}

/// A press until its 200, at 50 presses a second.
async fn presses() -> Vec<Row> {
    // One runs on before, the others take their place in the line: presses are measured, not containers.
    let service = Service::begin("sleep 600", 4).await;
    for n in 0..500 {
        service.announce(&format!("press-{n}")).await;
    }
    service.deploy_and_leave_running("runs-on").await;
    let mut times = load::presses(&service, 0, 500, 50.0).await;
    let (middle, high) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    service.end().await;
    let mut disk = load::flushes(500, 50.0).await;
    let (disk_middle, disk_high) = (percentile(&mut disk, 0.5), percentile(&mut disk, 0.99));
    vec![Row {
        name: "press → 200 at 50 a second, median and 99th percentile",
        measured: format!(
            "{middle:.1} ms, {high:.1} ms (the disk alone, one flush each: {disk_middle:.1} ms, {disk_high:.1} ms)"
        ),
        target: "5 ms, 25 ms",
        met: middle <= 5.0 && high <= 25.0,
    }]
}

/// From the record of the press until an idle worker holds the job, by the database's clock.
async fn pick_up() -> Row {
    let service = Service::begin("sleep 0.3", 4).await;
    service.deploy("warm-up").await;
    let mut times = Vec::new();
    for n in 0..50 {
        times.push(service.press_to_claim(&format!("pick-up-{n}")).await);
    }
    let (middle, high) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    service.end().await;
    Row {
        name: "job pick-up with Redis alive, idle worker, median and 99th percentile",
        measured: format!("{middle:.1} ms, {high:.1} ms"),
        target: "2 ms, 15 ms",
        met: middle <= 2.0 && high <= 15.0,
    }
}

/// From the press to the container's start, against the Docker API alone, in turns.
async fn start() -> Row {
    let service = Service::begin("sleep 0", 4).await;
    let docker = engine();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..20 {
        let body = ContainerCreateBody {
            image: Some(service.image.clone()),
            host_config: Some(HostConfig { network_mode: Some("coolops".into()), ..Default::default() }),
            ..Default::default()
        };
        if n == 0 {
            // The first deployment makes the network; it isn't counted.
            service.deploy("warm-up").await;
        }
        let name = format!("yardstick-{}", service::random());
        let before = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let made = docker
            .create_container(Some(CreateContainerOptionsBuilder::new().name(&name).build()), body)
            .await
            .unwrap();
        docker.start_container(&made.id, None).await.unwrap();
        theirs.push((started_at(&docker, &made.id).await - before).num_microseconds().unwrap() as f64 / 1_000.0);
        docker
            .remove_container(&made.id, Some(RemoveContainerOptionsBuilder::new().force(true).build()))
            .await
            .unwrap();
        ours.push(service.press_to_start(&format!("start-{n}"), &docker).await);
    }
    let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a / b).collect();
    let (a, b, ratio) = (median(&mut ours), median(&mut theirs), median(&mut ratios));
    service.end().await;
    Row {
        name: "press → container started ÷ create + start through the API",
        measured: format!("{:.2} ({a:.0} ms ÷ {b:.0} ms; pair by pair {ratio:.2})", a / b),
        target: "at most 1.05",
        met: a / b <= 1.05,
    }
}

pub async fn started_at(docker: &Docker, id: &str) -> chrono::DateTime<chrono::Utc> {
    loop {
        let state = docker.inspect_container(id, None).await.unwrap().state.unwrap();
        if let Ok(at) = state.started_at.unwrap_or_default().parse::<chrono::DateTime<chrono::Utc>>()
            && at.timestamp() > 0
        {
            return at;
        }
    }
}

pub fn engine() -> Docker {
    let host = variable("TEST_DOCKER_HOST");
    Docker::connect_with_socket(host.trim_start_matches("unix://"), 120, bollard::API_DEFAULT_VERSION).unwrap()
}

/// Folding from stored bytes, rendering and digesting, on one core.
fn fold() -> Row {
    let keys = Keyring::new(&service::MASTER_KEY.to_owned().into(), &[]).unwrap();
    let links = keys.links(service::LINK_KEY).unwrap();
    let actor = serde_json::to_string(&Actor::System).unwrap();
    let opener = Opener::default();
    let stored: Vec<Vec<(&'static str, i16, String)>> = (0..10_000)
        .map(|n| story_of(n).iter().map(|e| (e.kind().0, e.kind().1, serde_json::to_string(e).unwrap())).collect())
        .collect();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let before = Instant::now();
        let mut check = 0_u8;
        for build in &stored {
            let mut card = None;
            for (n, (kind, version, payload)) in build.iter().enumerate() {
                let raw = Raw {
                    position: n as i64,
                    event_id: Uuid::nil(),
                    stream_version: 1,
                    recorded_at: chrono::DateTime::UNIX_EPOCH,
                    kind,
                    schema_version: *version,
                    actor: &actor,
                    payload,
                    opener: &opener,
                };
                BuildCard::apply(&mut card, &raw.event().unwrap(), raw.recorded_at);
            }
            check ^= render::digest(&render::render(&card.unwrap(), &links).bytes())[0];
        }
        std::hint::black_box(check);
        let fold = before.elapsed().as_secs_f64();
        // The yardstick: the same events read and written, and nothing made of them.
        let before = Instant::now();
        for payload in stored.iter().flatten().map(|(_, _, payload)| payload) {
            let value: serde_json::Value = serde_json::from_str(payload).unwrap();
            std::hint::black_box(serde_json::to_string(&value).unwrap());
        }
        let plain = before.elapsed().as_secs_f64();
        ours.push(stored.len() as f64 / fold);
        theirs.push(stored.len() as f64 / plain);
        ratios.push(fold / plain);
    }
    let ratio = median(&mut ratios);
    Row {
        name: "fold + render + digest of builds with 5 deployments ÷ serde_json reading and writing the same events, one core",
        measured: format!("{ratio:.2} ({:.0} builds/s; {:.0} builds/s)", median(&mut ours), median(&mut theirs)),
        target: "at most 3 times its time",
        met: ratio <= 3.0,
    }
}

/// Memory after a day's work, and what an idle process costs.
async fn memory() -> Vec<Row> {
    let service = Service::begin("seq 10000", 4).await;
    service.quiet().await;
    for n in 0..18 {
        service.cli(&["environment", "create", "api", &format!("Environment {n}")]);
    }
    for n in 0..1_000 {
        service.announce(&format!("master-{n}")).await;
    }
    service.deploy_many(200).await;
    let resident = service.resident_kilobytes() as f64 / 1024.0;
    service.until_idle().await;
    let (cpu, before) = (service.processor_seconds(), Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let share = (service.processor_seconds() - cpu) / before.elapsed().as_secs_f64() * 100.0;
    service.end().await;
    vec![
        Row {
            name: "resident memory of serve after 1,000 builds and 200 deployments of 10,000 lines",
            measured: format!("{resident:.0} MB"),
            target: "at most 40 MB",
            met: resident <= 40.0,
        },
        Row {
            name: "processor time of an idle serve",
            measured: format!("{share:.2} % of one core"),
            target: "at most 1 %",
            met: share <= 1.0,
        },
    ]
}
