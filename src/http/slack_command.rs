//! `POST /slack/commands`: there are no commands yet. Slack's checks of the address, and people who try, are answered.

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};

use super::Web;
use super::error::Answer;
use super::slack_request::verified;

/// Handles the request. Slack shows the answer to the person alone, and expects 200 for its occasional `ssl_check`
/// (docs.slack.dev, "Implementing slash commands").
///
/// # Errors
/// 401 when Slack didn't sign it.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<Json<Value>, Answer> {
    let signed = verified(&web, request).await?;
    let is_check = url::form_urlencoded::parse(&signed.body).any(|(name, value)| name == "ssl_check" && value == "1");
    let text = "coolops has no commands yet: press a button under a build's message.";
    Ok(Json(if is_check { json!({}) } else { json!({ "response_type": "ephemeral", "text": text }) }))
}
