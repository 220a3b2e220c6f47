//! Random deployments under random faults, from a seed.

use std::time::{Duration, Instant};

use coolops_lab::standin::workspace::Fault;

use super::{chaos, counted, counting};
use crate::story::dice::{Dice, number};
use crate::story::proxy::{Mode, Proxy};

/// Deployments all the time, a fault of at most 5 s every 5 s, one worker always spared.
fn soak(time: Duration, seed: u64) {
    const LINE_MAX: i64 = 20;
    let open = "select count(*) from deployment where state not in ('succeeded', 'failed')";
    println!("seed {seed}, {} s", time.as_secs());
    chaos(&counting(40, 25, 0), Some(counted(40)), async |s| {
        let (postgres, database) = Proxy::postgres(&s.database.url).await;
        let (redis, bell) = Proxy::redis(&crate::story::database::service("TEST_REDIS_URL")).await;
        s.proxies.extend([postgres.clone(), redis.clone()]);
        let direct = s.database.url.clone();
        s.stop("-TERM");
        s.set("DATABASE_URL", &database);
        s.set("REDIS_URL", &bell);
        s.set("COOLOPS_WORKER_SLOTS", "2");
        s.set("COOLOPS_SLACK_SPEED", "10");
        s.start_roles(&["web", "worker"]).await;
        s.start_worker();
        let mut dice = Dice(seed);
        let begun = Instant::now();
        let (mut builds, mut faults) = (0, 0);
        let mut next_fault = Duration::from_secs(3);
        while begun.elapsed() < time {
            s.set("DATABASE_URL", &direct);
            let name = format!("master-{builds}");
            if s.run(&["build:new", &name], "").status.success() {
                builds += 1;
                // A line that only grows would say nothing about the end.
                if s.database.count(open).await < LINE_MAX
                    && let Some(press) =
                        s.try_press_of(dice.one(&["ana", "ben"]), "# Api: ", dice.one(&["Staging", "Production"]))
                {
                    s.standin.shared().deliver(press).await.ok();
                }
                // Somebody keeps an environment for themselves, or gives it back; faults may eat either.
                let command = match dice.roll(12) {
                    0 => Some("lock staging because of the soak"),
                    1 => Some("lock all of api for 5m"),
                    2..5 => Some("unlock staging"),
                    5..7 => Some("unlock all of api"),
                    _ => None,
                };
                if let Some(command) = command {
                    s.standin.shared().command("C0DEPLOYS1", "U0ANA00001", command).await.ok();
                }
            }
            tokio::time::sleep(Duration::from_millis(300 + dice.roll(500) as u64)).await;
            if begun.elapsed() >= next_fault {
                next_fault += Duration::from_secs(5);
                faults += 1;
                let length = Duration::from_millis(500 + dice.roll(4_000) as u64);
                s.set("DATABASE_URL", &database);
                match dice.roll(8) {
                    0 | 1 => {
                        s.injects("SIGKILL to a worker");
                        s.end_process(1, "-KILL");
                        s.start_worker();
                    }
                    2 => {
                        s.injects("SIGTERM to a worker");
                        s.end_process(1, "-TERM");
                        s.start_worker();
                    }
                    3 => {
                        s.injects(&format!("SIGSTOP to a worker for {length:?}"));
                        s.signal(1, "-STOP");
                        tokio::time::sleep(length).await;
                        s.signal(1, "-CONT");
                    }
                    4 => {
                        s.injects(&format!("Postgres is away for {length:?}"));
                        postgres.set(Mode::Down);
                        tokio::time::sleep(length).await;
                        postgres.set(Mode::Pass);
                    }
                    5 => {
                        s.injects("the next answers of Postgres are lost");
                        postgres.swallow_answers(3);
                    }
                    6 => {
                        s.injects(&format!("Redis is silent for {length:?}"));
                        redis.set(Mode::Silent);
                        tokio::time::sleep(length).await;
                        redis.set(Mode::Pass);
                    }
                    _ => {
                        s.injects("Slack loses answers, is down, asks to wait");
                        s.standin.workspace().plan("chat.postMessage", Fault::LostReply, 1);
                        s.standin.workspace().plan("chat.update", Fault::Status(503), 2);
                        s.standin.workspace().plan("chat.update", Fault::RateLimited(2), 1);
                    }
                }
            }
        }
        s.set("DATABASE_URL", &direct);
        postgres.swallow_answers(0);
        let locked =
            "select count(*) from event l where l.type in ('environment_locked', 'project_locked') and not exists (
            select 1 from event u where u.type = replace(l.type, '_locked', '_unlocked') and u.position > l.position)";
        while s.database.count(locked).await > 0 {
            for command in ["unlock staging", "unlock all of api"] {
                s.standin.shared().command("C0DEPLOYS1", "U0ANA00001", command).await.ok();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        s.until_long("every deployment has ended", Duration::from_mins(10), async || s.database.count(open).await == 0)
            .await;
        let owed = "select count(*) from job where state <> 'done'";
        s.until_long("every message is up to date", Duration::from_mins(20), async || {
            s.database.count(owed).await == 0
        })
        .await;
        let ended = s.database.count("select count(*) from deployment where state = 'succeeded'").await;
        let failed = s.database.count("select count(*) from deployment where state <> 'succeeded'").await;
        assert_eq!(failed, 0, "a fault of ours was shown as the script's");
        // The promise is 500 deployments and a fault every 5 s in an hour.
        let seconds = i64::try_from(time.as_secs()).unwrap();
        assert!(
            ended >= seconds / 7 && faults >= seconds / 15,
            "only {ended} deployments under {faults} faults in {seconds} s"
        );
        s.saw(&format!(
            "{builds} builds, {ended} deployments, {faults} faults, in {:.0} s",
            begun.elapsed().as_secs_f64()
        ));
    });
}

#[test]
#[ignore = "as long as you want: ./just chaos --minutes 60 --seed 7"]
fn soak_random_deployments_under_random_faults() {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let seed = number("CHAOS_SEED").unwrap_or_else(now);
    soak(Duration::from_secs(number("CHAOS_MINUTES").unwrap_or(10) * 60), seed);
}

#[test]
fn soak_for_twenty_seconds() {
    soak(Duration::from_secs(20), 20_261_122);
}
