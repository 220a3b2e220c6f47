//! Stories of people who are told directly, and of the thread under a build's message.

use coolops::app::locks::Target;
use coolops::domain::lock::{Somebody, Unlocking};
use coolops::domain::settings::EnvironmentChange;
use coolops_lab::standin::workspace::Fault;

use crate::snapshot;
use crate::story::{Story, build, operator, story};

/// How often these words are there.
fn times(all: &str, words: &str) -> usize {
    all.matches(words).count()
}

async fn announced(s: &Story, builds: u32) {
    for n in 1..=builds {
        s.ci_announces(build(&format!("master-{n}"))).await;
    }
}

/// The time that a link or a date stands for differs from run to run.
fn steady(text: &str) -> String {
    let mut steady = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("<!date^") {
        let end = at + rest[at..].find('>').expect("it ends");
        steady.push_str(&rest[..at]);
        steady.push_str("(time)");
        rest = &rest[end + 1..];
    }
    steady.push_str(rest);
    steady
}

#[test]
fn who_pressed_hears_how_it_ended_and_a_failure_is_told_in_the_thread_with_its_last_lines() {
    story(async |s| {
        announced(s, 2).await;
        s.presses("ana", "master-1", "Staging").await;
        let lines: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).chain(["Error: ```no such <!channel>"]).collect();
        s.runner.will_print(&lines, 3);
        s.presses("ana", "master-2", "Production").await;
        snapshot!("told_directly_at_the_end", steady(&s.direct("ana")));
        snapshot!("a_thread_of_a_failure", steady(&s.threads()));
        assert!(s.threads().contains("line 12\n") && !s.threads().contains("line 11\n"), "{}", s.threads());
        assert_eq!((s.direct("ben"), times(&s.channel(), "line 12")), (String::new(), 0), "{}", s.channel());
        let texts: Vec<String> = {
            let workspace = s.standin.workspace();
            let direct = workspace.channels.iter().find(|c| c.name == "ana").unwrap();
            direct.messages.iter().map(|m| m.text.clone()).collect()
        };
        assert_eq!(texts[0].split(" after ").next().unwrap(), "Api master-1: Staging succeeded");
        assert!(texts[1].starts_with("Api master-2: Production failed after 0 s (exit code 3)"), "{}", texts[1]);
    });
}

#[test]
fn people_choose_what_they_are_told_directly() {
    story(async |s| {
        announced(s, 1).await;
        assert!(
            s.writes("ana", "notify").await.starts_with("You get a direct message when a deployment of yours ends")
        );
        let told = s.writes("ana", "notify failures").await;
        snapshot!("notify_failures", told);
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(s.direct("ana"), "", "a success");
        s.runner.will_print(&[], 1);
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(&s.direct("ana"), "*failed*"), 1, "{}", s.direct("ana"));
        assert!(s.writes("ana", "NOTIFY off").await.starts_with("You get no direct messages."));
        s.runner.will_print(&[], 1);
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-1", "Staging").await;
        assert_eq!((times(&s.direct("ana"), "*failed*"), times(&s.direct("ben"), "*failed*")), (1, 1));
        s.writes("ana", "notify all").await;
        assert_eq!(times(&s.direct("ana"), "master-1"), 1, "what was not wanted then is not told later");
        let wrong = s.writes("ana", "notify sometimes").await;
        assert!(
            wrong.contains("\"sometimes\" is nothing that you can be told") && wrong.contains("/coolops notify off")
        );
    });
}

#[test]
fn who_is_cancelled_by_somebody_else_or_superseded_hears_of_it_and_who_did_it_themselves_knows() {
    story(async |s| {
        announced(s, 3).await;
        s.runner.hold();
        let superseding = EnvironmentChange::Supersede(true);
        s.app.change_environment(s.project(), "Staging", superseding, &operator()).await.unwrap();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-2", "Staging").await;
        s.presses("ben", "master-3", "Staging").await;
        let told = steady(&s.direct("ana"));
        assert!(
            told.starts_with("Api *master-2* → *Staging*: :no_entry_sign: *cancelled*: superseded by master-3"),
            "{told}"
        );
        s.cancels("ben", "<@U0ANA00001> → *Staging*: *running*", "").await;
        s.comes_to_show("*cancelled* by <@U0BEN00001>").await;
        s.settle().await;
        let told = steady(&s.direct("ana"));
        assert_eq!(times(&told, "*master-1* → *Staging*: :no_entry_sign: *cancelled* by <@U0BEN00001>"), 1, "{told}");
        s.cancels("ben", "<@U0BEN00001> → *Staging*: *running*", "").await;
        s.comes_to_show("<@U0BEN00001> → *Staging*: :no_entry_sign: *cancelled*").await;
        s.settle().await;
        assert_eq!(s.direct("ben"), "", "who did it knows");
        let threads = steady(&s.threads());
        assert_eq!(
            (times(&threads, "*cancelled* by ben"), times(&threads, "<@")),
            (2, 0),
            "with who, calling nobody: {threads}"
        );
    });
}

