//! Stories of people who press buttons.

use axum::http::StatusCode;
use coolops::domain::deployment::{Failure, State, Verdict};
use coolops::domain::settings::EnvironmentChange;

use crate::snapshot;
use crate::story::{build, operator, story};

#[test]
fn a_press_deploys_the_build_and_the_message_tells_it() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.runner.will_print(&["migrating…", "done"], 0);
        s.presses("ana", "master-1", "Staging").await;
        snapshot!("a_deployment_runs", s.channel());
        s.container_ends("master-1", 0).await;
        snapshot!("a_deployment_succeeded", s.channel());
        let (status, logs) = s.get(&s.log_path().replace("?key=", "/logs?key=")).await;
        assert_eq!((status, logs.as_str()), (StatusCode::OK, r#"{"finished":true,"logs":"migrating…\ndone\n"}"#));
        assert_eq!((s.runner.starts(), s.runner.removed()), (vec![1], 1));
    });
}

#[test]
fn a_failure_says_its_exit_code_in_words() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["boom"], 3);
        s.presses("ana", "master-1", "Production").await;
        snapshot!("a_deployment_failed", s.channel());
    });
}

#[test]
fn every_way_an_image_can_be_missing_is_told_apart() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        for (failure, words) in [
            (Failure::ImageMissing, "the image registry.test/deploy:1 does not exist"),
            (
                Failure::RegistryRefused { registry: "registry.test".into() },
                "the registry registry.test refused our credentials",
            ),
            (
                Failure::PullFailed { detail: "connection reset".into() },
                "the image could not be pulled: connection reset",
            ),
        ] {
            s.runner.will_refuse(failure);
            s.presses("ana", "master-1", "Staging").await;
            assert!(s.channel().contains(words), "{words} in {}", s.channel());
        }
        assert!(s.runner.starts().is_empty());
    });
}

#[test]
fn a_second_press_while_it_runs_is_refused_privately_and_by_name() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ben", "master-1", "Staging").await;
        assert_eq!(
            s.private_notes_of("ben"),
            [
                "master-1 is already running on Staging, so nothing was started a second time. Its line in the message shows how it goes; \
              press again when it has ended. It was started by <@U0ANA00001>."
            ]
        );
        assert!(s.private_notes_of("ana").is_empty());
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.private_notes_of("ana")[0].ends_with("It was started by you."), "{:?}", s.private_notes_of("ana"));
        s.container_ends("master-1", 0).await;
        s.presses("ben", "master-1", "Staging").await;
        s.container_ends("master-1", 0).await;
        assert_eq!(s.channel().matches("succeeded").count(), 2);
    });
}

#[test]
fn fifty_presses_at_once_start_one_deployment() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        let presses: Vec<_> = (0..50).map(|_| s.press_of("ana", "master-1", "Staging")).collect();
        let answers = futures::future::join_all(presses.iter().map(|p| s.deliver(p))).await;
        assert!(answers.iter().all(|status| *status == StatusCode::OK));
        s.settle().await;
        assert_eq!(s.runner.starts(), [1]);
        assert_eq!(s.private_notes_of("ana").len(), 49);
        s.container_ends("master-1", 0).await;
    });
}

#[test]
fn the_same_signed_bytes_twice_are_one_press() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let press = s.press_of("ana", "master-1", "Staging");
        for _ in 0..3 {
            assert_eq!(s.deliver(&press).await, StatusCode::OK);
            s.settle().await;
        }
        assert_eq!(s.runner.starts(), [1]);
        assert!(s.private_notes_of("ana").is_empty());
    });
}

#[test]
fn builds_wait_in_the_order_of_their_presses_and_environments_do_not_wait_for_each_other() {
    story(async |s| {
        s.runner.hold();
        for name in ["master-1", "master-2", "master-3"] {
            s.ci_announces(build(name)).await;
        }
        for name in ["master-1", "master-2", "master-3"] {
            s.presses("ana", name, "Staging").await;
        }
        s.presses("ben", "master-3", "Production").await;
        snapshot!("a_line_of_three", s.channel());
        s.container_ends("master-1", 0).await;
        s.container_ends("master-2", 1).await;
        snapshot!("a_line_moved_on", s.channel());
        let running = s.app.store.deployments().list(None, &[State::Running], 10).await.unwrap();
        for d in running {
            s.runner.ends(d.deployment.of.deployment_id, 0);
        }
    });
}

