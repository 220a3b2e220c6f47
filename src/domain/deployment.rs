//! A deployment: one press, its place in the environment's line, its run and its end.
//!
//! **Invariant:** at most one deployment holds an environment (is ready, starting, running or unknown); the rest wait in
//! the order of their presses. A deployment has exactly one end; an unknown one holds its environment until a person
//! decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::build::BuildRegistered;
use super::event::{Event, Payload};
use super::ids::*;
use super::names::ImageRef;
use super::project::Project;

/// What every event of a deployment says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain ids")]
pub struct DeploymentOf {
    pub deployment_id: DeploymentId,
    pub build_id: BuildId,
    pub environment_id: EnvironmentId,
    pub project_id: ProjectId,
}

/// A person in Slack, as the press named them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The workspace's id.
    pub team: String,
    /// The person's id.
    pub user: String,
    /// The person's handle then; the container gets it as `COOLOPS_DEPLOYER_NAME`.
    pub name: String,
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
    /// Who pressed.
    pub requested_by: Person,
    /// What will run: the project's image at the press.
    pub image: ImageRef,
    /// The build right before it in the line; none when it is its turn at once.
    pub behind: Option<Ahead>,
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
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Who pressed.
    pub requested_by: Person,
    /// The channel of the press.
    pub channel: String,
    /// Why.
    pub refusal: PressRefusal,
}

/// Recorded when a waiting deployment's turn came because the one before it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentPromoted {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
}

/// Recorded before the container is made, with what exactly is going to run: from here on it may have started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentPrepared {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Content address of the image.
    pub image_id: String,
    /// The container's name.
    pub container: String,
    /// The Docker Engine's own id: only workers on that engine can find the container again.
    pub engine_id: String,
}

/// Recorded when the container was started, or found started after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentStarted {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Docker's id of the container.
    pub container_id: String,
}

/// Recorded when the container ended with exit code 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentSucceeded {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// The seal of its output.
    pub log: LogSeal,
}

/// Recorded when the deployment ended in any other way that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentFailed {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// Why.
    pub failure: Failure,
    /// The seal of its output.
    pub log: LogSeal,
}

/// Recorded when it can't be known whether or how the container ended. The environment stays closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentLost {
    #[expect(missing_docs, reason = "see DeploymentOf")]
    pub of: DeploymentOf,
    /// What was found, as a sentence.
    pub found: String,
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
}

/// A place in a container's output: for each stream the last timestamp taken, and how many frames of it. A timestamp
/// alone is not enough: the pieces of a long line share one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogCursor {
    /// Standard output.
    pub stdout: Option<FrameMark>,
    /// Standard error.
    pub stderr: Option<FrameMark>,
}

/// The last frame taken of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameMark {
    /// Docker's timestamp, as text.
    pub at: String,
    /// Frames with that timestamp taken so far.
    pub frames: u32,
}

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
}

/// Why a deployment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The script ended with another exit code than 0.
    Exit {
        /// The code.
        code: i64,
    },
    /// The container was killed because it used more memory than it may.
    OutOfMemory,
    /// The registry knows no such image or tag.
    ImageMissing,
    /// The registry wants other credentials.
    RegistryRefused {
        /// The registry's host.
        registry: String,
    },
    /// The image could not be fetched.
    PullFailed {
        /// Docker's words.
        detail: String,
    },
    /// Docker would not make or start the container.
    NotStarted {
        /// Docker's words.
        detail: String,
    },
    /// A secret that the environment names can't be read.
    SecretUnreadable {
        /// Its name.
        name: String,
    },
}

impl Failure {
    /// The reason as it stands in messages and lists; fits after "failed: ".
    pub fn sentence(&self, image: &str) -> String {
        match self {
            Self::Exit { code } => format!("exit code {code}"),
            Self::OutOfMemory => "out of memory".to_owned(),
            Self::ImageMissing => format!("the image {image} does not exist"),
            Self::RegistryRefused { registry } => {
                format!("the registry {registry} refused our credentials (coolops project registry set)")
            }
            Self::PullFailed { detail } => format!("the image could not be pulled: {detail}"),
            Self::NotStarted { detail } => format!("the container could not be started: {detail}"),
            Self::SecretUnreadable { name } => format!("the secret {name} can't be decrypted (is COOLOPS_MASTER_KEY the right one?)"),
        }
    }
}

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits behind another one of its environment.
    Queued,
    /// Its turn; waits for a free worker.
    Ready,
    /// A worker prepares and starts its container.
    Starting,
    /// The container runs.
    Running,
    /// Nobody can tell; a person must decide.
    Unknown,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

