//! Stories of people who keep others out of an environment for a while.

use std::time::Duration;

use coolops::app::App;
use coolops::app::locks::Target;
use coolops::domain::deployment::StopReason;
use coolops::domain::lock::{Lock, Somebody, Unlocking};
use coolops::domain::settings::EnvironmentChange;
use coolops::store::jobs::Via;
use coolops_lab::standin::workspace::Fault;

use crate::snapshot;
use crate::story::{Story, build, operator, story};

/// How often the channel shows this.
fn times(s: &Story, words: &str) -> usize {
    s.channel().matches(words).count()
}

async fn announced(s: &Story, builds: u32) {
    for n in 1..=builds {
        s.ci_announces(build(&format!("master-{n}"))).await;
    }
}

#[test]
fn the_owner_passes_their_lock_and_others_wait_and_go_on_by_themselves() {
    story(async |s| {
        announced(s, 3).await;
        s.writes("ana", "lock staging for 2h because database migration").await;
        assert!(
            s.channel().contains(":lock: *Staging* is locked by ana (database migration), until <!date^"),
            "everybody sees it:\n{}",
            s.channel()
        );
        s.presses("ben", "master-1", "Staging").await;
        s.presses("chi", "master-2", "Staging").await;
        let waits = "*queued*, waits for the lock of <@U0ANA00001> (database migration), until <!date^";
        assert_eq!((times(s, waits), times(s, "*queued* behind *master-1*")), (1, 1), "{}", s.channel());
        snapshot!("a_line_that_a_lock_keeps_waiting", s.channel());
        s.presses("ana", "master-3", "Staging").await;
        assert_eq!(times(s, "<@U0ANA00001> → *Staging*: :white_check_mark: *succeeded*"), 1, "{}", s.channel());
        assert_eq!((times(s, waits), s.runner.starts()), (1, vec![1]), "the lock stays:\n{}", s.channel());
        let told = s.writes("ben", "status").await;
        assert!(told.contains(":lock: locked by ana (database migration), until"), "{told}");
        s.presses_in_place(":lock: *Staging*", "ana", "Unlock").await;
        s.comes_to_show(":unlock: *Staging* is unlocked by ana.").await;
        s.settle().await;
        assert_eq!(times(s, "*succeeded*"), 3, "both who waited went on, in their order:\n{}", s.channel());
        assert_eq!(s.writes("ben", "locks").await, "Nothing is locked here.");
    });
}

#[test]
fn a_lock_touches_nothing_that_runs_and_keeps_what_comes_behind_it() {
    story(async |s| {
        announced(s, 3).await;
        s.runner.hold();
        s.presses("ben", "master-1", "Staging").await;
        s.presses("chi", "master-2", "Staging").await;
        s.writes("ana", "lock staging").await;
        assert_eq!((times(s, "*running*"), times(s, "*queued* behind *master-1*")), (1, 1), "{}", s.channel());
        s.container_ends("master-1", 0).await;
        assert_eq!(times(s, "*queued*, waits for the lock of <@U0ANA00001>"), 1, "{}", s.channel());
        // Theirs goes first; what waited for the lock waits for what runs once the lock is gone.
        s.presses("ana", "master-3", "Staging").await;
        assert_eq!(times(s, "*running*"), 1, "{}", s.channel());
        s.writes("ana", "unlock staging").await;
        assert_eq!(times(s, "*queued* behind *master-3*"), 1, "{}", s.channel());
        s.container_ends("master-3", 0).await;
        assert_eq!(times(s, "*running*"), 1, "{}", s.channel());
        s.container_ends("master-2", 0).await;
        assert_eq!(times(s, "*succeeded*"), 3, "{}", s.channel());
    });
}

