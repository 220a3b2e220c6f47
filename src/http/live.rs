//! A deployment's log while it grows: `GET /deployments/{id}/live`, new lines and state changes as server-sent events.
//!
//! **Invariants:** an event's id says where its reader stands, so one that comes back with `Last-Event-ID` misses and
//! doubles nothing. What a reader costs is bounded whatever is printed and however slowly it reads: one piece at a time
//! is made, when the one before was taken, and who has fallen behind goes on near the end.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde::Deserialize;
use serde_json::json;

use super::ansi::Look;
use super::deployment_page::{Key, LINES_MAX, head, open};
use super::error::Answer;
use super::log_html::{PIECE_MAX, paint, passed_over};
use super::room::Reading;
use super::{Web, page};
use crate::app::questions::Opens;
use crate::domain::deployment::State as Phase;
use crate::domain::ids::{BuildId, DeploymentId};
use crate::store::journal::Chunk;
use crate::store::tail::Newest;

/// Between two pieces for one reader: so fast is fast enough for an eye, and slow enough for a flood.
const PACE: Duration = Duration::from_millis(20);
/// A reader looks so often even when nothing woke it.
const POLL: Duration = Duration::from_secs(1);
/// How often it is asked whether the link still opens the log.
const RECHECK: Duration = Duration::from_secs(5);

/// Where a reader stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The next chunk of the journal, or the one that is read.
    pub chunk: i32,
    /// The last line of the journal that was shown.
    pub line: i64,
    /// The last line of the newest output that was shown.
    pub seen: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.chunk, self.line, self.seen)
    }
}

impl Place {
    /// Reads what an event's id said.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let place = Self {
            chunk: parts.next()?.parse().ok()?,
            line: parts.next()?.parse().ok()?,
            seen: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && place.chunk >= 0 && place.line >= 0).then_some(place)
    }
}

/// Where a reader that has no event's id yet begins: what the page ended with.
#[derive(Deserialize)]
pub struct At {
    #[serde(default)]
    at: String,
}

/// Handles the request.
///
/// # Errors
/// 404 for a wrong link; 503 when the database is away, or when as many read as can be served: the page tries again.
pub async fn live(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
    Query(at): Query<At>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    let timed = open(&web, &id, key.value()).await?.ok_or_else(Answer::not_found)?;
    let of = timed.deployment.of;
    let reading = web.room.reader(of.deployment_id)?;
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(Place::parse);
    let reader = Reader {
        id: of.deployment_id,
        build: of.build_id,
        key: key.value().to_owned(),
        place: last.or_else(|| Place::parse(&at.at)).unwrap_or_default(),
        look: Look::default(),
        shown: None,
        ended: false,
        checked: Instant::now(),
        web,
        _reading: reading,
    };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok((page::HEADERS, Sse::new(reader.events()).keep_alive(keep_alive)).into_response())
}

struct Reader {
    web: Web,
    _reading: Reading,
    id: DeploymentId,
    build: BuildId,
    key: String,
    place: Place,
    look: Look,
    shown: Option<String>,
    ended: bool,
    checked: Instant,
}

/// What a look came to.
enum Found {
    /// An event; there may be more.
    More(Event),
    /// An event, and nothing after it for now.
    Event(Event),
    Nothing,
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        let woken = self.web.app.store.wake().about(self.id);
        stream::unfold((self, woken, Instant::now()), async |(mut reader, mut woken, mut next)| {
            loop {
                if reader.ended {
                    return None;
                }
                tokio::time::sleep_until(next.into()).await;
                woken.borrow_and_update();
                match reader.look().await {
                    Ok(Found::More(event)) => return Some((Ok(event), (reader, woken, Instant::now() + PACE))),
                    Ok(Found::Event(event)) => return Some((Ok(event), (reader, woken, Instant::now()))),
                    Ok(Found::Nothing) | Err(_) => {}
                }
                next = Instant::now() + PACE;
                tokio::select! {
                    changed = woken.changed() => drop(changed),
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        })
    }

    async fn look(&mut self) -> Result<Found, Answer> {
        if self.checked.elapsed() > RECHECK {
            let opens = self.web.app.opened(Opens::Deployment, self.id.0, self.build, &self.key).await?;
            if opens.is_none() {
                self.ended = true;
                return Ok(Found::Event(Event::default().event("gone").data("{}")));
            }
            self.checked = Instant::now();
        }
        let store = self.web.app.readers();
        // The state is read before the lines: an end that is seen has all its lines stored.
        let Some(timed) = store.deployments().timed(self.id).await? else { return Ok(Found::Nothing) };
        if let Some(chunk) = store.journals().chunks_from(self.id, self.place.chunk, 1).await?.pop() {
            return self.stored(chunk).await;
        }
        if !timed.deployment.state().is_over() {
            let newest = last_lines(&store.tails().after(self.id, self.place.seen).await?);
            if let Some(first) = newest.first() {
                return Ok(self.newest(first));
            }
        }
        let head = head(&timed).into_string();
        if self.shown.as_ref() != Some(&head) {
            self.shown = Some(head.clone());
            return Ok(Found::Event(Event::default().event("state").data(json!(head).to_string())));
        }
        if timed.deployment.state().is_over() || timed.deployment.state() == Phase::Unknown {
            self.ended = true;
            return Ok(Found::Event(Event::default().event("end").data("{}")));
        }
        Ok(Found::Nothing)
    }

    /// A piece of the journal. Whoever is behind by twice the lines that the page keeps goes on near the end.
    async fn stored(&mut self, mut chunk: Chunk) -> Result<Found, Answer> {
        let (mut html, journals) = (String::new(), self.web.app.readers().journals());
        if self.place.line < chunk.first_line {
            let before = self.place.line.max(chunk.first_line - 1);
            if journals.last_line(self.id).await? - before > 2 * LINES_MAX {
                let (first, total) = journals.tail_start(self.id, LINES_MAX, i64::MAX).await?;
                html = passed_over(total - LINES_MAX - before);
                self.place = Place { chunk: first, line: total - LINES_MAX, ..self.place };
                match journals.chunks_from(self.id, first, 1).await?.pop() {
                    Some(there) => chunk = there,
                    None => return Ok(Found::Nothing),
                }
            }
        }
        let painted = paint(chunk.first_line, &chunk.body, self.place.line, PIECE_MAX, &mut self.look);
        self.place.line = painted.last;
        if painted.whole {
            self.place.chunk = chunk.number.saturating_add(1);
        }
        html.push_str(&painted.html);
        Ok(Found::More(Event::default().event("lines").id(self.place.to_string()).data(json!(html).to_string())))
    }

    /// A piece of what is not stored yet.
    fn newest(&mut self, first: &Newest) -> Found {
        let before = self.place.seen.max(self.place.line);
        let passed = first.first_line - 1 - before;
        let mut html = if passed > 0 && before > 0 { passed_over(passed) } else { String::new() };
        let painted = paint(first.first_line, &first.body, self.place.seen, PIECE_MAX, &mut self.look);
        self.place.seen = painted.last;
        html.push_str(&painted.html);
        Found::More(Event::default().event("newest").id(self.place.to_string()).data(json!(html).to_string()))
    }
}

/// The last lines of it, as many as the page keeps.
pub(super) fn last_lines(newest: &[Newest]) -> Vec<Newest> {
    let seen = newest.last().map_or(0, Newest::last_line) - LINES_MAX;
    newest.iter().filter_map(|piece| piece.after(seen)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        let place = Place { chunk: 3, line: 1_000, seen: 7 };
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        for wrong in ["", "3", "3.4", "-1.0.0", "1.2.3.4", "x.y.z"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
