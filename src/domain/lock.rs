//! A lock on an environment: while somebody has it, their presses go through and those of others wait.
//!
//! **Invariant:** an environment has one lock at most; its events move the project's boundary, so a press and a promotion
//! are decided on the lock that is there. A lock never touches what runs already.

use chrono::{DateTime, TimeDelta, Utc};

use super::event::Event;
use super::ids::EnvironmentId;
pub use super::lock_events::*;
use super::project::{Environment, Project, Unlocked};
use super::rights::{Denied, Known, Right};

/// Characters in a reason.
const REASON_MAX: usize = 500;
/// Days that a lock lasts, at most.
const DAYS_MAX: i64 = 365;

/// Why an environment was not locked or unlocked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum LockRefusal {
    #[error("{environment} is locked by {} already{}", .lock.holder.name(), because(.lock))]
    Theirs { environment: String, lock: Box<Lock> },
    #[error("{environment} is not locked{}", gone(.last.as_deref()))]
    NotLocked { environment: String, last: Option<Box<Unlocked>> },
    #[error("the lock would have ended {} ago; name a time that is to come", minutes(*.ago))]
    Over { ago: TimeDelta },
    #[error("a lock lasts {DAYS_MAX} days at most; name an earlier time")]
    TooLong,
    #[error("the reason has {0} characters; it has {REASON_MAX} at most")]
    ReasonTooLong(usize),
    #[error("the environment {0} is not there any more")]
    NoEnvironment(String),
    #[error("{}", not_allowed(.environment, .denied))]
    NotAllowed { environment: String, denied: Denied },
}

fn not_allowed(environment: &str, denied: &Denied) -> String {
    let sentence = denied.sentence(environment);
    sentence.trim_end_matches('.').replacen("You", "you", 1)
}

fn because(lock: &Lock) -> String {
    lock.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

fn gone(last: Option<&Unlocked>) -> String {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M UTC");
    match last {
        None => String::new(),
        Some(Unlocked { lock, by: None, at }) => {
            format!(": the lock of {} ran out at {}", lock.holder.name(), time(*at))
        }
        Some(Unlocked { lock, by: Some(by), at }) => {
            format!(": {} took the lock of {} away at {}", by.name(), lock.holder.name(), time(*at))
        }
    }
}

fn minutes(ago: TimeDelta) -> String {
    super::deployment_events::duration(ago.num_seconds())
}

/// How somebody takes a lock away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlocking {
    /// It is theirs, or nothing happens.
    Own(Holder),
    /// Whosever it is: an operator may do so.
    Any(Holder),
    /// The one that they were asked back about, by the time since when it was there: another one is another question.
    Asked(Holder, DateTime<Utc>),
    /// It ran out, if it did.
    RanOut,
}

/// Whether somebody may; an operator may all.
fn may(environment: &Environment, right: Right, who: &Holder, known: &Known) -> Result<(), LockRefusal> {
    let Holder::Person(person) = who else { return Ok(()) };
    environment
        .rights
        .may(right, person, known)
        .map(|_| ())
        .map_err(|denied| LockRefusal::NotAllowed { environment: environment.name.clone(), denied })
}

impl Project {
    fn open_environment(&self, id: EnvironmentId) -> Result<&Environment, LockRefusal> {
        let known = self.environment(id);
        let gone = || LockRefusal::NoEnvironment(known.map_or_else(|| id.to_string(), |e| e.name.clone()));
        known.filter(|e| !e.archived && !self.archived).ok_or_else(gone)
    }

