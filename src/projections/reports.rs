//! What people are told beside a build's message: directly, or in the thread under it.
//!
//! **Invariant:** one fact is told once in one place: a report's id is made of what it tells and of where it goes. What is
//! not so any more is not told.

use chrono::{DateTime, TimeDelta, Utc};

use super::lock_card::{self, LockCard};
use super::timed::Timed;
use super::words;
use crate::domain::deployment::{DeploymentRequested, Person, Stand, State, StopReason, Verdict};
use crate::domain::event::{DeploymentEvent, Event, Recorded};
use crate::domain::ids::{EventId, ReportId};
use crate::domain::lock::{Lock, LockTaken, Scope, Somebody};

/// Something to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its id.
    pub id: ReportId,
    /// Where it is told.
    pub to: To,
    /// Since when it is to be told.
    pub since: DateTime<Utc>,
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
        /// The lock, and who took it.
        taken: Box<LockTaken>,
        /// What it lay on.
        what: String,
        /// Of which project that is.
        project: Option<String>,
    },
    /// A lock without an end is there for long: its holder may have forgotten it.
    LockForgotten {
        /// The lock.
        card: Box<LockCard>,
        /// Of which project what it lies on is.
        project: Option<String>,
    },
}

/// The message of a lock in a channel.
pub fn of_lock(card: &LockCard, channel: &str) -> Report {
    // What lies on everything has one in each channel.
    let place = match card.lock.scope {
        Scope::Environment | Scope::Project => "channel".to_owned(),
        Scope::Everything => format!("channel {channel}"),
    };
    Report {
        id: ReportId::of(card.event.0, &place),
        to: To::Channel(channel.to_owned()),
        since: card.begun_at,
        went_wrong: false,
        fact: Fact::Lock(Box::new(card.clone())),
    }
}

/// What is to be told of a deployment, by its own events in their order, while these locks lie on its environment.
pub fn of_deployment(events: &[Recorded], locks: &[Lock]) -> Vec<Report> {
    let (timed, reports) = told_of(events);
    let waits = timed.is_some_and(|timed| timed.deployment.state() == State::Queued);
    newest(reports.into_iter().filter(|report| match &report.fact {
        Fact::Deployment(then) => match &then.deployment.stand {
            Stand::Locked { lock } => waits && locks.iter().any(|there| there.holder.same(&lock.holder)),
            _ => true,
        },
        Fact::Lock(_) | Fact::LockTaken { .. } | Fact::LockForgotten { .. } => true,
    }))
}

/// What was ever to be told of a deployment, also what is not so any more.
pub fn ever_of_deployment(events: &[Recorded]) -> Vec<Report> {
    newest(told_of(events).1.into_iter())
}

/// Of several that tell the same the newest words count.
fn newest(reports: impl DoubleEndedIterator<Item = Report>) -> Vec<Report> {
    let mut told = std::collections::HashSet::new();
    let mut newest: Vec<Report> = reports.rev().filter(|report| told.insert(report.id)).collect();
    newest.reverse();
    newest
}

/// The deployment as its events leave it, and what each of them tells.
fn told_of(events: &[Recorded]) -> (Option<Timed>, Vec<Report>) {
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
        let taken = match event {
            DeploymentEvent::Promoted(e) => e.lock_taken.as_deref(),
            DeploymentEvent::MovedUp(e) => e.lock_taken.as_deref(),
            DeploymentEvent::LockedOut(e) => e.lock_taken.as_deref(),
            _ => None,
        };
        let told = |taken: &LockTaken| {
            let place = (words::locked(taken.lock.scope, &timed.deployment), None);
            of_lock_taken((*event_id, *recorded_at), To::Thread, taken, place)
        };
        reports.extend(taken.map(told));
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
                (true, !matches!(&e.reason, StopReason::Person { by, .. } if presser.is(by)), true)
            }
            _ => continue,
        };
        let mut then = timed.clone();
        // What it waits behind goes on; that a lock will keep it is what is told.
        if let DeploymentEvent::Requested(DeploymentRequested { lock: Some(lock), .. }) = event {
            then.deployment.stand = Stand::Locked { lock: Lock::clone(lock) };
        }
        let mut tell = |to: To, place: &str| {
            reports.push(Report {
                id: ReportId::of(cause(event, timed, *event_id), place),
                to,
                since: *recorded_at,
                went_wrong,
                fact: Fact::Deployment(Box::new(then.clone())),
            });
        };
        if let Some(presser) = presser.person().filter(|_| to_presser) {
            tell(To::Person(presser.clone()), "person");
        }
        if in_thread {
            tell(To::Thread, "thread");
        }
    }
    (timed, reports)
}

