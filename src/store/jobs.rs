//! Owed work: claimed under a lease on the database's clock, with a fence that every later write is checked against.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::cursor::Look;
use super::{Store, interval};
use crate::domain::ids::{JobId, SubjectKeyId};
use crate::domain::react::{Task, TaskKind};

/// How long a worker holds a job without renewing it.
pub const LEASE: Duration = Duration::from_secs(20);
/// An engine on which no worker was seen for this long is given up, with its containers.
pub const ENGINE_GONE: Duration = Duration::from_mins(10);
/// A worker that was not seen for this long is gone.
const WORKER_GONE: Duration = Duration::from_secs(30);
/// How often a holder renews.
pub const RENEW: Duration = Duration::from_secs(5);

/// A job that this worker holds.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// What is to be done.
    pub task: Task,
    /// Position of the last event that asked for it, when it was claimed.
    pub wanted: i64,
    /// Checked by every write of the holder, and recorded with it.
    pub fence: i64,
    /// Of this claim and no other; checked with the fence, which a crash of the server may give twice.
    pub lease: Uuid,
    /// How many times it was claimed without being done.
    pub attempts: i32,
    /// Where at Slack it waited for a turn that it had reserved.
    pub turn: Option<String>,
    /// How long after it was due it was claimed.
    pub late: Duration,
}

/// A job that does not get on.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns")]
pub struct StuckJob {
    pub kind: String,
    pub key: Uuid,
    pub attempts: i32,
    pub last_error: Option<String>,
    /// Its holder is gone and nobody took over for a minute: no process of ours is running.
    pub expired: bool,
}

/// How a claim came about; a healthy Redis brings nearly all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A doorbell through apalis.
    Doorbell,
    /// The worker's own look.
    Sweep,
}

impl Via {
    /// The stored and counted word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Doorbell => "doorbell",
            Self::Sweep => "sweep",
        }
    }
}

