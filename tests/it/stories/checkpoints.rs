//! Stories of what is signed, and when.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::proof::deployed;
use crate::story::anchored::Anchored;
use crate::story::{build, story};

#[test]
fn what_happened_since_the_last_checkpoint_is_covered_by_one_at_a_stop() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let stop = CancellationToken::new();
        let signing = tokio::spawn(coolops::jobs::checkpointer::run(Arc::clone(&anchored.app), stop.clone()));
        while s.database.count("select count(*) from checkpoint_place where size > 0").await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        s.ci_announces(build("master-2")).await;
        stop.cancel();
        signing.await.unwrap();
        let newest = std::fs::read_to_string(anchored.folder.join("checkpoint")).unwrap();
        let events = s.database.count("select position from event_head").await;
        assert!(newest.contains(&format!("\n{events}\n")), "{events} are not covered:\n{newest}");
    });
}

#[test]
fn what_was_signed_after_a_dump_of_events_that_it_has_is_known_again_after_its_restore() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        let size = anchored.signs().await;
        s.database.execute("delete from checkpoint; delete from checkpoint_place").await;
        s.ci_announces(build("master-2")).await;
        anchored.signs().await;
        assert_eq!(s.database.count("select min(size) from checkpoint").await as u64, size);
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
    });
}

#[test]
fn two_processes_that_sign_with_two_keys_for_a_while_leave_no_gap() {
    story(async |s| {
        let anchored = Anchored::new(s);
        let new = anchored.rekeyed(s, 9, true);
        deployed(s).await;
        anchored.signs().await;
        for n in 2..=4 {
            s.ci_announces(build(&format!("master-{n}"))).await;
            new.checkpoint().await.unwrap().unwrap();
            s.ci_announces(build(&format!("other-{n}"))).await;
            // It believes its own key alone.
            anchored.app.checkpoint().await.unwrap().unwrap();
        }
        s.ci_announces(build("master-5")).await;
        new.checkpoint().await.unwrap().unwrap();
        assert_eq!(new.audit(false).await.unwrap().findings, []);
    });
}
