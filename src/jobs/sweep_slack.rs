//! Holds what Slack shows of the builds of a week against what it was sent, and has it made right.
//!
//! **Invariant:** it reads at Slack's pace, in turn with everybody else who reads, and stops when Slack says so.

use chrono::TimeDelta;

use super::slack_calls::{HISTORY, Paces, REMOVED, is_one_of};
use crate::app::App;
use crate::app::slack_audit::{Found, NoAudit, Wrong};
use crate::slack::client::{Slack, SlackError};

/// Messages are looked after for so long.
const WEEK: TimeDelta = TimeDelta::days(7);

/// Looks through all channels of builds. Tells what it found; what can be made right is on its way then.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep(app: &App, slack: &Slack, paces: &Paces) -> anyhow::Result<Vec<Found>> {
    let mut all = Vec::new();
    for channel in app.store.directory().channels().await? {
        let since = app.store.clock().now() - WEEK;
        let found = app.audit_slack(slack, std::slice::from_ref(&channel), since, Some((HISTORY, paces.history))).await;
        match found {
            Ok(found) => {
                // What is not ours stays, and is told once by whoever asks: coolops slack audit.
                for one in found.iter().filter(|one| one.wrong != Wrong::NotOurs) {
                    metrics::counter!("coolops_slack_found_total", "wrong" => one.wrong.as_str()).increment(1);
                    tracing::warn!(build.id = %one.build, slack.channel = channel, wrong = one.wrong.as_str(), "a message in Slack is not as it was sent");
                }
                app.repair_slack(&found).await?;
                all.extend(found);
            }
            Err(NoAudit::Database(e)) => return Err(e.into()),
            Err(NoAudit::Slack { why: SlackError::RateLimited(wait), .. }) => {
                app.store.paces().block(HISTORY, wait).await?;
                break;
            }
            Err(NoAudit::Slack { why: SlackError::Unclear(_), .. }) => {
                app.store.paces().failed().await?;
                break;
            }
            Err(NoAudit::Slack { why: SlackError::Refused(word), .. }) if is_one_of(&word, REMOVED) => {
                app.store.paces().pause(&word).await?;
                break;
            }
            // The app is not in it, or it is archived: the others can be looked at.
            Err(e @ NoAudit::Slack { .. }) => tracing::debug!(error = %e, "a channel can't be looked through"),
        }
    }
    Ok(all)
}
