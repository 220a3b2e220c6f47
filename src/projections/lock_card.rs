//! What a lock's message in the channel says: a fold of its environment's events and nothing else.

use chrono::{DateTime, Utc};

use crate::domain::event::{Event, Recorded, SettingsEvent};
use crate::domain::ids::{EnvironmentId, ReportId};
use crate::domain::lock::{Holder, Lock};

/// A lock's message as data.
#[derive(Debug, Clone, PartialEq)]
pub struct LockCard {
    /// The message's id: of the event that made the lock.
    pub id: ReportId,
    /// The environment.
    pub environment_id: EnvironmentId,
    /// What it is called.
    pub environment: String,
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
    pub by: Option<Holder>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The locks that an environment has had, by its events, the oldest first.
pub fn of_environment(events: &[Recorded], environment: &str) -> Vec<LockCard> {
    let mut cards: Vec<LockCard> = Vec::new();
    for recorded in events {
        match &recorded.event {
            Event::Settings(SettingsEvent::EnvironmentLocked(e)) => match cards.last_mut() {
                Some(card) if card.gone.is_none() => card.lock.clone_from(&e.lock),
                _ => cards.push(LockCard {
                    id: ReportId::of(recorded.event_id.0, "channel"),
                    environment_id: e.environment_id,
                    environment: environment.to_owned(),
                    lock: e.lock.clone(),
                    begun_at: recorded.recorded_at,
                    gone: None,
                }),
            },
            Event::Settings(SettingsEvent::EnvironmentUnlocked(e)) => {
                if let Some(card) = cards.last_mut().filter(|card| card.gone.is_none()) {
                    card.gone = Some(Gone { by: e.by.clone(), at: e.at });
                }
            }
            _ => {}
        }
    }
    cards
}
