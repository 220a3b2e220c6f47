//! A project and its environments: what is configured.
//!
//! The events of a project and of its environments fold into one [`Project`]; every change is decided on it
//! ([`settings`](super::settings)).

use serde::{Deserialize, Serialize};

use super::ci_rules::CiRules;
use super::event::{Event, SettingsEvent};
use super::ids::*;
use super::lock_events::{Lock, Unlocked};
use super::names::{ImageRef, Invalid};
use super::private;
pub use super::project_events::*;
use super::rights::Rights;

/// How long a deployment may run unless the project says otherwise.
pub const TIME_LIMIT_MINUTES: u32 = 60;
/// How much of a deployment's output is kept unless the project says otherwise.
pub const LOG_LIMIT_MEBIBYTES: u32 = 16;

/// How long a deployment may fail to start unless the project says otherwise.
pub const START_PATIENCE_MINUTES: u32 = 10;
/// How long a container may clean up after SIGTERM unless the project says otherwise.
pub const STOP_GRACE_SECONDS: u32 = 10;

/// After how many hours whoever forgot a lock is reminded of it unless the project says otherwise.
pub const LOCK_REMINDER_HOURS: u32 = 24;

#[expect(clippy::unnecessary_wraps, reason = "it is what serde takes for a missing field")]
fn lock_reminder_hours() -> Option<u32> {
    Some(LOCK_REMINDER_HOURS)
}

/// A project as its events leave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its id, derived from the slug.
    pub id: ProjectId,
    /// What it is called on the command line; never changes.
    pub slug: String,
    /// What people read.
    pub name: String,
    /// What a press runs.
    pub image: ImageRef,
    /// Slack channel id (`C…`) or name.
    pub channel: String,
    /// How long a deployment may run.
    pub time_limit_minutes: u32,
    /// How much of a deployment's output is kept: half of it from the beginning, half from the end.
    pub log_limit_mebibytes: u32,
    /// How long a deployment may fail to start.
    pub start_patience_minutes: u32,
    /// How long a container may clean up after SIGTERM.
    pub stop_grace_seconds: u32,
    /// What is done while the registry can't say whether a moving tag has moved.
    pub unchecked_image: Unchecked,
    /// The params that its builds may carry; none: all that don't change how programs run.
    pub params: Option<Vec<String>>,
    /// After how many hours whoever forgot a lock is reminded of it; none: never.
    #[serde(default = "lock_reminder_hours")]
    pub lock_reminder_hours: Option<u32>,
    /// For how many days the output of its deployments is kept; none for ever.
    #[serde(default)]
    pub output_kept_days: Option<u32>,
    /// Why nothing of it may be erased; none when it may.
    #[serde(default)]
    pub hold: Option<String>,
    /// Who keeps others out of all its environments.
    #[serde(default)]
    pub lock: Option<Lock>,
    /// How the last such lock went.
    #[serde(default)]
    pub unlocked: Option<Unlocked>,
    /// Id of the key that log links are made with.
    pub link_key: String,
    /// Closed.
    pub archived: bool,
    /// Tokens, revoked ones included.
    pub tokens: Vec<Token>,
    /// Credentials for pulling.
    pub registries: Vec<Registry>,
    /// CI systems whose webhooks it takes.
    #[serde(default)]
    pub ci: Vec<Ci>,
    /// Environments in the order of their creation, archived ones included.
    pub environments: Vec<Environment>,
    /// Events in the project's own stream.
    pub version: i32,
}

/// A project's API token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "see TokenIssued")]
pub struct Token {
    pub id: TokenId,
    pub label: String,
    pub digest: String,
    pub revoked: bool,
}

/// Credentials for one registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "see RegistryCredentialsSet")]
pub struct Registry {
    pub host: String,
    pub username: String,
    pub secret: SecretRef,
}

/// How a project takes a CI system's webhooks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ci {
    /// The CI system, by the name in its address.
    pub provider: String,
    /// What its webhooks are believed by; without one none is.
    pub secret: Option<SecretRef>,
    /// The secret before that one, where it is still accepted.
    pub previous: Option<SecretRef>,
    /// Which reports make a build, and how.
    pub rules: CiRules,
}

