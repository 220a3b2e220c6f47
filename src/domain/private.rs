//! Which texts of an event are private: names, ids and words of people, and lines that a deployment printed.
//!
//! **Invariant:** what this names is encrypted before it is recorded, under a key of whoever it is about, and whoever
//! destroys that key erases it. What can't be read any more is put as `PERSON`, `OPERATOR` or `WORDS` say, so that
//! everything else of the event still means what it meant.

use super::actor::Actor;
use super::deployment_events::{PressRefusal, StopReason};
use super::event::{DeploymentEvent, Event, InstallationEvent, SettingsEvent};
use super::ids::DeploymentId;
use super::lock_events::{Lock, LockTaken, Unlocked};
use super::rights_events::{Denied, Rights, Who};
use super::somebody::{self, Person, Somebody};

/// Whom a private text is about: all their texts are under one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Somebody in Slack, by their id.
    Person(String),
    /// An operator, by their login name.
    Operator(String),
    /// Somebody in Slack in what they chose for themselves: that stands in a stream whose id is made of theirs, which must not
    /// lead to anything else of them.
    Chooser(String),
    /// Whoever CI names as the author of a build, by that name: it is all that is known of them.
    Author(String),
    /// What a deployment printed.
    Output(DeploymentId),
}

/// What an entry about a build is called that names its author, in any case: as our own commands and the rules of webhooks
/// call it.
const AUTHOR: &str = "author";
/// So many characters of an author's name tell them from others.
const AUTHOR_MAX: usize = 200;

impl Subject {
    /// The stored name of its kind, and what tells it from others of that.
    pub fn stored(&self) -> (&'static str, String) {
        match self {
            Self::Person(user) => ("person", user.clone()),
            Self::Operator(login) => ("operator", login.clone()),
            Self::Chooser(user) => ("chooser", user.clone()),
            Self::Author(name) => ("author", name.clone()),
            Self::Output(deployment) => ("output", deployment.to_string()),
        }
    }

    /// Whose event it is, where somebody did it.
    pub fn of_actor(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Slack { user, .. } => Some(Self::Person(user.clone())),
            Actor::Operator { login } => Some(Self::Operator(login.clone())),
            Actor::Token(_) | Actor::Webhook { .. } | Actor::System => None,
        }
    }

    /// Whether it stands for nobody: for somebody who was erased, or whose name could not be read.
    pub fn is_nobody(&self) -> bool {
        match self {
            Self::Person(user) | Self::Chooser(user) => somebody::nobody(user).is_some(),
            Self::Author(name) => [somebody::FORMER_MEMBER, somebody::UNREADABLE].contains(&name.as_str()),
            Self::Operator(login) => [somebody::FORMER_OPERATOR, somebody::UNREADABLE].contains(&login.as_str()),
            Self::Output(_) => false,
        }
    }

    fn of(somebody: &Somebody) -> Self {
        match somebody {
            Somebody::Person(person) => Self::Person(person.user.clone()),
            Somebody::Operator { login } => Self::Operator(login.clone()),
        }
    }
}

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A person's id in Slack.
    Id,
    /// What somebody is called: a person's handle.
    Name,
    /// An operator's login name, which is both.
    Login,
    /// What somebody wrote: a reason.
    Words,
    /// A line of output.
    Line,
}

/// Changes a private text, and tells whether it can still be read.
pub type Visit<'a> = dyn FnMut(&Subject, Part, &mut String) -> bool + 'a;

/// What stands where a text was erased; `mark` tells one who was erased from others.
pub fn erased(part: Part, mark: &str) -> String {
    match part {
        Part::Id => somebody::former(mark),
        Part::Name => somebody::FORMER_MEMBER.to_owned(),
        Part::Login => somebody::FORMER_OPERATOR.to_owned(),
        Part::Words => "(erased)".to_owned(),
        Part::Line => String::new(),
    }
}

/// What stands where a text can't be read for now, because the master key isn't set that its key is under.
pub fn unreadable(part: Part, mark: &str) -> String {
    match part {
        Part::Id => somebody::unknown(mark),
        Part::Name | Part::Login => somebody::UNREADABLE.to_owned(),
        Part::Words => "(it can't be read now)".to_owned(),
        Part::Line => String::new(),
    }
}

/// Visits all that is private of an event and of whoever did it.
pub fn recorded(of: &mut Event, by: &mut Actor, visit: &mut Visit<'_>) {
    let subject = Subject::of_actor(by);
    event(of, subject.as_ref(), visit);
    who_did(of, by, visit);
}

