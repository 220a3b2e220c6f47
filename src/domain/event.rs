//! The only list of event types and versions, and the envelope that they are recorded in.
//!
//! **Invariant:** an event is forever. A released version's struct is never edited (an optional field may be added); a
//! changed meaning is a new version with an upcast. No event holds a secret value.

use chrono::{DateTime, Utc};
use schemars::Schema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use super::actor::Actor;
use super::build_events::*;
use super::deployment_events::*;
use super::ids::*;
use super::message::*;
use super::payload::Payload;
use super::project_events::*;
use super::upcast;

macro_rules! events {
    ($($variant:ident $name:literal $version:literal,)*) => {
        /// Everything that can have happened.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        #[expect(missing_docs, reason = "each variant is documented on the struct it carries")]
        pub enum Event { $($variant($variant),)* }

        impl Event {
            /// Every wire name with the schema version that this program writes.
            pub const TYPES: &'static [(&'static str, i16)] = &[$(($name, $version),)*];

            /// The wire name and schema version, as stored and published.
            pub fn kind(&self) -> (&'static str, i16) {
                match self { $(Self::$variant(_) => ($name, $version),)* }
            }

            /// Reads a stored payload.
            ///
            /// # Errors
            /// An unknown type or version, or a payload that doesn't fit it: a reader must stop there, never skip.
            pub fn parse(kind: &str, version: i16, payload: &str) -> Result<Self, UnreadableEvent> {
                let fail = |why| UnreadableEvent::Malformed { kind: kind.to_owned(), version, why };
                match (kind, version) {
                    $(($name, $version) => serde_json::from_str(payload).map(Self::$variant).map_err(fail),)*
                    _ => match upcast::step(kind, version) {
                        Some(step) => {
                            let next = step(serde_json::from_str(payload).map_err(fail)?);
                            Self::parse(kind, version + 1, &next.to_string()).map_err(|error| match error {
                                // It is told by the version that is stored.
                                UnreadableEvent::Malformed { why, .. } => fail(why),
                                unknown => unknown,
                            })
                        }
                        None => Err(UnreadableEvent::Unknown { kind: kind.to_owned(), version }),
                    },
                }
            }
        }

        $(impl From<$variant> for Event {
            fn from(event: $variant) -> Self { Self::$variant(event) }
        })*

        /// The published contract: every released type and version with its schema and an example.
        pub fn contract() -> Vec<Contract> {
            vec![
                $(Contract::of::<$variant>($name, $version),)*
                // Log chunks live in the output journal, apart from the log only because of volume.
                Contract::of::<DeploymentLogged>("deployment_logged", 1),
            ]
        }
    };
}

events! {
    ProjectCreated "project_created" 1,
    ProjectRenamed "project_renamed" 1,
    ProjectImageChanged "project_image_changed" 1,
    ProjectChannelChanged "project_channel_changed" 1,
    ProjectTimeLimitChanged "project_time_limit_changed" 1,
    ProjectLogLimitChanged "project_log_limit_changed" 1,
    ProjectStartPatienceChanged "project_start_patience_changed" 1,
    ProjectStopGraceChanged "project_stop_grace_changed" 1,
    ProjectUncheckedImageChanged "project_unchecked_image_changed" 1,
    ProjectParamsChanged "project_params_changed" 1,
    ProjectLinksRevoked "project_links_revoked" 1,
    ProjectArchived "project_archived" 1,
    TokenIssued "token_issued" 1,
    TokenRevoked "token_revoked" 1,
    RegistryCredentialsSet "registry_credentials_set" 1,
    RegistryCredentialsUnset "registry_credentials_unset" 1,
    CiSecretSet "ci_secret_set" 1,
    CiUnset "ci_unset" 1,
    CiRulesChanged "ci_rules_changed" 1,
    EnvironmentCreated "environment_created" 1,
    EnvironmentRenamed "environment_renamed" 1,
    EnvironmentMoved "environment_moved" 1,
    EnvironmentArchived "environment_archived" 1,
    VariableSet "variable_set" 1,
    SecretSet "secret_set" 1,
    VariableUnset "variable_unset" 1,
    BuildRegistered "build_registered" 1,
    DeploymentRequested "deployment_requested" 1,
    DeploymentRefused "deployment_refused" 2,
    DeploymentPromoted "deployment_promoted" 1,
    DeploymentMovedUp "deployment_moved_up" 1,
    DeploymentPullStarted "deployment_pull_started" 1,
    DeploymentDelayed "deployment_delayed" 1,
    DeploymentStrayStopped "deployment_stray_stopped" 1,
    DeploymentPrepared "deployment_prepared" 1,
    DeploymentStarted "deployment_started" 1,
    DeploymentStopRequested "deployment_stop_requested" 1,
    DeploymentStopped "deployment_stopped" 1,
    DeploymentSucceeded "deployment_succeeded" 1,
    DeploymentFailed "deployment_failed" 1,
    DeploymentLost "deployment_lost" 1,
    DeploymentResolved "deployment_resolved" 1,
    MessagePosted "message_posted" 1,
}

