//! What is where.

use super::App;
use crate::domain::ids::ProjectId;
use crate::domain::lock::Lock;
use crate::domain::project::Project;
use crate::projections::standing::Standing;
use crate::store::Store;
use crate::store::log::ReadError;

/// How the environments of a project stand; `everything` is the lock on all of the installation, where there is one.
///
/// # Errors
/// When the database does not answer.
pub async fn of(store: &Store, project: &Project, everything: Option<&Lock>) -> Result<Vec<Standing>, sqlx::Error> {
    let environments: Vec<_> = project.open_environments().into_iter().map(|e| e.id).collect();
    Ok(Standing::of(project, everything, &store.deployments().standing(&environments).await?))
}

impl App {
    /// A project and how its environments stand, if a capability opens its page. Whoever asks has proved nothing yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn opened_project(
        &self,
        slug: &str,
        capability: &str,
    ) -> Result<Option<(Project, Vec<Standing>)>, ReadError> {
        let store = self.unproven();
        let found = store.directory().project(ProjectId::of_slug(slug)).await?;
        let Some(seen) = store.directory().unless_lost(found).await? else { return Ok(None) };
        let project = seen.value;
        let allowed =
            self.keys.links(&project.link_key).is_some_and(|l| l.allows("projects", project.id.0, capability));
        if !allowed {
            return Ok(None);
        }
        let everything = super::installation::of(store.log(), None, i64::MAX).await?.value.lock;
        let standings = of(store, &project, everything.as_ref()).await?;
        Ok(Some((project, standings)))
    }
}
