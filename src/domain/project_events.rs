//! What can happen to a project and its environments, as it is recorded: the payloads and the facts in them.
//!
//! **Invariant:** these are the bytes of the log. What they mean is in [`project`](super::project).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build_events::Entry;
use super::ci_rules::CiRules;
use super::ids::*;
use super::names::ImageRef;
use super::payload::Payload;

/// Recorded when somebody set up a project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the project's; see Project")]
pub struct ProjectCreated {
    pub project_id: ProjectId,
    pub slug: String,
    pub name: String,
    pub image: ImageRef,
    pub channel: String,
    pub link_key: String,
}

/// Recorded when a project got another display name. Older messages keep the old one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectRenamed {
    pub project_id: ProjectId,
    pub name: String,
}

/// Recorded when a project's deployment image was changed; presses from then on run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectImageChanged {
    pub project_id: ProjectId,
    pub image: ImageRef,
}

/// Recorded when a project's messages were directed to another Slack channel; older messages stay where they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectChannelChanged {
    pub project_id: ProjectId,
    pub channel: String,
}

/// Recorded when it was changed how long a project's deployments may run; presses from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectTimeLimitChanged {
    pub project_id: ProjectId,
    pub minutes: u32,
}

/// Recorded when it was changed how much of a project's deployments' output is kept; presses from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectLogLimitChanged {
    pub project_id: ProjectId,
    pub mebibytes: u32,
}

/// Recorded when it was changed how long a project's deployments may fail to start before they are given up; presses
/// from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectStartPatienceChanged {
    pub project_id: ProjectId,
    pub minutes: u32,
}

/// Recorded when it was changed how long a project's deployments may clean up after SIGTERM before SIGKILL; presses
/// from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectStopGraceChanged {
    pub project_id: ProjectId,
    pub seconds: u32,
}

/// Recorded when it was changed what is done while the registry can't say whether a moving tag has moved; presses from
/// then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectUncheckedImageChanged {
    pub project_id: ProjectId,
    pub then: Unchecked,
}

/// What is done with an image of a moving tag that is at hand, while the registry can't say whether there is a newer
/// one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unchecked {
    /// The deployment fails: yesterday's image is not what was asked for.
    #[default]
    Fail,
    /// It runs, and its line says so.
    Run,
}

/// Recorded when it was changed after how many hours whoever forgot a lock is reminded of it, and how often from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectLockReminderChanged {
    /// Whose locks, those of its environments included.
    pub project_id: ProjectId,
    /// Hours; none are never reminded.
    pub hours: Option<u32>,
}

/// Recorded when it was changed how long what a project's deployments print is kept. What is older goes soon after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectOutputKeptChanged {
    /// Whose output.
    pub project_id: ProjectId,
    /// So many days from the end of each; none keep it for ever.
    pub days: Option<u32>,
}

/// Recorded when it was changed whether output of a project, or anybody, may be erased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectHoldChanged {
    /// Which project.
    pub project_id: ProjectId,
    /// Why nothing is erased, in the operator's words; none ends that.
    pub reason: Option<String>,
}

/// Recorded when it was changed which params a project's builds may carry; announcements from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectParamsChanged {
    /// Whose builds.
    pub project_id: ProjectId,
    /// Their names; none lets all pass that don't change how programs run.
    pub params: Option<Vec<String>>,
}

/// Recorded when all links to a project's logs made so far were declared void; later builds use the new key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectLinksRevoked {
    pub project_id: ProjectId,
    pub link_key: String,
}

/// Recorded when a project was closed: no new builds, no new deployments; its history stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct ProjectArchived {
    pub project_id: ProjectId,
}

/// Recorded when a token for CI was made. The token itself was shown once and is kept nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokenIssued {
    /// Whose token.
    pub project_id: ProjectId,
    /// Its public id.
    pub token_id: TokenId,
    /// What the operator called it.
    pub label: String,
    /// SHA-256 of the token, hex. The token has 256 random bits, so its digest gives nothing away.
    pub digest: String,
}

