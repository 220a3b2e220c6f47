//! What may be forgotten, and what first has to end.

use super::deployment::{Deployment, State};
use super::erasure_events::{OutputErased, OutputGone, PersonErased};
use super::event::Event;
use super::ids::SubjectKeyId;
use super::names::{self, Invalid};
use super::project::Project;

/// Why nothing is erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum ErasureRefusal {
    #[error("{0}")]
    Reason(Invalid),
    #[error("{build} on {environment} is {state}, and not over; {}", next(.undecided))]
    UnderWay { build: String, environment: String, state: &'static str, undecided: bool },
    #[error("the reason names whoever is erased, and it is kept for ever; say it without {0}")]
    NamesThem(String),
    #[error("{0} is named in who may do what: {1}; name others there first")]
    HasRight(String, String),
    #[error(
        "{project} is held ({reason}): none of its output is erased, and nobody, until that is over: coolops project hold {project} --end"
    )]
    Held { project: String, reason: String },
    #[error("{0} keeps its output for another time than that")]
    Kept(String),
    #[error("{who} has to do with a deployment under way ({what}); {}", next(.undecided))]
    HasDeployment { who: String, what: String, undecided: bool },
    #[error("{0} holds the lock on {1}; take it away first")]
    HasLock(String, String),
    #[error("there is nothing of {0} that could be erased: nothing was recorded of them under a key{1}")]
    Nobody(String, String),
    #[error("there is no deployment {0}; see: coolops deployment list")]
    NoDeployment(String),
    #[error(
        "no event calls {0} {1}, the table of keys does: somebody changed it (coolops audit verify tells more); write the id of whom you mean"
    )]
    NotCalledSo(String, String),
    #[error("{0} are called so; write the id: {1}")]
    Several(usize, String),
}

/// What to do about a deployment that is not over.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "thiserror calls it with a reference")]
fn next(undecided: &bool) -> &'static str {
    match undecided {
        true => "decide first how it ended: coolops deployment resolve",
        false => "stop it, or wait until it has ended",
    }
}

/// A reason as it is recorded.
fn reason(text: &str) -> Result<String, ErasureRefusal> {
    names::reason(text).map_err(ErasureRefusal::Reason)
}

/// Decides that a deployment's output is erased; `key` is that of its lines in events.
///
/// # Errors
/// While it is being written, or its project is held, or keeps it for longer than it is said to have expired after.
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
        let undecided = state == State::Unknown;
        return Err(ErasureRefusal::UnderWay { build, environment, state: state.word(), undecided });
    }
    if let OutputGone::Expired { days } = &why
        && project.output_kept_days != Some(*days)
    {
        return Err(ErasureRefusal::Kept(project.slug.clone()));
    }
    if let Some(reason) = &project.hold {
        return Err(ErasureRefusal::Held { project: project.slug.clone(), reason: reason.clone() });
    }
    Ok(OutputErased { of: deployment.of, key, why }.into())
}

/// Somebody, and what they still have to do with.
#[derive(Debug, Clone, Default)]
pub struct Involved {
    /// Their id, or login name.
    pub id: String,
    /// What they are called.
    pub name: String,
    /// Deployments that are not over and that they pressed, are stopping, or keep waiting.
    pub under_way: Vec<Deployment>,
    /// What they have locked.
    pub locks: Vec<String>,
    /// Where rights name them.
    pub rights: Vec<String>,
    /// A project that is held, and why: something of theirs may stand there.
    pub held: Option<(String, String)>,
}

impl Involved {
    /// Whether nothing of theirs is in the way of forgetting them.
    ///
    /// # Errors
    /// What they still do.
    pub fn is_free(&self) -> Result<(), ErasureRefusal> {
        if let Some((project, reason)) = self.held.clone() {
            return Err(ErasureRefusal::Held { project, reason });
        }
        if let Some(d) = self.under_way.first() {
            let what = format!("{} on {}", d.build_name, d.environment_name);
            let undecided = d.state() == State::Unknown;
            return Err(ErasureRefusal::HasDeployment { who: self.name.clone(), what, undecided });
        }
        if let Some(what) = self.locks.first() {
            return Err(ErasureRefusal::HasLock(self.name.clone(), what.clone()));
        }
        if let Some(what) = self.rights.first() {
            return Err(ErasureRefusal::HasRight(self.name.clone(), what.clone()));
        }
        Ok(())
    }
}

/// A text's words, each with a space before and behind it.
fn words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase);
    words.fold(" ".to_owned(), |words, word| words + &word + " ")
}

/// Decides that somebody is erased: while they do nothing, and no project is held that may tell of them.
///
/// # Errors
/// While they still do something, or the reason names them.
pub fn person(
    who: &Involved,
    (key, others): (SubjectKeyId, Vec<SubjectKeyId>),
    text: &str,
) -> Result<Event, ErasureRefusal> {
    let reason = reason(text)?;
    let said = words(&reason);
    let is_said = |name: &&String| said.contains(&words(name)) && words(name) != " ";
    if let Some(name) = [&who.id, &who.name].into_iter().find(is_said) {
        return Err(ErasureRefusal::NamesThem(name.clone()));
    }
    who.is_free()?;
    Ok(PersonErased { key, others, reason }.into())
}
