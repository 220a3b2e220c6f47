//! Tells people that somebody else took their lock of an environment away.

use super::slack_calls::SlackJob;
use super::{Outcome, report};
use crate::domain::ids::EnvironmentId;
use crate::projections::reports;

/// It is told for so long.
const TOLD_FOR: chrono::Duration = chrono::Duration::days(1);

/// Does the job.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(job: SlackJob<'_>, environment: EnvironmentId) -> anyhow::Result<Outcome> {
    let store = &job.app.store;
    let Some(project) = store.directory().project_of(environment).await? else { return Ok(Outcome::Done) };
    let Some(project) = job.app.project_of_log(project).await? else { return Ok(Outcome::Done) };
    let Some(place) = project.value.environment(environment) else { return Ok(Outcome::Done) };
    let events = store.log().stream(environment.0).await?;
    let since = store.clock().now() - TOLD_FOR;
    let owed = reports::of_environment(&events, since, &place.name, &project.value.name);
    report::tell(job, environment.0, &owed, None).await
}
