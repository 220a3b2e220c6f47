//! Deployments as what has happened to them leaves them, for tests of what is told of them.

use chrono::{DateTime, Utc};
use coolops::domain::build::Source;
use coolops::domain::deployment::*;
use coolops::domain::event::{DeploymentEvent, Event};
use coolops::domain::ids::{BuildId, DeploymentId, EnvironmentId, ProjectId};
use coolops::domain::lock::Lock;
use coolops::domain::names::ImageRef;
use coolops::domain::project::Unchecked;
use coolops::domain::rights::{Denied, Right};
use coolops::projections::timed::Timed;
use uuid::Uuid;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_715_000_000 + seconds, 0).unwrap()
}

/// A commit that is told by a letter.
fn source(letter: char) -> Source {
    let commit = Some(letter.to_string().repeat(40));
    Source { repository: Some("https://github.com/harbour/lighthouse".into()), commit }
}

fn seal() -> LogSeal {
    LogSeal { chunks: 0, lines: 0, bytes: 0, head: String::new(), left_out: LeftOut::default(), gaps: 0 }
}

/// The n-th deployment, to an environment, where it stands so.
pub fn deployment(n: u128, environment: &str, state: State) -> Timed {
    let failure = Failure::Exit { code: 3 };
    let reason = StopReason::Operator { by: "test".into(), reason: "wrong build".into() };
    let (stopped, timed_out) = (reason.clone(), StopReason::TimeLimit { minutes: 60 });
    let not_allowed = StopReason::NotAllowed {
        denied: Denied::NotNamed { right: Right::Deploy, named: vec!["@ops".into()], who: vec![] },
    };
    let of = of(n);
    let stop =
        |reason| DeploymentStopped { of, reason, exit_code: Some(143), cut_off_after: None, log: Some(seal()) }.into();
    let running = vec![prepared(of), DeploymentStarted { of, container_id: "c".repeat(64) }.into()];
    let then = |event: Event| [running.clone(), vec![event]].concat();
    let happens = match state {
        State::Queued | State::Ready => vec![],
        State::Pulling => vec![DeploymentPullStarted { of }.into()],
        State::Starting => vec![prepared(of)],
        State::Running => running,
        State::Cancelling => then(DeploymentStopRequested { of, reason }.into()),
        State::Unknown => then(DeploymentLost { of, loss: Loss::ContainerRemoved, log: seal() }.into()),
        State::Succeeded => then(DeploymentSucceeded { of, log: seal() }.into()),
        State::Failed => then(DeploymentFailed { of, failure, last_lines: last_lines(), log: seal() }.into()),
        State::Cancelled => then(stop(stopped)),
        State::TimedOut => then(stop(timed_out)),
        State::Refused => {
            let reason = not_allowed;
            vec![DeploymentStopped { of, reason, exit_code: None, cut_off_after: None, log: Some(seal()) }.into()]
        }
    };
    let timed = to(n, environment, state == State::Queued, &happens);
    assert_eq!(timed.deployment.state(), state);
    timed
}

