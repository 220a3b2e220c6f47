//! Stops a deployment that was told to: because it runs too long, or because somebody wants so.
//!
//! **Invariant:** the reason is recorded before the container is told anything, so what the script makes of SIGTERM or
//! SIGKILL is never shown as its own failure. Only the holder of the job stops a container.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;

use super::Outcome;
use super::breaks::Break;
use crate::app::App;
use crate::app::deployments::StepError;
use crate::domain::deployment::{Deployment, State, StopReason};
use crate::domain::event::Actor;
use crate::domain::ids::DeploymentId;
use crate::domain::line::Line;
use crate::projections::timed::Timed;
use crate::runner::{Found, Runner};
use crate::store::jobs::Claim;
use crate::telemetry::causes;

/// How often the record is looked at without any sign.
const LOOK: Duration = Duration::from_secs(30);
/// Signs come with every event of everybody: between two looks there is at least so much time.
const PAUSE: Duration = Duration::from_millis(200);

/// Watches over one run.
pub(super) struct Stop<'a> {
    app: &'a App,
    runner: &'a dyn Runner,
    claim: &'a Claim,
    id: DeploymentId,
    container: String,
    limit: u32,
    grace: Duration,
    told: watch::Sender<bool>,
}

impl<'a> Stop<'a> {
    pub(super) fn watching(app: &'a App, runner: &'a dyn Runner, claim: &'a Claim, deployment: &Deployment) -> Self {
        let (id, container) = (deployment.of.deployment_id, deployment.container_name());
        let (limit, grace) =
            (deployment.time_limit_minutes, Duration::from_secs(u64::from(deployment.stop_grace_seconds)));
        Self { app, runner, claim, id, container, limit, grace, told: watch::Sender::new(false) }
    }

    /// Becomes true when the deployment is to stop.
    pub(super) fn heard(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// Waits until the deployment is to stop, then sees to it that its container ends. Never comes back by itself:
    /// whoever follows the container sees the end.
    pub(super) async fn see_to_it(&self) -> Result<Infallible, Break> {
        let mut events = self.app.store.wake().events();
        loop {
            events.borrow_and_update();
            let wait = match self.due_in().await {
                Ok(Some(wait)) if wait.is_zero() => break,
                Ok(Some(wait)) => wait.min(LOOK),
                Ok(None) => LOOK,
                // The database is away: it is asked again.
                Err(_) => Duration::from_secs(1),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = events.changed() => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.told.send_replace(true);
        loop {
            // Not started yet: the run itself sees the request before it starts anything.
            if let Ok(Found::Running(container)) = self.runner.look(&self.container, self.id).await {
                if !self.app.store.jobs().renew(self.claim).await? {
                    return Err(Break::Leave(Outcome::Lost));
                }
                tracing::info!(deployment.id = %self.id, "stopping a deployment");
                match self.runner.stop(&container, self.grace).await {
                    Ok(()) => return std::future::pending().await,
                    Err(trouble) => {
                        tracing::warn!(deployment.id = %self.id, %trouble, "it can't be stopped; trying again");
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// How long until it is to stop; zero when it was told to. When its time is up, that is recorded first.
    async fn due_in(&self) -> Result<Option<Duration>, Break> {
        let events = self
            .app
            .store
            .log()
            .stream(self.id.0)
            .await
            .map_err(|e| Break::Leave(Outcome::Later(LOOK, Some(causes(&e)))))?;
        let Some(timed) = Timed::fold(&events) else { return Ok(None) };
        if timed.deployment.state() == State::Cancelling {
            return Ok(Some(Duration::ZERO));
        }
        let Some(started_at) = timed.started_at else { return Ok(None) };
        // Counted by something that is set back when the clock is: times in the log never are.
        let already = (self.app.store.clock().now() - started_at).to_std().unwrap_or(Duration::ZERO);
        let ran = self.app.store.jobs().phase(self.claim, "run", already).await?;
        let left = Duration::from_mins(u64::from(self.limit)).saturating_sub(ran);
        if left.is_zero() {
            // It may have ended in time while nobody looked; and of an engine that does not answer nobody knows. What it came to
            // is told by whoever follows it.
            if matches!(self.runner.look(&self.container, self.id).await, Ok(Found::Ended(_)) | Err(_)) {
                return Ok(Some(LOOK));
            }
            let reason = StopReason::TimeLimit { minutes: self.limit };
            let decide = |own: &Deployment, line: &Line| match own.state() {
                // Somebody else was quicker: it is stopping already.
                State::Cancelling => Ok(vec![]),
                _ => own.request_stop(reason.clone(), line, true).map_err(StepError::Stop),
            };
            self.app.step(self.id, Some(self.claim), &Actor::System, decide).await?;
        }
        Ok(Some(left))
    }
}
