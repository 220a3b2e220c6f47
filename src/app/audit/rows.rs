//! Whether the rows that lists and look-ups use are what the log says: projects, tokens, builds, deployments, boundaries.
//!
//! Nothing is decided on a row, but somebody who changes one means something by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::aside::Aside;
use super::{Report, Trust};
use crate::app::App;
use crate::app::finding::{Finding, Kind};
use crate::app::replay::Fold;
use crate::domain::event::Event;
use crate::domain::ids::{DeploymentId, ProjectId, TokenId};
use crate::domain::names::printable;
use crate::domain::project::Project;
use crate::store::Store;
use crate::store::copy_out::{Row, Snapshot};
use crate::store::log::{ReadError, Unread};
use crate::store::sums::{Differing, Each, Sums};

/// Rows that differ are named, at most.
const ROWS_TOLD: usize = 20;
/// How often what goes on changing is compared before a difference is told.
const LOOKS: usize = 3;
const NEXT: &str = "coolops replay makes it right again";

/// What rows should be, as the log says so far.
pub(super) struct LogRows {
    /// The projects that there are and the deployments that are open, with the last event of each.
    projects: BTreeMap<ProjectId, i64>,
    open: BTreeMap<DeploymentId, i64>,
    fold: Fold,
    sums: Sums,
    /// The sums of the rows that there are: they are read while the events are.
    live: Aside<Sums>,
    /// The rows that are something else, at the moment of the events.
    differing: Vec<Differing>,
}

/// Tokens of projects: the digest of each, and whether it is revoked.
type Tokens = HashMap<(ProjectId, TokenId), (String, bool)>;

fn tokens_of(project: Project) -> impl Iterator<Item = ((ProjectId, TokenId), (String, bool))> {
    project.tokens.into_iter().map(move |token| ((project.id, token.id), (token.digest, token.revoked)))
}

/// The tokens whose rows are not what the log says, and in which way.
fn tokens_that_differ(
    mut of_log: Tokens,
    rows: Vec<(ProjectId, TokenId, String, bool)>,
) -> BTreeMap<(ProjectId, TokenId), &'static str> {
    let mut wrong = BTreeMap::new();
    for (project, token, digest, revoked) in rows {
        match of_log.remove(&(project, token)) {
            Some(known) if known == (digest, revoked) => {}
            Some(_) => drop(wrong.insert((project, token), "its row is not what the log says")),
            None => drop(wrong.insert((project, token), "it is in its table and not in the log")),
        }
    }
    wrong.extend(of_log.into_keys().map(|token| (token, "its row is missing")));
    wrong
}

fn changed(position: Option<i64>, said: String) -> Finding {
    Finding::about(Kind::ChangedRow, position, said)
}

