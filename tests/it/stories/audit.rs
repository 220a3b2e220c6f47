//! Tampering: one changed byte anywhere is found, with its place and field.

use coolops::domain::deployment::State;
use coolops::domain::settings::ProjectChange;

use crate::story::{build, operator, story};

/// A log with a deployment in it, changed behind our back by somebody with full power over the database.
fn tampered(statement: &str, expected: &str) {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["one", "two"], 0);
        s.presses("ana", "master-1", "Staging").await;
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        let off = "alter table event disable trigger all; alter table log_chunk disable trigger all";
        s.database.execute(&format!("{off}; {statement}")).await;
        s.tampered = true;
        for messages in [true, false] {
            let findings = s.app.audit(messages).await.unwrap().findings;
            assert!(findings.iter().any(|f| f.said.contains(expected)), "{statement} gave {findings:?}");
        }
    });
}

#[test]
fn a_changed_payload_is_found() {
    tampered(
        "update event set payload = replace(payload::text, 'Staging', 'Stagung')::json where type = 'deployment_requested'",
        ": payload",
    );
}

#[test]
fn a_changed_header_is_found() {
    tampered("update event set actor = '{\"kind\":\"system\"}' where type = 'deployment_requested'", ": chain_hash");
}

#[test]
fn a_changed_time_is_found() {
    tampered("update event set recorded_at = recorded_at - interval '1 us' where position = 3", "event 3: chain_hash");
}

#[test]
fn a_removed_event_is_found() {
    tampered("delete from event where position = 5", "event 5: missing");
}

#[test]
fn a_cut_tail_is_found() {
    tampered("delete from event where position = (select max(position) from event)", "event_head says that there are");
}

#[test]
fn a_changed_payload_that_slack_was_sent_is_found() {
    tampered(
        "update slack_message set sent_payload = replace(sent_payload, 'succeeded', 'succeedad')",
        ": sent_payload",
    );
}

#[test]
fn a_changed_byte_of_output_is_found() {
    tampered(
        "update log_chunk set body = set_byte(body, length(body) - 5, (get_byte(body, length(body) - 5) + 1) % 256)",
        ": body",
    );
}

#[test]
fn a_changed_envelope_of_output_is_found() {
    tampered(
        "update log_chunk set envelope = replace(envelope::text, '\"lines\":2', '\"lines\":3')::json",
        ": chain_hash",
    );
}

#[test]
fn removed_output_is_found() {
    tampered("delete from log_chunk where chunk_no = 0", "it does not match its seal");
}

#[test]
fn removed_output_of_a_stopped_deployment_is_found() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.runner.will_print(&["half of it is done"], 0);
        s.presses("ana", "master-1", "Staging").await;
        let id = s.app.store.deployments().list(None, &[], 1).await.unwrap()[0].deployment.of.deployment_id;
        let reason = coolops::domain::deployment::StopReason::Operator {
            by: "test".to_owned(),
            reason: "wrong version".to_owned(),
        };
        s.app.stop(id, &reason, &crate::story::operator()).await.unwrap();
        s.comes_to_show("*cancelled*: wrong version").await;
        s.database.execute("alter table log_chunk disable trigger all; delete from log_chunk").await;
        s.tampered = true;
        let findings = s.app.audit(false).await.unwrap().findings;
        assert!(findings.iter().any(|f| f.said.contains("it does not match its seal")), "{findings:?}");
    });
}

#[test]
fn a_message_that_says_something_else_than_the_log_is_found_by_rendering_it_anew() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let change = "update slack_message set sent_payload = replace(sent_payload, 'master-1', 'master-9');
                      update slack_message set sent_digest = sha256(convert_to(sent_payload, 'UTF8'))";
        s.database.execute(change).await;
        s.tampered = true;
        for messages in [true, false] {
            let findings = s.app.audit(messages).await.unwrap().findings;
            assert!(
                findings.iter().any(|f| f.said.contains("sent_digest (rendered anew it is different)")),
                "{findings:?}"
            );
        }
    });
}

