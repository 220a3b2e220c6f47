//! Forgetting: people who ask for it, and what deployments printed; while chain, proofs and replay stay as they were.

use std::time::Duration;

use coolops::app::erasure::{PersonKind, Whom};
use coolops::app::finding::Kind;
use coolops::domain::ids::{DeploymentId, SubjectKeyId};
use coolops::store::Store;
use sqlx::postgres::PgListener;

use crate::story::anchored::Anchored;
use crate::story::{Announcement, Story, build, operator, story};

/// What a command says, which goes well.
pub(super) fn says(s: &Story, arguments: &[&str]) -> String {
    let (code, told, said) = s.coolops(arguments);
    assert_eq!(code, 0, "{arguments:?}: {told}{said}");
    told + &said
}

/// What a command is refused with.
pub(super) fn refused(s: &Story, arguments: &[&str]) -> String {
    let (code, told, said) = s.coolops(arguments);
    assert_eq!(code, 1, "{arguments:?}: {told}{said}");
    said
}

/// The newest deployment.
pub(super) async fn newest(s: &Story) -> DeploymentId {
    s.app.store.deployments().list(None, &[], 1).await.unwrap()[0].deployment.of.deployment_id
}

/// How many rows and columns of all tables have a text in them.
pub(super) async fn everywhere(s: &Story, text: &str) -> i64 {
    let tables = "select string_agg(format('select count(*) from %I t where t::text like %L', c.relname, '%' || $1 || '%'), ' union all ')
                    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind = 'r'";
    let statement = s.database.text(&tables.replace("$1", &format!("'{text}'"))).await;
    s.database.count(&format!("select sum(count)::bigint from ({statement}) counted")).await
}

#[test]
fn names_stand_in_the_database_only_where_they_can_be_erased() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let plain =
            "select count(*) from event where payload::text like '%U0ANA00001%' or actor::text like '%U0ANA00001%'";
        assert_eq!(s.database.count(plain).await, 0);
        let views = "select count(*) from history_events where type = 'deployment_requested' and actor = 'ana' and actor_id = 'U0ANA00001'";
        assert_eq!(s.database.count(views).await, 1, "people's own tools know the name");
        assert!(says(s, &["history"]).contains("ana"));
        let export = says(s, &["audit", "export", "--plain"]);
        let line = export.lines().find(|line| line.contains("deployment_requested")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(!line["actor"].as_str().unwrap().contains("ana"), "{line}");
        assert!(line["plain"].as_object().unwrap().values().any(|said| said == "ana"), "{line}");
        assert!(says(s, &["person", "list"]).contains("U0ANA00001  ana"), "{}", says(s, &["person", "list"]));
    });
}

#[test]
fn somebody_who_asks_for_it_is_a_former_member_everywhere_and_all_that_was_proved_still_holds() {
    story(async |s| {
        let anchored = Anchored::new(s);
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-1", "Production").await;
        anchored.signs().await;
        let requested = s.database.count("select min(position) from event where type = 'deployment_requested'").await;
        let (code, proof, _) = s.coolops_with(&["audit", "prove", &requested.to_string()], &anchored.variables());
        assert_eq!(code, 0);
        let events = s.database.text("select string_agg(event::text, '' order by position) from event").await;
        assert!(s.channel().contains("<@U0ANA00001> → *Staging*"), "{}", s.channel());

        let said = says(s, &["person", "erase", "@ana", "--reason", "asked for by letter"]);
        assert!(said.starts_with("ana (U0ANA00001) is being erased: from the history at once"), "{said}");
        s.settle().await;

        assert!(s.channel().contains("a former member → *Staging*: :white_check_mark: *succeeded*"), "{}", s.channel());
        assert!(s.channel().contains("<@U0BEN00001> → *Production*"), "{}", s.channel());
        assert_eq!(everywhere(s, "U0ANA00001").await, 0, "her id is nowhere in the database");
        assert_eq!(everywhere(s, "\"ana\"").await, 0, "nor her name");
        let history = says(s, &["history"]);
        assert!(
            history.contains("a former member") && history.contains("ben") && !history.contains("ana"),
            "{history}"
        );
        for arguments in [["audit", "show", "master-1"], ["explain", "master-1", "--json"]] {
            let told = says(s, &arguments);
            assert!(told.contains("a former member") && !told.contains("\"ana\""), "{told}");
        }
        // What was recorded is byte for byte what it was, and one event more says that somebody was erased.
        let now = s.database.text("select string_agg(event::text, '' order by position) from event").await;
        assert!(now.starts_with(&events), "no event changed");
        assert_eq!(anchored.app.audit(true).await.unwrap().findings, []);
        let key = coolops::proof::checkpoint::PublicKey::read(&anchored.public).unwrap();
        coolops::proof::statement::Statement::read(&proof).unwrap().check(&[key]).unwrap();
        let rebuilt = s.app.rebuild().await.unwrap();
        assert!(rebuilt.tables.iter().all(|t| t.written == 0 && t.removed == 0), "{rebuilt:?}");
        let said = says(s, &["history", "--settings"]);
        assert!(
            said.contains("erased somebody from the whole history") && said.contains("asked for by letter"),
            "{said}"
        );
        // Who comes back is somebody new.
        s.ci_announces(build("master-2")).await;
        s.presses("ana", "master-2", "Staging").await;
        assert!(s.channel().contains("<@U0ANA00001> → *Staging*"), "{}", s.channel());
        assert!(s.channel().contains("a former member → *Staging*"), "{}", s.channel());
    });
}

