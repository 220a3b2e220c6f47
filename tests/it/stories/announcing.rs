//! Stories of builds that CI announces.

use crate::snapshot;
use crate::story::{build, operator, story};
use axum::http::StatusCode;
use coolops::domain::settings::{EnvironmentChange, ProjectChange};

#[test]
fn a_build_gets_one_message_with_a_button_per_environment() {
    story(async |s| {
        s.ci_announces(build("master-94657536")).await;
        snapshot!("a_new_build", s.channel());
    });
}

#[test]
fn the_same_announcement_again_is_the_same_build_and_posts_nothing() {
    story(async |s| {
        let first = s.post_build(&build("master-1").body()).await;
        let mut again = build("master-1");
        again.metadata[0].1 = "https://ci.example.com/8".to_owned();
        let second = s.post_build(&again.body()).await;
        assert_eq!((first.0, second.0), (StatusCode::CREATED, StatusCode::OK));
        assert_eq!(first.1["url"], second.1["url"]);
        s.settle().await;
        assert_eq!(s.channel().matches("# Api: master-1").count(), 1);
        assert!(s.channel().contains("https://ci.example.com/7"), "the first announcement's metadata stands");
    });
}

#[test]
fn the_same_name_with_other_params_is_refused_with_what_to_do() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let mut other = build("master-1");
        other.params[0].1 = "other".to_owned();
        let (status, answer) = s.post_build(&other.body()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(
            answer["error"],
            "the build master-1 is registered already, with other params (DOCKER_TAG differs); give the new build another name, or the same params"
        );
    });
}

#[test]
fn fifty_announcements_at_once_are_one_build() {
    story(async |s| {
        let body = build("master-1").body();
        let answers = futures::future::join_all((0..50).map(|_| s.post_build(&body))).await;
        assert_eq!(answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count(), 1);
        assert_eq!(answers.iter().filter(|(status, _)| *status == StatusCode::OK).count(), 49);
        s.settle().await;
        assert_eq!(s.channel().matches("# Api: master-1").count(), 1);
    });
}

#[test]
fn older_messages_keep_what_they_said_when_the_project_changes() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.app.change_project(s.project(), ProjectChange::Rename("Public API".into()), &operator()).await.unwrap();
        s.app.create_environment(s.project(), "Canary", Some(0), &operator()).await.unwrap();
        s.app
            .change_environment(s.project(), "Staging", EnvironmentChange::Rename("Stage".into()), &operator())
            .await
            .unwrap();
        s.ci_announces(build("master-2")).await;
        snapshot!("a_build_before_and_after_changes", s.channel());
    });
}

#[test]
fn metadata_and_params_keep_the_order_given() {
    story(async |s| {
        let mut b = build("master-1");
        b.metadata = ["Zebra", "Alpha", "Middle"].map(|k| (k.to_owned(), k.to_lowercase())).to_vec();
        s.ci_announces(b).await;
        let seen = s.channel();
        let at = |what: &str| seen.find(what).unwrap();
        assert!(at("Zebra") < at("Alpha") && at("Alpha") < at("Middle"), "{seen}");
    });
}

#[test]
fn nothing_in_an_announcement_can_ping_the_channel_or_break_the_layout() {
    story(async |s| {
        let mut b = build("<!channel> & *bold* `code`");
        b.metadata = vec![("<!here>".to_owned(), "<@U0ANA00001> <https://evil.example|click>\n```code```".to_owned())];
        s.ci_announces(b).await;
        let sent =
            s.standin.workspace().calls.iter().find(|c| c.method == "chat.postMessage").unwrap().arguments.to_string();
        for bad in ["<!channel>", "<!here>", "<@U0ANA00001>", "<https://evil"] {
            let in_mrkdwn = sent.replace(r#""text":"Api: <!channel> & *bold* `code`""#, "");
            assert!(!in_mrkdwn.contains(bad), "{bad} is not escaped in {sent}");
        }
    });
}

#[test]
fn a_name_that_stands_for_another_commit_is_refused() {
    story(async |s| {
        let announced = async |commit: &str| {
            let body = serde_json::json!({ "name": "main-42", "params": {}, "repository": "https://github.com/o/r", "commit": commit });
            s.post_build(&body.to_string()).await
        };
        let (first, second) = ("a".repeat(40), "b".repeat(40));
        assert_eq!(announced(&first).await.0, 201);
        // A re-run says the same, shorter or not.
        assert_eq!(announced(&first).await.0, 200);
        assert_eq!(announced(&first[..7]).await.0, 200);
        let (status, answer) = announced(&second).await;
        let why = format!("the build main-42 is registered already, of the commit {first} and not of {second}");
        assert!(status == 409 && answer.to_string().contains(&why), "{status} {answer}");
    });
}