/// Visits what is private of whoever did something.
pub fn who_did(of: &Event, by: &mut Actor, visit: &mut Visit<'_>) {
    match (of, by) {
        (Event::NotificationsChosen(_), Actor::Slack { user, name, .. }) => chooser(user, name, visit),
        (_, by) => actor(by, visit),
    }
}

/// Visits what is private of an actor, whatever they did: where texts are opened, each names its own key.
pub fn actor(actor: &mut Actor, visit: &mut Visit<'_>) {
    match actor {
        Actor::Slack { user, name, .. } => named(user, name, visit),
        Actor::Operator { login } => operator(login, visit),
        Actor::Token(_) | Actor::Webhook { .. } | Actor::System => {}
    }
}

fn chooser(user: &mut String, name: &mut String, visit: &mut Visit<'_>) {
    let of = Subject::Chooser(user.clone());
    visit(&of, Part::Id, user);
    visit(&of, Part::Name, name);
}

/// Visits what is private of an event that somebody did.
pub fn event(event: &mut Event, by: Option<&Subject>, visit: &mut Visit<'_>) {
    match event {
        Event::Deployment(event) => deployment(event, by, visit),
        Event::Settings(event) => settings(event, by, visit),
        Event::Installation(event) => match event {
            InstallationEvent::EverythingLocked(e) => lock(&mut e.lock, visit),
            InstallationEvent::EverythingUnlocked(e) => {
                lock(&mut e.lock, visit);
                e.by.iter_mut().for_each(|by| somebody(by, visit));
            }
            InstallationEvent::AdministratorsChanged(e) => everybody(&mut e.administrators, visit),
            // Why something was erased is told for ever; it names nobody.
            InstallationEvent::PersonErased(_) => {}
            // What was decided is a statement that was signed and is kept outside, whole.
            InstallationEvent::ForkDecided(_) => {}
        },
        Event::NotificationsChosen(e) => chooser(&mut e.by.user, &mut e.by.name, visit),
        Event::BuildRegistered(e) => {
            let authors = e.metadata.iter_mut().filter(|entry| entry.name.eq_ignore_ascii_case(AUTHOR));
            authors.filter(|entry| !entry.value.is_empty()).for_each(|entry| author(&mut entry.value, visit));
        }
        // Why output was erased is told for ever.
        Event::MessagePosted(_) | Event::OutputErased(_) => {}
    }
}

fn deployment(event: &mut DeploymentEvent, by: Option<&Subject>, visit: &mut Visit<'_>) {
    match event {
        DeploymentEvent::Requested(e) => {
            somebody(&mut e.requested_by, visit);
            e.lock.iter_mut().for_each(|of| lock(of, visit));
        }
        DeploymentEvent::Refused(e) => {
            person(&mut e.requested_by, visit);
            refusal(&mut e.refusal, visit);
        }
        DeploymentEvent::Promoted(e) => e.lock_taken.iter_mut().for_each(|of| taken(of, visit)),
        DeploymentEvent::MovedUp(e) => e.lock_taken.iter_mut().for_each(|of| taken(of, visit)),
        DeploymentEvent::LockedOut(e) => {
            lock(&mut e.lock, visit);
            e.lock_taken.iter_mut().for_each(|of| taken(of, visit));
        }
        DeploymentEvent::StopRequested(e) => stop(&mut e.reason, visit),
        DeploymentEvent::Stopped(e) => stop(&mut e.reason, visit),
        DeploymentEvent::Failed(e) => {
            let output = Subject::Output(e.of.deployment_id);
            e.last_lines.retain_mut(|line| visit(&output, Part::Line, line));
        }
        DeploymentEvent::Resolved(e) => words(by, &mut e.reason, visit),
        DeploymentEvent::PullStarted(_)
        | DeploymentEvent::Delayed(_)
        | DeploymentEvent::StrayStopped(_)
        | DeploymentEvent::Prepared(_)
        | DeploymentEvent::Started(_)
        | DeploymentEvent::Succeeded(_)
        | DeploymentEvent::Lost(_) => {}
    }
}

