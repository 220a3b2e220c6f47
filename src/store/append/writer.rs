//! Group commit by one writer per process.
//!
//! Requests that arrive while a batch is being written form the next batch, so throughput grows with load. One call of
//! `append_batch` is one transaction; a refused, conflicting or repeated request gets its own answer and harms nobody
//! else's. After any error the same batch is sent again with the same event ids, on a new connection: the head lock it
//! takes waits for the old backend's end, so what it then sees is final.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::arguments::Arguments;
use super::{Append, AppendError, Appended};
use crate::domain::ids::DeploymentId;
use crate::failpoint;
use crate::store::connect_as_app;
use crate::store::wake::Wake;

const BATCH_MAX: usize = 512;

struct Request {
    append: Append,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
}

/// The way to the process's writer.
#[derive(Clone)]
pub(in crate::store) struct Appender {
    requests: mpsc::Sender<Request>,
    /// Each append that is under way holds it.
    #[cfg(feature = "failpoints")]
    under_way: Arc<tokio::sync::RwLock<()>>,
}

impl Appender {
    /// Starts the writer; it ends when the last handle is dropped and what was asked is written.
    pub(in crate::store) fn start(options: PgConnectOptions, wake: Wake) -> Self {
        // Plans are made once and stay index plans: an empty table at the first call must not shape them for ever.
        let options = options.options([
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
            ("lock_timeout", "5s"),
            ("statement_timeout", "10s"),
        ]);
        let (requests, inbox) = mpsc::channel(1024);
        tokio::spawn(write(inbox, options, wake));
        Self {
            requests,
            #[cfg(feature = "failpoints")]
            under_way: Arc::default(),
        }
    }

    pub(in crate::store) async fn ended(&self) {
        self.requests.closed().await;
    }

    pub(in crate::store) fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }

    #[cfg(feature = "failpoints")]
    pub(in crate::store) fn is_idle(&self) -> bool {
        self.under_way.try_write().is_ok()
    }

    pub(in crate::store) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        #[cfg(feature = "failpoints")]
        let _under_way = self.under_way.read().await;
        let (reply, answer) = oneshot::channel();
        let request = Request { append: append.checked()?, reply };
        self.requests.send(request).await.map_err(|_| AppendError::Stopped)?;
        answer.await.map_err(|_| AppendError::Stopped)?
    }
}

/// How long a batch is tried again before its callers hear that the database is away. A press must be answered in 3 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one try may take before its connection is given up.
const SILENCE: Duration = Duration::from_secs(8);

