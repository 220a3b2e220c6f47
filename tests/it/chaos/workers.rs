//! Workers die, freeze and restart.

use std::time::{Duration, Instant};

use super::{Chaos, chaos, counted, counting};

/// One run that is killed and taken over; tells how long the takeover took.
fn killed_and_taken_over() {
    chaos(&counting(400, 50, 4), Some(counted(400)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web", "worker"]).await;
        s.runs("master-1").await;
        s.start_worker();
        // Somewhere in mid-line, mid-chunk, mid-anything.
        let after = u64::from(coolops::keys::random::<1>()[0]) * 4;
        tokio::time::sleep(Duration::from_millis(after)).await;
        s.injects(&format!("SIGKILL to the worker that holds the deployment, {after} ms later than its first lines"));
        let lines = s.logs().lines().count();
        s.end_process(1, "-KILL");
        let killed = Instant::now();
        s.until("the other worker goes on with the log", async || s.logs().lines().count() > lines + 5).await;
        let took = killed.elapsed();
        s.saw(&format!("the other worker stored new lines {:.1} s after the kill", took.as_secs_f64()));
        assert!(took <= Duration::from_secs(25), "the takeover took {took:?}");
        s.shows("*failed*: exit code 4").await;
    });
}

#[test]
fn f01_a_worker_is_killed_while_the_container_runs() {
    killed_and_taken_over();
}

#[test]
fn f01_again() {
    killed_and_taken_over();
}

#[test]
fn f01_and_again() {
    killed_and_taken_over();
}

#[test]
#[ignore = "takes ten minutes"]
fn f01_twenty_times() {
    for _ in 0..20 {
        killed_and_taken_over();
    }
}

/// The worker dies at a failpoint; the next one goes on from there.
fn dies_at(failpoint: &str, starts: usize) {
    chaos(&counting(20, 20, 0), Some(counted(20)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.announces("master-1").await;
        s.set("FAILPOINTS", &format!("{failpoint}=return"));
        s.start_worker();
        s.injects(&format!("the worker dies at {failpoint}"));
        s.presses("ana", "master-1", "Staging").await;
        s.until_process_ended(1).await;
        s.unset("FAILPOINTS");
        s.start_worker();
        s.shows("*succeeded*").await;
        assert_eq!(s.starts().await, starts);
        s.saw(&format!("the next worker went on, {starts} start by the engine's account"));
    });
}

#[test]
fn f02_killed_between_intent_and_create() {
    dies_at("after_intent", 1);
}

#[test]
fn f03_killed_between_create_and_start() {
    dies_at("after_create", 1);
}

#[test]
fn f04_killed_between_start_and_its_record() {
    dies_at("after_start", 1);
}

#[test]
fn f05_killed_after_the_end_and_before_its_record() {
    dies_at("before_end", 1);
}

#[test]
#[ignore = "one of many like it"]
fn f05_killed_at_every_other_commit_of_a_run() {
    for failpoint in ["before_intent", "after_started", "after_chunk", "after_output", "after_end", "before_complete"] {
        dies_at(failpoint, 1);
    }
}

/// The web server dies at a failpoint of an append while a build is announced; the command tries again by itself.
fn announced_while_dying_at(failpoint: &str) {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web", "worker"]).await;
        s.end_process(0, "-TERM");
        s.set("FAILPOINTS", &format!("{failpoint}=return"));
        s.start_roles(&["web"]).await;
        s.injects(&format!("the web server dies at {failpoint} of the append of a build"));
        let first = s.run(&["build:new", "master-1"], "");
        assert!(!first.status.success(), "nobody answered");
        s.until_process_ended(1).await;
        s.unset("FAILPOINTS");
        s.start_roles(&["web"]).await;
        s.injects("the job is run again");
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        assert_eq!(s.database.count("select count(*) from event where type = 'build_registered'").await, 1);
        s.saw("one build, one message");
    });
}

#[test]
fn f16_killed_before_an_append_is_committed() {
    announced_while_dying_at("before_commit");
}

#[test]
fn f16_killed_after_an_append_is_committed() {
    announced_while_dying_at("after_commit");
}

#[test]
fn f21_killed_between_the_note_of_a_ring_and_the_ring() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.stop("-TERM");
        s.set("FAILPOINTS", "after_ring_noted=return");
        s.start().await;
        s.injects("the process dies when it has noted that it rings, and nobody hears it");
        s.run(&["build:new", "master-1"], "");
        s.until_process_ended(0).await;
        s.unset("FAILPOINTS");
        let again = Instant::now();
        s.start().await;
        s.shows("# Api: master-1").await;
        let took = again.elapsed();
        assert!(took < Duration::from_secs(8), "the build was seen to after {took:?}, start included");
        s.saw(&format!("the next process saw to it {:.1} s after its start", took.as_secs_f64()));
    });
}

