//! `coolops deployment logs`: a log for a terminal, for a pipe, and as it is.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use regex::Regex;

use super::output;
use crate::app::App;
use crate::domain::deployment::{Deployment, State};
use crate::domain::ids::DeploymentId;
use crate::projections::happened;
use crate::store;
use crate::store::journal::Chunk;
use crate::store::tail::Newest;
use crate::terminal::{Row, Screen, numbered};

/// How often it is looked whether there is more.
const POLL: Duration = Duration::from_millis(200);
/// Largest program that a pattern may become, in bytes.
const PATTERN_MAX: usize = 1 << 20;

/// Arguments of `deployment logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id, or the beginning of it
    pub deployment: String,
    /// Go on until it ends; the exit code is the deployment's then: its script's, or 1 where it failed without one
    #[arg(short, long)]
    follow: bool,
    /// Only what was printed since then: so long ago (`90s`, `5m`, `1h30m`, `2d`), or a time (`2026-11-26T10:00:00Z`)
    #[arg(long, value_parser = since)]
    since: Option<Since>,
    /// Only lines with this in it, a regular expression (`(?i)` at its beginning ignores case)
    #[arg(long, value_parser = pattern)]
    grep: Option<Regex>,
    /// The time of each line, in UTC
    #[arg(short, long)]
    timestamps: bool,
    /// The bytes as they were printed, escape sequences and all
    #[arg(long, conflicts_with_all = ["grep", "timestamps"])]
    raw: bool,
}

/// From when on.
#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(Duration),
    Time(DateTime<Utc>),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Since::Time(time.to_utc()));
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        "write how long ago, as in 90s, 5m, 1h30m or 2d, or a time, as in 2026-11-26T10:00:00Z".to_owned()
    })?;
    // Before there were deployments is early enough.
    Ok(Since::Ago(ago.min(Duration::from_hours(24 * 365 * 100))))
}

fn pattern(text: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(text).size_limit(PATTERN_MAX).build().map_err(|e| e.to_string())
}

/// Prints it.
///
/// # Errors
/// That there is no such deployment, or that the database is away.
pub(super) async fn run(app: &App, id: DeploymentId, args: &Args) -> Result<ExitCode> {
    let journals = app.store.journals();
    let mut printed = Printed::default();
    let since = args.since.map(|since| match since {
        Since::Time(at) => at,
        Since::Ago(ago) => app.store.clock().now() - ago,
    });
    if let Some(at) = since {
        let (next_chunk, line) = journals.since(id, at).await?;
        printed = Printed { next_chunk, line, since, ..printed };
    }
    let mut writer = Writer::to(args);
    let mut is_away = false;
    let ended = loop {
        match look(app, id, &mut printed, &mut writer).await {
            Ok(deployment) => {
                is_away = false;
                writer.settle();
                let state = deployment.state();
                // Whoever followed may have seen enough.
                if state.is_over() || !args.follow || state == State::Unknown || !output::is_read() {
                    break deployment;
                }
            }
            // Who follows waits for a database that is away for a moment.
            Err(e) if args.follow && e.downcast_ref().is_some_and(store::is_away) => {
                if !std::mem::replace(&mut is_away, true) {
                    output::hint("… [the database does not answer; it goes on when it does]");
                }
                tokio::time::sleep(POLL * 5).await;
            }
            Err(e) => return Err(e),
        }
        tokio::time::sleep(POLL).await;
    };
    if let Some((recorded, erased)) = app.output_erased(id).await? {
        let words = erased.why.sentence(&happened::actor(&recorded.actor));
        output::hint(&format!("{} ({})", output::safe(&words), output::time(recorded.recorded_at)));
    }
    Ok(if args.follow { exit_code(&ended) } else { ExitCode::SUCCESS })
}

/// Writes what there is since the last look, and tells how the deployment stands.
async fn look(app: &App, id: DeploymentId, printed: &mut Printed, writer: &mut Writer<'_>) -> Result<Deployment> {
    let timed = app
        .store
        .deployments()
        .timed(id)
        .await?
        .with_context(|| format!("there is no deployment {id}; see: coolops deployment list"))?;
    loop {
        let chunks = app.store.journals().chunks_from(id, printed.next_chunk, 64).await?;
        if chunks.is_empty() {
            break;
        }
        for chunk in &chunks {
            if let Some((first, body)) = printed.stored(chunk) {
                writer.lines(first, &body, chunk.at);
            }
        }
    }
    if !timed.deployment.state().is_over() {
        for newest in app.store.tails().after(id, printed.line).await? {
            if printed.newest(&newest) {
                writer.lines(newest.first_line, &newest.body, newest.at);
            }
        }
    }
    Ok(timed.deployment)
}

