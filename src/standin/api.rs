//! The Web API: methods, arguments, errors and limits as documented on docs.slack.dev (reference/methods).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Shared;
use super::validate;
use super::workspace::{APP, BOT, Call, Fault, Message, TEAM, Workspace};

/// An error as Slack words it, with the details that it gives developers.
struct Refusal {
    error: &'static str,
    messages: Vec<String>,
}

impl From<&'static str> for Refusal {
    fn from(error: &'static str) -> Self {
        Self { error, messages: Vec::new() }
    }
}

/// Arguments that each method takes. Anything else is refused, so that a typo can't be silently ignored.
const METHODS: &[(&str, &[&str])] = &[
    ("auth.test", &[]),
    (
        "chat.postMessage",
        &[
            "channel",
            "text",
            "blocks",
            "attachments",
            "metadata",
            "thread_ts",
            "reply_broadcast",
            "unfurl_links",
            "unfurl_media",
            "mrkdwn",
            "parse",
            "link_names",
            "markdown_text",
            "username",
            "icon_emoji",
            "icon_url",
        ],
    ),
    (
        "chat.update",
        &["channel", "ts", "text", "blocks", "attachments", "metadata", "parse", "link_names", "reply_broadcast", "markdown_text"],
    ),
    ("chat.postEphemeral", &["channel", "user", "text", "blocks", "attachments", "thread_ts", "parse", "link_names"]),
    ("chat.delete", &["channel", "ts"]),
    ("conversations.history", &["channel", "oldest", "latest", "inclusive", "limit", "cursor", "include_all_metadata"]),
    ("conversations.info", &["channel", "include_locale", "include_num_members"]),
];

/// Handles a call.
pub async fn call(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    http: Method,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let early = shared.workspace().is_too_early(&method);
    if let Some(seconds) = early {
        let headers = [(header::RETRY_AFTER, seconds.to_string())];
        return (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(json!({ "ok": false, "error": "ratelimited" }))).into_response();
    }
    let fault = shared.workspace().fault(&method);
    let taken = Taken { method, http, query, headers, body };
    match &fault {
        Some(Fault::RateLimited(seconds)) => {
            shared.workspace().close(&taken.method, *seconds);
            let headers = [(header::RETRY_AFTER, seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(json!({ "ok": false, "error": "ratelimited" }))).into_response();
        }
        Some(Fault::Status(status)) => return StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY).into_response(),
        Some(Fault::Error(error)) => return axum::Json(json!({ "ok": false, "error": error })).into_response(),
        Some(Fault::Late(seconds)) => {
            let wait = std::time::Duration::from_secs(*seconds);
            // In a task of its own: a client that has given up and gone doesn't undo it.
            let late = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                done(&shared, taken)
            });
            return late
                .await
                .map_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response(), |answer| axum::Json(answer).into_response());
        }
        Some(Fault::LostReply) | None => {}
    }
    let answer = done(&shared, taken);
    if matches!(fault, Some(Fault::LostReply)) {
        // What a broken connection looks like to a client that waits for an answer.
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    axum::Json(answer).into_response()
}

/// A request as it came.
struct Taken {
    method: String,
    http: Method,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

/// Does what a call asks for, or refuses it.
fn done(shared: &Shared, taken: Taken) -> Value {
    let Taken { method, http, query, headers, body } = taken;
    let raw = String::from_utf8_lossy(&body).into_owned();
    let read = arguments(&method, &http, query, &headers, &body);
    let mut answer = match read.and_then(|arguments| {
        authorize(shared, &headers)?;
        let mut workspace = shared.workspace();
        let answer = perform(&mut workspace, &method, &arguments)?;
        workspace.calls.push(Call {
            at: std::time::Instant::now(),
            method: method.clone(),
            arguments: Value::Object(arguments),
            raw,
            answer: answer.clone(),
        });
        Ok(answer)
    }) {
        Ok(answer) => answer,
        Err(Refusal { error, messages }) => json!({ "ok": false, "error": error, "response_metadata": { "messages": messages } }),
    };
    if answer.get("ok").is_none() {
        answer["ok"] = true.into();
    }
    shared.changed();
    answer
}

fn authorize(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).ok_or("not_authed")?;
    if given.strip_prefix("Bearer ") == Some(&shared.options.bot_token) { Ok(()) } else { Err("invalid_auth".into()) }
}

