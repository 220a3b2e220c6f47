//! The stand-in is strict: what Slack refuses, it refuses, in Slack's word.

use coolops_lab::standin::{Options, StandIn};
use serde_json::{Value, json};

async fn call(standin: &StandIn, method: &str, token: &str, content_type: &str, body: String) -> Value {
    let (url, authorization, kind) =
        (format!("{}/{method}", standin.api_url()), format!("Bearer {token}"), content_type.to_owned());
    tokio::task::spawn_blocking(move || {
        let request = ureq::post(&url).config().http_status_as_error(false).build();
        let mut answer =
            request.header("authorization", &authorization).header("content-type", &kind).send(&body).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap_or(Value::Null)
    })
    .await
    .unwrap()
}

fn text(n: usize) -> String {
    "x".repeat(n)
}

fn plain(n: usize) -> Value {
    json!({ "type": "plain_text", "text": text(n) })
}

fn button(label: usize) -> Value {
    json!({ "type": "button", "action_id": "a", "text": plain(label), "value": "v" })
}

fn actions(elements: &Value) -> Value {
    json!([{ "type": "actions", "elements": elements }])
}

fn select(options: usize, value: usize) -> Value {
    let option = json!({ "text": plain(5), "value": text(value) });
    json!({ "type": "static_select", "action_id": "s", "options": vec![option; options] })
}

