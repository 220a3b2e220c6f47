//! Building the projections anew beside the live ones and swapping in what differs, in one transaction. Where nothing
//! differs, which [`sums`](super::sums) tells, nothing of this is done; where the live ones are empty, as after a loss, they are
//! filled.
//!
//! The rows are staged in temporary tables, and compared with the live ones, while everything goes on. For the swap the live
//! tables are locked against writers, the events of the meantime are staged too, and what differed then, or has changed since, is
//! looked at again and replaced; where that is much, piece by piece. **Invariant:** how long writers wait does not go by the
//! length of the log, nor by how many rows differ; but by how many there are that the log does not have at all, and by pieces in
//! whose way one of those is.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::Store;
use super::tuple::{BOUNDARY, HEADER, TABLES, TRAILER, Table, Tuple};
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
pub struct Staging {
    copying: Copying,
    /// How many rows of a table were removed and written so far.
    replaced: HashMap<&'static str, (u64, u64)>,
}

/// That nobody else rebuilds, until it ends.
pub struct InTurn(PgConnection);

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

/// What the names of staged tables begin with: of what was compared while everything went on, and of what came after that.
const NEXT: &str = "next_";
const LATE: &str = "late_";
/// Bytes that are staged at once.
const FLUSH_AT: usize = 4 << 20;

/// What brings staged rows `n` into the order in which they began: a slug, and an environment, are of whoever was first.
fn order_of(table: Table) -> &'static str {
    match table.name {
        "project" => "(select e.position from event e where e.stream_id = n.id and e.stream_version = 1)",
        "deployment" => "n.requested",
        _ => table.key,
    }
}

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
    /// Waits until nobody else rebuilds.
    ///
    /// # Errors
    /// When the database does not answer, or the other one takes longer than two minutes.
    pub async fn rebuild_in_turn(&self) -> Result<InTurn, sqlx::Error> {
        let mut connection = self.bulk().await?;
        sqlx::query("set lock_timeout = '2min'").execute(&mut connection).await?;
        sqlx::query("set idle_session_timeout = 0").execute(&mut connection).await?;
        sqlx::query("select pg_advisory_lock(hashtextextended('coolops replay', 0))").execute(&mut connection).await?;
        Ok(InTurn(connection))
    }

    /// Begins staging.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stage(&self) -> Result<Staging, sqlx::Error> {
        let mut connection = self.bulk().await?;
        for Table { name, columns, .. } in TABLES {
            let columns = columns.join(", ");
            for prefix in [NEXT, LATE] {
                let statement =
                    format!("create temp table {prefix}{name} as select {columns} from {name} with no data");
                run(&mut connection, statement).await?;
            }
        }
        Ok(Staging { copying: Copying::over(connection, NEXT), replaced: HashMap::new() })
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

