//! A deployment: one press, its place in the environment's line, its run and its end.
//!
//! **Invariant:** a deployment has exactly one end; an unknown one holds its environment until a person decides. How it
//! begins is in [`press`](super::press), which steps it takes in [`step`](super::step).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::build_events::Source;
pub use super::deployment_events::*;
use super::event::{DeploymentEvent, Event};
use super::lock_events::Lock;
use super::names::ImageRef;
use super::project_events::Unchecked;
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
    #[serde(default)]
    pub replaces_since: Option<DateTime<Utc>>,
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
    pub requested_by: Somebody,
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
    /// It, as whoever waits right behind it says.
    pub fn ahead(&self) -> Ahead {
        Ahead { deployment_id: self.of.deployment_id, build_name: self.build_name.clone() }
    }

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
                (None, Some(lock)) => Stand::Locked { lock: Lock::clone(lock) },
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

    /// Takes in one more event of its own; events of other things change nothing.
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
                    replaces_since: e.replaces_since,
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
