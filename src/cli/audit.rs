//! `coolops audit …`, `coolops replay` and `coolops replay --verify`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use super::output::{self, Format};
use super::{audit_export, audit_proof, audit_show, operate_on_the_log};
use crate::app::App;
use crate::app::audit::Report;
use crate::app::replay::Phase;
use crate::telemetry::causes;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Change nothing: check the chain, render every message anew and compare it with what Slack was last sent
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    format: Format,
}

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every event's hash, the chain, the checkpoints that are kept outside, every log chunk and every sent payload;
    /// closes the log where a checkpoint that is kept outside is of another history
    Verify(VerifyArgs),
    /// Show an event, a deployment or a build: what led to it, and what followed
    Show(audit_show::Args),
    /// Write the events, with everything that their hashes are made of; with --follow also those to come
    Export(audit_export::Args),
    /// Check an export without the database, and against a checkpoint
    CheckExport(audit_export::CheckArgs),
    /// Write a proof that an event stands in the log that a checkpoint was signed of
    Prove(audit_proof::ProveArgs),
    /// Check a proof with the log's public key alone, without the database
    CheckProof(audit_proof::CheckArgs),
    /// Make a key that signs checkpoints
    Key(audit_proof::KeyArgs),
    /// Sign a checkpoint now, and keep it wherever checkpoints are kept
    Checkpoint(Format),
    /// Decide that this log goes on, although checkpoints outside are of another one
    Fork(audit_proof::ForkArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Public keys that checkpoints are believed by, in place of those of the configuration
    #[arg(long)]
    key: Vec<String>,
    /// Places where checkpoints are kept, in place of those of the configuration; several are separated by commas
    #[arg(long, value_delimiter = ',')]
    checkpoints: Vec<String>,
    #[command(flatten)]
    format: Format,
}

/// Runs `audit`.
///
/// # Errors
/// When the database is away.
pub async fn audit(args: AuditArgs) -> Result<ExitCode> {
    match args.command {
        AuditCommand::Verify(args) => {
            let app = audit_proof::believing(operate_on_the_log().await?, &args.key, &args.checkpoints)?;
            let report = app.audit(false).await?;
            let code = tell(&report, args.format, false);
            // What somebody hands over is looked at; what this installation keeps decides.
            if args.key.is_empty() && args.checkpoints.is_empty() {
                close(&app, &report).await;
            }
            Ok(code)
        }
        AuditCommand::Show(args) => audit_show::run(args).await,
        AuditCommand::Export(args) => audit_export::export(args).await,
        AuditCommand::CheckExport(args) => audit_export::check(&args),
        AuditCommand::Prove(args) => audit_proof::prove(args).await,
        AuditCommand::CheckProof(args) => audit_proof::check(&args),
        AuditCommand::Key(args) => audit_proof::key(&args),
        AuditCommand::Checkpoint(format) => audit_proof::checkpoint(format).await,
        AuditCommand::Fork(args) => audit_proof::fork(args).await,
    }
}

