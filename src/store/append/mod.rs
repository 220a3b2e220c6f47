//! The door into the log: group commit by one writer per process.
//!
//! Requests that arrive while a batch is being written form the next batch, so throughput grows with load. One call of
//! `append_batch` is one transaction; a refused, conflicting or repeated request gets its own answer and harms nobody
//! else's. After any error the same batch is sent again with the same event ids, on a new connection: the head lock it
//! takes waits for the old backend's end, so what it then sees is final.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::chain::{self, Hash};
use super::deliveries::PackedDelivery;
use super::jobs::Claim;
use super::wake::Wake;
use super::{Store, connect_as_app};
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{EventId, JobId};
use crate::domain::react::Task;
use crate::failpoint;
use crate::projections::rows::Row;

/// The one tenant there is; in the chain from the first event on, because it can't be added later.
pub const TENANT: Uuid = Uuid::nil();
/// Largest payload, in bytes: what is larger is a log or a file, not an event.
pub const PAYLOAD_MAX: usize = 512 * 1024;
const BATCH_MAX: usize = 512;

/// Events to be recorded together or not at all.
#[derive(Debug, Default)]
pub struct Append {
    events: Vec<Columns>,
    touched: Vec<Uuid>,
    guards: Vec<(Uuid, i64)>,
    fence: Option<(JobId, i64, Uuid)>,
    rows: Vec<(usize, Row)>,
    delivery: Option<PackedDelivery>,
    tasks: Vec<(usize, Task)>,
}

/// One event's columns, serialized in the caller's task. The database hashes what it chains; the digest of the body is
/// for telling a repetition.
#[derive(Debug)]
struct Columns {
    event_id: Uuid,
    stream_type: &'static str,
    stream_id: Uuid,
    correlation_id: Uuid,
    causation_id: Option<Uuid>,
    fence: Option<i64>,
    expected: i32,
    first: bool,
    kind: &'static str,
    schema_version: i16,
    actor: String,
    payload: String,
    body: Hash,
    boundary: Option<Uuid>,
}

/// Where the last event of a request stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Appended {
    /// Its position.
    pub position: i64,
    /// The database's clock.
    pub at: DateTime<Utc>,
}

/// Why nothing was recorded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// A stream or a boundary moved since it was read: read again, decide again.
    #[error("what the decision was based on has changed")]
    Conflict,
    /// The lease was lost to another worker, which goes on with the job.
    #[error("the job's lease was taken over")]
    Fenced,
    /// An event is larger than events may be: it will be so for ever.
    #[error("the event {kind} would have {bytes} bytes; at most {PAYLOAD_MAX} are allowed")]
    TooLarge {
        /// Its type.
        kind: &'static str,
        /// How large its payload is.
        bytes: usize,
    },
    /// The database refused the content: it will do so for ever.
    #[error("the database refused the events: {0}")]
    Refused(String),
    /// The database can't be reached; it is not known whether the events were recorded. Repeating is safe.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
}

impl Append {
    /// Adds an event, `expected` being its stream's version before it.
    pub fn event(&mut self, event_id: EventId, event: &Event, actor: &Actor, expected: i32) -> &mut Self {
        let (kind, schema_version) = event.kind();
        let address = event.address();
        let payload = serde_json::to_string(event).expect("an event is plain data");
        let actor = serde_json::to_string(actor).expect("an actor is plain data");
        let body = chain::body_hash(payload.as_bytes());
        self.events.push(Columns {
            event_id: event_id.0,
            stream_type: address.kind.as_str(),
            stream_id: address.stream,
            correlation_id: address.correlation,
            causation_id: None,
            fence: None,
            expected,
            first: !self.events.iter().any(|e| e.stream_id == address.stream),
            kind,
            schema_version,
            actor,
            payload,
            body,
            boundary: address.boundary,
        });
        self.touched.push(address.stream);
        self.touched.extend(address.boundary);
        self
    }

    /// Says which event the one added last follows from.
    pub fn because(&mut self, cause: EventId) -> &mut Self {
        if let Some(event) = self.events.last_mut() {
            event.causation_id = Some(cause.0);
        }
        self
    }

    /// The position at which the caller read what it decided on; the append conflicts if the boundary moved since.
    pub fn guard(&mut self, boundary: Uuid, seen: i64) -> &mut Self {
        self.guards.push((boundary, seen));
        self
    }

    /// The lease under which a worker writes.
    pub fn fenced(&mut self, claim: &Claim) -> &mut Self {
        self.fence = Some((claim.id, claim.fence, claim.lease));
        self
    }

    /// A row that follows from the event added last.
    pub fn row(&mut self, row: Row) -> &mut Self {
        self.rows.push((self.events.len() - 1, row));
        self
    }

