//! The engine's log of a container by its timestamps: of one that was made before output was counted, and of one whose
//! log is damaged.
//!
//! **Invariant:** a frame is known by its time and its number among those of that time, so none is given twice; where the
//! last that was given does not come again, the engine has thrown it away, and more with it, and that is told.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::stream::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::LOG_FILE_MAX;
use super::output::{CUT_OFF, NEW_FILE, QUIET, Source, Unreadable, encoded, was_cut_off};
use crate::runner::{GONE, Trouble};

/// A stream that was opened because the one before was deaf ([`QUIET`]) is taken for deaf sooner.
const QUIET_AGAIN: Duration = Duration::from_secs(2);
/// After so long without output a stream is opened anew, because it may be such a one.
const STALE: Duration = Duration::from_mins(5);
/// How many of the newest lines are read where the engine's log can't be read on from the last place: fewer and fewer,
/// until the damaged place is not among them.
const NEWEST: &[u32] = &[1_000, 100, 10, 1];
/// After so many streams that brought nothing, what is still missing stays so.
const HOPELESS: usize = NEWEST.len() + 4;
/// After so many streams that broke off and brought nothing new, what the engine has of an ended container was read.
const FRUITLESS: u32 = 4;
/// After so few of them ([`FRUITLESS`]) where the engine says that it can't read its log.
const FRUITLESS_DAMAGED: u32 = 2;

/// The last frame taken of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrameMark {
    /// Docker's timestamp, as text that sorts by time.
    pub at: String,
    /// Frames with that timestamp taken so far.
    pub frames: u32,
}

/// For each stream the last frame taken. A timestamp alone is not enough: the pieces of a long line share one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamps {
    pub stdout: Option<FrameMark>,
    pub stderr: Option<FrameMark>,
    /// Of the engine's file that was read, in bytes; places of before output was counted lack it.
    #[serde(default)]
    pub file: u64,
}

impl Stamps {
    /// All that is older was taken.
    pub fn since(at: DateTime<Utc>) -> Self {
        let mark = Some(FrameMark { at: at.to_rfc3339_opts(SecondsFormat::Nanos, true), frames: 0 });
        Self { stdout: mark.clone(), stderr: mark, file: 1 }
    }

    /// From where the engine has to tell again: whole seconds, rounded down. Frames that come again are known.
    fn earliest(&self) -> Option<i64> {
        // How much stood in the file before is not known: it is read from its beginning.
        let known = self.file > 0;
        let at = self.stdout.as_ref().zip(self.stderr.as_ref()).map(|(out, err)| out.at.as_str().min(err.at.as_str()));
        at.filter(|_| known).and_then(|at| at.parse::<DateTime<Utc>>().ok()).map(|at| at.timestamp())
    }
}

/// One stream's frames.
#[derive(Default)]
struct Marks {
    /// Frames up to here were taken before, and so many of the last moment were seen again.
    skip: Option<FrameMark>,
    seen: u32,
    taken: Option<FrameMark>,
}

/// What a frame is.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Taken,
    New,
    /// New, and what should have come before it did not.
    NewAfterGap,
}

impl Marks {
    fn after(skip: Option<FrameMark>) -> Self {
        Self { skip, ..Self::default() }
    }

    /// The log is told from an earlier place again.
    fn again(&mut self) {
        let taken = self.taken.take();
        if self.skip.is_none() {
            self.skip = taken;
        }
        self.seen = 0;
    }

    fn take(&mut self, at: &str) -> Known {
        match &mut self.taken {
            Some(mark) if mark.at == at => mark.frames += 1,
            Some(mark) => {
                at.clone_into(&mut mark.at);
                mark.frames = 1;
            }
            None => self.taken = Some(FrameMark { at: at.to_owned(), frames: 1 }),
        }
        if let Some(skip) = &self.skip {
            let taken = self.taken.as_ref().map_or(0, |t| t.frames);
            if at == skip.at {
                self.seen = taken;
            }
            if at < skip.at.as_str() || (at == skip.at && taken <= skip.frames) {
                return Known::Taken;
            }
            if self.has_gap() {
                return Known::NewAfterGap;
            }
        }
        Known::New
    }

    /// What was taken last must come again when reading goes on.
    fn has_gap(&mut self) -> bool {
        self.skip.take().is_some_and(|skip| self.seen < skip.frames)
    }

    /// The last frame that was ever taken.
    fn last(&self) -> Option<&FrameMark> {
        if self.skip.is_some() { self.skip.as_ref() } else { self.taken.as_ref() }
    }
}

