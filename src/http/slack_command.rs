//! `POST /slack/commands`: `/coolops …`. Verify, do, answer; what takes longer is answered through the command's own
//! address.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use serde_json::{Value, json};

use super::error::HttpError;
use super::slack_request::verified;
use super::{Web, response_url};
use crate::app::CommandError;
use crate::domain::ids::DeploymentId;
use crate::slack::command::{self, Sent};
use crate::telemetry::causes;

/// Slack gives up on an answer after 3 s.
const ON_IT: Duration = Duration::from_secs(2);

/// Handles the request. Slack shows the answer to the person alone, and expects 200 for its occasional `ssl_check`
/// (docs.slack.dev, "Implementing slash commands").
///
/// # Errors
/// 401 when Slack didn't sign it, 400 when it isn't what Slack sends.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<Response, HttpError> {
    let signed = verified(&web, request).await?;
    let sent = command::parse(&signed.body).map_err(|e| HttpError::malformed(e.to_string()))?;
    let Some(sent) = sent else { return Ok(Json(json!({})).into_response()) };
    if web.home.get().is_some_and(|home| *home != sent.by.team) {
        return Ok(Json(text("This command came from another workspace, so nothing was done.")).into_response());
    }
    let id = DeploymentId::of_press(&signed.signature, &signed.timestamp);
    let later = sent.response_url.clone();
    let (doing, mut done) = tokio::sync::oneshot::channel();
    let worker = web.clone();
    tokio::spawn(async move {
        // Its place among what is answered is kept until it is done.
        let _signed = signed;
        // Nobody waits any more: it is told through the command's address.
        if let Err(Some(answer)) = doing.send(answered(&worker, &sent, id).await) {
            response_url::say(&worker, later.as_deref(), answer);
        }
    });
    let answered = tokio::time::timeout(ON_IT, &mut done).await;
    // What comes from now on goes through the command's address; what came just now is here.
    done.close();
    match answered.or_else(|elapsed| done.try_recv().map(Ok).map_err(|_| elapsed)) {
        Ok(Ok(Some(answer))) => Ok(Json(answer).into_response()),
        // The person hears in another way; an empty answer shows nothing.
        Ok(Ok(None) | Err(_)) => Ok((StatusCode::OK, Body::empty()).into_response()),
        Err(_) => Ok(Json(text("On it …")).into_response()),
    }
}

async fn answered(web: &Web, sent: &Sent, id: DeploymentId) -> Option<Value> {
    match web.app.command(sent, id).await {
        Ok(answer) => answer.render(&sent.name),
        Err(CommandError::Unavailable(cause)) => {
            tracing::warn!(details = causes(&*cause), "a command could not be carried out");
            Some(text(
                "coolops can't reach its database right now and could not do that. Please try again in a moment.",
            ))
        }
        Err(CommandError::Impossible(cause)) => {
            tracing::error!(details = causes(&*cause), "a command can't be carried out");
            Some(text(
                "coolops could not do that, and would not if you tried again. An operator finds the reason in its log.",
            ))
        }
        Err(CommandError::Refused(never)) => match never {},
    }
}

fn text(sentence: &str) -> Value {
    json!({ "response_type": "ephemeral", "text": sentence })
}
