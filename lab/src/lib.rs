//! The lab: a stand-in for Slack, private services and the demo that is made of them, for trying and for tests.
//!
//! **Invariants:** it knows nothing of the service but its command line and its protocols, or it would be no judge of
//! it. Nothing of the system's own is touched: no cluster, no running Redis, no port that is taken. What it starts it
//! stops, also after a crash, at the next start.

pub mod demo;
pub mod engine;
pub mod image;
pub mod orphans;
pub mod program;
pub mod run_folder;
pub mod services;
pub mod standin;
pub mod with_services;

use std::io::Write;

/// Prints a line. A closed pipe is not an error: whoever read has enough.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// Says something to the person at the terminal that a pipe should not get.
pub fn hint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
