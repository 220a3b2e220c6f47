//! What containers print, and the file that the engine keeps it in.

use std::path::PathBuf;
use std::time::Duration;

use super::engine::{behind_a_proxy, docker};
use super::{CANARY, Chaos, chaos, counting};
use crate::story::database::service;

/// The file that the engine keeps a container's output in.
async fn log_file(s: &Chaos<'_>) -> PathBuf {
    let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
    let name = format!("coolops-{}", list[0]["of"]["deployment_id"].as_str().unwrap());
    let docker = docker(&service("TEST_DOCKER_HOST"));
    let id = docker.inspect_container(&name, None).await.unwrap().id.unwrap();
    let root = docker.info().await.unwrap().docker_root_dir.unwrap();
    PathBuf::from(root).join("containers").join(id).join("local-logs/container.log")
}

#[test]
fn f13_the_engine_s_log_ends_in_half_a_line() {
    // An engine in a hurry says nothing in place of its error.
    for empty_answers in [0, 1, 100] {
        chaos(&counting(300, 10, 0), None, async |s| {
            let engine = behind_a_proxy(s).await;
            s.announces("master-1").await;
            s.stop("-TERM");
            s.start_roles(&["web"]).await;
            s.start_worker();
            s.presses("ana", "master-1", "Staging").await;
            s.shows("*running*").await;
            s.end_process(1, "-KILL");
            let file = log_file(s).await;
            s.until("the container has ended", async || {
                String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains("line 300")
            })
            .await;
            s.injects(&format!(
                "the engine's own file ends in half a line, as a full disk or a power cut leaves it; {empty_answers} times \
                 the engine keeps that to itself"
            ));
            let whole = std::fs::read(&file).unwrap();
            std::fs::write(&file, &whole[..whole.len() - 25]).unwrap();
            engine.answers_instead(
                "tail=1 ",
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                empty_answers,
            );
            s.start_worker();
            // The lease of the one that was killed runs out after 20 s, and each look at the damage costs the engine
            // seconds.
            s.until_long("it has its end", Duration::from_mins(2), async || s.channel().contains("*succeeded*")).await;
            assert!(engine.to_swallow() < empty_answers.max(1), "its newest line was never asked for");
            let log = s.logs();
            assert!(log.contains("line 299\n") && !log.contains("line 300\n"), "{log}");
            assert_eq!(log.matches("output is missing here").count(), 1, "{log}");
            s.saw("what could not be read is marked, once, and the deployment has its end");
        });
    }
}

#[test]
fn f13_the_engine_s_log_is_damaged_while_it_is_followed_and_is_live_again() {
    for damage in ["{\"log\":\"half a li\n", "Error grabbing logs\n", ""] {
        // Longer than it may take to be live again.
        chaos(&counting(250, 100, 0), None, async |s| {
            s.runs("master-1").await;
            let lines = |s: &Chaos<'_>| s.logs().lines().filter(|l| l.starts_with("line ")).count();
            s.injects("another worker takes over, so that the engine's log is what is read");
            s.stop("-TERM");
            s.start().await;
            let known = lines(s);
            s.until("it is followed", async || lines(s) > known + 5).await;
            let file = log_file(s).await;
            if damage.is_empty() {
                s.injects("the engine's own file is emptied");
                std::fs::OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
            } else {
                s.injects(&format!("what is no line comes into the engine's own file: {damage:?}"));
                use std::io::Write;
                std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(damage.as_bytes()).unwrap();
            }
            let begun = std::time::Instant::now();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let known = lines(s);
            s.until("it is live again", async || lines(s) > known + 20).await;
            let took = begun.elapsed();
            s.saw(&format!("live again after {:.1} s", took.as_secs_f64()));
            assert!(took < Duration::from_secs(30), "{took:?}");
            s.shows("*succeeded*").await;
            let log = s.logs();
            let lines: Vec<&str> = log.lines().filter(|l| l.starts_with("line ")).collect();
            let once: std::collections::HashSet<_> = lines.iter().collect();
            assert_eq!(lines.len(), once.len(), "no line twice");
            assert!(lines.len() == 250 || log.contains("output is missing here"), "{} lines and no mark", lines.len());
            assert!(log.matches("output is missing here").count() <= 1, "{log}");
        });
    }
}

#[test]
fn f43_a_flood_that_ends_at_once() {
    const LINES: usize = 400_000;
    chaos(&format!("yes '' | head -n {LINES}; echo done"), None, async |s| {
        s.announces("master-1").await;
        s.injects("400,000 lines as fast as a pipe takes them, and an end right behind them");
        s.presses("ana", "master-1", "Staging").await;
        s.until_long("it ends", Duration::from_mins(2), async || s.channel().contains("*succeeded*")).await;
        let log = ureq::get(s.log_url().replace("?key=", "/raw?key="))
            .call()
            .unwrap()
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string();
        let log = log.unwrap();
        let (kept, marked) =
            (log.matches('\n').count(), log.contains("the engine stopped reading it 10 s after the container's end"));
        s.saw(&format!("{kept} of {} lines, marked as cut off: {marked}", LINES + 1));
        assert!(
            (kept == LINES + 1 && log.ends_with("done\n")) || marked,
            "{kept} lines, and no mark: {:?}",
            &log[log.len() - 200..]
        );
    });
}

