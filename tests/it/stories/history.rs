//! Stories of people who ask what happened.

use axum::http::StatusCode;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::story::{Story, build, operator, story};

/// Three deployments: one that went well, one that failed, and one that waited for it and ran then.
pub(super) async fn three(s: &Story) {
    for name in ["master-1", "master-2", "fix-3"] {
        s.ci_announces(build(name)).await;
    }
    s.presses("ana", "master-1", "Staging").await;
    s.runner.hold();
    s.presses("ben", "master-2", "Staging").await;
    s.presses("ana", "fix-3", "Staging").await;
    s.container_ends("master-2", 3).await;
    s.container_ends("fix-3", 0).await;
}

/// What a command printed, when it went well.
fn printed(s: &Story, arguments: &[&str]) -> String {
    let (code, printed, said) = s.coolops(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    printed
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn the_history_tells_who_deployed_what_in_place_of_what_and_how_it_ended() {
    story(async |s| {
        three(s).await;
        let told = printed(s, &["history"]);
        let row = |n: usize| {
            told.lines().nth(n).unwrap().split("  ").filter(|c| !c.is_empty()).map(str::trim).collect::<Vec<_>>()
        };
        assert_eq!(row(0), ["ID", "PRESSED", "PROJECT", "ENVIRONMENT", "BUILD", "BEFORE IT", "BY", "TOOK", "ENDED"]);
        assert_eq!(row(1)[2..7], ["api", "Staging", "fix-3", "master-1", "ana"]);
        assert_eq!(row(1)[8], "succeeded");
        assert_eq!(row(2)[2..7], ["api", "Staging", "master-2", "master-1", "ben"]);
        assert!(row(2)[8].starts_with("failed: "), "{told}");
        assert_eq!(row(3)[2..7], ["api", "Staging", "master-1", "–", "ana"]);
        // Each thing that can be asked for leaves out the others.
        let builds = |arguments: &[&str]| {
            let all = lines(&printed(s, &[&["history", "--json"], arguments].concat()));
            all.iter().map(|d| d["build"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(builds(&[]), ["fix-3", "master-2", "master-1"]);
        assert_eq!(builds(&["--user", "@Ana"]), ["fix-3", "master-1"]);
        assert_eq!(builds(&["--user", "U0ANA00001"]), ["fix-3", "master-1"]);
        assert_eq!(builds(&["--user", "@U0ANA00001"]), ["fix-3", "master-1"]);
        assert_eq!(builds(&["--user", "u0ana00001", "--project", "api"]), ["fix-3", "master-1"]);
        assert_eq!(builds(&["--user", "U0ANA0000"]), Vec::<String>::new());
        assert_eq!(builds(&["--outcome", "failed"]), ["master-2"]);
        assert_eq!(builds(&["--build", "MASTER"]), ["master-2", "master-1"]);
        assert_eq!(builds(&["--project", "api", "--environment", "Production"]), Vec::<String>::new());
        assert_eq!(builds(&["--environment", "staging"]), ["fix-3", "master-2", "master-1"]);
        let (code, _, said) = s.coolops(&["history", "--environment", "Nowhere"]);
        assert!(code == 1 && said.contains("no project has an environment Nowhere"), "{said}");
        assert_eq!(builds(&["--since", "1h"]), ["fix-3", "master-2", "master-1"]);
        assert_eq!(builds(&["--until", "1h"]), Vec::<String>::new());
        // What was pressed before a moment is not since then.
        let last: i64 = s.database.count("select max(requested) from deployment").await;
        assert_eq!(builds(&["--since", &last.to_string()]), ["fix-3"]);
        let at = s.database.text("select to_char(recorded_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from event where position = (select max(requested) from deployment)").await;
        assert_eq!(builds(&["--since", &at]), ["fix-3"]);
        let all = lines(&printed(s, &["history", "--json", "--links"]));
        assert_eq!(all[0]["replaces"], "master-1");
        assert_eq!(all[1]["exit_code"], 3);
        assert!(all[0]["log"].as_str().unwrap().starts_with("https://coolops.test/deployments/"), "{}", all[0]);
        // A cursor stays where it is, whatever comes after.
        let cursor = all[0]["cursor"].to_string();
        s.presses("ana", "master-1", "Production").await;
        assert_eq!(builds(&["--before", &cursor]), ["master-2", "master-1"]);
        assert_eq!(builds(&["--limit", "1"]), ["master-1"]);
        // Lines say what an environment was called then, and by that name they are found.
        printed(s, &["environment", "rename", "api", "Staging", "Test"]);
        assert_eq!(builds(&["--environment", "test", "--limit", "1"]), ["fix-3"]);
        assert_eq!(builds(&["--environment", "staging", "--limit", "1"]), ["fix-3"]);
        assert_eq!(builds(&["--project", "api", "--environment", "Staging", "--limit", "1"]), ["fix-3"]);
        // Also where another one is called so now.
        printed(s, &["environment", "create", "api", "Staging"]);
        s.ci_announces(build("fix-4")).await;
        s.presses("ana", "fix-4", "Staging").await;
        assert_eq!(builds(&["--environment", "staging", "--limit", "2"]), ["fix-4", "fix-3"]);
        assert_eq!(builds(&["--environment", "test", "--limit", "1"]), ["fix-3"]);
        // That there is more is said to whoever reads lines too, beside them.
        for more in [&["history", "--json", "--limit", "1"][..], &["history", "--settings", "--json", "--limit", "1"]] {
            let (_, _, said) = s.coolops(more);
            assert!(said.contains("more: --before "), "{said}");
        }
    });
}

#[test]
fn a_moment_that_could_be_several_is_refused_before_anything_is_told() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        for (written, says) in [
            ("2026-11-27", "has no zone; write 2026-11-27T00:00Z for UTC"),
            ("2026-11-27 14:00", "has no zone"),
            ("yesterday", "is no moment; write a position (1234), a time with its zone"),
            ("2026-10-25T02:30 Europe/Berlin", "is no moment"),
        ] {
            let (code, printed, said) = s.coolops(&["history", "--since", written]);
            assert!(code == 1 && printed.is_empty() && said.contains(says), "{written}: {said}");
        }
        let (code, _, said) = s.coolops(&["history", "--project", "api", "--environment", "Nowhere"]);
        assert!(code == 1 && said.contains("Nowhere"), "{said}");
    });
}

#[test]
fn the_history_of_settings_tells_who_changed_what_and_no_secret() {
    story(async |s| {
        let password = "hunter2 and more of it".to_owned();
        s.app.change_environment(s.project(), "Staging", EnvironmentChange::Protect(true), &operator()).await.unwrap();
        s.app.set_secret(s.project(), "Staging", "PASSWORD", &password.clone().into(), &operator()).await.unwrap();
        let told = printed(s, &["history", "--settings", "--project", "api"]);
        assert!(
            told.contains("Staging      test (operator)  set the secret PASSWORD: version 1, fingerprint "),
            "{told}"
        );
        assert!(told.contains("Staging      test (operator)  switched on protection"), "{told}");
        assert!(
            told.contains("made the project Api (api): image registry.test/deploy:1, channel C0DEPLOYS1"),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
        let all = lines(&printed(s, &["history", "--settings", "--json", "--user", "test", "--limit", "1"]));
        assert_eq!((all[0]["type"].as_str(), all[0]["environment"].as_str()), (Some("secret_set"), Some("Staging")));
        // What is left out is said.
        let (_, told, said) = s.coolops(&["history", "--settings", "--limit", "2"]);
        let last = told.lines().nth(2).unwrap().split(' ').next().unwrap();
        assert!(said.contains(&format!(" more: --before {last}, or a greater --limit.")), "{told}{said}");
        assert!(!s.coolops(&["history", "--settings"]).2.contains("more"));
        // More than is read at once.
        s.changes_a_variable("Staging", 4_500).await;
        let told = lines(&printed(s, &["history", "--settings", "--project", "api", "--json", "--limit", "10000"]));
        assert_eq!(told.iter().filter(|line| line["said"].to_string().contains("set V")).count(), 4_500);
        assert!(told.windows(2).all(|two| two[0]["cursor"].as_i64() > two[1]["cursor"].as_i64()));
        assert_eq!(told.last().unwrap()["type"], "project_created");
        let (_, told, said) = s.coolops(&["history", "--settings", "--limit", "1"]);
        assert!(told.contains("set V9=4499") && said.contains("There are more"), "{told}{said}");
    });
}

#[test]
fn what_led_to_an_event_and_what_followed_is_told_as_a_tree() {
    story(async |s| {
        three(s).await;
        let shown = printed(s, &["audit", "show", "master-2"]);
        let said: Vec<&str> =
            shown.lines().filter_map(|line| line.split_once("UTC  #")).map(|(_, rest)| rest).collect();
        let told =
            |text: &str| said.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}:\n{shown}"));
        assert!(told("announced the build master-2 of Api") < told("ben: asked for master-2 on Staging"));
        assert!(told("ben: asked for master-2") < told("coolops: it failed: "));
        // Another build's turn came of it: it stands below what gave it.
        let turn = shown.lines().find(|line| line.contains("gave it its turn")).unwrap();
        let failed = shown.lines().find(|line| line.contains("it failed: ")).unwrap();
        let depth = |line: &str| line.len() - line.trim_start().len();
        assert!(depth(turn) > depth(failed), "{shown}");
        // Seen from the one that waited, its story goes on after its turn came from elsewhere.
        let waited = printed(s, &["audit", "show", "fix-3"]);
        for said in [
            "ana: asked for fix-3 on Staging; it waits behind master-2",
            "gave it its turn",
            "started its container",
            "it succeeded",
        ] {
            assert!(waited.contains(said), "{said}:\n{waited}");
        }
        // An event by its position: its causes, itself in words, and whole.
        let position = failed.split('#').nth(1).unwrap().split(' ').next().unwrap();
        let shown = printed(s, &["audit", "show", position]);
        assert!(shown.starts_with("It follows from\n"), "{shown}");
        assert!(shown.contains("\"type\": \"deployment_failed\""), "{shown}");
        let json: Value = serde_json::from_str(&printed(s, &["audit", "show", position, "--json"])).unwrap();
        assert_eq!(json["event"]["payload"]["failure"]["code"], 3);
        assert_eq!(json["causes"][0]["type"], "build_registered");
        // A setting follows from what it is a setting of, and not from the one before it.
        let variable = |name: &str| EnvironmentChange::SetVariable { name: name.into(), value: "\u{9b}31m".into() };
        for name in ["A", "B"] {
            s.app.change_environment(s.project(), "Staging", variable(name), &operator()).await.unwrap();
        }
        let last = s.app.store.log().head().await.unwrap().0;
        // However long a story is, it is told from there on.
        let from = s.app.store.history().about(s.project().0, last, 1).await.unwrap();
        assert_eq!(from.iter().map(|entry| entry.position).collect::<Vec<_>>(), [last]);
        let shown = printed(s, &["audit", "show", &last.to_string()]);
        assert!(!shown.contains("set A=") && shown.contains("made the environment Staging"), "{shown}");
        assert!(!shown.contains('\u{9b}') && shown.contains("\\u009b31m"), "{shown}");
        let shown = printed(s, &["audit", "show", &(last - 1).to_string()]);
        assert!(shown.contains("set A=") && !shown.contains("What followed"), "{shown}");
        for (unknown, says) in [("999999", "there is no event, deployment or build 999999"), ("", "there is no event")]
        {
            let (code, _, said) = s.coolops(&["audit", "show", unknown]);
            assert!(code == 1 && said.contains(says), "{said}");
        }
    });
}

#[test]
fn what_does_not_get_where_it_is_printed_to_is_an_error() {
    story(async |s| {
        three(s).await;
        let full = |command: &[&str]| {
            let mut to = std::process::Command::new(env!("CARGO_BIN_EXE_coolops"));
            let to = to.args(command).env_clear().env("DATABASE_URL", &s.database.url).env("USER", "test");
            let to = to.env("COOLOPS_MASTER_KEY", crate::story::MASTER_KEY);
            let output = to.stdout(std::fs::File::create("/dev/full").unwrap()).output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        for command in [
            &["history"][..],
            &["history", "--json"],
            &["at", "0s"],
            &["explain", "master-1"],
            &["audit", "verify"],
            &["audit", "show", "1"],
            &["status"],
        ] {
            let (code, said) = full(command);
            assert!(
                code == Some(1) && said.contains("not all that was to be printed could be written"),
                "{command:?} {said}"
            );
        }
    });
}

#[test]
fn a_message_s_story_is_each_event_with_what_it_changed_and_when_that_was_sent() {
    story(async |s| {
        three(s).await;
        let told = printed(s, &["explain", "api/master-2"]);
        let at = |words: &str| told.find(words).unwrap_or_else(|| panic!("{words}:\n{told}"));
        assert!(at("    + [Deploy to Staging]") < at("ben: asked for master-2 on Staging"), "{told}");
        assert!(at("ben: asked for master-2 on Staging") < at("coolops: it failed: "), "{told}");
        let failed = &told[at("coolops: it failed: ")..];
        assert!(failed.lines().any(|line| line.starts_with("    - ") && line.contains("running")), "{failed}");
        assert!(failed.lines().any(|line| line.starts_with("    + ") && line.contains("failed")), "{failed}");
        assert!(failed.contains("    sent 20"), "{failed}");
        assert!(told.contains("    + @ben → *Staging*: "), "people are called as Slack shows them: {told}");
        assert!(told.contains("The message: C0DEPLOYS1 ("), "{told}");
        let json = || serde_json::from_str::<Value>(&printed(s, &["explain", "master-2", "--json"])).unwrap();
        let chapters = json();
        assert!(chapters[0]["said"].as_str().unwrap().contains("announced the build master-2"));
        // The two newest changes of the message, and what became of them when they were never sent each by itself.
        let changes: Vec<i64> = chapters
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .filter(|c| !c["sent"].is_null())
            .map(|c| c["position"].as_i64().unwrap())
            .collect();
        let [last, before, first, ..] = changes[..] else { panic!("{chapters}") };
        s.database.execute(&format!("delete from slack_sent where position >= {first} and position < {last}")).await;
        let told = printed(s, &["explain", "master-2"]);
        for left_out in [first, before] {
            let chapter = told.split(&format!("  #{left_out}  ")).nth(1).unwrap().split("  #").next().unwrap();
            assert!(!chapter.contains("    sent 20"), "{told}");
        }
        assert_eq!(
            told.matches(&format!("    left out: #{last} came before its turn, and was sent 20")).count(),
            2,
            "{told}"
        );
        s.database
            .execute(&format!("delete from slack_sent where position >= {last}; update slack_message set sent_digest = sha256('before')"))
            .await;
        let told = printed(s, &["explain", "master-2"]);
        for owed in [before, last] {
            let chapter = told.split(&format!("  #{owed}  ")).nth(1).unwrap().split("  #").next().unwrap();
            assert!(chapter.contains("    not sent yet"), "{told}");
        }
        let owed = json().as_array().unwrap().iter().rfind(|c| !c["sent"].is_null()).cloned().unwrap();
        assert_eq!(owed["sent"]["owed"], true, "{owed}");
        s.database.execute("update slack_message set sent_digest = sha256(convert_to(sent_payload, 'UTF8'))").await;
        assert!(!printed(s, &["explain", "master-2"]).contains("not sent yet"), "it says all that already");
        s.database.execute("delete from slack_sent").await;
        s.database.set_clock(40 * 24 * 3600).await;
        assert!(!printed(s, &["explain", "master-2"]).contains("not sent yet"));
        assert!(printed(s, &["explain", "master-2"]).contains("    not known any more"));
        let (code, _, said) = s.coolops(&["explain", "nothing"]);
        assert!(code == 1 && said.contains("there is no event, deployment or build nothing"), "{said}");
    });
}

#[test]
fn measures_of_delivery_are_told_and_drawn_and_are_the_same_after_a_replay() {
    story(async |s| {
        three(s).await;
        let told = printed(s, &["insights", "--project", "api"]);
        let row: Vec<&str> =
            told.lines().nth(1).unwrap().split("  ").filter(|c| !c.is_empty()).map(str::trim).collect();
        assert_eq!((row[0], row[1], row[3], row[5]), ("api", "Staging", "3", "33 %"), "{told}");
        let insights = || serde_json::from_str::<Value>(&printed(s, &["insights", "--json"])).unwrap();
        let json = insights();
        assert_eq!((&json[0]["succeeded"], &json[0]["failed"]), (&Value::from(2), &Value::from(1)));
        assert!(json[0]["failure_rate"].as_f64().is_some_and(|rate| (33.0..34.0).contains(&rate)), "{json}");
        assert!(json[0]["a_day"].as_f64().is_some_and(|n| n > 0.0), "{json}");
        assert!(json[0]["from_build"].is_i64() && json[0]["duration"].is_i64(), "{json}");
        let next = "select floor(extract(epoch from (select min(ended_at) from history_deployments where state = 'succeeded' and ended_at > f.ended_at) - f.ended_at))::bigint
                      from history_deployments f where state = 'failed'";
        assert_eq!(json[0]["to_next_good"].as_i64(), Some(s.database.count(next).await), "{json}");
        s.database.execute("delete from deployment").await;
        s.app.rebuild().await.unwrap();
        assert_eq!(printed(s, &["insights", "--project", "api"]), told);
        // A row that nobody can read hides nothing there, and of a list it is told.
        let any = s.database.text("select id::text from deployment limit 1").await;
        s.database.execute(&format!("update deployment set doc = '{{}}' where id = '{any}'")).await;
        assert_eq!(printed(s, &["insights", "--project", "api"]), told);
        let (code, _, said) = s.coolops(&["history"]);
        assert!(code == 1 && said.contains(&format!("deployment {any} is left out")), "{said}");
        let (_, list) = s.get(&format!("{}&format=json", s.project_path("history").await)).await;
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(
            (list["deployments"].as_array().unwrap().len(), &list["untold"]),
            (2, &serde_json::json!([any])),
            "{list}"
        );
        s.app.rebuild().await.unwrap();
        let path = s.project_path("insights").await;
        let (code, html) = s.get(&path).await;
        assert_eq!(code, StatusCode::OK);
        assert!(
            html.contains("<svg class=\"chart\"") && html.contains("2 succeeded, 1 failed") && html.contains("33 %"),
            "{html}"
        );
        assert!(html.contains("Deployments a day"), "{html}");
        assert_eq!(s.get(&format!("{path}&since=yesterday")).await.0, StatusCode::BAD_REQUEST);
        // A name is of what is called so now; of one that is gone, and of one that was made again, it is said.
        let change = async |name: &str, change| s.app.change_environment(s.project(), name, change, &operator()).await;
        change("Staging", EnvironmentChange::Rename("Preview".into())).await.unwrap();
        change("Preview", EnvironmentChange::Archive).await.unwrap();
        s.app.create_environment(s.project(), "Preview", None, &operator()).await.unwrap();
        let named: Vec<Value> = insights().as_array().unwrap().iter().map(|w| w["environment"].clone()).collect();
        assert_eq!(named, ["Preview (archived)"], "nothing was deployed to the new one");
        change("Preview", EnvironmentChange::Archive).await.unwrap();
        s.app.create_environment(s.project(), "Staging", None, &operator()).await.unwrap();
        s.ci_announces(build("master-9")).await;
        s.presses("ana", "master-9", "Staging").await;
        s.container_ends("master-9", 0).await;
        // A week in which nothing ends is a week too, until the project is archived; what was stays told.
        s.database.set_clock(8 * 24 * 3600).await;
        let weeks = |told: &Value| told.as_array().unwrap().iter().filter(|w| w["environment"] == "Staging").count();
        assert!(weeks(&insights()) >= 2, "{}", insights());
        s.app.change_project(s.project(), ProjectChange::Archive, &operator()).await.unwrap();
        assert_eq!(weeks(&insights()), 1, "{}", insights());
        // What is not drawn is not read.
        s.database.set_clock(200 * 24 * 3600).await;
        s.app.store.keep_clock().await.unwrap();
        let (_, html) = s.get(&format!("{path}&since=1970-01-01T00:00Z")).await;
        assert!(html.contains("These are the last 26 weeks; coolops insights tells of all."), "{html}");
        assert_eq!(s.get("/projects/api/insights?key=x").await.0, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_range_that_can_t_be_is_told_and_one_that_reaches_beyond_the_log_is_none_the_worse() {
    story(async |s| {
        three(s).await;
        let head = s.database.count("select position from event_head").await;
        let next = (head + 1).to_string();
        for command in [
            ["history"].as_slice(),
            &["history", "--settings"],
            &["insights"],
            &["audit", "export", "--format", "jsonl"],
        ] {
            for (bounds, says) in [
                (["--since", "2199-01-01T00:00Z"].as_slice(), "is in the future; the last event was recorded at "),
                (&["--since", "999999"], "there is no event 999999; the log has the positions 1 to "),
                (&["--until", "999999"], "there is no event 999999; the log has the positions 1 to "),
                (&["--since", "yesterday"], "yesterday"),
                (&["--since", "2026-01-01T00:00"], "zone"),
                (&["--since", "9", "--until", "8"], "8 is before 9, and a range begins with the earlier one"),
            ] {
                if bounds.contains(&"--until") && command[0] == "insights" {
                    continue;
                }
                let (code, told, said) = s.coolops(&[command, bounds].concat());
                assert!(code != 0 && told.is_empty() && said.contains(says), "{command:?} {bounds:?}: {told}{said}");
            }
            // What comes next, and all that there is.
            if command[0] != "audit" {
                printed(s, &[command, &["--since", next.as_str()]].concat());
            }
            let all = printed(s, &[command, &["--since", "1999-01-01T00:00Z"]].concat());
            assert!(all.lines().count() > 1, "{command:?}: {all}");
            assert_eq!(printed(s, &[command, &["--since", "0"]].concat()), all, "{command:?}");
        }
        for page in ["history", "insights"] {
            let path = s.project_path(page).await;
            for since in ["yesterday", "2199-01-01T00:00Z", "999999"] {
                assert_eq!(s.get(&format!("{path}&since={since}")).await.0, StatusCode::BAD_REQUEST, "{page} {since}");
            }
        }
        let slack = [("SLACK_API_URL", "http://127.0.0.1:1"), ("SLACK_BOT_TOKEN", "xoxb-test")];
        let (code, _, said) = s.coolops_with(&["slack", "audit", "--since", "2199-01-01T00:00Z"], &slack);
        assert!(code != 0 && said.contains("is in the future"), "{said}");
    });
}

#[test]
fn the_history_is_a_page_of_its_project_and_json_with_a_cursor_that_stays() {
    story(async |s| {
        three(s).await;
        let path = s.project_path("history").await;
        let (code, html) = s.get(&path).await;
        assert_eq!(code, StatusCode::OK);
        for said in ["fix-3", "in place of master-1", "succeeded", "failed", "exit code 3", "See logs"] {
            assert!(html.contains(said), "{said}: {html}");
        }
        // What is no choice among a few is a field, and keeps what the links chose.
        let (_, html) = s.get(&format!("{path}&outcome=succeeded&user=ana%22%3E&build=fix")).await;
        for field in [
            "<input type=\"hidden\" name=\"outcome\" value=\"succeeded\">",
            "<input name=\"user\" value=\"ana&quot;&gt;\"",
            "<input name=\"build\" value=\"fix\"",
        ] {
            assert!(html.contains(field), "{field}: {html}");
        }
        assert!(html.contains("Nothing was deployed that is asked for here"), "{html}");
        let (_, html) = s.get(&format!("{path}&outcome=&user=ANA&build=Fix&since=1d&until=")).await;
        assert!(html.contains("<strong>fix-3") && !html.contains("<strong>master-2"), "{html}");
        let (_, html) = s.get(&format!("{path}&outcome=failed")).await;
        assert!(html.contains("master-2") && !html.contains("<strong>fix-3"), "{html}");
        let (code, json) = s.get(&format!("{path}&format=json")).await;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (code, json["deployments"][0]["build"].as_str(), &json["next"]),
            (StatusCode::OK, Some("fix-3"), &Value::Null)
        );
        let cursor = json["deployments"][0]["cursor"].to_string();
        let (_, older) = s.get(&format!("{path}&format=json&before={cursor}")).await;
        let older: Value = serde_json::from_str(&older).unwrap();
        assert_eq!(older["deployments"][0]["build"], "master-2");
        // Settings are told without the values of variables: the page is for everybody in the channel.
        let variable = EnvironmentChange::SetVariable { name: "TARGET".into(), value: "staging-7".into() };
        s.app.change_environment(s.project(), "Staging", variable, &operator()).await.unwrap();
        let (_, html) = s.get(&format!("{path}&show=settings")).await;
        assert!(html.contains("set TARGET") && !html.contains("staging-7"), "{html}");
        s.coolops(&["project", "hold", "api", "--reason", "case 7 of 2026"]);
        let (_, html) = s.get(&format!("{path}&show=settings")).await;
        assert!(html.contains("put a legal hold on the output") && !html.contains("case 7"), "{html}");
        for (wrong, code) in [
            ("&before=x", 400),
            ("&since=yesterday", 400),
            ("&environment=Nowhere", 400),
            ("&outcome=great", 400),
            ("&user=%00", 400),
        ] {
            assert_eq!(s.get(&format!("{path}{wrong}")).await.0.as_u16(), code, "{wrong}");
        }
        let (_, html) = s.get(&format!("{path}&since=yesterday&user=ana")).await;
        assert!(html.contains("<input name=\"user\" value=\"ana\"") && html.contains("role=\"alert\""), "{html}");
        assert_eq!(s.get("/projects/api/history?key=wrong").await.0, StatusCode::NOT_FOUND);
        assert_eq!(s.get("/projects/api/history").await.0, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_row_that_nobody_can_read_hides_no_other() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-1", "Production").await;
        s.database
            .execute("update deployment set doc = '{}' where requested = (select max(requested) from deployment)")
            .await;
        for list in [&["deployment", "list"], &["status"][..]] {
            assert!(printed(s, list).contains("Staging"), "{list:?}");
        }
        // Whoever reads it with a program learns that something is missing, and which.
        let (code, told, said) = s.coolops(&["history"]);
        assert!(code == 1 && told.contains("Staging") && said.contains("is left out"), "{told}{said}");
        let (code, page) = s.get(&s.project_path("history").await).await;
        assert!(code == 200 && page.contains("because their rows can't be read: 1"), "{page}");
    });
}

#[test]
fn a_row_that_nobody_can_read_does_not_end_the_history() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        for n in 0..52 {
            s.presses("ana", "master-1", if n % 2 == 0 { "Staging" } else { "Production" }).await;
        }
        let newest = "(select max(requested) from deployment)";
        s.database.execute(&format!("update deployment set doc = '{{}}' where requested = {newest}")).await;
        let page = s.project_path("history").await;
        let first: Value = serde_json::from_str(&s.get(&format!("{page}&format=json")).await.1).unwrap();
        assert_eq!(first["deployments"].as_array().unwrap().len(), 49);
        let older = s.get(&format!("{page}&format=json&before={}", first["next"])).await.1;
        let older: Value = serde_json::from_str(&older).unwrap();
        assert_eq!((older["deployments"].as_array().unwrap().len(), &older["next"]), (2, &Value::Null));
        // All of it is there for whoever asks for all; where there is no more, nobody says so.
        assert_eq!(lines(&s.coolops(&["history", "--json", "--limit", "52"]).1).len(), 51);
        let (_, _, said) = s.coolops(&["history", "--limit", "52"]);
        assert!(!said.contains("There are more"), "{said}");
        let (_, _, said) = s.coolops(&["history", "--limit", "51"]);
        assert!(said.contains("There are more: --before "), "{said}");
    });
}

#[test]
fn a_cursor_that_is_not_of_this_log_is_refused() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let head = s.database.count("select position from event_head").await;
        let page = s.project_path("history").await;
        for before in [0, -1, head + 2] {
            let says = format!("there is no event {before}; the log has the positions 1 to {head}");
            for more in ["", "&show=settings"] {
                let (status, told) = s.get(&format!("{page}&format=json{more}&before={before}")).await;
                assert!(status == 400 && told.contains(&says), "{told}");
            }
            let (code, _, said) = s.coolops(&["history", &format!("--before={before}")]);
            assert!(code == 1 && said.contains(&says), "{said}");
        }
        assert_eq!(s.get(&format!("{page}&before={}", head + 1)).await.0, 200);
    });
}

#[test]
fn what_can_t_be_told_shows_in_the_exit_code_too() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        // A project of which the first event is one that nobody can read.
        let id = "00000000-0000-4000-8000-000000000009";
        s.database
            .execute(&format!("insert into project (id, slug, position, doc) select '{id}', 'web', position, replace(replace(doc::text, id::text, '{id}'), '\"slug\":\"api\"', '\"slug\":\"web\"')::json from project"))
            .await;
        s.database
            .execute("insert into event_type (name, version, stream_type) values ('project_moved', 1, 'project')")
            .await;
        let nulls = vec!["null"; 31].join(", ");
        s.database
            .execute(&format!("select append_batch('{{0}}', array[gen_random_uuid()], array['{id}'::uuid], array['{id}'::uuid], array[null::uuid], array[null::bigint], '{{0}}', '{{t}}', '{{1}}', '{{project}}', '{{project_moved}}', array['{{\"v\":1,\"kind\":\"system\",\"id\":\"coolops\"}}'], array['{{}}'], {nulls})"))
            .await;
        let (code, told, said) = s.coolops(&["at", "0s"]);
        assert!(
            code == 1 && told.contains("Staging") && said.contains("Nothing is told of the project web"),
            "{told}{said}"
        );
        let (code, told, _) = s.coolops(&["at", "0s", "--json"]);
        let json: Value = serde_json::from_str(&told).unwrap();
        assert!(code == 1 && json["untold"][0].as_str().unwrap().contains("the project web"), "{told}");
        let (code, _, said) = s.coolops(&["history", "--settings"]);
        assert!(code == 1 && said.contains("the project web"), "{said}");
        assert_eq!(s.coolops(&["history"]).0, 0, "it is whole");
    });
}