/// How output is read on.
struct By {
    stdout: Marks,
    stderr: Marks,
    file: u64,
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
    /// Whether anything is marked.
    is_marked: bool,
}

/// Reads the log to the container's end; `is_damaged` when it is known that it can't be read up to the last place.
pub(super) async fn read(source: &mut Source, from: Stamps, is_damaged: bool) {
    let mut by = By {
        file: from.file,
        stdout: Marks::after(from.stdout),
        stderr: Marks::after(from.stderr),
        furthest: None,
        fruitless: 0,
        stuck: 0,
        deaf: false,
        newest: is_damaged.then_some(0),
        skipped: is_damaged,
        is_marked: is_damaged,
    };
    let mut ended_before = matches!(source.stands().await, Ok(stands) if stands.ended);
    loop {
        let broken = by.stream(source).await;
        let stands = source.stands().await;
        let last = by.last_at();
        let newest = source.newest_at().await;
        // See `counted`: of a log that has entries, one is the newest.
        let untold = last.is_some() && !matches!(newest, Ok(Some(_)));
        let newest = newest.ok().flatten();
        let behind = stands.is_ok() && newest.is_some_and(|newest| last.is_none_or(|last| newest > last));
        if stands.is_ok() {
            by.ended(last, behind);
        }
        let hopeless = by.stuck >= HOPELESS;
        tracing::debug!(container = %source.id, ?broken, behind, stuck = by.stuck, ?stands, "a stream of output ended");
        // Whether an ended one's output is read once more.
        let again = match &broken {
            _ if behind => !hopeless,
            _ if hopeless => false,
            // The engine may end a stream at the container's end before its last lines: only a stream that began after
            // the end is whole.
            None if untold => by.fruitless < FRUITLESS,
            None => !ended_before,
            // The engine can't say how much there is. What is damaged stays so, and costs the engine seconds each time
            // (20,000 tries, measured with 20.10); what can't be opened just now may be read in a moment.
            Some(Unreadable::Damaged(_)) => by.fruitless < FRUITLESS_DAMAGED,
            // It broke off at its very end and may not do so again.
            Some(_) => by.fruitless < FRUITLESS,
        };
        match stands {
            Ok(stands) if stands.ended && !again => {
                // Where it was not told to its end, or its newest is the last that was taken, it says nothing that this one
                // did not come again.
                let told = broken.is_none() && newest.is_none_or(|newest| last.is_none_or(|last| newest > last));
                let gone = usize::from(told && by.stdout.has_gap()) + usize::from(told && by.stderr.has_gap());
                let cut_off = was_cut_off(stands.ended_at, last);
                for _ in 0..gone {
                    source.missing(GONE);
                }
                if cut_off {
                    source.missing(CUT_OFF);
                }
                // What stands behind the damage may never have been read.
                if (hopeless || untold || broken.is_some()) && gone == 0 && !cut_off && !by.is_marked {
                    source.missing(GONE);
                }
                return;
            }
            Ok(stands) => {
                ended_before = stands.ended;
                // What breaks off again and again is asked for less and less often; an ended one's output doesn't change
                // any more.
                let pause = match (stands.ended, &broken) {
                    (true, None) if !behind => 0,
                    (true, _) => 500,
                    (false, _) => 500 << by.fruitless.min(3),
                };
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Err(trouble) => source.trouble(trouble).await,
        }
    }
}

impl By {
    /// A stream ended, having read so far, and the engine holds more than that or doesn't. What stands behind the last
    /// stored place (half a line) comes again with each stream and is nothing new.
    fn ended(&mut self, reached: Option<DateTime<Utc>>, behind: bool) {
        if reached > self.furthest {
            // Whatever was wrong is behind it.
            (self.furthest, self.fruitless, self.stuck, self.deaf, self.newest) = (reached, 0, 0, false, None);
            return;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        self.stuck = if behind { self.stuck + 1 } else { 0 };
        if self.stuck >= 2 {
            self.newest = Some(self.newest.map_or(0, |n| (n + 1).min(NEWEST.len() - 1)));
        }
    }

    /// The engine's time of the last frame that was taken.
    fn last_at(&self) -> Option<DateTime<Utc>> {
        let at = |marks: &Marks| marks.last().and_then(|mark| mark.at.parse().ok());
        at(&self.stdout).max(at(&self.stderr))
    }

    /// Reads one stream of the log to its end; what broke it off.
    async fn stream(&mut self, source: &mut Source) -> Option<Unreadable> {
        self.stdout.again();
        self.stderr.again();
        let stamps = Stamps { stdout: self.stdout.skip.clone(), stderr: self.stderr.skip.clone(), file: self.file };
        let mut frames = match self.newest {
            Some(n) => source.frames(true, None, &NEWEST[n].to_string()),
            None => source.frames(true, stamps.earliest(), "all"),
        };
        let from_its_beginning = self.newest.is_none() && stamps.earliest().is_none();
        if from_its_beginning {
            self.file = 0;
        }
        // With a place to read on from, it is noticed by itself that what follows is not what came next.
        if self.newest.is_some() && self.last_at().is_none() && !std::mem::replace(&mut self.skipped, true) {
            source.missing(GONE);
            self.is_marked = true;
        }
        let patience = if std::mem::take(&mut self.deaf) { QUIET_AGAIN } else { QUIET };
        let (mut heard, mut quiet) = (Instant::now(), Instant::now() + patience);
        loop {
            tokio::select! {
                frame = frames.next() => match frame {
                    Some(Ok(frame)) => {
                        (heard, quiet) = (Instant::now(), Instant::now() + QUIET);
                        let files = self.file / (LOG_FILE_MAX / 20 * 19);
                        let marks = if frame.stderr { &mut self.stderr } else { &mut self.stdout };
                        let known = marks.take(&frame.at);
                        if known != Known::Taken || from_its_beginning {
                            self.file += encoded(&frame.bytes, true);
                        }
                        if known == Known::NewAfterGap {
                            source.missing(GONE);
                            self.is_marked = true;
                        }
                        // Somewhat early rather than late: a file that just began holds what was declared missing.
                        if known != Known::Taken && self.file / (LOG_FILE_MAX / 20 * 19) > files {
                            source.missing(NEW_FILE);
                        }
                        if known != Known::Taken {
                            let stamps = Stamps {
                                stdout: self.stdout.last().cloned(),
                                stderr: self.stderr.last().cloned(),
                                file: self.file,
                            };
                            source.give(frame.stderr, frame.bytes, frame.at.parse().ok(), Some(stamps)).await;
                            quiet = Instant::now() + QUIET;
                        }
                    }
                    Some(Err(unreadable)) => return Some(unreadable),
                    None => return None,
                },
                () = tokio::time::sleep_until(quiet) => {
                    let ended = matches!(source.stands().await, Ok(stands) if stands.ended);
                    let gone = matches!(source.stands().await, Err(Trouble::Engine(_)));
                    if heard.elapsed() >= STALE || ended || gone {
                        // Not its end, which would mean that all was read: it is read on from where it stands.
                        return Some(Unreadable::Engine("its output fell silent".to_owned()));
                    }
                    let newer = matches!(source.newest_at().await, Ok(Some(now)) if self.last_at().is_none_or(|l| now > l));
                    if newer {
                        self.deaf = true;
                        return Some(Unreadable::Engine("its output goes on and is not told".to_owned()));
                    }
                    quiet = Instant::now() + QUIET;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(marks: &mut Marks, frames: &[&str]) -> Vec<Known> {
        frames.iter().map(|at| marks.take(at)).collect()
    }

    #[test]
    fn what_was_taken_is_known_by_its_time_and_number() {
        let mut marks = Marks::default();
        assert_eq!(known(&mut marks, &["1", "1", "2"]), [Known::New, Known::New, Known::New]);
        marks.again();
        let again = known(&mut marks, &["1", "1", "2", "2", "3"]);
        assert_eq!(again, [Known::Taken, Known::Taken, Known::Taken, Known::New, Known::New]);
        assert!(!marks.has_gap());
    }

    #[test]
    fn what_the_engine_has_thrown_away_is_told() {
        let mark = |at: &str, frames| Some(FrameMark { at: at.to_owned(), frames });
        assert_eq!(Marks::after(mark("2", 1)).take("9"), Known::NewAfterGap);
        assert_eq!(known(&mut Marks::after(mark("2", 2)), &["2", "3"]), [Known::Taken, Known::NewAfterGap]);
        assert!(Marks::after(mark("2", 1)).has_gap(), "nothing came at all");
        // All that is older was taken, whatever it was.
        let mut since = Marks::after(Stamps::since(DateTime::from_timestamp(100, 0).unwrap()).stdout);
        let frames = ["1970-01-01T00:01:39.000000000Z", "1970-01-01T00:01:41.000000000Z"];
        assert_eq!(known(&mut since, &frames), [Known::Taken, Known::New]);
    }
}