fn settings(event: &mut SettingsEvent, by: Option<&Subject>, visit: &mut Visit<'_>) {
    match event {
        SettingsEvent::EnvironmentLocked(e) => lock(&mut e.lock, visit),
        SettingsEvent::ProjectLocked(e) => lock(&mut e.lock, visit),
        SettingsEvent::EnvironmentUnlocked(e) => {
            lock(&mut e.lock, visit);
            e.by.iter_mut().for_each(|by| somebody(by, visit));
        }
        SettingsEvent::ProjectUnlocked(e) => {
            lock(&mut e.lock, visit);
            e.by.iter_mut().for_each(|by| somebody(by, visit));
        }
        SettingsEvent::EnvironmentRightsChanged(e) => rights(&mut e.rights, visit),
        SettingsEvent::ProjectHoldChanged(e) => e.reason.iter_mut().for_each(|reason| words(by, reason, visit)),
        SettingsEvent::ProjectCreated(_)
        | SettingsEvent::ProjectRenamed(_)
        | SettingsEvent::ProjectImageChanged(_)
        | SettingsEvent::ProjectChannelChanged(_)
        | SettingsEvent::ProjectTimeLimitChanged(_)
        | SettingsEvent::ProjectLogLimitChanged(_)
        | SettingsEvent::ProjectStartPatienceChanged(_)
        | SettingsEvent::ProjectStopGraceChanged(_)
        | SettingsEvent::ProjectUncheckedImageChanged(_)
        | SettingsEvent::ProjectLockReminderChanged(_)
        | SettingsEvent::ProjectOutputKeptChanged(_)
        | SettingsEvent::ProjectParamsChanged(_)
        | SettingsEvent::ProjectLinksRevoked(_)
        | SettingsEvent::ProjectArchived(_)
        | SettingsEvent::TokenIssued(_)
        | SettingsEvent::TokenRevoked(_)
        | SettingsEvent::RegistryCredentialsSet(_)
        | SettingsEvent::RegistryCredentialsUnset(_)
        | SettingsEvent::CiSecretSet(_)
        | SettingsEvent::CiUnset(_)
        | SettingsEvent::CiRulesChanged(_)
        | SettingsEvent::EnvironmentCreated(_)
        | SettingsEvent::EnvironmentRenamed(_)
        | SettingsEvent::EnvironmentMoved(_)
        | SettingsEvent::EnvironmentProtectionChanged(_)
        | SettingsEvent::EnvironmentSupersedingChanged(_)
        | SettingsEvent::EnvironmentBroadcastingChanged(_)
        | SettingsEvent::EnvironmentLockingChanged(_)
        | SettingsEvent::EnvironmentArchived(_)
        | SettingsEvent::VariableSet(_)
        | SettingsEvent::SecretSet(_)
        | SettingsEvent::VariableUnset(_) => {}
    }
}

pub(super) fn words(of: Option<&Subject>, text: &mut String, visit: &mut Visit<'_>) {
    if let Some(of) = of {
        visit(of, Part::Words, text);
    }
}

fn named(user: &mut String, name: &mut String, visit: &mut Visit<'_>) {
    let of = Subject::Person(user.clone());
    visit(&of, Part::Id, user);
    visit(&of, Part::Name, name);
}

fn author(name: &mut String, visit: &mut Visit<'_>) {
    let of = Subject::Author(name.chars().take(AUTHOR_MAX).collect());
    visit(&of, Part::Name, name);
}

fn operator(login: &mut String, visit: &mut Visit<'_>) {
    let of = Subject::Operator(login.clone());
    visit(&of, Part::Login, login);
}

fn person(person: &mut Person, visit: &mut Visit<'_>) {
    named(&mut person.user, &mut person.name, visit);
}

fn somebody(somebody: &mut Somebody, visit: &mut Visit<'_>) {
    match somebody {
        Somebody::Person(of) => person(of, visit),
        Somebody::Operator { login } => operator(login, visit),
    }
}

fn lock(lock: &mut Lock, visit: &mut Visit<'_>) {
    let holder = Subject::of(&lock.holder);
    somebody(&mut lock.holder, visit);
    lock.reason.iter_mut().for_each(|reason| words(Some(&holder), reason, visit));
}

/// The locks of a thing as it stands.
pub(super) fn locks(there: &mut Option<Lock>, gone: &mut Option<Unlocked>, visit: &mut Visit<'_>) {
    there.iter_mut().for_each(|of| lock(of, visit));
    if let Some(Unlocked { lock: of, by, at: _ }) = gone {
        lock(of, visit);
        by.iter_mut().for_each(|by| somebody(by, visit));
    }
}

fn taken(taken: &mut LockTaken, visit: &mut Visit<'_>) {
    lock(&mut taken.lock, visit);
    somebody(&mut taken.by, visit);
}

fn who(who: &mut Who, visit: &mut Visit<'_>) {
    match who {
        Who::User { id, name } => {
            let of = Subject::Person(id.clone());
            visit(&of, Part::Id, id);
            name.iter_mut().for_each(|name| {
                visit(&of, Part::Name, name);
            });
        }
        Who::Group { .. } => {}
    }
}

