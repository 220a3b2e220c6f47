//! The whole path on real parts: CLI, web server, Redis with apalis, Docker, log page.

use std::time::{Duration, Instant};

use crate::story::service::service_story;

#[test]
fn a_press_runs_the_image_and_the_message_and_log_tell_how_it_went() {
    let script = "echo deploying $COOLOPS_BUILD_NAME to $COOLOPS_ENVIRONMENT with $TAG in $REGION; echo oops >&2; exit ${CODE:-0}";
    service_story(script, "info", async |s| {
        s.cli(&["environment", "set", "api", "Staging", "REGION=eu"]);
        s.cli(&["build:new", "-p", "TAG=7", "master-1", "-m", "Job url=https://ci.example.com/7"]);
        s.shows("# Api: master-1").await;
        assert_eq!(s.presses("ana", "master-1", "Staging").await, 200);
        s.shows("*succeeded*").await;
        assert_eq!(
            s.logs().lines().collect::<std::collections::BTreeSet<_>>(),
            ["deploying master-1 to Staging with 7 in eu", "oops"].into()
        );
        s.cli(&["build:new", "master-2", "-p", "TAG=8", "-p", "CODE=3"]);
        s.shows("# Api: master-2").await;
        s.presses("ben", "master-2", "Production").await;
        s.shows("*failed*: exit code 3").await;
        let verified = s.cli(&["replay", "--verify"]);
        assert!(
            verified
                .contains("2 messages, rendered anew from the events, equal what Slack was last sent, byte for byte."),
            "{verified}"
        );
        let rebuilt = s.cli(&["replay"]);
        assert_eq!(rebuilt.matches("as they were").count(), 5, "{rebuilt}");
        let list = s.cli(&["deployment", "list"]);
        assert!(list.contains("failed: exit code 3") && list.contains("succeeded"), "{list}");
    });
}

#[test]
fn what_goes_wrong_with_a_container_is_told_apart_in_words() {
    service_story("[ -z \"$EAT\" ] || exec tail /dev/zero", "info", async |s| {
        s.cli(&["build:new", "hungry", "-p", "EAT=1"]);
        s.shows("# Api: hungry").await;
        s.presses("ana", "hungry", "Staging").await;
        s.shows("*failed*: out of memory").await;
        s.cli(&["project", "set", "api", "--image", "127.0.0.1:9/none:1"]);
        s.presses("ana", "hungry", "Staging").await;
        s.shows("*failed*: the image could not be pulled").await;
    });
}

#[test]
fn nearly_all_jobs_come_by_doorbell_while_redis_is_well() {
    service_story("echo hello", "info", async |s| {
        for n in 0..15 {
            s.cli(&["build:new", &format!("master-{n}")]);
        }
        s.shows_times("# Api: master-", 15).await;
        s.presses("ana", "master-14", "Staging").await;
        s.shows("*succeeded*").await;
        let metrics = ureq::get(format!("{}/metrics", s.admin)).call().unwrap().body_mut().read_to_string().unwrap();
        let count = |via: &str| -> u64 {
            let marked = metrics.lines().filter(|l| l.contains(&format!("via=\"{via}\"")));
            marked.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        let (doorbell, sweep) = (count("doorbell"), count("sweep"));
        assert!(doorbell >= 16 && sweep * 99 <= doorbell, "{metrics}");
    });
}

#[test]
fn a_restarted_service_goes_on_with_the_container_where_it_was() {
    let script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done";
    service_story(script, "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        s.until("some lines are stored", async || s.logs().contains("line 5\n")).await;
        s.stop("-TERM");
        let stopped = Instant::now();
        s.start().await;
        s.shows("*succeeded*").await;
        assert!(stopped.elapsed() < Duration::from_secs(15));
        let expected: String = (1..=60).map(|i| format!("line {i}\n")).collect();
        assert_eq!(s.logs(), expected, "a line was lost or doubled");
    });
}

#[test]
fn a_killed_service_is_followed_by_one_that_adopts_the_container() {
    let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; exit 4";
    service_story(script, "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        s.until("some lines are stored", async || s.logs().contains("line 5\n")).await;
        s.stop("-KILL");
        s.start().await;
        s.shows("*failed*: exit code 4").await;
        let expected: String = (1..=100).map(|i| format!("line {i}\n")).collect();
        assert_eq!(s.logs(), expected, "a line was lost or doubled");
    });
}

#[test]
fn a_deployment_starts_within_seconds_without_any_redis() {
    service_story("echo without redis", "info", async |s| {
        s.stop("-TERM");
        s.set("REDIS_URL", "redis+unix:///nonexistent/redis.sock");
        s.start().await;
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        let pressed = Instant::now();
        s.presses("ana", "master-1", "Staging").await;
        s.until("it runs or has run", async || s.channel().contains("running") || s.channel().contains("succeeded"))
            .await;
        assert!(pressed.elapsed() < Duration::from_secs(5), "it took {:?}", pressed.elapsed());
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "without redis\n");
    });
}

