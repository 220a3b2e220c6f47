//! What every job that calls Slack shares: how fast it may, whose turn it is, and what Slack's refusals mean for the
//! job.
//!
//! **Invariant:** paces and closed doors are rows that all processes share. A 429 is obeyed by everybody, and a call
//! into an outage is one call.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Outcome;
use crate::app::App;
use crate::slack::client::{Slack, SlackError, TOO_MUCH};
use crate::slack::render::Metadata;
use crate::store::checkpoints::Parting;
use crate::store::jobs::Claim;
use crate::store::limits::Pace;

/// How fast messages are sent.
#[derive(Debug, Clone, Copy)]
pub struct Paces {
    /// New messages into one channel.
    pub post: Pace,
    /// New messages in the whole workspace.
    pub posts: Pace,
    /// Edits in the whole workspace.
    pub update: Pace,
    /// Looks for lost messages, in the whole workspace.
    pub history: Pace,
    /// Private answers, in the whole workspace.
    pub whisper: Pace,
    /// The same message is edited at most so often; what happens meanwhile goes into one edit.
    pub edit_every: Duration,
    /// After a call without a clear answer: by then it has landed, or never will.
    pub look_again: Duration,
}

impl Paces {
    /// Within Slack's limits: about one message a second into a channel with short bursts and several hundred a minute
    /// in the workspace, and tier 3 for edits (50 a minute and more). Source: docs.slack.dev, "Rate limits". `speed`
    /// times as fast where the other side allows it.
    pub fn slack(speed: u32) -> Self {
        let pace = |every: u64, burst: u64| Pace {
            every: Duration::from_millis(every) / speed,
            burst: Duration::from_millis(burst) / speed,
        };
        Self {
            post: pace(1_000, 3_000),
            posts: pace(200, 5_000),
            update: pace(1_150, 20_000),
            history: pace(1_300, 10_000),
            whisper: pace(700, 10_000),
            edit_every: Duration::from_millis(900) / speed,
            look_again: Duration::from_secs(20),
        }
    }

    /// As fast as can be: for stories, which have no time to lose.
    pub fn unbounded() -> Self {
        let pace = Pace { every: Duration::ZERO, burst: Duration::ZERO };
        Self {
            post: pace,
            posts: pace,
            update: pace,
            history: pace,
            whisper: pace,
            edit_every: Duration::ZERO,
            look_again: Duration::ZERO,
        }
    }
}

/// The scope of all that reads channels and threads.
pub const HISTORY: &str = "slack:conversations.history";
pub(super) const POSTS: &str = "slack:chat.postMessage";
/// How far around the attempt a lost message is looked for: our clock and Slack's may differ.
const CLOCKS: chrono::Duration = chrono::Duration::days(1);
/// The same for the first look.
const NEAR: chrono::Duration = chrono::Duration::minutes(15);
/// Time between two tries of a channel that can't be posted to.
const BLOCKED_RETRY: Duration = Duration::from_hours(1);

/// Slack's words for "not you any more": the whole workspace is left alone for a while.
pub(super) const REMOVED: &[&str] = &[
    "token_revoked",
    "token_expired",
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "org_login_required",
    "team_access_not_granted",
];
/// Slack's words for a channel that can't be posted to.
pub(super) const BLOCKED: &[&str] = &["channel_not_found", "is_archived", "not_in_channel", "restricted_action"];

/// Whether a word of Slack's is one of these, or begins like one.
pub(super) fn is_one_of(word: &str, words: &[&str]) -> bool {
    words.iter().any(|w| word.starts_with(w))
}

/// A message that was posted without an answer, or in another history of the log.
#[derive(Clone, Copy)]
pub(super) struct Lost<'a> {
    /// Where it would be.
    pub channel: &'a str,
    /// In this thread there.
    pub thread: Option<&'a str>,
    /// When it was posted.
    pub attempted_at: DateTime<Utc>,
    /// How often it was looked for in vain.
    pub lookups: i32,
    /// Where it may have been posted in another history.
    pub parting: Option<Parting>,
}

