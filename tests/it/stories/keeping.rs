//! What deployments printed: kept for as long as a project says, held, or erased because of a secret in it.

use super::forgetting::{everywhere, newest, refused, says};
use crate::story::anchored::Anchored;
use crate::story::{build, story};

#[test]
fn output_with_a_secret_that_no_mask_knew_is_erased_here_and_in_slack() {
    story(async |s| {
        let anchored = Anchored::new(s);
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["--- the password is swordfish", "the password is swordfish"], 3);
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("swordfish"), "{}", s.channel());
        assert!(s.threads().contains("swordfish"), "{}", s.threads());
        let (_, outline) = s.get(&s.log_path().replace("?key", "/steps?key")).await;
        assert!(outline.contains("swordfish"), "{outline}");
        anchored.signs().await;
        let id = newest(s).await.to_string();
        let said = says(s, &["deployment", "erase-output", &id, "--reason", "it printed a password"]);
        assert!(said.contains("What master-1 printed on Staging is being erased, here and in Slack."), "{said}");
        s.settle().await;
        for shown in [s.channel(), s.threads(), says(s, &["explain", "master-1"]), says(s, &["audit", "show", &id])] {
            assert!(!shown.contains("swordfish"), "{shown}");
        }
        assert!(s.channel().contains("*failed*: exit code 3"), "{}", s.channel());
        assert_eq!(everywhere(s, "swordfish").await, 0);
        // Stored output is packed, and its last lines encrypted: neither can be searched.
        let kept = format!("select count(*) from log_chunk where deployment_id = '{id}' and body is not null");
        let key = format!("select count(*) from subject_key where kind = 'output' and subject = '{id}'");
        assert_eq!((s.database.count(&kept).await, s.database.count(&key).await), (0, 0));
        let logs = says(s, &["deployment", "logs", &id]);
        assert!(
            logs.starts_with("What it printed was erased by ") && logs.contains(": it printed a password ("),
            "{logs}"
        );
        let steps = s.log_path().replace("?key", "/steps?key");
        let (_, outline) = s.get(&steps).await;
        assert!(!outline.contains("swordfish"), "{outline}");
        let (_, page) = s.get(&s.log_path()).await;
        assert!(page.contains("it printed a password") && !page.contains("swordfish"), "{page}");
        assert_eq!(anchored.app.audit(true).await.unwrap().findings, []);
        let rebuilt = s.app.rebuild().await.unwrap();
        assert!(rebuilt.tables.iter().all(|t| t.written == 0), "{rebuilt:?}");
        // Asked for again, it is gone already.
        let said = says(s, &["deployment", "erase-output", &id, "--reason", "again"]);
        assert!(said.contains("was to be erased before: event "), "{said}");
        assert_eq!(s.database.count("select count(*) from event where type = 'output_erased'").await, 1);
    });
}

#[test]
fn output_is_not_erased_while_it_is_written_nor_while_its_project_is_held() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.settle().await;
        let id = newest(s).await.to_string();
        let erase = ["deployment", "erase-output", id.as_str(), "--reason", "x"];
        let said = refused(s, &erase);
        assert!(
            said.contains("master-1 on Staging is running, and not over; stop it, or wait until it has ended"),
            "{said}"
        );
        s.container_ends("master-1", 0).await;
        s.settle().await;
        says(s, &["project", "hold", "api", "--reason", "case 7"]);
        assert!(says(s, &["project", "show", "api"]).contains("none of its output is erased, and nobody: case 7"));
        assert!(refused(s, &erase).contains("api is held (case 7)"));
        says(s, &["project", "hold", "api", "--end"]);
        says(s, &erase);
        s.settle().await;
        let unknown = "00000000-0000-4000-8000-000000000007";
        let said = refused(s, &["deployment", "erase-output", unknown, "--reason", "x"]);
        assert!(said.contains("there is no deployment"), "{said}");
    });
}

