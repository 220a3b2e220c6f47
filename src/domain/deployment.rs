//! A deployment: one press, its place in the environment's line, its run and its end.
//!
//! **Invariant:** at most one deployment holds an environment (is ready, pulling, starting, running, cancelling or
//! unknown); the rest wait in the order of their presses. A deployment has exactly one end; an unknown one holds its
//! environment until a person decides.

use serde::{Deserialize, Serialize};

use super::build::{BuildRegistered, Source};
pub use super::deployment_events::*;
use super::event::{DeploymentEvent, Event};
use super::ids::*;
use super::lock_events::Lock;
use super::names::ImageRef;
use super::project::{Environment, Project, Unchecked};
use super::rights::{Known, Right};
pub use super::state::State;

/// Where a deployment stands, with what is known of it only there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the events that lead there")]
pub enum Stand {
    /// Waits behind another one of its environment.
    Queued { behind: Ahead },
    /// It would be its turn, and somebody else's lock keeps it waiting.
    Locked { lock: Lock },
    /// Its turn; waits for a free worker, or for what can't be done yet.
    Ready { delay: Option<String> },
    /// A worker fetches its image.
    Pulling { delay: Option<String> },
    /// A worker prepares and starts its container.
    Starting { delay: Option<String> },
    /// The container runs.
    Running,
    /// It was told to stop and has not ended yet.
    Cancelling { reason: StopReason },
    /// Nobody can tell; a person must decide.
    Unknown { loss: Loss, log: LogSeal },
    /// The container ended with exit code 0.
    Succeeded { log: LogSeal },
    /// It ended in any other way that is known.
    Failed {
        failure: Failure,
        #[serde(default)]
        last_lines: Vec<String>,
        log: LogSeal,
    },
    /// It was told to stop, and did; without a seal when it had not begun.
    Stopped { reason: StopReason, exit_code: Option<i64>, cut_off_after: Option<u32>, log: Option<LogSeal> },
    /// A person decided how it ended.
    Resolved { verdict: Verdict, reason: String, loss: Loss, log: LogSeal },
}

impl Stand {
    /// The word for it.
    pub fn state(&self) -> State {
        match self {
            Self::Queued { .. } | Self::Locked { .. } => State::Queued,
            Self::Ready { .. } => State::Ready,
            Self::Pulling { .. } => State::Pulling,
            Self::Starting { .. } => State::Starting,
            Self::Running => State::Running,
            Self::Cancelling { .. } => State::Cancelling,
            Self::Unknown { .. } => State::Unknown,
            Self::Succeeded { .. } | Self::Resolved { verdict: Verdict::Succeeded, .. } => State::Succeeded,
            Self::Failed { .. } | Self::Resolved { verdict: Verdict::Failed, .. } => State::Failed,
            Self::Stopped { reason: StopReason::TimeLimit { .. }, .. } => State::TimedOut,
            Self::Stopped { reason: StopReason::NotAllowed { .. }, .. } => State::Refused,
            Self::Stopped {
                reason:
                    StopReason::Operator { .. }
                    | StopReason::Person { .. }
                    | StopReason::Superseded { .. }
                    | StopReason::Archived { .. },
                ..
            } => State::Cancelled,
        }
    }

    /// Why it can't be started for now.
    pub fn delay(&self) -> Option<&str> {
        match self {
            Self::Ready { delay } | Self::Pulling { delay } | Self::Starting { delay } => delay.as_deref(),
            _ => None,
        }
    }

    /// The seal of its output, once there is one.
    pub fn log(&self) -> Option<&LogSeal> {
        match self {
            Self::Unknown { log, .. }
            | Self::Succeeded { log }
            | Self::Failed { log, .. }
            | Self::Resolved { log, .. } => Some(log),
            Self::Stopped { log, .. } => log.as_ref(),
            _ => None,
        }
    }

    /// How its container ended, where that is known.
    pub fn exit_code(&self) -> Option<i64> {
        match self {
            Self::Succeeded { .. } => Some(0),
            Self::Failed { failure, .. } => failure.exit_code(),
            Self::Stopped { exit_code, .. } => *exit_code,
            _ => None,
        }
    }
}

