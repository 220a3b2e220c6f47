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

mod announcing;
mod archiving;
mod audit;
mod browser;
mod canary;
mod chaos;
mod ci;
mod cli;
mod client;
mod contract;
mod crowds;
mod demo;
mod deploying;
mod end_to_end;
mod engine_trouble;
mod event_log;
mod intake;
mod limits;
mod network;
mod operating;
mod outages;
mod privileges;
mod registry;
mod slack_sdk;
mod slack_trouble;
mod standin_refuses;
mod states;
mod stopping;
mod tidy;
