//! A log of a million events: what it answers, what it costs to prove it, and starting on it.

use std::time::{Duration, Instant};

use coolops::proof::checkpoint::LogKey;
use coolops::store::Store;
use secrecy::ExposeSecret;

use super::service::Service;
use super::{Row, load, median, seeded};

/// A log of a million events: proving it, and starting on it.
pub async fn rows() -> Vec<Row> {
    let mut service = Service::begin("true", 4).await;
    service.stop();
    let events = seeded::seed_million(&service).await;
    // As after a loss of all rows; the events were written without.
    let made = replays(&service, "truncate boundary, project, token, build, deployment").await;
    service.database.execute("analyze").await;
    let builds = service.database.number("select count(*) from slack_message").await;
    let (mut ours, mut theirs, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..3 {
        theirs.push(load::copy(&service.database.url).await);
        let (seconds, megabytes, said) = service.timed_cli(&["replay", "--verify"]).await;
        // What is not rendered anew costs nothing.
        let is_whole = said.contains("is whole") && said.contains(&format!("{builds} messages, rendered anew"));
        assert!(is_whole, "{said}");
        ours.push(seconds);
        peak = peak.max(megabytes);
    }
    let (a, b) = (median(&mut ours), median(&mut theirs));
    let answers = over_a_million(&mut service, made).await;
    let mut starts = Vec::new();
    for n in 0..5 {
        let before = Instant::now();
        service.start();
        service.announce_until_accepted(&format!("first-{n}")).await;
        starts.push(before.elapsed().as_secs_f64());
        service.stop();
    }
    let start = median(&mut starts);
    service.end().await;
    vec![
        Row {
            name: "replay --verify over 1,000,000 events ÷ COPY event TO STDOUT, and its memory",
            measured: format!("{:.2} ({a:.1} s ÷ {b:.1} s, {events} events), {peak:.0} MB", a / b),
            target: "at most 4, under 200 MB",
            met: a / b <= 4.0 && peak < 200.0,
        },
        Row {
            name: "serve started → first build accepted, on 1,000,000 events",
            measured: format!("{start:.2} s"),
            target: "at most 0.3 s",
            met: start <= 0.3,
        },
    ]
    .into_iter()
    .chain(answers)
    .collect()
}

/// The middle one of three replays, each after a statement, and of as many COPYs beside them.
async fn replays(service: &Service, before_each: &str) -> (f64, f64) {
    let (mut replays, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        copies.push(load::copy(&service.database.url).await);
        service.database.execute(before_each).await;
        replays.push(service.timed_to_nowhere(&["replay"], &[]).await.0);
    }
    (median(&mut replays), median(&mut copies))
}

/// Rows over the million events that are there; `made` is how long it took to make all rows, and a COPY beside that.
async fn over_a_million(service: &mut Service, made: (f64, f64)) -> Vec<Row> {
    let mut rows = Vec::new();
    let held = replays(service, "select").await;
    for (name, (replay, copy)) in [
        ("replay that makes all rows of 1,000,000 events anew ÷ COPY event TO STDOUT", made),
        ("replay over rows that are as 1,000,000 events say ÷ COPY", held),
    ] {
        rows.push(Row {
            name,
            measured: format!("{:.2} ({replay:.1} s ÷ {copy:.1} s)", replay / copy),
            target: "at most 2",
            met: replay / copy <= 2.0,
        });
    }

    let folder = std::env::temp_dir().join(format!("coolops-bench-checkpoints-{}", std::process::id()));
    let private = LogKey::form("bench.test/log", &[7; 32]).unwrap();
    let place = folder.to_str().unwrap().to_owned();
    let with = [("COOLOPS_CHECKPOINT_KEY", private.expose_secret()), ("COOLOPS_CHECKPOINTS", place.as_str())];
    let (first, _) = service.timed_to_nowhere(&["audit", "checkpoint"], &with).await;
    rows.push(Row {
        name: "the first checkpoint of 1,000,000 events, which is made once",
        measured: format!("{first:.1} s"),
        target: "no target",
        met: true,
    });

    let (mut verifies, mut copies, mut exports, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
    for _ in 0..3 {
        copies.push(load::copy(&service.database.url).await);
        verifies.push(service.timed_to_nowhere(&["audit", "verify"], &with).await.0);
        let (seconds, megabytes) = service.timed_to_nowhere(&["audit", "export"], &[]).await;
        exports.push(seconds);
        peak = peak.max(megabytes);
    }
    let (verify, export, copy) = (median(&mut verifies), median(&mut exports), median(&mut copies));
    rows.push(Row {
        name: "audit verify with checkpoints over 1,000,000 events ÷ COPY",
        measured: format!("{:.2} ({verify:.1} s ÷ {copy:.1} s)", verify / copy),
        target: "at most 1.5",
        met: verify / copy <= 1.5,
    });
    rows.push(Row {
        name: "audit export of 1,000,000 events ÷ COPY, and its memory",
        measured: format!("{:.2} ({export:.1} s ÷ {copy:.1} s), {peak:.0} MB", export / copy),
        target: "at most 1.5, under 50 MB",
        met: export / copy <= 1.5 && peak < 50.0,
    });

    let (mut slowest, mut peak) = (0.0_f64, 0.0_f64);
    let middle = "select extract(epoch from recorded_at)::bigint from event where position = 500000";
    let middle = chrono::DateTime::from_timestamp(service.database.number(middle).await, 0).unwrap().to_rfc3339();
    for moment in ["1000", "250000", "500000", "750000", "999000", "now", &middle] {
        let (seconds, megabytes) = service.timed_to_nowhere(&["at", moment], &[]).await;
        (slowest, peak) = (slowest.max(seconds), peak.max(megabytes));
    }
    rows.push(Row {
        name: "coolops at five positions and two times of 1,000,000 events: the slowest, and its memory",
        measured: format!("{slowest:.2} s, {peak:.0} MB"),
        target: "under 1 s, under 100 MB",
        met: slowest < 1.0 && peak < 100.0,
    });

    rows.extend(people_beside_few(service).await);
    rows.push(appends_beside_a_replay(service).await);
    let some = "update deployment set requested_by = requested_by || '!' where requested % 1000 = 0";
    let name = "the longest append while a replay puts right one deployment's row in a thousand of 1,000,000 events";
    rows.push(longest_append_beside_a_replay(service, (name, some), 2_000).await);
    let name = "the longest append while a replay puts right all rows of deployments of 1,000,000 events";
    let all = "update deployment set requested_by = requested_by || '!'";
    rows.push(longest_append_beside_a_replay(service, (name, all), 2_001).await);
    rows.push(checkpoint_of_a_minute(service, &with).await);
    std::fs::remove_dir_all(&folder).ok();
    rows
}

async fn quickest(service: &Service, arguments: &[&str]) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..7 {
        best = best.min(service.timed_to_nowhere(arguments, &[]).await.0);
    }
    best
}

/// Appends in a time, by eight at once, with or without a replay beside them.
async fn appends(store: &Store, seed: u128, time: Duration) -> f64 {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8_u128 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut count = 0_u64;
            while began.elapsed() < time {
                let n = (seed << 40) + (worker << 32) + u128::from(count);
                store.append(seeded::registered(n)).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let mut total = 0;
    while let Some(count) = tasks.join_next().await {
        total += count.unwrap();
    }
    total as f64 / began.elapsed().as_secs_f64()
}

/// Presses of a hundred and twenty builds, and looks at the first page of the history, on this log and on one of a thousand events, in
/// turns: the middle one of each.
async fn people_beside_few(service: &mut Service) -> [Row; 2] {
    /// In one turn; there are many, so that both logs meet what the disk is like at each time.
    const PRESSES: usize = 10;
    const LOOKS: usize = 100;
    let small = Service::begin("true", 4).await;
    let store = small.store(4).await;
    for n in 0..1_000 {
        store.append(seeded::registered((8_000 << 40) + n)).await.unwrap();
    }
    service.start();
    service.announce_until_accepted("warm").await;
    let (mut of_many, mut of_few) = (Vec::new(), Vec::new());
    for round in 0..12 {
        let mut turns = [(&mut of_many, &*service), (&mut of_few, &small)];
        // None is always the first.
        turns.rotate_left(round % 2);
        for (of, service) in turns {
            let first = round * PRESSES;
            for n in first..first + PRESSES {
                service.announce(&format!("press-{n}")).await;
            }
            of.extend(load::presses(service, first, PRESSES, 10.0).await);
        }
    }
    let (mut looks_of_many, mut looks_of_few) = (Vec::new(), Vec::new());
    let (page_of_many, page_of_few) = (history_page(service), history_page(&small));
    for _ in 0..LOOKS {
        looks_of_many.push(load::look(&page_of_many).await);
        looks_of_few.push(load::look(&page_of_few).await);
    }
    service.stop();
    small.end().await;
    let row = |name, (many, few): (f64, f64)| Row {
        name,
        measured: format!("{:.2} ({many:.1} ms ÷ {few:.1} ms)", many / few),
        target: "at most 1.1",
        met: many / few <= 1.1,
    };
    [
        row(
            "first page of history with 1,000,000 events ÷ with 1,000 (the middle one of 100 looks)",
            (median(&mut looks_of_many), median(&mut looks_of_few)),
        ),
        row(
            "a press on a log of 1,000,000 events ÷ on one of 1,000 (the middle one of 120)",
            (median(&mut of_many), median(&mut of_few)),
        ),
    ]
}

/// The address of the history of the project.
fn history_page(service: &Service) -> String {
    let told = service.cli(&["status", "api", "--link"]);
    let page = told.lines().rfind(|line| line.starts_with("http")).expect("a page").to_owned();
    page.replace("/projects/api?", "/projects/api/history?")
}

async fn appends_beside_a_replay(service: &Service) -> Row {
    let store = service.store(4).await;
    let (mut ratios, mut failed) = (Vec::new(), false);
    for round in 0..3_u128 {
        let alone = appends(&store, 1_000 + round * 2, Duration::from_secs(3)).await;
        let mut replay = service.in_background(&["replay"]);
        let beside = appends(&store, 1_001 + round * 2, Duration::from_secs(3)).await;
        failed |= !replay.wait().unwrap().success();
        ratios.push(beside / alone);
    }
    let ratio = median(&mut ratios);
    Row {
        name: "appends while a replay of 1,000,000 events runs ÷ without",
        measured: format!("{ratio:.2}{}", if failed { "; a replay FAILED" } else { "" }),
        target: "at least 0.8",
        met: ratio >= 0.8 && !failed,
    }
}

/// How long whoever records something waits at the longest while rows are replaced that somebody changed.
async fn longest_append_beside_a_replay(service: &Service, (name, change): (&'static str, &str), seed: u128) -> Row {
    let store = service.store(4).await;
    service.database.execute(change).await;
    let mut replay = service.in_background(&["replay"]);
    let (mut longest, mut refused, mut n) = (0.0_f64, 0, seed << 40);
    let failed = loop {
        let began = Instant::now();
        refused += usize::from(store.append(seeded::registered_with_row(n)).await.is_err());
        longest = longest.max(began.elapsed().as_secs_f64());
        n += 1;
        // A replay gives way to whoever records all the time: it would take minutes.
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Some(ended) = replay.try_wait().unwrap() {
            break !ended.success();
        }
    };
    let said = if failed { "; the replay FAILED" } else { "" };
    Row {
        name,
        measured: format!("{longest:.2} s, {refused} refused{said}"),
        target: "under 5 s, none refused",
        met: longest < 5.0 && refused == 0 && !failed,
    }
}

/// 60,000 more events, as a minute at 1,000 a second has them, and the checkpoint that they are worth.
async fn checkpoint_of_a_minute(service: &Service, with: &[(&str, &str)]) -> Row {
    let store = service.store(4).await;
    let mut pending = tokio::task::JoinSet::new();
    for worker in 0..32_u128 {
        let store = store.clone();
        pending.spawn(async move {
            for n in 0..60_000 / 32 {
                store.append(seeded::registered((9_000 << 40) + (worker << 32) + n)).await.unwrap();
            }
        });
    }
    while pending.join_next().await.is_some() {}
    let alone = quickest(service, &["history", "--json", "--limit", "1"]).await;
    let (seconds, _) = service.timed_to_nowhere(&["audit", "checkpoint"], with).await;
    // The process's own start is what another command takes; the time is wall clock, Postgres' part of it included.
    let share = (seconds - alone).max(0.0) / 60.0 * 100.0;
    Row {
        name: "a checkpoint of 60,000 events once a minute (1,000 a second): wall clock, Postgres included",
        measured: format!("{share:.2} % of a core ({:.2} s)", seconds - alone),
        target: "at most 2 %",
        met: share <= 2.0,
    }
}