#[test]
fn a_link_is_told_where_there_is_an_address() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        for arguments in [&["at", "0s", "--link"][..], &["history", "--links"], &["status", "api", "--link"]] {
            let (code, _, said) = s.coolops_with(arguments, &[("COOLOPS_PUBLIC_URL", "")]);
            assert!(code == 1 && said.contains("COOLOPS_PUBLIC_URL is not set"), "{arguments:?}: {said}");
        }
        // With one it is told to people and to machines.
        let standing: serde_json::Value =
            serde_json::from_str(&printed(s, &["status", "api", "--link", "--json"])).unwrap();
        let told = printed(s, &["status", "api", "--link"]);
        assert!(told.contains(standing[0]["link"].as_str().unwrap()), "{told}");
    });
}

#[test]
fn a_page_that_is_asked_for_in_words_that_can_t_be_read_can_be_asked_otherwise() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let link = printed(s, &["at", "0s", "--link"]);
        let board = link.lines().rfind(|line| line.starts_with("http")).unwrap().to_owned();
        let board = board.split_once("/board").map(|(_, rest)| format!("/board{rest}")).unwrap();
        let (insights, history) = (s.project_path("insights").await, s.project_path("history").await);
        let board = format!("{}&at=", board.replacen("at=", "was=", 1));
        for page in [format!("{board}yesterday"), format!("{insights}&since=soon"), format!("{history}&since=soon")] {
            let (status, told) = s.get(&page).await;
            assert!(
                status == 400 && told.contains("role=\"alert\"") && told.contains("<form"),
                "{page}: {status} {told}"
            );
        }
    });
}

