//! Why a run of a deployment is broken off.
//!
//! **Invariant:** what comes from the database or the engine never ends a deployment by itself: whoever holds the job next
//! goes on with it.

use std::time::Duration;

use super::Outcome;
use crate::app::CommandError;
use crate::app::deployments::StepError;
use crate::domain::deployment::{Failure, Loss, StopReason};
use crate::runner::Trouble;
use crate::store::journal::JournalError;
use crate::store::log::ReadError;
use crate::telemetry::causes;

/// Why a run was broken off. The container, if there is one, runs on.
pub(super) enum Break {
    /// The deployment fails for a reason that is known.
    Fail(Failure),
    /// It was told to stop before its container was started.
    NotStarted,
    /// It can't be known how it went.
    Lose(Loss),
    /// What it was for was archived before it began.
    Withdraw(StopReason),
    /// The engine can't do it now, in its words.
    Engine(String),
    /// This worker can't go on now.
    Leave(Outcome),
}

impl From<Trouble> for Break {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(failure) => Self::Fail(failure),
            Trouble::Engine(_) => Self::Engine(trouble.to_string()),
        }
    }
}

impl From<sqlx::Error> for Break {
    fn from(error: sqlx::Error) -> Self {
        Self::Leave(Outcome::Later(Duration::from_secs(1), Some(causes(&error))))
    }
}

impl From<JournalError> for Break {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Fenced => Self::Leave(Outcome::Lost),
            JournalError::Database(e) => e.into(),
        }
    }
}

impl From<CommandError<StepError>> for Break {
    fn from(error: CommandError<StepError>) -> Self {
        match error {
            CommandError::Refused(StepError::Fenced) => Self::Leave(Outcome::Lost),
            error => Self::Leave(error.into()),
        }
    }
}

impl From<ReadError> for Break {
    fn from(error: ReadError) -> Self {
        Self::Leave(Outcome::Later(Duration::from_secs(5), Some(causes(&error))))
    }
}
