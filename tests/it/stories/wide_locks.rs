//! Stories of locks that lie on a project or on everything, that a deployment takes, and that somebody forgot.

use coolops::app::App;
use coolops::app::locks::Target;
use coolops::domain::lock::{Lock, Person, Somebody, Unlocking};
use coolops::domain::rights::Who;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};

use crate::snapshot;
use crate::story::{Story, build, operator, story};

fn times(s: &Story, words: &str) -> usize {
    s.channel().matches(words).count()
}

async fn administered_by(s: &Story, user: &str) {
    s.app.appoint(vec![Who::User { id: user.into(), name: None }], &operator()).await.unwrap();
}

async fn set(s: &Story, environment: &str, change: EnvironmentChange) {
    s.app.change_environment(s.project(), environment, change, &operator()).await.unwrap();
}

/// So many seconds have passed, and forgotten locks are looked for, as every five minutes.
async fn passes(s: &Story, seconds: i64) {
    s.database.set_clock(seconds).await;
    s.app.store.keep_clock().await.unwrap();
    s.app.remind_of_locks().await.unwrap();
    s.settle().await;
}

#[test]
fn a_projects_lock_keeps_all_its_environments_waiting_those_to_come_included() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let told = s.writes("ana", "lock api for 2h because migration").await;
        assert!(told.starts_with(":lock: *All of Api* is yours (migration), until <!date^"), "{told}");
        s.app.create_environment(s.project(), "Canary", None, &operator()).await.unwrap();
        s.ci_announces(build("master-2")).await;
        for environment in ["Production", "Staging", "Canary"] {
            s.presses("ben", "master-2", environment).await;
        }
        let waits = "*queued*, waits for the lock of <@U0ANA00001> on the whole project (migration), until <!date^";
        assert_eq!(times(s, waits), 3, "{}", s.channel());
        assert_eq!(times(s, ":lock: *All of Api* is locked by ana (migration), until"), 1, "{}", s.channel());
        assert_eq!(s.direct("ben").matches("waits for the lock of <@U0ANA00001> on the whole project").count(), 3);
        let status = s.writes("chi", "status").await;
        assert_eq!(status.matches(":lock: locked with the whole project by ana (migration)").count(), 3, "{status}");
        snapshot!("a_project_that_is_locked", s.channel());
        // Theirs goes through, and those of others go on together when it is gone.
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(s, "<@U0ANA00001> → *Staging*: :white_check_mark: *succeeded*"), 1, "{}", s.channel());
        assert_eq!(times(s, waits), 3, "the lock stays");
        let gone = s.writes("ana", "unlock all of api").await;
        assert_eq!(gone, ":unlock: *All of Api* is unlocked by ana.");
        assert_eq!(times(s, "*succeeded*"), 4, "{}", s.channel());
        assert_eq!(times(s, ":unlock: *All of Api* is unlocked by ana."), 1, "its message says so:\n{}", s.channel());
        assert_eq!(s.writes("ana", "locks").await, "Nothing is locked here.");
    });
}

#[test]
fn of_two_locks_each_keeps_out_and_both_have_to_go() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.writes("ana", "lock staging because tests").await;
        s.writes("ben", "lock all of api because freeze").await;
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(s, "waits for the lock of <@U0BEN00001> on the whole project (freeze)"), 1, "{}", s.channel());
        s.presses("ben", "master-2", "Staging").await;
        assert_eq!(times(s, "*queued* behind *master-1*"), 1, "{}", s.channel());
        s.writes("ben", "unlock api").await;
        assert_eq!(times(s, "<@U0ANA00001> → *Staging*: :white_check_mark: *succeeded*"), 1, "{}", s.channel());
        assert_eq!(times(s, "*queued*, waits for the lock of <@U0ANA00001> (tests)"), 1, "{}", s.channel());
        s.writes("ana", "unlock staging").await;
        assert_eq!(times(s, "*succeeded*"), 2, "{}", s.channel());
    });
}

