//! The steps of a log: `GET /deployments/{id}/steps`, coolops' own and those that its script printed.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::error::HttpError;
use super::link::{Key, open};
use super::log_numbers::Numbers;
use super::off_thread::off_thread;
use super::parameters::{Path, Query};
use super::{Web, page};
use crate::domain::ids::DeploymentId;
use crate::terminal::numbered;
use crate::terminal::steps::{Step, Steps};

/// Logs whose steps are kept.
const KEPT: usize = 32;
/// Chunks that are read at a time.
const AT_A_TIME: i64 = 32;

/// How far the steps of a log are known.
#[derive(Clone, Default)]
struct Known {
    numbers: Numbers,
    next_chunk: i32,
    steps: Steps,
    /// The last line, and when it was stored.
    last: Option<(i64, DateTime<Utc>)>,
    /// When the first one was.
    first: Option<DateTime<Utc>>,
    /// The last line before the container was started: the image's.
    image: i64,
}

/// The steps of logs that were asked for lately: a log only grows.
#[derive(Default)]
pub struct Outlines(Mutex<HashMap<DeploymentId, Known>>);

/// Handles the request.
///
/// # Errors
/// 404 for a wrong link; 503 when the database is away.
pub async fn steps(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(key): Query<Key>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, key.value()).await?.ok_or_else(HttpError::not_found)?;
    let (id, started) = (timed.deployment.of.deployment_id, timed.started_at);
    let over = timed.deployment.state().is_over();
    // Who waits finds what the one before has read.
    let _turn = web.room.work().await?;
    let kept = web.logs.outlines.0.lock().expect("no holder of the lock panics").get(&id).cloned();
    let numbers = Numbers::of(&web, &timed.deployment).await?;
    // What is known of one that runs has other numbers when something is left out at its end.
    // What was erased is not known any more.
    let last = web.app.readers().journals().last_line(id).await?;
    let is_there = |known: &Known| known.last.is_none_or(|(line, _)| line <= numbers.shown(last));
    let mut known = kept.filter(|known: &Known| known.numbers == numbers && is_there(known)).unwrap_or_default();
    known.numbers = numbers;
    loop {
        let chunks = web.app.readers().journals().chunks_from(id, known.next_chunk, AT_A_TIME).await?;
        let Some(last) = chunks.last() else { break };
        known.next_chunk = last.next();
        known = off_thread(move || {
            for chunk in &chunks {
                for (number, line) in numbered(numbers.shown(chunk.first_line), &chunk.body) {
                    known.steps.line(number, line, chunk.at);
                }
                let last = numbers.shown(chunk.last_line());
                known.last = Some((last, chunk.at));
                known.first.get_or_insert(chunk.at);
                if started.is_none_or(|started| chunk.at < started) {
                    known.image = last;
                }
            }
            known
        })
        .await;
    }
    let mut outlines = web.logs.outlines.0.lock().expect("no holder of the lock panics");
    if outlines.len() >= KEPT {
        outlines.clear();
    }
    outlines.insert(id, known.clone());
    drop(outlines);
    let end = if over { timed.ended_at().or(Some(timed.since)) } else { None };
    let answer = json!({ "lines": known.last.map_or(0, |last| last.0), "steps": outline(&known, started, end) });
    Ok((page::HEADERS, Json(answer)).into_response())
}

/// The steps one after the other, so that each line is in one of them.
fn outline(known: &Known, started: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Vec<serde_json::Value> {
    let all: Vec<&Step> = known.steps.all().iter().filter(|step| step.line > known.image).collect();
    if all.is_empty() && known.image == 0 {
        return Vec::new();
    }
    let last = known.last.map_or(0, |last| last.0);
    let mut steps = Vec::new();
    let took = |from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>| {
        from.zip(to).map(|(from, to)| (to - from).num_milliseconds().max(0))
    };
    if known.image > 0 {
        let ms = took(known.first, started.or(end));
        // Where nothing was started, what is said of the image is all there is.
        let open = started.is_none();
        steps.push(json!({ "title": "Image", "from": 1, "to": known.image, "ms": ms, "own": true, "open": open }));
    }
    let mut from = known.image + 1;
    if all.is_empty() && from <= last {
        steps.push(json!({ "title": "Run", "from": from, "to": last, "ms": took(started, end), "open": true }));
        from = last + 1;
    }
    for (n, step) in all.iter().enumerate() {
        let next = all.get(n + 1);
        if from < step.line {
            steps.push(json!({ "title": if n == 0 { "Start" } else { "" }, "from": from, "to": step.line - 1,
                "ms": if n == 0 { took(started, Some(step.at)) } else { None }, "own": true, "open": n > 0 }));
        }
        let to = step.end.map(|end| end.0).or(next.map(|next| next.line - 1)).unwrap_or(last);
        let to = next.map_or(to, |next| to.min(next.line - 1));
        let until = step.end.map(|end| end.1).or(next.map(|next| next.at)).or(end);
        let ms = until.map(|until| (until - step.at).num_milliseconds().max(0));
        steps.push(json!({
            "title": step.title, "from": step.line, "to": to, "ms": ms, "errors": step.errors, "open": step.open,
        }));
        from = to + 1;
    }
    if from <= last {
        steps.push(json!({ "title": "", "from": from, "to": last, "own": true, "open": true }));
    }
    steps
}
