//! What commands print: lines and tables for people, JSON for machines.

use std::io::{IsTerminal, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;

use coolops_client::limits::on_a_line;

/// How to print.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Format {
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

/// Prints a line. A closed pipe is not an error: whoever read has enough.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
}

/// Says something to the person at the terminal that a pipe should not get.
pub fn hint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether what is printed is for a person's terminal who takes colours (no-color.org).
#[expect(clippy::disallowed_methods, reason = "a person's taste is no configuration")]
pub fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Prints bytes as they are.
pub fn bytes(bytes: &[u8]) {
    let _ = std::io::stdout().write_all(bytes);
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints rows under headings, in columns as wide as they need; that there are none, where there are none.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return line("None.");
    }
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..headings.len())
        .map(|n| rows.iter().map(|r| width(&r[n])).chain([width(headings[n])]).max().unwrap_or(0))
        .collect();
    let show = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, w)| format!("{cell}{}", " ".repeat(w - width(cell)))).collect();
        line(padded.join("  ").trim_end());
    };
    show(&headings.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| show(row));
}

/// A time as lists show it.
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Text from outside, harmless to a terminal.
pub fn safe(text: &str) -> String {
    on_a_line(text)
}
