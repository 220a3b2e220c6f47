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
use super::erasure_events::{OutputErased, PersonErased};
use super::fork_events::ForkDecided;
use super::ids::*;
use super::lock_events::*;
use super::message::*;
use super::payload::Payload;
use super::person_events::NotificationsChosen;
use super::project_events::*;
use super::rights_events::{AdministratorsChanged, EnvironmentRightsChanged};
use super::upcast;

macro_rules! events {
    (
        alone { $($alone:ident $alone_literal:literal $alone_version:literal,)* }
        $(
            $(#[$doc:meta])*
            $name:ident($group:ident) { $($variant:ident($payload:ident) $literal:literal $version:literal,)* }
        )*
    ) => {
        /// Everything that can have happened, by what it happened to.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        #[expect(missing_docs, reason = "each is documented on what it carries")]
        pub enum Event {
            $($name($group),)*
            $($alone($alone),)*
        }

        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize)]
            #[serde(untagged)]
            #[expect(missing_docs, reason = "each variant is documented on the struct it carries")]
            pub enum $group { $($variant($payload),)* }

            $(impl From<$payload> for Event {
                fn from(event: $payload) -> Self { Self::$name($group::$variant(event)) }
            })*
        )*

        $(impl From<$alone> for Event {
            fn from(event: $alone) -> Self { Self::$alone(event) }
        })*

        impl Event {
            /// Every wire name with the schema version that this program writes.
            pub const TYPES: &'static [(&'static str, i16)] =
                &[$($(($literal, $version),)*)* $(($alone_literal, $alone_version),)*];

            /// Every wire name with the schema version that this program writes and the kind of stream that it stands in.
            pub fn streams() -> Vec<(&'static str, i16, StreamKind)> {
                let stream = |event: Self| event.address().kind;
                vec![
                    $($(($literal, $version, stream(<$payload as Payload>::example().into())),)*)*
                    $(($alone_literal, $alone_version, stream(<$alone as Payload>::example().into())),)*
                ]
            }

            /// The wire name and schema version, as stored and published.
            pub fn kind(&self) -> (&'static str, i16) {
                match self {
                    $($(Self::$name($group::$variant(_)) => ($literal, $version),)*)*
                    $(Self::$alone(_) => ($alone_literal, $alone_version),)*
                }
            }

            /// Reads a stored payload.
            ///
            /// # Errors
            /// An unknown type or version, or a payload that doesn't fit it: a reader must stop there, never skip.
            pub fn parse(kind: &str, version: i16, payload: &str) -> Result<Self, UnreadableEvent> {
                let fail = |why| UnreadableEvent::Malformed { kind: kind.to_owned(), version, why };
                match (kind, version) {
                    $($(($literal, $version) => {
                        serde_json::from_str::<$payload>(payload).map(Self::from).map_err(fail)
                    })*)*
                    $(($alone_literal, $alone_version) => {
                        serde_json::from_str::<$alone>(payload).map(Self::from).map_err(fail)
                    })*
                    _ => match upcast::step(kind, version) {
                        Some(step) => {
                            let next = step(serde_json::from_str(payload).map_err(fail)?);
                            // What is wrong with it is told by the version that is stored.
                            Self::parse(kind, version + 1, &next.to_string()).map_err(|error| match error {
                                UnreadableEvent::Malformed { why, .. } => fail(why),
                                unknown @ UnreadableEvent::Unknown { .. } => unknown,
                            })
                        }
                        None => Err(UnreadableEvent::Unknown { kind: kind.to_owned(), version }),
                    },
                }
            }
        }

        /// The published contract: every released type and version with its schema and an example.
        pub fn contract() -> Vec<Contract> {
            vec![
                $($(Contract::of::<$payload>($literal, $version),)*)*
                $(Contract::of::<$alone>($alone_literal, $alone_version),)*
                // Log chunks live in the output journal, apart from the log only because of volume.
                Contract::of::<DeploymentLogged>("deployment_logged", 2),
            ]
        }
    };
}