#[test]
fn what_a_lock_keeps_waiting_can_be_cancelled_and_the_next_says_so() {
    story(async |s| {
        announced(s, 3).await;
        s.writes("ana", "lock staging because <!channel> *no*").await;
        for (user, build) in [("ben", "master-1"), ("chi", "master-2"), ("ben", "master-3")] {
            s.presses(user, build, "Staging").await;
        }
        let waits = "waits for the lock of <@U0ANA00001> (<!channel> ∗no∗)";
        s.cancels("ben", waits, "").await;
        assert_eq!(
            (times(s, waits), times(s, "behind *master-2*")),
            (1, 1),
            "the second is first now:\n{}",
            s.channel()
        );
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.cancels("chi", waits, "").await;
        assert_eq!(times(s, waits), 1, "the third is first now, while the owner's runs:\n{}", s.channel());
        s.container_ends("master-1", 0).await;
        s.writes("ana", "unlock staging").await;
        s.container_ends("master-3", 0).await;
        assert_eq!((times(s, "*cancelled*"), times(s, "*succeeded*")), (2, 2), "{}", s.channel());
    });
}

#[test]
fn two_lock_at_once_and_one_has_it() {
    story(async |s| {
        announced(s, 1).await;
        let lock = |user: &str| s.standin.shared().signed_command("C0DEPLOYS1", user, "lock staging").unwrap();
        let (ana, ben) = (lock("U0ANA00001"), lock("U0BEN00001"));
        let (ana, ben) = tokio::join!(s.deliver_command(&ana), s.deliver_command(&ben));
        let answers = [ana.1, ben.1];
        let won = answers.iter().filter(|a| a.contains("*Staging* is yours")).count();
        let lost = answers.iter().filter(|a| a.contains("Staging is locked by ") && a.contains(" already.")).count();
        assert_eq!((won, lost), (1, 1), "{answers:?}");
        s.settle().await;
        assert_eq!(times(s, ":lock: *Staging* is locked by"), 1, "one lock, one message:\n{}", s.channel());
    });
}

#[test]
fn of_two_processes_that_lock_at_once_one_does() {
    story(async |s| {
        announced(s, 1).await;
        let other = App::new(s.app.store.clone(), s.keyring(), "https://coolops.test");
        let staging = s.app.project_named("api").await.unwrap().environment_named("Staging").unwrap().id;
        let target = Target::Environment(s.project(), staging);
        let by =
            |login: &str| Lock::new(Somebody::Operator { login: login.into() }, None, s.app.store.clock().now(), None);
        // Both know the environment as it is.
        other.unlock(target, &Unlocking::RanOut).await.ok();
        for round in 0..10 {
            let (one, two) = tokio::join!(s.app.lock(target, by("one")), other.lock(target, by("two")));
            let said = format!("{round}: {one:?} {two:?}");
            assert!(one.is_ok() != two.is_ok(), "{said}");
            let refused = one.err().or(two.err()).unwrap().to_string();
            assert!(refused.starts_with("Staging is locked by "), "{said}");
            let root = Somebody::Operator { login: "root".into() };
            s.app.unlock(target, &Unlocking::Any(root)).await.unwrap();
        }
    });
}

#[test]
fn somebody_elses_lock_is_taken_away_only_after_asking_back_and_they_are_called() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock production because migration").await;
        s.presses("ben", "master-1", "Production").await;
        let asked = s.writes("ben", "unlock production").await;
        assert_eq!(asked, "*Production* is locked by ana (migration). Shall it be taken away?\n[Unlock]");
        assert_eq!(times(s, "waits for the lock of"), 1, "nothing happened yet");
        s.presses_in_answer("ben", "Unlock").await;
        s.comes_to_show(":unlock: *Production* is unlocked by ben; it was the lock of <@U0ANA00001> (migration).")
            .await;
        s.settle().await;
        assert_eq!(times(s, "*succeeded*"), 1, "{}", s.channel());
        let again = s.writes("ana", "unlock production").await;
        assert!(again.starts_with("Production is not locked: ben took the lock of ana away at 20"), "{again}");
        let never = s.writes("ana", "unlock staging").await;
        assert_eq!(never, "Staging is not locked.");
    });
}

