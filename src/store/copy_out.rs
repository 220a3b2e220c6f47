//! Reading the whole log in one pass: `COPY … TO STDOUT (FORMAT binary)` on a connection of its own.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, Bytes};
use chrono::{DateTime, Duration, Utc};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::Store;
use super::blocks::{Blocks, tuples, tuples_in};
use super::log::{Log, Raw, ReadError};
use super::private::{self, Opener, Wrapped};
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{DeploymentId, SubjectKeyId};
use crate::domain::project::Project;
use crate::proof::chain::{self, Header};

/// An event with all its columns, borrowed from the stream.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "columns of the event table")]
pub struct Row<'a> {
    pub position: i64,
    pub header: Header<'a>,
    pub micros_since_2000: i64,
    pub payload: &'a str,
    pub body_hash: &'a [u8],
    pub chain_hash: &'a [u8],
    pub opener: &'a Opener,
}

impl Row<'_> {
    /// When it was recorded.
    pub fn recorded_at(&self) -> DateTime<Utc> {
        time(self.micros_since_2000)
    }

    /// What happened.
    ///
    /// # Errors
    /// When type or payload can't be read.
    pub fn event(&self) -> Result<Event, ReadError> {
        self.raw().event()
    }

    /// What happened, as folds take it: who did it is judged and not told, and private texts of settings are as they are
    /// recorded, for few of them are left in the end ([`Snapshot::opened`]).
    ///
    /// # Errors
    /// When type, payload or actor can't be read, or the key of a private text was changed.
    pub fn to_fold(&self) -> Result<Event, ReadError> {
        let position = self.position;
        Actor::parse(self.header.actor).map_err(|why| ReadError::Actor { position, why })?;
        let parsed = Event::parse(self.header.kind, self.header.schema_version, self.payload);
        let event = parsed.map_err(|why| ReadError::Unreadable { position, why })?;
        self.opener.notes(self.header.actor);
        if !private::may_be_private(self.payload) {
            return Ok(event);
        }
        if let Some(key) = self.opener.changed_in(self.payload) {
            let why = format!("its key {key} was changed; restore subject_key from a dump");
            return Err(ReadError::Locked { position, why });
        }
        match event {
            mut event @ Event::Settings(_) => {
                self.opener.notes_of(&mut event);
                Ok(event)
            }
            event => self.opener.event(position, event),
        }
    }

    /// The keys that texts of events opened since the last question were under, and that are not there any more.
    pub fn missing_keys(&self) -> Vec<SubjectKeyId> {
        self.opener.missing().into_iter().map(SubjectKeyId).collect()
    }

    /// A key of texts in it that was changed, so that it opens nothing.
    pub fn changed_key(&self) -> Option<SubjectKeyId> {
        self.opener.changed_in(self.header.actor).or_else(|| self.opener.changed_in(self.payload))
    }

    /// Whether texts in it are under one of these keys.
    pub(super) fn is_under(&self, keys: &[SubjectKeyId]) -> bool {
        private::keys_in([self.header.actor, self.payload]).into_iter().any(|id| keys.contains(&SubjectKeyId(id)))
    }

    /// Whether it, or what was opened before it, calls whoever has one of these keys so.
    pub(super) fn calls(&self, keys: &[SubjectKeyId], name: &str) -> bool {
        // What can't be read calls nobody.
        drop((self.event(), self.raw().actor()));
        keys.iter().any(|key| self.opener.called(key.0).contains(name))
    }

    /// The private texts in it as they are stored, and what they say; without those that were erased.
    pub fn plain(&self) -> BTreeMap<&str, String> {
        self.opener.plain([self.header.actor, self.payload])
    }

    fn raw(&self) -> Raw<'_> {
        Raw {
            position: self.position,
            event_id: self.header.event_id,
            stream_version: self.header.stream_version,
            recorded_at: self.recorded_at(),
            kind: self.header.kind,
            schema_version: self.header.schema_version,
            actor: self.header.actor,
            payload: self.payload,
            opener: self.opener,
        }
    }
}

/// A time that nobody can count with, as `infinity`, is the first or the last that there is.
fn time(micros_since_2000: i64) -> DateTime<Utc> {
    let at = chain::epoch().checked_add_signed(Duration::microseconds(micros_since_2000));
    at.unwrap_or(if micros_since_2000 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC })
}

/// Takes the fields of a binary COPY tuple one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.0.get_i32();
        let length = usize::try_from(length).ok()?;
        let (field, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(field)
    }

    fn bytes(&mut self) -> &'a [u8] {
        self.next().unwrap_or_default()
    }

    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or("\u{fffd}")
    }

    fn i64(&mut self) -> i64 {
        self.bytes().try_into().map_or(0, i64::from_be_bytes)
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_slice(self.bytes()).unwrap_or_default()
    }
}

