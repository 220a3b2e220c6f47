//! Slack: rendering a card, reading a press, and the client that talks to the Web API.
//!
//! **Invariant:** every text of a person or a machine passes through [`mrkdwn`]; `render` sees a card, never an event.

pub mod answer;
pub mod button;
pub mod client;
pub mod command;
pub mod dialog;
pub mod event;
mod facts;
pub mod interaction;
mod line;
pub mod mrkdwn;
pub mod plain;
pub mod render;
pub mod report;
pub mod shown;
pub mod signature;
pub mod when;

/// Slack's ids and handles are short; what isn't, is not kept whole for ever. A NUL can't be stored at all.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
