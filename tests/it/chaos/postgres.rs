//! Postgres goes away, comes back, and loses answers.

use std::time::{Duration, Instant};

use super::{Chaos, chaos, counted, counting};
use crate::story::proxy::{Mode, Proxy};

pub(super) async fn behind_a_proxy(s: &mut Chaos<'_>) -> Proxy {
    let (proxy, url) = Proxy::postgres(&s.database.url).await;
    s.stop("-TERM");
    let direct = s.database.url.clone();
    s.set("DATABASE_URL", &url);
    s.start().await;
    // The commands of the test itself go to the real one.
    s.set("DATABASE_URL", &direct);
    s.proxies.push(proxy.clone());
    proxy
}

#[test]
fn f15_connections_break_again_and_again_under_load() {
    chaos(&counting(100, 30, 0), Some(counted(100)), async |s| {
        let postgres = behind_a_proxy(s).await;
        s.announces("master-0").await;
        s.presses("ana", "master-0", "Staging").await;
        s.shows("*running*").await;
        let mut accepted = 0;
        for n in 1..=8 {
            s.injects("every connection to Postgres is cut, for 300 ms");
            postgres.set(Mode::Down);
            let early = s.run(&["build:new", &format!("early-{n}")], "");
            tokio::time::sleep(Duration::from_millis(300)).await;
            postgres.set(Mode::Pass);
            accepted += usize::from(early.status.success());
            let up = Instant::now();
            s.until("a build is taken again", async || {
                s.run(&["build:new", &format!("late-{n}")], "").status.success()
            })
            .await;
            assert!(up.elapsed() < Duration::from_secs(5), "it took {:?} to resume", up.elapsed());
        }
        s.shows_times("# Api: late-", 8).await;
        s.shows_times("# Api: early-", accepted).await;
        s.shows("*succeeded*").await;
        s.saw(&format!("8 builds taken right after, {accepted} of 8 during the cuts; what was taken is there"));
    });
}

#[test]
fn f16_the_answer_to_a_commit_is_lost() {
    chaos(&counting(20, 20, 0), Some(counted(20)), async |s| {
        let postgres = behind_a_proxy(s).await;
        for n in 0..30 {
            s.injects("the answer to the next append is swallowed, and its connection with it");
            postgres.swallow_answers_to("append_batch", 1);
            s.until("the build is taken", async || s.run(&["build:new", &format!("master-{n}")], "").status.success())
                .await;
        }
        let builds = s.database.count("select count(*) from event where type = 'build_registered'").await;
        assert_eq!(builds, 30, "each build is registered once, whatever answer was lost");
        s.shows("# Api: master-29").await;
        for _ in 0..3 {
            postgres.swallow_answers(2);
            s.presses("ana", "master-29", "Staging").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        postgres.swallow_answers(0);
        s.until("some press was taken", async || {
            s.presses("ana", "master-29", "Staging").await;
            s.channel().contains("Staging*: ")
        })
        .await;
        s.shows("*succeeded*").await;
        let metrics = ureq::get(format!("{}/metrics", s.admin)).call().unwrap().body_mut().read_to_string().unwrap();
        let retries = metrics
            .lines()
            .find_map(|l| l.strip_prefix("coolops_append_retries_total ")?.parse::<u64>().ok())
            .unwrap_or(0);
        assert!(retries >= 30, "only {retries} answers to appends were swallowed");
        s.saw(&format!("30 builds, each once; {retries} appends were sent again"));
    });
}

/// Postgres is away for a while in the middle of a run.
fn away_for(seconds: u64, lines: usize) {
    chaos(&counting(lines, 50, 0), Some(counted(lines)), async |s| {
        let postgres = behind_a_proxy(s).await;
        s.runs("master-1").await;
        s.injects(&format!("Postgres is down for {seconds} s, from now on"));
        postgres.set(Mode::Down);
        let pressed = Instant::now();
        assert_eq!(s.presses("ben", "master-1", "Production").await, 200);
        assert!(pressed.elapsed() < Duration::from_secs(3), "Slack would have given up after {:?}", pressed.elapsed());
        s.until("ben is told to try again", async || {
            s.private_notes_of("ben").iter().any(|n| n.contains("Please try again"))
        })
        .await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        postgres.set(Mode::Pass);
        s.shows("*succeeded*").await;
        s.saw("the container ran on, its log is whole");
    });
}

#[test]
fn f18_postgres_is_down_while_a_container_runs() {
    away_for(5, 200);
}

#[test]
#[ignore = "takes minutes"]
fn f18_postgres_is_down_for_minutes() {
    away_for(120, 100);
}

#[test]
fn f19_a_session_holds_the_log_and_does_nothing() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.injects("a session locks the head of the log and sleeps in its transaction");
        let mut holder = s.database.limited().await;
        sqlx::raw_sql("begin; select * from event_head for update").execute(&mut holder).await.unwrap();
        let held = Instant::now();
        s.until("a build is taken again", async || s.run(&["build:new", "master-2"], "").status.success()).await;
        let took = held.elapsed();
        s.saw(&format!("appends went on after {:.1} s", took.as_secs_f64()));
        assert!(took < Duration::from_secs(20), "it took {took:?}");
        s.shows("# Api: master-2").await;
    });
}

#[test]
fn f16_a_replay_dies_in_the_middle_of_its_flip() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        s.database.execute("update build set name = 'changed by hand'").await;
        s.injects("a replay dies when it has written half of what it found to differ");
        s.set("FAILPOINTS", "mid_flip=return");
        s.cli_fails(&["replay"], "");
        s.unset("FAILPOINTS");
        assert_eq!(s.database.text("select name from build").await, "changed by hand", "nothing is half replaced");
        s.cli(&["replay"]);
        assert_eq!(s.database.text("select name from build").await, "master-1");
        s.saw("all or nothing: the next replay puts it right");
    });
}
