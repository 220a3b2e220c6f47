//! Stories of what Slack shows, held against what it was sent.

use coolops::app::slack_audit::Wrong;
use coolops::domain::settings::EnvironmentChange;
use coolops::jobs::slack_calls::Paces;
use coolops::jobs::sweep_slack::Sweeper;
use coolops::slack::client::Slack;
use coolops::store::reports::{ReportState, Stray};
use coolops_lab::standin::workspace::{Fault, Message};
use serde_json::Value;

use crate::story::{Story, build, operator, story};

/// A message's name a little later.
fn another(ts: &str) -> String {
    let (before, last) = ts.split_at(ts.len() - 1);
    format!("{before}{}", (last.parse::<u32>().unwrap() + 1) % 10)
}

#[test]
fn what_slack_shows_is_held_against_what_it_was_sent_and_made_right() {
    story(async |s| {
        for n in 1..=5 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        let as_announced = s.standin.workspace().channels[0].messages[4].clone();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-5", "Production").await;
        let api = s.standin.api_url();
        let slack = [("SLACK_API_URL", api.as_str()), ("SLACK_BOT_TOKEN", "xoxb-test")];
        let (code, told, said) = s.coolops_with(&["slack", "audit"], &slack);
        assert!(code == 0 && told == "What Slack shows is what it was sent.\n", "{told}{said}");
        // Somebody deletes one and edits one, one says what was so once, one is there twice, and one is of nobody here.
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            messages.remove(0);
            messages[0].text = "Api has a new build: something else".to_owned();
            messages[3] = as_announced;
            let mut second = messages[1].clone();
            second.ts = another(&second.ts);
            let mut foreign = messages[2].clone();
            foreign.ts = another(&foreign.ts);
            foreign.metadata["event_payload"]["build_id"] = "00000000-0000-4000-8000-000000000007".into();
            messages.extend([second, foreign]);
        }
        let (code, told, _) = s.coolops_with(&["slack", "audit", "--repair"], &slack);
        assert_eq!(code, 1, "{told}");
        for said in [
            "master-1                              missing: Slack does not show it any more",
            "master-2                              edited: it says what the log does not bear out",
            "master-3                              doubled: it is a second one",
            "master-5                              stale: it says what was so before",
            "00000000-0000-4000-8000-000000000007  not ours: what it is of is not known here",
            "4 of them are made right within seconds",
        ] {
            assert!(told.contains(said), "{said}:\n{told}");
        }
        s.settle().await;
        let (_, told, _) = s.coolops_with(&["slack", "audit", "--json"], &slack);
        let json: Value = serde_json::from_str(&told).unwrap();
        let left: Vec<&str> = json["found"].as_array().unwrap().iter().map(|f| f["wrong"].as_str().unwrap()).collect();
        assert_eq!(left, ["not_ours"], "{told}");
        assert!(s.channel().contains("master-1") && s.channel().contains("*succeeded*"), "{}", s.channel());
        assert_eq!(s.channel().matches("Posted again").count(), 1, "{}", s.channel());
        s.standin.workspace().channels[0]
            .messages
            .retain(|m| m.metadata["event_payload"]["build_id"] != "00000000-0000-4000-8000-000000000007");
        let (code, _, said) = s.coolops(&["slack", "audit"]);
        assert!(code == 1 && said.contains("SLACK_BOT_TOKEN is not set"), "{said}");
    });
}

#[test]
fn what_slack_lets_go_of_because_it_is_old_is_not_announced_again() {
    story(async |s| {
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        let api = s.standin.api_url();
        let slack = [("SLACK_API_URL", api.as_str()), ("SLACK_BOT_TOKEN", "xoxb-test")];
        // Two days ago, as Slack and the log have it.
        let ago = |ts: &str| format!("{:.6}", ts.parse::<f64>().unwrap() - 2.0 * 86_400.0);
        for message in &mut s.standin.workspace().channels[0].messages {
            message.ts = ago(&message.ts);
        }
        s.tampered = true;
        s.database
            .execute("update slack_message set ts = to_char(ts::numeric - 2 * 86400, 'FM9999999999.000000')")
            .await;
        let (code, told, said) = s.coolops_with(&["slack", "audit"], &slack);
        assert_eq!(code, 0, "{told}{said}");
        let oldest = s.standin.workspace().channels[0].messages.remove(0);
        let (code, told, said) = s.coolops_with(&["slack", "audit", "--repair"], &slack);
        assert_eq!(code, 0, "{told}{said}");
        // What is gone from among others was deleted by somebody.
        s.standin.workspace().channels[0].messages.insert(0, oldest);
        s.standin.workspace().channels[0].messages.remove(1);
        let (code, told, said) = s.coolops_with(&["slack", "audit"], &slack);
        assert!(code == 1 && told.contains("master-2") && told.contains("missing"), "{told}{said}");
    });
}

