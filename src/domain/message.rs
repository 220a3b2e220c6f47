//! What is known of a build's Slack message as a fact: where it is. What it says is derived.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::BuildId;
use super::payload::Payload;

/// Recorded when Slack accepted a build's message, or when one posted before was found again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MessagePosted {
    /// The build.
    pub build_id: BuildId,
    /// The channel's id, as Slack answered it.
    pub channel: String,
    /// Slack's name for the message in that channel. A text, never a number: it has six decimals.
    pub ts: String,
}

impl Payload for MessagePosted {
    fn example() -> Self {
        Self { build_id: BuildId(Uuid::from_u128(0x4)), channel: "C0123456789".into(), ts: "1715000000.000100".into() }
    }
}
