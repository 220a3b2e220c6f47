//! Gives those their turn, environment by environment, whom a lock of a project or of everything does not keep waiting any
//! more; or says in their lines what they wait for now.

use super::Outcome;
use crate::app::App;
use crate::domain::ids::LockableId;

/// Does the job.
///
/// # Errors
/// Never; what is in the way is told, and the job comes back.
pub async fn perform(app: &App, lockable: LockableId) -> anyhow::Result<Outcome> {
    Ok(match app.move_lines(lockable).await {
        Ok(()) => Outcome::Done,
        Err(e) => e.into(),
    })
}
