//! The command line as people and CI use it: what it prints, how it refuses, its exit codes.

use std::process::Command;

use crate::story::service::service_story;

fn coolops(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_coolops"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn build_new_speaks_as_the_original_did_and_fails_where_it_did_not() {
    let (code, _, said) = coolops(&["build:new"], &[]);
    assert_eq!(
        (code, said.as_str()),
        (1, "name is mandatory: coolops build:new NAME, or coolops build:new:auto in a job of a CI system\n")
    );
    let (code, _, said) = coolops(&["build:new", "m"], &[]);
    assert_eq!(code, 1);
    assert!(said.starts_with("The project's api token is mandatory.\nEither pass it using the --token flag"), "{said}");
    let (code, _, said) = coolops(&["build:new", "m", "-t", "x"], &[]);
    assert!(code == 1 && said.contains("The address of coolops is mandatory."), "{said}");
    let (code, _, said) = coolops(&["build:new", "m", "-p", "novalue"], &[]);
    assert!(code == 2 && said.contains("should have the {key}={value} format"), "{said}");
    let (code, _, said) = coolops(&["build:new", "m", "-t", "x", "--url", "http://127.0.0.1:9"], &[]);
    assert!(code == 1 && said.starts_with("The build could not be announced to http://127.0.0.1:9"), "{said}");
    let (code, _, said) = coolops(&["build:new", "m", "-t", "x", "--url", "not an address"], &[]);
    assert!(code == 1 && said.contains("can't be read"), "{said}");
}

