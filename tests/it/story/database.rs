//! A database for one test, copied from the migrated one that `./just test` provides.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A database; [`Database::drop`] removes it.
pub struct Database {
    pub url: String,
    pub name: String,
    admin: String,
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
        Self { url: template.replace("/coolops?", &format!("/{name}?")), name, admin }
    }

    /// A connection as the owner, who may do what the application may not.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Sets the database's clock ahead (or, negative, back).
    pub async fn set_clock(&self, seconds: i64) {
        let change = format!(
            "create or replace function coolops_now() returns timestamptz language plpgsql stable parallel safe as
             'begin return clock_timestamp() + interval ''{seconds} s''; end'"
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

    pub async fn execute(&self, statement: &str) -> u64 {
        let mut connection = self.owner().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap().rows_affected()
    }

    pub async fn count(&self, statement: &str) -> i64 {
        let mut connection = self.owner().await;
        let count = sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    pub async fn numbers(&self, statement: &'static str) -> Vec<i64> {
        let mut connection = self.owner().await;
        sqlx::query_scalar(statement).fetch_all(&mut connection).await.unwrap()
    }

    pub async fn pairs(&self, statement: &'static str) -> Vec<(String, String)> {
        let mut connection = self.owner().await;
        sqlx::query_as(statement).fetch_all(&mut connection).await.unwrap()
    }

    pub async fn text(&self, statement: &str) -> String {
        let mut connection = self.owner().await;
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&mut connection).await.unwrap()
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
