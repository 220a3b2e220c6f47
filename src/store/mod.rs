//! Postgres: the only SQL in the program.
//!
//! It moves names, numbers and JSON. **Invariant:** nothing here decides by an event's type (statements select by it what they
//! are asked for), and the only way to write the log is [`append`](mod@append). Everything else is derived from the log, or is
//! owed work that may be lost and found again.

pub mod append;
mod blocks;
pub mod checkpoints;
pub mod clock;
pub mod copy_out;
mod cursor;
pub mod deliveries;
pub mod deployments;
pub mod directory;
mod guards;
pub mod history;
pub mod jobs;
pub mod journal;
pub mod lags;
pub mod limits;
pub mod log;
pub mod messages;
mod owed;
pub mod people;
pub mod private;
pub mod rebuild;
pub mod refusals;
pub mod reports;
pub mod secrets;
pub mod snapshots;
pub mod sums;
pub mod tail;
mod tuple;
pub mod wake;
pub mod witnesses;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::domain::event::Event;
use crate::domain::upcast;
use crate::keys::Keyring;

/// Every migration, embedded.
pub static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// How long owed work waits for an answer of the database. The driver has no limit of its own, and a peer that vanished
/// without a word would be waited for for ever.
const ANSWER: Duration = Duration::from_secs(10);

/// A time as the database takes it.
fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// Waits for an answer of the database, but not for ever.
///
/// # Errors
/// What the driver said, or that nobody answered in time.
pub async fn within<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// A database that answers, at the version of this program. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    /// For owed work: its commits needn't be flushed before they are answered. What a crash of the server takes back is
    /// claimed, reserved or done again.
    work: PgPool,
    options: PgConnectOptions,
    appender: append::Appender,
    wake: wake::Wake,
    clock: clock::Clock,
    /// What encrypts the keys of private texts; without them only what has no such texts can be read and recorded.
    keys: Option<Arc<Keyring>>,
    /// How far looks for work to claim, and for work to ring for, have got.
    claims: Arc<cursor::Cursor>,
    rings: Arc<cursor::Cursor>,
}

/// Why the database can't be used; each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address can't be read.
    #[error("DATABASE_URL can't be read: {0}")]
    Url(String),
    /// Nobody answers there.
    #[error("no connection to Postgres at {at}: {why}. Is it running, and is DATABASE_URL right?")]
    Unreachable {
        /// Host and port, or socket folder.
        at: String,
        /// The driver's own words.
        why: String,
        /// Whether it may be there in a moment: nobody answers, or it is starting.
        passing: bool,
    },
    /// Tables are missing or older.
    #[error("the database has schema version {found}, this program needs {needed}; run: coolops migrate")]
    Unmigrated {
        /// The newest migration that is applied, 0 for none.
        found: i64,
        /// The newest migration of this program.
        needed: i64,
    },
    /// A program that was never released made its tables.
    #[error("the database's tables were made by an unreleased version of coolops; make a new database")]
    Unreleased,
    /// Another, newer program migrated it.
    #[error("the database has schema version {found}, newer than this program's {needed}; run the newer coolops")]
    TooNew {
        /// The newest migration that is applied.
        found: i64,
        /// The newest migration of this program.
        needed: i64,
    },
    /// The login may not take the application's role.
    #[error("the login of DATABASE_URL can't become the application's role: {0}. See docs/OPERATING.md, \"Postgres\"")]
    Role(String),
    /// The program has event types that the database has not heard of.
    #[error("the database does not know {0} types of events of this program; run: coolops migrate")]
    UnknownEvents(usize),
}

