//! What goes for everything there is: who administers it, and the lock on all of it.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::event::{Actor, Event};
use crate::domain::ids::installation_stream;
use crate::domain::installation::Installation;
use crate::domain::lock::Lock;
use crate::domain::project::{LOCK_REMINDER_HOURS, Project};
use crate::domain::rights::{AdministratorsChanged, Who};
use crate::store::append::Append;
use crate::store::directory::Seen;
use crate::store::log::{Log, ReadError};

/// People and groups that administer everything, at most.
const ADMINISTRATORS_MAX: usize = 100;

/// Why nobody was made an administrator.
#[derive(Debug, thiserror::Error)]
#[error("at most {ADMINISTRATORS_MAX} people and groups can administer everything; name a group instead")]
pub struct TooManyAdministrators;

/// The project and what goes for everything, as a decision saw them: with the position that each was read at, which the append
/// guards.
#[derive(Clone, Default)]
pub(super) struct Surroundings {
    /// Its project; none when it is unknown.
    pub project: Option<Arc<Seen<Project>>>,
    /// What goes for everything.
    pub installation: Arc<Seen<Installation>>,
}

impl Surroundings {
    /// The locks that lie on an environment: its own, its project's, that of everything.
    pub fn locks(&self, environment: crate::domain::ids::EnvironmentId) -> Vec<Lock> {
        let project = self.project.as_deref().map(|seen| &seen.value);
        let own = project.and_then(|p| p.environment(environment)?.lock.clone());
        let of_project = project.and_then(|p| p.lock.clone());
        [own, of_project, self.installation.value.lock.clone()].into_iter().flatten().collect()
    }

    /// Both after an event of theirs, at the positions that they were seen at.
    pub fn after(&self, event: &Event) -> Self {
        let project = self
            .project
            .as_ref()
            .map(|seen| Arc::new(Seen { position: seen.position, value: seen.value.clone().evolve(event) }));
        let seen = &self.installation;
        let installation = Arc::new(Seen { position: seen.position, value: seen.value.clone().evolve(event) });
        Self { project, installation }
    }

    /// The positions that both were seen at.
    pub fn positions(&self) -> (Option<i64>, i64) {
        (self.project.as_ref().map(|project| project.position), self.installation.position)
    }

    /// How often whoever forgot a lock is reminded of it; never without.
    pub fn remind_every(&self) -> Option<TimeDelta> {
        let hours = match &self.project {
            Some(project) => project.value.lock_reminder_hours,
            None => Some(LOCK_REMINDER_HOURS),
        };
        hours.map(|hours| TimeDelta::hours(hours.into()))
    }

    /// An append holds only while both are as they were seen.
    pub fn guard(&self, append: &mut Append) {
        if let Some(project) = &self.project {
            append.guard(project.value.id.0, project.position);
        }
        append.guard(installation_stream(), self.installation.position);
    }
}

/// What goes for everything, as its events up to a position leave it; gone on with from what is known of it.
///
/// # Errors
/// When the database does not answer, or an event can't be read.
pub(super) async fn of(
    log: Log<'_>,
    known: Option<&Seen<Installation>>,
    until: i64,
) -> Result<Seen<Installation>, ReadError> {
    let mut seen = match known {
        Some(known) => Seen { position: known.position, value: known.value.clone() },
        None => Seen { position: 0, value: Installation::default() },
    };
    loop {
        let page = log.about_from(installation_stream(), seen.position, until).await?;
        if page.is_empty() {
            return Ok(seen);
        }
        seen = page.into_iter().fold(seen, |seen, recorded| Seen {
            position: recorded.position,
            value: seen.value.evolve(&recorded.event),
        });
    }
}

impl App {
    /// What goes for everything, from memory if it was read before.
    pub(super) async fn installation(&self) -> Result<Arc<Seen<Installation>>, ReadError> {
        let known = self.remembered().installation();
        match known {
            Some(installation) => Ok(installation),
            None => self.installation_anew().await,
        }
    }

    /// What goes for everything, read anew.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn installation_anew(&self) -> Result<Arc<Seen<Installation>>, ReadError> {
        let erasures = self.store.wake().erasures();
        let known = self.remembered().installation();
        let seen = Arc::new(of(self.store.log(), known.as_deref(), i64::MAX).await?);
        if self.store.wake().erasures() != erasures {
            return Ok(seen);
        }
        self.memory.keep_installation(&seen);
        Ok(seen)
    }

    /// Says who administers everything.
    ///
    /// # Errors
    /// When there are too many, or the database is away.
    pub async fn appoint(
        &self,
        administrators: Vec<Who>,
        actor: &Actor,
    ) -> Result<(), CommandError<TooManyAdministrators>> {
        if administrators.len() > ADMINISTRATORS_MAX {
            return Err(CommandError::Refused(TooManyAdministrators));
        }
        self.record_of_everything(&AdministratorsChanged { administrators }.into(), actor).await
    }

    /// Records an event of what goes for everything, whatever happened there before.
    pub(super) async fn record_of_everything<R: std::error::Error>(
        &self,
        event: &Event,
        actor: &Actor,
    ) -> Result<(), CommandError<R>> {
        for _ in 0..ATTEMPTS {
            let seen = self.installation_anew().await?;
            let mut append = Append::default();
            record(&mut append, new_event_id(), event, actor, seen.value.version);
            if self.append_unless_moved(append).await?.is_some() {
                self.installation_anew().await?;
                return Ok(());
            }
        }
        Err(too_busy())
    }
}
