//! Bad input at the web server: a clear sentence, and nothing recorded.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use coolops::domain::settings::ProjectChange;

use crate::story::{Story, build, operator, story};

async fn refused(s: &Story, body: &str, status: StatusCode, sentence: &str) {
    let before = s.app.store.log().head().await.unwrap().0;
    let (found, answer) = s.post_build(body).await;
    let error = answer["error"].as_str().unwrap_or_default();
    assert_eq!(found, status, "{error}");
    assert!(error.contains(sentence), "{error}");
    assert_eq!(s.app.store.log().head().await.unwrap().0, before, "something was recorded");
}

#[test]
fn what_ci_sends_wrong_is_refused_with_what_to_do() {
    story(async |s| {
        use StatusCode as S;
        let params = |params: &str| format!(r#"{{"name":"m","params":{params}}}"#);
        refused(s, "{\"name\":", S::BAD_REQUEST, "line 1 column 8").await;
        refused(s, "[]", S::BAD_REQUEST, "the body can't be read").await;
        refused(s, r#"{"params":{}}"#, S::BAD_REQUEST, "name is missing").await;
        refused(s, r#"{"name":"","params":{}}"#, S::BAD_REQUEST, "name is empty").await;
        refused(s, &params(r#"{"A":7}"#), S::BAD_REQUEST, "the value of \"A\" is 7 and not a text").await;
        refused(s, &params(r#"["A"]"#), S::BAD_REQUEST, "an object whose values are texts").await;
        refused(s, &params(r#"{"COOLOPS_PROJECT":"x"}"#), S::BAD_REQUEST, "COOLOPS_PROJECT is reserved").await;
        refused(s, &params(r#"{"LD_PRELOAD":"x"}"#), S::BAD_REQUEST, "changes how programs load or run").await;
        refused(s, &params(r#"{"A-B":"x"}"#), S::BAD_REQUEST, "not a variable name").await;
        refused(s, &params("{\"A\":\"x\\u0000\"}"), S::BAD_REQUEST, "holds a NUL byte").await;
        refused(s, "{\"name\":\"a\\u0000b\",\"params\":{}}", S::BAD_REQUEST, "control character U+0000").await;
        refused(
            s,
            &format!(r#"{{"name":"{}","params":{{}}}}"#, "x".repeat(300)),
            S::BAD_REQUEST,
            "has 300 characters; at most 200",
        )
        .await;
        let many: Vec<String> = (0..10_000).map(|n| format!("\"P{n}\":\"\"")).collect();
        refused(s, &params(&format!("{{{}}}", many.join(","))), S::BAD_REQUEST, "there are 10000 params; at most 100")
            .await;
        refused(
            s,
            &params(&format!(r#"{{"A":"{}"}}"#, "x".repeat(10_001))),
            S::BAD_REQUEST,
            "has 10001 bytes; at most 10000",
        )
        .await;
        let metadata = format!(r#"{{"name":"m","params":{{}},"metadata":{{"{}":"x"}}}}"#, "k".repeat(101));
        refused(s, &metadata, S::BAD_REQUEST, "the metadata key has 101 characters; at most 100").await;
        refused(s, &"x".repeat(256 * 1024 + 1), S::PAYLOAD_TOO_LARGE, "at most 262144 are allowed").await;
        refused(s, &format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)), S::BAD_REQUEST, "the body can't be read")
            .await;
    });
}

#[test]
fn a_token_is_taken_in_any_case_of_the_word_and_only_while_it_is_valid() {
    story(async |s| {
        let body = build("m").body();
        for wrong in ["", "Token", "Token wrong", "Bearer x", "token cops_x"] {
            assert_eq!(s.post_build_as(wrong, &body).await.0, StatusCode::UNAUTHORIZED, "{wrong:?}");
        }
        for word in ["Token", "token", "TOKEN"] {
            let (status, _) = s.post_build_as(&format!("{word} {}", s.token), &build(word).body()).await;
            assert_eq!(status, StatusCode::CREATED);
        }
        s.app.change_project(s.project(), ProjectChange::RevokeToken("CI".into()), &operator()).await.unwrap();
        let (status, answer) = s.post_build(&build("after").body()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(answer["error"].as_str().unwrap().contains("revoked"));
    });
}

#[test]
fn a_token_revoked_elsewhere_is_refused_at_once_though_it_is_remembered() {
    story(async |s| {
        assert_eq!(s.post_build(&build("before").body()).await.0, StatusCode::CREATED);
        // Another process revokes it: this one's memory of the project is stale.
        let store = coolops::store::Store::open(&s.database.url, 2).await.unwrap();
        let keys = coolops::keys::Keyring::new(&"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned().into(), &[])
            .unwrap();
        let other = coolops::app::App::new(store, keys, "https://coolops.test");
        other.change_project(s.project(), ProjectChange::RevokeToken("CI".into()), &operator()).await.unwrap();
        assert_eq!(s.post_build(&build("after").body()).await.0, StatusCode::UNAUTHORIZED);
    });
}

#[test]
fn the_old_clients_request_works_unchanged() {
    story(async |s| {
        let request = Request::post("/builds")
            .header("authorization", format!("Token {}", s.token))
            .header("x-coolops-cli-version", "0.2.0")
            .body(Body::from(r#"{"name":"master-7","params":{}}"#))
            .unwrap();
        let (status, answer) = s.send(request).await;
        assert_eq!(status, StatusCode::CREATED);
        let url = answer["url"].as_str().unwrap().strip_prefix("https://coolops.test").unwrap().to_owned();
        // It is the page's address, and opens nothing: who may only announce can't read logs.
        let (status, page) = s.get(&url).await;
        assert!(status == StatusCode::NOT_FOUND && !page.contains("master-7"), "{page}");
    });
}

#[test]
fn what_slack_did_not_sign_is_refused_and_leaves_no_trace() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let before = s.app.store.log().head().await.unwrap().0;
        let press = s.press_of("ana", "master-1", "Staging");
        let now: u64 = press.timestamp.parse().unwrap();
        let mut forged = press.clone();
        forged.body.push_str("&x=1");
        let mut unsigned = press.clone();
        unsigned.signature = String::new();
        let mut truncated = press.clone();
        truncated.signature.truncate(40);
        // A minute beyond the five: which time it is here is an estimate. (The border itself: `slack/signature.rs`.)
        let stale = s.standin.shared().sign_at(press.body.clone(), now - 360);
        let future = s.standin.shared().sign_at(press.body.clone(), now + 400);
        for wrong in [forged, unsigned, truncated, stale, future] {
            assert_eq!(s.deliver(&wrong).await, StatusCode::UNAUTHORIZED);
        }
        for garbage in ["", "payload=", "payload=%7B%7D", "payload=%FF", "x"] {
            let signed = s.standin.shared().sign(garbage.to_owned());
            assert_eq!(s.deliver(&signed).await, StatusCode::BAD_REQUEST, "{garbage}");
        }
        assert_eq!(s.app.store.log().head().await.unwrap().0, before);
    });
}
