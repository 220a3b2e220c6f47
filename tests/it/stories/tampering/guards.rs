//! What keeps the log is switched off, replaced, or somebody gets between.

use coolops::app::finding::Kind;

use super::found;

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
        (
            "alter table deployment drop column holds cascade; alter table deployment add column holds boolean generated always as (state is null) stored;
             create unique index deployment_one_per_environment on deployment (environment_id) where holds",
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
        (
            "create or replace function coolops_now() returns timestamptz language plpgsql stable parallel safe as 'begin return clock_timestamp() - interval ''1 h''; end'",
            "the function coolops_now() is not as coolops migrate makes it",
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
