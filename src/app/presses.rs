//! Somebody presses a button, or chooses from a line's menu.

use std::convert::Infallible;

use super::deployments::StepError;
use super::installation::Surroundings;
use super::{ATTEMPTS, App, CommandError, new_event_id, record, record_waiting, too_busy};
use crate::domain::build::BuildRegistered;
use crate::domain::deployment::{
    Deployment, DeploymentOf, DeploymentRefused, DeploymentRequested, Person, PressRefusal, Somebody, Stand, StopReason,
};
use crate::domain::event::{Actor, DeploymentEvent, Event};
use crate::domain::ids::{BuildId, DeploymentId, EventId};
use crate::domain::press::{self, CancelDeployment, RequestDeployment};
use crate::domain::rights::Known;
use crate::domain::state::State;
use crate::projections::rows;
use crate::store::append::Append;

/// What became of a wish for a deployment's end.
#[derive(Debug)]
pub enum Cancelled {
    /// It ends, or ended already for the same person.
    Yes,
    /// It can't be; the person is told privately.
    Refused,
    /// There is no such deployment.
    Unknown,
    /// It has started since they agreed to its end, and goes on: they agreed to less.
    Started(Box<Deployment>),
}

/// What a press is decided on beside its line. While it is there, nobody else in this process decides on that line.
struct Grounds {
    around: Surroundings,
    of_person: Known,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl App {
    /// What the log says of a build, and the channel that Slack named when it took its message.
    pub(super) async fn announced(
        &self,
        build: BuildId,
    ) -> Result<(Option<BuildRegistered>, Option<String>), CommandError<Infallible>> {
        let told = self.store.log().build(build).await?;
        let posted_in = told
            .iter()
            .rev()
            .find_map(|e| if let Event::MessagePosted(m) = &e.event { Some(m.channel.clone()) } else { None });
        Ok((BuildRegistered::among(&told).cloned(), posted_in))
    }

    /// Ends a deployment, or records why not: the presser is told. The same press again changes nothing.
    ///
    /// # Errors
    /// When the database is away; nothing is recorded then, as far as is known.
    pub async fn cancel(
        &self,
        press: DeploymentId,
        command: CancelDeployment,
    ) -> Result<Cancelled, CommandError<Infallible>> {
        let Some(deployment) = self.store.deployments().get(command.deployment_id).await? else {
            return Ok(Cancelled::Unknown);
        };
        let of = deployment.of;
        let stopped = match self.may_cancel(&deployment, &command).await? {
            Ok(()) if command.before_start && deployment.state() == State::Running => {
                return Ok(Cancelled::Started(Box::new(deployment)));
            }
            Ok(()) => {
                let person = command.requested_by.clone();
                let actor = Actor::from(&person);
                let reason = StopReason::Person { by: person, reason: command.reason.clone() };
                match self.stop(of.deployment_id, &reason, &actor).await {
                    Ok(_) => Ok(()),
                    Err(e) => match e.refusal()? {
                        StepError::Stop(refusal) => Err(refusal),
                        StepError::NoDeployment(_) => return Ok(Cancelled::Unknown),
                        e @ (StepError::Wrong(_) | StepError::Fenced) => {
                            return Err(CommandError::Impossible(e.into()));
                        }
                    },
                }
            }
            Err(refusal) => Err(refusal),
        };
        match stopped {
            Ok(()) => Ok(Cancelled::Yes),
            Err(refusal) => self.not_cancelled(press, of, command, refusal).await,
        }
    }

    /// Whether somebody may end a deployment from where they press, as things stand now.
    pub(super) async fn may_cancel(
        &self,
        deployment: &Deployment,
        command: &CancelDeployment,
    ) -> Result<Result<(), PressRefusal>, CommandError<Infallible>> {
        let (build, posted_in) = self.announced(deployment.of.build_id).await?;
        // Nothing guards on it: what was remembered may be old.
        let around = self.around_anew(Some(deployment.of.project_id)).await?;
        let known = build.as_ref().zip(around.project.as_deref().map(|p| &p.value));
        let of_person = match known.and_then(|(_, project)| project.environment(deployment.of.environment_id)) {
            Some(environment) => {
                let rights = std::slice::from_ref(&environment.rights);
                self.known(&around.installation.value, rights, &command.requested_by).await?
            }
            None => Known::default(),
        };
        Ok(press::may_cancel(known, posted_in.as_deref(), deployment, &of_person, command))
    }

    /// Records why a deployment was not ended, which its presser is told; nothing where what they wanted is so.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn not_cancelled(
        &self,
        press: DeploymentId,
        of: DeploymentOf,
        command: CancelDeployment,
        refusal: PressRefusal,
    ) -> Result<Cancelled, CommandError<Infallible>> {
        let person = command.requested_by;
        let actor = Actor::from(&person);
        match &refusal {
            // What they wanted is under way.
            PressRefusal::Stopping { reason, .. } if matches!(&**reason, StopReason::Person { by, .. } if by.is(&person)) =>
            {
                return Ok(Cancelled::Yes);
            }
            // The same press again, of what it has ended already.
            PressRefusal::Over { .. } if self.was_ended_by(&person, of.deployment_id).await? => {
                return Ok(Cancelled::Yes);
            }
            _ => {}
        }
        let refused = DeploymentRefused {
            deployment_id: press,
            build_id: of.build_id,
            environment_id: of.environment_id,
            project_id: Some(of.project_id),
            requested_by: person,
            channel: command.channel,
            refusal,
        };
        let mut append = Append::default();
        record(&mut append, new_event_id(), &refused.into(), &actor, 0);
        // The same signed bytes twice are one press.
        self.append_unless_moved(append).await?;
        Ok(Cancelled::Refused)
    }

