//! Those who read a log while it grows: a flood costs the service little, however many read it and however slowly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::story::service::{Service, service_story};

/// Two million lines through a debug build, beside whatever else the machine does: what is claimed of them is what they
/// cost, not how long they take.
const PATIENCE: Duration = Duration::from_mins(5);

/// What a reader of the live stream got.
#[derive(Debug, Default)]
struct Got {
    bytes: usize,
    largest: usize,
    events: Vec<String>,
}

/// Reads the stream to its end.
fn read(url: &str) -> Got {
    let body = ureq::get(url).call().unwrap().into_body();
    let mut got = Got::default();
    for line in BufReader::new(body.into_reader()).lines() {
        let Ok(line) = line else { break };
        got.bytes += line.len();
        if let Some(event) = line.strip_prefix("event: ") {
            got.events.push(event.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            got.largest = got.largest.max(data.len());
        }
    }
    got
}

/// Follows a log as the page does: its last lines, again and again, until its end; tells the largest answer and the last.
fn follow(url: &str, over: &AtomicBool) -> (usize, String) {
    let (mut largest, mut last) = (0, String::new());
    while !over.load(Ordering::Relaxed) {
        last = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
        largest = largest.max(last.len());
        // The page's own pace.
        std::thread::sleep(Duration::from_millis(250));
    }
    (largest, last)
}

/// The last line as the page gets it.
fn newest_line(live: &str) -> String {
    ureq::get(&live.replace("/live?", "/lines?last=1&")).call().unwrap().body_mut().read_to_string().unwrap()
}

fn live(s: &Service) -> String {
    s.log_url().replace("?key=", "/live?key=")
}

/// A connection that has asked for a path, and whose answer nobody reads yet.
fn ask(url: &str) -> TcpStream {
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    stream
}

#[test]
fn a_flood_of_empty_lines_costs_little_with_ten_readers_and_a_hundred_slow_ones() {
    service_story("sleep 4; yes '' | head -n 2000000; sleep 2", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let url = live(s);
        let before = s.resident(0);
        let over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..10).map(|_| url.clone()).map(|url| std::thread::spawn(move || read(&url))).collect();
        let followers: Vec<_> = (0..10)
            .map(|_| (url.replace("/live?", "/lines?last=300&"), Arc::clone(&over)))
            .map(|(url, over)| std::thread::spawn(move || follow(&url, &over)))
            .collect();
        let mut slow: Vec<TcpStream> = (0..100).map(|_| ask(&url)).collect();
        let mut peak = before;
        let began = Instant::now();
        while !s.channel().contains("*succeeded*") {
            assert!(began.elapsed() < PATIENCE, "{}\n{}", newest_line(&url), s.channel());
            peak = peak.max(s.resident(0));
            for stream in &mut slow {
                stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                drop(stream.read(&mut [0; 1]));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            let got = reader.join().unwrap();
            assert_eq!(got.events.last().map(String::as_str), Some("end"), "{:?}", got.events);
            assert!(got.largest < 16 * 1024 && got.bytes < 2_000_000, "{} in all, {} at once", got.bytes, got.largest);
        }
        for follower in followers {
            let (largest, _) = follower.join().unwrap();
            assert!(largest < 256 * 1024, "an answer of {largest} bytes");
        }
        assert!(peak - before < 60 * 1024, "serve grew by {} KB", peak - before);
        assert_eq!(s.logs().len(), 2_000_000, "the download has every line");
        let last = newest_line(&url);
        assert!(last.contains("id=\\\"L2000000\\\""), "{last}");
    });
}

#[test]
fn a_revoked_link_ends_the_streams_that_it_opened() {
    service_story("echo begun; sleep 20", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let url = live(s);
        let reader = std::thread::spawn(move || read(&url));
        tokio::time::sleep(Duration::from_secs(1)).await;
        s.cli(&["project", "links", "revoke", "api"]);
        let began = Instant::now();
        let got = tokio::task::spawn_blocking(move || reader.join().unwrap()).await.unwrap();
        assert_eq!(got.events.last().map(String::as_str), Some("gone"), "{:?}", got.events);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        s.shows("*succeeded*").await;
    });
}

#[test]
fn a_crowd_at_one_log_is_told_to_wait_and_leaves_room_for_others() {
    service_story("echo begun; sleep 8", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let url = live(s);
        let status = |stream: &mut TcpStream| {
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            line
        };
        let mut crowd: Vec<TcpStream> = (0..120).map(|_| ask(&url)).collect();
        assert!(crowd.iter_mut().all(|stream| status(stream).contains("200")));
        let mut refused = String::new();
        let mut next = ask(&url);
        next.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = next.read_to_string(&mut refused);
        assert!(
            refused.contains(" 503 ") && refused.contains("as many follow logs here as can be served"),
            "{refused}"
        );
        // Whoever leaves makes room.
        crowd.truncate(60);
        s.until("there is room again", async || status(&mut ask(&url)).contains("200")).await;
        s.shows("*succeeded*").await;
    });
}