fn arguments(
    method: &str,
    http: &Method,
    query: Vec<(String, String)>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Map<String, Value>, Refusal> {
    let known = METHODS.iter().find(|(name, _)| *name == method).ok_or("unknown_method")?.1;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_lowercase();
    let form = |pairs: Vec<(String, String)>| pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let arguments: Map<String, Value> = if *http == Method::GET {
        form(query)
    } else if kind.starts_with("application/json") {
        serde_json::from_slice(body).map_err(|_| "invalid_json")?
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).map_err(|_| "invalid_form_data")?;
        let nested = |(name, value): (String, String)| {
            let json = ["blocks", "attachments", "metadata"].contains(&name.as_str()).then(|| serde_json::from_str(&value).ok()).flatten();
            (name, json.unwrap_or(Value::String(value)))
        };
        pairs.into_iter().map(nested).collect()
    } else if body.is_empty() {
        Map::new()
    } else {
        return Err("invalid_post_type".into());
    };
    match arguments.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(Refusal { error: "invalid_arguments", messages: vec![format!("[ERROR] unknown argument: {unknown}")] }),
        None => Ok(arguments),
    }
}

fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal { error: "invalid_arguments", messages: vec![format!("[ERROR] {name} must be a string")] }),
    }
}

fn perform(workspace: &mut Workspace, method: &str, a: &Map<String, Value>) -> Result<Value, Refusal> {
    match method {
        "auth.test" => Ok(json!({
            "url": "https://demo.slack.com/", "team": "Demo", "team_id": TEAM, "user": "coolops", "user_id": BOT, "bot_id": "B0COOLOPS1",
        })),
        "chat.postMessage" => {
            let mut message = content(a, 40_000)?;
            message.ts = workspace.next_ts();
            let channel = writable(workspace, text(a, "channel")?)?;
            message.metadata = a.get("metadata").cloned().unwrap_or(Value::Null);
            let answer = json!({ "channel": channel.id, "ts": message.ts, "message": shown(&message, false) });
            channel.messages.push(message);
            Ok(answer)
        }
        "chat.update" => {
            let new = content(a, 4_000)?;
            let ts = text(a, "ts")?;
            let channel = writable(workspace, text(a, "channel")?)?;
            let id = channel.id.clone();
            let message = channel.messages.iter_mut().find(|m| m.ts == ts && m.only_for.is_none()).ok_or("message_not_found")?;
            if message.user != BOT {
                return Err("cant_update_message".into());
            }
            // What is left out is kept; text without blocks clears the blocks.
            if a.contains_key("text") || a.contains_key("blocks") {
                message.blocks = new.blocks;
            }
            if a.contains_key("text") {
                message.text = new.text;
            }
            if a.contains_key("attachments") {
                message.attachments = new.attachments;
            }
            if let Some(metadata) = a.get("metadata") {
                message.metadata = metadata.clone();
            }
            message.edits += 1;
            Ok(json!({ "channel": id, "ts": ts, "text": message.text, "message": shown(message, false) }))
        }
        "chat.postEphemeral" => {
            let mut message = content(a, 40_000)?;
            message.ts = workspace.next_ts();
            let user = text(a, "user")?.to_owned();
            workspace.user(&user).ok_or("user_not_in_channel")?;
            let channel = writable(workspace, text(a, "channel")?)?;
            message.only_for = Some(user);
            let answer = json!({ "message_ts": message.ts });
            channel.messages.push(message);
            Ok(answer)
        }
        "chat.delete" => {
            let ts = text(a, "ts")?;
            let channel = writable(workspace, text(a, "channel")?)?;
            let at = channel.messages.iter().position(|m| m.ts == ts).ok_or("message_not_found")?;
            if channel.messages[at].user != BOT {
                return Err("cant_delete_message".into());
            }
            channel.messages.remove(at);
            Ok(json!({ "channel": channel.id, "ts": ts }))
        }
        "conversations.history" => {
            let number = |name: &str| Ok::<f64, Refusal>(text(a, name)?.parse().unwrap_or(0.0));
            let (oldest, latest, limit) = (number("oldest")?, number("latest")?, number("limit")?);
            let all = matches!(a.get("include_all_metadata"), Some(Value::Bool(true)))
                || text(a, "include_all_metadata").is_ok_and(|t| t == "true");
            let channel = workspace.channel(text(a, "channel")?).ok_or("channel_not_found")?;
            if !channel.is_member {
                return Err("not_in_channel".into());
            }
            let within = |m: &&Message| {
                let ts: f64 = m.ts.parse().unwrap_or(0.0);
                m.only_for.is_none() && ts > oldest && (latest == 0.0 || ts < latest)
            };
            let limit = if limit == 0.0 { 100 } else { text(a, "limit")?.parse().unwrap_or(100) };
            let messages: Vec<Value> = channel.messages.iter().rev().filter(within).take(limit).map(|m| shown(m, all)).collect();
            Ok(json!({ "messages": messages, "has_more": false }))
        }
        "conversations.info" => {
            let channel = workspace.channel(text(a, "channel")?).ok_or("channel_not_found")?;
            Ok(json!({ "channel": {
                "id": channel.id, "name": channel.name, "is_channel": true, "is_member": channel.is_member, "is_archived": channel.is_archived,
            }}))
        }
        _ => Err("unknown_method".into()),
    }
}

