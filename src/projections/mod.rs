//! Pure folds over recorded events: what a build's message says, and which rows the log leaves.
//!
//! **Invariant:** the same events give the same result, whenever and wherever they are folded.

pub mod build_card;
pub mod happened;
pub mod insights;
pub mod lock_card;
pub mod reports;
pub mod rows;
pub mod sites;
pub mod standing;
pub mod timed;
pub mod words;
