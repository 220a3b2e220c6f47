//! A build that CI announced: what it carries, and what makes an announcement the same build again.

pub use super::build_events::*;
use super::event::{Event, Recorded};
use super::ids::*;
use super::names::{self, ENTRIES_MAX, Invalid};
use super::project::Project;

/// CI announces a build.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are BuildRegistered's")]
pub struct RegisterBuild {
    pub name: String,
    pub params: Vec<Entry>,
    pub metadata: Vec<Entry>,
    pub public_url: String,
    pub run: Option<CiRun>,
    pub source: Option<Source>,
}

/// Why an announcement was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum BuildRefusal {
    #[error("the project {0} is archived and takes no new builds")]
    ProjectArchived(String),
    #[error(
        "the build {name} is registered already, with other params ({difference}); give the new build another name, or the same params"
    )]
    OtherParams { name: String, difference: String },
    #[error(
        "the build {name} is registered already, of the commit {there} and not of {given}; give the new build another name"
    )]
    OtherCommit { name: String, there: String, given: String },
    #[error("the build {0} is of an earlier attempt of the same run")]
    EarlierAttempt(String),
    #[error("the build {name} is registered already, of another run ({of})")]
    OtherRun { name: String, of: String },
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl BuildRefusal {
    /// What is the case, without the advice.
    pub fn fact(&self) -> String {
        match self {
            Self::OtherParams { name, difference } => {
                format!("the build {name} is registered already, with other params ({difference})")
            }
            Self::OtherCommit { name, there, given } => {
                format!("the build {name} is registered already, of the commit {there} and not of {given}")
            }
            Self::OtherRun { .. } | Self::ProjectArchived(_) | Self::EarlierAttempt(_) | Self::Invalid(_) => {
                self.to_string()
            }
        }
    }
}

impl BuildRegistered {
    /// That of a build's events.
    pub fn among(events: &[Recorded]) -> Option<&Self> {
        events.iter().find_map(|recorded| match &recorded.event {
            Event::BuildRegistered(build) => Some(build),
            _ => None,
        })
    }
}

/// What registering leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Registration {
    /// A new build.
    New(Box<BuildRegistered>),
    /// The same build again: nothing is recorded.
    Same,
}

/// Decides an announcement, given what is registered under that name already.
///
/// Of two builds that were made of runs, the runs decide whether they are the same. Otherwise the commits decide, where both
/// are known, and the params;
/// metadata may differ, because a CI re-run has another job URL.
///
/// # Errors
/// A refusal when a limit is broken, or the name stands for other params already.
pub fn decide(
    project: &Project,
    existing: Option<&BuildRegistered>,
    command: RegisterBuild,
) -> Result<Registration, BuildRefusal> {
    let RegisterBuild { name, params, metadata, public_url, run, source } = command;
    names::build_name(&name)?;
    // A build that is known is the same whatever the project takes by now.
    entries(
        "params",
        &params,
        |name| if existing.is_some() { names::variable(name) } else { admitted(project, name) },
    )?;
    entries("metadata entries", &metadata, names::metadata_key)?;
    if let Some(existing) = existing {
        match (&existing.run, &run) {
            (Some(there), Some(run)) if there == run => return Ok(Registration::Same),
            (Some(there), Some(run)) if there.of == run.of => return Err(BuildRefusal::EarlierAttempt(name)),
            (Some(there), Some(_)) => return Err(BuildRefusal::OtherRun { name, of: there.of.clone() }),
            _ => {}
        }
        let commit = |source: Option<&Source>| source.and_then(|source| source.commit.clone());
        if let (Some(there), Some(given)) = (commit(existing.source.as_ref()), commit(source.as_ref()))
            && !there.starts_with(&given)
            && !given.starts_with(&there)
        {
            return Err(BuildRefusal::OtherCommit { name, there, given });
        }
        return match difference(&existing.params, &params) {
            None => Ok(Registration::Same),
            Some(difference) => Err(BuildRefusal::OtherParams { name, difference }),
        };
    }
    if project.archived {
        return Err(BuildRefusal::ProjectArchived(project.slug.clone()));
    }
    Ok(Registration::New(Box::new(BuildRegistered {
        build_id: BuildId::of_name(project.id, &name),
        project_id: project.id,
        project_name: project.name.clone(),
        name,
        params,
        metadata,
        environments: project
            .open_environments()
            .into_iter()
            .map(|e| ButtonFor { id: e.id, name: e.name.clone(), protected: e.protected })
            .collect(),
        channel: project.channel.clone(),
        public_url,
        link_key: project.link_key.clone(),
        run,
        source,
    })))
}

/// Whether a project's builds may carry a param of this name.
fn admitted<'a>(project: &Project, name: &'a str) -> Result<&'a str, Invalid> {
    match &project.params {
        None => names::param(name),
        Some(listed) if listed.iter().any(|n| n == name) => names::variable(name),
        Some(listed) => {
            let name = names::printable(name);
            Err(Invalid(match listed.is_empty() {
                true => format!(
                    "the project {} takes no params, and {name} was given; see: coolops project params",
                    project.slug
                ),
                false => {
                    let listed = listed.join(", ");
                    format!(
                        "the project {} takes no param {name}; it takes: {listed} (coolops project params)",
                        project.slug
                    )
                }
            }))
        }
    }
}

