//! Why a press was refused, and what the presser reads then.
//!
//! **Invariant:** the refusal stands in events as it is here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rights_events::Denied;
use super::state::State;
use super::stop_reason::{StopReason, stop_words};

/// Why a press was refused, as data for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum PressRefusal {
    BuildUnknown,
    ProjectArchived {
        project: String,
    },
    EnvironmentGone {
        environment: String,
    },
    MovedAway {
        project: String,
        channel: String,
    },
    ForeignMessage,
    UnderWay {
        build_name: String,
        environment: String,
        state: State,
        since_press_of: String,
        /// That is an operator's login name, and no person's id in Slack.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_operator: bool,
    },
    Over {
        build_name: String,
        environment: String,
        state: State,
    },
    Stopping {
        build_name: String,
        environment: String,
        reason: Box<StopReason>,
    },
    Undecided {
        build_name: String,
        environment: String,
    },
    NotAllowed {
        environment: String,
        denied: Denied,
    },
}

impl PressRefusal {
    /// What the presser reads, as unescaped text. A person's Slack id is left to the renderer.
    pub fn sentence(&self) -> String {
        match self {
            Self::BuildUnknown => {
                "This build is not known here any more, so nothing was started. Announce it again from CI to get a new message.".to_owned()
            }
            Self::ProjectArchived { project } => format!("The project {project} is archived, so nothing was started."),
            Self::EnvironmentGone { environment } => {
                format!(
                    "The environment {environment} does not exist any more, so nothing was started. Newer builds show the environments there are."
                )
            }
            Self::MovedAway { project, .. } => {
                format!("The builds of {project} are deployed from another channel now, so nothing was done.")
            }
            Self::ForeignMessage => {
                "This button is not on a message of this coolops, or of this workspace, so nothing was done.".to_owned()
            }
            Self::UnderWay { build_name, environment, state, .. } => {
                let next = match state {
                    State::Unknown => "An operator has to look at it first: coolops deployment resolve.",
                    _ => "Its line in the message shows how it goes; press again when it has ended.",
                };
                let state = state.word();
                format!("{build_name} is already {state} on {environment}, so nothing was started a second time. {next}")
            }
            Self::Over { build_name, environment, state } => {
                format!("{build_name} on {environment} has ended already ({}): there is nothing to stop.", state.word())
            }
            Self::Stopping { build_name, environment, reason } => {
                format!("{build_name} on {environment} is being stopped already: {}.", stop_words(reason, None, None))
            }
            Self::NotAllowed { environment, denied } => denied.sentence(environment),
            Self::Undecided { build_name, environment } => format!(
                "Nobody can tell whether {build_name} still runs on {environment}, so it can't be stopped. An operator has to look at it first: coolops deployment resolve."
            ),
        }
    }
}
