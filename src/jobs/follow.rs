//! Follows a container's output into the journal until the container has ended and everything is stored.
//!
//! **Invariant:** what is stored carries the place to read on from, so the next owner neither loses nor doubles a line.
//! What can't be stored is read again, never thrown away; what the engine lost is marked.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::Outcome;
use super::run_deployment::{Break, Run, foreign};
use crate::domain::output::Piece;
use crate::failpoint;
use crate::runner::lines::{GAP, LINE_MAX, Lines, MAY_BE_GAP, encoded};
use crate::runner::{Found, Trouble};
use crate::store::journal::{CHUNK_MAX, JournalError};

/// Output is stored at the latest so long after its first byte: a reader sees a line well within half a second.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// The worker goes; the container stays, for the next owner.
fn leave() -> Break {
    Break::Leave(Outcome::Later(Duration::ZERO, None))
}

/// After so long without output the container is asked after: a stream whose connection was dropped on the way never ends.
const QUIET: Duration = Duration::from_secs(30);
/// After so long without output a stream is opened anew, because it may be such a one.
const STALE: Duration = Duration::from_mins(5);

/// One stream of output, read to its end.
struct Pumped {
    lines: Lines,
    /// Whole lines not stored yet.
    rest: Vec<u8>,
    /// What broke it off.
    broken: Option<Trouble>,
}

