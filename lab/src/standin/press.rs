//! Presses: the payload that Slack sends for a button, signed as Slack signs, and the answers that come back through
//! `response_url`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Shared;
use super::api::shown;
use super::validate;
use super::workspace::{APP, BOT, Message, ResponseUrl, TEAM, Workspace};

/// Which element was pressed, and by whom.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain data")]
pub struct Press {
    pub channel: String,
    pub ts: String,
    pub user: String,
    pub action_id: String,
    /// The chosen entry, for a menu.
    pub option: Option<String>,
}

/// A request as Slack would send it.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain data")]
pub struct Signed {
    pub timestamp: String,
    pub signature: String,
    pub body: String,
}

impl Shared {
    /// The signed request for a press; none when there is no such element.
    pub fn signed_press(&self, press: &Press) -> Option<Signed> {
        let mut workspace = self.workspace();
        let action_ts = workspace.next_ts();
        let user = workspace.user(&press.user)?.clone();
        let channel = workspace.channel(&press.channel)?;
        let (channel_id, channel_name) = (channel.id.clone(), channel.name.clone());
        let message = channel.messages.iter().find(|m| m.ts == press.ts)?;
        let (block_id, element) = find_element(message, &press.action_id)?;
        let mut action = json!({
            "type": element["type"], "action_id": press.action_id, "block_id": block_id, "action_ts": action_ts,
        });
        match &press.option {
            Some(value) => {
                // Only what is in the menu can be chosen.
                let groups = element["option_groups"].as_array().into_iter().flatten();
                let lists = groups.map(|group| &group["options"]).chain([&element["options"]]);
                let mut options = lists.filter_map(Value::as_array).flatten();
                let chosen = options.find(|option| option["value"] == **value)?;
                action["selected_option"] = json!({ "text": chosen["text"], "value": value });
            }
            None => {
                action["text"] = element["text"].clone();
                if element.get("value").is_some() {
                    action["value"] = element["value"].clone();
                }
            }
        }
        // What only one person sees is nobody else's to press, and Slack sends it along to nobody.
        let is_ephemeral = message.only_for.is_some();
        if message.only_for.as_ref().is_some_and(|only| *only != user.id) {
            return None;
        }
        let message_shown = shown(message, true);
        let secret = workspace.response_url(&channel_id, &press.ts, &user.id);
        let trigger = workspace.trigger(&user.id);
        let mut payload = json!({
            "type": "block_actions",
            "team": { "id": TEAM, "domain": "demo" },
            "enterprise": null,
            "is_enterprise_install": false,
            "user": { "id": user.id, "username": user.name, "name": user.name, "team_id": TEAM },
            "api_app_id": APP,
            "token": "deprecated",
            "container": { "type": "message", "message_ts": press.ts, "channel_id": channel_id, "is_ephemeral": is_ephemeral },
            "trigger_id": trigger,
            "channel": { "id": channel_id, "name": channel_name },
            "message": message_shown,
            "state": { "values": {} },
            "response_url": format!("http://{}/respond/{secret}", self.address),
            "actions": [action],
        });
        if is_ephemeral && let Some(payload) = payload.as_object_mut() {
            payload.remove("message");
        }
        drop(workspace);
        let body = serde_urlencoded::to_string([("payload", payload.to_string())]).ok()?;
        Some(self.sign(body))
    }

    /// Signs a body now.
    pub fn sign(&self, body: String) -> Signed {
        let now = self.workspace().since_epoch().as_secs();
        self.sign_at(body, now)
    }

    /// Signs a body at a time.
    pub fn sign_at(&self, body: String, seconds: u64) -> Signed {
        let timestamp = seconds.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(self.options.signing_secret.as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(format!("v0:{timestamp}:").as_bytes());
        mac.update(body.as_bytes());
        let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
        Signed { timestamp, signature, body }
    }

    /// Sends an event to the app, as Slack's Events API does; tells the status.
    ///
    /// # Errors
    /// When nobody answered within 3 s.
    pub async fn tell(&self, event: Value) -> Result<u16, String> {
        let body = json!({
            "type": "event_callback", "team_id": TEAM, "api_app_id": APP, "event_id": format!("Ev{}", self.workspace().next_ts()),
            "event": event, "authorizations": [{ "team_id": TEAM, "user_id": BOT, "is_bot": true }],
        });
        let signed = self.sign(body.to_string());
        let url = self
            .interactions_url
            .lock()
            .expect("no holder of the lock panics")
            .clone()
            .ok_or("the app has no URL yet")?;
        let url = url.replace("/interactions", "/events");
        let told = send(url.clone(), "application/json", signed.clone()).await;
        // Slack tells an event again that was not taken, the first time nearly at once.
        if matches!(told, Ok(200)) { told } else { send(url, "application/json", signed).await }
    }

    /// Sends a signed request to the app, as Slack does; tells the status, or that nobody answered within 3 s.
    ///
    /// # Errors
    /// What a person would read in Slack.
    pub async fn deliver(&self, signed: Signed) -> Result<u16, String> {
        let url = self.interactions_url.lock().expect("no holder of the lock panics").clone();
        let url = url.ok_or("the app has no interactions URL yet")?;
        self.deliver_to(url, signed).await
    }

    /// Sends a signed request to an address of the app.
    ///
    /// # Errors
    /// When nobody answered within 3 s.
    pub async fn deliver_to(&self, url: String, signed: Signed) -> Result<u16, String> {
        send(url, "application/x-www-form-urlencoded", signed).await
    }
}

async fn send(url: String, kind: &'static str, signed: Signed) -> Result<u16, String> {
    exchange(url, kind, signed).await.map(|(status, _)| status)
}

/// Sends a signed request and tells what came back.
pub(super) async fn exchange(url: String, kind: &'static str, signed: Signed) -> Result<(u16, String), String> {
    let send = move || {
        let config = ureq::post(&url)
            .config()
            .timeout_global(Some(std::time::Duration::from_secs(3)))
            .http_status_as_error(false)
            .build();
        config
            .header("content-type", kind)
            .header("x-slack-request-timestamp", &signed.timestamp)
            .header("x-slack-signature", &signed.signature)
            .send(&signed.body)
            .map(|mut answer| (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap_or_default()))
            .map_err(|_| "the app did not answer within 3 seconds".to_owned())
    };
    tokio::task::spawn_blocking(send).await.map_err(|e| e.to_string())?
}

/// The element with this action id, in the blocks or in an attachment's.
fn find_element<'a>(message: &'a Message, action_id: &str) -> Option<(&'a str, &'a Value)> {
    let attached = message.attachments.as_array().into_iter().flatten().filter_map(|a| a["blocks"].as_array());
    let blocks = message.blocks.as_array().into_iter().chain(attached).flatten();
    blocks
        .flat_map(|block| {
            let elements = block["elements"].as_array().into_iter().flatten().chain(block.get("accessory"));
            elements.map(move |e| (block["block_id"].as_str().unwrap_or_default(), e))
        })
        .find(|(_, element)| element["action_id"] == action_id)
}

