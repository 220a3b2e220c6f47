//! How a deployment goes, in words: the one place that words it, for Slack, pages and the terminal alike.
//!
//! **Invariant:** what others wrote is kept apart from our own words, so that whoever shows them escapes and cuts the
//! former as its medium demands.

use chrono::{DateTime, Utc};

use crate::domain::deployment::{Deployment, Person, Stand, StopReason, cut_off, stop_words};
use crate::domain::lock::{Lock, Scope, Somebody};
use crate::domain::moment::to_the_minute;

/// A piece of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Our own words.
    Ours(&'static str),
    /// What others wrote, or what may quote them.
    Said(String),
    /// The name of a build.
    Build(String),
    /// Somebody in Slack.
    Who(Person),
    /// A time.
    At(DateTime<Utc>),
}

/// What is said of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The word for where it stands.
    pub state: &'static str,
    /// What completes that word.
    pub completed: &'static str,
    /// What joins the word and the reason.
    pub joint: &'static str,
    /// Why, or what for; empty when the word says it all.
    pub reason: Vec<Part>,
    /// What was found after its end: a sentence of its own, without its full stop.
    pub afterwards: Option<&'static str>,
    /// What it printed last, when it failed.
    pub last_lines: Vec<String>,
}

impl Words {
    /// The words for a deployment.
    pub fn of(deployment: &Deployment) -> Self {
        let said = |text: &str| vec![Part::Said(text.to_owned())];
        let why = |reason: Option<&str>| {
            reason.map(|text| vec![Part::Ours(": "), Part::Said(text.to_owned())]).unwrap_or_default()
        };
        let delay = || match deployment.stand.delay() {
            Some(problem) => vec![Part::Ours("waits, and tries again: "), Part::Said(problem.to_owned())],
            None => vec![],
        };
        let (joint, reason) = match &deployment.stand {
            Stand::Queued { behind } => (" ", vec![Part::Ours("behind "), Part::Build(behind.build_name.clone())]),
            Stand::Locked { lock } => (", ", waits_for(lock)),
            Stand::Ready { delay: None } => (", ", vec![Part::Ours("waiting for a free worker")]),
            Stand::Ready { .. } | Stand::Pulling { .. } | Stand::Starting { .. } => (", ", delay()),
            Stand::Running | Stand::Succeeded { .. } => ("", vec![]),
            Stand::Cancelling { reason: StopReason::Person { by, reason } } => {
                (", as ", [vec![Part::Who(by.clone()), Part::Ours(" wanted")], why(reason.as_deref())].concat())
            }
            Stand::Stopped { reason: StopReason::Person { by, reason }, exit_code, cut_off_after, .. } => {
                let code = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
                let end = Part::Said(format!("{code}{}", cut_off(*cut_off_after)));
                (" by ", [vec![Part::Who(by.clone())], why(reason.as_deref()), vec![end]].concat())
            }
            Stand::Cancelling { reason } => (": ", said(&stop_words(reason, None, None))),
            Stand::Unknown { loss, .. } => {
                let closed = ". The environment stays closed until an operator decides.";
                (": ", vec![Part::Ours(loss.sentence()), Part::Ours(closed)])
            }
            Stand::Failed { failure, .. } => (": ", said(&failure.sentence(deployment.image.as_str()))),
            Stand::Stopped { reason, exit_code, cut_off_after, .. } => {
                (": ", said(&stop_words(reason, *exit_code, *cut_off_after)))
            }
            Stand::Resolved { reason, .. } => {
                (", ", vec![Part::Ours("as a person decided: "), Part::Said(reason.clone())])
            }
        };
        let afterwards = deployment.stray.then_some("Its container was found running afterwards, and was stopped");
        let completed = if matches!(deployment.stand, Stand::Pulling { .. }) { " its image" } else { "" };
        let last_lines = match &deployment.stand {
            Stand::Failed { last_lines, .. } => last_lines.clone(),
            _ => vec![],
        };
        Self { state: deployment.state().word(), completed, joint, reason, afterwards, last_lines }
    }

    fn reason(&self, shown: impl Fn(&str) -> String) -> String {
        let text = |part: &Part| match part {
            Part::Ours(text) => (*text).to_owned(),
            Part::Said(text) | Part::Build(text) => shown(text),
            Part::Who(person) => shown(&person.name),
            Part::At(at) => to_the_minute(*at),
        };
        self.reason.iter().map(text).collect()
    }

    /// The whole as one text; `shown` makes what others wrote harmless.
    pub fn sentence(&self, shown: impl Fn(&str) -> String) -> String {
        let joint = if self.reason.is_empty() { "" } else { self.joint };
        let afterwards = self.afterwards.map(|text| format!(". {text}")).unwrap_or_default();
        format!("{}{}{joint}{}{afterwards}", self.state, self.completed, self.reason(shown))
    }

    /// Whether there is more to say than the word.
    pub fn says_more(&self) -> bool {
        !self.reason.is_empty() || self.afterwards.is_some()
    }
}

/// What a lock that keeps a deployment waiting lies on.
pub fn locked(scope: Scope, waiting: &Deployment) -> &str {
    match scope {
        Scope::Environment => &waiting.environment_name,
        Scope::Project => "the whole project",
        Scope::Everything => "everything",
    }
}

/// What a lock that lies on an environment lies on beside it; fits behind "locked".
pub fn locked_with(scope: Scope) -> &'static str {
    match scope {
        Scope::Environment => "",
        Scope::Project => " with the whole project",
        Scope::Everything => " with everything",
    }
}

/// That somebody's lock is waited for.
fn waits_for(lock: &Lock) -> Vec<Part> {
    let who = match &lock.holder {
        Somebody::Person(person) => Part::Who(person.clone()),
        Somebody::Operator { login } => Part::Said(login.clone()),
    };
    let on = match lock.scope {
        Scope::Environment => None,
        Scope::Project => Some(Part::Ours(" on the whole project")),
        Scope::Everything => Some(Part::Ours(" on everything")),
    };
    let build = lock.build.iter().flat_map(|build| [Part::Ours(" for "), Part::Build(build.clone())]);
    let reason = lock.reason.iter().flat_map(|r| [Part::Ours(" ("), Part::Said(r.clone()), Part::Ours(")")]);
    let until = lock.until.iter().flat_map(|until| [Part::Ours(", until "), Part::At(*until)]);
    [Part::Ours("waits for the lock of "), who].into_iter().chain(on).chain(build).chain(reason).chain(until).collect()
}

/// Which image runs, where the registry could not say whether there is a newer one.
pub fn unchecked(deployment: &Deployment) -> Option<&str> {
    let prepared = deployment.prepared.as_ref().filter(|prepared| prepared.unchecked)?;
    Some(prepared.digest.as_deref().unwrap_or(&prepared.image_id))
}
