//! Load: a bare HTTP client over kept connections, pgbench, COPY.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coolops_lab::standin::press::Signed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::service::Service;

/// One kept connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the whole answer; tells the status.
    async fn send(&mut self, request: &[u8]) -> std::io::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            // What the client costs is missing to the service on the same two cores.
            let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap_or_default();
            let length = head
                .lines()
                .filter_map(|l| l.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if self.buffer.len() >= end + 4 + length.map_or(0, |(_, n)| n.parse().unwrap_or(0)) {
                return Ok(head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0));
            }
        }
    }

    pub async fn post_build(&mut self, token: &str, body: &str) -> std::io::Result<u16> {
        let request = format!(
            "POST /builds HTTP/1.1\r\nhost: bench\r\nauthorization: Token {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(request.as_bytes()).await
    }

    pub async fn press(&mut self, s: &Signed) -> std::io::Result<u16> {
        self.slack("interactions", s).await
    }

    pub async fn command(&mut self, s: &Signed) -> std::io::Result<u16> {
        self.slack("commands", s).await
    }

    async fn slack(&mut self, what: &str, s: &Signed) -> std::io::Result<u16> {
        let request = format!(
            "POST /slack/{what} HTTP/1.1\r\nhost: bench\r\nx-slack-request-timestamp: {}\r\nx-slack-signature: {}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{}",
            s.timestamp,
            s.signature,
            s.body.len(),
            s.body
        );
        self.send(request.as_bytes()).await
    }
}

/// A workflow run's webhook of 22 kB, as GitHub sends it: what stands before and after the number that makes it a run
/// of its own.
fn workflow_run() -> (String, String) {
    let kept = include_str!("../../tests/it/ci/bodies/github/push.json");
    let mut body = serde_json::from_str::<serde_json::Value>(kept).unwrap()["body"].take();
    let room = 22_000 - body.to_string().len();
    body["repository"]["topics"] = vec!["lighthouse"; room / 13].into();
    body["workflow_run"]["run_number"] = "NUMBER".into();
    let (before, after) = body.to_string().split_once("\"NUMBER\"").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    (before, after)
}

/// Signed webhooks, each a new build, a second over so many connections.
pub async fn webhooks(service: &Service, secret: &str, connections: usize, time: Duration, round: usize) -> f64 {
    use hmac::{Hmac, Mac};
    let (head, tail) = workflow_run();
    let (head, tail) = (&head, &tail);
    let before = Instant::now();
    let workers = (0..connections).map(|c| async move {
        let mut client = Client::connect(service.port).await.unwrap();
        let mut count = 0_u64;
        while before.elapsed() < time {
            let number = (round * connections + c) as u64 * 1_000_000 + count;
            let body = format!("{head}{number}{tail}");
            let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&body).finalize().into_bytes();
            let request = format!(
                "POST /ci/github/api HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nx-github-event: workflow_run\r\n\
                 x-github-delivery: {number}\r\nx-hub-signature-256: sha256={}\r\ncontent-length: {}\r\n\r\n{body}",
                hex::encode(mac),
                body.len()
            );
            assert_eq!(client.send(request.as_bytes()).await.unwrap(), 201);
            count += 1;
        }
        count
    });
    let total: u64 = futures::future::join_all(workers).await.into_iter().sum();
    total as f64 / before.elapsed().as_secs_f64()
}

/// New builds a second over so many connections.
pub async fn builds(service: &Service, connections: usize, time: Duration, round: usize) -> f64 {
    let before = Instant::now();
    let workers = (0..connections).map(|c| async move {
        let mut client = Client::connect(service.port).await.unwrap();
        let mut count = 0_u64;
        while before.elapsed() < time {
            let body = service.body(&format!("r{round}-{connections}-{c}-{count}"));
            assert_eq!(client.post_build(&service.token, &body).await.unwrap(), 201);
            count += 1;
        }
        count
    });
    let total: u64 = futures::future::join_all(workers).await.into_iter().sum();
    total as f64 / before.elapsed().as_secs_f64()
}

