//! Output in, whole masked lines out, with how far it may be read on from. Pure.
//!
//! **Invariant:** a place is only given out when nothing of what was read before it is still held back, so reading on
//! from it neither loses nor doubles a byte.

use super::Taken;
use super::mask::{Masker, Patterns};

/// Longest line that is kept whole, in bytes. Of a longer one its beginning and its end are kept, and how much is left
/// out between them is said: its end is the last state of a progress bar.
pub const LINE_MAX: usize = 1024 * 1024;

/// One container's output on its way into the journal.
pub struct Lines {
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    patterns: Patterns,
    masker: Masker,
    /// The last line ended in the middle of what may be a secret.
    goes_on: bool,
    /// The line that has not ended, masked.
    line: Vec<u8>,
    /// Bytes left out of its middle.
    left_out: usize,
    scratch: Vec<u8>,
    taken: u64,
    safe: u64,
}

impl Lines {
    /// Output from a place at a line's beginning on.
    pub fn new(patterns: &Patterns) -> Self {
        let stream = || Stream {
            patterns: patterns.clone(),
            masker: Masker::new(patterns.clone()),
            goes_on: false,
            line: Vec::new(),
            left_out: 0,
            scratch: Vec::new(),
            taken: 0,
            safe: 0,
        };
        Self { stdout: stream(), stderr: stream() }
    }

    /// Takes bytes of a stream and writes the lines that they complete to `out`.
    pub fn push(&mut self, stderr: bool, bytes: &[u8], out: &mut Vec<u8>) {
        let stream = if stderr { &mut self.stderr } else { &mut self.stdout };
        // Nothing that is looked for goes over a line's end, so nothing is held back there.
        let (whole, begun) = bytes.split_at(memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1));
        stream.push(whole, out);
        stream.push(begun, out);
    }

    /// The output ended: writes what is left as a last line; tells where in `out` that of standard error begins.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> usize {
        self.stdout.finish(out);
        let errors = out.len();
        self.stderr.finish(out);
        errors
    }

    /// How much of each stream was taken and written out; what came after it is held back.
    pub fn safe(&self) -> Taken {
        Taken { stdout: self.stdout.safe, stderr: self.stderr.safe }
    }

    /// The end of the line that is printed now and has not ended, at most so many bytes of it: masked, and without what
    /// may be the beginning of a secret.
    pub fn begun(&self, most: usize) -> &[u8] {
        let line = if self.stdout.line.is_empty() { &self.stderr.line } else { &self.stdout.line };
        let end = &line[line.len().saturating_sub(most)..];
        if end.len() == line.len() {
            return end;
        }
        // Not from the middle of a state of a progress bar, or of a character.
        let state = memchr::memchr(b'\r', end).map(|at| at + 1);
        let character = end.iter().position(|b| *b & 0xc0 != 0x80).unwrap_or(0);
        &end[state.unwrap_or(character)..]
    }
}

