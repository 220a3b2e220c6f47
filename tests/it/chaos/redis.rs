//! Redis is disposable.

use std::time::{Duration, Instant};

use super::{CANARY, Chaos, chaos, counted, counting};
use crate::story::proxy::{Mode, Proxy};
use crate::story::redis::connection;

/// Restarts the service on a database of Redis that is its own, behind a proxy.
async fn own_redis(s: &mut Chaos<'_>) -> (Proxy, ::redis::aio::MultiplexedConnection) {
    let url = crate::story::database::service("TEST_REDIS_URL");
    let (proxy, through) = Proxy::redis(&url).await;
    let connection = connection(&through).await;
    s.stop("-TERM");
    s.set("REDIS_URL", &through);
    s.start().await;
    s.proxies.push(proxy.clone());
    (proxy, connection)
}

/// What this installation has on Redis, thrown away: other tests share the server.
async fn flush(s: &Chaos<'_>, connection: &mut ::redis::aio::MultiplexedConnection) {
    let instance = s.instance().await;
    let keys: Vec<String> = ::redis::cmd("KEYS").arg(format!("*{instance}*")).query_async(connection).await.unwrap();
    for key in keys {
        ::redis::cmd("DEL").arg(key).query_async::<i64>(connection).await.unwrap();
    }
}

#[test]
fn f21_redis_is_flushed_again_and_again() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let (_proxy, mut redis) = own_redis(s).await;
        for n in 1..=6 {
            s.announces(&format!("master-{n}")).await;
            s.injects("everything of ours on Redis is deleted, workers' registrations too");
            flush(s, &mut redis).await;
            s.presses("ana", &format!("master-{n}"), "Staging").await;
            let pressed = Instant::now();
            s.shows_times("*succeeded*", n).await;
            assert!(pressed.elapsed() < Duration::from_secs(10), "it took {:?}", pressed.elapsed());
        }
        s.saw("six deployments, none lost, none doubled");
    });
}

#[test]
fn f22_redis_is_away_and_comes_back() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let (proxy, _) = own_redis(s).await;
        for (n, mode) in [Mode::Down, Mode::Silent].into_iter().enumerate() {
            s.injects(&format!("Redis is {mode:?}"));
            proxy.set(mode);
            let build = format!("master-{n}");
            s.announces(&build).await;
            s.presses("ana", &build, "Staging").await;
            let pressed = Instant::now();
            s.until("it runs or has run", async || s.starts().await > n).await;
            let took = pressed.elapsed();
            s.saw(&format!("a ready job started {:.1} s after the press", took.as_secs_f64()));
            assert!(took < Duration::from_secs(5), "it took {took:?}");
            s.shows_times("*succeeded*", n + 1).await;
            proxy.set(Mode::Pass);
        }
        s.announces("master-9").await;
        s.presses("ana", "master-9", "Staging").await;
        s.shows_times("*succeeded*", 3).await;
    });
}

#[test]
fn f22_a_redis_that_falls_silent_stays_in_doubt() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let (proxy, _) = own_redis(s).await;
        for name in ["Three", "Four"] {
            s.cli(&["environment", "create", "api", name]);
            s.cli_with(&["environment", "set", "api", name, "--secret", "CANARY"], CANARY);
        }
        s.announces("master-1").await;
        s.injects("Redis accepts connections and says nothing, for longer than a break is remembered");
        proxy.set(Mode::Silent);
        tokio::time::sleep(Duration::from_secs(15)).await;
        let pressed = Instant::now();
        for environment in ["Staging", "Production", "Three", "Four"] {
            s.presses("ana", "master-1", environment).await;
        }
        s.until("all four run or have run", async || s.starts().await == 4).await;
        let took = pressed.elapsed();
        s.saw(&format!("four ready jobs had started {:.1} s after the presses", took.as_secs_f64()));
        assert!(took < Duration::from_secs(5), "it took {took:?}");
        proxy.set(Mode::Pass);
        s.shows_times("*succeeded*", 4).await;
    });
}

