//! Makes reports that are there say what they are to say: a lock's message follows it, what was erased goes from all, and
//! second ones are deleted.
//!
//! **Invariant:** none is posted here. One that somebody deleted, or that can't be edited any more, stays as it is.

use std::time::Duration;

use uuid::Uuid;

use super::Outcome;
use super::report::{Step, payload};
use super::slack_calls::{BLOCKED, REMOVED, SlackJob, is_one_of};
use super::sync_message::{DELETE, UPDATE};
use crate::domain::deployment::Stand;
use crate::domain::somebody;
use crate::projections::build_card::BuildCard;
use crate::projections::reports::{Fact, Report};
use crate::slack::client::SlackError;
use crate::slack::render::{self, Payload};
use crate::store::messages::PostedAt;
use crate::store::reports::{Renewable, ReportState, SentReport};

/// Edits a report that is there and says something else.
pub(super) async fn edit(job: SlackJob<'_>, there: &Renewable, payload: &Payload) -> anyhow::Result<Step> {
    let Renewable { id, channel, ts, digest, reasons } = there;
    let reports = job.app.store.reports();
    let wanted = render::digest(&payload.bytes());
    if digest.as_deref() == Some(&wanted[..]) {
        return Ok(Step::Over);
    }
    if let Some(wait) = job.turn(UPDATE, job.paces.update).await? {
        return Ok(Step::Wait(wait));
    }
    if !job.app.store.jobs().renew(job.claim).await? {
        return Ok(Step::Wait(Outcome::Lost));
    }
    match job.slack.update(channel, ts, payload).await {
        Ok(posted) => {
            let place = PostedAt { channel: &posted.channel, ts: &posted.ts };
            let said = SentReport { text: &payload.text, digest: &wanted, reasons: *reasons };
            if !reports.sent(job.claim, *id, place, None, Some(said)).await? {
                // What we said may have landed on top of something newer.
                reports.doubted(*id).await?;
                job.app.store.jobs().want(job.claim.task).await?;
                return Ok(Step::Wait(Outcome::Lost));
            }
            Ok(Step::Wait(Outcome::Later(Duration::ZERO, None)))
        }
        // Somebody deleted it, or it can't be edited any more: what it said is in the log.
        Err(e @ SlackError::Refused(_)) if matches!(&e, SlackError::Refused(word) if is_one_of(word, BLOCKED)) => {
            job.trouble(UPDATE, e).await.map(Step::Aside)
        }
        Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) => {
            tracing::warn!(slack.error = %word, "Slack refuses an edit of a report");
            reports.not_told(job.claim, *id, job.claim.task.key(), Some(&word)).await?;
            Ok(Step::Over)
        }
        Err(e) => job.trouble(UPDATE, e).await.map(Step::Wait),
    }
}

/// Renders those reports about a thing again that are to be: something was erased that they may tell.
pub(super) async fn renew(
    job: SlackJob<'_>,
    to_renew: Vec<Renewable>,
    card: Option<&BuildCard>,
    ever: impl FnOnce() -> Vec<Report>,
) -> anyhow::Result<Step> {
    if to_renew.is_empty() {
        return Ok(Step::Over);
    }
    let (ever, mut aside) = (ever(), Step::Over);
    for old in to_renew {
        let mut said = None;
        let edited = match ever.iter().find(|report| report.id == old.id) {
            Some(report) => {
                let Some(payload) = payload(job, report, card).await? else {
                    let problem = "the master key of its links is not set";
                    return Ok(Step::Wait(Outcome::retry(job.claim.attempts, problem)));
                };
                let edited = edit(job, &old, &payload).await?;
                said = Some(payload.text);
                edited
            }
            // Whose lock it was can't be read for now: it is there again with its key.
            None if ever.iter().any(waits_for_the_unreadable) => continue,
            // What it was made of was erased too: that somebody waited for a lock of whoever it was.
            None if card.is_some() => take_back(job, &old).await?,
            // Somebody is reminded of their own lock.
            None => Step::Over,
        };
        match edited {
            Step::Over => job.app.store.reports().renewed(job.claim, &old, said.as_deref()).await?,
            Step::Wait(_) => return Ok(edited),
            Step::Aside(_) => aside = edited,
        }
    }
    Ok(aside)
}

fn waits_for_the_unreadable(report: &Report) -> bool {
    let Fact::Deployment(then) = &report.fact else { return false };
    let Stand::Locked { lock } = &then.deployment.stand else { return false };
    somebody::nobody(lock.holder.id()) == Some(somebody::UNREADABLE)
}

/// Deletes a report that can't be told any more.
async fn take_back(job: SlackJob<'_>, old: &Renewable) -> anyhow::Result<Step> {
    if let Some(wait) = delete(job, &old.channel, &old.ts).await? {
        return Ok(Step::Wait(wait));
    }
    job.app.store.reports().not_told(job.claim, old.id, job.claim.task.key(), None).await?;
    Ok(Step::Over)
}

/// Deletes a second one of the reports about a thing, if there is one: the job comes back for the others.
pub(super) async fn delete_stray(job: SlackJob<'_>, about: Uuid) -> anyhow::Result<Outcome> {
    let reports = job.app.store.reports();
    for stray in reports.strays(about).await? {
        match reports.get(stray.id).await? {
            // Which of them is the report is found out first.
            Some(ReportState::Posting { .. }) => {}
            Some(ReportState::Sent { ts, .. }) if ts == stray.ts => reports.forget_stray(&stray).await?,
            None => {
                reports.adopt(job.claim, about, &stray).await?;
                reports.forget_stray(&stray).await?;
                return Ok(Outcome::Later(Duration::ZERO, None));
            }
            // There is another one, or it is not to be told any more.
            Some(ReportState::Sent { .. } | ReportState::Over) => {
                if let Some(wait) = delete(job, &stray.channel, &stray.ts).await? {
                    return Ok(wait);
                }
                reports.forget_stray(&stray).await?;
                return Ok(Outcome::Later(Duration::ZERO, None));
            }
        }
    }
    Ok(Outcome::Done)
}

/// Deletes a report; tells what the job has to wait for, if there is something. One that can't be deleted stays.
async fn delete(job: SlackJob<'_>, channel: &str, ts: &str) -> anyhow::Result<Option<Outcome>> {
    if let Some(wait) = job.turn(DELETE, job.paces.update).await? {
        return Ok(Some(wait));
    }
    if !job.app.store.jobs().renew(job.claim).await? {
        return Ok(Some(Outcome::Lost));
    }
    match job.slack.delete(channel, ts).await {
        Ok(()) => {
            tracing::info!(slack.channel = channel, slack.ts = ts, "a report was deleted");
            Ok(None)
        }
        Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) => {
            tracing::warn!(slack.channel = channel, slack.ts = ts, slack.error = %word, "Slack refuses to delete a report");
            Ok(None)
        }
        Err(e) => job.trouble(DELETE, e).await.map(Some),
    }
}
