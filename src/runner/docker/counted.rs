//! The engine's log of a container, from its beginning: what was given is passed over by its number of bytes.
//!
//! **Invariant:** what is counted here is what the container printed, as it is attached: Docker's `local` log drops the
//! end of a line that it keeps in pieces, which is put back. An engine whose log is not exact while it is followed
//! (Podman's follower loses and reorders) is asked for the whole of it again and again.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::stream::StreamExt;
use tokio::time::Instant;

use super::LOG_FILE_MAX;
use super::output::{CUT_OFF, Counted, Frame, NEW_FILE, QUIET, Source, Unreadable, encoded, was_cut_off};
use crate::runner::{GONE, Trouble};

/// Longest entry of the engine's log, in bytes; a longer line has several. Source: moby, `daemon/logger/copier.go`.
const ENTRY_MAX: usize = 16 * 1024;
/// Bytes that are given at once, about.
const BATCH: usize = 32 * 1024;
/// Least time between two readings of a running container's whole log.
const AGAIN: Duration = Duration::from_secs(1);
/// …and at least this many times what one takes.
const AGAIN_TIMES: u32 = 3;
/// How much later than it was attached an entry may be kept: the engine holds a little back, and writes it when it can.
const KEPT_LATE: chrono::Duration = chrono::Duration::seconds(30);
/// The same where an attachment broke; in a flood a tenth of it was measured.
const WRITTEN_LATE: chrono::Duration = chrono::Duration::seconds(1);
/// Readings that end before the place, after which the log counts as damaged.
const HOPELESS: u32 = 3;

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// The container has ended, and all was read.
    Whole,
    /// The log can't be read up to its end.
    Damaged,
    /// The log is shorter than what was given of it: the engine has thrown its beginning away.
    Short,
}

/// One reading of the log.
struct Pass {
    /// What was given before it, and what of that is still to be passed over.
    given: Counted,
    skip: Counted,
    /// Of the engine's file, about.
    file: u64,
    last: Option<DateTime<Utc>>,
    batch: BytesMut,
    batch_is_stderr: bool,
    /// When the last of it was printed.
    batch_at: Option<DateTime<Utc>>,
}