#[test]
fn everything_is_locked_by_an_administrator_alone_and_every_channel_is_told() {
    story(async |s| {
        s.standin.workspace().add_channel("C0OTHER001", "other");
        s.app.create_project("web", "Web", "registry.test/deploy:1", "C0OTHER001", &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        let refused = s.writes("ana", "lock all because incident").await;
        assert_eq!(refused, "You may not lock everything: only operators may.");
        administered_by(s, "U0BEN00001").await;
        assert_eq!(s.writes("ana", "lock all").await, "You may not lock everything: only U0BEN00001 may.");
        let told = s.writes("ben", "lock all because incident").await;
        assert!(told.starts_with(":lock: *Everything* is yours (incident)."), "{told}");
        s.presses("ana", "master-1", "Production").await;
        let waits = "*queued*, waits for the lock of <@U0BEN00001> on everything (incident)";
        assert_eq!(times(s, waits), 1, "{}", s.channel());
        let shown = |s: &Story, words: &str| {
            let workspace = s.standin.workspace();
            let all = ["C0DEPLOYS1", "C0OTHER001"].map(|id| workspace.channels.iter().find(|c| c.id == id).unwrap());
            all.map(|channel| crate::story::read::channel(channel, None).matches(words).count())
        };
        assert_eq!(shown(s, ":lock: *Everything* is locked by ben (incident)."), [1, 1]);
        assert!(s.writes("ana", "locks").await.starts_with(":lock: *Everything* by ben since"));
        let refused = s.writes("ana", "unlock all").await;
        assert_eq!(refused, "You may not lock everything: only U0BEN00001 may.");
        assert_eq!(times(s, waits), 1, "nothing happened");
        // An operator takes it away, and its holder hears so.
        let root = Somebody::Operator { login: "root".into() };
        s.app.unlock(Target::Everything, &Unlocking::Any(root)).await.unwrap();
        s.settle().await;
        assert_eq!(times(s, "*succeeded*"), 1, "{}", s.channel());
        assert_eq!(shown(s, ":unlock: *Everything* is unlocked by root"), [1, 1]);
        let told = "root, an operator, took away your lock of *everything*: incident.";
        assert!(s.direct("ben").contains(told), "{}", s.direct("ben"));
        let told = "root, an operator, took away ben's lock of *everything*: incident.";
        assert_eq!(s.threads().matches(told).count(), 1, "{}", s.threads());
        let again = s.writes("ben", "unlock all").await;
        assert!(again.starts_with("Everything is not locked: root took the lock of ben away at 20"), "{again}");
    });
}

#[test]
fn a_lock_that_somebody_took_away_is_told_where_another_one_still_lies() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "lock staging because database migration").await;
        s.writes("chi", "lock api because audit").await;
        s.presses("ben", "master-1", "Staging").await;
        let staging = s.app.project_named("api").await.unwrap().environment_named("Staging").unwrap().id;
        let root = Somebody::Operator { login: "root".into() };
        s.app.unlock(Target::Environment(s.project(), staging), &Unlocking::Any(root.clone())).await.unwrap();
        s.settle().await;
        let first = "root, an operator, took away ana's lock of *Staging*: database migration.";
        assert_eq!(s.threads().matches(first).count(), 1, "{}", s.threads());
        let waits = "waits for the lock of chi on the whole project (audit)";
        assert_eq!(s.threads().matches(waits).count(), 1, "{}", s.threads());
        // Whoever comes first, the job of that lock or the sweep, says so.
        let job = "delete from job where kind = 'move_lines'";
        s.app.unlock(Target::Project(s.project()), &Unlocking::Any(root)).await.unwrap();
        s.database.execute(job).await;
        s.app.move_what_waits().await.unwrap();
        s.settle().await;
        let second = "root, an operator, took away chi's lock of *the whole project*: audit.";
        assert_eq!(s.threads().matches(second).count(), 1, "{}", s.threads());
        assert_eq!(times(s, "*succeeded*"), 1, "{}", s.channel());
    });
}

