//! `POST /slack/events`: Slack tells what became of the app, its token and its channels.

use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::Web;
use super::error::HttpError;
use super::slack_request::verified;
use crate::slack::event::{self, Notice};

/// Handles the request.
///
/// # Errors
/// 401 when Slack didn't sign it, 400 when it isn't what Slack sends, 503 when the database is away: Slack sends it again.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<(StatusCode, String), HttpError> {
    let signed = verified(&web, request).await?;
    let notice =
        event::parse(&signed.body).map_err(|e| HttpError::malformed(format!("the event can't be read: {e}")))?;
    web.app.noticed(&notice).await?;
    match notice {
        Notice::Challenge(challenge) => Ok((StatusCode::OK, challenge)),
        _ => Ok((StatusCode::OK, String::new())),
    }
}
