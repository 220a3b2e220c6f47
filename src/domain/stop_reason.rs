//! Why a deployment is stopped, and how that is told.
//!
//! **Invariant:** it stands in events as it is here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::DeploymentId;
use super::rights_events::Denied;
use super::somebody::Person;

/// Why a deployment is, or was, stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StopReason {
    /// It ran longer than it may.
    TimeLimit {
        /// The limit.
        minutes: u32,
    },
    /// An operator decided so.
    Operator {
        /// Who: the login name on that machine.
        by: String,
        /// Why, in that person's words.
        reason: String,
    },
    /// Somebody in Slack wanted so.
    Person {
        /// Who.
        by: Person,
        /// Why, in that person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A newer press took its place while it waited.
    Superseded {
        /// The press.
        deployment_id: DeploymentId,
        /// Its build.
        by: String,
    },
    /// Whoever pressed may not any more.
    NotAllowed {
        /// Why.
        denied: Denied,
    },
    /// What it was for was archived.
    Archived {
        /// What that was, such as `the environment Staging`.
        what: String,
    },
}

impl StopReason {
    /// The reason as it stands in messages and lists; fits after "stopped: ".
    pub fn sentence(&self) -> String {
        match self {
            Self::TimeLimit { minutes: 1 } => "it ran longer than a minute".to_owned(),
            Self::TimeLimit { minutes } => format!("it ran longer than {minutes} minutes"),
            Self::Operator { reason, .. } => reason.clone(),
            Self::Person { by, reason: None } => format!("{} wanted so", by.name),
            Self::Person { by, reason: Some(reason) } => format!("{} wanted so: {reason}", by.name),
            Self::Superseded { by, .. } => format!("superseded by {by}"),
            Self::NotAllowed { denied } => denied.reason(),
            Self::Archived { what } => format!("{what} was archived"),
        }
    }
}

/// Why a deployment was stopped, and how its container took it; fits after "stopped: ".
pub fn stop_words(reason: &StopReason, exit_code: Option<i64>, cut_off_after: Option<u32>) -> String {
    let code = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
    let who = match reason {
        StopReason::Operator { by, .. } => format!(", stopped by {by}"),
        StopReason::TimeLimit { .. }
        | StopReason::Archived { .. }
        | StopReason::NotAllowed { .. }
        | StopReason::Superseded { .. }
        | StopReason::Person { .. } => String::new(),
    };
    format!("{}{code}{who}{}", reason.sentence(), cut_off(cut_off_after))
}

/// Says that SIGKILL ended it, where SIGTERM had not. Whether it was cleaning up, or never heard, nobody knows: a shell that is a container's
/// first process takes no notice without a `trap`.
pub fn cut_off(after: Option<u32>) -> String {
    after.map(|s| format!("; it had not ended {s} s after SIGTERM, so SIGKILL ended it")).unwrap_or_default()
}
