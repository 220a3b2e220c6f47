//! Slash commands: the form that Slack sends, signed as Slack signs, and the answer in the response.

use serde_json::Value;

use super::Shared;
use super::press::{Signed, answer, exchange};
use super::workspace::{APP, TEAM};

/// How the command is called in this workspace.
pub const NAME: &str = "/coolops";

impl Shared {
    /// The signed request for a command; none without such a person or channel.
    pub fn signed_command(&self, channel: &str, user: &str, text: &str) -> Option<Signed> {
        let mut workspace = self.workspace();
        let trigger = format!("{}.trigger", workspace.next_ts());
        let user = workspace.user(user)?.clone();
        let (channel, channel_name) = workspace.channel(channel).map(|c| (c.id.clone(), c.name.clone()))?;
        let secret = workspace.response_url(&channel, "", &user.id);
        let body = serde_urlencoded::to_string([
            ("token", "deprecated"),
            ("team_id", TEAM),
            ("team_domain", "demo"),
            ("channel_id", &channel),
            ("channel_name", &channel_name),
            ("user_id", &user.id),
            ("user_name", &user.name),
            ("command", NAME),
            ("text", text),
            ("api_app_id", APP),
            ("is_enterprise_install", "false"),
            ("response_url", &format!("http://{}/respond/{secret}", self.address)),
            ("trigger_id", &trigger),
        ]);
        drop(workspace);
        Some(self.sign(body.ok()?))
    }

    /// Shows what the app answered to a command.
    ///
    /// # Errors
    /// What Slack tells the person when it can't be shown.
    pub fn show_answer(&self, channel: &str, user: &str, status: u16, body: &str) -> Result<(), String> {
        if status != 200 {
            return Err(format!("{NAME} failed with the error \"http_service_error\" ({status})"));
        }
        if body.is_empty() || body == "{}" {
            return Ok(());
        }
        let said = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        let said = if said.is_string() { serde_json::json!({ "text": said }) } else { said };
        let shown = answer(&mut self.workspace(), channel, "", user, &said);
        self.changed();
        shown.map_err(|error| format!("{NAME} failed with the error \"{error}\""))
    }

    /// Somebody writes a command; its answer is shown.
    ///
    /// # Errors
    /// What Slack tells the person.
    pub async fn command(&self, channel: &str, user: &str, text: &str) -> Result<(), String> {
        let signed = self.signed_command(channel, user, text).ok_or("channel_not_found")?;
        let url = self.interactions_url.lock().expect("no holder of the lock panics").clone();
        let url = url.ok_or("the app has no URL yet")?.replace("/interactions", "/commands");
        let (status, body) = exchange(url, "application/x-www-form-urlencoded", signed).await?;
        self.show_answer(channel, user, status, &body)
    }
}