/// What runs or ran: from here on it may have started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of DeploymentPrepared and DeploymentStarted")]
pub struct Prepared {
    pub image_id: String,
    pub digest: Option<String>,
    pub unchecked: bool,
    pub engine_id: String,
    #[serde(default)]
    pub replaces: Option<String>,
    #[serde(default)]
    pub replaces_source: Option<Source>,
    /// None before it was started.
    pub container_id: Option<String>,
}

/// A deployment as its events leave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of its events")]
pub struct Deployment {
    pub of: DeploymentOf,
    pub build_name: String,
    pub environment_name: String,
    pub requested_by: Person,
    pub image: ImageRef,
    pub time_limit_minutes: u32,
    pub log_limit_mebibytes: u32,
    pub start_patience_minutes: u32,
    pub stop_grace_seconds: u32,
    pub unchecked_image: Unchecked,
    #[serde(default)]
    pub source: Option<Source>,
    /// Where it stands.
    pub stand: Stand,
    /// What runs or ran; none before that was known.
    pub prepared: Option<Prepared>,
    /// Delays that were recorded so far.
    pub delays: u32,
    /// Its container was found running after its end, and was stopped.
    pub stray: bool,
    /// Events in its stream.
    pub version: i32,
}

impl Deployment {
    /// The deployment that an accepted press makes.
    pub fn requested(event: &DeploymentRequested) -> Self {
        Self {
            of: event.of,
            build_name: event.build_name.clone(),
            environment_name: event.environment_name.clone(),
            requested_by: event.requested_by.clone(),
            image: event.image.clone(),
            time_limit_minutes: event.time_limit_minutes,
            log_limit_mebibytes: event.log_limit_mebibytes,
            start_patience_minutes: event.start_patience_minutes,
            stop_grace_seconds: event.stop_grace_seconds,
            unchecked_image: event.unchecked_image,
            source: event.source.clone(),
            stand: match (&event.behind, &event.lock) {
                (Some(behind), _) => Stand::Queued { behind: behind.clone() },
                (None, Some(lock)) => Stand::Locked { lock: lock.clone() },
                (None, None) => Stand::Ready { delay: None },
            },
            prepared: None,
            delays: 0,
            stray: false,
            version: 1,
        }
    }

    /// The word for where it stands.
    pub fn state(&self) -> State {
        self.stand.state()
    }

    /// The deployment after one more event of its own; events of other things change nothing.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        self.apply(event);
        self
    }

    /// The same, in place.
    pub fn apply(&mut self, event: &Event) {
        let Event::Deployment(event) = event else { return };
        match event {
            DeploymentEvent::Promoted(_) => self.stand = Stand::Ready { delay: None },
            DeploymentEvent::MovedUp(e) => {
                if self.state() == State::Queued {
                    self.stand = Stand::Queued { behind: e.behind.clone() };
                }
            }
            DeploymentEvent::LockedOut(e) => {
                if self.state() == State::Queued {
                    self.stand = Stand::Locked { lock: e.lock.clone() };
                }
            }
            DeploymentEvent::PullStarted(_) => self.stand = Stand::Pulling { delay: None },
            DeploymentEvent::Delayed(e) => {
                self.delays = e.times;
                if let Stand::Ready { delay } | Stand::Pulling { delay } | Stand::Starting { delay } = &mut self.stand {
                    *delay = Some(e.problem.clone());
                }
            }
            // Its end stands; what was found afterwards is told beside it.
            DeploymentEvent::StrayStopped(_) => self.stray = true,
            DeploymentEvent::Prepared(e) => {
                // It may be put off again for the same reason.
                self.stand = Stand::Starting { delay: self.stand.delay().map(str::to_owned) };
                self.prepared = Some(Prepared {
                    image_id: e.image_id.clone(),
                    digest: e.digest.clone(),
                    unchecked: e.unchecked,
                    engine_id: e.engine_id.clone(),
                    replaces: e.replaces.clone(),
                    replaces_source: e.replaces_source.clone(),
                    container_id: None,
                });
            }
            DeploymentEvent::Started(e) => {
                self.stand = Stand::Running;
                if let Some(prepared) = &mut self.prepared {
                    prepared.container_id = Some(e.container_id.clone());
                }
            }
            DeploymentEvent::StopRequested(e) => self.stand = Stand::Cancelling { reason: e.reason.clone() },
            DeploymentEvent::Stopped(e) => {
                let (reason, log) = (e.reason.clone(), e.log.clone());
                self.stand = Stand::Stopped { reason, exit_code: e.exit_code, cut_off_after: e.cut_off_after, log };
            }
            DeploymentEvent::Succeeded(e) => self.stand = Stand::Succeeded { log: e.log.clone() },
            DeploymentEvent::Failed(e) => {
                let (failure, last_lines, log) = (e.failure.clone(), e.last_lines.clone(), e.log.clone());
                self.stand = Stand::Failed { failure, last_lines, log };
            }
            DeploymentEvent::Lost(e) => self.stand = Stand::Unknown { loss: e.loss, log: e.log.clone() },
            DeploymentEvent::Resolved(e) => {
                if let Stand::Unknown { loss, log } = &self.stand {
                    let (loss, log) = (*loss, log.clone());
                    self.stand = Stand::Resolved { verdict: e.verdict, reason: e.reason.clone(), loss, log };
                }
            }
            DeploymentEvent::Requested(_) | DeploymentEvent::Refused(_) => return,
        }
        self.version += 1;
    }

    /// The name of its container: what makes a second start impossible and adoption possible.
    pub fn container_name(&self) -> String {
        format!("coolops-{}", self.of.deployment_id)
    }
}

