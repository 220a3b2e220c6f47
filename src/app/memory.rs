//! What was read before and is remembered: projects, what goes for everything, tokens, secrets of CI systems.
//!
//! **Invariant:** an entry may be stale. Whatever is decided on one is appended under a guard that notices, and then it is read
//! again. Nothing is remembered that names somebody who was erased.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use secrecy::SecretString;

use super::{App, folding};
use crate::domain::ids::{ProjectId, TokenId};
use crate::domain::installation::Installation;
use crate::domain::project::Project;
use crate::store::directory::Seen;
use crate::store::log::ReadError;

/// The digest of a token's text.
type Digest = [u8; 32];

/// The memory of a process.
#[derive(Default)]
pub(super) struct Memory {
    /// How often somebody had been erased when the rest was read.
    erasures: AtomicU64,
    projects: RwLock<HashMap<ProjectId, Arc<Seen<Project>>>>,
    installation: RwLock<Option<Arc<Seen<Installation>>>>,
    tokens: RwLock<HashMap<Digest, (ProjectId, TokenId)>>,
    /// By project, system and fingerprint.
    ci_secrets: RwLock<HashMap<(ProjectId, String, String), Arc<SecretString>>>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().expect("no holder of the lock panics")
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().expect("no holder of the lock panics")
}

impl Memory {
    /// Whether a project was read before.
    pub(super) fn knows(&self, id: ProjectId) -> bool {
        read(&self.projects).contains_key(&id)
    }

    fn project(&self, id: ProjectId) -> Option<Arc<Seen<Project>>> {
        read(&self.projects).get(&id).cloned()
    }

    /// What goes for everything.
    pub(super) fn installation(&self) -> Option<Arc<Seen<Installation>>> {
        read(&self.installation).clone()
    }

    /// Remembers what goes for everything.
    pub(super) fn keep_installation(&self, seen: &Arc<Seen<Installation>>) {
        *write(&self.installation) = Some(Arc::clone(seen));
    }

    /// The secret of a CI system.
    pub(super) fn ci_secret(&self, project: ProjectId, provider: &str, fingerprint: &str) -> Option<Arc<SecretString>> {
        read(&self.ci_secrets).get(&(project, provider.to_owned(), fingerprint.to_owned())).cloned()
    }

    /// Remembers the secret of a CI system; those of it that are `accepted` no more leave the memory.
    pub(super) fn keep_ci_secret(
        &self,
        (project, provider, fingerprint): (ProjectId, &str, &str),
        accepted: &[&str],
        value: &Arc<SecretString>,
    ) {
        let mut all = write(&self.ci_secrets);
        all.retain(|(of, system, fingerprint), _| {
            *of != project || system != provider || accepted.contains(&fingerprint.as_str())
        });
        all.insert((project, provider.to_owned(), fingerprint.to_owned()), Arc::clone(value));
    }

    /// Forgets whatever may name people.
    fn forget(&self) {
        write(&self.projects).clear();
        *write(&self.installation) = None;
    }
}

impl App {
    /// What is remembered, unless somebody was erased since: it may name them.
    pub(super) fn remembered(&self) -> &Memory {
        let erasures = self.store.wake().erasures();
        if self.memory.erasures.swap(erasures, Ordering::Relaxed) != erasures {
            self.memory.forget();
            self.people.forget();
        }
        &self.memory
    }

    /// The project, from memory if it was read before.
    pub(super) async fn project(&self, id: ProjectId) -> Result<Option<Arc<Seen<Project>>>, ReadError> {
        let known = self.remembered().project(id);
        match known {
            Some(project) => Ok(Some(project)),
            None => self.project_anew(id).await,
        }
    }

    /// The project as the log has it now; from memory as far as it was read before.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn project_anew(&self, id: ProjectId) -> Result<Option<Arc<Seen<Project>>>, ReadError> {
        let erasures = self.store.wake().erasures();
        let known = self.remembered().project(id);
        let Some(known) = known else { return Ok(self.remember(id, self.project_of_log(id).await?, erasures)) };
        // What was remembered is a fold of the log up to a position, and the log only grows.
        match folding::gone_on(&self.store, &known).await? {
            Some(seen) => Ok(self.remember(id, Some(seen), erasures)),
            None => Ok(Some(known)),
        }
    }

    /// Remembers a project as it was read; not where somebody was erased meanwhile.
    fn remember(&self, id: ProjectId, seen: Option<Seen<Project>>, erasures: u64) -> Option<Arc<Seen<Project>>> {
        let seen = Arc::new(seen?);
        if self.store.wake().erasures() != erasures {
            return Some(seen);
        }
        let mut projects = write(&self.memory.projects);
        // Who read earlier may come later.
        let known = projects.entry(id).or_insert_with(|| Arc::clone(&seen));
        if known.position < seen.position {
            *known = Arc::clone(&seen);
        }
        Some(seen)
    }

    /// A project, from memory or `anew`, for whoever has proved nothing yet: they share few connections.
    pub(super) async fn project_unproven(
        &self,
        id: ProjectId,
        anew: bool,
    ) -> Result<Option<Arc<Seen<Project>>>, ReadError> {
        let known = self.remembered().project(id);
        if known.is_some() && !anew {
            return Ok(known);
        }
        let erasures = self.store.wake().erasures();
        Ok(self.remember(id, folding::project_until(&self.unproven, id, i64::MAX).await?, erasures))
    }

    /// The project and token behind a token's text, if the log knows the token; whether it is revoked by now is seen by
    /// whoever uses it.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn token(&self, token: &str) -> Result<Option<(ProjectId, TokenId)>, ReadError> {
        let digest = crate::keys::token_digest(token);
        let known = read(&self.memory.tokens).get(&digest).copied();
        if known.is_some() {
            return Ok(known);
        }
        let Some((project, token)) = self.unproven().directory().token(&digest).await? else { return Ok(None) };
        let has_it = |seen: Option<Arc<Seen<Project>>>| {
            seen.is_some_and(|seen| seen.value.tokens.iter().any(|t| t.id == token && t.digest == hex::encode(digest)))
        };
        // What was remembered of the project may be older than the token.
        if has_it(self.project(project).await?) || has_it(self.project_anew(project).await?) {
            write(&self.memory.tokens).insert(digest, (project, token));
            return Ok(Some((project, token)));
        }
        tracing::warn!(
            project.id = %project,
            "a token is in its table and not in the log; it is refused (coolops audit verify tells more)"
        );
        Ok(None)
    }
}
