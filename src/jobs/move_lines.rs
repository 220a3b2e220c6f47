//! Gives those their turn, environment by environment, whom a lock of a project or of everything does not keep waiting any
//! more; or says in their lines what they wait for now.

use std::time::Duration;

use super::Outcome;
use crate::app::{App, CommandError};
use crate::domain::ids::LockableId;
use crate::telemetry::causes;

/// Does the job.
///
/// # Errors
/// Never; what is in the way is told, and the job comes back.
pub async fn perform(app: &App, lockable: LockableId) -> anyhow::Result<Outcome> {
    match app.move_lines(lockable).await {
        Ok(()) => Ok(Outcome::Done),
        Err(CommandError::Unavailable(e)) => Ok(Outcome::Later(Duration::from_secs(1), Some(causes(&*e)))),
        Err(CommandError::Impossible(e)) => Ok(Outcome::Later(Duration::from_mins(1), Some(causes(&*e)))),
        Err(CommandError::Refused(never)) => match never {},
    }
}
