//! The steps of a deployment from its turn to its end, and what they make follow for those who wait.
//!
//! **Invariant:** a step that doesn't fit where the deployment stands is refused, whoever asks for it.

use super::deployment::*;
use super::event::Event;
use super::ids::*;
use super::line::Line;

/// Reasons for a delay that are recorded for one deployment, at most.
const DELAYS_MAX: u32 = 20;

/// The image that will run, as it was found.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are DeploymentPrepared's")]
pub struct ImageFound {
    pub image_id: String,
    pub digest: Option<String>,
    pub unchecked: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "see the events that they lead to")]
pub enum Ending {
    Succeeded,
    Failed(Failure),
    /// With the last lines that it printed.
    Exited(Failure, Vec<String>),
    Lost(Loss),
    /// It was told to stop before its container was started.
    NotStarted,
    /// What it was for was archived before it began.
    Withdrawn(StopReason),
}

/// A step that doesn't fit where the deployment stands.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("deployment {deployment} is {state}, so it can't be {step}")]
pub struct WrongState {
    deployment: DeploymentId,
    state: &'static str,
    step: &'static str,
}

impl Deployment {
    fn in_state(&self, states: &[State], step: &'static str) -> Result<(), WrongState> {
        self.in_any(|state| states.contains(&state), step)
    }

    fn in_any(&self, fits: impl Fn(State) -> bool, step: &'static str) -> Result<(), WrongState> {
        if fits(self.state()) {
            return Ok(());
        }
        Err(WrongState { deployment: self.of.deployment_id, state: self.state().word(), step })
    }

    /// The worker knows what will run and is about to make the container.
    ///
    /// # Errors
    /// When it isn't this deployment's turn, or it was prepared before.
    pub fn prepare(&self, image: ImageFound, engine_id: String, line: &Line) -> Result<Event, WrongState> {
        self.in_state(&[State::Ready, State::Pulling], "prepared")?;
        let ImageFound { image_id, digest, unchecked } = image;
        let ran = line.runs.clone();
        Ok(DeploymentPrepared {
            of: self.of,
            image_id,
            digest,
            unchecked,
            container: self.container_name(),
            engine_id,
            replaces: ran.as_ref().map(|ran| ran.build_name.clone()),
            replaces_since: ran.as_ref().and_then(|ran| ran.since),
            replaces_source: ran.and_then(|ran| ran.source),
        }
        .into())
    }

    /// The image is not at hand and is being fetched. Nothing when that is known already.
    ///
    /// # Errors
    /// When it isn't this deployment's turn, or it was prepared before.
    pub fn pull(&self) -> Result<Vec<Event>, WrongState> {
        self.in_state(&[State::Ready, State::Pulling], "pulled")?;
        Ok(if self.state() == State::Pulling { vec![] } else { vec![DeploymentPullStarted { of: self.of }.into()] })
    }

    /// It can't be started for now. Recorded once for each reason, and not without end.
    ///
    /// # Errors
    /// When it is not about to start.
    pub fn delay(&self, problem: &str) -> Result<Vec<Event>, WrongState> {
        self.in_state(&[State::Ready, State::Pulling, State::Starting], "delayed")?;
        if self.stand.delay() == Some(problem) || self.delays >= DELAYS_MAX {
            return Ok(vec![]);
        }
        Ok(vec![DeploymentDelayed { of: self.of, problem: problem.to_owned(), times: self.delays + 1 }.into()])
    }

    /// Its container was found running after its end, and was stopped. Nothing when that is known already.
    ///
    /// # Errors
    /// When it has not ended: then its worker sees to the container.
    pub fn stray(&self, container_id: &str) -> Result<Vec<Event>, WrongState> {
        self.in_any(State::is_over, "found to run on")?;
        if self.stray {
            return Ok(vec![]);
        }
        Ok(vec![DeploymentStrayStopped { of: self.of, container_id: container_id.to_owned() }.into()])
    }