    /// The delivery of a CI system that the event added last follows from. The append conflicts if it has made a build
    /// already.
    pub fn delivery(&mut self, delivery: PackedDelivery) -> &mut Self {
        self.delivery = Some(delivery);
        self
    }

    /// Work that the event added last makes us owe.
    pub fn task(&mut self, task: Task) -> &mut Self {
        self.tasks.push((self.events.len() - 1, task));
        self
    }

    /// Checks what can be known before the database is asked.
    fn checked(mut self) -> Result<Self, AppendError> {
        let fence = self.fence.map(|(_, fence, _)| fence);
        for event in &mut self.events {
            if event.payload.len() > PAYLOAD_MAX {
                return Err(AppendError::TooLarge { kind: event.kind, bytes: event.payload.len() });
            }
            event.fence = fence;
        }
        Ok(self)
    }
}

struct Request {
    append: Append,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
}

/// The way to the process's writer.
#[derive(Clone)]
pub struct Appender {
    requests: mpsc::Sender<Request>,
}

impl Store {
    /// Records events. Safe to repeat with the same event ids: what is there already counts as recorded.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing is recorded in part.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.appender.append(append).await
    }
}

impl Appender {
    /// Starts the writer; it ends when the last handle is dropped and what was asked is written.
    pub(super) fn start(options: PgConnectOptions, wake: Wake) -> Self {
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
        Self { requests }
    }

