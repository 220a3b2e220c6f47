//! `POST /slack/events`: Slack tells what became of the app, its token and its channels.
//!
//! Every notice only changes when something is tried again, so one that comes twice, late or never does no harm.

use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::Web;
use super::error::Answer;
use super::slack_request::verified;
use crate::slack::event::{self, Notice};

/// Handles the request.
///
/// # Errors
/// 401 when Slack didn't sign it, 400 when it isn't what Slack sends, 503 when the database is away: Slack sends it again.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<(StatusCode, String), Answer> {
    let signed = verified(&web, request).await?;
    let notice = event::parse(&signed.body).map_err(|e| Answer::malformed(format!("the event can't be read: {e}")))?;
    match notice {
        Notice::Challenge(challenge) => return Ok((StatusCode::OK, challenge)),
        Notice::Removed(word) => {
            tracing::warn!(
                slack.error = word,
                "Slack took the app's access away; nothing is sent until it is given back"
            );
            web.app.store.pause_slack(word).await?;
        }
        Notice::ChannelOpen(channel) => web.app.store.retry_channel(&channel).await?,
        Notice::ChannelClosed(channel, word) => {
            tracing::warn!(channel, slack.error = word, "a channel can't be posted to any more; its deployments go on");
        }
        Notice::Nothing => {}
    }
    Ok((StatusCode::OK, String::new()))
}
