//! All integration tests, in one binary: one link, one start.
#![allow(missing_docs, reason = "tests are named as sentences")]
#![expect(
    clippy::assigning_clones,
    clippy::manual_assert,
    clippy::type_complexity,
    clippy::unused_self,
    clippy::zombie_processes,
    reason = "plainer as it is in a story; processes are waited for elsewhere"
)]
#![expect(clippy::unwrap_used, reason = "a test that meets what it doesn't expect has failed")]
#![expect(clippy::disallowed_methods, reason = "tests read the addresses of their services")]

mod story;

mod chaos;
mod ci;
mod engine;
mod images;
mod rules;
mod stories;