fn writable<'a>(workspace: &'a mut Workspace, id: &str) -> Result<&'a mut super::workspace::Channel, Refusal> {
    if id.is_empty() {
        return Err("channel_not_found".into());
    }
    let channel = workspace.channel(id).ok_or("channel_not_found")?;
    if channel.is_archived {
        return Err("is_archived".into());
    }
    if !channel.is_member {
        return Err("not_in_channel".into());
    }
    Ok(channel)
}

/// Reads and judges a message's content.
fn content(a: &Map<String, Value>, text_max: usize) -> Result<Message, Refusal> {
    let words = text(a, "text")?;
    let blocks = a.get("blocks").cloned().unwrap_or(Value::Null);
    let attachments = a.get("attachments").cloned().unwrap_or(Value::Null);
    let empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
    if words.is_empty() && empty(&blocks) && empty(&attachments) {
        return Err("no_text".into());
    }
    if words.chars().count() > text_max {
        return Err("msg_too_long".into());
    }
    let judge = |found: Result<(), validate::Fault>| found.map_err(|f| Refusal { error: f.error, messages: f.messages });
    judge(validate::blocks(&blocks))?;
    judge(validate::attachments(&attachments))?;
    judge(validate::metadata(a.get("metadata").unwrap_or(&Value::Null)))?;
    Ok(Message {
        ts: String::new(),
        user: BOT.to_owned(),
        text: words.to_owned(),
        blocks,
        attachments,
        metadata: Value::Null,
        only_for: None,
        edits: 0,
    })
}

/// A message as the API answers it: `metadata` in full only where it was asked for.
pub(super) fn shown(m: &Message, with_metadata: bool) -> Value {
    let mut value = json!({ "type": "message", "user": m.user, "bot_id": "B0COOLOPS1", "app_id": APP, "ts": m.ts, "text": m.text });
    for (name, part) in [("blocks", &m.blocks), ("attachments", &m.attachments)] {
        if !part.is_null() {
            value[name] = part.clone();
        }
    }
    if with_metadata && !m.metadata.is_null() {
        value["metadata"] = m.metadata.clone();
    } else if let Some(kind) = m.metadata.get("event_type") {
        value["metadata"] = json!({ "event_type": kind });
    }
    value
}
