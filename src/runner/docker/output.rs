//! One container's output, whatever happens on the way: attached from before its start, and the engine's own log as the
//! net.
//!
//! An attached stream comes in large pieces and is never cut. The place to read on from is the number of bytes taken of
//! each stream, so whoever reads on takes the engine's log from its beginning and passes over what was taken. A container
//! that was made before output was counted, and a log that is damaged, are read by the engine's timestamps.
//!
//! **Invariant:** a task of its own reads, so that a slow taker is noticed: the container never waits for one. What is
//! given is given once and in order; the task ends when nobody takes any more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::ContainerStateStatusEnum;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::attached::Attached;
use super::stamped::Stamps;
use super::{CALL, WORDS_MAX, engine_trouble, inspected};
use crate::domain::deployment::LogCursor;
use crate::runner::{GONE, Missing, Output, Reading, Taken, Trouble};

/// How much waits to be taken, in bytes; a small piece counts as [`PIECE_MIN`].
const WAITING: usize = 2 * 1024 * 1024;
const PIECE_MIN: usize = 256;
/// Where the engine began a new log file.
pub(super) const NEW_FILE: Missing = Missing("output may be missing here: the engine began a new log file");
/// Where it did not read on.
pub(super) const CUT_OFF: Missing =
    Missing("output is missing here: the engine stopped reading it 10 s after the container's end");
/// Where we did not.
pub(super) const NOT_TAKEN: Missing = Missing("output may be missing here: coolops stood still while it was printed");
/// After so long without output the container is asked after: a stream whose connection was dropped on the way never
/// ends, and one that met a damaged place of the engine's log says nothing more.
pub(super) const QUIET: Duration = Duration::from_secs(10);
/// The longest pause after a trouble.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// How far output was read, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ReadUpTo {
    /// All was read, to the container's end.
    Ended {
        ended: bool,
    },
    Counted(Counted),
    Stamped(Stamps),
}

/// How much was taken of each stream since the container's beginning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub stdout: u64,
    pub stderr: u64,
    /// When the last of it was printed: where the engine's log can't be read on by numbers, what is older was taken.
    pub at: Option<DateTime<Utc>>,
}

impl Counted {
    pub fn of(&mut self, stderr: bool) -> &mut u64 {
        if stderr { &mut self.stderr } else { &mut self.stdout }
    }
}

/// What the task tells the one who takes.
enum Told {
    Output {
        what: Result<Output, Trouble>,
        /// When it was printed.
        at: Option<DateTime<Utc>>,
        /// Read by timestamps: the marks of both streams after it.
        marks: Option<Stamps>,
        /// Its room, free again when it is taken.
        _room: Option<OwnedSemaphorePermit>,
    },
    /// So much that was given is not in the engine's log, before which reading goes on.
    Lacks { stderr: bool, bytes: u64 },
    /// The container has ended, and all was told.
    End,
}

/// The taker's side.
struct Taking {
    told: mpsc::UnboundedReceiver<Told>,
    from: Counted,
    given: Taken,
    /// Of it, what is not in the engine's log.
    lacks: Taken,
    ended: bool,
    /// By timestamps: the marks after so much of each stream, the newest last.
    marks: VecDeque<(Taken, Stamps)>,
}

impl Reading for Taking {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Output, Trouble>>> {
        Box::pin(async move {
            if self.ended {
                return None;
            }
            let (what, at, marks) = loop {
                match self.told.recv().await {
                    Some(Told::Output { what, at, marks, .. }) => break (what, at, marks),
                    Some(Told::Lacks { stderr: false, bytes }) => self.lacks.stdout += bytes,
                    Some(Told::Lacks { stderr: true, bytes }) => self.lacks.stderr += bytes,
                    Some(Told::End) => {
                        self.ended = true;
                        return None;
                    }
                    // Not its end, which is told.
                    None => {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        return Some(Err(Trouble::Engine("the reading of its output broke off".to_owned())));
                    }
                }
            };
            if let Ok(Output::Printed { stderr, bytes }) = &what {
                let given = if *stderr { &mut self.given.stderr } else { &mut self.given.stdout };
                *given += bytes.len() as u64;
                self.from.at = at;
            }
            if let Some(marks) = marks {
                self.marks.push_back((self.given, marks));
            }
            Some(what)
        })
    }

