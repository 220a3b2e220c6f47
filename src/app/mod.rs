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
pub mod evidence;
pub mod finding;
mod folding;
pub mod forks;
pub mod history;
pub mod installation;
pub mod lock_commands;
pub mod locks;
mod memory;
pub mod notices;
pub mod people;
pub mod presses;
pub mod projects;
pub mod proving;
pub mod questions;
pub mod replay;
pub mod rights;
mod secrets;
pub mod slack_audit;
pub mod status;
mod tiles;
pub mod travel;
mod turns;
pub mod way_back;
pub mod witnesses;

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use self::memory::Memory;
use self::turns::Turns;
use crate::domain::deployment::Deployment;
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{DeploymentId, EventId};
use crate::domain::line::Line;
use crate::domain::react::react;
use crate::keys::Keyring;
use crate::projections::rows;
use crate::projections::timed::Timed;
use crate::slack::client::Slack;
use crate::store::Store;
use crate::store::append::{Append, AppendError, Appended};
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
    memory: Memory,
    turns: Turns,
    posts: Option<Pace>,
    people: rights::People,
    keeping: checkpoints::Keeping,
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
            ReadError::Database(_) | ReadError::RowsLost => Self::Unavailable(error.into()),
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

/// The id of an event that follows in a stream at a version. Deciding the same again at that version gives the same id, so that
/// a repeated append is one; the same event later gets another.
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

/// Adds an event of one who waits in a line, what it follows from, and the row that it leaves.
fn record_waiting(
    append: &mut Append,
    line: &Line,
    (id, event): (EventId, &Event),
    actor: &Actor,
    cause: Option<EventId>,
) {
    let waiting = line.of(event);
    record(append, id, event, actor, waiting.version);
    if let Some(cause) = cause {
        append.because(cause);
    }
    append.row(rows::of_deployment(waiting.clone().evolve(event)));
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
            memory: Memory::default(),
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

    /// Records what was decided; nothing where what it was decided on has changed meanwhile: read again, decide again.
    async fn append_unless_moved(&self, append: Append) -> Result<Option<Appended>, AppendError> {
        match self.store.append(append).await {
            Ok(appended) => Ok(Some(appended)),
            Err(AppendError::Conflict) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A deployment as the log has it.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn deployment_of_log(&self, id: DeploymentId) -> Result<Option<Deployment>, ReadError> {
        Ok(Timed::fold(&self.store.log().stream(id.0).await?).map(|timed| timed.deployment))
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
