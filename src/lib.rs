//! coolops: deployments from Slack, with a history that can be replayed and checked.
//!
//! Something happens → it is **decided** on plain data → facts are **appended** → everything else (message, job, page)
//! is **derived** from those facts. A module may know what stands to its right, never to its left:
//!
//! ```text
//! cli → { client, demo } → { http, jobs } → app → { store, slack, runner, ci } → projections → domain      standin → (none of them)
//! ```
//!
//! `docs/ARCHITECTURE.md` walks one deployment through the files; `tests/it/tidy.rs` holds the arrows.

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod ci;
#[cfg(feature = "server")]
pub mod cli;
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod demo;
#[cfg(feature = "server")]
pub mod domain;
#[cfg(feature = "server")]
pub mod failpoint;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod jobs;
#[cfg(feature = "server")]
pub mod keys;
pub mod limits;
#[cfg(feature = "server")]
pub mod projections;
#[cfg(feature = "server")]
pub mod runner;
#[cfg(feature = "server")]
pub mod slack;
#[cfg(feature = "server")]
pub mod standin;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;

#[cfg(feature = "server")]
pub use cli::main;
/// Without the feature `server` there is what CI runs, and nothing else.
#[cfg(not(feature = "server"))]
pub use client::command::main;