    fn place(&mut self, taken: Taken) -> LogCursor {
        if self.ended && taken == self.given {
            return LogCursor(serde_json::json!({ "ended": true }));
        }
        let reached = |at: &Taken| at.stdout <= taken.stdout && at.stderr <= taken.stderr;
        while self.marks.get(1).is_some_and(|(at, _)| reached(at)) {
            self.marks.pop_front();
        }
        let of_stdout = self.marks.iter().rev().find(|(at, _)| at.stdout <= taken.stdout);
        let of_stderr = self.marks.iter().rev().find(|(at, _)| at.stderr <= taken.stderr);
        let place = match (of_stdout, of_stderr) {
            (Some((_, out)), Some((_, err))) => ReadUpTo::Stamped(Stamps {
                stdout: out.stdout.clone(),
                stderr: err.stderr.clone(),
                file: out.file.min(err.file),
            }),
            _ => ReadUpTo::Counted(Counted {
                stdout: (self.from.stdout + taken.stdout).saturating_sub(self.lacks.stdout),
                stderr: (self.from.stderr + taken.stderr).saturating_sub(self.lacks.stderr),
                at: self.from.at,
            }),
        };
        LogCursor(serde_json::to_value(place).unwrap_or_default())
    }
}

/// Reads a container's output from a place on: what an attachment gives, and what the engine's log has.
pub(super) fn reading(
    docker: &Docker,
    id: &str,
    from: Option<LogCursor>,
    attached: Option<Attached>,
) -> Box<dyn Reading> {
    let (tell, told) = mpsc::unbounded_channel();
    let mut taking = Taking {
        told,
        from: Counted::default(),
        given: Taken::default(),
        lacks: Taken::default(),
        ended: false,
        marks: VecDeque::new(),
    };
    let place = match from.map(|place| serde_json::from_value::<ReadUpTo>(place.0)) {
        Some(Ok(ReadUpTo::Ended { .. })) => {
            taking.ended = true;
            return Box::new(taking);
        }
        Some(Ok(place)) => Some(place),
        // One that can't be read is none of ours, and reading from the beginning would double what is stored.
        Some(Err(e)) => {
            tracing::error!(container = id, error = %e, "the place in its output can't be read; it is read on from now");
            Some(ReadUpTo::Stamped(Stamps::since(now())))
        }
        None => None,
    };
    match &place {
        Some(ReadUpTo::Counted(counted)) => taking.from = counted.clone(),
        Some(ReadUpTo::Stamped(stamps)) => taking.marks.push_back((Taken::default(), stamps.clone())),
        _ => {}
    }
    let mut source = Source {
        docker: docker.clone(),
        id: id.to_owned(),
        tell,
        room: Arc::new(Semaphore::new(WAITING)),
        given: taking.from.clone(),
        broke: None,
        fruitless: 0,
    };
    tokio::spawn(async move {
        let tell = source.tell.clone();
        tokio::select! {
            () = tell.closed() => {}
            () = source.run(place, attached) => drop(tell.send(Told::End)),
        }
    });
    Box::new(taking)
}

/// The task's side.
pub(super) struct Source {
    pub docker: Docker,
    pub id: String,
    tell: mpsc::UnboundedSender<Told>,
    room: Arc<Semaphore>,
    /// What was given of each stream since the container's beginning.
    pub given: Counted,
    /// When the attachment broke, by the engine's clock, and what it had given: what is kept from later on was not attached.
    pub broke: Option<(DateTime<Utc>, Counted)>,
    /// Troubles in a row.
    fruitless: u32,
}

/// How a container stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stands {
    pub ended: bool,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Its log is of the kind that is told byte for byte while it is followed.
    pub exact: bool,
    /// Its log is of the kind that our containers had before output was counted.
    pub stamped: bool,
}

impl Source {
    async fn run(&mut self, place: Option<ReadUpTo>, attached: Option<Attached>) {
        if let Some(attached) = attached
            && attached.read(self).await
        {
            return;
        }
        let begun = match place {
            Some(ReadUpTo::Stamped(stamps)) => Some(stamps),
            Some(_) => None,
            None => loop {
                // Its output was never read, or what was read was not stored. How its log is kept tells what it is.
                match self.stands().await {
                    Ok(stands) if stands.stamped && self.given == Counted::default() => break Some(Stamps::default()),
                    Ok(_) => break None,
                    Err(trouble) => self.trouble(trouble).await,
                }
            },
        };
        if let Some(stamps) = begun {
            return super::stamped::read(self, stamps, false).await;
        }
        let read = super::counted::read(self).await;
        if read != super::counted::Read::Whole {
            // What is not newer than the last of it that came was taken.
            let since = self.given.at.unwrap_or_default() + chrono::Duration::nanoseconds(1);
            self.missing(GONE);
            super::stamped::read(self, Stamps::since(since), read == super::counted::Read::Damaged).await;
        }
    }

