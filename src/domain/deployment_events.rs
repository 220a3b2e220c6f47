//! What can happen to a deployment, as it is recorded: the payloads and the facts in them.
//!
//! **Invariant:** these are the bytes of the log. What they mean is in [`deployment`](super::deployment).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build_events::{Source, source};
pub use super::failure::{Failure, Loss};
use super::ids::*;
use super::lock_events::{self, Lock, LockTaken};
use super::names::ImageRef;
use super::payload::Payload;
pub use super::press_refusal::PressRefusal;
use super::project_events::Unchecked;
pub use super::somebody::{Person, Somebody};
pub use super::stop_reason::{StopReason, cut_off, stop_words};

/// What every event of a deployment says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain ids")]
pub struct DeploymentOf {
    pub deployment_id: DeploymentId,
    pub build_id: BuildId,
    pub environment_id: EnvironmentId,
    pub project_id: ProjectId,
}

/// Recorded when somebody pressed a button and the deployment took its place in the environment's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentRequested {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// The build's name.
    pub build_name: String,
    /// The environment's name at the press.
    pub environment_name: String,
    /// Who pressed, or asked for it at the command line.
    pub requested_by: Somebody,
    /// What will run: the project's image at the press.
    pub image: ImageRef,
    /// How long its container may run: the project's setting at the press.
    pub time_limit_minutes: u32,
    /// How much of its output is kept: the project's setting at the press.
    pub log_limit_mebibytes: u32,
    /// How long it may fail to start before it is given up: the project's setting at the press.
    pub start_patience_minutes: u32,
    /// How long its container may clean up after SIGTERM: the project's setting at the press.
    pub stop_grace_seconds: u32,
    /// What is done when the registry can't be asked whether the image's tag has moved: the project's setting at the
    /// press.
    pub unchecked_image: Unchecked,
    /// The build right before it in the line; none when it is its turn at once.
    pub behind: Option<Ahead>,
    /// The lock that will keep it waiting when no build does any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Box<Lock>>,
    /// What its build was built of, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// The deployment right before another one in the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct Ahead {
    pub deployment_id: DeploymentId,
    pub build_name: String,
}

/// Recorded when somebody pressed a button and was refused; the presser is told privately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentRefused {
    /// The press.
    pub deployment_id: DeploymentId,
    /// The build that its button names.
    pub build_id: BuildId,
    /// The environment that its button names.
    pub environment_id: EnvironmentId,
    /// The build's project; none when the build is unknown.
    pub project_id: Option<ProjectId>,
    /// Who pressed.
    pub requested_by: Person,
    /// The channel of the press.
    pub channel: String,
    /// Why.
    pub refusal: PressRefusal,
}

/// Recorded when a waiting deployment's turn came: the one before it ended, or the lock that it waited for went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentPromoted {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// The lock that it waited for, where somebody else took that away from its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_taken: Option<Box<LockTaken>>,
}

/// Recorded when the one right before a waiting deployment left the line: what it waits behind now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentMovedUp {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// The build right before it in the line.
    pub behind: Ahead,
    /// The lock that it waited for, where somebody else took that away from its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_taken: Option<Box<LockTaken>>,
}

/// Recorded when it would be a waiting deployment's turn and somebody else's lock keeps it waiting, or that lock has
/// another reason or end now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentLockedOut {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// The lock.
    pub lock: Lock,
    /// The lock that it waited for before, where somebody else took that away from its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_taken: Option<Box<LockTaken>>,
}

/// Recorded when its image has to be fetched first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentPullStarted {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
}

/// Recorded when a deployment whose turn it is can't be started for now, once for each reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentDelayed {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Why, in Docker's words.
    pub problem: String,
    /// Counts the delays of this deployment, from 1.
    pub times: u32,
}

/// Recorded when the container of a deployment that had ended was found running, and was stopped and removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStrayStopped {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Docker's id of the container.
    pub container_id: String,
}