#[test]
fn a_container_that_vanished_is_unknown_and_keeps_the_environment_closed_until_a_person_decides() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.presses("ana", "master-2", "Staging").await;
        let lost = s
            .app
            .store
            .deployments()
            .list(None, &[State::Running], 1)
            .await
            .unwrap()
            .remove(0)
            .deployment
            .of
            .deployment_id;
        s.runner.vanishes(lost);
        s.settle().await;
        snapshot!("a_deployment_is_unknown", s.channel());
        s.presses("ben", "master-1", "Staging").await;
        assert!(
            s.private_notes_of("ben")[0].contains("An operator has to look at it first: coolops deployment resolve.")
        );
        s.app.resolve(lost, Verdict::Failed, "version 7 is still live", &operator()).await.unwrap();
        s.settle().await;
        assert!(s.channel().contains("*failed*, as a person decided: version 7 is still live"), "{}", s.channel());
        // It ended when it was lost, not when somebody came to decide.
        let timed = s.app.store.deployments().timed(lost).await.unwrap().unwrap();
        let (ended, since) = (timed.ended_at().unwrap(), timed.since);
        assert!(ended < since && timed.ran(since) == timed.started_at.map(|at| (ended - at).num_seconds()));
        let in_view = "select count(*) from history_deployments d join event e on e.stream_id = d.deployment_id and e.type = 'deployment_lost' and d.ended_at = e.recorded_at";
        assert_eq!(s.database.count(in_view).await, 1);
        s.container_ends("master-2", 0).await;
    });
}

#[test]
fn a_press_on_what_is_gone_says_so_privately() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.app.change_environment(s.project(), "Staging", EnvironmentChange::Archive, &operator()).await.unwrap();
        s.presses("ana", "master-1", "Staging").await;
        s.archive_project().await;
        s.presses("ben", "master-1", "Production").await;
        assert!(s.private_notes_of("ana")[0].starts_with("The environment Staging does not exist any more"));
        assert_eq!(s.private_notes_of("ben"), ["The project Api is archived, so nothing was started."]);
        let unknown = s.press_of("chi", "master-1", "Production");
        let other = s
            .standin
            .shared()
            .sign(unknown.body.replace(&s.build_id("master-1").to_string(), &uuid::Uuid::nil().to_string()));
        assert_eq!(s.deliver(&other).await, StatusCode::OK);
        s.settle().await;
        assert!(s.private_notes_of("chi")[0].starts_with("This build is not known here any more"));
        assert!(s.runner.starts().is_empty());
    });
}

#[test]
fn the_container_gets_the_environment_over_the_build_and_coolops_over_both() {
    story(async |s| {
        let mut b = build("master-1");
        b.params = [("REGION", "from the build"), ("TAG", "7")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
        s.ci_announces(b).await;
        let set = EnvironmentChange::SetVariable { name: "REGION".into(), value: "from the environment".into() };
        s.app.change_environment(s.project(), "Staging", set, &operator()).await.unwrap();
        s.app
            .set_secret(s.project(), "Staging", "API_TOKEN", &"correct-horse".to_owned().into(), &operator())
            .await
            .unwrap();
        s.runner.will_print(&["token is correct-horse"], 0);
        s.presses("ana", "master-1", "Staging").await;
        let all = s.runner.variables();
        let last = |name: &str| all.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        assert_eq!(last("REGION"), Some("from the environment"));
        assert_eq!(last("TAG"), Some("7"));
        assert_eq!(last("API_TOKEN"), Some("correct-horse"));
        assert_eq!(last("COOLOPS_DEPLOYER_NAME"), Some("ana"));
        assert_eq!(last("COOLOPS_DEPLOYER_EXTERNAL_ID"), Some("U0ANA00001"));
        assert_eq!(
            (last("COOLOPS_BUILD_NAME"), last("COOLOPS_PROJECT"), last("COOLOPS_ENVIRONMENT")),
            (Some("master-1"), Some("Api"), Some("Staging"))
        );
        let (_, logs) = s.get(&s.log_path().replace("?key=", "/logs?key=")).await;
        assert!(logs.contains("token is ***"), "{logs}");
    });
}

#[test]
fn a_link_opens_its_own_log_only_and_none_after_links_are_revoked() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let path = s.log_path();
        let (status, page) = s.get(&path).await;
        assert!(status == StatusCode::OK && page.contains("master-1 → Staging"), "{page}");
        let (without, key) = path.split_once("?key=").unwrap();
        let build_page = format!("/builds/{}?key={key}", s.build_id("master-1"));
        for wrong in [
            without.to_owned(),
            format!("{without}?key=x"),
            format!("{without}?key={key}x"),
            build_page,
            "/deployments/x?key=y".to_owned(),
        ] {
            let (status, page) = s.get(&wrong).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{wrong}");
            assert!(page.contains("This link is not valid"));
        }
        s.app.revoke_links(s.project(), &operator()).await.unwrap();
        assert_eq!(s.get(&path).await.0, StatusCode::NOT_FOUND);
    });
}

