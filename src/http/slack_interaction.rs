//! `POST /slack/interactions`: somebody pressed a button. Verify, decide, append, 200; everything else is derived.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::error::Answer;
use super::slack_request::verified;
use super::{Parts, Web};
use crate::app::CommandError;
use crate::domain::ids::DeploymentId;
use crate::slack::interaction::{self, Interaction};

/// Slack gives up on an answer after 3 s.
const DEADLINE: Duration = Duration::from_millis(2_300);

/// Handles the request.
///
/// # Errors
/// 401 when Slack didn't sign it (nothing is recorded), 400 when it isn't what Slack sends.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<StatusCode, Answer> {
    let signed = verified(&web, request).await?;
    let body = &signed.body;
    let press = DeploymentId::of_press(&signed.signature, &signed.timestamp);
    let command = match interaction::parse(body, press) {
        Ok(Interaction::Deploy(command)) => *command,
        Ok(Interaction::Nothing) => return Ok(StatusCode::OK),
        Err(e) => return Err(Answer::malformed(e.to_string())),
    };
    let pressed = tokio::time::timeout(DEADLINE, web.app.press(command)).await;
    match pressed.unwrap_or_else(|_| Err(CommandError::Unavailable("the database is too slow".to_owned()))) {
        Ok(_) => Ok(StatusCode::OK),
        Err(CommandError::Unavailable(details)) => {
            tracing::warn!(details, "a press could not be recorded");
            say_try_again(&web, body);
            Ok(StatusCode::OK)
        }
        Err(CommandError::Refused(never)) => match never {},
    }
}

/// With the database away nothing can be recorded or queued: the presser is told through the press's own address, from
/// memory, and only if it is Slack's.
fn say_try_again(web: &Parts, body: &[u8]) {
    let payload: Option<serde_json::Value> = serde_urlencoded::from_bytes::<Vec<(String, String)>>(body)
        .ok()
        .and_then(|form| form.into_iter().find(|(name, _)| name == "payload"))
        .and_then(|(_, payload)| serde_json::from_str(&payload).ok());
    let Some(url) = payload.and_then(|p| p["response_url"].as_str().and_then(|u| url::Url::parse(u).ok())) else { return };
    if !url.host_str().is_some_and(|host| web.response_hosts.iter().any(|known| known == host)) {
        return;
    }
    tokio::task::spawn_blocking(move || {
        let text = "coolops can't reach its database right now and could not confirm your press. Please try again in a moment; if the message shows a line by then, your press was taken.";
        let answer = serde_json::json!({ "response_type": "ephemeral", "replace_original": false, "text": text });
        let request = ureq::post(url.as_str()).config().timeout_global(Some(Duration::from_secs(2))).build();
        if request.header("content-type", "application/json").send(answer.to_string()).is_err() {
            tracing::warn!("the presser could not be told to try again");
        }
    });
}