#[test]
fn a_channel_that_can_not_be_posted_to_keeps_no_other_from_being_told() {
    story(async |s| {
        for (slug, channel) in [("aaa", "C0AAAAAAA1"), ("zzz", "C0ZZZZZZZ1")] {
            s.standin.workspace().add_channel(channel, slug);
            s.app.create_project(slug, slug, "registry.test/deploy:1", channel, &operator()).await.unwrap();
        }
        s.standin.workspace().channel("C0AAAAAAA1").unwrap().is_member = false;
        s.ci_announces(build("master-1")).await;
        administered_by(s, "U0ANA00001").await;
        // What waits for an operator to mend it never comes to rest: so often Slack's work is looked for.
        let tries = async || {
            for _ in 0..10 {
                s.slack_works_once().await;
            }
        };
        s.writes_in("C0DEPLOYS1", "ana", "lock all because incident").await;
        tries().await;
        let shown = |s: &Story, channel: &str| {
            crate::story::read::channel(s.standin.workspace().channel(channel).unwrap(), None)
        };
        assert!(shown(s, "C0ZZZZZZZ1").contains(":lock: *Everything* is locked by ana (incident)."));
        assert_eq!(shown(s, "C0AAAAAAA1"), "");
        // Where no builds come any more the message is brought up to date all the same.
        let zzz = s.app.project_named("zzz").await.unwrap().id;
        s.app.change_project(zzz, ProjectChange::Archive, &operator()).await.unwrap();
        let root = Somebody::Operator { login: "root".into() };
        s.app.unlock(Target::Everything, &Unlocking::Any(root)).await.unwrap();
        // What was put off for an hour is due again: others than the channel in its way wait for this.
        s.slack_works_as_due().await;
        assert!(
            shown(s, "C0ZZZZZZZ1").contains(":unlock: *Everything* is unlocked by root"),
            "{}",
            shown(s, "C0ZZZZZZZ1")
        );
        assert!(s.direct("ana").contains("took away your lock of *everything*"), "{}", s.direct("ana"));
        // What is over is no news where nobody heard of it.
        s.standin.workspace().channel("C0AAAAAAA1").unwrap().is_member = true;
        s.database
            .execute("update job set run_at = clock_timestamp() where kind = 'report_lock' and state = 'ready'")
            .await;
        s.settle().await;
        assert_eq!(shown(s, "C0AAAAAAA1"), "");
    });
}

#[test]
fn an_administrator_of_everything_may_do_everything_everywhere() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let nobody = coolops::domain::rights::Rights { deploy: Some(vec![]), lock: Some(vec![]), ..Default::default() };
        set(s, "Production", EnvironmentChange::Allow { rights: nobody, was: None }).await;
        administered_by(s, "U0BEN00001").await;
        s.presses("ben", "master-1", "Production").await;
        assert_eq!(times(s, "*succeeded*"), 1, "{}", s.channel());
        s.writes("ben", "lock production").await;
        assert_eq!(times(s, ":lock: *Production* is locked by ben."), 1, "{}", s.channel());
        // Who may not lock one of a project's environments may not lock all of them.
        let refused = s.writes("ana", "lock api").await;
        assert_eq!(refused, "You may not lock Production: only U0BEN00001 may.");
        let who = s.writes("ana", "who production").await;
        assert!(who.contains("• deploy: who administers it (you may not: only U0BEN00001 may)"), "{who}");
        assert!(who.contains("• administer: <@U0BEN00001> (you may not: only U0BEN00001 may)"), "{who}");
    });
}

#[test]
fn each_deployment_locks_an_environment_that_is_so_for_whoever_had_it_deployed() {
    story(async |s| {
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        set(s, "Staging", EnvironmentChange::LockByDeployment(true)).await;
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ana for *master-1*."), 1, "{}", s.channel());
        s.presses("ben", "master-2", "Staging").await;
        let waits = "*queued*, waits for the lock of <@U0ANA00001> for *master-1*";
        assert_eq!(times(s, waits), 1, "{}", s.channel());
        // The owner's next deployment goes through, and the lock is for that one then.
        s.presses("ana", "master-3", "Staging").await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ana for *master-3*."), 1, "{}", s.channel());
        assert_eq!(times(s, ":lock:"), 1, "it is one lock:\n{}", s.channel());
        assert_eq!(times(s, "waits for the lock of <@U0ANA00001> for *master-"), 1, "{}", s.channel());
        // Again and again: whoever waits reads for which build each time.
        for build in ["master-1", "master-3", "master-1"] {
            s.runner.hold();
            s.presses("ana", build, "Staging").await;
            let waits = format!("waits for the lock of <@U0ANA00001> for *{build}*");
            assert_eq!(times(s, &waits), 1, "{}", s.channel());
            s.container_ends(build, 0).await;
            assert_eq!((times(s, &waits), times(s, "*running*")), (1, 0), "{}", s.channel());
        }
        s.writes("ana", "unlock staging").await;
        s.container_ends("master-2", 0).await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ben for *master-2*."), 1, "{}", s.channel());
        let succeeded = s.database.count("select count(*) from deployment where state = 'succeeded'").await;
        assert_eq!(succeeded, 6, "{}", s.channel());
    });
}

