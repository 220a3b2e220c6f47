//! What is asked from more than one place: a project by its name, and whether a link opens what it names.

use std::fmt;

use uuid::Uuid;

use super::App;
use crate::domain::build::BuildRegistered;
use crate::domain::ids::{BuildId, ProjectId};
use crate::domain::project::Project;
use crate::keys::Links;
use crate::store::log::ReadError;

/// What a link opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// A build's page.
    Build,
    /// A deployment's log.
    Deployment,
}

impl Opens {
    /// The word in the address, and in what is signed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "builds",
            Self::Deployment => "deployments",
        }
    }
}

/// Why there is no such project.
#[derive(Debug, thiserror::Error)]
pub enum NoProject {
    /// Others there are.
    Unknown {
        /// What was asked for.
        slug: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The database is away.
    Database(#[from] sqlx::Error),
}

impl fmt::Display for NoProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { slug, known } if known.is_empty() => {
                write!(f, "there is no project \"{slug}\"; there are: none yet; make one with: coolops project create")
            }
            Self::Unknown { slug, known } => {
                write!(f, "there is no project \"{slug}\"; there are: {}", known.join(", "))
            }
            Self::Database(_) => f.write_str("the database does not answer"),
        }
    }
}

impl App {
    /// The project that a person names.
    ///
    /// # Errors
    /// When there is none, with those that there are; when the database does not answer.
    pub async fn project_named(&self, slug: &str) -> Result<Project, NoProject> {
        let directory = self.store.directory();
        if let Some(seen) = directory.project(ProjectId::of_slug(slug)).await? {
            return Ok(seen.value);
        }
        let known = directory.projects().await?.into_iter().map(|p| p.slug).collect();
        Err(NoProject::Unknown { slug: slug.to_owned(), known })
    }

    /// The links of a build, if a capability opens a thing of it. Those made before the project's links were revoked
    /// open nothing. Whoever asks has proved nothing yet.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn opened(
        &self,
        opens: Opens,
        id: Uuid,
        of: BuildId,
        capability: &str,
    ) -> Result<Option<Links>, ReadError> {
        let told = self.unproven().log().stream(of.0).await?;
        let Some(build) = BuildRegistered::among(&told) else { return Ok(None) };
        let directory = self.unproven().directory();
        let found = directory.project(build.project_id).await?;
        let Some(project) = directory.unless_lost(found).await? else { return Ok(None) };
        if project.value.link_key != build.link_key {
            return Ok(None);
        }
        Ok(self.keys.links(&build.link_key).filter(|links| links.allows(opens.as_str(), id, capability)))
    }
}
