//! Destroys the key of somebody's names, ids and words, once an event says so.

use std::time::Duration;

use super::Outcome;
use crate::app::App;
use crate::domain::ids::SubjectKeyId;

/// Whether somebody has ended what they do is looked at so often.
const LOOK: Duration = Duration::from_secs(10);

/// Does the job.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub async fn perform(app: &App, key: SubjectKeyId) -> anyhow::Result<Outcome> {
    Ok(match app.destroy_person(key).await? {
        None => Outcome::Done,
        // They do something again; that ends.
        Some(why) => Outcome::Later(LOOK, Some(why.to_string())),
    })
}