/// Each payload with the word that Slack refuses it with.
fn payloads() -> Vec<(&'static str, Value, &'static str)> {
    let blocks = |blocks: Value| json!({ "channel": "C0DEPLOYS1", "text": "t", "blocks": blocks });
    let section = |part: Value| blocks(json!([part]));
    let attach = |a: Value| json!({ "channel": "C0DEPLOYS1", "text": "t", "attachments": a });
    let meta = |m: Value| json!({ "channel": "C0DEPLOYS1", "text": "t", "metadata": m });
    let many = |n: usize, block: Value| blocks(Value::Array(vec![block; n]));
    let confirm = |title: usize, body: usize, label: usize| {
        let mut b = button(5);
        b["confirm"] = json!({ "title": plain(title), "text": plain(body), "confirm": plain(label), "deny": plain(5) });
        blocks(actions(&json!([b])))
    };
    let field = json!({ "type": "mrkdwn", "text": "f" });
    vec![
        ("no content", json!({ "channel": "C0DEPLOYS1" }), "no_text"),
        ("empty content", json!({ "channel": "C0DEPLOYS1", "text": "", "blocks": [] }), "no_text"),
        ("no channel", json!({ "text": "t" }), "channel_not_found"),
        ("an unknown channel", json!({ "channel": "C404", "text": "t" }), "channel_not_found"),
        ("a channel by name", json!({ "channel": "#deploys", "text": "t" }), "channel_not_found"),
        ("a channel without the bot", json!({ "channel": "C0RANDOM01", "text": "t" }), "not_in_channel"),
        (
            "an unknown argument",
            json!({ "channel": "C0DEPLOYS1", "text": "t", "client_msg_id": "x" }),
            "invalid_arguments",
        ),
        ("a misspelt argument", json!({ "channel": "C0DEPLOYS1", "text": "t", "attachment": [] }), "invalid_arguments"),
        ("a text that is a number", json!({ "channel": "C0DEPLOYS1", "text": 7 }), "invalid_arguments"),
        ("a text over 40,000", json!({ "channel": "C0DEPLOYS1", "text": text(40_001) }), "msg_too_long"),
        ("blocks that are an object", blocks(json!({})), "invalid_blocks_format"),
        ("51 blocks", many(51, json!({ "type": "divider" })), "invalid_blocks"),
        ("a block without a type", section(json!({ "text": plain(1) })), "invalid_blocks"),
        ("an unknown block", section(json!({ "type": "marquee" })), "invalid_blocks"),
        ("an unknown property", section(json!({ "type": "divider", "color": "red" })), "invalid_blocks"),
        ("a header over 150", section(json!({ "type": "header", "text": plain(151) })), "invalid_blocks"),
        (
            "a header in mrkdwn",
            section(json!({ "type": "header", "text": { "type": "mrkdwn", "text": "x" } })),
            "invalid_blocks",
        ),
        ("a header without text", section(json!({ "type": "header" })), "invalid_blocks"),
        ("an empty header", section(json!({ "type": "header", "text": plain(0) })), "invalid_blocks"),
        ("an empty section", section(json!({ "type": "section" })), "invalid_blocks"),
        ("a section over 3,000", section(json!({ "type": "section", "text": plain(3_001) })), "invalid_blocks"),
        ("an empty section text", section(json!({ "type": "section", "text": plain(0) })), "invalid_blocks"),
        ("a section with a bare text", section(json!({ "type": "section", "text": "x" })), "invalid_blocks"),
        ("11 fields", section(json!({ "type": "section", "fields": vec![field.clone(); 11] })), "invalid_blocks"),
        ("no fields", section(json!({ "type": "section", "fields": [] })), "invalid_blocks"),
        ("a field over 2,000", section(json!({ "type": "section", "fields": [plain(2_001)] })), "invalid_blocks"),
        ("an empty field", section(json!({ "type": "section", "fields": [plain(0)] })), "invalid_blocks"),
        ("11 context elements", section(json!({ "type": "context", "elements": vec![field; 11] })), "invalid_blocks"),
        ("no context elements", section(json!({ "type": "context", "elements": [] })), "invalid_blocks"),
        ("a context without elements", section(json!({ "type": "context" })), "invalid_blocks"),
        ("no elements", blocks(actions(&json!([]))), "invalid_blocks"),
        (
            "26 buttons",
            blocks(actions(&Value::Array(
                (0..26)
                    .map(|n| {
                        let mut b = button(5);
                        b["action_id"] = n.to_string().into();
                        b
                    })
                    .collect(),
            ))),
            "invalid_blocks",
        ),
        ("a button's text over 75", blocks(actions(&json!([button(76)]))), "invalid_blocks"),
        ("a button without text", blocks(actions(&json!([{ "type": "button", "action_id": "a" }]))), "invalid_blocks"),
        (
            "a button's text in mrkdwn",
            blocks(actions(&json!([{ "type": "button", "text": { "type": "mrkdwn", "text": "x" } }]))),
            "invalid_blocks",
        ),
        (
            "a button's value over 2,000",
            blocks(actions(&json!([{ "type": "button", "text": plain(1), "value": text(2_001) }]))),
            "invalid_blocks",
        ),
        (
            "a button's value that is a number",
            blocks(actions(&json!([{ "type": "button", "text": plain(1), "value": 7 }]))),
            "invalid_blocks",
        ),
        (
            "a button's url over 3,000",
            blocks(actions(&json!([{ "type": "button", "text": plain(1), "url": text(3_001) }]))),
            "invalid_blocks",
        ),
        (
            "a green button",
            blocks(actions(&json!([{ "type": "button", "text": plain(1), "style": "green" }]))),
            "invalid_blocks",
        ),
        (
            "an action id over 255",
            blocks(actions(&json!([{ "type": "button", "text": plain(1), "action_id": text(256) }]))),
            "invalid_blocks",
        ),
        ("an action id twice", blocks(actions(&json!([button(1), button(1)]))), "invalid_blocks"),
        ("an unknown element", blocks(actions(&json!([{ "type": "lever" }]))), "invalid_blocks"),
        ("an element without a type", blocks(actions(&json!([{}]))), "invalid_blocks"),
        ("a block id over 255", section(json!({ "type": "divider", "block_id": text(256) })), "invalid_blocks"),
        ("a block id twice", many(2, json!({ "type": "divider", "block_id": "d" })), "invalid_blocks"),
        ("a confirm title over 100", confirm(101, 5, 5), "invalid_blocks"),
        ("a confirm text over 300", confirm(5, 301, 5), "invalid_blocks"),
        ("a confirm label over 30", confirm(5, 5, 31), "invalid_blocks"),
        ("101 options", blocks(actions(&json!([select(101, 5)]))), "invalid_blocks"),
        ("no options", blocks(actions(&json!([select(0, 5)]))), "invalid_blocks"),
        ("an option's value over 150", blocks(actions(&json!([select(1, 151)]))), "invalid_blocks"),
        ("a select without options", blocks(actions(&json!([{ "type": "static_select" }]))), "invalid_blocks"),
        (
            "6 overflow options",
            blocks(actions(
                &json!([{ "type": "overflow", "options": vec![json!({ "text": plain(1), "value": "v" }); 6] }]),
            )),
            "invalid_blocks",
        ),
        (
            "13,201 characters of blocks",
            many(5, json!({ "type": "section", "text": plain(2_700) })),
            "msg_blocks_too_long",
        ),
        ("101 attachments", attach(Value::Array(vec![json!({ "text": "x" }); 101])), "too_many_attachments"),
        ("attachments that are an object", attach(json!({})), "invalid_attachments"),
        ("an unknown colour", attach(json!([{ "color": "green", "text": "x" }])), "invalid_attachments"),
        ("an unknown attachment property", attach(json!([{ "colour": "good" }])), "invalid_attachments"),
        ("a footer over 300", attach(json!([{ "text": "x", "footer": text(301) }])), "invalid_attachments"),
        (
            "a bad block in an attachment",
            attach(json!([{ "blocks": [{ "type": "header", "text": plain(151) }] }])),
            "invalid_blocks",
        ),
        ("metadata without a type", meta(json!({ "event_payload": {} })), "invalid_metadata_format"),
        (
            "a metadata type with a dash",
            meta(json!({ "event_type": "a-b", "event_payload": {} })),
            "invalid_metadata_format",
        ),
        (
            "nested metadata",
            meta(json!({ "event_type": "a", "event_payload": { "x": {} } })),
            "invalid_metadata_schema",
        ),
        (
            "a metadata name in capitals",
            meta(json!({ "event_type": "a", "event_payload": { "X": "1" } })),
            "invalid_metadata_schema",
        ),
        (
            "metadata over 8 kB",
            meta(json!({ "event_type": "a", "event_payload": { "x": text(8_001) } })),
            "metadata_too_large",
        ),
    ]
}

