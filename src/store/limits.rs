//! Slack's rate limits, shared by every process: one GCRA row per scope.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;

use super::{Store, interval};

/// How often something may be done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// One every so often, in the long run.
    pub every: Duration,
    /// How much earlier than that a burst may run ahead.
    pub burst: Duration,
}

/// A turn that is waited for.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Where.
    pub scope: String,
    /// How often there is one.
    pub pace: Pace,
}

/// Why Slack is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pause {
    /// It takes nothing from us, and says why in this word of its own.
    Refused(String),
    /// Our last calls, so many, had no clear answer.
    NoClearAnswer {
        /// How many in a row.
        calls: i32,
    },
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(word) => f.write_str(word),
            Self::NoClearAnswer { calls: 1 } => f.write_str("no clear answer to our last call"),
            Self::NoClearAnswer { calls } => write!(f, "no clear answer to our last {calls} calls"),
        }
    }
}

impl Pace {
    /// How late a turn may be used: a burst that was allowed, and what a worker takes to see it.
    pub fn tolerance(self) -> Duration {
        self.burst + Duration::from_secs(1)
    }
}

/// Moves all that waits for a turn in a scope, and what is given out next, by a time.
async fn shift(connection: &mut PgConnection, scope: &str, by: PgInterval) -> Result<(), sqlx::Error> {
    sqlx::query!("update rate_bucket set tat = tat + $2 where scope = $1", scope, by).execute(&mut *connection).await?;
    sqlx::query!(
        "update job set run_at = run_at + $2, rung_at = null
          where state = 'ready' and kind = any('{sync_message,reply_privately,report,report_lock}') and turn = $1",
        scope,
        by
    )
    .execute(connection)
    .await
    .map(|_| ())
}

/// Slack's paces, and whether Slack is paused.
#[derive(Clone, Copy)]
pub struct Paces<'a>(pub(super) &'a Store);

impl Store {
    /// Slack's paces, and whether Slack is paused.
    pub fn paces(&self) -> Paces<'_> {
        Paces(self)
    }
}

