//! What may be forgotten, and what first has to end.

use super::deployment::Deployment;
use super::erasure_events::{OutputErased, OutputGone, PersonErased};
use super::event::Event;
use super::ids::SubjectKeyId;
use super::names::REASON_MAX;
use super::project::Project;

/// Why nothing is erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum ErasureRefusal {
    #[error("--reason is empty; say why, it is recorded for ever")]
    NoReason,
    #[error("the reason has {0} characters; it has {REASON_MAX} at most")]
    LongReason(usize),
    #[error(
        "{build} on {environment} is {state}: its output is still being written; stop it, or wait until it has ended"
    )]
    UnderWay { build: String, environment: String, state: &'static str },
    #[error(
        "everything of {project} is held ({reason}); nothing of it is erased until that is over: coolops project hold {project} --end"
    )]
    Held { project: String, reason: String },
    #[error("{0} has a deployment under way ({1}); stop it, or wait until it has ended")]
    HasDeployment(String, String),
    #[error("{0} holds the lock on {1}; take it away first")]
    HasLock(String, String),
    #[error("there is nothing of {0} that could be erased: nothing was recorded of them under a key{1}")]
    Nobody(String, String),
    #[error("there is no deployment {0}; see: coolops deployment list")]
    NoDeployment(String),
    #[error("{0} are called so; write the id: {1}")]
    Several(usize, String),
}

/// A reason as it is recorded.
fn reason(text: &str) -> Result<String, ErasureRefusal> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(ErasureRefusal::NoReason),
        length if length > REASON_MAX => Err(ErasureRefusal::LongReason(length)),
        _ => Ok(text.to_owned()),
    }
}

/// Decides that a deployment's output is erased; `key` is that of its lines in events.
///
/// # Errors
/// While it is being written, or its project is held.
pub fn output(
    deployment: &Deployment,
    project: &Project,
    key: Option<SubjectKeyId>,
    why: OutputGone,
) -> Result<Event, ErasureRefusal> {
    let why = match why {
        OutputGone::Asked { reason: text } => OutputGone::Asked { reason: reason(&text)? },
        expired @ OutputGone::Expired { .. } => expired,
    };
    let state = deployment.state();
    if !state.is_over() {
        let (build, environment) = (deployment.build_name.clone(), deployment.environment_name.clone());
        return Err(ErasureRefusal::UnderWay { build, environment, state: state.word() });
    }
    if let Some(reason) = &project.hold {
        return Err(ErasureRefusal::Held { project: project.slug.clone(), reason: reason.clone() });
    }
    Ok(OutputErased { of: deployment.of, key, why }.into())
}

/// Decides that somebody is erased who is called `name`: with none of these deployments under way, none of these locks in
/// their hands, and no project held that may tell of them.
///
/// # Errors
/// While they still do something.
pub fn person(
    name: &str,
    key: SubjectKeyId,
    text: &str,
    under_way: &[Deployment],
    locks: &[String],
    projects: &[Project],
) -> Result<Event, ErasureRefusal> {
    let reason = reason(text)?;
    if let Some((project, reason)) = projects.iter().find_map(|p| Some((p, p.hold.as_ref()?))) {
        return Err(ErasureRefusal::Held { project: project.slug.clone(), reason: reason.clone() });
    }
    if let Some(d) = under_way.first() {
        let which = format!("{} on {}", d.build_name, d.environment_name);
        return Err(ErasureRefusal::HasDeployment(name.to_owned(), which));
    }
    if let Some(what) = locks.first() {
        return Err(ErasureRefusal::HasLock(name.to_owned(), what.clone()));
    }
    Ok(PersonErased { key, reason }.into())
}