events! {
    alone {
        BuildRegistered "build_registered" 1,
        MessagePosted "message_posted" 1,
        NotificationsChosen "notifications_chosen" 1,
        OutputErased "output_erased" 1,
    }
    /// What changes the settings of a project or of its environments.
    Settings(SettingsEvent) {
        ProjectCreated(ProjectCreated) "project_created" 1,
        ProjectRenamed(ProjectRenamed) "project_renamed" 1,
        ProjectImageChanged(ProjectImageChanged) "project_image_changed" 1,
        ProjectChannelChanged(ProjectChannelChanged) "project_channel_changed" 1,
        ProjectTimeLimitChanged(ProjectTimeLimitChanged) "project_time_limit_changed" 1,
        ProjectLogLimitChanged(ProjectLogLimitChanged) "project_log_limit_changed" 1,
        ProjectStartPatienceChanged(ProjectStartPatienceChanged) "project_start_patience_changed" 1,
        ProjectStopGraceChanged(ProjectStopGraceChanged) "project_stop_grace_changed" 1,
        ProjectUncheckedImageChanged(ProjectUncheckedImageChanged) "project_unchecked_image_changed" 1,
        ProjectLockReminderChanged(ProjectLockReminderChanged) "project_lock_reminder_changed" 1,
        ProjectLocked(ProjectLocked) "project_locked" 1,
        ProjectUnlocked(ProjectUnlocked) "project_unlocked" 1,
        ProjectOutputKeptChanged(ProjectOutputKeptChanged) "project_output_kept_changed" 1,
        ProjectHoldChanged(ProjectHoldChanged) "project_hold_changed" 1,
        ProjectParamsChanged(ProjectParamsChanged) "project_params_changed" 1,
        ProjectLinksRevoked(ProjectLinksRevoked) "project_links_revoked" 1,
        ProjectArchived(ProjectArchived) "project_archived" 1,
        TokenIssued(TokenIssued) "token_issued" 1,
        TokenRevoked(TokenRevoked) "token_revoked" 1,
        RegistryCredentialsSet(RegistryCredentialsSet) "registry_credentials_set" 1,
        RegistryCredentialsUnset(RegistryCredentialsUnset) "registry_credentials_unset" 1,
        CiSecretSet(CiSecretSet) "ci_secret_set" 1,
        CiUnset(CiUnset) "ci_unset" 1,
        CiRulesChanged(CiRulesChanged) "ci_rules_changed" 1,
        EnvironmentCreated(EnvironmentCreated) "environment_created" 1,
        EnvironmentRenamed(EnvironmentRenamed) "environment_renamed" 1,
        EnvironmentMoved(EnvironmentMoved) "environment_moved" 1,
        EnvironmentProtectionChanged(EnvironmentProtectionChanged) "environment_protection_changed" 1,
        EnvironmentSupersedingChanged(EnvironmentSupersedingChanged) "environment_superseding_changed" 1,
        EnvironmentBroadcastingChanged(EnvironmentBroadcastingChanged) "environment_broadcasting_changed" 1,
        EnvironmentLockingChanged(EnvironmentLockingChanged) "environment_locking_changed" 1,
        EnvironmentRightsChanged(EnvironmentRightsChanged) "environment_rights_changed" 1,
        EnvironmentLocked(EnvironmentLocked) "environment_locked" 1,
        EnvironmentUnlocked(EnvironmentUnlocked) "environment_unlocked" 1,
        EnvironmentArchived(EnvironmentArchived) "environment_archived" 1,
        VariableSet(VariableSet) "variable_set" 1,
        SecretSet(SecretSet) "secret_set" 1,
        VariableUnset(VariableUnset) "variable_unset" 1,
    }
    /// What goes for everything there is.
    Installation(InstallationEvent) {
        EverythingLocked(EverythingLocked) "everything_locked" 1,
        EverythingUnlocked(EverythingUnlocked) "everything_unlocked" 1,
        AdministratorsChanged(AdministratorsChanged) "administrators_changed" 1,
        ForkDecided(ForkDecided) "fork_decided" 1,
        PersonErased(PersonErased) "person_erased" 1,
    }
    /// What happens to one press and its deployment.
    Deployment(DeploymentEvent) {
        Requested(DeploymentRequested) "deployment_requested" 2,
        Refused(DeploymentRefused) "deployment_refused" 2,
        Promoted(DeploymentPromoted) "deployment_promoted" 1,
        MovedUp(DeploymentMovedUp) "deployment_moved_up" 1,
        LockedOut(DeploymentLockedOut) "deployment_locked_out" 1,
        PullStarted(DeploymentPullStarted) "deployment_pull_started" 1,
        Delayed(DeploymentDelayed) "deployment_delayed" 1,
        StrayStopped(DeploymentStrayStopped) "deployment_stray_stopped" 1,
        Prepared(DeploymentPrepared) "deployment_prepared" 1,
        Started(DeploymentStarted) "deployment_started" 1,
        StopRequested(DeploymentStopRequested) "deployment_stop_requested" 1,
        Stopped(DeploymentStopped) "deployment_stopped" 1,
        Succeeded(DeploymentSucceeded) "deployment_succeeded" 1,
        Failed(DeploymentFailed) "deployment_failed" 1,
        Lost(DeploymentLost) "deployment_lost" 1,
        Resolved(DeploymentResolved) "deployment_resolved" 1,
    }
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// What became of a deployment's output after its end.
    Output,
    /// What a person in Slack chose.
    Person,
    /// What goes for everything there is.
    Installation,
}

