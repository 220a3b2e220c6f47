//! Building the projections anew beside the live ones and swapping in what differs, in one transaction. Where nothing
//! differs, which [`sums`](super::sums) tells, nothing of this is done.
//!
//! The rows are staged in temporary tables while everything goes on. For the swap the live tables are locked against
//! writers, the events of the meantime are staged too, and only rows that differ are replaced: over sound projections
//! it changes nothing and says so.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::Store;
use crate::projections::rows::Row;

/// Staged rows on a connection of their own.
pub struct Staging {
    connection: PgConnection,
    /// The columns of each table, as the table itself has them.
    columns: HashMap<&'static str, Vec<String>>,
    /// What is to be staged: by table, and by key the last row as JSON.
    batch: HashMap<&'static str, HashMap<String, String>>,
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

/// Tables in the order in which an append locks them, with their keys.
pub(super) const TABLES: [(&str, &str); 5] =
    [("boundary", "key"), ("project", "id"), ("token", "digest"), ("build", "id"), ("deployment", "id")];

/// The column that says what a row is about.
fn about(table: &str) -> &'static str {
    match table {
        "boundary" => "key",
        "token" => "project_id",
        _ => "id",
    }
}
const FLUSH_AT: usize = 2_000;

/// Where rows go that events left.
pub trait Rows {
    /// A row as an event left it; a later one of the same key takes its place. Only deployments have `begun`.
    fn row(&mut self, position: i64, begun: Begun, row: &Row);

    /// An event moved a boundary.
    fn boundary(&mut self, key: Uuid, position: i64);
}

/// Where in the log a deployment began, and where it came to stand as it does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// Position of the press.
    pub requested: i64,
    /// Position of the event that changed its state last.
    pub since: i64,
}

#[derive(Serialize)]
struct At<'a, R> {
    position: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(flatten)]
    row: &'a R,
}

fn json<R: Serialize>(position: i64, begun: Option<Begun>, row: &R) -> String {
    let (requested, since) = (begun.map(|b| b.requested), begun.map(|b| b.since));
    serde_json::to_string(&At { position, requested, since, row }).expect("a row is plain data")
}

impl Store {
    /// Begins staging.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stage(&self) -> Result<Staging, sqlx::Error> {
        let mut connection = self.bulk().await?;
        let mut columns = HashMap::new();
        for (table, key) in TABLES {
            let statement =
                format!("create temp table next_{table} (like {table} including generated, primary key ({key}))");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
            let own = "select quote_ident(attname) from pg_attribute
                        where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' order by attnum";
            columns.insert(table, sqlx::query_scalar(own).bind(table).fetch_all(&mut connection).await?);
        }
        Ok(Staging { connection, columns, batch: HashMap::new() })
    }
}

impl Rows for Staging {
    fn row(&mut self, position: i64, begun: Begun, row: &Row) {
        let (table, key, json) = match row {
            Row::Project(row) => ("project", row.id.to_string(), json(position, None, row)),
            Row::Token(row) => ("token", row.digest.clone(), json(position, None, row)),
            Row::Build(row) => ("build", row.id.to_string(), json(position, None, row)),
            Row::Deployment(row) => ("deployment", row.id.to_string(), json(position, Some(begun), row)),
        };
        self.batch.entry(table).or_default().insert(key, json);
    }

    fn boundary(&mut self, key: Uuid, position: i64) {
        let row = serde_json::json!({ "key": key, "position": position }).to_string();
        self.batch.entry("boundary").or_default().insert(key.to_string(), row);
    }
}

impl Staging {
    /// Whether enough is waiting to be written.
    pub fn is_full(&self) -> bool {
        self.batch.values().map(HashMap::len).sum::<usize>() > FLUSH_AT
    }

    /// Writes what is waiting to the staged tables. A row's fields are named as the table's columns are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&mut self) -> Result<(), sqlx::Error> {
        let mut batch = std::mem::take(&mut self.batch);
        for (table, key) in TABLES {
            let Some(rows) = batch.remove(table) else { continue };
            let columns = &self.columns[table];
            let (all, renewed) = (columns.join(", "), columns.iter().map(|c| format!("{c} = excluded.{c}")));
            let statement = format!(
                "insert into next_{table} ({all}) select {all} from json_populate_recordset(null::next_{table}, $1::text::json)
                 on conflict ({key}) do update set {}",
                renewed.collect::<Vec<_>>().join(", ")
            );
            let rows = format!("[{}]", rows.into_values().collect::<Vec<_>>().join(","));
            sqlx::query(sqlx::AssertSqlSafe(statement)).bind(rows).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Keeps writers out of the live tables until [`Staging::swap`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lock(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("begin").execute(&mut self.connection).await?;
        for (table, _) in TABLES {
            let statement = format!("lock table {table} in share row exclusive mode");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut self.connection).await?;
        }
        Ok(())
    }

    /// Replaces what differs and lets the writers on. Rows of what is `kept` are left as they are.
    ///
    /// # Errors
    /// When the database does not answer; nothing is replaced then.
    pub async fn swap(mut self, kept: &HashSet<Uuid>) -> Result<Vec<Swapped>, sqlx::Error> {
        let mut swapped = Vec::new();
        let kept: Vec<Uuid> = kept.iter().copied().collect();
        sqlx::query("create temp table kept on commit drop as select unnest($1::uuid[]) as id")
            .bind(&kept)
            .execute(&mut self.connection)
            .await?;
        // Nobody has counted what was staged, and the live tables may be empty: a plan that goes through one of them for each row of
        // the other would take hours for a long log.
        sqlx::query("set local enable_nestloop = off").execute(&mut self.connection).await?;
        for (table, key) in TABLES {
            let statement = format!("analyze next_{table}");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut self.connection).await?;
            let run = async |connection: &mut PgConnection, statement: String| {
                sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await.map(|done| done.rows_affected())
            };
            let is_kept = format!("{} in (select kept.id from kept)", about(table));
            run(&mut self.connection, format!("delete from next_{table} where {is_kept}")).await?;
            let equal = self.columns[table].iter().map(|c| format!("n.{c}::text is not distinct from t.{c}::text"));
            let equal = equal.collect::<Vec<_>>().join(" and ");
            let same = format!("select 1 from next_{table} n where n.{key} = t.{key} and {equal}");
            let mut gone = format!("delete from {table} t where not {is_kept} and not exists ({same})");
            if table == "boundary" && !kept.is_empty() {
                // What can't be judged may have moved any of them, and none may go back.
                let later = "update next_boundary n set position = t.position from boundary t where t.key = n.key and t.position > n.position";
                run(&mut self.connection, later.to_owned()).await?;
                gone += " and exists (select from next_boundary n where n.key = t.key)";
            }
            let removed = run(&mut self.connection, gone).await?;
            let missing = format!("select 1 from {table} t where t.{key} = n.{key}");
            let columns = self.columns[table].join(", ");
            let insert = format!(
                "insert into {table} ({columns}) select {columns} from next_{table} n where not exists ({missing})"
            );
            let written = run(&mut self.connection, insert).await?;
            let count = format!("select count(*) from next_{table}");
            let rows = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count)).fetch_one(&mut self.connection).await?;
            swapped.push(Swapped { table, rows, removed, written });
        }
        crate::failpoint!("mid_flip");
        sqlx::query("commit").execute(&mut self.connection).await?;
        self.connection.close().await?;
        Ok(swapped)
    }
}