/// How often the holder of a lock without an end was to be reminded of it by a time, and when they are next: every so long
/// from when it was taken, or from when they last said that it shall stay.
pub fn reminders(lock: &Lock, every: TimeDelta, now: DateTime<Utc>) -> (i64, DateTime<Utc>) {
    let from = lock.kept.unwrap_or(lock.since).max(lock.since);
    let so_far = ((now - from).num_seconds() / every.num_seconds().max(1)).max(0);
    (so_far, from + every * i32::try_from(so_far + 1).unwrap_or(i32::MAX))
}

/// What a report's id is made of: the event that it tells; that somebody waits for a person's lock is told once,
/// whatever becomes of the lock's reason and end.
fn cause(event: &DeploymentEvent, timed: &Timed, id: EventId) -> uuid::Uuid {
    let lock = match event {
        DeploymentEvent::Requested(e) => e.lock.as_deref(),
        DeploymentEvent::LockedOut(e) => Some(&e.lock),
        _ => None,
    };
    let holder = lock.map(|lock| match &lock.holder {
        Somebody::Person(person) => format!("waits for {} {}", person.team, person.user),
        Somebody::Operator { login } => format!("waits for operator {login}"),
    });
    holder.map_or(id.0, |words| EventId::following(timed.deployment.of.deployment_id.0, &words).0)
}

/// What the holder of a lock is to be told, by the events of what it lies on: that somebody took it away, not longer ago
/// than a time.
pub fn of_locks(events: &[Recorded], since: DateTime<Utc>, what: &str, project: Option<&str>) -> Vec<Report> {
    let taken = |recorded: &Recorded| {
        let taken = lock_card::taken(&recorded.event).filter(|_| recorded.recorded_at >= since)?;
        let owner = To::Person(taken.lock.holder.person()?.clone());
        Some(of_lock_taken((recorded.event_id, recorded.recorded_at), owner, &taken, (what, project)))
    };
    events.iter().filter_map(taken).collect()
}

fn of_lock_taken(
    (event, since): (EventId, DateTime<Utc>),
    to: To,
    taken: &LockTaken,
    (what, project): (&str, Option<&str>),
) -> Report {
    Report {
        id: ReportId::of(event.0, if to == To::Thread { "thread" } else { "person" }),
        to,
        since,
        went_wrong: true,
        fact: Fact::LockTaken {
            taken: Box::new(taken.clone()),
            what: what.to_owned(),
            project: project.map(str::to_owned),
        },
    }
}

/// That the holder of a lock without an end may have forgotten it: the last time that they were to be reminded.
pub fn of_forgotten(card: &LockCard, every: TimeDelta, now: DateTime<Utc>, project: Option<&str>) -> Option<Report> {
    let owner = card.lock.holder.person()?;
    let (so_far, next) = reminders(&card.lock, every, now);
    if card.gone.is_some() || card.lock.until.is_some() || so_far == 0 {
        return None;
    }
    // Made of when it was due: another setting makes other times, and no time is told twice.
    let due = next - every;
    Some(Report {
        id: ReportId::of(card.event.0, &format!("reminder {}", due.timestamp_micros())),
        to: To::Person(owner.clone()),
        since: due,
        went_wrong: true,
        fact: Fact::LockForgotten { card: Box::new(card.clone()), project: project.map(str::to_owned) },
    })
}
