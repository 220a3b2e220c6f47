//! `coolops audit export` and `check-export`: the log as a file that is checked without the database.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::audit_proof::keys;
use super::operate_on_the_log;
use super::output;
use crate::app::history::reaches;
use crate::proof::chain::{self, Hash};
use crate::proof::checkpoint;
use crate::proof::exported::{COLUMNS, Exported, misfit};
use crate::proof::once::Once;
use crate::proof::tree::{self, Growing};
use crate::store;
use crate::telemetry::causes;

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A JSON object in each line
    Jsonl,
    /// Comma-separated values, with a line of headings
    Csv,
}

/// Arguments of `audit export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How it is written; by default as the file's name ends, else jsonl
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// From this moment on: a time with its zone, how long ago (7d), or a position
    #[arg(long)]
    since: Option<String>,
    /// Until this moment
    #[arg(long, conflicts_with = "follow")]
    until: Option<String>,
    /// Go on with what happens, until it is stopped
    #[arg(long)]
    follow: bool,
    /// What the encrypted names, ids and words of people in each line say, in a field `plain` beside what is hashed
    #[arg(long)]
    plain: bool,
    /// Write to this file; one that is there is gone on with, behind its last whole line
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Arguments of `audit check-export`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The export
    file: PathBuf,
    /// How it is written; by default what its name says
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// A checkpoint that it has to reach; the export begins with the first event then
    #[arg(long, requires = "key")]
    checkpoint: Option<PathBuf>,
    /// The log's public key
    #[arg(long, requires = "checkpoint")]
    key: Vec<String>,
}

impl Form {
    /// What the name of a file says.
    fn by_name(file: &Path) -> Self {
        if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) { Self::Csv } else { Self::Jsonl }
    }
}

/// Where an export is written, and how far it is.
struct Writing {
    form: Form,
    /// Whether private texts are told too.
    plain: bool,
    to: BufWriter<Box<dyn Write + Send>>,
    /// The line that is being written: each has the room of the ones before.
    line: Vec<u8>,
    position: i64,
    link: Vec<u8>,
    until: i64,
    /// Nobody reads any more, or nothing can be written.
    failed: Option<std::io::Error>,
}

impl Writing {
    fn row(&mut self, row: &crate::store::copy_out::Row<'_>) -> bool {
        if row.position > self.until {
            return false;
        }
        let hashes = (row.body_hash, &self.link[..], row.chain_hash);
        let exported = Exported::new(row.position, row.micros_since_2000, &row.header, row.payload, hashes);
        let written = match self.form {
            Form::Jsonl if self.plain => self.json_line(&Told { exported, plain: row.plain() }),
            Form::Jsonl => self.json_line(&exported),
            Form::Csv => csv_line(&exported).and_then(|line| self.to.write_all(&line)),
        };
        (self.position, self.link) = (row.position, row.chain_hash.to_vec());
        self.failed = written.err();
        self.failed.is_none()
    }

    fn json_line(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        let json = std::str::from_utf8(&self.line).map_err(std::io::Error::other)?;
        self.to.write_all(output::harmless(json).as_bytes())?;
        self.to.write_all(b"\n")
    }
}

/// The field of a line that `--plain` adds.
const PLAIN: &str = "plain";

/// A line with what the private texts in it say.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    exported: Exported<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    plain: BTreeMap<&'a str, String>,
}

fn csv_line(exported: &Exported<'_>) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.serialize(exported).map_err(std::io::Error::other)?;
    writer.into_inner().map_err(|e| std::io::Error::other(e.to_string()))
}

