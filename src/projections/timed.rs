//! A deployment with the times that the log gives it: what lists, pages, lines of a message and its time limit are told
//! from.

use chrono::{DateTime, Utc};

use crate::domain::deployment::{Deployment, DeploymentRequested};
use crate::domain::event::{DeploymentEvent, Event, Recorded};

/// A deployment and its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// The deployment.
    pub deployment: Deployment,
    /// When the button was pressed.
    pub requested_at: DateTime<Utc>,
    /// When its container was started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was found that nobody can tell how it goes.
    pub lost_at: Option<DateTime<Utc>>,
    /// When it came where it stands.
    pub since: DateTime<Utc>,
}

impl Timed {
    /// The deployment that a press made.
    pub fn requested(event: &DeploymentRequested, at: DateTime<Utc>) -> Self {
        Self { deployment: Deployment::requested(event), requested_at: at, started_at: None, lost_at: None, since: at }
    }

    /// Folds a deployment's own events. `None` when they don't begin with an accepted press.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Option<Self> {
        let mut timed: Option<Self> = None;
        for Recorded { event, recorded_at, .. } in events {
            match (&mut timed, event) {
                (Some(timed), event) => timed.apply(event, *recorded_at),
                (None, Event::Deployment(DeploymentEvent::Requested(e))) => {
                    timed = Some(Self::requested(e, *recorded_at));
                }
                (None, _) => {}
            }
        }
        timed
    }

    /// Applies one more event of its own.
    pub fn apply(&mut self, event: &Event, at: DateTime<Utc>) {
        let before = self.deployment.state();
        self.deployment.apply(event);
        if self.deployment.state() != before {
            self.since = at;
        }
        match event {
            Event::Deployment(DeploymentEvent::Started(_)) => self.started_at = Some(at),
            Event::Deployment(DeploymentEvent::Lost(_)) => self.lost_at = Some(at),
            _ => {}
        }
    }

    /// When it ended, if it has. What a person decided afterwards ended when it was lost, as far as anybody knows.
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        self.deployment.state().is_over().then(|| self.lost_at.unwrap_or(self.since))
    }

    /// How long its container ran, in seconds; while it runs, until a time. Of what is unknown, until that was found.
    pub fn ran(&self, now: DateTime<Utc>) -> Option<i64> {
        let until = self.ended_at().or(self.lost_at).unwrap_or(now);
        self.started_at.map(|started| (until - started).num_seconds())
    }
}
