//! Rebuilding every projection from the log.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::App;
use crate::domain::deployment::Deployment;
use crate::domain::event::{Address, DeploymentEvent, Event, Recorded, SettingsEvent, StreamKind};
use crate::domain::ids::{DeploymentId, ProjectId};
use crate::domain::project::Project;
use crate::projections::rows;
use crate::store::copy_out::{Row, Snapshot};
use crate::store::directory::Seen;
use crate::store::log::{ReadError, Unread};
use crate::store::rebuild::{Begun, Changing, Rows, Swapped, put};
use crate::store::sums::Sums;
use crate::telemetry::causes;

/// What a rebuild did.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// Events folded.
    pub events: i64,
    /// Per table, what had to be replaced.
    pub tables: Vec<Swapped>,
    /// Pieces of owed work that no job stood for.
    pub work_found: usize,
    /// Events that no version of this program wrote, and that were left out: the first of them.
    pub damaged: Vec<String>,
    /// Events of a newer program, or that can't be opened: rows of what they are about were left as they are. The first of
    /// them.
    pub halted: Vec<String>,
}

/// What a rebuild is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Holds the rows against the log: events of all events.
    Comparing,
    /// Makes them anew, because they differ somewhere: events of all events.
    Folding,
    /// Replaces those that differ, while writers wait: tables of all tables.
    Replacing,
}

const PAGE: i64 = 5_000;
/// Events that are folded in one stretch.
const STRETCH: i64 = 20_000;
/// After a stretch during which others appended the fold pauses for this many times its length, so that they get on.
const GIVES_WAY: u32 = 3;
/// The longest such pause: a replay comes to its end on a slow machine too.
const AT_MOST: Duration = Duration::from_secs(3);
/// Most events of each kind that are named.
const TOLD_MAX: usize = 20;

/// The aggregates as the log leaves them so far. What can't change any more is let go, so memory follows what is open.
#[derive(Default)]
pub(super) struct Fold {
    projects: HashMap<ProjectId, (i64, Project)>,
    open: HashMap<DeploymentId, Standing>,
    changing: Changing,
    /// What is over and changes all the same.
    kept: HashSet<DeploymentId>,
    damaged: Vec<String>,
    /// What has an event that can't be judged, and is not folded on: streams, builds, projects, boundaries.
    halted: HashSet<Uuid>,
    unread: Vec<String>,
}

/// A deployment as its events up to a position leave it.
struct Standing {
    position: i64,
    begun: Begun,
    deployment: Deployment,
}

impl App {
    /// Holds all rows against the log; where they differ, folds it into fresh ones and swaps them in. Everything goes on
    /// meanwhile; writers wait only while the last events are folded and differences replaced. Where there are no rows at all,
    /// these are made at once, and nothing is recorded meanwhile.
    ///
    /// # Errors
    /// When the database does not answer: then nothing is swapped. An event of a type that this version doesn't know halts
    /// what it is about, whose rows stay as they are, and nothing else.
    pub async fn rebuild(&self) -> Result<Rebuilt, ReadError> {
        self.rebuild_telling(&|_, _, _| {}).await
    }

    /// Rebuilds as [`App::rebuild`] does; now and then tells the phase it is in, how much of that is done, and how much there is.
    ///
    /// # Errors
    /// As [`App::rebuild`].
    pub async fn rebuild_telling(&self, tell: &(impl Fn(Phase, i64, i64) + Sync)) -> Result<Rebuilt, ReadError> {
        // Several that rebuild at once would be in each other's way; whoever comes second finds nothing to do.
        let in_turn = self.store.rebuild_in_turn().await?;
        let rebuilt = self.rebuild_alone(tell).await;
        // What was done is done, whatever became of a connection that said nothing meanwhile.
        in_turn.end().await.ok();
        rebuilt
    }