impl Lost<'_> {
    /// Whether another history of the log may have posted it: nothing is on its way any more, and one look is enough.
    pub fn is_of_other_history(&self) -> bool {
        self.parting.is_some_and(|parting| self.attempted_at <= parting.decided)
    }
}

/// Looks for a message: at first where it should be, the second time where it would be if the clocks are far apart; one of
/// another history from where both part until that was decided. In a channel with so many messages that the last look has
/// no end, it is taken not to be there.
pub(super) async fn find(slack: &Slack, lost: Lost<'_>, metadata: &Metadata) -> Result<Option<String>, SlackError> {
    let Lost { channel, thread, attempted_at: at, lookups, parting } = lost;
    let around = if lookups == 0 { NEAR } else { CLOCKS };
    let (since, until) = match parting.filter(|_| lost.is_of_other_history()) {
        Some(parting) => (parting.since.min(at), parting.decided),
        None => (at, at),
    };
    match slack.find(channel, thread, metadata, since - around, until + around).await {
        Err(SlackError::Refused(word)) if word == TOO_MUCH && (lookups > 0 || lost.is_of_other_history()) => Ok(None),
        found => found,
    }
}

/// A job that calls Slack, in its worker's hands.
#[derive(Clone, Copy)]
pub struct SlackJob<'a> {
    /// The shell.
    pub app: &'a App,
    /// The way to Slack.
    pub slack: &'a Slack,
    /// How fast it may be called.
    pub paces: &'a Paces,
    /// The lease.
    pub claim: &'a Claim,
}

impl SlackJob<'_> {
    /// Whether the job has to wait for its turn; it keeps the one that it has waited for.
    pub(super) async fn turn(&self, scope: &str, pace: Pace) -> Result<Option<Outcome>, sqlx::Error> {
        // A turn that came while the scope was closed, or long ago, puts off all that wait behind it: they are not to come
        // all at once, nor behind those that came after them.
        let paces = self.app.store.paces();
        let wait = if self.claim.turn.as_deref() != Some(scope) {
            paces.reserve_turn(scope, pace).await?
        } else if self.claim.late <= pace.tolerance() && paces.closed_for(scope).await?.is_zero() {
            Duration::ZERO
        } else {
            paces.put_off(scope, pace).await?
        };
        Ok((!wait.is_zero()).then(|| Outcome::Turn(scope.to_owned(), wait)))
    }

    /// What a refusal that is not about one message means for the job.
    pub(super) async fn trouble(&self, scope: &str, error: SlackError) -> anyhow::Result<Outcome> {
        match error {
            SlackError::RateLimited(wait) => {
                self.app.store.paces().block(scope, wait).await?;
                Ok(Outcome::Later(wait, None))
            }
            SlackError::Unclear(problem) => {
                self.app.store.paces().failed().await?;
                Ok(Outcome::retry(self.claim.attempts, problem))
            }
            SlackError::Refused(word) if is_one_of(&word, REMOVED) => {
                tracing::error!(
                    slack.error = %word,
                    "Slack takes nothing from us; is SLACK_BOT_TOKEN right, is the app installed?"
                );
                self.app.store.paces().pause(&word).await?;
                Ok(Outcome::Later(Duration::from_mins(1), Some(word)))
            }
            SlackError::Refused(word) => {
                tracing::warn!(slack.error = %word, "Slack refuses a message; coolops doctor tells more");
                // The same will be refused the same way: it is asked again seldom, in case something changed there.
                let attempts = u32::try_from(self.claim.attempts.clamp(1, 7) - 1).unwrap_or(0);
                let wait = if is_one_of(&word, BLOCKED) {
                    BLOCKED_RETRY
                } else {
                    (Duration::from_mins(1) * 2_u32.pow(attempts)).min(BLOCKED_RETRY)
                };
                Ok(Outcome::Later(wait, Some(word)))
            }
        }
    }
}
