//! `coolops explain`: the story of a build's message: each event, and what it changed in what Slack is sent.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::operate;
use super::output::{self, Format};
use crate::app::App;
use crate::app::history::Named;
use crate::domain::ids::BuildId;
use crate::projections::build_card::BuildCard;
use crate::projections::happened::{actor, happened};
use crate::slack::{plain, render};

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
    at: chrono::DateTime<chrono::Utc>,
    said: String,
    /// Lines that went and came in the message.
    changes: Vec<(char, String)>,
    /// When Slack was sent the message as this event left it.
    sent_at: Option<chrono::DateTime<chrono::Utc>>,
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
                json!({ "position": c.position, "at": c.at, "said": c.said, "sent_at": c.sent_at,
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
        if chapter.changes.is_empty() {
            continue;
        }
        output::line(&match chapter.sent_at {
            Some(at) => format!("    sent {}", output::time(at)),
            None => "    not sent by itself: a later one came before its turn, or it is older than 30 days".to_owned(),
        });
    }
    if let Some(shown) = shown {
        let place = shown.ts.map_or_else(|| "not posted".to_owned(), |ts| format!("{} ({ts})", shown.channel));
        output::line(&format!("\nThe message: {place}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn chapters(app: &App, build: BuildId) -> Result<Vec<Chapter>> {
    let events = app.readers().log().build(build).await?;
    let sent = app.store.messages().sends(build).await?;
    let (mut card, mut before) = (None, Vec::new());
    let mut chapters = Vec::new();
    for recorded in &events {
        BuildCard::apply(&mut card, &recorded.event, recorded.recorded_at);
        let Some(card) = &card else { continue };
        let links = app.keys.links(&card.link_key).context("the master key that its links are made with is not set")?;
        let after = plain::lines(&render::render(card, &links));
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
        let sent_at = sent.iter().find(|(position, _)| *position == recorded.position).map(|(_, at)| *at);
        chapters.push(Chapter { position: recorded.position, at: recorded.recorded_at, said, changes, sent_at });
        before = after;
    }
    Ok(chapters)
}