#[test]
fn a_lock_runs_out_once_and_who_waited_goes_on() {
    story(async |s| {
        announced(s, 2).await;
        s.writes("ana", "lock staging for 2h").await;
        s.presses("ben", "master-1", "Staging").await;
        s.database.set_clock(2 * 3_600 + 1).await;
        s.app.store.keep_clock().await.unwrap();
        // Several notice at once.
        let environment = s.app.project_named("api").await.unwrap().environment_named("Staging").unwrap().id;
        let (one, other) = tokio::join!(s.app.end_lock(environment.into()), s.app.end_lock(environment.into()));
        assert_eq!((one.unwrap(), other.unwrap()), (None, None));
        s.comes_to_show("*succeeded*").await;
        let recorded = "select count(*) from event where type = 'environment_unlocked'";
        assert_eq!(s.database.count(recorded).await, 1);
        let ran_out = ":unlock: *Staging* is unlocked: the lock of ana, until";
        assert_eq!((times(s, ran_out), times(s, ":lock: *Staging*")), (1, 0), "its message says so:\n{}", s.channel());
        s.database.set_clock(0).await;
        s.app.store.keep_clock().await.unwrap();
        let gone = s.writes("ben", "unlock staging").await;
        assert!(gone.starts_with("Staging is not locked: the lock of ana ran out at 20"), "{gone}");
    });
}

#[test]
fn a_press_that_comes_first_notices_that_a_lock_ran_out() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock staging for 1m").await;
        s.database.set_clock(61).await;
        s.app.store.keep_clock().await.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let press = s.standin.shared().sign_at(s.press_of("ben", "master-1", "Staging").body, now + 61);
        assert_eq!(s.deliver(&press).await, 200);
        s.comes_to_show("<@U0BEN00001> → *Staging*: :white_check_mark: *succeeded*").await;
        let order = "select count(*) from event u join event r on r.position > u.position
                      where u.type = 'environment_unlocked' and r.type = 'deployment_requested'";
        assert_eq!(s.database.count(order).await, 1, "the end of the lock stands before the press");
    });
}

#[test]
fn a_lock_that_can_not_be_is_refused_with_what_to_write() {
    story(async |s| {
        announced(s, 1).await;
        let long = format!("lock staging because {}", "<!channel>".repeat(60));
        for (written, answer) in [
            (
                "lock staging for ever",
                "\"ever\" is not a length of time; write it as 90m, 2h, 1h30m or 3d.\nTry: `/coolops lock staging for 2h`",
            ),
            ("lock staging until 2020-01-01 09:00", "The lock would have ended "),
            ("lock staging until 2036-01-01 09:00", "A lock lasts 365 days at most; name an earlier time."),
            (
                "lock staging until 2027-03-28 02:30 Europe/Berlin",
                "2027-03-28 02:30 does not exist in Europe/Berlin: the clocks are changed then.",
            ),
            ("lock", "Where? Name the environment.\nTry: `/coolops lock <environment | project | all>"),
            (&long, "The reason has 600 characters; it has 500 at most."),
        ] {
            let told = s.writes("ana", written).await;
            assert!(told.starts_with(answer), "{written}: {told}");
        }
        assert_eq!(s.writes("ana", "locks").await, "Nothing is locked here.");
        // An environment that is archived under its lock takes none any more, and is shown no more.
        s.writes("ana", "lock staging").await;
        s.presses("ben", "master-1", "Staging").await;
        s.app.change_environment(s.project(), "Staging", EnvironmentChange::Archive, &operator()).await.unwrap();
        s.settle().await;
        assert!(s.channel().contains("*cancelled*: the environment Staging was archived"), "{}", s.channel());
        assert!(s.writes("ana", "lock staging").await.starts_with("No environment here begins with \"staging\"."));
        assert_eq!(s.writes("ana", "locks").await, "Nothing is locked here.");
    });
}

#[test]
fn an_operator_s_lock_keeps_everybody_waiting() {
    story(async |s| {
        announced(s, 1).await;
        let project = s.app.project_named("api").await.unwrap();
        let staging = project.environment_named("Staging").unwrap().id;
        let holder = Somebody::Operator { login: "root".into() };
        let lock = Lock::new(holder.clone(), None, s.app.store.clock().now(), None);
        s.app.lock(Target::Environment(project.id, staging), lock).await.unwrap();
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(s, "*queued*, waits for the lock of root"), 1, "{}", s.channel());
        assert_eq!(times(s, ":lock: *Staging* is locked by root"), 1, "the channel is told:\n{}", s.channel());
        s.app.unlock(Target::Environment(project.id, staging), &Unlocking::Own(holder)).await.unwrap();
        s.settle().await;
        assert_eq!(times(s, "*succeeded*"), 1, "{}", s.channel());
    });
}

