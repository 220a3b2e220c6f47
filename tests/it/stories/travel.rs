//! Stories of people who ask how it was.

use std::collections::HashMap;

use axum::http::StatusCode;
use coolops::app::App;
use coolops::app::erasure::{PersonKind, Whom};
use coolops::app::history::When;
use coolops::app::status;
use coolops::domain::event::{Event, Recorded, SettingsEvent};
use coolops::domain::installation::Installation;
use coolops::domain::moment::Moment;
use coolops::domain::project::Project;
use coolops::domain::state::State;
use coolops::projections::standing::Standing;
use coolops::projections::timed::Timed;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

use crate::story::anchored::Anchored;
use crate::story::{Story, build, operator, story};

/// Presses, a failure, a line, a lock that keeps somebody waiting, one who cancels, an environment that comes and one that goes.
async fn a_busy_day(s: &Story) {
    for n in 1..=4 {
        s.ci_announces(build(&format!("master-{n}"))).await;
    }
    s.presses("ana", "master-1", "Staging").await;
    s.runner.will_print(&["no"], 3);
    s.presses("ben", "master-2", "Production").await;
    s.runner.will_print(&["yes"], 0);
    s.runner.hold();
    s.presses("chi", "master-3", "Staging").await;
    s.presses("ben", "master-4", "Staging").await;
    s.presses("ana", "master-1", "Staging").await;
    s.cancels("ben", "behind *master-3*", "not yet").await;
    s.container_ends("master-3", 0).await;
    s.container_ends("master-1", 0).await;
    s.writes("ana", "lock api Production until tomorrow because of the audit").await;
    s.presses("ben", "master-3", "Production").await;
    s.app.create_environment(s.project(), "Canary", None, &operator()).await.unwrap();
    s.writes("ana", "unlock api Production").await;
    s.container_ends("master-3", 0).await;
    s.app
        .change_environment(s.project(), "Canary", coolops::domain::settings::EnvironmentChange::Archive, &operator())
        .await
        .unwrap();
}

/// The same from the first events alone, with everything in memory and no row asked.
pub fn folded(events: &[Recorded]) -> Option<(Project, Vec<Standing>)> {
    let mut project: Option<Project> = None;
    let mut installation = Installation::default();
    let (mut stories, mut in_order): (HashMap<Uuid, Vec<Recorded>>, Vec<Uuid>) = (HashMap::new(), Vec::new());
    for recorded in events {
        installation = installation.evolve(&recorded.event);
        project = match (project, &recorded.event) {
            (None, Event::Settings(SettingsEvent::ProjectCreated(e))) => Some(Project::created(e)),
            (Some(project), event) => Some(project.evolve(event)),
            (None, _) => None,
        };
        let stream = recorded.event.address().stream;
        if !stories.contains_key(&stream) {
            in_order.push(stream);
        }
        stories.entry(stream).or_default().push(recorded.clone());
    }
    // What was cancelled before it began has left no trace.
    let left_no_trace = |d: &Timed| {
        matches!(d.deployment.state(), State::Cancelled | State::Refused) && d.deployment.prepared.is_none()
    };
    let all: Vec<Timed> =
        in_order.iter().filter_map(|of| Timed::fold(&stories[of])).filter(|d| !left_no_trace(d)).collect();
    let mut project = project?;
    // One whose time is over by then keeps nobody out, although no event ended it yet.
    let now = events.last()?.recorded_at;
    let locks = project.environments.iter_mut().map(|e| &mut e.lock);
    for lock in locks.chain([&mut project.lock, &mut installation.lock]) {
        *lock = lock.take().filter(|lock| !lock.is_over(now));
    }
    let standings = Standing::of(&project, installation.lock.as_ref(), &all);
    Some((project, standings))
}

#[test]
fn at_each_position_it_is_what_the_events_until_then_fold_to_and_at_the_head_what_is_live() {
    story(async |s| {
        a_busy_day(s).await;
        let log: Vec<Recorded> =
            s.app.store.log().after(0, 10_000).await.unwrap().into_iter().map(Result::unwrap).collect();
        assert!(log.len() > 30, "{}", log.len());
        for n in 1..=log.len() {
            let when = s.app.when(Moment::Position(log[n - 1].position)).await.unwrap();
            let board = s.app.board(when, None).await.unwrap();
            let expected: Vec<_> = folded(&log[..n]).into_iter().collect();
            assert_eq!(board.projects, expected, "after event {n}: {:?}", log[n - 1].event);
        }
        let head = s.app.when(Moment::Time(s.app.store.clock().now())).await.unwrap();
        let project = s.app.project_named("api").await.unwrap();
        let live = status::of(&s.app.store, &project, None).await.unwrap();
        assert_eq!(s.app.board(head, None).await.unwrap().projects, [(project, live)]);
    });
}

