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
    /// A project, if a capability opens its pages. Whoever asks has proved nothing yet.
    ///
    /// # Errors
    /// When the database does not answer, or all rows are lost.
    pub async fn opened_project(&self, slug: &str, capability: &str) -> Result<Option<Project>, ReadError> {
        let directory = self.unproven().directory();
        let found = directory.project(ProjectId::of_slug(slug)).await?;
        let Some(seen) = directory.unless_lost(found).await? else { return Ok(None) };
        let (id, links) = (seen.value.id.0, self.keys.links(&seen.value.link_key));
        Ok(links.is_some_and(|links| links.allows("projects", id, capability)).then_some(seen.value))
    }

    /// How the environments of a project stand, for its page.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn shown_standings(&self, project: &Project) -> Result<Vec<Standing>, ReadError> {
        let store = self.unproven();
        let everything = super::installation::of(store.log(), None, i64::MAX).await?.value.lock;
        Ok(of(store, project, everything.as_ref()).await?)
    }
}
