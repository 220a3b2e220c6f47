//! `/coolops lock`, `unlock` and `locks`, and the buttons on a lock.

use std::convert::Infallible;

use chrono::DateTime;

use super::commands::{Answered, not_here};
use super::locks::Target;
use super::{App, CommandError};
use crate::domain::deployment::Person;
use crate::domain::ids::LockableId;
use crate::domain::lock::{Lock, LockRefusal, Lockable, Somebody, Unlocking};
use crate::domain::project::Project;
use crate::slack::answer::{Answer, capital};
use crate::slack::command::{self, Destination, Misunderstood};

/// A refusal as a sentence of its own.
fn sentence(refusal: &LockRefusal) -> String {
    format!("{}.", capital(&refusal.to_string()))
}

/// What is answered to a change of a lock.
fn answered(
    changed: Result<Lock, CommandError<LockRefusal>>,
    target: Target,
    what: &str,
    answer: impl FnOnce(Lock) -> Answer,
) -> Result<Answer, CommandError<Infallible>> {
    Ok(match changed {
        Ok(lock) => answer(lock),
        Err(e) => match e.refusal()? {
            LockRefusal::Theirs { lock, .. } => {
                Answer::TheirLock { what: what.to_owned(), id: target.id(), lock: *lock }
            }
            refusal => Answer::Nothing(sentence(&refusal)),
        },
    })
}

fn locks_of(projects: &[Project], everything: Option<Lock>) -> Answer {
    let of = |project: &Project| {
        let named = |name: &str| if projects.len() == 1 { name.to_owned() } else { format!("{} {name}", project.name) };
        let open = project.open_environments();
        let whole = project.lock.clone().map(|lock| (Lockable::Project(project).name(), lock));
        whole
            .into_iter()
            .chain(open.into_iter().filter_map(|e| Some((named(&e.name), e.lock.clone()?))))
            .collect::<Vec<_>>()
    };
    let everything = everything.map(|lock| ("everything".to_owned(), lock));
    Answer::Locks(everything.into_iter().chain(projects.iter().flat_map(of)).collect())
}

impl App {
    /// What somebody names to be locked or unlocked in a channel: where it is, and what it is called.
    fn target_named(projects: &[Project], named: &str, verb: &str) -> Result<(Target, String), Misunderstood> {
        Ok(match command::lockable(projects, named, verb)? {
            command::Named::Environment(Destination { project, environment }) => {
                (Target::Environment(project.id, environment.id), environment.name.clone())
            }
            command::Named::Project(project) => (Target::Project(project.id), Lockable::Project(project).name()),
            command::Named::Everything => (Target::Everything, "everything".to_owned()),
        })
    }

    pub(super) async fn told_to_lock(&self, projects: &[Project], named: &str, lock: Lock) -> Answered {
        let (target, what) = Self::target_named(projects, named, "lock")?;
        Ok(match self.lock(target, lock).await {
            Ok(lock) => {
                let wider = self.wider_locks(target, Some(&lock.holder)).await?;
                Answer::Locked { what, id: target.id(), lock, wider }
            }
            // Whoever wants it for themselves is not asked whether it shall be taken from another.
            Err(e) => Answer::Nothing(sentence(&e.refusal::<Misunderstood>()?)),
        })
    }

    pub(super) async fn told_to_unlock(&self, projects: &[Project], named: &str, by: Person) -> Answered {
        let (target, what) = Self::target_named(projects, named, "unlock")?;
        let unlocked = self.unlock(target, &Unlocking::Own(by.clone().into())).await;
        self.answered(unlocked, target, &what, by).await
    }

    /// What somebody is told who wanted something unlocked.
    async fn answered(
        &self,
        unlocked: Result<Lock, CommandError<LockRefusal>>,
        target: Target,
        what: &str,
        by: Person,
    ) -> Answered {
        let wider = self.wider_locks(target, None).await?;
        Ok(match unlocked {
            Err(CommandError::Refused(refusal @ LockRefusal::NotLocked { .. })) => {
                Answer::NotLocked { sentence: sentence(&refusal), wider }
            }
            unlocked => {
                answered(unlocked, target, what, |lock| Answer::Unlocked { what: what.to_owned(), lock, by, wider })?
            }
        })
    }

    /// The locks that lie on what something is in, and what that is called; of those of others than `who`, if that is given.
    async fn wider_locks(
        &self,
        target: Target,
        who: Option<&Somebody>,
    ) -> Result<Vec<(String, Lock)>, CommandError<Infallible>> {
        let around = self.around_anew(target.project()).await?;
        let project = match target {
            Target::Environment(..) => around.project.as_deref().map(|project| &project.value),
            Target::Project(_) | Target::Everything => None,
        };
        let of_project = project.and_then(|p| Some((Lockable::Project(p).name(), p.lock.clone()?)));
        let everything = around.installation.value.lock.clone().filter(|_| !matches!(target, Target::Everything));
        let of_all = everything.map(|lock| ("everything".to_owned(), lock));
        let others = |(_, lock): &(String, Lock)| who.is_none_or(|who| !lock.holder.same(who));
        Ok(of_project.into_iter().chain(of_all).filter(others).collect())
    }

    /// The locks of a channel's projects, that of everything before them.
    pub(super) async fn told_locks(&self, projects: &[Project]) -> Answered {
        let everything = self.installation_anew().await?.value.lock.clone();
        Ok(locks_of(projects, everything))
    }

    /// What a button on a lock is about, where it may be pressed: in the channel of its project, and wherever its own
    /// holder finds it.
    async fn target_pressed(
        &self,
        channel: &str,
        id: LockableId,
        by: &Somebody,
    ) -> Result<Option<(Target, String)>, CommandError<Infallible>> {
        let Some(target) = self.lockable(id).await? else { return Ok(None) };
        let around = self.around_anew(target.project()).await?;
        let Some(what) = target.in_what(&around) else { return Ok(None) };
        // What was theirs is told to be gone.
        let is_theirs = [what.lock_there(), what.last_lock()].into_iter().flatten().any(|lock| lock.holder.same(by));
        let is_here = match &around.project {
            Some(project) => project.value.channel == channel,
            None => !self.store.directory().projects_of_channel(channel).await?.is_empty(),
        };
        Ok((is_theirs || is_here).then(|| (target, what.name())))
    }

    /// Somebody pressed *Unlock*, having been asked back about a lock: that one is taken away, whosever it is. Another one
    /// that is there by now is another question.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn pressed_unlock(
        &self,
        channel: &str,
        (id, since): (LockableId, i64),
        by: Person,
    ) -> Result<Answer, CommandError<Infallible>> {
        let who = Somebody::from(by.clone());
        let Some((target, what)) = self.target_pressed(channel, id, &who).await? else { return Ok(not_here()) };
        let since = DateTime::from_timestamp_micros(since).unwrap_or_default();
        let unlocked = self.unlock(target, &Unlocking::Asked(who, since)).await;
        self.answered(unlocked, target, &what, by).await.or_else(|e| e.refusal().map(Answer::Misunderstood))
    }

    /// Somebody pressed *Keep* on the lock that they were reminded of.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn pressed_keep(
        &self,
        channel: &str,
        (id, since): (LockableId, i64),
        by: Person,
    ) -> Result<Answer, CommandError<Infallible>> {
        let who = Somebody::from(by);
        let Some((target, what)) = self.target_pressed(channel, id, &who).await? else { return Ok(not_here()) };
        let since = DateTime::from_timestamp_micros(since).unwrap_or_default();
        answered(self.keep_lock(target, &who, since).await, target, &what, |_| Answer::Kept { what: what.clone() })
    }
}
