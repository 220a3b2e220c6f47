//! Lines of a log as a terminal shows them, so many at a time: `GET /deployments/{id}/lines`.
//!
//! **Invariant:** a window is bounded whatever was printed, and costs the same wherever in the log it is. It is drawn
//! from some way before its first line, and some way after its last one, because lines draw over others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::error::HttpError;
use super::link::open;
use super::log_numbers::Numbers;
use super::off_thread::off_thread;
use super::parameters::{Path, Query};
use super::{Parts, Web, page};
use crate::domain::deployment::Deployment;
use crate::domain::ids::DeploymentId;
use crate::terminal::{ROWS, Row, Screen, numbered};

/// Most lines of a window.
pub const LINES_MAX: i64 = 1_000;
/// Most markup of a window, in bytes; a single row may take more.
const HTML_MAX: usize = 256 * 1024;
/// Chunks before the one with the first line, from which it is drawn.
const BEFORE: i32 = 2;
/// Chunks after the one with the last line that may draw over it.
const AFTER: usize = 8;
/// Lines that are shown and not stored yet, before the first of a window, from which it is drawn.
const TAIL_BEFORE: i64 = 5_000;
/// Most markup of the line that has not ended, in bytes.
const BEGUN_MAX: usize = 32 * 1024;
/// Windows that are kept for all who follow.
const KEPT: usize = 32;

/// Lines as markup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Its first line.
    pub from: i64,
    /// Its last line; the one before the first where there is none.
    pub to: i64,
    /// The last line that there is by now.
    pub lines: i64,
    /// The rows of its lines. A line that only drew over others has none.
    pub html: String,
}

/// A window that is drawn once, and waited for by all who ask for it meanwhile.
type Once = Arc<OnceCell<Arc<Window>>>;

/// How long a log was when a window of it was asked for, whether the deployment was over, and the window.
type Kept = (i64, bool, Once);

/// The newest windows, for all who follow the same logs, by what was asked for.
#[derive(Default)]
pub struct Newest(Mutex<HashMap<(DeploymentId, i64, i64), Kept>>);

/// What is asked for.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    key: String,
    /// The first line; none for the last ones.
    from: Option<i64>,
    /// The last line.
    to: Option<i64>,
    /// So many of the last lines.
    last: Option<i64>,
}