#[test]
fn a_long_log_shows_its_end_and_every_line_can_be_asked_for() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let lines: Vec<String> = (1..=6_000).map(|n| format!("line {n}")).collect();
        s.runner.will_print(&lines.iter().map(String::as_str).collect::<Vec<_>>(), 0);
        s.presses("ana", "master-1", "Staging").await;
        let (_, page) = s.get(&s.log_path()).await;
        assert!(page.contains("Lines 5601 to 6000 of 6000."));
        assert_eq!(page.matches("class=\"l\"").count(), 400);
        assert!(!page.contains("id=\"L5600\"") && page.contains("id=\"L5601\"") && page.contains("id=\"L6000\""));
        let (_, earlier) = s.get(&format!("{}&line=3000", s.log_path())).await;
        assert!(earlier.contains("id=\"L3000\"") && !earlier.contains("id=\"L6000\""));
        let ask = |what: &str| s.log_path().replace("?key=", what);
        let (_, window) = s.get(&ask("/lines?from=4000&to=4009&key=")).await;
        let window: serde_json::Value = serde_json::from_str(&window).unwrap();
        assert_eq!((&window["from"], &window["to"], &window["lines"]), (&4000.into(), &4009.into(), &6000.into()));
        assert_eq!(window["html"].as_str().unwrap().matches("<span>line 40").count(), 10);
        let (_, found) = s.get(&ask("/search?q=line%205&key=")).await;
        let found: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert_eq!((&found["hits"], &found["lines"][0], &found["whole"]), (&1111.into(), &5.into(), &true.into()));
        let (status, said) = s.get(&ask("/search?q=(&regex=1&key=")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(said.contains("this regular expression can't be read"), "{said}");
        let (_, raw) = s.get(&ask("/raw?key=")).await;
        assert_eq!(raw.lines().count(), 6_000);
    });
}

#[test]
fn a_log_is_shown_and_downloaded_as_a_terminal_shows_it_and_its_bytes_are_kept() {
    story(async |s| {
        s.ci_announces(build("feature/x 1")).await;
        let printed = ["web  pulling", "\u{1b}[1A\u{1b}[2Kweb  \u{1b}[32mdone\u{1b}[0m", "10 %\r100 %"];
        s.runner.will_print(&printed, 0);
        s.presses("ana", "feature/x 1", "Staging").await;
        let (_, page) = s.get(&s.log_path()).await;
        assert!(page.contains("web  <span class=\"f2\">done</span>") && !page.contains("pulling"), "{page}");
        let request = |what: &str| {
            axum::http::Request::get(s.log_path().replace("?key=", what)).body(axum::body::Body::empty()).unwrap()
        };
        for (what, name) in [("/text?key=", "feature-x-1-staging.log"), ("/raw?key=", "feature-x-1-staging.raw.log")] {
            let response = tower::ServiceExt::oneshot(s.router.clone(), request(what)).await.unwrap();
            assert_eq!(response.headers()["content-disposition"], format!("attachment; filename=\"{name}\"").as_str());
        }
        let mut packed = request("/raw?key=");
        packed.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
        let response = tower::ServiceExt::oneshot(s.router.clone(), packed).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip", "compressed on the way");
        assert_eq!(s.get(&s.log_path().replace("?key=", "/text?key=")).await.1, "web  done\n100 %\n");
        assert_eq!(
            s.get(&s.log_path().replace("?key=", "/raw?key=")).await.1,
            printed.map(|l| format!("{l}\n")).concat()
        );
    });
}

#[test]
fn the_steps_of_a_script_are_told_with_their_errors_and_lines() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["begun", "--- Build", "ok", "+++ Test", "ERROR: it broke"], 1);
        s.presses("ana", "master-1", "Staging").await;
        let (_, steps) = s.get(&s.log_path().replace("?key=", "/steps?key=")).await;
        let steps: serde_json::Value = serde_json::from_str(&steps).unwrap();
        let told: Vec<_> = steps["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["title"].as_str().unwrap(), s["from"].as_i64().unwrap(), s["to"].as_i64().unwrap()))
            .collect();
        assert_eq!(told, [("Start", 1, 1), ("Build", 2, 3), ("Test", 4, 5)]);
        assert_eq!((&steps["steps"][2]["errors"], &steps["steps"][2]["open"]), (&1.into(), &true.into()));
    });
}