#[test]
fn a_lock_has_one_message_that_follows_it_whatever_becomes_of_slack() {
    story(async |s| {
        announced(s, 1).await;
        s.standin.workspace().plan("chat.postMessage", Fault::LostReply, 1);
        s.writes("ana", "lock staging because migration").await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ana (migration)"), 1, "found again:\n{}", s.channel());
        s.standin.workspace().plan("chat.update", Fault::LostReply, 1);
        s.writes("ana", "lock staging because migration and more").await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ana (migration and more)"), 1, "{}", s.channel());
        assert_eq!(times(s, ":lock:"), 1, "edited, not posted again:\n{}", s.channel());
        s.writes("ana", "unlock staging").await;
        assert_eq!((times(s, ":lock:"), times(s, ":unlock: *Staging* is unlocked by ana.")), (0, 1), "{}", s.channel());
        snapshot!("a_lock_s_message_afterwards", s.channel());
        // The next lock is another one. Deleted by somebody, it is not posted again.
        s.writes("ben", "lock staging").await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ben"), 1, "{}", s.channel());
        s.standin.workspace().channels[0].messages.retain(|m| !m.text.contains("locked by ben"));
        s.writes("ben", "unlock staging").await;
        assert_eq!((times(s, "ben"), times(s, ":unlock:")), (0, 1), "{}", s.channel());
        assert_eq!(s.database.count("select count(*) from job where state <> 'done'").await, 0);
    });
}

#[test]
fn what_ended_last_runs_there_whoever_pressed_first() {
    story(async |s| {
        announced(s, 3).await;
        s.writes("ana", "lock staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.presses("ana", "master-1", "Staging").await;
        s.writes("ana", "unlock staging").await;
        assert_eq!(times(s, "*succeeded*"), 2, "{}", s.channel());
        assert!(s.writes("chi", "status").await.contains("*Staging*: *master-2* since"));
        let asked = s.writes("chi", "rollback staging").await;
        assert!(asked.starts_with("Staging runs master-2. Before it, master-1 went well there."), "{asked}");
        s.presses("chi", "master-3", "Staging").await;
        let line = s.channel().lines().find(|line| line.contains("→ master-3 · ended")).map(str::to_owned);
        assert!(line.is_some_and(|line| line.contains(" / master-2 (since <!date^")), "{}", s.channel());
        // What was cancelled before it began has left no trace there.
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.cancels("ben", "behind *master-1*", "").await;
        s.container_ends("master-1", 3).await;
        let told = s.writes("chi", "status").await;
        assert!(told.contains("*master-3* since") && told.contains("*master-1* :x: *failed*: exit code 3"), "{told}");
        assert!(!told.contains("cancelled"), "{told}");
    });
}

#[test]
fn a_shorter_lock_after_a_longer_one_runs_out_in_its_own_time() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock staging for 2h").await;
        // Its end is being seen to.
        let see = async || {
            s.database
                .execute("update job set run_at = clock_timestamp() where kind = 'end_lock' and state = 'ready'")
                .await;
            s.run.take(Via::Sweep, Duration::ZERO).await;
        };
        see().await;
        s.writes("ana", "unlock staging").await;
        s.writes("ben", "lock staging for 1m").await;
        s.presses("chi", "master-1", "Staging").await;
        let soon = "select count(*) from job where kind = 'end_lock' and state = 'ready' and run_at < coolops_now() + interval '11 s'";
        assert_eq!(s.database.count(soon).await, 1, "somebody looks within seconds");
        s.database.set_clock(75).await;
        s.app.store.keep_clock().await.unwrap();
        s.run.take(Via::Sweep, Duration::ZERO).await;
        s.comes_to_show("*succeeded*").await;
    });
}

