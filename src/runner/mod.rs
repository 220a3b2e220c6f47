//! Running a deployment's container: a trait of plain data, and Docker behind it.
//!
//! **Invariant:** nothing here knows events, Postgres or Slack. A container is found again by its name; it is never
//! started twice, and never stopped by somebody who doesn't hold the job.

pub mod docker;
mod guard;
pub mod keep;
pub mod lines;
pub mod mask;
pub mod newest;
pub mod parts;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::domain::deployment::{Failure, LogCursor};
use crate::domain::ids::DeploymentId;
use crate::domain::names::ImageRef;
use crate::domain::project::Unchecked;

/// Everything that a container is made from.
pub struct RunSpec {
    /// Which installation of coolops makes it.
    pub instance: String,
    /// Whose container.
    pub deployment_id: DeploymentId,
    /// Its name.
    pub container: String,
    /// Content address of the image.
    pub image_id: String,
    /// Its environment, later entries winning over earlier ones of the same name. Values may be secret.
    pub variables: Vec<(String, SecretString)>,
}

/// Login for a registry.
#[derive(Clone)]
#[expect(missing_docs, reason = "plain facts")]
pub struct Credentials {
    pub registry: String,
    pub username: String,
    pub password: SecretString,
}

/// What stands under a container's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// A container that isn't this deployment's. It is never touched.
    Foreign,
    /// Made, not started.
    Created(String),
    /// Runs.
    Running(String),
    /// Ended.
    Ended(String),
}

/// An image that is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its content address: what is run.
    pub id: String,
    /// Its digest in the registry that it came from.
    pub digest: Option<String>,
    /// The registry could not say whether its tag stands for a newer one by now.
    pub unchecked: bool,
}

/// What is told while an image is made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The registry is being asked for it.
    Pulling,
    /// A line for whoever reads the log.
    Said(String),
}

/// A container of this installation, whatever it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The engine's id of it.
    pub id: String,
    /// Whose it is.
    pub deployment: DeploymentId,
    /// Whether it runs, or may begin to.
    pub running: bool,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: i64,
    /// Killed for using too much memory.
    pub out_of_memory: bool,
    /// When, by the engine's clock.
    pub at: Option<DateTime<Utc>>,
}

/// A piece of output: a line, or a part of a long one.
#[derive(Debug, Clone)]
pub struct Frame {
    /// From standard error.
    pub stderr: bool,
    /// The engine's timestamp, as text that sorts by time.
    pub at: String,
    /// The bytes, with the line's end where there is one.
    pub bytes: Bytes,
}

/// Why a step did not work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    /// It failed for good: the deployment fails with this reason.
    #[error("{0:?}")]
    Failed(Failure),
    /// The engine does not answer or answers nonsense: nothing is known, try again.
    #[error("{0}")]
    Engine(String),
    /// The engine can't read its own log of a container's output.
    #[error("Docker can't read its log of the output: {0}")]
    LogDamaged(String),
}

/// Runs containers. Calls about one container come from one worker at a time, in the order of the methods below; any of
/// them may come again after a crash.
pub trait Runner: Send + Sync {
    /// The engine's own id, asked anew each time: another engine may answer at the same address by now. A container can
    /// be found only by workers on the same engine.
    fn engine_id(&self) -> BoxFuture<'_, Result<String, Trouble>>;

    /// Whether the engine answers now.
    fn alive(&self) -> BoxFuture<'_, Result<(), Trouble>>;

    /// Makes sure that the image is there, pulling it if not, and tells what exactly it is; `unchecked` says what to do
    /// while the registry can't be asked about one that is at hand.
    fn prepare<'a>(
        &'a self,
        image: &'a ImageRef,
        credentials: Option<Credentials>,
        unchecked: Unchecked,
        progress: mpsc::Sender<Progress>,
    ) -> BoxFuture<'a, Result<Image, Trouble>>;

    /// What stands under a container's name.
    fn look<'a>(&'a self, container: &'a str, deployment: DeploymentId) -> BoxFuture<'a, Result<Found, Trouble>>;

    /// Makes the container; fails when the name is taken.
    fn create<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<String, Trouble>>;

    /// Starts it. Starting a started one is success and does nothing.
    fn start<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>>;

    /// After so many bytes of output, as [`encoded`](lines::encoded) counts them, the engine begins a new file, and
    /// some may get lost there.
    fn log_file_max(&self) -> u64;

    /// Its output from a place on; the stream ends when the container has ended and everything was read.
    fn follow(&self, id: String, from: Option<LogCursor>) -> BoxStream<'static, Result<Frame, Trouble>>;

    /// The newest lines of its output, so many, and what follows: where the engine's own log is damaged before them.
    fn follow_newest(&self, id: String, lines: u32) -> BoxStream<'static, Result<Frame, Trouble>> {
        let _ = lines;
        self.follow(id, None)
    }

    /// The engine's time of its newest line; none where there is none, or that can't be told.
    fn newest_at<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<String>, Trouble>> {
        let _ = id;
        Box::pin(async { Ok(None) })
    }

    /// Tells it to end: SIGTERM, and SIGKILL after a while. Comes back when it has ended; stopping an ended one is
    /// success.
    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Tells how it ended, waiting a little if it hasn't.
    fn wait<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Exit, Trouble>>;

    /// Removes it unless it runs; then it stays, and that is no error.
    fn discard<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Removes it. Removing a removed one is success.
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>>;

    /// All containers of this installation that are there.
    fn containers<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<Vec<Ours>, Trouble>>;
}
