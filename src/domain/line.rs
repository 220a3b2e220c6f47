//! An environment's line: who holds it, who waits, and what follows when that changes.
//!
//! **Invariant:** at most one deployment holds an environment (is ready, pulling, starting, running, cancelling or
//! unknown); the rest wait in the order of their presses. Nobody has their turn whom any lock keeps out.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::build_events::Source;
use super::deployment::*;
use super::event::{DeploymentEvent, Event};
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

    /// The events that hand the environment on: the first deployment that no lock keeps waiting has its turn, and one that a
    /// lock keeps waiting says so. None while another than `but`, which is ending, holds the environment.
    pub(super) fn next(&self, but: Option<DeploymentId>) -> Vec<Event> {
        self.next_when(but, &[])
    }

    /// What follows, as [`Line::next`] says, when somebody took locks away, which is told of who waited for them.
    fn next_when(&self, but: Option<DeploymentId>, taken: &[LockTaken]) -> Vec<Event> {
        let waiting = || self.waiting().filter(|d| Some(d.of.deployment_id) != but);
        let Some(first) = waiting().next() else { return vec![] };
        let turn = waiting().find(|d| self.lets(d));
        let promoted = turn.map(|d| DeploymentPromoted { of: d.of, lock_taken: taken_from_before(d, taken) }.into());
        promoted.into_iter().chain(self.kept_out_when(first, taken)).collect()
    }

    /// Ends the waiting behind one that leaves the line, after `meanwhile`: who said so waits behind whom that one waited behind,
    /// or else behind whoever has the environment now, or is the first that waits for it.
    pub(super) fn moved_up(&self, gone: &Deployment, meanwhile: &[Event]) -> Vec<Event> {
        let id = gone.of.deployment_id;
        let promoted = meanwhile.iter().find(|e| matches!(e, Event::Deployment(DeploymentEvent::Promoted(_))));
        let others = || self.iter().filter(|d| d.of.deployment_id != id);
        let ahead = match &gone.stand {
            Stand::Queued { behind } => Some(behind.clone()),
            _ => promoted
                .map(|event| self.of(event))
                .or_else(|| others().find(|d| d.state().holds()))
                .or_else(|| others().find(|d| d.state() == State::Queued))
                .map(Deployment::ahead),
        };
        let Some(ahead) = ahead else { return vec![] };
        let is_told = |d: &Deployment| meanwhile.iter().any(|event| event.address().stream == d.of.deployment_id.0);
        let waits = |d: &&Deployment| {
            matches!(&d.stand, Stand::Queued { behind } if behind.deployment_id == id)
                && d.of.deployment_id != ahead.deployment_id
                && !is_told(d)
        };
        let moved_up = |d: &Deployment| DeploymentMovedUp { of: d.of, behind: ahead.clone(), lock_taken: None }.into();
        self.iter().filter(waits).map(moved_up).collect()
    }

    pub(super) fn holder(&self) -> Option<&Deployment> {
        self.iter().find(|d| d.state().holds())
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Deployment> {
        self.iter().filter(|d| d.state() == State::Queued)
    }

    /// What follows from another lock, or from none: the first that may has its turn, and the first waiting one says what it
    /// waits for. That somebody took away the one that it waited for is told with it, where that is one of these.
    pub fn locked_anew(&self, taken: &[LockTaken]) -> Vec<Event> {
        let Some(holder) = self.holder() else { return self.next_when(None, taken) };
        // What waited for a lock waits for what runs.
        let Some(first) = self.iter().find(|d| matches!(d.stand, Stand::Locked { .. })) else { return vec![] };
        if !self.lets(first) {
            return self.kept_out_when(first, taken).into_iter().collect();
        }
        let lock_taken = taken_from_before(first, taken);
        vec![DeploymentMovedUp { of: first.of, behind: holder.ahead(), lock_taken }.into()]
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
