//! The stand-in judged by a client that nobody here wrote: Slack's own SDK for Python, from PyPI (`scripts/needs`
//! installs it).

use std::process::Command;
use std::time::Duration;

use coolops_lab::standin::press::Press;
use coolops_lab::standin::workspace::Message;
use coolops_lab::standin::{Options, StandIn};
use serde_json::{Value, json};

async fn standin() -> StandIn {
    let options = Options { port: 0, bot_token: "xoxb-t".into(), signing_secret: "s".into(), page_token: "p".into() };
    StandIn::start(options).await.unwrap()
}

#[tokio::test]
async fn slacks_own_client_finds_what_it_finds_at_slack() {
    let standin = standin().await;
    let (url, root) = (standin.api_url(), env!("CARGO_MANIFEST_DIR"));
    let ran = tokio::task::spawn_blocking(move || {
        Command::new("python3")
            .arg(format!("{root}/tests/it/rules/with_slack_sdk.py"))
            .args([&url, "xoxb-t"])
            .env("PYTHONPATH", format!("{root}/target/python"))
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("all well"), "{said}{wrong}");
}

#[tokio::test]
async fn an_address_for_answers_is_a_secret_for_five_of_them() {
    let standin = standin().await;
    let button = json!([{ "type": "actions", "block_id": "b", "elements": [
        { "type": "button", "action_id": "a", "text": { "type": "plain_text", "text": "Press" }, "value": "v" },
    ]}]);
    let message = Message {
        ts: "1700000000.000100".into(),
        user: "U0COOLOPS1".into(),
        text: "t".into(),
        blocks: button,
        ..Message::default()
    };
    standin.workspace().channels[0].messages.push(message);
    let press = Press {
        channel: "C0DEPLOYS1".into(),
        ts: "1700000000.000100".into(),
        user: "U0ANA00001".into(),
        action_id: "a".into(),
        option: None,
    };
    let address = || {
        let body = standin.shared().signed_press(&press).unwrap().body;
        let payload = url::form_urlencoded::parse(body.as_bytes()).next().unwrap().1.into_owned();
        let payload: Value = serde_json::from_str(&payload).unwrap();
        assert!(
            payload["team"]["id"].is_string()
                && payload["api_app_id"].is_string()
                && payload["user"]["team_id"].is_string()
        );
        payload["response_url"].as_str().unwrap().to_owned()
    };
    let (url, other) = (address(), address());
    assert_ne!(url, other, "each press has its own");
    let answer = async |url: &str, body: Value| {
        let url = url.to_owned();
        tokio::task::spawn_blocking(move || {
            let request = ureq::post(&url)
                .config()
                .http_status_as_error(false)
                .timeout_global(Some(Duration::from_secs(5)))
                .build();
            let mut answer = request.header("content-type", "application/json").send(body.to_string()).unwrap();
            (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
        })
        .await
        .unwrap()
    };
    for n in 0..5 {
        assert_eq!(answer(&url, json!({ "text": format!("psst {n}") })).await, (200, "ok".to_owned()));
    }
    let (status, said) = answer(&url, json!({ "text": "once more" })).await;
    assert!(status == 404 && said.contains("used_url"), "{status} {said}");
    let guessed = format!("http://{}/respond/C0DEPLOYS1.U0ANA00001", standin.address);
    assert_eq!(answer(&guessed, json!({ "text": "guessed" })).await.0, 404);
    assert_eq!(answer(&other, json!({ "text": "instead", "replace_original": true })).await.0, 200);
    let workspace = standin.workspace();
    let texts: Vec<&str> = workspace.channels[0].messages.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(texts, ["instead", "psst 0", "psst 1", "psst 2", "psst 3", "psst 4"]);
    assert!(workspace.channels[0].messages[1..].iter().all(|m| m.only_for.as_deref() == Some("U0ANA00001")));
}
