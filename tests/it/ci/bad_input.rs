//! Bad input, the same for every provider: nothing is believed, nothing breaks, and nothing but the refusal is kept.

use axum::http::StatusCode;
use coolops::domain::event::Actor;
use serde_json::Value;

use super::{Sample, deliver, good, now, post, set_up, sign};
use crate::story::{Story, story};

/// The places of texts that people write, per provider.
fn places(scheme: &str) -> (&'static str, &'static str) {
    match sign::provider_of(scheme) {
        "github" => ("/workflow_run/head_commit/message", "/workflow_run/head_branch"),
        "gitlab" => ("/commit/message", "/object_attributes/ref"),
        "circleci" => ("/pipeline/vcs/commit/subject", "/pipeline/vcs/branch"),
        "buildkite" => ("/build/message", "/build/branch"),
        "bitbucket" => ("/commit_status/commit/message", "/commit_status/refname"),
        "jenkins" => ("/build/notes", "/build/scm/branch"),
        "drone" => ("/build/message", "/build/target"),
        "azure" => ("/resource/triggerInfo/ci.message", "/resource/triggerInfo/pr.sourceBranch"),
        "travis" => ("/message", "/branch"),
        _ => ("/build/text", "/build/ref"),
    }
}

async fn events(s: &Story) -> i64 {
    s.database.count("select position from event_head").await
}

/// Sends it and sees it refused: with that status, no event, and nothing kept but the refusal and its reason, of one
/// line. Who proves nothing hears the same always; the reason is for the operator.
async fn is_refused(s: &Story, path: &str, headers: &[(String, String)], body: Vec<u8>, status: StatusCode) -> String {
    let (before, deliveries) = (events(s).await, "select count(*) from ci_delivery");
    let kept = s.database.count(deliveries).await;
    let (got, answer) = post(s, path, headers, body).await;
    let said = answer["error"].as_str().unwrap_or_else(|| panic!("{path} answered {got} {answer}")).to_owned();
    s.app.flush_refusals().await;
    let reason = s.database.text("select reason from ci_refusal order by id desc limit 1").await;
    assert_eq!(got, status, "{reason}");
    if status == StatusCode::UNAUTHORIZED {
        assert!(
            said.starts_with("this is not believed: no webhook with this proof is set up at this address."),
            "{said}"
        );
    } else {
        assert_eq!(said, reason);
    }
    assert!(!reason.contains('\n') && !reason.is_empty());
    assert_eq!(
        (events(s).await, s.database.count(deliveries).await),
        (before, kept),
        "nothing but the refusal is kept"
    );
    reason
}

/// Where it is told how the run ended.
fn outcome(scheme: &str) -> &'static str {
    match sign::provider_of(scheme) {
        "github" => "/workflow_run/conclusion",
        "gitlab" => "/object_attributes/status",
        "circleci" => "/workflow/status",
        "buildkite" => "/build/state",
        "bitbucket" => "/commit_status/state",
        "jenkins" => "/build/status",
        "drone" => "/build/status",
        // The status says "completed" then, which is no result.
        "azure" => "/resource/result",
        "travis" => "/state",
        _ => "/build/ok",
    }
}

fn signs(scheme: &str) -> bool {
    ["github", "gitlab_signing", "bitbucket", "circleci", "buildkite", "drone", "travis"].contains(&scheme)
}

