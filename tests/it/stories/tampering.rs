//! More than twenty kinds of tampering by somebody with full power over the database, and over what is kept beside it: each is
//! found, with its kind and the first event that it concerns.

use axum::http::StatusCode;
use coolops::app::finding::Kind;

use crate::story::anchored::Anchored;
use crate::story::{Story, build, story};

/// A log that was signed twice: up to where `before` says, and to its end.
struct Signed {
    anchored: Anchored,
    before: i64,
    end: i64,
}

/// Two deployments with output; a checkpoint between them, and one at the end.
async fn signed(s: &mut Story) -> Signed {
    let anchored = Anchored::new(s);
    s.ci_announces(build("master-1")).await;
    s.runner.will_print(&["one", "two"], 0);
    s.presses("ana", "master-1", "Staging").await;
    let before = anchored.signs().await as i64;
    s.runner.will_print(&["three", "four"], 0);
    s.presses("ben", "master-1", "Production").await;
    let end = anchored.signs().await as i64;
    assert_eq!(anchored.app.audit(true).await.unwrap().findings, []);
    s.tampered = true;
    Signed { anchored, before, end }
}

const OFF: &str = "alter table event disable trigger all; alter table log_chunk disable trigger all;";
const ON: &str = "alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated;
                  alter table log_chunk enable always trigger log_chunk_is_append_only; alter table log_chunk enable always trigger log_chunk_is_never_truncated;";
/// Computes every hash anew, as somebody would who knows how.
pub const RECHAIN: &str = r"do $$ declare h bytea := sha256('coolops-genesis'); b bytea; r record; begin
    for r in select * from event order by position loop
      b := sha256('\x00'::bytea || convert_to(r.payload::text, 'UTF8'));
      h := sha256('\x01'::bytea || h || int8send(r.position) || timestamptz_send(r.recorded_at)
             || item_hash(r.event_id, r.tenant_id, r.stream_type, r.stream_id, r.stream_version, r.type, r.schema_version, r.actor::text, r.correlation_id, r.causation_id, r.fence, b));
      update event set body_hash = b, chain_hash = h where position = r.position;
    end loop;
    update event_head set chain_hash = h, position = (select max(position) from event);
  end $$;";

/// What was done while nobody looked is found, and is of that kind; the position follows from the log's own. Only what the
/// database lets happen from now on has none.
fn found(kind: Kind, tamper: impl AsyncFnOnce(&Story, &Signed) -> Option<i64>) {
    story(async |s| {
        let signed = signed(s).await;
        let position = tamper(s, &signed).await;
        let report = signed.anchored.app.audit(true).await.unwrap();
        let of_kind: Vec<_> = report.findings.iter().filter(|finding| finding.kind == kind).collect();
        assert!(!of_kind.is_empty(), "{kind:?} is not among {:#?}", report.findings);
        assert_eq!(of_kind[0].position, position, "{:#?}", report.findings);
        // It is told to people too, with an exit code.
        let (code, said, _) = s.coolops_with(&["audit", "verify"], &signed.anchored.variables());
        let at = position.map(|position| format!(", at {position}")).unwrap_or_default();
        let told = format!("CHANGED  {} ({}{at})", of_kind[0].said, kind.as_str());
        assert!(code == 1 && said.contains(&told), "{told}:\n{said}");
    });
}

async fn changes(s: &Story, statement: &str) {
    s.database.execute(&format!("{OFF} {statement}; {ON}")).await;
}

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
fn output_is_edited() {
    found(Kind::ChangedOutput, async |s, _| {
        // The event that seals it.
        let seal = "select min(position) from (select max(position) as position from event where stream_id in (select deployment_id from log_chunk) group by stream_id) e";
        let seal = s.database.count(seal).await;
        changes(s, "update log_chunk set body = set_byte(body, length(body) - 5, (get_byte(body, length(body) - 5) + 1) % 256)").await;
        Some(seal)
    });
}