fn everybody(named: &mut [Who], visit: &mut Visit<'_>) {
    named.iter_mut().for_each(|of| who(of, visit));
}

pub(super) fn rights(rights: &mut Rights, visit: &mut Visit<'_>) {
    let Rights { deploy, lock, stop, administer, other_workspaces: _, guests: _ } = rights;
    for named in [deploy, lock, stop].into_iter().flatten() {
        everybody(named, visit);
    }
    everybody(administer, visit);
}

fn denied(denied: &mut Denied, visit: &mut Visit<'_>) {
    match denied {
        Denied::NotNamed { who, .. } => everybody(who, visit),
        Denied::OtherWorkspace { .. } | Denied::Guest { .. } | Denied::Unanswered { .. } => {}
    }
}

fn stop(reason: &mut StopReason, visit: &mut Visit<'_>) {
    match reason {
        StopReason::Operator { by, reason } => {
            let of = Subject::Operator(by.clone());
            visit(&of, Part::Login, by);
            visit(&of, Part::Words, reason);
        }
        StopReason::Person { by, reason } => {
            let of = Subject::Person(by.user.clone());
            person(by, visit);
            reason.iter_mut().for_each(|reason| words(Some(&of), reason, visit));
        }
        StopReason::NotAllowed { denied: of } => denied(of, visit),
        StopReason::TimeLimit { .. } | StopReason::Superseded { .. } | StopReason::Archived { .. } => {}
    }
}

fn refusal(refusal: &mut PressRefusal, visit: &mut Visit<'_>) {
    match refusal {
        PressRefusal::UnderWay { since_press_of, by_operator: true, .. } => operator(since_press_of, visit),
        PressRefusal::UnderWay { since_press_of, by_operator: false, .. } => {
            let of = Subject::Person(since_press_of.clone());
            visit(&of, Part::Id, since_press_of);
        }
        PressRefusal::Stopping { reason, .. } => stop(reason, visit),
        PressRefusal::NotAllowed { denied: of, .. } => denied(of, visit),
        PressRefusal::BuildUnknown
        | PressRefusal::ProjectArchived { .. }
        | PressRefusal::EnvironmentGone { .. }
        | PressRefusal::MovedAway { .. }
        | PressRefusal::ForeignMessage
        | PressRefusal::Over { .. }
        | PressRefusal::Undecided { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::contract;
    use super::*;

    /// Whoever adds a field with a name to an event finds it here.
    #[test]
    fn no_example_has_anything_of_anybody_left_when_all_was_visited() {
        let mut visited = 0;
        for published in contract().into_iter().filter(|c| c.name != "deployment_logged") {
            let mut example = Event::parse(published.name, published.version, &published.example.to_string()).unwrap();
            event(&mut example, Some(&Subject::Operator("root".into())), &mut |_, _, text| {
                visited += 1;
                *text = "hidden".to_owned();
                true
            });
            let left = serde_json::to_string(&example).unwrap();
            for name in ["ana", ":\"root\"", "U0123456789", "no such table", "database migration", "checked by hand"] {
                assert!(!left.contains(name), "{}: {name} is left in {left}", published.name);
            }
        }
        assert!(visited > 30, "{visited}");
    }

    #[test]
    fn the_author_of_a_build_is_somebody() {
        let published = contract().into_iter().find(|c| c.name == "build_registered").unwrap();
        let authors = |name: &str, value: &str| {
            let mut example = published.example.clone();
            example["metadata"] = serde_json::json!([{ "name": name, "value": value }]);
            let mut build = Event::parse(published.name, published.version, &example.to_string()).unwrap();
            let mut found = Vec::new();
            event(&mut build, None, &mut |subject, _, _| {
                found.extend((!subject.is_nobody()).then(|| subject.clone()));
                true
            });
            found
        };
        assert_eq!(authors("Author", "Ana Lima"), [Subject::Author("Ana Lima".into())]);
        assert_eq!(authors("author", "Ana Lima"), [Subject::Author("Ana Lima".into())]);
        assert_eq!(
            authors("Author", &"a".repeat(9_000)),
            [Subject::Author("a".repeat(200))],
            "an index has to hold it"
        );
        for (name, value) in [("Branch", "ana"), ("Author", ""), ("Author", somebody::FORMER_MEMBER)] {
            assert_eq!(authors(name, value), [], "{name}: {value}");
        }
    }
}