#[test]
fn a_role_without_its_configuration_lists_everything_that_is_missing() {
    let (code, _, said) = coolops(&["serve"], &[("SLACK_BOT_TOKEN", "nonsense")]);
    assert_eq!(code, 2);
    for name in ["DATABASE_URL", "COOLOPS_PUBLIC_URL", "COOLOPS_MASTER_KEY", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"]
    {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
    let away = [
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:9/none"),
        ("COOLOPS_MASTER_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ];
    let (code, _, said) = coolops(&["project", "list"], &away);
    assert!(code == 2 && said.contains("no connection to Postgres at 127.0.0.1:9: "), "{said}");
    let (code, _, said) = coolops(&["doctor"], &away);
    assert!(code == 2 && said.contains("SLACK_BOT_TOKEN is not set"), "{said}");
    assert_eq!(coolops(&["fly"], &[]).0, 2);
    let (code, version, _) = coolops(&["--version"], &[]);
    assert!(code == 0 && version.starts_with("coolops 0.1.0 ("), "{version}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(coolops(&["completions", shell], &[]).1.contains("build:new"));
    }
}

#[test]
fn an_unmigrated_database_names_the_command() {
    service_story("true", "info", async |s| {
        s.stop("-TERM");
        s.database
            .execute("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
            .await;
        let (code, said) = s.cli_fails(&["serve"], "");
        assert!(code == 2 && said.contains("run: coolops migrate"), "{said}");
        s.database.execute("insert into _sqlx_migrations values (99999999999999, 'later', now(), true, '', 0)").await;
        let (code, said) = s.cli_fails(&["serve"], "");
        assert!(code == 2 && said.contains("newer than this program's"), "{said}");
    });
}

#[test]
fn who_may_do_what_is_said_and_shown_at_the_command_line() {
    service_story("exit 0", "info", async |s| {
        let shown = s.cli(&["who", "api", "Production"]);
        assert!(shown.contains("deploy      everybody who sees the build's message"), "{shown}");
        assert!(shown.contains("administer  operators alone"), "{shown}");
        let allow = ["environment", "allow", "api", "Production"];
        let with = |more: &[&'static str]| [&allow[..], more].concat();
        let shown = s.cli(&with(&["--deploy", "@OPS", "U0BEN00001", "--stop", "nobody", "--administer", "S0GONE0001"]));
        for line in [
            "deploy      @ops                                    U0ANA00001",
            "            ben                                     a person",
            "stop        who administers it",
            "administer  S0GONE0001                              a group that is empty or gone: nobody",
            "People of other workspaces may not, guests may not, unless they are named.",
        ] {
            assert!(shown.contains(line), "{line:?} is missing in\n{shown}");
        }
        let shown = s.cli(&["environment", "show", "api", "Production"]);
        assert!(shown.contains("not everybody may do everything; see: coolops who PROJECT Production"), "{shown}");
        for (more, why) in [
            (vec!["--deploy", "@nope"], "there is no user group @nope in Slack"),
            (vec!["--deploy", "ben"], "\"ben\" is nobody; give @group"),
            (vec!["--administer", "everybody"], "everybody can't administer an environment"),
            (vec!["--deploy", "@ops", "U0BEN00001"], "nothing changes"),
            (vec![], "nothing changes; give --deploy"),
        ] {
            let (code, said) = s.cli_fails(&[&allow[..], &more[..]].concat(), "");
            assert!(code == 1 && said.contains(why), "{more:?}: {code} {said}");
        }
        let json: serde_json::Value = serde_json::from_str(&s.cli(&["who", "api", "Production", "--json"])).unwrap();
        assert_eq!(json["rights"]["deploy"][0]["handle"], "ops");
        s.cli(&with(&["--deploy", "everybody", "--guests", "yes"]));
        let shown = s.cli(&["who", "api", "Production"]);
        assert!(shown.contains("deploy      everybody") && shown.contains("guests may too"), "{shown}");
    });
}

#[test]
fn projects_and_environments_are_set_up_from_the_command_line() {
    service_story("true", "info", async |s| {
        let refused = |arguments: &[&str], input: &str, sentence: &str| {
            let (code, said) = s.cli_fails(arguments, input);
            assert!(code == 1 && said.contains(sentence), "{arguments:?}: {said}");
        };
        refused(&["project", "create", "Api", "--image", "x", "--channel", "C1"], "", "the slug \"api\" is taken");
        refused(&["project", "create", "Web", "--image", "UPPER CASE", "--channel", "C1"], "", "is not an image");
        refused(&["project", "create", "Web", "--image", "x", "--channel", "#web"], "", "is not a Slack channel id");
        refused(&["project", "show", "nope"], "", "there is no project \"nope\"; there are: api");
        refused(&["environment", "set", "api", "Staging", "COOLOPS_X=1"], "", "COOLOPS_X is reserved");
        refused(&["environment", "set", "api", "Staging", "novalue"], "", "should have the NAME=VALUE format");
        refused(
            &["environment", "set", "api", "Canary", "A=1"],
            "",
            "has no environment \"Canary\"; it has: Production, Staging",
        );
        refused(
            &["environment", "set", "api", "Staging", "--secret", "TOKEN"],
            " \n",
            "TOKEN is empty; give it a value",
        );
        let short = s.run(&["environment", "set", "api", "Staging", "--secret", "TOKEN"], "short\n");
        let said = String::from_utf8_lossy(&short.stderr);
        assert!(
            short.status.success()
                && said.contains("TOKEN: it has 5 characters, and fewer than 6 are not masked in logs"),
            "{said}"
        );
        s.cli(&["environment", "unset", "api", "Staging", "TOKEN"]);
        refused(&["environment", "unset", "api", "Staging", "NOPE"], "", "has no variable NOPE");
        refused(&["project", "token", "revoke", "api", "nope"], "", "has no token \"nope\"");
        refused(&["deployment", "show", "nope"], "", "there is no deployment nope");
        s.cli(&["environment", "set", "api", "Staging", "REGION=eu", "EMPTY="]);
        s.cli_with(&["environment", "set", "api", "staging", "--secret", "TOKEN"], "correct-horse\n");
        let shown = s.cli(&["environment", "show", "api", "Staging"]);
        assert!(shown.contains("REGION=eu") && shown.contains("TOKEN is secret (version 1, fingerprint "), "{shown}");
        assert!(!shown.contains("correct-horse"));
        s.cli(&["environment", "unset", "api", "Staging", "TOKEN", "EMPTY"]);
        let shown = s.cli(&["environment", "set", "api", "Production", "--protected", "yes"]);
        assert!(shown.starts_with("Production (position 1, protected: a press is asked back first)"), "{shown}");
        let (code, said) = s.cli_fails(&["environment", "set", "api", "Production", "--protected", "maybe"], "");
        assert!(code == 2 && said.contains("invalid value 'maybe' for '--protected <YES|NO>'"), "{said}");
        let all = s.cli(&["status"]);
        let lines: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
        let none = ["–", "–", "–"];
        assert_eq!(lines[0], ["PROJECT", "ENVIRONMENT", "RUNS", "SINCE", "BY", "NOW"]);
        assert_eq!(
            lines[1..],
            [[&["api", "Production"], &none[..]].concat(), [&["api", "Staging"], &none[..]].concat()]
        );
        let of_one = s.cli(&["status", "api", "--link"]);
        let address = of_one.lines().last().unwrap().to_owned();
        let page = ureq::get(&address).call().unwrap().body_mut().read_to_string().unwrap();
        assert!(page.contains("Nothing was deployed here with success yet."), "{page}");
        refused(&["status", "nope"], "", "there is no project \"nope\"; there are: api");
        s.cli(&["environment", "rename", "api", "Staging", "Stage"]);
        s.cli(&["environment", "create", "api", "Canary", "--position", "0"]);
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["environment", "list", "api", "--json"])).unwrap();
        let names: Vec<&str> = list.as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["Canary", "Production", "Stage"]);
        s.cli(&["environment", "archive", "api", "Canary"]);
        let project: serde_json::Value = serde_json::from_str(&s.cli(&["project", "show", "api", "--json"])).unwrap();
        assert_eq!(project["environments"].as_array().unwrap().len(), 2);
        assert!(!project.to_string().contains("digest"));
        s.cli(&["project", "token", "revoke", "api", "CI"]);
        let (code, said) = s.cli_fails(&["build:new", "m"], "");
        assert_eq!(
            (code, said.as_str()),
            (
                1,
                "Invalid project token: it is unknown or was revoked. Make one with: coolops project token new PROJECT\n"
            )
        );
        s.cli(&["project", "archive", "api"]);
        assert!(s.cli(&["project", "list"]).contains("Api (archived)"));
    });
}

#[test]
fn doctor_finds_what_is_missing_and_says_what_to_do() {
    service_story("true", "info", async |s| {
        let (_, said) = s.cli_fails(&["doctor"], "");
        for fine in [
            "ok     Postgres: answers",
            "ok     Redis: answers",
            "ok     Docker: answers",
            "ok     Slack token: is coolops in Demo",
        ] {
            assert!(said.contains(fine), "{fine} is missing in\n{said}");
        }
        assert!(said.contains("#deploys, coolops is a member and may read its history"), "{said}");
        assert!(said.contains("WRONG  Postgres login: the login of DATABASE_URL could do more than it needs: it is a superuser, or a member of one; give serve a login"), "{said}");
        // On a host that runs one role alone, with what that role is told.
        let [web, worker] = ["web", "worker"].map(|role| s.cli_fails(&["doctor", "--role", role], "").1);
        assert!(web.contains("Slack token") && !web.contains("Docker"), "{web}");
        assert!(worker.contains("ok     Docker: answers") && !worker.contains("Slack token"), "{worker}");
        s.cli(&["project", "set", "api", "--channel", "C0RANDOM01"]);
        let (code, said) = s.cli_fails(&["doctor"], "");
        assert!(
            code == 1 && said.contains("coolops is not a member of #random; invite it there: /invite @coolops"),
            "{said}"
        );
    });
}

#[test]
fn a_build_goes_where_an_operator_says_and_back_from_the_command_line() {
    service_story("echo hello; exit 0", "info", async |s| {
        for build in ["main-1", "main-2"] {
            s.cli(&["build:new", build]);
            s.shows(&format!("# Api: {build}")).await;
        }
        let (code, said) = s.cli_fails(&["deploy", "api", "main-7", "Staging"], "");
        assert!(code == 1 && said.contains("No build begins with \"main-7\"."), "{said}");
        let (_, said) = s.cli_fails(&["deploy", "api", "main", "Staging"], "");
        assert!(
            said.contains("\"main\" can be several builds.\nIt could be:\n  coolops deploy api main-2 \"Staging\""),
            "{said}"
        );
        let (_, said) = s.cli_fails(&["rollback", "api", "Staging"], "");
        assert!(said.contains("Nothing was deployed to Staging with success yet."), "{said}");
        let said = s.cli(&["deploy", "api", "main-1", "staging"]);
        assert!(
            said.starts_with("main-1 is on its way to Staging.\nHow it goes: coolops deployment logs --follow "),
            "{said}"
        );
        s.shows("test (operator) → *Staging*: :white_check_mark: *succeeded*").await;
        s.cli(&["deploy", "api", "latest", "Staging"]);
        s.shows_times("test (operator) → *Staging*: :white_check_mark: *succeeded*", 2).await;
        // What a press would be asked back about is asked here too: nobody sits at this terminal.
        let (code, said) = s.cli_fails(&["deploy", "api", "main-1", "Staging"], "");
        assert!(code == 1 && said.contains("Staging runs main-2, and main-1 is older."), "{said}");
        assert!(said.contains("Nothing was started; give --yes when it shall be"), "{said}");
        s.cli(&["rollback", "api", "Staging", "--yes"]);
        s.shows_times("test (operator) → *Staging*: :white_check_mark: *succeeded*", 3).await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        assert_eq!(list[0]["build_name"], "main-1");
        assert_eq!(list[0]["requested_by"], serde_json::json!({"kind": "operator", "login": "test"}));
        let again = list[0]["of"]["deployment_id"].as_str().unwrap();
        s.cli(&["deployment", "again", again]);
        s.shows_times("test (operator) → *Staging*: :white_check_mark: *succeeded*", 3).await;
        // Somebody's lock keeps an operator waiting as well, and theirs lets them through.
        s.cli(&["project", "lock", "api", "--reason", "freeze"]);
        let all = s.cli(&["status"]);
        assert_eq!(all.matches("locked with the whole project by test").count(), 2, "{all}");
        assert!(s.cli(&["project", "show", "api"]).contains("all of it is locked by test (freeze) since"));
        s.presses("ana", "main-2", "Production").await;
        s.shows("*queued*, waits for the lock of test on the whole project (freeze)").await;
        s.cli(&["project", "unlock", "api"]);
        s.shows("<@U0ANA00001> → *Production*: :white_check_mark: *succeeded*").await;
        let (code, said) = s.cli_fails(&["project", "unlock", "api"], "");
        assert!(code == 1 && said.contains("all of Api is not locked: test took the lock of test away at"), "{said}");
        assert_eq!(
            s.cli(&["installation", "show"]),
            "Operators alone administer everything.\nNot everything is locked.\n"
        );
        assert_eq!(s.cli(&["installation", "administrators", "@ops"]), "Everything is administered by @ops now.\n");
        assert_eq!(
            s.cli(&["installation", "lock", "--for", "2h"]).split(" until").next(),
            Some("Everything is locked")
        );
        assert!(s.cli(&["installation", "show"]).contains("Administered by @ops.\nEverything is locked by test since"));
        assert_eq!(s.cli(&["installation", "unlock"]), "Everything is unlocked; it was the lock of test.\n");
        // What somebody is told directly can be chosen for them.
        assert!(
            s.cli(&["notify", "U0BEN00001", "failures"]).contains("U0BEN00001 is told directly of what went wrong.")
        );
        assert!(s.cli(&["notify", "U0BEN00001"]).contains("of what went wrong"));
        let (code, said) = s.cli_fails(&["notify", "ben", "off"], "");
        assert!(code == 1 && said.contains("\"ben\" is no person's id in Slack"), "{said}");
        let (code, said) = s.cli_fails(&["project", "set", "api", "--lock-reminder", "0"], "");
        assert!(code == 1 && said.contains("give a number from 1 to 672"), "{said}");
        assert!(s.cli(&["project", "set", "api", "--lock-reminder", "never"]).contains("without an end: no reminder"));
        assert!(
            s.cli(&["environment", "set", "api", "Staging", "--locking", "yes"]).contains("each deployment locks it")
        );
    });
}
