//! Tells a presser, and nobody else, why the press was refused.

use super::Outcome;
use super::slack_calls::{SlackJob, is_one_of};
use crate::domain::deployment::PressRefusal;
use crate::domain::event::{DeploymentEvent, Event};
use crate::domain::ids::DeploymentId;
use crate::slack::client::SlackError;
use crate::slack::mrkdwn;

const SCOPE: &str = "slack:chat.postEphemeral";
/// Slack's words for a channel in which nobody can be told something alone (docs.slack.dev, "chat.postEphemeral").
const NOT_THERE: &[&str] = &["not_in_channel", "user_not_in_channel", "channel_not_found", "is_archived"];

/// Does the job. A refusal that can't be delivered is not tried for ever: the presser has moved on.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(job: SlackJob<'_>, press: DeploymentId) -> anyhow::Result<Outcome> {
    let events = job.app.store.log().stream(press.0).await?;
    let Some(Event::Deployment(DeploymentEvent::Refused(refused))) = events.into_iter().next().map(|e| e.event) else {
        return Ok(Outcome::Done);
    };
    // Nobody can look for what one person alone was shown.
    if job.app.parting_of(press.0).await?.is_some() {
        return Ok(Outcome::Done);
    }
    let mut text = mrkdwn::escape(&mrkdwn::clean(&refused.refusal.sentence()));
    if let PressRefusal::UnderWay { since_press_of, by_operator, .. } = &refused.refusal {
        let who = match by_operator {
            true => format!("{}, an operator", mrkdwn::word(since_press_of, 80, 160)),
            false if *since_press_of == refused.requested_by.user => "you".to_owned(),
            false => mrkdwn::mention(since_press_of),
        };
        text.push_str(&format!(" It was started by {who}."));
    }
    if let Some(wait) = job.turn(SCOPE, job.paces.whisper).await? {
        return Ok(wait);
    }
    let (channel, user) = (&refused.channel, &refused.requested_by.user);
    let told = match job.slack.whisper(channel, user, &text).await {
        // As where the app may post without being a member, or was removed from the channel since: the buttons go on working.
        Err(SlackError::Refused(word)) if is_one_of(&word, NOT_THERE) => {
            let text = format!("{text} (You pressed it in {}.)", mrkdwn::channel(channel));
            match job.slack.direct(user).await {
                Ok(direct) => job.slack.whisper(&direct, user, &text).await,
                Err(e) => Err(e),
            }
        }
        told => told,
    };
    match told {
        Ok(()) => Ok(Outcome::Done),
        Err(e @ SlackError::RateLimited(_)) => job.trouble(SCOPE, e).await,
        Err(e) if job.claim.attempts < 5 => job.trouble(SCOPE, e).await,
        Err(e) => {
            tracing::warn!(error = %e, "a private answer could not be delivered");
            Ok(Outcome::Done)
        }
    }
}
