//! Follows a container's output into the journal until the container has ended and everything is stored.
//!
//! **Invariant:** what is stored carries the place to read on from, so the next owner neither loses nor doubles a byte.
//! What can't be stored waits with whoever reads, never thrown away; what is missing is marked.

use std::time::Duration;

use tokio::time::Instant;

use super::Outcome;
use super::breaks::Break;
use super::run_deployment::{Run, foreign};
use crate::domain::output::Piece;
use crate::failpoint;
use crate::runner::lines::Lines;
use crate::runner::newest::PAUSE;
use crate::runner::{Exit, Found, GONE, Missing, Output, Reading, Trouble};
use crate::store::journal::{CHUNK, JournalError};

/// Between two pieces that are stored, unless there is a whole one: a reader sees a line at once, and of many that come
/// fast a few times a second.
pub(super) const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// What comes at once is stored together.
const TOGETHER: Duration = Duration::from_millis(10);
/// Time between two showings of a line that has not ended.
const BEGUN_AFTER: Duration = Duration::from_millis(500);
/// How long showing something may take: what can't be shown now is shown in a moment.
const VIEW: Duration = Duration::from_secs(1);
/// Bytes of such a line that are shown, at most.
const BEGUN_MAX: usize = 4 * 1024;

/// The worker goes; the container stays, for the next owner.
fn leave() -> Break {
    Break::Leave(Outcome::Later(Duration::ZERO, None))
}

/// Output on its way from a reading into the journal.
struct Stream {
    output: Box<dyn Reading>,
    lines: Lines,
    /// Whole lines not stored yet, and notes in them that output is missing.
    rest: Vec<u8>,
    gaps: i32,
    /// When they are stored at the latest.
    due: Instant,
    stored: Instant,
    /// Something was marked as missing since the engine was away.
    is_marked: bool,
    /// When the line that has not ended was shown, and where it ended then.
    begun: Instant,
    begun_to: Option<u64>,
}

impl Stream {
    fn piece(&mut self) -> Piece {
        let cursor = Some(self.output.place(self.lines.safe()));
        Piece { body: std::mem::take(&mut self.rest), cursor, gaps: std::mem::take(&mut self.gaps), left_out: None }
    }

    /// Where the line that is printed now and has not ended ends; none when there is no such line.
    fn begun_to(&self) -> Option<u64> {
        let (safe, begun) = (self.lines.safe(), self.lines.begun(usize::MAX).len() as u64);
        (begun > 0).then_some(safe.stdout + safe.stderr + begun)
    }

    fn mark(&mut self, missing: Missing) {
        self.rest.extend_from_slice(&missing.note());
        self.gaps += 1;
        self.is_marked = true;
    }
}