#[test]
fn a_worker_that_remembers_an_environment_as_it_was_locks_it_all_the_same() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        // Another process changes it.
        let other = App::new(s.app.store.clone(), s.keyring(), "https://coolops.test");
        let locking = EnvironmentChange::LockByDeployment(true);
        other.change_environment(s.project(), "Staging", locking, &operator()).await.unwrap();
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(s, ":lock: *Staging* is locked by ana for *master-1*."), 1, "{}", s.channel());
    });
}

#[test]
fn what_waits_says_for_which_lock_whatever_comes_and_goes() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        administered_by(s, "U0ANA00001").await;
        s.writes("ana", "lock all because incident").await;
        s.presses("ben", "master-1", "Staging").await;
        let everything = "*queued*, waits for the lock of <@U0ANA00001> on everything (incident)";
        for round in 0..3 {
            assert_eq!(times(s, everything), 1, "{round}: {}", s.channel());
            s.writes("chi", "lock api because freeze").await;
            // The narrower lock is the one that is told.
            let project = "*queued*, waits for the lock of <@U0CHI00001> on the whole project (freeze)";
            assert_eq!(times(s, project), 1, "{round}: {}", s.channel());
            s.writes("chi", "unlock api").await;
        }
        assert_eq!(times(s, everything), 1, "{}", s.channel());
        for reason in ["a", "b", "a", "b"] {
            s.writes("ana", &format!("lock all because {reason}")).await;
            let waits = format!("*queued*, waits for the lock of <@U0ANA00001> on everything ({reason})");
            assert_eq!(times(s, &waits), 1, "{}", s.channel());
        }
        s.writes("ana", "unlock all").await;
        assert_eq!(times(s, "*succeeded*"), 1, "{}", s.channel());
    });
}

#[test]
fn a_guest_locks_no_project_not_even_one_without_environments() {
    story(async |s| {
        s.standin.workspace().add_channel("C0OTHER001", "other");
        s.app.create_project("web", "Web", "registry.test/deploy:1", "C0OTHER001", &operator()).await.unwrap();
        for user in &mut s.standin.workspace().users {
            user.is_guest = user.name == "chi";
        }
        s.writes_in("C0OTHER001", "chi", "lock web").await;
        let refused = s.last_seen_only_by("chi");
        assert!(refused.starts_with("You may not lock all of Web: guests, bots"), "{refused}");
        s.writes_in("C0OTHER001", "ana", "lock web").await;
        s.writes_in("C0OTHER001", "ben", "unlock web").await;
        assert_eq!(s.last_seen_only_by("ben"), "*All of Web* is locked by ana. Shall it be taken away?\n[Unlock]");
    });
}

#[test]
fn a_lock_that_somebody_took_while_an_image_was_fetched_stays_theirs() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        set(s, "Staging", EnvironmentChange::LockByDeployment(true)).await;
        s.only_presses("ana", "master-1", "Staging").await;
        s.writes_in("C0DEPLOYS1", "ben", "lock staging").await;
        s.settle().await;
        assert_eq!(times(s, "*succeeded*"), 1, "it had its turn already:\n{}", s.channel());
        assert_eq!((times(s, "is locked by ben."), times(s, "is locked by ana")), (1, 0), "{}", s.channel());
    });
}