/// Somebody presses a button.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain facts of the press")]
pub struct RequestDeployment {
    pub deployment_id: DeploymentId,
    pub build_id: BuildId,
    pub environment_id: EnvironmentId,
    pub requested_by: Person,
    pub channel: String,
    /// The button is not on a message of this app in its own workspace.
    pub foreign: bool,
}

/// The open deployments of one environment in the order of their presses, and the lock on it. One of them at most holds
/// it: the first, unless a lock lets later ones through. Of a long line only what decisions need: its holder, its first
/// two, its last, the first that the lock lets through, and those of the build in question.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// The deployments.
    pub open: Vec<Deployment>,
    /// The lock.
    pub lock: Option<Lock>,
    /// The build that went well there last.
    pub runs: Option<Ran>,
}

/// A build that went well somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of its deployment")]
pub struct Ran {
    pub build_name: String,
    #[serde(default)]
    pub source: Option<Source>,
}

impl std::ops::Deref for Line {
    type Target = [Deployment];
    fn deref(&self) -> &[Deployment] {
        &self.open
    }
}

impl Line {
    fn lets(&self, deployment: &Deployment) -> bool {
        self.lock.as_ref().is_none_or(|lock| lock.lets(&deployment.requested_by))
    }

    /// What follows when nobody but, perhaps, one that ends holds the environment: the first that may has its turn; where
    /// a lock keeps the first one waiting, it says so.
    fn next(&self, but: Option<DeploymentId>) -> Vec<Event> {
        let waiting = || self.iter().filter(|d| Some(d.of.deployment_id) != but && d.state() == State::Queued);
        let Some(first) = waiting().next() else { return vec![] };
        let turn = waiting().find(|d| self.lets(d));
        let promoted = turn.map(|d| DeploymentPromoted { of: d.of }.into());
        let kept = turn.is_none_or(|d| d.of != first.of).then_some(self.lock.as_ref()).flatten();
        promoted.into_iter().chain(kept.and_then(|lock| first.locked_out(lock))).collect()
    }

    fn holder(&self) -> Option<&Deployment> {
        self.iter().find(|d| d.state().holds())
    }

    /// What follows from another lock, or from none: the first waiting one has its turn, or says what it waits for.
    pub fn locked_anew(&self) -> Option<Event> {
        let Some(holder) = self.holder() else { return self.next(None).into_iter().next() };
        // What waited for a lock waits for what runs.
        let first = self.iter().find(|d| matches!(d.stand, Stand::Locked { .. }))?;
        if self.lock.is_some() {
            return first.locked_out(self.lock.as_ref()?);
        }
        let behind = Ahead { deployment_id: holder.of.deployment_id, build_name: holder.build_name.clone() };
        Some(DeploymentMovedUp { of: first.of, behind }.into())
    }
}