#[test]
fn output_is_kept_for_as_long_as_its_project_says_and_not_while_it_is_held() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["one"], 1);
        s.presses("ana", "master-1", "Staging").await;
        let id = newest(s).await.to_string();
        s.database.set_clock(31 * 24 * 60 * 60).await;
        s.app.store.keep_clock().await.unwrap();
        assert_eq!(s.app.expire_outputs().await.unwrap(), 0, "for ever, as at first");
        let said = refused(s, &["project", "set", "api", "--keep-output", "0"]);
        assert!(said.contains("the time that output is kept in days"), "{said}");
        says(s, &["project", "hold", "api", "--reason", "case 7"]);
        assert!(says(s, &["project", "set", "api", "--keep-output", "30"]).contains("kept for 30 days"));
        assert_eq!(s.app.expire_outputs().await.unwrap(), 0, "it is held");
        says(s, &["project", "hold", "api", "--end"]);
        assert_eq!(s.app.expire_outputs().await.unwrap(), 1);
        assert_eq!(s.app.expire_outputs().await.unwrap(), 0, "once");
        s.settle().await;
        let logs = says(s, &["deployment", "logs", &id]);
        assert!(logs.starts_with("What it printed was kept for 30 days ("), "{logs}");
        assert!(!s.channel().contains("one"), "{}", s.channel());
    });
}

#[test]
fn output_expires_after_the_time_that_the_log_says_and_no_row() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["one"], 0);
        s.presses("ana", "master-1", "Staging").await;
        s.database.set_clock(3 * 24 * 3600).await;
        let edited = "update project set doc = (doc::jsonb || '{\"output_kept_days\": 1}')::json";
        assert_eq!(s.database.execute(edited).await, 1);
        assert_eq!(s.app.expire_outputs().await.unwrap(), 0, "the log says: for ever");
        says(s, &["project", "set", "api", "--keep-output", "1"]);
        assert_eq!(s.app.expire_outputs().await.unwrap(), 1);
    });
}

#[test]
fn of_much_output_that_has_expired_so_much_goes_at_once_as_slack_can_be_told() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["one"], 1);
        for n in 0..60 {
            s.presses("ana", "master-1", if n % 2 == 0 { "Staging" } else { "Production" }).await;
        }
        says(s, &["project", "set", "api", "--keep-output", "1"]);
        s.database.set_clock(3 * 24 * 3600).await;
        assert_eq!(s.app.expire_outputs().await.unwrap(), 50);
        assert_eq!(s.app.expire_outputs().await.unwrap(), 10);
    });
}

#[test]
fn a_project_that_is_held_at_the_last_moment_keeps_everybody() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        says(s, &["project", "hold", "api", "--reason", "an audit"]);
        let keys =
            s.app.store.subjects().people().await.unwrap().into_iter().flat_map(|of| of.keys).collect::<Vec<_>>();
        assert!(!keys.is_empty());
        assert!(!s.app.store.subjects().destroy(&keys).await.unwrap(), "nothing is destroyed");
        assert_eq!(s.app.store.subjects().there(&keys).await.unwrap().len(), keys.len());
        says(s, &["project", "hold", "api", "--end"]);
        assert!(s.app.store.subjects().destroy(&keys).await.unwrap());
        assert_eq!(s.app.store.subjects().there(&keys).await.unwrap(), vec![]);
        s.tampered = true;
    });
}

#[test]
fn output_that_comes_back_after_it_was_erased_is_told() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["swordfish"], 0);
        s.presses("ana", "master-1", "Staging").await;
        let id = newest(s).await.to_string();
        // As from a dump of before.
        s.database.execute("create table copied as select deployment_id, chunk_no, body from log_chunk").await;
        says(s, &["deployment", "erase-output", &id, "--reason", "it printed a password"]);
        s.settle().await;
        assert_eq!(s.app.audit(false).await.unwrap().findings, []);
        s.tampered = true;
        s.database
            .execute("alter table log_chunk disable trigger all; update log_chunk l set body = c.body from copied c where c.deployment_id = l.deployment_id and c.chunk_no = l.chunk_no;
                      alter table log_chunk enable always trigger log_chunk_is_append_only; alter table log_chunk enable always trigger log_chunk_is_never_truncated; drop table copied")
            .await;
        let findings = s.app.audit(false).await.unwrap().findings;
        assert!(
            findings.len() == 1 && findings[0].said.contains("it was erased, an event says, and it is there"),
            "{findings:#?}"
        );
        says(s, &["deployment", "erase-output", &id, "--reason", "once more"]);
        s.settle().await;
        assert_eq!(s.app.audit(false).await.unwrap().findings, []);
    });
}