#[test]
fn a_forgotten_lock_reminds_its_owner_once_a_day_with_unlock_and_keep() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "lock staging because tests").await;
        let reminded = |s: &Story| s.direct("ana").matches("You hold a lock of *Staging* (Api) since").count();
        passes(s, 23 * 3_600).await;
        assert_eq!(reminded(s), 0, "not before a day");
        passes(s, 24 * 3_600 + 60).await;
        assert_eq!(reminded(s), 1, "{}", s.direct("ana"));
        passes(s, 47 * 3_600).await;
        assert_eq!(reminded(s), 1, "once a day");
        snapshot!("a_forgotten_lock", s.direct("ana"));
        // It stays, says who holds it: the next reminder is a day from then.
        s.presses_in_direct("ana", "Keep").await;
        s.told_only("ana", ":lock: Your lock of *Staging* stays.").await;
        passes(s, 70 * 3_600).await;
        assert_eq!(reminded(s), 1, "{}", s.direct("ana"));
        passes(s, 72 * 3_600).await;
        assert_eq!(reminded(s), 2, "{}", s.direct("ana"));
        assert_eq!(
            times(s, ":lock: *Staging* is locked by ana (tests)."),
            1,
            "one lock, one message:\n{}",
            s.channel()
        );
        // A button of the first reminder is about the same lock, and one of a lock that is gone says so.
        s.presses_in_direct("ana", "Unlock").await;
        s.comes_to_show(":unlock: *Staging* is unlocked by ana.").await;
        passes(s, 200 * 3_600).await;
        assert_eq!(reminded(s), 2, "what is gone is forgotten by nobody");
        for label in ["Keep", "Unlock"] {
            s.presses_in_direct("ana", label).await;
            s.told_only("ana", "Staging is not locked: ana took the lock of ana away at 20").await;
        }
        // Nor is it about a newer one of hers.
        let staging = s.app.project_named("api").await.unwrap().environment_named("Staging").unwrap().id;
        let ana = Person { team: "T0DEMO0001".into(), user: "U0ANA00001".into(), name: "ana".into() };
        let newer = Lock::new(ana.into(), Some("migration".into()), s.app.store.clock().now(), None);
        s.app.lock(Target::Environment(s.project(), staging), newer).await.unwrap();
        for label in ["Keep", "Unlock"] {
            s.presses_in_direct("ana", label).await;
            s.told_only("ana", "Your lock of Staging is another one by now, so nothing was done").await;
        }
        assert_eq!(times(s, ":lock: *Staging* is locked by ana (migration)."), 1, "it stays:\n{}", s.channel());
    });
}

#[test]
fn nobody_is_reminded_where_that_is_not_wanted_or_of_what_ends_by_itself() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "lock production for 3d").await;
        s.writes("ana", "lock staging").await;
        let never = ProjectChange::LockReminder(None);
        s.app.change_project(s.project(), never, &operator()).await.unwrap();
        let root = Somebody::Operator { login: "root".into() };
        s.app.lock(Target::Project(s.project()), Lock::new(root, None, s.app.store.clock().now(), None)).await.unwrap();
        passes(s, 60 * 3_600).await;
        assert!(!s.direct("ana").contains("You hold a lock"), "{}", s.direct("ana"));
        let hours = ProjectChange::LockReminder(Some(48));
        s.app.change_project(s.project(), hours, &operator()).await.unwrap();
        let staging = s.app.project_named("api").await.unwrap().environment_named("Staging").unwrap().id;
        let ana = Person { team: "T0DEMO0001".into(), user: "U0ANA00001".into(), name: "ana".into() };
        let again = Lock::new(ana.into(), Some("tests".into()), s.app.store.clock().now(), None);
        s.app.lock(Target::Environment(s.project(), staging), again).await.unwrap();
        passes(s, 61 * 3_600).await;
        assert!(!s.direct("ana").contains("You hold a lock"), "who says why thinks of it: {}", s.direct("ana"));
    });
}

