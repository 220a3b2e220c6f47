//! The events, their chain and the head.

use coolops::app::finding::Kind;

use super::{OFF, ON, RECHAIN, changes, found, signed};
use crate::story::story;

#[test]
fn a_payload_is_edited() {
    found(Kind::EditedBody, async |s, _| {
        changes(s, "update event set payload = replace(payload::text, 'Staging', 'Stagung')::json where position = (select min(position) from event where type = 'deployment_requested')").await;
        Some(s.database.count("select min(position) from event where type = 'deployment_requested'").await)
    });
}

#[test]
fn a_header_is_edited() {
    found(Kind::EditedHeader, async |s, _| {
        changes(s, "update event set correlation_id = gen_random_uuid() where position = 4").await;
        Some(4)
    });
}

#[test]
fn two_events_change_places() {
    found(Kind::EditedHeader, async |s, _| {
        changes(s, "update event set position = 500 where position = 5; update event set position = 5 where position = 6; update event set position = 6 where position = 500").await;
        Some(5)
    });
}

#[test]
fn an_event_in_the_middle_is_deleted() {
    found(Kind::MissingEvent, async |s, _| {
        changes(s, "delete from event where position = 6").await;
        Some(6)
    });
}

#[test]
fn the_tail_is_cut_off() {
    found(Kind::CutTail, async |s, signed| {
        changes(s, "delete from event where position > (select max(position) - 2 from event)").await;
        Some(signed.end - 1)
    });
}

