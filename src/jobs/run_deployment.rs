//! Runs a deployment to its end, from wherever it stands.
//!
//! 1. Resolve variables and secrets, fetch the image. 2. Record what exactly will run: from here on it may have
//!    started.
//! 3. Make and start the container. 4. Record the start. 5. Follow its output into the journal until it ends.
//! 6. Record the end with the journal's seal. 7. Remove the container.
//!
//! After a crash the next owner enters at the step that the record and the container tell. **Invariant:** a container
//! that may have started is never made a second time, in another history of the log neither; what can't be known is
//! recorded as unknown. What the container gets is in `inputs.rs`, step 5 in `follow.rs`; being told to stop, at any step,
//! in `stop.rs`; why a run is broken off in `breaks.rs`.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Outcome;
use super::breaks::Break;
use super::last_words::LastWords;
use super::stop::Stop;
use crate::app::App;
use crate::domain::deployment::*;
use crate::domain::event::{Actor, Event};
use crate::domain::ids::DeploymentId;
use crate::domain::line::Line;
use crate::domain::output::Piece;
use crate::domain::step::{Ending, ImageFound, WrongState};
use crate::failpoint;
use crate::runner::keep::Keep;
use crate::runner::mask::Patterns;
use crate::runner::newest::Watched;
use crate::runner::{Credentials, Exit, Found, Image, Progress, Reading, RunSpec, Runner, Trouble};
use crate::store::jobs::Claim;
use crate::store::journal::Journal;
use crate::telemetry::causes;

/// A trouble that is over sooner is not worth an event.
const DELAY_TOLD_AFTER: Duration = Duration::from_secs(5);

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
        return Ok(clear_away(app, runner.as_ref(), claim, &deployment).await);
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

