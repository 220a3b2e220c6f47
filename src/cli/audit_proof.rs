//! `coolops audit prove`, `check-proof`, `key`, `checkpoint` and `fork`: what proves the log to others.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use serde_json::json;

use super::output::{self, Format};
use super::{operate_on_the_log, operator};
use crate::app::App;
use crate::app::checkpoints::Keeping;
use crate::app::history::Named;
use crate::domain::event::{Actor, Event};
use crate::domain::private::{self, Subject};
use crate::keys;
use crate::keys::subject;
use crate::places::Place;
use crate::projections::happened::{actor, happened};
use crate::proof::checkpoint::{LogKey, PublicKey};
use crate::proof::cosignature::{WitnessKey, WitnessPublicKey};
use crate::proof::statement::Statement;
use crate::store::checkpoints::PlaceState;

/// Arguments of `audit prove`.
#[derive(Debug, clap::Args)]
pub struct ProveArgs {
    /// An event's position or id, or a deployment's id or the beginning of it (what is proved is the event that seals what it printed, or else its last one)
    what: String,
    /// Write it to this file
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Arguments of `audit check-proof`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The proof
    file: PathBuf,
    /// The log's public key, as `coolops audit key` printed it; several where it was changed
    #[arg(long, required = true)]
    key: Vec<String>,
    /// The public key of a witness that has to have cosigned; several times for several
    #[arg(long)]
    witness: Vec<String>,
    /// How many of these have to; all of them where it is left out
    #[arg(long, requires = "witness")]
    threshold: Option<usize>,
    #[command(flatten)]
    format: Format,
}

/// Arguments of `audit key`.
#[derive(Debug, clap::Args)]
pub struct KeyArgs {
    /// The log's name, such as coolops.example.com/log; or the witness's
    name: String,
    /// A key for a witness: what this installation cosigns other logs with
    #[arg(long)]
    witness: bool,
    #[command(flatten)]
    format: Format,
}

/// Arguments of `audit fork`.
#[derive(Debug, clap::Args)]
pub struct ForkArgs {
    /// Why this log goes on; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    format: Format,
}

pub(super) fn keys(texts: &[String]) -> Result<Vec<PublicKey>> {
    // It is not shown: it may be the other half.
    texts.iter().map(|text| PublicKey::read(text).context("--key")).collect()
}

/// The shell with other keys and places than those of the configuration, where any are given.
///
/// # Errors
/// When one can't be read.
pub(super) fn believing(app: App, given: &[String], places: &[String]) -> Result<App> {
    if given.is_empty() && places.is_empty() {
        return Ok(app);
    }
    let read = places.iter().map(|place| Ok(Place::read(place)?)).collect::<Result<Vec<_>>>()?;
    let believed = keys(given)?;
    let mut is_believing = true;
    let app = app.with_keeping(|configured| {
        let believed = if believed.is_empty() { configured.believed.clone() } else { believed };
        is_believing = !believed.is_empty();
        let places = if read.is_empty() { configured.places.clone() } else { read };
        Keeping { signer: None, believed, places, ..configured }
    });
    anyhow::ensure!(
        is_believing,
        "no public key is known that checkpoints could be believed by; give it with --key, or set COOLOPS_CHECKPOINT_PUBLIC_KEYS"
    );
    Ok(app)
}

