//! Checking the log: the chain, the journals that it seals, and that every message says what the log says.
//!
//! One pass over the events. What it holds grows with the builds and deployments, some hundred bytes each, not with
//! events and output.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use super::App;
use super::anchors::Anchors;
use super::finding::{Finding, Kind};
use super::replay::{Fold, unread};
use crate::domain::deployment::LogSeal;
use crate::domain::event::{Event, InstallationEvent};
use crate::domain::ids::{BuildId, DeploymentId, ProjectId, SubjectKeyId, TokenId};
use crate::domain::project::Project;
use crate::domain::react::Task;
use crate::keys;
use crate::projections::build_card::BuildCard;
use crate::proof::{chain, tree};
use crate::slack::render::{self, RENDER_VERSION};
use crate::store::Store;
use crate::store::copy_out::{Row, Snapshot};
use crate::store::log::{Head, ReadError};
use crate::store::messages::Audited;
use crate::store::sums::{Differing, Each, Sums};
use crate::telemetry::causes;

/// Rows that are over and differ are named up to so many.
const ROWS_TOLD: usize = 20;

/// What an audit found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Events whose chain was checked.
    pub events: i64,
    /// The chain's head, hex: what to compare with one kept elsewhere.
    pub head: String,
    /// Checkpoints that are of this log, and how many events the newest of them covers.
    pub checkpoints: usize,
    /// See there.
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
    /// Messages sent by another version of the renderer: only their stored bytes were checked.
    pub messages_of_other_versions: usize,
    /// Messages that Slack has not been sent the latest of yet.
    pub messages_behind: i64,
    /// Messages that can't be compared because a master key is missing, by the missing key's id.
    pub unchecked: BTreeMap<String, usize>,
    /// What is not as it was written: position or place, and field. Empty when all is well.
    pub findings: Vec<Finding>,
    /// Master keys that names in events are under, and that aren't set: what tells of these was not compared.
    pub locked: BTreeSet<String>,
    /// Rows were not held against the log, because something is being erased from both, or can't be opened.
    pub rows_unchecked: bool,
    /// Somebody is at erasing something: what was erased is not out of all rows yet.
    pub is_erasing: bool,
    /// Findings beside those.
    pub more_findings: usize,
    /// That a checkpoint which is kept outside is of another history.
    #[serde(skip)]
    pub two_histories: Option<String>,
}

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

struct Audit<'a> {
    app: &'a App,
    report: Report,
    previous: chain::Hash,
    /// The chain does not hold: nothing after that can be judged.
    broken: bool,
    /// The head as it stood before the scan: the log must reach it, with that hash, at that time.
    head: Option<Head>,
    sent: HashMap<BuildId, Audited>,
    cards: HashMap<BuildId, Option<BuildCard>>,
    /// Messages that are not what the log says, and the digests that they had.
    differing: Vec<(BuildId, i64, Vec<u8>)>,
    with_journal: HashSet<DeploymentId>,
    /// The seal of what a deployment printed, and where it is.
    seals: HashMap<DeploymentId, (i64, LogSeal)>,
    /// Deployments whose output was erased.
    erased: HashSet<DeploymentId>,
    /// Keys of private texts that are not there, and the first event that needs each.
    missing_keys: BTreeMap<SubjectKeyId, i64>,
    /// Keys of private texts that were changed.
    changed_keys: HashSet<SubjectKeyId>,
    /// Keys of which an event says that they were destroyed.
    destroyed_keys: HashSet<SubjectKeyId>,
    /// The projects that there are and the deployments that are open, with the last event of each.
    projects: BTreeMap<ProjectId, i64>,
    open: BTreeMap<DeploymentId, i64>,
    anchors: Anchors,
    /// Where each build's message was posted last, and the event that says so.
    posted: HashMap<BuildId, (i64, String, String)>,
    /// What the rows should be.
    fold: Fold,
    sums: Sums,
}

