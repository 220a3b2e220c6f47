//! What follows from an event: the only place that says "then do".

use uuid::Uuid;

use super::deployment_events::DeploymentOf;
use super::event::{DeploymentEvent, Event, InstallationEvent, SettingsEvent};
use super::ids::{BuildId, DeploymentId, JobId, LockableId, SubjectKeyId};
use super::lock_events::{Lock, Scope};

/// A piece of owed work. It names what it is about and nothing else: whoever does it reads the present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Make the build's Slack message say what the log says.
    SyncMessage(BuildId),
    /// Run the deployment to its end.
    RunDeployment(DeploymentId),
    /// Tell the presser why the press was refused.
    ReplyPrivately(DeploymentId),
    /// See that a lock runs out.
    EndLock(LockableId),
    /// Give those their turn whom a lock does not keep waiting any more.
    MoveLines(LockableId),
    /// Tell people how a deployment goes, directly and in the thread under its build's message.
    Report(DeploymentId),
    /// Destroy what a deployment printed.
    EraseOutput(DeploymentId),
    /// Destroy the key of somebody's names, ids and words.
    ErasePerson(SubjectKeyId),
    /// Make the messages of the locks of one thing say what the log says, and tell who lost one, or forgot it.
    ReportLock(LockableId),
}

/// The kinds of tasks: one for each file of a job in `jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see Task")]
pub enum TaskKind {
    SyncMessage,
    RunDeployment,
    ReplyPrivately,
    EndLock,
    MoveLines,
    Report,
    ReportLock,
    EraseOutput,
    ErasePerson,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SyncMessage,
        Self::RunDeployment,
        Self::ReplyPrivately,
        Self::EndLock,
        Self::MoveLines,
        Self::Report,
        Self::ReportLock,
        Self::EraseOutput,
        Self::ErasePerson,
    ];

    /// The stored name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SyncMessage => "sync_message",
            Self::RunDeployment => "run_deployment",
            Self::ReplyPrivately => "reply_privately",
            Self::EndLock => "end_lock",
            Self::MoveLines => "move_lines",
            Self::Report => "report",
            Self::ReportLock => "report_lock",
            Self::EraseOutput => "erase_output",
            Self::ErasePerson => "erase_person",
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
            Self::EndLock => Task::EndLock(LockableId(key)),
            Self::MoveLines => Task::MoveLines(LockableId(key)),
            Self::Report => Task::Report(DeploymentId(key)),
            Self::ReportLock => Task::ReportLock(LockableId(key)),
            Self::EraseOutput => Task::EraseOutput(DeploymentId(key)),
            Self::ErasePerson => Task::ErasePerson(SubjectKeyId(key)),
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
            Self::MoveLines(_) => TaskKind::MoveLines,
            Self::Report(_) => TaskKind::Report,
            Self::ReportLock(_) => TaskKind::ReportLock,
            Self::EraseOutput(_) => TaskKind::EraseOutput,
            Self::ErasePerson(_) => TaskKind::ErasePerson,
        }
    }

    /// What it is about.
    pub fn key(self) -> Uuid {
        match self {
            Self::SyncMessage(id) => id.0,
            Self::RunDeployment(id) | Self::ReplyPrivately(id) | Self::Report(id) | Self::EraseOutput(id) => id.0,
            Self::ErasePerson(id) => id.0,
            Self::EndLock(id) | Self::MoveLines(id) | Self::ReportLock(id) => id.0,
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
        Event::OutputErased(e) => vec![Task::EraseOutput(e.of.deployment_id)],
        Event::Installation(InstallationEvent::PersonErased(e)) => vec![Task::ErasePerson(e.key)],
        Event::Deployment(event) => match event {
            DeploymentEvent::Requested(e) if e.lock.is_some() => told(&e.of),
            DeploymentEvent::Requested(e) if e.behind.is_some() => vec![Task::SyncMessage(e.of.build_id)],
            DeploymentEvent::Requested(e) => {
                vec![Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)]
            }
            DeploymentEvent::Promoted(e) => {
                let taken = e.lock_taken.as_ref().map(|_| Task::Report(e.of.deployment_id));
                let begins = [Task::RunDeployment(e.of.deployment_id), Task::SyncMessage(e.of.build_id)];
                begins.into_iter().chain(taken).collect()
            }
            DeploymentEvent::Refused(e) => vec![Task::ReplyPrivately(e.deployment_id)],
            DeploymentEvent::MovedUp(e) if e.lock_taken.is_some() => told(&e.of),
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
        Event::Settings(SettingsEvent::EnvironmentLocked(e)) => locked(e.environment_id.into(), &e.lock),
        Event::Settings(SettingsEvent::EnvironmentUnlocked(e)) => unlocked(e.environment_id.into(), &e.lock),
        Event::Settings(SettingsEvent::ProjectLocked(e)) => locked(e.project_id.into(), &e.lock),
        Event::Settings(SettingsEvent::ProjectUnlocked(e)) => unlocked(e.project_id.into(), &e.lock),
        Event::Installation(InstallationEvent::EverythingLocked(e)) => locked(LockableId::everything(), &e.lock),
        Event::Installation(InstallationEvent::EverythingUnlocked(e)) => unlocked(LockableId::everything(), &e.lock),
        // Settings change nothing that was promised before; a posted message is the end of a task, not its beginning.
        Event::Settings(_) | Event::Installation(_) | Event::MessagePosted(_) | Event::NotificationsChosen(_) => vec![],
    }
}

/// What a lock makes us owe: somebody must see that it runs out. What lies on more than one environment is told to the
/// lines there one by one; that of one environment is in the append that made it.
fn locked(id: LockableId, lock: &Lock) -> Vec<Task> {
    let ends = lock.until.map(|_| Task::EndLock(id));
    [Some(Task::ReportLock(id)), ends, lines(id, lock)].into_iter().flatten().collect()
}

/// What its end makes us owe.
fn unlocked(id: LockableId, lock: &Lock) -> Vec<Task> {
    [Some(Task::ReportLock(id)), lines(id, lock)].into_iter().flatten().collect()
}

fn lines(id: LockableId, lock: &Lock) -> Option<Task> {
    (lock.scope != Scope::Environment).then_some(Task::MoveLines(id))
}

/// What people are told of beside the message.
fn told(of: &DeploymentOf) -> Vec<Task> {
    vec![Task::SyncMessage(of.build_id), Task::Report(of.deployment_id)]
}
