//! Checking the log: that its chain holds, and that what stands beside it is what it says: checkpoints, messages, output, keys
//! and rows.
//!
//! One pass over the events, on two threads: one follows the chain, the other takes in what the events say. Rows that are held
//! against that are summed up, and messages' bytes hashed, at the same time. What an audit holds grows with the builds and deployments, some hundred bytes each, not with events and output.

mod aside;
mod chain;
mod messages;
mod output;
mod rows;
mod subject_keys;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use self::aside::Aside;
use self::chain::Chain;
use self::messages::Messages;
use self::output::Output;
use self::rows::LogRows;
use self::subject_keys::SubjectKeys;
use super::App;
use super::anchors::{Anchors, Judged};
use super::finding::{Finding, Kind};
use super::replay::unread;
use crate::domain::event::Event;
use crate::domain::ids::{BuildId, DeploymentId};
use crate::store::copy_out::Row;
use crate::telemetry::causes;

/// What an audit found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Events whose chain was checked.
    pub events: i64,
    /// The chain's head, hex: what to compare with one kept elsewhere.
    pub head: String,
    /// Checkpoints that are of this log.
    pub checkpoints: usize,
    /// How many events the newest of them covers.
    pub covered: u64,
    /// How many of these are kept outside.
    pub outside: usize,
    /// Checkpoints of histories that don't go on, as somebody with the key decided.
    pub given_up: usize,
    /// Whether any place outside was looked at.
    pub kept_outside: bool,
    /// Output journals checked.
    pub journals: usize,
    /// Messages rendered anew and compared with what Slack was last sent.
    pub messages: usize,
    /// Messages whose rows have a code under the master key that is right: not rendered anew, and as they were noted.
    pub messages_as_noted: usize,
    /// Messages sent by another version of the renderer, without such a code: only their stored bytes were checked.
    pub messages_of_other_versions: usize,
    /// Messages that Slack has not been sent the latest of yet.
    pub messages_behind: i64,
    /// Messages that can't be compared because a master key is missing, by the missing key's id.
    pub unchecked: BTreeMap<String, usize>,
    /// Checkpoints of which nobody can tell whether those signed before them are all there, because a master key is missing, by the
    /// missing key's id.
    pub codes_unchecked: BTreeMap<String, usize>,
    /// What is not as it was written: position or place, and field. Empty when all is well.
    pub findings: Vec<Finding>,
    /// Master keys that names in events are under, and that aren't set: what tells of these was not compared.
    pub locked: BTreeSet<String>,
    /// Rows were not held against the log, because something is being erased from both, or can't be opened.
    pub rows_unchecked: bool,
    /// Why nothing is recorded any more; none while the log is open.
    pub closed: Option<String>,
    /// Somebody is at erasing something: what was erased is not out of all rows yet.
    pub is_erasing: bool,
    /// Findings beside those.
    pub more_findings: usize,
    /// That a checkpoint which is kept outside is of another history.
    #[serde(skip)]
    pub two_histories: Option<String>,
    /// Where an operator had decided last which history goes on, when the audit began.
    #[serde(skip)]
    decided_at: Option<i64>,
}

/// An event that is older than this is covered by a checkpoint outside, where there are any.
const COVERED_WITHIN: Duration = Duration::from_mins(10);

/// Findings of one kind past this many are not listed: one early change breaks every later link.
const FINDINGS_MAX: usize = 20;

impl Report {
    fn find(&mut self, finding: Finding) {
        if self.findings.iter().filter(|other| other.kind == finding.kind).count() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}

/// What can be told of what was read.
#[derive(Debug, Clone, Copy)]
struct Trust {
    /// The chain holds to its end.
    is_sound: bool,
    /// Everything could be opened: what can't be is shown as something else than it says.
    is_comparable: bool,
}

/// What the events that were read so far say of each thing that stands beside the log.
struct Beside<'a> {
    app: &'a App,
    report: Report,
    messages: Messages,
    output: Output,
    keys: SubjectKeys,
    rows: LogRows,
}

