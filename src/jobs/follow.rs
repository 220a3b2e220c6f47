//! Follows a container's output into the journal until the container has ended and everything is stored.
//!
//! **Invariant:** what is stored carries the place to read on from, so the next owner neither loses nor doubles a line.
//! What can't be stored is read again, never thrown away; what the engine lost is marked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::time::Instant;

use super::Outcome;
use super::run_deployment::{Break, Run, foreign};
use crate::domain::output::Piece;
use crate::failpoint;
use crate::runner::lines::{CUT_OFF, GAP, LINE_MAX, Lines, MAY_BE_GAP, encoded};
use crate::runner::newest::PAUSE;
use crate::runner::{Exit, Found, Trouble};
use crate::store::journal::{CHUNK_MAX, JournalError};
use crate::store::tail::Newest;

/// Output is stored at the latest so long after its first byte: a reader sees a line well within half a second.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// The worker goes; the container stays, for the next owner.
fn leave() -> Break {
    Break::Leave(Outcome::Later(Duration::ZERO, None))
}

/// After so long without output the container is asked after: a stream whose connection was dropped on the way never
/// ends, and one that met a damaged place of the engine's log says nothing more.
const QUIET: Duration = Duration::from_secs(10);
/// The same for one that was opened because the one before was deaf.
const QUIET_AGAIN: Duration = Duration::from_secs(2);
/// After so long without output a stream is opened anew, because it may be such a one.
const STALE: Duration = Duration::from_mins(5);

/// The engine reads a container's pipe for so long after its end and then closes its own log, whatever is left. Source:
/// moby, `loggerCloseTimeout`; its log says "Logger didn't exit in time: logs may be truncated".
const ENGINE_READS_ON: chrono::Duration = chrono::Duration::seconds(10);

