//! What people are told beside a build's message: directly, or in the thread under it.
//!
//! **Invariant:** one fact is told once in one place: a report's id is made of what it tells and of where it goes. What is
//! not so any more is not told.

use chrono::{DateTime, Utc};

use super::lock_card::LockCard;
use super::timed::Timed;
use crate::domain::deployment::{Person, Stand, State, StopReason, Verdict};
use crate::domain::event::{DeploymentEvent, Event, Recorded, SettingsEvent};
use crate::domain::ids::{EventId, ReportId};
use crate::domain::lock::{Holder, Lock};

/// Something to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its id.
    pub id: ReportId,
    /// Where it is told.
    pub to: To,
    /// Whether it went wrong: who wants to hear of failures alone hears that.
    pub went_wrong: bool,
    /// What is told.
    pub fact: Fact,
}

/// Where something is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To a person directly.
    Person(Person),
    /// In the thread under the build's message.
    Thread,
    /// In a channel.
    Channel(String),
}

/// What is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// How a deployment goes.
    Deployment(Box<Timed>),
    /// How a lock stands.
    Lock(Box<LockCard>),
    /// Somebody else took a lock away.
    LockTaken {
        /// The lock.
        lock: Box<Lock>,
        /// Who took it.
        by: Holder,
        /// Which environment it was on.
        environment: String,
        /// Of which project.
        project: String,
    },
}

/// What is to be told of a deployment, by its own events in their order.
pub fn of_deployment(events: &[Recorded]) -> Vec<Report> {
    let mut timed: Option<Timed> = None;
    let mut reports = Vec::new();
    for Recorded { event, event_id, recorded_at, .. } in events {
        match (&mut timed, event) {
            (None, Event::Deployment(DeploymentEvent::Requested(e))) => {
                timed = Some(Timed::requested(e, *recorded_at));
            }
            (None, _) => continue,
            (Some(timed), event) => timed.apply(event, *recorded_at),
        }
        let (Some(timed), Event::Deployment(event)) = (&timed, event) else { continue };
        let presser = &timed.deployment.requested_by;
        // Whether it went wrong, whether the presser hears of it, whether it has a place in the thread.
        let (went_wrong, to_presser, in_thread) = match event {
            DeploymentEvent::Requested(e) if e.lock.is_some() => (false, true, true),
            DeploymentEvent::LockedOut(_) => (false, true, true),
            DeploymentEvent::Succeeded(_) => (false, true, false),
            DeploymentEvent::Failed(_) | DeploymentEvent::Lost(_) => (true, true, true),
            DeploymentEvent::Resolved(e) => (e.verdict == Verdict::Failed, true, true),
            // Who ended it themselves knows.
            DeploymentEvent::Stopped(e) => {
                (true, !matches!(&e.reason, StopReason::Person { by, .. } if by.is(presser)), true)
            }
            _ => continue,
        };
        let mut tell = |to: To, place: &str| {
            reports.push(Report {
                id: ReportId::of(cause(event, timed, *event_id), place),
                to,
                went_wrong,
                fact: Fact::Deployment(Box::new(timed.clone())),
            });
        };
        if to_presser {
            tell(To::Person(presser.clone()), "person");
        }
        if in_thread {
            tell(To::Thread, "thread");
        }
    }
    let waits_for = timed.as_ref().and_then(|timed| holder(&timed.deployment.stand));
    let mut told = std::collections::HashSet::new();
    let is_so = |report: &Report| match &report.fact {
        Fact::Deployment(then) if then.deployment.state() == State::Queued => {
            waits_for.zip(holder(&then.deployment.stand)).is_some_and(|(now, then)| now.same(then))
        }
        Fact::Deployment(_) => true,
        Fact::Lock(_) | Fact::LockTaken { .. } => true,
    };
    // Of several that tell the same the newest words count.
    let mut newest: Vec<Report> = reports.into_iter().rev().filter(|n| is_so(n) && told.insert(n.id)).collect();
    newest.reverse();
    newest
}

/// Whose lock it is that a deployment waits for.
fn holder(stand: &Stand) -> Option<&Holder> {
    if let Stand::Locked { lock } = stand { Some(&lock.holder) } else { None }
}

/// What a report's id is made of: the event that it tells; that somebody waits for a person's lock is told once,
/// whatever becomes of the lock's reason and end.
fn cause(event: &DeploymentEvent, timed: &Timed, id: EventId) -> uuid::Uuid {
    let lock = match event {
        DeploymentEvent::Requested(e) => e.lock.as_ref(),
        DeploymentEvent::LockedOut(e) => Some(&e.lock),
        _ => None,
    };
    let holder = lock.map(|lock| match &lock.holder {
        Holder::Person(person) => format!("waits for {} {}", person.team, person.user),
        Holder::Operator { login } => format!("waits for operator {login}"),
    });
    holder.map_or(id.0, |words| EventId::following(timed.deployment.of.deployment_id.0, &words).0)
}

/// What the holder of a lock is to be told, by the events of its environment: that somebody took it away, not longer ago
/// than a time.
pub fn of_environment(events: &[Recorded], since: DateTime<Utc>, environment: &str, project: &str) -> Vec<Report> {
    let taken = |recorded: &Recorded| {
        let Event::Settings(SettingsEvent::EnvironmentUnlocked(e)) = &recorded.event else { return None };
        let Holder::Person(owner) = &e.lock.holder else { return None };
        let by = e.by.clone()?;
        if matches!(&by, Holder::Person(by) if by.is(owner)) || recorded.recorded_at < since {
            return None;
        }
        Some(Report {
            id: ReportId::of(recorded.event_id.0, "person"),
            to: To::Person(owner.clone()),
            went_wrong: true,
            fact: Fact::LockTaken {
                lock: Box::new(e.lock.clone()),
                by,
                environment: environment.to_owned(),
                project: project.to_owned(),
            },
        })
    };
    events.iter().filter_map(taken).collect()
}
