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
