//! An environment's line: who holds it, who waits, and what follows when that changes.
//!
//! **Invariant:** at most one deployment holds an environment (is ready, pulling, starting, running, cancelling or
//! unknown); the rest wait in the order of their presses.

use serde::Deserialize;

use super::build_events::Source;
use super::deployment::*;
use super::event::Event;
use super::ids::*;
use super::lock_events::Lock;

/// The open deployments of one environment in the order of their presses, and the lock on it. One of them at most holds
/// it: the first, unless a lock lets later ones through. Of a long line only what decisions need: its holder, its first
/// two, its last, the first that the lock lets through, and those of the build in question.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// The deployments.
    pub open: Vec<Deployment>,
    /// The lock.
    pub lock: Option<Lock>,
    /// The build that went well there last.
    pub runs: Option<Ran>,
}

/// A build that went well somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of its deployment")]
pub struct Ran {
    pub build_name: String,
    #[serde(default)]
    pub source: Option<Source>,
}

impl std::ops::Deref for Line {
    type Target = [Deployment];
    fn deref(&self) -> &[Deployment] {
        &self.open
    }
}

impl Line {
    pub(super) fn lets(&self, deployment: &Deployment) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.lets(&deployment.requested_by))
    }

    /// What follows when nobody but, perhaps, one that ends holds the environment: the first that may has its turn; where
    /// a lock keeps the first one waiting, it says so.
    pub(super) fn next(&self, but: Option<DeploymentId>) -> Vec<Event> {
        let waiting = || self.iter().filter(|d| Some(d.of.deployment_id) != but && d.state() == State::Queued);
        let Some(first) = waiting().next() else { return vec![] };
        let turn = waiting().find(|d| self.lets(d));
        let promoted = turn.map(|d| DeploymentPromoted { of: d.of }.into());
        let kept = turn.is_none_or(|d| d.of != first.of).then_some(self.lock.as_ref()).flatten();
        promoted.into_iter().chain(kept.and_then(|lock| first.locked_out(lock))).collect()
    }

    pub(super) fn holder(&self) -> Option<&Deployment> {
        self.iter().find(|d| d.state().holds())
    }

    /// What follows from another lock, or from none: the first waiting one has its turn, or says what it waits for.
    pub fn locked_anew(&self) -> Option<Event> {
        let Some(holder) = self.holder() else { return self.next(None).into_iter().next() };
        // What waited for a lock waits for what runs.
        let first = self.iter().find(|d| matches!(d.stand, Stand::Locked { .. }))?;
        if self.lock.is_some() {
            return first.locked_out(self.lock.as_ref()?);
        }
        let behind = Ahead { deployment_id: holder.of.deployment_id, build_name: holder.build_name.clone() };
        Some(DeploymentMovedUp { of: first.of, behind }.into())
    }
}

impl Deployment {
    /// That a lock keeps it waiting, unless that is what it says.
    pub(super) fn locked_out(&self, lock: &Lock) -> Option<Event> {
        let says_so = matches!(&self.stand, Stand::Locked { lock: there } if there == lock);
        (!says_so).then(|| DeploymentLockedOut { of: self.of, lock: lock.clone() }.into())
    }
}
