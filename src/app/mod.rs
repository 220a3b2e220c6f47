//! The imperative shell: load, decide, append; retried when what was read has changed.
//!
//! **Invariant:** no decision is made here. What may happen is in `domain`, what follows is `react`, and both are recorded
//! in one append.

pub mod audit;
pub mod builds;
pub mod ci;
pub mod deployments;
pub mod presses;
pub mod projects;
pub mod replay;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock, Weak};

use secrecy::SecretString;
use uuid::Uuid;

use crate::domain::event::{Actor, Event};
use crate::domain::ids::{EnvironmentId, EventId, ProjectId, TokenId};
use crate::domain::project::Project;
use crate::domain::react::react;
use crate::keys::Keyring;
use crate::store::Store;
use crate::store::append::{Append, AppendError};
use crate::store::directory::Seen;

/// What every role of the program works with.
pub struct App {
    /// The database.
    pub store: Store,
    /// The keys.
    pub keys: Keyring,
    /// Where this installation is reached from browsers, without a slash at the end.
    pub public_url: String,
    directory: Directory,
    turns: Turns,
}

/// Whoever decides on an environment's line in this process takes turns: under a burst of presses everybody would
/// otherwise decide anew each time somebody else got on. Other processes are held apart by the boundary.
#[derive(Default)]
struct Turns(Mutex<HashMap<EnvironmentId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    async fn wait(&self, environment: EnvironmentId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().expect("no holder of the lock panics");
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(&environment).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    turns.insert(environment, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

/// Projects and tokens read before. Entries may be stale: whatever is decided on one is appended under a guard that
/// notices, and then it is read again.
#[derive(Default)]
struct Directory {
    projects: RwLock<HashMap<ProjectId, Arc<Seen<Project>>>>,
    tokens: RwLock<HashMap<[u8; 32], (ProjectId, TokenId)>>,
    /// Secrets of CI systems by project, system and fingerprint.
    ci_secrets: RwLock<HashMap<(ProjectId, String, String), Arc<SecretString>>>,
}

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<R: std::error::Error> {
    /// The rules say no.
    #[error("{0}")]
    Refused(R),
    /// The database is away, or refuses.
    #[error("{0}")]
    Unavailable(String),
}

impl<R: std::error::Error> From<sqlx::Error> for CommandError<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(format!("the database does not answer: {error}"))
    }
}

impl<R: std::error::Error> From<AppendError> for CommandError<R> {
    fn from(error: AppendError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl<R: std::error::Error> From<crate::store::log::ReadError> for CommandError<R> {
    fn from(error: crate::store::log::ReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// How often a decision is made anew because what it was based on has changed. Each time somebody else got on.
const ATTEMPTS: usize = 200;

fn too_busy<R: std::error::Error>() -> CommandError<R> {
    CommandError::Unavailable("too many others are changing the same thing; try again".to_owned())
}

/// A fresh id for an event, ordered by time.
#[expect(clippy::disallowed_methods, reason = "the one place where event ids are made")]
fn new_event_id() -> EventId {
    EventId(Uuid::now_v7())
}

/// A fresh random id.
#[expect(clippy::disallowed_methods, reason = "the one place where other ids are made")]
pub fn new_id() -> Uuid {
    Uuid::new_v4()
}

/// Adds an event and what it makes us owe.
fn record(append: &mut Append, id: EventId, event: &Event, actor: &Actor, expected: i32) {
    append.event(id, event, actor, expected);
    for task in react(event) {
        append.task(task);
    }
}

impl App {
    /// The shell over a database.
    pub fn new(store: Store, keys: Keyring, public_url: &str) -> Self {
        Self {
            store,
            keys,
            public_url: public_url.trim_end_matches('/').to_owned(),
            directory: Directory::default(),
            turns: Turns::default(),
        }
    }

    /// The project, from memory if it was read before.
    async fn project(&self, id: ProjectId) -> Result<Option<Arc<Seen<Project>>>, sqlx::Error> {
        let known = self.directory.projects.read().expect("no holder of the lock panics").get(&id).cloned();
        match known {
            Some(project) => Ok(Some(project)),
            None => self.project_anew(id).await,
        }
    }

    /// The project, read anew.
    async fn project_anew(&self, id: ProjectId) -> Result<Option<Arc<Seen<Project>>>, sqlx::Error> {
        let Some(seen) = self.store.project(id).await? else { return Ok(None) };
        let seen = Arc::new(seen);
        self.directory.projects.write().expect("no holder of the lock panics").insert(id, Arc::clone(&seen));
        Ok(Some(seen))
    }

    /// The project and token behind a token's text; whether it is revoked by now is seen by whoever uses it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn token(&self, token: &str) -> Result<Option<(ProjectId, TokenId)>, sqlx::Error> {
        let digest = crate::keys::token_digest(token);
        let known = self.directory.tokens.read().expect("no holder of the lock panics").get(&digest).copied();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.store.token(&digest).await?;
        if let Some(found) = found {
            self.directory.tokens.write().expect("no holder of the lock panics").insert(digest, found);
        }
        Ok(found)
    }
}
