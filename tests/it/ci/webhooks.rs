//! Stories of webhooks: what people see in the channel and on the command line.

use axum::http::StatusCode;
use coolops::domain::build::Entry;
use coolops::domain::ci_rules::CiRules;
use coolops::domain::event::Actor;
use coolops::domain::settings::ProjectChange;
use futures::StreamExt;

use super::{deliver, good, now, post, provider, sample, set_up, sign};
use crate::snapshot;
use crate::story::{Story, build, story};

fn operator() -> Actor {
    Actor::Operator { login: "test".into() }
}

async fn with_rules(s: &Story, provider: &str, rules: CiRules) {
    let change = ProjectChange::CiRules { provider: provider.into(), rules: Box::new(rules), was: None };
    s.app.change_project(s.project(), change, &operator()).await.unwrap();
}

#[test]
fn a_workflow_that_succeeded_becomes_a_message_with_buttons() {
    story(async |s| {
        set_up(s, "github").await;
        let (status, answer) = deliver(s, "github", &good("github")).await;
        assert_eq!((status, answer["verdict"].as_str()), (StatusCode::CREATED, Some("accepted")));
        assert!(answer["build"]["url"].as_str().unwrap().starts_with("https://coolops.test/builds/"));
        s.settle().await;
        snapshot!("ci_message_of_a_workflow", s.channel());
        s.presses("ana", "main-42", "Staging").await;
        assert!(s.channel().contains("main-42"));
        let actor = s.database.text("select actor::text from event where type = 'build_registered'").await;
        assert!(actor.contains("{\"v\":1,\"kind\":\"webhook\",\"id\":"), "{actor}");
    });
}

#[test]
fn a_webhook_whose_build_would_be_too_large_is_ignored_with_the_reason() {
    story(async |s| {
        set_up(s, "github").await;
        let params = (0..50).map(|n| Entry { name: format!("P{n}"), value: "{/big}".into() }).collect();
        with_rules(s, "github", CiRules { params, ..CiRules::default() }).await;
        let mut large = good("github");
        // Each quotation mark is two bytes of an event.
        large.body["big"] = "\"".repeat(10_000).into();
        let (status, answer) = deliver(s, "github", &large).await;
        assert_eq!((status, answer["verdict"].as_str()), (StatusCode::OK, Some("ignored")), "{answer}");
        let reason = answer["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("the event build_registered would have 10")
                && reason.ends_with("at most 524288 are allowed"),
            "{reason}"
        );
        s.settle().await;
        assert_eq!(s.channel().matches("# Api").count(), 0);
    });
}

#[test]
fn a_re_delivery_is_the_same_build_and_a_re_run_is_a_new_one() {
    story(async |s| {
        set_up(s, "github").await;
        for _ in 0..3 {
            deliver(s, "github", &good("github")).await;
        }
        // By another name, as when the webhook is set up twice.
        let mut twice = good("github");
        twice.headers.iter_mut().find(|(n, _)| n == "x-github-delivery").unwrap().1 = "0a1b-other".into();
        let (_, answer) = deliver(s, "github", &twice).await;
        assert_eq!(
            (answer["verdict"].as_str(), answer["reason"].as_str()),
            (Some("repeated"), Some("the build is registered already"))
        );
        deliver(s, "github", &sample("github", "rerun")).await;
        s.settle().await;
        let channel = s.channel();
        assert_eq!(
            (channel.matches("# Api: main-42\n").count(), channel.matches("# Api: main-42-3\n").count()),
            (1, 1),
            "{channel}"
        );
    });
}

#[test]
fn a_re_run_that_tells_no_attempt_is_counted() {
    story(async |s| {
        set_up(s, "circleci").await;
        deliver(s, "circleci", &good("circleci")).await;
        let mut again = good("circleci");
        for n in [2, 3, 3] {
            again.body["id"] = format!("c-again-{n}").into();
            again.body["workflow"]["id"] = format!("wf-{n}").into();
            again.body["workflow"]["url"] = format!("https://circleci.example/workflows/wf-{n}").into();
            deliver(s, "circleci", &again).await;
        }
        s.settle().await;
        let channel = s.channel();
        for name in ["main-42", "main-42-2", "main-42-3"] {
            assert_eq!(channel.matches(&format!("# Api: {name}\n")).count(), 1, "{channel}");
        }
        assert_eq!(s.database.count("select count(*) from build").await, 3);
    });
}