impl StreamKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Project,
        Self::Environment,
        Self::Build,
        Self::Deployment,
        Self::Message,
        Self::Output,
        Self::Person,
        Self::Installation,
    ];

    /// That of a stored name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Environment => "environment",
            Self::Build => "build",
            Self::Deployment => "deployment",
            Self::Message => "message",
            Self::Output => "output",
            Self::Person => "person",
            Self::Installation => "installation",
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
    /// The build, project, person or installation whose story it is part of: what a build's events are read by.
    pub correlation: Uuid,
    /// The consistency boundary that it moves: a project's configuration, an environment's line, or what goes for everything.
    pub boundary: Option<Uuid>,
}

impl Event {
    /// The seal of a deployment's output, for the events that carry one.
    pub fn seal(&self) -> Option<(DeploymentId, &LogSeal)> {
        match self {
            Self::Deployment(DeploymentEvent::Succeeded(e)) => Some((e.of.deployment_id, &e.log)),
            Self::Deployment(DeploymentEvent::Failed(e)) => Some((e.of.deployment_id, &e.log)),
            Self::Deployment(DeploymentEvent::Lost(e)) => Some((e.of.deployment_id, &e.log)),
            Self::Deployment(DeploymentEvent::Stopped(e)) => e.log.as_ref().map(|log| (e.of.deployment_id, log)),
            _ => None,
        }
    }

