//! What a payload type tells about itself.

use schemars::JsonSchema;
use serde::Serialize;

/// The payload of an event type. Implemented next to the struct, which `events!` in [`event`](super::event) lists once.
pub trait Payload: Serialize + JsonSchema {
    /// An instance with every field filled, for the published contract.
    fn example() -> Self;
}