#[test]
fn deliveries_in_any_order_lead_to_the_same_builds() {
    for order in [["in_progress_but_completed", "push", "rerun"], ["rerun", "push", "in_progress_but_completed"]] {
        story(async |s| {
            set_up(s, "github").await;
            for name in order {
                deliver(s, "github", &sample("github", name)).await;
            }
            assert_eq!(s.database.count("select count(*) from build where name in ('main-42', 'main-42-3')").await, 2);
            assert_eq!(s.database.count("select count(*) from build").await, 2);
        });
    }
}

#[test]
fn fifty_deliveries_of_one_run_at_once_are_one_build() {
    story(async |s| {
        set_up(s, "circleci").await;
        let sample = good("circleci");
        let all = futures::future::join_all((0..50).map(|_| deliver(s, "circleci", &sample))).await;
        assert_eq!(all.iter().filter(|(status, _)| *status == StatusCode::CREATED).count(), 1);
        assert!(all.iter().all(|(status, _)| status.is_success()));
        assert_eq!(s.database.count("select count(*) from event where type = 'build_registered'").await, 1);
        s.settle().await;
        assert_eq!(s.channel().matches("# Api: main-42").count(), 1);
    });
}

#[test]
fn a_project_chooses_which_runs_make_builds_and_what_they_carry() {
    story(async |s| {
        set_up(s, "github").await;
        let entry = |name: &str, value: &str| Entry { name: name.into(), value: value.into() };
        let rules = CiRules {
            branches: vec!["main".into(), "v*".into()],
            events: vec!["workflow_run".into(), "tag".into()],
            name: Some("{workflow}-{number}".into()),
            params: vec![entry("DOCKER_TAG", "{short_commit}"), entry("RUN_URL", "")],
            metadata: vec![entry("Run id", "{/workflow_run/id}")],
            ..CiRules::default()
        };
        with_rules(s, "github", rules).await;
        let (_, ignored) = deliver(s, "github", &sample("github", "pull_request")).await;
        assert_eq!(ignored["reason"], "the branch feature/fog is not chosen");
        let (_, ignored) = deliver(s, "github", &sample("github", "release")).await;
        assert_eq!(ignored["reason"], "the event release is not chosen");
        deliver(s, "github", &good("github")).await;
        deliver(s, "github", &sample("github", "tag_push")).await;
        s.settle().await;
        let channel = s.channel();
        assert!(
            channel.contains("# Api: CI-42") && channel.contains("Run id") && channel.contains("7700123"),
            "{channel}"
        );
        let params = s
            .database
            .text("select payload->>'params' from event where type = 'build_registered' order by position limit 1")
            .await;
        assert!(params.contains("DOCKER_TAG") && params.contains("4b825dc") && !params.contains("RUN_URL"), "{params}");
    });
}

#[test]
fn two_workflows_of_one_number_are_told_apart_by_name() {
    story(async |s| {
        set_up(s, "github").await;
        deliver(s, "github", &good("github")).await;
        let mut other = good("github");
        other.headers.iter_mut().find(|(n, _)| n == "x-github-delivery").unwrap().1 = "0a1b-lint".into();
        other.body["workflow"]["name"] = "Lint".into();
        // What a workflow calls its run, which may be anything.
        other.body["workflow_run"]["name"] = "CI".into();
        other.body["workflow_run"]["html_url"] = "https://github.example/harbour/lighthouse/actions/runs/9".into();
        let (status, answer) = deliver(s, "github", &other).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        s.settle().await;
        let channel = s.channel();
        assert!(channel.contains("# Api: main-42") && channel.contains("# Api: Lint-main-42"), "{channel}");
        // Where the project gives the names itself, they stay as it gives them.
        with_rules(s, "github", CiRules { name: Some("{branch}-{number}".into()), ..CiRules::default() }).await;
        other.headers.iter_mut().find(|(n, _)| n == "x-github-delivery").unwrap().1 = "0a1b-docs".into();
        other.body["workflow"]["name"] = "Docs".into();
        let (status, answer) = deliver(s, "github", &other).await;
        assert_eq!(status, StatusCode::OK);
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.starts_with("the build main-42 is registered already, of another run (harbour/lighthouse CI 42); tell them apart by name: coolops ci rules"), "{reason}");
    });
}