impl LogRows {
    /// None so far, of the events of a snapshot. The rows of its moment are summed up from now on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn of(snapshot: &mut Snapshot, store: &Store) -> Result<Self, sqlx::Error> {
        let (fold, sums, mut twin) = (Fold::over(snapshot).await?, Sums::default(), snapshot.twin(store).await?);
        let live = sums.alike();
        let live = Aside::begin(async move {
            let live = live.with_rows_of(&mut twin).await?;
            twin.close().await.map(|()| live)
        });
        let (projects, open) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { projects, open, fold, sums, live, differing: Vec::new() })
    }

    /// Which projects there are and which deployments are open, by the events' types alone.
    pub(super) fn keep_track(&mut self, row: &Row<'_>) {
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

    /// One more event.
    pub(super) fn event(&mut self, position: i64, event: &Event) {
        self.fold.apply(position, event, &mut self.sums);
    }

    /// An event that can't be read.
    pub(super) fn leave_out(&mut self, unread: &Unread) {
        self.fold.leave_out(unread);
    }

    /// Holds all rows of the moment against its events. Those of what can't be judged are left as they are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn compare(&mut self, snapshot: &mut Snapshot, trust: Trust) -> Result<(), sqlx::Error> {
        self.fold.open_with(|position, project| snapshot.opened(position, project));
        self.fold.finish(&mut self.sums);
        if !(trust.is_sound && trust.is_comparable) {
            return Ok(());
        }
        let is_same = self.fold.is_whole() && self.sums.held_against(&self.live.end().await?).is_some();
        if !is_same {
            self.differing = rows_that_differ(snapshot).await?;
        }
        Ok(())
    }

    /// Tells which rows are not what the log says. Of what is open and goes on changing it is told in what way, as it is now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn check(self, app: &App, report: &mut Report) -> Result<(), sqlx::Error> {
        let mut told = BTreeSet::new();
        let tokens = self.check_projects(app, &mut told, report).await?;
        self.check_tokens(app, tokens, report).await?;
        self.check_open(app, &mut told, report).await?;
        self.check_all(app, &told, report).await
    }

    /// Whether a deployment is open, as the log says.
    pub(super) fn is_open(&self, deployment: DeploymentId) -> bool {
        self.open.contains_key(&deployment)
    }

    /// Projects; tells the tokens that they have.
    async fn check_projects(
        &self,
        app: &App,
        said: &mut BTreeSet<Uuid>,
        report: &mut Report,
    ) -> Result<Tokens, sqlx::Error> {
        let rows: BTreeSet<ProjectId> = app.store.directory().projects().await?.into_iter().map(|p| p.id).collect();
        let known: BTreeSet<ProjectId> = self.projects.keys().copied().collect();
        let mut tokens = HashMap::new();
        for id in known.union(&rows) {
            let at = self.projects.get(id).copied();
            let row = async |store: &Store, id| store.directory().project(id).await;
            let of_log = match compare(app, *id, App::project_of_log, row, |a, b| a.value == b.value).await? {
                Compared::Same(told) => Some(told),
                Compared::Unknown => None,
                Compared::Differs { of_log, row } => {
                    let what = match (&of_log, &row) {
                        (_, None) => "its row is missing, or can't be read".to_owned(),
                        (None, Some(_)) => "its row is not what the log says".to_owned(),
                        (Some(told), Some(row)) => {
                            format!("its row is not what the log says{}", differing(&told.value, &row.value))
                        }
                    };
                    report.find(changed(at, format!("project {id}: {what}; {NEXT}")));
                    said.insert(id.0);
                    of_log
                }
            };
            tokens.extend(of_log.into_iter().flat_map(|told| tokens_of(told.value)));
        }
        Ok(tokens)
    }

    /// Tokens. One may have been made or revoked since its project was read: that is read again before anybody is blamed.
    async fn check_tokens(&self, app: &App, mut of_log: Tokens, report: &mut Report) -> Result<(), sqlx::Error> {
        let mut wrong = BTreeMap::new();
        for _ in 0..LOOKS {
            wrong = tokens_that_differ(of_log.clone(), app.store.directory().tokens().await?);
            let projects: BTreeSet<ProjectId> = wrong.keys().map(|(project, _)| *project).collect();
            for id in projects {
                match app.project_of_log(id).await {
                    Ok(Some(told)) => of_log.extend(tokens_of(told.value)),
                    Ok(None) => {}
                    Err(ReadError::Database(e)) => return Err(e),
                    // What it should have can't be told.
                    Err(_) => wrong.retain(|(project, _), _| *project != id),
                }
            }
            if wrong.is_empty() {
                return Ok(());
            }
        }
        for ((project, token), what) in wrong {
            let said = format!("token {token} of project {project}: {what}; {NEXT}");
            report.find(changed(self.projects.get(&project).copied(), said));
        }
        Ok(())
    }

    async fn check_open(&self, app: &App, said: &mut BTreeSet<Uuid>, report: &mut Report) -> Result<(), sqlx::Error> {
        let rows: BTreeSet<DeploymentId> = app.store.deployments().open().await?.into_iter().collect();
        let known: BTreeSet<DeploymentId> = self.open.keys().copied().collect();
        for id in known.union(&rows) {
            let row = async |store: &Store, id| store.deployments().get(id).await;
            let compared = compare(app, *id, App::deployment_of_log, row, |a, b| a == b).await?;
            if matches!(compared, Compared::Differs { .. }) {
                said.insert(id.0);
                let what = format!("deployment {id}: its row is not what the log says; {NEXT}");
                report.find(changed(self.open.get(id).copied(), what));
            }
        }
        Ok(())
    }

    /// All columns of all rows but those of tokens, as both were when the log was read; without what was `said` of already.
    async fn check_all(self, app: &App, said: &BTreeSet<Uuid>, report: &mut Report) -> Result<(), sqlx::Error> {
        let rows = self.differing.into_iter().filter(|row| row.table != "token");
        let rows = rows.filter_map(|row| Some((row.table, Uuid::from_slice(&row.key).ok()?, row.position)));
        let rows: Vec<_> = rows.filter(|(table, id, _)| *table == "boundary" || !said.contains(id)).collect();
        for (table, id, position) in rows.iter().take(ROWS_TOLD) {
            let at = position.or(app.store.log().ends_at(*id).await?);
            report.find(changed(at, format!("{table} {id}: its row is not what the log says; {NEXT}")));
        }
        if let Some(more) = rows.len().checked_sub(ROWS_TOLD).filter(|more| *more > 0) {
            report.find(changed(None, format!("{more} more rows are not what the log says; {NEXT}")));
        }
        Ok(())
    }
}