impl App {
    /// Checks the chain, the journals and the stored payloads; with `messages` also renders every message anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, messages: bool) -> Result<Report, sqlx::Error> {
        let evidence = self.evidence().await?;
        let head = self.store.log().head_there().await?;
        // Before the events: what is sent later is made of later ones.
        let all_sent = self.store.messages().all().await?;
        let with_journal = self.store.journals().all().await?.into_iter().collect();
        let mut snapshot = self.store.snapshot().await?;
        let mut audit = Audit {
            app: self,
            anchors: Anchors::of(evidence),
            report: Report::default(),
            previous: chain::genesis(),
            broken: false,
            head,
            sent: HashMap::new(),
            cards: HashMap::new(),
            differing: Vec::new(),
            with_journal,
            seals: HashMap::new(),
            erased: HashSet::new(),
            missing_keys: BTreeMap::new(),
            changed_keys: HashSet::new(),
            destroyed_keys: HashSet::new(),
            projects: BTreeMap::new(),
            open: BTreeMap::new(),
            posted: HashMap::new(),
            fold: Fold::over(&mut snapshot).await?,
            sums: Sums::default(),
        };
        for sent in all_sent {
            if sent.payload_digest != sent.sent_digest {
                let said = format!("message of build {}: sent_payload", sent.build_id);
                audit.report.find(Finding::at(Kind::ChangedMessage, sent.sent_position, said));
            }
            if messages && sent.render_version == RENDER_VERSION {
                audit.sent.insert(sent.build_id, sent);
            } else if messages {
                audit.report.messages_of_other_versions += 1;
            }
        }
        snapshot.events(i64::MIN, i64::MAX, |row| audit.event(row)).await?;
        let (mut fold, mut sums) = (std::mem::take(&mut audit.fold), std::mem::take(&mut audit.sums));
        let Audit { mut report, previous, broken, head, sent, with_journal, seals, projects, open, anchors, .. } =
            audit;
        fold.open_with(|position, project| snapshot.opened(position, project));
        fold.finish(&mut sums);
        // Those of what can't be judged are left as they are.
        let unlike = match broken || !fold.is_whole() || sums.are_those_of(&mut snapshot).await?.is_some() {
            true => Vec::new(),
            false => rows_that_differ(&mut snapshot).await?,
        };
        let were_being_erased = if broken { Vec::new() } else { snapshot.keys_being_erased().await? };
        let (erased, missing_keys, destroyed_keys) = (audit.erased, audit.missing_keys, audit.destroyed_keys);
        // What can't be opened is shown as something else than it says.
        let comparable = report.locked.is_empty() && audit.changed_keys.is_empty();
        let misnamed = if broken || !comparable { Vec::new() } else { snapshot.misnamed().await? };
        snapshot.close().await?;
        // What is edited elsewhere is rendered as if it had been posted there.
        let elsewhere = match comparable && !broken {
            true => self.hold_places_against_log(&audit.posted, &mut report).await?,
            false => HashSet::new(),
        };
        let differing = audit.differing.into_iter().filter(|(build, ..)| comparable && !elsewhere.contains(build));
        for (build, position, digest) in differing {
            // What was erased since it was sent is being edited out of it.
            let now = self.store.messages().get(build).await?;
            let is_as_read = now.is_some_and(|now| now.sent_digest.as_deref() == Some(&digest[..]));
            if is_as_read && self.store.jobs().is_idle(Task::SyncMessage(build)).await? {
                let said = format!("message of build {build}: sent_digest (rendered anew it is different)");
                report.find(Finding::at(Kind::ChangedMessage, position, said));
            }
        }
        report.head = hex::encode(previous);
        report.kept_outside = !self.keeping.places.is_empty();
        if !broken {
            let next = report.events + 1;
            let there = head.map_or(0, |head| head.position);
            if report.events < there {
                let said = format!("event {next}: missing (event_head says that there are {there})");
                report.find(Finding::at(Kind::CutTail, next, said));
            }
            // What was appended since the head was read moved it.
            match self.store.log().head_there().await? {
                None => {
                    let said = "event_head is empty, so nothing can be appended; restore its row, or the database, from a dump";
                    report.find(Finding::at(Kind::RewrittenHead, report.events.max(1), said));
                }
                Some(now) if report.events > now.position => {
                    let (first, there) = (now.position + 1, now.position);
                    let said = format!("event {first}: inserted (event_head says that there are {there})");
                    report.find(Finding::at(Kind::InsertedEvent, first, said));
                }
                Some(_) => {}
            }
            for (build, sent) in sent {
                let said = format!("message of build {build}: sent_position is not in the log");
                report.find(Finding::at(Kind::ChangedMessage, sent.sent_position, said));
            }
        }
        let judged = anchors.judge(broken);
        (report.checkpoints, report.outside, report.covered) = (judged.fitting, judged.outside, judged.covered);
        report.given_up = judged.given_up;
        let is_known = !self.keeping.believed.is_empty();
        if report.kept_outside && is_known && judged.outside == 0 && report.events > 0 && !broken {
            let said = "no checkpoint of this log is kept in any of the places: nothing outside bears it out";
            report.find(Finding::of(Kind::MissingCheckpoint, said));
        }
        report.two_histories = judged.two_histories;
        judged.findings.into_iter().for_each(|finding| report.find(finding));
        for said in self.store.unguarded().await? {
            report.find(Finding::of(Kind::Unguarded, said));
        }
        if !broken {
            for (key, position) in missing_keys.iter().filter(|(key, _)| !destroyed_keys.contains(key)) {
                let said = format!(
                    "event {position}: the key {key} of private texts in it is gone, and no event says that it was destroyed; restore subject_key from a dump"
                );
                report.find(Finding::at(Kind::MissingKey, *position, said));
            }
        }
        self.hold_names_against_log(misnamed, &mut report).await?;
        let destroyed: Vec<SubjectKeyId> = destroyed_keys.iter().copied().collect();
        let kept: HashSet<SubjectKeyId> = self.store.subjects().there(&destroyed).await?.into_iter().collect();
        // Where a key is gone and nobody has come to the end of that, rows are being made anew.
        let being_erased = self.store.jobs().keys_being_erased().await?;
        let being_erased: HashSet<SubjectKeyId> = were_being_erased.into_iter().chain(being_erased).collect();
        let left: Vec<SubjectKeyId> = being_erased.iter().copied().collect();
        report.is_erasing = self.store.subjects().there(&left).await?.len() < left.len();
        report.rows_unchecked = report.is_erasing || !comparable;
        for key in kept.difference(&being_erased) {
            let said = format!(
                "the key {key} of private texts was destroyed, an event says, and it is there; a running coolops destroys it again within minutes"
            );
            report.find(Finding::of(Kind::KeptKey, said));
        }
        let sealed = seals.keys().copied();
        let journals: HashSet<DeploymentId> = with_journal.into_iter().chain(sealed).collect();
        let at = |deployment: &DeploymentId| seals.get(deployment).map(|(position, _)| *position);
        let mut journals: Vec<DeploymentId> = journals.into_iter().collect();
        journals.sort_by_key(|deployment| (at(deployment), deployment.0));
        for deployment in journals {
            report.journals += 1;
            let seal = seals.get(&deployment).map(|(_, seal)| seal);
            let mut said = self.store.journals().verify(deployment, seal, erased.contains(&deployment)).await?;
            // It may have been erased since the log was read.
            if said.is_some() && !erased.contains(&deployment) && self.is_output_erased(deployment).await? {
                said = self.store.journals().verify(deployment, seal, true).await?;
            }
            if let Some(said) = said {
                report.find(Finding::about(Kind::ChangedOutput, at(&deployment), said));
            }
        }
        // While somebody is being erased their rows are made anew.
        if !broken && !report.rows_unchecked {
            self.hold_rows_against_log(projects, open, unlike, &mut report).await?;
        }
        report.messages_behind = self.store.messages().behind().await?;
        Ok(report)
    }

    /// Closes the log when a report says that what is kept outside is of another history, which an operator can decide;
    /// tells why, unless it was closed before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn close_where_histories_part(&self, report: &Report) -> Result<Option<String>, sqlx::Error> {
        let checkpoints = self.store.checkpoints();
        let Some(why) = &report.two_histories else { return Ok(None) };
        if checkpoints.closed().await?.is_some() {
            return Ok(None);
        }
        checkpoints.close_log(why).await?;
        Ok(Some(why.clone()))
    }

    /// Whether the log says now that a deployment's output is erased.
    async fn is_output_erased(&self, deployment: DeploymentId) -> Result<bool, sqlx::Error> {
        match self.output_erased(deployment).await {
            Ok(told) => Ok(told.is_some()),
            Err(ReadError::Database(e)) => Err(e),
            Err(_) => Ok(false),
        }
    }

    /// Holds what people are called where their keys are against what events call them.
    async fn hold_names_against_log(
        &self,
        misnamed: Vec<(Vec<SubjectKeyId>, String, String)>,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        for (keys, id, name) in misnamed {
            // It may be on its way into the log.
            if !self.store.subjects().is_called(&keys, &name).await? {
                let said = format!(
                    "subject_key calls {id} {name}, and no event does; what somebody is erased by is their id (coolops person list)"
                );
                report.find(Finding::of(Kind::ChangedRow, said));
            }
        }
        Ok(())
    }

    /// Holds where messages are edited against where they were posted, as the log says; tells whose are elsewhere.
    async fn hold_places_against_log(
        &self,
        posted: &HashMap<BuildId, (i64, String, String)>,
        report: &mut Report,
    ) -> Result<HashSet<BuildId>, sqlx::Error> {
        let mut elsewhere = HashSet::new();
        for (build, channel, ts) in self.store.messages().places().await? {
            let said = posted.get(&build).filter(|(_, there, then)| *there != channel || *then != ts);
            let Some((position, ..)) = said else { continue };
            // It may be on its way into the log.
            let is_posted = match self.store.log().build(build).await {
                Ok(events) => events
                    .iter()
                    .any(|r| matches!(&r.event, Event::MessagePosted(e) if e.channel == channel && e.ts == ts)),
                Err(ReadError::Database(e)) => return Err(e),
                Err(_) => continue,
            };
            if !is_posted && self.store.jobs().is_idle(Task::SyncMessage(build)).await? {
                let said = format!("message of build {build}: it is edited elsewhere than it was posted");
                report.find(Finding::at(Kind::ChangedMessage, *position, said));
                elsewhere.insert(build);
            }
        }
        Ok(elsewhere)
    }

    /// Holds the rows that lists and look-ups use against the log: projects, tokens, and what is open. Nothing is
    /// decided on a row, but somebody who changes one means something by it.
    async fn hold_rows_against_log(
        &self,
        projects: BTreeMap<ProjectId, i64>,
        open: BTreeMap<DeploymentId, i64>,
        unlike: Vec<Differing>,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let next = "coolops replay makes it right again";
        let changed = |position: Option<&i64>, said: String| Finding::about(Kind::ChangedRow, position.copied(), said);
        let rows: BTreeSet<ProjectId> = self.store.directory().projects().await?.into_iter().map(|p| p.id).collect();
        let known: BTreeSet<ProjectId> = projects.keys().copied().collect();
        let mut tokens: HashMap<(ProjectId, TokenId), (String, bool)> = HashMap::new();
        for id in known.union(&rows) {
            let at = projects.get(id);
            let (of_log, row) = self
                .compare(
                    *id,
                    App::project_of_log,
                    async |store, id| store.directory().project(id).await,
                    |a, b| a.value == b.value,
                )
                .await?;
            match row {
                None => {}
                Some(None) => {
                    report.find(changed(at, format!("project {id}: its row is missing, or can't be read; {next}")));
                }
                Some(Some(row)) => {
                    let what = of_log.as_ref().map(|told| differing(&told.value, &row.value)).unwrap_or_default();
                    report.find(changed(at, format!("project {id}: its row is not what the log says{what}; {next}")));
                }
            }
            let listed = of_log.into_iter().flat_map(|told| told.value.tokens);
            tokens.extend(listed.map(|t| ((*id, t.id), (t.digest, t.revoked))));
        }
        for (project, token, digest, revoked) in self.store.directory().tokens().await? {
            match tokens.remove(&(project, token)) {
                Some(known) if known == (digest, revoked) => {}
                Some(_) => {
                    report.find(changed(
                        projects.get(&project),
                        format!("token {token} of project {project}: its row is not what the log says; {next}"),
                    ));
                }
                None => report.find(changed(
                    projects.get(&project),
                    format!("token {token} of project {project}: it is in its table and not in the log; {next}"),
                )),
            }
        }
        for (project, token) in tokens.into_keys() {
            let at = projects.get(&project);
            report.find(changed(at, format!("token {token} of project {project}: its row is missing; {next}")));
        }
        let rows: BTreeSet<DeploymentId> = self.store.deployments().open().await?.into_iter().collect();
        let known: BTreeSet<DeploymentId> = open.keys().copied().collect();
        for id in known.union(&rows) {
            let (_, row) = self
                .compare(
                    *id,
                    App::deployment_of_log,
                    async |store, id| store.deployments().get(id).await,
                    |a, b| a == b,
                )
                .await?;
            if row.is_some() {
                report
                    .find(changed(open.get(id), format!("deployment {id}: its row is not what the log says; {next}")));
            }
        }
        // What is over changes no more: it is as it was when the log was read.
        let over = unlike.into_iter().filter(|row| matches!(row.table, "build" | "deployment" | "boundary"));
        let over = over.filter_map(|row| Some((row.table, Uuid::from_slice(&row.key).ok()?, row.position)));
        let over: Vec<_> = over.filter(|(_, id, _)| !known.contains(&DeploymentId(*id))).collect();
        for (table, id, position) in over.iter().take(ROWS_TOLD) {
            let at = position.or(self.store.log().ends_at(*id).await?);
            report.find(changed(at.as_ref(), format!("{table} {id}: its row is not what the log says; {next}")));
        }
        if let Some(more) = over.len().checked_sub(ROWS_TOLD).filter(|more| *more > 0) {
            report.find(changed(None, format!("{more} more rows are not what the log says; {next}")));
        }
        Ok(())
    }

    /// What the log says of a thing, where it can be told, and its row (or that there is none), where that says
    /// something else. Both go on changing, so a difference is looked at again.
    async fn compare<I: Copy, T>(
        &self,
        id: I,
        of_log: impl AsyncFn(&Self, I) -> Result<Option<T>, ReadError>,
        row: impl AsyncFn(&Store, I) -> Result<Option<T>, sqlx::Error>,
        same: impl Fn(&T, &T) -> bool,
    ) -> Result<(Option<T>, Option<Option<T>>), sqlx::Error> {
        let mut last = (None, None);
        for _ in 0..3 {
            let told = of_log(self, id).await;
            let row = match row(&self.store, id).await {
                // What isn't even readable is not what this program wrote.
                Err(sqlx::Error::ColumnDecode { .. }) => None,
                row => row?,
            };
            match (told, row) {
                (Ok(Some(told)), Some(row)) if same(&told, &row) => return Ok((Some(told), None)),
                (Err(ReadError::Database(e)), _) => return Err(e),
                (told, row) => last = (told.ok().flatten(), Some(row)),
            }
        }
        Ok(last)
    }
}