#[test]
fn who_waits_for_a_lock_hears_once_of_whom_and_why_and_who_loses_a_lock_hears_of_it() {
    story(async |s| {
        announced(s, 2).await;
        s.writes("ana", "lock staging because database migration").await;
        s.presses("ben", "master-1", "Staging").await;
        let told = steady(&s.direct("ben"));
        let waits = "Api *master-1* → *Staging*: *queued*, waits for the lock of <@U0ANA00001> (database migration)";
        assert!(told.starts_with(waits), "{told}");
        assert_eq!(
            times(&s.threads(), "*queued*, waits for the lock of ana (database migration)"),
            1,
            "{}",
            s.threads()
        );
        s.writes("ana", "lock staging because of another one").await;
        assert_eq!((times(&s.direct("ben"), "waits"), times(&s.threads(), "waits")), (1, 1), "{}", s.direct("ben"));
        s.writes("chi", "unlock staging").await;
        s.presses_in_answer("chi", "Unlock").await;
        s.settle().await;
        let told = steady(&s.direct("ana"));
        assert_eq!(
            told,
            "<@U0CHI00001> took away your lock of *Staging* (Api): of another one. It was there since (time)."
        );
        assert_eq!(times(&s.direct("ben"), "*succeeded*"), 1, "{}", s.direct("ben"));
        // Those who read along see why he had his turn.
        let thread = steady(&s.threads());
        let taken = "chi took away ana's lock of *Staging*: of another one. It was there since (time).";
        assert_eq!(times(&thread, taken), 1, "{thread}");
        s.writes("ben", "lock staging").await;
        s.writes("ben", "unlock staging").await;
        assert_eq!(times(&s.direct("ben"), "took away"), 0, "one's own lock is given back, not lost");
        assert_eq!(times(&s.threads(), "took away"), 1, "{}", s.threads());
    });
}

#[test]
fn a_lock_that_somebody_took_away_is_told_to_those_who_go_on_waiting_for_what_runs() {
    story(async |s| {
        announced(s, 2).await;
        s.writes("ana", "lock staging because database migration").await;
        s.presses("ben", "master-1", "Staging").await;
        s.runner.hold();
        s.presses("ana", "master-2", "Staging").await;
        s.writes("chi", "unlock staging").await;
        s.presses_in_answer("chi", "Unlock").await;
        s.comes_to_show("*queued* behind *master-2*").await;
        s.slack_works_once().await;
        let taken = "chi took away ana's lock of *Staging*: database migration.";
        s.settle().await;
        assert_eq!(times(&s.threads(), taken), 1, "{}", s.threads());
    });
}

#[test]
fn what_is_not_so_any_more_is_not_told() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ana", "lock staging").await;
        s.only_presses("ben", "master-1", "Staging").await;
        let staging = s.app.project_named("api").await.unwrap().environment_named("Staging").unwrap().id;
        let taken = Unlocking::Any(Somebody::Operator { login: "root".to_owned() });
        s.app.unlock(Target::Environment(s.project(), staging), &taken).await.unwrap();
        s.settle().await;
        assert_eq!(times(&s.direct("ben"), "waits"), 0, "{}", s.direct("ben"));
        assert_eq!(times(&s.direct("ben"), "*succeeded*"), 1, "{}", s.direct("ben"));
    });
}

#[test]
fn a_failure_is_shown_in_the_channel_too_where_that_is_wanted() {
    story(async |s| {
        announced(s, 1).await;
        let broadcasting = EnvironmentChange::Broadcast(true);
        s.app.change_environment(s.project(), "Production", broadcasting, &operator()).await.unwrap();
        for environment in ["Staging", "Production"] {
            s.runner.will_print(&[], 1);
            s.presses("ana", "master-1", environment).await;
        }
        assert_eq!(times(&s.threads(), ":x: *failed*"), 2, "{}", s.threads());
        assert_eq!(times(&s.channel(), "ana → *Production*: :x: *failed*"), 1, "{}", s.channel());
        assert_eq!(times(&s.channel(), "ana → *Staging*: :x: *failed*"), 0, "{}", s.channel());
    });
}

#[test]
fn each_is_told_once_though_slack_loses_its_answers() {
    story(async |s| {
        announced(s, 1).await;
        s.runner.will_print(&["no"], 1);
        s.only_presses("ana", "master-1", "Staging").await;
        s.a_worker_tries_once().await;
        s.standin.workspace().plan("chat.postMessage", Fault::LostReply, 2);
        s.settle().await;
        assert_eq!((times(&s.direct("ana"), "*failed*"), times(&s.threads(), "*failed*")), (1, 1));
        // And where nothing had got there, it does.
        s.runner.will_print(&["no"], 1);
        s.only_presses("ana", "master-1", "Staging").await;
        s.standin.workspace().plan("chat.postMessage", Fault::Status(503), 3);
        s.settle().await;
        assert_eq!((times(&s.direct("ana"), "*failed*"), times(&s.threads(), "*failed*")), (2, 2));
        assert_eq!(s.database.count("select count(*) from job where state <> 'done'").await, 0);
    });
}