impl State {
    /// The stored and printed word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Unknown => "unknown",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// Whether it has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
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
    pub state: State,
    pub image_id: Option<String>,
    pub engine_id: Option<String>,
    pub container_id: Option<String>,
    pub failure: Option<Failure>,
    pub found: Option<String>,
    pub resolved: Option<String>,
    pub log: Option<LogSeal>,
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
            state: if event.behind.is_some() { State::Queued } else { State::Ready },
            image_id: None,
            engine_id: None,
            container_id: None,
            failure: None,
            found: None,
            resolved: None,
            log: None,
            version: 1,
        }
    }

    /// The deployment after one more event of its own; events of other things change nothing.
    #[must_use]
    pub fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::DeploymentPromoted(_) => self.state = State::Ready,
            Event::DeploymentPrepared(e) => {
                self.state = State::Starting;
                self.image_id = Some(e.image_id.clone());
                self.engine_id = Some(e.engine_id.clone());
            }
            Event::DeploymentStarted(e) => {
                self.state = State::Running;
                self.container_id = Some(e.container_id.clone());
            }
            Event::DeploymentSucceeded(e) => {
                self.state = State::Succeeded;
                self.log = Some(e.log.clone());
            }
            Event::DeploymentFailed(e) => {
                self.state = State::Failed;
                self.failure = Some(e.failure.clone());
                self.log = Some(e.log.clone());
            }
            Event::DeploymentLost(e) => {
                self.state = State::Unknown;
                self.found = Some(e.found.clone());
                self.log = Some(e.log.clone());
            }
            Event::DeploymentResolved(e) => {
                self.state = match e.verdict {
                    Verdict::Succeeded => State::Succeeded,
                    Verdict::Failed => State::Failed,
                };
                self.resolved = Some(e.reason.clone());
            }
            Event::DeploymentRequested(_)
            | Event::DeploymentRefused(_)
            | Event::ProjectCreated(_)
            | Event::ProjectRenamed(_)
            | Event::ProjectImageChanged(_)
            | Event::ProjectChannelChanged(_)
            | Event::ProjectLinksRevoked(_)
            | Event::ProjectArchived(_)
            | Event::TokenIssued(_)
            | Event::TokenRevoked(_)
            | Event::RegistryCredentialsSet(_)
            | Event::RegistryCredentialsUnset(_)
            | Event::EnvironmentCreated(_)
            | Event::EnvironmentRenamed(_)
            | Event::EnvironmentMoved(_)
            | Event::EnvironmentArchived(_)
            | Event::VariableSet(_)
            | Event::SecretSet(_)
            | Event::VariableUnset(_)
            | Event::BuildRegistered(_)
            | Event::MessagePosted(_) => return self,
        }
        self.version += 1;
        self
    }

    /// The name of its container: what makes a second start impossible and adoption possible.
    pub fn container_name(&self) -> String {
        format!("coolops-{}", self.of.deployment_id)
    }
}

/// Why a press was refused, as data for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum PressRefusal {
    BuildUnknown,
    ProjectArchived { project: String },
    EnvironmentGone { environment: String },
    UnderWay { build_name: String, environment: String, state: String, since_press_of: String },
}

