//! A worker takes a deployment from step to step; a person closes an unknown one.

use super::installation::Surroundings;
use super::{ATTEMPTS, App, CommandError, following, record, record_waiting, too_busy};
use crate::domain::deployment::{Deployment, PressRefusal, StopReason, Verdict};
use crate::domain::deployment_events::DeploymentOf;
use crate::domain::event::{Actor, DeploymentEvent, Event};
use crate::domain::ids::{DeploymentId, EnvironmentId, EventId};
use crate::domain::line::Line;
use crate::domain::lock;
use crate::domain::step::WrongState;
use crate::projections::rows;
use crate::store::append::{Append, AppendError};
use crate::store::jobs::Claim;
use crate::store::log::ReadError;

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It doesn't fit where the deployment stands.
    #[error(transparent)]
    Wrong(#[from] WrongState),
    /// It can't be stopped as it stands.
    #[error("{}", .0.sentence())]
    Stop(PressRefusal),
    /// There is no such deployment.
    #[error("there is no deployment {0}; see: coolops deployment list")]
    NoDeployment(DeploymentId),
    /// The lease was lost to another worker.
    #[error("the job's lease was taken over")]
    Fenced,
}

impl App {
    /// Decides a step on a deployment and its environment's line as they stand, and records it with what follows.
    ///
    /// Event ids follow from the deployment, where it stood and the step, so what is sent again because its outcome was lost is
    /// the same; a step that was recorded is refused, or is nothing, by where the deployment stands then.
    ///
    /// # Errors
    /// See [`StepError`], or that the database is away.
    pub async fn step<E: Into<StepError>>(
        &self,
        id: DeploymentId,
        claim: Option<&Claim>,
        actor: &Actor,
        decide: impl Fn(&Deployment, &Line) -> Result<Vec<Event>, E>,
    ) -> Result<Deployment, CommandError<StepError>> {
        self.step_because(None, id, claim, actor, decide).await
    }

    /// Decides a step as [`App::step`] does, which follows from an event of something else, if it does.
    async fn step_because<E: Into<StepError>>(
        &self,
        of_something_else: Option<EventId>,
        id: DeploymentId,
        claim: Option<&Claim>,
        actor: &Actor,
        decide: impl Fn(&Deployment, &Line) -> Result<Vec<Event>, E>,
    ) -> Result<Deployment, CommandError<StepError>> {
        let missing = || CommandError::Refused(StepError::NoDeployment(id));
        let of = self.store.deployments().get(id).await?.ok_or_else(missing)?.of;
        let environment = of.environment_id;
        let mut around = self.around(Some(of.project_id)).await?;
        let _turn = self.turns.wait(environment).await;
        for _ in 0..ATTEMPTS {
            let locks = around.locks(environment);
            // The line is one snapshot with its position; what is over is not in it and is read by itself.
            let line = self.store.deployments().line(environment, locks, Some(of.build_id), Some(id), false).await?;
            let own = match line.value.iter().find(|d| d.of.deployment_id == id) {
                Some(own) => own.clone(),
                None => self.store.deployments().get(id).await?.ok_or_else(missing)?,
            };
            let events = decide(&own, &line.value).map_err(|e| CommandError::Refused(e.into()))?;
            if events.is_empty() {
                return Ok(own);
            }
            let mut append = Append::default();
            let mut after = own.clone();
            let mut cause = None;
            for event in &events {
                let stream = event.address().stream;
                let before = match stream == id.0 {
                    true => after.clone(),
                    false => line.value.of(event).clone(),
                };
                let event_id = following(event, before.version);
                record(&mut append, event_id, event, actor, before.version);
                if let Some(cause) = cause.or(of_something_else) {
                    append.because(cause);
                }
                cause = cause.or(Some(event_id));
                let moved = before.evolve(event);
                append.row(rows::of_deployment(moved.clone()));
                if stream == id.0 {
                    after = moved;
                }
            }
            append.guard(environment.0, line.position);
            let begins = matches!(&events[..], [Event::Deployment(DeploymentEvent::Prepared(_))]);
            if begins {
                // What has run out is nobody's, and is recorded first.
                if around.locks(environment).iter().any(|lock| lock.is_over(self.store.clock().now())) {
                    self.end_locks_on(of.project_id, environment).await?;
                    around = self.around_anew(Some(of.project_id)).await?;
                    continue;
                }
                self.nothing_else_runs((own.of, &own.environment_name), line.position).await?;
                self.lock_by(&after, &around, &line.value, cause, &mut append);
            }
            // Whose turn it is depends on the locks, and whether it takes one on the settings.
            if events.len() > 1 || begins {
                around.guard(&mut append);
            }
            if let Some(claim) = claim {
                append.fenced(claim);
            }
            match self.store.append(append).await {
                Ok(_) => return Ok(after),
                Err(AppendError::Conflict) => around = self.around_anew(Some(of.project_id)).await?,
                Err(AppendError::Fenced) => return Err(CommandError::Refused(StepError::Fenced)),
                Err(e) => return Err(e.into()),
            }
        }
        Err(too_busy())
    }