    /// Decides a lock; its `since` is the present. Whoever has it may give it another reason or end. `known` is what is
    /// known of who wants it.
    ///
    /// # Errors
    /// When they may not, it is somebody else's, or its end or reason don't fit.
    pub fn lock(&self, id: EnvironmentId, lock: Lock, known: &Known) -> Result<Event, LockRefusal> {
        let environment = self.open_environment(id)?;
        may(environment, Right::Lock, &lock.holder, known)?;
        if let Some(there) = environment.lock.as_ref().filter(|there| !there.holder.same(&lock.holder)) {
            let environment = environment.name.clone();
            return Err(LockRefusal::Theirs { environment, lock: Box::new(there.clone()) });
        }
        let length = lock.reason.as_ref().map_or(0, |reason| reason.chars().count());
        if length > REASON_MAX {
            return Err(LockRefusal::ReasonTooLong(length));
        }
        match lock.until.map(|until| until - lock.since) {
            Some(lasts) if lasts <= TimeDelta::zero() => return Err(LockRefusal::Over { ago: -lasts }),
            Some(lasts) if lasts > TimeDelta::days(DAYS_MAX) => return Err(LockRefusal::TooLong),
            _ => {}
        }
        // The same lock with another reason or end: it is there since it was taken.
        let since = environment.lock.as_ref().map_or(lock.since, |there| there.since);
        Ok(EnvironmentLocked { project_id: self.id, environment_id: id, lock: Lock { since, ..lock } }.into())
    }

