//! Deployments that are stopped, and output that is longer than what is kept.

use coolops::domain::deployment::StopReason;
use coolops::domain::ids::DeploymentId;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};

use crate::story::{Story, build, operator, story};

async fn deployment_of(s: &Story, build: &str) -> DeploymentId {
    let all = s.app.store.deployments().list(None, &[], 100).await.unwrap();
    all.iter().find(|d| d.deployment.build_name == build).unwrap().deployment.of.deployment_id
}

fn because(words: &str) -> StopReason {
    StopReason::Operator { by: "test".to_owned(), reason: words.to_owned() }
}

#[test]
fn a_deployment_that_runs_too_long_is_stopped_and_its_line_names_the_limit_and_not_the_signal() {
    story(async |s| {
        s.app.change_project(s.project(), ProjectChange::TimeLimit(5), &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.time_is_counted().await;
        s.database.set_clock(4 * 60).await;
        s.app.store.keep_clock().await.unwrap();
        s.ci_announces(build("master-3")).await;
        assert!(s.channel().contains("*running*"), "its time is not up yet:\n{}", s.channel());
        s.database.set_clock(5 * 60 + 1).await;
        s.app.store.keep_clock().await.unwrap();
        s.ci_announces(build("master-4")).await;
        s.comes_to_show("*timed out*: it ran longer than 5 minutes (exit code 143)").await;
        s.settle().await;
        assert!(!s.channel().contains("failed"), "{}", s.channel());
        assert_eq!(s.channel().matches("*running*").count(), 1, "the next one has its turn:\n{}", s.channel());
        s.container_ends("master-2", 0).await;
    });
}

#[test]
fn a_clock_that_was_set_back_does_not_lengthen_the_limit() {
    story(async |s| {
        s.app.change_project(s.project(), ProjectChange::TimeLimit(5), &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        s.database.set_clock(3_600).await;
        s.app.store.keep_clock().await.unwrap();
        s.runner.hold();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let press = s.standin.shared().sign_at(s.press_of("ana", "master-1", "Staging").body, now + 3_600);
        assert_eq!(s.deliver(&press).await, 200);
        s.settle().await;
        s.time_is_counted().await;
        // An hour back, one minute after the start.
        s.database.set_clock(60).await;
        s.app.store.keep_clock().await.unwrap();
        s.ci_announces(build("master-2")).await;
        assert!(s.channel().contains("*running*"), "{}", s.channel());
        // How far it was set back is known to the pace at which the clock is kept.
        s.database.set_clock(60 + 5 * 60 + 30).await;
        s.app.store.keep_clock().await.unwrap();
        s.ci_announces(build("master-3")).await;
        s.comes_to_show("*timed out*: it ran longer than 5 minutes").await;
    });
}

#[test]
fn what_waits_for_a_free_worker_ends_at_once_and_the_next_one_has_its_turn() {
    story(async |s| {
        for name in ["master-1", "master-2", "master-3"] {
            s.ci_announces(build(name)).await;
        }
        // Nobody is free to take it up.
        for (user, name) in [("ana", "master-1"), ("ben", "master-2"), ("chi", "master-3")] {
            s.only_presses(user, name, "Staging").await;
        }
        let stopped = s.app.stop(deployment_of(s, "master-1").await, &because("not today"), &operator()).await.unwrap();
        assert_eq!(stopped.state().as_str(), "cancelled");
        let archived = EnvironmentChange::Archive;
        s.app.change_environment(s.project(), "Staging", archived, &operator()).await.unwrap();
        s.slack_works_as_due().await;
        let shown = s.channel();
        assert_eq!(shown.matches("*cancelled*").count(), 3, "{shown}");
        assert!(!shown.contains("*stopping*") && !shown.contains("*queued*"), "{shown}");
        s.settle().await;
        assert!(s.runner.starts().is_empty(), "nothing of it ever ran");
    });
}

#[test]
fn what_waited_behind_a_stopped_one_says_what_it_waits_behind_now() {
    story(async |s| {
        for n in 1..=5 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        s.runner.hold();
        for n in 1..=5 {
            s.presses("ana", &format!("master-{n}"), "Staging").await;
        }
        let waits = |s: &Story, behind: &str| s.channel().matches(&format!("*queued* behind *{behind}*")).count();
        assert_eq!(
            [waits(s, "master-1"), waits(s, "master-2"), waits(s, "master-3"), waits(s, "master-4")],
            [1, 1, 1, 1]
        );
        s.app.stop(deployment_of(s, "master-3").await, &because("not today"), &operator()).await.unwrap();
        s.settle().await;
        assert_eq!((waits(s, "master-3"), waits(s, "master-2")), (0, 1), "{}", s.channel());
        s.app.stop(deployment_of(s, "master-2").await, &because("nor this"), &operator()).await.unwrap();
        s.settle().await;
        assert_eq!((waits(s, "master-2"), waits(s, "master-1"), waits(s, "master-4")), (0, 1, 1), "{}", s.channel());
        s.app.stop(deployment_of(s, "master-5").await, &because("the last one"), &operator()).await.unwrap();
        s.settle().await;
        s.container_ends("master-1", 0).await;
        s.settle().await;
        assert_eq!(s.channel().matches("*queued*").count(), 0, "master-4 has its turn:\n{}", s.channel());
        s.container_ends("master-4", 0).await;
    });
}

#[test]
fn an_operator_stops_what_runs_and_what_waits() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.app.stop(deployment_of(s, "master-2").await, &because("not today"), &operator()).await.unwrap();
        s.settle().await;
        assert!(s.channel().contains("*cancelled*: not today"), "{}", s.channel());
        s.app
            .stop(deployment_of(s, "master-1").await, &because("wrong <!channel> version"), &operator())
            .await
            .unwrap();
        s.comes_to_show("*cancelled*: wrong <!channel> version (exit code 143)").await;
        let again = s.app.stop(deployment_of(s, "master-1").await, &because("again"), &operator()).await.unwrap_err();
        let over = "master-1 on Staging has ended already (cancelled): there is nothing to stop.";
        assert_eq!(again.to_string(), over);
        for (command, reason, says) in [
            ("stop", "x".repeat(10_000), "the reason has 10000 characters; it has 500 at most"),
            ("stop", " ".to_owned(), "the reason is empty; say why, it is recorded"),
            ("erase-output", "x".repeat(501), "the reason has 501 characters; it has 500 at most"),
        ] {
            let id = deployment_of(s, "master-1").await.to_string();
            let (code, _, said) = s.coolops(&["deployment", command, &id, "--reason", &reason]);
            assert!(code == 1 && said.contains(says), "{command}: {said}");
        }
        assert_eq!(s.runner.starts(), [1], "what waited was never started");
    });
}

