//! What can happen to locks, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log. What they mean is in [`lock`](super::lock).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::*;
use super::payload::Payload;
pub use super::somebody::{Person, Somebody};

/// What a lock lies on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One environment.
    #[default]
    Environment,
    /// All environments of a project, those to come included.
    Project,
    /// Everything there is.
    Everything,
}

impl Scope {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_environment(&self) -> bool {
        *self == Self::Environment
    }
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Whose it is.
    pub holder: Somebody,
    /// Why, in that person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when; none until somebody takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// What it lies on.
    #[serde(default, skip_serializing_if = "Scope::is_environment")]
    pub scope: Scope,
    /// The build that it is for: its deployment took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// When its holder last said that it shall stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<DateTime<Utc>>,
}

/// A lock that somebody else took away from its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LockTaken {
    /// The lock.
    pub lock: Lock,
    /// Who took it away.
    pub by: Somebody,
}

impl Lock {
    /// A lock of somebody; what it lies on is told where it is decided.
    pub fn new(holder: Somebody, reason: Option<String>, since: DateTime<Utc>, until: Option<DateTime<Utc>>) -> Self {
        Self { holder, reason, since, until, scope: Scope::default(), build: None, kept: None }
    }

    /// Whether a press of theirs goes through.
    pub fn lets(&self, who: &Somebody) -> bool {
        self.holder.same(who)
    }

    /// Whether it was taken at this time: what tells one lock of a thing from another.
    pub fn is_of(&self, since: DateTime<Utc>) -> bool {
        self.since.timestamp_micros() == since.timestamp_micros()
    }

    /// Whether it is one lock, whatever its reason and end are by now.
    pub fn is_the_same(&self, other: &Self) -> bool {
        self.scope == other.scope && self.holder.same(&other.holder) && self.is_of(other.since)
    }

    /// Whether people read the same of both.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |lock: &Self| Self { kept: None, ..lock.clone() };
        said(self) == said(other)
    }

    /// Whether it has run out.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// How a lock went, for whoever wants to take away what is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlocked {
    /// The lock.
    pub lock: Lock,
    /// Who took it away; none when it ran out.
    pub by: Option<Somebody>,
    /// When.
    pub at: DateTime<Utc>,
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
    pub by: Option<Somebody>,
    /// When.
    pub at: DateTime<Utc>,
}

/// An example of a lock, two hours of one.
pub(super) fn lock() -> Lock {
    let at = |seconds: i64| DateTime::from_timestamp(1_715_000_000 + seconds, 0).unwrap_or_default();
    let ana = Person { team: "T0123456789".into(), user: "U0123456789".into(), name: "ana".into() };
    Lock {
        holder: Somebody::Person(ana),
        reason: Some("database migration".into()),
        since: at(0),
        until: Some(at(7_200)),
        scope: Scope::Environment,
        build: Some("main-42".into()),
        kept: Some(at(3_600)),
    }
}

/// An example of one that somebody took away.
pub(super) fn lock_taken() -> LockTaken {
    LockTaken { lock: lock(), by: Somebody::Operator { login: "root".into() } }
}

/// Recorded when somebody locked all environments of a project, or gave that lock another reason or end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectLocked {
    pub project_id: ProjectId,
    pub lock: Lock,
}

/// Recorded when a project's lock was taken away, or ran out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are EnvironmentUnlocked's")]
pub struct ProjectUnlocked {
    pub project_id: ProjectId,
    pub lock: Lock,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Somebody>,
    pub at: DateTime<Utc>,
}

/// Recorded when somebody locked everything, or gave that lock another reason or end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EverythingLocked {
    pub lock: Lock,
}

/// Recorded when the lock on everything was taken away, or ran out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are EnvironmentUnlocked's")]
pub struct EverythingUnlocked {
    pub lock: Lock,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Somebody>,
    pub at: DateTime<Utc>,
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
        let by = Some(Somebody::Operator { login: "root".into() });
        Self { project_id: PROJECT, environment_id: ENVIRONMENT, lock: lock(), by, at: lock().since }
    }
}

impl Payload for ProjectLocked {
    fn example() -> Self {
        Self { project_id: PROJECT, lock: Lock { scope: Scope::Project, ..lock() } }
    }
}

impl Payload for ProjectUnlocked {
    fn example() -> Self {
        let by = Some(Somebody::Operator { login: "root".into() });
        Self { project_id: PROJECT, lock: Lock { scope: Scope::Project, ..lock() }, by, at: lock().since }
    }
}

impl Payload for EverythingLocked {
    fn example() -> Self {
        Self { lock: Lock { scope: Scope::Everything, ..lock() } }
    }
}

impl Payload for EverythingUnlocked {
    fn example() -> Self {
        let by = Some(Somebody::Operator { login: "root".into() });
        Self { lock: Lock { scope: Scope::Everything, ..lock() }, by, at: lock().since }
    }
}