/// Recorded before the container is made, with what exactly is going to run: from here on it may have started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentPrepared {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Content address of the image: exactly this runs, whatever becomes of the tag.
    pub image_id: String,
    /// The image's digest in the registry that it came from; none when it was never in one.
    pub digest: Option<String>,
    /// Whether the registry could not be asked if the tag stands for a newer image.
    pub unchecked: bool,
    /// The container's name.
    pub container: String,
    /// The Docker Engine's own id: only workers on that engine can find the container again.
    pub engine_id: String,
    /// The build that went well in this environment last, and runs there until this one does; none where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// What that was built of, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces_source: Option<Source>,
    /// Since when that is there: when it had gone well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces_since: Option<DateTime<Utc>>,
}

/// Recorded when the container was started, or found started after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStarted {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Docker's id of the container.
    pub container_id: String,
}

/// Recorded when a running deployment was told to stop. Whatever its exit code will be, it was stopped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStopRequested {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Why.
    pub reason: StopReason,
}

/// A length of time as people say it.
pub fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// Recorded when a deployment that was told to stop has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStopped {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Why it was stopped.
    pub reason: StopReason,
    /// How its container ended; none when there was no container yet.
    pub exit_code: Option<i64>,
    /// After how many seconds SIGKILL cut its clean-up off; none when it ended by itself.
    pub cut_off_after: Option<u32>,
    /// The seal of its output; none when it was stopped while it waited.
    pub log: Option<LogSeal>,
}

/// Recorded when the container ended with exit code 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentSucceeded {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// The seal of its output.
    pub log: LogSeal,
}

/// Last lines that are recorded with a failure.
pub const LAST_LINES: usize = 3;

/// Recorded when the deployment ended in any other way that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentFailed {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Why.
    pub failure: Failure,
    /// The last lines of its standard error, or of all its output where that was silent: masked, without colours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// The seal of its output.
    pub log: LogSeal,
}

/// Recorded when it can't be known whether or how the container ended. The environment stays closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentLost {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// What was found.
    pub loss: Loss,
    /// The seal of the output up to then.
    pub log: LogSeal,
}

/// Recorded when a person decided how an unknown deployment ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentResolved {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// How it ended, in that person's judgement.
    pub verdict: Verdict,
    /// Why they think so.
    pub reason: String,
}

/// A person's judgement of an unknown deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "plain words")]
pub enum Verdict {
    Succeeded,
    Failed,
}

/// Recorded in the output journal for each chunk of output. The bytes stand beside it, compressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentLogged {
    /// Whose output.
    pub deployment_id: DeploymentId,
    /// Counts from 0 without gaps.
    pub chunk: i32,
    /// Number of the first line, from 1.
    pub first_line: i64,
    /// Lines in the chunk.
    pub lines: i32,
    /// Bytes of the body before compression.
    pub bytes: i32,
    /// SHA-256 of the body before compression, hex.
    pub sha256: String,
    /// Where reading goes on after this chunk; none for lines of coolops itself.
    pub cursor: Option<LogCursor>,
    /// What was left out right before this chunk, because the output is longer than what is kept.
    pub left_out: Option<LeftOut>,
    /// Notes in this chunk that output is missing: the engine no longer had it.
    pub gaps: i32,
}

/// How much output was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Lines.
    pub lines: i64,
    /// Bytes.
    pub bytes: i64,
}

/// A place in a container's output, to read on from. Only the runner that gave it out can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LogCursor(pub serde_json::Value);

/// What ties a deployment's whole output to the event log's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogSeal {
    /// Chunks in the journal.
    pub chunks: i32,
    /// Lines in it.
    pub lines: i64,
    /// Bytes in it.
    pub bytes: i64,
    /// The journal's last chain hash, hex.
    pub head: String,
    /// What was printed and left out, because it is longer than what is kept.
    pub left_out: LeftOut,
    /// Places where output is missing because the engine no longer had it. The journal says where.
    pub gaps: i32,
}

mod examples {
    use super::super::state::State;
    use super::*;

    const OF: DeploymentOf = DeploymentOf {
        deployment_id: DeploymentId(Uuid::from_u128(0x5)),
        build_id: BuildId(Uuid::from_u128(0x4)),
        environment_id: EnvironmentId(Uuid::from_u128(0x2)),
        project_id: ProjectId(Uuid::from_u128(0x1)),
    };

