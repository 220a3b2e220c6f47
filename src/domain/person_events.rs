//! What people in Slack chose for themselves, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::deployment_events::Person;
use super::payload::Payload;

/// Recorded when it was chosen what somebody is told directly: by themselves, or for them by an operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationsChosen {
    /// Who is told.
    pub by: Person,
    /// What.
    pub wants: Wants,
}

/// What somebody is told directly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wants {
    /// Nothing.
    Off,
    /// What went wrong: failures, what is unknown, what somebody else ended or took away.
    Failures,
    /// That, successes, and what they wait for.
    #[default]
    All,
}

impl Wants {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Failures, Self::All];

    /// The word that people write for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Failures => "failures",
            Self::All => "all",
        }
    }

    /// Whether something is told that went wrong, or did not.
    pub fn takes(self, went_wrong: bool) -> bool {
        match self {
            Self::Off => false,
            Self::Failures => went_wrong,
            Self::All => true,
        }
    }
}

impl Payload for NotificationsChosen {
    fn example() -> Self {
        Self {
            by: Person { team: "T0123456789".into(), user: "U0123456789".into(), name: "ana".into() },
            wants: Wants::Failures,
        }
    }
}