    async fn rebuild_alone(&self, tell: &(impl Fn(Phase, i64, i64) + Sync)) -> Result<Rebuilt, ReadError> {
        // From the log alone.
        self.store.snapshots().forget().await?;
        if let Some(sound) = self.hold_rows_against(&|done, of| tell(Phase::Comparing, done, of)).await? {
            return self.with_work(sound).await;
        }
        if let Some(filled) = self.fill(tell).await? {
            return self.with_work(filled).await;
        }
        let (mut fold, mut staging, mut position);
        loop {
            staging = self.store.stage().await?;
            let mut snapshot = self.store.snapshot().await?;
            (fold, position) =
                self.fold_all(&mut snapshot, &mut staging, true, &|done, of| tell(Phase::Folding, done, of)).await?;
            let keys = snapshot.keys();
            snapshot.close().await?;
            // Most of what came meanwhile while writers still go on.
            position = self.fold_on(position, &mut fold, &mut staging).await?;
            // What can't be judged may have a hand in anything: that is replaced in one go.
            let mut is_some = staging.compare().await?;
            let is_up_to_date = loop {
                staging.lock().await?;
                let locked = Instant::now();
                position = self.fold_on(position, &mut fold, &mut staging).await?;
                // What was staged names whoever was erased meanwhile.
                if self.store.subjects().there(&keys).await?.len() < keys.len() {
                    break false;
                }
                if !is_some || !fold.is_whole() {
                    break true;
                }
                is_some = staging.replace_some().await?;
                tokio::time::sleep(locked.elapsed()).await;
            };
            if is_up_to_date {
                break;
            }
        }
        self.open_projects(&mut fold).await?;
        fold.finish(&mut staging);
        staging.flush().await?;
        let (tables, left_out) = staging.swap(&fold.halted, |done, of| tell(Phase::Replacing, done, of)).await?;
        let Fold { mut damaged, unread: halted, .. } = fold;
        damaged.extend(left_out);
        damaged.truncate(TOLD_MAX);
        self.with_work(Rebuilt { events: position, tables, work_found: 0, damaged, halted }).await
    }

    /// Folds the log into tables in which nothing is, as after a loss: nothing is to be compared or replaced. Writers, who could
    /// decide nothing on empty tables, are kept out for as long as that takes: they wait some seconds, and are told then to try
    /// again. `None` where there is something in them, or the log has what needs more than that: a
    /// thing that begins twice, what can't be judged, what is erased meanwhile.
    async fn fill(&self, tell: &(impl Fn(Phase, i64, i64) + Sync)) -> Result<Option<Rebuilt>, ReadError> {
        let Some(mut filling) = self.store.fill().await? else { return Ok(None) };
        let mut snapshot = self.store.snapshot().await?;
        let filled = async {
            let (mut fold, position) =
                self.fold_all(&mut snapshot, &mut filling, false, &|done, of| tell(Phase::Folding, done, of)).await?;
            let position = self.fold_on(position, &mut fold, &mut filling).await?;
            self.open_projects(&mut fold).await?;
            fold.finish(&mut filling);
            let keys = snapshot.keys();
            snapshot.close().await?;
            if !fold.is_whole() || self.store.subjects().there(&keys).await?.len() < keys.len() {
                return Ok(None);
            }
            let (tables, damaged) = (filling.finish().await?, fold.damaged);
            Ok(Some(Rebuilt { events: position, tables, work_found: 0, damaged, halted: Vec::new() }))
        };
        match filled.await {
            Err(ReadError::Database(sqlx::Error::Database(e))) if e.is_unique_violation() => Ok(None),
            filled => filled,
        }
    }

    /// Opens what of the private texts of settings is left; they are folded as they are recorded.
    async fn open_projects(&self, fold: &mut Fold) -> Result<(), ReadError> {
        for (id, (position, value)) in std::mem::take(&mut fold.projects) {
            match self.store.opened(Seen { position, value }).await {
                Ok(Seen { position, value }) => drop(fold.projects.insert(id, (position, value))),
                Err(ReadError::Database(e)) => return Err(e.into()),
                Err(why) => fold.leave_out(&Unread { position, stream: id.0, correlation: id.0, why }),
            }
        }
        Ok(())
    }

    /// Asks for owed work that no job stands for.
    async fn with_work(&self, rebuilt: Rebuilt) -> Result<Rebuilt, ReadError> {
        let work = self.store.jobs().missing().await?;
        for task in &work {
            self.store.jobs().want(*task).await?;
        }
        Ok(Rebuilt { work_found: work.len(), ..rebuilt })
    }

    /// Folds the log and holds the rows against that, both as of one moment: nobody waits, nothing is written. `None` when
    /// they differ somewhere, or something in the log can't be judged.
    async fn hold_rows_against(&self, tell: &(impl Fn(i64, i64) + Sync)) -> Result<Option<Rebuilt>, ReadError> {
        let (mut snapshot, mut sums) = (self.store.snapshot().await?, Sums::default());
        // After a loss there is nothing to hold.
        let is_lost = snapshot.has_no_boundaries().await?;
        let held = match is_lost {
            true => None,
            false => {
                let (mut fold, events) = self.fold_all(&mut snapshot, &mut sums, true, tell).await?;
                fold.open_with(|position, project| snapshot.opened(position, project));
                fold.finish(&mut sums);
                let live = if fold.is_whole() { Some(sums.alike().with_rows_of(&mut snapshot).await?) } else { None };
                let tables = live.and_then(|live| sums.held_against(&live));
                let (damaged, halted) = (fold.damaged, Vec::new());
                tables.map(|tables| Rebuilt { events, tables, work_found: 0, damaged, halted })
            }
        };
        snapshot.close().await?;
        Ok(held)
    }

