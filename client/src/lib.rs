//! What CI runs: `build:new` and its presets. It needs no runtime and no database.
//!
//! The service has these commands too, and holds builds to the same [`limits`].

pub mod announce;
pub mod command;
pub mod limits;
pub mod portable;
pub mod presets;
pub mod told;