#[test]
fn the_tail_is_cut_off_and_the_head_rewritten() {
    found(Kind::RewrittenHead, async |s, signed| {
        changes(s, "delete from event where position > (select max(position) - 2 from event);
                    update event_head h set (position, chain_hash, last_at) = (select e.position, e.chain_hash, e.recorded_at from event e order by e.position desc limit 1)").await;
        Some(signed.end - 1)
    });
}

#[test]
fn the_tail_is_cut_off_and_the_head_says_so_but_for_its_time() {
    found(Kind::RewrittenHead, async |s, signed| {
        changes(s, &format!(
            "delete from event where position > {0}; update event_head set (position, chain_hash) = (select position, chain_hash from event where position = {0})",
            signed.end - 2
        ))
        .await;
        Some(signed.end - 1)
    });
}

#[test]
fn the_head_says_that_there_are_more() {
    found(Kind::RewrittenHead, async |s, signed| {
        s.database.execute("update event_head set position = position + 5").await;
        Some(signed.end)
    });
}

#[test]
fn nothing_is_to_be_recorded_any_more() {
    story(async |s| {
        let signed = signed(s).await;
        s.database.execute("update event_head set closed = 'x'").await;
        let (code, said, _) = s.coolops_with(&["audit", "verify"], &signed.anchored.variables());
        assert!(code == 1 && said.contains("CLOSED  nothing is recorded any more until an operator decides"), "{said}");
    });
}

#[test]
fn the_whole_chain_is_computed_anew() {
    found(Kind::RewrittenHistory, async |s, signed| {
        let edit = format!(
            "update event set actor = replace(actor::text, 'slack', 'token')::json, payload = replace(payload::text, 'master-1', 'master-9')::json where position > {}",
            signed.before
        );
        changes(s, &format!("{edit}; {RECHAIN}")).await;
        Some(signed.before + 1)
    });
}

#[test]
fn the_clock_is_rewritten() {
    found(Kind::EditedHeader, async |s, _| {
        changes(s, "update event set recorded_at = recorded_at - interval '1 us' where position = 3").await;
        Some(3)
    });
}

#[test]
fn an_event_is_inserted() {
    found(Kind::InsertedEvent, async |s, signed| {
        let columns = "event_id, tenant_id, stream_id, correlation_id, causation_id, recorded_at, fence, stream_version, schema_version, stream_type, type, actor, payload";
        s.database.execute(&format!(
            r"insert into event (position, {columns}, body_hash, chain_hash)
              select e.position + 1, gen_random_uuid(), e.tenant_id, e.stream_id, e.correlation_id, e.event_id, e.recorded_at, null, e.stream_version + 1, e.schema_version,
                     e.stream_type, e.type, e.actor, e.payload, e.body_hash, sha256('') from event e where e.position = {end};
              do $$ declare r record; p bytea; begin
                select * into r from event where position = {end} + 1; select chain_hash into p from event where position = {end};
                {OFF}
                update event set chain_hash = sha256('\x01'::bytea || p || int8send(r.position) || timestamptz_send(r.recorded_at)
                  || item_hash(r.event_id, r.tenant_id, r.stream_type, r.stream_id, r.stream_version, r.type, r.schema_version, r.actor::text, r.correlation_id, r.causation_id, r.fence, r.body_hash)) where position = {end} + 1;
                {ON}
              end $$",
            end = signed.end
        ))
        .await;
        Some(signed.end + 1)
    });
}

#[test]
fn an_event_is_inserted_among_others_which_make_room_for_it() {
    found(Kind::InsertedEvent, async |s, _| {
        changes(
            s,
            r"update event set position = position + 1000000 where position > 4;
              update event set position = position - 999999 where position > 4;
              insert into event (position, event_id, tenant_id, stream_id, correlation_id, causation_id, recorded_at, fence, stream_version, schema_version, stream_type, type, actor, payload, body_hash, chain_hash)
                select 5, gen_random_uuid(), e.tenant_id, gen_random_uuid(), e.correlation_id, e.event_id, e.recorded_at, null, 1, e.schema_version,
                       e.stream_type, e.type, e.actor, e.payload, e.body_hash, sha256('') from event e where e.position = 4;
              update event e set chain_hash = sha256('\x01'::bytea || b.chain_hash || int8send(e.position) || timestamptz_send(e.recorded_at)
                     || item_hash(e.event_id, e.tenant_id, e.stream_type, e.stream_id, e.stream_version, e.type, e.schema_version, e.actor::text, e.correlation_id, e.causation_id, e.fence, e.body_hash))
                from event b where b.position = 4 and e.position = 5;
              update event_head set position = position + 1",
        )
        .await;
        Some(5)
    });
}

#[test]
fn two_events_are_inserted_among_others_that_are_chained_by_nothing() {
    found(Kind::InsertedEvent, async |s, _| {
        changes(
            s,
            "update event set position = position + 1000000 where position > 4;
             update event set position = position - 999998 where position > 4;
             insert into event (position, event_id, tenant_id, stream_id, correlation_id, causation_id, recorded_at, fence, stream_version, schema_version, stream_type, type, actor, payload, body_hash, chain_hash)
               select 4 + n, gen_random_uuid(), e.tenant_id, gen_random_uuid(), e.correlation_id, e.event_id, e.recorded_at, null, 1, e.schema_version,
                      e.stream_type, e.type, e.actor, e.payload, e.body_hash, sha256('') from event e, generate_series(1, 2) n where e.position = 4;
             update event_head set position = position + 2",
        )
        .await;
        Some(5)
    });
}

#[test]
fn events_are_deleted_and_the_gap_is_closed() {
    for (first, many) in [(1, 1), (5, 1), (5, 3)] {
        found(Kind::MissingEvent, async |s, _| {
            changes(
                s,
                &format!(
                    "delete from event where position between {first} and {first} + {many} - 1;
                     update event set position = position + 1000000 where position > {first};
                     update event set position = position - 1000000 - {many} where position > 1000000;
                     update event_head set position = position - {many}"
                ),
            )
            .await;
            Some(first)
        });
    }
}

#[test]
fn an_event_is_inserted_before_the_first() {
    found(Kind::InsertedEvent, async |s, _| {
        s.database.execute(
            "alter table event drop constraint event_position_check;
             insert into event select (jsonb_populate_record(null::event, to_jsonb(e) || jsonb_build_object('position', 0, 'event_id', gen_random_uuid(), 'stream_id', gen_random_uuid()))).*
               from event e where position = 1",
        )
        .await;
        Some(0)
    });
}

#[test]
fn later_events_are_to_be_recorded_in_a_year() {
    found(Kind::RewrittenHead, async |s, _| {
        s.database.execute("update event_head set last_at = last_at + interval '1 year'").await;
        Some(s.database.count("select position from event_head").await)
    });
}

#[test]
fn the_head_s_time_is_set_to_one_that_nobody_can_count_with() {
    found(Kind::RewrittenHead, async |s, _| {
        let head = "alter table event_head drop constraint event_head_last_at_is_a_time; update event_head set last_at = 'infinity'";
        s.database.execute(head).await;
        Some(s.database.count("select position from event_head").await)
    });
}

/// An event's time becomes one that nobody can count with.
fn a_time_is_set_to(time: &str) {
    found(Kind::EditedHeader, async |s, signed| {
        let statement = format!(
            "alter table event drop constraint event_recorded_at_is_a_time; update event set recorded_at = '{time}' where position = 4"
        );
        changes(s, &statement).await;
        // What is there can be taken out all the same.
        let (code, told, _) = s.coolops(&["audit", "export"]);
        assert_eq!((code, told.lines().count() as i64), (0, signed.end));
        Some(4)
    });
}

#[test]
fn a_time_is_set_to_none_that_ever_comes() {
    a_time_is_set_to("infinity");
}

#[test]
fn a_time_is_set_to_one_before_all_others() {
    a_time_is_set_to("-infinity");
}

#[test]
fn a_time_is_set_to_one_that_no_clock_shows() {
    a_time_is_set_to("290000-01-01");
}

#[test]
fn the_head_is_gone() {
    found(Kind::RewrittenHead, async |s, _| {
        let head = s.database.count("select position from event_head").await;
        s.database.execute("delete from event_head").await;
        Some(head)
    });
}

#[test]
fn an_old_backup_is_restored_and_goes_on() {
    found(Kind::RewrittenHistory, async |s, signed| {
        // As it was when the first checkpoint was signed, and then something else happened, and more of it.
        changes(s, &format!(
            "delete from event where position > {before}; delete from log_chunk c where not exists (select from event e where e.stream_id = c.deployment_id);
             delete from checkpoint where size > {before}; update checkpoint_place set kept = 1; delete from deployment d where not exists (select from event e where e.stream_id = d.id);
             update event_head set (position, chain_hash) = (select position, chain_hash from event where position = {before});
             delete from slack_message; delete from job; delete from boundary", before = signed.before)).await;
        s.app.rebuild().await.unwrap();
        for name in 2..=12 {
            let (code, _, said) = s.coolops(&["project", "set", "api", "--name", &format!("Api {name}")]);
            assert_eq!(code, 0, "{said}");
        }
        Some(signed.before + 1)
    });
}

#[test]
fn an_actor_is_renamed() {
    found(Kind::EditedHeader, async |s, _| {
        let eve = r#"{"v":1,"kind":"slack","id":"U0EVE00001","of":"T0123456789","name":"eve"}"#;
        changes(s, &format!("update event set actor = '{eve}' where position = (select min(position) from event where type = 'deployment_requested')")).await;
        Some(s.database.count("select min(position) from event where type = 'deployment_requested'").await)
    });
}