/// How many answers are taken through a response address.
const ANSWERS: u32 = 5;

/// How long answers are taken through a response address.
const OPEN: Duration = Duration::from_mins(30);

impl Workspace {
    /// Makes the address for answers to a press, whose last part nobody can guess.
    pub(super) fn response_url(&mut self, channel: &str, ts: &str, user: &str) -> String {
        let mut random = [0; 24];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let secret = hex::encode(random);
        let (channel, ts, user) = (channel.to_owned(), ts.to_owned(), user.to_owned());
        let since = self.now();
        self.response_urls.push(ResponseUrl { secret: secret.clone(), channel, ts, user, since, left: ANSWERS });
        secret
    }

    /// Whether anything came through a press's own address for answers.
    pub fn was_answered(&self, press: &Signed) -> bool {
        self.response_urls.iter().any(|url| url.left < ANSWERS && press.body.contains(&url.secret))
    }
}

/// `POST /respond/{secret}`: an answer through `response_url`. Shown to the presser alone unless it says `in_channel`;
/// it can also take the message's place, or delete it. Five are taken, within thirty minutes.
pub async fn respond(
    State(shared): State<Arc<Shared>>,
    Path(secret): Path<String>,
    axum::Json(answer): axum::Json<Value>,
) -> Response {
    let done = respond_to(&mut shared.workspace(), &secret, &answer);
    shared.changed();
    match done {
        Ok(()) => (StatusCode::OK, "ok").into_response(),
        Err(error) => (StatusCode::NOT_FOUND, axum::Json(json!({ "ok": false, "error": error }))).into_response(),
    }
}

fn respond_to(workspace: &mut Workspace, secret: &str, said: &Value) -> Result<(), &'static str> {
    let now = workspace.now();
    let open = workspace.response_urls.iter_mut().find(|r| r.secret == secret).ok_or("invalid_url")?;
    if now.duration_since(open.since) > OPEN {
        return Err("expired_url");
    }
    open.left = open.left.checked_sub(1).ok_or("used_url")?;
    let (channel, pressed, user) = (open.channel.clone(), open.ts.clone(), open.user.clone());
    answer(workspace, &channel, &pressed, &user, said)
}

/// Shows an answer: to this person alone unless it says otherwise, in place of the message that was pressed if it says
/// so.
pub(super) fn answer(
    workspace: &mut Workspace,
    channel: &str,
    pressed: &str,
    user: &str,
    answer: &Value,
) -> Result<(), &'static str> {
    let ts = workspace.next_ts();
    let (blocks, attachments) = (answer["blocks"].clone(), answer["attachments"].clone());
    let judged = validate::blocks(&blocks)
        .and_then(|()| validate::attachments(&attachments))
        .and_then(|()| validate::together(&blocks, &attachments));
    judged.map_err(|f| f.error)?;
    let is = |name: &str| answer[name] == true || answer[name] == "true";
    let text = answer["text"].as_str().unwrap_or_default().to_owned();
    let channel = workspace.channel(channel).ok_or("channel_not_found")?;
    if is("delete_original") {
        channel.messages.retain(|m| m.ts != pressed);
        return Ok(());
    }
    if text.is_empty() && blocks.is_null() && attachments.is_null() {
        return Err("no_text");
    }
    let original = channel.messages.iter_mut().find(|m| m.ts == pressed && is("replace_original"));
    if let Some(original) = original {
        (original.text, original.blocks, original.attachments) = (text, blocks, attachments);
        original.edits += 1;
        return Ok(());
    }
    let only_for = (answer["response_type"] != "in_channel").then(|| user.to_owned());
    channel.messages.push(Message {
        ts,
        user: BOT.to_owned(),
        text,
        blocks,
        attachments,
        only_for,
        ..Message::default()
    });
    Ok(())
}