/// Handles the request.
///
/// # Errors
/// 404 for a wrong link; 503 when the database is away.
pub async fn lines(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, HttpError> {
    let timed = open(&web, &id, &asked.key).await?.ok_or_else(HttpError::not_found)?;
    let deployment = &timed.deployment;
    let window = match (asked.from, asked.last) {
        (Some(from), _) => {
            let lines = known_line(&web, deployment).await?;
            kept(&web, deployment, from, asked.to.unwrap_or(i64::MAX), lines).await?
        }
        (None, last) => last_lines(&web, deployment, last.unwrap_or(300)).await?,
    };
    Ok((page::HEADERS, Json(&*window)).into_response())
}

/// The last line that there is, stored or not.
pub(super) async fn last_line(web: &Parts, deployment: &Deployment) -> Result<i64, sqlx::Error> {
    let (store, id) = (web.app.readers(), deployment.of.deployment_id);
    let stored = Numbers::of(web, deployment).await?.shown(store.journals().last_line(id).await?);
    // What is held for the end of the log is counted over all that was printed.
    match deployment.state().is_over() {
        true => Ok(stored),
        false => Ok(store.tails().last_line(id).await?.max(stored)),
    }
}

/// The last line as all who watch were told it last: they ask for the same lines then, which are drawn once.
pub(super) async fn known_line(web: &Parts, deployment: &Deployment) -> Result<i64, sqlx::Error> {
    match web.logs.watched.lines(deployment.of.deployment_id) {
        Some(lines) if !deployment.state().is_over() => Ok(lines),
        _ => last_line(web, deployment).await,
    }
}

/// The last lines.
pub(super) async fn last_lines(web: &Parts, deployment: &Deployment, many: i64) -> Result<Arc<Window>, sqlx::Error> {
    let mut many = many.clamp(1, LINES_MAX);
    let lines = known_line(web, deployment).await?;
    let from = (lines - many + 1).max(1);
    let mut window = kept(web, deployment, from, lines, lines).await?;
    // Of long lines fewer fit, and they are the last ones.
    while window.to < window.lines && many > 1 {
        many /= 2;
        window = kept(web, deployment, lines - many + 1, lines, lines).await?;
    }
    Ok(window)
}

/// These lines, drawn once for all who ask for them while the log is as long.
async fn kept(
    web: &Parts,
    deployment: &Deployment,
    from: i64,
    to: i64,
    lines: i64,
) -> Result<Arc<Window>, sqlx::Error> {
    let is_over = deployment.state().is_over();
    let once = {
        let mut newest = web.logs.newest.0.lock().expect("no holder of the lock panics");
        if newest.len() >= KEPT {
            newest.clear();
        }
        let of = newest.entry((deployment.of.deployment_id, from, to)).or_default();
        if (of.0, of.1) != (lines, is_over) {
            *of = (lines, is_over, Once::default());
        }
        Arc::clone(&of.2)
    };
    let draw = async || window(web, deployment, from, to, lines).await.map(Arc::new);
    let window = once.get_or_try_init(draw).await?;
    Ok(Arc::clone(window))
}

/// Lines of a log that has so many, from one to another, as many as fit.
pub(super) async fn window(
    web: &Parts,
    deployment: &Deployment,
    from: i64,
    to: i64,
    lines: i64,
) -> Result<Window, sqlx::Error> {
    let (store, id) = (web.app.readers(), deployment.of.deployment_id);
    let from = from.clamp(1, i64::MAX / 2);
    let to = to.min(from.saturating_add(LINES_MAX - 1)).min(lines);
    let numbers = Numbers::of(web, deployment).await?;
    let mut drawn = Drawn::new(from, to);
    let first = store.journals().chunk_of_line(id, numbers.stored(from)).await?;
    let mut next = (first - BEFORE).max(0);
    let (mut after, mut stored) = (0, 0);
    while !drawn.is_settled() && after <= AFTER {
        let Some(chunk) = store.journals().chunks_from(id, next, 1).await?.pop() else {
            next = i32::MAX;
            break;
        };
        stored = chunk.last_line();
        let first = numbers.shown(chunk.first_line);
        after += usize::from(first > to);
        next = chunk.next();
        drawn = off_thread(move || drawn.with(first, &chunk.body, chunk.at)).await;
    }
    if next == i32::MAX && !deployment.state().is_over() {
        for piece in store.tails().after(id, stored).await? {
            if piece.last_line() < from - TAIL_BEFORE {
                drawn.line = piece.last_line();
                continue;
            }
            if piece.first_line > drawn.line + 1 && drawn.line > 0 && piece.first_line > from {
                drawn.gaps.push((piece.first_line, piece.first_line - drawn.line - 1));
            }
            drawn = off_thread(move || drawn.with(piece.first_line, &piece.body, piece.at)).await;
        }
    }
    Ok(drawn.window(lines))
}

/// What is being drawn.
struct Drawn {
    from: i64,
    to: i64,
    screen: Screen,
    /// The markup of the rows that don't change any more, and the number of the last of them.
    html: String,
    last: i64,
    /// From which line on which time holds, the last ones.
    times: VecDeque<(i64, DateTime<Utc>)>,
    /// The last line that was drawn.
    line: i64,
    /// Before which line how many are not shown while it runs.
    gaps: Vec<(i64, i64)>,
    /// Nothing more fits.
    is_full: bool,
}

impl Drawn {
    fn new(from: i64, to: i64) -> Self {
        Self {
            from,
            to,
            screen: Screen::new(),
            html: String::new(),
            last: 0,
            times: VecDeque::new(),
            line: 0,
            gaps: Vec::new(),
            is_full: false,
        }
    }

    /// The same with more lines.
    fn with(mut self, first: i64, body: &[u8], at: DateTime<Utc>) -> Self {
        self.lines(first, body, at);
        self
    }

    fn lines(&mut self, first: i64, body: &[u8], at: DateTime<Utc>) {
        self.times.push_back((first, at));
        for (number, line) in numbered(first, body) {
            // Nothing reaches further up than a screen.
            if number < self.from - 2 * ROWS as i64 && self.screen.only_moves(line) {
                self.line = number;
                continue;
            }
            self.screen.line(number, line);
            self.line = number;
            // So few that their cells take no memory to speak of.
            if number % 16 == 0 {
                self.take();
                if self.is_settled() {
                    return;
                }
            }
        }
        self.take();
    }

    fn take(&mut self) {
        for row in self.screen.take_gone() {
            let html = if self.has(&row) { row.html(|link| self.screen.link(link)) } else { continue };
            self.add(&row, &html);
        }
    }

    fn has(&self, row: &Row) -> bool {
        !self.is_full && (self.from..=self.to).contains(&row.number)
    }

    fn add(&mut self, row: &Row, text: &str) {
        if !self.has(row) {
            return;
        }
        if self.html.len() > HTML_MAX && row.number > self.last && self.last > 0 {
            (self.to, self.is_full) = (row.number - 1, true);
            return;
        }
        if let Some((_, many)) = self.gaps.iter().find(|(before, _)| *before == row.number && row.nth == 0) {
            let note = format!("<div class=\"note\">{many} lines are not shown here while it runs.</div>");
            self.html.push_str(&note);
        }
        while self.times.get(1).is_some_and(|(first, _)| *first <= row.number) {
            self.times.pop_front();
        }
        let at = self.times.front().map_or(0, |(_, at)| at.timestamp_millis());
        self.html.push_str(&markup(row.number, row.number != self.last, text, at));
        self.last = row.number;
    }

    /// Whether no later line can draw over one of the window's.
    fn is_settled(&self) -> bool {
        self.is_full || (self.line > self.to && self.screen.rows().all(|row| row.number > self.to))
    }

    fn window(mut self, mut lines: i64) -> Window {
        self.take();
        // What was shown a moment ago and is stored now, or not yet: those who ask again see it.
        if !self.is_full && self.line < self.to {
            (self.to, lines) = (self.line.max(self.from - 1), self.line);
        }
        let on_screen: Vec<_> = self.screen.rows().filter(|row| self.has(row)).cloned().collect();
        for row in on_screen {
            let html = row.html(|link| self.screen.link(link));
            self.add(&row, &html);
        }
        Window { from: self.from, to: self.to, lines, html: self.html }
    }
}

/// A row's markup; only the first of its line has the number.
fn markup(number: i64, is_first: bool, text: &str, at: i64) -> String {
    if is_first {
        format!(
            "<div class=\"l\" id=\"L{number}\" data-t=\"{at}\"><a href=\"#L{number}\">{number}</a><span>{text}</span></div>"
        )
    } else {
        format!("<div class=\"l\"><i></i><span>{text}</span></div>")
    }
}

/// The line that is printed now and has not ended, as markup; nothing when nothing of it is seen.
pub(super) fn begun(line: &[u8]) -> String {
    let mut screen = Screen::new();
    screen.begin(1, line);
    let html = screen.rows().last().map(|row| row.html(|link| screen.link(link))).unwrap_or_default();
    // Everybody who watches is sent it, again and again.
    if html.len() > BEGUN_MAX { String::new() } else { html }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window_of(log: &str, from: i64, to: i64) -> Window {
        let mut drawn = Drawn::new(from, to);
        drawn.lines(1, log.as_bytes(), DateTime::UNIX_EPOCH);
        let lines = drawn.line;
        drawn.window(lines)
    }

    #[test]
    fn a_window_has_its_lines_as_they_are_shown_in_the_end() {
        let log = "web  pulling\ndb   pulling\n\x1b[2A\x1b[2Kweb  done\n\x1b[2Kdb   done\nall up\n";
        let window = window_of(log, 1, 2);
        assert!(window.html.contains("id=\"L1\"") && window.html.contains("<span>db   done</span>"), "{}", window.html);
        assert!(!window.html.contains("pulling") && !window.html.contains("all up"));
        assert_eq!(window_of(log, 3, 4).html, "", "lines that only drew over others");
        assert!(window_of(log, 5, 9).html.starts_with("<div class=\"l\" id=\"L5\" data-t=\"0\"><a href=\"#L5\">5</a>"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        /// Lines far above a window are passed over where nobody could tell.
        #[test]
        fn a_window_is_the_same_wherever_drawing_begins(
            lines in proptest::collection::vec("[a-c]{0,6}|[a-c]{0,3}\x1b\\[[0-9]{1,2}[ABCDGHJKLMmr][a-c]{0,3}|\x1b[78M]|a\rb|\x1b\\[[1-9];[1-9]r", 30..400),
            from in 1_i64..400,
        ) {
            let (plain, to) = ("plain\n".repeat(300), from + 300 + 20);
            let log = format!("{}\n{plain}{}\n", lines[..10].join("\n"), lines[10..].join("\n"));
            let mut screen = Screen::new();
            (1..).zip(log.lines()).for_each(|(number, line)| screen.line(number, line.as_bytes()));
            let gone = screen.take_gone();
            let mut whole = String::new();
            let mut last = 0;
            for row in gone.iter().chain(screen.rows()).filter(|row| (from + 300..=to).contains(&row.number)) {
                let html = row.html(|link| screen.link(link));
                whole.push_str(&markup(row.number, row.number != last, &html, 0));
                last = row.number;
            }
            proptest::prop_assert_eq!(window_of(&log, from + 300, to).html, whole);
        }
    }

    #[test]
    fn a_window_is_bounded_and_says_where_it_ends() {
        let window = window_of(&format!("{}\n", "&".repeat(3_000)).repeat(1_000), 1, 1_000);
        assert!(window.html.len() < HTML_MAX + 20_000 && window.to < 100, "{} to {}", window.html.len(), window.to);
        let empty = window_of(&"\n".repeat(5_000), 2_001, 3_000);
        assert_eq!((empty.from, empty.to, empty.html.matches("<div").count()), (2_001, 3_000, 1_000));
    }
}
