//! What goes for everything there is: who administers it, and the lock on all of it.

use super::event::{Event, InstallationEvent};
use super::lock_events::{Lock, Unlocked};
use super::rights::Who;

/// The installation as its events leave it; without any, nobody in Slack administers it and nothing is locked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Installation {
    /// Who may do everything everywhere, and lock all of it.
    pub administrators: Vec<Who>,
    /// Who keeps others out of everything.
    pub lock: Option<Lock>,
    /// How the last such lock went.
    pub unlocked: Option<Unlocked>,
    /// Events in its stream.
    pub version: i32,
}

impl Installation {
    /// The installation after one more event; events of other things change nothing.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        let Event::Installation(event) = event else { return self };
        match event {
            InstallationEvent::AdministratorsChanged(e) => self.administrators.clone_from(&e.administrators),
            // What was decided is signed and kept outside; here it is told.
            InstallationEvent::ForkDecided(_) => {}
            // What is gone is gone wherever it stood.
            InstallationEvent::PersonErased(_) => {}
            InstallationEvent::EverythingLocked(e) => self.lock = Some(e.lock.clone()),
            InstallationEvent::EverythingUnlocked(e) => {
                self.lock = None;
                self.unlocked = Some(Unlocked { lock: e.lock.clone(), by: e.by.clone(), at: e.at });
            }
        }
        self.version += 1;
        self
    }
}