#[test]
fn whom_ci_named_as_a_build_s_author_is_erased_from_all_their_builds() {
    story(async |s| {
        let told = |author: &str, message: &str| {
            vec![("author".to_owned(), author.to_owned()), ("Message".to_owned(), message.to_owned())]
        };
        for (n, author, message) in
            [(1, "Ana Lima", "Fix it"), (2, "Ben Okafor", "Ask Ana"), (3, "Ana Lima", "Banana split")]
        {
            let metadata = told(author, message);
            s.ci_announces(Announcement { metadata, ..build(&format!("master-{n}")) }).await;
        }
        s.presses("ana", "master-3", "Staging").await;
        assert_eq!(s.channel().matches("Ana Lima").count(), 2, "{}", s.channel());
        let in_plain = "select count(*) from event where payload::text like '%Okafor%'";
        assert_eq!(s.database.count(in_plain).await, 0, "it is encrypted where it is for ever");
        let (_, list, _) = s.coolops(&["person", "list"]);
        assert!(list.contains("Ana Lima") && list.contains("author"), "{list}");
        // Whoever erases the person in Slack hears of the author, and of what stands in plain.
        let (code, _, said) = s.coolops(&["person", "erase", "@ana", "--reason", "asked for by letter"]);
        assert_eq!(code, 0, "{said}");
        for words in [
            "CI named an author Ana Lima: if it is the same person, erase that too, with --author.",
            "That name stands in what CI told of some builds, and stays there: master-2.\n",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let before = s.database.text("select string_agg(event::text, '' order by position) from event").await;
        let said = says(s, &["person", "erase", "ana lima", "--author", "--reason", "asked for by letter"]);
        assert!(said.starts_with("Ana Lima is being erased: from the history at once"), "{said}");
        s.settle().await;
        assert!(!s.channel().contains("Ana Lima") && s.channel().contains("Ben Okafor"), "{}", s.channel());
        assert_eq!(s.channel().matches("a former member").count(), 3, "two authors, and who pressed: {}", s.channel());
        assert_eq!(everywhere(s, "Ana Lima").await, 0);
        let now = s.database.text("select string_agg(event::text, '' order by position) from event").await;
        assert!(now.starts_with(&before), "no event changed");
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        let (code, _, said) = s.coolops(&["person", "erase", "Nobody", "--author", "--reason", "x"]);
        assert!(code == 1 && said.contains("Nobody"), "{said}");
        // A handle is a name too, and what looks as if it were encrypted is one.
        let sealed = format!("private:{}:x", "0".repeat(32));
        for (n, author) in [(5, "@octocat"), (6, sealed.as_str())] {
            let metadata = told(author, "Fix it");
            s.ci_announces(Announcement { metadata, ..build(&format!("master-{n}")) }).await;
            assert!(s.channel().contains(author), "{author}: {}", s.channel());
        }
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        says(s, &["person", "erase", "@octocat", "--author", "--reason", "asked for by letter"]);
        s.settle().await;
        assert!(!s.channel().contains("octocat"), "{}", s.channel());
        // CI is not sure whether it was heard, and the next build of theirs is of somebody new.
        let again = Announcement { metadata: told("Ana Lima", "Fix it"), ..build("master-1") };
        assert!(s.post_build(&again.body()).await.0.is_success());
        s.ci_announces(Announcement { metadata: told("Ana Lima", "More"), ..build("master-4") }).await;
        assert_eq!(s.channel().matches("Ana Lima").count(), 1, "{}", s.channel());
    });
}

#[test]
fn whoever_still_does_something_or_is_not_there_is_not_erased() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.settle().await;
        let said = refused(s, &["person", "erase", "ana", "--reason", "x"]);
        assert!(
            said.contains("ana has to do with a deployment under way (master-1 on Staging); stop it, or wait"),
            "{said}"
        );
        s.container_ends("master-1", 0).await;
        s.settle().await;
        s.writes("ana", "lock Staging").await;
        s.settle().await;
        let said = refused(s, &["person", "erase", "ana", "--reason", "x"]);
        assert!(said.contains("ana holds the lock on Staging of api; take it away first"), "{said}");
        says(s, &["environment", "unlock", "api", "Staging"]);
        for (who, reason, said) in [
            ("nobody", "x", "there is nothing of nobody that could be erased"),
            ("ana", " ", "the reason is empty; say why, it is recorded"),
            ("ana", &"x".repeat(10_000), "the reason has 10000 characters; it has 500 at most"),
        ] {
            let told = refused(s, &["person", "erase", who, "--reason", reason]);
            assert!(told.contains(said), "{told}");
        }
        says(s, &["project", "hold", "api", "--reason", "case 7"]);
        let said = refused(s, &["person", "erase", "ana", "--reason", "x"]);
        assert!(said.contains("api is held (case 7)"), "{said}");
        says(s, &["project", "hold", "api", "--end"]);
        let said = refused(s, &["person", "erase", "ana", "--reason", "Ana wrote a letter"]);
        assert!(said.contains("the reason names whoever is erased"), "{said}");
        says(s, &["environment", "allow", "api", "Staging", "--lock", "U0ANA00001"]);
        let said = refused(s, &["person", "erase", "ana", "--reason", "x"]);
        assert!(said.contains("ana is named in who may do what: Staging of api; name others there first"), "{said}");
        says(s, &["environment", "allow", "api", "Staging", "--lock", "everybody"]);
        says(s, &["person", "erase", "U0ANA00001", "--reason", "x"]);
        s.settle().await;
        assert!(!s.channel().contains("U0ANA00001"), "{}", s.channel());
    });
}

