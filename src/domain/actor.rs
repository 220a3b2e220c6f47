//! Who caused an event.
//!
//! **Invariant:** an actor is hashed with its event, as the text that is stored: `{"v":1,"kind":…,"id":…}`, with `of`
//! (what the id is unique in) and `name` (what people called it then) where there are any. A new kind needs no new
//! shape.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::{DeliveryId, TokenId};
use super::somebody::{Person, Somebody};

/// The shape of [`Stored`].
const VERSION: u8 = 1;

/// [`Actor::System`] as it is stored. Most events are by it, and it is known by its text.
const SYSTEM: &str = r#"{"v":1,"kind":"system","id":"coolops"}"#;

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Stored<'static>", try_from = "Stored<'_>")]
pub enum Actor {
    /// A project's API token.
    Token(TokenId),
    /// A CI system's webhook.
    Webhook {
        /// The CI system, by the name in its address.
        provider: String,
        /// The delivery, as `coolops ci deliveries` lists it.
        delivery: DeliveryId,
    },
    /// A person in Slack.
    Slack {
        /// The workspace.
        team: String,
        /// The person's Slack id.
        user: String,
        /// The person's handle then.
        name: String,
    },
    /// Somebody with access to the command line and the database.
    Operator {
        /// The login name on that machine.
        login: String,
    },
    /// coolops itself.
    System,
}

impl From<&Person> for Actor {
    fn from(person: &Person) -> Self {
        Self::Slack { team: person.team.clone(), user: person.user.clone(), name: person.name.clone() }
    }
}

impl From<&Somebody> for Actor {
    fn from(somebody: &Somebody) -> Self {
        match somebody {
            Somebody::Person(person) => person.into(),
            Somebody::Operator { login } => Self::Operator { login: login.clone() },
        }
    }
}

/// An actor as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Actor")]
pub struct Stored<'a> {
    /// Version of this shape.
    v: u8,
    /// What the id is one of: `token`, `webhook`, `slack`, `operator`, `system`.
    #[serde(borrow)]
    kind: Cow<'a, str>,
    /// Stays the same when the name changes.
    #[serde(borrow)]
    id: Cow<'a, str>,
    /// What the id is unique in: a webhook's CI system, a person's Slack workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<Cow<'a, str>>,
    /// What people called it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
}

impl From<Actor> for Stored<'static> {
    fn from(actor: Actor) -> Self {
        let stored = |kind: &'static str, id: String, of: Option<String>, name: Option<String>| Self {
            v: VERSION,
            kind: kind.into(),
            id: id.into(),
            of: of.map(Into::into),
            name: name.map(Into::into),
        };
        match actor {
            Actor::Token(id) => stored("token", id.to_string(), None, None),
            Actor::Webhook { provider, delivery } => stored("webhook", delivery.to_string(), Some(provider), None),
            Actor::Slack { team, user, name } => stored("slack", user, Some(team), Some(name)),
            Actor::Operator { login } => stored("operator", login, None, None),
            Actor::System => stored("system", "coolops".to_owned(), None, None),
        }
    }
}

/// Why an actor can't be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableActor {
    /// A newer program wrote it.
    #[error(
        "an actor of the kind {kind:?} (version {v}) is unknown to this version of coolops; run the version that wrote it, or a newer one"
    )]
    Unknown {
        /// Its kind.
        kind: String,
        /// Version of its shape.
        v: u8,
    },
    /// A field is missing, or is not what it should be.
    #[error("the actor lacks {0}, or it can't be read")]
    Damaged(&'static str),
    /// It is not of this shape at all.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

impl Actor {
    /// Reads a stored actor.
    ///
    /// # Errors
    /// See [`UnreadableActor`].
    pub fn parse(stored: &str) -> Result<Self, UnreadableActor> {
        if stored == SYSTEM {
            return Ok(Self::System);
        }
        serde_json::from_str::<Stored<'_>>(stored)?.try_into()
    }
}

impl TryFrom<Stored<'_>> for Actor {
    type Error = UnreadableActor;

    fn try_from(stored: Stored<'_>) -> Result<Self, UnreadableActor> {
        let Stored { v, kind, id, of, name } = stored;
        let of = |what| of.map(Cow::into_owned).ok_or(UnreadableActor::Damaged(what));
        Ok(match (v, kind.as_ref()) {
            (VERSION, "token") => Self::Token(id.parse().map_err(|_| UnreadableActor::Damaged("its token's id"))?),
            (VERSION, "webhook") => {
                let delivery = id.parse().map_err(|_| UnreadableActor::Damaged("its delivery's id"))?;
                Self::Webhook { provider: of("its CI system")?, delivery }
            }
            (VERSION, "slack") => {
                let name = name.map(Cow::into_owned).unwrap_or_default();
                Self::Slack { team: of("its workspace")?, user: id.into_owned(), name }
            }
            (VERSION, "operator") => Self::Operator { login: id.into_owned() },
            (VERSION, "system") => Self::System,
            _ => return Err(UnreadableActor::Unknown { kind: kind.into_owned(), v }),
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_kind_is_stored_in_one_shape_and_read_again() {
        let id = Uuid::from_u128(7);
        for (actor, stored) in [
            (Actor::Token(TokenId(id)), r#"{"v":1,"kind":"token","id":"00000000-0000-0000-0000-000000000007"}"#),
            (
                Actor::Webhook { provider: "github".into(), delivery: DeliveryId(id) },
                r#"{"v":1,"kind":"webhook","id":"00000000-0000-0000-0000-000000000007","of":"github"}"#,
            ),
            (
                Actor::Slack { team: "T1".into(), user: "U1".into(), name: "ana".into() },
                r#"{"v":1,"kind":"slack","id":"U1","of":"T1","name":"ana"}"#,
            ),
            (Actor::Operator { login: "root".into() }, r#"{"v":1,"kind":"operator","id":"root"}"#),
            (Actor::System, SYSTEM),
        ] {
            assert_eq!(serde_json::to_string(&actor).unwrap(), stored);
            assert_eq!(serde_json::from_str::<Actor>(stored).unwrap(), actor);
            assert_eq!(Actor::parse(stored).unwrap(), actor);
        }
    }

    #[test]
    fn what_a_newer_program_wrote_is_not_taken_for_something_else() {
        for unknown in [r#"{"v":1,"kind":"robot","id":"x"}"#, r#"{"v":2,"kind":"system","id":"coolops"}"#] {
            let error = serde_json::from_str::<Actor>(unknown).unwrap_err().to_string();
            assert!(error.contains("is unknown to this version of coolops"), "{error}");
        }
        assert!(serde_json::from_str::<Actor>(r#"{"v":1,"kind":"slack","id":"U1"}"#).is_err());
    }
}
