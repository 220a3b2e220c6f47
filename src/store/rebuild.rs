//! Building the projections anew beside the live ones and swapping in what differs, in one transaction. Where nothing
//! differs, which [`sums`](super::sums) tells, nothing of this is done; where the live ones are empty, as after a loss, they are
//! filled.
//!
//! The rows are staged in temporary tables while everything goes on. For the swap the live tables are locked against
//! writers, the events of the meantime are staged too, and only rows that differ are replaced: over sound projections
//! it changes nothing and says so.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Store;
use super::tuple::{HEADER, TABLES, TRAILER, Table, Tuple};
use crate::projections::rows::{Row, TokenRow};

/// Rows on their way into tables, over a connection of their own; they are written while the log is folded on.
struct Copying {
    /// What the names of the tables begin with.
    prefix: &'static str,
    /// The connection, unless something is being written over it.
    idle: Option<PgConnection>,
    writing: Option<JoinHandle<Result<PgConnection, sqlx::Error>>>,
    batch: Batch,
}

/// What is to be written, by the name of its table.
type Batch = BTreeMap<&'static str, Vec<u8>>;

/// Staged rows; of two with one key the later one counts.
pub struct Staging(Copying);

/// Rows that go into tables in which nothing is, in one transaction; dropping it leaves them empty. Of two with one key it
/// takes none.
pub struct Filling {
    copying: Copying,
    rows: BTreeMap<&'static str, i64>,
}

/// How many rows of a table were wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Swapped {
    /// The table.
    pub table: &'static str,
    /// Rows as the log has them.
    pub rows: i64,
    /// Live rows that the log does not have like that.
    pub removed: u64,
    /// Rows written in their place or anew.
    pub written: u64,
}

/// The column that says what a row is about.
fn about(table: &str) -> &'static str {
    match table {
        "boundary" => "key",
        "token" => "project_id",
        _ => "id",
    }
}
/// Bytes that are staged at once.
const FLUSH_AT: usize = 4 << 20;

/// Where rows go that the log leaves.
pub trait Rows: Send {
    /// One of them. What changes afterwards all the same comes again.
    fn tuple(&mut self, tuple: Tuple);

    /// There is time to write what is waiting.
    ///
    /// # Errors
    /// When the database does not answer.
    fn write(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// Rows of which events make new ones, until the last one is known: there are few.
#[derive(Default)]
pub struct Changing {
    boundaries: HashMap<Uuid, i64>,
    tokens: HashMap<String, TokenRow>,
}

impl Changing {
    /// An event moved a boundary.
    pub fn boundary(&mut self, key: Uuid, position: i64) {
        self.boundaries.insert(key, position);
    }

    /// A row as an event left it, if it is of a token.
    pub fn row(&mut self, row: Row) {
        if let Row::Token(token) = row {
            self.tokens.insert(token.digest.clone(), token);
        }
    }

    /// The last event is known: hands over the rows as they are now.
    pub fn finish(&mut self, into: &mut impl Rows) {
        self.boundaries.drain().for_each(|(key, position)| into.tuple(Tuple::of_boundary(key, position)));
        self.tokens.drain().for_each(|(_, token)| into.tuple(Tuple::of_token(&token)));
    }
}

/// A row as an event at a position left it, and as it stays. Only deployments have `begun`.
pub fn put(into: &mut impl Rows, position: i64, begun: Begun, row: &Row) {
    into.tuple(Tuple::of_row(position, begun, row));
}

/// Where in the log a deployment began, and where it came to stand as it does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// Position of the press.
    pub requested: i64,
    /// Position of the event that changed its state last.
    pub since: i64,
}

impl Store {
    /// Begins staging.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stage(&self) -> Result<Staging, sqlx::Error> {
        let mut connection = self.bulk().await?;
        for Table { name, columns, .. } in TABLES {
            let columns = columns.join(", ");
            let statement = format!("create temp table next_{name} as select {columns} from {name} with no data");
            run(&mut connection, statement).await?;
        }
        Ok(Staging(Copying::over(connection, "next_")))
    }