    /// Whether a deployment was cancelled by this person.
    async fn was_ended_by(&self, person: &Person, id: DeploymentId) -> Result<bool, CommandError<Infallible>> {
        let deployment = self.store.deployments().get(id).await?;
        Ok(
            matches!(deployment.map(|d| d.stand), Some(Stand::Stopped { reason: StopReason::Person { by, .. }, .. }) if by.is(person)),
        )
    }

    /// What is known of who pressed, as far as the environment's rights ask for it.
    async fn known_here(
        &self,
        around: &Surroundings,
        command: &RequestDeployment,
    ) -> Result<Known, CommandError<Infallible>> {
        let environment = around.project.as_ref().and_then(|p| p.value.environment(command.environment_id));
        match (environment, &command.requested_by) {
            (Some(environment), Somebody::Person(person)) => {
                let rights = std::slice::from_ref(&environment.rights);
                Ok(self.known(&around.installation.value, rights, person).await?)
            }
            _ => Ok(Known::default()),
        }
    }

    /// Records a press in Slack: accepted or refused, always one event. The same press again changes nothing.
    ///
    /// # Errors
    /// When the database is away; nothing is recorded then, as far as is known.
    pub async fn press(&self, command: RequestDeployment) -> Result<Event, CommandError<Infallible>> {
        match self.take_place(&command).await? {
            Ok(event) => Ok(event),
            Err(refusal) => Err(CommandError::Impossible(refusal.sentence().into())),
        }
    }

    /// An operator has a build deployed.
    ///
    /// # Errors
    /// A refusal, which is not recorded: who sits at a terminal reads it there; or that the database is away.
    pub async fn deploy(&self, command: RequestDeployment) -> Result<DeploymentRequested, CommandError<Refused>> {
        match self.take_place(&command).await {
            Ok(Ok(Event::Deployment(DeploymentEvent::Requested(requested)))) => Ok(requested),
            Ok(Ok(_)) => Err(too_busy()),
            Ok(Err(refusal)) => Err(CommandError::Refused(Refused(refusal))),
            Err(e) => match e.refusal()? {},
        }
    }