impl Run<'_> {
    /// Follows the output to its end.
    pub(super) async fn follow(&mut self, container: &str, name: &str) -> Result<(), Break> {
        let mut ended_before = false;
        loop {
            // An engine that is back and has the container running lost nothing (live-restore).
            if self.engine_was_away && matches!(self.runner.look(name, self.id).await, Ok(Found::Running(_))) {
                self.engine_was_away = false;
            }
            let Pumped { mut lines, mut rest, broken } = self.pump(container, name).await?;
            let found = self.runner.look(name, self.id).await;
            match &found {
                // The engine may end a stream at the container's end before its last lines: only a stream that began after
                // the end is whole.
                Ok(Found::Ended(_)) if broken.is_none() && !ended_before => {
                    ended_before = true;
                    self.offer(Piece { body: rest, cursor: Some(lines.cursor()), gaps: lines.take_gaps(), left_out: None }).await?;
                    continue;
                }
                Ok(Found::Ended(_)) if broken.is_none() => {
                    // Each piece's place is after what it holds, so what is finished goes by itself.
                    self.offer(Piece {
                        body: std::mem::take(&mut rest),
                        cursor: Some(lines.cursor()),
                        gaps: lines.take_gaps(),
                        left_out: None,
                    })
                    .await?;
                    lines.finish(&mut rest);
                    let mut gaps = lines.take_gaps();
                    if self.engine_was_away && gaps == 0 {
                        // What it printed while the engine was away may never have been read.
                        rest.extend_from_slice(GAP);
                        gaps = 1;
                    }
                    let mut parts = parts(&rest).peekable();
                    while let Some(part) = parts.next() {
                        let gaps = if parts.peek().is_none() { gaps } else { 0 };
                        self.offer(Piece { body: part.to_vec(), cursor: Some(lines.cursor()), gaps, left_out: None }).await?;
                    }
                    for piece in self.keep.finish() {
                        self.store(piece).await?;
                    }
                    return Ok(());
                }
                Ok(Found::Missing) => {
                    self.offer(Piece { body: rest, cursor: Some(lines.cursor()), gaps: lines.take_gaps(), left_out: None }).await?;
                    for piece in self.keep.finish() {
                        self.store(piece).await?;
                    }
                    // How much it printed after that nobody can tell.
                    self.store(Piece { body: GAP.to_vec(), gaps: 1, ..Piece::default() }).await?;
                    return Err(Break::Lose("its container was removed while it ran".to_owned()));
                }
                Ok(Found::Foreign) => return Err(foreign()),
                // The stream broke off and the container runs. What is held back may be half a secret: it is read again
                // from the last place instead of being written.
                Ok(Found::Running(_)) => self.engine_was_away = false,
                Ok(_) => {}
                Err(trouble) => {
                    if !std::mem::replace(&mut self.engine_was_away, true) {
                        tracing::warn!(deployment.id = %self.id, %trouble, "the engine does not answer; its containers' output is read on when it does");
                    }
                }
            }
            self.offer(Piece { body: rest, cursor: Some(lines.cursor()), gaps: lines.take_gaps(), left_out: None }).await?;
            if self.nap(Duration::from_millis(500)).await {
                return Err(leave());
            }
        }
    }

    /// `true` when it is time to leave.
    async fn nap(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => false,
            () = self.leaving.cancelled() => true,
        }
    }

    /// Reads one stream of output to its end.
    async fn pump(&mut self, container: &str, name: &str) -> Result<Pumped, Break> {
        // What is held for the tail stays; after a crash it is read again, from the last stored place on.
        let from = self.keep.cursor().or(self.journal.cursor()).cloned();
        let mut lines = Lines::new(&self.patterns, from.as_ref());
        let mut frames = self.runner.follow(container.to_owned(), from);
        let mut rest = Vec::with_capacity(CHUNK_MAX);
        let mut due = Instant::now();
        let (mut heard, mut quiet) = (Instant::now(), Instant::now() + QUIET);
        let file = self.runner.log_file_max();
        let broken = loop {
            tokio::select! {
                biased;
                () = self.leaving.cancelled() => {
                    self.flush(&mut rest, &mut lines).await?;
                    return Err(leave());
                }
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => {
                        (heard, quiet) = (Instant::now(), Instant::now() + QUIET);
                        if rest.is_empty() {
                            due = Instant::now() + FLUSH_AFTER;
                        }
                        let before = rest.len();
                        // What is only read again was counted when it was read first.
                        if lines.push(&frame, &mut rest) {
                            // Somewhat early rather than late: a file that just began holds what was declared missing.
                            let files = self.read / (file / 20 * 19);
                            self.read += encoded(&frame.bytes);
                            if self.read / (file / 20 * 19) > files {
                                rest.splice(before..before, MAY_BE_GAP.iter().copied());
                                lines.note_gap();
                            }
                        }
                    }
                    Some(Err(trouble)) => break Some(trouble),
                    None => break None,
                },
                () = tokio::time::sleep_until(due), if !rest.is_empty() => {}
                () = tokio::time::sleep_until(quiet) => {
                    let found = self.runner.look(name, self.id).await;
                    if heard.elapsed() >= STALE || matches!(found, Ok(Found::Ended(_) | Found::Missing | Found::Foreign)) {
                        // Not its end, which would mean that all was read: it is read on from where it stands.
                        break Some(Trouble::Engine("its output fell silent".to_owned()));
                    }
                    quiet = Instant::now() + QUIET;
                }
            }
            if rest.len() >= CHUNK_MAX - LINE_MAX - 256 || (!rest.is_empty() && Instant::now() >= due) {
                self.flush(&mut rest, &mut lines).await?;
                // However long that took, nobody was listening meanwhile.
                quiet = Instant::now() + QUIET;
            }
        };
        Ok(Pumped { lines, rest, broken })
    }

    async fn flush(&mut self, rest: &mut Vec<u8>, lines: &mut Lines) -> Result<(), Break> {
        let piece = Piece { body: rest.clone(), cursor: Some(lines.cursor()), gaps: lines.take_gaps(), left_out: None };
        rest.clear();
        self.offer(piece).await
    }

    /// Stores a piece, or holds it for the tail.
    async fn offer(&mut self, piece: Piece) -> Result<(), Break> {
        match self.keep.offer(piece) {
            Some(piece) => self.store(piece).await,
            None => Ok(()),
        }
    }

    /// Stores a piece. While the database is away, reading waits: the engine keeps the output.
    pub(super) async fn store(&mut self, piece: Piece) -> Result<(), Break> {
        if piece.body.is_empty() {
            return Ok(());
        }
        loop {
            match self.app.store.append_chunk(&mut self.journal, &piece).await {
                Ok(()) => {
                    failpoint!("after_chunk");
                    return Ok(());
                }
                Err(JournalError::Database(e)) => {
                    tracing::warn!(deployment.id = %self.id, error = %e, "output can't be stored; trying again");
                }
                Err(fenced) => return Err(fenced.into()),
            }
            if self.nap(Duration::from_millis(500)).await {
                return Err(leave());
            }
        }
    }
}

/// Splits what is left at line ends into pieces that fit a chunk.
fn parts(mut body: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let end = if body.len() <= CHUNK_MAX {
            body.len()
        } else {
            body[..CHUNK_MAX].iter().rposition(|b| *b == b'\n').map_or(CHUNK_MAX, |n| n + 1)
        };
        let (part, rest) = body.split_at(end);
        body = rest;
        Some(part)
    })
}