/// Recorded when a token stopped being accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct TokenRevoked {
    pub project_id: ProjectId,
    pub token_id: TokenId,
}

/// Recorded when the credentials for pulling from a registry were set; the password is kept encrypted elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryCredentialsSet {
    /// Whose credentials.
    pub project_id: ProjectId,
    /// Host and port of the registry, as in image references.
    pub registry: String,
    /// The login name.
    pub username: String,
    /// Which stored value.
    pub secret: SecretRef,
}

/// Recorded when the credentials for a registry were removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct RegistryCredentialsUnset {
    pub project_id: ProjectId,
    pub registry: String,
}

/// Recorded when the secret that a CI system's webhooks are believed by was set; it is kept encrypted elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CiSecretSet {
    /// Whose secret.
    pub project_id: ProjectId,
    /// The CI system, by the name in its address.
    pub provider: String,
    /// Which stored value.
    pub secret: SecretRef,
    /// The value before this one, where it is still accepted.
    pub previous: Option<SecretRef>,
}

/// Recorded when a project stopped taking a CI system's webhooks; its rules are forgotten with the secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct CiUnset {
    pub project_id: ProjectId,
    pub provider: String,
}

/// Recorded when it was changed which of a CI system's reports make builds, and how; reports from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct CiRulesChanged {
    pub project_id: ProjectId,
    pub provider: String,
    pub rules: CiRules,
}

/// Recorded when an environment was added to a project. Builds registered from then on get a button for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentCreated {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub name: String,
    pub position: i32,
}

/// Recorded when an environment got another name. Older messages keep the old one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentRenamed {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub name: String,
}

/// Recorded when an environment's place among the buttons was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentMoved {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub position: i32,
}

/// Recorded when it was changed whether a press for an environment is asked back first. Builds registered from then on
/// have such buttons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentProtectionChanged {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub protected: bool,
}

/// Recorded when it was changed whether a press takes the place of those that wait in an environment; presses from then
/// on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentSupersedingChanged {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub superseding: bool,
}

/// Recorded when it was changed whether a failure there is shown in the channel too, beside the thread under its build's
/// message; failures from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentBroadcastingChanged {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub broadcasting: bool,
}

/// Recorded when it was changed whether each deployment locks an environment for whoever had it deployed; deployments that
/// begin from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentLockingChanged {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub locking: bool,
}

/// Recorded when an environment was closed: its buttons on older messages are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentArchived {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
}

/// Recorded when a variable of an environment got a value that anybody may read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct VariableSet {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub name: String,
    pub value: String,
}

/// Recorded when a variable of an environment got a secret value, which is kept encrypted elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct SecretSet {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub name: String,
    pub secret: SecretRef,
}

/// Recorded when a variable of an environment, secret or not, was removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct VariableUnset {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub name: String,
}

/// What the log may know of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Counts the values that this name has had, from 1.
    pub version: i32,
    /// HMAC-SHA256 of the value under a key of this installation, first 8 bytes, hex: tells equal values from changed
    /// ones, and can't be guessed without the key.
    pub fingerprint: String,
}

const PROJECT: ProjectId = ProjectId(Uuid::from_u128(0x1));
const ENVIRONMENT: EnvironmentId = EnvironmentId(Uuid::from_u128(0x2));
const TOKEN: TokenId = TokenId(Uuid::from_u128(0x3));

fn secret() -> SecretRef {
    SecretRef { version: 2, fingerprint: "9f86d081884c7d65".to_owned() }
}

fn rules() -> CiRules {
    let list = |text: &str| vec![text.to_owned()];
    let entry = |name: &str, value: &str| vec![Entry { name: name.into(), value: value.into() }];
    CiRules {
        events: list("workflow_run"),
        repositories: list("octocat/*"),
        branches: list("main"),
        tags: list("v*"),
        workflows: list("CI"),
        conclusions: list("success"),
        forks: false,
        name: Some("{branch}-{number}".into()),
        params: entry("DOCKER_TAG", "{commit}"),
        metadata: entry("Run", "{url}"),
        fields: entry("branch", "/build/ref"),
    }
}