impl Log<'_> {
    /// Visits every event after a position in order; stops early when the visitor says `false`. It opens no private text.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn scan(self, after: i64, visit: impl FnMut(&Row<'_>) -> bool + Send) -> Result<(), sqlx::Error> {
        let mut connection = self.0.bulk().await?;
        pass(&mut connection, (after, i64::MAX), WHOLE, &Opener::default(), visit).await?;
        connection.close_hard().await
    }

    /// Visits every event after a position in order, for visitors that open private texts; stops early when one says `false`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn scan_opened(self, after: i64, visit: impl FnMut(&Row<'_>) -> bool + Send) -> Result<(), sqlx::Error> {
        let mut snapshot = self.0.snapshot().await?;
        snapshot.events(after, i64::MAX, visit).await?;
        snapshot.close().await
    }
}

/// Blocks of events that are checked before whoever visits them gets to them.
const BLOCKS_AHEAD: usize = 4;

/// One moment of the database.
pub struct Snapshot {
    pub(super) connection: PgConnection,
    opener: Opener,
}

impl Store {
    /// The database as it is now: every key that an event in it needs is in it too, unless it was destroyed before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn snapshot(&self) -> Result<Snapshot, sqlx::Error> {
        let mut connection = at_one_moment(self).await?;
        let keys = sqlx::query_as!(Wrapped, "select id, kind, subject, key_id, nonce, ciphertext from subject_key");
        let opener = self.opening_with(keys.fetch_all(&mut connection).await?);
        Ok(Snapshot { connection, opener })
    }
}

/// A connection that sees one moment.
async fn at_one_moment(store: &Store) -> Result<PgConnection, sqlx::Error> {
    let mut connection = store.bulk().await?;
    sqlx::query("begin isolation level repeatable read read only").execute(&mut connection).await?;
    // It keeps nobody waiting, and what is read is worked on meanwhile.
    sqlx::query("set local idle_in_transaction_session_timeout = 0").execute(&mut connection).await?;
    Ok(connection)
}

impl Snapshot {
    /// Another one of the same moment, to read rows while the log is read. It opens no private text.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn twin(&mut self, store: &Store) -> Result<Self, sqlx::Error> {
        let id = sqlx::query_scalar!(r#"select pg_export_snapshot() as "id!""#).fetch_one(&mut self.connection).await?;
        let mut connection = at_one_moment(store).await?;
        // It takes no parameter; the database itself made up the name.
        let moment = format!("set transaction snapshot '{}'", id.replace('\'', "''"));
        sqlx::query(AssertSqlSafe(moment)).execute(&mut connection).await?;
        Ok(Self { connection, opener: Opener::default() })
    }

    /// Visits every event after a position and up to another in order; stops early when the visitor says `false`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events(
        &mut self,
        after: i64,
        until: i64,
        visit: impl FnMut(&Row<'_>) -> bool + Send,
    ) -> Result<(), sqlx::Error> {
        pass(&mut self.connection, (after, until), WHOLE, &self.opener, visit).await
    }

    /// As [`Snapshot::events`], without what only the chain is made of, which is nil in these rows: folding needs none of it, and
    /// it is a fifth of what there is to read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events_to_fold(
        &mut self,
        after: i64,
        until: i64,
        visit: impl FnMut(&Row<'_>) -> bool + Send,
    ) -> Result<(), sqlx::Error> {
        pass(&mut self.connection, (after, until), TO_FOLD, &self.opener, visit).await
    }

    /// As [`Snapshot::events`] of all events, on two threads: a checker, which opens no private text, sees each event first, and
    /// the visitor sees those before the first that the checker refuses. Comes back with the checker; after a refusal nothing
    /// more can be asked of the snapshot.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events_checked<C: Send + 'static>(
        self,
        mut checker: C,
        is_good: fn(&mut C, &Row<'_>) -> bool,
        mut visit: impl FnMut(&Row<'_>) + Send,
    ) -> Result<(Self, C), sqlx::Error> {
        let Self { mut connection, opener } = self;
        let (hand_on, mut checked) = mpsc::channel::<Bytes>(BLOCKS_AHEAD);
        let checking = AbortOnDropHandle::new(tokio::spawn(async move {
            let opens_nothing = Opener::default();
            let mut blocks = Blocks::of(&mut connection, &events_between(i64::MIN, i64::MAX, WHOLE)).await?;
            while let Some(block) = blocks.next().await? {
                let good = tuples_in(&block).take_while(|tuple| is_good(&mut checker, &row(tuple, &opens_nothing)));
                let good: usize = good.map(<[u8]>::len).sum();
                // Whoever visits may have gone.
                if hand_on.send(block.slice(..good)).await.is_err() || good < block.len() {
                    break;
                }
            }
            drop(blocks);
            Ok::<_, sqlx::Error>((connection, checker))
        }));
        while let Some(block) = checked.recv().await {
            tuples_in(&block).for_each(|tuple| visit(&row(tuple, &opener)));
        }
        let (connection, checker) = checking.await.map_err(|e| sqlx::Error::Io(std::io::Error::other(e)))??;
        Ok((Self { connection, opener }, checker))
    }

    /// The position of its last event, whatever the head says.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn head(&mut self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(r#"select coalesce(max(position), 0) as "position!" from event"#)
            .fetch_one(&mut self.connection)
            .await
    }

