//! What can happen to a build, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log. What they mean is in [`build`](super::build).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::*;
use super::payload::Payload;

/// Recorded when CI announced a build. It carries everything that its Slack message shows of the project, as it was
/// then: later changes to the project don't alter older messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BuildRegistered {
    /// The build.
    pub build_id: BuildId,
    /// Its project.
    pub project_id: ProjectId,
    /// The project's display name.
    pub project_name: String,
    /// The build's name, unique in its project.
    pub name: String,
    /// What the deployment's container gets, in the order given.
    pub params: Vec<Entry>,
    /// What the message shows, in the order given.
    pub metadata: Vec<Entry>,
    /// The open environments, in the order of their buttons.
    pub environments: Vec<ButtonFor>,
    /// Slack channel of the message.
    pub channel: String,
    /// Where this installation is reached: the base of the message's links.
    pub public_url: String,
    /// Id of the key that the message's links are made with.
    pub link_key: String,
    /// The CI run that it was made of, when a webhook announced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CiRun>,
    /// What it was built of, as far as CI told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// What a build was built of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// The repository's address on the web, without user and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl Source {
    /// One, where anything is told.
    pub fn of(repository: Option<String>, commit: Option<String>) -> Option<Self> {
        (repository.is_some() || commit.is_some()).then_some(Self { repository, commit })
    }
}

/// An example of one.
pub(super) fn source() -> Source {
    Source { repository: Some("https://github.com/harbour/lighthouse".into()), commit: Some("9c3f1a2b".repeat(5)) }
}

/// A run of a CI system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CiRun {
    /// What its attempts have in common: repository, workflow and number.
    pub of: String,
    /// What tells its attempts apart.
    pub id: String,
}

/// A name with a value, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

/// An environment that a build's message offers a button for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ButtonFor {
    /// The environment.
    pub id: EnvironmentId,
    /// Its name then.
    pub name: String,
    /// Whether a press is asked back first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub protected: bool,
}

impl Payload for BuildRegistered {
    fn example() -> Self {
        let entry = |name: &str, value: &str| Entry { name: name.into(), value: value.into() };
        Self {
            build_id: BuildId(Uuid::from_u128(0x4)),
            project_id: ProjectId(Uuid::from_u128(0x1)),
            project_name: "Api".into(),
            name: "master-94657536".into(),
            params: vec![entry("DOCKER_TAG", "94657536")],
            metadata: vec![entry("Job url", "https://ci.example.com/job/7")],
            environments: vec![ButtonFor {
                id: EnvironmentId(Uuid::from_u128(0x2)),
                name: "Production".into(),
                protected: true,
            }],
            channel: "C0123456789".into(),
            public_url: "https://coolops.example.com".into(),
            link_key: "5f2c9a01-1".into(),
            run: Some(CiRun { of: "harbour/lighthouse CI 42".into(), id: "7700123 1".into() }),
            source: Some(source()),
        }
    }
}
