//! The way of a log: from the container into the journal, and before the eyes of those who read it.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::browser::Browser;
use crate::service::{Service, variable};
use crate::{Row, load, median, percentile};

/// A million lines of 65 bytes, from the press to the recorded end, against the same container attached to `docker run`,
/// its output going to a file; and what the log's page takes of them.
pub async fn lines() -> Vec<Row> {
    let line = "a line of sixty-four bytes, as most logs have them, and no more.";
    let service = Service::begin(&format!("yes '{line}' | head -n 999999; echo a needle in the haystack"), 4).await;
    service.cli(&["project", "set", "api", "--log-limit", "64"]);
    service.deploy("warm-up").await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 0..3 {
        ours.push(service.deploy(&format!("lines-{n}")).await);
        let before = Instant::now();
        let file = std::fs::File::create("/tmp/coolops-bench-attached").unwrap();
        let host = variable("TEST_DOCKER_HOST");
        let run = ["-H", &host, "run", "--rm", "--network", "none", &service.image];
        let status = tokio::process::Command::new("docker").args(run).stdout(file).status().await;
        assert!(status.is_ok_and(|s| s.success()), "docker run");
        theirs.push(before.elapsed().as_secs_f64());
    }
    std::fs::remove_file("/tmp/coolops-bench-attached").ok();
    let stored = service.database.number("select lines from (select (payload->'log'->>'lines')::bigint as lines from event where type = 'deployment_succeeded' order by position desc limit 1) x").await;
    let (a, b) = (median(&mut ours), median(&mut theirs));
    let link = service.newest_log().await;
    let (page, line, search) = tokio::task::block_in_place(|| shown(&link));
    service.end().await;
    vec![
        Row {
            name: "1,000,000 lines of 65 bytes → end recorded ÷ docker run attached, to a file",
            measured: format!("{:.2} ({a:.1} s ÷ {b:.1} s; {stored} lines stored)", a / b),
            target: "at most 1.5",
            met: a / b <= 1.5 && stored == 1_000_000,
        },
        Row {
            name: "log page of 1,000,000 lines in Chromium: first lines, line 500,000, a word that is once in it: seen",
            measured: format!("{:.0}, {:.0} and {:.0} ms", page * 1e3, line * 1e3, search * 1e3),
            target: "300, 300, 700 ms",
            met: page <= 0.3 && line <= 0.3 && search <= 0.7,
        },
    ]
}

/// Seconds until a page is opened and shows lines, until it shows the middle, and until a search shows its hit.
fn shown(link: &str) -> (f64, f64, f64) {
    let browser = Browser::open();
    // The time at which something is in view, by the page's own clock, looked for at each frame.
    let until = |condition: &str, begun: &str| {
        browser.eval(&format!(
            "window.seen = null; const look = () => {{ if ({condition}) window.seen = performance.now() - ({begun}); else requestAnimationFrame(look); }}; look()"
        ));
        browser.until(condition, "return window.seen").as_f64().unwrap() / 1e3
    };
    let in_view = |line: &str| {
        format!(
            "(() => {{ const r = document.getElementById('L{line}')?.getBoundingClientRect(); return r && r.top >= 0 && r.bottom <= innerHeight; }})()"
        )
    };
    let (mut pages, mut places, mut searches) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        browser.go("about:blank");
        browser.go(link);
        browser.until("the page is ready", "return document.getElementById('log').dataset.ready");
        // What a browser calls the first paint with content has the head and the lines: they come in one answer.
        let paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null";
        pages.push(browser.until("lines are painted", paint).as_f64().unwrap() / 1e3);
        browser.go("about:blank");
        browser.go(&format!("{link}#L500000"));
        places.push(until(&in_view("500000"), "0"));
        browser.eval("window.begun = performance.now(); document.getElementById('find').click(); document.getElementById('query').value = 'needle'; document.getElementById('search').requestSubmit()");
        searches.push(until(&in_view("1000000"), "window.begun"));
    }
    (median(&mut pages), median(&mut places), median(&mut searches))
}

/// From a line's printing until it is painted in Chromium, for somebody who follows a log with ten lines a second.
pub async fn latency() -> Row {
    let script =
        "i=0; while [ $i -lt 700 ]; do i=$((i+1)); read up idle < /proc/uptime; echo \"at $up\"; sleep 0.1; done";
    let service = Service::begin(script, 4).await;
    service.deploy_and_leave_running("latency").await;
    let link = service.newest_log().await;
    let mut delays = tokio::task::block_in_place(|| {
        let browser = Browser::open();
        browser.go(&link);
        browser.until("it is live", "return document.getElementById('log').dataset.live");
        let uptime =
            || std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse::<f64>().unwrap();
        // Uptime tells hundredths: the page's clock is compared with the moment at which one begins.
        let before = uptime();
        let now = loop {
            let now = uptime();
            if now > before {
                break now;
            }
        };
        let page = browser.eval("return Date.now()").as_f64().unwrap();
        browser.eval(&format!(
            "window.delays = []; const began = Date.now(), booted = {}, seen = new Set();
             new MutationObserver(() => {{ for (const l of document.querySelectorAll('.l[id]')) if (!seen.has(l.id)) {{
               seen.add(l.id);
               const printed = booted + 1000 * Number(l.querySelector('span').textContent.slice(3));
               if (printed > began) requestAnimationFrame(() => window.delays.push(Date.now() - printed)); }} }})
             .observe(document.getElementById('log'), {{ childList: true, subtree: true }})",
            page - now * 1e3
        ));
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let delays = browser.eval("return window.delays");
            let delays: Vec<f64> = delays.as_array().unwrap().iter().filter_map(serde_json::Value::as_f64).collect();
            if delays.len() >= 500 || Instant::now() > deadline {
                return delays;
            }
        }
    });
    service.end().await;
    let (middle, high) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
    Row {
        name: "line printed → painted in Chromium, ten lines a second, median and 99th percentile",
        measured: format!("{middle:.0} ms, {high:.0} ms ({} lines)", delays.len()),
        target: "150 ms, 500 ms",
        met: delays.len() >= 500 && middle <= 150.0 && high <= 500.0,
    }
}

