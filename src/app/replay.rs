//! Rebuilding every projection from the log.

use std::collections::HashMap;

use serde::Serialize;
use uuid::Uuid;

use super::App;
use crate::domain::deployment::Deployment;
use crate::domain::event::{DeploymentEvent, Event, Recorded, SettingsEvent};
use crate::domain::ids::{DeploymentId, ProjectId};
use crate::domain::project::Project;
use crate::projections::rows;
use crate::store::log::ReadError;
use crate::store::rebuild::{Begun, Staging, Swapped};
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
}

const PAGE: i64 = 5_000;
/// Most damaged events that are named.
const DAMAGED_MAX: usize = 20;

/// The aggregates as the log leaves them so far. What can't change any more is let go, so memory follows what is open.
#[derive(Default)]
struct Fold {
    projects: HashMap<ProjectId, Project>,
    open: HashMap<DeploymentId, (Begun, Deployment)>,
    damaged: Vec<String>,
}

impl App {
    /// Folds the whole log into fresh rows and swaps them in. Everything goes on meanwhile; writers wait only while the
    /// last events are folded and differences replaced.
    ///
    /// # Errors
    /// When the database does not answer, or an event is of a type that this version doesn't know: then nothing is swapped.
    pub async fn rebuild(&self) -> Result<Rebuilt, ReadError> {
        self.rebuild_telling(&|_, _| {}).await
    }

    /// The same; tells now and then how many events of how many are folded.
    ///
    /// # Errors
    /// As [`App::rebuild`].
    pub async fn rebuild_telling(&self, tell: &(impl Fn(i64, i64) + Sync)) -> Result<Rebuilt, ReadError> {
        let (mut fold, mut staging, mut position);
        loop {
            let erasures = self.store.wake().erasures();
            let (head, _) = self.store.log().head().await?;
            (fold, staging) = (Fold::default(), self.store.stage().await?);
            position = self.fold_from(0, &mut fold, &mut staging, &|done| tell(done, head)).await?;
            staging.lock().await?;
            position = self.fold_from(position, &mut fold, &mut staging, &|_| {}).await?;
            // What was staged names whoever was erased meanwhile.
            if self.store.wake().erasures() == erasures {
                break;
            }
        }
        let tables = staging.swap().await?;
        let work = self.store.jobs().missing().await?;
        for task in &work {
            self.store.jobs().want(*task).await?;
        }
        Ok(Rebuilt { events: position, tables, work_found: work.len(), damaged: fold.damaged })
    }

    async fn fold_from(
        &self,
        mut position: i64,
        fold: &mut Fold,
        staging: &mut Staging,
        tell: &(impl Fn(i64) + Sync),
    ) -> Result<i64, ReadError> {
        loop {
            let page = self.store.log().after(position, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for recorded in page {
                let recorded = match recorded {
                    Ok(recorded) => recorded,
                    // One that somebody planted stands in nobody's way; one of a newer program must.
                    Err(e) => {
                        let Some(at) = e.damaged() else { return Err(e) };
                        position = at;
                        if fold.damaged.len() < DAMAGED_MAX {
                            fold.damaged.push(causes(&e));
                        }
                        continue;
                    }
                };
                position = recorded.position;
                if let Event::Deployment(DeploymentEvent::StrayStopped(e)) = &recorded.event {
                    self.take_up(e.of.deployment_id, recorded.position, fold).await?;
                }
                fold.apply(&recorded, staging);
                if staging.is_full() {
                    staging.flush().await?;
                }
            }
            tell(position);
        }
        staging.flush().await?;
        Ok(position)
    }

    /// Takes up a deployment again that is over, as it was before an event: the fold holds those only that are open.
    async fn take_up(&self, id: DeploymentId, before: i64, fold: &mut Fold) -> Result<(), ReadError> {
        let mut there: Option<(Begun, Deployment)> = None;
        let told = match self.store.log().stream(id.0).await {
            Ok(told) => told,
            // It is named when the fold comes to it.
            Err(e) if e.damaged().is_some() => return Ok(()),
            Err(e) => return Err(e),
        };
        for recorded in told.into_iter().filter(|r| r.position < before) {
            there = match (there, &recorded.event) {
                (None, Event::Deployment(DeploymentEvent::Requested(e))) => {
                    Some((Begun { requested: recorded.position, since: recorded.position }, Deployment::requested(e)))
                }
                (Some(was), event) => Some(moved_on(was, recorded.position, event)),
                (None, _) => None,
            };
        }
        fold.open.extend(there.map(|known| (id, known)));
        Ok(())
    }
}

/// A deployment after one more event.
fn moved_on((begun, before): (Begun, Deployment), position: i64, event: &Event) -> (Begun, Deployment) {
    let state = before.state();
    let after = before.evolve(event);
    let since = if after.state() == state { begun.since } else { position };
    (Begun { since, ..begun }, after)
}

impl Fold {
    fn apply(&mut self, recorded: &Recorded, staging: &mut Staging) {
        let Recorded { position, event, .. } = recorded;
        let address = event.address();
        if let Some(boundary) = address.boundary {
            staging.boundary(boundary, *position);
        }
        let stream = address.stream;
        match event {
            Event::Settings(SettingsEvent::ProjectCreated(e)) => {
                self.project(e.project_id, Project::created(e), recorded, staging);
            }
            Event::BuildRegistered(e) => staging.row(*position, Begun::default(), &rows::of_build(e)),
            Event::Deployment(DeploymentEvent::Requested(e)) => {
                let begun = Begun { requested: *position, since: *position };
                self.deployment(*position, (begun, Deployment::requested(e)), staging);
            }
            _ => {
                let project = ProjectId(address.correlation);
                if let Some(before) = self.projects.remove(&project) {
                    self.project(project, before.evolve(event), recorded, staging);
                } else {
                    self.moved(stream, recorded, staging);
                }
            }
        }
    }

    fn project(&mut self, id: ProjectId, project: Project, recorded: &Recorded, staging: &mut Staging) {
        for row in rows::of_tokens(&project, &recorded.event) {
            staging.row(recorded.position, Begun::default(), &row);
        }
        staging.row(recorded.position, Begun::default(), &rows::of_project(project.clone()));
        self.projects.insert(id, project);
    }

    fn moved(&mut self, stream: Uuid, recorded: &Recorded, staging: &mut Staging) {
        if let Some(before) = self.open.remove(&DeploymentId(stream)) {
            self.deployment(recorded.position, moved_on(before, recorded.position, &recorded.event), staging);
        }
    }

    fn deployment(&mut self, position: i64, (begun, deployment): (Begun, Deployment), staging: &mut Staging) {
        staging.row(position, begun, &rows::of_deployment(deployment.clone()));
        if deployment.state().is_open() {
            self.open.insert(deployment.of.deployment_id, (begun, deployment));
        }
    }
}