impl Paces<'_> {
    /// Reserves the next turn in a scope and tells how long it is until then; zero: now. Whoever waits has its place,
    /// so a thousand who wait ask once each, not a thousand times.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reserve_turn(self, scope: &str, pace: Pace) -> Result<Duration, sqlx::Error> {
        let wait = sqlx::query_scalar!(
            r#"insert into rate_bucket as b (scope, tat)
                 values ($1, greatest(coolops_now(), (select p.blocked_until from rate_bucket p where p.scope = 'slack')) + $2::interval)
               on conflict (scope) do update set tat = greatest(b.tat, b.blocked_until, coolops_now(),
                 (select p.blocked_until from rate_bucket p where p.scope = 'slack')) + $2::interval
               returning (extract(epoch from greatest(tat - $2::interval - $3::interval, blocked_until,
                 (select p.blocked_until from rate_bucket p where p.scope = 'slack')) - coolops_now()) * 1000)::bigint as "ms!""#,
            scope,
            interval(pace.every),
            interval(pace.burst)
        )
        .fetch_one(&self.0.work)
        .await?;
        Ok(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// How long a scope, or all of Slack, is closed; zero when it is open.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn closed_for(self, scope: &str) -> Result<Duration, sqlx::Error> {
        let wait = sqlx::query_scalar!(
            r#"select (coalesce(extract(epoch from max(blocked_until) - coolops_now()), 0) * 1000)::bigint as "ms!" from rate_bucket
                where scope = any(array[$1, 'slack']) and blocked_until > coolops_now()"#,
            scope
        )
        .fetch_one(&self.0.work)
        .await?;
        Ok(Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }

    /// Slack takes nothing from us: everybody leaves it alone for a minute, then somebody tries again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pause(self, word: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into rate_bucket (scope, tat, blocked_until, reason)
             values ('slack', coolops_now(), coolops_now() + interval '1 min', $1)
             on conflict (scope) do update set blocked_until = excluded.blocked_until, reason = excluded.reason",
            word
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// A call had no clear answer: everybody leaves Slack alone for a while, 1 s, 2 s, 4 s … 30 s, until a message gets
    /// through. Each call into an outage is a message that must be looked for afterwards.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn failed(self) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into rate_bucket as b (scope, tat, blocked_until, failures)
             values ('slack', coolops_now(), coolops_now() + interval '1 s', 1)
             on conflict (scope) do update set failures = b.failures + 1, reason = null,
               blocked_until = coolops_now() + interval '1 s' * least(30, power(2, least(b.failures, 5)))
              where b.blocked_until <= coolops_now()"
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// A new token may have been set: Slack is open again, and what was put off because it took nothing is due at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn resume(self) -> Result<(), sqlx::Error> {
        let pause = sqlx::query!(
            r#"delete from rate_bucket where scope = 'slack'
               returning reason, greatest(blocked_until - coolops_now(), interval '0') as "rest!""#
        )
        .fetch_optional(&self.0.work)
        .await?;
        let Some(pause) = pause else { return Ok(()) };
        sqlx::query!(
            "update job set run_at = coolops_now(), rung_at = null
              where state = 'ready' and kind = any('{sync_message,reply_privately,report,report_lock}') and run_at > coolops_now() and turn is null and last_error = $1",
            pause.reason
        )
        .execute(&self.0.work)
        .await?;
        // Turns that were put off behind the pause come as much earlier as the pause is cut short.
        let ahead = sqlx::query!(
            r#"select turn as "turn!", least(min(run_at) - coolops_now(), $1) as "by!" from job
                where state = 'ready' and kind = any('{sync_message,reply_privately,report,report_lock}') and turn is not null
                group by turn having min(run_at) > coolops_now() + interval '1 s'"#,
            pause.rest
        )
        .fetch_all(&self.0.work)
        .await?;
        for scope in ahead {
            let mut together = self.0.work.begin().await?;
            let back =
                PgInterval { microseconds: -scope.by.microseconds, days: -scope.by.days, months: -scope.by.months };
            shift(&mut together, &scope.turn, back).await?;
            together.commit().await?;
        }
        self.0.wake.appended(0);
        Ok(())
    }

    /// A turn that could not be used when it came, because the scope was closed or nobody was there: all whose turn went by
    /// like it get new ones, in the same order and at the same pace, and whoever waits behind them comes so much later as
    /// that takes. Tells when this one may go; zero: now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put_off(self, scope: &str, pace: Pace) -> Result<Duration, sqlx::Error> {
        let mut together = self.0.work.begin().await?;
        // The scope's row first, as an append does: one at a time moves what waits there.
        let wait = sqlx::query_scalar!(
            r#"select greatest(b.blocked_until, (select p.blocked_until from rate_bucket p where p.scope = 'slack'), coolops_now()) - coolops_now()
                 as "wait!" from rate_bucket b where scope = $1 for update"#,
            scope
        )
        .fetch_optional(&mut *together)
        .await?
        .unwrap_or(interval(Duration::ZERO));
        // Those who are late come next, one by one; whoever is not, and whoever comes, waits for them and this one.
        sqlx::query!(
            "with late as (
               select id, row_number() over (order by run_at, id) as place from job
                where state = 'ready' and kind = any('{sync_message,reply_privately,report,report_lock}') and turn = $1
                  and run_at < coolops_now() + $2::interval - $4::interval),
             moved as (
               update job j set run_at = coolops_now() + $2::interval + $3::interval * late.place, rung_at = null
                 from late where j.id = late.id),
             behind as (
               update job j set run_at = greatest(j.run_at, coolops_now() + $2::interval) + $3::interval * (select count(*) + 1 from late), rung_at = null
                where j.state = 'ready' and j.kind = any('{sync_message,reply_privately,report,report_lock}') and j.turn = $1
                  and exists (select from late) and not exists (select from late where late.id = j.id))
             update rate_bucket set tat = greatest(tat, coolops_now() + $2::interval + $5::interval) + $3::interval * (select count(*) + 1 from late)
              where scope = $1 and exists (select from late)",
            scope,
            wait,
            interval(pace.every),
            interval(pace.tolerance()),
            interval(pace.burst)
        )
        .execute(&mut *together)
        .await?;
        together.commit().await?;
        let micros = wait.microseconds + i64::from(wait.days) * 86_400_000_000;
        Ok(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// Why Slack takes nothing from us; `None` when it does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_paused(self) -> Result<Option<Pause>, sqlx::Error> {
        let row = sqlx::query!(
            "select reason, failures from rate_bucket where scope = 'slack' and blocked_until > coolops_now()"
        )
        .fetch_optional(&self.0.work)
        .await?;
        Ok(row.map(|r| r.reason.map_or(Pause::NoClearAnswer { calls: r.failures }, Pause::Refused)))
    }

    /// Takes what one process at a time does, for so long; `false` where another one has taken it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take(self, scope: &str, for_so_long: Duration) -> Result<bool, sqlx::Error> {
        let taken = sqlx::query!(
            "insert into rate_bucket as b (scope, tat, blocked_until) values ($1, coolops_now(), coolops_now() + $2::interval)
             on conflict (scope) do update set blocked_until = excluded.blocked_until
              where b.blocked_until <= coolops_now()",
            scope,
            interval(for_so_long)
        )
        .execute(&self.0.work)
        .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Keeps what was taken from others for so long from now on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep(self, scope: &str, for_so_long: Duration) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update rate_bucket set blocked_until = coolops_now() + $2::interval where scope = $1",
            scope,
            interval(for_so_long)
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// Lets whoever comes next have what was taken.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn give_back(self, scope: &str) -> Result<(), sqlx::Error> {
        sqlx::query!("update rate_bucket set blocked_until = coolops_now() where scope = $1", scope)
            .execute(&self.0.work)
            .await
            .map(|_| ())
    }

    /// Closes a scope for everybody, as a 429 demands.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn block(self, scope: &str, wait: Duration) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into rate_bucket as b (scope, tat, blocked_until) values ($1, coolops_now(), coolops_now() + $2::interval)
             on conflict (scope) do update set blocked_until = greatest(b.blocked_until, excluded.blocked_until)",
            scope,
            interval(wait)
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }
}
