//! What CI runs: `build:new` and its presets. It needs no runtime and no database, and is all there is in the small
//! program that is built without the feature `server`.

pub mod announce;
pub mod command;
pub mod presets;