#[test]
fn a_line_a_button_and_a_link_that_somebody_edited_are_found_and_made_right() {
    story(async |s| {
        for n in 1..=4 {
            s.ci_announces(build(&format!("master-{n}"))).await;
            s.presses("ana", &format!("master-{n}"), "Staging").await;
            s.presses("ben", &format!("master-{n}"), "Production").await;
        }
        // Slack gives labels back in its own way.
        s.app.create_environment(s.project(), "R&D <old>", None, &operator()).await.unwrap();
        s.ci_announces(build("master-5")).await;
        let before = s.channel();
        assert_eq!(audit(s, &[]), (0, "What Slack shows is what it was sent.\n".to_owned()));
        // What those see who see no layout is as it was each time.
        let edit = |n: usize, from: &str, to: &str| {
            let mut workspace = s.standin.workspace();
            let message = &mut workspace.channels[0].messages[n];
            for part in [&mut message.blocks, &mut message.attachments] {
                let edited = part.to_string().replace(from, to);
                *part = serde_json::from_str(&edited).unwrap();
            }
        };
        edit(0, "*Staging*: :white_check_mark: *succeeded*", "*Staging*: :x: *failed*");
        edit(1, "Deploy to Production", "Deploy to Nowhere");
        edit(2, "coolops.test/deployments", "coolops.example/deployments");
        s.standin.workspace().channels[0].messages[3].blocks = Value::Null;
        assert_ne!(s.channel(), before);
        let (code, told) = audit(s, &["--repair"]);
        assert_eq!(code, 1, "{told}");
        for n in 1..=4 {
            assert!(told.contains(&format!("master-{n}  edited: it says what the log does not bear out")), "{told}");
        }
        s.settle().await;
        assert_eq!(s.channel(), before);
        assert_eq!(audit(s, &[]).0, 0);
    });
}

#[test]
fn what_slack_shows_is_looked_at_now_and_then_without_anybody_asking() {
    story(async |s| {
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        let slack = Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let (mut sweeper, paces) = (Sweeper::default(), Paces::unbounded());
        assert_eq!(sweeper.sweep(&s.app, &slack, &paces).await.unwrap(), []);
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            messages.remove(0);
            messages[1].text = "something else".to_owned();
        }
        let found = sweeper.sweep(&s.app, &slack, &paces).await.unwrap();
        assert_eq!(found.iter().map(|one| one.wrong).collect::<Vec<_>>(), [Wrong::Missing, Wrong::Edited]);
        s.settle().await;
        assert!(s.channel().contains("# Api: master-1") && s.channel().contains("# Api: master-3"), "{}", s.channel());
        assert_eq!(sweeper.sweep(&s.app, &slack, &paces).await.unwrap(), []);
        // Slack wants to be left alone: the sweep does that, and so does everybody else who reads.
        s.standin.workspace().plan("conversations.history", Fault::RateLimited(30), 1);
        assert_eq!(sweeper.sweep(&s.app, &slack, &paces).await.unwrap(), []);
        assert!(!s.app.store.paces().closed_for("slack:conversations.history").await.unwrap().is_zero());
    });
}