/// Removes what is there of a deployment that is over: a crash between the record of the end and the removal, or a person
/// resolved what we could not know.
async fn clear_away(app: &App, runner: &dyn Runner, claim: &Claim, deployment: &Deployment) -> Outcome {
    let id = deployment.of.deployment_id;
    erase_superseded(app, deployment.of).await;
    match runner.look(&deployment.container_name(), id).await {
        // One that a person resolved may run until now; any other has begun after its end was recorded.
        Ok(Found::Running(container)) if !matches!(deployment.stand, Stand::Resolved { .. }) => {
            let grace = Duration::from_secs(u64::from(deployment.stop_grace_seconds));
            match runner.stop(&container, grace).await {
                Ok(()) => drop(app.found_stray(id, &container).await),
                Err(trouble) => return Outcome::retry(claim.attempts, trouble.to_string()),
            }
            removed(runner, claim, &container).await
        }
        Ok(Found::Ended(container) | Found::Created(container) | Found::Running(container)) => {
            removed(runner, claim, &container).await
        }
        Ok(_) => Outcome::Done,
        Err(trouble) => Outcome::retry(claim.attempts, trouble.to_string()),
    }
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

    /// Goes through all steps that are left: the container, and how it ended.
    async fn through(&mut self, deployment: Deployment) -> Result<(String, Ending), Break> {
        if let Some(prepared) = &deployment.prepared {
            self.engine_id = self.on_its_engine(Some(&prepared.engine_id)).await?;
        }
        // What had not ended where histories part may be over in the other one: it is not begun by itself.
        let may_be_over = self.app.parting_of(self.id.0).await?.is_some();
        if may_be_over && deployment.prepared.is_none() {
            return self.not_begun_again(&deployment).await;
        }
        let inputs = self.inputs(&deployment).await?;
        self.mask(&inputs.secrets).await?;
        let adopted = deployment.prepared.is_some();
        let deployment = match adopted || deployment.state() == State::Cancelling {
            true => deployment,
            false => self.intend(&deployment, inputs.credentials).await?,
        };
        // Told to stop before it was known what would run: there can't be anything.
        let Some(prepared) = deployment.prepared.clone() else { return Err(Break::NotStarted) };
        let name = deployment.container_name();
        let spec = RunSpec {
            instance: self.app.store.instance().await?,
            deployment_id: self.id,
            container: name.clone(),
            image_id: prepared.image_id.clone(),
            variables: inputs.variables,
        };
        // Only an adopter has to look first: a container of this name can't be there before its intent is recorded.
        let found = if adopted { self.adopt(&name, &prepared).await? } else { Found::Missing };
        if found == Found::Missing && may_be_over {
            return Err(match self.removed_by_hand(&name).await {
                Break::Lose(_) => Break::Lose(Loss::OtherHistory),
                elsewhere => elsewhere,
            });
        }
        let is_to_start = deployment.state() == State::Starting;
        let found = match found {
            Found::Missing if is_to_start => self.create(&spec).await?,
            found => found,
        };
        failpoint!("after_create");
        let (found, output) = match found {
            Found::Created(container) if is_to_start => self.start(&spec, container).await?,
            found => (found, None),
        };
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
        if is_to_start {
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
        Ok((container, self.ending(exit)))
    }

    /// Breaks off what had not begun where histories of the log part: it is not begun by itself.
    async fn not_begun_again(&self, deployment: &Deployment) -> Result<(String, Ending), Break> {
        let is_to_stop = deployment.state() == State::Cancelling;
        loop {
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
    }

    /// From now on these don't show in the output.
    async fn mask(&mut self, secrets: &[SecretString]) -> Result<(), Break> {
        // A large key file has thousands of forms: no work for those who answer requests.
        let secrets = secrets.to_vec();
        let made = tokio::task::spawn_blocking(move || Patterns::new(secrets.iter().map(ExposeSecret::expose_secret)));
        self.patterns =
            made.await.map_err(|e| Break::Leave(Outcome::Later(Duration::from_secs(1), Some(e.to_string()))))?;
        Ok(())
    }

    /// Fetches the image, and records what exactly will run, and on which engine.
    async fn intend(&mut self, deployment: &Deployment, login: Option<Credentials>) -> Result<Deployment, Break> {
        let image = self.prepare(deployment, login).await?;
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
        let intended = self.record(|own, line| intend(own, line).map(|e| vec![e])).await?;
        failpoint!("after_intent");
        Ok(intended)
    }

    /// Looks for what another worker made of it.
    async fn adopt(&self, name: &str, prepared: &Prepared) -> Result<Found, Break> {
        let found = self.runner.look(name, self.id).await?;
        let (Found::Created(container), None) = (&found, &prepared.container_id) else { return Ok(found) };
        // A request to start it may still be on its way, from a worker that froze or an engine that hung, and an
        // engine starts an ended container again. That one is made away with, so that such a request finds nothing;
        // told to stop or not, and before anything is recorded. What began meanwhile is seen now, and followed or
        // stopped like any other.
        self.still_held().await?;
        self.runner.discard(container).await?;
        match self.runner.look(name, self.id).await? {
            Found::Created(_) => {
                Err(Break::Engine("Docker does not remove a container that was not started".to_owned()))
            }
            found => Ok(found),
        }
    }

    async fn create(&self, spec: &RunSpec) -> Result<Found, Break> {
        self.still_wanted().await?;
        match self.runner.create(spec).await {
            Ok(container) => Ok(Found::Created(container)),
            // The name may be taken by a try of our own whose answer was lost.
            Err(Trouble::Engine(problem)) => match self.runner.look(&spec.container, self.id).await? {
                Found::Missing => Err(Break::Engine(problem)),
                found => Ok(found),
            },
            Err(failed) => Err(failed.into()),
        }
    }

    /// Starts what was created; its output is read from the first byte.
    async fn start(&self, spec: &RunSpec, container: String) -> Result<(Found, Option<Box<dyn Reading>>), Break> {
        self.still_wanted().await?;
        match self.runner.start(spec, &container).await {
            Ok(output) => Ok((Found::Running(container), Some(output))),
            // An error does not tell whether it started: the container does.
            Err(trouble) => match self.runner.look(&spec.container, self.id).await? {
                Found::Created(_) => Err(trouble.into()),
                found => Ok((found, None)),
            },
        }
    }

    /// What the end of the container means.
    fn ending(&self, exit: Exit) -> Ending {
        let failure = match exit.code {
            0 => return Ending::Succeeded,
            // Of another code the script had its own reason, whichever process the memory ran out for before.
            137 if exit.out_of_memory => Failure::OutOfMemory,
            // SIGTERM's and SIGKILL's; a script rarely says them of itself. Its own code stands, whatever the engine
            // went through.
            137 | 143 if self.engine_was_away => Failure::Killed { engine_restarted: true },
            137 => Failure::Killed { engine_restarted: false },
            code => Failure::Exit { code },
        };
        Ending::Exited(failure, self.last_words.lines())
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

pub(super) fn foreign() -> Break {
    Break::Lose(Loss::ForeignContainer)
}

async fn until_told(stopping: &mut watch::Receiver<bool>) {
    // The sender lives as long as the run.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