impl PressRefusal {
    /// What the presser reads, as unescaped text. A person's Slack id is left to the renderer.
    pub fn sentence(&self) -> String {
        match self {
            Self::BuildUnknown => {
                "This build is not known here any more, so nothing was started. Announce it again from CI to get a new message.".to_owned()
            }
            Self::ProjectArchived { project } => format!("The project {project} is archived, so nothing was started."),
            Self::EnvironmentGone { environment } => {
                format!(
                    "The environment {environment} does not exist any more, so nothing was started. Newer builds show the environments there are."
                )
            }
            Self::UnderWay { build_name, environment, state, .. } => {
                let next = match state.as_str() {
                    "unknown" => "An operator has to look at it first: coolops deployment resolve.",
                    _ => "Its line in the message shows how it goes; press again when it has ended.",
                };
                format!("{build_name} is already {state} on {environment}, so nothing was started a second time. {next}")
            }
        }
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
}

/// The open deployments of one environment in the order of their presses; the first holds it. Of a long line only what
/// decisions need: its first two, its last, and those of the build in question.
pub type Line = [Deployment];

/// Decides a press: the deployment takes its place in the line, or the refusal is recorded. Always one event.
pub fn request(build: Option<(&BuildRegistered, &Project)>, line: &Line, command: &RequestDeployment) -> Event {
    let of = |project_id| DeploymentOf {
        deployment_id: command.deployment_id,
        build_id: command.build_id,
        environment_id: command.environment_id,
        project_id,
    };
    let refuse = |project_id, refusal| {
        let (requested_by, channel) = (command.requested_by.clone(), command.channel.clone());
        DeploymentRefused { of: of(project_id), requested_by, channel, refusal }.into()
    };
    let Some((build, project)) = build else {
        return refuse(ProjectId(Uuid::nil()), PressRefusal::BuildUnknown);
    };
    if project.archived {
        return refuse(project.id, PressRefusal::ProjectArchived { project: project.name.clone() });
    }
    let Some(environment) = project.environment(command.environment_id).filter(|e| !e.archived) else {
        let shown = build.environments.iter().find(|e| e.id == command.environment_id);
        let environment = shown.map_or_else(|| "of this button".to_owned(), |e| e.name.clone());
        return refuse(project.id, PressRefusal::EnvironmentGone { environment });
    };
    if let Some(there) = line.iter().find(|d| d.of.build_id == command.build_id) {
        return refuse(
            project.id,
            PressRefusal::UnderWay {
                build_name: there.build_name.clone(),
                environment: environment.name.clone(),
                state: match there.state {
                    State::Ready => "queued".to_owned(),
                    state => state.as_str().to_owned(),
                },
                since_press_of: there.requested_by.user.clone(),
            },
        );
    }
    DeploymentRequested {
        of: of(project.id),
        build_name: build.name.clone(),
        environment_name: environment.name.clone(),
        requested_by: command.requested_by.clone(),
        image: project.image.clone(),
        behind: line.last().map(|d| Ahead { deployment_id: d.of.deployment_id, build_name: d.build_name.clone() }),
    }
    .into()
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "see the events that they lead to")]
pub enum Ending {
    Succeeded,
    Failed(Failure),
    Lost(String),
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
        if states.contains(&self.state) {
            return Ok(());
        }
        Err(WrongState { deployment: self.of.deployment_id, state: self.state.as_str(), step })
    }

    /// The worker knows what will run and is about to make the container.
    ///
    /// # Errors
    /// When it isn't this deployment's turn, or it was prepared before.
    pub fn prepare(&self, image_id: String, engine_id: String) -> Result<Event, WrongState> {
        self.in_state(&[State::Ready], "prepared")?;
        Ok(DeploymentPrepared { of: self.of, image_id, container: self.container_name(), engine_id }.into())
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
        self.in_state(&[State::Ready, State::Starting, State::Running], "ended")?;
        let of = self.of;
        let ended = match ending {
            Ending::Succeeded => DeploymentSucceeded { of, log }.into(),
            Ending::Failed(failure) => DeploymentFailed { of, failure, log }.into(),
            Ending::Lost(found) => return Ok(vec![DeploymentLost { of, found, log }.into()]),
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
        let next = line.iter().find(|d| d.of.deployment_id != self.of.deployment_id && d.state == State::Queued);
        let promoted = next.map(|d| DeploymentPromoted { of: d.of }.into());
        std::iter::once(ended).chain(promoted).collect()
    }
}

