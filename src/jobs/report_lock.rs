//! Makes the messages of an environment's locks say what the log says, and tells people that somebody else took theirs
//! away.

use super::slack_calls::{REMOVED, SlackJob, is_one_of};
use super::sync_message::UPDATE;
use super::{Outcome, report};
use crate::domain::ids::EnvironmentId;
use crate::domain::react::Task;
use crate::projections::lock_card;
use crate::projections::reports::{self, Fact, Report, To};
use crate::slack::client::SlackError;
use crate::slack::{render, report as rendered};
use crate::store::messages::Place;
use crate::store::reports::Told;

/// What is over is told for so long.
const TOLD_FOR: chrono::Duration = chrono::Duration::days(1);

/// Does the job.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(job: SlackJob<'_>, environment: EnvironmentId) -> anyhow::Result<Outcome> {
    let store = &job.app.store;
    let Some(project) = store.directory().project_of(environment).await? else { return Ok(Outcome::Done) };
    let Some(project) = job.app.project_of_log(project).await? else { return Ok(Outcome::Done) };
    let Some(place) = project.value.environment(environment) else { return Ok(Outcome::Done) };
    let events = store.log().stream(environment.0).await?;
    let since = store.clock().now() - TOLD_FOR;
    let cards = lock_card::of_environment(&events, &place.name);
    let is_told = |card: &lock_card::LockCard| card.gone.as_ref().is_none_or(|gone| gone.at >= since);
    let message = |card: lock_card::LockCard| Report {
        id: card.id,
        to: To::Channel(project.value.channel.clone()),
        went_wrong: false,
        fact: Fact::Lock(Box::new(card)),
    };
    let messages: Vec<Report> = cards.into_iter().filter(is_told).map(message).collect();
    for message in &messages {
        if let Some(wait) = edit(job, environment, message).await? {
            return Ok(wait);
        }
    }
    let taken = reports::of_environment(&events, since, &place.name, &project.value.name);
    let owed: Vec<Report> = messages.into_iter().chain(taken).collect();
    report::tell(job, environment.0, &owed, None).await
}

/// Edits a message that is there and says something else; comes back with what the job has to wait for.
async fn edit(job: SlackJob<'_>, environment: EnvironmentId, message: &Report) -> anyhow::Result<Option<Outcome>> {
    let reports = job.app.store.reports();
    let Some(Told::Sent { channel, ts, digest }) = reports.get(message.id).await? else { return Ok(None) };
    let Some(payload) = rendered::render(message, None, &[]) else { return Ok(None) };
    let wanted = render::digest(&payload.bytes());
    if digest.as_deref() == Some(&wanted[..]) {
        return Ok(None);
    }
    if let Some(wait) = job.turn(UPDATE, job.paces.update).await? {
        return Ok(Some(wait));
    }
    if !job.app.store.jobs().renew(job.claim).await? {
        return Ok(Some(Outcome::Lost));
    }
    match job.slack.update(&channel, &ts, &payload).await {
        Ok(posted) => {
            let place = Place { channel: &posted.channel, ts: &posted.ts };
            if !reports.sent(job.claim, message.id, place, Some(&wanted)).await? {
                // What we said may have landed on top of something newer.
                reports.doubted(message.id).await?;
                job.app.store.jobs().want(Task::ReportLock(environment)).await?;
                return Ok(Some(Outcome::Lost));
            }
            Ok(None)
        }
        // Somebody deleted it, or it can't be edited any more: what it said is in the log.
        Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) => {
            tracing::warn!(slack.error = %word, "Slack refuses an edit of a lock's message");
            reports.not_told(job.claim, message.id, environment.0, Some(&word)).await?;
            Ok(None)
        }
        Err(e) => job.trouble(UPDATE, e).await.map(Some),
    }
}
