//! Projects as the log has them, folded from the nearest snapshot on.
//!
//! **Invariant:** what a project is, for a decision or for a run, is never taken from a row that somebody may have changed: rows
//! of projects are for finding and listing, and snapshots are believed only where we wrote them ourselves.

use super::App;
use crate::domain::event::{Event, SettingsEvent};
use crate::domain::ids::ProjectId;
use crate::domain::project::Project;
use crate::store::Store;
use crate::store::directory::Seen;
use crate::store::log::{PAGE, ReadError};
use crate::telemetry::causes;

/// One more event of a project, or of its environments.
fn evolved(seen: Option<Seen<Project>>, position: i64, event: &Event) -> Option<Seen<Project>> {
    let value = match (seen, event) {
        (None, Event::Settings(SettingsEvent::ProjectCreated(e))) => Project::created(e),
        (Some(before), event) => before.value.evolve(event),
        (None, _) => return None,
    };
    Some(Seen { position, value })
}

/// A project as its events up to a position leave it, with the position of the last. Snapshots are kept on the way.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub(super) async fn project_until(
    store: &Store,
    id: ProjectId,
    until: i64,
) -> Result<Option<Seen<Project>>, ReadError> {
    let mut seen = store.snapshots().nearest(id, until).await?;
    let mut after = seen.as_ref().map_or(0, |seen| seen.position);
    loop {
        let page = store.log().sealed_about_from(id.0, after, until).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        seen = page.iter().fold(seen, |seen, (position, event)| evolved(seen, *position, event));
        if let (PAGE, Some(seen)) = (page.len(), &seen)
            && let Err(why) = store.snapshots().keep(seen).await
        {
            tracing::debug!(project.id = %id, error = %causes(&why), "no snapshot was kept: the next fold takes longer");
        }
    }
    match seen {
        Some(seen) => store.opened(seen).await.map(Some),
        None => Ok(None),
    }
}

/// A project that is known, gone on with.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub(super) async fn gone_on(store: &Store, known: &Seen<Project>) -> Result<Option<Seen<Project>>, ReadError> {
    let mut seen = None;
    loop {
        let (position, id) = seen
            .as_ref()
            .map_or((known.position, known.value.id), |seen: &Seen<Project>| (seen.position, seen.value.id));
        let page = store.log().about_from(id.0, position, i64::MAX).await?;
        if page.is_empty() {
            return Ok(seen);
        }
        let begun = seen.unwrap_or_else(|| Seen { position: known.position, value: known.value.clone() });
        seen = Some(page.iter().fold(begun, |seen, recorded| Seen {
            position: recorded.position,
            value: seen.value.evolve(&recorded.event),
        }));
    }
}

impl App {
    /// A project as the log has it.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn project_of_log(&self, id: ProjectId) -> Result<Option<Seen<Project>>, ReadError> {
        project_until(&self.store, id, i64::MAX).await
    }
}
