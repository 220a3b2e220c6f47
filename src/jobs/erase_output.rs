//! Destroys what a deployment printed, once an event says so.

use std::time::Duration;

use super::Outcome;
use crate::app::App;
use crate::domain::ids::DeploymentId;

/// Time between two looks whether the hold is over.
const LOOK: Duration = Duration::from_mins(1);

/// Does the job.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub async fn perform(app: &App, deployment: DeploymentId) -> anyhow::Result<Outcome> {
    Ok(match app.destroy_output(deployment).await? {
        true => Outcome::Done,
        false => Outcome::Later(LOOK, Some("its project is held".to_owned())),
    })
}
