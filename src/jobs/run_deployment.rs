//! Runs a deployment to its end, from wherever it stands.
//!
//! 1. Resolve variables and secrets, fetch the image. 2. Record what exactly will run: from here on it may have
//!    started.
//! 3. Make and start the container. 4. Record the start. 5. Follow its output into the journal until it ends.
//! 6. Record the end with the journal's seal. 7. Remove the container.
//!
//! After a crash the next owner enters at the step that the record and the container tell. **Invariant:** a container
//! that may have started is never made a second time, in another history of the log neither; what can't be known is
//! recorded as unknown. Step 5 is in `follow.rs`; being told to stop, at any step, in `stop.rs`.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::last_words::LastWords;
use super::stop::Stop;
use crate::app::deployments::StepError;
use crate::app::{App, CommandError};
use crate::domain::deployment::*;
use crate::domain::event::{Actor, Event};
use crate::domain::ids::DeploymentId;
use crate::domain::line::Line;
use crate::domain::output::Piece;
use crate::domain::project::{Project, VariableValue};
use crate::domain::rights::Right;
use crate::domain::step::{Ending, ImageFound, WrongState};
use crate::failpoint;
use crate::runner::keep::Keep;
use crate::runner::mask::Patterns;
use crate::runner::newest::Watched;
use crate::runner::{Credentials, Found, Image, Progress, RunSpec, Runner, Trouble};
use crate::store::jobs::Claim;
use crate::store::journal::{Journal, JournalError};
use crate::store::log::ReadError;
use crate::telemetry::causes;

/// A trouble that is over sooner is not worth an event.
const DELAY_TOLD_AFTER: Duration = Duration::from_secs(5);

/// Why a run was broken off. The container, if there is one, runs on.
pub(super) enum Break {
    /// The deployment fails for a reason that is known.
    Fail(Failure),
    /// It was told to stop before its container was started.
    NotStarted,
    /// It can't be known how it went.
    Lose(Loss),
    /// What it was for was archived before it began.
    Withdraw(StopReason),
    /// The engine can't do it now, in its words.
    Engine(String),
    /// This worker can't go on now.
    Leave(Outcome),
}

impl From<Trouble> for Break {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(failure) => Self::Fail(failure),
            Trouble::Engine(_) => Self::Engine(trouble.to_string()),
        }
    }
}

impl From<sqlx::Error> for Break {
    fn from(error: sqlx::Error) -> Self {
        Self::Leave(Outcome::Later(Duration::from_secs(1), Some(causes(&error))))
    }
}

impl From<JournalError> for Break {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Fenced => Self::Leave(Outcome::Lost),
            JournalError::Database(e) => e.into(),
        }
    }
}

impl From<CommandError<StepError>> for Break {
    fn from(error: CommandError<StepError>) -> Self {
        match error {
            CommandError::Refused(StepError::Fenced) => Self::Leave(Outcome::Lost),
            error => Self::Leave(error.into()),
        }
    }
}

impl From<ReadError> for Break {
    fn from(error: ReadError) -> Self {
        Self::Leave(Outcome::Later(Duration::from_secs(5), Some(causes(&error))))
    }
}

/// One run in one worker's hands.
pub(super) struct Run<'a> {
    pub(super) app: &'a App,
    pub(super) runner: &'a dyn Runner,
    pub(super) claim: &'a Claim,
    /// The worker hands its jobs over.
    pub(super) leaving: &'a CancellationToken,
    /// The deployment was told to stop.
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) id: DeploymentId,
    /// The engine that its container is on, or will be.
    pub(super) engine_id: String,
    pub(super) journal: Journal,
    pub(super) keep: Keep,
    /// What is held for the tail, for those who watch, and the number of the line after it.
    pub(super) watched: Watched,
    pub(super) held_line: Option<i64>,
    pub(super) last_words: LastWords,
    pub(super) patterns: Patterns,
    /// The engine did not answer for a while, and the container was not seen running since.
    pub(super) engine_was_away: bool,
}

