//! What follows from an event: the only place that says "then do".

use uuid::Uuid;

use super::event::{Event, settings};
use super::ids::{BuildId, DeploymentId, JobId};

/// A piece of owed work. It names what it is about and nothing else: whoever does it reads the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Make the build's Slack message say what the log says.
    SyncMessage(BuildId),
    /// Run the deployment to its end.
    RunDeployment(DeploymentId),
    /// Tell the presser why the press was refused.
    ReplyPrivately(DeploymentId),
}

impl Task {
    /// The stored kind and key.
    pub fn parts(self) -> (&'static str, Uuid) {
        match self {
            Self::SyncMessage(id) => ("sync_message", id.0),
            Self::RunDeployment(id) => ("run_deployment", id.0),
            Self::ReplyPrivately(id) => ("reply_privately", id.0),
        }
    }

    /// The job that stands for this task, however often it is asked for.
    pub fn job_id(self) -> JobId {
        let (kind, key) = self.parts();
        JobId::of(kind, key)
    }

    /// The task of a stored kind and key.
    pub fn from_parts(kind: &str, key: Uuid) -> Option<Self> {
        match kind {
            "sync_message" => Some(Self::SyncMessage(BuildId(key))),
            "run_deployment" => Some(Self::RunDeployment(DeploymentId(key))),
            "reply_privately" => Some(Self::ReplyPrivately(DeploymentId(key))),
            _ => None,
        }
    }
}

/// What an event makes us owe.
pub fn react(event: &Event) -> Vec<Task> {
    match event {
        Event::BuildRegistered(e) => vec![Task::SyncMessage(e.build_id)],
        Event::DeploymentRequested(e) if e.behind.is_some() => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentRequested(e) => vec![Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)],
        Event::DeploymentPromoted(e) => vec![Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)],
        Event::DeploymentRefused(e) => vec![Task::ReplyPrivately(e.of.deployment_id)],
        Event::DeploymentMovedUp(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentPullStarted(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentDelayed(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentStrayStopped(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentPrepared(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentStarted(e) => vec![Task::SyncMessage(e.of.build_id)],
        // The job of a deployment is there while it is open: its holder hears of the stop, or its next holder sees it.
        Event::DeploymentStopRequested(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentStopped(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentSucceeded(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentFailed(e) => vec![Task::SyncMessage(e.of.build_id)],
        Event::DeploymentLost(e) => vec![Task::SyncMessage(e.of.build_id)],
        // Its container was kept for a person to look at; nobody needs it any more.
        Event::DeploymentResolved(e) => vec![Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)],
        // Settings change nothing that was promised before; a posted message is the end of a task, not its beginning.
        settings!() | Event::MessagePosted(_) => vec![],
    }
}