impl Run<'_> {
    /// Follows the output of a container to its end.
    pub(super) async fn follow(
        &mut self,
        container: &str,
        name: &str,
        output: Box<dyn Reading>,
    ) -> Result<Exit, Break> {
        let (lines, now) = (Lines::new(&self.patterns), Instant::now());
        let mut stream = Stream {
            output,
            lines,
            rest: Vec::new(),
            gaps: 0,
            due: now,
            stored: now - FLUSH_AFTER,
            is_marked: false,
            begun: now,
            begun_to: None,
        };
        self.pump(name, &mut stream).await?;
        // Each piece's place is after what it holds, so what is finished goes by itself.
        let piece = stream.piece();
        self.offer(piece).await?;
        let exit = self.runner.wait(container).await?;
        let errors = stream.lines.finish(&mut stream.rest);
        let (printed, errors) = stream.rest.split_at(errors);
        self.last_words.push(false, printed);
        self.last_words.push(true, errors);
        if self.engine_was_away && !stream.is_marked {
            // What it printed while the engine was away may never have been read.
            stream.mark(GONE);
        }
        let piece = stream.piece();
        self.offer(piece).await?;
        for piece in self.keep.finish() {
            self.store(piece).await?;
        }
        Ok(exit)
    }

    /// Takes output until there is no more.
    async fn pump(&mut self, name: &str, stream: &mut Stream) -> Result<(), Break> {
        loop {
            let begun_to = stream.begun_to();
            tokio::select! {
                biased;
                () = self.leaving.cancelled() => {
                    let piece = stream.piece();
                    self.offer(piece).await?;
                    return Err(leave());
                }
                next = stream.output.next() => {
                    let was_empty = stream.rest.is_empty();
                    match next {
                        Some(Ok(Output::Printed { stderr, bytes })) => {
                            // An engine that is back and has the container running lost nothing (live-restore).
                            if self.engine_was_away
                                && matches!(self.runner.look(name, self.id).await, Ok(Found::Running(_)))
                            {
                                self.engine_was_away = false;
                            }
                            let before = stream.rest.len();
                            stream.lines.push(stderr, &bytes, &mut stream.rest);
                            self.last_words.push(stderr, &stream.rest[before..]);
                        }
                        Some(Ok(Output::Missing(missing))) => {
                            // The halves of two lines are none.
                            if missing == GONE {
                                stream.lines.finish(&mut stream.rest);
                            }
                            stream.mark(missing);
                        }
                        Some(Err(trouble)) => self.look_after(name, &trouble, stream).await?,
                        None => return Ok(()),
                    }
                    if was_empty {
                        stream.due = (stream.stored + FLUSH_AFTER).max(Instant::now() + TOGETHER);
                    }
                }
                () = tokio::time::sleep_until(stream.due), if !stream.rest.is_empty() => {}
                // A piece that came too soon after another one is shown now.
                () = tokio::time::sleep(PAUSE), if self.held_line.is_some() && stream.rest.is_empty() => self.show().await,
                () = tokio::time::sleep_until(stream.begun + BEGUN_AFTER), if begun_to != stream.begun_to => {}
            }
            let begun_to = stream.begun_to();
            if begun_to != stream.begun_to && stream.begun.elapsed() >= BEGUN_AFTER {
                (stream.begun, stream.begun_to) = (Instant::now(), begun_to);
                let mut line = Vec::new();
                self.patterns.lines(stream.lines.begun(BEGUN_MAX), &mut false, &mut line);
                // It is a view: a database that is away only delays it.
                let shown = self.app.store.tails().begin(self.id, &line);
                drop(tokio::time::timeout(VIEW, shown).await);
            }
            if stream.rest.len() >= CHUNK || (!stream.rest.is_empty() && Instant::now() >= stream.due) {
                let piece = stream.piece();
                stream.stored = Instant::now();
                self.offer(piece).await?;
            }
        }
    }

    /// The engine has trouble with the output: how does the container stand?
    async fn look_after(&mut self, name: &str, trouble: &Trouble, stream: &mut Stream) -> Result<(), Break> {
        let found = self.runner.look(name, self.id).await;
        tracing::debug!(deployment.id = %self.id, %trouble, ?found, "its output can't be read now");
        match found {
            Ok(Found::Missing) => {
                let gone = self.removed_by_hand(name).await;
                if matches!(gone, Break::Lose(_)) {
                    let piece = stream.piece();
                    self.offer(piece).await?;
                    for piece in self.keep.finish() {
                        self.store(piece).await?;
                    }
                    // How much it printed after that nobody can tell.
                    self.store(Piece { body: GONE.note(), gaps: 1, ..Piece::default() }).await?;
                }
                return Err(gone);
            }
            Ok(Found::Foreign) => return Err(foreign()),
            Ok(Found::Running(_)) => self.engine_was_away = false,
            Ok(_) => {}
            Err(trouble) => {
                if !std::mem::replace(&mut self.engine_was_away, true) {
                    stream.is_marked = false;
                    tracing::warn!(
                        deployment.id = %self.id, %trouble,
                        "the engine does not answer; its containers' output is read on when it does"
                    );
                }
            }
        }
        Ok(())
    }

    /// `true` when it is time to leave.
    async fn nap(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => false,
            () = self.leaving.cancelled() => true,
        }
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
        let shown = self.app.store.tails().show(self.id, first_line, lines, &body);
        if let Ok(Err(e)) = tokio::time::timeout(VIEW, shown).await {
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
