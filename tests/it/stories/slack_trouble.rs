//! Slack misbehaves; the message converges all the same, and there is one.

use coolops_lab::standin::workspace::{Fault, Message};

use coolops::domain::settings::ProjectChange;
use coolops::slack::event::Notice;
use coolops::store::limits::Pause;

use crate::story::{CHANNEL, build, operator, story};

#[test]
fn a_post_whose_answer_was_lost_is_found_again_and_not_posted_twice() {
    story(async |s| {
        s.standin.workspace().plan("chat.postMessage", Fault::LostReply, 1);
        s.ci_announces(build("master-1")).await;
        assert_eq!(s.channel().matches("# Api: master-1").count(), 1);
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("*succeeded*"));
    });
}

#[test]
fn a_press_of_what_is_not_ours_or_not_there_any_more_is_refused_privately() {
    story(async |s| {
        s.standin.workspace().add_channel("C0FORMER01", "former");
        s.ci_announces(build("master-1")).await;
        let (elsewhere, done) = ("deployed from another channel", "so nothing was done");
        let presses: [(&str, fn(&mut serde_json::Value), &str); 4] = [
            (
                "another app's message",
                |p| p["message"]["app_id"] = "A0FOREIGN1".into(),
                "not on a message of this coolops",
            ),
            ("another workspace's message", |p| p["message"]["team"] = "T0FOREIGN1".into(), "or of this workspace"),
            ("a copy in another channel", |p| p["channel"]["id"] = "C0FORMER01".into(), elsewhere),
            ("a payload of another app", |p| p["api_app_id"] = "A0FOREIGN1".into(), "not on a message of this coolops"),
        ];
        for (what, change, words) in presses {
            s.deliver_changed(&s.press_of("ana", "master-1", "Staging"), change).await;
            let mut notes = s.private_notes_of("ana");
            notes.retain(|n| n.contains(words) && n.contains(done));
            assert!(!notes.is_empty(), "{what}: {:?}", s.private_notes_of("ana"));
        }
        assert_eq!(s.private_notes_of("ana").len(), 4);
        // The channel of before keeps its buttons, and they are dead.
        let change = ProjectChange::Channel("C0NEWHOME1".to_owned());
        s.app.change_project(s.project(), change, &operator()).await.unwrap();
        s.presses("ben", "master-1", "Staging").await;
        assert!(s.private_notes_of("ben")[0].contains(elsewhere), "{:?}", s.private_notes_of("ben"));
        assert_eq!(s.runner.starts(), [0; 0], "nothing was started");
    });
}

#[test]
fn a_post_that_never_arrived_is_posted_after_looking_twice() {
    story(async |s| {
        s.standin.workspace().plan("chat.postMessage", Fault::Status(503), 1);
        s.ci_announces(build("master-1")).await;
        assert_eq!(s.channel().matches("# Api: master-1").count(), 1);
        let looked = s.standin.workspace().calls.iter().filter(|c| c.method == "conversations.history").count();
        assert_eq!(looked, 2);
    });
}

#[test]
fn what_happened_while_slack_was_down_becomes_one_edit() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.standin.workspace().plan("chat.update", Fault::Status(503), 3);
        s.presses("ana", "master-1", "Staging").await;
        s.container_ends("master-1", 0).await;
        assert!(s.channel().contains("*succeeded*"));
    });
}

#[test]
fn a_429_is_obeyed_before_anything_else_is_sent_there() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.standin.workspace().plan("chat.update", Fault::RateLimited(1), 1);
        let before = std::time::Instant::now();
        s.presses("ana", "master-1", "Staging").await;
        assert!(before.elapsed() >= std::time::Duration::from_secs(1), "Slack asked for a second");
        assert!(s.channel().contains("*succeeded*"));
    });
}

#[test]
fn a_deleted_message_is_posted_again_once_on_the_next_change() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        let press = s.press_of("ana", "master-1", "Staging");
        let ts = s.standin.workspace().channels[0].messages[0].ts.clone();
        s.standin.workspace().delete(CHANNEL, &ts);
        s.settle().await;
        assert!(!s.channel().contains("# Api: master-1"), "the deletion alone brings nothing back");
        s.deliver(&press).await;
        s.settle().await;
        assert_eq!(s.channel().matches("# Api: master-1").count(), 1);
        assert_eq!(
            s.channel().matches("Posted again: an earlier message of this build is gone").count(),
            1,
            "{}",
            s.channel()
        );
        let ts = s.standin.workspace().channels[0].messages.last().unwrap().ts.clone();
        let press = s.press_of("ben", "master-1", "Staging");
        s.standin.workspace().delete(CHANNEL, &ts);
        s.deliver(&press).await;
        s.settle().await;
        assert!(!s.channel().contains("# Api: master-1"), "whoever deletes it twice means it");
    });
}