impl Stream {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut masked = std::mem::take(&mut self.scratch);
        masked.clear();
        self.masker.push(bytes, &mut masked);
        masked.chunks(LINE_MAX / 2).for_each(|part| self.split(part, out));
        self.scratch = masked;
        self.taken += bytes.len() as u64;
        if self.masker.is_empty() && self.line.is_empty() {
            self.safe = self.taken;
        }
    }

    fn split(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        if !self.line.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return self.extend(bytes) };
            self.extend(&bytes[..end]);
            self.end_line(out);
            bytes = &bytes[end + 1..];
        }
        // Lines that begin and end in so small a part are not too long.
        let (whole, begun) = bytes.split_at(memchr::memrchr(b'\n', bytes).map_or(0, |last| last + 1));
        self.patterns.lines(whole, &mut self.goes_on, out);
        self.extend(begun);
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.line.extend_from_slice(bytes);
        // Not at each byte too much: what moves is more than what is cut.
        if self.line.len() > 2 * LINE_MAX {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let too_much = self.line.len().saturating_sub(LINE_MAX);
        self.line.drain(LINE_MAX / 2..LINE_MAX / 2 + too_much);
        self.left_out += too_much;
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.line.len() > LINE_MAX {
            self.cut();
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            let (head, tail) = self.line.split_at(LINE_MAX / 2);
            out.extend_from_slice(head);
            out.extend_from_slice(format!("… [{left_out} bytes of this line left out] …").as_bytes());
            out.extend_from_slice(tail);
        } else {
            self.patterns.lines(&self.line, &mut self.goes_on, out);
        }
        self.line.clear();
        self.line.shrink_to(LINE_MAX / 16);
        out.push(b'\n');
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let mut masked = Vec::new();
        self.masker.finish(&mut masked);
        masked.chunks(LINE_MAX / 2).for_each(|part| self.split(part, out));
        if !self.line.is_empty() {
            self.end_line(out);
        }
        self.safe = self.taken;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(lines: &mut Lines, pieces: &[&str]) -> String {
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| lines.push(false, piece.as_bytes(), &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn of_a_very_long_line_the_beginning_and_the_end_are_kept_and_it_says_so() {
        let mut lines = Lines::new(&Patterns::new([]));
        let states: Vec<String> = (0..300_000).map(|n| format!("\r{n:9} %")).collect();
        let pieces: Vec<&str> = states.iter().map(String::as_str).chain([" done\n", "next\n"]).collect();
        let (out, printed) = (read(&mut lines, &pieces), states.concat().len() + " done".len());
        let line = out.lines().next().unwrap();
        assert!(
            line.starts_with("\r        0 %") && line.ends_with("\r   299999 % done"),
            "{}",
            &line[line.len() - 40..]
        );
        assert!(line.contains(&format!("… [{} bytes of this line left out] …", printed - LINE_MAX)), "{}", line.len());
        assert!(out.ends_with("\nnext\n"));
    }

    #[test]
    fn a_line_of_300_kilobytes_is_kept_whole() {
        let long = "x".repeat(10_000);
        let pieces = [long.as_str(); 30];
        let out = read(&mut Lines::new(&Patterns::new([])), &[&pieces.concat(), "y\nnext\n"]);
        assert_eq!(out, format!("{}y\nnext\n", "x".repeat(300_000)));
    }

    #[test]
    fn a_last_line_without_an_end_is_kept_and_seen_before() {
        let mut lines = Lines::new(&Patterns::new(["correct-horse"]));
        let mut out = read(&mut lines, &["a\n", "..", "."]).into_bytes();
        assert_eq!(lines.begun(100), b"...");
        assert_eq!(lines.safe(), Taken { stdout: 2, stderr: 0 });
        lines.push(false, b" correct-ho", &mut out);
        assert_eq!(lines.begun(100), b"... ", "what may be a secret is not shown");
        lines.finish(&mut out);
        assert_eq!(out, b"a\n... correct-ho\n");
    }

    proptest! {
        /// Killed anywhere and read on from the last place written: no byte is lost, none is doubled.
        #[test]
        fn reading_on_after_a_crash_gives_the_same_lines(
            pieces in prop::collection::vec((any::<bool>(), "[a-c]{0,3}\n?[a-c]{0,2}\n?"), 1..40), crash in 0_usize..40
        ) {
            let patterns = Patterns::new(["abcabcab"]);
            let read = |pieces: &[(bool, String)], finished: bool| {
                let mut lines = Lines::new(&patterns);
                let mut out = [Vec::new(), Vec::new()];
                pieces.iter().for_each(|(stderr, text)| lines.push(*stderr, text.as_bytes(), &mut out[usize::from(*stderr)]));
                if finished {
                    lines.stdout.finish(&mut out[0]);
                    lines.stderr.finish(&mut out[1]);
                }
                (lines.safe(), out)
            };
            let (_, whole) = read(&pieces, true);
            let (safe, mut begun) = read(&pieces[..crash.min(pieces.len())], false);
            let mut skip = [safe.stdout, safe.stderr].map(|n| usize::try_from(n).unwrap());
            let rest: Vec<(bool, String)> = pieces.iter().map(|(stderr, text)| {
                let skip = &mut skip[usize::from(*stderr)];
                let gone = text.len().min(*skip);
                *skip -= gone;
                (*stderr, text[gone..].to_owned())
            }).collect();
            let (_, after) = read(&rest, true);
            for (begun, after) in begun.iter_mut().zip(after) {
                begun.extend(after);
            }
            prop_assert_eq!(begun, whole);
        }
    }
}
