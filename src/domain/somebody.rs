//! Somebody who asks for something, as an event names them.
//!
//! **Invariant:** these are bytes of the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody in Slack is called whose name was erased.
pub const FORMER_MEMBER: &str = "a former member";
/// What an operator is called whose login name was erased; it is said beside it that it is one.
pub const FORMER_OPERATOR: &str = "a former member";
/// What somebody is called whose name can't be read for now: it is under a master key that isn't set.
pub const UNREADABLE: &str = "somebody";
/// No id in Slack begins like these: those are capital letters and digits.
const FORMER: &str = "former-";
const UNKNOWN: &str = "unknown-";

/// What stands for the id of somebody whose id was erased; `mark` tells them from others.
pub fn former(mark: &str) -> String {
    format!("{FORMER}{mark}")
}

/// What stands for the id of somebody whose id can't be read for now.
pub fn unknown(mark: &str) -> String {
    format!("{UNKNOWN}{mark}")
}

/// What stands for somebody whose id was erased, or can't be read for now: nobody can be told anything there. None for an
/// id.
pub fn nobody(id: &str) -> Option<&'static str> {
    match id {
        id if id.starts_with(FORMER) => Some(FORMER_MEMBER),
        id if id.starts_with(UNKNOWN) => Some(UNREADABLE),
        _ => None,
    }
}

/// Whether a text, in any case, stands for somebody whose id was erased.
pub fn is_former(id: &str) -> bool {
    id.get(..FORMER.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(FORMER))
}

/// A person in Slack, as the press named them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The workspace's id.
    pub team: String,
    /// The person's id.
    pub user: String,
    /// The person's handle then; the container gets it as `COOLOPS_DEPLOYER_NAME`.
    pub name: String,
}

impl Person {
    /// Whether it is the same person, by their id: names change.
    pub fn is(&self, other: &Self) -> bool {
        self.user == other.user && self.team == other.team
    }
}

/// A person in Slack, or an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Somebody {
    /// Somebody in Slack.
    Person(Person),
    /// An operator at the command line.
    Operator {
        /// The login name on that machine.
        login: String,
    },
}

impl From<Person> for Somebody {
    fn from(person: Person) -> Self {
        Self::Person(person)
    }
}

impl Somebody {
    /// What they are called.
    pub fn name(&self) -> &str {
        match self {
            Self::Person(person) => &person.name,
            Self::Operator { login } => login,
        }
    }

    /// What tells them from others of their kind: a person's id in Slack, an operator's login name.
    pub fn id(&self) -> &str {
        match self {
            Self::Person(person) => &person.user,
            Self::Operator { login } => login,
        }
    }

    /// The person in Slack, if it is one.
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Person(person) => Some(person),
            Self::Operator { .. } => None,
        }
    }

    /// Whether it is this person, by their id: names change.
    pub fn is(&self, other: &Person) -> bool {
        self.person().is_some_and(|own| own.is(other))
    }

    /// Whether both are the same.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (own, Self::Person(other)) => own.is(other),
            (Self::Operator { login }, Self::Operator { login: other }) => login == other,
            (Self::Person(_), Self::Operator { .. }) => false,
        }
    }
}
