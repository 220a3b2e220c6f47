//! The attached stream of a container, from before its start to its end: the quick way, and the only one on which nothing
//! is cut at the end of a flood.
//!
//! **Invariant:** the container waits for us at most [`PATIENCE`] at a time. Then the attachment is let go, and the
//! engine's own log has what follows.

use std::pin::Pin;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptionsBuilder, WaitContainerOptionsBuilder};
use chrono::{DateTime, Utc};
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::output::{Answer, NOT_TAKEN, QUIET, Source, Stands, now};
use super::{CALL, engine_trouble, within};
use crate::runner::Trouble;

/// How long a piece of output waits to be taken before the container is set free.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether this process stood still.
const TICK: Duration = Duration::from_millis(500);
/// The engine waits so long after a container's end for its output to be taken, and drops the rest. Source: moby 20.10,
/// `daemon/monitor.go`.
const ENGINE_WAITS: Duration = Duration::from_secs(2);
/// So much the engine keeps for who is attached; only beyond it a container's end can be cut. Source: moby,
/// `pkg/ioutils/bytespipe.go`.
const ENGINE_KEEPS: u64 = 1_000_000;

type Stdio = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// The stream ends with the container, about; one that ended so long before it was ended by something else.
const END: chrono::Duration = chrono::Duration::seconds(1);

/// An attachment.
pub(super) struct Attached {
    stream: Stdio,
    /// When it was told to start, by our clock.
    called_at: DateTime<Utc>,
    /// Ends well when the engine that started the container saw its end.
    end: JoinHandle<bool>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.end.abort();
    }
}

/// Attaches to a container that is not started yet.
pub(super) async fn attach(docker: &Docker, id: &str) -> Result<Stdio, Trouble> {
    let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
    Ok(within(CALL, docker.attach_container(id, Some(options))).await.map_err(|e| engine_trouble(&e))?.output)
}

impl Attached {
    /// The stream of a container that was started just now.
    pub fn to(docker: &Docker, id: &str, stream: Stdio, called_at: DateTime<Utc>) -> Self {
        let (docker, id) = (docker.clone(), id.to_owned());
        let end = tokio::spawn(async move {
            // Of one that has ended it tells at once. The connection is to the engine that runs it: one that died breaks it.
            let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
            let ended = docker.wait_container(&id, Some(options)).next().await;
            matches!(ended, Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })))
        });
        Self { stream, called_at, end }
    }

    /// Gives all that comes; `true` when that was the whole output, to the end.
    pub async fn read(mut self, source: &mut Source) -> bool {
        let mut stood_still = StoodStill::default();
        // How it stood, and the newest of its log, when nothing had come for a while; and what is being asked now.
        let mut newest: Result<Option<DateTime<Utc>>, ()> = Err(());
        let mut asking: Option<BoxFuture<'static, Answer>> = None;
        let (mut quiet, mut looked) = (Instant::now() + QUIET, Instant::now());
        loop {
            let tick = Instant::now() + TICK;
            let event = tokio::select! {
                biased;
                next = self.stream.next() => Event::Stream(next),
                answer = async { asking.as_mut().expect("it is asked").await }, if asking.is_some() => Event::Answer(answer),
                () = tokio::time::sleep_until(tick) => Event::Tick,
            };
            stood_still.looked(looked.elapsed());
            looked = Instant::now();
            match event {
                Event::Tick if asking.is_none() && looked >= quiet => {
                    quiet = looked + QUIET;
                    asking = Some(source.asks());
                }
                Event::Tick => {}
                // A connection that was dropped on the way brings nothing, and the engine's log goes on.
                Event::Answer(Answer { stands, newest: latest }) => {
                    asking = None;
                    let latest = latest.map_err(drop);
                    let deaf = newest.is_ok() && latest.is_ok() && newest != latest;
                    newest = latest;
                    if deaf || matches!(stands, Ok(stands) if stands.ended) {
                        return false;
                    }
                }
                Event::Stream(Some(Ok(LogOutput::StdIn { .. }))) => {}
                Event::Stream(Some(Ok(output @ (LogOutput::StdOut { .. } | LogOutput::StdErr { .. })))) => {
                    (quiet, newest, asking) = (looked + QUIET, Err(()), None);
                    let stderr = matches!(output, LogOutput::StdErr { .. });
                    let bytes = output.into_bytes();
                    stood_still.took(bytes.len() as u64);
                    if let Err(bytes) = source.give_within(PATIENCE, stderr, bytes).await {
                        // The database is away, or slower than the container.
                        drop(self);
                        source.give(stderr, bytes, Some(now()), None).await;
                        return false;
                    }
                }
                // Half a piece is all that came of one: the engine died.
                Event::Stream(Some(Ok(LogOutput::Console { .. }) | Err(_))) => {
                    return broke(source, self.called_at).await;
                }
                Event::Stream(None) => {
                    let closed_at = now();
                    match tokio::time::timeout(CALL, &mut self.end).await {
                        Ok(Ok(true)) => {}
                        Ok(_) => return broke(source, self.called_at).await,
                        // A script that closes its output runs on.
                        Err(_) => return false,
                    }
                    // One that ran on for a while may have printed to somebody else's end of the stream.
                    let Ok(Stands { ended: true, started_at: Some(started), ended_at: Some(ended), .. }) =
                        source.stands().await
                    else {
                        return false;
                    };
                    if ended > closed_at + (started - self.called_at) + END {
                        return false;
                    }
                    if stood_still.may_have_lost() {
                        source.missing(NOT_TAKEN);
                    }
                    return true;
                }
            }
        }
    }
}

/// Notes when it broke by the engine's clock, which the time of the container's start tells.
async fn broke(source: &mut Source, called_at: DateTime<Utc>) -> bool {
    let broke_at = now();
    loop {
        match source.stands().await {
            Ok(stands) => {
                let at = stands.started_at.map(|started| broke_at + (started - called_at));
                source.broke = at.map(|at| (at, source.given.clone()));
                return false;
            }
            Err(trouble) => source.trouble(trouble).await,
        }
    }
}

enum Event {
    Stream(Option<Result<LogOutput, Error>>),
    Answer(Answer),
    Tick,
}

/// Whether this process stood still for so long that the engine gave up waiting for it at the container's end.
#[derive(Default)]
struct StoodStill {
    /// What came since it did.
    came: Option<u64>,
}

impl StoodStill {
    fn looked(&mut self, took: Duration) {
        if took > TICK + PATIENCE + ENGINE_WAITS / 4 {
            self.came = Some(0);
        }
    }

    fn took(&mut self, bytes: u64) {
        self.came = self.came.map(|came| came + bytes);
    }

    /// The end came with what the engine had kept meanwhile, and that was as much as it keeps.
    fn may_have_lost(&self) -> bool {
        self.came.is_some_and(|came| (ENGINE_KEEPS * 9 / 10..4 * ENGINE_KEEPS).contains(&came))
    }
}
