//! Makes the messages of the locks of one thing say what the log says, and tells people that somebody else took theirs
//! away, or that they may have forgotten one.

use chrono::{DateTime, Utc};

use super::report::Step;
use super::slack_calls::SlackJob;
use super::{Outcome, edit_report, report};
use crate::domain::ids::LockableId;
use crate::domain::lock::Scope;
use crate::projections::lock_card;
use crate::projections::reports;
use crate::slack::report as rendered;
use crate::store::reports::{Renewable, ReportState};

/// A lock that is gone is still reported for this long.
const TOLD_FOR: chrono::Duration = chrono::Duration::days(1);

/// Does the job.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(job: SlackJob<'_>, lockable: LockableId) -> anyhow::Result<Outcome> {
    let store = &job.app.store;
    // Before the log: what is erased after it was read is not renewed yet.
    let to_renew = store.reports().to_renew(lockable.0).await?;
    let Some(about) = job.app.told_of_locks(lockable).await? else {
        return match edit_report::renew(job, to_renew, None, Vec::new).await? {
            Step::Over => edit_report::delete_stray(job, lockable.0).await,
            Step::Wait(outcome) | Step::Aside(outcome) => Ok(outcome),
        };
    };
    let (what, project) = (about.what.as_str(), about.project.as_deref());
    let events = match to_renew.is_empty() {
        true => store.log().last_of_locks(lockable.0).await?,
        // Of any that there ever was.
        false => store.log().stream(lockable.0).await?,
    };
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
            messages
                .push((reports::of_lock(&card, channel), card.gone.is_none() || card.lock.scope != Scope::Everything));
        }
        // Where it stands although no builds come there any more it is edited all the same.
        for channel in elsewhere.iter().filter(|channel| !about.channels.contains(channel)) {
            messages.push((reports::of_lock(&card, channel), false));
        }
    }
    let ever = || {
        let cards = lock_card::of_stream(&events, (lockable, what));
        let channels = about.channels.iter().chain(&elsewhere);
        let messages =
            channels.flat_map(|channel| cards.iter().map(|card| reports::of_lock(card, channel))).collect::<Vec<_>>();
        [messages, reports::of_locks(&events, DateTime::<Utc>::MIN_UTC, what, project)].concat()
    };
    let mut aside = match edit_report::renew(job, to_renew, None, ever).await? {
        Step::Wait(wait) => return Ok(wait),
        Step::Aside(outcome) => outcome,
        Step::Over => Outcome::Done,
    };
    let mut owed = Vec::new();
    for (message, is_new) in messages {
        let told = store.reports().get(message.id).await?;
        if let Some(ReportState::Sent { channel, ts, digest, reasons }) = told.clone()
            && let Some(payload) = rendered::render(&message, None, &[])
        {
            let there = Renewable { id: message.id, channel, ts, digest, reasons };
            match edit_report::edit(job, &there, &payload).await? {
                Step::Over => {}
                Step::Wait(wait) => return Ok(wait),
                Step::Aside(outcome) => aside = aside.or_sooner(outcome),
            }
        }
        // What is over where nobody was told of it is nobody's news.
        if is_new || matches!(told, Some(ReportState::Posting { .. })) {
            owed.push(message);
        }
    }
    owed.extend(reports::of_locks(&events, since, what, project).into_iter().chain(forgotten));
    match report::tell(job, lockable.0, &owed, None).await? {
        Outcome::Done => Ok(aside.or_sooner(edit_report::delete_stray(job, lockable.0).await?)),
        outcome => Ok(aside.or_sooner(outcome)),
    }
}
