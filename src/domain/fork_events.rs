//! That two histories were found where there should be one, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log. What decides is a note that was signed and is kept outside: who can write
//! here can't make one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// Recorded when an operator decided that this log goes on, although checkpoints outside are of another one: after the
/// restore of a backup, as a rule. Or that a log goes on which had been closed by mistake. What happened in the other one after the two parted is not in this log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForkDecided {
    /// How many events both have in common, as far as checkpoints tell.
    pub after: u64,
    /// How many events the other one had, as far as checkpoints tell; 0 where the log had been closed by mistake, and nothing is
    /// given up.
    pub until: u64,
    /// The root of the tree of the other one then, hex.
    pub root: String,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Payload for ForkDecided {
    fn example() -> Self {
        Self { after: 1000, until: 1042, root: "9c".repeat(32), reason: "Restored from the backup of 14:00".into() }
    }
}
