//! A project and its environments: what is configured, and which changes to it are allowed.
//!
//! The events of a project and of its environments fold into one [`Project`]; every change is decided on it under the
//! project's boundary, so that two people at two terminals can't make two environments of one name.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ci_rules::{self, CiRules};
use super::event::{Event, SettingsEvent};
use super::ids::*;
use super::lock_events::{Holder, Lock};
use super::names::{self, ImageRef, Invalid};
pub use super::project_events::*;
use super::rights::{EnvironmentRightsChanged, Right, Rights};

/// How long a deployment may run unless the project says otherwise.
pub const TIME_LIMIT_MINUTES: u32 = 60;
/// How much of a deployment's output is kept unless the project says otherwise.
pub const LOG_LIMIT_MEBIBYTES: u32 = 16;

/// How long a deployment may fail to start unless the project says otherwise.
pub const START_PATIENCE_MINUTES: u32 = 10;
/// How long a container may clean up after SIGTERM unless the project says otherwise.
pub const STOP_GRACE_SECONDS: u32 = 10;
/// Params that a project can list.
const PARAMS_MAX: usize = 100;

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

/// People and groups that a right names, at most.
const NAMED_MAX: usize = 100;

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

/// How a lock went, for whoever wants to take away what is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlocked {
    /// The lock.
    pub lock: Lock,
    /// Who took it away; none when it ran out.
    pub by: Option<Holder>,
    /// When.
    pub at: DateTime<Utc>,
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
    #[error("the project {0} is archived; tokens, links and logins can still be taken away, nothing else changes")]
    Archived(String),
    #[error("there is an environment \"{0}\" already; choose another name")]
    EnvironmentExists(String),
    #[error("the project {project} has no environment \"{name}\"; it has: {known}")]
    NoEnvironment { project: String, name: String, known: String },
    #[error("the project {project} has no token \"{token}\"; see: coolops project token list {project}")]
    NoToken { project: String, token: String },
    #[error("somebody else has just set it; look at it, and set it again if yours is the right one")]
    SecretOvertaken,
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
    #[error("a right can name at most {NAMED_MAX} people and groups; name a group instead")]
    TooManyNamed,
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
            link_key: event.link_key.clone(),
            archived: false,
            tokens: Vec::new(),
            registries: Vec::new(),
            ci: Vec::new(),
            environments: Vec::new(),
            version: 1,
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
    fn archived_named(&self, name: &str) -> Option<&Environment> {
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

    /// Adds an environment.
    ///
    /// # Errors
    /// A refusal when the project is archived, the name is taken or not a name.
    pub fn create_environment(
        &self,
        id: EnvironmentId,
        name: &str,
        position: Option<i32>,
    ) -> Result<Event, ProjectRefusal> {
        self.open()?;
        self.free_name(name)?;
        if self.open_environments().len() >= 100 {
            return Err(ProjectRefusal::TooManyEnvironments);
        }
        let last = self.open_environments().last().map_or(0, |e| e.position);
        Ok(EnvironmentCreated {
            project_id: self.id,
            environment_id: id,
            name: name.to_owned(),
            position: position.unwrap_or(last.saturating_add(1)),
        }
        .into())
    }

    fn free_name(&self, name: &str) -> Result<(), ProjectRefusal> {
        names::display_name("the environment's name", name, 60)?;
        match self.environment_named(name) {
            Ok(taken) => Err(ProjectRefusal::EnvironmentExists(taken.name.clone())),
            Err(_) => Ok(()),
        }
    }

    /// Decides a change of one open environment.
    ///
    /// # Errors
    /// A refusal when project or environment are closed, or the change doesn't fit.
    pub fn change_environment(&self, name: &str, change: EnvironmentChange) -> Result<Event, ProjectRefusal> {
        // What takes away stays possible, whatever was archived.
        let environment = match &change {
            EnvironmentChange::UnsetVariable(_) => {
                self.environment_named(name).or_else(|gone| self.archived_named(name).ok_or(gone))?
            }
            _ => {
                self.open()?;
                self.environment_named(name)?
            }
        };
        let (project_id, environment_id) = (self.id, environment.id);
        Ok(match change {
            EnvironmentChange::Rename(name) => {
                if name.to_lowercase() != environment.name.to_lowercase() {
                    self.free_name(&name)?;
                }
                names::display_name("the environment's name", &name, 60)?;
                EnvironmentRenamed { project_id, environment_id, name }.into()
            }
            EnvironmentChange::Move(position) => EnvironmentMoved { project_id, environment_id, position }.into(),
            EnvironmentChange::Protect(protected) => {
                EnvironmentProtectionChanged { project_id, environment_id, protected }.into()
            }
            EnvironmentChange::Supersede(superseding) => {
                EnvironmentSupersedingChanged { project_id, environment_id, superseding }.into()
            }
            EnvironmentChange::Broadcast(broadcasting) => {
                EnvironmentBroadcastingChanged { project_id, environment_id, broadcasting }.into()
            }
            EnvironmentChange::Allow(rights) => {
                let named = Right::ALL.into_iter().filter_map(|right| rights.named(right)).map(<[_]>::len).max();
                if named.unwrap_or(0) > NAMED_MAX {
                    return Err(ProjectRefusal::TooManyNamed);
                }
                EnvironmentRightsChanged { project_id, environment_id, rights }.into()
            }
            EnvironmentChange::Archive => EnvironmentArchived { project_id, environment_id }.into(),
            EnvironmentChange::SetVariable { name, value } => {
                names::variable(&name)?;
                names::value(&name, &value)?;
                VariableSet { project_id, environment_id, name, value }.into()
            }
            EnvironmentChange::SetSecret { name, secret } => {
                names::variable(&name)?;
                newer(&secret, environment.secret(&name))?;
                SecretSet { project_id, environment_id, name, secret }.into()
            }
            EnvironmentChange::UnsetVariable(name) => {
                if !environment.variables.iter().any(|v| v.name == name) {
                    return Err(ProjectRefusal::NoVariable { environment: environment.name.clone(), name });
                }
                VariableUnset { project_id, environment_id, name }.into()
            }
        })
    }

    /// Decides a change of the project's own settings.
    ///
    /// # Errors
    /// A refusal when the project is closed or the change doesn't fit.
    pub fn change_settings(&self, change: ProjectChange) -> Result<Event, ProjectRefusal> {
        if !change.takes_away() {
            self.open()?;
        }
        let project_id = self.id;
        Ok(match change {
            ProjectChange::Rename(name) => {
                names::display_name("the project's name", &name, 60)?;
                ProjectRenamed { project_id, name }.into()
            }
            ProjectChange::Image(image) => ProjectImageChanged { project_id, image: ImageRef::parse(&image)? }.into(),
            ProjectChange::Channel(channel) => {
                ProjectChannelChanged { project_id, channel: channel_id(&channel)? }.into()
            }
            ProjectChange::TimeLimit(minutes) => {
                within("the time limit in minutes", minutes, 1, 24 * 60)?;
                ProjectTimeLimitChanged { project_id, minutes }.into()
            }
            ProjectChange::LogLimit(mebibytes) => {
                within("the log limit in MiB", mebibytes, 1, 64)?;
                ProjectLogLimitChanged { project_id, mebibytes }.into()
            }
            ProjectChange::StartPatience(minutes) => {
                within("the patience in minutes", minutes, 1, 24 * 60)?;
                ProjectStartPatienceChanged { project_id, minutes }.into()
            }
            ProjectChange::StopGrace(seconds) => {
                within("the grace in seconds", seconds, 1, 600)?;
                ProjectStopGraceChanged { project_id, seconds }.into()
            }
            ProjectChange::UncheckedImage(then) => ProjectUncheckedImageChanged { project_id, then }.into(),
            ProjectChange::Params(params) => {
                let listed = params.as_deref().unwrap_or_default();
                if listed.len() > PARAMS_MAX {
                    return Err(Invalid(format!(
                        "there are {} params; at most {PARAMS_MAX} are allowed",
                        listed.len()
                    ))
                    .into());
                }
                // What a project names itself is its own decision; only shape and reservation are checked.
                listed.iter().try_for_each(|name| names::variable(name).map(|_| ()))?;
                ProjectParamsChanged { project_id, params }.into()
            }
            ProjectChange::RevokeLinks(link_key) => ProjectLinksRevoked { project_id, link_key }.into(),
            ProjectChange::Archive => ProjectArchived { project_id }.into(),
            ProjectChange::IssueToken { token_id, label, digest } => {
                names::display_name("the token's label", &label, 60)?;
                TokenIssued { project_id, token_id, label, digest }.into()
            }
            ProjectChange::RevokeToken(wanted) => {
                let found =
                    self.tokens.iter().find(|t| !t.revoked && (t.label == wanted || t.id.to_string() == wanted));
                let token =
                    found.ok_or_else(|| ProjectRefusal::NoToken { project: self.slug.clone(), token: wanted })?;
                TokenRevoked { project_id, token_id: token.id }.into()
            }
            ProjectChange::SetRegistry { registry, username, secret } => {
                let registry = registry_host(&registry)?;
                names::display_name("the user name", &username, 200)?;
                newer(&secret, self.registries.iter().find(|r| r.host == registry).map(|r| &r.secret))?;
                RegistryCredentialsSet { project_id, registry, username, secret }.into()
            }
            ProjectChange::SetCiSecret { provider, secret, keeps_previous } => {
                let current = self.ci(&provider).and_then(|c| c.secret.clone());
                newer(&secret, current.as_ref())?;
                CiSecretSet { project_id, provider, secret, previous: current.filter(|_| keeps_previous) }.into()
            }
            ProjectChange::EndPreviousCiSecret(provider) => {
                let not_set = || ProjectRefusal::NoCi { project: self.slug.clone(), provider: provider.clone() };
                let secret = self.ci(&provider).and_then(|c| c.secret.clone()).ok_or_else(not_set)?;
                CiSecretSet { project_id, provider, secret, previous: None }.into()
            }
            ProjectChange::UnsetCi(provider) => {
                self.ci(&provider)
                    .ok_or_else(|| ProjectRefusal::NoCi { project: self.slug.clone(), provider: provider.clone() })?;
                CiUnset { project_id, provider }.into()
            }
            ProjectChange::CiRules { provider, rules } => {
                ci_rules::check(&rules)?;
                CiRulesChanged { project_id, provider, rules: *rules }.into()
            }
            ProjectChange::UnsetRegistry(registry) => {
                let registry = registry_host(&registry)?;
                if !self.registries.iter().any(|r| r.host == registry) {
                    return Err(ProjectRefusal::NoRegistry(registry));
                }
                RegistryCredentialsUnset { project_id, registry }.into()
            }
        })
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

/// What an operator asks of an environment.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the events that they lead to")]
pub enum EnvironmentChange {
    Rename(String),
    Move(i32),
    Protect(bool),
    Supersede(bool),
    Broadcast(bool),
    Allow(Rights),
    Archive,
    SetVariable { name: String, value: String },
    SetSecret { name: String, secret: SecretRef },
    UnsetVariable(String),
}

/// What an operator asks of a project.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the events that they lead to")]
pub enum ProjectChange {
    Rename(String),
    Image(String),
    Channel(String),
    TimeLimit(u32),
    LogLimit(u32),
    StartPatience(u32),
    StopGrace(u32),
    UncheckedImage(Unchecked),
    Params(Option<Vec<String>>),
    RevokeLinks(String),
    Archive,
    IssueToken { token_id: TokenId, label: String, digest: String },
    RevokeToken(String),
    SetRegistry { registry: String, username: String, secret: SecretRef },
    UnsetRegistry(String),
    SetCiSecret { provider: String, secret: SecretRef, keeps_previous: bool },
    EndPreviousCiSecret(String),
    UnsetCi(String),
    CiRules { provider: String, rules: Box<CiRules> },
}

impl ProjectChange {
    /// Whether it only takes something away, which stays possible when the project is archived.
    fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::RevokeLinks(_)
                | Self::RevokeToken(_)
                | Self::UnsetRegistry(_)
                | Self::EndPreviousCiSecret(_)
                | Self::UnsetCi(_)
        )
    }
}