#[test]
fn a_secret_is_replaced_without_losing_a_delivery() {
    story(async |s| {
        set_up(s, "github").await;
        let (headers, body) = sign::signed("github", &good("github"), now());
        // Used once, so that it is remembered.
        assert_eq!(post(s, "/ci/github/api", &headers, body.clone()).await.0, StatusCode::CREATED);
        let with = |secret: &str| secrecy::SecretString::from(secret.to_owned());
        s.app
            .set_ci_secret(s.project(), provider("github"), &with("the-second-secret"), true, &operator())
            .await
            .unwrap();
        assert_eq!(
            post(s, "/ci/github/api", &headers, body.clone()).await.0,
            StatusCode::OK,
            "the one before is still accepted"
        );
        s.app
            .set_ci_secret(s.project(), provider("github"), &with("the-third-secret"), false, &operator())
            .await
            .unwrap();
        assert_eq!(
            post(s, "/ci/github/api", &headers, body).await.0,
            StatusCode::UNAUTHORIZED,
            "it leaked, and --now ended it"
        );
    });
}

#[test]
fn after_gitlab_s_signing_token_nothing_else_will_do() {
    story(async |s| {
        set_up(s, "gitlab").await;
        let plain = sign::signed("gitlab", &good("gitlab"), now());
        assert_eq!(post(s, "/ci/gitlab/api", &plain.0, plain.1.clone()).await.0, StatusCode::CREATED);
        set_up(s, "gitlab_signing").await;
        assert_eq!(
            post(s, "/ci/gitlab/api", &plain.0, plain.1).await.0,
            StatusCode::UNAUTHORIZED,
            "the token before it signs nothing"
        );
        assert_eq!(deliver(s, "gitlab_signing", &sample("gitlab", "tag")).await.0, StatusCode::CREATED);
        let kept = s.app.store.deliveries().list(None, &[], 1).await.unwrap().remove(0);
        let kept = s.app.store.deliveries().kept(kept.id).await.unwrap().unwrap();
        assert!(!String::from_utf8(kept.body).unwrap().contains("glpat-not-for-anybody"), "variables are not kept");
        assert!(kept.headers.iter().all(|(name, _)| name != "webhook-signature"));
    });
}