#[test]
fn a_container_removed_by_hand_is_unknown_until_it_is_resolved_from_the_command_line() {
    service_story("echo begun; sleep 60", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        let id = list[0]["of"]["deployment_id"].as_str().unwrap().to_owned();
        let host = crate::story::database::service("TEST_DOCKER_HOST");
        let docker =
            bollard::Docker::connect_with_socket(host.trim_start_matches("unix://"), 30, bollard::API_DEFAULT_VERSION)
                .unwrap();
        let force = bollard::query_parameters::RemoveContainerOptionsBuilder::new().force(true).build();
        docker.remove_container(&format!("coolops-{id}"), Some(force)).await.unwrap();
        s.shows("*unknown*: its container was removed while it ran").await;
        let (code, said) = s.cli_fails(&["doctor"], "");
        assert!(code == 1 && said.contains(&format!("coolops deployment resolve {id}")), "{said}");
        let (code, said) = s.cli_fails(&["deployment", "resolve", &id, "--as", "failed", "--reason", " "], "");
        assert!(code == 1 && said.contains("the reason is empty; say why, it is recorded"), "{said}");
        s.cli(&["deployment", "resolve", &id[..8], "--as", "failed", "--reason", "checked by hand"]);
        s.shows("*failed*, as a person decided: checked by hand").await;
        let shown = s.cli(&["deployment", "show", &id]);
        assert!(shown.contains("Staging: failed, as a person decided: checked by hand\n"), "{shown}");
        assert!(shown.contains("found    its container was removed while it ran\n"), "{shown}");
        let log = s.cli(&["deployment", "logs", &id]);
        assert_eq!(log, "begun\n… [output is missing here: the engine no longer had it]\n");
    });
}

#[test]
fn a_changed_history_fails_the_audit_commands() {
    service_story("true", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.stop("-TERM");
        let change = "alter table event disable trigger all; update event set payload = replace(payload::text, 'master-1', 'master-9')::json where type = 'build_registered'";
        s.database.execute(change).await;
        for command in [&["audit", "verify"][..], &["replay", "--verify"]] {
            let (code, said) = s.cli_fails(command, "");
            assert!(code == 1 && said.contains("CHANGED  event ") && said.contains(": payload"), "{said}");
        }
        s.start().await;
    });
}

#[test]
fn web_and_worker_share_the_work_as_two_processes() {
    service_story("echo on the worker", "info", async |s| {
        s.stop("-TERM");
        s.start_roles(&["web", "worker"]).await;
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "on the worker\n");
    });
}

#[test]
fn a_log_that_is_longer_than_half_of_its_limit_is_live_all_the_same() {
    let script = "i=0; while [ $i -lt 12000 ]; do i=$((i+1)); echo \"line $i of what fills the first half of the log, and then some more\"; done; \
                  i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done";
    service_story(script, "info", async |s| {
        s.cli(&["project", "set", "api", "--log-limit", "1"]);
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        s.until("the ticks are to be read while it runs", async || s.logs().contains("tick 3\n")).await;
        assert!(s.channel().contains("*running*"), "it is still running");
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        let id = list[0]["of"]["deployment_id"].as_str().unwrap().to_owned();
        s.until("the last moments are told by themselves", async || {
            let newest = s.cli(&["deployment", "logs", &id, "--since", "1s"]);
            newest.contains("tick ") && !newest.contains("tick 1\n") && newest.lines().count() < 10
        })
        .await;
        s.shows("*succeeded*").await;
        let log = s.logs();
        assert_eq!(
            (log.matches("tick ").count(), log.matches("line 12000 of").count(), log.matches("line 1 of").count()),
            (40, 1, 1)
        );
    });
}

#[test]
fn a_log_is_printed_for_pipes_and_followed_to_its_exit_code() {
    let script = r"printf 'got 1 %%\rgot 100 %%\n\033[31mred\033[0m \033]0;title\007end\n'; sleep 3; echo late; exit 7";
    service_story(script, "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        let id = list[0]["of"]["deployment_id"].as_str().unwrap().to_owned();
        let logs = |more: &[&str]| s.cli(&[&["deployment", "logs", &id][..], more].concat());
        let (code, followed) = s.cli_fails(&["deployment", "logs", &id, "--follow"], "");
        assert_eq!((code, followed.as_str()), (7, "got 100 %\nred end\nlate\n"), "the exit code is the deployment's");
        assert_eq!(logs(&[]), "got 100 %\nred end\nlate\n");
        assert_eq!(logs(&["--raw"]), "got 1 %\rgot 100 %\n\x1b[31mred\x1b[0m \x1b]0;title\x07end\nlate\n");
        assert_eq!(logs(&["--grep", "^(red|late)"]), "red end\nlate\n");
        assert_eq!(logs(&["--since", "1h"]).lines().count(), 3);
        assert_eq!(logs(&["--since", "2999-01-01T00:00:00Z"]), "");
        let timed = logs(&["--timestamps"]);
        let late = timed.lines().last().unwrap();
        assert!(
            late.ends_with("Z late") && late.starts_with("20") && late.len() == "2026-11-26T10:00:00.000Z late".len(),
            "{late}"
        );
        let (code, said) = s.cli_fails(&["deployment", "logs", &id, "--grep", "("], "");
        assert!(code == 2 && said.contains("unclosed group"), "{said}");
        let (code, said) = s.cli_fails(&["deployment", "logs", &id, "--since", "soon"], "");
        assert!(code == 2 && said.contains("write how long ago, as in 90s, 5m"), "{said}");
    });
}
