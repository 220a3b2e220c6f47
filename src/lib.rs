//! coolops: deployments from Slack, with a history that can be replayed and checked.
//!
//! Something happens → it is **decided** on plain data → facts are **appended** → everything else (message, job, page)
//! is **derived** from those facts. A module may know what stands to its right, never to its left:
//!
//! ```text
//! cli → { http, jobs } → app → { store, slack, runner, ci, places } → { projections, proof } → domain
//! ```
//!
//! `docs/ARCHITECTURE.md` walks one deployment through the files; `tests/it/rules/tidy.rs` holds the arrows.

pub mod app;
pub mod ci;
pub mod cli;
pub mod config;
pub mod domain;
pub mod failpoint;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod places;
pub mod projections;
pub mod proof;
pub mod runner;
pub mod slack;
pub mod store;
pub mod telemetry;
pub mod terminal;

pub use cli::main;