#[test]
fn whoever_presses_while_they_are_being_erased_is_somebody_new() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        // Nobody has destroyed the key yet.
        s.deliver(&s.press_of("ana", "master-1", "Production")).await;
        let keys = "select count(distinct substring(payload::text from 'private:([0-9a-f]{32})')) from event where type = 'deployment_requested'";
        assert_eq!(s.database.count(keys).await, 2);
        s.settle().await;
        s.a_worker_tries_once().await;
        s.settle().await;
        let shown = s.channel();
        assert!(shown.contains("a former member → *Staging*"), "{shown}");
        assert!(shown.contains("<@U0ANA00001> → *Production*"), "{shown}");
        // And can be erased too.
        says(s, &["person", "erase", "U0ANA00001", "--reason", "x"]);
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
    });
}

#[test]
fn what_somebody_chose_leads_to_nothing_else_of_them() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.writes("ana", "notify failures").await;
        let chosen = "select count(*) from event where type = 'notifications_chosen'";
        assert_eq!(s.database.count(chosen).await, 1);
        let keys = "select string_agg(distinct m[1], ' ') from event e, regexp_matches(e.payload::text || e.actor::text, 'private:([0-9a-f]{32})', 'g') m where";
        let there = s.database.text(&format!("{keys} type = 'notifications_chosen'")).await;
        let elsewhere = s.database.text(&format!("{keys} type = 'deployment_requested'")).await;
        assert_ne!(there, elsewhere, "its stream's id can be computed from hers");
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
    });
}