#[test]
fn a_message_whose_row_has_its_code_is_not_rendered_anew_and_one_from_before_there_were_codes_is() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let (code, said, _) = s.coolops(&["audit", "verify"]);
        let noted =
            "What Slack was sent of 1 message is as it was noted then: its row has a code under the master key.";
        assert!(code == 0 && said.contains(noted) && !said.contains("rendered anew"), "{said}");
        // What is said already is noted with its place, and has its code anew.
        s.coolops(&["project", "set", "api", "--name", "Other"]);
        s.settle().await;
        assert_eq!(s.app.audit(false).await.unwrap().messages_as_noted, 1);
        s.database.execute("update slack_message set sent_code = null").await;
        let (code, said, _) = s.coolops(&["audit", "verify"]);
        let equal = "1 message, rendered anew from the events, equals what Slack was last sent, byte for byte.";
        assert!(code == 0 && said.contains(equal) && !said.contains("a code"), "{said}");
        // The next edit has one.
        s.presses("ana", "master-1", "Production").await;
        let (code, said, _) = s.coolops(&["audit", "verify"]);
        assert!(code == 0 && said.contains(noted), "{said}");
    });
}

#[test]
fn a_projection_that_was_changed_is_put_right_by_replay() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.database
            .execute("update deployment set state = 'failed'; delete from build; update boundary set position = 1")
            .await;
        let rebuilt = s.app.rebuild().await.unwrap();
        let of =
            |table: &str| rebuilt.tables.iter().find(|t| t.table == table).map(|t| (t.removed, t.written)).unwrap();
        assert_eq!((of("deployment"), of("build"), of("project")), ((1, 1), (0, 1), (0, 0)));
        assert_eq!(s.app.store.deployments().list(None, &[State::Succeeded], 10).await.unwrap().len(), 1);
    });
}

#[test]
fn a_replay_over_sound_rows_waits_for_nobody_and_keeps_nobody_waiting() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.app.change_project(s.project(), ProjectChange::RevokeToken("CI".into()), &operator()).await.unwrap();
        let mut writer = s.database.owner().await;
        sqlx::raw_sql("begin; lock table project, token, build, deployment, boundary in row exclusive mode")
            .execute(&mut writer)
            .await
            .unwrap();
        let rebuilt = s.app.rebuild().await.unwrap();
        assert!(rebuilt.tables.iter().all(|table| table.rows > 0 && table.removed + table.written == 0), "{rebuilt:?}");
        sqlx::raw_sql("rollback").execute(&mut writer).await.unwrap();
    });
}

#[test]
fn a_replay_that_makes_rows_anew_loses_nothing_of_what_happens_meanwhile() {
    story(async |s| {
        s.ci_announces(build("master-0")).await;
        s.presses("ana", "master-0", "Staging").await;
        let (mut caught_up, mut builds) = (false, 0);
        for _ in 0..8 {
            s.database.execute("update build set name = name || '!' where name = 'master-0'").await;
            let before = s.database.count("select position from event_head").await;
            let is_over = std::cell::Cell::new(false);
            let replay = async {
                let rebuilt = s.app.rebuild().await.unwrap();
                is_over.set(true);
                rebuilt
            };
            let meanwhile = async {
                while !is_over.get() {
                    builds += 1;
                    let name = format!("master-{builds}");
                    s.ci_announces(build(&name)).await;
                    s.presses("ben", &name, "Production").await;
                }
            };
            let (rebuilt, ()) = tokio::join!(replay, meanwhile);
            assert!(rebuilt.tables.iter().any(|table| table.written > 0), "{rebuilt:?}");
            caught_up |= rebuilt.events > before;
        }
        assert!(caught_up, "nothing happened while it ran");
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        let again = s.app.rebuild().await.unwrap();
        assert!(again.tables.iter().all(|table| table.removed + table.written == 0), "{again:?}");
        assert_eq!(s.channel().matches("*succeeded*").count(), builds + 1, "{}", s.channel());
    });
}

