//! `coolops explain`: the story of a build's message: each event, and what it changed in what Slack is sent, as this version
//! of coolops renders it.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::operate;
use super::output::{self, Format};
use crate::app::App;
use crate::app::history::Named;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::BuildId;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::happened::{actor, happened};
use crate::slack::plain::{self, Names};
use crate::slack::render;
use crate::store::messages::{MessageState, SENDS_KEPT_DAYS};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The build's id or name (project/name)
    build: String,
    #[command(flatten)]
    format: Format,
}

/// One event of the story.
struct Chapter {
    position: i64,
    at: DateTime<Utc>,
    said: String,
    /// Lines that went and came in the message.
    changes: Vec<(char, String)>,
    sent: Sent,
}

/// What became of what an event changed in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It changed nothing there.
    Nothing,
    /// Slack was sent it.
    At(DateTime<Utc>),
    /// It was left out: a later one came before its turn, and Slack was sent both with that.
    With(i64, DateTime<Utc>),
    /// It is still to be sent.
    Owed,
    /// Slack has no message of it any more.
    Gone,
    /// It is older than what is kept of that.
    Unknown,
}

impl Sent {
    fn words(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::At(at) => format!("sent {}", output::time(at)),
            Self::With(position, at) => {
                format!("left out: #{position} came before its turn, and was sent {} with this in it", output::time(at))
            }
            Self::Owed => "not sent yet".to_owned(),
            Self::Gone => "not sent: the message is gone".to_owned(),
            Self::Unknown => format!("not known any more: what was sent when is kept for {SENDS_KEPT_DAYS} days"),
        })
    }

    fn as_json(self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::At(at) => json!({ "at": at }),
            Self::With(position, at) => json!({ "left_out_for": position, "at": at }),
            Self::Owed => json!({ "owed": true }),
            Self::Gone => json!({ "gone": true }),
            Self::Unknown => json!({ "unknown": true }),
        }
    }
}

/// Runs it.
///
/// # Errors
/// When there is no such build, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let Named::Build(build) = app.named(&args.build).await? else { bail!("{} is no build", output::safe(&args.build)) };
    let chapters = chapters(&app, build).await?;
    let shown = app.store.messages().get(build).await?;
    if args.format.json {
        let all: Vec<Value> = chapters
            .iter()
            .map(|c| {
                json!({ "position": c.position, "at": c.at, "said": c.said, "sent": c.sent.as_json(),
                "changes": c.changes.iter().map(|(sign, line)| format!("{sign}{line}")).collect::<Vec<_>>() })
            })
            .collect();
        output::json(&all);
        return Ok(ExitCode::SUCCESS);
    }
    for chapter in &chapters {
        output::line(&format!("{}  #{}  {}", output::time(chapter.at), chapter.position, output::safe(&chapter.said)));
        for (sign, line) in &chapter.changes {
            output::line(&format!("    {sign} {}", output::safe(line)));
        }
        if let Some(words) = chapter.sent.words() {
            output::line(&format!("    {words}"));
        }
    }
    if let Some(shown) = shown {
        let place = shown.ts.map_or_else(|| "not posted".to_owned(), |ts| format!("{} ({ts})", shown.channel));
        output::line(&format!("\nThe message: {place}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn chapters(app: &App, build: BuildId) -> Result<Vec<Chapter>> {
    let events = app.readers().log().build(build).await?;
    let sends = app.store.messages().sends(build).await?;
    let names = Names::of(&events);
    let shown = app.store.messages().get(build).await?;
    // Where Slack refused the layout, it was sent text.
    let is_plain = shown.as_ref().is_some_and(|shown| shown.plain);
    let render = |card: &BuildCard, links: &Links| match is_plain {
        true => render::render_plainly(card, links),
        false => render::render(card, links),
    };
    let (mut card, mut before) = (None, Vec::new());
    let mut chapters = Vec::new();
    for (recorded, now) in events.iter().zip(BuildCard::after_each(&events)) {
        card = now;
        let Some(card) = &card else { continue };
        let links = app.keys.links(&card.link_key).context("the master key that its links are made with is not set")?;
        let after = plain::lines(&render(card, &links), &names);
        let (old, new): (Vec<&str>, Vec<&str>) =
            (before.iter().map(String::as_str).collect(), after.iter().map(String::as_str).collect());
        let changes = TextDiff::from_slices(&old, &new)
            .iter_all_changes()
            .filter_map(|change| match change.tag() {
                ChangeTag::Delete => Some(('-', change.value().to_owned())),
                ChangeTag::Insert => Some(('+', change.value().to_owned())),
                ChangeTag::Equal => None,
            })
            .collect();
        let said = format!("{}: {}", actor(&recorded.actor), happened(&recorded.event));
        chapters.push(Chapter {
            position: recorded.position,
            at: recorded.recorded_at,
            said,
            changes,
            sent: Sent::Nothing,
        });
        before = after;
    }
    let kept_since = app.store.clock().now() - TimeDelta::days(SENDS_KEPT_DAYS);
    let is_gone = shown.as_ref().is_some_and(|sent| sent.state == MessageState::Gone);
    // Posted again, a message says what comes of that before the log does: nobody edits it then.
    let links = card.as_ref().and_then(|card| Some((card, app.keys.links(&card.link_key)?)));
    let now = links.map(|(card, links)| render::digest(&render(card, &links).bytes()).to_vec());
    let is_shown = now.is_some() && shown.and_then(|sent| sent.sent_digest) == now;
    let last = sends.iter().map(|(_, at)| *at).max().filter(|_| is_shown);
    let changes: Vec<i64> = chapters.iter().filter(|c| !c.changes.is_empty()).map(|c| c.position).collect();
    let is_posted = |r: &&Recorded| matches!(r.event, Event::MessagePosted(_));
    let posted: Vec<i64> = events.iter().filter(is_posted).map(|r| r.position).collect();
    for chapter in chapters.iter_mut().filter(|chapter| !chapter.changes.is_empty()) {
        // What says that it was posted again was in what was posted.
        let post = sends.iter().filter(|(_, at)| *at <= chapter.at).max_by_key(|(_, at)| *at);
        if let (true, Some((_, at))) = (posted.contains(&chapter.position), post) {
            chapter.sent = Sent::At(*at);
            continue;
        }
        // What came first of all that told of it, and the newest change that this told of.
        let told = sends.iter().filter(|(position, _)| *position >= chapter.position).min_by_key(|(_, at)| *at);
        let newest = |position: i64| changes.iter().copied().rfind(|change| *change <= position);
        chapter.sent = match told.map(|(position, at)| (newest(*position), *at)) {
            // It may have been sent before, and that be forgotten.
            _ if chapter.at < kept_since => Sent::Unknown,
            Some((Some(with), at)) if with == chapter.position => Sent::At(at),
            Some((Some(with), at)) => Sent::With(with, at),
            Some((None, at)) => Sent::At(at),
            None if is_gone => Sent::Gone,
            None => last.map_or(Sent::Owed, Sent::At),
        };
    }
    Ok(chapters)
}