#[test]
fn a_log_is_compared_with_that_of_the_last_good_one() {
    story(async |s| {
        for (name, last, exit) in [("master-1", "healthy", 0), ("master-2", "sick", 1)] {
            s.ci_announces(build(name)).await;
            s.runner.will_print(&["pulled in 3 s", last], exit);
            s.presses("ana", name, "Staging").await;
        }
        let (_, page) = s.get(&s.log_path()).await;
        assert!(page.contains("Compare with the last good one") && page.contains("← master-1"), "{page}");
        let (_, compared) = s.get(&s.log_path().replace("?key=", "/compare?key=")).await;
        assert!(
            compared.contains("The first difference is in line 2.") && compared.contains("<mark>sick</mark>"),
            "{compared}"
        );
        // Lines that were drawn over keep their numbers.
        s.ci_announces(build("master-3")).await;
        s.runner.will_print(&["pulled in 3 s", "10 %\r", "\x1b[1A20 %", "broken"], 1);
        s.presses("ana", "master-3", "Staging").await;
        let (_, compared) = s.get(&s.log_path().replace("?key=", "/compare?key=")).await;
        let marked = compared.split("class=\"l differs\"").nth(2).unwrap();
        let number = marked.split("#L").nth(1).unwrap().split('"').next().unwrap();
        assert!(compared.contains(&format!("The first difference is in line {number}.")), "{compared}");
        // What was erased is not called the same.
        let path = s.log_path().replace("?key=", "/compare?key=");
        let id = s.database.text("select id::text from deployment where state = 'succeeded'").await;
        let erased = s.coolops(&["deployment", "erase-output", &id, "--reason", "it printed a password"]);
        assert_eq!(erased.0, 0, "{erased:?}");
        s.settle().await;
        let (_, compared) = s.get(&path).await;
        assert!(
            compared.contains("Nothing can be compared. Of master-1: ") && compared.contains("it printed a password"),
            "{compared}"
        );
    });
}

#[test]
fn the_last_good_one_is_the_one_that_went_well_last_and_what_was_revoked_is_not_linked() {
    story(async |s| {
        for name in ["master-1", "master-2", "master-3"] {
            s.ci_announces(build(name)).await;
        }
        s.presses("ana", "master-1", "Staging").await;
        s.writes("ana", "lock api Staging").await;
        s.presses("ben", "master-2", "Staging").await;
        s.runner.will_print(&["three"], 0);
        s.presses("ana", "master-3", "Staging").await;
        s.runner.will_print(&["two"], 1);
        s.writes("ana", "unlock api Staging").await;
        s.settle().await;
        let failed = s.database.text("select id::text from deployment where state = 'failed'").await;
        let path = s.log_path_of(&failed).await;
        let (_, page) = s.get(&path).await;
        assert!(page.contains("← master-1"), "{page}");
        let (_, compared) = s.get(&path.replace("?key=", "/compare?key=")).await;
        assert!(
            compared.contains("three") && compared.contains("master-3") && !compared.contains("master-1"),
            "{compared}"
        );
        // Where the links of what was before were revoked nothing leads there.
        assert_eq!(s.coolops(&["project", "links", "revoke", "api"]).0, 0);
        s.ci_announces(build("master-4")).await;
        s.runner.will_print(&["four"], 1);
        s.presses("ana", "master-4", "Staging").await;
        let path = s.log_path();
        let (_, page) = s.get(&path).await;
        assert!(page.contains("master-4") && !page.contains("← "), "{page}");
        let (_, compared) = s.get(&path.replace("?key=", "/compare?key=")).await;
        assert!(compared.contains("the links to its log were revoked") && !compared.contains("three"), "{compared}");
        let (_, project) = s.get(&s.project_path("").await.replace("/projects/api/?", "/projects/api?")).await;
        assert_eq!(project.matches("See logs").count(), 1, "{project}");
    });
}

#[test]
fn what_a_container_prints_is_never_markup_and_the_page_loads_nothing_from_elsewhere() {
    story(async |s| {
        s.ci_announces(build("<img src=x onerror=alert(1)>")).await;
        s.runner.will_print(
            &[
                "<script>alert(1)</script>",
                "\u{1b}]8;;javascript:alert(1)\u{7}click\u{1b}]8;;\u{7}",
                "\u{1b}[1;31mred\u{1b}[0m",
            ],
            0,
        );
        s.presses("ana", "<img", "Staging").await;
        let (_, page) = s.get(&s.log_path()).await;
        assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("javascript:"), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("<span class=\"f1 bo\">red</span>")
        );
        let request = axum::http::Request::get(s.log_path()).body(axum::body::Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(s.router.clone(), request).await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
        assert_eq!(
            (header("referrer-policy"), header("cache-control")),
            ("no-referrer".to_owned(), "no-store".to_owned())
        );
    });
}

#[test]
fn a_reader_of_a_log_hears_how_far_it_goes_and_how_it_ended() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_print(&["one", "two"], 0);
        s.presses("ana", "master-1", "Staging").await;
        let (_, told) = s.get(&s.log_path().replace("?key=", "/live?key=")).await;
        let events: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(events, ["grown", "state", "end"], "{told}");
        assert!(told.contains(r#""lines":2}"#) && told.contains("succeeded · master-1 → Staging"), "{told}");
    });
}
