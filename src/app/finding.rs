//! What an audit finds, and what kind of change it is.

use std::fmt;

use serde::Serialize;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What an event says is not what was recorded.
    EditedBody,
    /// Who, when, about what, or in which order is not what was recorded.
    EditedHeader,
    /// An event is gone, and those after it are there.
    MissingEvent,
    /// The newest events are gone.
    CutTail,
    /// The newest events are gone, and what says how many there were was rewritten.
    RewrittenHead,
    /// The chain is whole and is not the one that was signed.
    RewrittenHistory,
    /// An event is there that the log's head does not know.
    InsertedEvent,
    /// An event can't be read: no version of this program wrote it.
    Unreadable,
    /// What a deployment printed is not what was stored.
    ChangedOutput,
    /// The key of private texts is gone, and nobody said so.
    MissingKey,
    /// A key is there of which an event says that it was destroyed.
    KeptKey,
    /// What Slack was sent is not what the log says.
    ChangedMessage,
    /// A row that is derived from the log is not what the log says.
    ChangedRow,
    /// The database does not refuse changes of the log any more.
    Unguarded,
    /// Something that is kept as a checkpoint is none of this log.
    BadCheckpoint,
    /// A checkpoint is not where it was kept, or the place can't be read.
    MissingCheckpoint,
    /// Fewer witnesses cosigned than have to.
    Uncosigned,
    /// Two checkpoints were signed that can't both be of one log.
    Fork,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| Some(word.as_str()?.replace('_', " "))).unwrap_or_default()
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of change it is.
    pub kind: Kind,
    /// The first event that it concerns: of output the one that seals it, of a row or a message the last one that it is made
    /// of, of a checkpoint the last one that it says it covers. None for what is about no event.
    pub position: Option<i64>,
    /// In words: where, and what.
    pub said: String,
}

impl Finding {
    /// One about an event.
    pub fn at(kind: Kind, position: i64, said: impl Into<String>) -> Self {
        Self { kind, position: Some(position), said: said.into() }
    }

    /// One about an event, where it is known.
    pub fn about(kind: Kind, position: Option<i64>, said: impl Into<String>) -> Self {
        Self { kind, position, said: said.into() }
    }

    /// One about something else.
    pub fn of(kind: Kind, said: impl Into<String>) -> Self {
        Self { kind, position: None, said: said.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}