async fn write(mut inbox: mpsc::Receiver<Request>, options: PgConnectOptions, wake: Wake) {
    let mut connection: Option<PgConnection> = None;
    let mut held: Vec<Request> = Vec::new();
    loop {
        let mut waiting = std::mem::take(&mut held);
        if waiting.is_empty() {
            if inbox.recv_many(&mut waiting, BATCH_MAX).await == 0 {
                return;
            }
        } else {
            while waiting.len() < BATCH_MAX
                && let Ok(request) = inbox.try_recv()
            {
                waiting.push(request);
            }
        }
        let mut batch = compatible(waiting, &mut held);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let outcome = loop {
            // A peer that fell silent must not hold the process's only writer: the batch is sent again elsewhere.
            failpoint!("before_commit");
            let attempted = tokio::time::timeout(SILENCE, attempt(&mut connection, &options, &batch)).await;
            failpoint!("after_commit");
            match attempted.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut)) {
                Ok(outcome) => break Ok(outcome),
                // One poisonous request must not fail the others: it is tried alone.
                Err(e) if is_refused(&e) && batch.len() > 1 => {
                    held.splice(0..0, batch.drain(1..));
                }
                Err(e) if is_refused(&e) => break Err(AppendError::Refused(Arc::new(e))),
                Err(e) if is_closed(&e).is_some() => break Err(AppendError::Closed(is_closed(&e).unwrap_or_default())),
                Err(e) => {
                    connection = None;
                    metrics::counter!("coolops_append_retries_total").increment(1);
                    if tokio::time::Instant::now() >= deadline {
                        break Err(AppendError::Unavailable(Arc::new(e)));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        match outcome {
            Ok(outcomes) => {
                for (request, _) in batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()) {
                    let of = request.append.events.iter().filter(|event| event.stream_type == "deployment");
                    of.for_each(|event| wake.moved(DeploymentId(event.stream_id)));
                }
                if let Some(position) = outcomes.iter().filter_map(|o| o.as_ref().ok()).map(|a| a.position).max() {
                    wake.appended(position);
                    metrics::counter!("coolops_append_batches_total").increment(1);
                    let recorded = batch
                        .iter()
                        .zip(&outcomes)
                        .filter(|(_, o)| o.is_ok())
                        .map(|(r, _)| r.append.events.len() as u64)
                        .sum();
                    metrics::counter!("coolops_events_appended_total").increment(recorded);
                }
                // The caller may be gone; its events are recorded all the same.
                batch.into_iter().zip(outcomes).for_each(|(request, outcome)| drop(request.reply.send(outcome)));
            }
            Err(error) => batch.into_iter().for_each(|request| drop(request.reply.send(Err(error.clone())))),
        }
    }
}

/// Splits off a batch in which no request depends on what another one changes; the rest is held for the next batch.
fn compatible(waiting: Vec<Request>, held: &mut Vec<Request>) -> Vec<Request> {
    let mut changed = HashSet::new();
    let mut read = HashSet::new();
    let (batch, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|request| {
        let append = &request.append;
        let reads = || append.guards.iter().map(|(key, _)| *key);
        let fits = append.events.iter().all(|e| !changed.contains(&e.event_id))
            && append.touched.iter().all(|key| !changed.contains(key) && !read.contains(key))
            && reads().all(|key| !changed.contains(&key));
        if fits {
            changed.extend(append.touched.iter().copied().chain(append.events.iter().map(|e| e.event_id)));
            read.extend(reads());
        }
        fits
    });
    held.extend(rest);
    batch
}

/// Errors of content (SQLSTATE classes 22 and 23, and what our functions raise): the same batch would fail again.
fn is_refused(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code.starts_with("22") || code.starts_with("23") || code == "P0001")
}

/// What the database says of a log that is closed.
fn is_closed(error: &sqlx::Error) -> Option<String> {
    let said = error.as_database_error().filter(|said| said.code().as_deref() == Some("CO003"))?;
    Some(said.message().to_owned())
}

async fn attempt(
    connection: &mut Option<PgConnection>,
    options: &PgConnectOptions,
    batch: &[Request],
) -> Result<Vec<Result<Appended, AppendError>>, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect_as_app(options).await?),
    };
    let mut arguments = Arguments::default();
    for (number, request) in (1..).zip(batch) {
        arguments.add(number, &request.append);
    }
    let done = arguments.call(connection).await?;
    let lost: HashSet<i32> = done.lost.into_iter().flatten().collect();
    let fenced: HashSet<i32> = done.fenced.into_iter().flatten().collect();
    let at = done.at;
    let mut position = done.base;
    let mut outcomes = Vec::with_capacity(batch.len());
    for (number, request) in (1..).zip(batch) {
        outcomes.push(if lost.contains(&number) {
            lost_outcome(connection, request, fenced.contains(&number)).await?
        } else {
            position += request.append.events.len() as i64;
            Ok(Appended { position, at })
        });
    }
    Ok(outcomes)
}

/// Tells a repetition from a conflict, outside the lock: an event that is there will be there for ever. It is a
/// repetition only if every event of the request is there as this writer would have written it.
async fn lost_outcome(
    connection: &mut PgConnection,
    request: &Request,
    fenced: bool,
) -> Result<Result<Appended, AppendError>, sqlx::Error> {
    let events = &request.append.events;
    let ids: Vec<Uuid> = events.iter().map(|e| e.event_id).collect();
    let there = sqlx::query!(
        "select event_id, position, recorded_at, body_hash, fence from event where event_id = any($1) order by position",
        &ids
    )
    .fetch_all(connection)
    .await?;
    let repeated = there.len() == events.len()
        && events
            .iter()
            .all(|e| there.iter().any(|t| t.event_id == e.event_id && t.body_hash == e.body && t.fence == e.fence));
    Ok(match there.last() {
        Some(last) if repeated => Ok(Appended { position: last.position, at: last.recorded_at }),
        _ if fenced => Err(AppendError::Fenced),
        _ => Err(AppendError::Conflict),
    })
}
