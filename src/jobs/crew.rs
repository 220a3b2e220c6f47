//! The crew: claims jobs of some kinds, does them under a lease that it renews, and hands them over when it stops.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, field};
use uuid::Uuid;

use super::housekeeping::{Chore, Housekeeping};
use super::slack_calls::{Paces, SlackJob};
use super::sweep_slack::Sweeper;
use super::{
    Outcome, end_lock, erase_output, erase_person, housekeeping, move_lines, reply_privately, report, report_lock,
    run_deployment, sync_message,
};
use crate::app::{self, App};
use crate::domain::react::{Task, TaskKind};
use crate::failpoint;
use crate::runner::Runner;
use crate::slack::client::Slack;
use crate::store::jobs::{Claim, RENEW, Via};
use crate::store::within;

/// After this long a due job is taken without a doorbell: Redis is away, or lost it.
pub const OVERDUE: Duration = Duration::from_secs(2);
/// Time between two looks while Redis can't be relied on.
const ALONE: Duration = Duration::from_millis(500);
/// A holder that could not renew for this long stops, well before its lease of 20 s runs out.
const GIVE_UP: Duration = Duration::from_secs(10);
/// After a renewal that failed.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// Does jobs of some kinds, so many at a time. Cheap to clone.
#[derive(Clone)]
pub struct Crew(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    tools: Tools,
    kinds: &'static [TaskKind],
    id: Uuid,
    engine: Mutex<Option<String>>,
    slots: Semaphore,
    #[cfg(feature = "failpoints")]
    hands: usize,
    /// Held while containers are looked through.
    sweeping: Arc<tokio::sync::Mutex<()>>,
    forgetting: Arc<tokio::sync::Mutex<()>>,
    sweeper: Arc<tokio::sync::Mutex<Sweeper>>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// What jobs are done with: the crew of `web` has Slack, the crew of `worker` has Docker.
pub enum Tools {
    /// The Web API, and how fast it may be used.
    Slack(Box<Slack>, Paces),
    /// An engine.
    Runner(Arc<dyn Runner>),
}

impl Inner {
    async fn claim(&self, via: Via, overdue: Duration) -> Result<Option<Claim>, sqlx::Error> {
        let known = self.engine.lock().expect("no holder of the lock panics").clone();
        let engine = if known.is_some() { known } else { self.ask_engine().await };
        within(self.app.store.jobs().claim(self.kinds, app::new_id(), engine.as_deref(), via, overdue)).await
    }

    /// The engine that this crew works on; another one may answer at its address by now. One that never answered gets
    /// nothing that is tied to an engine. Whoever makes a container asks anew.
    async fn ask_engine(&self) -> Option<String> {
        let Tools::Runner(runner) = &self.tools else { return None };
        let answered = runner.engine_id().await.ok();
        let mut known = self.engine.lock().expect("no holder of the lock panics");
        // An engine that is away for a moment is still the one.
        *known = answered.or(known.take());
        known.clone()
    }

    /// Tells the others that this crew, and the engine it works on, is alive; and keeps time with them.
    async fn show_up(&self) {
        let store = &self.app.store;
        // Before an engine that hangs is waited for.
        if let Err(e) = within(store.keep_clock()).await {
            tracing::debug!(error = %e, "the database does not answer");
        }
        let engine = self.ask_engine().await;
        let shown = store.jobs().seen(self.id, engine.as_deref());
        if let Err(e) = within(shown).await {
            tracing::debug!(error = %e, "the database does not answer");
        }
    }
}

impl Crew {
    /// A crew with so many hands. It does nothing by itself until [`Crew::sweep`] or doorbells make it.
    pub fn new(app: Arc<App>, tools: Tools, kinds: &'static [TaskKind], slots: usize, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            app,
            tools,
            kinds,
            id: app::new_id(),
            engine: Mutex::default(),
            slots: Semaphore::new(slots),
            #[cfg(feature = "failpoints")]
            hands: slots,
            sweeping: Arc::default(),
            sweeper: Arc::default(),
            forgetting: Arc::default(),
            tracker: TaskTracker::new(),
            stop,
        }))
    }

    /// Whether it has no job in hand and looks for none, for tests that simulate time.
    #[cfg(feature = "failpoints")]
    pub fn is_idle(&self) -> bool {
        self.0.slots.available_permits() == self.0.hands
    }

    /// The kinds of jobs that it does.
    pub fn kinds(&self) -> &'static [TaskKind] {
        self.0.kinds
    }

    /// Claims one due job and does it to its end. `false` when there was none.
    ///
    /// The work goes on in a task of its own even when the caller is dropped.
    pub async fn take(&self, via: Via, overdue: Duration) -> bool {
        let this = self.clone();
        let work = async move {
            let Ok(_slot) = this.0.slots.acquire().await else { return false };
            if this.0.stop.is_cancelled() {
                return false;
            }
            let asked = Instant::now();
            let claim = match this.0.claim(via, overdue).await {
                Ok(Some(claim)) => claim,
                Ok(None) => return false,
                Err(e) => {
                    tracing::warn!(error = %e, "jobs can't be claimed");
                    return false;
                }
            };
            metrics::counter!("coolops_claims_total", "kind" => claim.task.kind().as_str(), "via" => via.as_str())
                .increment(1);
            this.work(&claim, asked).instrument(span(&claim)).await;
            true
        };
        self.0.tracker.spawn(work).await.unwrap_or(false)
    }

    /// Looks for jobs every 2 seconds and gives expired leases back, until it is stopped. While doorbells can be relied
    /// on (`well`), what is overdue waits for its ring in a backlog, and one job a round is enough to find a lost one;
    /// otherwise it looks twice a second and takes all that is due.
    pub async fn sweep(&self, well: impl Fn() -> bool) {
        let mut keeping = Housekeeping::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(if well() { OVERDUE } else { ALONE }) => {}
                () = self.0.stop.cancelled() => return,
            }
            self.0.show_up().await;
            match within(self.0.app.store.jobs().reap()).await {
                Ok(0) => {}
                Ok(expired) => {
                    tracing::info!(expired, "leases ran out; their jobs are due again");
                    metrics::counter!("coolops_leases_expired_total").increment(expired);
                }
                Err(e) => {
                    tracing::warn!(error = %e, "leases can't be looked after");
                    continue;
                }
            }
            let is_open = matches!(within(self.0.app.store.checkpoints().closed()).await, Ok(None));
            for chore in keeping.due(Instant::now(), is_open) {
                self.keep_house(chore);
            }
            let well = well();
            let (hands, overdue) = if well { (1, OVERDUE) } else { (self.0.slots.available_permits(), Duration::ZERO) };
            for _ in 0..hands.min(self.0.slots.available_permits()) {
                let crew = self.clone();
                self.0.tracker.spawn(async move { while crew.take(Via::Sweep, overdue).await && !well {} });
            }
        }
    }

    /// Does a chore. What may take long does not hold up the rest.
    fn keep_house(&self, chore: Chore) {
        match chore {
            Chore::FindOwedWork => {
                let app = Arc::clone(&self.0.app);
                self.0.tracker.spawn(async move { housekeeping::find_owed_work(&app).await });
            }
            Chore::RemindOfLocks => {
                let (app, Tools::Slack(..)) = (Arc::clone(&self.0.app), &self.0.tools) else { return };
                self.0.tracker.spawn(async move { housekeeping::remind_of_locks(&app).await });
            }
            Chore::SweepSlack => {
                let (crew, Tools::Slack(..)) = (self.clone(), &self.0.tools) else { return };
                let Ok(mut sweeper) = Arc::clone(&self.0.sweeper).try_lock_owned() else { return };
                self.0.tracker.spawn(async move {
                    if let Tools::Slack(slack, paces) = &crew.0.tools {
                        tokio::select! {
                            () = housekeeping::sweep_slack(&mut sweeper, &crew.0.app, slack, paces) => {}
                            () = crew.0.stop.cancelled() => {}
                        }
                    }
                });
            }
            Chore::Forget => {
                let app = Arc::clone(&self.0.app);
                // One round at a time.
                let Ok(turn) = Arc::clone(&self.0.forgetting).try_lock_owned() else { return };
                self.0.tracker.spawn(async move {
                    housekeeping::forget(&app).await;
                    drop(turn);
                });
            }
            Chore::AskAfterGroups => {
                let (app, Tools::Slack(..)) = (Arc::clone(&self.0.app), &self.0.tools) else { return };
                self.0.tracker.spawn(async move { housekeeping::ask_after_groups(&app).await });
            }
            Chore::SweepContainers => {
                let (crew, sweeping) = (self.clone(), Arc::clone(&self.0.sweeping));
                let Tools::Runner(_) = &self.0.tools else { return };
                // One that runs on is given time to end, and nothing else waits for that.
                let Ok(turn) = sweeping.try_lock_owned() else { return };
                self.0.tracker.spawn(async move {
                    if let Tools::Runner(runner) = &crew.0.tools {
                        housekeeping::sweep_containers(&crew.0.app, runner.as_ref()).await;
                    }
                    drop(turn);
                });
            }
        }
    }

    /// Waits until every job at hand is done or handed over.
    pub async fn finish(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
    }

    /// Does a job that was claimed, not before `asked`.
    async fn work(&self, claim: &Claim, asked: Instant) {
        let stop = self.0.stop.child_token();
        let renewing = self.renew(claim, asked);
        let outcome = tokio::select! {
            outcome = self.perform_or_say(claim, &stop) => outcome,
            () = renewing => Outcome::Lost,
        };
        if outcome == Outcome::Lost {
            metrics::counter!("coolops_leases_lost_total").increment(1);
        }
        failpoint!("before_complete");
        let store = &self.0.app.store;
        let done = within(async {
            match &outcome {
                Outcome::Done => store.jobs().complete(claim).await,
                Outcome::Later(after, problem) => store.jobs().release(claim, *after, None, problem.as_deref()).await,
                Outcome::Turn(scope, after) => store.jobs().release(claim, *after, Some(scope), None).await,
                Outcome::Lost => Ok(()),
            }
        });
        let done = done.await;
        if let Outcome::Later(_, Some(problem)) = &outcome {
            tracing::info!(job = ?claim.task, attempts = claim.attempts, problem, "a job is put off");
        }
        if let Err(e) = done {
            tracing::warn!(
                error = %e, job = ?claim.task,
                "the outcome of a job can't be noted; its lease will run out"
            );
        }
    }

    /// Renews the lease; returns when it is lost, or could not be renewed for so long that another may have it soon.
    async fn renew(&self, claim: &Claim, asked: Instant) {
        let (mut held_until, mut next) = (asked + GIVE_UP, asked + RENEW);
        loop {
            tokio::time::sleep_until(next.min(held_until)).await;
            let asked = Instant::now();
            match tokio::time::timeout_at(held_until, self.0.app.store.jobs().renew(claim)).await {
                Ok(Ok(true)) => (held_until, next) = (asked + GIVE_UP, asked + RENEW),
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(_)) => next = Instant::now() + RENEW_AGAIN,
            }
        }
    }

    async fn perform(&self, claim: &Claim, stop: &CancellationToken) -> Outcome {
        let Inner { app, tools, .. } = &*self.0;
        let performed = match (claim.task, tools) {
            (Task::SyncMessage(build), Tools::Slack(slack, paces)) => {
                sync_message::perform(SlackJob { app, slack, paces, claim }, build).await
            }
            (Task::ReplyPrivately(press), Tools::Slack(slack, paces)) => {
                reply_privately::perform(SlackJob { app, slack, paces, claim }, press).await
            }
            (Task::Report(deployment), Tools::Slack(slack, paces)) => {
                report::perform(SlackJob { app, slack, paces, claim }, deployment).await
            }
            (Task::ReportLock(lockable), Tools::Slack(slack, paces)) => {
                report_lock::perform(SlackJob { app, slack, paces, claim }, lockable).await
            }
            (Task::EndLock(lockable), _) => end_lock::perform(app, lockable).await,
            (Task::MoveLines(lockable), _) => move_lines::perform(app, lockable).await,
            (Task::EraseOutput(deployment), _) => erase_output::perform(app, deployment).await,
            (Task::ErasePerson(key), _) => erase_person::perform(app, key).await,
            (Task::RunDeployment(id), Tools::Runner(runner)) => {
                Box::pin(run_deployment::perform(app, runner, claim, id, stop)).await
            }
            _ => Ok(Outcome::Later(
                Duration::from_secs(1),
                Some("claimed by a crew without the tools for it".to_owned()),
            )),
        };
        performed.unwrap_or_else(|e| Outcome::retry(claim.attempts, format!("{e:#}")))
    }

    /// A job that panics is put off like one that fails: its lease doesn't have to run out, and people are told.
    async fn perform_or_say(&self, claim: &Claim, stop: &CancellationToken) -> Outcome {
        let performed = AssertUnwindSafe(self.perform(claim, stop)).catch_unwind().await;
        // What it said may quote data, and stays in the process's own log.
        performed.unwrap_or_else(|_| {
            Outcome::retry(claim.attempts, "it panicked, which is a fault of coolops; its log says where")
        })
    }
}

/// What is told of a job to whoever collects spans.
fn span(claim: &Claim) -> tracing::Span {
    let span = tracing::debug_span!(
        "job",
        job.kind = claim.task.kind().as_str(),
        attempts = claim.attempts,
        event.position = claim.wanted,
        build.id = field::Empty,
        lockable.id = field::Empty,
        deployment.id = field::Empty,
    );
    match claim.task {
        Task::SyncMessage(build) => span.record("build.id", field::display(build)),
        Task::EndLock(lockable) | Task::MoveLines(lockable) | Task::ReportLock(lockable) => {
            span.record("lockable.id", field::display(lockable))
        }
        // Whose it is is what nobody shall know.
        Task::ErasePerson(_) => &span,
        Task::RunDeployment(id) | Task::ReplyPrivately(id) | Task::Report(id) | Task::EraseOutput(id) => {
            span.record("deployment.id", field::display(id))
        }
    };
    span
}
