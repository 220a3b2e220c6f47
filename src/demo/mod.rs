//! The demo: private services, the stand-in for Slack, a seeded project, and the ordinary service as a child process.
//!
//! **Invariant:** nothing of the system's own is touched: no cluster, no running Redis, no port that is taken. What it
//! starts it stops, also after a crash, at the next start.

pub mod image;
pub mod orphans;
pub mod run_folder;
pub mod services;
