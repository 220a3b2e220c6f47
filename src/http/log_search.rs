//! Looking for something in a whole log: `GET /deployments/{id}/search`.
//!
//! **Invariant:** one search is one pass, and a time limit: what was not looked at is said.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::json;

use super::error::HttpError;
use super::link::open;
use super::log_numbers::Numbers;
use super::off_thread::off_thread;
use super::parameters::{Path, Query};
use super::{Web, page};
use crate::store::journal::Chunk;
use crate::terminal::{numbered, text};

/// Most lines that are named; more are counted.
const NAMED: usize = 10_000;
/// How long a search may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest pattern, in bytes, and the largest program that it may become.
const PATTERN_MAX: usize = 1_000;
const PROGRAM_MAX: usize = 1 << 18;
/// Chunks that are read at a time.
const AT_A_TIME: i64 = 32;

/// What is asked for.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    key: String,
    #[serde(default)]
    q: String,
    /// `1` for a regular expression.
    #[serde(default)]
    regex: String,
}

/// Handles the request.
///
/// # Errors
/// 400 for a pattern that can't be read; 404 for a wrong link; 503 when the database is away.
pub async fn search(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, &asked.key).await?.ok_or_else(HttpError::not_found)?;
    let id = timed.deployment.of.deployment_id;
    let pattern = pattern(&asked.q, asked.regex == "1").map_err(|why| HttpError(StatusCode::BAD_REQUEST, why))?;
    let _turn = web.room.work().await?;
    let numbers = Numbers::of(&web, &timed.deployment).await?;
    let (store, deadline) = (web.app.readers(), Instant::now() + LIMIT);
    let (mut named, mut hits, mut next, mut searched) = (Vec::new(), 0_usize, 0, 0);
    let mut whole = true;
    loop {
        let chunks = store.journals().chunks_from(id, next, AT_A_TIME).await?;
        let Some(last) = chunks.last() else { break };
        (next, searched) = (last.next(), numbers.shown(last.last_line()));
        let pattern = pattern.clone();
        let in_each = off_thread(move || -> Vec<Found> {
            let look = |c: &Chunk| lines_with(numbers.shown(c.first_line), &c.body, &pattern, deadline);
            chunks.iter().map(look).collect()
        });
        for found in in_each.await {
            hits += found.lines.len();
            named.extend(found.lines.into_iter().take(NAMED - named.len()));
            whole &= found.whole;
        }
        if !whole {
            break;
        }
    }
    if whole && !timed.deployment.state().is_over() {
        for piece in store.tails().after(id, searched).await? {
            let (pattern, last) = (pattern.clone(), piece.last_line());
            let found = off_thread(move || lines_with(piece.first_line, &piece.body, &pattern, deadline)).await;
            hits += found.lines.len();
            named.extend(found.lines.into_iter().take(NAMED - named.len()));
            (searched, whole) = (last, whole && found.whole);
        }
    }
    let answer = json!({ "hits": hits, "lines": named, "searched": searched, "whole": whole });
    Ok((page::HEADERS, Json(answer)).into_response())
}

/// What is looked for: letters in either case, unless one of them is a capital.
fn pattern(text: &str, is_regex: bool) -> Result<Regex, String> {
    if text.is_empty() {
        return Err("write what to look for".to_owned());
    }
    if text.len() > PATTERN_MAX {
        return Err(format!("what is looked for has at most {PATTERN_MAX} bytes"));
    }
    let source = if is_regex { text.to_owned() } else { regex::escape(text) };
    RegexBuilder::new(&source)
        .case_insensitive(!text.chars().any(char::is_uppercase))
        .size_limit(PROGRAM_MAX)
        .build()
        .map_err(|e| format!("this regular expression can't be read: {e}"))
}

/// Lines that were found, and whether all were looked at.
struct Found {
    lines: Vec<i64>,
    whole: bool,
}

fn lines_with(first: i64, body: &[u8], pattern: &Regex, deadline: Instant) -> Found {
    let mut found = Found { lines: Vec::new(), whole: true };
    for (number, line) in numbered(first, body) {
        // A line takes a moment at most; a clock is not asked at each.
        if (number % 64 == 0 || line.len() > 1_000) && Instant::now() > deadline {
            found.whole = false;
            break;
        }
        if is_match(line, pattern) {
            found.lines.push(number);
        }
    }
    found
}

/// Whether it is in what is shown of a line.
fn is_match(line: &[u8], pattern: &Regex) -> bool {
    match text::is_plain(line) {
        true => pattern.is_match(line),
        false => pattern.is_match(text::of_line(line).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(log: &str, q: &str, is_regex: bool) -> Vec<i64> {
        lines_with(5, log.as_bytes(), &pattern(q, is_regex).unwrap(), Instant::now() + LIMIT).lines
    }

    #[test]
    fn what_is_seen_is_found_and_what_is_not_isn_t() {
        let log = "one\n\x1b[31mEr\x1b[1mror\x1b[0m: two\nbefore\rafter.\n";
        assert_eq!(found(log, "error: t", false), [6]);
        assert_eq!(found(log, "Error", false), [6]);
        assert_eq!(found(log, "ERROR", false), Vec::<i64>::new());
        assert_eq!(found(log, "before", false), Vec::<i64>::new());
        assert_eq!(found(log, ".", false), [7]);
        assert_eq!(found(log, "^(one|after)", true), [5, 7]);
    }

    #[test]
    fn a_pattern_that_can_t_be_read_says_why() {
        assert!(pattern("(", true).unwrap_err().contains("can't be read"));
        assert!(pattern("(", false).is_ok());
        assert!(pattern("a{1000}{1000}", true).is_err());
        assert!(pattern("", false).is_err() && pattern(&"x".repeat(2_000), false).is_err());
    }
}