/// Versions are given out before they are recorded: of two people who set a secret at once, the later version stays.
fn newer(secret: &SecretRef, current: Option<&SecretRef>) -> Result<(), ProjectRefusal> {
    match current {
        Some(current) if current.version >= secret.version => Err(ProjectRefusal::SecretOvertaken),
        _ => Ok(()),
    }
}

fn within(what: &'static str, given: u32, least: u32, most: u32) -> Result<(), ProjectRefusal> {
    if (least..=most).contains(&given) { Ok(()) } else { Err(ProjectRefusal::OutOfRange { what, given, least, most }) }
}

/// Decides the creation of a project.
///
/// # Errors
/// A refusal when a name, the image or the channel can't be read.
pub fn create(slug: &str, name: &str, image: &str, channel: &str, link_key: String) -> Result<Event, ProjectRefusal> {
    names::slug(slug)?;
    names::display_name("the project's name", name, 60)?;
    Ok(ProjectCreated {
        project_id: ProjectId::of_slug(slug),
        slug: slug.to_owned(),
        name: name.to_owned(),
        image: ImageRef::parse(image)?,
        channel: channel_id(channel)?,
        link_key,
    }
    .into())
}

/// Slack's API takes a channel's id for everything (a name only for some calls), so the id is what is asked for.
fn channel_id(text: &str) -> Result<String, Invalid> {
    let fits = (2..=30).contains(&text.len())
        && text.starts_with(['C', 'G', 'D'])
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if fits {
        return Ok(text.to_owned());
    }
    Err(Invalid(format!(
        "\"{}\" is not a Slack channel id; open the channel's details in Slack and copy the id at the bottom, such as C0123456789",
        names::printable(text)
    )))
}