#[test]
fn of_several_processes_one_looks_at_what_slack_shows() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let slack = Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let (mut one, mut other, paces) = (Sweeper::default(), Sweeper::default(), Paces::unbounded());
        assert_eq!(one.sweep_in_turn(&s.app, &slack, &paces).await.unwrap(), Some(vec![]));
        s.standin.workspace().channels[0].messages[0].text = "something else".to_owned();
        let asked = || s.standin.workspace().calls.iter().filter(|call| call.method == "conversations.history").count();
        let before = asked();
        assert_eq!(other.sweep_in_turn(&s.app, &slack, &paces).await.unwrap(), None);
        assert_eq!(asked(), before, "nobody asks Slack twice");
        let kept = "select extract(epoch from blocked_until - coolops_now())::bigint from rate_bucket where scope = 'sweep_slack'";
        assert!((3_200..=3_300).contains(&s.database.count(kept).await), "for an hour, nearly");
        // An hour later the one that did it last is gone.
        let later = "update rate_bucket set blocked_until = blocked_until - interval '1 h' where scope = 'sweep_slack'";
        s.database.execute(later).await;
        let found = other.sweep_in_turn(&s.app, &slack, &paces).await.unwrap().expect("it is its turn");
        assert_eq!(found.iter().map(|one| one.wrong).collect::<Vec<_>>(), [Wrong::Edited]);
        assert_eq!(one.sweep_in_turn(&s.app, &slack, &paces).await.unwrap(), None);
        // Who had to stop leaves it to the next.
        s.database.execute(later).await;
        s.standin.workspace().plan("conversations.history", Fault::RateLimited(30), 1);
        assert_eq!(one.sweep_in_turn(&s.app, &slack, &paces).await.unwrap(), Some(vec![]));
        assert!(other.sweep_in_turn(&s.app, &slack, &paces).await.unwrap().is_some(), "it is due, and nobody has it");
    });
}

#[test]
fn of_a_channel_that_shows_too_much_the_last_day_is_looked_at() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let days_ago = s.app.store.clock().now().timestamp() - 3 * 24 * 3600;
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            let none = || Value::Null;
            let talk = Message { blocks: none(), attachments: none(), metadata: none(), ..messages[0].clone() };
            let talk = (0..10_001).map(|n| Message { ts: format!("{days_ago}.{n:06}"), ..talk.clone() });
            messages.splice(0..0, talk.collect::<Vec<_>>());
            messages.last_mut().unwrap().text = "something else".to_owned();
        }
        let slack = Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let found = Sweeper::default().sweep(&s.app, &slack, &Paces::unbounded()).await.unwrap();
        assert_eq!(found.iter().map(|one| one.wrong).collect::<Vec<_>>(), [Wrong::Edited]);
        s.settle().await;
        assert_eq!(audit(s, &["--since", "1d"]), (0, "What Slack shows is what it was sent.\n".to_owned()));
        let (code, _, said) = s.coolops_with(
            &["slack", "audit"],
            &[("SLACK_API_URL", s.standin.api_url().as_str()), ("SLACK_BOT_TOKEN", "xoxb-test")],
        );
        assert!(code != 0 && said.contains("too_many_messages_to_look_through"), "{said}");
    });
}

/// Two failures that are told in threads, one of them in the channel too; a lock with its message, and somebody who waits
/// for it.
async fn told(s: &Story) {
    for n in 1..=2 {
        s.ci_announces(build(&format!("master-{n}"))).await;
    }
    s.runner.will_print(&["Error: no such table"], 3);
    s.presses("ana", "master-1", "Staging").await;
    let broadcasting = EnvironmentChange::Broadcast(true);
    s.app.change_environment(s.project(), "Staging", broadcasting, &operator()).await.unwrap();
    s.runner.will_print(&["Error: no such table"], 3);
    s.presses("ana", "master-2", "Staging").await;
    s.writes("ben", "lock api Production").await;
    s.presses("ana", "master-1", "Production").await;
}

/// What `coolops slack audit` says of it, with its exit code.
fn audit(s: &Story, more: &[&str]) -> (i32, String) {
    let api = s.standin.api_url();
    let slack = [("SLACK_API_URL", api.as_str()), ("SLACK_BOT_TOKEN", "xoxb-test")];
    let (code, said, _) = s.coolops_with(&[&["slack", "audit"], more].concat(), &slack);
    (code, said)
}