    /// What tells this event from others of its stream that may follow from one cause: its type, and for those that may
    /// come again what they say.
    pub fn occasion(&self) -> String {
        let kind = self.kind().0;
        match self {
            Self::Deployment(DeploymentEvent::MovedUp(e)) => format!("{kind} {}", e.behind.deployment_id),
            Self::Deployment(DeploymentEvent::LockedOut(e)) => {
                let until = e.lock.until.map_or(0, |until| until.timestamp_micros());
                let scope = match e.lock.scope {
                    Scope::Environment => "",
                    Scope::Project => " of its project",
                    Scope::Everything => " of everything",
                };
                // Why is somebody's words, which an id must not be made of.
                format!("{kind}{scope} {} {until}", e.lock.since.timestamp_micros())
            }
            Self::Deployment(DeploymentEvent::Delayed(e)) => format!("{kind} {}", e.times),
            Self::Deployment(DeploymentEvent::StrayStopped(e)) => format!("{kind} {}", e.container_id),
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
            Self::Settings(event) => match event {
                SettingsEvent::ProjectCreated(e) => project(e.project_id),
                SettingsEvent::ProjectRenamed(e) => project(e.project_id),
                SettingsEvent::ProjectImageChanged(e) => project(e.project_id),
                SettingsEvent::ProjectChannelChanged(e) => project(e.project_id),
                SettingsEvent::ProjectTimeLimitChanged(e) => project(e.project_id),
                SettingsEvent::ProjectLogLimitChanged(e) => project(e.project_id),
                SettingsEvent::ProjectStartPatienceChanged(e) => project(e.project_id),
                SettingsEvent::ProjectStopGraceChanged(e) => project(e.project_id),
                SettingsEvent::ProjectUncheckedImageChanged(e) => project(e.project_id),
                SettingsEvent::ProjectLockReminderChanged(e) => project(e.project_id),
                SettingsEvent::ProjectLocked(e) => project(e.project_id),
                SettingsEvent::ProjectUnlocked(e) => project(e.project_id),
                SettingsEvent::ProjectOutputKeptChanged(e) => project(e.project_id),
                SettingsEvent::ProjectHoldChanged(e) => project(e.project_id),
                SettingsEvent::ProjectParamsChanged(e) => project(e.project_id),
                SettingsEvent::ProjectLinksRevoked(e) => project(e.project_id),
                SettingsEvent::ProjectArchived(e) => project(e.project_id),
                SettingsEvent::TokenIssued(e) => project(e.project_id),
                SettingsEvent::TokenRevoked(e) => project(e.project_id),
                SettingsEvent::RegistryCredentialsSet(e) => project(e.project_id),
                SettingsEvent::RegistryCredentialsUnset(e) => project(e.project_id),
                SettingsEvent::CiSecretSet(e) => project(e.project_id),
                SettingsEvent::CiUnset(e) => project(e.project_id),
                SettingsEvent::CiRulesChanged(e) => project(e.project_id),
                SettingsEvent::EnvironmentCreated(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentRenamed(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentMoved(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentProtectionChanged(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentSupersedingChanged(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentBroadcastingChanged(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentLockingChanged(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentRightsChanged(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentLocked(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentUnlocked(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::EnvironmentArchived(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::VariableSet(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::SecretSet(e) => environment(e.project_id, e.environment_id),
                SettingsEvent::VariableUnset(e) => environment(e.project_id, e.environment_id),
            },
            Self::Installation(_) => {
                let stream = installation_stream();
                Address { kind: StreamKind::Installation, stream, correlation: stream, boundary: Some(stream) }
            }
            Self::BuildRegistered(e) => {
                Address { kind: StreamKind::Build, stream: e.build_id.0, correlation: e.build_id.0, boundary: None }
            }
            Self::Deployment(event) => match event {
                DeploymentEvent::Requested(e) => deployment(&e.of),
                DeploymentEvent::Refused(e) => Address {
                    kind: StreamKind::Deployment,
                    stream: e.deployment_id.0,
                    correlation: e.build_id.0,
                    boundary: None,
                },
                DeploymentEvent::Promoted(e) => deployment(&e.of),
                DeploymentEvent::MovedUp(e) => deployment(&e.of),
                DeploymentEvent::LockedOut(e) => deployment(&e.of),
                DeploymentEvent::PullStarted(e) => deployment(&e.of),
                DeploymentEvent::Delayed(e) => deployment(&e.of),
                DeploymentEvent::StrayStopped(e) => deployment(&e.of),
                DeploymentEvent::Prepared(e) => deployment(&e.of),
                DeploymentEvent::Started(e) => deployment(&e.of),
                DeploymentEvent::StopRequested(e) => deployment(&e.of),
                DeploymentEvent::Stopped(e) => deployment(&e.of),
                DeploymentEvent::Succeeded(e) => deployment(&e.of),
                DeploymentEvent::Failed(e) => deployment(&e.of),
                DeploymentEvent::Lost(e) => deployment(&e.of),
                DeploymentEvent::Resolved(e) => deployment(&e.of),
            },
            Self::MessagePosted(e) => Address {
                kind: StreamKind::Message,
                stream: message_stream(e.build_id),
                correlation: e.build_id.0,
                boundary: None,
            },
            Self::OutputErased(e) => Address {
                kind: StreamKind::Output,
                stream: output_stream(e.of.deployment_id),
                correlation: e.of.build_id.0,
                boundary: None,
            },
            Self::NotificationsChosen(e) => {
                let stream = person_stream(&e.by.team, &e.by.user);
                Address { kind: StreamKind::Person, stream, correlation: stream, boundary: None }
            }
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