/// The pattern of every event that changes settings. Whoever matches exhaustively and isn't about settings names them
/// as one.
macro_rules! settings {
    () => {
        $crate::domain::event::Event::ProjectCreated(_)
            | $crate::domain::event::Event::ProjectRenamed(_)
            | $crate::domain::event::Event::ProjectImageChanged(_)
            | $crate::domain::event::Event::ProjectChannelChanged(_)
            | $crate::domain::event::Event::ProjectTimeLimitChanged(_)
            | $crate::domain::event::Event::ProjectLogLimitChanged(_)
            | $crate::domain::event::Event::ProjectStartPatienceChanged(_)
            | $crate::domain::event::Event::ProjectStopGraceChanged(_)
            | $crate::domain::event::Event::ProjectUncheckedImageChanged(_)
            | $crate::domain::event::Event::ProjectParamsChanged(_)
            | $crate::domain::event::Event::ProjectLinksRevoked(_)
            | $crate::domain::event::Event::ProjectArchived(_)
            | $crate::domain::event::Event::TokenIssued(_)
            | $crate::domain::event::Event::TokenRevoked(_)
            | $crate::domain::event::Event::RegistryCredentialsSet(_)
            | $crate::domain::event::Event::RegistryCredentialsUnset(_)
            | $crate::domain::event::Event::CiSecretSet(_)
            | $crate::domain::event::Event::CiUnset(_)
            | $crate::domain::event::Event::CiRulesChanged(_)
            | $crate::domain::event::Event::EnvironmentCreated(_)
            | $crate::domain::event::Event::EnvironmentRenamed(_)
            | $crate::domain::event::Event::EnvironmentMoved(_)
            | $crate::domain::event::Event::EnvironmentArchived(_)
            | $crate::domain::event::Event::VariableSet(_)
            | $crate::domain::event::Event::SecretSet(_)
            | $crate::domain::event::Event::VariableUnset(_)
    };
}

pub(crate) use settings;

/// A stored event that this program can't read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum UnreadableEvent {
    #[error(
        "the event type {kind} v{version} is unknown to this version of coolops; run the version that wrote it, or a newer one"
    )]
    Unknown { kind: String, version: i16 },
    #[error(
        "{kind} v{version} does not fit its type ({why}); it is damaged, which coolops audit verify shows, or another version wrote it"
    )]
    Malformed { kind: String, version: i16, why: serde_json::Error },
}

/// One published event type and version.
pub struct Contract {
    /// Wire name.
    pub name: &'static str,
    /// Schema version.
    pub version: i16,
    /// JSON Schema (2020-12) of the payload.
    pub schema: Schema,
    /// A payload with every field filled.
    pub example: Value,
}

impl Contract {
    fn of<P: Payload>(name: &'static str, version: i16) -> Self {
        let example = serde_json::to_value(P::example()).expect("an example is plain data");
        Self { name, version, schema: schemars::schema_for!(P), example }
    }
}

/// Which kind of thing a stream tells the story of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// A project's own settings.
    Project,
    /// An environment's settings.
    Environment,
    /// A build.
    Build,
    /// One press.
    Deployment,
    /// Where a build's Slack message is.
    Message,
}

impl StreamKind {
    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Environment => "environment",
            Self::Build => "build",
            Self::Deployment => "deployment",
            Self::Message => "message",
        }
    }
}

/// Where an event belongs: derived from its content, so nobody can file it elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The kind of stream.
    pub kind: StreamKind,
    /// The stream.
    pub stream: Uuid,
    /// The build or project whose story it is part of: what a build's events are read by.
    pub correlation: Uuid,
    /// The consistency boundary that it moves: a project's configuration or an environment's line.
    pub boundary: Option<Uuid>,
}

impl Event {
    /// The seal of a deployment's output, for the events that carry one.
    pub fn seal(&self) -> Option<(DeploymentId, &LogSeal)> {
        match self {
            Self::DeploymentSucceeded(e) => Some((e.of.deployment_id, &e.log)),
            Self::DeploymentFailed(e) => Some((e.of.deployment_id, &e.log)),
            Self::DeploymentLost(e) => Some((e.of.deployment_id, &e.log)),
            Self::DeploymentStopped(e) => e.log.as_ref().map(|log| (e.of.deployment_id, log)),
            _ => None,
        }
    }