/// Does something to a reply or the message of a lock.
fn report<T>(s: &Story, words: &str, with: impl FnOnce(&mut Message) -> T) -> T {
    let mut workspace = s.standin.workspace();
    let is_it = |m: &&mut Message| m.metadata["event_type"] == "coolops_report" && m.text.contains(words);
    with(workspace.channels[0].messages.iter_mut().find(is_it).unwrap_or_else(|| panic!("{words}")))
}

fn says(message: &mut Message, text: &str) {
    message.text = text.to_owned();
    message.blocks = Value::Null;
}

#[test]
fn replies_and_messages_of_locks_are_looked_after_too() {
    story(async |s| {
        told(s).await;
        assert_eq!(audit(s, &[]), (0, "What Slack shows is what it was sent.\n".to_owned()));
        let before = (s.channel(), s.threads());
        // One reply is deleted, one edited, one has lost its mark, the message of the lock is there twice, and one reply is of
        // nobody here.
        let deleted = report(s, "master-1: Staging failed", |m| m.ts.clone());
        let mut foreign = report(s, "master-2: Staging failed", |m| {
            says(m, "all is well");
            m.clone()
        });
        foreign.ts = another(&foreign.ts);
        foreign.metadata["event_payload"]["report_id"] = "00000000-0000-4000-8000-000000000007".into();
        let mut second = report(s, "Production* is locked by ben", |m| m.clone());
        second.ts = another(&second.ts);
        report(s, "waits for the lock of ben", |m| m.metadata = Value::Null);
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            messages.retain(|m| m.ts != deleted);
            messages.extend([foreign, second]);
        }
        let (code, said) = audit(s, &["--repair"]);
        assert_eq!(code, 1, "{said}");
        for words in [
            "master-1 on Staging, a reply          missing: somebody deleted it; it is not told again",
            "master-2 on Staging, a reply          edited: it says what the log does not bear out",
            "master-1 on Production, a reply       edited: it says what the log does not bear out",
            "a lock of Production (Api)            doubled: it is a second one",
            "00000000-0000-4000-8000-000000000007  not ours: what it is of is not known here",
        ] {
            assert!(said.contains(words), "{words}:\n{said}");
        }
        s.settle().await;
        // What somebody deleted may have been deleted for what it showed: it is not told again, and not missed again.
        let json: Value = serde_json::from_str(&audit(s, &["--json"]).1).unwrap();
        let left: Vec<&str> = json["found"].as_array().unwrap().iter().map(|f| f["wrong"].as_str().unwrap()).collect();
        assert_eq!(left, ["not_ours"], "{json}");
        assert_eq!(json["found"][0]["report"], "00000000-0000-4000-8000-000000000007", "{json}");
        let foreign = |m: &Message| m.metadata["event_payload"]["report_id"] == "00000000-0000-4000-8000-000000000007";
        s.standin.workspace().channels[0].messages.retain(|m| !foreign(m));
        assert_eq!(s.channel(), before.0);
        let replies = |text: &str| text.split("\n\n").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(replies(&s.threads()), replies(&before.1)[1..]);
        let refused = s.app.store.reports().refused().await.unwrap();
        assert!(refused.is_empty(), "Slack refused nothing: {refused:?}");
    });
}

#[test]
fn a_message_of_a_lock_that_says_what_was_so_before_is_stale() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.writes("ben", "lock api Staging").await;
        let locked = report(s, "locked by ben", |m| m.text.clone());
        s.writes("ben", "unlock api Staging").await;
        report(s, "unlocked by ben", |m| says(m, &locked));
        let (_, said) = audit(s, &["--repair"]);
        assert!(said.contains("a lock of Staging (Api)  stale: it says what was so before"), "{said}");
        s.settle().await;
        assert!(s.channel().contains(":unlock: *Staging* is unlocked by ben."), "{}", s.channel());
        assert_eq!(audit(s, &[]).0, 0);
    });
}