impl InTurn {
    /// Lets the next one on.
    ///
    /// # Errors
    /// When the database does not answer: then it is let on, too.
    pub async fn end(self) -> Result<(), sqlx::Error> {
        self.0.close().await
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
        self.copying.tuple(&tuple);
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        self.copying.write().await
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

/// Of the rows of a staged table that have one key, keeps the last: what somebody planted may begin a thing a second time.
async fn drop_doubled(
    connection: &mut PgConnection,
    prefix: &str,
    Table { name, key, .. }: Table,
) -> Result<(), sqlx::Error> {
    let doubled = format!(
        "delete from {prefix}{name} n using (select {key}, max(ctid) as last from {prefix}{name} group by {key} having count(*) > 1) d
          where n.{key} = d.{key} and n.ctid < d.last"
    );
    run(connection, doubled).await.map(drop)
}

/// That a live row `t` and a staged row `n` say the same.
fn are_equal(columns: &[&str]) -> String {
    let equal = columns.iter().map(|c| format!("n.{c}::text is not distinct from t.{c}::text"));
    equal.collect::<Vec<_>>().join(" and ")
}

/// What came since the comparison takes the place of what was staged before, and counts as differing until it is looked at.
async fn take_late(connection: &mut PgConnection, table: Table) -> Result<(), sqlx::Error> {
    drop_doubled(connection, LATE, table).await?;
    let Table { name, key, .. } = table;
    for statement in [
        format!("delete from next_{name} n using late_{name} l where l.{key} = n.{key}"),
        format!("insert into next_{name} select * from late_{name}"),
        format!(
            "insert into differing_{name} select l.{key}, false from late_{name} l
              where not exists (select from differing_{name} d where d.key = l.{key})"
        ),
        format!("delete from late_{name}"),
        format!("analyze differing_{name}"),
    ] {
        run(connection, statement).await?;
    }
    Ok(())
}

/// Replaces live rows `t` that are `meant`, and not `kept`, by the staged ones `n`. Tells how many were removed and written.
async fn replace(
    connection: &mut PgConnection,
    table: Table,
    meant: &str,
    kept: Option<&str>,
) -> Result<(u64, u64), sqlx::Error> {
    let Table { name, key, columns } = table;
    let equal = are_equal(columns);
    let mut gone = format!(
        "delete from {name} t where {meant} and not exists (select 1 from next_{name} n where n.{key} = t.{key} and {equal})"
    );
    if let Some(kept) = kept {
        gone += &format!(" and not {kept}");
    }
    if table == BOUNDARY && kept.is_some() {
        // What can't be judged may have moved any of them, and none may go back.
        let later = "update next_boundary n set position = t.position from boundary t where t.key = n.key and t.position > n.position";
        run(connection, later.to_owned()).await?;
        gone += " and exists (select from next_boundary n where n.key = t.key)";
    }
    let removed = run(connection, gone).await?;
    // What somebody planted may want the place of another: whoever came first has it.
    let (columns, order, is_there) = (columns.join(", "), order_of(table), is_there(table));
    let insert = format!(
        "insert into {name} ({columns}) select {columns} from next_{name} n where {meant} and not {is_there} order by {order} on conflict do nothing"
    );
    Ok((removed, run(connection, insert).await?))
}

/// Whether there is a live row for a staged one.
fn is_there(Table { name, key, .. }: Table) -> String {
    format!("exists (select 1 from {name} t where t.{key} = n.{key})")
}

/// Rows that are replaced while writers wait: as many as take a fraction of a second. Stories have fewer, and go through pieces
/// all the same.
const SOME: i64 = if cfg!(feature = "failpoints") { 3 } else { 10_000 };

impl Staging {
    /// Writes what is waiting to the staged tables.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&mut self) -> Result<(), sqlx::Error> {
        self.copying.flush().await
    }

    /// Notes which rows differ from the live ones, or are of one side alone, while everything goes on. What comes after this is
    /// staged apart. Tells whether these are more than are to be replaced at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn compare(&mut self) -> Result<bool, sqlx::Error> {
        self.copying.flush().await?;
        let (connection, mut are_many) = (self.copying.connection().await?, false);
        for table in TABLES {
            let Table { name, key, columns } = table;
            drop_doubled(connection, NEXT, table).await?;
            run(connection, format!("create index on next_{name} ({key})")).await?;
            run(connection, format!("analyze next_{name}")).await?;
            let equal = are_equal(columns);
            let differing = format!(
                "create temp table differing_{name} as select coalesce(n.{key}, t.{key}) as key, false as is_tried
                   from next_{name} n full join {name} t on t.{key} = n.{key}
                  where n.{key} is null or t.{key} is null or not ({equal})"
            );
            are_many |= run(connection, differing).await? > SOME.unsigned_abs();
            // Where everything was deleted nobody can guess that nothing is there: a plan without this goes through all of it for
            // every row.
            run(connection, format!("create index on differing_{name} (key)")).await?;
        }
        self.copying.prefix = LATE;
        Ok(are_many)
    }