#[test]
fn of_a_long_output_the_beginning_and_the_end_are_kept_and_what_is_left_out_is_counted() {
    story(async |s| {
        s.app.change_project(s.project(), ProjectChange::LogLimit(1), &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        let lines: Vec<String> = (0..20_000).map(|n| format!("{n:0199}")).collect();
        s.runner.will_print(&lines.iter().map(String::as_str).collect::<Vec<_>>(), 0);
        s.presses("ana", "master-1", "Staging").await;
        let (_, log) = s.get(&s.log_path().replace("?key=", "/raw?key=")).await;
        let kept: Vec<&str> = log.lines().collect();
        let note = kept.iter().position(|l| l.starts_with('…')).expect("a note of what was left out");
        let seal = s
            .app
            .store
            .deployments()
            .get(deployment_of(s, "master-1").await)
            .await
            .unwrap()
            .unwrap()
            .stand
            .log()
            .unwrap()
            .clone();
        assert_eq!(
            kept[note],
            format!(
                "… [{} lines, {} bytes left out here: of a longer output, its beginning and its end are kept]",
                seal.left_out.lines, seal.left_out.bytes
            )
        );
        assert_eq!(kept.len() as i64 - 1 + seal.left_out.lines, 20_000, "kept and counted is what was printed");
        assert_eq!(kept[..note], lines[..note]);
        assert_eq!(kept[note + 1..], lines[lines.len() - (kept.len() - note - 1)..]);
        assert!((900_000..=1_100_000).contains(&log.len()), "{} bytes kept of 1 MiB", log.len());
    });
}
