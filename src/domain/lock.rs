//! A lock: while somebody has it, their presses go through and those of others wait.
//!
//! **Invariant:** each environment, each project and the whole has one lock at most. Its events move a boundary under
//! which presses and promotions are decided, so they are decided on the locks that are there. A lock never touches what
//! runs already.

use chrono::{DateTime, TimeDelta, Utc};

use super::event::Event;
use super::ids::LockableId;
use super::installation::Installation;
pub use super::lock_events::*;
use super::moment::to_the_minute;
use super::names::REASON_MAX;
use super::project::{Environment, Project};
use super::rights::{Denied, Known, Right, Rights};

/// Days that a lock lasts, at most.
const DAYS_MAX: i64 = 365;

/// What can be locked, as it stands.
#[derive(Debug, Clone, Copy)]
pub enum Lockable<'a> {
    /// One environment of a project.
    Environment(&'a Project, &'a Environment),
    /// All environments of a project.
    Project(&'a Project),
    /// Everything there is.
    Everything(&'a Installation),
}

/// Why something was not locked or unlocked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum LockRefusal {
    #[error("{what} is locked by {} already{}", .lock.holder.name(), because(.lock))]
    Theirs { what: String, lock: Box<Lock> },
    #[error("{what} is not locked{}", gone(.last.as_deref()))]
    NotLocked { what: String, last: Option<Box<Unlocked>> },
    #[error("the lock would have ended {} ago; name a time that is to come", minutes(*.ago))]
    Over { ago: TimeDelta },
    #[error("a lock lasts {DAYS_MAX} days at most; name an earlier time")]
    TooLong,
    #[error("the reason has {0} characters; it has {REASON_MAX} at most")]
    ReasonTooLong(usize),
    #[error("your lock of {0} is another one by now, so nothing was done; its own message has a button")]
    Newer(String),
    #[error("{0} is not there any more")]
    Gone(String),
    #[error("{}", not_allowed(.what, .denied))]
    NotAllowed { what: String, denied: Denied },
}

fn not_allowed(what: &str, denied: &Denied) -> String {
    let sentence = denied.sentence(what);
    sentence.trim_end_matches('.').replacen("You", "you", 1)
}

