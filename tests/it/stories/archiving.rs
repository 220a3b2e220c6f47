//! Archiving a project or an environment makes it safer: what waits there ends, secrets go, and what takes away stays
//! possible.

use coolops::domain::settings::{EnvironmentChange, ProjectChange};

use crate::story::{build, operator, story};

#[test]
fn what_waits_for_an_archived_environment_ends_and_says_why() {
    story(async |s| {
        s.app
            .set_secret(s.project(), "Staging", "PASSWORD", &"hunter2-hunter2".to_owned().into(), &operator())
            .await
            .unwrap();
        for n in 1..=3 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        s.runner.hold();
        for n in 1..=3 {
            s.presses("ana", &format!("master-{n}"), "Staging").await;
        }
        assert_eq!(s.channel().matches("*queued* behind").count(), 2);
        s.app.change_environment(s.project(), "Staging", EnvironmentChange::Archive, &operator()).await.unwrap();
        s.settle().await;
        let archived = s.database.count("select position from event where type = 'environment_archived'").await;
        let (_, told, _) = s.coolops(&["audit", "show", &archived.to_string()]);
        let followed = told.split_once("What followed").map_or("", |(_, followed)| followed);
        assert_eq!(followed.matches("it was stopped").count(), 2, "what it ended follows from it:\n{told}");
        assert_eq!(
            s.channel().matches("*cancelled*: the environment Staging was archived").count(),
            2,
            "{}",
            s.channel()
        );
        assert_eq!(s.channel().matches("*running*").count(), 1, "what runs, runs on:\n{}", s.channel());
        assert!(s.database.count("select count(*) from secret_value").await > 0, "its output is still masked");
        s.container_ends("master-1", 0).await;
        s.app.erase_archived().await.unwrap();
        assert_eq!(
            s.database.count("select count(*) from secret_value").await,
            0,
            "nothing of it can be read any more"
        );
        assert_eq!(s.runner.starts().len(), 1, "nothing was started after that");
    });
}

#[test]
fn an_archived_project_s_tokens_and_links_can_still_be_revoked() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let log = s.log_path();
        s.app
            .set_registry(s.project(), "ghcr.io", "puller", &"pull-password".to_owned().into(), &operator())
            .await
            .unwrap();
        s.app
            .set_secret(s.project(), "Staging", "PASSWORD", &"hunter2-hunter2".to_owned().into(), &operator())
            .await
            .unwrap();
        s.archive_project().await;
        assert_eq!(s.get(&log).await.0, 200);
        s.app.change_project(s.project(), ProjectChange::RevokeToken("CI".into()), &operator()).await.unwrap();
        s.app.revoke_links(s.project(), &operator()).await.unwrap();
        assert_eq!(s.get(&log).await.0, 404, "the old link opens nothing");
        s.app.unset_registry(s.project(), "ghcr.io", &operator()).await.unwrap();
        let unset = EnvironmentChange::UnsetVariable("PASSWORD".into());
        s.app.change_environment(s.project(), "Staging", unset, &operator()).await.unwrap();
        let gives = s.app.issue_token(s.project(), "another", &operator()).await;
        assert!(gives.is_err(), "nothing is given any more");
        assert_eq!(s.database.count("select count(*) from secret_value").await, 0);
    });
}