    pub(super) async fn ended(&self) {
        self.requests.closed().await;
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.requests.is_closed()
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let gone = |_| AppendError::Unavailable("the writer has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        let request = Request { append: append.checked()?, reply };
        self.requests.send(request).await.map_err(|e| gone(e.to_string()))?;
        answer.await.map_err(|e| gone(e.to_string()))?
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
                Err(e) if is_refused(&e) => break Err(AppendError::Refused(e.to_string())),
                Err(e) => {
                    connection = None;
                    metrics::counter!("coolops_append_retries_total").increment(1);
                    if tokio::time::Instant::now() >= deadline {
                        break Err(AppendError::Unavailable(e.to_string()));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        match outcome {
            Ok(outcomes) => {
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

async fn attempt(
    connection: &mut Option<PgConnection>,
    options: &PgConnectOptions,
    batch: &[Request],
) -> Result<Vec<Result<Appended, AppendError>>, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(connect_as_app(options).await?),
    };
    let mut a = Arrays::default();
    for (number, request) in (1..).zip(batch) {
        a.add(number, &request.append);
    }
    let done = sqlx::query!(
        r#"select base as "base!", at, lost, fenced from append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
             $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31,
             $32, $33, $34, $35, $36, $37, $38, $39::text::json, $40::text::json, $41::text::json)"#,
        &a.request,
        &a.event_id,
        &a.tenant_id,
        &a.stream_id,
        &a.correlation_id,
        &a.causation_id as &[Option<Uuid>],
        &a.fence as &[Option<i64>],
        &a.expected,
        &a.first,
        &a.schema_version,
        &a.stream_type as &[&str],
        &a.kind as &[&str],
        &a.actor as &[&str],
        &a.payload as &[&str],
        &a.boundary as &[Option<Uuid>],
        (!a.guard_request.is_empty()).then_some(&a.guard_request[..]),
        &a.guard_key,
        &a.guard_seen,
        (!a.fence_request.is_empty()).then_some(&a.fence_request[..]),
        &a.fence_job,
        &a.fence_fence,
        &a.fence_lease,
        (!a.build_event.is_empty()).then_some(&a.build_event[..]),
        &a.build_id,
        &a.build_project,
        &a.build_name as &[&str],
        (!a.job_event.is_empty()).then_some(&a.job_event[..]),
        &a.job_id,
        &a.job_kind as &[&str],
        &a.job_key,
        (!a.delivery_event.is_empty()).then_some(&a.delivery_event[..]),
        &a.delivery_id,
        &a.delivery_project as &[Option<Uuid>],
        &a.delivery_build,
        &a.delivery_provider as &[&str],
        &a.delivery_name as &[&str],
        &a.delivery_headers,
        &a.delivery_body as &[&[u8]],
        a.projects.json(),
        a.tokens.json(),
        a.deployments.json(),
    )
    .fetch_one(&mut *connection)
    .await?;
    let lost: HashSet<i32> = done.lost.into_iter().flatten().collect();
    let fenced: HashSet<i32> = done.fenced.into_iter().flatten().collect();
    let at = done.at.unwrap_or_default();
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

/// The arguments of `append_batch`.
#[derive(Default)]
struct Arrays<'a> {
    request: Vec<i32>,
    event_id: Vec<Uuid>,
    tenant_id: Vec<Uuid>,
    stream_id: Vec<Uuid>,
    correlation_id: Vec<Uuid>,
    causation_id: Vec<Option<Uuid>>,
    fence: Vec<Option<i64>>,
    expected: Vec<i32>,
    first: Vec<bool>,
    schema_version: Vec<i16>,
    stream_type: Vec<&'a str>,
    kind: Vec<&'a str>,
    actor: Vec<&'a str>,
    payload: Vec<&'a str>,
    boundary: Vec<Option<Uuid>>,
    guard_request: Vec<i32>,
    guard_key: Vec<Uuid>,
    guard_seen: Vec<i64>,
    fence_request: Vec<i32>,
    fence_job: Vec<Uuid>,
    fence_fence: Vec<i64>,
    fence_lease: Vec<Uuid>,
    projects: Rows,
    tokens: Rows,
    deployments: Rows,
    build_event: Vec<i32>,
    build_id: Vec<Uuid>,
    build_project: Vec<Uuid>,
    build_name: Vec<&'a str>,
    job_event: Vec<i32>,
    job_id: Vec<Uuid>,
    job_kind: Vec<&'static str>,
    job_key: Vec<Uuid>,
    delivery_event: Vec<i32>,
    delivery_id: Vec<Uuid>,
    delivery_project: Vec<Option<Uuid>>,
    delivery_build: Vec<Uuid>,
    delivery_provider: Vec<&'a str>,
    delivery_name: Vec<&'a str>,
    delivery_headers: Vec<serde_json::Value>,
    delivery_body: Vec<&'a [u8]>,
}

impl<'a> Arrays<'a> {
    fn add(&mut self, number: i32, append: &'a Append) {
        let before = i32::try_from(self.event_id.len()).unwrap_or(i32::MAX);
        let numbered = |index: usize| before.saturating_add(i32::try_from(index).unwrap_or(i32::MAX)).saturating_add(1);
        for event in &append.events {
            self.request.push(number);
            self.event_id.push(event.event_id);
            self.tenant_id.push(TENANT);
            self.stream_id.push(event.stream_id);
            self.correlation_id.push(event.correlation_id);
            self.causation_id.push(event.causation_id);
            self.fence.push(event.fence);
            self.expected.push(event.expected);
            self.first.push(event.first);
            self.schema_version.push(event.schema_version);
            self.stream_type.push(event.stream_type);
            self.kind.push(event.kind);
            self.actor.push(&event.actor);
            self.payload.push(&event.payload);
            self.boundary.push(event.boundary);
        }
        for (key, seen) in &append.guards {
            self.guard_request.push(number);
            self.guard_key.push(*key);
            self.guard_seen.push(*seen);
        }
        if let Some((job, fence, lease)) = append.fence {
            self.fence_request.push(number);
            self.fence_job.push(job.0);
            self.fence_fence.push(fence);
            self.fence_lease.push(lease);
        }
        for (index, row) in &append.rows {
            let e = numbered(*index);
            match row {
                Row::Project(row) => self.projects.push(e, row),
                Row::Token(row) => self.tokens.push(e, row),
                Row::Build(row) => {
                    self.build_event.push(e);
                    self.build_id.push(row.id);
                    self.build_project.push(row.project_id);
                    self.build_name.push(&row.name);
                }
                Row::Deployment(row) => self.deployments.push(e, row),
            }
        }
        if let (Some(delivery), Some(last)) = (&append.delivery, append.events.last()) {
            self.delivery_event.push(numbered(append.events.len() - 1));
            self.delivery_id.push(delivery.id.0);
            self.delivery_project.push(delivery.project.map(|p| p.0));
            self.delivery_build.push(last.stream_id);
            self.delivery_provider.push(delivery.provider);
            self.delivery_name.push(&delivery.name);
            self.delivery_headers.push(delivery.headers.clone());
            self.delivery_body.push(&delivery.body);
        }
        for (index, task) in &append.tasks {
            let (kind, key) = (task.kind().as_str(), task.key());
            self.job_event.push(numbered(*index));
            self.job_id.push(task.job_id().0);
            self.job_kind.push(kind);
            self.job_key.push(key);
        }
    }
}

/// Side rows of one table as one JSON array, each naming the event that it follows from.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn push(&mut self, e: i32, row: &impl Serialize) {
        #[derive(Serialize)]
        struct Numbered<'a, R> {
            e: i32,
            #[serde(flatten)]
            row: &'a R,
        }
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str(&serde_json::to_string(&Numbered { e, row }).expect("a row is plain data"));
    }

    fn json(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("{}]", self.0))
    }
}