/// Presses of so many builds from the `first` on, at a rate; tells each one's milliseconds.
pub async fn presses(service: &Service, first: usize, count: usize, rate: f64) -> Vec<f64> {
    let environment = service.environments().await[0];
    let begin = tokio::time::Instant::now();
    let presses = (0..count).map(|n| async move {
        tokio::time::sleep_until(begin + Duration::from_secs_f64(n as f64 / rate)).await;
        let mut client = Client::connect(service.port).await.unwrap();
        let signed = service.press(&format!("press-{}", first + n), environment);
        let before = Instant::now();
        assert_eq!(client.press(&signed).await.unwrap(), 200);
        before.elapsed().as_secs_f64() * 1_000.0
    });
    futures::future::join_all(presses).await
}

/// Looks at a page; tells in how many milliseconds it was there whole.
pub async fn look(page: &str) -> f64 {
    let page = page.to_owned();
    let look = move || {
        let before = Instant::now();
        let text = ureq::get(&page).call().unwrap().body_mut().read_to_string().unwrap();
        assert!(text.contains("<ol class=\"history\">"), "{text}");
        before.elapsed().as_secs_f64() * 1_000.0
    };
    tokio::task::spawn_blocking(look).await.unwrap()
}

/// What the disk alone would make of the same: 8 kB written and flushed, one after the other, at a rate; tells the
/// milliseconds from when each was due.
pub async fn flushes(count: usize, rate: f64) -> Vec<f64> {
    use std::os::unix::fs::FileExt;
    tokio::task::spawn_blocking(move || {
        let path = std::env::temp_dir().join(format!("flushes-{}", std::process::id()));
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all_at(&vec![0; count * 8192], 0).unwrap();
        file.sync_all().unwrap();
        let begin = Instant::now();
        let times = (0..count).map(|n| {
            let due = begin + Duration::from_secs_f64(n as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            file.write_all_at(&[1; 8192], n as u64 * 8192).unwrap();
            file.sync_data().unwrap();
            due.elapsed().as_secs_f64() * 1_000.0
        });
        let times = times.collect();
        std::fs::remove_file(&path).unwrap();
        times
    })
    .await
    .unwrap()
}

fn program(name: &str) -> std::path::PathBuf {
    let mut found: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .unwrap()
        .map(|e| e.unwrap().path().join("bin").join(name))
        .filter(|p| p.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}

fn connection(url: &str) -> Vec<(String, String)> {
    let url = url.replace("postgres:///", "");
    let (database, rest) = url.split_once('?').unwrap();
    let mut all = vec![("PGDATABASE".to_owned(), database.to_owned())];
    all.extend(
        rest.split('&')
            .filter_map(|p| p.split_once('='))
            .map(|(k, v)| (format!("PG{}", k.to_uppercase()), v.to_owned())),
    );
    all
}

/// Single-row inserts a second, each in a transaction of its own, with prepared statements.
pub async fn pgbench(url: &str, clients: usize) -> f64 {
    let script = std::env::temp_dir().join(format!("pgbench-{}.sql", std::process::id()));
    let insert = "BEGIN;\nINSERT INTO yardstick (payload) VALUES ('{\"name\":\"master-1\",\"params\":{\"DOCKER_TAG\":\"1\"}}');\nCOMMIT;\n";
    std::fs::write(&script, insert).unwrap();
    let mut command = Command::new(program("pgbench"));
    command
        .args(["-n", "-M", "prepared", "-T", "5", "-j", "2", "-c", &clients.to_string(), "-f"])
        .arg(&script)
        .envs(connection(url));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    std::fs::remove_file(&script).unwrap();
    let line = text
        .lines()
        .find(|l| l.starts_with("tps = "))
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    line.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Seconds of `COPY event TO STDOUT` into nothing.
pub async fn copy(url: &str) -> f64 {
    let mut command = Command::new("psql");
    command.args(["-q", "-c", "copy event to stdout"]).envs(connection(url)).stdout(Stdio::null());
    let before = Instant::now();
    let status = tokio::task::spawn_blocking(move || command.status().unwrap()).await.unwrap();
    assert!(status.success());
    before.elapsed().as_secs_f64()
}