/// After so long it is looked again at the latest.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs `audit export`.
///
/// # Errors
/// When a moment can't be read, the file can't be written or is of another log, or the database is away.
pub async fn export(args: Args) -> Result<ExitCode> {
    let form = args.format.unwrap_or_else(|| args.output.as_deref().map_or(Form::Jsonl, Form::by_name));
    ensure!(
        !args.plain || form == Form::Jsonl,
        "--plain goes with --format jsonl alone, and a file whose name ends in .csv is CSV by default: that has no column for it"
    );
    let app = operate_on_the_log().await?;
    let (after, until) = app.range(args.since.as_deref(), args.until.as_deref()).await?;
    let (mut after, until) = (after.unwrap_or(0), until.unwrap_or(i64::MAX));
    let (head, _) = app.store.log().head().await?;
    ensure!(after <= head, "there is no event {}; {}", after + 1, reaches(head));
    let mut is_new = true;
    let to = match &args.output {
        None => Box::new(std::io::stdout()) as Box<dyn Write + Send>,
        Some(path) => {
            let (file, there) = opened(path, form).with_context(|| format!("{} can't be used", path.display()))?;
            if let Some(last) = &there.last {
                let ours = app.readers().history().at(last.position).await?.map(|entry| hex::encode(entry.chain_hash));
                let foreign = format!("{} is an export of another log: nothing is written", path.display());
                ensure!(ours.as_deref() == Some(&last.chain_hash), foreign);
                (after, is_new) = (last.position, false);
                if args.since.is_some() {
                    let last = last.position;
                    output::hint(&format!(
                        "It has the events up to {last} already, and goes on there, whatever --since says."
                    ));
                }
            }
            // Only now is it known to be ours: what was cut off is taken away.
            file.set_len(there.whole)?;
            Box::new(file) as Box<dyn Write + Send>
        }
    };
    let link = match after {
        0 => chain::genesis().to_vec(),
        after => app.readers().history().at(after).await?.map(|before| before.chain_hash).unwrap_or_default(),
    };
    let mut writing = Writing {
        form,
        plain: args.plain,
        to: BufWriter::with_capacity(1 << 16, to),
        line: Vec::new(),
        position: after,
        link,
        until,
        failed: None,
    };
    if form == Form::Csv && is_new {
        writing.to.write_all(format!("{}\n", COLUMNS.join(",")).as_bytes())?;
    }
    let (began, mut is_away, mut is_later) = (after, false, false);
    loop {
        if std::mem::replace(&mut is_later, true) {
            // It may be another one by now: a dump was restored, or somebody wrote it anew.
            let there = app.readers().history().at(writing.position).await;
            match there {
                Err(e) if store::is_away(&e) => {
                    told_away(&mut is_away, &e);
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                there => ensure!(
                    writing.position == 0 || there?.is_some_and(|entry| entry.chain_hash == writing.link),
                    "the database has another log now: event {} is not the one that was written; nothing more is",
                    writing.position
                ),
            }
        }
        let mut events = app.store.wake().events();
        let log = app.store.log();
        let read = match log.head().await {
            // Nothing is new: no connection is opened for that.
            Ok((head, _)) if head <= writing.position => Ok(()),
            Ok(_) if args.plain => log.scan_opened(writing.position, |row| writing.row(row)).await,
            Ok(_) => log.scan(writing.position, |row| writing.row(row)).await,
            Err(e) => Err(e),
        };
        match read {
            Ok(()) => is_away = false,
            // Whoever follows outlives a restart of the database: what is written is whole, and it goes on behind that.
            Err(e) if args.follow && store::is_away(&e) => told_away(&mut is_away, &e),
            Err(e) => return Err(e.into()),
        }
        let flushed = writing.to.flush();
        match writing.failed.take().or(flushed.err()) {
            Some(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Some(e) => return Err(e).context("the export can't be written"),
            None => {}
        }
        if !args.follow {
            break;
        }
        let _ = tokio::time::timeout(AGAIN, events.changed()).await;
        // With whoever reads it, it ends, and not with the next event only.
        if args.output.is_none() && !output::is_read() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    told(began, &writing);
    Ok(ExitCode::SUCCESS)
}

/// Says once that the database is away, until it was there again.
fn told_away(is_away: &mut bool, error: &sqlx::Error) {
    if !std::mem::replace(is_away, true) {
        output::hint(&format!("The database does not answer ({}); it is asked again.", causes(error)));
    }
}

/// Says what was written, to whoever sits there.
fn told(began: i64, writing: &Writing) {
    let (first, last) = (began + 1, writing.position);
    output::hint(&if last < first {
        "There is nothing to export.".to_owned()
    } else {
        format!("Events {first} to {last}. The last link of the chain: {}", hex::encode(&writing.link))
    });
}

/// No line is as long: an event has at most 512 KiB, each byte of it may be written as six, and its texts in plain stand beside it.
const LINE_MAX: u64 = 16 << 20;

/// What is in a file already.
struct There {
    /// Its last whole line.
    last: Option<Exported<'static>>,
    /// How long it is up to there.
    whole: u64,
}

/// Opens a file to go on behind its last whole line. Nothing is changed yet.
fn opened(path: &Path, form: Form) -> Result<(File, There)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    let mut tail = Vec::new();
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => bail!("another export writes to it"),
        // Where there are no locks, nobody can tell.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    file.seek(SeekFrom::Start(length.saturating_sub(LINE_MAX)))?;
    file.read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let whole = length - (tail.len() - end) as u64;
    let (lines, cut_off) = tail.split_at(end);
    let last = lines.split(|b| *b == b'\n').rev().find(|line| !line.is_empty());
    let headings = COLUMNS.join(",");
    let begins_so: &[u8] = if form == Form::Csv { headings.as_bytes() } else { b"{\"position\":" };
    match last {
        // The headings alone are written again.
        Some(last) if form == Form::Csv && last == headings.as_bytes() => Ok((file, There { last: None, whole: 0 })),
        Some(last) => {
            let last = read_line(last, form).context("its last line is no line of an export in this form; --format jsonl and --format csv name the other one")?;
            Ok((file, There { last: Some(last), whole }))
        }
        None => {
            let is_beginning = cut_off.starts_with(begins_so) || begins_so.starts_with(cut_off);
            ensure!(is_beginning, "it is no export: nothing is written");
            Ok((file, There { last: None, whole: 0 }))
        }
    }
}

fn read_line(line: &[u8], form: Form) -> Result<Exported<'static>> {
    Ok(match form {
        Form::Jsonl => {
            let Once(fields) = serde_json::from_slice(line)?;
            let fields = fields.as_object().context("it is no object")?;
            if let Some(what) = misfit(fields, &[PLAIN]) {
                bail!("{what}");
            }
            let are_texts = fields.get(PLAIN).is_none_or(|plain| {
                plain.as_object().is_some_and(|texts| texts.values().all(serde_json::Value::is_string))
            });
            ensure!(are_texts, "what was private in it is not written as an export writes it");
            serde_json::from_slice(line)?
        }
        Form::Csv => {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
            let record = reader.records().next().context("it is empty")??;
            let exported: Exported<'static> = record.deserialize(None)?;
            // Another reader may find rows and columns in it that this one does not look at.
            let is_all = csv_line(&exported)?.strip_suffix(b"\n").is_some_and(|whole| whole == line);
            ensure!(is_all, "there is more in it, or it is written otherwise than an export writes it");
            exported
        }
    })
}

/// Runs `audit check-export`.
///
/// # Errors
/// When something is not as it was recorded: which line, and what.
pub fn check(args: &CheckArgs) -> Result<ExitCode> {
    let form = args.format.unwrap_or_else(|| Form::by_name(&args.file));
    let signed = match &args.checkpoint {
        None => None,
        Some(path) => {
            let note = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
            Some(checkpoint::open(&note, &keys(&args.key)?).with_context(|| path.display().to_string())?)
        }
    };
    let file = File::open(&args.file).with_context(|| format!("{} can't be read", args.file.display()))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut number, mut first, mut last) = (Vec::new(), 0_usize, None, None::<(i64, String)>);
    let (mut growing, mut at_size): (Growing, Option<Hash>) = (Growing::default(), None);
    loop {
        line.clear();
        if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        ensure!((line.len() as u64) < LINE_MAX, "line {number} is no line of an export: it is longer than any");
        ensure!(line.pop() == Some(b'\n'), "line {number} is cut off: the export is not whole");
        if form == Form::Csv && number == 1 {
            ensure!(line == COLUMNS.join(",").as_bytes(), "line 1 is not the headings of an export");
            continue;
        }
        let exported = read_line(&line, form).with_context(|| format!("line {number} is no line of an export"))?;
        let position = exported.position;
        let entry = exported.checked().with_context(|| format!("line {number}, event {position}, was changed"))?;
        match &last {
            Some((before, link)) => {
                let next = before + 1;
                ensure!(position == next, "line {number}: event {next} is missing, the next one is {position}");
                ensure!(
                    exported.previous == *link,
                    "line {number}, event {position}: it does not follow from the line before"
                );
            }
            None => {
                let begins = position == 1 && exported.previous != hex::encode(chain::genesis());
                ensure!(!begins, "line {number}: event 1 does not follow from the beginning of a log");
                first = Some(position);
            }
        }
        if first == Some(1) {
            growing.leaf(tree::leaf(&entry));
            if signed.as_ref().is_some_and(|signed| signed.size == growing.size()) {
                at_size = Some(growing.root());
            }
        }
        last = Some((position, exported.chain_hash));
    }
    let (Some(first), Some((last, link))) = (first, last) else { bail!("there is no event in it") };
    output::line(&format!("Events {first} to {last} fit together. The last link of the chain: {link}"));
    if let Some(signed) = signed {
        ensure!(
            first == 1,
            "it begins with event {first}, so it can't be held against the checkpoint; export from the first event on"
        );
        let size = signed.size;
        let root = at_size
            .with_context(|| format!("it ends with event {last}, and the checkpoint covers {size}: it was cut off"))?;
        ensure!(root == signed.root, "the first {size} events are not those of the checkpoint");
        output::line(&format!("The first {size} are those of the checkpoint."));
    }
    Ok(ExitCode::SUCCESS)
}