#[test]
fn rows_that_are_all_lost_are_made_at_once_and_whoever_comes_meanwhile_waits_for_them() {
    story(async |s| {
        for name in ["master-1", "master-2"] {
            s.ci_announces(build(name)).await;
            s.presses("ana", name, "Staging").await;
        }
        let rows = "select string_agg(r, ' ' order by r) from (select t::text as r from deployment t union all select t::text from build t
                     union all select t::text from project t union all select t::text from token t union all select t::text from boundary t) rows";
        let before = s.database.text(rows).await;
        let all = "truncate boundary, project, token, build, deployment";
        s.database.execute(all).await;
        let rebuilt = s.app.rebuild().await.unwrap();
        assert!(
            rebuilt.tables.iter().all(|table| table.removed == 0 && table.written == table.rows.cast_unsigned()),
            "{rebuilt:?}"
        );
        assert_eq!(s.database.text(rows).await, before);
        s.database.execute(all).await;
        let next = build("master-3").body();
        let (rebuilt, (status, body)) = tokio::join!(s.app.rebuild(), s.post_build(&next));
        rebuilt.unwrap();
        assert!(status.is_success() || status.as_u16() == 503, "it is taken, or to be tried again: {status} {body}");
        assert!(s.post_build(&next).await.0.is_success());
        s.settle().await;
        s.presses("ana", "master-3", "Production").await;
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        assert_eq!(s.database.count("select count(*) from build").await, 3);
    });
}

#[test]
fn a_replay_sees_a_change_of_any_column_a_row_too_many_and_one_too_few() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-1", "Production").await;
        // A column that comes has to be in `store/tuple.rs`, and here.
        let columns =
            "select string_agg(format('%s: %s', t, (select string_agg(attname, ' ' order by attnum) from pg_attribute
                         where attrelid = t::regclass and attnum > 0 and not attisdropped and attgenerated = '')), '; ')
                         from unnest(array['boundary', 'project', 'token', 'build', 'deployment']) t";
        assert_eq!(
            s.database.text(columns).await,
            "boundary: key position; project: id slug position doc; token: digest project_id token_id revoked; \
             build: id project_id position name; \
             deployment: id build_id environment_id project_id requested position since state doc requested_by"
        );
        let other = "'00000000-0000-4000-8000-000000000001'";
        for change in [
            "update boundary set position = position - 1 where key = (select key from boundary limit 1)",
            &format!("update boundary set key = {other} where key = (select key from boundary limit 1)"),
            "update project set slug = 'apis'",
            "update project set position = position + 1",
            "update project set doc = replace(doc::text, 'Api', 'Abi')::json",
            "update token set revoked = true",
            "update token set digest = '\\x00'",
            &format!("update token set token_id = {other}"),
            &format!("update token set project_id = {other}"),
            "update build set name = 'master-2'",
            "update build set position = position + 1",
            &format!("update build set project_id = {other}"),
            "update deployment set requested = requested + 1 where id = (select id from deployment limit 1)",
            "update deployment set position = position + 1 where id = (select id from deployment limit 1)",
            "update deployment set since = since - 1 where id = (select id from deployment limit 1)",
            "update deployment set project_id = build_id where id = (select id from deployment limit 1)",
            "update deployment set requested_by = 'eve' where id = (select id from deployment limit 1)",
            "update deployment set state = 'cancelled' where id = (select id from deployment limit 1)",
            &format!("update deployment set build_id = {other}"),
            &format!("update deployment set environment_id = {other} where id = (select id from deployment limit 1)"),
            &format!("update deployment set id = {other} where id = (select id from deployment limit 1)"),
            // Two rows that have changed places are not the same rows.
            "update deployment a set doc = b.doc from deployment b where a.id <> b.id",
            "delete from build",
            &format!(
                "insert into build (id, project_id, position, name) select {other}, project_id, position, name from build"
            ),
        ] {
            s.database.execute(change).await;
            let replaced = async || {
                let tables = s.app.rebuild().await.unwrap().tables;
                tables.iter().map(|table| table.removed + table.written).sum::<u64>()
            };
            assert!(replaced().await > 0, "{change}");
            assert_eq!(replaced().await, 0, "{change}");
        }
    });
}

