//! The Web API: methods, arguments, errors and limits as documented on docs.slack.dev (reference/methods).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Shared;
use super::validate;
use super::workspace::{APP, BOT, Call, Channel, Fault, Message, TEAM, UserGroup, Workspace};

/// The bot's own id, beside its user id.
const BOT_ID: &str = "B0COOLOPS1";

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

/// A method: its arguments, and the scopes of which it needs one. Any other argument is refused, so that a typo can't
/// be silently ignored.
struct WebMethod {
    name: &'static str,
    any_of: &'static [&'static str],
    arguments: &'static [&'static str],
}

const HISTORY: &[&str] = &["channels:history", "groups:history", "im:history", "mpim:history"];
const READ: &[&str] = &["channels:read", "groups:read", "im:read", "mpim:read"];

const METHODS: &[WebMethod] = &[
    WebMethod { name: "auth.test", any_of: &[], arguments: &[] },
    WebMethod {
        name: "chat.postMessage",
        any_of: &["chat:write"],
        arguments: &[
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
    },
    WebMethod {
        name: "chat.update",
        any_of: &["chat:write"],
        arguments: &[
            "channel",
            "ts",
            "text",
            "blocks",
            "attachments",
            "metadata",
            "parse",
            "link_names",
            "reply_broadcast",
            "markdown_text",
        ],
    },
    WebMethod {
        name: "chat.postEphemeral",
        any_of: &["chat:write"],
        arguments: &["channel", "user", "text", "blocks", "attachments", "thread_ts", "parse", "link_names"],
    },
    WebMethod { name: "chat.delete", any_of: &["chat:write"], arguments: &["channel", "ts"] },
    WebMethod {
        name: "conversations.history",
        any_of: HISTORY,
        arguments: &["channel", "oldest", "latest", "inclusive", "limit", "cursor", "include_all_metadata"],
    },
    WebMethod {
        name: "conversations.replies",
        any_of: HISTORY,
        arguments: &["channel", "ts", "oldest", "latest", "inclusive", "limit", "cursor", "include_all_metadata"],
    },
    WebMethod {
        name: "conversations.open",
        any_of: &["im:write", "mpim:write", "channels:manage", "groups:write"],
        arguments: &["channel", "users", "return_im", "prevent_creation"],
    },
    WebMethod { name: "views.open", any_of: &[], arguments: &["trigger_id", "view"] },
    WebMethod {
        name: "usergroups.list",
        any_of: &["usergroups:read"],
        arguments: &["include_count", "include_disabled", "include_users", "team_id"],
    },
    WebMethod {
        name: "usergroups.users.list",
        any_of: &["usergroups:read"],
        arguments: &["usergroup", "include_disabled", "team_id"],
    },
    WebMethod { name: "users.info", any_of: &["users:read"], arguments: &["user", "include_locale"] },
    WebMethod {
        name: "conversations.info",
        any_of: READ,
        arguments: &["channel", "include_locale", "include_num_members"],
    },
];

/// The word for more posts into a channel than it takes.
const TOO_FAST: &str = "ratelimited";

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
        return (StatusCode::TOO_MANY_REQUESTS, headers, axum::Json(json!({ "ok": false, "error": "ratelimited" })))
            .into_response();
    }
    let fault = shared.workspace().fault(&method);
    let taken = Taken { method, http, query, headers, body };
    match &fault {
        Some(Fault::RateLimited(seconds)) => {
            shared.workspace().close(&taken.method, *seconds);
            let headers = [(header::RETRY_AFTER, seconds.to_string())];
            return (
                StatusCode::TOO_MANY_REQUESTS,
                headers,
                axum::Json(json!({ "ok": false, "error": "ratelimited" })),
            )
                .into_response();
        }
        Some(Fault::Status(status)) => {
            return StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY).into_response();
        }
        Some(Fault::Error(error)) => return axum::Json(json!({ "ok": false, "error": error })).into_response(),
        Some(Fault::Late(seconds)) => {
            let wait = std::time::Duration::from_secs(*seconds);
            // In a task of its own: a client that has given up and gone doesn't undo it.
            let late = tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                done(&shared, taken)
            });
            return late.await.map_or_else(
                |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                |answer| axum::Json(answer).into_response(),
            );
        }
        Some(Fault::LostReply) | None => {}
    }
    let answer = done(&shared, taken);
    if matches!(fault, Some(Fault::LostReply)) {
        // What a broken connection looks like to a client that waits for an answer.
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    if answer["error"] == TOO_FAST {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], axum::Json(answer)).into_response();
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
        allow(&workspace, &method, &arguments)?;
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
        Err(Refusal { error, messages }) => {
            json!({ "ok": false, "error": error, "response_metadata": { "messages": messages } })
        }
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
    let known = METHODS.iter().find(|m| m.name == method).ok_or("unknown_method")?.arguments;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_lowercase();
    let form =
        |pairs: Vec<(String, String)>| pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let arguments: Map<String, Value> = if *http == Method::GET {
        form(query)
    } else if kind.starts_with("application/json") {
        serde_json::from_slice(body).map_err(|_| "invalid_json")?
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).map_err(|_| "invalid_form_data")?;
        let nested = |(name, value): (String, String)| {
            let json = ["blocks", "attachments", "metadata"]
                .contains(&name.as_str())
                .then(|| serde_json::from_str(&value).ok())
                .flatten();
            (name, json.unwrap_or(Value::String(value)))
        };
        pairs.into_iter().map(nested).collect()
    } else if body.is_empty() {
        Map::new()
    } else {
        return Err("invalid_post_type".into());
    };
    match arguments.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => {
            Err(Refusal { error: "invalid_arguments", messages: vec![format!("[ERROR] unknown argument: {unknown}")] })
        }
        None => Ok(arguments),
    }
}