#[test]
fn f44_one_endless_line_binary_and_no_utf8() {
    let script = "head -c 5000000 /dev/zero | tr '\\0' x; echo; printf 'a\\000b\\377\\376c\\n'; head -c 100000 /dev/urandom; echo; printf end";
    chaos(script, None, async |s| {
        s.announces("master-1").await;
        s.injects("a line of 5 MB, NUL, broken UTF-8, random bytes, no last line end");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let raw =
            ureq::get(s.log_url().replace("?key=", "/raw?key=")).call().unwrap().body_mut().read_to_vec().unwrap();
        assert!(
            raw.windows(7).any(|bytes| bytes == b"a\0b\xff\xfec\n"),
            "NUL and what is no UTF-8 are kept as they are"
        );
        assert!(raw.ends_with(b"end\n"), "it ends with {:?}", String::from_utf8_lossy(&raw[raw.len() - 300..]));
        assert!(String::from_utf8_lossy(&raw).contains("bytes of this line left out]"));
        let page =
            ureq::get(s.log_url()).call().unwrap().body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        assert!(page.contains("end"), "the page loads");
        s.saw("the line is cut and says so, the bytes are kept, the page loads");
    });
}

/// Prints so many lines of 200 bytes as fast as it can.
fn flooding(lines: usize) -> String {
    let line = "x".repeat(187);
    format!(
        "if [ -n \"$FLOOD\" ]; then yes '{line}' | head -n {lines} | cat -n | sed 's/^ *//' | awk '{{printf \"%011d %s\\n\", $1, $2}}'; else i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo tick $(date +%s.%N); sleep 0.5; done; fi"
    )
}

#[test]
#[ignore = "prints a gigabyte"]
fn f43_four_containers_print_a_gigabyte_together() {
    const LINES: usize = 1_310_720;
    chaos(&flooding(LINES), None, async |s| {
        for name in ["One", "Two", "Three", "Four"] {
            s.cli(&["environment", "create", "api", name]);
            s.cli(&["environment", "set", "api", name, "FLOOD=1"]);
        }
        s.stop("-TERM");
        s.set("COOLOPS_WORKER_SLOTS", "5");
        s.start_roles(&["web", "worker"]).await;
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        s.injects("four containers print 256 MiB each, in lines of 200 bytes");
        for name in ["One", "Two", "Three", "Four"] {
            s.presses("ana", "master-1", name).await;
        }
        let (mut peak, mut behind) = (0, 0.0_f64);
        let ended = "select count(*) from deployment where state in ('succeeded', 'failed') and environment_id in
                     (select environment_id from deployment group by 1)";
        let lag = "select coalesce((extract(epoch from clock_timestamp() - max(c.recorded_at)) * 1000)::bigint, 0) from log_chunk c
                     join deployment d on d.id = c.deployment_id and d.state = 'running'
                     where d.doc->>'environment_name' = 'Staging'";
        let begun = std::time::Instant::now();
        while s.database.count(ended).await < 5 {
            assert!(begun.elapsed() < Duration::from_mins(15), "the flood does not end");
            peak = peak.max(s.resident(1));
            // The quiet one prints every half second: its newest stored line is never much older than that.
            behind = behind.max(s.database.count(lag).await as f64 / 1_000.0);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let took = begun.elapsed();
        let store = coolops::store::Store::open(&s.database.url, 2).await.unwrap();
        for dated in store.deployments().list(None, &[], 10).await.unwrap() {
            let d = dated.deployment;
            if d.environment_name == "Staging" {
                continue;
            }
            let log = d.stand.log().unwrap().clone();
            let chunks = store.journals().chunks_from(d.of.deployment_id, 0, 1_000_000).await.unwrap();
            let kept: usize = chunks
                .iter()
                .flat_map(|c| c.body.split(|b| *b == b'\n'))
                .filter(|l| l.len() == 199)
                .map(|l| l.len() + 1)
                .sum();
            assert_eq!(log.gaps, 0, "the engine threw output away");
            assert_eq!(
                kept as i64 + log.left_out.bytes,
                LINES as i64 * 200,
                "kept and declared is what {} printed",
                d.environment_name
            );
        }
        s.saw(&format!(
            "1 GiB in {:.0} s, worker at most {} MB, the quiet one's log at most {behind:.1} s old",
            took.as_secs_f64(),
            peak / 1024
        ));
        assert!(peak < 256 * 1024, "the worker took {peak} kB");
        assert!(behind < 2.5, "the other's log was {behind} s behind (it prints every 0.5 s)");
    });
}

#[test]
fn f45_a_secret_is_printed_across_every_border() {
    // 63 kB of something else first, so that the secret lies across the border of two chunks.
    let script = "head -c 64500 /dev/zero | tr '\\0' x | fold -w 100; printf '\\nsecret %s' \"${CANARY%%canary*}\"; sleep 0.3; printf %s \"canary\"; sleep 0.3; echo \"${CANARY#*canary}\"; echo $CANARY | base64; \
                  head -c 16380 /dev/zero | tr '\\0' y; echo $CANARY; echo $CANARY | base64 >&2";
    chaos(script, None, async |s| {
        s.announces("master-1").await;
        s.injects("the secret in three pieces with pauses between them, and in base64");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let logs = s.logs();
        assert!(logs.contains("secret ***"), "{}", &logs[64_000..]);
        // A line that is longer than a line may be is split, here in the middle of the secret.
        assert!(logs.contains("yyy***\n"), "{}", &logs[64_000..]);
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{CANARY}\n"));
        assert!(
            !logs.contains(&encoded[..encoded.len() - 4]) && logs.matches("***").count() >= 4,
            "{}",
            &logs[64_000..]
        );
        s.saw("masked");
    });
}