    /// Begins to fill the tables, and keeps writers out of them until it is done; none where there is anything in one of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fill(&self) -> Result<Option<Filling>, sqlx::Error> {
        let mut connection = self.bulk().await?;
        // Where there is something, which is nearly always, nobody is kept out to see that.
        if are_empty(&mut connection).await? {
            lock_tables(&mut connection).await?;
            if are_empty(&mut connection).await? {
                return Ok(Some(Filling { copying: Copying::over(connection, ""), rows: BTreeMap::new() }));
            }
        }
        connection.close().await?;
        Ok(None)
    }
}

impl Copying {
    fn over(connection: PgConnection, prefix: &'static str) -> Self {
        Self { prefix, idle: Some(connection), writing: None, batch: Batch::new() }
    }

    fn tuple(&mut self, tuple: &Tuple) {
        self.batch.entry(tuple.table.name).or_insert_with(|| HEADER.to_vec()).extend_from_slice(&tuple.bytes);
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        if self.batch.values().map(Vec::len).sum::<usize>() > FLUSH_AT {
            self.connection().await?;
            let (batch, prefix) = (std::mem::take(&mut self.batch), self.prefix);
            self.writing = self.idle.take().map(|mut connection| {
                tokio::spawn(async move { copy_in(&mut connection, prefix, batch).await.map(|()| connection) })
            });
        }
        Ok(())
    }

    /// Writes what is waiting.
    async fn flush(&mut self) -> Result<(), sqlx::Error> {
        let (batch, prefix) = (std::mem::take(&mut self.batch), self.prefix);
        copy_in(self.connection().await?, prefix, batch).await
    }

    /// The connection, after what was being written over it.
    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if let Some(writing) = self.writing.take() {
            self.idle = Some(writing.await.map_err(|_| sqlx::Error::WorkerCrashed)??);
        }
        self.idle.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }
}

async fn copy_in(connection: &mut PgConnection, prefix: &str, mut batch: Batch) -> Result<(), sqlx::Error> {
    for Table { name, columns, .. } in TABLES {
        let Some(mut tuples) = batch.remove(name) else { continue };
        tuples.extend_from_slice(&TRAILER);
        let statement = format!("copy {prefix}{name} ({}) from stdin (format binary)", columns.join(", "));
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(tuples).await?;
        copy.finish().await?;
    }
    Ok(())
}

/// Runs a statement made of the names of tables and columns; tells how many rows it was about.
async fn run(connection: &mut PgConnection, statement: String) -> Result<u64, sqlx::Error> {
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await.map(|done| done.rows_affected())
}

/// Whether there is nothing in any of the tables.
async fn are_empty(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let nothing = TABLES.map(|Table { name, .. }| format!("not exists (select from {name})")).join(" and ");
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select {nothing}"))).fetch_one(connection).await
}

/// Begins a transaction, and keeps writers out of the tables until its end.
async fn lock_tables(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("begin").execute(&mut *connection).await?;
    // Events are read on another connection meanwhile.
    sqlx::query("set local idle_in_transaction_session_timeout = 0").execute(&mut *connection).await?;
    for Table { name, .. } in TABLES {
        run(connection, format!("lock table {name} in share row exclusive mode")).await?;
    }
    Ok(())
}

impl Rows for Staging {
    fn tuple(&mut self, tuple: Tuple) {
        self.0.tuple(&tuple);
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        self.0.write().await
    }
}

impl Rows for Filling {
    fn tuple(&mut self, tuple: Tuple) {
        *self.rows.entry(tuple.table.name).or_default() += 1;
        self.copying.tuple(&tuple);
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        self.copying.write().await
    }
}

