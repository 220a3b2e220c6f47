//! A deployment's output on its way from the container into the journal.

use super::deployment_events::{LeftOut, LogCursor};

/// Whole masked lines, and what is known about them. One piece becomes one chunk of the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    /// The bytes, ending with a line's end.
    pub body: Vec<u8>,
    /// Where reading goes on after it; none for lines of coolops itself.
    pub cursor: Option<LogCursor>,
    /// What was left out right before it.
    pub left_out: Option<LeftOut>,
    /// Notes in it that output is missing.
    pub gaps: i32,
}

impl Piece {
    /// Lines in it.
    pub fn lines(&self) -> i64 {
        self.body.iter().filter(|b| **b == b'\n').count() as i64
    }
}
