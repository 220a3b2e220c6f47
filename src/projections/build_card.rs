//! What a build's Slack message says: a fold of the build's own events and nothing else.

use chrono::{DateTime, Utc};

use crate::domain::build::{ButtonFor, Entry};
use crate::domain::deployment::{Failure, State, StopReason, Verdict, stopped};
use crate::domain::event::{Event, Recorded, settings};
use crate::domain::ids::{BuildId, DeploymentId, ProjectId};

/// A build's message as data.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are BuildRegistered's")]
pub struct BuildCard {
    pub build_id: BuildId,
    pub project_id: ProjectId,
    pub project_name: String,
    pub build_name: String,
    pub metadata: Vec<Entry>,
    pub environments: Vec<ButtonFor>,
    pub channel: String,
    pub public_url: String,
    pub link_key: String,
    /// When CI announced it.
    pub registered_at: DateTime<Utc>,
    /// One line per accepted press, oldest first.
    pub lines: Vec<Line>,
    /// Counts what changed the card: tells one version of its message from another.
    pub version: u32,
}

/// One deployment's line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which deployment.
    pub deployment_id: DeploymentId,
    /// Where to.
    pub environment: String,
    /// Who pressed: a Slack user id.
    pub user: String,
    /// What runs, for the words of a failure.
    pub image: String,
    /// Where it stands.
    pub state: State,
    /// The build right before it in the line, while it waits.
    pub behind: Option<String>,
    /// Why it can't be started for now.
    pub delay: Option<String>,
    /// What exactly runs, where the registry could not say whether there is something newer.
    pub unchecked: Option<String>,
    /// Its container was found running after its end, and was stopped.
    pub stray: bool,
    /// Why it failed or got lost, or how a person resolved it.
    pub reason: Option<Reason>,
    /// When the button was pressed.
    pub requested_at: DateTime<Utc>,
    /// When its container started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it came into its present state.
    pub since: DateTime<Utc>,
}

/// What a line says beside its state.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// It failed.
    Failed(Failure),
    /// It is, or was, stopped; with the exit code when it has ended, and after how many seconds SIGKILL cut its clean-up off.
    Stopped(StopReason, Option<i64>, Option<u32>),
    /// Nobody can tell how it ended.
    Lost(String),
    /// A person decided.
    Resolved(String),
}

impl BuildCard {
    /// Folds a build's events. `None` when they don't begin with its registration.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Option<Self> {
        let mut card = None;
        for recorded in events {
            Self::apply(&mut card, &recorded.event, recorded.recorded_at);
        }
        card
    }

    /// Applies one more event, recorded at a time; events before the registration, and events of other things, change nothing.
    pub fn apply(card: &mut Option<Self>, event: &Event, at: DateTime<Utc>) {
        if let Event::BuildRegistered(e) = event {
            *card = Some(Self {
                build_id: e.build_id,
                project_id: e.project_id,
                project_name: e.project_name.clone(),
                build_name: e.name.clone(),
                metadata: e.metadata.clone(),
                environments: e.environments.clone(),
                channel: e.channel.clone(),
                public_url: e.public_url.clone(),
                link_key: e.link_key.clone(),
                registered_at: at,
                lines: Vec::new(),
                version: 0,
            });
        }
        let Some(card) = card else { return };
        card.version += 1;
        match event {
            Event::DeploymentRequested(e) => card.lines.push(Line {
                deployment_id: e.of.deployment_id,
                environment: e.environment_name.clone(),
                user: e.requested_by.user.clone(),
                image: e.image.as_str().to_owned(),
                state: if e.behind.is_some() { State::Queued } else { State::Ready },
                behind: e.behind.as_ref().map(|b| b.build_name.clone()),
                delay: None,
                unchecked: None,
                stray: false,
                reason: None,
                requested_at: at,
                started_at: None,
                since: at,
            }),
            Event::DeploymentPromoted(e) => card.turn(e.of.deployment_id, at, State::Ready, None),
            Event::DeploymentMovedUp(e) => {
                if let Some(line) = card.line(e.of.deployment_id) {
                    line.behind = Some(e.behind.build_name.clone());
                }
            }
            Event::DeploymentPullStarted(e) => card.turn(e.of.deployment_id, at, State::Pulling, None),
            Event::DeploymentDelayed(e) => {
                if let Some(line) = card.line(e.of.deployment_id) {
                    line.delay = Some(e.problem.clone());
                }
            }
            Event::DeploymentStrayStopped(e) => {
                if let Some(line) = card.line(e.of.deployment_id) {
                    line.stray = true;
                }
            }
            Event::DeploymentPrepared(e) => {
                card.turn(e.of.deployment_id, at, State::Starting, None);
                if let Some(line) = card.line(e.of.deployment_id) {
                    line.unchecked = e.unchecked.then(|| e.digest.clone().unwrap_or_else(|| e.image_id.clone()));
                }
            }
            Event::DeploymentStarted(e) => card.turn(e.of.deployment_id, at, State::Running, None),
            Event::DeploymentStopRequested(e) => {
                card.turn(e.of.deployment_id, at, State::Cancelling, Some(Reason::Stopped(e.reason.clone(), None, None)));
            }
            Event::DeploymentStopped(e) => {
                let reason = Reason::Stopped(e.reason.clone(), e.exit_code, e.cut_off_after);
                card.turn(e.of.deployment_id, at, stopped(&e.reason), Some(reason));
            }
            Event::DeploymentSucceeded(e) => card.turn(e.of.deployment_id, at, State::Succeeded, None),
            Event::DeploymentFailed(e) => card.turn(e.of.deployment_id, at, State::Failed, Some(Reason::Failed(e.failure.clone()))),
            Event::DeploymentLost(e) => card.turn(e.of.deployment_id, at, State::Unknown, Some(Reason::Lost(e.found.clone()))),
            Event::DeploymentResolved(e) => {
                let state = match e.verdict {
                    Verdict::Succeeded => State::Succeeded,
                    Verdict::Failed => State::Failed,
                };
                card.turn(e.of.deployment_id, at, state, Some(Reason::Resolved(e.reason.clone())));
            }
            // A refused press is told to the presser alone; where the message is, is not part of what it says.
            Event::DeploymentRefused(_) | Event::MessagePosted(_) | Event::BuildRegistered(_) | settings!() => {}
        }
    }

    fn line(&mut self, id: DeploymentId) -> Option<&mut Line> {
        self.lines.iter_mut().rev().find(|l| l.deployment_id == id)
    }

    fn turn(&mut self, id: DeploymentId, at: DateTime<Utc>, state: State, reason: Option<Reason>) {
        if let Some(line) = self.line(id) {
            line.state = state;
            line.since = at;
            if state == State::Running {
                line.started_at = Some(at);
            }
            line.reason = reason;
            line.behind = None;
            // Starting may be put off again; what runs or has ended is not.
            if state != State::Starting {
                line.delay = None;
            }
        }
    }
}