/// What is told of a deployment beside the words for its state: delays, an image that could not be checked, a person's
/// decision, a stray, who wanted its end.
pub fn with_more_to_tell() -> Vec<Timed> {
    let tell = |n, happens: &[Event]| to(n, &format!("Special {n}"), false, happens);
    let delay = |of| DeploymentDelayed { of, problem: "Docker says: no room".into(), times: 1 }.into();
    let unchecked = |of: DeploymentOf| {
        let Event::Deployment(DeploymentEvent::Prepared(event)) = prepared(of) else {
            unreachable!("it was just made")
        };
        DeploymentPrepared { unchecked: true, ..event }.into()
    };
    let started = |of| DeploymentStarted { of, container_id: "c".repeat(64) }.into();
    let lost = |of| DeploymentLost { of, loss: Loss::EngineGone, log: seal() }.into();
    let ben = |reason: Option<&str>| StopReason::Person {
        by: Person { team: "T1".into(), user: "U2".into(), name: "ben".into() },
        reason: reason.map(str::to_owned),
    };
    let stop = |of, reason| DeploymentStopRequested { of, reason: ben(reason) }.into();
    let stopped = |of, reason| {
        let (reason, log) = (ben(reason), Some(seal()));
        DeploymentStopped { of, reason, exit_code: Some(137), cut_off_after: Some(10), log }.into()
    };
    let resolved = |of| DeploymentResolved { of, verdict: Verdict::Failed, reason: "looked at it".into() }.into();
    vec![
        tell(21, &[delay(of(21))]),
        tell(22, &[DeploymentPullStarted { of: of(22) }.into(), delay(of(22))]),
        tell(23, &[prepared(of(23)), delay(of(23))]),
        tell(24, &[unchecked(of(24)), started(of(24))]),
        tell(25, &[prepared(of(25)), started(of(25)), lost(of(25)), resolved(of(25))]),
        tell(
            26,
            &[
                prepared(of(26)),
                started(of(26)),
                DeploymentSucceeded { of: of(26), log: seal() }.into(),
                DeploymentStrayStopped { of: of(26), container_id: "c".repeat(64) }.into(),
            ],
        ),
        to(29, "Special 29", true, &[DeploymentLockedOut { of: of(29), lock: lock(), lock_taken: None }.into()]),
        tell(27, &[prepared(of(27)), started(of(27)), stop(of(27), Some("wrong branch"))]),
        tell(28, &[prepared(of(28)), started(of(28)), stop(of(28), None), stopped(of(28), Some("wrong branch"))]),
    ]
}

/// The n-th deployment, to an environment, which failed like that before anything was started.
pub fn failed(n: u128, environment: &str, failure: Failure) -> Timed {
    to(n, environment, false, &[DeploymentFailed { of: of(n), failure, last_lines: vec![], log: seal() }.into()])
}

fn of(n: u128) -> DeploymentOf {
    DeploymentOf {
        deployment_id: DeploymentId(Uuid::from_u128(n)),
        build_id: BuildId(Uuid::from_u128(4)),
        environment_id: EnvironmentId(Uuid::from_u128(100 + n)),
        project_id: ProjectId(Uuid::from_u128(1)),
    }
}

/// What a script that fails may print at last.
fn last_lines() -> Vec<String> {
    vec!["Error: no such table <users> & ``` *x*".to_owned(), "  at migrate.sh:12".to_owned()]
}

/// A lock of two hours.
fn lock() -> Lock {
    let ben = Person { team: "T1".into(), user: "U2".into(), name: "ben".into() };
    let reason = Some("database <migration>".to_owned());
    Lock::new(ben.into(), reason, at(0), Some(at(7_200)))
}

fn prepared(of: DeploymentOf) -> Event {
    let (image_id, container) = (format!("sha256:{}", "0".repeat(64)), format!("coolops-{}", of.deployment_id));
    DeploymentPrepared {
        replaces_source: Some(source('a')),
        of,
        image_id,
        digest: None,
        unchecked: false,
        container,
        engine_id: "engine".into(),
        replaces: Some("master-40".into()),
        replaces_since: Some(chrono::DateTime::UNIX_EPOCH),
    }
    .into()
}

/// A press, and what happens then: the start after 10 s, the last of it after 75 s.
fn to(n: u128, environment: &str, waits: bool, happens: &[Event]) -> Timed {
    let ahead = Ahead { deployment_id: DeploymentId(Uuid::from_u128(9_999)), build_name: "master-41".into() };
    let requested = DeploymentRequested {
        source: Some(source('b')),
        of: of(n),
        build_name: "master-42".into(),
        environment_name: environment.to_owned(),
        requested_by: Person { team: "T1".into(), user: "U1".into(), name: "ana".into() }.into(),
        image: ImageRef::parse("registry.test/deploy:1").unwrap(),
        time_limit_minutes: 60,
        log_limit_mebibytes: 8,
        start_patience_minutes: 10,
        stop_grace_seconds: 10,
        unchecked_image: Unchecked::Fail,
        behind: waits.then_some(ahead),
        lock: None,
    };
    let mut timed = Timed::requested(&requested, at(i64::try_from(n).unwrap()));
    for event in happens {
        timed.apply(event, at(if matches!(event, Event::Deployment(DeploymentEvent::Started(_))) { 10 } else { 75 }));
    }
    timed
}