impl App {
    /// Checks the chain, the journals and what Slack was sent; with `messages` also renders every message anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, messages: bool) -> Result<Report, sqlx::Error> {
        let decided_at = self.store.checkpoints().decided_at().await?;
        let (evidence, looked) = (self.evidence().await?, Instant::now());
        // Without a key nobody can tell what was decided, and the event has to do.
        let may_have_parted = !evidence.forks.is_empty() || self.keeping.believed.is_empty();
        let head = self.store.log().head_there().await?;
        let mut report = Report { decided_at, ..Report::default() };
        // Before the events: what is sent later is made of later ones.
        let messages = Messages::as_sent(self.store.messages().all().await?, messages, &mut report);
        let store = self.store.clone();
        let mut with_other_bytes = Aside::begin(async move { store.messages().with_other_bytes().await });
        let output = Output::of(self.store.journals().all().await?);
        let mut snapshot = self.store.snapshot().await?;
        let rows = LogRows::of(&mut snapshot, &self.store).await?;
        let mut beside = Beside { app: self, report, messages, output, keys: SubjectKeys::default(), rows };
        let chain = Chain::of(head, Anchors::of(evidence));
        let (mut snapshot, chain) = snapshot.events_checked(chain, Chain::goes_on, |row| beside.event(row)).await?;
        let Beside { mut report, messages, output, mut keys, mut rows, .. } = beside;
        report.locked = snapshot.locked();
        let is_comparable = report.locked.is_empty() && !keys.are_changed();
        let trust = Trust { is_sound: !chain.is_broken(), is_comparable };
        // As of the moment of the events.
        rows.compare(&mut snapshot, trust).await?;
        keys.look_up(&mut snapshot, trust).await?;
        snapshot.close().await?;
        let (anchors, head_time) = chain.check(self, &mut report).await?;
        messages.check(self, with_other_bytes.end().await?, trust, &mut report).await?;
        report.codes_unchecked.clone_from(&anchors.unknown_codes);
        let judged = anchors.judge(!trust.is_sound);
        self.check_cover(&judged, trust, looked.elapsed(), &mut report).await?;
        self.check_checkpoints(judged, trust, &mut report);
        if !report.findings.iter().any(|finding| finding.kind == Kind::RewrittenHead) {
            head_time.into_iter().for_each(|finding| report.find(finding));
        }
        report.closed = self.store.checkpoints().closed().await?;
        for said in self.store.unguarded().await? {
            report.find(Finding::of(Kind::Unguarded, said));
        }
        report.is_erasing = keys.check(self, trust, &mut report).await?;
        report.rows_unchecked = report.is_erasing || !trust.is_comparable;
        // Where the log can't be read to its end, nobody knows what is over.
        let is_open = |deployment| !trust.is_sound || rows.is_open(deployment);
        output.check(self, is_open, may_have_parted, &mut report).await?;
        // While somebody is being erased their rows are made anew.
        if trust.is_sound && !report.rows_unchecked {
            rows.check(self, &mut report).await?;
        }
        report.messages_behind = self.store.messages().behind().await?;
        Ok(report)
    }

    /// Whether what is kept outside goes as far as the log, but for the last minutes: what it does not cover can be written anew,
    /// and nothing tells of it.
    /// What came since the places were looked at, `ago`, is not blamed.
    async fn check_cover(
        &self,
        judged: &Judged,
        trust: Trust,
        ago: Duration,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        // While the log is closed nothing is signed, and nothing recorded.
        let is_closed = self.store.checkpoints().closed().await?.is_some();
        if judged.outside == 0 || !trust.is_sound || is_closed {
            return Ok(());
        }
        let first = i64::try_from(judged.covered_outside).unwrap_or(i64::MAX).saturating_add(1);
        if first > report.events {
            return Ok(());
        }
        let since = self.store.log().seconds_since(first).await?.map(|since| since - ago.as_secs_f64());
        if let Some(since) = since.filter(|since| *since > COVERED_WITHIN.as_secs_f64()) {
            let (last, minutes) = (report.events, (since / 60.0).round());
            let said = format!(
                "events {first} to {last}: no checkpoint outside covers them, and the first is {minutes} min old; one is made every minute while a serve or web runs. Whoever writes them anew is not found out: coolops doctor says why none is made"
            );
            report.find(Finding::at(Kind::MissingCheckpoint, first, said));
        }
        Ok(())
    }

    /// What became of the checkpoints.
    fn check_checkpoints(&self, judged: Judged, trust: Trust, report: &mut Report) {
        report.kept_outside = !self.keeping.places.is_empty();
        (report.checkpoints, report.outside, report.covered) = (judged.fitting, judged.outside, judged.covered);
        report.given_up = judged.given_up;
        let is_known = !self.keeping.believed.is_empty();
        if report.kept_outside && is_known && judged.outside == 0 && report.events > 0 && trust.is_sound {
            let said = "no checkpoint of this log is kept in any of the places: nothing outside bears it out";
            report.find(Finding::of(Kind::MissingCheckpoint, said));
        }
        report.two_histories = judged.two_histories;
        judged.findings.into_iter().for_each(|finding| report.find(finding));
    }

    /// Closes the log when a report says that what is kept outside is of another history, which an operator can decide;
    /// tells why, unless it was closed before, or somebody decided since the audit began.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close_where_histories_part(&self, report: &Report) -> Result<Option<String>, sqlx::Error> {
        let checkpoints = self.store.checkpoints();
        let Some(why) = &report.two_histories else { return Ok(None) };
        if checkpoints.closed().await?.is_some() || checkpoints.decided_at().await? != report.decided_at {
            return Ok(None);
        }
        checkpoints.close_log(why).await?;
        Ok(Some(why.clone()))
    }
}

impl Beside<'_> {
    /// One more event.
    fn event(&mut self, row: &Row<'_>) {
        self.rows.keep_track(row);
        let is_changed = self.keys.is_changed(row, &mut self.report);
        let event = match row.to_fold() {
            Ok(event) => event,
            Err(why) => {
                if is_changed {
                    // Nothing is said of its message, and its seal is no private text.
                    self.messages.leave_out(BuildId(row.header.correlation_id));
                    if let Ok(sealed) = Event::parse(row.header.kind, row.header.schema_version, row.payload) {
                        self.output.event(row.position, &sealed);
                    }
                } else {
                    // It was not written by this program, whatever it is about.
                    self.report.find(Finding::at(Kind::Unreadable, row.position, causes(&why)));
                }
                self.output.leave_out(DeploymentId(row.header.stream_id));
                return self.rows.leave_out(&unread(row, why));
            }
        };
        self.rows.event(row.position, &event);
        self.keys.event(row, &event);
        self.output.event(row.position, &event);
        self.messages.event(self.app, row, &event, &mut self.report);
    }
}
