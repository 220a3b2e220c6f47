//! Holds what Slack shows of ours in a week against what it was sent, and has it made right.
//!
//! **Invariant:** it reads at Slack's pace, in turn with everybody else who reads, and stops when Slack says so; the next time it
//! begins behind the channel where it stopped. While the log is closed nothing is made right: what Slack shows may be what was
//! lost.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::time::Duration;

use chrono::TimeDelta;

use super::slack_calls::{HISTORY, Paces, REMOVED, is_one_of};
use crate::app::App;
use crate::app::slack_audit::{Found, NoAudit, Wrong};
use crate::slack::client::{Slack, SlackError, TOO_MUCH};
use crate::slack::shown::Of;

/// Messages are looked after for so long; where a channel shows too much in that time, for the shorter one.
const WEEK: TimeDelta = TimeDelta::days(7);
const DAY: TimeDelta = TimeDelta::days(1);

/// How often Slack is looked through.
pub(super) const EVERY: Duration = Duration::from_hours(1);
/// For so long no other process does it after one has. Less than the period: whoever did it last, and knows what it found, is due
/// again while nobody else has taken it.
const TAKEN_FOR: Duration = Duration::from_mins(55);
/// Between two signs that it is still at it: whoever is stopped in the middle of it keeps no turn for longer.
const SIGN: Duration = Duration::from_mins(1);
const TAKEN_AT_A_TIME: Duration = Duration::from_mins(5);
const SIGNS_MISSED: u32 = 3;
const SCOPE: &str = "sweep_slack";

/// What earlier sweeps had made right, by channel.
#[derive(Debug, Default)]
pub struct Sweeper {
    /// A difference that is there again as it was is not made right again: it is Slack that makes it, or keeps it.
    before: HashMap<String, HashSet<Found>>,
    /// The channel where it stopped the last time, if it did.
    stopped_at: Option<String>,
}

impl Sweeper {
    /// Looks through all channels as [`Sweeper::sweep`] does, unless another process has done it within the hour: `None` then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep_in_turn(
        &mut self,
        app: &App,
        slack: &Slack,
        paces: &Paces,
    ) -> anyhow::Result<Option<Vec<Found>>> {
        let turns = app.store.paces();
        if !turns.take(SCOPE, TAKEN_AT_A_TIME).await? {
            return Ok(None);
        }
        let began = app.store.clock().now();
        let swept = tokio::select! {
            swept = self.sweep(app, slack, paces) => swept,
            lost = keep_turn(app) => lost.map(|never| match never {}),
        };
        match swept.is_err() || self.stopped_at.is_some() {
            // What did not come to its end is for whoever is due next.
            true => turns.give_back(SCOPE).await?,
            false => {
                let since = (app.store.clock().now() - began).to_std().unwrap_or_default();
                turns.keep(SCOPE, TAKEN_FOR.saturating_sub(since)).await?;
            }
        }
        swept.map(Some)
    }

    /// Looks through all channels. Tells what is new; what of that can be made right is on its way then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep(&mut self, app: &App, slack: &Slack, paces: &Paces) -> anyhow::Result<Vec<Found>> {
        let (mut new, now) = (Vec::new(), app.store.clock().now());
        let channels = app.channels_since(now - WEEK).await?;
        let stopped_at = self.stopped_at.take();
        let (done, ahead): (Vec<String>, Vec<String>) =
            channels.into_iter().partition(|channel| stopped_at.as_ref().is_some_and(|at| channel <= at));
        for channel in ahead.into_iter().chain(done) {
            let look = |for_so_long| app.audit_slack(slack, &channel, now - for_so_long, (HISTORY, paces.history));
            let looked = match look(WEEK).await {
                Err(NoAudit::Slack { why: SlackError::Refused(word), .. }) if word == TOO_MUCH => look(DAY).await,
                looked => looked,
            };
            match looked {
                Ok(found) => {
                    let before = self.before.remove(&channel).unwrap_or_default();
                    let unseen: Vec<Found> = found.iter().filter(|one| !before.contains(one)).cloned().collect();
                    unseen.iter().for_each(tell);
                    if app.store.checkpoints().closed().await?.is_none() {
                        app.repair_slack(&found, &before).await?;
                        self.before.insert(channel, found.into_iter().collect());
                    }
                    new.extend(unseen);
                }
                Err(NoAudit::Database(e)) => return Err(e.into()),
                Err(NoAudit::Slack { why: SlackError::RateLimited(_), .. }) => {
                    self.stopped_at = Some(channel);
                    break;
                }
                Err(e @ NoAudit::Slack { why: SlackError::Unclear(_), .. }) => {
                    tracing::warn!(error = %e, "a channel can't be looked through now");
                    app.store.paces().failed().await?;
                    self.stopped_at = Some(channel);
                    break;
                }
                Err(NoAudit::Slack { why: SlackError::Refused(word), .. }) if is_one_of(&word, REMOVED) => {
                    app.store.paces().pause(&word).await?;
                    self.stopped_at = Some(channel);
                    break;
                }
                // The app is not in it, or it is archived: the others can be looked at.
                Err(e @ NoAudit::Slack { .. }) => tracing::warn!(error = %e, "a channel can't be looked through"),
            }
        }
        Ok(new)
    }
}

/// Says now and then that the sweep is still going on.
async fn keep_turn(app: &App) -> anyhow::Result<Infallible> {
    let mut missed = 0;
    loop {
        tokio::time::sleep(SIGN).await;
        match app.store.paces().keep(SCOPE, TAKEN_AT_A_TIME).await {
            Ok(()) => missed = 0,
            // The turn lasts for some signs.
            Err(e) if missed >= SIGNS_MISSED => return Err(e.into()),
            Err(_) => missed += 1,
        }
    }
}

/// What is not ours stays and is not counted; it is told by whoever asks: coolops slack audit.
fn tell(found: &Found) {
    let wrong = found.wrong.as_str();
    if found.wrong == Wrong::NotOurs {
        return;
    }
    metrics::counter!("coolops_slack_found_total", "wrong" => wrong).increment(1);
    let (channel, ts) = (found.channel.as_str(), found.ts.as_str());
    match found.of {
        Of::Build(id) => {
            tracing::warn!(build.id = %id, slack.channel = channel, slack.ts = ts, wrong, "a message in Slack is not as it was sent");
        }
        Of::Report(id) => {
            tracing::warn!(report.id = %id, slack.channel = channel, slack.ts = ts, wrong, "a report in Slack is not as it was sent");
        }
    }
}
