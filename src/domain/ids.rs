//! One type per kind of id, so that a build's id can't be passed where a deployment's is meant.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(
            /// The bare id, for the store and the wire.
            pub Uuid,
        );

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A project: one repository's deployments, one Slack channel.
    ProjectId,
    /// A place that builds are deployed to.
    EnvironmentId,
    /// A build that CI announced.
    BuildId,
    /// One press of a button, accepted or refused.
    DeploymentId,
    /// A project's API token (the id is public, the token is not).
    TokenId,
    /// A stored event; also what makes its append safe to repeat.
    EventId,
    /// An owed piece of work.
    JobId,
    /// A webhook of a CI system that a project took.
    DeliveryId,
    /// What can be locked: an environment or a project, by its own id, or everything.
    LockableId,
    /// Something that is told once: in a direct message, or in the thread under a build's message.
    ReportId,
    /// A key that private texts are encrypted under.
    SubjectKeyId,
}

/// Namespace of every id that is derived from a name (UUIDv5): the same name gives the same id for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b1d_9d2c_58a4_4a7e_9a53_c001_0b50_0001);

fn derived(parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

impl ProjectId {
    /// The id of the project with this slug. Two projects can't share a slug because they would share a stream.
    pub fn of_slug(slug: &str) -> Self {
        Self(derived(&[b"project", slug.as_bytes()]))
    }
}

impl BuildId {
    /// The id of a project's build of that name: announcing it twice meets the same stream, so it is one build.
    pub fn of_name(project: ProjectId, name: &str) -> Self {
        Self(derived(&[b"build", project.0.as_bytes(), name.as_bytes()]))
    }
}

impl DeploymentId {
    /// The id of the deployment that a signed Slack request asks for: the same signed bytes are the same press.
    pub fn of_press(signature: &str, timestamp: &str) -> Self {
        Self(derived(&[b"press", signature.as_bytes(), timestamp.as_bytes()]))
    }
}

impl DeliveryId {
    /// The id of a provider's delivery to a project: delivered again, it is the same one. The body counts beside the
    /// provider's own name for it, because some share one name among several reports.
    pub fn of(project: Option<ProjectId>, provider: &str, name: &str, body: &[u8]) -> Self {
        let project = project.map_or(Uuid::nil(), |project| project.0);
        Self(derived(&[b"delivery", project.as_bytes(), provider.as_bytes(), name.as_bytes(), body]))
    }
}

impl ReportId {
    /// The id of what is told of a cause in one place.
    pub fn of(cause: Uuid, place: &str) -> Self {
        Self(derived(&[b"report", cause.as_bytes(), place.as_bytes()]))
    }
}

impl JobId {
    /// The id of the one job of that kind about that thing.
    pub fn of(kind: &str, key: Uuid) -> Self {
        Self(derived(&[b"job", kind.as_bytes(), key.as_bytes()]))
    }
}

impl EventId {
    /// The id of the event of one kind that follows from a cause, so that repeating the work repeats the id.
    pub fn following(cause: Uuid, what: &str) -> Self {
        Self(derived(&[b"event", cause.as_bytes(), what.as_bytes()]))
    }
}

impl LockableId {
    /// Everything there is.
    pub fn everything() -> Self {
        Self(installation_stream())
    }
}

impl From<EnvironmentId> for LockableId {
    fn from(id: EnvironmentId) -> Self {
        Self(id.0)
    }
}

impl From<ProjectId> for LockableId {
    fn from(id: ProjectId) -> Self {
        Self(id.0)
    }
}

/// The stream of what goes for everything there is.
pub fn installation_stream() -> Uuid {
    derived(&[b"installation"])
}

/// The stream that a person's choices are kept in.
pub fn person_stream(team: &str, user: &str) -> Uuid {
    derived(&[b"person", team.as_bytes(), user.as_bytes()])
}

/// The stream of what became of a deployment's output after its end.
pub fn output_stream(deployment: DeploymentId) -> Uuid {
    derived(&[b"output", deployment.0.as_bytes()])
}

/// The stream that a build's message facts are kept in: apart from the build's own, so that posting never conflicts
/// with deciding.
pub fn message_stream(build: BuildId) -> Uuid {
    derived(&[b"message", build.0.as_bytes()])
}
