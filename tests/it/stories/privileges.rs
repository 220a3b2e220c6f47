//! What a stranger in the same server, or one who can write to a table, can make of an installation: nothing that it
//! acts on.

use axum::http::StatusCode;
use sqlx::{AssertSqlSafe, Connection};

use crate::story::database::Database;
use crate::story::service::service_story;
use crate::story::{build, story};

async fn role_of(database: &Database) -> String {
    let mut owner = database.owner().await;
    let role = sqlx::query_scalar("select coolops_app_role()").fetch_one(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    role
}

#[tokio::test]
async fn each_installation_has_a_role_of_its_own_and_nobody_else_comes_in() {
    let (ours, theirs) = (Database::create().await, Database::create().await);
    // A test's database is a copy; each of these is set up as an operator would, and gets its own.
    for database in [&ours, &theirs] {
        coolops::store::migrate(&database.url).await.unwrap();
    }
    let (our_role, their_role) = (role_of(&ours).await, role_of(&theirs).await);
    assert_ne!(our_role, their_role);
    let mut owner = ours.owner().await;
    let login = format!("login_{}", crate::story::random_name());
    sqlx::raw_sql(AssertSqlSafe(format!("create role {login} login; grant {their_role} to {login}")))
        .execute(&mut owner)
        .await
        .unwrap();
    let may = format!("select has_database_privilege('{login}', current_database(), 'CONNECT')");
    let may_connect: bool = sqlx::query_scalar(AssertSqlSafe(may)).fetch_one(&mut owner).await.unwrap();
    assert!(!may_connect, "the login of another installation may connect");
    sqlx::raw_sql(AssertSqlSafe(format!("set role {their_role}"))).execute(&mut owner).await.unwrap();
    for statement in [
        "select * from event",
        "insert into token (id) values (gen_random_uuid())",
        "update project set image = 'evil'",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&mut owner).await;
        assert!(refused.is_err(), "{statement} was taken from another installation's role");
    }
    owner.close().await.unwrap();
    let mut owner = ours.owner().await;
    let store = coolops::store::Store::open(&ours.url, 2).await.unwrap();
    assert_eq!(store.unguarded().await.unwrap(), Vec::<String>::new());
    sqlx::raw_sql("do $$ begin execute format('grant %I to %I', coolops_app_role(), coolops_reader_role()); end $$")
        .execute(&mut owner)
        .await
        .unwrap();
    let told = store.unguarded().await.unwrap();
    assert!(told[0].contains(&format!("the role that reads the views is a member of {our_role}")), "{told:?}");
    drop(store);
    sqlx::raw_sql(AssertSqlSafe(format!("drop role {login}"))).execute(&mut owner).await.unwrap();
    owner.close().await.unwrap();
    ours.drop().await;
    theirs.drop().await;
}

#[test]
fn a_row_that_the_log_does_not_bear_out_is_not_acted_on_and_named() {
    service_story("echo the right image", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.cli(&["audit", "verify"]);
        s.stop("-TERM");
        // Whoever can write to the tables plants another image and a token, and the log says nothing of it.
        s.database
            .execute("update project set doc = replace(doc::text, doc->>'image', 'evil.example/steal:1')::json")
            .await;
        s.start().await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "the right image\n");
        let (code, said) = s.cli_fails(&["audit", "verify"], "");
        assert!(code == 1 && said.contains("evil.example/steal:1"), "{said}");
        s.cli(&["replay"]);
        s.cli(&["audit", "verify"]);
        // A row that isn't even one is named too, and stands in nobody's way.
        s.database.execute("update project set doc = '{}'").await;
        let (code, said) = s.cli_fails(&["audit", "verify"], "");
        assert!(
            code == 1 && said.contains("its row is missing, or can't be read; coolops replay makes it right again"),
            "{said}"
        );
        s.cli(&["replay"]);
        s.cli(&["audit", "verify"]);
    });
}

/// An event as whoever has the application's login may append it: of a known type, its hashes right.
async fn plants(s: &crate::story::Story, kind: &str, correlation: &str, actor: &str, payload: &str) {
    plants_after(s, kind, ("gen_random_uuid()", 0), correlation, actor, payload).await;
}