    /// A project with its private texts in plain, where they weren't erased.
    ///
    /// # Errors
    /// When a text was changed.
    pub fn opened(&self, position: i64, project: Project) -> Result<Project, ReadError> {
        self.opener.opening(position, project, Project::private)
    }

    /// The master keys that texts of events read so far are under, and that aren't set.
    pub fn locked(&self) -> BTreeSet<String> {
        self.opener.locked()
    }

    /// The keys of private texts that are in it.
    pub fn keys(&self) -> Vec<SubjectKeyId> {
        self.opener.keys()
    }

    /// The people whose rows call them what nothing that was read under their keys does: the keys, the id, the name. Of those
    /// whom nothing names that was read nothing is told. And the operators whose rows have a name: their login is all there is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn misnamed(&mut self) -> Result<Vec<(Vec<SubjectKeyId>, String, String)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select kind = 'operator' as "is_operator!", array_agg(id) as "ids!", subject, array_agg(distinct name) filter (where name is not null) as "names!: Vec<String>"
                 from subject_key where kind in ('person', 'operator') group by kind, subject having count(name) > 0 order by kind, subject"#
        );
        let rows = rows.fetch_all(&mut self.connection).await?.into_iter();
        let misnamed = rows.flat_map(|r| {
            let called: BTreeSet<String> = r.ids.iter().flat_map(|key| self.opener.called(*key)).collect();
            let keys: Vec<SubjectKeyId> = r.ids.into_iter().map(SubjectKeyId).collect();
            let wrong =
                r.names.into_iter().filter(move |name| r.is_operator || (!called.is_empty() && !called.contains(name)));
            wrong.map(move |name| (keys.clone(), r.subject.clone(), name))
        });
        Ok(misnamed.collect())
    }

    /// The keys that somebody was at destroying: rows and texts may be of before and after it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keys_being_erased(&mut self) -> Result<Vec<SubjectKeyId>, sqlx::Error> {
        let keys = sqlx::query_file_scalar!("src/store/keys_being_erased.sql").fetch_all(&mut self.connection).await?;
        Ok(keys.into_iter().map(SubjectKeyId).collect())
    }

    /// Whether no row says how far anything has got, as in a database whose rows are lost.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_no_boundaries(&mut self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(r#"select not exists (select from boundary) as "it!""#)
            .fetch_one(&mut self.connection)
            .await
    }

    /// The deployments that have an event after their end: their containers ran on, and were stopped.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn strays(&mut self) -> Result<Vec<DeploymentId>, sqlx::Error> {
        // Written out, as the index on them is.
        let ids = sqlx::query_scalar!("select distinct stream_id from event where type = 'deployment_stray_stopped'");
        Ok(ids.fetch_all(&mut self.connection).await?.into_iter().map(DeploymentId).collect())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.connection.close_hard().await
    }
}

/// The columns of a row, as [`row`] takes them apart.
const WHOLE: &str = "position, event_id, tenant_id, stream_id, correlation_id, causation_id, recorded_at, fence, stream_version, schema_version, stream_type, type, actor, payload, body_hash, chain_hash";
/// The same, without what no fold looks at.
const TO_FOLD: &str = "position, event_id, null::uuid, stream_id, correlation_id, null::uuid, recorded_at, null::bigint, stream_version, schema_version, null::text, type, actor, payload, null::bytea, null::bytea";

async fn pass(
    connection: &mut PgConnection,
    (after, until): (i64, i64),
    columns: &str,
    opener: &Opener,
    mut visit: impl FnMut(&Row<'_>) -> bool + Send,
) -> Result<(), sqlx::Error> {
    tuples(connection, &events_between(after, until, columns), |tuple| visit(&row(tuple, opener))).await
}

/// The statement that reads events after a position, and up to another, in order.
fn events_between(after: i64, until: i64, columns: &str) -> String {
    format!(
        "copy (select {columns} from event where position > {after} and position <= {until} order by position) to stdout (format binary)"
    )
}

fn row<'a>(tuple: &'a [u8], opener: &'a Opener) -> Row<'a> {
    // After how many they are.
    let mut f = Fields(&tuple[2..]);
    let position = f.i64();
    let (event_id, tenant_id, stream_id, correlation_id) = (f.uuid(), f.uuid(), f.uuid(), f.uuid());
    let causation_id = f.next().and_then(|b| Uuid::from_slice(b).ok());
    let micros_since_2000 = f.i64();
    let fence = f.next().and_then(|b| b.try_into().ok()).map(i64::from_be_bytes);
    let stream_version = f.bytes().try_into().map_or(0, i32::from_be_bytes);
    let schema_version = f.bytes().try_into().map_or(0, i16::from_be_bytes);
    let (stream_type, kind, actor, payload) = (f.text(), f.text(), f.text(), f.text());
    let header = Header {
        event_id,
        tenant_id,
        stream_type,
        stream_id,
        stream_version,
        kind,
        schema_version,
        actor,
        correlation_id,
        causation_id,
        fence,
    };
    Row { position, header, micros_since_2000, payload, body_hash: f.bytes(), chain_hash: f.bytes(), opener }
}
