//! Destroys the key of somebody's names, ids and words, once an event says so.

use std::time::Duration;

use super::Outcome;
use crate::app::App;
use crate::domain::ids::SubjectKeyId;

/// Time between two looks whether whoever is erased has ended what they do.
const LOOK: Duration = Duration::from_secs(10);

/// Does the job.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub async fn perform(app: &App, key: SubjectKeyId) -> anyhow::Result<Outcome> {
    Ok(match app.destroy_person(key).await? {
        true => Outcome::Done,
        // Who it is stands in no log.
        false => {
            Outcome::Later(LOOK, Some("whoever is to be erased does something again, or a project is held".to_owned()))
        }
    })
}
