//! The words for where a deployment stands, and what each of them means for its environment.
//!
//! **Invariant:** the words are stored in events, rows and addresses of lists. The same sets stand once in SQL, as
//! generated columns of `deployment`; a test holds the two together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits behind another one of its environment.
    Queued,
    /// Its turn; waits for a free worker.
    Ready,
    /// A worker fetches its image.
    Pulling,
    /// A worker prepares and starts its container.
    Starting,
    /// The container runs.
    Running,
    /// It was told to stop and has not ended yet.
    Cancelling,
    /// Nobody can tell; a person must decide.
    Unknown,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Stopped because it ran longer than it may.
    TimedOut,
    /// Stopped because somebody wanted so.
    Cancelled,
    /// Not started, because who pressed may not any more.
    Refused,
}

impl State {
    /// All of them, in the order of a deployment's life.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Ready,
        Self::Pulling,
        Self::Starting,
        Self::Running,
        Self::Cancelling,
        Self::Unknown,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Refused,
    ];

    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ready => "ready",
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }

    /// The word that people read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "queued",
            Self::Cancelling => "stopping",
            Self::TimedOut => "timed out",
            state => state.as_str(),
        }
    }

    /// Whether its container has not started: whoever ends it then ends something that did nothing yet.
    pub fn has_not_started(self) -> bool {
        matches!(self, Self::Queued | Self::Ready | Self::Pulling | Self::Starting)
    }

    /// Whether it has ended.
    pub fn is_over(self) -> bool {
        !self.is_open()
    }

    /// Whether it is in its environment's line: it waits, holds the environment, or keeps it closed.
    pub fn is_open(self) -> bool {
        self == Self::Queued || self.holds()
    }

    /// Whether it holds its environment: no other deployment there has its turn.
    pub fn holds(self) -> bool {
        self == Self::Unknown || self.is_worked_on()
    }

    /// Whether a worker is at it, or is to be.
    pub fn is_worked_on(self) -> bool {
        matches!(self, Self::Ready | Self::Pulling | Self::Starting | Self::Running | Self::Cancelling)
    }

    /// Whether nothing of it can be running: it has not come as far as its container.
    pub fn has_not_begun(self) -> bool {
        matches!(self, Self::Queued | Self::Ready | Self::Pulling)
    }
}