#[test]
fn an_old_button_takes_away_no_other_lock_than_it_asked_about() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock staging because migration").await;
        let old = s.press_in_place("(migration)", "chi", "Unlock");
        s.writes("ana", "unlock staging").await;
        s.writes("ben", "lock staging because incident").await;
        s.deliver(&old).await;
        s.told_only("chi", "*Staging* is locked by ben (incident). Shall it be taken away?").await;
        assert_eq!(s.writes("ana", "locks").await.lines().count(), 1, "ben's is there");
        s.presses_in_answer("chi", "Unlock").await;
        s.comes_to_show("*Staging* is unlocked by chi; it was the lock of <@U0BEN00001> (incident).").await;
    });
}

#[test]
fn who_waits_says_for_whom_also_when_the_owner_overtakes() {
    story(async |s| {
        announced(s, 4).await;
        s.runner.hold();
        s.presses("ben", "master-1", "Staging").await;
        s.presses("chi", "master-2", "Staging").await;
        s.writes("ana", "lock staging").await;
        s.presses("ana", "master-3", "Staging").await;
        s.container_ends("master-1", 0).await;
        let waits = "waits for the lock of <@U0ANA00001>";
        assert_eq!((times(s, "*running*"), times(s, waits)), (1, 1), "the owner's overtakes chi's:\n{}", s.channel());
        s.presses("ben", "master-4", "Staging").await;
        assert_eq!(times(s, "*queued* behind *master-2*"), 1, "and not behind the owner's:\n{}", s.channel());
        s.container_ends("master-3", 0).await;
        assert_eq!((times(s, waits), times(s, "*queued* behind *master-2*")), (1, 1), "{}", s.channel());
        s.writes("ana", "unlock staging").await;
        s.container_ends("master-2", 0).await;
        s.container_ends("master-4", 0).await;
        assert_eq!(times(s, "*succeeded*"), 4, "{}", s.channel());
    });
}

#[test]
fn whose_job_was_lost_is_seen_to_after_a_replay_and_a_changed_lock_tells_those_who_wait() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock staging for 1h because migration").await;
        s.presses("ben", "master-1", "Staging").await;
        s.database.execute("delete from job where kind = 'end_lock'").await;
        assert_eq!(s.app.rebuild().await.unwrap().work_found, 1);
        s.writes("ana", "lock staging for 2h because it takes longer").await;
        assert_eq!(times(s, "waits for the lock of <@U0ANA00001> (it takes longer)"), 1, "{}", s.channel());
        s.database.set_clock(2 * 3_600 + 15).await;
        s.app.store.keep_clock().await.unwrap();
        s.run.take(Via::Sweep, Duration::ZERO).await;
        s.comes_to_show("*succeeded*").await;
    });
}

#[test]
fn the_button_under_a_changed_lock_takes_that_lock_away() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock staging because migration").await;
        s.writes("ana", "lock staging because it takes longer").await;
        s.presses_in_place("(it takes longer)", "ben", "Unlock").await;
        s.comes_to_show("*Staging* is unlocked by ben; it was the lock of <@U0ANA00001> (it takes longer).").await;
    });
}

/// What the line of a build says of Staging.
fn says(s: &Story, build: &str) -> String {
    let channel = s.channel();
    let message = channel.split("# Api: ").find(|message| message.starts_with(&format!("{build}\n"))).unwrap();
    message.lines().filter(|line| line.contains("→ *Staging*")).map(str::to_owned).collect::<Vec<_>>().join("\n")
}

async fn cancels(s: &Story, build: &str) {
    let all = s.app.store.deployments().list(None, &[], 100).await.unwrap();
    let id = all.iter().find(|d| d.deployment.build_name == build).unwrap().deployment.of.deployment_id;
    let reason = StopReason::Operator { by: "test".to_owned(), reason: "no".to_owned() };
    s.app.stop(id, &reason, &operator()).await.unwrap();
    s.settle().await;
}

async fn four_builds_and_a_lock_of_ana(s: &Story) {
    for n in 1..=4 {
        s.ci_announces(build(&format!("m-{n}"))).await;
    }
    s.writes("ana", "lock api Staging").await;
    s.runner.hold();
}