/// A reader as the page is one: it hears of new lines, and asks for the newest at most four times a second.
async fn read(service_port: u16, path: String) -> std::io::Result<()> {
    let get = |path: String| format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n");
    let mut heard = TcpStream::connect(("127.0.0.1", service_port)).await?;
    heard.write_all(get(path.replace('?', "/live?")).as_bytes()).await?;
    let mut asked = TcpStream::connect(("127.0.0.1", service_port)).await?;
    let mut heard = BufReader::new(heard);
    let (mut line, mut answer) = (String::new(), vec![0; 64 * 1024]);
    while heard.read_line(&mut line).await? > 0 {
        if line.starts_with("event: grown") {
            asked.write_all(get(path.replace('?', "/lines?last=200&")).as_bytes()).await?;
            // The end of the answer is not looked for: what comes in a quarter of a second is read.
            let until = tokio::time::Instant::now() + Duration::from_millis(250);
            while let Ok(read) = tokio::time::timeout_at(until, asked.read(&mut answer)).await {
                if read? == 0 {
                    return Ok(());
                }
            }
        }
        line.clear();
    }
    Ok(())
}

/// Presses while a hundred read a flood, against presses beside the flood alone, in turns.
pub async fn readers() -> Row {
    // One that waits holds the line of those who press; the other prints a megabyte a second.
    let script = "if [ \"$FLOOD\" ]; then while :; do seq 1 15000; sleep 0.1; done; else sleep 600; fi";
    let service = Service::begin(script, 4).await;
    service.cli(&["environment", "create", "api", "Tide"]);
    service.cli(&["environment", "set", "api", "Tide", "FLOOD=1"]);
    service.deploy_and_leave_running("runs-on").await;
    service.deploy_beside("runs-on", 1).await;
    let flood = service.newest_log().await;
    let flood = flood[flood.find("/deployments/").unwrap()..].to_owned();
    // After the link is there: Slack lets one message a second through.
    for n in 0..10 * 200 {
        service.announce(&format!("press-{n}")).await;
    }
    let mut rounds = (Vec::new(), Vec::new());
    let (before, mut peak) = (service.resident_kilobytes(), 0);
    for round in [0, 2, 4, 6, 8] {
        let mut alone = load::presses(&service, round * 200, 200, 50.0).await;
        rounds.0.push(percentile(&mut alone, 0.5));
        let crowd: Vec<_> = (0..100).map(|_| tokio::spawn(read(service.port, flood.clone()))).collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut beside = load::presses(&service, (round + 1) * 200, 200, 50.0).await;
        rounds.1.push(percentile(&mut beside, 0.5));
        peak = peak.max(service.resident_kilobytes());
        for reader in crowd {
            assert!(!reader.is_finished(), "readers stay");
            reader.abort();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    service.end().await;
    let (alone, beside) = (median(&mut rounds.0), median(&mut rounds.1));
    let grown = peak.saturating_sub(before) as f64 / 1024.0;
    Row {
        name: "press → 200 while 100 readers follow a flood ÷ the flood alone; what the service grows by",
        measured: format!("{:.2} ({beside:.1} ms ÷ {alone:.1} ms); {grown:.0} MB", beside / alone),
        target: "at most 1.3; 60 MB",
        met: beside / alone <= 1.3 && grown <= 60.0,
    }
}

/// The largest the service gets while four containers print a gigabyte together.
pub async fn gigabyte() -> Row {
    let line = "a".repeat(199);
    let service = Service::begin(&format!("yes {line} | head -n 1342177"), 4).await;
    for name in ["Two", "Three", "Warm"] {
        service.cli(&["environment", "create", "api", name]);
    }
    let all = service.environments().await.len();
    let peak = service.peak_until(async {
        service.announce("giga").await;
        for at in 0..all {
            service.press_for("giga", at).await;
        }
        service.until_ended(i64::try_from(all).unwrap()).await;
    });
    let megabytes = peak.await as f64 / 1024.0;
    let printed = service.database.number("select sum((payload->'log'->>'bytes')::bigint + coalesce((payload->'log'->'left_out'->>'bytes')::bigint, 0))::bigint from event where type = 'deployment_succeeded'").await;
    service.end().await;
    Row {
        name: "memory of web and worker while four containers print 1 GiB together",
        measured: format!("{megabytes:.0} MB ({:.2} GiB printed)", printed as f64 / f64::from(1 << 30)),
        target: "at most 80 MB",
        met: megabytes <= 80.0 && printed >= 1_000 * (1 << 20),
    }
}