/// The first cause, without the wrapping that repeats it.
fn cause(error: &sqlx::Error) -> String {
    if let Some(said) = error.as_database_error() {
        return said.message().to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The host and port, or the socket folder, without user and password: what an error may show.
pub fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => format!("{}:{}", folder.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// Reads a database address and quiets the driver's own logging, which would print statements.
///
/// # Errors
/// When the address can't be read.
pub fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url).map_err(|e| OpenError::Url(cause(&e)))?;
    // What somebody puts into a schema before ours, as one that is called like the role, is not called instead.
    // Named last, a temporary table hides none of ours.
    let path = [("search_path", "public,pg_temp")];
    Ok(options.application_name("coolops").options(path).disable_statement_logging())
}

/// Applies the migrations that are missing, as the owner of the tables.
///
/// # Errors
/// When the database can't be reached or a migration fails; each migration is applied whole or not at all.
pub async fn migrate(url: &str) -> anyhow::Result<i64> {
    let options = options(url)?;
    let mut connection = connect_plainly(&options).await?;
    MIGRATOR.run_direct(None, &mut connection, false).await?;
    arrange(&mut connection).await?;
    connection.close().await?;
    Ok(needed_version())
}

/// What belongs to a cluster and a program rather than to tables: the application's role with its rights, and the types
/// of events that may be appended.
async fn arrange(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(include_str!("access.sql")).execute(&mut *connection).await?;
    let types = event_types();
    let names: Vec<&str> = types.iter().map(|(name, ..)| *name).collect();
    let versions: Vec<i16> = types.iter().map(|(_, version, _)| *version).collect();
    let streams: Vec<&str> = types.iter().map(|(.., stream)| *stream).collect();
    sqlx::query!(
        "insert into event_type (name, version, stream_type) select * from unnest($1::text[], $2::smallint[], $3::text[])
         on conflict (name, version) do update set stream_type = excluded.stream_type",
        &names as &[&str],
        &versions,
        &streams as &[&str]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Every event type that this program reads, in each of its versions, and the type of stream that it stands in.
fn event_types() -> Vec<(&'static str, i16, &'static str)> {
    let of_old = |kind: &str| Event::streams().into_iter().find(|(name, ..)| *name == kind).map(|(.., stream)| stream);
    let old = upcast::STEPS.iter().filter_map(|(kind, version, _)| Some((*kind, *version, of_old(kind)?)));
    Event::streams().into_iter().chain(old).map(|(name, version, stream)| (name, version, stream.as_str())).collect()
}

async fn connect_plainly(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    let unreachable = |why: String, passing| OpenError::Unreachable { at: address(options), why, passing };
    match tokio::time::timeout(Duration::from_secs(5), PgConnection::connect_with(options)).await {
        Ok(connected) => connected.map_err(|e| unreachable(cause(&e), is_passing(&e))),
        Err(_) => Err(unreachable("no answer within 5 s".to_owned(), true)),
    }
}

/// Whether the same may work in a moment. What Postgres itself refuses (a password, a database that isn't there) stays
/// refused, unless it is starting, stopping or full. Source: PostgreSQL, "Error Codes", classes 53 and 57.
fn is_passing(error: &sqlx::Error) -> bool {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
        Some(code) => code.starts_with("53") || code.starts_with("57P"),
        None => true,
    }
}

/// Connects and drops to the application's role, which may append and read, nothing more on the log.
async fn connect_as_app(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    become_app(&mut connection).await?;
    Ok(connection)
}

async fn become_app(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Its name is the database's own, so it can't be written out here.
    sqlx::query("select set_config('role', public.coolops_app_role(), false)").execute(&mut *connection).await?;
    Ok(())
}

fn needed_version() -> i64 {
    MIGRATOR.iter().map(|m| m.version).max().unwrap_or(0)
}

impl Store {
    /// Opens a migrated database with at most `connections` connections in each of two pools (for what is answered, and
    /// for owed work), beside those of the writer, the listener and the announcer.
    ///
    /// # Errors
    /// See [`OpenError`]. It never migrates.
    pub async fn open(url: &str, connections: u32) -> Result<Self, OpenError> {
        let options = options(url)?;
        let mut first = connect_plainly(&options).await?;
        check_version(&mut first).await?;
        become_app(&mut first).await.map_err(|e| OpenError::Role(cause(&e)))?;
        check_event_types(&mut first).await?;
        first.close().await.ok();
        let limits =
            [("lock_timeout", "5s"), ("statement_timeout", "30s"), ("idle_in_transaction_session_timeout", "10s")];
        // The statements are few and look rows up by key: planning them anew at every call costs more than it finds.
        let options = options.options(limits).options([("plan_cache_mode", "force_generic_plan")]);
        // Plans made while the tables are empty must hold when there is a backlog: index scans, in the index's order.
        let index_plans = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("jit", "off")];
        let unflushed = options.clone().options([("synchronous_commit", "off")]).options(index_plans);
        // What meets a dead connection there is owed work, and is done again; a person's request is not.
        let (pool, work) =
            (pool(options.clone(), connections, Duration::ZERO), pool(unflushed, connections, Duration::from_secs(1)));
        let wake = wake::Wake::start(options.clone());
        let appender = append::Appender::start(options.clone(), wake.clone());
        Ok(Self {
            pool,
            work,
            options,
            appender,
            wake,
            clock: clock::Clock::default(),
            keys: None,
            claims: Arc::new(cursor::Cursor::overlapping(Duration::from_millis(20))),
            rings: Arc::new(cursor::Cursor::overlapping(Duration::from_secs(1))),
        })
    }

    /// Gives it the keys of this installation: private texts are encrypted when events are recorded, and opened when they are read.
    #[must_use]
    pub fn with_keys(self, keys: Arc<Keyring>) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// The same database through a pool of its own with at most so many connections, for those who must not take
    /// others' places.
    #[must_use]
    pub fn apart(&self, connections: u32) -> Self {
        let pool = pool(self.options.clone(), connections, Duration::ZERO);
        Self { work: pool.clone(), pool, ..self.clone() }
    }

    /// A connection for reading and writing in bulk: what is asked grows with the log, and has no time limit.
    async fn bulk(&self) -> Result<PgConnection, sqlx::Error> {
        connect_as_app(&self.options.clone().options([("statement_timeout", "0")])).await
    }

    /// Whether the process's writer is alive; without it nothing can be recorded.
    pub fn can_append(&self) -> bool {
        self.appender.is_alive()
    }

    /// Waits until the process's writer has ended, which it never should.
    pub async fn writer_ended(&self) {
        self.appender.ended().await;
    }

    /// Whether this process asks nothing of the database now, for tests that simulate time.
    #[cfg(feature = "failpoints")]
    pub fn is_idle(&self) -> bool {
        let is_unused = |pool: &PgPool| usize::try_from(pool.size()).is_ok_and(|size| size == pool.num_idle());
        is_unused(&self.pool) && is_unused(&self.work) && self.appender.is_idle()
    }

    /// The database's clock, as far as this process knows it.
    pub fn clock(&self) -> &clock::Clock {
        &self.clock
    }

    /// Where to hear of new events and log chunks.
    pub fn wake(&self) -> &wake::Wake {
        &self.wake
    }

    /// Whether the database answers now.
    ///
    /// # Errors
    /// What the driver said.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        sqlx::query_scalar!("select 1 as \"one!\"").fetch_one(&self.pool).await.map(|_| ())
    }

    /// A short name of this installation: what it shares with nobody on a Redis or a Docker Engine that it shares.
    ///
    /// # Errors
    /// What the driver said.
    pub async fn instance(&self) -> Result<String, sqlx::Error> {
        sqlx::query_scalar::<_, String>(
            "select left(md5(current_database() || min(installed_on)::text), 12) from _sqlx_migrations",
        )
        .fetch_one(&self.pool)
        .await
    }

    /// What the login behind the connections could do beyond the application's role if it wanted: by its own rights, or
    /// by those of any role that it is a member of, however deep.
    ///
    /// # Errors
    /// What the driver said.
    pub async fn privileges(&self) -> Result<Vec<&'static str>, sqlx::Error> {
        let row = sqlx::query!(
            r#"select exists (select from pg_roles r where r.rolsuper and pg_has_role(session_user, r.oid, 'MEMBER')) as "superuser!",
                      exists (select from pg_class c where c.oid = 'public.event'::regclass and pg_has_role(session_user, c.relowner, 'MEMBER'))
                      or exists (select from pg_database d where d.datname = current_database() and pg_has_role(session_user, d.datdba, 'MEMBER'))
                      or exists (select from pg_namespace n where n.nspname = 'public' and pg_has_role(session_user, n.nspowner, 'MEMBER'))
                      or exists (select from pg_proc p where p.proname = 'append_batch' and pg_has_role(session_user, p.proowner, 'MEMBER')) as "owner!",
                      has_schema_privilege(session_user, 'public', 'CREATE') as "creates!",
                      has_table_privilege(session_user, 'public.event', 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') as "writes!",
                      exists (select from pg_roles r where r.rolcreaterole and pg_has_role(session_user, r.oid, 'MEMBER')) as "makes_roles!",
                      exists (select from pg_roles r where r.rolname in ('pg_execute_server_program', 'pg_write_server_files', 'pg_write_all_data')
                               and pg_has_role(session_user, r.oid, 'MEMBER')) as "server!",
                      has_database_privilege('public', current_database(), 'CONNECT') as "anybody!""#
        )
        .fetch_one(&self.pool)
        .await?;
        // A superuser is all the rest too.
        let all = [
            (row.superuser, "it is a superuser, or a member of one"),
            (
                !row.superuser && row.owner,
                "it owns the log, the database or its schema, or is a member of the role that does",
            ),
            (
                !row.superuser && !row.owner && row.creates,
                "it may create things in the schema public, as everybody may: revoke create on schema public from public",
            ),
            (!row.superuser && !row.owner && row.writes, "it may write to the log's table"),
            (!row.superuser && row.makes_roles, "it may make roles, and so give itself others' rights"),
            (!row.superuser && row.server, "it may write to the server's files or to all tables"),
            (row.anybody, "every login of this server may connect to the database"),
        ];
        Ok(all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect())
    }
}