#[test]
fn who_waited_behind_one_that_is_cancelled_waits_behind_the_one_before_it_under_a_lock_too() {
    story(async |s| {
        four_builds_and_a_lock_of_ana(s).await;
        for (user, name) in [("ben", "m-1"), ("chi", "m-2"), ("ben", "m-3")] {
            s.presses(user, name, "Staging").await;
        }
        assert!(says(s, "m-3").contains("*queued* behind *m-2*"), "{}", says(s, "m-3"));
        cancels(s, "m-2").await;
        assert!(says(s, "m-3").contains("*queued* behind *m-1*"), "{}", says(s, "m-3"));
        s.writes("ana", "unlock api Staging").await;
        assert!(says(s, "m-1").contains("*running*") && says(s, "m-3").contains("behind *m-1*"), "{}", s.channel());
        s.container_ends("m-1", 0).await;
        s.container_ends("m-3", 0).await;
    });
}

#[test]
fn who_waits_says_behind_whom_whatever_a_lock_let_through_before() {
    story(async |s| {
        four_builds_and_a_lock_of_ana(s).await;
        for (user, name) in [("ben", "m-1"), ("ana", "m-2"), ("ana", "m-3")] {
            s.presses(user, name, "Staging").await;
        }
        // Ben's waits for the lock, Ana's runs, and her next one is behind that. Without the lock all wait for hers.
        s.writes("ana", "unlock api Staging").await;
        assert!(says(s, "m-1").contains("behind *m-2*") && says(s, "m-3").contains("behind *m-2*"), "{}", s.channel());
        s.container_ends("m-2", 0).await;
        assert!(says(s, "m-1").contains("*running*"), "{}", s.channel());
        assert!(says(s, "m-3").contains("*queued* behind *m-1*"), "{}", says(s, "m-3"));
        s.container_ends("m-1", 0).await;
        s.container_ends("m-3", 0).await;
    });
}

#[test]
fn who_waits_behind_the_last_of_the_locks_owner_waits_behind_the_first_one_when_that_has_ended() {
    story(async |s| {
        four_builds_and_a_lock_of_ana(s).await;
        for (user, name) in [("ben", "m-1"), ("ana", "m-2"), ("ana", "m-3"), ("chi", "m-4")] {
            s.presses(user, name, "Staging").await;
        }
        s.container_ends("m-2", 0).await;
        s.container_ends("m-3", 0).await;
        assert!(says(s, "m-1").contains("waits for the lock of"), "{}", s.channel());
        assert!(says(s, "m-4").contains("*queued* behind *m-1*"), "{}", says(s, "m-4"));
        s.writes("ana", "unlock api Staging").await;
        s.container_ends("m-1", 0).await;
        s.container_ends("m-4", 0).await;
    });
}

#[test]
fn who_waited_behind_one_that_a_lock_kept_waits_behind_what_runs_when_that_one_is_cancelled() {
    story(async |s| {
        four_builds_and_a_lock_of_ana(s).await;
        for (user, name) in [("ben", "m-1"), ("chi", "m-2"), ("ana", "m-3")] {
            s.presses(user, name, "Staging").await;
        }
        s.writes("ana", "unlock api Staging").await;
        cancels(s, "m-1").await;
        assert!(says(s, "m-2").contains("*queued* behind *m-3*"), "{}", says(s, "m-2"));
        s.container_ends("m-3", 0).await;
        s.container_ends("m-2", 0).await;
    });
}

#[test]
fn whoever_another_lock_keeps_waiting_says_so_although_somebody_else_has_their_turn() {
    story(async |s| {
        four_builds_and_a_lock_of_ana(s).await;
        s.writes("ben", "lock all of api because freeze").await;
        s.presses("chi", "m-1", "Staging").await;
        s.presses("ben", "m-2", "Staging").await;
        s.writes("ana", "unlock api Staging").await;
        assert!(says(s, "m-2").contains("*running*"), "{}", s.channel());
        let waits = "waits for the lock of <@U0BEN00001> on the whole project (freeze)";
        assert!(says(s, "m-1").contains(waits), "{}", says(s, "m-1"));
        s.container_ends("m-2", 0).await;
        s.writes("ben", "unlock all of api").await;
        s.container_ends("m-1", 0).await;
    });
}
