//! The arguments of `append_batch` in `migrations/…_create_append.sql`, which has the same names.
//!
//! **Invariant:** an argument is declared here once, and filled in `add`. All arrays whose names begin alike have one
//! length.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Append;
use crate::projections::rows::Row;

macro_rules! arguments {
    ($($name:ident: $of:ty),+ $(,)?) => {
        /// One array for each argument, and the rows of tables whose columns travel as JSON.
        #[derive(Default)]
        pub(super) struct Arguments<'a> {
            $($name: Vec<$of>,)+
            projects: Rows,
            tokens: Rows,
            deployments: Rows,
        }

        static CALL: LazyLock<String> = LazyLock::new(|| {
            let names = [$(stringify!($name)),+, "projects", "tokens", "deployments"];
            let given: Vec<String> = names.iter().zip(1..).map(|(name, n)| format!("{name} => ${n}")).collect();
            format!("select base, at, lost, fenced from append_batch({})", given.join(", "))
        });

        impl Arguments<'_> {
            /// Appends the batch.
            pub(super) async fn call(self, connection: &mut PgConnection) -> Result<Done, sqlx::Error> {
                sqlx::query_as(CALL.as_str())
                    $(.bind(self.$name))+
                    .bind(self.projects.json())
                    .bind(self.tokens.json())
                    .bind(self.deployments.json())
                    .fetch_one(connection)
                    .await
            }
        }
    };
}

arguments! {
    // Events.
    e_request: i32,
    e_id: Uuid,
    e_stream: Uuid,
    e_correlation: Uuid,
    e_causation: Option<Uuid>,
    e_fence: Option<i64>,
    e_expected: i32,
    e_first: bool,
    e_version: i16,
    e_stream_type: &'a str,
    e_type: &'a str,
    e_actor: &'a str,
    e_payload: &'a str,
    // "This event moves this boundary."
    m_event: i32,
    m_key: Uuid,
    // "This boundary has not moved since …"
    g_request: i32,
    g_key: Uuid,
    g_seen: i64,
    // "This job is still leased under …"
    f_request: i32,
    f_job: Uuid,
    f_fence: i64,
    f_lease: Uuid,
    // Rows of which every build has one each: as arrays, because there are many.
    b_event: i32,
    b_id: Uuid,
    b_project: Uuid,
    b_name: &'a str,
    j_event: i32,
    j_id: Uuid,
    j_kind: &'a str,
    j_key: Uuid,
    j_turn: Option<&'a str>,
    j_every: Option<i64>,
    j_burst: Option<i64>,
    d_event: i32,
    d_id: Uuid,
    d_project: Option<Uuid>,
    d_build: Uuid,
    d_provider: &'a str,
    d_name: &'a str,
    d_headers: serde_json::Value,
    d_body: &'a [u8],
}

/// What became of a batch.
#[derive(sqlx::FromRow)]
pub(super) struct Done {
    /// The position before it.
    pub(super) base: i64,
    /// When.
    pub(super) at: DateTime<Utc>,
    /// Requests that were left out.
    pub(super) lost: Option<Vec<i32>>,
    /// Of those, the ones whose lease was taken over.
    pub(super) fenced: Option<Vec<i32>>,
}

impl<'a> Arguments<'a> {
    /// Adds a request under its number in the batch.
    pub(super) fn add(&mut self, number: i32, append: &'a Append) {
        let before = i32::try_from(self.e_id.len()).unwrap_or(i32::MAX);
        let numbered = |index: usize| before.saturating_add(i32::try_from(index).unwrap_or(i32::MAX)).saturating_add(1);
        for event in &append.events {
            self.e_request.push(number);
            self.e_id.push(event.event_id);
            self.e_stream.push(event.stream_id);
            self.e_correlation.push(event.correlation_id);
            self.e_causation.push(event.causation_id);
            self.e_fence.push(event.fence);
            self.e_expected.push(event.expected);
            self.e_first.push(event.first);
            self.e_version.push(event.schema_version);
            self.e_stream_type.push(event.stream_type);
            self.e_type.push(event.kind);
            self.e_actor.push(&event.actor);
            self.e_payload.push(&event.payload);
            if let Some(boundary) = event.boundary {
                self.m_event.push(i32::try_from(self.e_id.len()).unwrap_or(i32::MAX));
                self.m_key.push(boundary);
            }
        }
        for (key, seen) in &append.guards {
            self.g_request.push(number);
            self.g_key.push(*key);
            self.g_seen.push(*seen);
        }
        if let Some((job, fence, lease)) = append.fence {
            self.f_request.push(number);
            self.f_job.push(job.0);
            self.f_fence.push(fence);
            self.f_lease.push(lease);
        }
        for (index, row) in &append.rows {
            let event = numbered(*index);
            match row {
                Row::Project(row) => self.projects.push(event, row),
                Row::Token(row) => self.tokens.push(event, row),
                Row::Build(row) => {
                    self.b_event.push(event);
                    self.b_id.push(row.id);
                    self.b_project.push(row.project_id);
                    self.b_name.push(&row.name);
                }
                Row::Deployment(row) => self.deployments.push(event, row),
            }
        }
        if let (Some(delivery), Some(last)) = (&append.delivery, append.events.last()) {
            self.d_event.push(numbered(append.events.len() - 1));
            self.d_id.push(delivery.id.0);
            self.d_project.push(delivery.project.map(|p| p.0));
            self.d_build.push(last.stream_id);
            self.d_provider.push(delivery.provider);
            self.d_name.push(&delivery.name);
            self.d_headers.push(delivery.headers.clone());
            self.d_body.push(&delivery.body);
        }
        for (index, task, turn) in &append.tasks {
            let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
            self.j_event.push(numbered(*index));
            self.j_id.push(task.job_id().0);
            self.j_kind.push(task.kind().as_str());
            self.j_key.push(task.key());
            self.j_turn.push(turn.as_ref().map(|turn| turn.scope.as_str()));
            self.j_every.push(turn.as_ref().map(|turn| micros(turn.pace.every)));
            self.j_burst.push(turn.as_ref().map(|turn| micros(turn.pace.burst)));
        }
    }
}

/// Side rows of one table as one JSON array, each naming the event that it follows from.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn push(&mut self, event: i32, row: &impl Serialize) {
        #[derive(Serialize)]
        struct Numbered<'a, R> {
            event: i32,
            #[serde(flatten)]
            row: &'a R,
        }
        self.0.push(if self.0.is_empty() { '[' } else { ',' });
        self.0.push_str(&serde_json::to_string(&Numbered { event, row }).expect("a row is plain data"));
    }

    fn json(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0 + "]")
    }
}
