//! Stories of what is signed, and when.

use super::proof::deployed;
use crate::story::anchored::Anchored;
use crate::story::{build, story};

#[test]
fn what_happened_since_the_last_checkpoint_is_covered_by_one_at_a_stop() {
    story(async |s| {
        let anchored = Anchored::new(s);
        deployed(s).await;
        anchored.signs().await;
        s.ci_announces(build("master-2")).await;
        coolops::jobs::checkpointer::last(&anchored.app).await;
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
        assert_eq!(s.database.text("select min(size)::text from checkpoint").await, size.to_string());
        assert_eq!(anchored.app.audit(false).await.unwrap().findings, []);
        // And of what was given up later, where it was no place's newest.
        let kept = s.database.count("select max(size) from checkpoint").await;
        s.ci_announces(build("master-3")).await;
        anchored.signs().await;
        s.tampered = true;
        s.database
            .execute(&format!(
                "alter table event disable trigger all; delete from event where position > {kept}; delete from checkpoint where size >= {kept};
                 update checkpoint_place set (size, kept) = (select size, n from checkpoint); delete from job; delete from slack_message m where not exists (select from event e where e.type = 'message_posted' and e.correlation_id = m.build_id);
                 update slack_message set sent_digest = null, sent_payload = null, sent_position = 0;
                 update event_head set (position, chain_hash, last_at) = (select position, chain_hash, recorded_at from event where position = {kept});
                 alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated"
            ))
            .await;
        s.app.rebuild().await.unwrap();
        anchored.app.checkpoint().await.unwrap_err();
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "restored"], &anchored.variables());
        assert_eq!(code, 0, "{said}");
        s.settle().await;
        anchored.signs().await;
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