/// The same in a stream that has so many events.
async fn plants_after(
    s: &crate::story::Story,
    kind: &str,
    (stream, expected): (&str, i32),
    correlation: &str,
    actor: &str,
    payload: &str,
) {
    let nulls = vec!["null"; 31].join(", ");
    let planted = format!(
        "select append_batch('{{0}}', array[gen_random_uuid()], array[{stream}], array[{correlation}], array[null::uuid],
           array[null::bigint], '{{{expected}}}', '{{t}}', '{{1}}', array[(select stream_type from event_type where name = '{kind}')], '{{{kind}}}', array['{actor}'], array['{payload}'], {nulls})"
    );
    s.database.execute(&planted).await;
}

const SYSTEM: &str = r#"{"v":1,"kind":"system","id":"coolops"}"#;

#[test]
fn an_event_that_nobody_wrote_is_named_and_stops_neither_audit_nor_replay() {
    let whole = r#"{"project_id":"00000000-0000-0000-0000-000000000001","name":"Api"}"#;
    for (actor, payload, words) in [
        (SYSTEM, "{}", "project_renamed v1 does not fit its type"),
        ("{}", whole, "its actor can't be read: missing field `v`"),
    ] {
        story(async |s| {
            s.tampered = true;
            s.ci_announces(build("master-1")).await;
            plants(s, "project_renamed", "gen_random_uuid()", actor, payload).await;
            s.ci_announces(build("master-2")).await;
            let report = s.app.audit(true).await.unwrap();
            assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
            assert!(report.findings[0].said.contains(words), "{:?}", report.findings);
            assert_eq!(report.messages, 2, "the rest is checked");
            let rebuilt = s.app.rebuild().await.unwrap();
            assert_eq!(rebuilt.damaged, [report.findings[0].said.clone()]);
            // What else was changed is named beside it, and put right.
            s.database
                .execute("update project set doc = replace(doc::text, doc->>'image', 'evil.example/steal:1')::json")
                .await;
            s.database.execute("update build set name = 'changed'").await;
            let report = s.app.audit(true).await.unwrap();
            let builds = report.findings.iter().filter(|found| found.said.starts_with("build ")).count();
            assert_eq!((report.findings.len(), builds), (4, 2), "{:?}", report.findings);
            assert!(report.findings[1].said.contains("image says evil.example/steal:1"), "{:?}", report.findings);
            s.app.rebuild().await.unwrap();
            assert_eq!(
                s.database.text("select string_agg(name, ' ' order by name) from build").await,
                "master-1 master-2"
            );
            s.presses("ana", "master-2", "Staging").await;
            assert!(s.channel().contains("*succeeded*"), "{}", s.channel());
        });
    }
}

#[test]
fn an_event_that_nobody_wrote_and_whose_ids_are_none_ends_neither_audit_nor_replay() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let everything = format!("'{}'::uuid", coolops::domain::ids::installation_stream());
        let key = "00000000-0000-4000-8000-000000000007";
        let several = format!(r#"{{"key":"{key}","others":5}}"#);
        let planted = [
            ("person_erased", &several[..]),
            ("person_erased", r#"{"key":"x","others":["y"]}"#),
            ("fork_decided", r#"{"after":"x","until":7}"#),
        ];
        for (n, (kind, payload)) in (0..).zip(planted) {
            plants_after(s, kind, (&everything, n), &everything, SYSTEM, payload).await;
        }
        plants(s, "output_erased", "gen_random_uuid()", SYSTEM, r#"{"of":{"deployment_id":"x"}}"#).await;
        for job in [key, "00000000-0000-4000-8000-000000000008"] {
            s.database
                .execute(&format!("insert into job (id, kind, key, wanted, run_at) values (gen_random_uuid(), 'erase_person', '{job}', 1, 'infinity')"))
                .await;
        }
        let report = s.app.audit(true).await.unwrap();
        assert_eq!(report.findings.len(), 4, "{:#?}", report.findings);
        assert!(report.findings.iter().all(|found| found.said.contains("does not fit its type")), "{report:#?}");
        assert_eq!(s.app.rebuild().await.unwrap().damaged.len(), 4);
        // What is asked before each post is answered.
        assert!(s.app.store.checkpoints().parting().await.unwrap().is_some());
    });
}

#[test]
fn an_event_that_is_there_a_second_time_hides_no_list() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let deployment = s.database.text("select id::text from deployment").await;
        for kind in ["deployment_started", "deployment_lost", "deployment_lost"] {
            let version = s
                .database
                .count(&format!("select max(stream_version)::bigint from event where stream_id = '{deployment}'"))
                .await;
            let stream = format!("'{deployment}'::uuid");
            let of =
                s.database.text("select correlation_id::text from event where type = 'deployment_requested'").await;
            plants_after(s, kind, (&stream, version as i32), &format!("'{of}'::uuid"), SYSTEM, "{}").await;
        }
        for list in [&["history"][..], &["deployment", "list"], &["status"], &["insights"]] {
            let (code, told, said) = s.coolops(list);
            assert!(code == 0 && told.contains("Staging"), "{list:?}: {told}{said}");
        }
        let page = s.project_path("history").await;
        let (status, page) = s.get(&page).await;
        assert!(status == axum::http::StatusCode::OK && page.contains("master-1"), "{page}");
        assert_eq!(s.database.count("select count(*) from history_deployments").await, 1);
    });
}