/// Connections that are made when they are needed. One that was used within `trusted` is taken as it is: asking it first
/// whether it is alive, as the driver would, is a round trip before each statement.
fn pool(options: PgConnectOptions, connections: u32, trusted: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(Duration::from_secs(3))
        .after_connect(|connection, _| Box::pin(become_app(connection)))
        .test_before_acquire(false)
        .before_acquire(move |connection, since| {
            Box::pin(async move { Ok(since.idle_for < trusted || connection.ping().await.is_ok()) })
        })
        .connect_lazy_with(options)
}

/// SQLSTATE: there is no such table.
const UNDEFINED_TABLE: &str = "42P01";

/// Why a database that was reached can't be asked which version it has.
fn unasked(error: &sqlx::Error) -> OpenError {
    match is_away(error) {
        true => OpenError::Unreachable { at: "its address".to_owned(), why: cause(error), passing: true },
        false => OpenError::Role(cause(error)),
    }
}

async fn check_version(connection: &mut PgConnection) -> Result<(), OpenError> {
    let needed = needed_version();
    // Not a checked query: on a fresh database the table isn't there, which is an answer and not an error.
    let found = sqlx::query_scalar::<_, Option<i64>>("select max(version) from _sqlx_migrations where success")
        .fetch_one(&mut *connection)
        .await;
    let found = match found {
        Err(sqlx::Error::Database(e)) if e.code().is_some_and(|code| code == UNDEFINED_TABLE) => 0,
        found => found.map_err(|e| unasked(&e))?.unwrap_or(0),
    };
    match found.cmp(&needed) {
        std::cmp::Ordering::Less => return Err(OpenError::Unmigrated { found, needed }),
        std::cmp::Ordering::Greater => return Err(OpenError::TooNew { found, needed }),
        std::cmp::Ordering::Equal => {}
    }
    let applied = sqlx::query_as::<_, (i64, Vec<u8>)>("select version, checksum from _sqlx_migrations")
        .fetch_all(connection)
        .await;
    let applied = applied.map_err(|e| unasked(&e))?;
    let applied: std::collections::HashMap<i64, Vec<u8>> = applied.into_iter().collect();
    let as_written = MIGRATOR.iter().all(|m| applied.get(&m.version).is_some_and(|checksum| *checksum == *m.checksum));
    if as_written { Ok(()) } else { Err(OpenError::Unreleased) }
}

async fn check_event_types(connection: &mut PgConnection) -> Result<(), OpenError> {
    let known = sqlx::query!("select name, version, stream_type from event_type").fetch_all(connection).await;
    let known = known.map_err(|e| OpenError::Role(cause(&e)))?;
    let is_known = |(name, version, stream): &&(&str, i16, &str)| {
        known.iter().any(|k| k.name == *name && k.version == *version && k.stream_type.as_deref() == Some(*stream))
    };
    match event_types().iter().filter(|t| !is_known(t)).count() {
        0 => Ok(()),
        missing => Err(OpenError::UnknownEvents(missing)),
    }
}

/// Whether an error says that the database can't be reached for now, as while it is started again.
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        // Classes "connection exception", "insufficient resources", as too many connections, and "operator intervention", and a
        // database that lets nobody in for now.
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            ["08", "53", "57P"].into_iter().any(|class| code.starts_with(class)) || code == "55000"
        }),
        _ => false,
    }
}
