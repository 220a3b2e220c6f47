//! The imperative shell: load, decide, append; retried when what was read has changed.
//!
//! **Invariant:** no decision is made here. What may happen is in `domain`, what follows is `react`, and both are
//! recorded in one append.

pub mod anchors;
pub mod audit;
pub mod builds;
pub mod checkpoints;
pub mod ci;
pub mod commands;
pub mod deployments;
pub mod dialogs;
pub mod erasure;
pub mod finding;
mod folding;
pub mod forks;
pub mod history;
pub mod installation;
pub mod lock_commands;
pub mod locks;
pub mod notices;
pub mod people;
pub mod presses;
pub mod projects;
pub mod questions;
pub mod replay;
pub mod rights;
pub mod slack_audit;
pub mod status;
pub mod travel;
pub mod way_back;
pub mod witnesses;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

use secrecy::SecretString;
use uuid::Uuid;

use crate::domain::deployment::Deployment;
use crate::domain::event::{Actor, DeploymentEvent, Event};
use crate::domain::ids::{DeploymentId, EnvironmentId, EventId, ProjectId, TokenId};
use crate::domain::installation::Installation;
use crate::domain::project::Project;
use crate::domain::react::react;
use crate::keys::Keyring;
use crate::slack::client::Slack;
use crate::store::Store;
use crate::store::append::{Append, AppendError};
use crate::store::directory::Seen;
use crate::store::limits::Pace;
use crate::store::log::ReadError;
use crate::store::refusals::RefusalLog;

/// What every role of the program works with.
pub struct App {
    /// The database.
    pub store: Store,
    unproven: Store,
    readers: Store,
    refusals: RefusalLog,
    /// The keys.
    pub keys: Arc<Keyring>,
    /// Where this installation is reached from browsers, without a slash at the end.
    pub public_url: String,
    directory: Directory,
    turns: Turns,
    posts: Option<Pace>,
    people: rights::People,
    keeping: checkpoints::Keeping,
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
    /// How often somebody had been erased when the rest was read.
    erasures: AtomicU64,
    projects: RwLock<HashMap<ProjectId, Arc<Seen<Project>>>>,
    installation: RwLock<Option<Arc<Seen<Installation>>>>,
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
    /// The database is away: the same may work in a moment.
    #[error(transparent)]
    Unavailable(Cause),
    /// It fails for ever: too large to be recorded, or what it rests on can't be read.
    #[error(transparent)]
    Impossible(Cause),
}

impl<R: std::error::Error> CommandError<R> {
    /// The refusal; whatever else was in the way is still in it.
    ///
    /// # Errors
    /// Whatever was no refusal, as it was.
    pub fn refusal<S: std::error::Error>(self) -> Result<R, CommandError<S>> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Unavailable(cause) => Err(CommandError::Unavailable(cause)),
            Self::Impossible(cause) => Err(CommandError::Impossible(cause)),
        }
    }
}

/// What is in the way of a command, with its own causes.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl<R: std::error::Error> From<sqlx::Error> for CommandError<R> {
    fn from(error: sqlx::Error) -> Self {
        ReadError::Database(error).into()
    }
}

impl<R: std::error::Error> From<AppendError> for CommandError<R> {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { .. } | AppendError::Refused(_) | AppendError::Locked(_) => {
                Self::Impossible(error.into())
            }
            AppendError::Conflict
            | AppendError::Fenced
            | AppendError::Closed(_)
            | AppendError::Unavailable(_)
            | AppendError::Stopped => Self::Unavailable(error.into()),
        }
    }
}

impl<R: std::error::Error> From<ReadError> for CommandError<R> {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(_) => Self::Unavailable(error.into()),
            ReadError::Unreadable { .. } | ReadError::Actor { .. } | ReadError::Locked { .. } => {
                Self::Impossible(error.into())
            }
        }
    }
}

/// Connections for requests that have proved nothing yet.
const UNPROVEN_CONNECTIONS: u32 = 4;

/// Connections for those who read logs.
const READERS_CONNECTIONS: u32 = 4;

/// How often a decision is made anew because what it was based on has changed. Each time somebody else got on.
const ATTEMPTS: usize = 200;