mod examples {
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
        LogSeal { chunks: 2, lines: 120, bytes: 8_000, head: "ab".repeat(32) }
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
            requested_by: ana(),
            image: ImageRef::parse("registry.example.com/api/deploy:1").expect("the example's image is well formed"),
            behind: Some(Ahead { deployment_id: DeploymentId(Uuid::from_u128(0x6)), build_name: "master-94657535".into() }),
        }
        DeploymentRefused {
            of: OF,
            requested_by: ana(),
            channel: "C0123456789".into(),
            refusal: PressRefusal::UnderWay {
                build_name: "master-94657536".into(),
                environment: "Production".into(),
                state: "running".into(),
                since_press_of: "U0123456789".into(),
            },
        }
        DeploymentPromoted { of: OF }
        DeploymentPrepared {
            of: OF,
            image_id: format!("sha256:{}", "0".repeat(64)),
            container: "coolops-00000000-0000-0000-0000-000000000005".into(),
            engine_id: "b4a9c0de-0000-0000-0000-000000000000".into(),
        }
        DeploymentStarted { of: OF, container_id: "c".repeat(64) }
        DeploymentSucceeded { of: OF, log: seal() }
        DeploymentFailed { of: OF, failure: Failure::Exit { code: 3 }, log: seal() }
        DeploymentLost { of: OF, found: "the container was removed by somebody else".into(), log: seal() }
        DeploymentResolved { of: OF, verdict: Verdict::Failed, reason: "checked by hand: version 7 is still live".into() }
        DeploymentLogged {
            deployment_id: OF.deployment_id,
            chunk: 0,
            first_line: 1,
            lines: 60,
            bytes: 4_000,
            sha256: "0".repeat(64),
            cursor: Some(LogCursor {
                stdout: Some(FrameMark { at: "2026-11-22T10:00:00.123456789Z".into(), frames: 1 }),
                stderr: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::{RegisterBuild, Registration};
    use crate::domain::{build, project};

    fn project() -> Project {
        let Ok(Event::ProjectCreated(e)) = project::create("api", "Api", "busybox", "C1", "k-1".into()) else { panic!("refused") };
        let project = Project::created(&e);
        let production = project.create_environment(EnvironmentId(Uuid::from_u128(1)), "Production", None).unwrap();
        project.evolve(&production)
    }

    fn build(project: &Project, name: &str) -> BuildRegistered {
        let command = RegisterBuild { name: name.into(), params: vec![], metadata: vec![], public_url: "http://x".into() };
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
        };
        request(Some((build, project)), line, &command)
    }

    fn accepted(event: &Event) -> Deployment {
        let Event::DeploymentRequested(e) = event else { panic!("refused: {event:?}") };
        Deployment::requested(e)
    }

    fn seal() -> LogSeal {
        LogSeal { chunks: 0, lines: 0, bytes: 0, head: String::new() }
    }

    #[test]
    fn the_first_press_has_its_turn_and_the_second_build_waits_behind_it() {
        let project = project();
        let first = accepted(&press(&project, &build(&project, "m-1"), &[], 1));
        assert_eq!(first.state, State::Ready);
        let second = press(&project, &build(&project, "m-2"), &[first], 2);
        let Event::DeploymentRequested(event) = &second else { panic!("refused") };
        assert_eq!(event.behind.as_ref().unwrap().build_name, "m-1");
        assert_eq!(accepted(&second).state, State::Queued);
    }

    #[test]
    fn a_second_press_of_the_same_build_is_refused_by_name_in_every_open_state() {
        let project = project();
        let build = build(&project, "m-1");
        for state in [State::Queued, State::Ready, State::Starting, State::Running, State::Unknown] {
            let there = Deployment { state, ..accepted(&press(&project, &build, &[], 1)) };
            let Event::DeploymentRefused(refused) = press(&project, &build, &[there], 2) else { panic!("accepted while {state:?}") };
            assert!(refused.refusal.sentence().starts_with("m-1 is already "), "{}", refused.refusal.sentence());
        }
    }

    #[test]
    fn an_end_gives_the_turn_to_the_next_and_a_loss_gives_it_to_nobody() {
        let project = project();
        let running = Deployment { state: State::Running, ..accepted(&press(&project, &build(&project, "m-1"), &[], 1)) };
        let waiting = accepted(&press(&project, &build(&project, "m-2"), std::slice::from_ref(&running), 2));
        let line = [running.clone(), waiting.clone()];
        let ended = running.end(Ending::Succeeded, seal(), &line).unwrap();
        assert_eq!(ended[1], DeploymentPromoted { of: waiting.of }.into());
        let lost = running.end(Ending::Lost("gone".into()), seal(), &line).unwrap();
        assert_eq!(lost.len(), 1);
        let unknown = running.evolve(&lost[0]);
        assert!(unknown.end(Ending::Succeeded, seal(), &line).is_err(), "an unknown deployment ends only by a person");
        assert_eq!(unknown.resolve(Verdict::Failed, "looked".into(), &line).unwrap().len(), 2);
    }

    #[test]
    fn what_ended_ends_only_once() {
        let project = project();
        let running = Deployment { state: State::Running, ..accepted(&press(&project, &build(&project, "m-1"), &[], 1)) };
        let ended = running.end(Ending::Failed(Failure::Exit { code: 3 }), seal(), &[]).unwrap();
        let failed = running.evolve(&ended[0]);
        assert_eq!(failed.failure.as_ref().unwrap().sentence("i"), "exit code 3");
        assert_eq!(
            failed.end(Ending::Succeeded, seal(), &[]).unwrap_err().to_string(),
            format!("deployment {} is failed, so it can't be ended", failed.of.deployment_id)
        );
    }

    #[test]
    fn a_press_on_what_is_gone_says_so() {
        let project = project();
        let build = build(&project, "m-1");
        let archived = project.change_environment("Production", project::EnvironmentChange::Archive).unwrap();
        let project = project.evolve(&archived);
        let Event::DeploymentRefused(refused) = press(&project, &build, &[], 1) else { panic!("accepted") };
        assert!(refused.refusal.sentence().starts_with("The environment Production does not exist any more"));
    }
}