#[test]
fn whoever_did_nothing_but_choose_what_they_are_told_can_be_erased_too() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "notify failures").await;
        let listed = says(s, &["person", "list"]);
        assert!(listed.contains("U0ANA00001  ana"), "{listed}");
        let said = says(s, &["person", "erase", "ana", "--reason", "x"]);
        assert!(said.starts_with("ana (U0ANA00001) is being erased"), "{said}");
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        let listed = says(s, &["person", "list"]);
        assert!(!listed.contains("U0ANA00001"), "{listed}");
        // The erasure does not lead to what she chose.
        let chosen = "select count(*) from event e join event p on p.type = 'person_erased' and strpos(e.payload::text, replace(p.payload->>'key', '-', '')) > 0
                       where e.type = 'notifications_chosen'";
        assert_eq!(s.database.count(chosen).await, 0);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        // And once more, who chose again since.
        s.writes("ana", "notify off").await;
        says(s, &["person", "erase", "U0ANA00001", "--reason", "x"]);
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
    });
}

#[cfg(feature = "failpoints")]
#[test]
fn whoever_is_erased_while_what_they_do_is_on_its_way_into_the_log_is_in_no_row_of_it() {
    use crate::story::from_slack;
    use crate::story::process::Process;
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Production").await;
        s.ci_announces(build("master-2")).await;
        s.runner.hold();
        s.presses("chi", "master-1", "Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        // Her cancelling of what waits is encrypted, and not recorded yet.
        let mut frozen = Process::start(s, Duration::ZERO).await;
        frozen.freezes_at("before_append");
        let cancel = s.cancel_of("ana", "behind *master-1*", "").await;
        frozen.hears(Duration::from_secs(1), from_slack("/slack/interactions", &cancel));
        assert_eq!(frozen.died(), Some("before_append"));
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        frozen.wakes(Duration::from_secs(1));
        drop(frozen);
        s.database.set_clock(600).await;
        s.app.store.jobs().reap().await.unwrap();
        s.settle().await;
        assert!(s.channel().contains("*cancelled* by a former member"), "it was recorded: {}", s.channel());
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
        s.container_ends("master-1", 0).await;
    });
}

#[test]
fn a_setting_that_looks_like_an_encrypted_text_is_a_setting() {
    story(async |s| {
        let looks = format!("NOTE=private:{}:x", "0".repeat(32));
        says(s, &["environment", "set", "api", "Staging", &looks]);
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "lock api Staging because of the audit").await;
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
    });
}

#[test]
fn a_message_that_is_gone_is_not_posted_again_to_take_a_name_out() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.standin.workspace().channels[0].messages.clear();
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        s.settle().await;
        assert_eq!(s.channel().trim(), "", "nothing has happened that people should hear of");
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
    });
}

#[test]
fn nobody_is_erased_while_a_project_is_held_although_it_was_recorded_before() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        let id = s.database.text("select payload->>'key' from event where type = 'person_erased'").await;
        let key = id.parse().unwrap();
        let there = "select count(*) from subject_key where kind = 'person'";
        says(s, &["project", "hold", "api", "--reason", "case 7"]);
        s.a_worker_tries_once().await;
        assert!(!s.app.destroy_person(key).await.unwrap(), "it is held");
        assert_eq!(s.database.count(there).await, 1);
        says(s, &["project", "hold", "api", "--end"]);
        s.settle().await;
        assert!(s.channel().contains("a former member → *Staging*: :white_check_mark: *succeeded*"), "{}", s.channel());
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
    });
}

#[test]
fn an_operator_is_erased_by_their_login_name() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        says(s, &["deploy", "api", "master-1", "Staging"]);
        s.settle().await;
        let login = s.database.text("select subject from subject_key where kind = 'operator'").await;
        assert!(s.channel().contains(&login), "{}", s.channel());
        says(s, &["person", "erase", &login, "--operator", "--reason", "has left"]);
        s.settle().await;
        assert!(s.channel().contains("a former member (operator)"), "{}", s.channel());
    });
}