fn too_busy<R: std::error::Error>() -> CommandError<R> {
    CommandError::Unavailable("too many others are changing the same thing; try again".into())
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

/// The id of an event that follows in a stream at a version: the same again for whoever decides the same anew, and another
/// one for what says the same later.
fn following(event: &Event, version: i32) -> EventId {
    EventId::following(event.address().stream, &format!("{} {version}", event.occasion()))
}

/// The scope of new messages in a channel: where they wait for their turns.
pub fn posts_into(channel: &str) -> String {
    format!("slack:chat.postMessage:{channel}")
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
        let keys = Arc::new(keys);
        let store = store.with_keys(Arc::clone(&keys));
        Self {
            refusals: RefusalLog::new(store.apart(1)),
            unproven: store.apart(UNPROVEN_CONNECTIONS),
            readers: store.apart(READERS_CONNECTIONS),
            store,
            keys,
            public_url: public_url.trim_end_matches('/').to_owned(),
            directory: Directory::default(),
            turns: Turns::default(),
            posts: None,
            people: rights::People::default(),
            keeping: checkpoints::Keeping::default(),
        }
    }

    /// Lets the first message of a build wait for its turn in its channel from the beginning on: so many may be behind without
    /// anybody asking for them. Without it turns are asked for when they are needed.
    #[must_use]
    pub fn pacing_posts(mut self, pace: Pace) -> Self {
        self.posts = Some(pace);
        self
    }

    /// Lets it ask Slack who is in which group and who is a guest; `home` is the workspace of the app once that is known.
    /// Without it these are known from what others asked.
    #[must_use]
    pub fn asking(mut self, slack: Slack, home: Arc<OnceLock<String>>) -> Self {
        self.people = rights::People::asked_of(slack, home);
        self
    }

    /// Gives it what checkpoints are signed with, where they are kept, and whose are believed.
    #[must_use]
    pub fn keeping(mut self, keeping: checkpoints::Keeping) -> Self {
        self.keeping = keeping;
        self
    }

    /// Changes what it was given by [`App::keeping`].
    #[must_use]
    pub fn with_keeping(self, change: impl FnOnce(checkpoints::Keeping) -> checkpoints::Keeping) -> Self {
        let keeping = change(self.keeping.clone());
        self.keeping(keeping)
    }

    /// Where checkpoints are kept.
    pub fn places(&self) -> &[crate::places::Place] {
        &self.keeping.places
    }

    /// Writes what refused requests there were until now, which otherwise takes half a second.
    pub async fn flush_refusals(&self) {
        self.refusals.flush().await;
    }

    /// What is remembered, unless somebody was erased since: it may name them.
    fn remembered(&self) -> &Directory {
        let erasures = self.store.wake().erasures();
        if self.directory.erasures.swap(erasures, Ordering::Relaxed) != erasures {
            self.directory.projects.write().expect("no holder of the lock panics").clear();
            *self.directory.installation.write().expect("no holder of the lock panics") = None;
            self.people.forget();
        }
        &self.directory
    }

    /// The project, from memory if it was read before.
    async fn project(&self, id: ProjectId) -> Result<Option<Arc<Seen<Project>>>, ReadError> {
        let known = self.remembered().projects.read().expect("no holder of the lock panics").get(&id).cloned();
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
        let known = self.remembered().projects.read().expect("no holder of the lock panics").get(&id).cloned();
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
        let mut projects = self.directory.projects.write().expect("no holder of the lock panics");
        // Who read earlier may come later.
        let known = projects.entry(id).or_insert_with(|| Arc::clone(&seen));
        if known.position < seen.position {
            *known = Arc::clone(&seen);
        }
        Some(seen)
    }

    /// A project, from memory or `anew`, for whoever has proved nothing yet: they share few connections.
    async fn project_unproven(&self, id: ProjectId, anew: bool) -> Result<Option<Arc<Seen<Project>>>, ReadError> {
        let known = self.remembered().projects.read().expect("no holder of the lock panics").get(&id).cloned();
        if known.is_some() && !anew {
            return Ok(known);
        }
        let erasures = self.store.wake().erasures();
        Ok(self.remember(id, folding::project_until(&self.unproven, id, i64::MAX).await?, erasures))
    }

    /// A deployment as the log has it.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn deployment_of_log(&self, id: DeploymentId) -> Result<Option<Deployment>, ReadError> {
        let mut deployment: Option<Deployment> = None;
        for recorded in self.store.log().stream(id.0).await? {
            deployment = match (deployment, &recorded.event) {
                (None, Event::Deployment(DeploymentEvent::Requested(e))) => Some(Deployment::requested(e)),
                (Some(before), event) => Some(before.evolve(event)),
                (None, _) => None,
            };
        }
        Ok(deployment)
    }

    /// The project and token behind a token's text, if the log knows the token; whether it is revoked by now is seen by
    /// whoever uses it.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn token(&self, token: &str) -> Result<Option<(ProjectId, TokenId)>, ReadError> {
        let digest = crate::keys::token_digest(token);
        let known = self.directory.tokens.read().expect("no holder of the lock panics").get(&digest).copied();
        if known.is_some() {
            return Ok(known);
        }
        let Some((project, token)) = self.unproven().directory().token(&digest).await? else { return Ok(None) };
        // What was remembered of the project may be older than the token.
        for seen in [self.project(project).await?, self.project_anew(project).await?] {
            if seen
                .is_some_and(|seen| seen.value.tokens.iter().any(|t| t.id == token && t.digest == hex::encode(digest)))
            {
                self.directory.tokens.write().expect("no holder of the lock panics").insert(digest, (project, token));
                return Ok(Some((project, token)));
            }
        }
        tracing::warn!(
            project.id = %project,
            "a token is in its table and not in the log; it is refused (coolops audit verify tells more)"
        );
        Ok(None)
    }

    /// The database for requests that have proved nothing yet: a few connections of their own, so that strangers stand
    /// behind each other and never before leases and presses.
    pub fn unproven(&self) -> &Store {
        &self.unproven
    }

    /// The database for whoever reads logs: however many do, presses and leases are not behind them.
    pub fn readers(&self) -> &Store {
        &self.readers
    }
}
