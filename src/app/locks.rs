//! Somebody locks an environment, a project or everything, or takes a lock away; a lock runs out.
//!
//! **Invariant:** with the end of an environment's lock comes, in one append, what follows for those who wait there. What
//! lies on more environments than one is told to their lines one by one, by a job.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::installation::Surroundings;
use super::{ATTEMPTS, App, CommandError, following, new_event_id, record, record_waiting, too_busy};
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{EnvironmentId, EventId, LockableId, ProjectId};
use crate::domain::lock::{Lock, LockRefusal, LockTaken, Lockable, Somebody, Unlocking};
use crate::domain::react::Task;
use crate::domain::rights::Known;
use crate::projections::reports::{self, Report};
use crate::projections::{lock_card, rows};
use crate::store::append::{Append, AppendError};
use crate::store::log::ReadError;
use crate::telemetry::causes;

/// Where something that can be locked is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An environment of a project.
    Environment(ProjectId, EnvironmentId),
    /// A project.
    Project(ProjectId),
    /// Everything.
    Everything,
}

impl Target {
    /// Its id.
    pub fn id(self) -> LockableId {
        match self {
            Self::Environment(_, id) => id.into(),
            Self::Project(id) => id.into(),
            Self::Everything => LockableId::everything(),
        }
    }

    /// It as it stands, if it is there.
    pub(super) fn in_what(self, around: &Surroundings) -> Option<Lockable<'_>> {
        let project = around.project.as_deref().map(|seen| &seen.value);
        match self {
            Self::Environment(_, id) => Some(Lockable::Environment(project?, project?.environment(id)?)),
            Self::Project(_) => Some(Lockable::Project(project?)),
            Self::Everything => Some(Lockable::Everything(&around.installation.value)),
        }
    }

    /// The project that it is, or is in.
    pub(super) fn project(self) -> Option<ProjectId> {
        match self {
            Self::Environment(project, _) | Self::Project(project) => Some(project),
            Self::Everything => None,
        }
    }
}