#[test]
fn a_moment_is_a_position_or_a_time_and_one_that_is_not_in_the_log_is_refused() {
    story(async |s| {
        a_busy_day(s).await;
        let log: Vec<Recorded> =
            s.app.store.log().after(0, 10_000).await.unwrap().into_iter().map(Result::unwrap).collect();
        for recorded in &log {
            let by_time = s.app.when(Moment::Time(recorded.recorded_at)).await.unwrap();
            let last = log.iter().rfind(|other| other.recorded_at <= recorded.recorded_at).unwrap();
            assert_eq!(by_time, When { position: last.position, at: recorded.recorded_at });
        }
        let failed = log.iter().find(|r| r.event.kind().0 == "deployment_failed").unwrap().position.to_string();
        let (code, told, _) = s.coolops(&["at", &failed]);
        assert!(code == 0 && told.starts_with(&format!("As of event {failed}, ")), "{told}");
        assert!(told.contains("master-2 failed: exit code 3 (ben)"), "{told}");
        let (_, json, _) = s.coolops(&["at", &failed, "--json", "--project", "api"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["environments"][0]["failed"]["build"], "master-2");
        for (written, says) in [
            ("999999", "there is no event 999999; the log has the positions 1 to "),
            ("0", "there is no event 0"),
            ("2001-01-01T00:00Z", "is before the first event, which was recorded at "),
            ("2199-01-01T00:00Z", "is in the future; the last event was recorded at "),
            ("2026-11-27 14:00", "has no zone; write 2026-11-27T14:00Z"),
            ("tomorrow", "is no moment"),
        ] {
            let (code, told, said) = s.coolops(&["at", written]);
            assert!(code == 1 && told.is_empty() && said.contains(says), "{written}: {said}");
        }
        // Between two moments: what changed.
        let (_, told, _) = s.coolops(&["at", "5", "--until", &log.last().unwrap().position.to_string()]);
        assert!(told.contains("Staging      runs master-1") && told.contains("Production   runs master-3"), "{told}");
        let (_, same, _) = s.coolops(&["at", &failed, "--until", &failed]);
        assert!(same.ends_with("None.\n"), "{same}");
        let (code, _, said) = s.coolops(&["at", "6", "--until", "5"]);
        assert!(code != 0 && said.contains("write the earlier one first"), "{said}");
        // All that changed is told, not the first of it.
        let before = s.database.count("select position from event_head").await.to_string();
        s.writes("ben", "lock api Staging because of a migration").await;
        let locked = s.database.count("select position from event_head").await.to_string();
        for set in [
            ["project", "set", "api", "--name", "Api 2"].as_slice(),
            &["project", "set", "api", "--image", "registry.example.com/other:2"],
            &["project", "set", "api", "--time-limit", "7"],
            &["environment", "set", "api", "Production", "REGION=eu"],
        ] {
            let (code, _, said) = s.coolops(set);
            assert_eq!(code, 0, "{set:?}: {said}");
        }
        s.writes("ben", "lock api Staging because of another one").await;
        let now = s.database.count("select position from event_head").await.to_string();
        let (_, told, _) = s.coolops(&["at", &before, "--until", &now]);
        for words in [
            "was called Api",
            "runs the image registry.example.com/other:2, in place of ",
            "is set otherwise (coolops history --settings)",
            "is locked by ben: of another one",
        ] {
            assert!(told.contains(words), "{words}:\n{told}");
        }
        assert_eq!(told.matches("is set otherwise").count(), 2, "the project, and one environment:\n{told}");
        let (_, told, _) = s.coolops(&["at", &locked, "--until", &now]);
        assert!(told.contains("is now locked by ben: of another one"), "{told}");
        let (_, told, _) = s.coolops(&["at", &locked]);
        assert!(told.contains("locked by ben: of a migration"), "{told}");
    });
}

#[test]
fn a_build_s_page_is_as_it_was_and_every_event_is_a_link_to_how_it_was_then() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.hold();
        s.presses("ana", "master-1", "Staging").await;
        s.container_ends("master-1", 3).await;
        let id = coolops::domain::ids::BuildId::of_name(s.project(), "master-1");
        let project = s.app.project_named("api").await.unwrap();
        let links = s.app.keys.links(&project.link_key).unwrap();
        let path = coolops::slack::render::build_url("", &links, id);
        let (_, now) = s.get(&path).await;
        assert!(now.contains("exit code 3"), "{now}");
        let addresses: Vec<String> = regex::Regex::new("href=\"(\\?key=[^\"]*at=[0-9]+)\"")
            .unwrap()
            .captures_iter(&now)
            .map(|c| c[1].replace("&amp;", "&"))
            .collect();
        assert!(addresses.len() >= 6, "{addresses:?}");
        assert!(!now.contains("The message, as it was"), "it is in Slack");
        let mut said = Vec::new();
        for address in &addresses {
            let (code, then) = s.get(&format!("/builds/{id}{address}")).await;
            assert_eq!(code, StatusCode::OK);
            assert!(then.contains("The message, as it was") && then.contains("[Deploy to Production]"), "{then}");
            assert!(then.contains("As it was at event ") && then.contains("id=\"slider\""), "{then}");
            said.extend(["failed", "running", "not deployed"].into_iter().find(|word| {
                then.contains(&format!("<span class=\"badge {word}")) || then.contains(&format!(">{word}<"))
            }));
        }
        said.dedup();
        assert_eq!(said, ["not deployed", "running", "failed"]);
        let (code, text) = s.get(&format!("{path}&at=1")).await;
        assert!(
            code == StatusCode::BAD_REQUEST && text.contains("this build was announced later, by event "),
            "{text}"
        );
        let (code, text) = s.get(&format!("{path}&at=yesterday")).await;
        assert!(code == StatusCode::BAD_REQUEST && text.contains("is no moment"), "{text}");
    });
}