    /// Decides a press and records what there is to record of it; a refusal that is not comes back as it is.
    async fn take_place(
        &self,
        command: &RequestDeployment,
    ) -> Result<Result<Event, PressRefusal>, CommandError<Infallible>> {
        let actor = Actor::from(&command.requested_by);
        let (build, posted_in) = self.announced(command.build_id).await?;
        let of_project = build.as_ref().map(|build| build.project_id);
        let (event_id, environment) = (new_event_id(), command.environment_id);
        let mut grounds = self.grounds(self.around(of_project).await?, command).await?;
        for _ in 0..ATTEMPTS {
            let Grounds { around, of_person, .. } = &grounds;
            let locks = around.locks(environment);
            let now = self.store.clock().now();
            if let (Some(project), true) = (of_project, locks.iter().any(|lock| lock.is_over(now))) {
                // Its turn comes again.
                drop(grounds);
                self.end_locks_on(project, environment).await?;
                grounds = self.grounds(self.around_anew(of_project).await?, command).await?;
                continue;
            }
            let known = build.as_ref().zip(around.project.as_deref().map(|p| &p.value));
            let place = known.and_then(|(_, project)| project.environment(environment));
            let superseding = place.is_some_and(|place| place.superseding);
            let build_id = Some(command.build_id);
            let line = self.store.deployments().line(environment, locks, build_id, None, superseding).await?;
            let decided = press::request(known, posted_in.as_deref(), &line.value, of_person, command);
            let mut append = Append::default();
            let event = match decided {
                Ok(requested) => {
                    // It would begin at once.
                    if line.value.open.is_empty() {
                        let of = (requested.of, requested.environment_name.as_str());
                        self.nothing_else_runs(of, line.position).await?;
                    }
                    let stopped = place.map(|place| press::superseded(place, &line.value, &requested));
                    let event = Event::from(requested.clone());
                    record(&mut append, event_id, &event, &actor, 0);
                    append.row(rows::of_deployment(Deployment::requested(&requested)));
                    for stopped in stopped.unwrap_or_default() {
                        let id = EventId::following(event_id.0, &stopped.address().stream.to_string());
                        record_waiting(&mut append, &line.value, (id, &stopped), &actor, Some(event_id));
                    }
                    event
                }
                Err(refusal) => match press::refused(known, command, refusal.clone()) {
                    Some(refused) => {
                        let event = Event::from(refused);
                        record(&mut append, event_id, &event, &actor, 0);
                        event
                    }
                    None => {
                        // Nothing guards what is not recorded: it is told on what is there.
                        let seen = around.positions();
                        grounds.around = self.around_anew(of_project).await?;
                        if grounds.around.positions() == seen {
                            return Ok(Err(refusal));
                        }
                        continue;
                    }
                },
            };
            append.guard(environment.0, line.position);
            around.guard(&mut append);
            if self.append_unless_moved(append).await?.is_some() {
                return Ok(Ok(event));
            }
            // The same signed bytes twice are one press: its outcome stands.
            if let Some(before) = self.store.log().stream(command.deployment_id.0).await?.into_iter().next() {
                return Ok(Ok(before.event));
            }
            drop(grounds);
            grounds = self.grounds(self.around_anew(of_project).await?, command).await?;
        }
        Err(too_busy())
    }

    /// What a press is decided on, as it is around its environment, in its turn.
    async fn grounds(
        &self,
        around: Surroundings,
        command: &RequestDeployment,
    ) -> Result<Grounds, CommandError<Infallible>> {
        // Slack may be asked for it, and nobody else is to wait for that.
        let of_person = self.known_here(&around, command).await?;
        Ok(Grounds { around, of_person, _turn: self.turns.wait(command.environment_id).await })
    }
}

/// Why an operator's deployment was refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.sentence())]
pub struct Refused(PressRefusal);
