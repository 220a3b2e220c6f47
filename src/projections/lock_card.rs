//! What a lock's message in the channel says: a fold of the events of what it lies on and nothing else.

use chrono::{DateTime, Utc};

use crate::domain::event::{Event, InstallationEvent, Recorded, SettingsEvent};
use crate::domain::ids::{EventId, LockableId};
use crate::domain::lock::{Lock, LockTaken, Somebody};

/// A lock's message as data.
#[derive(Debug, Clone, PartialEq)]
pub struct LockCard {
    /// The event that made the lock.
    pub event: EventId,
    /// What it lies on.
    pub lockable: LockableId,
    /// What that is called, in a sentence.
    pub what: String,
    /// The lock, with the reason and the end that it has now, or had at last.
    pub lock: Lock,
    /// When it was made, by the log's time.
    pub begun_at: DateTime<Utc>,
    /// How it went.
    pub gone: Option<Gone>,
}

/// How a lock went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Who took it away; none when it ran out.
    pub by: Option<Somebody>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The locks that a thing has had, by the events of its stream, the oldest first.
pub fn of_stream(events: &[Recorded], (id, what): (LockableId, &str)) -> Vec<LockCard> {
    let mut cards: Vec<LockCard> = Vec::new();
    for recorded in events {
        match change(&recorded.event) {
            Some(Change::Locked(lock)) => match cards.last_mut() {
                Some(card) if card.gone.is_none() => card.lock.clone_from(lock),
                _ => cards.push(LockCard {
                    event: recorded.event_id,
                    lockable: id,
                    what: what.to_owned(),
                    lock: lock.clone(),
                    begun_at: recorded.recorded_at,
                    gone: None,
                }),
            },
            Some(Change::Unlocked { by, at, .. }) => {
                if let Some(card) = cards.last_mut().filter(|card| card.gone.is_none()) {
                    card.gone = Some(Gone { by: by.cloned(), at });
                }
            }
            None => {}
        }
    }
    cards
}

/// What an event does to a lock.
pub enum Change<'a> {
    /// It is there, or is another one now.
    Locked(&'a Lock),
    /// It is gone.
    Unlocked {
        /// The lock.
        lock: &'a Lock,
        /// Who took it away; none when it ran out.
        by: Option<&'a Somebody>,
        /// When.
        at: DateTime<Utc>,
    },
}

/// The lock that an event takes away from its holder, by somebody else.
pub fn taken(event: &Event) -> Option<LockTaken> {
    let Some(Change::Unlocked { lock, by: Some(by), .. }) = change(event) else { return None };
    (!by.same(&lock.holder)).then(|| LockTaken { lock: lock.clone(), by: by.clone() })
}

/// What an event does to a lock, whatever that lies on; nothing when it is about something else.
pub fn change(event: &Event) -> Option<Change<'_>> {
    use InstallationEvent::{EverythingLocked, EverythingUnlocked};
    use SettingsEvent::{EnvironmentLocked, EnvironmentUnlocked, ProjectLocked, ProjectUnlocked};
    let (lock, by, at) = match event {
        Event::Settings(EnvironmentLocked(e)) => return Some(Change::Locked(&e.lock)),
        Event::Settings(ProjectLocked(e)) => return Some(Change::Locked(&e.lock)),
        Event::Installation(EverythingLocked(e)) => return Some(Change::Locked(&e.lock)),
        Event::Settings(EnvironmentUnlocked(e)) => (&e.lock, e.by.as_ref(), e.at),
        Event::Settings(ProjectUnlocked(e)) => (&e.lock, e.by.as_ref(), e.at),
        Event::Installation(EverythingUnlocked(e)) => (&e.lock, e.by.as_ref(), e.at),
        _ => return None,
    };
    Some(Change::Unlocked { lock, by, at })
}