#[test]
fn output_is_deleted() {
    found(Kind::ChangedOutput, async |s, _| {
        // The event that seals it.
        let seal = "select min(position) from (select max(position) as position from event where stream_id in (select deployment_id from log_chunk) group by stream_id) e";
        let seal = s.database.count(seal).await;
        changes(s, "delete from log_chunk").await;
        Some(seal)
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
fn what_refuses_changes_is_switched_off() {
    found(Kind::Unguarded, async |s, _| {
        s.database.execute("alter table event disable trigger event_is_append_only").await;
        None
    });
}

#[test]
fn what_refuses_changes_is_switched_on_again_so_that_a_session_can_switch_it_off() {
    found(Kind::Unguarded, async |s, _| {
        s.database.execute("alter table event disable trigger event_is_append_only; alter table event enable trigger event_is_append_only").await;
        None
    });
}

#[test]
fn what_refuses_changes_lets_them_pass() {
    found(Kind::Unguarded, async |s, _| {
        let lets = "create or replace function forbid_change() returns trigger language plpgsql as $$ begin return coalesce(new, old); end $$";
        s.database.execute(lets).await;
        None
    });
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
fn a_projection_is_edited() {
    found(Kind::ChangedRow, async |s, _| {
        s.database
            .execute("update project set doc = replace(doc::text, doc->>'image', 'evil.example/steal:1')::json")
            .await;
        // The last event that its row is made of.
        Some(s.database.count("select max(position) from event where stream_type in ('project', 'environment')").await)
    });
}

#[test]
fn what_stands_beside_the_text_of_a_row_is_edited() {
    // Lists and look-ups go by these columns.
    for column in ["slug = 'other'", "position = position - 1"] {
        found(Kind::ChangedRow, async |s, _| {
            assert_eq!(s.database.execute(&format!("update project set {column}")).await, 1);
            Some(
                s.database
                    .count("select max(position) from event where stream_type in ('project', 'environment')")
                    .await,
            )
        });
    }
    // Whoever waits is pushed ahead, or does not hold their environment any more.
    for column in ["requested = 1", "state = 'succeeded'", "since = since - 1"] {
        found(Kind::ChangedRow, async |s, _| {
            s.only_presses("ben", "master-1", "Staging").await;
            let waiting = "(select stream_id from event where position = (select max(position) from event where type = 'deployment_requested'))";
            let edited = format!("update deployment set {column} where id = {waiting}");
            assert_eq!(s.database.execute(&edited).await, 1);
            Some(s.database.count(&format!("select max(position) from event where stream_id = {waiting}")).await)
        });
    }
}

#[test]
fn the_row_of_a_deployment_that_is_over_is_edited() {
    found(Kind::ChangedRow, async |s, _| {
        let edited = "update deployment set doc = replace(doc::text, 'ana', 'eve')::json where doc::text like '%ana%'";
        assert_eq!(s.database.execute(edited).await, 1);
        Some(s.database.count("select max(position) from event where stream_id = (select id from deployment where doc::text like '%eve%')").await)
    });
}

#[test]
fn the_row_of_a_build_is_deleted() {
    found(Kind::ChangedRow, async |s, _| {
        let build = s.database.text("select id::text from build").await;
        s.database.execute("delete from build").await;
        Some(s.database.count(&format!("select max(position) from event where stream_id = '{build}'")).await)
    });
}

#[test]
fn the_row_of_a_token_is_deleted() {
    found(Kind::ChangedRow, async |s, _| {
        assert_eq!(s.database.execute("delete from token").await, 1);
        Some(s.database.count("select max(position) from event where stream_type in ('project', 'environment')").await)
    });
}

#[test]
fn somebody_is_called_otherwise_where_their_key_is() {
    found(Kind::ChangedRow, async |s, _| {
        s.database.execute("update subject_key set name = 'eve' where name = 'ana'").await;
        let (code, _, said) = s.coolops(&["person", "erase", "eve", "--reason", "x"]);
        assert!(code == 1 && said.contains("no event calls U0ANA00001 eve"), "{said}");
        None
    });
}

#[test]
fn an_operator_has_a_name_where_their_key_is() {
    found(Kind::ChangedRow, async |s, _| {
        s.database.execute("update subject_key set name = 'eve' where kind = 'operator'").await;
        None
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
fn a_time_is_set_to_one_that_nobody_can_count_with() {
    found(Kind::RewrittenHead, async |s, _| {
        let head = "alter table event_head drop constraint event_head_last_at_is_a_time; update event_head set last_at = 'infinity'";
        s.database.execute(head).await;
        Some(s.database.count("select position from event_head").await)
    });
    for time in ["infinity", "-infinity", "290000-01-01"] {
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
}

#[test]
fn nothing_is_kept_outside_any_more_behind_a_place_in_the_log() {
    found(Kind::MissingCheckpoint, async |s, signed| {
        s.ci_announces(build("master-2")).await;
        s.database
            .execute("create function swallow() returns trigger language plpgsql as 'begin return null; end'; create trigger swallows before insert on checkpoint for each row execute function swallow()")
            .await;
        let why = signed.anchored.app.checkpoint().await.unwrap_err().to_string();
        assert!(why.contains("the database does not keep what is signed"), "{why}");
        let report = signed.anchored.app.audit(true).await.unwrap();
        assert!(!report.findings.iter().any(|found| found.kind == Kind::MissingCheckpoint), "not within minutes");
        s.database.set_clock(1_000).await;
        Some(signed.end + 1)
    });
}

#[test]
fn what_slack_was_sent_is_gone_from_its_row() {
    for column in ["sent_payload", "render_version"] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(&format!("update slack_message set {column} = null")).await, 1);
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn the_head_is_gone() {
    found(Kind::RewrittenHead, async |s, _| {
        let head = s.database.count("select position from event_head").await;
        s.database.execute("delete from event_head").await;
        Some(head)
    });
}

/// What somebody did to what the log is kept with is told, whether or not an event shows it.
fn gets_between(harms: &[(&str, &str)]) {
    for (what, says) in harms {
        found(Kind::Unguarded, async |s, _| {
            s.database.execute(what).await;
            let (code, told, said) = s.coolops(&["audit", "verify"]);
            assert!(code == 1 && told.contains(says), "{told}{said}");
            None
        });
    }
}

#[test]
fn somebody_gets_between_what_is_recorded_and_the_log() {
    gets_between(&[
        (
            "create function swallow() returns trigger language plpgsql as 'begin return null; end'; create trigger swallows before insert on event for each row execute function swallow()",
            "the trigger swallows on event is none of ours",
        ),
        (
            "create rule nothing as on insert to log_chunk do instead nothing",
            "the rule nothing on log_chunk is none of ours",
        ),
        ("alter table event drop constraint event_event_id_key", "the constraint event_event_id_key is gone"),
        (
            "alter table event drop constraint event_stream_id_stream_version_key; alter table event add constraint event_stream_id_stream_version_key check (true)",
            "the constraint event_stream_id_stream_version_key is gone or another one",
        ),
        (
            "create function swallow() returns trigger language plpgsql as 'begin return null; end'; create trigger swallows before insert on checkpoint for each row execute function swallow()",
            "the trigger swallows on checkpoint is none of ours",
        ),
        (
            "alter table event drop constraint event_recorded_at_is_a_time",
            "the constraint event_recorded_at_is_a_time is gone",
        ),
        ("drop trigger slack_report_text on slack_report", "the trigger slack_report_text on slack_report is gone"),
        (
            "create function swallow() returns trigger language plpgsql as 'begin return null; end'; create trigger log_chunk_is_append_only before insert on event for each row execute function swallow()",
            "the trigger log_chunk_is_append_only on event is none of ours",
        ),
        (
            "drop trigger event_is_append_only on event; create trigger event_is_append_only before update or delete on log_chunk for each row execute function forbid_change(); alter table log_chunk enable always trigger event_is_append_only",
            "the trigger event_is_append_only on event is gone",
        ),
    ]);
}

#[test]
fn a_table_is_not_the_one_that_was_made() {
    gets_between(&[
        (
            "drop trigger event_is_append_only on event; create trigger event_is_append_only before update of fence on event for each row execute function forbid_change(); alter table event enable always trigger event_is_append_only",
            "the trigger event_is_append_only on event is gone, switched off or another one",
        ),
        ("drop index deployment_one_per_environment", "nothing keeps two deployments out of one environment"),
        (
            "alter table deployment alter holds drop expression",
            "the column holds of deployment is not made of its state",
        ),
        ("alter table project enable row level security", "project is not a plain table any more"),
        ("create table more () inherits (event)", "event is not a plain table any more"),
        ("alter table snapshot set unlogged", "the table snapshot is not logged"),
        (
            "create function swallow() returns trigger language plpgsql as 'begin return null; end'; create trigger swallows before insert on job for each row execute function swallow()",
            "the trigger swallows on job is none of ours",
        ),
        ("drop trigger witnessed_only_grows on witnessed", "the trigger witnessed_only_grows on witnessed is gone"),
        (
            "alter table checkpoint drop constraint checkpoint_signed_at_is_a_time",
            "the constraint checkpoint_signed_at_is_a_time is gone",
        ),
    ]);
}

#[test]
fn a_function_is_another_one() {
    gets_between(&[
        (
            "create or replace function item_hash(uuid, uuid, text, uuid, int, text, smallint, text, uuid, uuid, bigint, text) returns bytea language sql as 'select null::bytea'",
            "the function item_hash(uuid,uuid,text,uuid,integer,text,smallint,text,uuid,uuid,bigint,text) is not as coolops migrate makes it",
        ),
        (
            "alter function close_log(text) security invoker",
            "the function close_log(text) is not as coolops migrate makes it",
        ),
        (
            "create or replace function holds_environment(state text) returns boolean language sql immutable return state = 'running'",
            "the function holds_environment does not tell which deployments hold an environment",
        ),
        (
            "create or replace function holds_environment(state text) returns boolean language plpgsql immutable strict parallel safe as 'begin raise exception ''no''; end'",
            "the function holds_environment does not tell which deployments hold an environment",
        ),
        (
            "create or replace function coolops_reader_role() returns text language sql immutable as 'select ''nobody''::text'",
            "the function coolops_reader_role is not as coolops migrate makes it",
        ),
        ("drop function forget_report_text() cascade", "the function forget_report_text is gone"),
        (
            "create or replace function coolops_reader_role() returns text language sql immutable as 'select ''coolops_reader_x''||current_user||''x''::text'",
            "the function coolops_reader_role is not as coolops migrate makes it",
        ),
    ]);
}

#[test]
fn somebody_may_do_what_nobody_gave_them() {
    gets_between(&[
        ("grant execute on function append_batch to pg_monitor", "the role pg_monitor may call append_batch"),
        ("alter table deployment owner to pg_monitor", "deployment belongs to pg_monitor, and event to"),
        ("alter function append_log_chunk owner to pg_monitor", "append_log_chunk belongs to pg_monitor, and event to"),
        ("grant execute on function append_batch to public", "everybody who may connect may call append_batch"),
        (
            "do $$ begin execute format('grant execute on function erase_output to %I', coolops_reader_role()); end $$",
            "the role that reads the views may call erase_output",
        ),
        ("grant insert, delete on event to public", "everybody who may connect has DELETE, INSERT on event"),
        ("grant update (payload) on event to public", "everybody who may connect has UPDATE on event"),
        (
            "do $$ begin execute format('grant update on event_head to %I', coolops_app_role()); end $$",
            "UPDATE on event_head, which nobody writes to but through functions",
        ),
        (
            "do $$ begin execute format('grant select on secret_value to %I', coolops_reader_role()); end $$",
            "the role that reads the views has SELECT on secret_value",
        ),
    ]);
}

#[test]
fn a_boundary_is_set_back() {
    found(Kind::ChangedRow, async |s, _| {
        let moved = s.database.count("select max(position) from boundary").await;
        let back = format!("update boundary set position = position - 1 where position = {moved}");
        assert_eq!(s.database.execute(&back).await, 1);
        Some(moved)
    });
}

#[test]
fn what_slack_was_sent_is_edited() {
    found(Kind::ChangedMessage, async |s, _| {
        s.database
            .execute("update slack_message set sent_payload = replace(sent_payload, 'succeeded', 'succeedad')")
            .await;
        Some(
            s.database
                .count("select min(sent_position) from slack_message where sent_payload like '%succeedad%'")
                .await,
        )
    });
}

#[test]
fn what_slack_was_sent_is_edited_together_with_what_tells_of_it() {
    let digest = "sent_digest = sha256(convert_to(replace(sent_payload, 'succeeded', 'failed'), 'UTF8')), sent_payload = replace(sent_payload, 'succeeded', 'failed')";
    for columns in [
        digest.to_owned(),
        // As if it were from before rows had codes, or its code from another row.
        format!("{digest}, sent_code = null"),
        format!("{digest}, sent_code = substr(sent_code, 1, 4) || sha256(convert_to(sent_payload, 'UTF8'))"),
        // As if another version of the renderer had made it, which nobody can ask.
        format!("{digest}, render_version = 1"),
        "render_version = 1".to_owned(),
        "plain = not plain".to_owned(),
        "sent_position = sent_position - 1".to_owned(),
    ] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(&format!("update slack_message set {columns}")).await, 1, "{columns}");
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn a_message_is_said_to_be_gone_or_in_the_way_of_something_or_its_row_is_deleted() {
    for harm in ["delete from slack_message", "update slack_message set state = 'blocked', problem = 'is_archived'"] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(harm).await, 1);
            Some(s.database.count("select max(position) from event where type = 'message_posted'").await)
        });
    }
    for state in ["gone", "posting"] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(&format!("update slack_message set state = '{state}'")).await, 1);
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn another_message_than_the_build_s_is_edited() {
    found(Kind::ChangedMessage, async |s, _| {
        s.database.execute("update slack_message set ts = '1.000001'").await;
        Some(s.database.count("select max(position) from event where type = 'message_posted'").await)
    });
}

#[test]
fn a_checkpoint_is_edited() {
    found(Kind::BadCheckpoint, async |_, signed| {
        let file = &signed.anchored.files()[0];
        let note = std::fs::read_to_string(file).unwrap();
        let size = format!("\n{}\n", signed.before);
        std::fs::write(file, note.replace(&size, &format!("\n{}\n", signed.before - 1))).unwrap();
        Some(signed.before - 1)
    });
}

#[test]
fn a_checkpoint_is_deleted() {
    found(Kind::MissingCheckpoint, async |_, signed| {
        std::fs::remove_file(&signed.anchored.files()[0]).unwrap();
        Some(signed.before)
    });
}

#[test]
fn a_checkpoint_is_another_key_s() {
    found(Kind::BadCheckpoint, async |s, signed| {
        let elsewhere = std::env::temp_dir().join(format!("coolops-anchored-{}", crate::story::random_name()));
        let place = elsewhere.to_str().unwrap().to_owned();
        let other = Anchored::at(s, elsewhere, &[&place], 8);
        s.database.execute("create table kept as select * from checkpoint; delete from checkpoint").await;
        other.signs().await;
        s.database.execute("delete from checkpoint; insert into checkpoint overriding system value select * from kept; delete from checkpoint_place where place like '%anchored%' and size = 0").await;
        std::fs::copy(&other.files()[0], signed.anchored.folder.join("checkpoint")).unwrap();
        Some(signed.end)
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
fn output_is_put_under_a_deployment_that_never_printed() {
    found(Kind::ChangedOutput, async |s, _| {
        // Its inner chain is right, and no event of an end seals it.
        changes(
            s,
            "insert into log_chunk select (json_populate_record(c, json_build_object('deployment_id', id, 'chain_hash',
                 sha256('\\x03'::bytea || sha256('coolops-journal'::bytea || uuid_send(id)) || convert_to(c.envelope::text, 'UTF8'))))).*
               from log_chunk c cross join (values ('00000000-0000-4000-8000-000000000007'::uuid)) planted (id) where c.chunk_no = 0 limit 1",
        )
        .await;
        let (_, told, _) = s.coolops(&["audit", "verify"]);
        let unsealed = "log of deployment 00000000-0000-4000-8000-000000000007: no event of its end seals it";
        assert!(told.contains(unsealed), "{told}");
        None
    });
}

#[test]
fn the_output_of_two_deployments_is_swapped() {
    found(Kind::ChangedOutput, async |s, _| {
        // The event that seals it.
        let seal = "select min(position) from (select max(position) as position from event where stream_id in (select deployment_id from log_chunk) group by stream_id) e";
        let seal = s.database.count(seal).await;
        changes(s, "update log_chunk set chunk_no = chunk_no + 100 where deployment_id = (select min(deployment_id::text)::uuid from log_chunk);
                    update log_chunk set deployment_id = (select min(deployment_id::text)::uuid from log_chunk) where chunk_no < 100;
                    update log_chunk set deployment_id = (select id from deployment where id not in (select deployment_id from log_chunk) limit 1), chunk_no = chunk_no - 100 where chunk_no >= 100").await;
        Some(seal)
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

#[test]
fn a_history_that_was_signed_twice_is_a_fork() {
    story(async |s| {
        let signed = signed(s).await;
        // Somebody with the key signs another history of the same length, and puts it beside the first.
        let root = [9; 32];
        let key = coolops::proof::checkpoint::LogKey::read(&signed.anchored.private.clone().into()).unwrap();
        let file = signed.anchored.files()[0].with_file_name("00000000000000000000-forged");
        std::fs::write(file, key.sign(u64::try_from(signed.before).unwrap(), root)).unwrap();
        let findings = signed.anchored.app.audit(false).await.unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!((findings[0].kind, findings[0].position), (Kind::Fork, Some(1)));
        // It is not what the place calls its newest: whoever looks at all of them finds it, and nothing is recorded then.
        let variables = signed.anchored.variables();
        let (code, said, hint) = s.coolops_with(&["audit", "verify"], &variables);
        assert!(
            code == 1 && said.contains("(fork, at 1)") && hint.contains("The log is closed until you decide"),
            "{said}{hint}"
        );
        assert_eq!(s.post_build(&build("master-2").body()).await.0, StatusCode::SERVICE_UNAVAILABLE);
        let (code, _, said) = s.coolops_with(&["audit", "fork", "--reason", "a test of the key"], &variables);
        assert_eq!(code, 0, "{said}");
        assert_eq!(s.post_build(&build("master-2").body()).await.0, StatusCode::CREATED);
        assert_eq!(signed.anchored.app.audit(false).await.unwrap().findings, []);
    });
}