fn entries<'a>(
    what: &str,
    entries: &'a [Entry],
    name: impl Fn(&'a str) -> Result<&'a str, Invalid>,
) -> Result<(), Invalid> {
    if entries.len() > ENTRIES_MAX {
        return Err(Invalid(format!("there are {} {what}; at most {ENTRIES_MAX} are allowed", entries.len())));
    }
    for entry in entries {
        name(&entry.name)?;
        names::value(&entry.name, &entry.value)?;
    }
    Ok(())
}

/// The first way in which two sets of params differ, whatever their order.
fn difference(registered: &[Entry], given: &[Entry]) -> Option<String> {
    let find = |all: &[Entry], name: &str| all.iter().rev().find(|e| e.name == name).map(|e| e.value.clone());
    for entry in given {
        match find(registered, &entry.name) {
            None => return Some(format!("{} is new", entry.name)),
            Some(value) if Some(&value) != find(given, &entry.name).as_ref() => {
                return Some(format!("{} differs", entry.name));
            }
            Some(_) => {}
        }
    }
    registered.iter().find(|e| find(given, &e.name).is_none()).map(|e| format!("{} is missing", e.name))
}

impl From<Box<BuildRegistered>> for Event {
    fn from(event: Box<BuildRegistered>) -> Self {
        Self::BuildRegistered(*event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::SettingsEvent;
    use crate::domain::settings;

    fn api() -> Project {
        let Ok(Event::Settings(SettingsEvent::ProjectCreated(event))) =
            settings::create("api", "Api", "busybox", "C1", "k-1".into())
        else {
            panic!("refused")
        };
        Project::created(&event)
    }

    fn command(name: &str, params: &[(&str, &str)], metadata: &[(&str, &str)]) -> RegisterBuild {
        let entries = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| Entry { name: (*name).into(), value: (*value).into() }).collect()
        };
        RegisterBuild {
            name: name.into(),
            params: entries(params),
            metadata: entries(metadata),
            public_url: "http://x".into(),
            run: None,
            source: None,
        }
    }

    #[test]
    fn the_same_name_with_the_same_params_is_the_same_build() {
        let Ok(Registration::New(first)) =
            decide(&api(), None, command("m-1", &[("A", "1"), ("B", "2")], &[("Url", "1")]))
        else {
            panic!("refused")
        };
        let again = command("m-1", &[("B", "2"), ("A", "1")], &[("Url", "2")]);
        assert_eq!(decide(&api(), Some(&first), again), Ok(Registration::Same));
        for (params, why) in [
            (vec![("A", "1"), ("B", "3")], "B differs"),
            (vec![("A", "1")], "B is missing"),
            (vec![("A", "1"), ("B", "2"), ("C", "")], "C is new"),
        ] {
            let refusal = decide(&api(), Some(&first), command("m-1", &params, &[])).unwrap_err().to_string();
            assert!(refusal.contains(why) && refusal.contains("give the new build another name"), "{refusal}");
        }
    }

    #[test]
    fn of_two_builds_made_of_runs_the_runs_decide() {
        let of_run = |of: &str, id: &str, params: &[(&str, &str)]| {
            let run = Some(CiRun { of: of.into(), id: id.into() });
            RegisterBuild { run, ..command("main-42", params, &[]) }
        };
        let Ok(Registration::New(first)) = decide(&api(), None, of_run("a CI 42", "7 1", &[("A", "1")])) else {
            panic!("refused")
        };
        assert_eq!(decide(&api(), Some(&first), of_run("a CI 42", "7 1", &[("A", "2")])), Ok(Registration::Same));
        assert_eq!(
            decide(&api(), Some(&first), of_run("a CI 42", "8 1", &[])),
            Err(BuildRefusal::EarlierAttempt("main-42".into()))
        );
        let other = decide(&api(), Some(&first), of_run("a Lint 42", "9 1", &[("A", "1")])).unwrap_err().to_string();
        assert_eq!(other, "the build main-42 is registered already, of another run (a CI 42)");
        assert_eq!(decide(&api(), Some(&first), command("main-42", &[("A", "1")], &[])), Ok(Registration::Same));
    }

    #[test]
    fn a_limit_is_refused_with_the_limit_and_the_size() {
        let many: Vec<(String, String)> = (0..10_000).map(|n| (format!("P{n}"), String::new())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let refusal = decide(&api(), None, command("m", &many, &[])).unwrap_err().to_string();
        assert_eq!(refusal, "there are 10000 params; at most 100 are allowed");
        let long = "x".repeat(10_001);
        let refusal = decide(&api(), None, command("m", &[("A", &long)], &[])).unwrap_err().to_string();
        assert_eq!(refusal, "the value of A has 10001 bytes; at most 10000 are allowed");
        assert!(decide(&api(), None, command("m", &[("A", "a\0b")], &[])).is_err());
    }
}