/// Whether the app's scopes allow a call: for reading, one for the kind of the channel.
fn allow(workspace: &Workspace, method: &str, a: &Map<String, Value>) -> Result<(), Refusal> {
    let has = |scope: &str| workspace.scopes.iter().any(|s| s == scope);
    let scopes = METHODS.iter().find(|m| m.name == method).map_or(&[] as &[&str], |m| m.any_of);
    let own_face = ["username", "icon_emoji", "icon_url"].iter().any(|name| a.contains_key(*name));
    let missing = match scopes.first() {
        Some(first) if !scopes.iter().any(|s| has(s)) => Some(*first),
        _ if own_face && !has("chat:write.customize") => Some("chat:write.customize"),
        _ => None,
    };
    match missing {
        Some(needed) => Err(Refusal {
            error: "missing_scope",
            messages: vec![format!("needed: {needed}"), format!("provided: {}", workspace.scopes.join(","))],
        }),
        None => Ok(()),
    }
}

/// A truth value: `true` in JSON, `true` or `1` in a form.
fn truth(a: &Map<String, Value>, name: &str) -> bool {
    match a.get(name) {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => ["true", "1"].contains(&text.to_ascii_lowercase().as_str()),
        _ => false,
    }
}

/// A number, in JSON or in a form.
fn number(a: &Map<String, Value>, name: &str) -> Result<Option<u64>, ()> {
    match a.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_u64().map(Some).ok_or(()),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(drop),
        Some(_) => Err(()),
    }
}

/// A moment as Slack writes it, in microseconds: `1700000000.000100`.
fn moment(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    (digits(seconds) && digits(fraction) && fraction.len() <= 6)
        .then(|| {
            seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(format!("{fraction:0<6}").parse().ok()?)
        })
        .flatten()
}

/// The direct messages with one person. (Of several persons at once nothing is known here.)
fn open(workspace: &mut Workspace, a: &Map<String, Value>) -> Result<Value, Refusal> {
    let users = text(a, "users")?;
    if users.is_empty() {
        return Err("not_enough_users".into());
    }
    if users == BOT {
        return Err("cannot_dm_bot".into());
    }
    workspace.user(users).ok_or("user_not_found")?;
    let channel = workspace.channel(users).ok_or("user_not_found")?;
    Ok(json!({ "no_op": true, "already_open": true, "channel": { "id": channel.id } }))
}