    /// Decides the end of a lock; nothing when it is to have run out and did not.
    ///
    /// # Errors
    /// When there is none, it is somebody else's, or they may not.
    pub fn unlock(
        &self,
        id: EnvironmentId,
        how: &Unlocking,
        known: &Known,
        now: DateTime<Utc>,
    ) -> Result<Option<Event>, LockRefusal> {
        let environment = self.environment(id).ok_or_else(|| LockRefusal::NoEnvironment(id.to_string()))?;
        let name = environment.name.clone();
        let Some(lock) = environment.lock.clone() else {
            return match how {
                Unlocking::RanOut => Ok(None),
                _ => {
                    Err(LockRefusal::NotLocked { environment: name, last: environment.unlocked.clone().map(Box::new) })
                }
            };
        };
        let by = match how {
            Unlocking::RanOut if !lock.is_over(now) => return Ok(None),
            Unlocking::RanOut => None,
            Unlocking::Own(holder)
                if !holder.same(&lock.holder) && may(environment, Right::Administer, holder, known).is_err() =>
            {
                // Whoever may not take it away is not asked whether they want to.
                may(environment, Right::Lock, holder, known)?;
                return Err(LockRefusal::Theirs { environment: name, lock: Box::new(lock) });
            }
            Unlocking::Asked(holder, since)
                if since.timestamp_micros() != lock.since.timestamp_micros() && !holder.same(&lock.holder) =>
            {
                return Err(LockRefusal::Theirs { environment: name, lock: Box::new(lock) });
            }
            Unlocking::Own(holder) | Unlocking::Any(holder) | Unlocking::Asked(holder, _) => {
                if !holder.same(&lock.holder) {
                    may(environment, Right::Lock, holder, known)?;
                }
                Some(holder.clone())
            }
        };
        Ok(Some(EnvironmentUnlocked { project_id: self.id, environment_id: id, lock, by, at: now }.into()))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::deployment_events::Person;
    use crate::domain::event::SettingsEvent;
    use crate::domain::settings;

    fn person(user: &str) -> Person {
        Person { team: "T1".into(), user: user.into(), name: user.to_lowercase() }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn of(user: &str, hours: Option<i64>) -> Lock {
        let until = hours.map(|hours| now() + TimeDelta::hours(hours));
        Lock { holder: Holder::Person(person(user)), reason: Some("migration".into()), since: now(), until }
    }

    const PRODUCTION: EnvironmentId = EnvironmentId(Uuid::from_u128(1));

    fn project() -> Project {
        let Ok(Event::Settings(SettingsEvent::ProjectCreated(e))) =
            settings::create("api", "Api", "busybox", "C1", "k-1".into())
        else {
            panic!("refused")
        };
        let project = Project::created(&e);
        let production = project.create_environment(PRODUCTION, "Production", None).unwrap();
        project.evolve(&production)
    }

    fn locked(lock: Lock) -> Project {
        let event = project().lock(PRODUCTION, lock, &Known::default()).unwrap();
        project().evolve(&event)
    }

    #[test]
    fn a_lock_lets_its_owner_through_and_nobody_else() {
        let lock = of("ANA", None);
        assert!(lock.lets(&person("ANA")) && !lock.lets(&person("BEN")));
        let namesake = Person { team: "T2".into(), ..person("ANA") };
        assert!(!lock.lets(&namesake), "the same id in another workspace is somebody else");
    }

    #[test]
    fn of_two_who_lock_the_second_hears_of_the_first_who_may_change_it() {
        let project = locked(of("ANA", Some(2)));
        let refused = project.lock(PRODUCTION, of("BEN", None), &Known::default()).unwrap_err();
        assert_eq!(refused.to_string(), "Production is locked by ana already (migration)");
        let later = Lock { since: now() + TimeDelta::hours(1), reason: Some("longer".into()), ..of("ANA", Some(4)) };
        let event = project.lock(PRODUCTION, later, &Known::default()).unwrap();
        let changed = project.evolve(&event);
        let lock = changed.environment(PRODUCTION).unwrap().lock.clone().unwrap();
        assert_eq!((lock.since, lock.reason.as_deref()), (now(), Some("longer")), "it is there since it was taken");
    }

    #[test]
    fn an_end_that_is_over_or_too_far_away_is_refused() {
        let refused =
            |hours| project().lock(PRODUCTION, of("ANA", Some(hours)), &Known::default()).unwrap_err().to_string();
        assert_eq!(refused(-1), "the lock would have ended 1 h 0 min ago; name a time that is to come");
        assert_eq!(refused(24 * 3_650), "a lock lasts 365 days at most; name an earlier time");
        let long = Lock { reason: Some("x".repeat(3_000)), ..of("ANA", None) };
        assert_eq!(
            project().lock(PRODUCTION, long, &Known::default()).unwrap_err().to_string(),
            "the reason has 3000 characters; it has 500 at most"
        );
    }

    #[test]
    fn only_who_was_asked_back_takes_away_what_is_somebody_elses_and_once() {
        let project = locked(of("ANA", Some(2)));
        let ben = Holder::Person(person("BEN"));
        assert!(project.unlock(PRODUCTION, &Unlocking::Own(ben.clone()), &Known::default(), now()).is_err());
        assert_eq!(
            project.unlock(PRODUCTION, &Unlocking::RanOut, &Known::default(), now()),
            Ok(None),
            "it has not run out"
        );
        let stolen =
            project.unlock(PRODUCTION, &Unlocking::Any(ben.clone()), &Known::default(), now()).unwrap().unwrap();
        let project = project.evolve(&stolen);
        let again = project.unlock(PRODUCTION, &Unlocking::Any(ben), &Known::default(), now()).unwrap_err();
        assert_eq!(
            again.to_string(),
            "Production is not locked: ben took the lock of ana away at 2023-11-14 22:13 UTC"
        );
        assert_eq!(project.unlock(PRODUCTION, &Unlocking::RanOut, &Known::default(), now()), Ok(None));
    }

    #[test]
    fn what_ran_out_is_told_and_an_archived_environment_takes_no_lock() {
        let project = locked(of("ANA", Some(2)));
        let late = now() + TimeDelta::hours(2);
        let over = project.unlock(PRODUCTION, &Unlocking::RanOut, &Known::default(), late).unwrap().unwrap();
        let refused =
            project.evolve(&over).unlock(PRODUCTION, &Unlocking::Own(of("ANA", None).holder), &Known::default(), late);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "Production is not locked: the lock of ana ran out at 2023-11-15 00:13 UTC"
        );
        let archived = super::super::settings::EnvironmentChange::Archive;
        let archived = self::project().change_environment("Production", archived).unwrap();
        let refused =
            self::project().evolve(&archived).lock(PRODUCTION, of("ANA", None), &Known::default()).unwrap_err();
        assert_eq!(refused.to_string(), "the environment Production is not there any more");
    }
}
