//! What a terminal would show of a log. Pure.
//!
//! The log's lines go in with their numbers; rows come out, each with the number of the line that made it. A row that a
//! later line draws over changes; one that has left the screen doesn't any more.
//!
//! **Invariants:** any bytes are taken, and what one line costs is bounded. A line's end leads to the beginning of the
//! next one, as where a terminal's driver is between; lines are not folded at a terminal's width, which a log has not.
//! Sequences are read by the `vte` crate after Paul Williams' parser for DEC's terminals.

pub mod html;
mod row;
mod screen;
pub mod steps;
pub mod style;
pub mod text;
mod view;

pub use row::{Cell, Row};
pub use screen::Screen;

/// Rows of the screen, as programs take it to have where there is none: so far up can what is shown be changed.
pub const ROWS: usize = 24;
/// Most characters of a row; the rest is counted. The download has it.
pub const ROW_MAX: usize = 8 * 1024;

/// The lines of a piece of output, with their numbers.
pub fn numbered(first: i64, piece: &[u8]) -> impl Iterator<Item = (i64, &[u8])> {
    (first..).zip(piece.strip_suffix(b"\n").unwrap_or(piece).split(|b| *b == b'\n'))
}
