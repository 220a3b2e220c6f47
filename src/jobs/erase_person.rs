//! Destroys the key of somebody's names, ids and words, once an event says so.

use super::Outcome;
use crate::app::App;
use crate::domain::ids::SubjectKeyId;

/// Does the job.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub async fn perform(app: &App, key: SubjectKeyId) -> anyhow::Result<Outcome> {
    app.destroy_person(key).await?;
    Ok(Outcome::Done)
}
