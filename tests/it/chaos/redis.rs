//! Redis is disposable.

use std::time::{Duration, Instant};

use super::{CANARY, Chaos, chaos, counted, counting};
use crate::story::proxy::{Mode, Proxy};

/// Restarts the service on a database of Redis that is its own, behind a proxy.
async fn own_redis(s: &mut Chaos<'_>) -> (Proxy, ::redis::aio::MultiplexedConnection) {
    let url = crate::story::database::service("TEST_REDIS_URL");
    let (proxy, through) = Proxy::redis(&url).await;
    let connection = ::redis::Client::open(through.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
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
        let mut redis = ::redis::Client::open(server.url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
        s.injects("a Redis that is full of strangers' keys and refuses to write");
        for n in 0..10_000 {
            if ::redis::cmd("SET").arg(format!("stranger:{n}")).arg("x".repeat(1_000)).query_async::<()>(&mut redis).await.is_err() {
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
            let rung = s.database.count("select count(*) from job where kind = 'run_deployment' and rung_at is not null").await;
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
        s.saw(&format!("all were done, messages at the pace that leaves room for presses, after {:.0} s", due.elapsed().as_secs_f64()));
    });
}

/// A Redis of a test's own, which it may fill.
struct OwnRedis {
    child: std::process::Child,
    url: String,
}

impl OwnRedis {
    fn start(arguments: &[&str]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = std::process::Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"])
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
