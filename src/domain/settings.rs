//! Which changes to a project and its environments are allowed.
//!
//! Every change is decided under the project's boundary, so that two people at two terminals can't make two environments
//! of one name.

use super::ci_rules::{self, CiRules};
use super::event::Event;
use super::ids::*;
use super::names::{self, ImageRef, Invalid};
use super::project::*;
use super::rights::{EnvironmentRightsChanged, Right, Rights};

/// Params that a project can list.
const PARAMS_MAX: usize = 100;
/// People and groups that a right names, at most.
const NAMED_MAX: usize = 100;

impl Project {
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
            EnvironmentChange::LockByDeployment(locking) => {
                EnvironmentLockingChanged { project_id, environment_id, locking }.into()
            }
            EnvironmentChange::Allow { rights, was } => {
                if was.is_some_and(|was| was != environment.rights) {
                    return Err(ProjectRefusal::Overtaken);
                }
                let named = Right::ALL.into_iter().filter_map(|right| rights.named(right)).map(<[_]>::len).max();
                if named.unwrap_or(0) > NAMED_MAX {
                    return Err(ProjectRefusal::TooManyNamed(NAMED_MAX));
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
        if !change.goes_for_archived() {
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
            ProjectChange::LockReminder(hours) => {
                if let Some(hours) = hours {
                    within("the time before a reminder in hours", hours, 1, 24 * 28)?;
                }
                ProjectLockReminderChanged { project_id, hours }.into()
            }
            ProjectChange::OutputKept(days) => {
                if let Some(days) = days {
                    within("the time that output is kept in days", days, 1, 3_650)?;
                }
                ProjectOutputKeptChanged { project_id, days }.into()
            }
            ProjectChange::Hold(reason) => {
                let reason = reason.map(|reason| names::reason(&reason)).transpose()?;
                ProjectHoldChanged { project_id, reason }.into()
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
                let valid = self.tokens.iter().filter(|t| !t.revoked);
                let named: Vec<&Token> = match valid.clone().find(|t| t.id.to_string() == wanted) {
                    Some(one) => vec![one],
                    None => valid.filter(|t| t.label == wanted).collect(),
                };
                let project = self.slug.clone();
                let token = match named[..] {
                    [one] => one,
                    [] => return Err(ProjectRefusal::NoToken { project, token: wanted }),
                    // Nobody can tell which of them is meant, and the other one would stay valid.
                    ref several => {
                        let ids = several.iter().map(|t| t.id.to_string()).collect::<Vec<_>>().join(", ");
                        return Err(ProjectRefusal::SeveralTokens { label: wanted, ids });
                    }
                };
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
            ProjectChange::CiRules { provider, rules, was } => {
                let now = self.ci(&provider).map(|ci| ci.rules.clone()).unwrap_or_default();
                if was.is_some_and(|was| *was != now) {
                    return Err(ProjectRefusal::Overtaken);
                }
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

/// What an operator asks of an environment.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named after the events that they lead to")]
pub enum EnvironmentChange {
    Rename(String),
    Move(i32),
    Protect(bool),
    Supersede(bool),
    Broadcast(bool),
    LockByDeployment(bool),
    /// `was` is what they were where the change was made: somebody else's is not undone by it.
    Allow {
        rights: Rights,
        was: Option<Rights>,
    },
    Archive,
    SetVariable {
        name: String,
        value: String,
    },
    SetSecret {
        name: String,
        secret: SecretRef,
    },
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
    LockReminder(Option<u32>),
    OutputKept(Option<u32>),
    Hold(Option<String>),
    UncheckedImage(Unchecked),
    Params(Option<Vec<String>>),
    RevokeLinks(String),
    Archive,
    IssueToken {
        token_id: TokenId,
        label: String,
        digest: String,
    },
    RevokeToken(String),
    SetRegistry {
        registry: String,
        username: String,
        secret: SecretRef,
    },
    UnsetRegistry(String),
    SetCiSecret {
        provider: String,
        secret: SecretRef,
        keeps_previous: bool,
    },
    EndPreviousCiSecret(String),
    UnsetCi(String),
    /// `was` as that of [`EnvironmentChange::Allow`].
    CiRules {
        provider: String,
        rules: Box<CiRules>,
        was: Option<Box<CiRules>>,
    },
}

impl ProjectChange {
    /// Whether it goes for what is archived too: it takes something away, or is about what was printed there, which stays.
    fn goes_for_archived(&self) -> bool {
        matches!(
            self,
            Self::RevokeLinks(_)
                | Self::RevokeToken(_)
                | Self::UnsetRegistry(_)
                | Self::EndPreviousCiSecret(_)
                | Self::UnsetCi(_)
                | Self::Hold(_)
                | Self::OutputKept(_)
        )
    }
}

/// Versions are given out before they are recorded: of two people who set a secret at once, the later version stays.
fn newer(secret: &SecretRef, current: Option<&SecretRef>) -> Result<(), ProjectRefusal> {
    match current {
        Some(current) if current.version >= secret.version => Err(ProjectRefusal::Overtaken),
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
    use crate::domain::event::SettingsEvent;

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
            "the project api is archived; tokens, links and logins can still be taken away, its output be held or let go of, and nothing else changes"
        );
    }

    #[test]
    fn what_takes_away_or_is_about_output_stays_possible_on_what_is_archived() {
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
            ProjectChange::Hold(Some("a case".into())),
            ProjectChange::Hold(None),
            ProjectChange::OutputKept(Some(30)),
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