/// Runs `audit prove`.
///
/// # Errors
/// When nothing is named so, no checkpoint covers it, or the database is away.
pub async fn prove(args: ProveArgs) -> Result<ExitCode> {
    let app = operate_on_the_log().await?;
    let event = match app.named(&args.what).await? {
        Named::Event(event) => *event,
        // Of a deployment the event that seals what it printed; what came after that is proved by its position.
        Named::Deployment(id) => {
            let mut stream = app.readers().history().stream(id.0).await?;
            let sealed = stream.iter().rposition(|entry| entry.event().is_ok_and(|event| event.seal().is_some()));
            let at = sealed.or(stream.len().checked_sub(1)).context("it is not in the log")?;
            stream.swap_remove(at)
        }
        Named::Build(id) => app.readers().history().stream(id.0).await?.pop().context("it is not in the log")?,
    };
    let proof = app.prove(&event).await?;
    let text = serde_json::to_string_pretty(&proof)?;
    match args.output {
        Some(path) => {
            std::fs::write(&path, text + "\n").with_context(|| format!("{} can't be written", path.display()))?;
            output::line(&format!("{}: event {} of {}", path.display(), event.position, proof.log));
        }
        None => output::line(&output::harmless(&text)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `audit check-proof`.
///
/// # Errors
/// When the proof proves nothing, and why.
pub fn check(args: &CheckArgs) -> Result<ExitCode> {
    let keys = keys(&args.key)?;
    let path = &args.file;
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let proof = Statement::read(&text)?;
    let opened = proof.check(&keys)?;
    let witnesses = args.witness.iter().map(|text| WitnessPublicKey::read(text).context("--witness"));
    let mut witnesses = witnesses.collect::<Result<Vec<_>>>()?;
    // One that is named twice is one.
    witnesses.sort_by_key(WitnessPublicKey::bytes);
    witnesses.dedup_by_key(|witness| witness.bytes());
    let cosigned = witnesses.iter().filter(|witness| witness.signed(&proof.checkpoint).is_some()).count();
    let wanted = args.threshold.unwrap_or(witnesses.len());
    anyhow::ensure!(cosigned >= wanted, "{cosigned} of these witnesses cosigned its checkpoint; {wanted} have to");
    let event = &proof.event;
    if args.format.json {
        output::json(&json!({ "log": proof.log, "position": event.position, "events": opened.size, "event": event }));
        return Ok(ExitCode::SUCCESS);
    }
    let mut who = Actor::parse(&event.actor).unwrap_or(Actor::System);
    let mut said = Event::parse(&event.kind, event.schema_version, &event.payload);
    // Only the installation itself has the keys to them.
    let mut hide = |_: &Subject, _, text: &mut String| {
        if subject::key_of(text).is_some() {
            "(encrypted)".clone_into(text);
        }
        true
    };
    private::actor(&mut who, &mut hide);
    if let Ok(said) = &mut said {
        private::event(said, Some(&Subject::Operator(String::new())), &mut hide);
    }
    let who = actor(&who);
    let said = said.map_or_else(|_| event.kind.clone().into_owned(), |event| happened(&event));
    let log = output::safe(&proof.log);
    output::line(&format!("Proved: event {} of the {} in {log}.", event.position, opened.size));
    if !witnesses.is_empty() {
        output::line(&format!("Cosigned by {cosigned} of {} witnesses.", witnesses.len()));
    }
    output::line(&format!("{}  {}: {}", output::safe(&event.recorded_at), output::safe(&who), output::safe(&said)));
    if let Some(seal) = &proof.seal {
        output::line(&format!(
            "What it printed is sealed by {}.",
            output::safe(seal["head"].as_str().unwrap_or_default())
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `audit key`.
///
/// # Errors
/// When the name is none.
pub fn key(args: &KeyArgs) -> Result<ExitCode> {
    let seed = keys::random::<32>();
    let (private, public, variable) = if args.witness {
        let private = WitnessKey::form(&args.name, &seed)?;
        let public = WitnessKey::read(&private)?.public().text();
        (private, public, "COOLOPS_WITNESS_KEY")
    } else {
        let private = LogKey::form(&args.name, &seed)?;
        let public = LogKey::read(&private)?.public().text().to_owned();
        (private, public, "COOLOPS_CHECKPOINT_KEY")
    };
    if args.format.json {
        output::json(&json!({ "private": private.expose_secret(), "public": public }));
        return Ok(ExitCode::SUCCESS);
    }
    output::line(private.expose_secret());
    output::hint(&format!(
        "This is {variable}: keep it out of the database and its backups. What others believe it by:\n{public}"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Runs `audit checkpoint`.
///
/// # Errors
/// When nothing can be signed, or a place can't be written to.
pub async fn checkpoint(format: Format) -> Result<ExitCode> {
    let app = operate_on_the_log().await?;
    let signed = app.checkpoint().await?;
    let sent_again = app.refill_places().await?;
    let newest = app.newest_signed().await?;
    let note = match &newest {
        Some(newest) => Some(app.cosigned_note(newest).await?),
        None => None,
    };
    let places = app.store.checkpoints().places().await?;
    let is_configured = |place: &PlaceState| app.places().iter().any(|configured| configured.name() == place.place);
    let failing: Vec<_> = places.iter().filter(|place| place.problem.is_some() && is_configured(place)).collect();
    if format.json {
        let failing: Vec<_> =
            failing.iter().map(|place| json!({ "place": place.place, "problem": place.problem })).collect();
        output::json(
            &json!({ "new": signed.is_some(), "sent_again": sent_again, "size": newest.as_ref().map(|n| n.size), "checkpoint": note, "failing": failing }),
        );
    } else {
        if let Some(note) = note {
            output::line(note.trim_end());
        }
        if sent_again > 0 {
            output::hint(&format!(
                "Sent again what was not there any more: {}.",
                super::audit::count(i64::try_from(sent_again).unwrap_or(i64::MAX), "checkpoint")
            ));
        }
        for place in &failing {
            output::hint(&format!("{}: {}", place.place, place.problem.as_deref().unwrap_or_default()));
        }
    }
    Ok(if failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Runs `audit fork`.
///
/// # Errors
/// When there is nothing to decide, a place can't be read, or the database is away.
pub async fn fork(args: ForkArgs) -> Result<ExitCode> {
    let app = operate_on_the_log().await?;
    let decided = app.decide_fork(&args.reason, &operator()).await?;
    if args.format.json {
        output::json(&decided);
        return Ok(ExitCode::SUCCESS);
    }
    let (first, until) = (decided.decided.after + 1, decided.decided.until);
    if until == 0 {
        output::line("Nothing is given up: every checkpoint is of this log. It is open again, and goes on.");
        return Ok(ExitCode::SUCCESS);
    }
    output::line(&format!(
        "Given up: the history that had {until} events and parts from this one at event {first} or after."
    ));
    output::line(
        "This log goes on. What happened in the other one since they parted is not in it: compare with Slack and with what runs.",
    );
    for place in decided.without {
        output::hint(&format!(
            "The decision is not kept there yet: {place}. A running coolops that signs brings it there; until then an audit with that place alone finds two histories."
        ));
    }
    Ok(ExitCode::SUCCESS)
}