    /// It is to stop. What waits ends at once, for a place as for a worker, and what waited behind it moves up; else the worker
    /// sees to it, and where a container `may_run` though nothing says so.
    ///
    /// # Errors
    /// When it ended, is stopping already, or is unknown: then a person looks and resolves it.
    pub fn request_stop(&self, reason: StopReason, line: &Line, may_run: bool) -> Result<Vec<Event>, PressRefusal> {
        let of = self.of;
        let (build_name, environment) = (self.build_name.clone(), self.environment_name.clone());
        let stopped = |reason| DeploymentStopped { of, reason, exit_code: None, cut_off_after: None, log: None }.into();
        Ok(match &self.stand {
            Stand::Succeeded { .. } | Stand::Failed { .. } | Stand::Stopped { .. } | Stand::Resolved { .. } => {
                return Err(PressRefusal::Over { build_name, environment, state: self.state() });
            }
            Stand::Unknown { .. } => return Err(PressRefusal::Undecided { build_name, environment }),
            Stand::Cancelling { reason } => {
                return Err(PressRefusal::Stopping { build_name, environment, reason: Box::new(reason.clone()) });
            }
            // No worker has begun, and one that is about to finds this out when it records that.
            Stand::Ready { .. } if !may_run => self.then_next(stopped(reason), line),
            Stand::Queued { .. } | Stand::Locked { .. } if line.holder().is_none() => {
                self.then_next(stopped(reason), line)
            }
            Stand::Queued { .. } => self.then(stopped(reason), vec![], line),
            // Another one says now that the lock keeps it waiting.
            Stand::Locked { .. } => {
                let next = line.waiting().find(|d| d.of.deployment_id != of.deployment_id);
                let kept_out = next.and_then(|next| line.kept_out(next));
                self.then(stopped(reason), kept_out.into_iter().collect(), line)
            }
            // A worker may be about to start it: it looks before it does, and ends it then.
            Stand::Ready { .. } | Stand::Pulling { .. } | Stand::Starting { .. } | Stand::Running => {
                vec![DeploymentStopRequested { of, reason }.into()]
            }
        })
    }

    /// The container runs.
    ///
    /// # Errors
    /// When it was not about to start.
    pub fn start(&self, container_id: String) -> Result<Event, WrongState> {
        self.in_state(&[State::Starting], "started")?;
        Ok(DeploymentStarted { of: self.of, container_id }.into())
    }

    /// The run ended, or got lost. An end lets the next in the line have its turn; a loss keeps the environment closed.
    ///
    /// # Errors
    /// When it does not hold the environment, or was lost already.
    pub fn end(&self, ending: Ending, log: LogSeal, line: &Line) -> Result<Vec<Event>, WrongState> {
        self.in_any(State::is_worked_on, "ended")?;
        let of = self.of;
        let stop = match &self.stand {
            Stand::Cancelling { reason } => Some(reason.clone()),
            _ => None,
        };
        let stopped = |reason, exit_code, cut_off_after, log| DeploymentStopped {
            of,
            reason,
            exit_code,
            cut_off_after,
            log: Some(log),
        };
        let ended = match (ending, stop) {
            (Ending::Lost(loss), _) => return Ok(vec![DeploymentLost { of, loss, log }.into()]),
            // It was told to stop: how the script took it is not the script's failure.
            (Ending::Succeeded, Some(reason)) => stopped(reason, Some(0), None, log).into(),
            (Ending::Failed(failure) | Ending::Exited(failure, _), Some(reason)) => {
                // Of the reasons for 137 only this one is the end of the grace.
                let is_cut_off = matches!(failure, Failure::Killed { engine_restarted: false });
                stopped(reason, failure.exit_code(), is_cut_off.then_some(self.stop_grace_seconds), log).into()
            }
            (Ending::NotStarted, Some(reason)) => stopped(reason, None, None, log).into(),
            (Ending::Withdrawn(reason), stop) => stopped(stop.unwrap_or(reason), None, None, log).into(),
            (Ending::Succeeded, None) => DeploymentSucceeded { of, log }.into(),
            (Ending::Failed(failure), None) => DeploymentFailed { of, failure, last_lines: vec![], log }.into(),
            (Ending::Exited(failure, last_lines), None) => DeploymentFailed { of, failure, last_lines, log }.into(),
            (Ending::NotStarted, None) => {
                return self.in_state(&[State::Cancelling], "ended before it began").map(|()| vec![]);
            }
        };
        Ok(self.then_next(ended, line))
    }

    /// A person decides how an unknown deployment ended.
    ///
    /// # Errors
    /// When it is not unknown.
    pub fn resolve(&self, verdict: Verdict, reason: String, line: &Line) -> Result<Vec<Event>, WrongState> {
        self.in_state(&[State::Unknown], "resolved")?;
        Ok(self.then_next(DeploymentResolved { of: self.of, verdict, reason }.into(), line))
    }