impl Filling {
    /// Writes what is waiting, and lets readers see it and the writers on.
    ///
    /// # Errors
    /// When the database does not answer, or a row is there twice; nothing is written then.
    pub async fn finish(mut self) -> Result<Vec<Swapped>, sqlx::Error> {
        self.copying.flush().await?;
        let connection = self.copying.connection().await?;
        crate::failpoint!("mid_flip");
        sqlx::query("commit").execute(&mut *connection).await?;
        self.copying.idle.take().ok_or(sqlx::Error::WorkerCrashed)?.close().await?;
        let told = |Table { name: table, .. }| {
            let rows = self.rows.get(table).copied().unwrap_or(0);
            Swapped { table, rows, removed: 0, written: rows.unsigned_abs() }
        };
        Ok(TABLES.map(told).into())
    }
}

impl Staging {
    /// Writes what is waiting to the staged tables.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&mut self) -> Result<(), sqlx::Error> {
        self.0.flush().await
    }

    /// Keeps writers out of the live tables until [`Staging::swap`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock(&mut self) -> Result<(), sqlx::Error> {
        lock_tables(self.0.connection().await?).await
    }

    /// Replaces what differs and lets the writers on. Rows of what is `kept` are left as they are. Tells how many tables of how
    /// many are done.
    ///
    /// # Errors
    /// When the database does not answer; nothing is replaced then.
    pub async fn swap(mut self, kept: &HashSet<Uuid>, tell: impl Fn(i64, i64)) -> Result<Vec<Swapped>, sqlx::Error> {
        let connection = self.0.connection().await?;
        let mut swapped = Vec::new();
        let kept: Vec<Uuid> = kept.iter().copied().collect();
        sqlx::query("create temp table kept on commit drop as select unnest($1::uuid[]) as id")
            .bind(&kept)
            .execute(&mut *connection)
            .await?;
        // Nobody has counted what was staged, and the live tables may be empty: a plan that goes through one of them for each row of
        // the other would take hours for a long log.
        sqlx::query("set local enable_nestloop = off").execute(&mut *connection).await?;
        for (n, Table { name: table, key, columns }) in (0..).zip(TABLES) {
            tell(n, TABLES.len() as i64);
            run(connection, format!("analyze next_{table}")).await?;
            // What somebody planted may begin a thing a second time; what came last counts.
            let doubled = format!(
                "delete from next_{table} n using (select {key}, max(ctid) as last from next_{table} group by {key} having count(*) > 1) d
                  where n.{key} = d.{key} and n.ctid < d.last"
            );
            run(connection, doubled).await?;
            let is_kept = format!("{} in (select kept.id from kept)", about(table));
            run(connection, format!("delete from next_{table} where {is_kept}")).await?;
            let equal = columns.iter().map(|c| format!("n.{c}::text is not distinct from t.{c}::text"));
            let equal = equal.collect::<Vec<_>>().join(" and ");
            let same = format!("select 1 from next_{table} n where n.{key} = t.{key} and {equal}");
            let mut gone = format!("delete from {table} t where not {is_kept} and not exists ({same})");
            if table == "boundary" && !kept.is_empty() {
                // What can't be judged may have moved any of them, and none may go back.
                let later = "update next_boundary n set position = t.position from boundary t where t.key = n.key and t.position > n.position";
                run(connection, later.to_owned()).await?;
                gone += " and exists (select from next_boundary n where n.key = t.key)";
            }
            let removed = run(connection, gone).await?;
            let missing = format!("select 1 from {table} t where t.{key} = n.{key}");
            let columns = columns.join(", ");
            let insert = format!(
                "insert into {table} ({columns}) select {columns} from next_{table} n where not exists ({missing})"
            );
            let written = run(connection, insert).await?;
            let count = format!("select count(*) from next_{table}");
            let rows = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count)).fetch_one(&mut *connection).await?;
            swapped.push(Swapped { table, rows, removed, written });
        }
        crate::failpoint!("mid_flip");
        sqlx::query("commit").execute(&mut *connection).await?;
        self.0.idle.take().ok_or(sqlx::Error::WorkerCrashed)?.close().await?;
        Ok(swapped)
    }
}