#[test]
fn the_secret_before_is_ended_by_hand() {
    story(async |s| {
        set_up(s, "github").await;
        let before = sign::signed("github", &good("github"), now());
        let next = secrecy::SecretString::from("the-second-secret".to_owned());
        s.app.set_ci_secret(s.project(), provider("github"), &next, true, &operator()).await.unwrap();
        assert_eq!(post(s, "/ci/github/api", &before.0, before.1.clone()).await.0, StatusCode::CREATED);
        s.app.end_previous_ci_secret(s.project(), provider("github"), &operator()).await.unwrap();
        assert_eq!(post(s, "/ci/github/api", &before.0, before.1).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(s.database.count("select count(*) from secret_value").await, 1, "its value is erased");
    });
}

#[test]
fn a_webhook_admitted_under_old_settings_is_not_registered() {
    use coolops::app::CommandError;
    use coolops::app::builds::{AnnounceRefusal, Announcer};
    story(async |s| {
        set_up(s, "github").await;
        let before =
            s.app.store.directory().project(s.project()).await.unwrap().unwrap().value.ci("github").unwrap().clone();
        with_rules(s, "github", CiRules { branches: vec!["release/*".into()], ..CiRules::default() }).await;
        let command = coolops::domain::build::RegisterBuild {
            source: None,
            name: "main-42".into(),
            params: vec![],
            metadata: vec![],
            public_url: "https://coolops.test".into(),
            run: None,
        };
        let kept = coolops::store::deliveries::DeliveryContent { headers: vec![], body: b"{}".to_vec() };
        let id = coolops::domain::ids::DeliveryId::of(Some(s.project()), "github", "1", b"");
        let delivery = coolops::store::deliveries::PackedDelivery::new(id, Some(s.project()), "github", "1", &kept);
        let announcer = Announcer::Webhook { ci: &before, delivery: &delivery };
        let refused = s.app.register_build(s.project(), announcer, command).await.unwrap_err();
        assert!(matches!(refused, CommandError::Refused(AnnounceRefusal::SettingsChanged)), "{refused}");
    });
}

#[test]
fn two_jobs_of_one_number_without_an_address_are_two_runs() {
    story(async |s| {
        set_up(s, "jenkins").await;
        let first = sample("jenkins", "pipeline_job_without_scm");
        let mut second = first.clone();
        second.body["name"] = "fog-horn".into();
        second.body["display_name"] = "Fog horn".into();
        second.body["build"]["url"] = "job/fog-horn/42/".into();
        assert_eq!(deliver(s, "jenkins", &first).await.1["verdict"], "accepted");
        assert_eq!(deliver(s, "jenkins", &second).await.1["verdict"], "accepted");
        // A job of the same name in another folder.
        second.body["url"] = "job/harbour/job/fog-horn/".into();
        second.body["build"]["url"] = "job/harbour/job/fog-horn/42/".into();
        assert_eq!(deliver(s, "jenkins", &second).await.1["verdict"], "accepted");
        s.settle().await;
        let channel = s.channel();
        for name in ["Lighthouse-42", "Fog-horn-42", "harbour-fog-horn-Fog-horn-42"] {
            assert!(channel.contains(&format!("# Api: {name}")), "{name} is missing in\n{channel}");
        }
    });
}

#[test]
fn what_was_ignored_can_be_delivered_again_once_the_rules_fit() {
    story(async |s| {
        set_up(s, "github").await;
        with_rules(s, "github", CiRules { branches: vec!["release/*".into()], ..CiRules::default() }).await;
        assert_eq!(deliver(s, "github", &good("github")).await.1["verdict"], "ignored");
        with_rules(s, "github", CiRules::default()).await;
        let (status, answer) = deliver(s, "github", &good("github")).await;
        assert_eq!((status, answer["verdict"].as_str()), (StatusCode::CREATED, Some("accepted")));
        // The verdict that made the build stays, whatever comes after; and the answer still says which build it is.
        with_rules(s, "github", CiRules { name: Some("{workflow}-{number}".into()), ..CiRules::default() }).await;
        let (status, answer) = deliver(s, "github", &good("github")).await;
        assert_eq!((status, answer["verdict"].as_str()), (StatusCode::OK, Some("accepted")));
        assert!(answer["build"]["url"].as_str().is_some());
        let id = answer["delivery"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            s.app.replay_delivery(id).await.unwrap()[0].delivery.verdict.as_str(),
            "repeated",
            "and a replay makes no second one of another name"
        );
        assert_eq!(s.database.count("select count(*) from build").await, 1);
    });
}

#[test]
fn drone_sends_every_repository_to_one_address() {
    story(async |s| {
        let (headers, body) = sign::signed("drone", &good("drone"), now());
        let (status, answer) = post(s, "/ci/drone", &headers, body.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
        s.app.flush_refusals().await;
        let reason = s.database.text("select reason from ci_refusal").await;
        assert_eq!(reason, "no project takes webhooks of drone yet; set one up with: coolops ci secret PROJECT drone");
        s.app
            .set_ci_secret(s.project(), provider("drone"), &sign::secret("drone").into(), true, &operator())
            .await
            .unwrap();
        let (headers_of_one, body_of_one) = sign::signed("drone", &good("drone"), now());
        let (_, answer) = post(s, "/ci/drone/api", &headers_of_one, body_of_one).await;
        let reason = answer["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("drone proves the builds of other repositories too; name yours: coolops ci rules"),
            "{reason}"
        );
        let (status, answer) = post(s, "/ci/drone", &headers, body.clone()).await;
        assert_eq!(status, StatusCode::OK);
        let reason = answer["reason"].as_str().unwrap();
        assert_eq!(
            reason,
            "no project takes the builds of harbour/lighthouse; choose one: coolops ci rules PROJECT drone --repository …"
        );
        let nobody_s = answer["delivery"].as_str().unwrap().parse().unwrap();
        // A second project on the same server, which names another repository, hears of nothing.
        s.app.create_project("web", "Web", "registry.test/deploy:1", crate::story::CHANNEL, &operator()).await.unwrap();
        let web = coolops::domain::ids::ProjectId::of_slug("web");
        s.app.set_ci_secret(web, provider("drone"), &sign::secret("drone").into(), true, &operator()).await.unwrap();
        let rules = Box::new(CiRules { repositories: vec!["harbour/web".into()], ..CiRules::default() });
        s.app
            .change_project(web, ProjectChange::CiRules { provider: "drone".into(), rules, was: None }, &operator())
            .await
            .unwrap();
        with_rules(s, "drone", CiRules { repositories: vec!["harbour/light*".into()], ..CiRules::default() }).await;
        let (status, answer) = post(s, "/ci/drone", &headers, body.clone()).await;
        assert_eq!((status, answer["verdict"].as_str()), (StatusCode::CREATED, Some("accepted")), "{answer}");
        let (_, running) = {
            let (headers, body) = sign::signed("drone", &sample("drone", "running"), now());
            post(s, "/ci/drone", &headers, body).await
        };
        assert_eq!(running["reason"], "the run has not ended (running)");
        assert!(s.app.store.deliveries().list(Some(web), &[], 10).await.unwrap().is_empty());
        assert!(
            s.app
                .store
                .deliveries()
                .list(Some(web), &["drone".to_owned()], 10)
                .await
                .unwrap()
                .iter()
                .any(|d| d.id == nobody_s)
        );
        // What nobody took then has an owner now; and when another project names it too, both.
        let verdicts = async || {
            let taken = s.app.replay_delivery(nobody_s).await.unwrap();
            taken.into_iter().map(|t| t.delivery.verdict.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(verdicts().await, ["repeated"]);
        let rules = Box::new(CiRules { repositories: vec!["harbour/*".into()], ..CiRules::default() });
        s.app
            .change_project(web, ProjectChange::CiRules { provider: "drone".into(), rules, was: None }, &operator())
            .await
            .unwrap();
        let mut both = verdicts().await;
        both.sort_unstable();
        assert_eq!(both, ["accepted", "repeated"]);
        assert_eq!(verdicts().await, ["repeated", "repeated"]);
        let mut forged = headers;
        forged.iter_mut().find(|(n, _)| n == "date").unwrap().1.push(' ');
        assert_eq!(post(s, "/ci/drone", &forged, [body.as_slice(), b" "].concat()).await.0, StatusCode::UNAUTHORIZED);
        s.app.flush_refusals().await;
        assert_eq!(s.app.store.refusals().list(Some("web"), &["drone".to_owned()], 10).await.unwrap().len(), 2);
        let (status, answer) = post(s, "/ci/github", &[], vec![]).await;
        assert_eq!(
            (status, answer["error"].as_str().unwrap()),
            (StatusCode::NOT_FOUND, "the address of github ends with the project's slug: /ci/github/…")
        );
    });
}

#[test]
fn a_kept_delivery_is_run_again_under_new_rules_and_posts_nothing_twice() {
    story(async |s| {
        set_up(s, "gitlab").await;
        with_rules(s, "gitlab", CiRules { branches: vec!["release/*".into()], ..CiRules::default() }).await;
        let (_, answer) = deliver(s, "gitlab", &good("gitlab")).await;
        assert_eq!(answer["reason"], "the branch main is not chosen");
        let id = answer["delivery"].as_str().unwrap().parse().unwrap();
        with_rules(s, "gitlab", CiRules::default()).await;
        assert_eq!(s.app.replay_delivery(id).await.unwrap()[0].delivery.verdict.as_str(), "accepted");
        assert_eq!(s.app.replay_delivery(id).await.unwrap()[0].delivery.verdict.as_str(), "repeated");
        s.settle().await;
        assert_eq!(s.channel().matches("# Api: main-42").count(), 1);
        let listed = s.app.store.deliveries().list(Some(s.project()), &[], 10).await.unwrap();
        assert_eq!((listed.len(), listed[0].build.is_some(), listed[0].position.is_some()), (1, true, true));
    });
}

#[test]
fn refusals_are_bounded_and_deliveries_are_forgotten_after_thirty_days() {
    story(async |s| {
        set_up(s, "github").await;
        let many = "insert into ci_refusal (provider, project, reason, known) select 'github', 'api', 'no ' || n, true from generate_series(1, 1100) n";
        s.database.execute(many).await;
        let began = std::time::Instant::now();
        let strangers = (0..300).map(|n| {
            let (s, path) = (&*s, format!("/ci/github/invented-{n}"));
            async move { post(s, &path, &[], b"{}".to_vec()).await.0 }
        });
        let answers: Vec<StatusCode> = futures::stream::iter(strangers).buffer_unordered(50).collect().await;
        assert!(answers.iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{answers:?}");
        // Noted twice a second, and the moment may begin in the middle of a half.
        let noted = began.elapsed().as_millis() / 500 + 2;
        let strangers = "select coalesce(sum(times), 0)::bigint from ci_refusal where not known";
        for _ in 0..50 {
            if s.database.count(strangers).await == 300 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(s.database.count(strangers).await, 300, "all are counted");
        assert_eq!(
            s.database.count("select count(*) from ci_refusal where known").await,
            1_000,
            "strangers push nobody out"
        );
        let rows = s.database.count("select count(*) from ci_refusal where not known").await;
        assert!(
            rows <= i64::try_from(noted).unwrap() * 101,
            "what is alike is one row, and no more than a hundred are told apart at a time; there are {rows} of {noted} times"
        );
        deliver(s, "github", &good("github")).await;
        s.database.execute("update ci_delivery set at = at - interval '31 days'; update ci_refusal set at = at - interval '31 days'").await;
        s.app.store.deliveries().forget_old().await.unwrap();
        assert_eq!(
            s.database.count("select (select count(*) from ci_delivery) + (select count(*) from ci_refusal)").await,
            0
        );
        assert_eq!(s.database.count("select count(*) from build").await, 1, "the build stays");
    });
}

#[test]
fn a_webhook_and_a_command_may_announce_the_same_project() {
    story(async |s| {
        set_up(s, "generic").await;
        s.ci_announces(build("by-hand-1")).await;
        deliver(s, "generic", &good("generic")).await;
        s.settle().await;
        assert!(s.channel().contains("# Api: by-hand-1") && s.channel().contains("# Api: main-42"));
    });
}

#[test]
fn an_archived_project_ignores_and_says_so() {
    story(async |s| {
        set_up(s, "github").await;
        s.app.change_project(s.project(), ProjectChange::Archive, &operator()).await.unwrap();
        let (status, answer) = deliver(s, "github", &good("github")).await;
        assert_eq!(
            (status, answer["reason"].as_str()),
            (StatusCode::OK, Some("the project api is archived and takes no new builds"))
        );
    });
}

#[test]
fn github_s_form_is_read_too() {
    story(async |s| {
        set_up(s, "github").await;
        let json = serde_json::to_string(&good("github").body).unwrap();
        let body =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish().into_bytes();
        let mut headers = good("github").headers;
        headers.iter_mut().find(|(n, _)| n == "content-type").unwrap().1 = "application/x-www-form-urlencoded".into();
        headers.extend(sign::proof("github", &body, now()));
        assert_eq!(post(s, "/ci/github/api", &headers, body).await.0, StatusCode::CREATED);
    });
}

#[test]
fn a_secret_in_a_body_can_not_become_a_param() {
    story(async |s| {
        set_up(s, "gitlab").await;
        let entry = Entry { name: "CODE".into(), value: "{/object_attributes/variables/0/value}".into() };
        with_rules(s, "gitlab", CiRules { params: vec![entry], ..CiRules::default() }).await;
        let (_, answer) = deliver(s, "gitlab", &good("gitlab")).await;
        let why = "the place /object_attributes/variables/0/value may hold a secret, which is never kept; ask for another one";
        assert_eq!(answer["reason"], why);
    });
}

#[test]
fn what_travis_signs_for_others_makes_no_build_here() {
    story(async |s| {
        s.app
            .set_ci_secret(s.project(), provider("travis"), &sign::secret("travis").into(), true, &operator())
            .await
            .unwrap();
        let reason = async |s: &Story| {
            deliver(s, "travis", &good("travis")).await.1["reason"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(
            reason(s).await,
            "travis proves the builds of other repositories too; name yours: coolops ci rules PROJECT travis --repository …"
        );
        with_rules(s, "travis", CiRules { repositories: vec!["somebody/else".into()], ..CiRules::default() }).await;
        assert_eq!(reason(s).await, "the repository harbour/lighthouse is not chosen");
        with_rules(s, "travis", CiRules { repositories: vec!["harbour/lighthouse".into()], ..CiRules::default() })
            .await;
        assert_eq!(deliver(s, "travis", &good("travis")).await.0, StatusCode::CREATED);
    });
}

#[test]
fn what_every_report_tells_is_left_out_where_the_project_does_not_take_it() {
    story(async |s| {
        set_up(s, "github").await;
        let listed = ProjectChange::Params(Some(vec!["BRANCH".to_owned()]));
        s.app.change_project(s.project(), listed, &operator()).await.unwrap();
        let (status, answer) = deliver(s, "github", &good("github")).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let params = s.database.text("select payload->>'params' from event where type = 'build_registered'").await;
        assert!(params.contains("BRANCH") && !params.contains("COMMIT"), "{params}");
    });
}

#[test]
fn a_branch_that_is_called_like_mains_copy_is_not_main() {
    story(async |s| {
        set_up(s, "github").await;
        with_rules(s, "github", CiRules { branches: vec!["main".into()], ..CiRules::default() }).await;
        let mut other = good("github");
        other.body["workflow_run"]["head_branch"] = "remotes/evil/main".into();
        let (status, answer) = deliver(s, "github", &other).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["reason"], "the branch remotes/evil/main is not chosen");
    });
}