#[test]
fn f23_redis_is_full_or_read_only_and_full_of_strangers() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let server = OwnRedis::start(&["--maxmemory", "1500kb", "--maxmemory-policy", "noeviction"]);
        let mut redis = connection(&server.url).await;
        s.injects("a Redis that is full of strangers' keys and refuses to write");
        for n in 0..10_000 {
            if ::redis::cmd("SET")
                .arg(format!("stranger:{n}"))
                .arg("x".repeat(1_000))
                .query_async::<()>(&mut redis)
                .await
                .is_err()
            {
                break;
            }
        }
        s.stop("-TERM");
        s.set("REDIS_URL", &server.url);
        s.start().await;
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        s.injects("it has room again, and is a replica that may not be written to");
        ::redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.unwrap();
        ::redis::cmd("REPLICAOF").arg("127.0.0.1").arg("9").query_async::<()>(&mut redis).await.unwrap();
        s.announces("master-2").await;
        s.presses("ana", "master-2", "Staging").await;
        s.shows_times("*succeeded*", 2).await;
        s.saw("both ran");
    });
}

#[test]
fn f24_one_doorbell_rings_a_hundred_times() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.presses("ana", "master-1", "Staging").await;
        s.injects("the job is rung for a hundred times while no worker listens");
        for _ in 0..100 {
            let rung = s
                .database
                .count("select count(*) from job where kind = 'run_deployment' and rung_at is not null")
                .await;
            if rung > 0 {
                s.database.execute("update job set rung_at = null where kind = 'run_deployment'; notify coolops").await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        s.start_worker();
        s.shows("*succeeded*").await;
        assert_eq!(s.starts().await, 1);
        s.saw("one run");
    });
}

#[test]
#[ignore = "takes minutes"]
fn f25_ten_thousand_due_jobs_and_a_new_deployment_starts_all_the_same() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        s.injects("10,000 due jobs, which would kill apalis' workers if they were all rung for");
        s.database
            .execute("insert into job (id, kind, key, wanted, run_at) select gen_random_uuid(), k, gen_random_uuid(), 1, coolops_now() - interval '1 min'
                        from generate_series(1, 5000), unnest(array['sync_message', 'run_deployment']) k")
            .await;
        s.presses("ana", "master-1", "Staging").await;
        let due = std::time::Instant::now();
        let ended = "select count(*) from deployment where state = 'succeeded'";
        s.until("the deployment has ended", async || s.database.count(ended).await == 1).await;
        s.saw(&format!("the deployment behind 5,000 others had ended after {:.1} s", due.elapsed().as_secs_f64()));
        s.until_long("all of them are done", Duration::from_mins(4), async || {
            s.database.count("select count(*) from job where state <> 'done'").await == 0
        })
        .await;
        s.shows("*succeeded*").await;
        s.saw(&format!(
            "all were done, messages at the pace that leaves room for presses, after {:.0} s",
            due.elapsed().as_secs_f64()
        ));
    });
}

/// Keys of a Redis, and members of all its sets and hashes.
async fn held(redis: &mut ::redis::aio::MultiplexedConnection) -> (usize, u64) {
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(redis).await.unwrap();
    let mut members = 0;
    for key in &keys {
        let kind: String = ::redis::cmd("TYPE").arg(key).query_async(redis).await.unwrap();
        let count = match kind.as_str() {
            "set" => "SCARD",
            "zset" => "ZCARD",
            "hash" => "HLEN",
            "list" => "LLEN",
            _ => continue,
        };
        members += ::redis::cmd(count).arg(key).query_async::<u64>(redis).await.unwrap();
    }
    (keys.len(), members)
}