#[test]
fn a_build_is_found_by_its_name_also_where_that_looks_like_an_id() {
    story(async |s| {
        let name = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        s.ci_announces(build(name)).await;
        assert!(printed(s, &["explain", name]).contains("announced"), "{}", printed(s, &["explain", name]));
    });
}

#[test]
fn an_address_that_can_t_be_read_is_answered_in_our_words() {
    story(async |s| {
        let page = s.project_path("history").await;
        let (status, told) = s.get(&format!("{page}&environment=a&environment=b")).await;
        assert!(status == 400 && told.contains("{\"error\":") && told.contains("duplicate field"), "{told}");
        let asked = axum::http::Request::get(format!("{page}&user=a&user=b")).header("accept", "text/html");
        let answer = s.router.clone().oneshot(asked.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        assert!(status == 400 && headers["content-type"].to_str().unwrap().contains("text/html"), "{headers:?}");
        assert!(headers.contains_key("content-security-policy"), "{headers:?}");
    });
}

#[test]
fn the_documents_name_every_field_of_the_history_s_json() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let documents = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/HISTORY.md")).unwrap();
        let page = s.project_path("history").await;
        for (of, address) in [("deployment", "format=json"), ("setting", "format=json&show=settings")] {
            let table = documents.split(&format!("| of a {of} | is |\n|---|---|\n")).nth(1).unwrap();
            let first_cells = table.lines().map_while(|line| line.strip_prefix("| ")?.split(" | ").next());
            let mut named: Vec<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
            named.sort_unstable();
            let told: Value = serde_json::from_str(&s.get(&format!("{page}&{address}")).await.1).unwrap();
            let mut told: Vec<&String> = told[format!("{of}s")][0].as_object().unwrap().keys().collect();
            told.sort_unstable();
            assert_eq!(told, named, "{of}");
        }
    });
}