    /// Nobody takes any more: then the task ends.
    fn tell(&self, what: Result<Output, Trouble>) {
        self.tell.send(Told::Output { what, at: None, marks: None, _room: None }).ok();
    }

    /// The engine's log lacks so much of what was given: its places are before that from now on.
    pub fn lacks(&mut self, stderr: bool, bytes: u64) {
        *self.given.of(stderr) -= bytes;
        self.tell.send(Told::Lacks { stderr, bytes }).ok();
    }

    /// Output that is missing, or may be.
    pub fn missing(&self, what: Missing) {
        self.tell(Ok(Output::Missing(what)));
    }

    async fn room_for(&self, bytes: &Bytes) -> Option<OwnedSemaphorePermit> {
        let many = u32::try_from(bytes.len().clamp(PIECE_MIN, WAITING)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(many).await.ok()
    }

    fn give_now(
        &mut self,
        stderr: bool,
        bytes: Bytes,
        at: Option<DateTime<Utc>>,
        marks: Option<Stamps>,
        room: Option<OwnedSemaphorePermit>,
    ) {
        *self.given.of(stderr) += bytes.len() as u64;
        self.given.at = at;
        self.fruitless = 0;
        let what = Ok(Output::Printed { stderr, bytes });
        self.tell.send(Told::Output { what, at, marks, _room: room }).ok();
    }

    /// Gives bytes, however long it takes.
    pub async fn give(&mut self, stderr: bool, bytes: Bytes, at: Option<DateTime<Utc>>, marks: Option<Stamps>) {
        let room = self.room_for(&bytes).await;
        self.give_now(stderr, bytes, at, marks, room);
    }

    /// Gives bytes, unless there is no room for them after so long: then they come back.
    pub async fn give_within(&mut self, limit: Duration, stderr: bool, bytes: Bytes) -> Result<(), Bytes> {
        match tokio::time::timeout(limit, self.room_for(&bytes)).await {
            Ok(room) => {
                self.give_now(stderr, bytes, Some(now()), None, room);
                Ok(())
            }
            Err(_) => Err(bytes),
        }
    }

    /// Tells a trouble, and waits a little longer after each in a row.
    pub async fn trouble(&mut self, trouble: Trouble) {
        self.tell(Err(trouble));
        let pause = Duration::from_millis(250) * 2_u32.saturating_pow(self.fruitless.min(8));
        self.fruitless = self.fruitless.saturating_add(1);
        tokio::time::sleep(pause.min(PAUSE_MAX)).await;
    }

    /// How the container stands.
    pub async fn stands(&self) -> Result<Stands, Trouble> {
        let there = inspected(&self.docker, &self.id).await.map_err(|e| engine_trouble(&e))?;
        let state = there.state.ok_or_else(|| Trouble::Engine("Docker tells no state of the container".to_owned()))?;
        let kind = there.host_config.and_then(|h| h.log_config).and_then(|l| l.typ).unwrap_or_default();
        Ok(Stands {
            ended: matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)),
            started_at: state.started_at.and_then(|at| at.parse().ok()),
            ended_at: state.finished_at.and_then(|at| at.parse().ok()),
            exact: kind == super::LOG_DRIVER,
            stamped: kind == "json-file"
                && there.driver.is_some()
                && there.log_path.is_some_and(|p| p.ends_with("-json.log")),
        })
    }

    /// How the container stands, and the newest of its log; asked beside whatever else is done.
    pub fn asks(&self) -> BoxFuture<'static, Answer> {
        let asker = Self {
            docker: self.docker.clone(),
            id: self.id.clone(),
            tell: self.tell.clone(),
            room: Arc::clone(&self.room),
            given: Counted::default(),
            broke: None,
            fruitless: 0,
        };
        Box::pin(async move { Answer { stands: asker.stands().await, newest: asker.newest_at().await } })
    }

    /// What the engine's log has, line by line.
    pub fn frames(
        &self,
        follow: bool,
        since: Option<i64>,
        tail: &str,
    ) -> BoxStream<'static, Result<Frame, Unreadable>> {
        let options = LogsOptionsBuilder::new()
            .follow(follow)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .tail(tail)
            .since(since.map_or(0, |at| i32::try_from(at).unwrap_or(0)))
            .build();
        self.docker.logs(&self.id, Some(options)).filter_map(async |output| frame(output).transpose()).boxed()
    }

    /// The engine's time of its newest line; none where there is none.
    pub async fn newest_at(&self) -> Result<Option<DateTime<Utc>>, Unreadable> {
        let mut newest = self.frames(false, None, "1");
        match tokio::time::timeout(CALL, newest.next()).await {
            Ok(Some(Ok(frame))) => Ok(frame.time()),
            Ok(Some(Err(unreadable))) => Err(unreadable),
            Ok(None) => Ok(None),
            Err(_) => Err(Unreadable::Engine("its newest line is not told".to_owned())),
        }
    }
}