/// A registry's host as image references are compared with it.
///
/// # Errors
/// A sentence that says how it is written.
pub fn registry_host(text: &str) -> Result<String, Invalid> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.ends_with(']') || text.contains("]:")).map(|(_, port)| port);
    let port_fits = port.is_none_or(|p| p.parse::<u16>().is_ok() || text.ends_with(']'));
    let fits = !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
    if fits && port_fits && !text.starts_with(':') {
        return Ok(names::registry(text));
    }
    Err(Invalid(format!(
        "\"{}\" is not a registry's host; write it like registry.example.com or localhost:5000",
        names::printable(text)
    )))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn api() -> Project {
        let Ok(Event::Settings(SettingsEvent::ProjectCreated(event))) =
            create("api", "Api", "busybox", "C1", "k-1".into())
        else {
            panic!("refused")
        };
        Project::created(&event)
    }

    fn id(n: u128) -> EnvironmentId {
        EnvironmentId(Uuid::from_u128(n))
    }

    #[test]
    fn an_environments_name_is_taken_in_any_case_until_it_is_archived() {
        let project = api();
        let staging = project.create_environment(id(1), "Staging", None).unwrap();
        let project = project.evolve(&staging);
        assert_eq!(
            project.create_environment(id(2), "staging", None),
            Err(ProjectRefusal::EnvironmentExists("Staging".into()))
        );
        let archived = project.change_environment("STAGING", EnvironmentChange::Archive).unwrap();
        let project = project.evolve(&archived);
        assert!(project.create_environment(id(2), "staging", None).is_ok());
        assert_eq!(
            project.change_environment("Staging", EnvironmentChange::Archive).unwrap_err().to_string(),
            "the project api has no environment \"Staging\"; it has: none yet"
        );
    }

    #[test]
    fn nothing_about_an_archived_project_changes() {
        let project = api();
        let archived = project.change_settings(ProjectChange::Archive).unwrap();
        let project = project.evolve(&archived);
        assert_eq!(
            project.change_settings(ProjectChange::Rename("B".into())),
            Err(ProjectRefusal::Archived("api".into()))
        );
        assert_eq!(project.create_environment(id(1), "Staging", None), Err(ProjectRefusal::Archived("api".into())));
        let refused = project.change_settings(ProjectChange::Rename("B".into())).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the project api is archived; tokens, links and logins can still be taken away, nothing else changes"
        );
    }

    #[test]
    fn what_takes_away_stays_possible_on_what_is_archived() {
        let mut project = api();
        let secret = SecretRef { version: 1, fingerprint: "f".into() };
        for change in [
            ProjectChange::IssueToken { token_id: TokenId(Uuid::from_u128(1)), label: "ci".into(), digest: "0".into() },
            ProjectChange::SetRegistry { registry: "ghcr.io".into(), username: "u".into(), secret: secret.clone() },
            ProjectChange::SetCiSecret { provider: "github".into(), secret: secret.clone(), keeps_previous: false },
        ] {
            project = project.clone().evolve(&project.change_settings(change).unwrap());
        }
        project = project.clone().evolve(&project.create_environment(id(1), "Staging", None).unwrap());
        let set = EnvironmentChange::SetSecret { name: "KEY".into(), secret };
        project = project.clone().evolve(&project.change_environment("Staging", set).unwrap());
        project = project.clone().evolve(&project.change_environment("Staging", EnvironmentChange::Archive).unwrap());
        project = project.clone().evolve(&project.change_settings(ProjectChange::Archive).unwrap());
        for change in [
            ProjectChange::RevokeToken("ci".into()),
            ProjectChange::RevokeLinks("k-2".into()),
            ProjectChange::UnsetRegistry("ghcr.io".into()),
            ProjectChange::EndPreviousCiSecret("github".into()),
            ProjectChange::UnsetCi("github".into()),
        ] {
            assert!(project.change_settings(change.clone()).is_ok(), "{change:?}");
        }
        assert!(project.change_environment("Staging", EnvironmentChange::UnsetVariable("KEY".into())).is_ok());
    }

    #[test]
    fn a_registry_is_known_by_one_name() {
        for (given, known) in [
            ("GHCR.IO", "ghcr.io"),
            ("index.docker.io", "docker.io"),
            ("LOCALHOST:5999", "localhost:5999"),
            ("docker.io", "docker.io"),
        ] {
            assert_eq!(registry_host(given).unwrap(), known);
        }
        for bad in ["https://ghcr.io", "ghcr.io/team", "", "a b", "ghcr.io:", ":5000", "ghcr.io:x"] {
            assert!(registry_host(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_channel_is_given_by_its_id() {
        let refusal = create("api", "Api", "busybox", "#deploys", "k".into()).unwrap_err().to_string();
        assert!(refusal.starts_with("\"#deploys\" is not a Slack channel id; open the channel's details"), "{refusal}");
    }
}
