//! Destroys what a deployment printed, once an event says so.

use super::Outcome;
use crate::app::App;
use crate::domain::ids::DeploymentId;

/// Does the job.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub async fn perform(app: &App, deployment: DeploymentId) -> anyhow::Result<Outcome> {
    app.destroy_output(deployment).await?;
    Ok(Outcome::Done)
}