/// What a deployment's container gets, and what must not show in its output.
struct Inputs {
    variables: Vec<(String, SecretString)>,
    secrets: Vec<SecretString>,
    credentials: Option<Credentials>,
}

/// Does the job. When `leaving` is cancelled, the job is handed over at once and the container runs on.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(
    app: &App,
    runner: &Arc<dyn Runner>,
    claim: &Claim,
    id: DeploymentId,
    leaving: &CancellationToken,
) -> anyhow::Result<Outcome> {
    let Some(deployment) = app.deployment_of_log(id).await? else { return Ok(Outcome::Done) };
    if matches!(deployment.state(), State::Queued | State::Unknown) {
        return Ok(Outcome::Done);
    }
    if deployment.state().is_over() {
        // A crash between the record of the end and the removal; or a person resolved what we could not know.
        erase_superseded(app, deployment.of).await;
        return Ok(match runner.look(&deployment.container_name(), id).await {
            // One that a person resolved may run until now; any other has begun after its end was recorded.
            Ok(Found::Running(container)) if !matches!(deployment.stand, Stand::Resolved { .. }) => {
                let grace = Duration::from_secs(u64::from(deployment.stop_grace_seconds));
                match runner.stop(&container, grace).await {
                    Ok(()) => drop(app.found_stray(id, &container).await),
                    Err(trouble) => return Ok(Outcome::retry(claim.attempts, trouble.to_string())),
                }
                removed(runner.as_ref(), claim, &container).await
            }
            Ok(Found::Ended(container) | Found::Created(container) | Found::Running(container)) => {
                removed(runner.as_ref(), claim, &container).await
            }
            Ok(_) => Outcome::Done,
            Err(trouble) => Outcome::retry(claim.attempts, trouble.to_string()),
        });
    }
    let (deployment_of, name) = (deployment.of, deployment.container_name());
    let journal = app.store.journals().open(id, claim).await?;
    let keep = Keep::new(u64::from(deployment.log_limit_mebibytes) << 20, journal.bytes());
    let stop = Stop::watching(app, runner.as_ref(), claim, &deployment);
    let (patterns, stopping) = (Patterns::new([]), stop.heard());
    let runner = runner.as_ref();
    let mut run = Run {
        app,
        runner,
        claim,
        leaving,
        stopping,
        id,
        engine_id: String::new(),
        journal,
        keep,
        watched: Watched::default(),
        held_line: None,
        last_words: LastWords::default(),
        patterns,
        engine_was_away: false,
    };
    let through = run.through(deployment.clone());
    let through = tokio::select! {
        through = through => through,
        never = stop.see_to_it() => never.map(|never| match never {}),
    };
    let (container, ending) = match through {
        Ok((container, ending)) => (Some(container), ending),
        // Docker's words may repeat what it was given.
        Err(Break::Fail(failure)) => (None, Ending::Failed(failure.with_detail(|words| told(&run.patterns, words)))),
        Err(Break::NotStarted) => (None, Ending::NotStarted),
        Err(Break::Lose(loss)) => (None, Ending::Lost(loss)),
        Err(Break::Withdraw(reason)) => (None, Ending::Withdrawn(reason)),
        Err(Break::Engine(problem)) => match run.put_off(&told(&run.patterns, &problem)).await {
            Break::Fail(failure) => (None, Ending::Failed(failure)),
            Break::Leave(outcome) => return Ok(outcome),
            _ => return Ok(Outcome::retry(claim.attempts, problem)),
        },
        Err(Break::Leave(Outcome::Later(after, problem))) => {
            return Ok(Outcome::Later(after, problem.map(|words| told(&run.patterns, &words))));
        }
        Err(Break::Leave(outcome)) => return Ok(outcome),
    };
    failpoint!("before_end");
    match run.record(|own, line| own.end(ending.clone(), run.journal.seal(), line)).await {
        Ok(_) => {}
        Err(Break::Leave(outcome)) => return Ok(outcome),
        Err(_) => return Ok(Outcome::retry(claim.attempts, "the end could not be recorded")),
    }
    failpoint!("after_end");
    // The journal has what is kept of it. Until here whoever watches sees the newest.
    app.store.tails().forget(id).await.ok();
    erase_superseded(app, deployment_of).await;
    // A lost deployment's container, if there is one, is evidence and stays.
    let left = match container {
        Some(container) => Some(container),
        None if matches!(ending, Ending::Failed(_) | Ending::NotStarted) => match runner.look(&name, id).await {
            Ok(Found::Created(c) | Found::Ended(c)) => Some(c),
            _ => None,
        },
        None => None,
    };
    Ok(match left {
        Some(container) => removed(run.runner, claim, &container).await,
        None => Outcome::Done,
    })
}

