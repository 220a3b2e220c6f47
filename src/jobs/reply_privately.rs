//! Tells a presser, and nobody else, why the press was refused.

use super::Outcome;
use crate::app::App;
use crate::domain::deployment::PressRefusal;
use crate::domain::event::Event;
use crate::domain::ids::DeploymentId;
use crate::slack::client::{Slack, SlackError};
use crate::slack::mrkdwn;
use crate::store::jobs::Claim;

/// Does the job. A refusal that can't be delivered is not tried for ever: the presser has moved on.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(app: &App, slack: &Slack, claim: &Claim, press: DeploymentId) -> anyhow::Result<Outcome> {
    let events = app.store.read_stream(press.0).await?;
    let Some(Event::DeploymentRefused(refused)) = events.into_iter().next().map(|e| e.event) else { return Ok(Outcome::Done) };
    let mut text = mrkdwn::escape(&mrkdwn::clean(&refused.refusal.sentence()));
    if let PressRefusal::UnderWay { since_press_of, .. } = &refused.refusal {
        text.push_str(&format!(" It was started by {}.", mrkdwn::mention(since_press_of)));
    }
    match slack.whisper(&refused.channel, &refused.requested_by.user, &text).await {
        Ok(()) => Ok(Outcome::Done),
        Err(SlackError::RateLimited(wait)) => Ok(Outcome::Later(wait, None)),
        Err(e) if claim.attempts < 5 => Ok(Outcome::retry(claim.attempts, e.to_string())),
        Err(e) => {
            tracing::warn!(error = %e, "a private answer could not be delivered");
            Ok(Outcome::Done)
        }
    }
}