impl App {
    /// What has this id, if it can be locked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn lockable(&self, id: LockableId) -> Result<Option<Target>, sqlx::Error> {
        if id == LockableId::everything() {
            return Ok(Some(Target::Everything));
        }
        let directory = self.store.directory();
        if let Some(project) = directory.project_of(EnvironmentId(id.0)).await? {
            return Ok(Some(Target::Environment(project, EnvironmentId(id.0))));
        }
        Ok(directory.project(ProjectId(id.0)).await?.map(|project| Target::Project(project.value.id)))
    }

    /// Locks something, or gives a lock another reason or end.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn lock(&self, target: Target, lock: Lock) -> Result<Lock, CommandError<LockRefusal>> {
        // What has run out is nobody's any more.
        self.unlock_if(target, &Unlocking::RanOut).await?;
        let holder = lock.holder.clone();
        let decide = |what: Lockable<'_>, known: &Known| what.lock(lock.clone(), known).map(Some);
        let changed = self.change_lock(target, Some(&holder), decide).await?.ok_or_else(too_busy)?;
        Ok(changed.after.unwrap_or(lock))
    }

    /// Somebody says that the lock which they were reminded of shall stay.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn keep_lock(
        &self,
        target: Target,
        by: &Somebody,
        since: DateTime<Utc>,
    ) -> Result<Lock, CommandError<LockRefusal>> {
        self.unlock_if(target, &Unlocking::RanOut).await?;
        let now = self.store.clock().now();
        let decide = |what: Lockable<'_>, _: &Known| what.keep(by, since, now).map(Some);
        let changed = self.change_lock(target, Some(by), decide).await?;
        changed.and_then(|changed| changed.after).ok_or_else(too_busy)
    }

    /// Takes a lock away; tells which one it was.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn unlock(&self, target: Target, how: &Unlocking) -> Result<Lock, CommandError<LockRefusal>> {
        self.unlock_if(target, &Unlocking::RanOut).await?;
        self.unlock_if(target, how).await?.ok_or_else(too_busy)
    }

    /// Records that a lock has run out, if it has; tells how long it still lasts, if it ends by itself.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_lock(&self, id: LockableId) -> Result<Option<Duration>, CommandError<Infallible>> {
        let Some(target) = self.lockable(id).await? else { return Ok(None) };
        if let Err(e) = self.unlock_if(target, &Unlocking::RanOut).await {
            // Nothing that runs out by itself is refused.
            e.refusal()?;
            return Ok(None);
        }
        let around = self.around_anew(target.project()).await?;
        let until = target.in_what(&around).and_then(Lockable::lock_there).and_then(|lock| lock.until);
        let left = |until: DateTime<Utc>| (until - self.store.clock().now()).to_std().unwrap_or(Duration::ZERO);
        Ok(until.map(left))
    }

    /// Records of all locks that lie on an environment that they have run out, if they have.
    pub(super) async fn end_locks_on<R: std::error::Error>(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
    ) -> Result<(), CommandError<R>> {
        for lockable in [environment.into(), project.into(), LockableId::everything()] {
            if let Err(e) = self.end_lock(lockable).await {
                match e.refusal()? {}
            }
        }
        Ok(())
    }

    /// Asks for reminders of the locks without an end whose holders may have forgotten them, and were not reminded yet.
    ///
    /// # Errors
    /// When the database does not answer, or what goes for everything can't be read. A lock of which an event can't be read is in
    /// no other one's way.
    pub async fn remind_of_locks(&self) -> Result<(), ReadError> {
        let mut forgotten: Vec<LockableId> =
            self.store.directory().locked_for_good().await?.into_iter().map(LockableId).collect();
        if self.installation_anew().await?.value.lock.is_some() {
            forgotten.push(LockableId::everything());
        }
        for id in forgotten {
            let reminder = match self.reminder(id).await {
                Err(e @ ReadError::Database(_)) => return Err(e),
                Err(e) => {
                    tracing::warn!(lock.of = %id.0, error = causes(&e), "nobody can be reminded of a lock");
                    None
                }
                Ok(reminder) => reminder,
            };
            if let Some(report) = reminder
                && self.store.reports().get(report.id).await?.is_none()
            {
                self.store.jobs().want(Task::ReportLock(id)).await?;
            }
        }
        Ok(())
    }

    /// That the holder of a lock may have forgotten it, if that is to be told now.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn reminder(&self, id: LockableId) -> Result<Option<Report>, ReadError> {
        let Some(about) = self.told_of_locks(id).await? else { return Ok(None) };
        let events = self.store.log().last_of_locks(id.0).await?;
        let cards = lock_card::of_stream(&events, (id, &about.what));
        let now = self.store.clock().now();
        let last = cards.last().zip(about.remind_every);
        Ok(last.and_then(|(card, every)| reports::of_forgotten(card, every, now, about.project.as_deref())))
    }

    async fn unlock_if(&self, target: Target, how: &Unlocking) -> Result<Option<Lock>, CommandError<LockRefusal>> {
        let now = self.store.clock().now();
        let decide = |what: Lockable<'_>, known: &Known| what.unlock(how, known, now);
        Ok(self.change_lock(target, how.by(), decide).await?.and_then(|changed| changed.before))
    }

    /// A project and what goes for everything, from memory: they may be old, which the append's guards notice.
    pub(super) async fn around(&self, project: Option<ProjectId>) -> Result<Surroundings, ReadError> {
        let project = match project {
            Some(id) => self.project(id).await?,
            None => None,
        };
        Ok(Surroundings { project, installation: self.installation().await? })
    }

    /// The same, folded from the log now.
    pub(super) async fn around_anew(&self, project: Option<ProjectId>) -> Result<Surroundings, ReadError> {
        let project = match project {
            Some(id) => self.project_anew(id).await?,
            None => None,
        };
        Ok(Surroundings { project, installation: self.installation_anew().await? })
    }

    /// Where messages about the locks of something are posted, and what it is called in them; `None` where it is not there any
    /// more.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn told_of_locks(&self, id: LockableId) -> Result<Option<Telling>, ReadError> {
        let Some(target) = self.lockable(id).await? else { return Ok(None) };
        let around = self.around_anew(target.project()).await?;
        let Some(what) = target.in_what(&around) else { return Ok(None) };
        let channels = match &around.project {
            Some(project) => vec![project.value.channel.clone()],
            None => self.store.directory().channels().await?,
        };
        // What is called by its project's name needs no other.
        let project = around.project.as_ref().filter(|_| matches!(target, Target::Environment(..)));
        Ok(Some(Telling {
            what: what.name(),
            project: project.map(|project| project.value.name.clone()),
            channels,
            remind_every: around.remind_every().filter(|_| what.is_there().is_ok()),
        }))
    }

    /// The locks that lie on an environment now.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn locks_on(&self, project: ProjectId, environment: EnvironmentId) -> Result<Vec<Lock>, ReadError> {
        Ok(self.around_anew(Some(project)).await?.locks(environment))
    }

    /// Decides on what is there, and records the outcome with what follows for those who wait.
    async fn change_lock(
        &self,
        target: Target,
        who: Option<&Somebody>,
        decide: impl Fn(Lockable<'_>, &Known) -> Result<Option<Event>, LockRefusal>,
    ) -> Result<Option<Changed>, CommandError<LockRefusal>> {
        let missing = || CommandError::Refused(LockRefusal::Gone("what that is about".to_owned()));
        let actor = who.map_or(Actor::System, Actor::from);
        let mut around = self.around(target.project()).await?;
        let mut known = self.known_of(target, &around, who).await?;
        for _ in 0..ATTEMPTS {
            let what = match target.in_what(&around) {
                Some(what) => what,
                None => {
                    around = self.around_anew(target.project()).await?;
                    target.in_what(&around).ok_or_else(missing)?
                }
            };
            let before = what.lock_there().cloned();
            let nothing = match decide(what, &known) {
                Ok(Some(event)) => match self.record_lock(target, &around, &event, &actor).await {
                    Ok(after) => return Ok(Some(Changed { before, after })),
                    Err(AppendError::Conflict) => None,
                    Err(e) => return Err(e.into()),
                },
                Ok(None) => Some(Ok(None)),
                Err(refusal) => Some(Err(CommandError::Refused(refusal))),
            };
            // What was remembered may be old: that nothing happens is only told on what is there.
            let seen = around.positions();
            around = self.around_anew(target.project()).await?;
            if let Some(nothing) = nothing.filter(|_| around.positions() == seen) {
                return nothing;
            }
            known = self.known_of(target, &around, who).await?;
        }
        Err(too_busy())
    }

    /// What is known of who wants to lock, or to take a lock away.
    async fn known_of(
        &self,
        target: Target,
        around: &Surroundings,
        who: Option<&Somebody>,
    ) -> Result<Known, CommandError<LockRefusal>> {
        let (Some(Somebody::Person(person)), Some(what)) = (who, target.in_what(around)) else {
            return Ok(Known::default());
        };
        let rights: Vec<_> = what.rights().into_iter().map(|(_, rights)| rights).collect();
        Ok(self.known(&around.installation.value, &rights, person).await?)
    }

    async fn record_lock(
        &self,
        target: Target,
        around: &Surroundings,
        event: &Event,
        actor: &Actor,
    ) -> Result<Option<Lock>, AppendError> {
        let after = around.after(event);
        let version = match (target, &around.project) {
            (Target::Environment(_, id), Some(project)) => project.value.environment(id).map_or(0, |e| e.version),
            (_, Some(project)) => project.value.version,
            (_, None) => around.installation.value.version,
        };
        let event_id = new_event_id();
        let mut append = Append::default();
        record(&mut append, event_id, event, actor, version);
        if let Some(project) = &after.project {
            append.row(rows::of_project(project.value.clone()));
        }
        if let Target::Environment(_, environment) = target {
            self.line_moves(
                environment,
                &after,
                (Some(event_id), lock_card::taken(event).as_slice()),
                actor,
                &mut append,
            )
            .await?;
        }
        around.guard(&mut append);
        self.store.append(append).await?;
        Ok(target.in_what(&after).and_then(Lockable::lock_there).cloned())
    }

    /// Adds what follows in an environment's line from the locks that lie on it; `false` when nothing does.
    async fn line_moves(
        &self,
        environment: EnvironmentId,
        around: &Surroundings,
        (cause, taken): (Option<EventId>, &[LockTaken]),
        actor: &Actor,
        append: &mut Append,
    ) -> Result<bool, AppendError> {
        let unavailable = |e: sqlx::Error| AppendError::Unavailable(Arc::new(e));
        let locks = around.locks(environment);
        let line = self.store.deployments().line(environment, locks, None, None, false).await.map_err(unavailable)?;
        append.guard(environment.0, line.position);
        let moved = line.value.locked_anew(taken);
        for event in &moved {
            let id = following(event, line.value.of(event).version);
            record_waiting(append, &line.value, (id, event), actor, cause);
        }
        Ok(!moved.is_empty())
    }

    /// Whoever waits in an environment, and is not kept waiting by a lock any more, has their turn; or it is said what they
    /// wait for. A lock that somebody took from its holder is told with it.
    ///
    /// # Errors
    /// When the database is away.
    async fn move_line(
        &self,
        environment: EnvironmentId,
        (cause, taken): (Option<EventId>, &[LockTaken]),
    ) -> Result<(), CommandError<Infallible>> {
        let project = self.store.directory().project_of(environment).await?;
        let mut around = self.around_anew(project).await?;
        let _turn = self.turns.wait(environment).await;
        for _ in 0..ATTEMPTS {
            let mut append = Append::default();
            if !self.line_moves(environment, &around, (cause, taken), &Actor::System, &mut append).await? {
                return Ok(());
            }
            around.guard(&mut append);
            if self.append_unless_moved(append).await?.is_some() {
                return Ok(());
            }
            around = self.around_anew(project).await?;
        }
        Err(too_busy())
    }

    /// Moves the lines of all environments that something covers, after its lock changed.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn move_lines(&self, id: LockableId) -> Result<(), CommandError<Infallible>> {
        let project = match self.lockable(id).await? {
            Some(Target::Project(project)) => Some(project),
            Some(Target::Everything) => None,
            Some(Target::Environment(..)) | None => return Ok(()),
        };
        let (cause, taken) = self.changed_last(id).await?.unzip();
        let taken = taken.flatten();
        let cause = cause.map(|(_, id)| id);
        self.move_all(&self.store.deployments().waited_for(project).await?, (cause, taken.as_slice())).await
    }

    /// Moves the lines of the environments in which something waits and nothing has its turn, whatever it waited for; what
    /// is in the way of one line holds up no other.
    ///
    /// # Errors
    /// What was in the way of the first that did not move.
    pub async fn move_what_waits(&self) -> Result<(), CommandError<Infallible>> {
        let mut first = Ok(());
        for environment in self.store.deployments().held_by_nobody().await? {
            let moved = self.move_what_waits_in(environment).await;
            first = first.and(moved);
        }
        first
    }

    async fn move_what_waits_in(&self, environment: EnvironmentId) -> Result<(), CommandError<Infallible>> {
        let project = self.store.directory().project_of(environment).await?;
        let over = [Some(environment.into()), project.map(Into::into), Some(LockableId::everything())];
        let (mut cause, mut taken) = (None, Vec::new());
        for id in over.into_iter().flatten() {
            if let Some((changed, was_taken)) = self.changed_last(id).await? {
                cause = cause.max(Some(changed));
                taken.extend(was_taken);
            }
        }
        self.move_line(environment, (cause.map(|(_, id)| id), &taken)).await
    }

    /// What changed the lock of something last, by its position and id; and the last lock there that somebody took from
    /// its holder.
    async fn changed_last(&self, id: LockableId) -> Result<Option<((i64, EventId), Option<LockTaken>)>, ReadError> {
        let events = self.store.log().last_of_locks(id.0).await?;
        let last = events.iter().rev().find(|e| lock_card::change(&e.event).is_some());
        let taken = events.iter().rev().find_map(|e| lock_card::taken(&e.event));
        Ok(last.map(|last| ((last.position, last.event_id), taken)))
    }

    /// Moves the lines of these environments; what is in the way of one holds up no other.
    ///
    /// # Errors
    /// What was in the way of the first that did not move.
    async fn move_all(
        &self,
        environments: &[EnvironmentId],
        why: (Option<EventId>, &[LockTaken]),
    ) -> Result<(), CommandError<Infallible>> {
        let mut first = Ok(());
        for environment in environments {
            let moved = self.move_line(*environment, why).await;
            first = first.and(moved);
        }
        first
    }
}

/// Where messages about the locks of something are posted, and what it is called in them.
pub struct Telling {
    /// What it is called, in a sentence.
    pub what: String,
    /// The project that it is in, where its own name does not say so.
    pub project: Option<String>,
    /// The channels that a lock's message stands in.
    pub channels: Vec<String>,
    /// How often who forgot one without an end is reminded; never without.
    pub remind_every: Option<TimeDelta>,
}

/// A lock before and after it was changed.
struct Changed {
    before: Option<Lock>,
    after: Option<Lock>,
}