#[test]
fn a_moment_that_is_later_is_no_beginning_although_nothing_happened_in_between() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.database.set_clock(3 * 3600).await;
        let (code, _, said) = s.coolops(&["at", "1h", "--until", "2h"]);
        assert!(code == 1 && said.contains("write the earlier one first"), "{said}");
        let (code, told, _) = s.coolops(&["at", "2h", "--until", "1h", "--json"]);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert!(code == 0 && told["from_at"].as_str() < told["until_at"].as_str(), "{told}");
    });
}

#[test]
fn presses_of_one_moment_wait_in_their_order_now_and_then() {
    story(async |s| {
        let names: Vec<String> = (1..=8).map(|n| format!("master-{n}")).collect();
        for name in &names {
            s.ci_announces(build(name)).await;
        }
        s.runner.hold();
        // All that is recorded is of one moment, as what is appended together is.
        let now = s.database.text("select coolops_now()::text").await;
        s.database
            .execute(&format!(
                "create or replace function coolops_now() returns timestamptz language plpgsql stable parallel safe as 'begin return ''{now}''::timestamptz; end'"
            ))
            .await;
        for name in &names {
            s.deliver(&s.press_of("ana", name, "Staging")).await;
        }
        let project = s.app.project_named("api").await.unwrap();
        let live = status::of(&s.app.store, &project, None).await.unwrap();
        let head =
            s.app.when(Moment::Position(s.database.count("select position from event_head").await)).await.unwrap();
        let then = s.app.board(head, None).await.unwrap().projects[0].1.clone();
        for standings in [live, then] {
            let staging = standings.iter().find(|standing| standing.name == "Staging").unwrap();
            let open: Vec<&str> = staging.open.iter().map(|d| d.deployment.build_name.as_str()).collect();
            assert_eq!(open, names);
        }
        s.database.set_clock(0).await;
    });
}

#[test]
fn the_board_shows_all_projects_now_and_then_to_whoever_has_its_link() {
    story(async |s| {
        a_busy_day(s).await;
        let (_, told, _) = s.coolops(&["at", "5", "--link"]);
        let link = told.lines().last().unwrap().strip_prefix("https://coolops.test").unwrap().to_owned();
        let (code, then) = s.get(&link).await;
        assert_eq!(code, StatusCode::OK);
        assert!(then.contains("event 5") && !then.contains("master-1"), "{then}");
        let now = link.replace("at=5&", "");
        let (_, page) = s.get(&now).await;
        assert!(page.contains("<h2>Api</h2>") && page.contains("<td>master-3</td>"), "{page}");
        let (_, page) = s.get(&format!("{now}&since=5")).await;
        assert!(page.contains("What changed since event 5") && page.contains("runs master-3"), "{page}");
        // Two moments of one's own, in a form that works without a script.
        let (_, page) = s.get(&link.replace("at=5", "at=7&since=5")).await;
        for field in
            ["<input name=\"at\" value=\"7\"", "<input name=\"since\" value=\"5\"", "What changed since event 5"]
        {
            assert!(page.contains(field), "{field}: {page}");
        }
        let before = s.app.store.log().head().await.unwrap().0.to_string();
        s.archive_project().await;
        let (_, page) = s.get(&format!("{now}&since={before}")).await;
        assert!(page.contains("<strong>api</strong><span>is archived</span>"), "{page}");
        let head = s.app.store.log().head().await.unwrap().0.to_string();
        let (_, told, _) = s.coolops(&["at", &before, "--until", &head]);
        assert!(told.lines().nth(2).unwrap().ends_with("is archived") && told.lines().count() == 3, "{told}");
        for wrong in ["/board".to_owned(), "/board?key=x".to_owned(), link.replace("key=", "key=x")] {
            assert_eq!(s.get(&wrong).await.0, StatusCode::NOT_FOUND, "{wrong}");
        }
        assert_eq!(s.get(&link.replace("at=5", "at=999999")).await.0, StatusCode::BAD_REQUEST);
    });
}