#[test]
fn f25_twenty_thousand_rings_over_ten_restarts_leave_nothing_on_redis() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let server = OwnRedis::start(&[]);
        let mut redis = connection(&server.url).await;
        s.stop("-TERM");
        s.set("REDIS_URL", &server.url);
        let mut rung = 0;
        for round in 0..10 {
            s.start().await;
            s.injects(&format!("2,000 jobs, round {round}"));
            // Messages of builds that don't exist: a job like any other, which is done at once.
            let sql = "insert into job (id, kind, key, wanted, run_at) select gen_random_uuid(), 'run_deployment', gen_random_uuid(), 1, coolops_now()
                         from generate_series(1, 2000); notify coolops";
            s.database.execute(sql).await;
            let open = "select count(*) from job where state <> 'done'";
            s.until_long("all of them are done", Duration::from_mins(3), async || s.database.count(open).await == 0)
                .await;
            let metrics =
                ureq::get(format!("{}/metrics", s.admin)).call().unwrap().body_mut().read_to_string().unwrap();
            let answered = metrics.lines().filter(|l| {
                l.starts_with("coolops_claims_total") && l.contains("via=\"doorbell\"") && l.contains("run_deployment")
            });
            rung += answered.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
            s.stop(if round % 2 == 0 { "-TERM" } else { "-KILL" });
            s.database.execute("delete from job where state = 'done'").await;
        }
        let (keys, members) = held(&mut redis).await;
        s.saw(&format!("{rung} rings; Redis holds {keys} keys with {members} members"));
        assert!(rung > 15_000, "only {rung} of 20,000 jobs were rung for");
        assert!(keys < 700 && members < 2_000, "{keys} keys with {members} members");
        s.start().await;
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let (keys, members) = held(&mut redis).await;
        assert!(keys < 60 && members < 60, "after the next start there are {keys} keys with {members} members");
    });
}

#[test]
fn f25_a_redis_that_an_older_version_filled_heals() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        let server = OwnRedis::start(&[]);
        let mut redis = connection(&server.url).await;
        let instance = s.instance().await;
        s.stop("-TERM");
        s.injects("8,201 rings that were answered and never struck out, of a worker that died");
        for kind in ["run", "slack"] {
            let queue = format!("coolops:{instance}:{kind}");
            let worker = format!("{queue}-dead");
            let mut pipe = ::redis::pipe();
            pipe.zadd(format!("{queue}:workers"), &worker, 1).ignore();
            for n in 0..8_201 {
                pipe.sadd(format!("{queue}:inflight:{worker}"), n).ignore();
                pipe.hset(format!("{queue}:data"), n, "{}").ignore();
                pipe.hset(format!("{queue}:meta:{n}"), "attempts", 1).ignore();
            }
            pipe.query_async::<()>(&mut redis).await.unwrap();
        }
        s.set("REDIS_URL", &server.url);
        s.start().await;
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let healed = async || held(&mut redis.clone()).await.0 < 60;
        s.until("what nobody needs is gone", healed).await;
        assert!(!std::fs::read_to_string(&s.log).unwrap().contains("too many results"), "nothing was read at one go");
        s.saw("it heals by itself");
    });
}

/// A Redis of a test's own, which it may fill.
struct OwnRedis {
    child: std::process::Child,
    url: String,
}

impl OwnRedis {
    fn start(arguments: &[&str]) -> Self {
        let port = crate::story::service::free_port();
        let mut command = std::process::Command::new("redis-server");
        command
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                "/tmp",
            ])
            .args(arguments);
        let child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, url: format!("redis://127.0.0.1:{port}") }
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
#[ignore = "a figure, for the report"]
fn pick_up_with_redis_alive() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.announces("master-1").await;
        let mut times = Vec::new();
        for n in 1..=50 {
            s.presses("ana", "master-1", "Staging").await;
            s.shows_times("*succeeded*", n.min(20)).await;
            let ended = "select count(*) from deployment where state = 'succeeded'";
            s.until("it has ended", async || s.database.count(ended).await == n as i64).await;
        }
        // The intent is recorded right after the claim, before anything else is asked of the engine but the image.
        let pick_up = "select (extract(epoch from p.recorded_at - r.recorded_at) * 1000000)::bigint from event r join event p on p.stream_id = r.stream_id
                        and p.type = 'deployment_prepared' where r.type = 'deployment_requested' order by r.position";
        for microseconds in s.database.numbers(pick_up).await {
            times.push(microseconds as f64 / 1_000.0);
        }
        times.sort_by(f64::total_cmp);
        s.saw(&format!(
            "press recorded → image looked up and intent recorded: median {:.1} ms, highest of 50 {:.1} ms",
            times[25], times[49]
        ));
    });
}
