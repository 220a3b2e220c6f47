//! How far behind things are: for metrics and `doctor`.

use super::Store;

/// What is behind, at one moment.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is described where it is shown")]
pub struct Lags {
    pub due: i64,
    pub oldest_due_seconds: f64,
    pub messages_behind: i64,
    pub oldest_message_seconds: f64,
    pub expired_leases: i64,
    pub unknown: i64,
    pub blocked_channels: i64,
    pub slack_paused: bool,
    pub position: i64,
    pub signed: i64,
    pub oldest_unsigned_seconds: f64,
    pub places_failing: i64,
    pub closed: bool,
}

impl Store {
    /// Asks the database how far behind things are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lags(&self) -> Result<Lags, sqlx::Error> {
        sqlx::query_as!(
            Lags,
            r#"select (select count(*) from job where state = 'ready' and run_at <= coolops_now()) as "due!",
                      (select coalesce(extract(epoch from coolops_now() - min(run_at)), 0)::float8 from job
                        where state = 'ready' and run_at <= coolops_now()) as "oldest_due_seconds!",
                      (select count(*) from job where kind = 'sync_message' and state <> 'done') as "messages_behind!",
                      (select coalesce(extract(epoch from coolops_now() - min(run_at)), 0)::float8 from job
                        where state = 'ready' and kind = 'sync_message' and run_at <= coolops_now()) as "oldest_message_seconds!",
                      (select count(*) from job where state = 'leased' and lease_until < coolops_now()) as "expired_leases!",
                      (select count(*) from deployment where holds and state = 'unknown') as "unknown!",
                      (select count(distinct channel) from slack_message where state = 'blocked') as "blocked_channels!",
                      exists (select 1 from rate_bucket where scope = 'slack' and blocked_until > coolops_now()) as "slack_paused!",
                      (select position from event_head) as "position!",
                      coalesce((select max(size) from checkpoint where size <= (select position from event_head)), 0) as "signed!",
                      coalesce((select extract(epoch from coolops_now() - e.recorded_at) from event e
                        where e.position = (select coalesce(max(size), 0) from checkpoint where size <= (select position from event_head)) + 1 and exists (select from checkpoint_place)), 0)::float8 as "oldest_unsigned_seconds!",
                      (select count(*) from checkpoint_place where problem is not null and asked_at > coolops_now() - interval '10 minutes') as "places_failing!",
                      (select closed is not null from event_head) as "closed!""#
        )
        .fetch_one(&self.work)
        .await
    }
}