#[test]
fn an_event_is_one_line() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        let planted = std::panic::AssertUnwindSafe(plants(s, "project_renamed", "gen_random_uuid()", SYSTEM, "{\n}"));
        assert!(futures::FutureExt::catch_unwind(planted).await.is_err(), "it is refused");
    });
}

#[test]
fn what_somebody_puts_into_a_schema_before_ours_is_not_taken_for_it() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.database
            .execute("do $$ begin execute format('create schema %1$I authorization %1$I; create table %1$I.project as select * from public.project with no data;
                        create table %1$I.event as select * from public.event with no data', coolops_app_role()); end $$")
            .await;
        let (code, told, said) = s.coolops(&["project", "list"]);
        assert!(code == 0 && told.contains("api"), "{told}{said}");
        assert_eq!(s.coolops(&["audit", "verify"]).0, 0);
    });
}

#[test]
fn what_can_t_be_judged_keeps_no_other_row_from_being_held_against_the_log() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        plants(s, "project_renamed", "gen_random_uuid()", r#"{"v":2,"kind":"robot","id":"7"}"#, "{}").await;
        assert_eq!(s.app.audit(true).await.unwrap().findings.len(), 1);
        assert_eq!(s.database.execute("update build set name = 'changed'").await, 1);
        assert_eq!(s.database.execute("update deployment set since = since - 1").await, 1);
        let report = s.app.audit(true).await.unwrap();
        let rows = report.findings.iter().filter(|found| found.kind == coolops::app::finding::Kind::ChangedRow);
        assert_eq!(rows.count(), 2, "{:#?}", report.findings);
    });
}

#[test]
fn what_somebody_began_a_second_time_is_one_row_where_all_are_lost_too() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        let registered = s.database.text("select payload::text from event where type = 'build_registered'").await;
        plants(s, "build_registered", "gen_random_uuid()", SYSTEM, &registered.replace('\'', "''")).await;
        s.database.execute("truncate boundary, project, token, build, deployment").await;
        s.app.rebuild().await.unwrap();
        assert_eq!(s.database.count("select count(*) from build").await, 1);
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("*succeeded*"), "{}", s.channel());
    });
}

