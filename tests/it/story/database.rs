//! A database for one test, copied from the migrated one that `./just test` provides.

use std::sync::{Mutex, PoisonError};

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, Decode, FromRow, PgConnection, Postgres, Type};

/// A database; [`Database::drop`] removes it.
pub struct Database {
    pub url: String,
    pub name: String,
    admin: String,
    /// The owner's, between two questions: a story asks hundreds of times, and each new connection is a process that starts.
    resting: Mutex<Option<PgConnection>>,
}

/// The address of a service that `./just test` starts.
pub fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run the tests with ./just test"))
}

impl Database {
    pub async fn create() -> Self {
        Self::copy_of("coolops").await
    }

    /// One without a table.
    pub async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    async fn copy_of(source: &str) -> Self {
        let template = service("TEST_DATABASE_URL");
        let admin = template.replace("/coolops?", "/postgres?");
        let name = format!("t_{}", super::random_name());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("create database {name} template {source}")))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        Self { url: template.replace("/coolops?", &format!("/{name}?")), name, admin, resting: Mutex::default() }
    }

    /// A connection as the owner, who may do what the application may not.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Sets the database's clock ahead (or, negative, back).
    pub async fn set_clock(&self, seconds: i64) {
        let change = format!(
            "create or replace function coolops_now() returns timestamptz language plpgsql stable parallel safe as
             'begin return clock_timestamp() + interval ''{seconds} s''; end'; comment on function coolops_now is 'moved by a test'"
        );
        self.execute(&change).await;
    }

    /// Whether anybody is let in; nobody stays when not.
    pub async fn lets_in(&self, lets: bool) {
        let mut admin = PgConnection::connect(&self.admin).await.unwrap();
        let name = &self.name;
        let mut statement = format!("alter database {name} allow_connections {lets}");
        if !lets {
            statement += &format!("; select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
        }
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await.unwrap();
    }

    /// The owner's connection that rests, if it still lives, or a new one.
    async fn rested(&self) -> PgConnection {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut connection) = resting
            && connection.ping().await.is_ok()
        {
            return connection;
        }
        self.owner().await
    }

    fn rests(&self, connection: PgConnection) {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).replace(connection);
    }

    pub async fn execute(&self, statement: &str) -> u64 {
        let mut connection = self.rested().await;
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        self.rests(connection);
        done.rows_affected()
    }

    pub async fn count(&self, statement: &str) -> i64 {
        self.scalars(statement).await[0]
    }

    pub async fn numbers(&self, statement: &str) -> Vec<i64> {
        self.scalars(statement).await
    }

    pub async fn text(&self, statement: &str) -> String {
        self.scalars(statement).await.remove(0)
    }

    async fn scalars<T>(&self, statement: &str) -> Vec<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
    {
        self.rows(statement).await.into_iter().map(|(value,)| value).collect()
    }

    pub async fn pairs(&self, statement: &str) -> Vec<(String, String)> {
        self.rows(statement).await
    }

    async fn rows<R>(&self, statement: &str) -> Vec<R>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut connection = self.rested().await;
        // Not kept as a plan: a story changes tables and functions.
        let query = sqlx::query_as(AssertSqlSafe(statement.to_owned())).persistent(false);
        let rows = query.fetch_all(&mut connection).await.unwrap();
        self.rests(connection);
        rows
    }

    /// A connection under the limit that `migrate` gives every session of a database; a copied one has to be given it.
    pub async fn limited(&self) -> PgConnection {
        self.execute(&format!("alter database {} set idle_in_transaction_session_timeout = '10s'", self.name)).await;
        self.owner().await
    }

    pub async fn drop(&self) {
        if let Ok(mut connection) = PgConnection::connect(&self.admin).await {
            let statement = format!("drop database if exists {} with (force)", self.name);
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.ok();
        }
    }
}
