//! Dialogs: opened by the app with the trigger of a press, filled in by who pressed, sent back signed.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::Shared;
use super::press::Signed;
use super::validate;
use super::workspace::{APP, TEAM, Workspace};

/// So long a trigger can be used (docs.slack.dev, "Handling user interaction").
const TRIGGER_LASTS: Duration = Duration::from_secs(3);

/// What a press can be answered with by a dialog, once.
#[derive(Debug)]
pub(super) struct Trigger {
    id: String,
    user: String,
    since: Instant,
    used: bool,
}

/// A dialog that somebody sees.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Dialog {
    pub id: String,
    pub user: String,
    pub view: Value,
    /// What the app said about what was filled in, by block.
    pub errors: Value,
}

impl Workspace {
    /// Makes what a press can be answered with by a dialog.
    pub(super) fn trigger(&mut self, user: &str) -> String {
        let id = format!("{}.trigger", self.next_ts());
        self.triggers.push(Trigger { id: id.clone(), user: user.to_owned(), since: self.now(), used: false });
        id
    }

    /// `views.open`.
    pub(super) fn open_dialog(&mut self, trigger: &str, view: &Value) -> Result<Value, &'static str> {
        let now = self.now();
        let trigger = self.triggers.iter_mut().find(|t| t.id == trigger).ok_or("invalid_trigger_id")?;
        if now.duration_since(trigger.since) > TRIGGER_LASTS {
            return Err("expired_trigger_id");
        }
        if std::mem::replace(&mut trigger.used, true) {
            return Err("exchanged_trigger_id");
        }
        let user = trigger.user.clone();
        let id = format!("V{}", self.next_ts().replace('.', ""));
        self.dialogs.retain(|d| d.user != user);
        self.dialogs.push(Dialog { id: id.clone(), user, view: view.clone(), errors: Value::Null });
        Ok(json!({ "view": shown(&id, view, &Value::Null) }))
    }
}

/// A dialog as the API tells it.
fn shown(id: &str, view: &Value, values: &Value) -> Value {
    let mut shown = view.clone();
    shown["id"] = id.into();
    shown["team_id"] = TEAM.into();
    shown["app_id"] = APP.into();
    shown["state"] = json!({ "values": values });
    shown
}

impl Shared {
    /// The signed request for a dialog that was filled in: what was written, by block. None when there is no such dialog.
    pub fn signed_submission(&self, id: &str, written: &[(&str, &str)]) -> Option<Signed> {
        let workspace = self.workspace();
        let dialog = workspace.dialogs.iter().find(|d| d.id == id)?;
        let user = workspace.user(&dialog.user)?;
        let mut values = json!({});
        for block in dialog.view["blocks"].as_array().into_iter().flatten().filter(|b| b["type"] == "input") {
            let (block_id, element) = (block["block_id"].as_str()?, &block["element"]);
            let text = written.iter().find(|(name, _)| *name == block_id).map(|(_, text)| *text);
            let value = text.filter(|text| !text.is_empty());
            values[block_id][element["action_id"].as_str()?] = json!({ "type": element["type"], "value": value });
        }
        let payload = json!({
            "type": "view_submission",
            "team": { "id": TEAM, "domain": "demo" },
            "user": { "id": user.id, "username": user.name, "name": user.name, "team_id": TEAM },
            "api_app_id": APP,
            "token": "deprecated",
            "trigger_id": format!("{id}.trigger"),
            "view": shown(id, &dialog.view, &values),
            "response_urls": [],
            "is_enterprise_install": false,
            "enterprise": null,
        });
        drop(workspace);
        Some(self.sign(serde_urlencoded::to_string([("payload", payload.to_string())]).ok()?))
    }

    /// What the app answered to a dialog that was filled in: it closes, or says beside the blocks what is wrong.
    ///
    /// # Errors
    /// What a person would read in Slack.
    pub fn answered_dialog(&self, id: &str, status: u16, body: &str) -> Result<(), String> {
        if status != 200 {
            return Err("We had some trouble connecting. Try again?".to_owned());
        }
        let answer: Value =
            if body.trim().is_empty() { Value::Null } else { serde_json::from_str(body).unwrap_or_default() };
        let mut workspace = self.workspace();
        let shown = workspace.dialogs.iter_mut().find(|d| d.id == id);
        match (answer["response_action"].as_str(), shown) {
            (Some("errors"), Some(dialog)) => dialog.errors = answer["errors"].clone(),
            (Some("update"), Some(dialog)) => {
                validate::view(&answer["view"]).map_err(|_| "We had some trouble connecting. Try again?".to_owned())?;
                (dialog.view, dialog.errors) = (answer["view"].clone(), Value::Null);
            }
            _ => workspace.dialogs.retain(|d| d.id != id),
        }
        drop(workspace);
        self.changed();
        Ok(())
    }

    /// Fills a dialog in and sends it to the app, as Slack does.
    ///
    /// # Errors
    /// What a person would read in Slack.
    pub async fn submit(&self, id: &str, written: &[(&str, &str)]) -> Result<(), String> {
        let signed = self.signed_submission(id, written).ok_or("there is no such dialog")?;
        let url = self.interactions_url.lock().expect("no holder of the lock panics").clone();
        let url = url.ok_or("the app has no interactions URL yet")?;
        let (status, body) = super::press::exchange(url, "application/x-www-form-urlencoded", signed).await?;
        self.answered_dialog(id, status, &body)
    }

    /// Closes a dialog without a word to the app.
    pub fn close_dialog(&self, id: &str) {
        self.workspace().dialogs.retain(|d| d.id != id);
        self.changed();
    }
}
