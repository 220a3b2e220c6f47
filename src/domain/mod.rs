//! What may happen and what it means: ids, names, events, decisions. Pure values and functions on them.
//!
//! **Invariant:** nothing here knows a clock, a random number, a database, Slack or Docker. Ids arrive inside commands;
//! the time of an event is the database's and is added by whoever records it.
//!
//! **How to add an event type:** write its struct and example beside its aggregate, add one line to `events!` in
//! [`event`], run `./just events`, then follow the compiler through `address`, `apply` and [`react`](mod@react).

pub mod actor;
pub mod build;
pub mod build_events;
pub mod ci_rules;
pub mod declared;
pub mod deployment;
pub mod deployment_events;
pub mod erasure;
pub mod erasure_events;
pub mod event;
pub mod failure;
pub mod fork_events;
pub mod ids;
pub mod installation;
pub mod line;
pub mod lock;
pub mod lock_events;
pub mod message;
pub mod moment;
pub mod names;
pub mod output;
pub mod payload;
pub mod person_events;
pub mod press;
pub mod press_refusal;
pub mod private;
pub mod project;
pub mod project_events;
pub mod react;
pub mod rights;
pub mod rights_events;
pub mod settings;
pub mod somebody;
pub mod state;
pub mod step;
pub mod stop_reason;
pub mod upcast;