/// The script's exit code, if it is one; 1 for any other end that is no success.
fn exit_code(deployment: &Deployment) -> ExitCode {
    match (deployment.state(), deployment.stand.exit_code()) {
        (State::Succeeded, _) => ExitCode::SUCCESS,
        (_, Some(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1).max(1)),
        _ => ExitCode::FAILURE,
    }
}

/// How a log is written.
enum Writer<'a> {
    /// Byte for byte.
    Raw,
    /// As a terminal shows it.
    Shown(Box<Shown<'a>>),
}

/// What a terminal shows of a log, row by row. A row that is drawn over after it was written is written again.
struct Shown<'a> {
    screen: Screen,
    grep: Option<&'a Regex>,
    timestamps: bool,
    coloured: bool,
    /// Since which line which time holds.
    times: VecDeque<(i64, DateTime<Utc>)>,
}

impl<'a> Writer<'a> {
    fn to(args: &'a Args) -> Self {
        if args.raw {
            return Self::Raw;
        }
        Self::Shown(Box::new(Shown {
            screen: Screen::new(),
            grep: args.grep.as_ref(),
            timestamps: args.timestamps,
            coloured: output::is_coloured(),
            times: VecDeque::new(),
        }))
    }

    fn lines(&mut self, first: i64, body: &[u8], at: DateTime<Utc>) {
        let Self::Shown(shown) = self else { return output::bytes(body) };
        shown.times.push_back((first, at));
        for (number, line) in numbered(first, body) {
            shown.screen.line(number, line);
            let settled = shown.screen.take_settled();
            shown.write(&settled);
        }
    }

    /// Nothing more comes for now: what may still change is written as it is.
    fn settle(&mut self) {
        if let Self::Shown(shown) = self {
            let changed = shown.screen.take_changed();
            shown.write(&changed);
        }
    }
}

impl Shown<'_> {
    fn write(&mut self, rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        let mut text = String::new();
        for row in rows {
            if self.grep.is_some_and(|pattern| !pattern.is_match(&row.text())) {
                continue;
            }
            if self.timestamps {
                text.push_str(&format!("{} ", self.time_of(row.number)));
            }
            text.push_str(&if self.coloured { row.coloured() } else { row.text() });
            text.push('\n');
        }
        output::bytes(text.as_bytes());
        // Rows that may still change are of the last few lines.
        while self.times.len() > 2 * crate::terminal::ROWS {
            self.times.pop_front();
        }
    }

    fn time_of(&self, number: i64) -> String {
        let of = self.times.iter().rev().find(|(first, _)| *first <= number).or(self.times.front());
        of.map(|(_, at)| at.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
    }
}

/// How far a log is printed. What is shown while a deployment runs is stored in part at its end, and is not printed
/// again then.
#[derive(Default)]
struct Printed {
    next_chunk: i32,
    /// The last line, counted over all that was printed by the container.
    line: i64,
    /// What a line's number in the journal lacks of that.
    ahead: i64,
    /// What was shown before then is not asked for.
    since: Option<DateTime<Utc>>,
}

impl Printed {
    /// What of a chunk is to be printed, and the number of its first line.
    fn stored(&mut self, chunk: &Chunk) -> Option<(i64, Vec<u8>)> {
        self.next_chunk = chunk.next();
        let first = chunk.first_line + self.ahead;
        if chunk.left_out > 0 {
            // The note that stands for lines which whoever watched has seen.
            let is_new = self.line < first + chunk.left_out - 1;
            self.ahead += chunk.left_out - 1;
            self.line = self.line.max(first + chunk.left_out - 1);
            return is_new.then(|| (self.line, chunk.body.clone()));
        }
        let (lines, body) = (i64::from(chunk.lines), chunk.body.clone());
        let piece = Newest { first_line: first, lines, body, at: chunk.at };
        let rest = piece.after(self.line)?;
        self.line = self.line.max(piece.last_line());
        Some((rest.first_line, rest.body))
    }

    /// Whether it is to be printed.
    fn newest(&mut self, piece: &Newest) -> bool {
        if self.since.is_some_and(|since| piece.at < since) {
            self.line = piece.last_line();
            return false;
        }
        if piece.first_line > self.line + 1 {
            output::hint(&format!("… [{} lines are not shown while it runs]", piece.first_line - self.line - 1));
        }
        self.line = piece.last_line();
        true
    }
}
