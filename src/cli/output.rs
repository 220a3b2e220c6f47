//! What commands print: lines and tables for people, JSON for machines.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::domain::moment::to_the_second;
use coolops_client::limits::on_a_line;

/// How to print.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Format {
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

/// What kept something from being printed, first: a full disk, not a closed pipe. Whoever read that has enough.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();

fn noted(written: std::io::Result<()>) {
    if let Err(why) = written
        && why.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(why);
    }
}

/// What kept something of all that was printed from getting there; asked once at the end.
pub fn failed() -> Option<&'static std::io::Error> {
    noted(std::io::stdout().flush());
    FAILED.get()
}

/// Whether somebody may still read what is printed: a pipe tells when its other end was closed. Nothing is written for it.
pub fn is_read() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut asked = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut asked, Some(&at_once)) {
        Ok(_) => !asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
        Err(_) => true,
    }
}

/// Prints a line.
pub fn line(text: &str) {
    noted(writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n')));
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
    noted(std::io::stdout().write_all(bytes));
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) {
    line(&harmless(&serde_json::to_string_pretty(value).unwrap_or_default()));
}

/// JSON whose texts move no terminal: what JSON itself lets through is escaped too.
pub fn harmless(json: &str) -> Cow<'_, str> {
    // Most has nothing but ASCII, which is seen many bytes at once.
    if json.is_ascii() && memchr::memchr(0x7f, json.as_bytes()).is_none() {
        return json.into();
    }
    let moves = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    if !json.chars().any(moves) {
        return json.into();
    }
    json.chars().map(|c| if moves(c) { format!("\\u{:04x}", c as u32) } else { c.to_string() }).collect()
}

/// Prints rows under headings, in columns as wide as they need; that there are none, where there are none.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return line("None.");
    }
    // In columns of a terminal, as wide characters take two.
    let width = |text: &str| text.width();
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
    to_the_second(at)
}

/// Text from outside, harmless to a terminal.
pub fn safe(text: &str) -> String {
    on_a_line(text)
}

/// How far something is, on one line of a person's terminal: a bar, the rate, the time left. Nothing elsewhere.
pub struct Progress {
    shown: bool,
    /// What is being done, since when, and how much of it was done by then.
    doing: Mutex<(&'static str, Instant, i64)>,
}

impl Progress {
    /// Begins.
    pub fn begin() -> Self {
        Self { shown: std::io::stderr().is_terminal(), doing: Mutex::new(("", Instant::now(), 0)) }
    }

    /// So many of so many are done of what is done now. What is done next has a rate of its own.
    pub fn tell(&self, what: &'static str, done: i64, of: i64) {
        let mut doing = self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        if doing.0 != what {
            *doing = (what, Instant::now(), done);
        }
        let (_, since, before) = *doing;
        self.say(&progress(what, (done, of), (done - before, since.elapsed().as_secs_f64())));
    }

    /// Shows this in its place.
    pub fn say(&self, line: &str) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Takes the line away.
    pub fn end(self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// How far it is, and how fast it went since so much of it was done, in so many seconds; nothing of that before there is any.
fn progress(what: &str, (done, of): (i64, i64), (some, seconds): (i64, f64)) -> String {
    const WIDTH: usize = 24;
    let share = if of > 0 { (done as f64 / of as f64).clamp(0.0, 1.0) } else { 1.0 };
    #[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
    let full = (share * WIDTH as f64) as usize;
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
    let rate = if seconds > 0.0 { some as f64 / seconds } else { 0.0 };
    let speed = match rate > 0.0 {
        true => format!(", {rate:.0} a second, {:.0} s left", (of - done).max(0) as f64 / rate),
        false => String::new(),
    };
    format!("{what} [{bar}] {:3.0} %{speed}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_lets_through_and_moves_a_terminal_is_escaped() {
        assert_eq!(harmless("\"a\u{7f}b\""), r#""a\u007fb""#);
        assert_eq!(harmless("\"ü\u{9b}2J\""), r#""ü\u009b2J""#);
        assert!(matches!(harmless("\"plain\""), Cow::Borrowed("\"plain\"")));
    }

    #[test]
    fn progress_tells_how_far_how_fast_and_how_long() {
        assert_eq!(
            progress("Folding events", (250_000, 1_000_000), (200_000, 2.0)),
            "Folding events [######..................]  25 %, 100000 a second, 8 s left"
        );
        assert_eq!(progress("Folding events", (0, 0), (0, 0.0)), "Folding events [########################] 100 %");
    }
}