/// A page of a channel, newest first; or of a thread, the message under which it is first. A cursor names the first
/// message of its page.
fn history(workspace: &mut Workspace, a: &Map<String, Value>, thread: Option<&str>) -> Result<Value, Refusal> {
    let bound = |name: &str, error: &'static str| match text(a, name)? {
        "" => Ok::<_, Refusal>(None),
        given => Ok(Some(moment(given).ok_or(error)?)),
    };
    let (oldest, latest) = (bound("oldest", "invalid_ts_oldest")?, bound("latest", "invalid_ts_latest")?);
    let limit = match number(a, "limit") {
        Ok(limit) => limit.unwrap_or(100),
        Err(()) => return Err("invalid_limit".into()),
    };
    if !(1..=999).contains(&limit) {
        return Err("invalid_limit".into());
    }
    let from = match text(a, "cursor")? {
        "" => None,
        cursor => {
            let decoded = STANDARD.decode(cursor).ok().and_then(|c| String::from_utf8(c).ok());
            Some(decoded.and_then(|c| moment(c.strip_prefix("next_ts:")?)).ok_or("invalid_cursor")?)
        }
    };
    let (all, inclusive) = (truth(a, "include_all_metadata"), truth(a, "inclusive"));
    let channel = workspace.channel(text(a, "channel")?).ok_or("channel_not_found")?;
    if !channel.is_member {
        return Err("not_in_channel".into());
    }
    let within = |m: &&Message| {
        let at = moment(&m.ts).unwrap_or(0);
        let after = oldest.is_none_or(|o| at > o || (inclusive && at == o));
        let before = latest.is_none_or(|l| at < l || (inclusive && at == l));
        let is_there = m.only_for.is_none()
            && match thread {
                Some(parent) => m.ts == parent || m.thread_ts.as_deref() == Some(parent),
                None => m.thread_ts.is_none() || m.broadcast,
            };
        let on_page = from.is_none_or(|f| if thread.is_some() { at >= f } else { at <= f });
        is_there && (after && before || thread == Some(&m.ts)) && on_page
    };
    if thread.is_some_and(|parent| channel.messages.iter().all(|m| m.ts != parent)) {
        return Err("thread_not_found".into());
    }
    let all_messages: Box<dyn Iterator<Item = &Message>> =
        if thread.is_some() { Box::new(channel.messages.iter()) } else { Box::new(channel.messages.iter().rev()) };
    let mut found = all_messages.filter(within);
    let messages: Vec<Value> =
        found.by_ref().take(usize::try_from(limit).unwrap_or(999)).map(|m| read_back(channel, m, all)).collect();
    let mut answer = json!({ "messages": messages, "has_more": false, "pin_count": 0 });
    if let Some(next) = found.next() {
        answer["has_more"] = true.into();
        answer["response_metadata"] = json!({ "next_cursor": STANDARD.encode(format!("next_ts:{}", next.ts)) });
    }
    Ok(answer)
}

/// Puts an answer into the thread that it names.
fn in_thread(channel: &Channel, a: &Map<String, Value>, message: &mut Message) -> Result<(), Refusal> {
    let parent = text(a, "thread_ts")?;
    if parent.is_empty() {
        return Ok(());
    }
    let found =
        channel.messages.iter().find(|m| m.ts == parent && m.only_for.is_none()).filter(|m| m.thread_ts.is_none());
    message.thread_ts = Some(found.ok_or("cannot_reply_to_message")?.ts.clone());
    message.broadcast = truth(a, "reply_broadcast");
    Ok(())
}

/// A message as it is read back from its channel: a thread's first one tells of its answers.
fn read_back(channel: &Channel, m: &Message, with_metadata: bool) -> Value {
    let mut value = shown(m, with_metadata);
    let answers: Vec<&Message> =
        channel.messages.iter().filter(|r| r.thread_ts.as_ref() == Some(&m.ts) && r.only_for.is_none()).collect();
    if let Some(last) = answers.last() {
        value["thread_ts"] = m.ts.clone().into();
        value["reply_count"] = answers.len().into();
        value["latest_reply"] = last.ts.clone().into();
    }
    value
}