/// Decides a press: the deployment takes its place in the line, or the refusal is recorded. Always one event.
///
/// `posted_in` is the channel that Slack named when it took the build's message, `known` what is known of who pressed.
pub fn request(
    build: Option<(&BuildRegistered, &Project)>,
    posted_in: Option<&str>,
    line: &Line,
    known: &Known,
    command: &RequestDeployment,
) -> Event {
    let RequestDeployment { deployment_id, build_id, environment_id, .. } = *command;
    let refuse = |refusal| {
        let (requested_by, channel) = (command.requested_by.clone(), command.channel.clone());
        let project_id = build.map(|(_, project)| project.id);
        DeploymentRefused { deployment_id, build_id, environment_id, project_id, requested_by, channel, refusal }.into()
    };
    if command.foreign {
        return refuse(PressRefusal::ForeignMessage);
    }
    let Some((build, project)) = build else {
        return refuse(PressRefusal::BuildUnknown);
    };
    if project.archived {
        return refuse(PressRefusal::ProjectArchived { project: project.name.clone() });
    }
    if let Err(refusal) = admit(build, project, posted_in, &command.channel) {
        return refuse(refusal);
    }
    let Some(environment) = project.environment(command.environment_id).filter(|e| !e.archived) else {
        let shown = build.environments.iter().find(|e| e.id == command.environment_id);
        let environment = shown.map_or_else(|| "of this button".to_owned(), |e| e.name.clone());
        return refuse(PressRefusal::EnvironmentGone { environment });
    };
    if let Err(denied) = environment.rights.may(Right::Deploy, &command.requested_by, known) {
        return refuse(PressRefusal::NotAllowed { environment: environment.name.clone(), denied });
    }
    if let Some(there) = line.iter().find(|d| d.of.build_id == command.build_id) {
        return refuse(PressRefusal::UnderWay {
            build_name: there.build_name.clone(),
            environment: environment.name.clone(),
            state: there.state(),
            since_press_of: there.requested_by.user.clone(),
        });
    }
    // What waits makes room for a newer press, where that is wanted.
    let stays = |d: &Deployment| d.state() != State::Queued || !environment.superseding;
    let lock = line.lock.as_ref();
    let (ahead, locked_out) = match lock.filter(|lock| !lock.lets(&command.requested_by)) {
        Some(lock) if !line.iter().any(stays) => (None, Some(lock.clone())),
        // Theirs goes before what their lock keeps waiting.
        None if lock.is_some() => {
            let own = line.iter().rev().find(|d| line.lets(d) && d.state() == State::Queued && stays(d));
            (own.or(line.holder()), None)
        }
        _ => (line.iter().rev().find(|d| d.state() == State::Queued && stays(d)).or(line.holder()), None),
    };
    DeploymentRequested {
        of: DeploymentOf { deployment_id, build_id, environment_id, project_id: project.id },
        build_name: build.name.clone(),
        environment_name: environment.name.clone(),
        requested_by: command.requested_by.clone(),
        image: project.image.clone(),
        time_limit_minutes: project.time_limit_minutes,
        log_limit_mebibytes: project.log_limit_mebibytes,
        start_patience_minutes: project.start_patience_minutes,
        stop_grace_seconds: project.stop_grace_seconds,
        unchecked_image: project.unchecked_image,
        behind: ahead.map(|d| Ahead { deployment_id: d.of.deployment_id, build_name: d.build_name.clone() }),
        lock: locked_out,
        source: build.source.clone(),
    }
    .into()
}

/// What an accepted press takes the place of, where the environment is so: those that wait end.
pub fn superseded(environment: &Environment, line: &Line, newer: &DeploymentRequested) -> Vec<Event> {
    let waiting = line.iter().filter(|d| environment.superseding && d.state() == State::Queued);
    let stopped = |d: &Deployment| {
        let (deployment_id, by) = (newer.of.deployment_id, newer.build_name.clone());
        let reason = StopReason::Superseded { deployment_id, by };
        DeploymentStopped { of: d.of, reason, exit_code: None, cut_off_after: None, log: None }.into()
    };
    waiting.map(stopped).collect()
}