#[tokio::test]
async fn sixty_payloads_that_slack_refuses_are_refused_in_its_word() {
    let options = Options { port: 0, bot_token: "xoxb-t".into(), signing_secret: "s".into(), page_token: "p".into() };
    let standin = StandIn::start(options).await.unwrap();
    let json_type = "application/json; charset=utf-8";
    let all = payloads();
    assert!(all.len() >= 60, "only {} payloads", all.len());
    for (what, payload, error) in all {
        let answer = call(&standin, "chat.postMessage", "xoxb-t", json_type, payload.to_string()).await;
        assert_eq!((answer["ok"].as_bool(), answer["error"].as_str()), (Some(false), Some(error)), "{what}: {answer}");
    }
    assert!(standin.workspace().channels.iter().all(|c| c.messages.is_empty()), "a refused message was kept");
    let good = json!({ "channel": "C0DEPLOYS1", "text": "t" }).to_string();
    for (method, token, kind, body, error) in [
        ("chat.postMessage", "xoxb-other", json_type, good.clone(), "invalid_auth"),
        ("chat.postMessage", "xoxb-t", "text/plain", good.clone(), "invalid_post_type"),
        ("chat.postMessage", "xoxb-t", json_type, "{".to_owned(), "invalid_json"),
        ("chat.shout", "xoxb-t", json_type, good.clone(), "unknown_method"),
        (
            "chat.update",
            "xoxb-t",
            json_type,
            json!({ "channel": "C0DEPLOYS1", "ts": "1.0", "text": "t" }).to_string(),
            "message_not_found",
        ),
        (
            "chat.update",
            "xoxb-t",
            json_type,
            json!({ "channel": "C0DEPLOYS1", "ts": "1.0", "text": text(4_001) }).to_string(),
            "msg_too_long",
        ),
        (
            "chat.postEphemeral",
            "xoxb-t",
            json_type,
            json!({ "channel": "C0DEPLOYS1", "user": "U404", "text": "t" }).to_string(),
            "user_not_in_channel",
        ),
        (
            "conversations.history",
            "xoxb-t",
            "application/x-www-form-urlencoded",
            "channel=C0RANDOM01".to_owned(),
            "not_in_channel",
        ),
    ] {
        let answer = call(&standin, method, token, kind, body).await;
        assert_eq!(answer["error"].as_str(), Some(error), "{method}: {answer}");
    }
    let answer = call(&standin, "chat.postMessage", "xoxb-t", json_type, good).await;
    assert_eq!(answer["ok"], true);
}

#[tokio::test]
async fn the_page_is_for_whoever_has_the_printed_address_and_for_no_other_web_page() {
    let options =
        Options { port: 0, bot_token: "xoxb-t".into(), signing_secret: "s".into(), page_token: "secret".into() };
    let standin = StandIn::start(options).await.unwrap();
    let base = format!("http://{}", standin.address);
    let host = standin.address.to_string();
    let status = async |path: &str, headers: Vec<(&'static str, String)>| {
        let url = format!("{base}{path}");
        tokio::task::spawn_blocking(move || {
            let mut request = ureq::get(&url).config().http_status_as_error(false).max_redirects(0).build();
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.call().unwrap().status().as_u16()
        })
        .await
        .unwrap()
    };
    let cookie = || ("cookie", "standin=secret".to_owned());
    assert_eq!(status("/?token=wrong", vec![]).await, 403);
    assert_eq!(status("/?token=secret", vec![]).await, 303);
    assert_eq!(status("/state", vec![]).await, 403);
    assert_eq!(status("/state", vec![cookie()]).await, 200);
    assert_eq!(status("/state", vec![cookie(), ("origin", "https://evil.example".to_owned())]).await, 403);
    assert_eq!(status("/state", vec![cookie(), ("host", "evil.example".to_owned())]).await, 421);
    assert_eq!(status("/state", vec![cookie(), ("origin", format!("http://{host}"))]).await, 200);
}