    /// Makes sure, before a deployment begins on rows up to a position, that by the log nothing else runs in its environment: rows
    /// may be lost, and two of them must never be there.
    pub(super) async fn nothing_else_runs<R: std::error::Error>(
        &self,
        (of, environment): (DeploymentOf, &str),
        position: i64,
    ) -> Result<(), CommandError<R>> {
        let Some((before, prepared)) = self.store.log().prepared_before(of).await? else { return Ok(()) };
        // What came after the rows were read makes the append fail; where the boundary's row is lost too, nothing would.
        if position > 0 && prepared > position {
            return Ok(());
        }
        match self.deployment_of_log(before).await {
            Ok(Some(before)) if !before.state().is_over() => {}
            Err(e @ ReadError::Database(_)) => return Err(e.into()),
            // What somebody planted in its stream stands in nobody's way: its row says how it stands.
            Ok(_) | Err(_) => return Ok(()),
        }
        let why = format!(
            "by the log the deployment {before} is not over, and {environment} has no row of it: make the rows anew (coolops replay)"
        );
        Err(CommandError::Impossible(why.into()))
    }

    /// Adds the lock that a deployment takes as it begins, where each does, and what it makes those say who wait for it.
    fn lock_by(
        &self,
        deployment: &Deployment,
        around: &Surroundings,
        line: &Line,
        cause: Option<EventId>,
        append: &mut Append,
    ) {
        let environment_id = deployment.of.environment_id;
        let Some(project) = around.project.as_deref() else { return };
        let Some(environment) = project.value.environment(environment_id) else { return };
        let who = (&deployment.requested_by, deployment.build_name.as_str());
        let Some(event) = lock::by_deployment(&project.value, environment, who, self.store.clock().now()) else {
            return;
        };
        let actor = Actor::from(&deployment.requested_by);
        let id = EventId::following(deployment.of.deployment_id.0, event.kind().0);
        record(append, id, &event, &actor, environment.version);
        if let Some(cause) = cause {
            append.because(cause);
        }
        let after = around.after(&event);
        if let Some(project) = &after.project {
            append.row(rows::of_project(project.value.clone()));
        }
        let line = Line { locks: after.locks(environment_id), ..line.clone() };
        for event in &line.locked_anew(&[]) {
            let event_id = following(event, line.of(event).version);
            record_waiting(append, &line, (event_id, event), &actor, Some(id));
        }
    }

    /// A deployment is to stop.
    ///
    /// # Errors
    /// See [`StepError`], or that the database is away.
    pub async fn stop(
        &self,
        id: DeploymentId,
        reason: &StopReason,
        actor: &Actor,
    ) -> Result<Deployment, CommandError<StepError>> {
        let may_run = self.parting_of(id.0).await?.is_some();
        let stop =
            |own: &Deployment, line: &Line| own.request_stop(reason.clone(), line, may_run).map_err(StepError::Stop);
        self.step(id, None, actor, stop).await
    }

    /// The container of a deployment that had ended was found running, and was stopped.
    ///
    /// # Errors
    /// See [`StepError`], or that the database is away.
    pub async fn found_stray(&self, id: DeploymentId, container: &str) -> Result<Deployment, CommandError<StepError>> {
        self.step(id, None, &Actor::System, |own, _| own.stray(container)).await
    }

    /// Ends what waits for a place that an event archived. What runs there runs on.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn end_waiting(
        &self,
        environment: EnvironmentId,
        what: &str,
        (archived, actor): (EventId, &Actor),
    ) -> Result<(), CommandError<StepError>> {
        let reason = StopReason::Archived { what: what.to_owned() };
        for id in self.store.deployments().waiting(environment).await? {
            let may_run = self.parting_of(id.0).await?.is_some();
            let stop = |own: &Deployment, line: &Line| {
                own.request_stop(reason.clone(), line, may_run).map_err(StepError::Stop)
            };
            match self.step_because(Some(archived), id, None, actor, stop).await {
                // Meanwhile it has begun, or ended.
                Ok(_) | Err(CommandError::Refused(StepError::Stop(_))) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// A person decides how an unknown deployment ended.
    ///
    /// # Errors
    /// See [`StepError`], or that the database is away.
    pub async fn resolve(
        &self,
        id: DeploymentId,
        verdict: Verdict,
        reason: &str,
        actor: &Actor,
    ) -> Result<Deployment, CommandError<StepError>> {
        self.step(id, None, actor, |own, line| own.resolve(verdict, reason.to_owned(), line)).await
    }
}
