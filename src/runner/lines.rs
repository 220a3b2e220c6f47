//! Frames in, whole masked lines out, with the place to read on from. Pure.
//!
//! **Invariant:** a place is only given out when nothing of what was read before it is still held back, so reading on
//! from it neither loses nor doubles a byte.

use chrono::{DateTime, Utc};

use super::Frame;
use super::mask::{Masker, Patterns};
use crate::domain::deployment::{FrameMark, LogCursor};

/// Longest line that is kept, in bytes; the rest of it is left out, and the line says how much.
pub const LINE_MAX: usize = 16 * 1024;

/// How many bytes a piece of output takes in the engine's log file, which is JSON: escapes, and the stream and time of
/// each.
pub fn encoded(output: &[u8]) -> u64 {
    const AROUND: u64 = 72;
    let escapes = |b: &u8| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..=0x1f | b'<' | b'>' | b'&' => 6,
        _ => 1,
    };
    output.iter().map(escapes).sum::<u64>() + AROUND
}

/// The line that stands where output is, or may be, missing.
pub const GAP: &[u8] = "… [output is missing here: the Docker Engine no longer had it]\n".as_bytes();
/// The line that stands where the engine began a new file.
pub const MAY_BE_GAP: &[u8] = "… [output may be missing here: the Docker Engine began a new log file]\n".as_bytes();

/// The line at the end of an output that the engine stopped reading before its end.
pub const CUT_OFF: &[u8] =
    "… [output is missing here: the Docker Engine stopped reading it 10 s after the container's end]\n".as_bytes();

/// One container's output on its way into the journal.
pub struct Lines {
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    masker: Masker,
    line: Vec<u8>,
    left_out: usize,
    scratch: Vec<u8>,
    /// Frames up to here were taken in an earlier life, and so many of the last moment were seen again.
    skip: Option<FrameMark>,
    seen: u32,
    gaps: i32,
    taken: Option<FrameMark>,
    safe: Option<FrameMark>,
}

impl Lines {
    /// Output read from a place on; from the beginning without one.
    pub fn new(patterns: &Patterns, from: Option<&LogCursor>) -> Self {
        let stream = |mark: Option<&FrameMark>| Stream {
            masker: Masker::new(patterns.clone()),
            line: Vec::new(),
            left_out: 0,
            scratch: Vec::new(),
            skip: mark.cloned(),
            seen: 0,
            gaps: 0,
            taken: None,
            safe: mark.cloned(),
        };
        Self {
            stdout: stream(from.and_then(|c| c.stdout.as_ref())),
            stderr: stream(from.and_then(|c| c.stderr.as_ref())),
        }
    }

    /// Takes a frame and writes the lines that it completes to `out`; `false` when it was taken in an earlier life.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) -> bool {
        let stream = if frame.stderr { &mut self.stderr } else { &mut self.stdout };
        stream.push(frame, out)
    }

    /// The output ended: writes what is left as a last line.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.stdout.finish(out);
        self.stderr.finish(out);
    }

    /// The engine's time of the last frame that was taken.
    pub fn last_at(&self) -> Option<DateTime<Utc>> {
        let at = |stream: &Stream| stream.taken.as_ref().or(stream.safe.as_ref()).and_then(|mark| mark.at.parse().ok());
        at(&self.stdout).max(at(&self.stderr))
    }

    /// A note about output that may be missing was written beside.
    pub fn note_gap(&mut self) {
        self.stdout.gaps += 1;
    }

    /// Notes about missing output written since this was last asked.
    pub fn take_gaps(&mut self) -> i32 {
        std::mem::take(&mut self.stdout.gaps) + std::mem::take(&mut self.stderr.gaps)
    }

    /// The place after everything that was written out.
    pub fn cursor(&self) -> LogCursor {
        LogCursor { stdout: self.stdout.safe.clone(), stderr: self.stderr.safe.clone() }
    }
}

