//! Makes the messages of the locks of one thing say what the log says, and tells people that somebody else took theirs
//! away, or that they may have forgotten one.

use std::time::Duration;

use super::slack_calls::{REMOVED, SlackJob, is_one_of};
use super::sync_message::UPDATE;
use super::{Outcome, report};
use crate::domain::ids::{LockableId, ReportId};
use crate::domain::lock::Scope;
use crate::domain::react::Task;
use crate::projections::lock_card::{self, LockCard};
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
pub async fn perform(job: SlackJob<'_>, lockable: LockableId) -> anyhow::Result<Outcome> {
    let store = &job.app.store;
    let Some(about) = job.app.told_of_locks(lockable).await? else { return Ok(Outcome::Done) };
    let (what, project) = (about.what.as_str(), about.project.as_deref());
    let events = store.log().stream(lockable.0).await?;
    let now = store.clock().now();
    let since = now - TOLD_FOR;
    let cards = lock_card::of_stream(&events, (lockable, what));
    let forgotten =
        cards.last().zip(about.remind_every).and_then(|(card, every)| reports::of_forgotten(card, every, now, project));
    let elsewhere: Vec<String> = match lockable == LockableId::everything() {
        true => store.reports().channels_about(lockable.0).await?,
        false => vec![],
    };
    let mut messages = Vec::new();
    for card in cards.into_iter().filter(|card| card.gone.as_ref().is_none_or(|gone| gone.at >= since)) {
        for channel in &about.channels {
            messages.push((message(&card, channel), card.gone.is_none() || card.lock.scope != Scope::Everything));
        }
        // Where it stands although no builds come there any more it is edited all the same.
        for channel in elsewhere.iter().filter(|channel| !about.channels.contains(channel)) {
            messages.push((message(&card, channel), false));
        }
    }
    let mut owed = Vec::new();
    for (message, is_new) in messages {
        let told = store.reports().get(message.id).await?;
        if let Some(Told::Sent { channel, ts, digest }) = &told
            && let Some(wait) = edit(job, lockable, &message, (channel, ts, digest.as_deref())).await?
        {
            return Ok(wait);
        }
        // What is over where nobody was told of it is nobody's news.
        if is_new || matches!(told, Some(Told::Posting { .. })) {
            owed.push(message);
        }
    }
    owed.extend(reports::of_locks(&events, since, what, project).into_iter().chain(forgotten));
    report::tell(job, lockable.0, &owed, None).await
}

/// The message of a lock in a channel.
fn message(card: &LockCard, channel: &str) -> Report {
    // What lies on everything has one in each channel.
    let place = match card.lock.scope {
        Scope::Environment | Scope::Project => "channel".to_owned(),
        Scope::Everything => format!("channel {channel}"),
    };
    Report {
        id: ReportId::of(card.event.0, &place),
        to: To::Channel(channel.to_owned()),
        went_wrong: false,
        fact: Fact::Lock(Box::new(card.clone())),
    }
}

/// Edits a message that is there and says something else; comes back with what the job has to wait for, or with a turn of
/// its own for the next one.
async fn edit(
    job: SlackJob<'_>,
    lockable: LockableId,
    message: &Report,
    (channel, ts, digest): (&str, &str, Option<&[u8]>),
) -> anyhow::Result<Option<Outcome>> {
    let reports = job.app.store.reports();
    let Some(payload) = rendered::render(message, None, &[]) else { return Ok(None) };
    let wanted = render::digest(&payload.bytes());
    if digest == Some(&wanted[..]) {
        return Ok(None);
    }
    if let Some(wait) = job.turn(UPDATE, job.paces.update).await? {
        return Ok(Some(wait));
    }
    if !job.app.store.jobs().renew(job.claim).await? {
        return Ok(Some(Outcome::Lost));
    }
    match job.slack.update(channel, ts, &payload).await {
        Ok(posted) => {
            let place = Place { channel: &posted.channel, ts: &posted.ts };
            if !reports.sent(job.claim, message.id, place, Some(&wanted)).await? {
                // What we said may have landed on top of something newer.
                reports.doubted(message.id).await?;
                job.app.store.jobs().want(Task::ReportLock(lockable)).await?;
                return Ok(Some(Outcome::Lost));
            }
            Ok(Some(Outcome::Later(Duration::ZERO, None)))
        }
        // Somebody deleted it, or it can't be edited any more: what it said is in the log.
        Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) => {
            tracing::warn!(slack.error = %word, "Slack refuses an edit of a lock's message");
            reports.not_told(job.claim, message.id, lockable.0, Some(&word)).await?;
            Ok(None)
        }
        Err(e) => job.trouble(UPDATE, e).await.map(Some),
    }
}
