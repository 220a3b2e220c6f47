//! The door into the log: what is recorded together, or not at all.

mod arguments;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tracing::{Instrument, field};
use uuid::Uuid;

use super::Store;
use super::deliveries::PackedDelivery;
use super::jobs::Claim;
use super::limits::Turn;
use super::private::Renamed;
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{EventId, JobId, SubjectKeyId};
use crate::domain::private::{self, Part, Subject};
use crate::domain::react::Task;
use crate::keys::subject::SubjectKey;
use crate::projections::rows::Row;
use crate::proof::chain::{self, Hash};

pub(super) use writer::Appender;

/// Largest payload, in bytes: what is larger is a log or a file, not an event.
pub const PAYLOAD_MAX: usize = 512 * 1024;

/// Events to be recorded together or not at all.
#[derive(Debug, Default)]
pub struct Append {
    events: Vec<Columns>,
    touched: Vec<Uuid>,
    guards: Vec<(Uuid, i64)>,
    fence: Option<(JobId, i64, Uuid)>,
    rows: Vec<(usize, Row)>,
    delivery: Option<PackedDelivery>,
    tasks: Vec<(usize, Task, Option<Turn>)>,
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
    /// Event and actor in plain, where private texts in them have to be encrypted first.
    private: Option<Box<(Event, Actor)>>,
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
    #[error("the database refused the events")]
    Refused(#[source] Arc<sqlx::Error>),
    /// What is private in an event can't be encrypted.
    #[error("the key of somebody whom the event names can't be used: {0}")]
    Locked(String),
    /// Nothing is recorded until an operator has decided which history goes on.
    #[error("{0}; an operator has to decide which history goes on: coolops audit fork")]
    Closed(String),
    /// The database can't be reached; it is not known whether the events were recorded. Repeating is safe.
    #[error("the database does not answer")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// The process is ending, or its writer has failed.
    #[error("the writer of events has stopped")]
    Stopped,
}

/// What is stored of an event.
fn texts(event: &Event, actor: &Actor) -> (String, String) {
    let payload = serde_json::to_string(event).expect("an event is plain data");
    let actor = serde_json::to_string(actor).expect("an actor is plain data");
    (actor, payload)
}

impl Append {
    /// Adds an event, `expected` being its stream's version before it.
    pub fn event(&mut self, event_id: EventId, event: &Event, actor: &Actor, expected: i32) -> &mut Self {
        let (kind, schema_version) = event.kind();
        let address = event.address();
        let mut private = Box::new((event.clone(), actor.clone()));
        let mut is_private = false;
        let (of, by) = &mut *private;
        private::recorded(of, by, &mut |subject, _, _| {
            is_private |= !subject.is_nobody();
            true
        });
        let (actor, payload) = texts(event, actor);
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
            private: is_private.then_some(private),
        });
        self.touched.push(address.stream);
        self.touched.extend(address.boundary);
        self
    }

    /// Says which event the one added last follows from, where that is another one than the one before it in its stream,
    /// or, for the first of a stream, the one that began what it is about: those the database fills in.
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
        self.tasks.push((self.events.len() - 1, task, None));
        self
    }

    /// The turn at Slack that work for the event added last has to wait for. It is given out in the append, so that
    /// the job costs nothing until then.
    pub fn turn(&mut self, turn: Turn) -> &mut Self {
        if let Some((_, _, waits)) = self.tasks.last_mut() {
            *waits = Some(turn);
        }
        self
    }

    /// What is told of it to whoever collects spans.
    fn span(&self) -> tracing::Span {
        let span = tracing::debug_span!(
            "append",
            events = self.events.len(),
            event.r#type = self.events.last().map(|e| e.kind),
            event.position = field::Empty,
            build.id = field::Empty,
            deployment.id = field::Empty,
        );
        for event in &self.events {
            match event.stream_type {
                "deployment" => {
                    span.record("deployment.id", field::display(event.stream_id));
                    span.record("build.id", field::display(event.correlation_id))
                }
                "build" => span.record("build.id", field::display(event.stream_id)),
                _ => &span,
            };
        }
        span
    }

    /// Whom the private texts in it are about, and what those are called now who did it: what an event says of others may
    /// be what they were called before.
    fn subjects(&mut self) -> HashMap<Subject, Option<String>> {
        let mut subjects: HashMap<Subject, Option<String>> = HashMap::new();
        for private in self.events.iter_mut().filter_map(|event| event.private.as_mut()) {
            let (event, actor) = &mut **private;
            private::recorded(event, actor, &mut |subject, _, _| {
                if !subject.is_nobody() {
                    subjects.entry(subject.clone()).or_default();
                }
                true
            });
            private::who_did(event, actor, &mut |subject, part, text| {
                if part == Part::Name
                    && let Some(name) = subjects.get_mut(subject)
                {
                    *name = Some(text.clone());
                }
                true
            });
        }
        subjects
    }

    /// Encrypts the private texts in it, with the keys of all its subjects.
    fn encrypt(&mut self, keys: &HashMap<Subject, SubjectKey>) {
        for event in &mut self.events {
            let Some(mut private) = event.private.take() else { continue };
            let (of, by) = &mut *private;
            private::recorded(of, by, &mut |subject, _, text| {
                if let Some(key) = keys.get(subject) {
                    *text = key.seal(text);
                }
                true
            });
            (event.actor, event.payload) = texts(&private.0, &private.1);
            event.body = chain::body_hash(event.payload.as_bytes());
        }
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

/// How long the keys of private texts are asked for again while the database does not answer: as long as a batch is
/// tried.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

impl Store {
    /// The keys of subjects, asked for again after the loss of a connection.
    async fn keys_of(
        &self,
        subjects: &HashMap<Subject, Option<String>>,
    ) -> Result<(HashMap<Subject, SubjectKey>, Vec<Renamed>), AppendError> {
        let began = Instant::now();
        loop {
            match self.subject_keys(subjects).await {
                Err(AppendError::Unavailable(_)) if began.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                asked => return asked,
            }
        }
    }

    /// Records events. Safe to repeat with the same event ids: what is there already counts as recorded.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing is recorded in part.
    pub async fn append(&self, mut append: Append) -> Result<Appended, AppendError> {
        let (subjects, mut renamed, mut used) = (append.subjects(), Vec::new(), Vec::new());
        if !subjects.is_empty() {
            let keys;
            (keys, renamed) = self.keys_of(&subjects).await?;
            append.encrypt(&keys);
            used = keys.values().map(|key| SubjectKeyId(key.id())).collect();
        }
        crate::failpoint!("before_append");
        let span = append.span();
        let appended = self.appender.append(append).instrument(span.clone()).await;
        if let Ok(appended) = &appended {
            span.record("event.position", appended.position);
            if let Err(e) = self.rename(renamed).await {
                // Whatever they do next says it again.
                tracing::debug!(error = %e, "what somebody is called by now is not noted");
            }
            if let Err(e) = self.erase_again(&used).await {
                tracing::warn!(error = %e, "whether somebody was erased meanwhile can't be told: coolops audit verify tells");
            }
        }
        appended
    }

    /// Has whoever was erased while events that name them were on their way into the log taken out of the rows of these too.
    async fn erase_again(&self, used: &[SubjectKeyId]) -> Result<(), sqlx::Error> {
        if used.is_empty() {
            return Ok(());
        }
        let there = self.subjects().there(used).await?;
        for key in used.iter().filter(|key| !there.contains(key)) {
            self.jobs().want(Task::ErasePerson(*key)).await?;
        }
        Ok(())
    }
}