impl Stream {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) -> bool {
        match &mut self.taken {
            Some(mark) if mark.at == frame.at => mark.frames += 1,
            Some(mark) => {
                mark.at.clone_from(&frame.at);
                mark.frames = 1;
            }
            None => self.taken = Some(FrameMark { at: frame.at.clone(), frames: 1 }),
        }
        if let Some(skip) = &self.skip {
            let taken = self.taken.as_ref().map_or(0, |t| t.frames);
            if frame.at == skip.at {
                self.seen = taken;
            }
            if frame.at < skip.at || (frame.at == skip.at && taken <= skip.frames) {
                return false;
            }
            self.look_for_a_gap(out);
        }
        let mut masked = std::mem::take(&mut self.scratch);
        masked.clear();
        self.masker.push(&frame.bytes, &mut masked);
        self.split(&masked, out);
        self.scratch = masked;
        if self.masker.is_empty() && self.line.is_empty() && self.left_out == 0 {
            match (&mut self.safe, &self.taken) {
                (Some(safe), Some(taken)) => safe.clone_from(taken),
                (safe, taken) => safe.clone_from(taken),
            }
        }
        true
    }

    /// What was taken last must come again when reading goes on; else the engine has thrown it away, and more with it.
    fn look_for_a_gap(&mut self, out: &mut Vec<u8>) {
        if let Some(skip) = self.skip.take()
            && self.seen < skip.frames
        {
            out.extend_from_slice(GAP);
            self.gaps += 1;
        }
    }

    fn split(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.extend(&bytes[..end]);
            self.end_line(out);
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_MAX - self.line.len();
        let kept = bytes.len().min(room);
        self.line.extend_from_slice(&bytes[..kept]);
        self.left_out += bytes.len() - kept;
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.line);
        if self.left_out > 0 {
            out.extend_from_slice(format!("… [{} bytes of this line left out]", self.left_out).as_bytes());
            self.left_out = 0;
        }
        out.push(b'\n');
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.look_for_a_gap(out);
        let mut masked = Vec::new();
        self.masker.finish(&mut masked);
        self.split(&masked, out);
        if !self.line.is_empty() || self.left_out > 0 {
            self.end_line(out);
        }
        self.safe.clone_from(&self.taken);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn frame(stderr: bool, at: u32, text: &str) -> Frame {
        Frame { stderr, at: format!("2026-11-22T10:00:00.{at:09}Z"), bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn read(lines: &mut Lines, frames: &[Frame]) -> String {
        let mut out = Vec::new();
        for frame in frames {
            lines.push(frame, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_long_line_is_kept_in_part_and_says_so() {
        let mut lines = Lines::new(&Patterns::new([]), None);
        let long = "x".repeat(10_000);
        let out = read(&mut lines, &[frame(false, 1, &long), frame(false, 1, &long), frame(false, 1, "y\nnext\n")]);
        assert_eq!(out, format!("{}… [3617 bytes of this line left out]\nnext\n", "x".repeat(LINE_MAX)));
    }

    #[test]
    fn what_the_engine_has_thrown_away_is_marked_and_counted() {
        let mut lines = Lines::new(&Patterns::new([]), None);
        read(&mut lines, &[frame(false, 1, "a\n"), frame(false, 2, "b\n")]);
        let from = lines.cursor();
        let mut again = Lines::new(&Patterns::new([]), Some(&from));
        let out = read(&mut again, &[frame(false, 9, "z\n")]);
        assert_eq!((out.as_str(), again.take_gaps()), (format!("{}z\n", String::from_utf8_lossy(GAP)).as_str(), 1));
        let mut nothing = Lines::new(&Patterns::new([]), Some(&from));
        let mut out = Vec::new();
        nothing.finish(&mut out);
        assert_eq!((out.as_slice(), nothing.take_gaps()), (GAP, 1));
        let mut whole = Lines::new(&Patterns::new([]), Some(&from));
        assert_eq!(read(&mut whole, &[frame(false, 1, "a\n"), frame(false, 2, "b\n"), frame(false, 9, "z\n")]), "z\n");
        assert_eq!(whole.take_gaps(), 0);
    }

    #[test]
    fn what_the_engine_s_file_takes_is_counted_as_it_writes_it() {
        assert_eq!(encoded(b"a\n"), 3 + 72);
        assert_eq!(encoded(b"<\"\\\x01"), 6 + 2 + 2 + 6 + 72);
    }

    #[test]
    fn a_last_line_without_an_end_is_kept() {
        let mut lines = Lines::new(&Patterns::new([]), None);
        let mut out = read(&mut lines, &[frame(false, 1, "a\n"), frame(true, 2, "b")]).into_bytes();
        lines.finish(&mut out);
        assert_eq!(out, b"a\nb\n");
    }

    proptest! {
        /// Killed anywhere and resumed from the last place written: no line is lost, none is doubled.
        #[test]
        fn reading_on_after_a_crash_gives_the_same_lines(
            pieces in prop::collection::vec((any::<bool>(), 0_u32..4, "[a-c]{0,3}\n?"), 1..40), crash in 0_usize..40
        ) {
            let mut at = 0;
            let frames: Vec<Frame> = pieces.iter().map(|(stderr, step, text)| { at += step; frame(*stderr, at, text) }).collect();
            let patterns = Patterns::new(["abcabcab"]);
            let whole = {
                let mut lines = Lines::new(&patterns, None);
                let mut out = read(&mut lines, &frames).into_bytes();
                lines.finish(&mut out);
                out
            };
            let crash = crash.min(frames.len());
            let mut lines = Lines::new(&patterns, None);
            let mut out = read(&mut lines, &frames[..crash]).into_bytes();
            let mut again = Lines::new(&patterns, Some(&lines.cursor()));
            for frame in frames {
                again.push(&frame, &mut out);
            }
            again.finish(&mut out);
            // The two streams may be interleaved otherwise, each is the same.
            let sorted = |bytes: &[u8]| { let mut v: Vec<String> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect(); v.sort(); v };
            prop_assert_eq!(sorted(&out), sorted(&whole));
        }
    }
}