#[test]
fn where_rows_of_deployments_are_lost_nothing_begins_beside_what_runs() {
    for change in ["truncate deployment", "update deployment set state = 'failed' where state = 'running'"] {
        story(async |s| {
            s.tampered = true;
            s.ci_announces(build("master-1")).await;
            s.ci_announces(build("master-2")).await;
            s.runner.hold();
            s.presses("ana", "master-1", "Staging").await;
            let running = s.app.store.deployments().list(None, &[State::Running], 1).await.unwrap();
            let first = running[0].deployment.of.deployment_id;
            s.database.execute(change).await;
            let (_, told) = s.deliver_and_read(&s.press_of("ben", "master-2", "Staging")).await;
            let begun = "select count(distinct stream_id) from event where type in ('deployment_requested', 'deployment_prepared')";
            assert_eq!(s.database.count(begun).await, 1, "{change}: {told}");
            let (code, _, said) = s.coolops(&["deploy", "api", "master-2", "Staging"]);
            assert!(code == 1 && said.contains("is not over") && said.contains("coolops replay"), "{said}");
            // With its rows it is known what runs there, and the others have their turns after it.
            s.app.rebuild().await.unwrap();
            s.presses("ben", "master-2", "Staging").await;
            assert!(s.runner.holds(first) && s.channel().contains("*queued* behind *master-1*"), "{}", s.channel());
        });
    }
}

#[test]
fn a_second_beginning_that_somebody_planted_keeps_no_replay_from_its_end() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        // Another project of the same slug, well-formed.
        let planted = "with p as (select gen_random_uuid() as id, e.payload::text as payload, e.actor::text as actor, (select payload->>'project_id' from event where type = 'project_created') as old from event e where e.type = 'project_created')
          select append_batch('{0}', array[gen_random_uuid()], array[p.id], array[p.id], array[null::uuid], array[null::bigint], '{0}', '{t}', array[(select schema_version from event where type = 'project_created')], '{project}', '{project_created}',
            array[p.actor], array[replace(p.payload, p.old, p.id::text)], NULLS) from p";
        s.database.execute(&planted.replace("NULLS", &vec!["null"; 31].join(", "))).await;
        let own = s.database.text("select id::text from project").await;
        for lost in [
            "truncate boundary, project, token, build, deployment",
            "delete from project",
            "update project set slug = 'other'",
        ] {
            s.database.execute(lost).await;
            let rebuilt = s.app.rebuild().await.unwrap();
            assert_eq!(s.database.text("select id::text from project where slug = 'api'").await, own, "{lost}");
            assert!(
                rebuilt.damaged.len() == 1
                    && rebuilt.damaged[0].contains("wants the place of another, which was first"),
                "{lost}: {rebuilt:?}"
            );
        }
        s.presses("ana", "master-1", "Production").await;
        assert!(s.channel().matches("*succeeded*").count() == 2, "{}", s.channel());
    });
}

#[test]
fn many_rows_that_differ_are_put_right_piece_by_piece() {
    story(async |s| {
        for n in 1..=8 {
            s.ci_announces(build(&format!("master-{n}"))).await;
            s.presses("ana", &format!("master-{n}"), "Staging").await;
        }
        s.runner.hold();
        s.presses("ben", "master-1", "Production").await;
        s.database
            .execute("update deployment set requested_by = requested_by || '!'; update build set name = name || '!'")
            .await;
        let rebuilt = s.app.rebuild().await.unwrap();
        let told: Vec<_> = rebuilt.tables.iter().map(|t| (t.table, t.rows, t.removed, t.written)).collect();
        assert!(told.contains(&("deployment", 9, 9, 9)) && told.contains(&("build", 8, 8, 8)), "{told:?}");
        // Every one of them is there and right, the one that runs as well; the story's end holds them against the log.
        assert_eq!(s.database.count("select count(*) from deployment where requested_by in ('ana', 'ben')").await, 9);
        s.container_ends("master-1", 0).await;
    });
}

#[test]
fn several_replays_at_once_wait_for_each_other() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.database.execute("update build set name = name || '!'").await;
        let all = futures::future::join_all((0..4).map(|_| s.app.rebuild())).await;
        let written = |rebuilt: &coolops::app::replay::Rebuilt| rebuilt.tables.iter().map(|t| t.written).sum::<u64>();
        let written: Vec<u64> = all.iter().map(|rebuilt| written(rebuilt.as_ref().unwrap())).collect();
        assert_eq!(written.iter().filter(|n| **n > 0).count(), 1, "{written:?}");
    });
}
