//! Slack misbehaves; the message converges all the same, and there is one.

use coolops::standin::workspace::Fault;

use crate::story::{CHANNEL, build, story};

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