/// Lets a press in that comes from where the project's builds are deployed from: whoever sees the channel of before may
/// not be who should deploy, or stop, any more.
fn admit(
    build: &BuildRegistered,
    project: &Project,
    posted_in: Option<&str>,
    channel: &str,
) -> Result<(), PressRefusal> {
    if is_at_home(build, project, posted_in, channel) {
        return Ok(());
    }
    Err(PressRefusal::MovedAway { project: project.name.clone(), channel: project.channel.clone() })
}

/// Somebody in Slack asks for the end of a deployment.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain facts of the press")]
pub struct CancelDeployment {
    pub deployment_id: DeploymentId,
    pub requested_by: Person,
    pub reason: Option<String>,
    pub channel: String,
    /// The menu is not on a message of this app in its own workspace.
    pub foreign: bool,
}

/// Decides whether somebody may end a deployment from where they press, whatever was archived meanwhile: what takes away
/// stays possible. Whoever had it deployed may end it.
///
/// # Errors
/// When the press comes from elsewhere, or only others may.
pub fn may_cancel(
    build: Option<(&BuildRegistered, &Project)>,
    posted_in: Option<&str>,
    deployment: &Deployment,
    known: &Known,
    command: &CancelDeployment,
) -> Result<(), PressRefusal> {
    if command.foreign {
        return Err(PressRefusal::ForeignMessage);
    }
    let (build, project) = build.ok_or(PressRefusal::BuildUnknown)?;
    admit(build, project, posted_in, &command.channel)?;
    match project.environment(deployment.of.environment_id) {
        Some(environment) if !deployment.requested_by.is(&command.requested_by) => environment
            .rights
            .may(Right::Stop, &command.requested_by, known)
            .map(|_| ())
            .map_err(|denied| PressRefusal::NotAllowed { environment: environment.name.clone(), denied }),
        _ => Ok(()),
    }
}