fn names(kinds: &[TaskKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

/// Owed work, as it is claimed, held and done.
#[derive(Clone, Copy)]
pub struct Jobs<'a>(pub(super) &'a Store);

impl Store {
    /// Owed work, as it is claimed, held and done.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }
}

impl Jobs<'_> {
    /// Claims the oldest due job of these kinds that has been due for `overdue`, if there is one; those whose turn at
    /// Slack has come go before those that have yet to ask for one, or a backlog would ask for turns while those that
    /// it was given pass by. A job whose container is on an engine goes to a worker on that engine; to any other only
    /// when nobody has seen that engine for long. Nothing while the log is closed: what is owed may have been done, in the
    /// history that this one is not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim(
        self,
        kinds: &[TaskKind],
        lease: Uuid,
        engine: Option<&str>,
        via: Via,
        overdue: Duration,
    ) -> Result<Option<Claim>, sqlx::Error> {
        let mut look = self.0.claims.look(kinds);
        loop {
            let claimed = self.claim_in(&look, lease, engine, via, overdue).await?;
            self.0.claims.found(&look, claimed.iter().map(|(claim, came, at)| ((claim.task.kind(), *came), *at)));
            match claimed {
                Some((claim, ..)) => return Ok(Some(claim)),
                None if look.is_whole() => return Ok(None),
                None => match self.0.claims.again(kinds) {
                    Some(whole) => look = whole,
                    None => return Ok(None),
                },
            }
        }
    }

    async fn claim_in(
        self,
        look: &Look,
        lease: Uuid,
        engine: Option<&str>,
        via: Via,
        overdue: Duration,
    ) -> Result<Option<(Claim, bool, DateTime<Utc>)>, sqlx::Error> {
        let row = sqlx::query!(
            // Part by part, and against coolops_now(), which unlike clock_timestamp() can bound an index scan: each
            // look reads the first entry of the index and stops, however long the backlog is.
            r#"with due as materialized (
                 select j.id, t.came, j.run_at from unnest($1::text[], $8::boolean[], $9::timestamptz[]) t(kind, came, since) cross join lateral (
                   select id, run_at from job where state = 'ready' and job.kind = t.kind and (turn is not null) = t.came
                      and run_at >= coalesce(t.since, '-infinity')
                      and run_at <= coolops_now() - $4::interval and (engine is null or engine = $6 or orphaned_at < coolops_now() - $7::interval)
                    order by run_at limit 1 for update skip locked) j
                  where (select closed is null from event_head)
                  order by t.came desc, j.run_at limit 1)
               update job j set state = 'leased', again = false, has_time = false, lease = $2, lease_until = coolops_now() + $3::interval,
                      fence = nextval('fence_seq'), attempts = attempts + 1, claimed_by = $5
                 from due where j.id = due.id
               returning j.id, j.kind, j.key, j.wanted, j.fence as "fence!", j.attempts, j.turn, due.came as "came!", due.run_at as "run_at!",
                 greatest((extract(epoch from coolops_now() - due.run_at) * 1000)::bigint, 0) as "late_ms!""#,
            &look.kinds() as &[&str],
            lease,
            interval(LEASE),
            interval(overdue),
            via.as_str(),
            engine,
            interval(ENGINE_GONE),
            &look.came(),
            &look.since as &[Option<DateTime<Utc>>]
        )
        .fetch_optional(&self.0.work)
        .await?;
        Ok(row.and_then(|r| {
            let task = TaskKind::named(&r.kind)?.about(r.key);
            let claim = Claim {
                id: JobId(r.id),
                task,
                wanted: r.wanted,
                fence: r.fence,
                lease,
                attempts: r.attempts,
                turn: r.turn,
                late: Duration::from_millis(r.late_ms.unsigned_abs()),
            };
            Some((claim, r.came, r.run_at))
        }))
    }

    /// Prolongs a lease. `false` when it is held by somebody else by now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(self, claim: &Claim) -> Result<bool, sqlx::Error> {
        let done = sqlx::query!(
            "update job set lease_until = coolops_now() + $3::interval where id = $1 and fence = $2 and lease = $4 and state = 'leased'",
            claim.id.0,
            claim.fence,
            interval(LEASE),
            claim.lease
        )
        .execute(&self.0.work)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The work that was wanted at the claim is done; if more was asked for since, the job is due again at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn complete(self, claim: &Claim) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update job set done = $3, state = case when wanted > $3 or again then 'ready' else 'done' end, run_at = coolops_now(),
                    rung_at = null, attempts = 0, turn = null, last_error = null, lease = null, lease_until = null, phase = null, phase_since = null
              where id = $1 and fence = $2 and lease = $4 and state = 'leased'",
            claim.id.0,
            claim.fence,
            claim.wanted,
            claim.lease
        )
        .execute(&self.0.work)
        .await?;
        self.0.wake.appended(0);
        Ok(())
    }

    /// Gives a job back, to be done after a while by anybody; `turn` names the scope where it waits for a turn that it
    /// has reserved.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn release(
        self,
        claim: &Claim,
        after: Duration,
        turn: Option<&str>,
        problem: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            // Waiting for a turn is neither a failure nor a success: what it is a retry of goes on counting.
            "update job set state = 'ready', run_at = coolops_now() + $3::interval, rung_at = null,
                    last_error = case when $5::text is null then $4 else last_error end,
                    attempts = case when $5::text is not null then attempts - 1 when $4::text is null then 0 else attempts end,
                    -- What was put off for long an event makes due again: it may be what was waited for.
                    has_time = $5::text is null and $3::interval > interval '5 seconds',
                    turn = $5, lease = null, lease_until = null
              where id = $1 and fence = $2 and lease = $6 and state = 'leased'",
            claim.id.0,
            claim.fence,
            interval(after),
            problem,
            turn,
            claim.lease
        )
        .execute(&self.0.work)
        .await?;
        if after.is_zero() {
            self.0.wake.appended(0);
            // Whoever hands a job over may be gone before its own voice has said so.
            sqlx::query!("select pg_notify('coolops', '')").execute(&self.0.work).await?;
        }
        Ok(())
    }

    /// A worker, and the engine it works on, is alive.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seen(self, worker: Uuid, engine: Option<&str>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into worker (id, engine, seen_at) values ($1, $2, coolops_now())
             on conflict (id) do update set engine = excluded.engine, seen_at = excluded.seen_at",
            worker,
            engine
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// A job's container will be on this engine.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn pin(self, claim: &Claim, engine: &str) -> Result<(), sqlx::Error> {
        let (id, fence, lease) = (claim.id.0, claim.fence, claim.lease);
        sqlx::query!(
            "update job set engine = $3, orphaned_at = null where id = $1 and fence = $2 and lease = $4",
            id,
            fence,
            engine,
            lease
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// How long this phase of a job lasts so far; the first to ask begins it. When the database's clock is set back,
    /// the time is counted on and not anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn phase(self, claim: &Claim, phase: &str, already: Duration) -> Result<Duration, sqlx::Error> {
        let since = sqlx::query_scalar!(
            r#"update job set phase = $4, phase_since = case when phase = $4 then phase_since else coolops_now() - $5::interval end
                where id = $1 and fence = $2 and lease = $3 and state = 'leased'
               returning (extract(epoch from coolops_now() - phase_since) * 1000)::bigint as "ms!""#,
            claim.id.0,
            claim.fence,
            claim.lease,
            phase,
            interval(already)
        )
        .fetch_optional(&self.0.work)
        .await?;
        Ok(Duration::from_millis(since.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)))
    }

    /// Whether no worker on the job's engine was seen for so long that none will come back.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn engine_is_gone(self, claim: &Claim) -> Result<bool, sqlx::Error> {
        let gone = sqlx::query_scalar!(
            r#"select orphaned_at < coolops_now() - $2::interval as "gone!" from job where id = $1 and orphaned_at is not null"#,
            claim.id.0,
            interval(ENGINE_GONE)
        )
        .fetch_optional(&self.0.work)
        .await?;
        Ok(gone.unwrap_or(false))
    }

    /// Whether nobody holds or waits for the job of a task.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_idle(self, task: Task) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select not exists (select 1 from job where id = $1 and state <> 'done') as "it!""#,
            task.job_id().0
        )
        .fetch_one(&self.0.work)
        .await
    }

    /// Whether somebody is at a task, or will be within a week: no work of Slack's is put off for longer, and what is put off for
    /// ever stands for nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn will_be_done(self, task: Task) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select exists (select 1 from job where id = $1 and state <> 'done' and run_at < coolops_now() + interval '7 days') as "it!""#,
            task.job_id().0
        )
        .fetch_one(&self.0.work)
        .await
    }

    /// The keys that somebody is at destroying.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keys_being_erased(self) -> Result<Vec<SubjectKeyId>, sqlx::Error> {
        let keys = sqlx::query_file_scalar!("src/store/keys_being_erased.sql").fetch_all(&self.0.pool).await?;
        Ok(keys.into_iter().map(SubjectKeyId).collect())
    }

    /// Workers that are alive, with their engines.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn workers(self) -> Result<Vec<(Uuid, Option<String>)>, sqlx::Error> {
        let rows = sqlx::query!(
            "select id, engine from worker where seen_at > coolops_now() - $1::interval",
            interval(WORKER_GONE)
        )
        .fetch_all(&self.0.work)
        .await?;
        Ok(rows.into_iter().map(|r| (r.id, r.engine)).collect())
    }

    /// What is stuck, for people: leases that ran out and were not taken over, and jobs that are put off again and
    /// again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stuck(self) -> Result<Vec<StuckJob>, sqlx::Error> {
        sqlx::query_as!(
            StuckJob,
            r#"select kind, key, attempts, last_error, coalesce(lease_until < coolops_now() - interval '1 min', false) as "expired!"
                 from job where (state = 'leased' and lease_until < coolops_now() - interval '1 min')
                    or (state = 'ready' and attempts >= 5 and last_error is not null) order by run_at limit 100"#
        )
        .fetch_all(&self.0.work)
        .await
    }

    /// Makes jobs whose holder stopped renewing due again. Every process calls it every 2 seconds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reap(self) -> Result<u64, sqlx::Error> {
        sqlx::query!(
            "with alive as materialized (select distinct engine from worker where engine is not null and seen_at > coolops_now() - $1::interval)
             update job set orphaned_at = case when engine in (select engine from alive) then null else coolops_now() end
              where state = 'ready' and kind = 'run_deployment' and engine is not null
                and (engine in (select engine from alive)) = (orphaned_at is not null)",
            interval(WORKER_GONE)
        )
        .execute(&self.0.work)
        .await?;
        sqlx::query!(
            "with dead as (select id from job where state = 'leased' and lease_until < coolops_now() for update skip locked)
             update job j set state = 'ready', run_at = coolops_now(), rung_at = null, lease = null, lease_until = null
               from dead where j.id = dead.id"
        )
        .execute(&self.0.work)
        .await
        .map(|done| done.rows_affected())
    }

    /// Forgets what is over and owed to nobody: jobs that have been done for a day, processes of yesterday, and the newest output
    /// of deployments that run no more, which is in their journals. A done job that is asked for again is simply made again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_done(self) -> Result<u64, sqlx::Error> {
        sqlx::query!("delete from worker where seen_at < coolops_now() - interval '1 day'")
            .execute(&self.0.work)
            .await?;
        sqlx::query!(
            "delete from log_tail t where not exists (select 1 from deployment d where d.id = t.deployment_id and d.is_worked_on and not d.has_not_begun)"
        )
        .execute(&self.0.work)
        .await?;
        sqlx::query!(
            "delete from log_begun t where not exists (select 1 from deployment d where d.id = t.deployment_id and d.is_worked_on and not d.has_not_begun)"
        )
        .execute(&self.0.work)
        .await?;
        sqlx::query!(
            "delete from job where id in (select id from job where state = 'done' and run_at < coolops_now() - interval '1 day'
                                           order by run_at limit 10000 for update skip locked)"
        )
        .execute(&self.0.work)
        .await
        .map(|done| done.rows_affected())
    }

    /// Takes up to `limit` due jobs of these kinds that nobody rang for, or rang for too long ago, and notes the ring.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn to_ring(self, kinds: &[TaskKind], limit: i64) -> Result<Vec<JobId>, sqlx::Error> {
        let look = self.0.rings.look(kinds);
        let rows = sqlx::query!(
            r#"with due as materialized (
               select j.id, t.kind, t.came, j.run_at from unnest($1::text[], $3::boolean[], $4::timestamptz[]) t(kind, came, since) cross join lateral (
                 select id, run_at from job where state = 'ready' and job.kind = t.kind and (turn is not null) = t.came
                    and run_at >= coalesce(t.since, '-infinity')
                    and run_at <= coolops_now() and (rung_at is null or rung_at < coolops_now() - interval '30 s')
                  order by run_at limit $2 for update skip locked) j
                order by t.came desc, j.run_at limit $2)
             update job j set rung_at = coolops_now() from due where j.id = due.id
             returning j.id, due.kind as "kind!", due.came as "came!", due.run_at as "run_at!""#,
            &look.kinds() as &[&str],
            limit,
            &look.came(),
            &look.since as &[Option<DateTime<Utc>>]
        )
        .fetch_all(&self.0.work)
        .await?;
        let mut reached =
            rows.iter().filter_map(|r| Some(((TaskKind::named(&r.kind)?, r.came), r.run_at))).collect::<Vec<_>>();
        reached.sort_by_key(|(_, at)| *at);
        self.0.rings.found(&look, reached);
        Ok(rows.into_iter().map(|r| JobId(r.id)).collect())
    }

    /// In how many milliseconds the next waiting job of these kinds is due.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn next_due(self, kinds: &[TaskKind]) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar!(
            // What became due a moment ago, and was not rung for, is due now.
            r#"select (extract(epoch from greatest(j.run_at - coolops_now(), interval '0')) * 1000)::bigint as "ms!"
               from unnest($1::text[]) k(kind) cross join (values (true), (false)) t(came) cross join lateral (
                 select run_at from job where state = 'ready' and job.kind = k.kind and (turn is not null) = t.came
                    and run_at > coolops_now() - interval '1 s' and rung_at is null
                  order by run_at limit 1) j order by j.run_at limit 1"#,
            &names(kinds) as &[&str]
        )
        .fetch_optional(&self.0.work)
        .await
    }

    /// Whether a job of a kind was done within a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn were_done(self, kind: TaskKind, within: Duration) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select exists (select from job where kind = $1 and state = 'done' and run_at > coolops_now() - $2::interval) as "were_done!""#,
            kind.as_str(),
            interval(within)
        )
        .fetch_one(&self.0.work)
        .await
    }

    /// Asks for work outside an append: what a sweep found to be owed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn want(self, task: Task) -> Result<(), sqlx::Error> {
        let (kind, key) = (task.kind().as_str(), task.key());
        sqlx::query!(
            "insert into job as j (id, kind, key, wanted) select $1, $2, $3, position from event_head
             on conflict (id) do update set wanted = excluded.wanted, again = j.state = 'leased', rung_at = null,
               state = case when j.state = 'leased' then 'leased' else 'ready' end, run_at = coolops_now(), has_time = false",
            task.job_id().0,
            kind,
            key
        )
        .execute(&self.0.work)
        .await?;
        self.0.wake.appended(0);
        Ok(())
    }

    /// Asks for work that has time: it is done after so long at the latest, or when something else asks for it before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn want_within(self, task: Task, after: Duration) -> Result<(), sqlx::Error> {
        let (kind, key) = (task.kind().as_str(), task.key());
        sqlx::query!(
            "insert into job as j (id, kind, key, wanted, run_at, has_time) select $1, $2, $3, position, coolops_now() + $4::interval, true from event_head
             on conflict (id) do update set wanted = excluded.wanted, again = j.state = 'leased', rung_at = null,
               state = case when j.state = 'leased' then 'leased' else 'ready' end,
               run_at = case when j.state = 'done' then excluded.run_at else least(j.run_at, excluded.run_at) end,
               has_time = j.state = 'done' or j.has_time",
            task.job_id().0,
            kind,
            key,
            interval(after)
        )
        .execute(&self.0.work)
        .await?;
        self.0.wake.appended(0);
        Ok(())
    }
}