    /// It leaves the line, and the next one has its turn.
    fn then_next(&self, ended: Event, line: &Line) -> Vec<Event> {
        self.then(ended, line.next(Some(self.of.deployment_id)), line)
    }

    /// It leaves the line; then what follows, and what follows for those who waited behind it.
    fn then(&self, ended: Event, follows: Vec<Event>, line: &Line) -> Vec<Event> {
        let moved_up = line.moved_up(self, &follows);
        std::iter::once(ended).chain(follows).chain(moved_up).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::build::{BuildRegistered, RegisterBuild, Registration};
    use crate::domain::event::SettingsEvent;
    use crate::domain::press::{Pressed, RequestDeployment, request};
    use crate::domain::project::Project;
    use crate::domain::rights::Known;
    use crate::domain::{build, settings};

    fn project() -> Project {
        let Ok(Event::Settings(SettingsEvent::ProjectCreated(e))) =
            settings::create("api", "Api", "busybox", "C1", "k-1".into())
        else {
            panic!("refused")
        };
        let project = Project::created(&e);
        let production = project.create_environment(EnvironmentId(Uuid::from_u128(1)), "Production", None).unwrap();
        project.evolve(&production)
    }

    fn build(project: &Project, name: &str) -> BuildRegistered {
        let command = RegisterBuild {
            name: name.into(),
            params: vec![],
            metadata: vec![],
            public_url: "http://x".into(),
            run: None,
            source: None,
        };
        let Ok(Registration::New(build)) = build::decide(project, None, command) else { panic!("refused") };
        *build
    }

    fn press(
        project: &Project,
        build: &BuildRegistered,
        line: &Line,
        id: u128,
    ) -> Result<DeploymentRequested, PressRefusal> {
        let command = RequestDeployment {
            deployment_id: DeploymentId(Uuid::from_u128(id)),
            build_id: build.build_id,
            environment_id: project.environments[0].id,
            requested_by: Person { team: "T1".into(), user: "U1".into(), name: "ana".into() }.into(),
            pressed: Some(Pressed { channel: "C1".into(), foreign: false }),
        };
        request(Some((build, project)), Some("C1"), line, &Known::default(), &command)
    }

    fn accepted(decided: &Result<DeploymentRequested, PressRefusal>) -> Deployment {
        Deployment::requested(decided.as_ref().unwrap())
    }

    /// What has to happen for a deployment whose turn it is to stand so; queued, it has to wait behind one that runs.
    fn in_state(state: State, ready: Deployment) -> Deployment {
        let ahead = Ahead { deployment_id: DeploymentId(Uuid::from_u128(99)), build_name: "m-0".into() };
        let image = ImageFound { image_id: "sha256:1".into(), digest: None, unchecked: false };
        let stop = StopReason::TimeLimit { minutes: 1 };
        let happens = |d: Deployment, events: &[Event]| events.iter().fold(d, Deployment::evolve);
        let starting = |d: Deployment| {
            let prepared = d.prepare(image.clone(), "engine".into(), &Line::default()).unwrap();
            d.evolve(&prepared)
        };
        let running = |d: Deployment| {
            let d = starting(d);
            let started = d.start("container".into()).unwrap();
            d.evolve(&started)
        };
        match state {
            State::Queued => Deployment { stand: Stand::Queued { behind: ahead }, ..ready },
            State::Ready => ready,
            State::Pulling => happens(ready.clone(), &ready.pull().unwrap()),
            State::Starting => starting(ready),
            State::Running => running(ready),
            State::Cancelling => {
                happens(running(ready.clone()), &running(ready).request_stop(stop, &Line::default(), false).unwrap())
            }
            State::Unknown => {
                let lost =
                    running(ready.clone()).end(Ending::Lost(Loss::ContainerRemoved), seal(), &Line::default()).unwrap();
                happens(running(ready), &lost)
            }
            over => panic!("{over:?} is not open"),
        }
    }

    fn line(open: impl IntoIterator<Item = Deployment>) -> Line {
        Line { open: open.into_iter().collect(), ..Line::default() }
    }

    fn seal() -> LogSeal {
        LogSeal { chunks: 0, lines: 0, bytes: 0, head: String::new(), left_out: LeftOut::default(), gaps: 0 }
    }

    #[test]
    fn the_first_press_has_its_turn_and_the_second_build_waits_behind_it() {
        let project = project();
        let first = accepted(&press(&project, &build(&project, "m-1"), &Line::default(), 1));
        assert_eq!(first.state(), State::Ready);
        let second = press(&project, &build(&project, "m-2"), &line([first]), 2);
        assert_eq!(second.as_ref().unwrap().behind.as_ref().unwrap().build_name, "m-1");
        assert_eq!(accepted(&second).state(), State::Queued);
    }

    #[test]
    fn a_second_press_of_the_same_build_is_refused_by_name_in_every_open_state() {
        let project = project();
        let build = build(&project, "m-1");
        for state in State::ALL.into_iter().filter(|s| s.is_open()) {
            let there = in_state(state, accepted(&press(&project, &build, &Line::default(), 1)));
            let refusal = press(&project, &build, &line([there]), 2).unwrap_err();
            assert!(refusal.sentence().starts_with("m-1 is already "), "{state:?}: {}", refusal.sentence());
        }
    }

    #[test]
    fn an_end_gives_the_turn_to_the_next_and_a_loss_gives_it_to_nobody() {
        let project = project();
        let running =
            in_state(State::Running, accepted(&press(&project, &build(&project, "m-1"), &Line::default(), 1)));
        let waiting = accepted(&press(&project, &build(&project, "m-2"), &line([running.clone()]), 2));
        let line = line([running.clone(), waiting.clone()]);
        let ended = running.end(Ending::Succeeded, seal(), &line).unwrap();
        assert_eq!(ended[1], DeploymentPromoted { of: waiting.of, lock_taken: None }.into());
        let lost = running.end(Ending::Lost(Loss::ContainerRemoved), seal(), &line).unwrap();
        assert_eq!(lost.len(), 1);
        let unknown = running.evolve(&lost[0]);
        assert!(unknown.end(Ending::Succeeded, seal(), &line).is_err(), "an unknown deployment ends only by a person");
        assert_eq!(unknown.resolve(Verdict::Failed, "looked".into(), &line).unwrap().len(), 2);
    }

    #[test]
    fn what_is_stopping_says_for_whom_and_what_is_unknown_can_not_be_stopped() {
        let project = project();
        let ready = accepted(&press(&project, &build(&project, "m-1"), &Line::default(), 1));
        let ben = Person { team: "T1".into(), user: "U2".into(), name: "ben".into() };
        let wish = || StopReason::Person { by: ben.clone(), reason: Some("wrong branch".into()) };
        let running = in_state(State::Running, ready.clone());
        let stopping = running.clone().evolve(&running.request_stop(wish(), &Line::default(), false).unwrap()[0]);
        assert_eq!(
            stopping.request_stop(wish(), &Line::default(), false).unwrap_err().sentence(),
            "m-1 on Production is being stopped already: ben wanted so: wrong branch."
        );
        let unknown = in_state(State::Unknown, ready).request_stop(wish(), &Line::default(), false).unwrap_err();
        assert!(unknown.sentence().contains("coolops deployment resolve"), "{}", unknown.sentence());
    }

    #[test]
    fn what_ended_ends_only_once() {
        let project = project();
        let running =
            in_state(State::Running, accepted(&press(&project, &build(&project, "m-1"), &Line::default(), 1)));
        let ended = running.end(Ending::Failed(Failure::Exit { code: 3 }), seal(), &Line::default()).unwrap();
        let failed = running.evolve(&ended[0]);
        assert_eq!((failed.state(), failed.stand.exit_code()), (State::Failed, Some(3)));
        assert_eq!(
            failed.end(Ending::Succeeded, seal(), &Line::default()).unwrap_err().to_string(),
            format!("deployment {} is failed, so it can't be ended", failed.of.deployment_id)
        );
    }

    #[test]
    fn a_press_on_what_is_gone_says_so() {
        let project = project();
        let build = build(&project, "m-1");
        let archived = project.change_environment("Production", settings::EnvironmentChange::Archive).unwrap();
        let project = project.evolve(&archived);
        let refusal = press(&project, &build, &Line::default(), 1).unwrap_err();
        assert!(refusal.sentence().starts_with("The environment Production does not exist any more"));
    }
}