#[test]
fn what_is_on_its_way_is_not_judged_and_what_stays_as_it_is_is_not_repaired_for_ever() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let slack = Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let (mut sweeper, paces) = (Sweeper::default(), Paces::unbounded());
        s.standin.workspace().channels[0].messages[0].text = "something else".to_owned();
        // Slack takes every edit, and shows something else.
        for expected in [[Wrong::Edited].as_slice(), &[]] {
            let found = sweeper.sweep(&s.app, &slack, &paces).await.unwrap();
            assert_eq!(found.iter().map(|one| one.wrong).collect::<Vec<_>>(), expected);
            s.settle().await;
            s.standin.workspace().channels[0].messages[0].text = "something else".to_owned();
        }
        let build = coolops::domain::ids::BuildId::of_name(s.app.project_named("api").await.unwrap().id, "master-1");
        s.database
            .execute(&format!(
                "update job set state = 'ready', run_at = 'infinity' where kind = 'sync_message' and key = '{}'",
                build.0
            ))
            .await;
        assert_eq!(audit(s, &[]).0, 0, "it is being edited");
    });
}

#[test]
fn while_the_log_is_closed_nothing_is_made_right() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.app.store.checkpoints().close_log("a backup was restored").await.unwrap();
        s.standin.workspace().channels[0].messages[0].text = "what was lost".to_owned();
        let slack = Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let found = Sweeper::default().sweep(&s.app, &slack, &Paces::unbounded()).await.unwrap();
        assert_eq!(found.iter().map(|one| one.wrong).collect::<Vec<_>>(), [Wrong::Edited]);
        s.settle().await;
        assert_eq!(s.standin.workspace().channels[0].messages[0].text, "what was lost");
        let api = s.standin.api_url();
        let slack = [("SLACK_API_URL", api.as_str()), ("SLACK_BOT_TOKEN", "xoxb-test")];
        let (code, _, said) = s.coolops_with(&["slack", "audit", "--repair"], &slack);
        assert!(code == 1 && said.contains("the log is closed"), "{said}");
        assert_eq!(audit(s, &[]).0, 1);
    });
}

#[test]
fn what_is_erased_is_not_kept_to_hold_messages_against() {
    story(async |s| {
        told(s).await;
        let named = "select count(*) from slack_report where text like '%ben%'";
        assert!(s.database.count(named).await > 0);
        let direct = "select count(*) from slack_report where text is not null and person is not null";
        assert_eq!(s.database.count(direct).await, 0);
        s.writes("ben", "unlock api Production").await;
        let (code, _, said) = s.coolops(&["person", "erase", "@ben", "--reason", "asked for by letter"]);
        assert_eq!(code, 0, "{said}");
        s.settle().await;
        assert_eq!(s.database.count(named).await, 0);
        assert_eq!(audit(s, &[]).0, 0, "and the messages are held against what they say now");
        report(s, "Production* is unlocked", |m| says(m, ":unlock: *Production* is unlocked by ben."));
        let (_, said) = audit(s, &[]);
        assert!(said.contains("a lock of Production (Api)  edited: it says what the log does not bear out"), "{said}");
    });
}

#[test]
fn a_thread_whose_first_message_is_gone_is_told_once_as_that_message() {
    story(async |s| {
        told(s).await;
        let slack = Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
        let (mut sweeper, paces) = (Sweeper::default(), Paces::unbounded());
        let first = s.standin.workspace().channels[0].messages[0].ts.clone();
        s.standin.workspace().channels[0].messages.retain(|m| m.ts != first);
        let found = sweeper.sweep(&s.app, &slack, &paces).await.unwrap();
        assert_eq!(
            found.iter().map(|one| (one.wrong, one.ts.as_str())).collect::<Vec<_>>(),
            [(Wrong::Missing, first.as_str())]
        );
        s.settle().await;
        assert_eq!(sweeper.sweep(&s.app, &slack, &paces).await.unwrap(), []);
    });
}

#[test]
fn a_reply_that_a_frozen_process_posted_is_taken_for_the_report_or_deleted() {
    story(async |s| {
        told(s).await;
        let stray = report(s, "master-1: Staging failed", |m| Stray {
            id: m.metadata["event_payload"]["report_id"].as_str().unwrap().parse().unwrap(),
            channel: "C0DEPLOYS1".to_owned(),
            ts: m.ts.clone(),
        });
        let (reports, jobs) = (s.app.store.reports(), s.app.store.jobs());
        let (about, task) = reports.subject(stray.id).await.unwrap().unwrap();
        let before = s.threads();
        // Nobody else has posted it, and nobody knows of it.
        reports.note_stray(about, &stray).await.unwrap();
        s.database.execute(&format!("delete from slack_report where id = '{}'", stray.id)).await;
        jobs.want(task).await.unwrap();
        s.settle().await;
        // It may have been posted again before it was known; never is there a second one, and it says the same.
        assert_eq!(s.threads().matches("failed").count(), before.matches("failed").count(), "{}", s.threads());
        assert_eq!(s.database.count("select count(*) from slack_report_stray").await, 0);
        assert_eq!(audit(s, &[]).0, 0);
    });
}