#[test]
fn an_event_of_a_newer_program_halts_what_it_is_about_and_nothing_else() {
    story(async |s| {
        s.tampered = true;
        for name in ["master-1", "master-2"] {
            s.ci_announces(build(name)).await;
            s.presses("ana", name, "Staging").await;
        }
        let of = "(select id from deployment where doc->>'build_name' = 'master-1')";
        let whole = r#"{"project_id":"00000000-0000-0000-0000-000000000001","name":"Api"}"#;
        plants(s, "project_renamed", of, r#"{"v":2,"kind":"robot","id":"7"}"#, whole).await;
        s.ci_announces(build("master-3")).await;
        s.database.execute("update deployment set doc = replace(doc::text, 'ana', 'eve')::json; delete from build where name = 'master-3'").await;
        let rebuilt = s.app.rebuild().await.unwrap();
        assert!(
            matches!(&rebuilt.halted[..], [only] if only.contains("run the version that wrote it, or a newer one")),
            "{rebuilt:?}"
        );
        let by = async |name: &str| {
            let of = format!("select doc->'requested_by'->>'name' from deployment where doc->>'build_name' = '{name}'");
            s.database.text(&of).await
        };
        assert_eq!(by("master-1").await, "eve", "left as it is: what is known of it is not enough");
        assert_eq!(by("master-2").await, "ana", "made right");
        assert_eq!(s.database.count("select count(*) from build").await, 3);
        let (code, told, _) = s.coolops(&["replay"]);
        assert!(code == 1 && told.contains("Halted there, and left as it was: event "), "{told}");
        // Nor does one of another project keep anybody from being told of theirs.
        s.coolops(&["project", "create", "Web", "--image", "web:1", "--channel", "C0WEB"]);
        let web = "(select id from project where slug = 'web')";
        plants(s, "project_renamed", web, r#"{"v":2,"kind":"robot","id":"7"}"#, whole).await;
        for command in [&["at", "0s"][..], &["history", "--settings"]] {
            let (code, told, said) = s.coolops(command);
            assert!(code == 1 && told.contains("Staging"), "{command:?}: {told}{said}");
            assert!(said.contains("Nothing is told of the project web: event "), "{command:?}: {said}");
        }
        assert_eq!(s.coolops(&["at", "0s", "--project", "web"]).0, 1);
        s.presses("ana", "master-3", "Production").await;
        assert!(s.channel().contains("*Production*: :white_check_mark: *succeeded*"), "{}", s.channel());
        // What is known of the others is not enough to blame a row of theirs.
        let found: Vec<_> = s.app.audit(true).await.unwrap().findings.into_iter().map(|found| found.said).collect();
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found.iter().all(|said| said.contains("is unknown to this version")), "{found:#?}");
    });
}

#[test]
fn a_private_text_that_was_changed_halts_its_project_and_nothing_else() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "lock api Staging because of the audit").await;
        s.coolops(&["project", "create", "Web", "--image", "web:1", "--channel", "C0WEB"]);
        let row = "select doc::text from project where slug = 'api'";
        let before = s.database.text(row).await;
        s.database
            .execute(
                "alter table event disable trigger all;
                 update event set payload = regexp_replace(payload::text, '(\"reason\":\"private:[0-9a-f]{32}:).', '\\1~')::json where type = 'environment_locked';
                 alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated;
                 update project set doc = replace(doc::text, 'web:1', 'evil:1')::json where slug = 'web'",
            )
            .await;
        let (code, told, said) = s.coolops(&["replay"]);
        assert!(code == 1 && told.contains("Halted there, and left as it was: event "), "{told}{said}");
        assert!(told.contains("a private text in it can't be opened"), "{told}");
        assert_eq!(s.database.text(row).await, before, "left as it is");
        assert!(s.database.text("select doc->>'image' from project where slug = 'web'").await.starts_with("web:1"));
    });
}

#[test]
fn an_event_of_an_unknown_type_or_in_another_type_of_stream_is_refused_at_the_door() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let before = s.app.store.log().head().await.unwrap().0;
        // As one would find it whose program is older than what it appends, or who calls the function by hand.
        s.database.execute("alter table event_type rename to event_type_all; create table event_type as select * from event_type_all where name <> 'build_registered'").await;
        let (status, answer) = s.post_build(&build("master-2").body()).await;
        assert!(!status.is_success(), "{answer}");
        assert_eq!(s.app.store.log().head().await.unwrap().0, before, "nothing of it is in the log");
        s.database.execute("drop table event_type; alter table event_type_all rename to event_type").await;
        assert_eq!(s.post_build(&build("master-2").body()).await.0, StatusCode::CREATED);
        // Nor does one get into a stream of another type.
        let belongs = async |to: &str| {
            let types = "update event_type set stream_type =";
            s.database.execute(&format!("{types} '{to}' where name = 'build_registered'")).await
        };
        belongs("deployment").await;
        let before = s.app.store.log().head().await.unwrap().0;
        let (status, answer) = s.post_build(&build("master-3").body()).await;
        assert!(!status.is_success(), "{answer}");
        assert_eq!(s.app.store.log().head().await.unwrap().0, before, "nothing of it is in the log");
        belongs("build").await;
        assert_eq!(s.post_build(&build("master-3").body()).await.0, StatusCode::CREATED);
    });
}