/// An entry of the engine's log: a line, or a part of a long one.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub stderr: bool,
    /// The engine's timestamp.
    pub at: String,
    /// The bytes, with the line's end where there is one.
    pub bytes: Bytes,
}

impl Frame {
    pub fn time(&self) -> Option<DateTime<Utc>> {
        self.at.parse().ok()
    }
}

/// Why the engine's log gives no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The engine does not answer.
    Engine(String),
    /// It can't read its own log.
    Damaged(String),
}

/// Our clock: compared with the engine's, and shown to nobody.
#[expect(clippy::disallowed_methods, reason = "see above")]
pub(super) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// What was asked while nothing came.
pub(super) struct Answer {
    pub stands: Result<Stands, Trouble>,
    /// The engine's time of its newest line, where it can tell.
    pub newest: Result<Option<DateTime<Utc>>, Unreadable>,
}

/// Splits the engine's timestamp off a frame. Each piece of a long line has one of its own.
fn frame(output: Result<LogOutput, Error>) -> Result<Option<Frame>, Unreadable> {
    let (stderr, message) = match output.map_err(|e| Unreadable::Engine(super::words(&e)))? {
        LogOutput::StdOut { message } | LogOutput::Console { message } => (false, message),
        LogOutput::StdErr { message } => (true, message),
        LogOutput::StdIn { .. } => return Ok(None),
    };
    let end = message.iter().take(40).position(|b| *b == b' ');
    let at = end.and_then(|end| std::str::from_utf8(&message[..end]).ok());
    // Where its file is damaged the engine writes "Error grabbing logs: …" into the stream, without a time.
    let time = at.filter(|at| DateTime::parse_from_rfc3339(at).is_ok());
    let (Some(end), Some(at)) = (end, time) else {
        let words = String::from_utf8_lossy(&message);
        return Err(Unreadable::Damaged(words.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()));
    };
    Ok(Some(Frame { stderr, at: at.to_owned(), bytes: message.slice(end + 1..) }))
}

/// How many bytes entries take in the engine's own file, rather more than less: escapes, where it is JSON, and what
/// stands around each.
pub(super) fn encoded(output: &[u8], json: bool) -> u64 {
    const AROUND: u64 = 72;
    let escapes = |b: &u8| match b {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..=0x1f | b'<' | b'>' | b'&' => 6,
        _ => 1,
    };
    if json { output.iter().map(escapes).sum::<u64>() + AROUND } else { output.len() as u64 + AROUND }
}

/// The engine reads a container's pipe for so long after its end and then closes its own log, whatever is left. Source:
/// moby, `loggerCloseTimeout`; its log says "Logger didn't exit in time: logs may be truncated".
const ENGINE_READS_ON: chrono::Duration = chrono::Duration::seconds(10);

