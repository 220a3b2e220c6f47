//! `coolops audit show`: an event, a deployment or a build, what led to it and what followed.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::operate_on_the_log;
use super::output::{self, Format};
use crate::app::history::Step;
use crate::projections::happened::{actor, happened};
use crate::store::history::Entry;
use crate::telemetry::causes;

/// Arguments of `audit show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An event's position or id, a deployment's id or the beginning of it, or a build's id or name (project/name)
    what: String,
    #[command(flatten)]
    format: Format,
}

/// Runs it.
///
/// # Errors
/// When nothing is named so, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate_on_the_log().await?;
    let subject = app.named(&args.what).await?;
    let trail = app.trail(&subject).await?.context("it is not in the log")?;
    let Some((own, followed)) = trail.followed.split_first() else { anyhow::bail!("it is not in the log") };
    if args.format.json {
        let all = |entries: &[Entry]| entries.iter().map(as_json).collect::<Vec<_>>();
        let below = |step: &Step| {
            let mut value = as_json(&step.entry);
            value["depth"] = json!(step.depth);
            value
        };
        let followed: Vec<Value> = followed.iter().map(below).collect();
        output::json(
            &json!({ "event": as_json(&own.entry), "causes": all(&trail.causes), "followed": followed, "is_cut": trail.is_cut }),
        );
        return Ok(ExitCode::SUCCESS);
    }
    if !trail.causes.is_empty() {
        output::line("It follows from");
        trail.causes.iter().for_each(|cause| output::line(&format!("  {}", line(cause))));
        output::line("");
    }
    output::line(&line(&own.entry));
    if !followed.is_empty() {
        output::line("\nWhat followed");
        for step in followed {
            output::line(&format!("  {}{}", "    ".repeat(step.depth), line(&step.entry)));
        }
    }
    if trail.is_cut {
        output::line("  … and more, which is not told here: coolops audit export has everything");
    }
    output::line("");
    output::json(&as_json(&own.entry));
    Ok(ExitCode::SUCCESS)
}

/// An event on a line.
pub(super) fn line(entry: &Entry) -> String {
    let said = entry.event().map_or_else(|e| causes(&e), |event| happened(&event));
    let who = entry.actor().map_or_else(|_| "somebody".to_owned(), |who| actor(&who));
    let (at, position) = (output::time(entry.recorded_at), entry.position);
    format!("{at}  #{position}  {}: {}", output::safe(&who), output::safe(&said))
}

fn as_json(entry: &Entry) -> Value {
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    json!({
        "position": entry.position, "event_id": entry.event_id, "type": entry.kind, "schema_version": entry.schema_version,
        "recorded_at": entry.recorded_at, "actor": read(&entry.actor), "stream_type": entry.stream_type, "stream_id": entry.stream_id,
        "stream_version": entry.stream_version, "correlation_id": entry.correlation_id, "causation_id": entry.causation_id,
        "fence": entry.fence, "payload": read(&entry.payload), "plain": entry.plain(), "body_hash": hex::encode(&entry.body_hash),
        "chain_hash": hex::encode(&entry.chain_hash),
    })
}
