//! Somebody locks an environment, or takes a lock away; a lock runs out.
//!
//! **Invariant:** with the end of a lock comes, in one append, what follows for those who wait.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{EnvironmentId, EventId, ProjectId};
use crate::domain::lock::{Holder, Lock, LockRefusal, Unlocking};
use crate::domain::project::Project;
use crate::domain::rights::Known;
use crate::projections::rows;
use crate::store::append::{Append, AppendError};

impl From<&Holder> for Actor {
    fn from(holder: &Holder) -> Self {
        match holder {
            Holder::Person(person) => person.into(),
            Holder::Operator { login } => Self::Operator { login: login.clone() },
        }
    }
}

impl App {
    /// Locks an environment, or gives a lock another reason or end.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn lock(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
        lock: Lock,
    ) -> Result<Lock, CommandError<LockRefusal>> {
        let actor = Actor::from(&lock.holder);
        // What has run out is nobody's any more.
        self.unlock_if(project, environment, &Unlocking::RanOut, &Actor::System).await?;
        let known = self.known_of(project, environment, Some(&lock.holder)).await?;
        let decide = |p: &Project| p.lock(environment, lock.clone(), &known).map(Some);
        let before = self.change_lock(project, environment, &actor, decide).await?;
        // One that was there was theirs, and is there since it was taken.
        Ok(Lock { since: before.map_or(lock.since, |before| before.since), ..lock })
    }

    /// Takes a lock away; tells which one it was.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn unlock(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
        how: &Unlocking,
    ) -> Result<Lock, CommandError<LockRefusal>> {
        let actor = match how {
            Unlocking::Own(by) | Unlocking::Any(by) | Unlocking::Asked(by, _) => Actor::from(by),
            Unlocking::RanOut => Actor::System,
        };
        self.unlock_if(project, environment, &Unlocking::RanOut, &Actor::System).await?;
        let gone = self.unlock_if(project, environment, how, &actor).await?;
        gone.ok_or_else(too_busy)
    }

    /// Records that a lock has run out, if it has; tells how long it still lasts, if it ends by itself.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_lock(&self, environment: EnvironmentId) -> Result<Option<Duration>, CommandError<Infallible>> {
        let Some(project) = self.store.directory().project_of(environment).await? else { return Ok(None) };
        match self.unlock_if(project, environment, &Unlocking::RanOut, &Actor::System).await {
            Ok(_) => {}
            // Nothing that runs out by itself is refused.
            Err(CommandError::Refused(_)) => return Ok(None),
            Err(CommandError::Unavailable(e)) => return Err(CommandError::Unavailable(e)),
            Err(CommandError::Impossible(e)) => return Err(CommandError::Impossible(e)),
        }
        let seen = self.project_anew(project).await?;
        let until = seen.and_then(|p| p.value.environment(environment)?.lock.as_ref()?.until);
        let left = |until: DateTime<Utc>| (until - self.store.clock().now()).to_std().unwrap_or(Duration::ZERO);
        Ok(until.map(left))
    }

    async fn unlock_if(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
        how: &Unlocking,
        actor: &Actor,
    ) -> Result<Option<Lock>, CommandError<LockRefusal>> {
        let now = self.store.clock().now();
        let who = match how {
            Unlocking::Own(holder) | Unlocking::Any(holder) | Unlocking::Asked(holder, _) => Some(holder),
            Unlocking::RanOut => None,
        };
        let known = self.known_of(project, environment, who).await?;
        self.change_lock(project, environment, actor, |p| p.unlock(environment, how, &known, now)).await
    }

    /// What is known of who wants to lock, or to take a lock away.
    async fn known_of(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
        who: Option<&Holder>,
    ) -> Result<Known, CommandError<LockRefusal>> {
        let Some(Holder::Person(person)) = who else { return Ok(Known::default()) };
        let project = self.project_anew(project).await?;
        Ok(match project.as_deref().and_then(|p| p.value.environment(environment)) {
            Some(environment) => self.known(environment, person).await?,
            None => Known::default(),
        })
    }

    /// Decides on the project as it stands, and records the outcome with what follows for those who wait. Tells the lock
    /// that was there before.
    async fn change_lock(
        &self,
        id: ProjectId,
        environment: EnvironmentId,
        actor: &Actor,
        decide: impl Fn(&Project) -> Result<Option<Event>, LockRefusal>,
    ) -> Result<Option<Lock>, CommandError<LockRefusal>> {
        let missing = || CommandError::Impossible("there is no such project".into());
        let mut seen = self.project(id).await?.ok_or_else(missing)?;
        for _ in 0..ATTEMPTS {
            let before = seen.value.environment(environment).and_then(|e| e.lock.clone());
            let nothing = match decide(&seen.value) {
                Ok(Some(event)) => {
                    match self.record_lock(&seen.value, seen.position, environment, &event, actor).await {
                        Ok(()) => return Ok(before),
                        Err(AppendError::Conflict) => None,
                        Err(e) => return Err(e.into()),
                    }
                }
                Ok(None) => Some(Ok(None)),
                Err(refusal) => Some(Err(CommandError::Refused(refusal))),
            };
            // What was remembered may be old: that nothing happens is only told on what is there.
            let position = seen.position;
            seen = self.project_anew(id).await?.ok_or_else(missing)?;
            if let Some(nothing) = nothing.filter(|_| seen.position == position) {
                return nothing;
            }
        }
        Err(too_busy())
    }

    async fn record_lock(
        &self,
        project: &Project,
        position: i64,
        environment: EnvironmentId,
        event: &Event,
        actor: &Actor,
    ) -> Result<(), AppendError> {
        let after = project.clone().evolve(event);
        let known = project.environment(environment);
        let lock = after.environment(environment).and_then(|e| e.lock.clone());
        let unavailable = |e: sqlx::Error| AppendError::Unavailable(std::sync::Arc::new(e));
        let line = self.store.deployments().line(environment, lock, None, None, false).await.map_err(unavailable)?;
        let event_id = new_event_id();
        let mut append = Append::default();
        record(&mut append, event_id, event, actor, known.map_or(0, |e| e.version));
        append.row(rows::of_project(after));
        if let Some(next) = line.value.locked_anew() {
            let stream = next.address().stream;
            let waiting = line.value.iter().find(|d| d.of.deployment_id.0 == stream).expect("it is in the line");
            record(&mut append, EventId::following(event_id.0, &next.occasion()), &next, actor, waiting.version);
            append.because(event_id);
            append.row(rows::of_deployment(waiting.clone().evolve(&next)));
        }
        append.guard(environment.0, line.position);
        append.guard(project.id.0, position);
        self.store.append(append).await.map(|_| ())
    }
}