#[test]
fn what_a_deployment_printed_is_written_by_whoever_holds_its_own_job() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        for environment in ["Staging", "Production"] {
            s.presses("ana", "master-1", environment).await;
        }
        let held = "select count(*) from job where kind = 'run_deployment' and state = 'leased'";
        assert_eq!(s.database.count(held).await, 2);
        let mut connection = s.database.owner().await;
        let mut written_under = async |same: &str| {
            let chunk = format!(
                "select append_log_chunk(a.id, a.fence, a.lease, b.key, 0, 1, 1, 4, '{{}}', 'evil', sha256('')) from job a cross join job b
                  where a.kind = 'run_deployment' and b.kind = 'run_deployment' and (a.key = b.key) = {same} limit 1"
            );
            let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(chunk)).execute(&mut connection).await.unwrap_err();
            refused.into_database_error().unwrap().code().unwrap().into_owned()
        };
        assert_eq!(written_under("false").await, "CO001", "another one's job");
        assert_eq!(written_under("true").await, "CO002", "its own job, and a chain that does not go on");
        s.container_ends("master-1", 0).await;
        s.container_ends("master-1", 0).await;
    });
}

#[test]
fn no_stream_is_made_one_that_nothing_can_be_added_to() {
    story(async |s| {
        let everything = format!("'{}'::uuid", coolops::domain::ids::installation_stream());
        let nulls = vec!["null"; 31].join(", ");
        for (fence, expected, first, says) in [
            ("null::bigint", 2_147_483_646, "f", "does not follow from the one before it"),
            ("-1::bigint", 0, "t", "a fence is below zero"),
            ("null::bigint", 2_147_483_646, "NULL", "something of an event is missing"),
        ] {
            let planted = format!(
                "select append_batch('{{0}}', array[gen_random_uuid()], array[{everything}], array[{everything}], array[null::uuid], array[{fence}], '{{{expected}}}', '{{{first}}}', '{{1}}',
                   '{{installation}}', '{{installation_locked}}', array['{SYSTEM}'], array['{{}}'], {nulls})"
            );
            let mut owner = s.database.owner().await;
            let refused = sqlx::raw_sql(AssertSqlSafe(planted)).execute(&mut owner).await.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
            owner.close().await.unwrap();
        }
        s.ci_announces(build("master-1")).await;
    });
}

#[test]
fn what_was_signed_and_cosigned_can_t_be_set_back_by_the_application_s_login() {
    story(async |s| {
        s.database
            .execute(
                "insert into witnessed (origin, size, root, note, line) values ('log', 7, sha256('a'), 'note', 'line')",
            )
            .await;
        let mut owner = s.database.owner().await;
        let role: String = sqlx::query_scalar("select coolops_app_role()").fetch_one(&mut owner).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("set role {role}"))).execute(&mut owner).await.unwrap();
        for (statement, says) in [
            ("update witnessed set size = 3", "only grows"),
            ("update witnessed set root = sha256('b')", "only grows"),
            ("delete from witnessed", "permission denied"),
            ("update witnessed set at = 'infinity'", "witnessed_at_is_a_time"),
            ("insert into witness (key, failing_since) values ('k', 'infinity')", "witness_has_times"),
            (
                "insert into checkpoint (n, size, root, key_id, note) overriding system value values (9223372036854775806, 1, sha256('a'), 'x', 'note')",
                "permission denied",
            ),
            (
                "insert into checkpoint (size, root, key_id, note, signed_at) values (1, sha256('a'), 'x', 'note', now())",
                "permission denied",
            ),
        ] {
            let refused = sqlx::raw_sql(statement).execute(&mut owner).await.unwrap_err().to_string();
            assert!(refused.contains(says), "{statement}: {refused}");
        }
        sqlx::raw_sql("update witnessed set size = 8, root = sha256('c')").execute(&mut owner).await.unwrap();
        owner.close().await.unwrap();
    });
}

#[test]
fn what_somebody_planted_among_a_deployment_s_events_keeps_nobody_from_deploying() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let deployment = s.database.text("select id::text from deployment").await;
        let version = format!("select max(stream_version)::bigint from event where stream_id = '{deployment}'");
        let version = i32::try_from(s.database.count(&version).await).unwrap();
        let stream = format!("'{deployment}'::uuid");
        plants_after(s, "deployment_started", (&stream, version), "gen_random_uuid()", SYSTEM, "{}").await;
        s.presses("ben", "master-1", "Staging").await;
        let went_well = "select count(*) from deployment where state = 'succeeded'";
        assert_eq!(s.database.count(went_well).await, 2, "{}", s.channel());
    });
}