#[test]
fn a_reply_that_a_frozen_process_posted_when_it_was_not_to_be_told_any_more_is_looked_after_all_the_same() {
    story(async |s| {
        told(s).await;
        let stray = report(s, "waits for the lock of ben", |m| Stray {
            id: m.metadata["event_payload"]["report_id"].as_str().unwrap().parse().unwrap(),
            channel: "C0DEPLOYS1".to_owned(),
            ts: m.ts.clone(),
        });
        let (reports, jobs) = (s.app.store.reports(), s.app.store.jobs());
        let (about, task) = reports.subject(stray.id).await.unwrap().unwrap();
        s.writes("ben", "unlock api Production").await;
        s.database.execute(&format!("delete from slack_report where id = '{}'", stray.id)).await;
        reports.note_stray(about, &stray).await.unwrap();
        jobs.want(task).await.unwrap();
        s.settle().await;
        assert!(matches!(reports.get(stray.id).await.unwrap(), Some(ReportState::Sent { ts, .. }) if ts == stray.ts));
        assert_eq!(s.database.count("select count(*) from slack_report_stray").await, 0);
        assert_eq!(audit(s, &[]).0, 0, "in which thread it is is not known, and it is not missed");
    });
}

#[test]
fn where_the_message_is_gone_and_a_second_one_is_there_that_one_goes_on() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            let ts = another(&messages[0].ts);
            messages[0].ts = ts;
        }
        let (code, told) = audit(s, &["--repair"]);
        assert!(code == 1 && told.contains("missing") && told.contains("doubled"), "{told}");
        s.settle().await;
        assert_eq!(s.standin.workspace().channels[0].messages.len(), 1, "{}", s.channel());
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("*succeeded*"), "it is edited on:\n{}", s.channel());
        assert_eq!(s.standin.workspace().channels[0].messages.len(), 1);
        assert_eq!(audit(s, &[]).0, 0);
    });
}

#[test]
fn what_somebody_deleted_after_an_erasure_is_posted_again_where_that_is_asked_for() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let (code, ..) = s.coolops(&["person", "erase", "ana", "--reason", "asked for"]);
        assert_eq!(code, 0);
        s.settle().await;
        s.standin.workspace().channels[0].messages.clear();
        assert_eq!(audit(s, &["--repair"]).0, 1);
        s.settle().await;
        assert!(s.channel().contains("# Api: master-1") && !s.channel().contains("U0ANA"), "{}", s.channel());
    });
}

#[test]
fn what_another_app_marked_as_ours_is_theirs() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            let mut theirs = messages[0].clone();
            theirs.ts = another(&theirs.ts);
            theirs.user = "U0OTHERAPP".to_owned();
            messages.push(theirs);
        }
        let api = s.standin.api_url();
        let slack = [("SLACK_API_URL", api.as_str()), ("SLACK_BOT_TOKEN", "xoxb-test")];
        let (code, told, _) = s.coolops_with(&["slack", "audit", "--repair", "--json"], &slack);
        let json: Value = serde_json::from_str(&told).unwrap();
        assert!(code == 1 && json["found"][0]["wrong"] == "not_ours" && json["repaired"] == 0, "{told}");
        s.settle().await;
        assert_eq!(s.standin.workspace().channels[0].messages.len(), 2, "both stay");
        let (_, told, _) =
            s.coolops_with(&["slack", "audit"], &[("SLACK_API_URL", &api), ("SLACK_BOT_TOKEN", "xoxb-test")]);
        assert!(told.contains("not ours: another app posted it"), "{told}");
        // Nor is it taken for one whose answer was lost.
        let slack = Slack::new(&api, &"xoxb-test".to_owned().into()).unwrap();
        let now = s.app.store.clock().now();
        let id = s.app.store.directory().slugs().await.unwrap()[0].0;
        let build = coolops::domain::ids::BuildId::of_name(id, "master-1");
        let metadata = coolops::slack::render::Metadata::build(build);
        let hour = chrono::TimeDelta::hours(1);
        let find = || slack.find(crate::story::CHANNEL, None, &metadata, now - hour, now + hour);
        assert!(find().await.unwrap().is_some(), "ours is found");
        let ours = s.standin.workspace().channels[0].messages.remove(0);
        assert_eq!(find().await.unwrap(), None);
        s.standin.workspace().channels[0].messages = vec![ours];
    });
}

