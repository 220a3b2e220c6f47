//! An environment's line: who holds it, who waits, and what follows when that changes.
//!
//! **Invariant:** at most one deployment holds an environment (is ready, pulling, starting, running, cancelling or
//! unknown); the rest wait in the order of their presses. Nobody has their turn whom any lock keeps out.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::build_events::Source;
use super::deployment::*;
use super::event::Event;
use super::ids::*;
use super::lock_events::{Lock, LockTaken};

/// The open deployments of one environment in the order of their presses, and the locks that lie on it. One of them at
/// most holds it: the first, unless a lock lets later ones through. Of a long line only what decisions need: its holder,
/// its first two, its last, the first that the locks let through, and those of the build in question.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// The deployments.
    pub open: Vec<Deployment>,
    /// The locks: its own, its project's, that of everything.
    pub locks: Vec<Lock>,
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
    /// When it had gone well.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
}

impl std::ops::Deref for Line {
    type Target = [Deployment];
    fn deref(&self) -> &[Deployment] {
        &self.open
    }
}

impl Line {
    /// The deployment of this line that an event is of. Of no other one is anything decided here.
    pub fn of(&self, event: &Event) -> &Deployment {
        let stream = event.address().stream;
        self.iter().find(|d| d.of.deployment_id.0 == stream).expect("what is decided in a line is of its deployments")
    }

    /// The lock that keeps somebody waiting, if one does.
    pub(super) fn keeps(&self, who: &Somebody) -> Option<&Lock> {
        self.locks.iter().find(|lock| !lock.lets(who))
    }

    pub(super) fn lets(&self, deployment: &Deployment) -> bool {
        self.keeps(&deployment.requested_by).is_none()
    }

    /// What follows when nobody but, perhaps, one that ends holds the environment: the first that may has its turn; where
    /// a lock keeps the first one waiting, it says so.
    pub(super) fn next(&self, but: Option<DeploymentId>) -> Vec<Event> {
        self.next_when(but, &[])
    }

    /// What follows, as [`Line::next`] says, when somebody took locks away, which is told of who waited for them.
    fn next_when(&self, but: Option<DeploymentId>, taken: &[LockTaken]) -> Vec<Event> {
        let waiting = || self.iter().filter(|d| Some(d.of.deployment_id) != but && d.state() == State::Queued);
        let Some(first) = waiting().next() else { return vec![] };
        let turn = waiting().find(|d| self.lets(d));
        let promoted = turn.map(|d| DeploymentPromoted { of: d.of, lock_taken: taken_from_before(d, taken) }.into());
        promoted.into_iter().chain(self.kept_out_when(first, taken)).collect()
    }

    pub(super) fn holder(&self) -> Option<&Deployment> {
        self.iter().find(|d| d.state().holds())
    }

    /// What follows from another lock, or from none: the first waiting one has its turn, or says what it waits for. That
    /// somebody took away the one that it waited for is told with it, where that is one of these.
    pub fn locked_anew(&self, taken: &[LockTaken]) -> Option<Event> {
        let Some(holder) = self.holder() else { return self.next_when(None, taken).into_iter().next() };
        // What waited for a lock waits for what runs.
        let first = self.iter().find(|d| matches!(d.stand, Stand::Locked { .. }))?;
        if !self.lets(first) {
            return self.kept_out_when(first, taken);
        }
        let behind = Ahead { deployment_id: holder.of.deployment_id, build_name: holder.build_name.clone() };
        Some(DeploymentMovedUp { of: first.of, behind, lock_taken: taken_from_before(first, taken) }.into())
    }

    /// That a lock keeps one waiting, if one does and that is not what it says already.
    pub(super) fn kept_out(&self, deployment: &Deployment) -> Option<Event> {
        self.kept_out_when(deployment, &[])
    }

    fn kept_out_when(&self, deployment: &Deployment, taken: &[LockTaken]) -> Option<Event> {
        let lock = self.keeps(&deployment.requested_by)?;
        let says_so = matches!(&deployment.stand, Stand::Locked { lock: there } if there.says_the_same(lock));
        (!says_so).then(|| {
            let lock_taken = taken_from_before(deployment, taken);
            DeploymentLockedOut { of: deployment.of, lock: lock.clone(), lock_taken }.into()
        })
    }
}

/// The lock that a deployment said it waits for, if it is one of those that were taken away.
fn taken_from_before(waiting: &Deployment, taken: &[LockTaken]) -> Option<Box<LockTaken>> {
    let Stand::Locked { lock } = &waiting.stand else { return None };
    taken.iter().find(|taken| taken.lock.is_the_same(lock)).cloned().map(Box::new)
}
