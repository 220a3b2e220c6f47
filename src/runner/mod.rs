//! Running a deployment's container: a trait of plain data, and Docker behind it.
//!
//! **Invariant:** nothing here knows events, Postgres or Slack. A container is found again by its name; it is never
//! started twice, and never stopped by somebody who doesn't hold the job.

pub mod docker;
mod forms;
pub mod keep;
pub mod lines;
pub mod mask;
pub mod newest;
pub mod parts;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
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
    /// What [`prepare`](Runner::prepare) found.
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

/// An image that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What exactly is run: its content address, or its name where that shows only after the start.
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
}

/// What comes out of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes of one of its streams, in their order. Lines begin and end anywhere in them.
    Printed {
        /// From standard error.
        stderr: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// Some of it is missing here, or may be.
    Missing(Missing),
}

/// That output is missing at a place, or may be, and why: a sentence without its full stop, for whoever reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub &'static str);

/// It is not there any more.
pub const GONE: Missing = Missing("output is missing here: the engine no longer had it");

impl Missing {
    /// The line that stands in its place.
    pub fn note(self) -> Vec<u8> {
        format!("… [{}]\n", self.0).into_bytes()
    }
}

/// So many bytes of each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain facts")]
pub struct Taken {
    pub stdout: u64,
    pub stderr: u64,
}

/// A container's output, being read.
pub trait Reading: Send {
    /// What comes next; nothing when the container has ended and all that there is was read. A trouble is told and not
    /// the end: asked again, it goes on where it was, with pauses of its own. Giving up the wait loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Output, Trouble>>>;

    /// The place after so many bytes of each stream, counted from where this reading began.
    fn place(&mut self, taken: Taken) -> LogCursor;
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

    /// Makes what will be started, and tells its id; fails when the name is taken. A runner that can't make without
    /// starting tells the name and does the rest in [`start`](Self::start).
    fn create<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<String, Trouble>>;

    /// Starts it and reads its output from the first byte on. Starting a started one is success and starts nothing.
    fn start<'a>(&'a self, spec: &'a RunSpec, id: &'a str) -> BoxFuture<'a, Result<Box<dyn Reading>, Trouble>>;

    /// Its output from a place on, or from its beginning.
    fn follow(&self, id: String, from: Option<LogCursor>) -> Box<dyn Reading>;

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
