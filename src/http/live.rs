//! A deployment while it runs: `GET /deployments/{id}/live`, how much there is and how it stands, as server-sent events.
//!
//! **Invariant:** an event says how far the log goes, and has at most a few of its newest lines, so what a reader costs is
//! bounded whatever is printed and however slowly it reads; the page asks for the other lines that it shows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde_json::json;
use tokio::sync::watch;

use super::error::HttpError;
use super::link::{Key, open};
use super::parameters::{Path, Query};
use super::room::Reading;
use super::watched::Seen;
use super::{Web, page};
use crate::app::questions::Opens;
use crate::domain::ids::{BuildId, DeploymentId};

/// How often it is asked whether the link still opens the log.
const RECHECK: Duration = Duration::from_secs(5);

/// Handles the request.
///
/// # Errors
/// 404 for a wrong link; 503 when the database is away, or when as many read as can be served: the page tries again.
pub async fn live(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, key.value()).await?.ok_or_else(HttpError::not_found)?;
    let of = timed.deployment.of;
    let reading = web.room.reader(of.deployment_id)?;
    let heard = web.logs.watched.of(&web, of.deployment_id);
    let reader = Reader {
        id: of.deployment_id,
        build: of.build_id,
        key: key.value().to_owned(),
        heard,
        told: Arc::default(),
        ended: false,
        checked: Instant::now(),
        web,
        _reading: reading,
    };
    // An event and no comment, which pages don't hear.
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15)).event(Event::default().event("ping").data(""));
    Ok((page::HEADERS, Sse::new(reader.events()).keep_alive(keep_alive)).into_response())
}

struct Reader {
    web: Web,
    _reading: Reading,
    id: DeploymentId,
    build: BuildId,
    key: String,
    heard: watch::Receiver<Option<Arc<Seen>>>,
    /// What was told last.
    told: Arc<Seen>,
    ended: bool,
    checked: Instant,
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut reader| {
            if reader.ended {
                return None;
            }
            let event = reader.next().await;
            Some((Ok(event), reader))
        })
    }

    async fn next(&mut self) -> Event {
        loop {
            if self.checked.elapsed() > RECHECK {
                // While the database is away nothing is told in any case.
                if let Ok(None) = self.web.app.opened(Opens::Deployment, self.id.0, self.build, &self.key).await {
                    self.ended = true;
                    return Event::default().event("gone").data("{}");
                }
                self.checked = Instant::now();
            }
            let seen = self.heard.borrow_and_update().clone();
            if let Some(event) = seen.and_then(|seen| self.tell(&seen)) {
                return event;
            }
            tokio::select! {
                changed = self.heard.changed() => if changed.is_err() {
                    // It is watched anew.
                    self.heard = self.web.logs.watched.of(&self.web, self.id);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                },
                () = tokio::time::sleep(RECHECK) => {}
            }
        }
    }

    /// What of it is news, one thing after the other.
    fn tell(&mut self, seen: &Arc<Seen>) -> Option<Event> {
        let told = &*self.told;
        if (seen.lines, &seen.begun) != (told.lines, &told.begun) {
            let data = json!({ "lines": seen.lines, "begun": seen.begun, "from": seen.from, "html": seen.html });
            self.told = Arc::new(Seen { lines: seen.lines, begun: seen.begun.clone(), ..told.clone() });
            return Some(Event::default().event("grown").data(data.to_string()));
        }
        if (&seen.head, seen.state) != (&told.head, told.state) {
            let data = json!({ "head": seen.head, "title": seen.title, "state": seen.state });
            self.told = Arc::new(Seen { over: false, ..(**seen).clone() });
            return Some(Event::default().event("state").data(data.to_string()));
        }
        if seen.over {
            self.ended = true;
            return Some(Event::default().event("end").data(json!({ "lines": seen.lines }).to_string()));
        }
        None
    }
}