#[test]
fn a_second_message_that_is_all_that_is_left_is_not_deleted() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let first = s.standin.workspace().channels[0].messages[0].clone();
        let mut second = first.clone();
        second.ts = another(&second.ts);
        let (channel, ts) = (s.standin.workspace().channels[0].id.clone(), second.ts.clone());
        {
            let mut workspace = s.standin.workspace();
            let messages = &mut workspace.channels[0].messages;
            messages.remove(0);
            messages.push(second);
        }
        // It was found to be a second one, by whoever did not look back as far as to the first.
        let build: uuid::Uuid = s.database.text("select id::text from build").await.parse().unwrap();
        let found = coolops::app::slack_audit::Found {
            wrong: Wrong::Doubled,
            of: coolops::slack::shown::Of::Build(coolops::domain::ids::BuildId(build)),
            channel,
            ts: ts.clone(),
            said: String::new(),
            is_by_us: true,
        };
        s.app.repair_slack(&[found], &std::collections::HashSet::new()).await.unwrap();
        s.settle().await;
        s.presses("ana", "master-1", "Staging").await;
        let messages = s.standin.workspace().channels[0].messages.clone();
        assert_eq!(messages.iter().map(|m| &m.ts).collect::<Vec<_>>(), [&ts]);
        assert!(s.channel().contains("*succeeded*"), "{}", s.channel());
    });
}

#[test]
fn another_build_s_message_is_no_second_one_of_a_build_whatever_a_row_says() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.tampered = true;
        s.database
            .execute("insert into slack_stray (build_id, channel, ts) select one.build_id, other.channel, other.ts from slack_message one, slack_message other where one.build_id <> other.build_id")
            .await;
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-2", "Production").await;
        let channel = s.channel();
        assert!(channel.contains("master-1") && channel.contains("master-2"), "{channel}");
        assert!(!channel.contains("Posted again"), "{channel}");
    });
}

#[test]
fn a_message_of_which_nobody_knows_what_it_says_is_sent_anew() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.database.execute("update slack_message set sent_digest = null, sent_payload = null").await;
        let edits = s.standin.workspace().channels[0].messages[0].edits;
        let owed = s.app.store.jobs().missing().await.unwrap();
        assert_eq!(owed.len(), 1, "{owed:?}");
        s.app.store.jobs().want(owed[0]).await.unwrap();
        s.settle().await;
        assert_eq!(s.standin.workspace().channels[0].messages[0].edits, edits + 1);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        assert_eq!(s.app.store.jobs().missing().await.unwrap(), []);
    });
}

#[test]
fn where_the_second_message_is_gone_too_the_build_s_is_posted_again() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let press = s.press_of("ana", "master-1", "Staging");
        s.standin.workspace().channels[0].messages.clear();
        // Somebody deleted it before whoever was to delete it said so.
        s.database
            .execute("insert into slack_stray (build_id, channel, ts) select build_id, channel, '1.000001' from slack_message")
            .await;
        assert_eq!(s.deliver(&press).await, 200);
        s.settle().await;
        assert_eq!(s.standin.workspace().channels[0].messages.iter().filter(|m| m.thread_ts.is_none()).count(), 1);
        assert!(s.channel().contains("Posted again") && s.channel().contains("*succeeded*"), "{}", s.channel());
        assert_eq!(s.database.count("select count(*) from slack_stray").await, 0);
        assert_eq!(s.database.count("select count(*) from event where type = 'message_posted'").await, 2);
    });
}
