//! Reading the log: by stream and by correlation.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::private::{self, Opener};
use crate::domain::actor::UnreadableActor;
use crate::domain::deployment_events::DeploymentOf;
use crate::domain::event::{Actor, Event, Recorded, UnreadableEvent};
use crate::domain::ids::{BuildId, DeploymentId, EventId};

/// What is said where there is nothing to find anything by.
pub const ROWS_LOST: &str =
    "the rows that are made of the log are lost, so nothing can be found in it; make them anew: coolops replay";

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    /// The rows by which anything is found are lost, all of them, and the log is not.
    #[error("{ROWS_LOST}")]
    RowsLost,
    /// An event of a newer program, or a damaged one: reading stops there.
    #[error("event {position}")]
    Unreadable {
        /// Where.
        position: i64,
        /// What.
        #[source]
        why: UnreadableEvent,
    },
    /// A private text can't be read, and was not erased either.
    #[error("event {position}: a private text in it can't be opened: {why}")]
    Locked {
        /// Where.
        position: i64,
        /// Which key, or what.
        why: String,
    },
    /// The actor can't be read.
    #[error("event {position}: its actor can't be read")]
    Actor {
        /// Where.
        position: i64,
        /// What.
        #[source]
        why: UnreadableActor,
    },
}

/// An event that can't be read, and what it is about.
#[derive(Debug)]
pub struct Unread {
    /// Where it stands.
    pub position: i64,
    /// Its stream.
    pub stream: Uuid,
    /// The build or the project that it is about.
    pub correlation: Uuid,
    /// Why it can't be read.
    pub why: ReadError,
}

impl ReadError {
    /// Whether something else than this can still be read.
    pub fn is_of_one_thing(&self) -> bool {
        !matches!(self, Self::Database(_) | Self::RowsLost)
    }

    /// Where an event stands that no version of this program wrote: of a type that is known, and not as that type is.
    pub fn damaged(&self) -> Option<i64> {
        match self {
            Self::Unreadable { position, why: UnreadableEvent::Malformed { .. } }
            | Self::Actor { position, why: UnreadableActor::Damaged(_) | UnreadableActor::Malformed(_) } => {
                Some(*position)
            }
            Self::Unreadable { why: UnreadableEvent::Unknown { .. }, .. }
            | Self::Actor { why: UnreadableActor::Unknown { .. }, .. }
            | Self::Locked { .. }
            | Self::RowsLost
            | Self::Database(_) => None,
        }
    }
}

/// The columns of a stored event that a reader needs.
pub struct Raw<'a> {
    /// Its position.
    pub position: i64,
    /// Its id.
    pub event_id: Uuid,
    /// Its version in its stream.
    pub stream_version: i32,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// Its type.
    pub kind: &'a str,
    /// Its schema version.
    pub schema_version: i16,
    /// Who, as stored.
    pub actor: &'a str,
    /// What, as stored.
    pub payload: &'a str,
    /// What opens the private texts in it.
    pub opener: &'a Opener,
}

impl Raw<'_> {
    /// Reads what happened, without who did it: all that folds need.
    ///
    /// # Errors
    /// When type or payload can't be read.
    pub fn event(&self) -> Result<Event, ReadError> {
        let position = self.position;
        let event = Event::parse(self.kind, self.schema_version, self.payload)
            .map_err(|why| ReadError::Unreadable { position, why })?;
        if private::may_be_private(self.payload) { self.opener.event(position, event) } else { Ok(event) }
    }

    /// Reads who did it.
    ///
    /// # Errors
    /// When the actor can't be read.
    pub fn actor(&self) -> Result<Actor, ReadError> {
        let position = self.position;
        let actor = Actor::parse(self.actor).map_err(|why| ReadError::Actor { position, why })?;
        if private::may_be_private(self.actor) { self.opener.actor(position, actor) } else { Ok(actor) }
    }

    /// Reads the stored bytes.
    ///
    /// # Errors
    /// When type, payload or actor can't be read.
    pub fn parse(&self) -> Result<Recorded, ReadError> {
        let position = self.position;
        Ok(Recorded {
            position,
            event_id: EventId(self.event_id),
            version: self.stream_version,
            recorded_at: self.recorded_at,
            actor: self.actor()?,
            event: self.event()?,
        })
    }
}

