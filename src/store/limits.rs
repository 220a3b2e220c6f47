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
    /// Takes one turn in a scope. `Ok(None)`: go ahead; `Ok(Some(wait))`: not now, try again after `wait`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_turn(&self, scope: &str, pace: Pace) -> Result<Option<Duration>, sqlx::Error> {
        let taken = sqlx::query!(
            "insert into rate_bucket as b (scope, tat) values ($1, clock_timestamp() + $2::interval)
             on conflict (scope) do update set tat = greatest(b.tat, clock_timestamp()) + $2::interval
               where greatest(b.tat, clock_timestamp()) - $3::interval <= clock_timestamp() and b.blocked_until <= clock_timestamp()
             returning scope",
            scope,
            interval(pace.every),
            interval(pace.burst)
        )
        .fetch_optional(&self.pool)
        .await?;
        if taken.is_some() {
            return Ok(None);
        }
        let wait = sqlx::query_scalar!(
            r#"select (extract(epoch from greatest(tat - $2::interval, blocked_until) - clock_timestamp()) * 1000)::bigint as "ms!"
                 from rate_bucket where scope = $1"#,
            scope,
            interval(pace.burst)
        )
        .fetch_optional(&self.pool)
        .await?
        .unwrap_or(0);
        Ok(Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0).max(20))))
    }

    /// Closes a scope for everybody, as a 429 demands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn block(&self, scope: &str, wait: Duration) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into rate_bucket as b (scope, tat, blocked_until) values ($1, clock_timestamp(), clock_timestamp() + $2::interval)
             on conflict (scope) do update set blocked_until = greatest(b.blocked_until, excluded.blocked_until)",
            scope,
            interval(wait)
        )
        .execute(&self.pool)
        .await
        .map(|_| ())
    }
}
