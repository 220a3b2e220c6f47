//! Slack's rate limits, shared by every process: one GCRA row per scope.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;

use super::Store;

/// How often something may be done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// One every so often, in the long run.
    pub every: Duration,
    /// How much earlier than that a burst may run ahead.
    pub burst: Duration,
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

impl Store {
    /// Reserves the next turn in a scope and tells how long it is until then; zero: now. Whoever waits has its place, so
    /// a thousand who wait ask once each, not a thousand times.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reserve_turn(&self, scope: &str, pace: Pace) -> Result<Duration, sqlx::Error> {
        let wait = sqlx::query_scalar!(
            r#"insert into rate_bucket as b (scope, tat) values ($1, coolops_now() + $2::interval)
               on conflict (scope) do update set tat = greatest(b.tat, b.blocked_until, coolops_now()) + $2::interval
               returning (extract(epoch from greatest(tat - $2::interval - $3::interval, blocked_until) - coolops_now()) * 1000)::bigint as "ms!""#,
            scope,
            interval(pace.every),
            interval(pace.burst)
        )
        .fetch_one(&self.work)
        .await?;
        Ok(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// How long a scope is closed by a 429; zero when it is open.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn closed_for(&self, scope: &str) -> Result<Duration, sqlx::Error> {
        let wait = sqlx::query_scalar!(
            r#"select (extract(epoch from blocked_until - coolops_now()) * 1000)::bigint as "ms!" from rate_bucket
                where scope = $1 and blocked_until > coolops_now()"#,
            scope
        )
        .fetch_optional(&self.work)
        .await?;
        Ok(Duration::from_millis(u64::try_from(wait.unwrap_or(0)).unwrap_or(0)))
    }

    /// Closes a scope for everybody, as a 429 demands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn block(&self, scope: &str, wait: Duration) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into rate_bucket as b (scope, tat, blocked_until) values ($1, coolops_now(), coolops_now() + $2::interval)
             on conflict (scope) do update set blocked_until = greatest(b.blocked_until, excluded.blocked_until)",
            scope,
            interval(wait)
        )
        .execute(&self.work)
        .await
        .map(|_| ())
    }
}