fn because(lock: &Lock) -> String {
    lock.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

fn gone(last: Option<&Unlocked>) -> String {
    match last {
        None => String::new(),
        Some(Unlocked { lock, by: None, at }) => {
            format!(": the lock of {} ran out at {}", lock.holder.name(), to_the_minute(*at))
        }
        Some(Unlocked { lock, by: Some(by), at }) => {
            format!(": {} took the lock of {} away at {}", by.name(), lock.holder.name(), to_the_minute(*at))
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
    Own(Somebody),
    /// Whosever it is: an operator may do so.
    Any(Somebody),
    /// The one that they were asked back about, by the time since when it was there: another one is another question.
    Asked(Somebody, DateTime<Utc>),
    /// It ran out, if it did.
    RanOut,
}

impl Unlocking {
    /// Who takes it away; nobody when it runs out.
    pub fn by(&self) -> Option<&Somebody> {
        match self {
            Self::Own(by) | Self::Any(by) | Self::Asked(by, _) => Some(by),
            Self::RanOut => None,
        }
    }
}

impl<'a> Lockable<'a> {
    /// Its id.
    pub fn id(self) -> LockableId {
        match self {
            Self::Environment(_, environment) => environment.id.into(),
            Self::Project(project) => project.id.into(),
            Self::Everything(_) => LockableId::everything(),
        }
    }

    /// What it is called, in a sentence.
    pub fn name(self) -> String {
        match self {
            Self::Environment(_, environment) => environment.name.clone(),
            Self::Project(project) => format!("all of {}", project.name),
            Self::Everything(_) => "everything".to_owned(),
        }
    }

    /// What a lock of it lies on.
    pub fn scope(self) -> Scope {
        match self {
            Self::Environment(..) => Scope::Environment,
            Self::Project(_) => Scope::Project,
            Self::Everything(_) => Scope::Everything,
        }
    }

    /// The lock that is there.
    pub fn lock_there(self) -> Option<&'a Lock> {
        match self {
            Self::Environment(_, environment) => environment.lock.as_ref(),
            Self::Project(project) => project.lock.as_ref(),
            Self::Everything(installation) => installation.lock.as_ref(),
        }
    }

    /// The lock that was there before, if there was one.
    pub fn last_lock(self) -> Option<&'a Lock> {
        self.unlocked().map(|gone| &gone.lock)
    }

    fn unlocked(self) -> Option<&'a Unlocked> {
        match self {
            Self::Environment(_, environment) => environment.unlocked.as_ref(),
            Self::Project(project) => project.unlocked.as_ref(),
            Self::Everything(installation) => installation.unlocked.as_ref(),
        }
    }

    /// What whoever wants to lock it needs rights in, with the words for it.
    pub fn rights(self) -> Vec<(String, Rights)> {
        match self {
            Self::Environment(_, environment) => vec![(environment.name.clone(), environment.rights.clone())],
            // Those to come are covered as well, and are everybody's at first.
            Self::Project(project) => {
                let open = project.open_environments().into_iter().map(|e| (e.name.clone(), e.rights.clone()));
                open.chain([(self.name(), Rights::default())]).collect()
            }
            // Whoever stops all of it has to be somebody who answers for all of it.
            Self::Everything(installation) => {
                let lock = Some(installation.administrators.clone());
                vec![("everything".to_owned(), Rights { lock, ..Rights::default() })]
            }
        }
    }

    /// Whether somebody may in all that it covers; an operator may all.
    fn may(self, right: Right, who: &Somebody, known: &Known) -> Result<(), LockRefusal> {
        let Somebody::Person(person) = who else { return Ok(()) };
        for (what, rights) in self.rights() {
            rights.may(right, person, known).map_err(|denied| LockRefusal::NotAllowed { what, denied })?;
        }
        Ok(())
    }

    /// That it is not archived.
    ///
    /// # Errors
    /// What is not there any more.
    pub fn is_there(self) -> Result<(), LockRefusal> {
        match self {
            Self::Environment(project, environment) if environment.archived || project.archived => {
                Err(LockRefusal::Gone(format!("the environment {}", environment.name)))
            }
            Self::Project(project) if project.archived => {
                Err(LockRefusal::Gone(format!("the project {}", project.name)))
            }
            _ => Ok(()),
        }
    }

    fn locked(self, lock: Lock) -> Event {
        match self {
            Self::Environment(project, environment) => {
                EnvironmentLocked { project_id: project.id, environment_id: environment.id, lock }.into()
            }
            Self::Project(project) => ProjectLocked { project_id: project.id, lock }.into(),
            Self::Everything(_) => EverythingLocked { lock }.into(),
        }
    }

    /// Decides a lock; its `since` is the present. Whoever has it may give it another reason or end: where one of the two is
    /// named the other stays; where neither is, it has neither. `known` is what is known of who wants it.
    ///
    /// # Errors
    /// When they may not, it is somebody else's, or its end or reason don't fit.
    pub fn lock(self, lock: Lock, known: &Known) -> Result<Event, LockRefusal> {
        self.is_there()?;
        self.may(Right::Lock, &lock.holder, known)?;
        if let Some(there) = self.lock_there().filter(|there| !there.holder.same(&lock.holder)) {
            return Err(LockRefusal::Theirs { what: self.name(), lock: Box::new(there.clone()) });
        }
        let there = self.lock_there();
        let lock = match (there, &lock.reason, lock.until) {
            (Some(there), Some(_), None) => Lock { until: there.until.filter(|until| *until > lock.since), ..lock },
            (Some(there), None, Some(_)) => Lock { reason: there.reason.clone(), ..lock },
            _ => lock,
        };
        let length = lock.reason.as_ref().map_or(0, |reason| reason.chars().count());
        if length > REASON_MAX {
            return Err(LockRefusal::ReasonTooLong(length));
        }
        match lock.until.map(|until| until - lock.since) {
            Some(lasts) if lasts <= TimeDelta::zero() => return Err(LockRefusal::Over { ago: -lasts }),
            Some(lasts) if lasts > TimeDelta::days(DAYS_MAX) => return Err(LockRefusal::TooLong),
            _ => {}
        }
        // The same lock with another reason or end: it is there since it was taken, for the build that it was taken for,
        // and is not forgotten.
        let (since, build, kept) = match there {
            Some(there) => (there.since, there.build.clone(), Some(lock.since)),
            None => (lock.since, None, None),
        };
        Ok(self.locked(Lock { since, scope: self.scope(), build, kept, ..lock }))
    }

    /// Decides that a lock stays, when its holder says so of the one that they were reminded of.
    ///
    /// # Errors
    /// When that one is not there any more, or is not theirs.
    pub fn keep(self, by: &Somebody, since: DateTime<Utc>, now: DateTime<Utc>) -> Result<Event, LockRefusal> {
        match self.lock_there() {
            Some(there) if there.holder.same(by) && there.is_of(since) => {
                Ok(self.locked(Lock { kept: Some(now), ..there.clone() }))
            }
            Some(there) if there.holder.same(by) => Err(LockRefusal::Newer(self.name())),
            Some(there) => Err(LockRefusal::Theirs { what: self.name(), lock: Box::new(there.clone()) }),
            None => Err(LockRefusal::NotLocked { what: self.name(), last: self.unlocked().cloned().map(Box::new) }),
        }
    }

    /// Decides the end of a lock; nothing when it is to have run out and did not.
    ///
    /// # Errors
    /// When there is none, it is somebody else's, or they may not.
    pub fn unlock(self, how: &Unlocking, known: &Known, now: DateTime<Utc>) -> Result<Option<Event>, LockRefusal> {
        let theirs = |lock: &Lock| LockRefusal::Theirs { what: self.name(), lock: Box::new(lock.clone()) };
        let Some(lock) = self.lock_there().cloned() else {
            let last = self.unlocked().cloned().map(Box::new);
            return match how {
                Unlocking::RanOut => Ok(None),
                _ => Err(LockRefusal::NotLocked { what: self.name(), last }),
            };
        };
        let by = match how {
            Unlocking::RanOut if !lock.is_over(now) => return Ok(None),
            Unlocking::RanOut => None,
            Unlocking::Own(who) if !who.same(&lock.holder) && self.may(Right::Administer, who, known).is_err() => {
                // Whoever may not take it away is not asked whether they want to.
                self.may(Right::Lock, who, known)?;
                return Err(theirs(&lock));
            }
            Unlocking::Asked(who, since) if !lock.is_of(*since) => {
                let own = who.same(&lock.holder);
                return Err(if own { LockRefusal::Newer(self.name()) } else { theirs(&lock) });
            }
            Unlocking::Own(who) | Unlocking::Any(who) | Unlocking::Asked(who, _) => {
                if !who.same(&lock.holder) {
                    self.may(Right::Lock, who, known)?;
                }
                Some(who.clone())
            }
        };
        Ok(Some(match self {
            Self::Environment(project, environment) => {
                let (project_id, environment_id) = (project.id, environment.id);
                EnvironmentUnlocked { project_id, environment_id, lock, by, at: now }.into()
            }
            Self::Project(project) => ProjectUnlocked { project_id: project.id, lock, by, at: now }.into(),
            Self::Everything(_) => EverythingUnlocked { lock, by, at: now }.into(),
        }))
    }
}