/// Whether the engine gave up reading a container's output: then its last line is from that moment, so long after the
/// end.
pub(super) fn was_cut_off(ended: Option<DateTime<Utc>>, last: Option<DateTime<Utc>>) -> bool {
    ended.zip(last).is_some_and(|(ended, last)| last - ended >= ENGINE_READS_ON - chrono::Duration::milliseconds(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::docker::stamped::FrameMark;

    #[test]
    fn what_the_engine_s_file_takes_is_counted_as_it_writes_it() {
        assert_eq!(encoded(b"a\n", true), 3 + 72);
        assert_eq!(encoded(b"<\"\\\x01", true), 6 + 2 + 2 + 6 + 72);
    }

    #[test]
    fn output_that_the_engine_gave_up_reading_is_told_by_its_last_time() {
        let at = |s: i64| DateTime::from_timestamp(1_000_000 + s, 0);
        assert!(was_cut_off(at(0), at(10)));
        assert!(!was_cut_off(at(0), at(9)) && !was_cut_off(at(0), at(-3)) && !was_cut_off(at(0), None));
    }

    fn taking(from: Counted) -> (mpsc::UnboundedSender<Told>, Taking) {
        let (tell, told) = mpsc::unbounded_channel();
        (
            tell,
            Taking {
                told,
                from,
                given: Taken::default(),
                lacks: Taken::default(),
                ended: false,
                marks: VecDeque::new(),
            },
        )
    }

    #[tokio::test]
    async fn a_place_is_what_was_taken_of_each_stream_until_the_marks_begin() {
        let (tell, mut taking) = taking(Counted { stdout: 100, stderr: 7, at: None });
        let mark = |n: u32| Some(FrameMark { at: format!("{n}"), frames: 1 });
        let printed = |stderr, bytes: &'static str| Ok(Output::Printed { stderr, bytes: Bytes::from(bytes) });
        for (what, marks) in [
            (printed(false, "abc\nd"), None),
            (printed(false, "e\n"), Some(Stamps { stdout: mark(5), stderr: mark(3), file: 0 })),
            (printed(true, "x\n"), Some(Stamps { stdout: mark(5), stderr: mark(6), file: 0 })),
        ] {
            tell.send(Told::Output { what, at: None, marks, _room: None }).unwrap();
            taking.next().await.unwrap().unwrap();
        }
        let place = |taking: &mut Taking, stdout, stderr| {
            let mut place = taking.place(Taken { stdout, stderr }).0;
            place.as_object_mut().unwrap().remove("at");
            place
        };
        assert_eq!(place(&mut taking, 4, 0), serde_json::json!({"stdout": 104, "stderr": 7}));
        let marks = |out: u32, err: u32| {
            serde_json::to_value(Stamps { stdout: mark(out), stderr: mark(err), file: 0 }).unwrap()
        };
        assert_eq!(place(&mut taking, 7, 0), marks(5, 3), "half a line of the other stream is held back");
        assert_eq!(place(&mut taking, 7, 2), marks(5, 6));
    }

    #[tokio::test]
    async fn the_place_after_the_end_is_the_end() {
        let (tell, mut taking) = taking(Counted::default());
        let what = Ok(Output::Printed { stderr: false, bytes: Bytes::from("no end") });
        tell.send(Told::Output { what, at: None, marks: None, _room: None }).unwrap();
        tell.send(Told::End).unwrap();
        taking.next().await.unwrap().unwrap();
        assert!(taking.next().await.is_none() && taking.next().await.is_none());
        let begun = taking.place(Taken { stdout: 0, stderr: 0 }).0;
        assert_eq!((&begun["stdout"], &begun["ended"]), (&serde_json::json!(0), &serde_json::Value::Null));
        let place = taking.place(Taken { stdout: 6, stderr: 0 });
        assert_eq!(place.0, serde_json::json!({"ended": true}));
        // The line's end that it is given in the journal is not read from the engine's log again.
        let docker = Docker::connect_with_http("127.0.0.1:9", 1, bollard::API_DEFAULT_VERSION).unwrap();
        assert!(reading(&docker, "x", Some(place), None).next().await.is_none());
    }

    #[tokio::test]
    async fn a_reading_that_breaks_off_is_no_end() {
        let (tell, mut taking) = taking(Counted::default());
        drop(tell);
        assert!(matches!(taking.next().await, Some(Err(_))));
    }

    #[tokio::test]
    async fn a_place_by_marks_stays_one_before_anything_is_read() {
        let docker = Docker::connect_with_http("127.0.0.1:9", 1, bollard::API_DEFAULT_VERSION).unwrap();
        let old = serde_json::json!({"stdout": {"at": "2026-11-22T10:00:00.123456789Z", "frames": 2}, "stderr": null, "file": 9});
        let mut reading = reading(&docker, "x", Some(LogCursor(old.clone())), None);
        assert_eq!(reading.place(Taken::default()).0, old);
    }

    #[test]
    fn a_place_of_before_output_was_counted_is_read() {
        let old = serde_json::json!({"stdout": {"at": "2026-11-22T10:00:00.123456789Z", "frames": 2}, "stderr": null});
        let Ok(ReadUpTo::Stamped(stamps)) = serde_json::from_value(old) else { panic!("not read as such") };
        assert_eq!(stamps.stdout.unwrap().frames, 2);
        assert!(matches!(
            serde_json::from_value(serde_json::json!({"stdout": 4, "stderr": 0})),
            Ok(ReadUpTo::Counted(_))
        ));
    }
}