/// A thing in the log, and its row.
enum Compared<T> {
    /// Both say the same.
    Same(T),
    /// They don't, or there is none.
    Differs { of_log: Option<T>, row: Option<T> },
    /// An event of it can't be read: nobody can tell what its row should be.
    Unknown,
}

/// Holds a row against the log. Both go on changing, so a difference is looked at again.
async fn compare<I: Copy, T>(
    app: &App,
    id: I,
    of_log: impl AsyncFn(&App, I) -> Result<Option<T>, ReadError>,
    row: impl AsyncFn(&Store, I) -> Result<Option<T>, sqlx::Error>,
    same: impl Fn(&T, &T) -> bool,
) -> Result<Compared<T>, sqlx::Error> {
    let mut last = Compared::Unknown;
    for _ in 0..LOOKS {
        let told = of_log(app, id).await;
        let row = match row(&app.store, id).await {
            // What isn't even readable is not what this program wrote.
            Err(sqlx::Error::ColumnDecode { .. }) => None,
            row => row?,
        };
        match (told, row) {
            (Ok(Some(told)), Some(row)) if same(&told, &row) => return Ok(Compared::Same(told)),
            (Err(ReadError::Database(e)), _) => return Err(e),
            (Err(_), _) => return Ok(Compared::Unknown),
            (Ok(of_log), row) => last = Compared::Differs { of_log, row },
        }
    }
    Ok(last)
}

/// The rows of a snapshot that are not what its events say, by table and key.
async fn rows_that_differ(snapshot: &mut Snapshot) -> Result<Vec<Differing>, sqlx::Error> {
    let (mut fold, mut each) = (Fold::over(snapshot).await?, Each::default());
    let visit = |row: &Row<'_>| {
        fold.row(row, &mut each);
        true
    };
    snapshot.events_to_fold(i64::MIN, i64::MAX, visit).await?;
    fold.open_with(|position, project| snapshot.opened(position, project));
    fold.finish(&mut each);
    let mut differing = each.differing(snapshot).await?;
    // What can't be judged is left as it is, and may have moved any boundary.
    differing.retain(|row| match row.table {
        "boundary" => fold.is_whole(),
        _ => Uuid::from_slice(&row.key).is_ok_and(|id| !fold.is_left_as_it_is(id)),
    });
    Ok(differing)
}

/// Which fields of a row say something else, and what; in brackets.
fn differing(told: &Project, row: &Project) -> String {
    let fields = |project: &Project| match serde_json::to_value(project) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let told = fields(told);
    let plain =
        |value: &serde_json::Value| value.as_str().map(|text| format!(" says {}", printable(text))).unwrap_or_default();
    let differ = fields(row).into_iter().filter(|(name, value)| told.get(name) != Some(value));
    let named: Vec<String> = differ.map(|(name, value)| format!("{name}{}", plain(&value))).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}
