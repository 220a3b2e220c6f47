//! Tells a presser, and nobody else, why the press was refused.

use super::Outcome;
use super::slack_calls::{Paces, trouble, turn};
use crate::app::App;
use crate::domain::deployment::PressRefusal;
use crate::domain::event::{DeploymentEvent, Event};
use crate::domain::ids::DeploymentId;
use crate::slack::client::{Slack, SlackError};
use crate::slack::mrkdwn;
use crate::store::jobs::Claim;

const SCOPE: &str = "slack:chat.postEphemeral";

/// Does the job. A refusal that can't be delivered is not tried for ever: the presser has moved on.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(
    app: &App,
    slack: &Slack,
    paces: &Paces,
    claim: &Claim,
    press: DeploymentId,
) -> anyhow::Result<Outcome> {
    let events = app.store.read_stream(press.0).await?;
    let Some(Event::Deployment(DeploymentEvent::Refused(refused))) = events.into_iter().next().map(|e| e.event) else {
        return Ok(Outcome::Done);
    };
    let mut text = mrkdwn::escape(&mrkdwn::clean(&refused.refusal.sentence()));
    if let PressRefusal::UnderWay { since_press_of, .. } = &refused.refusal {
        text.push_str(&format!(" It was started by {}.", mrkdwn::mention(since_press_of)));
    }
    if let Some(wait) = turn(app, claim, SCOPE, paces.whisper).await? {
        return Ok(wait);
    }
    match slack.whisper(&refused.channel, &refused.requested_by.user, &text).await {
        Ok(()) => Ok(Outcome::Done),
        Err(e @ SlackError::RateLimited(_)) => trouble(app, claim, SCOPE, e).await,
        Err(e) if claim.attempts < 5 => trouble(app, claim, SCOPE, e).await,
        Err(e) => {
            tracing::warn!(error = %e, "a private answer could not be delivered");
            Ok(Outcome::Done)
        }
    }
}