macro_rules! read {
    ($store:expr, $rows:expr) => {{
        let rows = $rows;
        let opener = $store.opener(rows.iter().flat_map(|r| [&r.actor[..], &r.payload[..]])).await?;
        rows.into_iter()
            .map(|r| {
                Raw {
                    position: r.position,
                    event_id: r.event_id,
                    stream_version: r.stream_version,
                    recorded_at: r.recorded_at,
                    kind: &r.kind,
                    schema_version: r.schema_version,
                    actor: &r.actor,
                    payload: &r.payload,
                    opener: &opener,
                }
                .parse()
            })
            .collect()
    }};
}

/// The events that the tail of a statement asks for.
macro_rules! recorded {
    ($self:ident, $tail:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select position, event_id, stream_version, recorded_at, type as kind, schema_version, actor::text as "actor!",
                      payload::text as "payload!" from event "# + $tail,
            $($argument),*
        )
        .fetch_all(&$self.0.pool)
        .await?;
        read!($self.0, rows)
    }};
}

/// Events that are read at once of what may have very many.
pub const PAGE: usize = 2_000;

/// Events about one thing's locks that are read: more than anybody looks at.
const LOCK_EVENTS: i64 = 500;

/// Where the log ends, as appends go on from it.
#[derive(Debug, Clone)]
pub struct Head {
    /// Position of the last event; 0 when there is none.
    pub position: i64,
    /// The chain's hash there.
    pub hash: Vec<u8>,
    /// When it was recorded: no later event is recorded before that. None where somebody wrote what is no time.
    pub last_at: Option<DateTime<Utc>>,
}

/// The log, to be read.
#[derive(Clone, Copy)]
pub struct Log<'a>(pub(super) &'a Store);

impl Store {
    /// The log, to be read.
    pub fn log(&self) -> Log<'_> {
        Log(self)
    }
}