#[test]
fn what_slack_refuses_is_not_tried_for_ever_and_harms_nothing_else() {
    story(async |s| {
        announced(s, 1).await;
        for (method, word) in [
            ("conversations.open", "user_disabled"),
            ("conversations.open", "cannot_dm_bot"),
            ("chat.postMessage", "thread_not_found"),
        ] {
            s.standin.workspace().plan(method, Fault::Error(word.to_owned()), 1);
            s.runner.will_print(&[], 1);
            s.presses("ana", "master-1", "Staging").await;
        }
        let refused = s.app.store.reports().refused().await.unwrap();
        let mut words: Vec<&str> = refused.iter().map(|r| r.problem.as_str()).collect();
        words.sort_unstable();
        assert_eq!(words, ["cannot_dm_bot", "thread_not_found", "user_disabled"]);
        assert_eq!(times(&s.channel(), ":x: *failed*"), 3, "the lines say it all the same:\n{}", s.channel());
        // A message that somebody deleted, and deleted again when it was posted anew, has no thread; who pressed hears of
        // it all the same.
        let told = times(&s.direct("ana"), "*failed*");
        for _ in 0..2 {
            let press = s.press_of("ana", "master-1", "Staging");
            s.standin.workspace().channels[0].messages.retain(|m| crate::story::read::build_of(m).is_none());
            s.deliver(&press).await;
            s.settle().await;
        }
        assert_eq!(times(&s.direct("ana"), "*failed*"), told + 2, "{}", s.direct("ana"));
        let refused = s.app.store.reports().refused().await.unwrap();
        assert_eq!(refused.len(), 3, "somebody deleted the thread; Slack refused nothing more: {refused:?}");
        assert_eq!(s.database.count("select count(*) from job where state <> 'done'").await, 0);
    });
}

/// Somebody's deployment fails while the app may write to nobody.
async fn fails_unheard(s: &Story) {
    announced(s, 1).await;
    s.standin.workspace().plan("conversations.open", Fault::Error("missing_scope".to_owned()), 1);
    s.runner.will_print(&["no such host"], 1);
    s.only_presses("ana", "master-1", "Staging").await;
    s.a_worker_tries_once().await;
    s.slack_works_as_due().await;
    assert_eq!((times(&s.threads(), "no such host"), s.direct("ana")), (1, String::new()), "{}", s.threads());
}

#[test]
fn where_the_app_may_write_to_nobody_the_thread_is_told_and_the_person_when_that_is_mended() {
    story(async |s| {
        fails_unheard(s).await;
        s.database.set_clock(11 * 60).await;
        s.app.store.keep_clock().await.unwrap();
        s.settle().await;
        assert_eq!(times(&s.direct("ana"), "*failed*"), 1, "{}", s.direct("ana"));
    });
}

#[test]
fn what_somebody_could_not_be_told_for_a_day_is_no_news_any_more() {
    story(async |s| {
        fails_unheard(s).await;
        s.database.set_clock(26 * 3600).await;
        s.app.store.keep_clock().await.unwrap();
        s.settle().await;
        assert_eq!(s.direct("ana"), "", "the thread was told a day ago");
        let refused = s.app.store.reports().refused().await.unwrap();
        assert_eq!(refused.iter().map(|r| r.problem.as_str()).collect::<Vec<_>>(), ["too_late"]);
        assert_eq!(s.database.count("select count(*) from job where state <> 'done'").await, 0);
    });
}

#[test]
fn what_was_told_without_an_answer_and_is_not_so_any_more_is_found_out_and_not_told_again() {
    story(async |s| {
        announced(s, 1).await;
        s.writes("ben", "lock api Staging").await;
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(times(&s.threads(), "waits for the lock of ben"), 1, "{}", s.threads());
        // Whoever posted it died before they noted that, and of the direct message nothing ever came.
        let direct = s.standin.workspace().channel("U0ANA00001").unwrap().messages[0].ts.clone();
        s.standin.workspace().delete("U0ANA00001", &direct);
        s.database
            .execute("update slack_report set state = 'posting', ts = null where about in (select id from deployment)")
            .await;
        s.runner.hold();
        s.writes("ben", "unlock api Staging").await;
        s.comes_to_show("*running*").await;
        s.container_ends("master-1", 0).await;
        assert_eq!(times(&s.threads(), "waits for the lock of ben"), 1, "{}", s.threads());
        assert_eq!(times(&s.direct("ana"), "waits for the lock"), 0, "{}", s.direct("ana"));
        let unclear = "select count(*) from slack_report where state = 'posting'";
        assert_eq!(s.database.count(unclear).await, 0, "it is not known whether somebody was told");
    });
}