async fn proofs(s: &Story, provider: &str) {
    let path = format!("/ci/{}/api", sign::provider_of(provider));
    let sample = good(provider);
    let (headers, body) = sign::signed(provider, &sample, now());
    let proofs = sign::proof(provider, &body, now());
    let is_proof = |name: &str| proofs.iter().any(|(known, _)| known == name);
    let without: Vec<_> = headers.iter().filter(|(name, _)| !is_proof(name)).cloned().collect();
    // Missing.
    let reason = is_refused(s, &path, &without, body.clone(), StatusCode::UNAUTHORIZED).await;
    assert!(reason.contains("is missing"), "{reason}");
    for (name, value) in &proofs {
        let changed = |value: String| -> Vec<(String, String)> {
            headers
                .iter()
                .map(|(n, v)| if n == name { (n.clone(), value.clone()) } else { (n.clone(), v.clone()) })
                .collect()
        };
        // Truncated, empty, and with one character changed.
        let mut wrong: Vec<char> = value.chars().collect();
        let at = wrong.len() - 2;
        wrong[at] = if wrong[at] == 'b' { 'c' } else { 'b' };
        for bad in [value[..value.len() - 4].to_owned(), String::new(), wrong.iter().collect()] {
            is_refused(s, &path, &changed(bad), body.clone(), StatusCode::UNAUTHORIZED).await;
        }
    }
    // Other bytes under the right signature.
    if signs(provider) {
        let mut other = sample.clone();
        *other.body.pointer_mut(places(provider).1).unwrap_or(&mut Value::Null) = "main2".into();
        let bytes = sign::bytes(provider, &other.body);
        if bytes != body {
            is_refused(s, &path, &headers, bytes, StatusCode::UNAUTHORIZED).await;
        }
        is_refused(s, &path, &headers, [body.as_slice(), b" "].concat(), StatusCode::UNAUTHORIZED).await;
    }
    // A signature of ten minutes ago, where the time is signed.
    if ["buildkite", "drone", "gitlab_signing"].contains(&provider) {
        let (headers, body) = sign::signed(provider, &sample, now() - 600);
        let reason = is_refused(s, &path, &headers, body, StatusCode::UNAUTHORIZED).await;
        assert!(reason.contains("s away from now; at most 300 s"), "{reason}");
    }
}

async fn bodies(s: &Story, provider: &str) {
    let path = format!("/ci/{}/api", sign::provider_of(provider));
    let signed = |body: Vec<u8>| {
        let mut headers = good(provider).headers;
        headers.extend(sign::proof(provider, &body, now()));
        (headers, body)
    };
    let form = |text: &str| {
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", text).finish().into_bytes()
    };
    let travels = |text: &str| if provider == "travis" { form(text) } else { text.as_bytes().to_vec() };
    for (text, why) in [
        ("{", "is not JSON"),
        ("", "is not JSON"),
        ("[1]", "is not a JSON object"),
        (&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)), "recursion limit"),
        (&format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000)), "recursion limit"),
    ] {
        let (headers, body) = signed(travels(text));
        let reason = is_refused(s, &path, &headers, body, StatusCode::BAD_REQUEST).await;
        assert!(reason.contains(why), "{reason}");
    }
    // A form where JSON is expected; where a form is expected, one without a payload.
    if provider == "travis" || provider == "github" {
        let (mut headers, body) = signed(b"other=1".to_vec());
        headers.retain(|(n, _)| n != "content-type");
        headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
        let status = if provider == "travis" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        is_refused(s, &path, &headers, body, status).await;
    } else {
        let (mut headers, body) = signed(form("{}"));
        headers.retain(|(n, _)| n != "content-type");
        headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
        let reason = is_refused(s, &path, &headers, body, StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
        assert!(reason.contains("choose the content type application/json"), "{reason}");
    }
    // Over 1 MiB: not even looked at.
    let (got, answer) = post(s, &path, &good(provider).headers, vec![b' '; 1024 * 1024 + 1]).await;
    assert_eq!(got, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer["error"], "the body has more than 1048576 bytes; at most 1048576 are allowed");
    s.app.flush_refusals().await;
    let noted = "select count(*) from ci_refusal where reason like 'the body has more than%' and known";
    assert_eq!(s.database.count(noted).await, 1, "and listed all the same");
    // An object without anything in it is believed and makes nothing.
    let (headers, body) = signed(travels("{}"));
    let (got, answer) = post(s, &path, &headers, body).await;
    assert_eq!((got, answer["verdict"].as_str()), (StatusCode::OK, Some("ignored")), "{answer}");
}

