//! What was forgotten, as it is recorded. What was said before stays as it was said: only the key to it is gone.
//!
//! **Invariant:** these are the bytes of the log. What may be forgotten is in [`erasure`](super::erasure).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::deployment_events::DeploymentOf;
use super::ids::*;
use super::payload::Payload;

/// Recorded when somebody's names, ids and words in all events were erased. It does not say whose they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PersonErased {
    /// The key that they were encrypted under, and that was destroyed.
    pub key: SubjectKeyId,
    /// Those beside it: there are some where a master key was missing for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<SubjectKeyId>,
    /// Why, in the operator's words.
    pub reason: String,
}

/// Recorded when what a deployment printed was erased, in the journal and in the events. Its digests and its seal stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputErased {
    /// Whose output.
    pub of: DeploymentOf,
    /// The key of the lines that stand in events, which was destroyed; none where no event has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SubjectKeyId>,
    /// Why.
    pub why: OutputGone,
}

/// Why a deployment's output is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputGone {
    /// It was kept for as long as the project keeps it.
    Expired {
        /// So long, in days.
        days: u32,
    },
    /// An operator wanted so.
    Asked {
        /// Why, in that person's words.
        reason: String,
    },
}

impl OutputGone {
    /// What became of it, to whoever looks for it; unescaped. `by` is who wanted so.
    pub fn sentence(&self, by: &str) -> String {
        match self {
            Self::Expired { days: 1 } => "What it printed was kept for a day".to_owned(),
            Self::Expired { days } => format!("What it printed was kept for {days} days"),
            Self::Asked { reason } => format!("What it printed was erased by {by}: {reason}"),
        }
    }
}

impl Payload for PersonErased {
    fn example() -> Self {
        let others = vec![SubjectKeyId(Uuid::from_u128(0x9))];
        Self { key: SubjectKeyId(Uuid::from_u128(0x7)), others, reason: "asked for by letter of 2 May".into() }
    }
}

impl Payload for OutputErased {
    fn example() -> Self {
        let of = DeploymentOf {
            deployment_id: DeploymentId(Uuid::from_u128(0x5)),
            build_id: BuildId(Uuid::from_u128(0x4)),
            environment_id: EnvironmentId(Uuid::from_u128(0x2)),
            project_id: ProjectId(Uuid::from_u128(0x1)),
        };
        let why = OutputGone::Asked { reason: "it printed a password".into() };
        Self { of, key: Some(SubjectKeyId(Uuid::from_u128(0x8))), why }
    }
}
