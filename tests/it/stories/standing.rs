//! Stories of people who ask what is where.

use axum::http::StatusCode;
use coolops::app::status;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};
use coolops::slack::render::project_url;
use regex::Regex;

use crate::snapshot;
use crate::story::{Story, build, operator, story};

/// The project's page as text, without what differs from run to run.
async fn page(s: &Story, path: &str) -> (StatusCode, String) {
    let (status, html) = s.get(path).await;
    let change = |text: String, what: &str, by: &str| Regex::new(what).unwrap().replace_all(&text, by).into_owned();
    let body = html.split("<body>").nth(1).unwrap_or_default().to_owned();
    let body = change(body, "<(h1|h3|p|li)", "\n<$1");
    let body = change(body, "<span class=\"ran\">[^<]*", "[n] s");
    let body = change(body, "<[^>]*>", " ");
    let body = change(body, "[0-9-]{10} [0-9:]{8} UTC", "[time]");
    let body = change(body, " +([.,]?) *", "$1 ");
    (status, body.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"))
}

async fn path(s: &Story) -> String {
    let project = s.app.project_named("api").await.unwrap();
    let links = s.app.keys.links(&project.link_key).unwrap();
    project_url("", &links, &project)
}

#[test]
fn the_project_s_page_says_what_is_where_who_did_it_and_what_is_on_its_way() {
    story(async |s| {
        for n in 1..=4 {
            s.ci_announces(build(&format!("master-{n}"))).await;
        }
        let protect = EnvironmentChange::Protect(true);
        s.app.change_environment(s.project(), "Production", protect, &operator()).await.unwrap();
        let (code, text) = page(s, &path(s).await).await;
        assert_eq!(code, StatusCode::OK);
        assert_eq!(text.matches("Nothing was deployed here with success yet.").count(), 2, "{text}");
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-1", "Production").await;
        s.runner.will_print(&["no"], 3);
        s.presses("ben", "master-2", "Production").await;
        s.runner.will_print(&["yes"], 0);
        s.runner.hold();
        s.presses("chi", "master-3", "Staging").await;
        s.presses("ben", "master-4", "Staging").await;
        let text = page(s, &path(s).await).await.1;
        snapshot!("what_is_where", text);
        // It is told from rows that the log makes anew.
        let project = s.app.project_named("api").await.unwrap();
        let before = status::of(&s.app.store, &project, None).await.unwrap();
        s.database.execute("delete from deployment").await;
        s.app.rebuild().await.unwrap();
        assert_eq!(status::of(&s.app.store, &project, None).await.unwrap(), before);
        s.container_ends("master-3", 0).await;
        s.container_ends("master-4", 0).await;
    });
}

#[test]
fn the_project_s_page_opens_by_its_link_alone() {
    story(async |s| {
        let right = path(s).await;
        let wrong = [
            "/projects/api".to_owned(),
            "/projects/api?key=x".to_owned(),
            right.replace("/projects/api", "/projects/web"),
            right.replace("/projects/api", "/projects/%00"),
        ];
        for path in wrong {
            let (code, text) = page(s, &path).await;
            assert_eq!(code, StatusCode::NOT_FOUND, "{path}");
            assert!(text.contains("Nothing here"), "{text}");
        }
        let revoked = s.app.keys.new_link_key();
        s.app.change_project(s.project(), ProjectChange::RevokeLinks(revoked), &operator()).await.unwrap();
        assert_eq!(page(s, &right).await.0, StatusCode::NOT_FOUND, "its links were revoked");
        assert_eq!(page(s, &path(s).await).await.0, StatusCode::OK);
    });
}

#[test]
fn a_line_links_what_changed_since_what_ran_there_and_so_do_questions_about_older_builds() {
    story(async |s| {
        for (n, letter) in [(1, "a"), (2, "b")] {
            let body = serde_json::json!({
                "name": format!("master-{n}"), "params": {},
                "repository": "git@github.com:harbour/lighthouse.git", "commit": letter.repeat(40),
            });
            let (status, answer) = s.post_build(&body.to_string()).await;
            assert_eq!(status, 201, "{answer}");
            s.settle().await;
            s.presses("ana", &format!("master-{n}"), "Staging").await;
        }
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let link =
            |from: &str, to: &str| format!("https://github.com/harbour/lighthouse/compare/{from}...{to}|Changes");
        let raw =
            s.standin.workspace().channels[0].messages.iter().map(|m| m.attachments.to_string()).collect::<String>();
        assert!(raw.contains(&link(&a, &b)), "{raw}");
        assert_eq!(raw.matches("|Changes").count(), 1, "nothing ran there before the first");
        // The history has the same, in each form.
        let address = format!("https://github.com/harbour/lighthouse/compare/{a}...{b}");
        let (_, table, _) = s.coolops(&["history", "--links"]);
        let row = table.lines().find(|line| line.contains("  master-2  ")).unwrap_or_default();
        assert!(row.ends_with(&address), "{table}");
        let (_, json, _) = s.coolops(&["history", "--json"]);
        assert!(json.lines().next().unwrap_or_default().contains(&format!("\"changes\":\"{address}\"")), "{json}");
        assert!(json.lines().nth(1).unwrap_or_default().contains("\"changes\":null"), "{json}");
        let (_, page) = s.get(&s.project_path("history").await).await;
        assert!(page.contains(&format!("href=\"{address}\"")), "{page}");
        for text in ["rollback staging", "deploy master-1 to staging"] {
            s.writes("ana", text).await;
            let workspace = s.standin.workspace();
            let last = workspace.channels[0].messages.iter().rfind(|m| m.only_for.is_some()).unwrap();
            // Of a way back it is what leaves: an older commit has nothing that a newer one has not.
            assert!(last.text.contains(&link(&a, &b)), "{text}: {}", last.text);
        }
        s.presses("ana", "master-1", "Staging").await;
        let (_, json, _) = s.coolops(&["history", "--json"]);
        let first = json.lines().next().unwrap_or_default();
        assert!(
            first.contains("\"build\":\"master-1\"") && first.contains(&format!("\"changes\":\"{address}\"")),
            "{json}"
        );
        // What can't be read is refused with what to do, and nothing is recorded.
        for (field, value, why) in [
            ("repository", "octo/hello", "the repository can't be read; give the address that it has in a browser"),
            ("commit", "HEAD", "the commit \"HEAD\" is no hash"),
        ] {
            let body = serde_json::json!({ "name": "master-3", "params": {}, field: value });
            let (status, answer) = s.post_build(&body.to_string()).await;
            assert!(status == 400 && answer.to_string().contains(&why.replace('"', "\\\"")), "{status} {answer}");
        }
        let (status, answer) = s.post_build(r#"{"name":"master-3","comit":"aaaaaaa"}"#).await;
        assert!(status == 400 && answer.to_string().contains("did you mean commit"), "{answer}");
    });
}

#[test]
fn the_way_back_from_a_failure_leads_to_what_went_well_before_it() {
    story(async |s| {
        for (name, exit) in [("m-1", 0), ("m-2", 0), ("m-3", 1)] {
            s.ci_announces(build(name)).await;
            s.runner.will_print(&[], exit);
            s.presses("ana", name, "Staging").await;
        }
        let told = s.writes("ana", "rollback Staging").await;
        assert!(told.contains("m-3 did not go well on Staging. Before it, m-2 did."), "{told}");
        assert!(told.contains("Deploy m-2") && !told.contains("m-1"), "{told}");
        // Where it went well there is the one before.
        s.runner.will_print(&[], 0);
        s.presses("ana", "m-3", "Staging").await;
        let told = s.writes("ana", "rollback Staging").await;
        assert!(told.contains("Shall it go from m-3 to m-2?"), "{told}");
    });
}
