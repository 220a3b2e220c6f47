//! What follows from an event: the only place that says "then do".

use uuid::Uuid;

use super::deployment_events::DeploymentOf;
use super::event::{DeploymentEvent, Event, SettingsEvent};
use super::ids::{BuildId, DeploymentId, EnvironmentId, JobId};

/// A piece of owed work. It names what it is about and nothing else: whoever does it reads the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Make the build's Slack message say what the log says.
    SyncMessage(BuildId),
    /// Run the deployment to its end.
    RunDeployment(DeploymentId),
    /// Tell the presser why the press was refused.
    ReplyPrivately(DeploymentId),
    /// See that an environment's lock runs out.
    EndLock(EnvironmentId),
    /// Tell people how a deployment goes, directly and in the thread under its build's message.
    Report(DeploymentId),
    /// Make the messages of an environment's locks say what the log says, and tell who lost one.
    ReportLock(EnvironmentId),
}

/// The kinds of tasks: one for each file of a job in `jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see Task")]
pub enum TaskKind {
    SyncMessage,
    RunDeployment,
    ReplyPrivately,
    EndLock,
    Report,
    ReportLock,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::SyncMessage, Self::RunDeployment, Self::ReplyPrivately, Self::EndLock, Self::Report, Self::ReportLock];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncMessage => "sync_message",
            Self::RunDeployment => "run_deployment",
            Self::ReplyPrivately => "reply_privately",
            Self::EndLock => "end_lock",
            Self::Report => "report",
            Self::ReportLock => "report_lock",
        }
    }

    /// The kind of a stored name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The task of this kind about a thing.
    pub fn about(self, key: Uuid) -> Task {
        match self {
            Self::SyncMessage => Task::SyncMessage(BuildId(key)),
            Self::RunDeployment => Task::RunDeployment(DeploymentId(key)),
            Self::ReplyPrivately => Task::ReplyPrivately(DeploymentId(key)),
            Self::EndLock => Task::EndLock(EnvironmentId(key)),
            Self::Report => Task::Report(DeploymentId(key)),
            Self::ReportLock => Task::ReportLock(EnvironmentId(key)),
        }
    }
}

impl Task {
    /// Its kind.
    pub fn kind(self) -> TaskKind {
        match self {
            Self::SyncMessage(_) => TaskKind::SyncMessage,
            Self::RunDeployment(_) => TaskKind::RunDeployment,
            Self::ReplyPrivately(_) => TaskKind::ReplyPrivately,
            Self::EndLock(_) => TaskKind::EndLock,
            Self::Report(_) => TaskKind::Report,
            Self::ReportLock(_) => TaskKind::ReportLock,
        }
    }

    /// What it is about.
    pub fn key(self) -> Uuid {
        match self {
            Self::SyncMessage(id) => id.0,
            Self::RunDeployment(id) | Self::ReplyPrivately(id) | Self::Report(id) => id.0,
            Self::EndLock(id) | Self::ReportLock(id) => id.0,
        }
    }

    /// The job that stands for this task, however often it is asked for.
    pub fn job_id(self) -> JobId {
        JobId::of(self.kind().as_str(), self.key())
    }
}

/// What an event makes us owe.
pub fn react(event: &Event) -> Vec<Task> {
    match event {
        Event::BuildRegistered(e) => vec![Task::SyncMessage(e.build_id)],
        Event::Deployment(event) => match event {
            DeploymentEvent::Requested(e) if e.lock.is_some() => told(&e.of),
            DeploymentEvent::Requested(e) if e.behind.is_some() => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::Requested(e) => {
                vec![Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)]
            }
            DeploymentEvent::Promoted(e) => {
                vec![Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)]
            }
            DeploymentEvent::Refused(e) => vec![Task::ReplyPrivately(e.deployment_id)],
            DeploymentEvent::MovedUp(e) => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::LockedOut(e) => told(&e.of),
            DeploymentEvent::PullStarted(e) => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::Delayed(e) => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::StrayStopped(e) => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::Prepared(e) => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::Started(e) => vec![Task::SyncMessage(e.of.build_id)],
            // The job of a deployment is there while it is open: its holder hears of the stop, or its next holder sees it.
            DeploymentEvent::StopRequested(e) => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::Stopped(e) => told(&e.of),
            DeploymentEvent::Succeeded(e) => told(&e.of),
            DeploymentEvent::Failed(e) => told(&e.of),
            DeploymentEvent::Lost(e) => told(&e.of),
            // Its container was kept for a person to look at; nobody needs it any more.
            DeploymentEvent::Resolved(e) => {
                std::iter::once(Task::RunDeployment(e.of.deployment_id)).chain(told(&e.of)).collect()
            }
        },
        // Somebody must see that it runs out.
        Event::Settings(SettingsEvent::EnvironmentLocked(e)) if e.lock.until.is_some() => {
            vec![Task::EndLock(e.environment_id), Task::ReportLock(e.environment_id)]
        }
        Event::Settings(SettingsEvent::EnvironmentLocked(e)) => vec![Task::ReportLock(e.environment_id)],
        Event::Settings(SettingsEvent::EnvironmentUnlocked(e)) => vec![Task::ReportLock(e.environment_id)],
        // Settings change nothing that was promised before; a posted message is the end of a task, not its beginning.
        Event::Settings(_) | Event::MessagePosted(_) | Event::NotificationsChosen(_) => vec![],
    }
}

/// What people are told of beside the message.
fn told(of: &DeploymentOf) -> Vec<Task> {
    vec![Task::SyncMessage(of.build_id), Task::Report(of.deployment_id)]
}