/// A place that builds are deployed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// What people read.
    pub name: String,
    /// Its place among the buttons, lowest first.
    pub position: i32,
    /// A press for it is asked back first.
    #[serde(default)]
    pub protected: bool,
    /// A press takes the place of those that wait.
    #[serde(default)]
    pub superseding: bool,
    /// A failure is shown in the channel too.
    #[serde(default)]
    pub broadcasting: bool,
    /// Each deployment locks it for whoever had it deployed.
    #[serde(default)]
    pub locking: bool,
    /// Who may do what.
    #[serde(default)]
    pub rights: Rights,
    /// Who keeps others out of it.
    #[serde(default)]
    pub lock: Option<Lock>,
    /// How the last lock went.
    #[serde(default)]
    pub unlocked: Option<Unlocked>,
    /// Closed.
    pub archived: bool,
    /// What its deployments get, in the order of first setting.
    pub variables: Vec<Variable>,
    /// Events in its stream.
    pub version: i32,
}

/// A variable of an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, or where the value is.
    pub value: VariableValue,
}

/// A variable's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableValue {
    /// Readable by anybody who can see the project.
    Plain(String),
    /// Kept encrypted.
    Secret(SecretRef),
}

/// Why a change to a project was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum ProjectRefusal {
    #[error("the slug \"{0}\" is taken; choose another with --slug, or see it with: coolops project show {0}")]
    SlugTaken(String),
    #[error(
        "the project {0} is archived; tokens, links and logins can still be taken away, its output be held or let go of, and nothing else changes"
    )]
    Archived(String),
    #[error("there is an environment \"{0}\" already; choose another name")]
    EnvironmentExists(String),
    #[error("the project {project} has no environment \"{name}\"; it has: {known}")]
    NoEnvironment { project: String, name: String, known: String },
    #[error("the project {project} has no token \"{token}\"; see: coolops project token list {project}")]
    NoToken { project: String, token: String },
    #[error("several valid tokens are called \"{label}\"; name the one to revoke by its id: {ids}")]
    SeveralTokens { label: String, ids: String },
    #[error("somebody else has just set it; look at it, and set it again if yours is the right one")]
    Overtaken,
    #[error("no credentials are set for the registry \"{0}\"")]
    NoRegistry(String),
    #[error(
        "the project {project} takes no webhooks of {provider}; set it up with: coolops ci secret {project} {provider}"
    )]
    NoCi { project: String, provider: String },
    #[error("the environment {environment} has no variable {name}")]
    NoVariable { environment: String, name: String },
    #[error("{what} is {given}; give a number from {least} to {most}")]
    OutOfRange { what: &'static str, given: u32, least: u32, most: u32 },
    #[error("a project can have at most 100 environments; archive one first")]
    TooManyEnvironments,
    #[error("a right can name at most {0} people and groups; name a group instead")]
    TooManyNamed(usize),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Project {
    /// How it takes a CI system's webhooks.
    pub fn ci(&self, provider: &str) -> Option<&Ci> {
        self.ci.iter().find(|c| c.provider == provider)
    }

    fn ci_of(&mut self, provider: &str) -> &mut Ci {
        let at = self.ci.iter().position(|c| c.provider == provider).unwrap_or_else(|| {
            self.ci.push(Ci { provider: provider.to_owned(), ..Ci::default() });
            self.ci.len() - 1
        });
        &mut self.ci[at]
    }

    /// The project that its creation makes.
    pub fn created(event: &ProjectCreated) -> Self {
        Self {
            id: event.project_id,
            slug: event.slug.clone(),
            name: event.name.clone(),
            image: event.image.clone(),
            channel: event.channel.clone(),
            time_limit_minutes: TIME_LIMIT_MINUTES,
            log_limit_mebibytes: LOG_LIMIT_MEBIBYTES,
            start_patience_minutes: START_PATIENCE_MINUTES,
            stop_grace_seconds: STOP_GRACE_SECONDS,
            unchecked_image: Unchecked::default(),
            params: None,
            lock_reminder_hours: lock_reminder_hours(),
            output_kept_days: None,
            hold: None,
            lock: None,
            unlocked: None,
            link_key: event.link_key.clone(),
            archived: false,
            tokens: Vec::new(),
            registries: Vec::new(),
            ci: Vec::new(),
            environments: Vec::new(),
            version: 1,
        }
    }

    /// Visits what is private of it, where texts are opened: each names its own key.
    pub fn private(&mut self, visit: &mut private::Visit<'_>) {
        let anybody = private::Subject::Operator(String::new());
        self.hold.iter_mut().for_each(|reason| private::words(Some(&anybody), reason, visit));
        private::locks(&mut self.lock, &mut self.unlocked, visit);
        for environment in &mut self.environments {
            private::locks(&mut environment.lock, &mut environment.unlocked, visit);
            private::rights(&mut environment.rights, visit);
        }
    }

    /// The project after one more event of its own or of its environments; events of other things change nothing.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        let Event::Settings(event) = event else { return self };
        match event {
            SettingsEvent::ProjectCreated(_) => return self,
            SettingsEvent::ProjectRenamed(e) => self.name.clone_from(&e.name),
            SettingsEvent::ProjectImageChanged(e) => self.image = e.image.clone(),
            SettingsEvent::ProjectChannelChanged(e) => self.channel.clone_from(&e.channel),
            SettingsEvent::ProjectTimeLimitChanged(e) => self.time_limit_minutes = e.minutes,
            SettingsEvent::ProjectLogLimitChanged(e) => self.log_limit_mebibytes = e.mebibytes,
            SettingsEvent::ProjectStartPatienceChanged(e) => self.start_patience_minutes = e.minutes,
            SettingsEvent::ProjectStopGraceChanged(e) => self.stop_grace_seconds = e.seconds,
            SettingsEvent::ProjectUncheckedImageChanged(e) => self.unchecked_image = e.then,
            SettingsEvent::ProjectLockReminderChanged(e) => self.lock_reminder_hours = e.hours,
            SettingsEvent::ProjectOutputKeptChanged(e) => self.output_kept_days = e.days,
            SettingsEvent::ProjectHoldChanged(e) => self.hold.clone_from(&e.reason),
            SettingsEvent::ProjectLocked(e) => self.lock = Some(e.lock.clone()),
            SettingsEvent::ProjectUnlocked(e) => {
                self.lock = None;
                self.unlocked = Some(Unlocked { lock: e.lock.clone(), by: e.by.clone(), at: e.at });
            }
            SettingsEvent::ProjectParamsChanged(e) => self.params.clone_from(&e.params),
            SettingsEvent::ProjectLinksRevoked(e) => self.link_key.clone_from(&e.link_key),
            SettingsEvent::ProjectArchived(_) => self.archived = true,
            SettingsEvent::TokenIssued(e) => {
                self.tokens.push(Token {
                    id: e.token_id,
                    label: e.label.clone(),
                    digest: e.digest.clone(),
                    revoked: false,
                });
            }
            SettingsEvent::TokenRevoked(e) => {
                if let Some(token) = self.tokens.iter_mut().find(|t| t.id == e.token_id) {
                    token.revoked = true;
                }
            }
            SettingsEvent::RegistryCredentialsSet(e) => {
                self.registries.retain(|r| r.host != e.registry);
                self.registries.push(Registry {
                    host: e.registry.clone(),
                    username: e.username.clone(),
                    secret: e.secret.clone(),
                });
            }
            SettingsEvent::RegistryCredentialsUnset(e) => self.registries.retain(|r| r.host != e.registry),
            SettingsEvent::CiSecretSet(e) => {
                let ci = self.ci_of(&e.provider);
                ci.secret = Some(e.secret.clone());
                ci.previous.clone_from(&e.previous);
            }
            SettingsEvent::CiUnset(e) => self.ci.retain(|c| c.provider != e.provider),
            SettingsEvent::CiRulesChanged(e) => self.ci_of(&e.provider).rules = e.rules.clone(),
            SettingsEvent::EnvironmentCreated(e) => {
                self.environments.push(Environment {
                    id: e.environment_id,
                    name: e.name.clone(),
                    position: e.position,
                    protected: false,
                    superseding: false,
                    broadcasting: false,
                    locking: false,
                    rights: Rights::default(),
                    lock: None,
                    unlocked: None,
                    archived: false,
                    variables: Vec::new(),
                    version: 1,
                });
                return self;
            }
            SettingsEvent::EnvironmentRenamed(e) => {
                return self.change(e.environment_id, |env| env.name.clone_from(&e.name));
            }
            SettingsEvent::EnvironmentMoved(e) => {
                return self.change(e.environment_id, |env| env.position = e.position);
            }
            SettingsEvent::EnvironmentProtectionChanged(e) => {
                return self.change(e.environment_id, |env| env.protected = e.protected);
            }
            SettingsEvent::EnvironmentSupersedingChanged(e) => {
                return self.change(e.environment_id, |env| env.superseding = e.superseding);
            }
            SettingsEvent::EnvironmentBroadcastingChanged(e) => {
                return self.change(e.environment_id, |env| env.broadcasting = e.broadcasting);
            }
            SettingsEvent::EnvironmentLockingChanged(e) => {
                return self.change(e.environment_id, |env| env.locking = e.locking);
            }
            SettingsEvent::EnvironmentRightsChanged(e) => {
                return self.change(e.environment_id, |env| env.rights = e.rights.clone());
            }
            SettingsEvent::EnvironmentLocked(e) => {
                return self.change(e.environment_id, |env| env.lock = Some(e.lock.clone()));
            }
            SettingsEvent::EnvironmentUnlocked(e) => {
                return self.change(e.environment_id, |env| {
                    env.lock = None;
                    env.unlocked = Some(Unlocked { lock: e.lock.clone(), by: e.by.clone(), at: e.at });
                });
            }
            SettingsEvent::EnvironmentArchived(e) => return self.change(e.environment_id, |env| env.archived = true),
            SettingsEvent::VariableSet(e) => {
                return self.change(e.environment_id, |env| env.put(&e.name, VariableValue::Plain(e.value.clone())));
            }
            SettingsEvent::SecretSet(e) => {
                return self.change(e.environment_id, |env| env.put(&e.name, VariableValue::Secret(e.secret.clone())));
            }
            SettingsEvent::VariableUnset(e) => {
                return self.change(e.environment_id, |env| env.variables.retain(|v| v.name != e.name));
            }
        }
        self.version += 1;
        self
    }

    fn change(mut self, id: EnvironmentId, change: impl FnOnce(&mut Environment)) -> Self {
        if let Some(environment) = self.environments.iter_mut().find(|e| e.id == id) {
            change(environment);
            environment.version += 1;
        }
        self
    }

    /// The open environments in the order of their buttons.
    pub fn open_environments(&self) -> Vec<&Environment> {
        let mut open: Vec<&Environment> = self.environments.iter().filter(|e| !e.archived).collect();
        open.sort_by(|a, b| {
            a.position.cmp(&b.position).then_with(|| a.name.cmp(&b.name)).then_with(|| a.id.cmp(&b.id))
        });
        open
    }

    /// The environment with this id, archived or not.
    pub fn environment(&self, id: EnvironmentId) -> Option<&Environment> {
        self.environments.iter().find(|e| e.id == id)
    }

    /// The open environment of this name, in any case.
    ///
    /// # Errors
    /// A refusal that names the environments there are.
    pub fn environment_named(&self, name: &str) -> Result<&Environment, ProjectRefusal> {
        let wanted = name.to_lowercase();
        self.open_environments().into_iter().find(|e| e.name.to_lowercase() == wanted).ok_or_else(|| {
            ProjectRefusal::NoEnvironment {
                project: self.slug.clone(),
                name: name.to_owned(),
                known: match self.open_environments().iter().map(|e| e.name.as_str()).collect::<Vec<_>>() {
                    names if names.is_empty() => "none yet".to_owned(),
                    names => names.join(", "),
                },
            }
        })
    }

    /// The environment of this name that was archived last.
    pub(super) fn archived_named(&self, name: &str) -> Option<&Environment> {
        let wanted = name.to_lowercase();
        self.environments.iter().rev().find(|e| e.archived && e.name.to_lowercase() == wanted)
    }

    /// What keeps an environment from being deployed to: that it, or the project, was archived.
    pub fn archived(&self, id: EnvironmentId) -> Option<String> {
        if self.archived {
            return Some(format!("the project {}", self.name));
        }
        self.environment(id).filter(|e| e.archived).map(|e| format!("the environment {}", e.name))
    }

    /// The version that a secret gets next in its place: an environment's variable, a registry's login, a CI system's
    /// secret.
    pub fn next_secret_version(current: Option<&SecretRef>) -> i32 {
        current.map_or(1, |s| s.version + 1)
    }

    /// That it isn't archived, and may be given something.
    ///
    /// # Errors
    /// A refusal when it is.
    pub fn open(&self) -> Result<(), ProjectRefusal> {
        if self.archived { Err(ProjectRefusal::Archived(self.slug.clone())) } else { Ok(()) }
    }
}

impl Environment {
    /// Its secret variables: name, and what stands for the value.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &SecretRef)> {
        self.variables.iter().filter_map(|v| match &v.value {
            VariableValue::Secret(secret) => Some((v.name.as_str(), secret)),
            VariableValue::Plain(_) => None,
        })
    }

    /// The secret behind a variable; none when there is no such variable, or it is plain.
    pub fn secret(&self, name: &str) -> Option<&SecretRef> {
        self.secrets().find(|(known, _)| *known == name).map(|(_, secret)| secret)
    }

    fn put(&mut self, name: &str, value: VariableValue) {
        match self.variables.iter_mut().find(|v| v.name == name) {
            Some(variable) => variable.value = value,
            None => self.variables.push(Variable { name: name.to_owned(), value }),
        }
    }
}