#[test]
fn what_happened_in_an_environment_that_is_new_is_told_between_two_moments() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let before = s.database.count("select position from event_head").await.to_string();
        s.app.create_environment(s.project(), "Canary", None, &operator()).await.unwrap();
        s.ci_announces(build("master-2")).await;
        s.presses("ana", "master-2", "Canary").await;
        s.writes("ben", "lock api Canary because of the audit").await;
        let (_, told, said) = s.coolops(&["at", &before, "--until", "0s"]);
        for words in ["is new", "runs master-2", "is locked by ben: of the audit"] {
            assert!(told.contains(words), "{words}: {told}{said}");
        }
        // A project by itself stays on its board when it is archived, which is told.
        s.coolops(&["project", "archive", "api"]);
        let (_, told, said) = s.coolops(&["at", &before, "--until", "0s", "--project", "api"]);
        assert!(told.contains("is archived") && !told.contains("set otherwise"), "{told}{said}");
    });
}

#[test]
fn a_project_that_was_changed_very_often_is_folded_from_snapshots_that_nobody_else_can_make() {
    story(async |s| {
        s.writes("ana", "lock api Staging because of the audit").await;
        s.changes_a_variable("Staging", 4_100).await;
        s.writes("ana", "unlock api Staging").await;
        s.writes("ben", "lock api Production").await;
        let log = s.app.store.log().after(0, 10_000).await.unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let project = s.project();
        // Nobody has asked since the rows were made anew.
        let kept = async || s.database.numbers("select position from snapshot order by position").await;
        assert_eq!(kept().await, Vec::<i64>::new());
        let head = log.last().unwrap().position;
        let at = async |position: i64| {
            let when = s.app.when(Moment::Position(position)).await.unwrap();
            s.app.board(when, None).await.unwrap().projects
        };
        let says = |position: i64| folded(&log[..usize::try_from(position).unwrap()]).into_iter().collect::<Vec<_>>();
        assert_eq!(at(head).await, says(head));
        let snapshots = kept().await;
        let [first, second] = snapshots[..] else { panic!("{snapshots:?}") };
        assert_eq!((second - first, first), (2_000, 2_000), "each is one page behind the other");
        for position in [1, first - 1, first, first + 1, second, second + 1, head] {
            assert_eq!(at(position).await, says(position), "at {position}");
        }
        assert_eq!(kept().await, snapshots);
        // Whoever can write rows can't make one that is believed.
        let words = "select ciphertext = (select ciphertext from snapshot where position = 2000) from snapshot where position = 4000";
        for edit in [
            "update snapshot set ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1) where position = 4000",
            "update snapshot s set ciphertext = o.ciphertext, nonce = o.nonce from snapshot o where s.position = 4000 and o.position = 2000",
            "update snapshot set key_id = 'another' where position = 4000",
            "delete from snapshot where position = 4000; update snapshot set position = 4000 where position = 2000",
        ] {
            s.database.execute(edit).await;
            assert_eq!(at(head).await, says(head), "{edit}");
            assert_eq!(kept().await, snapshots, "it was written anew: {edit}");
            let anew = s.app.project_of_log(project).await.unwrap().unwrap().value;
            assert_eq!(Some(&anew), says(head).first().map(|(project, _)| project), "{edit}");
        }
        assert_eq!(s.database.text(&format!("select ({words})::text")).await, "false");
        // Whose name is in one is erased there with their key.
        let lock_then = async || {
            let projects = at(second).await;
            let staging = projects[0].0.environments.iter().find(|there| there.name == "Staging").unwrap();
            staging.lock.clone().unwrap()
        };
        let held = lock_then().await;
        assert_eq!((held.holder.name(), held.reason.as_deref()), ("ana", Some("of the audit")));
        let whom = Whom { text: "ana", kind: PersonKind::Person };
        s.app.erase_person(whom, "asked for it", &operator()).await.unwrap();
        s.settle().await;
        let erased = lock_then().await;
        assert_eq!((erased.holder.name(), erased.reason.as_deref()), ("a former member", Some("(erased)")));
        // A replay asks the log alone.
        s.app.rebuild().await.unwrap();
        assert_eq!(kept().await, Vec::<i64>::new());
        s.writes("ben", "unlock api Production").await;
    });
}