#[test]
fn f05_a_container_that_a_crash_left_behind_is_swept() {
    chaos(&counting(3, 10, 0), Some(counted(3)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.announces("master-1").await;
        s.set("FAILPOINTS", "after_end=return");
        s.start_worker();
        s.presses("ana", "master-1", "Staging").await;
        s.until_process_ended(1).await;
        let docker = s.docker();
        let name = format!("coolops-{}", s.database.text("select id::text from deployment").await);
        docker.inspect_container(&name, None).await.expect("the container is still there");
        s.injects("the deployment is over, its container is left behind, and no job stands for it any more");
        s.database
            .execute("update job set state = 'done', done = wanted, lease_until = null where kind = 'run_deployment'")
            .await;
        s.unset("FAILPOINTS");
        s.start_worker();
        s.until("it is gone", async || docker.inspect_container(&name, None).await.is_err()).await;
        s.saw("the next worker removed it at its start");
    });
}

#[test]
fn f06_a_frozen_worker_comes_back_and_may_write_nothing() {
    chaos(&counting(600, 50, 0), Some(counted(600)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web", "worker"]).await;
        s.runs("master-1").await;
        s.start_worker();
        s.injects("SIGSTOP to the worker that holds the deployment");
        s.signal(1, "-STOP");
        let lines = s.logs().lines().count();
        s.until("the other worker goes on with the log", async || s.logs().lines().count() > lines + 5).await;
        s.saw("the other worker took over");
        s.injects("SIGCONT to the frozen one, which still believes to hold it");
        s.signal(1, "-CONT");
        s.shows("*succeeded*").await;
    });
}

#[test]
fn f07_a_rolling_restart_hands_the_deployment_over_within_a_second() {
    chaos(&counting(150, 50, 0), Some(counted(150)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web", "worker"]).await;
        s.runs("master-1").await;
        for n in 1..=3 {
            let listening = |s: &Chaos<'_>| {
                let log = std::fs::read_to_string(&s.log).unwrap();
                log.lines().filter(|l| l.contains(":run-") && l.trim_end().ends_with("started")).count()
            };
            let before = listening(s);
            s.start_worker();
            s.until("the new worker listens for doorbells", async || listening(s) > before).await;
            let fence = "select coalesce(max(fence), 0) from job where kind = 'run_deployment' and state = 'leased'";
            let before = s.database.count(fence).await;
            s.injects(&format!("SIGTERM to the worker that holds the deployment, the {n}. time"));
            let told = Instant::now();
            s.end_process(1, "-TERM");
            s.until("the other worker holds it", async || s.database.count(fence).await > before).await;
            let took = told.elapsed();
            s.saw(&format!("handed over {:.0} ms after SIGTERM", took.as_secs_f64() * 1_000.0));
            assert!(took < Duration::from_secs(1), "the hand-over took {took:?}");
        }
        s.shows("*succeeded*").await;
    });
}

#[test]
fn f08_the_container_ends_while_no_worker_is_there() {
    chaos(&counting(40, 50, 7), Some(counted(40)), async |s| {
        s.stop("-TERM");
        s.start_roles(&["web", "worker"]).await;
        s.runs("master-1").await;
        s.injects("SIGKILL to the only worker; the container ends meanwhile");
        s.end_process(1, "-KILL");
        let docker = s.docker();
        let name = format!("coolops-{}", s.database.text("select id::text from deployment").await);
        let has_ended =
            async || docker.inspect_container(&name, None).await.unwrap().state.unwrap().running == Some(false);
        s.until("the container has ended", has_ended).await;
        s.start_worker();
        s.shows("*failed*: exit code 7").await;
        s.saw("the true exit code and the whole log");
    });
}

#[test]
fn f26_a_job_that_can_not_be_done_is_put_off_and_shown_and_harms_no_other() {
    chaos(&counting(3, 10, 0), None, async |s| {
        s.announces("master-1").await;
        s.injects("a job of a deployment that does not exist, and a kind that nobody knows");
        s.database
            .execute("insert into job (id, kind, key, wanted) values (gen_random_uuid(), 'run_deployment', gen_random_uuid(), 1)")
            .await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        s.saw("the others went on");
        s.injects("a job that panics whenever it is done");
        s.stop("-TERM");
        s.set("FAILPOINTS", "before_intent=panic");
        s.start().await;
        s.presses("ana", "master-1", "Staging").await;
        s.until("the operator is told", async || {
            s.cli_fails(&["doctor"], "").1.contains("it panicked, which is a fault of coolops")
        })
        .await;
        s.announces("master-2").await;
        s.stop("-TERM");
        s.unset("FAILPOINTS");
        s.start().await;
        s.shows_times("*succeeded*", 2).await;
        s.saw("it was put off, and done when it could be");
    });
}

#[test]
fn f06_a_last_line_without_an_end_stays_one_line_when_the_worker_dies_before_the_end_is_recorded() {
    chaos("echo one; printf end", None, async |s| {
        s.announces("master-1").await;
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.set("FAILPOINTS", "before_end=return");
        s.start_worker();
        s.presses("ana", "master-1", "Staging").await;
        s.until_process_ended(1).await;
        s.injects("the worker died when all output was stored and the end was not recorded");
        s.unset("FAILPOINTS");
        s.start_worker();
        s.shows("*succeeded*").await;
        assert!(s.logs().ends_with("one\nend\n"), "{:?}", s.logs());
    });
}