/// The rows of a snapshot that are not what its events say, by table and key.
async fn rows_that_differ(snapshot: &mut Snapshot) -> Result<Vec<Differing>, sqlx::Error> {
    let (mut fold, mut each) = (Fold::over(snapshot).await?, Each::default());
    let visit = |row: &Row<'_>| {
        match row.to_fold() {
            Ok(event) => fold.apply(row.position, &event, &mut each),
            Err(why) => fold.leave_out(&unread(row, why)),
        }
        true
    };
    snapshot.events(i64::MIN, i64::MAX, visit).await?;
    fold.open_with(|position, project| snapshot.opened(position, project));
    fold.finish(&mut each);
    each.differing(snapshot).await
}

/// Which fields of a row say something else, and what; in brackets.
fn differing(told: &Project, row: &Project) -> String {
    let fields = |project: &Project| match serde_json::to_value(project) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let told = fields(told);
    let plain = |value: &serde_json::Value| {
        value.as_str().map(|text| format!(" says {}", crate::domain::names::printable(text))).unwrap_or_default()
    };
    let differ = fields(row).into_iter().filter(|(name, value)| told.get(name) != Some(value));
    let named: Vec<String> = differ.map(|(name, value)| format!("{name}{}", plain(&value))).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

impl Audit<'_> {
    /// Checks one event; `false` when nothing after it can be judged.
    fn event(&mut self, row: &Row<'_>) -> bool {
        if let Some(finding) = self.break_at(row) {
            self.report.find(finding);
            self.broken = true;
            return false;
        }
        self.keep_track(row);
        self.content(row);
        true
    }

    /// Where the chain does not hold; else it is one event longer.
    fn break_at(&mut self, row: &Row<'_>) -> Option<Finding> {
        let expected = self.report.events + 1;
        if row.position < expected {
            let said = format!("event {}: inserted (before event {expected})", row.position);
            return Some(Finding::at(Kind::InsertedEvent, row.position, said));
        }
        if row.position != expected {
            let said = format!("event {expected}: missing (the next one is {})", row.position);
            return Some(Finding::at(Kind::MissingEvent, expected, said));
        }
        let body = chain::body_hash(row.payload.as_bytes());
        if row.body_hash != body {
            return Some(Finding::at(Kind::EditedBody, expected, format!("event {expected}: payload")));
        }
        let entry = chain::entry(row.position, row.micros_since_2000, &chain::item_hash(&row.header, &body));
        let link = chain::link(&self.previous, &entry);
        if row.chain_hash != link {
            let said = format!("event {expected}: chain_hash (its header or time was changed, or an event before it)");
            return Some(Finding::at(Kind::EditedHeader, expected, said));
        }
        if let Some(head) = self.head.as_ref().filter(|head| head.position == expected) {
            if head.hash != link {
                let said = format!("event {expected}: event_head has another chain_hash");
                return Some(Finding::at(Kind::RewrittenHead, expected, said));
            }
            if head.last_at != row.recorded_at() {
                let (said, at) = (head.last_at, row.recorded_at());
                let said = format!(
                    "event {expected}: event_head says that it was recorded at {said}, and not at {at}; later events would be recorded then"
                );
                self.report.find(Finding::at(Kind::RewrittenHead, expected, said));
            }
        }
        self.previous = link;
        self.report.events = expected;
        self.anchors.leaf(tree::leaf(&entry));
        None
    }

    /// Which projects there are and which deployments are open, by the events' types alone.
    fn keep_track(&mut self, row: &Row<'_>) {
        let stream = row.header.stream_id;
        match row.header.kind {
            "project_created" => {
                self.projects.insert(ProjectId(stream), row.position);
            }
            "deployment_requested" => {
                self.open.insert(DeploymentId(stream), row.position);
            }
            "deployment_succeeded" | "deployment_failed" | "deployment_stopped" | "deployment_resolved" => {
                self.open.remove(&DeploymentId(stream));
            }
            _ => {
                let project = ProjectId(row.header.correlation_id);
                let last = match self.projects.get_mut(&project) {
                    Some(last) => Some(last),
                    None => self.open.get_mut(&DeploymentId(stream)),
                };
                last.into_iter().for_each(|last| *last = row.position);
            }
        }
    }

    fn content(&mut self, row: &Row<'_>) {
        let build = BuildId(row.header.correlation_id);
        let wanted = self.sent.contains_key(&build);
        let changed = row.changed_key();
        if let Some(key) = changed.filter(|key| self.changed_keys.insert(*key)) {
            let said = format!(
                "event {}: the key {key} of private texts in it was changed, and opens nothing; restore subject_key from a dump",
                row.position
            );
            self.report.find(Finding::at(Kind::MissingKey, row.position, said));
        }
        // What can't be read was not written by this program, whatever it is about.
        let event = match row.to_fold() {
            Ok(event) => event,
            Err(e) if changed.is_some() => {
                // Nothing is said of its message, and its seal is no private text.
                self.sent.remove(&build);
                self.cards.remove(&build);
                if let Ok(sealed) = Event::parse(row.header.kind, row.header.schema_version, row.payload) {
                    self.sealed(row.position, &sealed);
                }
                return self.fold.leave_out(&unread(row, e));
            }
            Err(e) => {
                self.report.find(Finding::at(Kind::Unreadable, row.position, causes(&e)));
                return self.fold.leave_out(&unread(row, e));
            }
        };
        self.fold.apply(row.position, &event, &mut self.sums);
        self.report.locked.extend(row.locked());
        let missing = row.missing_keys();
        // What somebody chose is under a key that no event of an erasure names: that would lead from one to the other.
        if !matches!(event, Event::NotificationsChosen(_)) {
            missing.into_iter().for_each(|key| {
                self.missing_keys.entry(key).or_insert(row.position);
            });
        }
        match &event {
            Event::MessagePosted(e) => {
                self.posted.insert(e.build_id, (row.position, e.channel.clone(), e.ts.clone()));
            }
            Event::OutputErased(e) => {
                self.erased.insert(e.of.deployment_id);
                self.destroyed_keys.extend(e.key);
            }
            Event::Installation(InstallationEvent::PersonErased(e)) => {
                self.destroyed_keys.insert(e.key);
                self.destroyed_keys.extend(&e.others);
            }
            _ => {}
        }
        self.sealed(row.position, &event);
        if !wanted {
            return;
        }
        BuildCard::apply(self.cards.entry(build).or_default(), &event, row.recorded_at());
        if self.sent.get(&build).is_some_and(|sent| sent.sent_position == row.position) {
            let card = self.cards.remove(&build).flatten();
            self.compare(build, card);
        }
    }

    /// What a deployment printed is held against its seal; what printed nothing has nothing to check, unless there are chunks
    /// that the seal does not know.
    fn sealed(&mut self, position: i64, event: &Event) {
        if let Some((deployment, seal)) = event.seal()
            && (seal.chunks > 0 || self.with_journal.contains(&deployment))
        {
            self.seals.insert(deployment, (position, seal.clone()));
        }
    }

    /// Renders a card where it was last sent, and compares.
    fn compare(&mut self, build: BuildId, card: Option<BuildCard>) {
        let Some(sent) = self.sent.remove(&build) else { return };
        let Some(mut card) = card else {
            let said = format!("message of build {build}: its registration is not in the log");
            return self.report.find(Finding::at(Kind::ChangedMessage, sent.sent_position, said));
        };
        let Some(links) = self.app.keys.links(&card.link_key) else {
            *self.report.unchecked.entry(keys::master_key_of(&card.link_key).to_owned()).or_default() += 1;
            return;
        };
        // It was rendered before the log said that it was posted.
        card.posted.extend(sent.ts.filter(|ts| !card.posted.contains(ts)));
        self.report.messages += 1;
        let payload = if sent.plain { render::render_plainly(&card, &links) } else { render::render(&card, &links) };
        let digest = render::digest(&payload.bytes());
        if sent.sent_digest != digest {
            self.differing.push((build, sent.sent_position, sent.sent_digest));
        }
    }
}
