//! How much is answered at a time. Slack has room of its own: a press is answered however many others ask for
//! something.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Web;
use super::error::Answer;

/// Requests of Slack at a time.
const OF_SLACK: usize = 128;
/// Requests of all others at a time.
const OF_OTHERS: usize = 256;
/// Live readers of logs.
const READERS: usize = 200;

/// Places for what is being answered.
pub struct Room {
    slack: Arc<Semaphore>,
    others: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        let places = |n| Arc::new(Semaphore::new(n));
        Self { slack: places(OF_SLACK), others: places(OF_OTHERS), readers: places(READERS) }
    }
}

impl Room {
    /// A place for a live reader, for as long as it is kept.
    pub(super) fn reader(&self) -> Result<OwnedSemaphorePermit, Answer> {
        place(&self.readers)
    }

    /// A place for a request of Slack that has arrived whole.
    pub(super) fn of_slack(&self) -> Result<OwnedSemaphorePermit, Answer> {
        place(&self.slack)
    }

    /// A place for a request of anybody else that has arrived whole.
    pub(super) fn of_others(&self) -> Result<OwnedSemaphorePermit, Answer> {
        place(&self.others)
    }
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Answer> {
    let text = "coolops answers as many requests as it can right now; try again in a moment";
    Arc::clone(places).try_acquire_owned().map_err(|_| Answer(StatusCode::SERVICE_UNAVAILABLE, text.to_owned()))
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