#[test]
fn an_archived_channel_blocks_the_message_and_not_the_deployment() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let press = s.press_of("ana", "master-1", "Staging");
        s.standin.workspace().channels[0].is_archived = true;
        s.deliver(&press).await;
        for _ in 0..3 {
            s.slack_works_once().await;
        }
        s.standin.workspace().channels[0].is_archived = false;
        s.settle().await;
        assert!(s.channel().contains("*succeeded*"), "{}", s.channel());
    });
}

#[test]
fn what_slack_refuses_is_sent_as_plain_text_and_found_by_doctor() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.standin.workspace().plan("chat.update", Fault::Error("invalid_blocks".into()), 1);
        s.presses("ana", "master-1", "Staging").await;
        s.settle().await;
        let workspace = s.standin.workspace();
        let message = &workspace.channels[0].messages[0];
        assert!(
            message.text.contains("Staging") && message.text.contains("succeeded"),
            "the same facts as text: {}",
            message.text
        );
    });
}

#[test]
fn a_build_that_was_announced_into_a_wrong_channel_is_posted_where_the_project_is_now() {
    story(async |s| {
        s.app.change_project(s.project(), ProjectChange::Channel("C0WRONG001".into()), &operator()).await.unwrap();
        s.post_build(&build("master-1").body()).await;
        for _ in 0..3 {
            s.slack_works_once().await;
        }
        assert!(!s.channel().contains("master-1"));
        s.app.change_project(s.project(), ProjectChange::Channel(CHANNEL.into()), &operator()).await.unwrap();
        s.settle().await;
        assert_eq!(s.channel().matches("# Api: master-1").count(), 1, "{}", s.channel());
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("*succeeded*"), "{}", s.channel());
    });
}

#[test]
fn a_second_message_that_a_frozen_process_posted_is_deleted() {
    for undeletable in [false, true] {
        story(async |s| {
            s.ci_announces(build("master-1")).await;
            let (id, ts) = {
                let mut workspace = s.standin.workspace();
                let ts = workspace.next_ts();
                let second = Message { ts: ts.clone(), ..workspace.channels[0].messages[0].clone() };
                workspace.channels[0].messages.push(second);
                if undeletable {
                    workspace.plan("chat.delete", Fault::Error("cant_delete_message".into()), 1);
                }
                (s.build_id("master-1"), ts)
            };
            s.app.store.messages().note_stray(id, CHANNEL, &ts).await.unwrap();
            let press = s.press_of("ana", "master-1", "Staging");
            assert_eq!(s.deliver(&press).await, 200);
            s.settle().await;
            assert_eq!(
                s.channel().matches("# Api: master-1").count(),
                if undeletable { 2 } else { 1 },
                "{}",
                s.channel()
            );
            assert!(s.channel().contains("*succeeded*"), "and the first one goes on:\n{}", s.channel());
            // Who may delete it does so by hand.
            s.standin.workspace().delete(CHANNEL, &ts);
        });
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn a_process_that_froze_before_its_post_and_woke_after_anothers_leaves_one_message() {
    use crate::story::process::Process;
    use std::time::Duration;
    story(async |s| {
        // It stands where it has said that it posts, and has not.
        let mut frozen = Process::start(s, Duration::ZERO).await;
        frozen.freezes_at("after_attempted");
        s.post_build(&build("master-1").body()).await;
        frozen.moves(Duration::from_secs(5));
        assert_eq!(frozen.died(), Some("after_attempted"));
        s.database.set_clock(600).await;
        assert_eq!(s.app.store.jobs().reap().await.unwrap(), 1, "its lease ran out");
        s.settle().await;
        let calls = |method: &str| s.standin.workspace().calls.iter().filter(|call| call.method == method).count();
        let shown = || s.channel().matches("# Api: master-1").count();
        assert_eq!((calls("chat.postMessage"), shown()), (1, 1), "another one posted it");
        // Its machine stood still with it: by its own clock no time has passed.
        frozen.wakes(Duration::from_secs(5));
        assert_eq!(calls("chat.postMessage"), 2, "it went on with what it was at");
        drop(frozen);
        s.settle().await;
        assert_eq!((calls("chat.delete"), shown()), (1, 1), "{}", s.channel());
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("*succeeded*"), "and what is left is the one that goes on: {}", s.channel());
    });
}

#[test]
fn what_was_on_its_way_when_the_app_was_taken_away_does_not_give_it_back() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.standin.workspace().plan("chat.update", Fault::Late(1), 1);
        s.runner.hold();
        s.only_presses("ana", "master-1", "Staging").await;
        let is_on_its_way = || s.standin.workspace().faults.iter().all(|fault| fault.times == 0);
        let told = async {
            while !is_on_its_way() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            s.app.noticed(&Notice::Removed("app_uninstalled")).await.unwrap();
        };
        tokio::join!(s.slack_works_once(), told);
        assert!(s.channel().contains("*queued*"), "it arrived:\n{}", s.channel());
        assert!(
            matches!(s.app.store.paces().is_paused().await.unwrap(), Some(Pause::Refused(word)) if word == "app_uninstalled")
        );
        s.app.store.paces().resume().await.unwrap();
        s.settle().await;
        s.container_ends("master-1", 0).await;
    });
}