/// Every place of the body, one after the other: null, then absent. Nothing of it may fail, and what isn't told to have
/// succeeded makes nothing.
async fn missing_fields(s: &Story, provider: &str) {
    let sample = good(provider);
    let mut pointers = Vec::new();
    collect(&sample.body, String::new(), &mut pointers);
    // Hundreds of links to a repository's parts tell nothing new.
    pointers.retain(|p| {
        !(p.ends_with("_url") && (p.contains("repository/") || p.contains("actor/") || p.contains("sender/")))
    });
    assert!(pointers.contains(&outcome(provider).to_owned()));
    for pointer in pointers {
        let mut null = sample.clone();
        *null.body.pointer_mut(&pointer).unwrap() = Value::Null;
        let mut absent = sample.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        if let Some(fields) = absent.body.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        for (changed, how) in [(null, "null"), (absent, "absent")] {
            let (status, answer) = deliver(s, provider, &changed).await;
            assert!(status == StatusCode::OK || status == StatusCode::CREATED, "{pointer} is {how}: {status} {answer}");
            if pointer == outcome(provider) {
                assert_eq!(answer["verdict"], "ignored", "{pointer} is {how}: {answer}");
            }
        }
    }
}

fn collect(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, v)| collect(v, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all));
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(n, v)| collect(v, format!("{at}/{n}"), all)),
        _ => {}
    }
    if !at.is_empty() {
        all.push(at);
    }
}

async fn hostile_texts(s: &Story, provider: &str) {
    let hostile =
        format!("<!channel> *b* `c` ```d``` <@U0ANA00001> & > \u{202e}thgir ot tfel 💥{}", "x".repeat(100_000));
    let mut sample = good(provider);
    let (message, branch) = places(provider);
    set(&mut sample.body, message, hostile.as_str().into());
    set(&mut sample.body, branch, "fix/<!here>-*`".into());
    sample
        .headers
        .iter_mut()
        .filter(|(n, _)| n.contains("delivery") || n.contains("uuid") || n.contains("idempotency"))
        .for_each(|(_, v)| v.push('h'));
    for at in ["/id", "/build/id", "/build/version"] {
        if let Some(id) = sample.body.pointer_mut(at) {
            *id = "777".into();
        }
    }
    let (status, answer) = deliver(s, provider, &sample).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    s.settle().await;
    let workspace = s.standin.workspace();
    let message =
        workspace.channels[0].messages.iter().find(|m| m.text.contains("fix-")).expect("the build has a message");
    let sent = format!("{} {}", message.text, message.blocks);
    assert!(
        !sent.contains("<!channel>") && !sent.contains("<!here>") && !sent.contains("<@U0ANA00001>"),
        "nobody is pinged: {sent}"
    );
    assert!(!sent.contains('\u{202e}'), "nothing is read backwards");
}

fn set(body: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
}

fn is_withstood(provider: &'static str) {
    let name = sign::provider_of(provider);
    story(async |s| {
        let sample: Sample = good(provider);
        let (headers, body) = sign::signed(provider, &sample, now());
        let nobody =
            is_refused(s, &format!("/ci/{name}/no-such-project"), &headers, body.clone(), StatusCode::UNAUTHORIZED)
                .await;
        assert!(nobody.contains("there is no project \"no-such-project\""), "{nobody}");
        let unset = is_refused(s, &format!("/ci/{name}/api"), &headers, body.clone(), StatusCode::UNAUTHORIZED).await;
        assert!(unset.ends_with(&format!("set the secret with: coolops ci secret api {name}")), "{unset}");
        set_up(s, provider).await;
        proofs(s, provider).await;
        bodies(s, provider).await;
        // The right one is taken all the same, and sent again (or replayed by somebody) it is the same build.
        for verdict in ["accepted", "accepted"] {
            let (_, answer) = post(s, &format!("/ci/{name}/api"), &headers, body.clone()).await;
            assert_eq!(answer["verdict"], verdict, "{answer}");
        }
        assert_eq!(s.database.count("select count(*) from build").await, 1);
        missing_fields(s, provider).await;
        hostile_texts(s, provider).await;
        let digests = "select count(*) from ci_refusal where octet_length(digest) <> 32 or reason like '%\n%'";
        assert_eq!(s.database.count(digests).await, 0);
        assert!(s.database.count("select count(*) from ci_refusal").await >= 5);
        let operator = Actor::Operator { login: "test".into() };
        s.app.unset_ci(s.project(), name, &operator).await.unwrap();
        is_refused(s, &format!("/ci/{name}/api"), &headers, body, StatusCode::UNAUTHORIZED).await;
        sign::forget_key();
    });
}

macro_rules! withstand {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            is_withstood(stringify!($name));
        }
    )*};
}

withstand! { github gitlab gitlab_signing circleci buildkite buildkite_token bitbucket jenkins drone azure travis generic }