/// What a deployment that begins makes of an environment that each deployment locks: whoever had it deployed holds it,
/// for that build. A lock that is somebody else's by now stays.
pub fn by_deployment(
    project: &Project,
    environment: &Environment,
    (by, build): (&Somebody, &str),
    now: DateTime<Utc>,
) -> Option<Event> {
    if !environment.locking {
        return None;
    }
    let build = Some(build.to_owned());
    let lock = match &environment.lock {
        None => {
            let (holder, scope) = (by.clone(), Scope::Environment);
            Lock { holder, reason: None, since: now, until: None, scope, build, kept: None }
        }
        Some(there) if there.holder.same(by) && there.build != build => {
            Lock { build, kept: Some(now), ..there.clone() }
        }
        Some(_) => return None,
    };
    Some(Lockable::Environment(project, environment).locked(lock))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::deployment_events::Person;
    use crate::domain::event::SettingsEvent;
    use crate::domain::ids::EnvironmentId;
    use crate::domain::settings;

    fn person(user: &str) -> Person {
        Person { team: "T1".into(), user: user.into(), name: user.to_lowercase() }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn of(user: &str, hours: Option<i64>) -> Lock {
        let until = hours.map(|hours| now() + TimeDelta::hours(hours));
        Lock {
            holder: Somebody::Person(person(user)),
            reason: Some("migration".into()),
            since: now(),
            until,
            scope: Scope::Environment,
            build: None,
            kept: None,
        }
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

    fn production(project: &Project) -> Lockable<'_> {
        Lockable::Environment(project, project.environment(PRODUCTION).unwrap())
    }

    fn locked(lock: Lock) -> Project {
        let event = production(&project()).lock(lock, &Known::default()).unwrap();
        project().evolve(&event)
    }

    #[test]
    fn a_lock_lets_its_owner_through_and_nobody_else() {
        let lock = of("ANA", None);
        assert!(lock.lets(&person("ANA").into()) && !lock.lets(&person("BEN").into()));
        let namesake = Person { team: "T2".into(), ..person("ANA") };
        assert!(!lock.lets(&namesake.into()), "the same id in another workspace is somebody else");
    }

    #[test]
    fn of_two_who_lock_the_second_hears_of_the_first_who_may_change_it() {
        let project = locked(of("ANA", Some(2)));
        let refused = production(&project).lock(of("BEN", None), &Known::default()).unwrap_err();
        assert_eq!(refused.to_string(), "Production is locked by ana already (migration)");
        let later = Lock { since: now() + TimeDelta::hours(1), reason: Some("longer".into()), ..of("ANA", Some(4)) };
        let event = production(&project).lock(later, &Known::default()).unwrap();
        let changed = project.evolve(&event);
        let lock = changed.environment(PRODUCTION).unwrap().lock.clone().unwrap();
        assert_eq!((lock.since, lock.reason.as_deref()), (now(), Some("longer")), "it is there since it was taken");
    }

    #[test]
    fn an_end_that_is_over_or_too_far_away_is_refused() {
        let refused =
            |hours| production(&project()).lock(of("ANA", Some(hours)), &Known::default()).unwrap_err().to_string();
        assert_eq!(refused(-1), "the lock would have ended 1 h 0 min ago; name a time that is to come");
        assert_eq!(refused(24 * 3_650), "a lock lasts 365 days at most; name an earlier time");
        let long = Lock { reason: Some("x".repeat(3_000)), ..of("ANA", None) };
        assert_eq!(
            production(&project()).lock(long, &Known::default()).unwrap_err().to_string(),
            "the reason has 3000 characters; it has 500 at most"
        );
    }

    #[test]
    fn only_who_was_asked_back_takes_away_what_is_somebody_elses_and_once() {
        let project = locked(of("ANA", Some(2)));
        let ben = Somebody::Person(person("BEN"));
        assert!(production(&project).unlock(&Unlocking::Own(ben.clone()), &Known::default(), now()).is_err());
        assert_eq!(
            production(&project).unlock(&Unlocking::RanOut, &Known::default(), now()),
            Ok(None),
            "it has not run out"
        );
        let stolen =
            production(&project).unlock(&Unlocking::Any(ben.clone()), &Known::default(), now()).unwrap().unwrap();
        let project = project.evolve(&stolen);
        let again = production(&project).unlock(&Unlocking::Any(ben), &Known::default(), now()).unwrap_err();
        assert_eq!(
            again.to_string(),
            "Production is not locked: ben took the lock of ana away at 2023-11-14 22:13 UTC"
        );
        assert_eq!(production(&project).unlock(&Unlocking::RanOut, &Known::default(), now()), Ok(None));
    }

    #[test]
    fn what_ran_out_is_told_and_an_archived_environment_takes_no_lock() {
        let project = locked(of("ANA", Some(2)));
        let late = now() + TimeDelta::hours(2);
        let over = production(&project).unlock(&Unlocking::RanOut, &Known::default(), late).unwrap().unwrap();
        let gone = project.evolve(&over);
        let refused = production(&gone).unlock(&Unlocking::Own(of("ANA", None).holder), &Known::default(), late);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "Production is not locked: the lock of ana ran out at 2023-11-15 00:13 UTC"
        );
        let archived = super::super::settings::EnvironmentChange::Archive;
        let archived = self::project().change_environment("Production", archived).unwrap();
        let archived = self::project().evolve(&archived);
        let refused = production(&archived).lock(of("ANA", None), &Known::default()).unwrap_err();
        assert_eq!(refused.to_string(), "the environment Production is not there any more");
    }
}