impl Log<'_> {
    /// All events of a stream, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn stream(self, stream: Uuid) -> Result<Vec<Recorded>, ReadError> {
        recorded!(self, "where stream_id = $1 order by stream_version", stream)
    }

    /// All events about a build, oldest first: the story that its message tells.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn build(self, build: BuildId) -> Result<Vec<Recorded>, ReadError> {
        self.about(build.0).await
    }

    /// All events about a build or a project, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn about(self, correlation: Uuid) -> Result<Vec<Recorded>, ReadError> {
        recorded!(self, "where correlation_id = $1 order by position", correlation)
    }

    /// The first events about a build or a project after a position, up to another one: at most [`PAGE`], oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn about_from(self, correlation: Uuid, after: i64, until: i64) -> Result<Vec<Recorded>, ReadError> {
        recorded!(
            self,
            "where correlation_id = $1 and position > $2 and position <= $3 order by position limit $4",
            correlation,
            after,
            until,
            PAGE as i64
        )
    }

    /// The events about a thing as [`Log::about_from`] reads them, by position, with their private texts as they are recorded: for
    /// folds, of which few texts are left. Who did them is judged, and not told.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn sealed_about_from(
        self,
        correlation: Uuid,
        after: i64,
        until: i64,
    ) -> Result<Vec<(i64, Event)>, ReadError> {
        let rows = sqlx::query!(
            r#"select position, type as kind, schema_version, actor::text as "actor!", payload::text as "payload!"
                 from event where correlation_id = $1 and position > $2 and position <= $3 order by position limit $4"#,
            correlation,
            after,
            until,
            PAGE as i64
        )
        .fetch_all(&self.0.pool)
        .await?;
        let parsed = rows.into_iter().map(|r| {
            let position = r.position;
            Actor::parse(&r.actor).map_err(|why| ReadError::Actor { position, why })?;
            let event = Event::parse(&r.kind, r.schema_version, &r.payload);
            Ok((position, event.map_err(|why| ReadError::Unreadable { position, why })?))
        });
        parsed.collect()
    }

    /// The last of the same: at most [`PAGE`], newest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn about_back_from(self, correlation: Uuid, until: i64, after: i64) -> Result<Vec<Recorded>, ReadError> {
        recorded!(
            self,
            "where correlation_id = $1 and position > $2 and position <= $3 order by position desc limit $4",
            correlation,
            after,
            until,
            PAGE as i64
        )
    }

    /// Those events about a project that gave its environments their names, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn namings(self, project: Uuid) -> Result<Vec<Recorded>, ReadError> {
        recorded!(
            self,
            "where correlation_id = $1 and type in ('environment_created', 'environment_renamed') order by position",
            project
        )
    }

    /// The last events that were about locks on a thing, oldest first: at most so many, and, where there are more, none of a
    /// lock whose beginning is not among them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn last_of_locks(self, lockable: Uuid) -> Result<Vec<Recorded>, ReadError> {
        let last: Result<Vec<Recorded>, ReadError> = recorded!(
            self,
            "where stream_id = $1 and type in ('environment_locked', 'environment_unlocked', 'project_locked', 'project_unlocked', 'everything_locked', 'everything_unlocked') order by stream_version desc limit $2",
            lockable,
            LOCK_EVENTS
        );
        let mut last = last?;
        last.reverse();
        if last.len() as i64 == LOCK_EVENTS {
            let ended = last.iter().position(|recorded| recorded.event.kind().0.ends_with("unlocked"));
            last.drain(..=ended.unwrap_or(0));
        }
        Ok(last)
    }

    /// All events of some streams up to a position, oldest first.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn streams_until(self, streams: &[Uuid], position: i64) -> Result<Vec<Recorded>, ReadError> {
        recorded!(self, "where stream_id = any($1) and position <= $2 order by position", streams, position)
    }

    /// At most `limit` events after a position, in order and without gaps; what can't be read is told in its place.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn after(self, position: i64, limit: i64) -> Result<Vec<Result<Recorded, Unread>>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select position, event_id, stream_id, correlation_id, stream_version, recorded_at, type as kind, schema_version,
                      actor::text as "actor!", payload::text as "payload!"
                 from event where position > $1 order by position limit $2"#,
            position,
            limit
        )
        .fetch_all(&self.0.pool)
        .await?;
        let filed: Vec<_> = rows.iter().map(|r| (r.position, r.stream_id, r.correlation_id)).collect();
        let read: Vec<Result<Recorded, ReadError>> = read!(self.0, rows);
        let told = filed.into_iter().zip(read);
        Ok(told
            .map(|((position, stream, correlation), read)| {
                read.map_err(|why| Unread { position, stream, correlation, why })
            })
            .collect())
    }

    /// The position at which a stream begins; none when there is no such stream.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begins_at(self, stream: Uuid) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar!("select position from event where stream_id = $1 and stream_version = 1", stream)
            .fetch_optional(&self.0.pool)
            .await
    }

    /// The position of a stream's last event; none when there is no such stream.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ends_at(self, stream: Uuid) -> Result<Option<i64>, sqlx::Error> {
        let last = sqlx::query_scalar!(
            "select position from event where stream_id = $1 order by stream_version desc limit 1",
            stream
        );
        last.fetch_optional(&self.0.pool).await
    }

    /// The deployment that was prepared last in an environment, before one that is about to be, and the position of that; none
    /// where it would be the first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn prepared_before(self, of: DeploymentOf) -> Result<Option<(DeploymentId, i64)>, sqlx::Error> {
        let last = sqlx::query!(
            "select stream_id, position from event
              where type = 'deployment_prepared' and payload->'of'->>'environment_id' = $1 and stream_id <> $2 order by position desc limit 1",
            of.environment_id.to_string(),
            of.deployment_id.0
        );
        Ok(last.fetch_optional(&self.0.pool).await?.map(|row| (DeploymentId(row.stream_id), row.position)))
    }

    /// How many seconds ago the event at a position was recorded; none where there is no event.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seconds_since(self, position: i64) -> Result<Option<f64>, sqlx::Error> {
        let since = sqlx::query_scalar!(
            r#"select extract(epoch from coolops_now() - recorded_at)::float8 as "since!" from event where position = $1 and isfinite(recorded_at)"#,
            position
        );
        since.fetch_optional(&self.0.pool).await
    }

    /// The head of the log: position and chain hash.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn head(self) -> Result<(i64, Vec<u8>), sqlx::Error> {
        self.head_there().await?.map(|head| (head.position, head.hash)).ok_or(sqlx::Error::RowNotFound)
    }

    /// The head of the log, with the time of the last event as appends go on from it; none where somebody emptied the table, which
    /// no program of ours does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn head_there(self) -> Result<Option<Head>, sqlx::Error> {
        // A time that is none, as `infinity`, can't be decoded.
        let row = sqlx::query!(
            "select position, chain_hash, case when isfinite(last_at) and last_at < '10000-01-01' then last_at end as last_at from event_head"
        );
        let row = row.fetch_optional(&self.0.pool);
        Ok(row.await?.map(|r| Head { position: r.position, hash: r.chain_hash, last_at: r.last_at }))
    }
}