#[test]
fn a_job_that_nobody_asked_for_hides_no_row_that_was_edited() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.tampered = true;
        s.database.execute("update project set doc = replace(doc::text, 'Api', 'Abi')::json").await;
        let job = |key: &str| {
            format!(
                "insert into job (id, kind, key, wanted, run_at) values (gen_random_uuid(), 'erase_person', '{key}', 1, 'infinity')"
            )
        };
        s.database.execute(&job("00000000-0000-4000-8000-000000000007")).await;
        let kinds = async || s.app.audit(false).await.unwrap().findings.iter().map(|f| f.kind).collect::<Vec<_>>();
        assert_eq!(kinds().await, [Kind::ChangedRow]);
        // One for somebody who was erased long ago: rows are not held against the log, and that is no success.
        s.database.execute("update project set doc = replace(doc::text, 'Abi', 'Api')::json").await;
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        s.settle().await;
        assert_eq!(kinds().await, []);
        let key = s.database.text("select payload->>'key' from event where type = 'person_erased'").await;
        s.database.execute("delete from job where kind = 'erase_person'").await;
        s.database.execute(&job(&key)).await;
        let (code, told, said) = s.coolops(&["audit", "verify"]);
        assert!(code == 1 && told.contains("UNCHECKED  rows of projects and deployments"), "{told}{said}");
    });
}

#[test]
fn what_somebody_is_called_by_now_is_noted_when_it_is_recorded() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.standin.workspace().users[0].name = "anna".to_owned();
        s.app.store.checkpoints().close_log("a backup was restored").await.unwrap();
        s.deliver(&s.press_of("anna", "master-1", "Production")).await;
        assert_eq!(s.app.audit(false).await.unwrap().findings, [], "nothing was recorded, and nobody is accused");
        s.database.execute("update event_head set closed = null").await;
        s.presses("anna", "master-1", "Production").await;
        let (_, list, _) = s.coolops(&["person", "list"]);
        assert!(list.contains("anna"), "{list}");
        assert_eq!(s.app.audit(false).await.unwrap().findings, []);
    });
}

#[test]
fn an_erasure_whose_job_is_lost_is_found_and_done() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["swordfish"], 3);
        s.presses("ana", "master-1", "Staging").await;
        let id = newest(s).await.to_string();
        says(s, &["deployment", "erase-output", &id, "--reason", "x"]);
        says(s, &["person", "erase", "ana", "--reason", "x"]);
        s.database.execute("delete from job where kind in ('erase_output', 'erase_person')").await;
        for task in s.app.store.jobs().missing().await.unwrap() {
            s.app.store.jobs().want(task).await.unwrap();
        }
        s.settle().await;
        assert_eq!(everywhere(s, "swordfish").await + everywhere(s, "U0ANA00001").await, 0);
    });
}

#[test]
fn everybody_hears_of_an_erasure_also_of_one_who_dies_right_after_it() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let key = s.app.store.subjects().people().await.unwrap().iter().find(|of| of.kind == "person").unwrap().keys[0];
        let mut heard = PgListener::connect(&s.database.url).await.unwrap();
        heard.listen("coolops").await.unwrap();
        let url = s.database.url.clone();
        let dies = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { Store::open(&url, 2).await.unwrap().subjects().destroy(&[key]).await.unwrap() });
            runtime.shutdown_background();
        };
        tokio::task::spawn_blocking(dies).await.unwrap();
        let hears = async { while heard.recv().await.unwrap().payload() != "erased" {} };
        tokio::time::timeout(Duration::from_secs(10), hears).await.expect("others are told");
        // Nobody recorded why.
        s.tampered = true;
    });
}

#[test]
fn what_others_were_told_of_somebody_is_told_without_their_name_once_they_are_erased() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        // Long ago ben had a lock, and somebody waited for it.
        s.writes("ben", "lock api Production because of the audit").await;
        s.presses("ana", "master-1", "Production").await;
        s.writes("ben", "unlock api Production").await;
        s.comes_to_show("→ *Production*: :white_check_mark: *succeeded*").await;
        s.database.set_clock(3 * 24 * 60 * 60).await;
        s.standin.workspace().ahead = Duration::from_hours(72);
        s.app.store.keep_clock().await.unwrap();
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.cancels("ben", "<@U0ANA00001> → *Staging*: *running*", "").await;
        s.comes_to_show("*cancelled* by <@U0BEN00001>").await;
        let told = |s: &Story| (s.direct("ana"), s.threads(), s.channel());
        let (direct, threads, channel) = told(s);
        assert!(direct.contains("*cancelled* by <@U0BEN00001>"), "{direct}");
        assert!(threads.contains("waits for the lock of ben (of the audit)"), "{threads}");
        assert!(channel.contains("*Production* is unlocked by ben."), "{channel}");
        says(s, &["person", "erase", "ben", "--reason", "asked for by letter"]);
        s.settle().await;
        let (direct, threads, channel) = told(s);
        for (place, text) in [("direct messages", &direct), ("threads", &threads), ("the channel", &channel)] {
            assert!(
                !text.contains("U0BEN00001") && !text.contains("ben") && !text.contains("audit"),
                "{place}: {text}"
            );
        }
        assert!(direct.contains("*cancelled* by a former member"), "{direct}");
    });
}

