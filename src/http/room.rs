//! How much is answered at a time. Slack has room of its own: a press is answered however many others ask for
//! something.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Web;
use super::error::HttpError;
use crate::domain::ids::DeploymentId;

/// Requests of Slack at a time.
const OF_SLACK: usize = 128;
/// Requests of all others at a time.
const OF_OTHERS: usize = 256;
/// Live readers of logs.
const READERS: usize = 200;
/// And of one log: a crowd at one must leave room for the others.
const READERS_OF_ONE: usize = 120;
/// Logs that are witnessed at once.
const WITNESSING: usize = 4;
/// Those, and those that wait for that.
const TO_WITNESS: usize = 32;

/// Passes over whole logs at a time: searches, steps, comparisons.
const WORK: usize = 4;

/// Downloads at a time: each keeps a piece of its log for as long as it is read.
const DOWNLOADS: usize = 64;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Places for what is being answered.
pub struct Room {
    downloads: Arc<Semaphore>,
    work: Arc<Semaphore>,
    slack: Arc<Semaphore>,
    others: Arc<Semaphore>,
    witnessing: Arc<Semaphore>,
    to_witness: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    of_one: Arc<Mutex<HashMap<DeploymentId, usize>>>,
}

/// A live reader's place, for as long as it is kept.
pub(super) struct Reading {
    _place: OwnedSemaphorePermit,
    of_one: Arc<Mutex<HashMap<DeploymentId, usize>>>,
    id: DeploymentId,
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut of_one = self.of_one.lock().expect("no holder of the lock panics");
        match of_one.get_mut(&self.id) {
            Some(readers) if *readers > 1 => *readers -= 1,
            _ => drop(of_one.remove(&self.id)),
        }
    }
}

impl Default for Room {
    fn default() -> Self {
        let places = |n| Arc::new(Semaphore::new(n));
        Self {
            downloads: places(DOWNLOADS),
            work: places(WORK),
            slack: places(OF_SLACK),
            others: places(OF_OTHERS),
            readers: places(READERS),
            witnessing: places(WITNESSING),
            to_witness: places(TO_WITNESS),
            of_one: Arc::default(),
        }
    }
}

impl Room {
    /// A place for a live reader of a log.
    pub(super) fn reader(&self, id: DeploymentId) -> Result<Reading, HttpError> {
        let text = "as many follow logs here as can be served; the page goes on by itself in a moment";
        let full = || HttpError(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
        let place = Arc::clone(&self.readers).try_acquire_owned().map_err(|_| full())?;
        let mut of_one = self.of_one.lock().expect("no holder of the lock panics");
        let readers = of_one.entry(id).or_default();
        if *readers >= READERS_OF_ONE {
            return Err(full());
        }
        *readers += 1;
        drop(of_one);
        Ok(Reading { _place: place, of_one: Arc::clone(&self.of_one), id })
    }

    /// A place for a download, for as long as it takes.
    pub(super) fn download(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        place(&self.downloads)
    }

    /// A place for a pass over a whole log, when there is one within some seconds.
    pub(super) async fn work(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        turn(&self.work).await
    }

    /// A place for a request of Slack that has arrived whole.
    pub(super) fn of_slack(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        place(&self.slack)
    }

    /// A turn for a log that wants to be witnessed, when there is one within some seconds: few at a time, because anybody
    /// may ask, and all ask at the same moment, because a checkpoint is made once a minute.
    pub(super) async fn witnessing(&self) -> Result<[OwnedSemaphorePermit; 2], HttpError> {
        let place = place(&self.to_witness)?;
        Ok([place, turn(&self.witnessing).await?])
    }

    /// A place for a request of anybody else that has arrived whole.
    pub(super) fn of_others(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        place(&self.others)
    }
}

async fn turn(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, HttpError> {
    match tokio::time::timeout(PATIENCE, Arc::clone(places).acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        _ => place(places),
    }
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, HttpError> {
    let text = "coolops answers as many requests as it can right now; try again in a moment";
    Arc::clone(places).try_acquire_owned().map_err(|_| HttpError(StatusCode::SERVICE_UNAVAILABLE, text.to_owned()))
}

/// Lets a request in when there is a place for it. Who has a body to send gets one when it is here: until then a
/// request costs nothing but its connection, so that slow ones keep nobody out.
pub(super) async fn admit(State(web): State<Web>, request: Request, next: Next) -> Response {
    if request.method() == Method::POST || ["/healthz", "/readyz"].contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match web.room.of_others() {
        Ok(_place) => next.run(request).await,
        Err(full) => full.into_response(),
    }
}