/// Runs `replay`.
///
/// # Errors
/// When the database is away, or an event can't be read.
pub async fn replay(args: ReplayArgs) -> Result<ExitCode> {
    let app = operate_on_the_log().await?;
    if args.verify {
        let report = app.audit(true).await?;
        return Ok(tell(&report, args.format, true));
    }
    let progress = output::Progress::begin();
    let rebuilt = app
        .rebuild_telling(&|phase, done, of| match phase {
            Phase::Comparing => progress.tell("Comparing with rows", done, of),
            Phase::Folding => progress.tell("Folding events", done, of),
            Phase::Replacing => progress.say(&format!("Replacing rows that differ: table {} of {of}", done + 1)),
        })
        .await;
    progress.end();
    let rebuilt = rebuilt?;
    if args.format.json {
        output::json(&rebuilt);
    } else {
        output::line(&format!("Folded {} events.", rebuilt.events));
        let row = |t: &crate::store::rebuild::Swapped| {
            let changed = if t.removed == 0 && t.written == 0 {
                "as they were".to_owned()
            } else {
                format!("{} removed, {} written", t.removed, t.written)
            };
            vec![t.table.to_owned(), t.rows.to_string(), changed]
        };
        output::table(&["PROJECTION", "ROWS", "SWAPPED IN"], &rebuilt.tables.iter().map(row).collect::<Vec<_>>());
        if rebuilt.work_found > 0 {
            output::line(&format!(
                "Found {} pieces of owed work that no job stood for; they are queued.",
                rebuilt.work_found
            ));
        }
        for damaged in &rebuilt.damaged {
            output::line(&format!("Left out: {damaged}"));
        }
        for halted in &rebuilt.halted {
            output::line(&format!("Halted there, and left as it was: {halted}"));
        }
    }
    Ok(if rebuilt.damaged.is_empty() && rebuilt.halted.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Where what was signed and the log are two histories nothing is recorded until an operator has decided.
async fn close(app: &App, report: &Report) {
    match app.close_where_histories_part(report).await {
        Ok(None) => {}
        Err(e) => output::hint(&format!("These are two histories, and the log can't be closed: {}", causes(&e))),
        Ok(Some(why)) => output::hint(&format!(
            "The log is closed until you decide (docs/PROOF.md, \"Two histories\"): {}",
            output::safe(&why)
        )),
    }
}

/// `1 message`, `2 messages`.
pub(super) fn count(n: i64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What was not held against the log, and why.
fn tell_unchecked(report: &Report) {
    for (key, messages) in &report.unchecked {
        let messages = count(*messages as i64, "message");
        output::line(&format!(
            "UNCHECKED  {messages} with links of the master key {key}, which is not set; add it to COOLOPS_MASTER_KEY_PREVIOUS"
        ));
    }
    for (key, checkpoints) in &report.codes_unchecked {
        let checkpoints = count(*checkpoints as i64, "checkpoint");
        output::line(&format!(
            "UNCHECKED  whether what was signed before {checkpoints} is all there: their codes are under the master key {key}, which is not set; add it to COOLOPS_MASTER_KEY_PREVIOUS"
        ));
    }
    if let Some(why) = &report.closed {
        output::line(&format!(
            "CLOSED  nothing is recorded any more until an operator decides (docs/PROOF.md, \"Two histories\"): {}",
            output::safe(why)
        ));
    }
    for key in &report.locked {
        output::line(&format!(
            "UNCHECKED  what tells of people whose names are under the master key {key}, which is not set; add it to COOLOPS_MASTER_KEY_PREVIOUS"
        ));
    }
    if report.rows_unchecked && !report.is_erasing && report.locked.is_empty() {
        output::line("UNCHECKED  messages, and rows of projects and deployments: a key of private texts was changed");
    }
    if report.is_erasing {
        output::line(
            "UNCHECKED  rows of projects and deployments: something is being erased; look again when that is done",
        );
    }
}

fn tell(report: &Report, format: Format, messages: bool) -> ExitCode {
    let is_whole = report.unchecked.is_empty()
        && report.codes_unchecked.is_empty()
        && report.locked.is_empty()
        && !report.is_erasing
        && report.closed.is_none();
    let well = report.findings.is_empty() && is_whole;
    let code = if well { ExitCode::SUCCESS } else { ExitCode::from(1) };
    if format.json {
        let mut told = serde_json::to_value(report).unwrap_or_default();
        told["well"] = well.into();
        output::json(&told);
        return code;
    }
    for finding in &report.findings {
        let at = finding.position.map(|position| format!(", at {position}")).unwrap_or_default();
        output::line(&format!("CHANGED  {} ({}{at})", output::safe(&finding.said), finding.kind.as_str()));
    }
    if report.more_findings > 0 {
        output::line(&format!("… and {} more of these kinds.", report.more_findings));
    }
    if !report.findings.is_empty() {
        output::line(
            "What is listed is not as it was written. Compare with a backup, and find out who can write to this database.",
        );
        tell_unchecked(report);
        return code;
    }
    output::line(&format!("The chain of {} events is whole. Head: {}", report.events, report.head));
    if report.checkpoints > 0 {
        let fit = if report.checkpoints == 1 { "is" } else { "are" };
        let checkpoints = count(report.checkpoints as i64, "checkpoint");
        let (outside, covered) = (report.outside, report.covered);
        output::line(&format!(
            "{checkpoints} {fit} of this log, {outside} of them kept outside; the newest covers {covered} events."
        ));
    }
    if report.given_up > 0 {
        let given_up = count(report.given_up as i64, "checkpoint");
        output::line(&format!("Of a history that was given up, as a signed decision says: {given_up}."));
    }
    if !report.kept_outside {
        output::line(
            "No checkpoints are kept outside: somebody who computes the whole chain anew is not found out (docs/PROOF.md).",
        );
    }
    output::line(&format!("The output of {} is as it was written.", count(report.journals as i64, "deployment")));
    if messages || report.messages > 0 {
        let messages = count(report.messages as i64, "message");
        let equal = if report.messages == 1 { "equals" } else { "equal" };
        output::line(&format!(
            "{messages}, rendered anew from the events, {equal} what Slack was last sent, byte for byte."
        ));
    }
    if report.messages_as_noted > 0 {
        let n = count(report.messages_as_noted as i64, "message");
        let (are, have) =
            if report.messages_as_noted == 1 { ("is", "its row has") } else { ("are", "their rows have") };
        output::line(&format!(
            "What Slack was sent of {n} {are} as it was noted then: {have} a code under the master key."
        ));
    }
    if report.messages_of_other_versions > 0 {
        let n = count(report.messages_of_other_versions as i64, "message");
        output::line(&format!(
            "{n} of another version of the renderer can't be rendered anew: what was stored of each is of its digest, and no more is known."
        ));
    }
    tell_unchecked(report);
    if report.messages_behind > 0 {
        output::line(&format!("{} to be brought up to date.", count(report.messages_behind, "message")));
    }
    code
}
