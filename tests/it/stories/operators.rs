//! What operators type, and what must not come of it.

use coolops::app::CommandError;
use coolops::domain::ci_rules::CiRules;
use coolops::domain::project::ProjectRefusal;
use coolops::domain::rights::Rights;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};

use crate::story::{Story, build, operator, story};

/// A command that must fail, and what it has to say.
fn refuses(s: &Story, arguments: &[&str], words: &str) {
    let (code, told, said) = s.coolops(arguments);
    assert!(code == 1 && said.contains(words), "{arguments:?}: {code} {told}{said}");
}

fn says(s: &Story, arguments: &[&str]) -> String {
    let (code, told, said) = s.coolops(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    told
}

#[test]
fn a_variable_of_the_shell_that_is_not_set_takes_nobody_s_rights_away() {
    story(async |s| {
        for empty in ["", " ", ","] {
            refuses(
                s,
                &["environment", "allow", "api", "Production", "--deploy", empty],
                "nobody is named; give @group",
            );
            refuses(s, &["environment", "allow", "api", "Production", "--administer", empty], "nobody is named");
            refuses(s, &["installation", "administrators", empty], "nobody is named");
        }
        let told = says(s, &["environment", "allow", "api", "Production", "--deploy", "nobody"]);
        assert!(told.contains("deploy"), "{told}");
    });
}

#[test]
fn the_beginning_of_an_id_names_something_only_where_it_is_long_enough() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let id = s.database.text("select id::text from deployment").await;
        for (given, words) in [
            ("", "is too little of a deployment's id"),
            (&id[..1], "give at least 4 characters"),
            ("nope", "there is no deployment nope"),
        ] {
            refuses(s, &["deployment", "erase-output", given, "--reason", "x"], words);
            refuses(s, &["deployment", "stop", given, "--reason", "x"], words);
        }
        refuses(s, &["ci", "replay", ""], "is too little of a delivery's id");
        // As somebody reads it out.
        let told = says(s, &["deployment", "show", &id[..8].to_uppercase()]);
        assert!(told.contains("master-1"), "{told}");
    });
}

#[test]
fn of_two_tokens_of_one_name_none_is_revoked_by_it() {
    story(async |s| {
        let made = says(s, &["project", "token", "new", "api", "--json"]);
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let (id, valid) = (made["id"].as_str().unwrap(), "select count(*) from token where not revoked");
        assert_eq!(s.database.count(valid).await, 2);
        refuses(s, &["project", "token", "revoke", "api", "CI"], "several valid tokens are called \"CI\"");
        refuses(s, &["project", "token", "revoke", "api", "CI"], id);
        assert_eq!(s.database.count(valid).await, 2);
        says(s, &["project", "token", "revoke", "api", id]);
        says(s, &["project", "token", "revoke", "api", "CI"]);
        assert_eq!(s.database.count(valid).await, 0);
    });
}

#[test]
fn what_is_unset_twice_is_unset_and_what_is_set_in_two_ways_is_not() {
    story(async |s| {
        says(s, &["environment", "set", "api", "Staging", "A=1", "B=2"]);
        let told = says(s, &["environment", "unset", "api", "Staging", "A", "A", "B"]);
        assert!(!told.contains("A=1") && !told.contains("B=2"), "{told}");
        let file = std::env::temp_dir().join(format!("coolops-{}", crate::story::random_name()));
        std::fs::write(&file, "hunter2-hunter2").unwrap();
        let both = [
            "environment",
            "set",
            "api",
            "Staging",
            "--secret",
            "KEY",
            "--from-file",
            file.to_str().unwrap(),
            "KEY=plain",
        ];
        refuses(s, &both, "KEY is given as a secret and in plain");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(s.database.count("select count(*) from secret_value").await, 0, "nothing is half set");
    });
}

#[test]
fn rights_that_somebody_else_has_changed_meanwhile_are_not_undone() {
    story(async |s| {
        let seen = Rights::default();
        let nobody = Rights { deploy: Some(Vec::new()), ..seen.clone() };
        let allow = async |rights: Rights| {
            let change = EnvironmentChange::Allow { rights, was: Some(seen.clone()) };
            s.app.change_environment(s.project(), "Production", change, &operator()).await
        };
        allow(nobody).await.unwrap();
        let late = allow(Rights { guests: true, ..seen.clone() }).await;
        assert!(matches!(late, Err(CommandError::Refused(ProjectRefusal::Overtaken))), "{late:?}");
        s.ci_announces(build("master-1")).await;
        s.presses("ben", "master-1", "Production").await;
        let told = s.private_notes_of("ben").join(" ");
        assert!(told.starts_with("You may not deploy to Production"), "{told}");
    });
}

#[test]
fn rules_of_ci_that_somebody_else_has_changed_meanwhile_are_not_undone() {
    story(async |s| {
        let change = async |branches: &[&str]| {
            let rules = CiRules { branches: branches.iter().map(|b| (*b).to_owned()).collect(), ..CiRules::default() };
            let (provider, was) = ("github".to_owned(), Some(Box::default()));
            let change = ProjectChange::CiRules { provider, rules: Box::new(rules), was };
            s.app.change_project(s.project(), change, &operator()).await
        };
        change(&["main"]).await.unwrap();
        let late = change(&["release/*"]).await;
        assert!(matches!(late, Err(CommandError::Refused(ProjectRefusal::Overtaken))), "{late:?}");
        let told = says(s, &["ci", "show", "api"]);
        assert!(told.contains("main") && !told.contains("release/*"), "{told}");
    });
}
