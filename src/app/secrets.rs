//! Values of secrets: kept outside the log, opened for whoever needs them, and erased when nothing may have them any more.
//!
//! **Invariant:** a value that a container may have is kept for as long as its output has to be masked.

use secrecy::SecretString;
use uuid::Uuid;

use super::App;
use crate::domain::ids::{EnvironmentId, ProjectId};
use crate::domain::project::{Environment, SecretRef};
use crate::keys::{KeyError, SealedValue};
use crate::store::directory::Seen;
use crate::store::log::ReadError;
use crate::telemetry::causes;

impl App {
    /// Keeps a value under the first free version.
    pub(super) async fn keep(
        &self,
        owner: Uuid,
        name: &str,
        from: i32,
        value: &SecretString,
    ) -> Result<SecretRef, sqlx::Error> {
        let mut version = from;
        loop {
            let sealed = self.keys.seal(&place(owner, name, version), value);
            if self.store.secrets().keep(owner, name, version, &sealed).await? {
                return Ok(SecretRef { version, fingerprint: self.keys.fingerprint(value) });
            }
            version += 1;
        }
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// The database's, or that the value can't be opened or was erased.
    pub async fn secret(
        &self,
        owner: Uuid,
        name: &str,
        secret: &SecretRef,
    ) -> Result<Result<SecretString, KeyError>, sqlx::Error> {
        Ok(match self.store.secrets().get(owner, name, secret.version).await? {
            Some(sealed) => self.keys.open(&place(owner, name, secret.version), &sealed),
            None => Err(KeyError::Damaged),
        })
    }
    /// Every value of an environment that a container of it may have, whatever became of it since; or the name of one
    /// that can't be opened: without it, output can't be masked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn secrets_to_mask(
        &self,
        environment: EnvironmentId,
    ) -> Result<Result<Vec<SecretString>, String>, sqlx::Error> {
        let kept = self.store.secrets().of(environment.0).await?;
        let open = |(name, version, sealed): (String, i32, SealedValue)| {
            self.keys.open(&place(environment.0, &name, version), &sealed).map_err(|_| name)
        };
        Ok(kept.into_iter().map(open).collect())
    }

    /// Encrypts values that are under an earlier master key anew under the present one; so many at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rewrap_secrets(&self, limit: i64) -> Result<(), sqlx::Error> {
        for (owner, name, version, sealed) in self.store.secrets().under_keys(&self.keys.earlier_ids(), limit).await? {
            let place = place(owner, &name, version);
            // One that was changed stays as it is, and is told when it is needed.
            let Ok(value) = self.keys.open(&place, &sealed) else { continue };
            let anew = self.keys.seal(&place, &value);
            self.store.secrets().rewrap((owner, &name, version), &sealed, &anew).await?;
        }
        Ok(())
    }

    /// Erases what was replaced while a deployment was open there, once none is; of what was archived, everything.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn erase_superseded(&self, project: ProjectId, environment: EnvironmentId) -> Result<(), ReadError> {
        let Some(Seen { value: project, .. }) = self.project_of_log(project).await? else { return Ok(()) };
        if project.archived(environment).is_some() {
            self.store.secrets().erase_all(environment.0).await?;
            if project.archived {
                self.store.secrets().erase_all(project.id.0).await?;
            }
            return Ok(());
        }
        let secrets = project.environment(environment).into_iter().flat_map(Environment::secrets);
        let (names, versions): (Vec<_>, Vec<_>) =
            secrets.map(|(name, secret)| (name.to_owned(), secret.version)).unzip();
        self.store.secrets().erase_superseded(environment.0, &names, &versions).await?;
        Ok(())
    }

    /// Erases what was kept for places that are archived: a value may have been on its way when that happened.
    ///
    /// # Errors
    /// When the database does not answer. A project of which an event can't be read is in no other one's way.
    pub async fn erase_archived(&self) -> Result<(), sqlx::Error> {
        for project in self.store.directory().projects().await? {
            for environment in project.environments.iter().filter(|e| e.archived || project.archived) {
                match self.erase_superseded(project.id, environment.id).await {
                    Ok(()) => {}
                    Err(ReadError::Database(e)) => return Err(e),
                    Err(e) => {
                        tracing::warn!(project.id = %project.id, error = causes(&e), "what was kept of secrets stays");
                    }
                }
            }
            if project.archived {
                self.store.secrets().erase_all(project.id.0).await?;
            }
        }
        Ok(())
    }
}

fn place(owner: Uuid, name: &str, version: i32) -> String {
    format!("{owner}/{name}/{version}")
}
