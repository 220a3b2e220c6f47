//! `coolops at`: what was where at a moment, and what changed between two.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::{operate, status, with_address};
use crate::app::App;
use crate::app::history::{NotTold, When};
use crate::app::travel::{Board, Difference, between};
use crate::domain::moment::Moment;

/// Arguments of `at`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A position in the log, a time with its zone (2026-11-27T14:00Z), or how long ago (30m, 12h, 7d)
    moment: String,
    /// Only this project's environments
    #[arg(long)]
    project: Option<String>,
    /// What changed from that moment to this one, in place of how it stood
    #[arg(long)]
    until: Option<String>,
    /// Print the address of the page with all projects as well: whoever has it sees all projects, then and now, until there is another master key
    #[arg(long, conflicts_with = "until")]
    link: bool,
    #[command(flatten)]
    format: Format,
}

async fn when(app: &App, written: &str) -> Result<When> {
    Ok(app.when(Moment::parse(written, app.store.clock().now())?).await?)
}

fn shown(when: When) -> String {
    format!("event {}, {}", when.position, output::time(when.at))
}

/// Runs it.
///
/// # Errors
/// When a moment can't be read or is not in the log, there is no such project, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    if args.link {
        with_address(&app)?;
    }
    let only = match &args.project {
        Some(slug) => Some(app.project_named(slug).await?.id),
        None => None,
    };
    let board = app.board(when(&app, &args.moment).await?, only).await?;
    let not_told = |board: &Board| board.unread.iter().for_each(|one| output::hint(&output::safe(&one.sentence())));
    let untold = |boards: &[&Board]| -> BTreeSet<String> {
        boards.iter().flat_map(|board| &board.unread).map(NotTold::sentence).collect()
    };
    not_told(&board);
    if let Some(until) = &args.until {
        let after = app.board(when(&app, until).await?, only).await?;
        not_told(&after);
        let reversed = "--until is before the moment that it is told from; write the earlier one first";
        let key = |board: &Board| (board.when.position, board.when.at);
        anyhow::ensure!(key(&board) <= key(&after), reversed);
        let differences = between(&board, &after);
        if args.format.json {
            let row = |d: &Difference| json!({ "project": d.project, "environment": d.environment, "what": d.what });
            let all: Vec<Value> = differences.iter().map(row).collect();
            let untold = untold(&[&board, &after]);
            output::json(
                &json!({ "from": board.when.position, "from_at": board.when.at, "until": after.when.position, "until_at": after.when.at, "changed": all, "untold": untold }),
            );
        } else {
            output::line(&format!("From {} to {}:", shown(board.when), shown(after.when)));
            let rows: Vec<_> = differences
                .iter()
                .map(|d| vec![d.project.clone(), output::safe(&d.environment), output::safe(&d.what)])
                .collect();
            output::table(&["PROJECT", "ENVIRONMENT", "WHAT CHANGED"], &rows);
        }
        return Ok(whole(&[&board, &after]));
    }
    let link = args.link.then(|| {
        let key = app.keys.board_links().capability("board", uuid::Uuid::nil());
        format!("{}/board?at={}&key={key}", app.public_url, board.when.position)
    });
    if args.format.json {
        let all: Vec<Value> =
            board.projects.iter().flat_map(|(p, all)| all.iter().map(|s| status::as_json(p, s))).collect();
        output::json(
            &json!({ "position": board.when.position, "at": board.when.at, "environments": all, "link": link, "untold": untold(&[&board]) }),
        );
    } else {
        output::line(&format!("As of {}:", shown(board.when)));
        let rows: Vec<_> = board.projects.iter().flat_map(|(p, all)| all.iter().map(|s| status::row(p, s))).collect();
        output::table(&["PROJECT", "ENVIRONMENT", "RAN", "SINCE", "BY", "THEN"], &rows);
    }
    if let (Some(link), false) = (link, args.format.json) {
        output::line(&format!("\n{link}"));
    }
    Ok(whole(&[&board]))
}

/// Whoever reads this with a program learns that something is missing.
fn whole(boards: &[&Board]) -> ExitCode {
    if boards.iter().all(|board| board.unread.is_empty()) { ExitCode::SUCCESS } else { ExitCode::from(1) }
}