/// Whether the engine gave up reading a container's output: then its last line is from that moment, so long after the
/// end.
fn was_cut_off(ended: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> bool {
    ended.zip(last).is_some_and(|(ended, last)| last - ended >= ENGINE_READS_ON - chrono::Duration::milliseconds(100))
}

/// How many of the newest lines are read where the engine's log can't be read on from the last place: fewer and fewer,
/// until the damaged place is not among them.
const NEWEST: &[u32] = &[1_000, 100, 10, 1];
/// After so many streams that brought nothing, what is still missing stays so.
const HOPELESS: usize = NEWEST.len() + 4;

/// After so many streams that broke off and brought nothing new, what the engine has of an ended container was read.
const FRUITLESS: u32 = 4;
/// The same where the engine says that it can't read its log.
const FRUITLESS_DAMAGED: u32 = 2;

/// How output is read on.
#[derive(Default)]
pub(super) struct Reading {
    /// The engine's time of the newest line that was ever read.
    furthest: Option<DateTime<Utc>>,
    /// Streams in a row that brought nothing new.
    fruitless: u32,
    /// Of those, in a row, the ones that brought nothing although there was more.
    stuck: usize,
    /// Whether the last one was silent although there was more.
    deaf: bool,
    /// Which of [`NEWEST`] is read; none while it is read on from the last place.
    newest: Option<usize>,
    /// Whether it is marked that what came before the newest lines was not read.
    skipped: bool,
}

impl Reading {
    /// A stream ended, having read so far, and the engine holds more than that or doesn't. What stands behind the last
    /// stored place (half a line) comes again with each stream and is nothing new.
    fn ended(&mut self, reached: Option<DateTime<Utc>>, behind: bool) {
        if reached > self.furthest {
            // Whatever was wrong is behind it.
            *self = Self { furthest: reached, skipped: self.skipped, ..Self::default() };
            return;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        self.stuck = if behind { self.stuck + 1 } else { 0 };
        if self.stuck >= 2 {
            self.newest = Some(self.newest.map_or(0, |n| (n + 1).min(NEWEST.len() - 1)));
        }
    }
}

/// One stream of output, read to its end.
struct Pumped {
    lines: Lines,
    /// Whole lines not stored yet.
    rest: Vec<u8>,
    /// What broke it off.
    broken: Option<Trouble>,
}

impl Run<'_> {
    /// Follows the output of a container to its end; `has_ended` says that it has ended already.
    pub(super) async fn follow(&mut self, container: &str, name: &str, has_ended: bool) -> Result<Exit, Break> {
        let mut ended_before = has_ended;
        loop {
            // An engine that is back and has the container running lost nothing (live-restore).
            if self.engine_was_away && matches!(self.runner.look(name, self.id).await, Ok(Found::Running(_))) {
                self.engine_was_away = false;
            }
            let Pumped { mut lines, mut rest, broken } = self.pump(container, name).await?;
            let found = self.runner.look(name, self.id).await;
            let holds_more = if found.is_ok() { self.holds_more(container, &lines).await } else { None };
            let behind = holds_more == Some(true);
            if found.is_ok() {
                self.reading.ended(lines.last_at(), behind);
            }
            let hopeless = self.reading.stuck >= HOPELESS;
            tracing::debug!(
                deployment.id = %self.id, broken = ?broken, behind, stuck = self.reading.stuck, ?found,
                "a stream of output ended"
            );
            // Whether an ended one's output is read once more.
            let again = match &broken {
                _ if behind => !hopeless,
                _ if hopeless => false,
                // The engine may end a stream at the container's end before its last lines: only a stream that began
                // after the end is whole.
                None => !ended_before,
                // The engine can't say how much there is. What is damaged stays so, and costs the engine seconds each
                // time (20,000 tries, measured with 20.10); what can't be opened just now may be read in a moment.
                Some(Trouble::LogDamaged(_)) => self.reading.fruitless < FRUITLESS_DAMAGED,
                // It broke off at its very end and may not do so again.
                Some(_) => self.reading.fruitless < FRUITLESS,
            };
            match &found {
                Ok(Found::Ended(_)) if again => {}
                Ok(Found::Ended(_)) => {
                    // Each piece's place is after what it holds, so what is finished goes by itself.
                    self.offer(Piece {
                        body: std::mem::take(&mut rest),
                        cursor: Some(lines.cursor()),
                        gaps: lines.take_gaps(),
                        left_out: None,
                    })
                    .await?;
                    let exit = self.runner.wait(container).await?;
                    let last = lines.last_at();
                    lines.finish(&mut rest);
                    let mut gaps = lines.take_gaps();
                    if was_cut_off(exit.at, last) {
                        rest.extend_from_slice(CUT_OFF);
                        gaps += 1;
                    }
                    if (self.engine_was_away || hopeless || broken.is_some()) && gaps == 0 {
                        // What it printed while the engine was away, or what stands behind the damage, may never have
                        // been read.
                        rest.extend_from_slice(GAP);
                        gaps = 1;
                    }
                    let mut parts = parts(&rest).peekable();
                    while let Some(part) = parts.next() {
                        let gaps = if parts.peek().is_none() { gaps } else { 0 };
                        self.offer(Piece { body: part.to_vec(), cursor: Some(lines.cursor()), gaps, left_out: None })
                            .await?;
                    }
                    for piece in self.keep.finish() {
                        self.store(piece).await?;
                    }
                    return Ok(exit);
                }
                Ok(Found::Missing) => {
                    let gone = self.removed_by_hand(name).await;
                    if !matches!(gone, Break::Lose(_)) {
                        return Err(gone);
                    }
                    self.offer(Piece {
                        body: rest,
                        cursor: Some(lines.cursor()),
                        gaps: lines.take_gaps(),
                        left_out: None,
                    })
                    .await?;
                    for piece in self.keep.finish() {
                        self.store(piece).await?;
                    }
                    // How much it printed after that nobody can tell.
                    self.store(Piece { body: GAP.to_vec(), gaps: 1, ..Piece::default() }).await?;
                    return Err(gone);
                }
                Ok(Found::Foreign) => return Err(foreign()),
                // The stream broke off and the container runs. What is held back may be half a secret: it is read again
                // from the last place instead of being written.
                Ok(Found::Running(_)) => self.engine_was_away = false,
                Ok(_) => {}
                Err(trouble) => {
                    if !std::mem::replace(&mut self.engine_was_away, true) {
                        tracing::warn!(
                            deployment.id = %self.id, %trouble,
                            "the engine does not answer; its containers' output is read on when it does"
                        );
                    }
                }
            }
            self.offer(Piece { body: rest, cursor: Some(lines.cursor()), gaps: lines.take_gaps(), left_out: None })
                .await?;
            // What breaks off again and again is asked for less and less often; an ended one's output doesn't change
            // any more.
            ended_before = matches!(found, Ok(Found::Ended(_)));
            let pause = match (ended_before, &broken) {
                (true, None) if !behind => 0,
                (true, _) => 500,
                (false, _) => 500 << self.reading.fruitless.min(3),
            };
            if self.nap(Duration::from_millis(pause)).await {
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
        let mut frames = match self.reading.newest {
            Some(n) => self.runner.follow_newest(container.to_owned(), NEWEST[n]),
            None => self.runner.follow(container.to_owned(), from.clone()),
        };
        let mut rest = Vec::with_capacity(CHUNK_MAX);
        // With a place to read on from, it is noticed by itself that what follows is not what came next.
        if self.reading.newest.is_some() && from.is_none() && !std::mem::replace(&mut self.reading.skipped, true) {
            rest.extend_from_slice(GAP);
            lines.note_gap();
        }
        let mut due = Instant::now();
        let patience = if std::mem::take(&mut self.reading.deaf) { QUIET_AGAIN } else { QUIET };
        let (mut heard, mut quiet) = (Instant::now(), Instant::now() + patience);
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
                // A piece that came too soon after another one is shown now.
                () = tokio::time::sleep(PAUSE), if self.held_line.is_some() && rest.is_empty() => self.show().await,
                () = tokio::time::sleep_until(quiet) => {
                    let found = self.runner.look(name, self.id).await;
                    if heard.elapsed() >= STALE || matches!(found, Ok(Found::Ended(_) | Found::Missing | Found::Foreign)) {
                        // Not its end, which would mean that all was read: it is read on from where it stands.
                        break Some(Trouble::Engine("its output fell silent".to_owned()));
                    }
                    if self.holds_more(container, &lines).await == Some(true) {
                        self.reading.deaf = true;
                        break Some(Trouble::Engine("its output goes on and is not told".to_owned()));
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

    /// Whether the engine holds newer output than was read; none where it can't say.
    async fn holds_more(&self, container: &str, lines: &Lines) -> Option<bool> {
        match self.runner.newest_at(container).await.ok()? {
            None => Some(false),
            Some(newest) => {
                let newest = newest.parse::<DateTime<Utc>>().ok()?;
                Some(lines.last_at().is_none_or(|last| newest > last))
            }
        }
    }

    async fn flush(&mut self, rest: &mut Vec<u8>, lines: &mut Lines) -> Result<(), Break> {
        let piece = Piece { body: rest.clone(), cursor: Some(lines.cursor()), gaps: lines.take_gaps(), left_out: None };
        rest.clear();
        self.offer(piece).await
    }

    /// Stores a piece, or holds it for the tail; then those who watch see it all the same.
    async fn offer(&mut self, piece: Piece) -> Result<(), Break> {
        if piece.body.is_empty() || self.keep.stores(&piece) {
            return match self.keep.offer(piece) {
                Some(piece) => self.store(piece).await,
                None => Ok(()),
            };
        }
        let first = *self.held_line.get_or_insert(self.journal.lines() + 1);
        self.watched.push(first, &piece.body);
        self.held_line = Some(first + piece.lines());
        drop(self.keep.offer(piece));
        self.show().await;
        Ok(())
    }

    /// Shows what is due. It is a view, so a database that is away only delays it.
    async fn show(&mut self) {
        let Some((first_line, lines, body)) = self.watched.take(std::time::Instant::now()) else { return };
        if let Err(e) = self.app.store.tails().show(self.id, &Newest { first_line, lines, body }).await {
            tracing::debug!(deployment.id = %self.id, error = %e, "the newest output can't be shown now");
        }
    }

    /// Stores a piece. While the database is away, reading waits: the engine keeps the output.
    pub(super) async fn store(&mut self, piece: Piece) -> Result<(), Break> {
        if piece.body.is_empty() {
            return Ok(());
        }
        loop {
            match self.app.store.journals().append(&mut self.journal, &piece).await {
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
