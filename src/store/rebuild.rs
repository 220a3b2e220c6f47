//! Building the projections anew beside the live ones and swapping in what differs, in one transaction.
//!
//! The rows are staged in temporary tables while everything goes on. For the swap the live tables are locked against
//! writers, the events of the meantime are staged too, and only rows that differ are replaced: over sound projections
//! it changes nothing and says so.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::Store;
use crate::projections::rows::Row;

/// Staged rows on a connection of their own.
pub struct Staging {
    connection: PgConnection,
    projects: HashMap<Uuid, Option<String>>,
    batch: Batch,
}

#[derive(Default)]
struct Batch {
    tokens: Vec<String>,
    builds: Vec<String>,
    deployments: Vec<String>,
    boundaries: HashMap<Uuid, i64>,
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

/// Tables in the order in which an append locks them.
const TABLES: [(&str, &str); 5] =
    [("boundary", "key"), ("project", "id"), ("token", "digest"), ("build", "id"), ("deployment", "id")];
const FLUSH_AT: usize = 2_000;

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
        for (table, key) in TABLES {
            let statement =
                format!("create temp table next_{table} (like {table} including generated, primary key ({key}))");
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        Ok(Staging { connection, projects: HashMap::new(), batch: Batch::default() })
    }
}

impl Staging {
    /// A row as an event left it; a later one of the same key takes its place. Only deployments have `begun`.
    pub fn row(&mut self, position: i64, begun: Begun, row: &Row) {
        match row {
            Row::Project(row) => drop(self.projects.insert(row.id, Some(json(position, None, row)))),
            Row::Token(row) => self.batch.tokens.push(json(position, None, row)),
            Row::Build(row) => self.batch.builds.push(json(position, None, row)),
            Row::Deployment(row) => self.batch.deployments.push(json(position, Some(begun), row)),
        }
    }

    /// An event moved a boundary.
    pub fn boundary(&mut self, key: Uuid, position: i64) {
        self.batch.boundaries.insert(key, position);
    }

    /// Whether enough is waiting to be written.
    pub fn is_full(&self) -> bool {
        self.batch.tokens.len() + self.batch.builds.len() + self.batch.deployments.len() + self.batch.boundaries.len()
            > FLUSH_AT
    }

    /// Writes what is waiting to the staged tables.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&mut self) -> Result<(), sqlx::Error> {
        let array = |rows: Vec<String>| format!("[{}]", rows.join(","));
        let batch = std::mem::take(&mut self.batch);
        let projects = self.projects.values_mut().filter_map(Option::take).collect();
        let steps = [
            (
                "insert into next_project (id, slug, position, doc)
                   select id, slug, position, doc from json_to_recordset($1::text::json) t(id uuid, slug text, position bigint, doc json)
                 on conflict (id) do update set slug = excluded.slug, position = excluded.position, doc = excluded.doc",
                array(projects),
            ),
            (
                "insert into next_token (digest, project_id, token_id, revoked)
                   select distinct on (digest) decode(digest, 'hex'), project_id, token_id, revoked
                     from rows from (json_to_recordset($1::text::json) as (digest text, project_id uuid, token_id uuid, revoked boolean))
                       with ordinality t(digest, project_id, token_id, revoked, n) order by digest, n desc
                 on conflict (digest) do update set revoked = excluded.revoked",
                array(batch.tokens),
            ),
            (
                "insert into next_build (id, project_id, position, name)
                   select id, project_id, position, name
                     from json_to_recordset($1::text::json) t(id uuid, project_id uuid, position bigint, name text)",
                array(batch.builds),
            ),
            (
                "insert into next_deployment (id, build_id, environment_id, project_id, requested, position, since, state, doc)
                   select distinct on (id) id, build_id, environment_id, project_id, requested, position, since, state, doc
                     from json_to_recordset($1::text::json) t(id uuid, build_id uuid, environment_id uuid, project_id uuid,
                       requested bigint, position bigint, since bigint, state text, doc json)
                    order by id, position desc
                 on conflict (id) do update set position = excluded.position, since = excluded.since, state = excluded.state,
                   doc = excluded.doc",
                array(batch.deployments),
            ),
        ];
        for (statement, rows) in steps {
            if rows != "[]" {
                sqlx::query(statement).bind(rows).execute(&mut self.connection).await?;
            }
        }
        let (keys, positions): (Vec<Uuid>, Vec<i64>) = batch.boundaries.into_iter().unzip();
        sqlx::query(
            "insert into next_boundary select * from unnest($1::uuid[], $2::bigint[])
             on conflict (key) do update set position = excluded.position",
        )
        .bind(keys)
        .bind(positions)
        .execute(&mut self.connection)
        .await?;
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

    /// Replaces what differs and lets the writers on.
    ///
    /// # Errors
    /// When the database does not answer; nothing is replaced then.
    pub async fn swap(mut self) -> Result<Vec<Swapped>, sqlx::Error> {
        let mut swapped = Vec::new();
        for (table, key) in TABLES {
            let run = async |connection: &mut PgConnection, statement: String| {
                sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await.map(|done| done.rows_affected())
            };
            let same = format!(
                "select 1 from next_{table} n where n.{key} = t.{key} and row_to_json(n)::text = row_to_json(t)::text"
            );
            let removed = run(&mut self.connection, format!("delete from {table} t where not exists ({same})")).await?;
            let missing = format!("select 1 from {table} t where t.{key} = n.{key}");
            let own = "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
                        where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''";
            let columns: String = sqlx::query_scalar(own).bind(table).fetch_one(&mut self.connection).await?;
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