/// Reads the log to the container's end.
pub(super) async fn read(source: &mut Source) -> Read {
    let (mut damaged, mut untold, mut files_told) = (0, 0, None);
    // Until when what was given is in the log at the latest.
    let mut bounds: Vec<(DateTime<Utc>, Counted)> = Vec::new();
    bounds.extend(source.broke.take().map(|(at, given)| (at + WRITTEN_LATE, given)));
    let mut begun_with = Some(source.given.clone());
    loop {
        let begun = Instant::now();
        let (stands, newest) = match source.stands().await {
            Ok(stands) => (stands, source.newest_at().await),
            Err(trouble) => {
                source.trouble(trouble).await;
                continue;
            }
        };
        // An ended log whose last entry is only half there is told up to it as if that was all.
        let ends_in_half = stands.ended && matches!(newest, Err(Unreadable::Damaged(_)));
        // Of an ended log that has entries, one is the newest. An engine in a hurry keeps to itself that it could not read
        // that one, and its answer is empty (81 of 400, measured with 20.10).
        let is_told = matches!(newest, Ok(Some(_)));
        let newest = newest.ok().flatten();
        if let Some(given) = begun_with.take() {
            bounds.extend(newest.map(|newest| (newest + KEPT_LATE, given)));
        }
        let before = source.given.clone();
        let follow = stands.exact && !stands.ended;
        let mut pass = Pass {
            given: before.clone(),
            skip: before.clone(),
            file: 0,
            last: None,
            batch: BytesMut::new(),
            batch_is_stderr: false,
            batch_at: None,
        };
        let broken = pass.read(source, follow, stands.exact, &mut bounds, &mut files_told).await;
        pass.flush(source).await;
        // Whole seconds are Podman's: what it tells twice within one says nothing, and its log is not damaged by itself.
        let reached = newest.is_none_or(|newest| pass.last.is_some_and(|last| last >= newest));
        tracing::debug!(container = %source.id, ?stands, ?newest, ends_in_half, ?broken, reached, "the engine's log was read");
        let is_new = source.given != before;
        match broken {
            Some(Unreadable::Engine(words)) => source.trouble(Trouble::Engine(words)).await,
            Some(Unreadable::Damaged(_)) => damaged += 1,
            None if !reached => damaged += 1,
            None if stands.ended && !ends_in_half && !is_told && pass.last.is_some() && untold < HOPELESS => {
                untold += 1;
            }
            None if stands.ended => {
                let ends_in_half = ends_in_half || (!is_told && pass.last.is_some());
                if !ends_in_half && (pass.skip.stdout > 0 || pass.skip.stderr > 0) {
                    return Read::Short;
                }
                if ends_in_half {
                    source.missing(GONE);
                }
                if was_cut_off(stands.ended_at, pass.last) {
                    source.missing(CUT_OFF);
                }
                return Read::Whole;
            }
            // The container ended, or the engine let us go: look again.
            None if follow => tokio::time::sleep(Duration::from_millis(100)).await,
            None => tokio::time::sleep(AGAIN.max(begun.elapsed() * AGAIN_TIMES)).await,
        }
        if is_new {
            damaged = 0;
        }
        if damaged >= HOPELESS {
            return Read::Damaged;
        }
        if damaged + untold > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Pass {
    /// Reads one stream of the log to its end; what broke it off.
    async fn read(
        &mut self,
        source: &mut Source,
        follow: bool,
        exact: bool,
        bounds: &mut [(DateTime<Utc>, Counted)],
        files_told: &mut Option<u64>,
    ) -> Option<Unreadable> {
        let mut frames = source.frames(follow, None, "all");
        let mut quiet = Instant::now() + QUIET;
        loop {
            // What is there already goes in one piece with what came before it.
            let next = match frames.next().now_or_never() {
                Some(next) => next,
                None => {
                    self.flush(source).await;
                    tokio::select! {
                        next = frames.next() => next,
                        () = tokio::time::sleep_until(quiet) => {
                            quiet = Instant::now() + QUIET;
                            let ended = matches!(source.stands().await, Ok(stands) if stands.ended);
                            let newer = matches!(source.newest_at().await, Ok(Some(now)) if self.last.is_none_or(|l| now > l));
                            if ended || newer {
                                return Some(Unreadable::Engine("its output fell silent".to_owned()));
                            }
                            continue;
                        }
                    }
                }
            };
            match next {
                Some(Ok(frame)) => {
                    self.take(frame, source, exact, bounds, files_told).await;
                    quiet = Instant::now() + QUIET;
                }
                Some(Err(unreadable)) => return Some(unreadable),
                None => return None,
            }
        }
    }

    async fn take(
        &mut self,
        frame: Frame,
        source: &mut Source,
        exact: bool,
        bounds: &mut [(DateTime<Utc>, Counted)],
        files_told: &mut Option<u64>,
    ) {
        // Two streams have times of their own, in no order.
        let time = frame.time();
        self.last = self.last.max(time);
        self.file += encoded(&frame.bytes, false);
        let mut bytes = frame.bytes;
        // At the end of the output that may be one that was not printed, and the last line gets one in any case.
        let cut = exact && bytes.len() < ENTRY_MAX && bytes.last() != Some(&b'\n');
        // What was printed later than what was given, and stands before its end: the log lacks some of what was given.
        let position = *self.given.of(frame.stderr) - *self.skip.of(frame.stderr);
        let lacking = bounds.iter_mut().filter(|(limit, _)| time.is_some_and(|time| time > *limit));
        let lacking = lacking.map(|(_, counts)| counts.of(frame.stderr).saturating_sub(position)).max().unwrap_or(0);
        if lacking > 0 {
            self.flush(source).await;
            source.lacks(frame.stderr, lacking);
            *self.skip.of(frame.stderr) -= lacking;
            *self.given.of(frame.stderr) -= lacking;
            for (_, counts) in bounds.iter_mut() {
                *counts.of(frame.stderr) = counts.of(frame.stderr).saturating_sub(lacking);
            }
            source.missing(GONE);
        }
        let skip = self.skip.of(frame.stderr);
        let passed = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len() + usize::from(cut));
        *skip -= passed as u64;
        let is_passed = passed == bytes.len() + usize::from(cut);
        if !is_passed {
            // Somewhat early rather than late: a file that just began holds what was declared missing.
            let files = self.file / (LOG_FILE_MAX / 20 * 19);
            if files > files_told.unwrap_or(0) {
                *files_told = Some(files);
                self.flush(source).await;
                source.missing(NEW_FILE);
            }
            if self.batch_is_stderr != frame.stderr || self.batch.len() >= BATCH {
                self.flush(source).await;
            }
            self.batch_is_stderr = frame.stderr;
            self.batch_at = time;
            self.batch.extend_from_slice(&bytes.split_off(passed.min(bytes.len())));
            if cut {
                self.batch.extend_from_slice(b"\n");
            }
        }
    }

    async fn flush(&mut self, source: &mut Source) {
        if !self.batch.is_empty() {
            let bytes: Bytes = self.batch.split().freeze();
            source.give(self.batch_is_stderr, bytes, self.batch_at, None).await;
        }
    }
}