    /// Keeps writers out of the live tables until [`Staging::replace_some`] or [`Staging::swap`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock(&mut self) -> Result<(), sqlx::Error> {
        lock_tables(self.copying.connection().await?).await
    }

    /// Replaces some of what differs and lets the writers on; only rows of what is staged, which are right as soon as they are
    /// there. Tells whether there are more.
    ///
    /// # Errors
    /// When the database does not answer; nothing is replaced then.
    pub async fn replace_some(&mut self) -> Result<bool, sqlx::Error> {
        self.copying.flush().await?;
        let (connection, mut is_more) = (self.copying.connection().await?, false);
        for table in TABLES {
            let Table { name, key, .. } = table;
            take_late(connection, table).await?;
            let some = format!(
                "create temp table some_{name} on commit drop as select d.key from differing_{name} d join next_{name} n on n.{key} = d.key
                  where not d.is_tried limit {SOME}"
            );
            is_more |= run(connection, some).await? == SOME.unsigned_abs();
            sqlx::query("savepoint piece").execute(&mut *connection).await?;
            let (removed, written) =
                replace(connection, table, &format!("{key} in (select s.key from some_{name} s)"), None).await?;
            let lacks = format!(
                "select exists (select from some_{name} s where not exists (select from {name} t where t.{key} = s.key))"
            );
            // What another row is in the way of would not be there until the end: this piece is left to that.
            if sqlx::query_scalar(sqlx::AssertSqlSafe(lacks)).fetch_one(&mut *connection).await? {
                sqlx::query("rollback to savepoint piece").execute(&mut *connection).await?;
                run(
                    connection,
                    format!("update differing_{name} d set is_tried = true from some_{name} s where s.key = d.key"),
                )
                .await?;
                continue;
            }
            let so_far = self.replaced.entry(name).or_default();
            *so_far = (so_far.0 + removed, so_far.1 + written);
            run(connection, format!("delete from differing_{name} d using some_{name} s where s.key = d.key")).await?;
        }
        sqlx::query("commit").execute(&mut *connection).await?;
        Ok(is_more)
    }

    /// Replaces what differs and lets the writers on. Rows of what is `kept` are left as they are. Tells how many tables of how
    /// many are done; at the end, what was left out because another one has its place.
    ///
    /// # Errors
    /// When the database does not answer; nothing is replaced then.
    pub async fn swap(
        mut self,
        kept: &HashSet<Uuid>,
        tell: impl Fn(i64, i64),
    ) -> Result<(Vec<Swapped>, Vec<String>), sqlx::Error> {
        let connection = self.copying.connection().await?;
        let (mut swapped, mut left_out) = (Vec::new(), Vec::new());
        let kept: Vec<Uuid> = kept.iter().copied().collect();
        sqlx::query("create temp table kept on commit drop as select unnest($1::uuid[]) as id")
            .bind(&kept)
            .execute(&mut *connection)
            .await?;
        for (n, table) in (0..).zip(TABLES) {
            let Table { name, key, .. } = table;
            tell(n, TABLES.len() as i64);
            take_late(connection, table).await?;
            let is_kept = format!("{} in (select kept.id from kept)", about(name));
            // What a build's row says is in its first event, whatever came after.
            if !kept.is_empty() {
                let stays =
                    if name == "build" { format!("{is_kept} and {}", is_there(table)) } else { is_kept.clone() };
                run(connection, format!("delete from next_{name} n where {stays}")).await?;
            }
            let differs = format!("{key} in (select d.key from differing_{name} d)");
            let kept = Some(&is_kept[..]).filter(|_| !kept.is_empty());
            let (removed, written) = replace(connection, table, &differs, kept).await?;
            let out = format!(
                "select n.{key}::text from next_{name} n where {differs} and not {} order by 1",
                is_there(table)
            );
            let out = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(out)).fetch_all(&mut *connection).await?;
            left_out.extend(
                out.into_iter().map(|id| format!("the {name} {id} wants the place of another, which was first")),
            );
            let before = self.replaced.get(name).copied().unwrap_or_default();
            swapped.push(Swapped { table: name, rows: 0, removed: before.0 + removed, written: before.1 + written });
        }
        crate::failpoint!("mid_flip");
        sqlx::query("commit").execute(&mut *connection).await?;
        // Counted when nobody waits for it any more.
        for table in &mut swapped {
            let count = format!("select count(*) from next_{}", table.table);
            table.rows = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut *connection).await?;
        }
        self.copying.idle.take().ok_or(sqlx::Error::WorkerCrashed)?.close().await?;
        Ok((swapped, left_out))
    }
}