    /// What tells this event from others of its stream that may follow from one cause: its type, and for those that may
    /// come again what they say.
    pub fn occasion(&self) -> String {
        let kind = self.kind().0;
        match self {
            Self::DeploymentMovedUp(e) => format!("{kind} {}", e.behind.deployment_id),
            Self::DeploymentDelayed(e) => format!("{kind} {}", e.times),
            Self::DeploymentStrayStopped(e) => format!("{kind} {}", e.container_id),
            _ => kind.to_owned(),
        }
    }

    /// Where this event belongs.
    pub fn address(&self) -> Address {
        let project = |id: ProjectId| Address {
            kind: StreamKind::Project,
            stream: id.0,
            correlation: id.0,
            boundary: Some(id.0),
        };
        let environment = |project: ProjectId, id: EnvironmentId| Address {
            kind: StreamKind::Environment,
            stream: id.0,
            correlation: project.0,
            boundary: Some(project.0),
        };
        let deployment = |of: &DeploymentOf| Address {
            kind: StreamKind::Deployment,
            stream: of.deployment_id.0,
            correlation: of.build_id.0,
            boundary: Some(of.environment_id.0),
        };
        match self {
            Self::ProjectCreated(e) => project(e.project_id),
            Self::ProjectRenamed(e) => project(e.project_id),
            Self::ProjectImageChanged(e) => project(e.project_id),
            Self::ProjectChannelChanged(e) => project(e.project_id),
            Self::ProjectTimeLimitChanged(e) => project(e.project_id),
            Self::ProjectLogLimitChanged(e) => project(e.project_id),
            Self::ProjectStartPatienceChanged(e) => project(e.project_id),
            Self::ProjectStopGraceChanged(e) => project(e.project_id),
            Self::ProjectUncheckedImageChanged(e) => project(e.project_id),
            Self::ProjectParamsChanged(e) => project(e.project_id),
            Self::ProjectLinksRevoked(e) => project(e.project_id),
            Self::ProjectArchived(e) => project(e.project_id),
            Self::TokenIssued(e) => project(e.project_id),
            Self::TokenRevoked(e) => project(e.project_id),
            Self::RegistryCredentialsSet(e) => project(e.project_id),
            Self::RegistryCredentialsUnset(e) => project(e.project_id),
            Self::CiSecretSet(e) => project(e.project_id),
            Self::CiUnset(e) => project(e.project_id),
            Self::CiRulesChanged(e) => project(e.project_id),
            Self::EnvironmentCreated(e) => environment(e.project_id, e.environment_id),
            Self::EnvironmentRenamed(e) => environment(e.project_id, e.environment_id),
            Self::EnvironmentMoved(e) => environment(e.project_id, e.environment_id),
            Self::EnvironmentArchived(e) => environment(e.project_id, e.environment_id),
            Self::VariableSet(e) => environment(e.project_id, e.environment_id),
            Self::SecretSet(e) => environment(e.project_id, e.environment_id),
            Self::VariableUnset(e) => environment(e.project_id, e.environment_id),
            Self::BuildRegistered(e) => {
                Address { kind: StreamKind::Build, stream: e.build_id.0, correlation: e.build_id.0, boundary: None }
            }
            Self::DeploymentRequested(e) => deployment(&e.of),
            Self::DeploymentRefused(e) => Address {
                kind: StreamKind::Deployment,
                stream: e.deployment_id.0,
                correlation: e.build_id.0,
                boundary: None,
            },
            Self::DeploymentPromoted(e) => deployment(&e.of),
            Self::DeploymentMovedUp(e) => deployment(&e.of),
            Self::DeploymentPullStarted(e) => deployment(&e.of),
            Self::DeploymentDelayed(e) => deployment(&e.of),
            Self::DeploymentStrayStopped(e) => deployment(&e.of),
            Self::DeploymentPrepared(e) => deployment(&e.of),
            Self::DeploymentStarted(e) => deployment(&e.of),
            Self::DeploymentStopRequested(e) => deployment(&e.of),
            Self::DeploymentStopped(e) => deployment(&e.of),
            Self::DeploymentSucceeded(e) => deployment(&e.of),
            Self::DeploymentFailed(e) => deployment(&e.of),
            Self::DeploymentLost(e) => deployment(&e.of),
            Self::DeploymentResolved(e) => deployment(&e.of),
            Self::MessagePosted(e) => Address {
                kind: StreamKind::Message,
                stream: message_stream(e.build_id),
                correlation: e.build_id.0,
                boundary: None,
            },
        }
    }
}

/// An event as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Gap-free position in the log, in commit order.
    pub position: i64,
    /// Its id.
    pub event_id: EventId,
    /// Its version in its stream.
    pub version: i32,
    /// The database's clock at the append: the time that people see.
    pub recorded_at: DateTime<Utc>,
    /// Who caused it.
    pub actor: Actor,
    /// What happened.
    pub event: Event,
}
