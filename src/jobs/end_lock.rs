//! Sees that a lock runs out: waits until its end, and records that it came.

use std::time::Duration;

use super::Outcome;
use crate::app::App;
use crate::domain::ids::LockableId;

/// Longest time until the job looks again: the lock may have another end by then, or be another one, and clocks are set.
const LOOK: Duration = Duration::from_secs(10);

/// Does the job.
///
/// # Errors
/// None of its own: when the database does not answer, the outcome is to try later.
pub async fn perform(app: &App, lockable: LockableId) -> anyhow::Result<Outcome> {
    match app.end_lock(lockable).await {
        // It was taken away, or has no end, or is over: nothing is left to be seen to.
        Ok(None) => Ok(Outcome::Done),
        Ok(Some(left)) => Ok(Outcome::Later(left.min(LOOK), None)),
        Err(e) => Ok(e.into()),
    }
}
