//! What can happen to an environment's lock, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log. What they mean is in [`lock`](super::lock).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::deployment_events::Person;
use super::ids::*;
use super::payload::Payload;

/// Whose a lock is, or who takes it away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Holder {
    /// Somebody in Slack.
    Person(Person),
    /// An operator at the command line.
    Operator {
        /// The login name on that machine.
        login: String,
    },
}

impl Holder {
    /// What they are called.
    pub fn name(&self) -> &str {
        match self {
            Self::Person(person) => &person.name,
            Self::Operator { login } => login,
        }
    }

    /// Whether it is this person, by their id: names change.
    pub fn is(&self, other: &Person) -> bool {
        matches!(self, Self::Person(own) if own.is(other))
    }

    /// Whether both are the same.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (own, Self::Person(other)) => own.is(other),
            (Self::Operator { login }, Self::Operator { login: other }) => login == other,
            (Self::Person(_), Self::Operator { .. }) => false,
        }
    }
}

/// A lock on an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Whose it is.
    pub holder: Holder,
    /// Why, in that person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when; none until somebody takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

impl Lock {
    /// Whether a press of this person goes through.
    pub fn lets(&self, person: &Person) -> bool {
        self.holder.is(person)
    }

    /// Whether it has run out.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Recorded when somebody locked an environment, or gave their lock another reason or end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentLocked {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub lock: Lock,
}

/// Recorded when a lock was taken away, or ran out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentUnlocked {
    /// Whose environment.
    pub project_id: ProjectId,
    /// Which one.
    pub environment_id: EnvironmentId,
    /// The lock that was there.
    pub lock: Lock,
    /// Who took it away, which may be somebody else than who had it; none when it ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Holder>,
    /// When.
    pub at: DateTime<Utc>,
}

/// An example of a lock, two hours of one.
pub(super) fn lock() -> Lock {
    let at = |seconds: i64| DateTime::from_timestamp(1_715_000_000 + seconds, 0).unwrap_or_default();
    let ana = Person { team: "T0123456789".into(), user: "U0123456789".into(), name: "ana".into() };
    Lock {
        holder: Holder::Person(ana),
        reason: Some("database migration".into()),
        since: at(0),
        until: Some(at(7_200)),
    }
}

const PROJECT: ProjectId = ProjectId(Uuid::from_u128(0x1));
const ENVIRONMENT: EnvironmentId = EnvironmentId(Uuid::from_u128(0x2));

impl Payload for EnvironmentLocked {
    fn example() -> Self {
        Self { project_id: PROJECT, environment_id: ENVIRONMENT, lock: lock() }
    }
}

impl Payload for EnvironmentUnlocked {
    fn example() -> Self {
        let by = Some(Holder::Operator { login: "root".into() });
        Self { project_id: PROJECT, environment_id: ENVIRONMENT, lock: lock(), by, at: lock().since }
    }
}