/// Docker's words as they may be shown: masked first, and then cut, so that no half of a secret is left at the end.
fn told(patterns: &Patterns, words: &str) -> String {
    patterns.masked(words).chars().take(300).collect()
}

/// Secrets that were replaced while a container may have had them go when none may any more.
async fn erase_superseded(app: &App, of: DeploymentOf) {
    if let Err(e) = app.erase_superseded(of.project_id, of.environment_id).await {
        tracing::warn!(
            error = causes(&e),
            "replaced secrets can't be erased now; the next end in this environment does it"
        );
    }
}

/// Removes a container whose end is recorded; its environment holds secrets, so it is not forgotten.
async fn removed(runner: &dyn Runner, claim: &Claim, container: &str) -> Outcome {
    match runner.remove(container).await {
        Ok(()) => Outcome::Done,
        Err(trouble) => Outcome::retry(claim.attempts, trouble.to_string()),
    }
}

impl Run<'_> {
    async fn record(
        &self,
        decide: impl Fn(&Deployment, &Line) -> Result<Vec<Event>, WrongState>,
    ) -> Result<Deployment, Break> {
        Ok(self.app.step(self.id, Some(self.claim), &Actor::System, decide).await?)
    }

    pub(super) async fn through(&mut self, deployment: Deployment) -> Result<(String, Ending), Break> {
        if let Some(prepared) = &deployment.prepared {
            self.engine_id = self.on_its_engine(Some(&prepared.engine_id)).await?;
        }
        // What had not ended where histories part may be over in the other one: it is not begun by itself.
        let may_be_over = self.app.parting_of(self.id.0).await?.is_some();
        while may_be_over && deployment.prepared.is_none() {
            let is_to_stop = deployment.state() == State::Cancelling;
            match self.runner.look(&deployment.container_name(), self.id).await? {
                // Whoever sees to that it stops is at it.
                Found::Running(_) if is_to_stop => tokio::time::sleep(Duration::from_secs(1)).await,
                Found::Running(_) => {
                    let problem = "its container runs, of a history of the log that was lost".to_owned();
                    return Err(Break::Leave(Outcome::Later(Duration::from_secs(10), Some(problem))));
                }
                Found::Ended(_) => return Err(Break::Lose(Loss::OtherHistory)),
                _ if is_to_stop => return Err(Break::NotStarted),
                _ => return Err(Break::Lose(Loss::OtherHistory)),
            }
        }
        let inputs = self.inputs(&deployment).await?;
        // A large key file has thousands of forms: no work for those who answer requests.
        let secrets = inputs.secrets.clone();
        let made = tokio::task::spawn_blocking(move || Patterns::new(secrets.iter().map(ExposeSecret::expose_secret)));
        self.patterns =
            made.await.map_err(|e| Break::Leave(Outcome::Later(Duration::from_secs(1), Some(e.to_string()))))?;
        let name = deployment.container_name();
        let (adopted, mut deployment) = (deployment.prepared.is_some(), deployment);
        if !adopted && deployment.state() != State::Cancelling {
            let image = self.prepare(&deployment, inputs.credentials).await?;
            let image = ImageFound { image_id: image.id, digest: image.digest, unchecked: image.unchecked };
            // Fetching it may have taken long.
            if let Some(own) = self.app.store.deployments().get(self.id).await?
                && own.state() == State::Pulling
                && let Some(project) = self.app.project_anew(own.of.project_id).await?
            {
                self.may_still(&own, &project.value).await?;
            }
            // Not before the image is there: that may take long, and another engine may answer by then. One that comes
            // now does not have what is recorded, and can't make a container of it.
            self.engine_id = self.runner.engine_id().await?;
            self.app.store.jobs().pin(self.claim, &self.engine_id).await?;
            failpoint!("before_intent");
            let intend = |own: &Deployment, line: &Line| own.prepare(image.clone(), self.engine_id.clone(), line);
            deployment = self.record(|own, line| intend(own, line).map(|e| vec![e])).await?;
            failpoint!("after_intent");
        }
        // Told to stop before it was known what would run: there can't be anything.
        let Some(prepared) = deployment.prepared.clone() else { return Err(Break::NotStarted) };
        let instance = self.app.store.instance().await?;
        let spec = RunSpec {
            instance,
            deployment_id: self.id,
            container: name.clone(),
            image_id: prepared.image_id,
            variables: inputs.variables,
        };
        // Only an adopter has to look first: a container of this name can't be there before its intent is recorded.
        let mut found = if adopted { self.runner.look(&name, self.id).await? } else { Found::Missing };
        if let Found::Created(container) = &found
            && prepared.container_id.is_none()
        {
            // A request to start it may still be on its way, from a worker that froze or an engine that hung, and an
            // engine starts an ended container again. That one is made away with, so that such a request finds nothing;
            // told to stop or not, and before anything is recorded. What began meanwhile is seen now, and followed or
            // stopped like any other.
            self.still_held().await?;
            self.runner.discard(container).await?;
            found = self.runner.look(&name, self.id).await?;
            if let Found::Created(_) = found {
                return Err(Break::Engine("Docker does not remove a container that was not started".to_owned()));
            }
        }
        if found == Found::Missing && may_be_over {
            return Err(match self.removed_by_hand(&name).await {
                Break::Lose(_) => Break::Lose(Loss::OtherHistory),
                elsewhere => elsewhere,
            });
        }
        if found == Found::Missing && deployment.state() == State::Starting {
            self.still_wanted().await?;
            match self.runner.create(&spec).await {
                Ok(container) => found = Found::Created(container),
                // The name may be taken by a try of our own whose answer was lost.
                Err(Trouble::Engine(problem)) => {
                    found = self.runner.look(&name, self.id).await?;
                    if found == Found::Missing {
                        return Err(Break::Engine(problem));
                    }
                }
                Err(failed) => return Err(failed.into()),
            }
        }
        failpoint!("after_create");
        let mut output = None;
        if let (Found::Created(container), State::Starting) = (&found, deployment.state()) {
            self.still_wanted().await?;
            match self.runner.start(&spec, container).await {
                Ok(reading) => {
                    output = Some(reading);
                    found = Found::Running(container.clone());
                }
                // An error does not tell whether it started: the container does.
                Err(trouble) => match self.runner.look(&name, self.id).await? {
                    Found::Created(_) => return Err(trouble.into()),
                    now => found = now,
                },
            }
        }
        failpoint!("after_start");
        let container = match found {
            Found::Running(container) | Found::Ended(container) => container,
            Found::Foreign => return Err(foreign()),
            // Told to stop before it was started. Nothing is there: what was made is made away with.
            Found::Missing | Found::Created(_)
                if deployment.state() == State::Cancelling && prepared.container_id.is_none() =>
            {
                return Err(Break::NotStarted);
            }
            Found::Missing | Found::Created(_) => return Err(self.removed_by_hand(&name).await),
        };
        if deployment.state() == State::Starting {
            self.record(|own, _| own.start(container.clone()).map(|e| vec![e])).await?;
            failpoint!("after_started");
        }
        let output = match output {
            Some(output) => output,
            None => {
                // What another one showed of the line that it was at is read again.
                self.app.store.tails().begin(self.id, b"").await?;
                self.runner.follow(container.clone(), self.journal.cursor().cloned())
            }
        };
        let exit = self.follow(&container, &name, output).await?;
        failpoint!("after_output");
        let last_lines = || self.last_words.lines();
        let ending = match exit.code {
            0 => Ending::Succeeded,
            _ if exit.out_of_memory => Ending::Exited(Failure::OutOfMemory, last_lines()),
            // SIGTERM's and SIGKILL's; a script rarely says them of itself. Its own code stands, whatever the engine
            // went through.
            137 | 143 if self.engine_was_away => {
                Ending::Exited(Failure::Killed { engine_restarted: true }, last_lines())
            }
            137 => Ending::Exited(Failure::Killed { engine_restarted: false }, last_lines()),
            code => Ending::Exited(Failure::Exit { code }, last_lines()),
        };
        Ok((container, ending))
    }

    /// Its container was not there: somebody removed it, unless another engine answered. That one may be gone again by
    /// now, so the container is looked for once more on the engine that is known to be its own.
    pub(super) async fn removed_by_hand(&self, name: &str) -> Break {
        let looked = async {
            self.on_its_engine(Some(&self.engine_id)).await?;
            let found = self.runner.look(name, self.id).await?;
            self.on_its_engine(Some(&self.engine_id)).await?;
            Ok(match found {
                Found::Missing | Found::Created(_) => Break::Lose(Loss::ContainerRemoved),
                _ => Break::Leave(Outcome::Later(
                    Duration::from_secs(1),
                    Some("its container is there again".to_owned()),
                )),
            })
        };
        looked.await.unwrap_or_else(|elsewhere| elsewhere)
    }

    /// The engine that answers now, which has to be the one that the container is on, if there may be one.
    async fn on_its_engine(&self, on: Option<&str>) -> Result<String, Break> {
        let engine = self.runner.engine_id().await?;
        if on.is_none_or(|on| on == engine) {
            return Ok(engine);
        }
        Err(match self.app.store.jobs().engine_is_gone(self.claim).await? {
            true => Break::Lose(Loss::EngineGone),
            false => Break::Leave(Outcome::Later(
                Duration::from_secs(5),
                Some("its container is on another Docker Engine".to_owned()),
            )),
        })
    }

    /// The engine can't go on with it. What has not begun says so in its line, and fails with the engine's words when
    /// its patience is over and nothing of it is there; what has begun, or may have, is looked after again.
    async fn put_off(&self, problem: &str) -> Break {
        let again = Break::Leave(Outcome::Later(Duration::from_secs(2), Some(problem.to_owned())));
        match self.waits(problem).await {
            Ok(true) => Break::Fail(Failure::NotStarted { detail: problem.to_owned() }),
            Ok(false) => again,
            Err(Break::Leave(outcome)) => Break::Leave(outcome),
            Err(_) => again,
        }
    }

    /// Whether it has waited long enough for an engine that can start it.
    async fn waits(&self, problem: &str) -> Result<bool, Break> {
        let Some(own) = self.app.deployment_of_log(self.id).await? else { return Ok(false) };
        if !matches!(own.state(), State::Ready | State::Pulling | State::Starting) {
            return Ok(false);
        }
        // What was got over doesn't count for what comes after it.
        let phase = format!("start {}", own.state().word());
        let waited = self.app.store.jobs().phase(self.claim, &phase, Duration::ZERO).await?;
        if waited >= Duration::from_mins(u64::from(own.start_patience_minutes)) {
            return self.is_not_there(&own).await;
        }
        if waited >= DELAY_TOLD_AFTER {
            self.record(|own, _| own.delay(problem)).await?;
        }
        Ok(false)
    }

    /// Whether it is certain that nothing of a deployment is there that could run.
    async fn is_not_there(&self, own: &Deployment) -> Result<bool, Break> {
        if own.state() != State::Starting {
            return Ok(true);
        }
        let name = own.container_name();
        if let Found::Created(container) = self.runner.look(&name, self.id).await? {
            self.still_held().await?;
            self.runner.discard(&container).await?;
        }
        Ok(self.runner.look(&name, self.id).await? == Found::Missing)
    }

    /// Makes sure, right before the engine is told to do something, that the lease is still held.
    async fn still_held(&self) -> Result<(), Break> {
        if self.app.store.jobs().renew(self.claim).await? { Ok(()) } else { Err(Break::Leave(Outcome::Lost)) }
    }

    /// Makes sure that the lease is still held, and that the deployment was not told to stop.
    async fn still_wanted(&self) -> Result<(), Break> {
        self.still_held().await?;
        match self.app.store.deployments().get(self.id).await? {
            Some(own) if own.state() == State::Cancelling => Err(Break::NotStarted),
            _ => Ok(()),
        }
    }

    /// Whether whoever pressed may deploy there still, while it has not begun.
    async fn may_still(&self, deployment: &Deployment, project: &Project) -> Result<(), Break> {
        let Some(environment) = project.environment(deployment.of.environment_id) else { return Ok(()) };
        if !deployment.state().has_not_begun() {
            return Ok(());
        }
        // An operator may all.
        let Somebody::Person(person) = &deployment.requested_by else { return Ok(()) };
        let installation = self.app.installation_anew().await?;
        let rights = std::slice::from_ref(&environment.rights);
        let known = self.app.known(&installation.value, rights, person).await?;
        match environment.rights.may(Right::Deploy, person, &known) {
            Ok(_) => Ok(()),
            Err(denied) => Err(Break::Withdraw(StopReason::NotAllowed { denied })),
        }
    }

    /// Reads what the container gets. The environment's variables win over the build's params; `COOLOPS_*` over both.
    async fn inputs(&self, deployment: &Deployment) -> Result<Inputs, Break> {
        let of = deployment.of;
        let seen = self.app.project_anew(of.project_id).await?.ok_or(Break::Lose(Loss::ProjectMissing))?;
        let project = &seen.value;
        if let (Some(what), true) = (project.archived(of.environment_id), deployment.state().has_not_begun()) {
            return Err(Break::Withdraw(StopReason::Archived { what }));
        }
        self.may_still(deployment, project).await?;
        let build = self.app.build(of.build_id).await?.ok_or(Break::Lose(Loss::BuildMissing))?;
        let mut variables: Vec<(String, SecretString)> =
            build.params.iter().map(|p| (p.name.clone(), p.value.clone().into())).collect();
        let mut secrets = Vec::new();
        for variable in project.environment(of.environment_id).into_iter().flat_map(|e| &e.variables) {
            let value = match &variable.value {
                VariableValue::Plain(value) => value.clone().into(),
                VariableValue::Secret(secret) => {
                    let opened = self.app.secret(of.environment_id.0, &variable.name, secret).await?;
                    let value = opened.map_err(|_| unreadable(deployment, variable.name.clone()))?;
                    secrets.push(value.clone());
                    value
                }
            };
            variables.push((variable.name.clone(), value));
        }
        // A param of that name is overruled; one that an operator has named is theirs.
        let is_build_s = |name: &String| {
            !variables[build.params.len()..].iter().any(|(own, _)| own == name)
                && project.params.as_ref().is_none_or(|named| !named.contains(name))
        };
        let of_build: Vec<&str> =
            build.params.iter().map(|p| &p.name).filter(|name| is_build_s(name)).map(String::as_str).collect();
        let of_build = of_build.join(" ");
        for (name, value) in [
            ("COOLOPS_BUILD_PARAMS", of_build),
            ("COOLOPS_DEPLOYER_NAME", deployment.requested_by.name().to_owned()),
            ("COOLOPS_DEPLOYER_EXTERNAL_ID", deployment.requested_by.id().to_owned()),
            ("COOLOPS_DEPLOYMENT_ID", of.deployment_id.to_string()),
            ("COOLOPS_BUILD_NAME", deployment.build_name.clone()),
            ("COOLOPS_PROJECT", project.name.clone()),
            ("COOLOPS_ENVIRONMENT", deployment.environment_name.clone()),
        ] {
            variables.push((name.to_owned(), value.into()));
        }
        // Replaced or removed while it runs, a value that the container got is still to be masked.
        match self.app.secrets_to_mask(of.environment_id).await? {
            Ok(kept) => secrets.extend(kept),
            Err(name) if deployment.prepared.is_some() => return Err(unreadable(deployment, name)),
            // What has not begun never gets what was replaced.
            Err(_) => {}
        }
        let credentials = self.credentials(project, deployment, &mut secrets).await?;
        Ok(Inputs { variables, secrets, credentials })
    }

    async fn credentials(
        &self,
        project: &Project,
        deployment: &Deployment,
        secrets: &mut Vec<SecretString>,
    ) -> Result<Option<Credentials>, Break> {
        match self.app.registry_login(project, &deployment.image).await? {
            None => Ok(None),
            Some((registry, Ok(password))) => {
                secrets.push(password.clone());
                Ok(Some(Credentials { registry: registry.host, username: registry.username, password }))
            }
            // Erased when the project was archived, and not needed any more by what has begun.
            Some((_, Err(_))) if project.archived => Ok(None),
            Some((registry, Err(_))) => Err(unreadable(deployment, format!("for {}", registry.host))),
        }
    }

    /// Fetches the image, its progress going into the journal.
    async fn prepare(&mut self, deployment: &Deployment, credentials: Option<Credentials>) -> Result<Image, Break> {
        let (progress, mut lines) = mpsc::channel(64);
        let runner = self.runner;
        let prepared = runner.prepare(&deployment.image, credentials, deployment.unchecked_image, progress);
        tokio::pin!(prepared);
        let mut told = Vec::new();
        let mut stopping = self.stopping.clone();
        let outcome = loop {
            tokio::select! {
                Some(progress) = lines.recv() => match progress {
                    Progress::Said(line) => told.push(line),
                    Progress::Pulling => drop(self.record(|own, _| own.pull()).await?),
                },
                outcome = &mut prepared => break outcome,
                () = tokio::time::sleep(super::follow::FLUSH_AFTER), if !told.is_empty() => self.tell(&mut told).await?,
                () = until_told(&mut stopping) => return Err(Break::NotStarted),
                () = self.leaving.cancelled() => return Err(Break::Leave(Outcome::Later(Duration::ZERO, None))),
            }
        };
        while let Ok(progress) = lines.try_recv() {
            if let Progress::Said(line) = progress {
                told.push(line);
            }
        }
        if let Err(Trouble::Failed(failure)) = &outcome {
            told.push(format!("Failed: {}", failure.sentence(deployment.image.as_str())));
        }
        self.tell(&mut told).await?;
        Ok(outcome?)
    }

    /// Writes lines of our own into the journal. They pass the masker like any other output.
    async fn tell(&mut self, lines: &mut Vec<String>) -> Result<(), Break> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut masker = crate::runner::mask::Masker::new(self.patterns.clone());
        let mut body = Vec::new();
        for line in lines.drain(..) {
            masker.push(format!("{}\n", line.replace('\n', " ")).as_bytes(), &mut body);
        }
        masker.finish(&mut body);
        self.store(Piece { body, ..Piece::default() }).await
    }
}

/// Without its secrets nothing can be started, and the output of what runs can't be masked: that has to wait.
fn unreadable(deployment: &Deployment, name: String) -> Break {
    match deployment.prepared {
        None => Break::Fail(Failure::SecretUnreadable { name }),
        Some(_) => Break::Leave(Outcome::Later(
            Duration::from_secs(10),
            Some(format!("the secret {name} can't be read; the container runs on")),
        )),
    }
}

pub(super) fn foreign() -> Break {
    Break::Lose(Loss::ForeignContainer)
}

async fn until_told(stopping: &mut watch::Receiver<bool>) {
    // The sender lives as long as the run.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