macro_rules! examples {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $(impl Payload for $name {
            fn example() -> Self { Self { $($field: $value.into()),* } }
        })*
    };
}

impl Payload for ProjectCreated {
    fn example() -> Self {
        Self {
            project_id: PROJECT,
            slug: "api".into(),
            name: "Api".into(),
            image: image("registry.example.com/api/deploy:1"),
            channel: "C0123456789".into(),
            link_key: "5f2c9a01-1".into(),
        }
    }
}

fn image(text: &str) -> ImageRef {
    ImageRef::parse(text).expect("the example's image is well formed")
}

examples! {
    ProjectRenamed { project_id: PROJECT, name: "Public API" }
    ProjectImageChanged { project_id: PROJECT, image: image("registry.example.com/api/deploy:2") }
    ProjectChannelChanged { project_id: PROJECT, channel: "C0987654321" }
    ProjectTimeLimitChanged { project_id: PROJECT, minutes: 90_u32 }
    ProjectLogLimitChanged { project_id: PROJECT, mebibytes: 32_u32 }
    ProjectStartPatienceChanged { project_id: PROJECT, minutes: 20_u32 }
    ProjectStopGraceChanged { project_id: PROJECT, seconds: 120_u32 }
    ProjectUncheckedImageChanged { project_id: PROJECT, then: Unchecked::Run }
    ProjectParamsChanged { project_id: PROJECT, params: Some(vec!["DOCKER_TAG".to_owned()]) }
    ProjectLinksRevoked { project_id: PROJECT, link_key: "5f2c9a01-2" }
    ProjectArchived { project_id: PROJECT }
    ProjectLockReminderChanged { project_id: PROJECT, hours: Some(24) }
    ProjectOutputKeptChanged { project_id: PROJECT, days: Some(90) }
    ProjectHoldChanged { project_id: PROJECT, reason: Some("case 7 of 2026".to_owned()) }
    TokenIssued { project_id: PROJECT, token_id: TOKEN, label: "CircleCI", digest: "0".repeat(64) }
    TokenRevoked { project_id: PROJECT, token_id: TOKEN }
    RegistryCredentialsSet { project_id: PROJECT, registry: "registry.example.com", username: "puller", secret: secret() }
    RegistryCredentialsUnset { project_id: PROJECT, registry: "registry.example.com" }
    CiSecretSet { project_id: PROJECT, provider: "github", secret: secret(), previous: Some(SecretRef { version: 1, ..secret() }) }
    CiUnset { project_id: PROJECT, provider: "github" }
    CiRulesChanged { project_id: PROJECT, provider: "github", rules: rules() }
    EnvironmentCreated { project_id: PROJECT, environment_id: ENVIRONMENT, name: "Production", position: 1 }
    EnvironmentRenamed { project_id: PROJECT, environment_id: ENVIRONMENT, name: "Live" }
    EnvironmentMoved { project_id: PROJECT, environment_id: ENVIRONMENT, position: 3 }
    EnvironmentProtectionChanged { project_id: PROJECT, environment_id: ENVIRONMENT, protected: true }
    EnvironmentSupersedingChanged { project_id: PROJECT, environment_id: ENVIRONMENT, superseding: true }
    EnvironmentBroadcastingChanged { project_id: PROJECT, environment_id: ENVIRONMENT, broadcasting: true }
    EnvironmentLockingChanged { project_id: PROJECT, environment_id: ENVIRONMENT, locking: true }
    EnvironmentArchived { project_id: PROJECT, environment_id: ENVIRONMENT }
    VariableSet { project_id: PROJECT, environment_id: ENVIRONMENT, name: "REGION", value: "eu-central-1" }
    SecretSet { project_id: PROJECT, environment_id: ENVIRONMENT, name: "DATABASE_URL", secret: secret() }
    VariableUnset { project_id: PROJECT, environment_id: ENVIRONMENT, name: "REGION" }
}
