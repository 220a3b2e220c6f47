//! The last lines that a container printed, for whoever asks why it failed: those of standard error where there are any.
//! Pure.

use std::collections::VecDeque;

use crate::domain::deployment::LAST_LINES;
use crate::terminal::{Row, Screen};

/// Characters of a line, at most.
const LINE_CHARACTERS: usize = 200;

/// Keeps the last lines of each stream, so many. They are masked already.
#[derive(Debug)]
pub(super) struct LastWords {
    most: usize,
    errors: VecDeque<Vec<u8>>,
    all: VecDeque<Vec<u8>>,
}

impl Default for LastWords {
    fn default() -> Self {
        Self::new(LAST_LINES)
    }
}

impl LastWords {
    /// Nothing yet, and so many lines at most.
    pub(super) fn new(most: usize) -> Self {
        Self { most, errors: VecDeque::new(), all: VecDeque::new() }
    }

    /// Whole lines of one of the streams.
    pub(super) fn push(&mut self, stderr: bool, lines: &[u8]) {
        let mut last: Vec<&[u8]> =
            lines.rsplit(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).take(self.most).collect();
        last.reverse();
        for line in last {
            keep(&mut self.all, self.most, line);
            if stderr {
                keep(&mut self.errors, self.most, line);
            }
        }
    }

    /// The lines as a person sees them, without colours.
    pub(super) fn lines(&self) -> Vec<String> {
        let kept = if self.errors.is_empty() { &self.all } else { &self.errors };
        let shown = kept.iter().map(|line| {
            let mut screen = Screen::new();
            screen.line(1, line);
            screen.rows().map(Row::text).collect::<Vec<_>>().join(" ").trim().chars().take(LINE_CHARACTERS).collect()
        });
        shown.filter(|line: &String| !line.is_empty()).collect()
    }
}

fn keep(of: &mut VecDeque<Vec<u8>>, most: usize, line: &[u8]) {
    if of.len() == most {
        of.pop_front();
    }
    // What a progress bar said before its last state is seen by nobody.
    let from = line.len().saturating_sub(16 * 1024);
    of.push_back(line[from..].to_vec());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_standard_error_are_told_and_of_all_where_it_is_silent() {
        let mut last = LastWords::default();
        assert_eq!(last.lines(), Vec::<String>::new());
        last.push(false, b"one\n\n  \ntwo\nthree\nfour\n");
        assert_eq!(last.lines(), ["two", "three", "four"]);
        last.push(true, b"\x1b[31mError:\x1b[0m no such table\n");
        last.push(false, b"cleaning up\n");
        assert_eq!(last.lines(), ["Error: no such table"]);
        last.push(true, b"10 %\r100 %\n");
        assert_eq!(last.lines(), ["Error: no such table", "100 %"]);
    }

    #[test]
    fn a_line_without_end_costs_little_and_is_cut() {
        let mut last = LastWords::default();
        last.push(true, &b"x".repeat(4 * 1024 * 1024));
        assert_eq!(last.lines(), ["x".repeat(LINE_CHARACTERS)]);
        assert!(last.errors[0].capacity() < 64 * 1024);
    }
}
