//! Stories with a real Postgres, the stand-in for Slack, and no container: the runner in them is told what to do.

mod announcing;
mod archiving;
mod audit;
mod checkpoints;
mod commands;
mod controls;
mod deploying;
mod engine_trouble;
mod event_log;
mod exporting;
mod forgetting;
mod history;
mod intake;
mod keeping;
mod locks;
mod migrations;
mod operators;
mod places;
mod privileges;
mod proof;
mod random;
mod reports;
mod rights;
mod slack_audit;
mod slack_trouble;
mod standing;
mod states;
mod stopping;
mod tampering;
mod travel;
mod turns;
#[cfg(feature = "failpoints")]
mod week;
mod wide_locks;
mod witnesses;