    fn ana() -> Person {
        Person { team: "T0123456789".into(), user: "U0123456789".into(), name: "ana".into() }
    }

    fn seal() -> LogSeal {
        LogSeal {
            chunks: 2,
            lines: 120,
            bytes: 8_000,
            head: "ab".repeat(32),
            left_out: LeftOut { lines: 7, bytes: 210 },
            gaps: 1,
        }
    }

    macro_rules! examples {
        ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
            $(impl Payload for $name {
                fn example() -> Self { Self { $($field: $value),* } }
            })*
        };
    }

    examples! {
        DeploymentRequested {
            of: OF,
            build_name: "master-94657536".into(),
            environment_name: "Production".into(),
            requested_by: ana().into(),
            image: ImageRef::parse("registry.example.com/api/deploy:1").expect("the example's image is well formed"),
            time_limit_minutes: 60,
            log_limit_mebibytes: 16,
            start_patience_minutes: 10,
            stop_grace_seconds: 10,
            unchecked_image: Unchecked::Fail,
            behind: Some(Ahead { deployment_id: DeploymentId(Uuid::from_u128(0x6)), build_name: "master-94657535".into() }),
            lock: None,
            source: Some(source()),
        }
        DeploymentRefused {
            deployment_id: OF.deployment_id,
            build_id: OF.build_id,
            environment_id: OF.environment_id,
            project_id: Some(OF.project_id),
            requested_by: ana(),
            channel: "C0123456789".into(),
            refusal: PressRefusal::UnderWay {
                build_name: "master-94657536".into(),
                environment: "Production".into(),
                state: State::Running,
                since_press_of: "U0123456789".into(),
                by_operator: true,
            },
        }
        DeploymentPromoted { of: OF, lock_taken: Some(Box::new(lock_events::lock_taken())) }
        DeploymentMovedUp {
            of: OF,
            behind: Ahead { deployment_id: DeploymentId(Uuid::from_u128(0x6)), build_name: "master-94657535".into() },
            lock_taken: None,
        }
        DeploymentLockedOut { of: OF, lock: lock_events::lock(), lock_taken: None }
        DeploymentPullStarted { of: OF }
        DeploymentDelayed {
            of: OF,
            problem: "Docker says: could not find an available, non-overlapping IPv4 address pool".into(),
            times: 1,
        }
        DeploymentStrayStopped { of: OF, container_id: "c".repeat(64) }
        DeploymentPrepared {
            of: OF,
            image_id: format!("sha256:{}", "0".repeat(64)),
            digest: Some(format!("registry.example.com/api/deploy@sha256:{}", "1".repeat(64))),
            unchecked: false,
            container: "coolops-00000000-0000-0000-0000-000000000005".into(),
            engine_id: "b4a9c0de-0000-0000-0000-000000000000".into(),
            replaces: Some("master-94657534".into()),
            replaces_source: Some(source()),
            replaces_since: Some(DateTime::UNIX_EPOCH),
        }
        DeploymentStarted { of: OF, container_id: "c".repeat(64) }
        DeploymentStopRequested { of: OF, reason: StopReason::TimeLimit { minutes: 60 } }
        DeploymentStopped { of: OF, reason: StopReason::TimeLimit { minutes: 60 }, exit_code: Some(143), cut_off_after: None, log: Some(seal()) }
        DeploymentSucceeded { of: OF, log: seal() }
        DeploymentFailed { of: OF, failure: Failure::Exit { code: 3 }, last_lines: vec!["no such table: users".into()], log: seal() }
        DeploymentLost { of: OF, loss: Loss::ContainerRemoved, log: seal() }
        DeploymentResolved { of: OF, verdict: Verdict::Failed, reason: "checked by hand: version 7 is still live".into() }
        DeploymentLogged {
            deployment_id: OF.deployment_id,
            chunk: 0,
            first_line: 1,
            lines: 60,
            bytes: 4_000,
            sha256: "0".repeat(64),
            cursor: Some(LogCursor(serde_json::json!({"stdout": 4_000, "stderr": 0}))),
            left_out: Some(LeftOut { lines: 7, bytes: 210 }),
            gaps: 0,
        }
    }
}
