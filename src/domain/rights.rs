//! Who may do what in an environment.
//!
//! **Invariant:** who may is decided on what the environment says and on what is known of the person then; what is not
//! known gives no right that is not everybody's.

use std::collections::BTreeMap;

use super::deployment_events::Person;
pub use super::rights_events::*;

/// What is known of a person at a moment. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The workspace of the app.
    pub home: Option<String>,
    /// Whether they are a guest or a bot, or have left; who was never asked about counts as a member.
    pub guest: Option<bool>,
    /// Who administers everything.
    pub administrators: Vec<Who>,
    /// Whether they are in a group, by its id; one that is missing could not be asked about.
    pub groups: BTreeMap<String, bool>,
}

/// By which rule somebody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Everybody who sees the message may.
    Everybody,
    /// They are named, or in a group that is.
    Named(Who),
    /// They administer the environment, or are in a group that does.
    Administers(Who),
}

impl Rights {
    /// Who is named for a right; nothing where everybody has it.
    pub fn named(&self, right: Right) -> Option<&[Who]> {
        match right {
            Right::Deploy => self.deploy.as_deref(),
            Right::Lock => self.lock.as_deref(),
            Right::Stop => self.stop.as_deref(),
            Right::Administer => Some(&self.administer),
        }
    }

    /// These rights, with those who administer everything among who administers this.
    #[must_use]
    pub fn with_administrators(mut self, administrators: &[Who]) -> Self {
        let more = administrators.iter().filter(|who| !self.administer.contains(who)).cloned().collect::<Vec<_>>();
        self.administer.extend(more);
        self
    }

    /// The groups that are named for anything, by their ids.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let all = Right::ALL.into_iter().filter_map(|right| self.named(right)).flatten();
        all.filter_map(|who| if let Who::Group { id, .. } = who { Some(id.as_str()) } else { None })
    }

    /// Decides whether somebody may do something.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, right: Right, person: &Person, known: &Known) -> Result<Rule, Denied> {
        let is_foreign = known.home.as_ref().is_some_and(|home| *home != person.team);
        if is_foreign && !self.other_workspaces {
            return Err(Denied::OtherWorkspace { right });
        }
        // Another workspace may have given the same id to somebody else.
        let is = |who: &&Who| match who {
            Who::User { id, .. } => *id == person.user && !is_foreign,
            Who::Group { id, .. } => known.groups.get(id) == Some(&true) && !is_foreign,
        };
        let by_name = |who: &&Who| is(who) && matches!(who, Who::User { .. });
        let named = self.named(right);
        let administer = || self.administer.iter().chain(&known.administrators);
        let is_named = administer().chain(named.unwrap_or_default()).any(|who| by_name(&who));
        if known.guest == Some(true) && !self.guests && !is_named {
            return Err(Denied::Guest { right });
        }
        if let Some(who) = administer().find(is) {
            return Ok(Rule::Administers(who.clone()));
        }
        let Some(named) = named else { return Ok(Rule::Everybody) };
        if let Some(who) = named.iter().find(is) {
            return Ok(Rule::Named(who.clone()));
        }
        let unanswered = named
            .iter()
            .chain(administer())
            .find(|who| matches!(who, Who::Group { id, .. } if !known.groups.contains_key(id)));
        Err(match unanswered {
            Some(group) => Denied::Unanswered { right, group: group.name() },
            None => {
                let all: Vec<&Who> = named.iter().chain(administer()).collect();
                let once = all.iter().enumerate().filter(|(n, who)| !all[..*n].contains(who));
                let who = once.map(|(_, who)| (*who).clone()).collect();
                Denied::NotNamed { right, named: Vec::new(), who }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(team: &str, user: &str) -> Person {
        Person { team: team.into(), user: user.into(), name: user.to_lowercase() }
    }

    fn user(id: &str) -> Who {
        Who::User { id: id.into(), name: None }
    }

    fn group(id: &str) -> Who {
        Who::Group { id: id.into(), handle: Some(id.to_lowercase()) }
    }

    fn known(groups: &[(&str, bool)]) -> Known {
        Known {
            home: Some("T1".into()),
            guest: Some(false),
            administrators: vec![],
            groups: groups.iter().map(|(id, is)| ((*id).to_owned(), *is)).collect(),
        }
    }

    #[test]
    fn everybody_may_until_somebody_is_named() {
        let (open, ana) = (Rights::default(), person("T1", "U1"));
        assert_eq!(open.may(Right::Deploy, &ana, &Known::default()), Ok(Rule::Everybody));
        let rights = Rights { deploy: Some(vec![user("U2"), group("S1")]), ..open };
        assert_eq!(rights.may(Right::Deploy, &person("T1", "U2"), &known(&[])), Ok(Rule::Named(user("U2"))));
        assert_eq!(rights.may(Right::Deploy, &ana, &known(&[("S1", true)])), Ok(Rule::Named(group("S1"))));
        let denied = rights.may(Right::Deploy, &ana, &known(&[("S1", false)])).unwrap_err();
        assert_eq!(denied.sentence("Production"), "You may not deploy to Production: only U2 and @s1 may.");
        assert_eq!(rights.may(Right::Lock, &ana, &known(&[])), Ok(Rule::Everybody));
        let nobody = Rights { stop: Some(vec![]), ..Rights::default() };
        let denied = nobody.may(Right::Stop, &ana, &known(&[])).unwrap_err();
        assert_eq!(denied.reason(), "only operators may");
    }

    #[test]
    fn what_could_not_be_asked_gives_no_right() {
        let rights = Rights { deploy: Some(vec![group("S1")]), ..Rights::default() };
        let denied = rights.may(Right::Deploy, &person("T1", "U1"), &Known::default()).unwrap_err();
        assert_eq!(denied, Denied::Unanswered { right: Right::Deploy, group: "@s1".into() });
    }

    #[test]
    fn people_of_other_workspaces_and_guests_may_only_where_it_is_said() {
        let mut rights = Rights { deploy: Some(vec![user("U1")]), ..Rights::default() };
        let ours = known(&[]);
        let theirs = person("T2", "U1");
        assert_eq!(rights.may(Right::Deploy, &theirs, &ours), Err(Denied::OtherWorkspace { right: Right::Deploy }));
        rights.other_workspaces = true;
        let denied = rights.may(Right::Deploy, &theirs, &ours).unwrap_err();
        let who = vec![user("U1")];
        assert_eq!(denied, Denied::NotNamed { right: Right::Deploy, named: vec![], who }, "another one's id");
        let guest = Known { guest: Some(true), ..known(&[]) };
        let open = Rights::default();
        assert_eq!(open.may(Right::Deploy, &person("T1", "U3"), &guest), Err(Denied::Guest { right: Right::Deploy }));
        assert_eq!(rights.may(Right::Deploy, &person("T1", "U1"), &guest), Ok(Rule::Named(user("U1"))), "by name");
        let open = Rights { guests: true, ..open };
        assert_eq!(open.may(Right::Deploy, &person("T1", "U3"), &guest), Ok(Rule::Everybody));
    }

    #[test]
    fn who_administers_may_all() {
        let rights = Rights { deploy: Some(vec![]), administer: vec![group("S1")], ..Rights::default() };
        let ana = person("T1", "U1");
        assert_eq!(rights.may(Right::Deploy, &ana, &known(&[("S1", true)])), Ok(Rule::Administers(group("S1"))));
        assert!(rights.may(Right::Administer, &ana, &known(&[("S1", false)])).is_err());
        assert!(Rights::default().may(Right::Administer, &ana, &known(&[])).is_err(), "nobody does by default");
    }
}