/// Whether a press comes from the channel that the project's messages go to now. Slack may answer a post with another
/// id than the one that was set (a private channel that became a public one has two).
pub fn is_at_home(build: &BuildRegistered, project: &Project, posted_in: Option<&str>, channel: &str) -> bool {
    channel == project.channel || (build.channel == project.channel && posted_in.is_none_or(|posted| posted == channel))
}

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
        let (replaces, replaces_source) =
            line.runs.clone().map_or((None, None), |ran| (Some(ran.build_name), ran.source));
        Ok(DeploymentPrepared {
            of: self.of,
            image_id,
            digest,
            unchecked,
            container: self.container_name(),
            engine_id,
            replaces,
            replaces_source,
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

    /// Its container was found running after its end, and was stopped.
    ///
    /// # Errors
    /// When it has not ended: then its worker sees to the container.
    pub fn stray(&self, container_id: &str) -> Result<Vec<Event>, WrongState> {
        self.in_any(State::is_over, "found to run on")?;
        Ok(vec![DeploymentStrayStopped { of: self.of, container_id: container_id.to_owned() }.into()])
    }

    /// It is to stop. What waits ends at once, and what waited right behind it moves up; else the worker sees to it.
    ///
    /// # Errors
    /// When it ended, is stopping already, or is unknown: then a person looks and resolves it.
    pub fn request_stop(&self, reason: StopReason, line: &Line) -> Result<Vec<Event>, PressRefusal> {
        let of = self.of;
        let (build_name, environment) = (self.build_name.clone(), self.environment_name.clone());
        Ok(match &self.stand {
            Stand::Succeeded { .. } | Stand::Failed { .. } | Stand::Stopped { .. } | Stand::Resolved { .. } => {
                return Err(PressRefusal::Over { build_name, environment, state: self.state() });
            }
            Stand::Unknown { .. } => return Err(PressRefusal::Undecided { build_name, environment }),
            Stand::Cancelling { reason } => {
                return Err(PressRefusal::Stopping { build_name, environment, reason: Box::new(reason.clone()) });
            }
            Stand::Queued { .. } | Stand::Locked { .. } => {
                let place = line.iter().position(|d| d.of.deployment_id == of.deployment_id).unwrap_or(line.len());
                let (before, after) = (&line[..place], line.get(place + 1..).unwrap_or_default());
                let next = after.iter().find(|d| d.state() == State::Queued);
                let moved: Vec<Event> = match (before.last(), &line.lock) {
                    // Of a line that a lock keeps waiting the next one says so, or has its turn.
                    _ if line.holder().is_none() => line.next(Some(of.deployment_id)),
                    (None, Some(lock)) => next.and_then(|next| next.locked_out(lock)).into_iter().collect(),
                    (None, None) => vec![],
                    (Some(before), _) => next
                        .into_iter()
                        .map(|next| {
                            let build_name = before.build_name.clone();
                            let behind = Ahead { deployment_id: before.of.deployment_id, build_name };
                            DeploymentMovedUp { of: next.of, behind }.into()
                        })
                        .collect(),
                };
                std::iter::once(
                    DeploymentStopped { of, reason, exit_code: None, cut_off_after: None, log: None }.into(),
                )
                .chain(moved)
                .collect()
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

    fn then_next(&self, ended: Event, line: &Line) -> Vec<Event> {
        std::iter::once(ended).chain(line.next(Some(self.of.deployment_id))).collect()
    }

    /// That a lock keeps it waiting, unless that is what it says.
    fn locked_out(&self, lock: &Lock) -> Option<Event> {
        let says_so = matches!(&self.stand, Stand::Locked { lock: there } if there == lock);
        (!says_so).then(|| DeploymentLockedOut { of: self.of, lock: lock.clone() }.into())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::build::{RegisterBuild, Registration};
    use crate::domain::event::SettingsEvent;
    use crate::domain::{build, project};

    fn project() -> Project {
        let Ok(Event::Settings(SettingsEvent::ProjectCreated(e))) =
            project::create("api", "Api", "busybox", "C1", "k-1".into())
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

    fn press(project: &Project, build: &BuildRegistered, line: &Line, id: u128) -> Event {
        let command = RequestDeployment {
            deployment_id: DeploymentId(Uuid::from_u128(id)),
            build_id: build.build_id,
            environment_id: project.environments[0].id,
            requested_by: Person { team: "T1".into(), user: "U1".into(), name: "ana".into() },
            channel: "C1".into(),
            foreign: false,
        };
        request(Some((build, project)), Some("C1"), line, &Known::default(), &command)
    }

    fn accepted(event: &Event) -> Deployment {
        let Event::Deployment(DeploymentEvent::Requested(e)) = event else { panic!("refused: {event:?}") };
        Deployment::requested(e)
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
                happens(running(ready.clone()), &running(ready).request_stop(stop, &Line::default()).unwrap())
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
        let Event::Deployment(DeploymentEvent::Requested(event)) = &second else { panic!("refused") };
        assert_eq!(event.behind.as_ref().unwrap().build_name, "m-1");
        assert_eq!(accepted(&second).state(), State::Queued);
    }

    #[test]
    fn a_second_press_of_the_same_build_is_refused_by_name_in_every_open_state() {
        let project = project();
        let build = build(&project, "m-1");
        for state in State::ALL.into_iter().filter(|s| s.is_open()) {
            let there = in_state(state, accepted(&press(&project, &build, &Line::default(), 1)));
            let Event::Deployment(DeploymentEvent::Refused(refused)) = press(&project, &build, &line([there]), 2)
            else {
                panic!("accepted while {state:?}")
            };
            assert!(refused.refusal.sentence().starts_with("m-1 is already "), "{}", refused.refusal.sentence());
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
        assert_eq!(ended[1], DeploymentPromoted { of: waiting.of }.into());
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
        let stopping = running.clone().evolve(&running.request_stop(wish(), &Line::default()).unwrap()[0]);
        assert_eq!(
            stopping.request_stop(wish(), &Line::default()).unwrap_err().sentence(),
            "m-1 on Production is being stopped already: ben wanted so: wrong branch."
        );
        let unknown = in_state(State::Unknown, ready).request_stop(wish(), &Line::default()).unwrap_err();
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
        let archived = project.change_environment("Production", project::EnvironmentChange::Archive).unwrap();
        let project = project.evolve(&archived);
        let Event::Deployment(DeploymentEvent::Refused(refused)) = press(&project, &build, &Line::default(), 1) else {
            panic!("accepted")
        };
        assert!(refused.refusal.sentence().starts_with("The environment Production does not exist any more"));
    }
}
