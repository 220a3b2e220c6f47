//! What of an output that is held for its tail is shown to those who watch: all of it when it comes slowly, and of a
//! flood the newest. Pure.

use std::time::{Duration, Instant};

/// Between two pieces for watchers.
pub const PAUSE: Duration = Duration::from_millis(250);
/// Most bytes of one piece.
const PIECE_MAX: usize = 128 * 1024;

/// Gathers lines until they are due.
#[derive(Default)]
pub struct Watched {
    /// Number of the first line gathered, counted over all that was printed.
    first_line: i64,
    next_line: i64,
    body: Vec<u8>,
    shown_at: Option<Instant>,
}

impl Watched {
    /// Lines that were printed; `number` is that of the first.
    pub fn push(&mut self, number: i64, body: &[u8]) {
        if self.body.is_empty() {
            self.first_line = number;
        }
        self.body.extend_from_slice(body);
        self.next_line = number + lines(body);
        if self.body.len() > 2 * PIECE_MAX {
            self.cut();
        }
    }

    /// Only the newest stays.
    fn cut(&mut self) {
        let from = self.body.len().saturating_sub(PIECE_MAX);
        let from = self.body[from..].iter().position(|b| *b == b'\n').map_or(self.body.len(), |n| from + n + 1);
        self.body.drain(..from);
        self.first_line = self.next_line - lines(&self.body);
    }

    /// What is due at a time: number of the first line, how many, and the lines.
    pub fn take(&mut self, now: Instant) -> Option<(i64, i64, Vec<u8>)> {
        if self.body.is_empty() || self.shown_at.is_some_and(|at| now.duration_since(at) < PAUSE) {
            return None;
        }
        if self.body.len() > PIECE_MAX {
            self.cut();
        }
        self.shown_at = Some(now);
        let body = std::mem::take(&mut self.body);
        Some((self.first_line, lines(&body), body)).filter(|(_, lines, _)| *lines > 0)
    }
}

fn lines(body: &[u8]) -> i64 {
    body.iter().filter(|b| **b == b'\n').count() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_output_is_shown_whole_and_a_flood_by_its_end() {
        let (mut watched, begun) = (Watched::default(), Instant::now());
        watched.push(7, b"a\nb\n");
        assert_eq!(watched.take(begun), Some((7, 2, b"a\nb\n".to_vec())));
        watched.push(9, b"c\n");
        assert_eq!(watched.take(begun), None, "not so soon again");
        assert_eq!(watched.take(begun + PAUSE), Some((9, 1, b"c\n".to_vec())));
        for n in 0..1_000_000_i64 {
            watched.push(10 + n, b"0123456789\n");
        }
        let (first, count, body) = watched.take(begun + 2 * PAUSE).unwrap();
        assert!(body.len() <= PIECE_MAX);
        assert_eq!(first + count, 1_000_010, "the last line is the last");
        assert_eq!(usize::try_from(count).unwrap() * 11, body.len());
    }
}