#[test]
fn where_all_rows_are_lost_nothing_is_told_as_if_nothing_had_been() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        s.presses("ana", "master-1", "Staging").await;
        let (history, log) = (s.project_path("history").await, s.log_path());
        let board = format!("/board?key={}", s.app.keys.board_links().capability("board", uuid::Uuid::nil()));
        s.database.execute("truncate boundary, project, token, build, deployment").await;
        for arguments in [&["at", "0s"][..], &["history"], &["insights"], &["status"], &["person", "list"]] {
            let (code, told, said) = s.coolops(arguments);
            assert!(code == 1 && told.is_empty() && said.contains("coolops replay"), "{arguments:?}: {told}{said}");
        }
        let told = Anchored::new(s).doctor(s);
        assert!(told.contains("WRONG  Rows: ") && told.contains("coolops replay"), "{told}");
        let (status, told) = s.get("/readyz").await;
        assert!(status == 503 && told.contains("coolops replay") && told.contains("\"ready\":false"), "{told}");
        // Nor is anybody told that they, or what they ask for, are unknown: CI tries again.
        let fresh = App::new(s.app.store.clone(), s.keyring(), "https://coolops.test");
        let fresh = crate::story::routes(std::sync::Arc::new(fresh), std::sync::Arc::default());
        let announced = crate::story::from_ci(&format!("Token {}", s.token), &build("master-2").body());
        assert_eq!(fresh.oneshot(announced).await.unwrap().status(), 503);
        for page in [&history, &board, &log] {
            let (status, told) = s.get(page).await;
            assert!(status == 503 && told.contains("coolops replay"), "{page}: {status} {told}");
        }
        let answer = s.writes("ana", "status").await;
        assert!(!answer.contains("No project"), "{answer}");
        // What goes by the log alone goes on.
        assert_eq!(s.coolops(&["audit", "export"]).0, 0);
        let (code, told, said) = s.coolops(&["audit", "verify"]);
        assert!(code == 1 && told.contains("its row is missing, or can't be read"), "{told}{said}");
        assert_eq!(s.coolops(&["replay"]).0, 0);
        let (code, told, _) = s.coolops(&["at", "0s"]);
        assert!(code == 0 && told.contains("master-1"), "{told}");
    });
}

#[test]
fn now_is_the_last_event_also_where_the_clock_was_set_back() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.database.set_clock(-3600).await;
        s.app.store.keep_clock().await.unwrap();
        assert_eq!(s.coolops(&["environment", "create", "api", "Canary"]).0, 0);
        let key = s.app.keys.board_links().capability("board", Uuid::nil());
        let (status, told) = s.get(&format!("/board?key={key}")).await;
        let head = s.database.count("select position from event_head").await;
        assert!(status == 200 && told.contains("Canary") && told.contains(&format!("event {head}")), "{told}");
    });
}

#[test]
fn a_button_of_before_keeps_nobody_from_setting_up() {
    story(async |s| {
        s.tampered = true;
        s.ci_announces(build("master-1")).await;
        let press = s.press_of("ana", "master-1", "Staging");
        // Set up anew, with the same app in Slack.
        let fresh = crate::story::database::Database::create().await;
        let store = coolops::store::Store::open(&fresh.url, 4).await.unwrap();
        let app = App::new(store, s.keyring(), "https://coolops.test");
        let fresh_routes = crate::story::routes(std::sync::Arc::new(app), std::sync::Arc::default());
        let answer = fresh_routes.oneshot(crate::story::from_slack("/slack/interactions", &press)).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(fresh.count("select count(*) from event").await > 0, "it was refused, which is recorded");
        let url = [("DATABASE_URL", fresh.url.as_str())];
        let create = ["project", "create", "Api", "--image", "api:1", "--channel", "C0123456789"];
        let (code, _, said) = s.coolops_with(&create, &url);
        assert_eq!(code, 0, "{said}");
        fresh.drop().await;
    });
}