    /// Folds all events of a snapshot, giving way to those who append, unless these wait for it anyway; tells the last position.
    async fn fold_all<R: Rows>(
        &self,
        snapshot: &mut Snapshot,
        into: &mut R,
        gives_way: bool,
        tell: &(impl Fn(i64, i64) + Sync),
    ) -> Result<(Fold, i64), ReadError> {
        let (head, mut fold, mut position) = (snapshot.head().await?, Fold::over(snapshot).await?, 0);
        let (mut there, mut last, mut is_gap) = (head, 0, false);
        while position < head {
            let (begun, before) = (Instant::now(), last);
            let fold_one = |row: &Row<'_>| {
                last = row.position;
                fold.row(row, into);
                true
            };
            // What somebody planted far behind the others is reached in one step.
            let until = if position + STRETCH < head && !is_gap { position + STRETCH } else { i64::MAX };
            snapshot.events_to_fold(position, until, fold_one).await?;
            (position, is_gap) = (head.min(until), last == before);
            tell(position, head);
            into.write().await?;
            let (now, _) = self.store.log().head().await?;
            if std::mem::replace(&mut there, now) != now && position < head && gives_way {
                tokio::time::sleep((begun.elapsed() * GIVES_WAY).min(AT_MOST)).await;
            }
        }
        Ok((fold, last.max(position)))
    }

    /// Folds what came after a position.
    async fn fold_on<R: Rows>(&self, mut position: i64, fold: &mut Fold, into: &mut R) -> Result<i64, ReadError> {
        let log = self.store.log();
        loop {
            let page = log.after(position, PAGE).await?;
            let Some(last) = page.last() else { break };
            position = last.as_ref().map_or_else(|unread| unread.position, |recorded| recorded.position);
            self.fold_page(page, fold, into).await?;
            into.write().await?;
        }
        Ok(position)
    }

    async fn fold_page<R: Rows>(
        &self,
        page: Vec<Result<Recorded, Unread>>,
        fold: &mut Fold,
        into: &mut R,
    ) -> Result<(), ReadError> {
        for read in page {
            let recorded = match read {
                Ok(recorded) => recorded,
                Err(unread) => {
                    fold.leave_out(&unread);
                    continue;
                }
            };
            if let Event::Deployment(DeploymentEvent::StrayStopped(e)) = &recorded.event
                && !fold.open.contains_key(&e.of.deployment_id)
            {
                self.take_up(e.of.deployment_id, recorded.position, fold).await?;
            }
            fold.apply(recorded.position, &recorded.event, into);
        }
        Ok(())
    }

    /// Takes up a deployment again that is over, as it was before an event: the fold holds those only that are open.
    async fn take_up(&self, id: DeploymentId, before: i64, fold: &mut Fold) -> Result<(), ReadError> {
        let mut there: Option<Standing> = None;
        let told = match self.store.log().stream(id.0).await {
            Ok(told) => told,
            Err(e @ ReadError::Database(_)) => return Err(e),
            // It can't be told how it stood: its row is left as it is.
            Err(_) => {
                fold.halted.insert(id.0);
                return Ok(());
            }
        };
        for recorded in told.into_iter().filter(|r| r.position < before) {
            match (&mut there, &recorded.event) {
                (None, Event::Deployment(DeploymentEvent::Requested(e))) => {
                    there = Some(Standing::requested(recorded.position, Deployment::requested(e)));
                }
                (Some(there), event) => there.move_on(recorded.position, event),
                (None, _) => {}
            }
        }
        fold.open.extend(there.map(|known| (id, known)));
        Ok(())
    }
}

impl Standing {
    fn requested(position: i64, deployment: Deployment) -> Self {
        Self { position, begun: Begun { requested: position, since: position }, deployment }
    }

    /// One more event.
    fn move_on(&mut self, position: i64, event: &Event) {
        let state = self.deployment.state();
        self.deployment.apply(event);
        self.position = position;
        if self.deployment.state() != state {
            self.begun.since = position;
        }
    }

    fn stage(self, into: &mut impl Rows) {
        put(into, self.position, self.begun, &rows::of_deployment(self.deployment));
    }
}

/// A row that can't be read.
pub(super) fn unread(row: &Row<'_>, why: ReadError) -> Unread {
    Unread { position: row.position, stream: row.header.stream_id, correlation: row.header.correlation_id, why }
}

