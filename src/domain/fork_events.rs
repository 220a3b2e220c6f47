//! That two histories were found where there should be one, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::payload::Payload;

/// Recorded when an operator decided that this log goes on, although checkpoints outside are of another one: after the
/// restore of a backup, as a rule. What happened in the other one after the two parted is not in this log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForkDecided {
    /// The checkpoints of the other one.
    pub abandoned: Vec<Abandoned>,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A checkpoint of a history that does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Abandoned {
    /// How many events it covers.
    pub size: u64,
    /// The root of their tree, hex.
    pub root: String,
}

impl Payload for ForkDecided {
    fn example() -> Self {
        Self {
            abandoned: vec![Abandoned { size: 1042, root: "9c".repeat(32) }],
            reason: "Restored from the backup of 14:00".into(),
        }
    }
}
