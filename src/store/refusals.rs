//! Requests of CI systems that were not believed or could not be read. Anybody can send them, so they cost nobody else
//! anything: they are counted in memory and written together, on a connection of their own, at most twice a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Store;

/// Refused requests that are kept, at most, and as many again for projects that don't exist.
const KEPT: i64 = 1_000;
/// Different ones that are told apart between two writes; the rest is counted as one.
const APART: usize = 100;
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a request was refused: those that are alike are one, with a count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "columns")]
pub struct Refusal {
    pub provider: &'static str,
    /// The slug that it named; none of an address for all projects.
    pub project: Option<String>,
    /// Whether there is such a project.
    pub known: bool,
    pub reason: String,
}

#[derive(Default)]
struct Alike {
    times: i64,
    /// Of the last body.
    digest: Option<Vec<u8>>,
}

/// Notes refusals. Cheap to clone.
#[derive(Clone)]
pub struct RefusalLog {
    store: Store,
    noted: Arc<Mutex<HashMap<Refusal, Alike>>>,
}

impl RefusalLog {
    /// Notes into a database through a pool that nobody else waits for.
    pub fn new(store: Store) -> Self {
        Self { store, noted: Arc::default() }
    }

    /// Notes a refusal, with the digest of its body where that was read. It shows within a second.
    pub fn note(&self, refusal: Refusal, digest: Option<Vec<u8>>) {
        let is_first = {
            let mut noted = self.noted.lock().expect("no holder of the lock panics");
            let is_first = noted.is_empty();
            let refusal = match noted.len() < APART || noted.contains_key(&refusal) {
                true => refusal,
                false => Refusal {
                    project: None,
                    known: false,
                    reason: "many others were refused in the same second".to_owned(),
                    ..refusal
                },
            };
            let alike = noted.entry(refusal).or_default();
            alike.times += 1;
            alike.digest = digest;
            is_first
        };
        if is_first {
            let this = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PAUSE).await;
                this.flush().await;
            });
        }
    }

    /// Writes what is noted now. Where that fails it is lost: what nobody believed is worth no more.
    pub async fn flush(&self) {
        let noted = std::mem::take(&mut *self.noted.lock().expect("no holder of the lock panics"));
        if noted.is_empty() {
            return;
        }
        if let Err(e) = self.store.refusals().keep(&noted).await {
            tracing::debug!(error = %e, "refused requests can't be noted");
        }
    }
}

/// A request that was not believed or could not be read.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns")]
pub struct Refused {
    pub at: DateTime<Utc>,
    pub provider: String,
    pub project: Option<String>,
    pub reason: String,
    pub digest: Option<Vec<u8>>,
    /// So many alike within the second before.
    pub times: i64,
}

/// Requests that were refused.
#[derive(Clone, Copy)]
pub struct Refusals<'a>(pub(super) &'a Store);

impl Store {
    /// Requests that were refused.
    pub fn refusals(&self) -> Refusals<'_> {
        Refusals(self)
    }
}

impl Refusals<'_> {
    async fn keep(self, noted: &HashMap<Refusal, Alike>) -> Result<(), sqlx::Error> {
        let providers: Vec<&str> = noted.keys().map(|r| r.provider).collect();
        let projects: Vec<Option<&str>> = noted.keys().map(|r| r.project.as_deref()).collect();
        let reasons: Vec<&str> = noted.keys().map(|r| r.reason.as_str()).collect();
        let known: Vec<bool> = noted.keys().map(|r| r.known).collect();
        let times: Vec<i64> = noted.values().map(|a| a.times).collect();
        let digests: Vec<Option<Vec<u8>>> = noted.values().map(|a| a.digest.clone()).collect();
        sqlx::query!(
            "insert into ci_refusal (provider, project, reason, known, times, digest)
             select * from unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::bigint[], $6::bytea[])",
            &providers as &[&str],
            &projects as &[Option<&str>],
            &reasons as &[&str],
            &known,
            &times,
            &digests as &[Option<Vec<u8>>]
        )
        .execute(&self.0.pool)
        .await?;
        sqlx::query!(
            // Those for projects that don't exist have room of their own: nobody can push the others out with them.
            "delete from ci_refusal r using unnest(array[true, false]) k(known)
              where r.known = k.known and r.id <= (select id from ci_refusal o where o.known = k.known order by id desc offset $1 limit 1)",
            KEPT
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Refused requests, newest first; of one project with those to an address which it shares.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(self, project: Option<&str>, shared: &[String], limit: i64) -> Result<Vec<Refused>, sqlx::Error> {
        sqlx::query_as!(
            Refused,
            "select at, provider, project, reason, digest, times from ci_refusal
              where $1::text is null or project = $1 or (project is null and provider = any($3)) order by id desc limit $2",
            project,
            limit,
            shared
        )
        .fetch_all(&self.0.pool)
        .await
    }
}