impl Fold {
    /// Nothing so far, of the events of a snapshot.
    pub(super) async fn over(snapshot: &mut Snapshot) -> Result<Self, sqlx::Error> {
        let kept = snapshot.strays().await?.into_iter().collect();
        Ok(Self { kept, ..Self::default() })
    }

    /// Whether everything could be judged so far.
    pub(super) fn is_whole(&self) -> bool {
        self.unread.is_empty()
    }

    /// One more row of the log.
    pub(super) fn row(&mut self, row: &Row<'_>, into: &mut impl Rows) {
        match row.to_fold() {
            Ok(event) => self.apply(row.position, &event, into),
            Err(why) => self.leave_out(&unread(row, why)),
        }
    }

    /// An event that can't be read. One that somebody planted stands in nobody's way.
    pub(super) fn leave_out(&mut self, unread: &Unread) {
        let told = match unread.why.damaged() {
            Some(_) => &mut self.damaged,
            None => {
                self.halt(unread);
                &mut self.unread
            }
        };
        if told.len() < TOLD_MAX {
            told.push(causes(&unread.why));
        }
    }

    /// What an event is about that can't be judged is not folded on: its rows are left as whoever knew it wrote them.
    fn halt(&mut self, unread: &Unread) {
        let Unread { stream, correlation, .. } = unread;
        self.halted.extend([*stream, *correlation]);
        self.projects.remove(&ProjectId(*correlation));
        if let Some(standing) = self.open.remove(&DeploymentId(*stream))
            && standing.deployment.state().is_open()
        {
            self.halted.insert(standing.deployment.of.environment_id.0);
        }
    }

    /// Whether a row is of what can't be judged.
    pub(super) fn is_left_as_it_is(&self, about: Uuid) -> bool {
        self.halted.contains(&about)
    }

    /// Whether what an event is about is not folded on.
    fn is_halted(&self, address: &Address) -> bool {
        let by = match address.kind {
            StreamKind::Project | StreamKind::Environment => address.correlation,
            _ => address.stream,
        };
        self.halted.contains(&by)
    }

    /// One more event.
    pub(super) fn apply(&mut self, position: i64, event: &Event, into: &mut impl Rows) {
        let address = event.address();
        if let Some(boundary) = address.boundary {
            self.changing.boundary(boundary, position);
        }
        if self.is_halted(&address) {
            return;
        }
        let stream = address.stream;
        match event {
            Event::Settings(SettingsEvent::ProjectCreated(e)) => {
                self.project(e.project_id, Project::created(e), (position, event));
            }
            Event::BuildRegistered(e) => put(into, position, Begun::default(), &rows::of_build(e)),
            Event::Deployment(DeploymentEvent::Requested(e)) => {
                let standing = Standing::requested(position, Deployment::requested(e));
                // One that begins twice goes on from the second time.
                self.open.insert(e.of.deployment_id, standing);
            }
            _ => {
                let project = ProjectId(address.correlation);
                if let Some((_, before)) = self.projects.remove(&project) {
                    self.project(project, before.evolve(event), (position, event));
                } else if let Entry::Occupied(mut standing) = self.open.entry(DeploymentId(stream)) {
                    standing.get_mut().move_on(position, event);
                    // What is over is staged; of what is open only the end counts.
                    let is_over = !standing.get().deployment.state().is_open();
                    if is_over && !self.kept.contains(standing.key()) {
                        standing.remove().stage(into);
                    }
                }
            }
        }
    }

    fn project(&mut self, id: ProjectId, project: Project, (position, event): (i64, &Event)) {
        rows::of_tokens(&project, event).into_iter().for_each(|row| self.changing.row(row));
        self.projects.insert(id, (position, project));
    }

    /// Opens what of the private texts of settings is left; they are folded as they are recorded.
    pub(super) fn open_with(&mut self, open: impl Fn(i64, Project) -> Result<Project, ReadError>) {
        for (id, (position, project)) in std::mem::take(&mut self.projects) {
            match open(position, project) {
                Ok(project) => drop(self.projects.insert(id, (position, project))),
                Err(why) => self.leave_out(&Unread { position, stream: id.0, correlation: id.0, why }),
            }
        }
    }

    /// Stages what still changes, as it stands at the end.
    pub(super) fn finish(&mut self, into: &mut impl Rows) {
        for (_, (position, project)) in self.projects.drain() {
            put(into, position, Begun::default(), &rows::of_project(project));
        }
        self.open.drain().for_each(|(_, standing)| standing.stage(into));
        self.changing.finish(into);
    }
}
