//! Owed work and how it gets done: one file per kind of job, the relay that rings for due jobs, and the crew that does
//! them.
//!
//! **Invariant:** Postgres says what is owed and who does it; Redis only rings. Losing Redis costs seconds, never work.

mod breaks;
pub mod checkpointer;
pub mod crew;
mod edit_report;
mod end_lock;
mod erase_output;
mod erase_person;
mod follow;
mod housekeeping;
mod inputs;
mod last_words;
mod move_lines;
pub mod queue;
pub mod relay;
pub mod reply_privately;
pub mod report;
pub mod report_lock;
pub mod run_deployment;
pub mod slack_calls;
mod stop;
pub mod sweep_slack;
pub mod sync_message;

use std::time::Duration;

use crate::app::CommandError;
use crate::domain::react::TaskKind;
use crate::telemetry::causes;

/// What became of a claimed job.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What was wanted is done.
    Done,
    /// To be done later; with a problem when something went wrong.
    Later(Duration, Option<String>),
    /// Its turn in this scope at Slack is reserved and comes after so long.
    Turn(String, Duration),
    /// The lease is somebody else's by now.
    Lost,
}

impl Outcome {
    /// Try again after a time that grows with the attempts: 1 s, 2 s, 4 s … 1 min.
    pub fn retry(attempts: i32, problem: impl Into<String>) -> Self {
        let seconds = 1_u64 << u32::try_from(attempts.clamp(1, 7) - 1).unwrap_or(0);
        Self::Later(Duration::from_secs(seconds.min(60)), Some(problem.into()))
    }

    /// Combines what became of two parts of a job: of two times to come back the sooner one, but a turn that is reserved, or a
    /// lease that is lost, before any; done when both are.
    fn or_sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Done, outcome) | (outcome, Self::Done) => outcome,
            (Self::Later(one, of_one), Self::Later(other, _)) if one <= other => Self::Later(one, of_one),
            (Self::Later(..), outcome) | (outcome, _) => outcome,
        }
    }
}

/// What a command that failed means for the job that gave it: it comes back.
impl<R: std::error::Error> From<CommandError<R>> for Outcome {
    fn from(error: CommandError<R>) -> Self {
        let (after, problem) = match error {
            // Somebody else was quicker: look again from the beginning.
            CommandError::Refused(refusal) => (Duration::from_secs(1), refusal.to_string()),
            CommandError::Unavailable(cause) => (Duration::from_secs(1), causes(&*cause)),
            CommandError::Impossible(cause) => (Duration::from_mins(1), causes(&*cause)),
        };
        Self::Later(after, Some(problem))
    }
}

/// The kinds of jobs that need Slack, and those that must not wait for a place among deployments: done by `web`.
pub const SLACK_KINDS: &[TaskKind] = &[
    TaskKind::SyncMessage,
    TaskKind::ReplyPrivately,
    TaskKind::Report,
    TaskKind::ReportLock,
    TaskKind::EraseOutput,
    TaskKind::ErasePerson,
];

/// The kinds of jobs that need Docker, or nothing: done by `worker`.
pub const RUNNER_KINDS: &[TaskKind] = &[TaskKind::RunDeployment, TaskKind::EndLock, TaskKind::MoveLines];