#[test]
fn who_waits_behind_others_hears_of_a_lock_at_once_and_once() {
    story(async |s| {
        for n in 1..=2 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.writes("ana", "lock staging because tests").await;
        s.presses("ben", "master-2", "Staging").await;
        assert_eq!(times(s, "*queued* behind *master-1*"), 1, "{}", s.channel());
        let told = "Api *master-2* → *Staging*: *queued*, waits for the lock of <@U0ANA00001> (tests)";
        assert_eq!(s.direct("ben").matches(told).count(), 1, "{}", s.direct("ben"));
        s.container_ends("master-1", 0).await;
        assert_eq!(times(s, "*queued*, waits for the lock of <@U0ANA00001> (tests)"), 1, "{}", s.channel());
        assert_eq!(s.direct("ben").matches("waits for the lock of").count(), 1, "{}", s.direct("ben"));
        s.writes("ana", "unlock staging").await;
        s.container_ends("master-2", 0).await;
    });
}

#[test]
fn what_can_be_several_things_is_asked_and_what_is_not_there_is_told() {
    story(async |s| {
        for name in ["Apidemo", "Preview"] {
            s.app.create_environment(s.project(), name, None, &operator()).await.unwrap();
        }
        s.ci_announces(build("master-1")).await;
        for (written, told) in [
            (
                "lock ap",
                "\"ap\" can be an environment or a project.\nTry one of these:\n`/coolops lock Apidemo`\n`/coolops lock all of api`",
            ),
            ("lock all of nowhere", "No project whose builds come to this channel begins with \"nowhere\"."),
            ("lock nowhere", "No environment here begins with \"nowhere\"."),
            (
                "lock pr",
                "\"pr\" can be several environments.\nTry one of these:\n`/coolops lock Production`\n`/coolops lock Preview`",
            ),
            ("unlock api", "All of Api is not locked."),
            ("unlock all", "Everything is not locked."),
        ] {
            let answer = s.writes("ana", written).await;
            assert!(answer.starts_with(told), "{written}: {answer}");
        }
        assert!(s.writes("ana", "lock API").await.starts_with(":lock: *All of Api* is yours"), "by its name");
        s.archive_project().await;
        let gone = s.app.lock(
            Target::Project(s.project()),
            Lock::new(Somebody::Operator { login: "root".into() }, None, s.app.store.clock().now(), None),
        );
        assert_eq!(gone.await.unwrap_err().to_string(), "the project Api is not there any more");
    });
}

#[test]
fn whoever_locks_or_unlocks_hears_of_the_wider_lock_that_goes_on() {
    story(async |s| {
        s.writes("ana", "lock all of api because freeze").await;
        let told = s.writes("ben", "lock api Staging").await;
        assert!(
            told.contains("*All of Api* is locked by ana (freeze): your deployments wait for that, too."),
            "{told}"
        );
        assert!(!told.contains("Your deployments go through"), "{told}");
        let told = s.writes("ben", "unlock api Staging").await;
        assert!(told.ends_with("*All of Api* is locked by ana (freeze), which goes on."), "{told}");
        let told = s.writes("ben", "unlock api Staging").await;
        assert!(told.contains("Staging is not locked") && told.contains("*All of Api* is locked by ana"), "{told}");
        // Theirs lets them through.
        let told = s.writes("ana", "lock api Staging").await;
        assert!(told.contains("Your deployments go through"), "{told}");
    });
}

#[test]
fn an_end_that_stands_in_the_reason_is_asked_about_and_what_is_not_named_stays() {
    story(async |s| {
        let told = s.writes("ana", "lock api Staging because migration for 2h").await;
        assert!(told.contains("\"for 2h\" stands in the reason, and the lock would not end then."), "{told}");
        assert!(told.contains("lock api Staging for 2h because migration"), "{told}");
        assert_eq!(s.writes("ana", "locks").await, "Nothing is locked here.");
        s.writes("ana", "lock api Staging for 2h because migration").await;
        let told = s.writes("ana", "lock api Staging because it takes longer").await;
        assert!(told.contains("it takes longer") && told.contains("until <!date^"), "its end stays: {told}");
        let told = s.writes("ana", "lock api Staging for 8h").await;
        assert!(told.contains("it takes longer"), "its reason stays: {told}");
    });
}