fn text<'a>(arguments: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => {
            Err(Refusal { error: "invalid_arguments", messages: vec![format!("[ERROR] {name} must be a string")] })
        }
    }
}

fn perform(workspace: &mut Workspace, method: &str, a: &Map<String, Value>) -> Result<Value, Refusal> {
    match method {
        "auth.test" => Ok(json!({
            "url": "https://demo.slack.com/", "team": "Demo", "team_id": TEAM, "user": "coolops", "user_id": BOT, "bot_id": BOT_ID, "is_enterprise_install": false,
        })),
        "views.open" => {
            let view = a.get("view").ok_or("invalid_arguments")?;
            validate::view(view).map_err(|f| Refusal { error: f.error, messages: f.messages })?;
            Ok(workspace.open_dialog(text(a, "trigger_id")?, view)?)
        }
        "chat.postMessage" => {
            let mut message = content(a, 40_000)?;
            message.ts = workspace.next_ts();
            let (counts, now) = (workspace.counts_posts, workspace.now());
            let channel = writable(workspace, text(a, "channel")?)?;
            in_thread(channel, a, &mut message)?;
            if counts {
                channel.takes_a_post(now).ok_or(TOO_FAST)?;
            }
            message.metadata = a.get("metadata").cloned().unwrap_or(Value::Null);
            let answer = json!({ "channel": channel.id, "ts": message.ts, "message": shown(&message, false) });
            channel.messages.push(message);
            Ok(answer)
        }
        "chat.update" => {
            let keeps = ["text", "blocks", "attachments"].iter().all(|name| !a.contains_key(*name))
                && a.contains_key("metadata");
            let new = if keeps { judged_metadata(a)? } else { content(a, 4_000)? };
            let ts = text(a, "ts")?;
            let channel = writable(workspace, text(a, "channel")?)?;
            let id = channel.id.clone();
            let message =
                channel.messages.iter_mut().find(|m| m.ts == ts && m.only_for.is_none()).ok_or("message_not_found")?;
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
            if channel.with.as_ref().is_some_and(|with| *with != user) {
                return Err("user_not_in_channel".into());
            }
            in_thread(channel, a, &mut message)?;
            message.only_for = Some(user);
            let answer = json!({ "message_ts": message.ts });
            channel.messages.push(message);
            Ok(answer)
        }
        "chat.delete" => {
            let ts = text(a, "ts")?;
            let channel = writable(workspace, text(a, "channel")?)?;
            let at =
                channel.messages.iter().position(|m| m.ts == ts && m.only_for.is_none()).ok_or("message_not_found")?;
            if channel.messages[at].user != BOT {
                return Err("cant_delete_message".into());
            }
            channel.messages.remove(at);
            Ok(json!({ "channel": channel.id, "ts": ts }))
        }
        "conversations.history" => history(workspace, a, None),
        "conversations.replies" => {
            let parent = text(a, "ts")?.to_owned();
            history(workspace, a, Some(&parent))
        }
        "conversations.open" => open(workspace, a),
        "usergroups.list" => {
            let group = |g: &UserGroup| json!({ "id": g.id, "team_id": TEAM, "is_usergroup": true, "name": g.handle, "handle": g.handle, "date_delete": 0 });
            Ok(json!({ "usergroups": workspace.groups.iter().map(group).collect::<Vec<_>>() }))
        }
        "usergroups.users.list" => {
            let id = text(a, "usergroup")?;
            let group = workspace.groups.iter().find(|g| g.id == id).ok_or("no_such_subteam")?;
            Ok(json!({ "users": group.users }))
        }
        "users.info" => {
            let user = workspace.user(text(a, "user")?).ok_or("user_not_found")?;
            Ok(json!({ "user": {
                "id": user.id, "team_id": TEAM, "name": user.name, "real_name": user.real_name,
                "is_restricted": user.is_guest, "is_ultra_restricted": false, "is_bot": user.id == BOT, "deleted": user.has_left,
            }}))
        }
        "conversations.info" => {
            let channel = workspace.channel(text(a, "channel")?).ok_or("channel_not_found")?;
            Ok(json!({ "channel": {
                "id": channel.id, "name": channel.name, "is_channel": channel.with.is_none(), "is_im": channel.with.is_some(),
                "is_private": false, "is_member": channel.is_member, "is_archived": channel.is_archived, "is_ext_shared": false,
                "context_team_id": TEAM, "creator": BOT, "created": 1_700_000_000,
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
    let judge =
        |found: Result<(), validate::Fault>| found.map_err(|f| Refusal { error: f.error, messages: f.messages });
    judge(validate::blocks(&blocks))?;
    judge(validate::attachments(&attachments))?;
    judge(validate::together(&blocks, &attachments))?;
    judge(validate::metadata(a.get("metadata").unwrap_or(&Value::Null)))?;
    Ok(Message { user: BOT.to_owned(), text: words.to_owned(), blocks, attachments, ..Message::default() })
}

/// Judges an update of the metadata alone.
fn judged_metadata(a: &Map<String, Value>) -> Result<Message, Refusal> {
    let found = validate::metadata(a.get("metadata").unwrap_or(&Value::Null));
    found.map(|()| Message::default()).map_err(|f| Refusal { error: f.error, messages: f.messages })
}

/// Blocks with the ids that Slack gives to those that came without: the same each time.
fn with_ids(blocks: &Value, of: &str) -> Value {
    let id = |n: usize| hex::encode(Sha256::digest(format!("{of} {n}")))[..5].to_owned();
    let with_id = |(n, block): (usize, &Value)| {
        let mut block = block.clone();
        if let Some(fields) = block.as_object_mut() {
            fields.entry("block_id").or_insert_with(|| id(n).into());
        }
        escape_plain(&mut block);
        block
    };
    blocks.as_array().into_iter().flatten().enumerate().map(with_id).collect()
}

/// Plain text comes back escaped, and with what was left to be filled in (slackapi/bolt-python, issue 513).
fn escape_plain(part: &mut Value) {
    match part {
        Value::Array(all) => all.iter_mut().for_each(escape_plain),
        Value::Object(fields) => {
            if fields.get("type").and_then(Value::as_str) == Some("plain_text")
                && let Some(text) = fields.get("text").and_then(Value::as_str)
            {
                let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                fields.insert("text".into(), escaped.into());
                fields.entry("emoji").or_insert(true.into());
            }
            fields.values_mut().for_each(escape_plain);
        }
        _ => {}
    }
}

/// A message as the API answers it: `metadata` in full only where it was asked for.
pub(super) fn shown(m: &Message, with_metadata: bool) -> Value {
    let mut value = json!({ "type": "message", "user": m.user, "team": TEAM, "ts": m.ts, "text": m.text });
    // What somebody else wrote is shown as theirs.
    if m.user == BOT {
        value["bot_id"] = BOT_ID.into();
        value["app_id"] = APP.into();
        value["bot_profile"] = json!({ "id": BOT_ID, "app_id": APP, "user_id": BOT, "name": "coolops", "team_id": TEAM, "deleted": false });
    }
    if m.blocks.is_array() {
        value["blocks"] = with_ids(&m.blocks, &m.ts);
    }
    let mut attachments = Vec::new();
    for (n, attachment) in m.attachments.as_array().into_iter().flatten().enumerate() {
        let mut attachment = attachment.clone();
        if attachment["blocks"].is_array() {
            attachment["blocks"] = with_ids(&attachment["blocks"], &format!("{} {n}", m.ts));
        }
        attachment["id"] = (n + 1).into();
        if attachment.get("fallback").is_none() {
            attachment["fallback"] = "[no preview available]".into();
        }
        attachments.push(attachment);
    }
    if !attachments.is_empty() {
        value["attachments"] = attachments.into();
    }
    if m.edits > 0 {
        value["edited"] = json!({ "user": BOT, "ts": m.ts });
    }
    if let Some(parent) = &m.thread_ts {
        value["thread_ts"] = parent.clone().into();
        value["parent_user_id"] = BOT.into();
    }
    if with_metadata && !m.metadata.is_null() {
        value["metadata"] = m.metadata.clone();
    } else if let Some(kind) = m.metadata.get("event_type") {
        value["metadata"] = json!({ "event_type": kind });
    }
    value
}