#[test]
fn of_two_who_are_erased_at_once_neither_is_left_in_a_message_that_was_edited_in_between() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-1", "Production").await;
        for who in ["ana", "ben"] {
            let whom = Whom { text: who, kind: PersonKind::Person };
            s.app.erase_person(whom, "asked for by letter", &operator()).await.unwrap();
        }
        // The one is erased and the message edited for that, before it is the other's turn.
        let ana = s.database.text("select id::text from subject_key where kind = 'person' and name = 'ana'").await;
        assert!(s.app.destroy_person(SubjectKeyId(ana.parse().unwrap())).await.unwrap());
        s.database.execute("delete from job where kind = 'erase_person'").await;
        s.settle().await;
        assert!(s.channel().contains("a former member → *Staging*"), "{}", s.channel());
        assert!(s.channel().contains("<@U0BEN00001> → *Production*"), "{}", s.channel());
        for task in s.app.store.jobs().missing().await.unwrap() {
            s.app.store.jobs().want(task).await.unwrap();
        }
        s.settle().await;
        assert!(s.channel().contains("a former member → *Production*"), "{}", s.channel());
        assert!(!s.channel().contains("U0BEN00001"), "{}", s.channel());
    });
}

#[test]
fn what_is_archived_stands_in_nobody_s_way_to_be_forgotten() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        says(s, &["environment", "allow", "api", "Staging", "--deploy", "U0ANA00001"]);
        assert!(refused(s, &["person", "erase", "ana", "--reason", "asked"]).contains("name others there first"));
        says(s, &["project", "hold", "api", "--reason", "a case"]);
        s.archive_project().await;
        assert!(refused(s, &["person", "erase", "ana", "--reason", "asked"]).contains("is held (a case)"));
        says(s, &["project", "hold", "api", "--end"]);
        // Nobody can be given a right there any more.
        says(s, &["person", "erase", "ana", "--reason", "asked"]);
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        // What was printed there can be held, and let go of.
        says(s, &["project", "hold", "api", "--reason", "another case"]);
        says(s, &["project", "hold", "api", "--end"]);
        says(s, &["project", "set", "api", "--keep-output", "30"]);
    });
}

#[test]
fn other_spellings_of_an_author_are_named_to_whoever_erases_one() {
    story(async |s| {
        for (n, author) in [(1, "Ana Lima"), (2, "ana lima <ana@example.com>")] {
            let metadata = vec![("author".to_owned(), author.to_owned())];
            s.ci_announces(Announcement { metadata, ..build(&format!("master-{n}")) }).await;
        }
        let said = says(s, &["person", "erase", "--author", "Ana Lima", "--reason", "asked"]);
        assert!(said.contains("ana lima <ana@example.com>"), "{said}");
    });
}

#[test]
fn a_row_that_somebody_writes_late_with_an_erased_name_is_made_right_within_minutes() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.writes("ana", "lock Staging").await;
        s.writes("ana", "unlock Staging").await;
        let before = s.database.text("select doc::text from project").await;
        assert!(before.contains("U0ANA00001"), "the last lock is remembered: {before}");
        says(s, &["person", "erase", "ana", "--reason", "asked"]);
        s.settle().await;
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        // As whoever read the row before that, and hung until now.
        s.database.execute(&format!("update project set doc = $doc${before}$doc$::json")).await;
        s.app.look_after_erasures().await.unwrap();
        assert_eq!(everywhere(s, "U0ANA00001").await, 0);
        assert_eq!(s.app.audit(true).await.unwrap().findings, []);
    });
}
