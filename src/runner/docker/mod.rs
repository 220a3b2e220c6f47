//! Docker Engine through bollard, and Podman where it speaks Docker's API.
//!
//! The container is made from constants: no mounts, no privileges, bounded memory and processes, on a network of ours
//! whose members can't reach each other. It is not removed by the engine. Its output is attached to before its start, and
//! kept by the engine until we have it (`output.rs`).

mod attached;
mod counted;
mod guard;
mod image;
mod network;
mod output;
mod stamped;

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HostConfig, HostConfigLogConfig,
    RestartPolicy, RestartPolicyNameEnum, SystemVersion,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, OnceCell, mpsc};
use tokio::time::Instant;

use self::attached::Attached;
use super::{Credentials, Exit, Found, Image, Ours, Progress, Reading, RunSpec, Runner, Trouble};
use crate::domain::deployment::{Failure, LogCursor};
use crate::domain::ids::DeploymentId;
use crate::domain::names::ImageRef;
use crate::domain::project::Unchecked;

/// Label that tells which installation of coolops made a container.
const INSTANCE_LABEL: &str = "coolops.instance";
/// Label that ties a container to its deployment.
pub const DEPLOYMENT_LABEL: &str = "coolops.deployment";
/// Most of Docker's words in a reason, in characters, before they are masked and cut for people.
const WORDS_MAX: usize = 4_000;
/// Most memory of a deployment, in bytes.
const MEMORY: i64 = 2 * 1024 * 1024 * 1024;
/// Most processes of a deployment.
const PIDS: i64 = 1024;
/// How the engine keeps the output until we have it: `local` keeps all bytes as they are, in a format of Docker's own.
const LOG_DRIVER: &str = "local";
/// What an engine that has no `local` takes: Podman, which keeps them in a format of its own then.
const LOG_DRIVER_ELSE: &str = "json-file";
/// Where the engine begins a new log file, in bytes; it keeps two. Whoever reads the log is thrown from one file to the
/// next and may miss what was left in the old one (measured with 20.10), so files are long, and the place is marked.
const LOG_FILE_MAX: u64 = 1 << 30;
/// How long a call may take that only asks or tells, however slow the engine is; in a hung one, calls are given up.
const CALL: Duration = Duration::from_secs(10);
/// How long making or starting a container may take.
const WORK: Duration = Duration::from_mins(1);
/// The client's own timeout, in seconds: longer than all of ours.
const TIMEOUT: u64 = 700;

/// A Docker Engine.
pub struct DockerRunner {
    docker: Docker,
    address: String,
    /// Whether deployments are kept from the host and its metadata address.
    guards: bool,
    /// Since when the guard's rules stand, and for which bridge.
    guarded: Mutex<Option<(String, Instant)>>,
    /// Whether it is Podman.
    podman: OnceCell<bool>,
    /// The engine that answered last: its id, its host's name, its folder. None of one whose id is new each time.
    known: Mutex<Option<(String, String, String)>>,
}

fn is_of_podman(version: &SystemVersion) -> bool {
    version.components.iter().flatten().any(|part| part.name.starts_with("Podman"))
}

fn engine_trouble(error: &Error) -> Trouble {
    Trouble::Engine(words(error))
}

fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => format!("Docker says: {message}"),
        other => format!("Docker does not answer: {other}"),
    }
}

fn says(error: &Error, part: &str) -> bool {
    matches!(error, Error::DockerResponseServerError { message, .. } if message.contains(part))
}

/// Gives a call up after a while.
async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, call).await.unwrap_or(Err(Error::RequestTimeoutError))
}

/// What the engine says of a container. Podman has a word for a state between running and exited that Docker's API does
/// not have; it is over in a moment.
async fn inspected(docker: &Docker, id: &str) -> Result<ContainerInspectResponse, Error> {
    let mut tries = 20;
    loop {
        match within(CALL, docker.inspect_container(id, None)).await {
            Err(Error::JsonDataError { .. }) if tries > 0 => tries -= 1,
            inspected => return inspected,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn status(error: &Error) -> u16 {
    match error {
        Error::DockerResponseServerError { status_code, .. } => *status_code,
        _ => 0,
    }
}

impl DockerRunner {
    /// An engine at an address (`unix:///…`, `tcp://…` or `http://…`), or the machine's own.
    ///
    /// # Errors
    /// When the address can't be read; whether the engine answers shows at the first call.
    pub fn connect(host: Option<&str>) -> Result<Self, Trouble> {
        let address = host.unwrap_or("unix:///var/run/docker.sock").to_owned();
        let version = bollard::API_DEFAULT_VERSION;
        let connected = match address.strip_prefix("unix://") {
            Some(path) => Docker::connect_with_socket(path, TIMEOUT, version),
            None => Docker::connect_with_http(&address, TIMEOUT, version),
        };
        let docker =
            connected.map_err(|e| Trouble::Engine(format!("the Docker address {address} can't be used: {e}")))?;
        Ok(Self {
            docker,
            address,
            guards: false,
            guarded: Mutex::default(),
            podman: OnceCell::new(),
            known: Mutex::default(),
        })
    }

    /// Keeps deployments from the host and from the metadata address of clouds, or doesn't.
    #[must_use]
    pub fn guarding(mut self, guards: bool) -> Self {
        self.guards = guards;
        self
    }

    /// Where the engine is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The engine's version, as a check that it answers.
    ///
    /// # Errors
    /// When it doesn't.
    pub async fn version(&self) -> Result<String, Trouble> {
        let version = within(CALL, self.docker.version()).await.map_err(|e| engine_trouble(&e))?;
        self.podman.set(is_of_podman(&version)).ok();
        Ok(version.version.unwrap_or_default())
    }

    /// Whether containers survive a restart of the engine (`live-restore`).
    ///
    /// # Errors
    /// When the engine doesn't answer.
    pub async fn live_restore(&self) -> Result<bool, Trouble> {
        let info = within(CALL, self.docker.info()).await.map_err(|e| engine_trouble(&e))?;
        Ok(info.live_restore_enabled.unwrap_or(false))
    }

    /// Whether the engine is Podman; asked once.
    async fn is_podman(&self) -> Result<bool, Trouble> {
        let ask = || async {
            let version = within(CALL, self.docker.version()).await.map_err(|e| engine_trouble(&e))?;
            Ok(is_of_podman(&version))
        };
        self.podman.get_or_try_init(ask).await.copied()
    }

    /// What of the engine is not as deployments need it, in a sentence for an operator.
    ///
    /// # Errors
    /// When the engine doesn't answer.
    pub async fn shortcomings(&self) -> Result<Option<String>, Trouble> {
        let podman = "it is Podman, which does not keep deployments that run at the same time from each other's ports";
        Ok(self.is_podman().await?.then(|| podman.to_owned()))
    }
}

impl Runner for DockerRunner {
    fn engine_id(&self) -> BoxFuture<'_, Result<String, Trouble>> {
        Box::pin(async move {
            let info = async || {
                let info = within(CALL, self.docker.info()).await.map_err(|e| engine_trouble(&e))?;
                let id = info.id.ok_or_else(|| Trouble::Engine("Docker tells no id of itself".to_owned()))?;
                Ok::<_, Trouble>((id, info.name.unwrap_or_default(), info.docker_root_dir.unwrap_or_default()))
            };
            // Docker before version 23 gives all engines of one machine the same id, and Podman makes a new one up each
            // time: it is known by its host's name. Where it keeps its containers tells one host's engines apart.
            let first = info().await?;
            let mut known = self.known.lock().await;
            // One question takes an engine 10 ms; one that said twice what it is needn't be asked twice any more.
            if known.as_ref() != Some(&first) {
                let again = info().await?;
                if (&first.1, &first.2) != (&again.1, &again.2) {
                    return Err(Trouble::Engine("another Docker Engine has come to answer".to_owned()));
                }
                if first.0 != again.0 {
                    return Ok(format!("{} {}", first.1, first.2));
                }
                *known = Some(first.clone());
            }
            let (id, _, root) = first;
            Ok(format!("{id} {root}"))
        })
    }

    fn alive(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async move { within(CALL, self.docker.ping()).await.map(|_| ()).map_err(|e| engine_trouble(&e)) })
    }

    #[tracing::instrument(name = "docker prepare", level = "debug", skip_all)]
    fn prepare<'a>(
        &'a self,
        image: &'a ImageRef,
        credentials: Option<Credentials>,
        unchecked: Unchecked,
        progress: mpsc::Sender<Progress>,
    ) -> BoxFuture<'a, Result<Image, Trouble>> {
        Box::pin(async move {
            // Before anything is recorded as begun: a host without room for a network is told apart.
            self.network().await?;
            self.prepared(image, credentials, unchecked, &progress).await
        })
    }

    #[tracing::instrument(name = "docker look", level = "debug", skip_all, fields(deployment.id = %deployment))]
    fn look<'a>(&'a self, container: &'a str, deployment: DeploymentId) -> BoxFuture<'a, Result<Found, Trouble>> {
        Box::pin(async move {
            let there = match inspected(&self.docker, container).await {
                Ok(there) => there,
                Err(e) if status(&e) == 404 => return Ok(Found::Missing),
                Err(e) => return Err(engine_trouble(&e)),
            };
            // Half an answer is none: a container must not be called a stranger's, or running, for want of a field.
            // Docker's time of what never started is the year 1.
            let started = there.state.as_ref().and_then(|state| state.started_at.as_deref());
            let has_run = started.is_some_and(|at| !at.is_empty() && !at.starts_with("0001-"));
            let (Some(id), Some(config), Some(status)) = (there.id, there.config, there.state.and_then(|s| s.status))
            else {
                return Err(Trouble::Engine(
                    "Docker's answer about a container lacks its id, labels or state".to_owned(),
                ));
            };
            let label = config.labels.and_then(|mut l| l.remove(DEPLOYMENT_LABEL));
            if label != Some(deployment.to_string()) {
                return Ok(Found::Foreign);
            }
            Ok(match status {
                ContainerStateStatusEnum::CREATED => Found::Created(id),
                // One whose removal failed, which may never have run.
                ContainerStateStatusEnum::DEAD if !has_run => Found::Created(id),
                ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD => Found::Ended(id),
                // Soon it is gone, and then it is told what that means.
                ContainerStateStatusEnum::REMOVING => {
                    return Err(Trouble::Engine("Docker is at removing the container".to_owned()));
                }
                _ => Found::Running(id),
            })
        })
    }

    #[tracing::instrument(name = "docker create", level = "debug", skip_all, fields(deployment.id = %spec.deployment_id))]
    fn create<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<String, Trouble>> {
        Box::pin(async move {
            let mut variables: Vec<(&str, &str)> = Vec::new();
            for (name, value) in &spec.variables {
                variables.retain(|(taken, _)| taken != name);
                variables.push((name, value.expose_secret()));
            }
            let network = self.network().await?;
            let kept_by = |driver: &str| HostConfigLogConfig {
                typ: Some(driver.to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), LOG_FILE_MAX.to_string()),
                    ("max-file".to_owned(), "2".to_owned()),
                ])),
            };
            let mut body = ContainerCreateBody {
                image: Some(spec.image_id.clone()),
                env: Some(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
                labels: Some(HashMap::from([
                    (INSTANCE_LABEL.to_owned(), spec.instance.clone()),
                    (DEPLOYMENT_LABEL.to_owned(), spec.deployment_id.to_string()),
                ])),
                host_config: Some(HostConfig {
                    network_mode: Some(network),
                    memory: Some(MEMORY),
                    memory_swap: Some(MEMORY),
                    pids_limit: Some(PIDS),
                    privileged: Some(false),
                    security_opt: Some(vec!["no-new-privileges".to_owned()]),
                    auto_remove: Some(false),
                    restart_policy: Some(RestartPolicy {
                        name: Some(RestartPolicyNameEnum::NO),
                        maximum_retry_count: None,
                    }),
                    log_config: Some(kept_by(LOG_DRIVER)),
                    ..Default::default()
                }),
                ..Default::default()
            };
            let options = CreateContainerOptionsBuilder::new().name(&spec.container).build();
            let create = |body| within(WORK, self.docker.create_container(Some(options.clone()), body));
            let mut made = create(body.clone()).await;
            if made.as_ref().is_err_and(|e| says(e, "log driver") || says(e, "logging driver")) {
                body.host_config.get_or_insert_default().log_config = Some(kept_by(LOG_DRIVER_ELSE));
                made = create(body).await;
            }
            match made {
                Ok(made) => Ok(made.id),
                Err(e) if is_full(&e) => Err(Trouble::Failed(Failure::EngineFull)),
                Err(e) if (400..500).contains(&status(&e)) && status(&e) != 409 => Err(refused(&e)),
                Err(e) => Err(engine_trouble(&e)),
            }
        })
    }

    #[tracing::instrument(name = "docker start", level = "debug", skip_all, fields(container = id))]
    fn start<'a>(&'a self, _spec: &'a RunSpec, id: &'a str) -> BoxFuture<'a, Result<Box<dyn Reading>, Trouble>> {
        Box::pin(async move {
            // Where that does not work, the engine's log has everything. What runs already lacks its beginning.
            let (stream, stands) = tokio::join!(attached::attach(&self.docker, id), inspected(&self.docker, id));
            let is_new = stands.ok().and_then(|there| there.state?.status) == Some(ContainerStateStatusEnum::CREATED);
            let called_at = output::now();
            match within(WORK, self.docker.start_container(id, None)).await {
                Ok(()) => {
                    let stream = stream.ok().filter(|_| is_new);
                    let attached = stream.map(|stream| Attached::to(&self.docker, id, stream, called_at));
                    Ok(output::reading(&self.docker, id, None, attached))
                }
                Err(e) if is_full(&e) => Err(Trouble::Failed(Failure::EngineFull)),
                // The engine is well and will not start it: no such command in the image, for example.
                Err(e) if status(&e) >= 400 => Err(refused(&e)),
                Err(e) => Err(engine_trouble(&e)),
            }
        })
    }

    fn follow(&self, id: String, from: Option<LogCursor>) -> Box<dyn Reading> {
        output::reading(&self.docker, &id, from, None)
    }

    #[tracing::instrument(name = "docker wait", level = "debug", skip_all, fields(container = id))]
    fn wait<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Exit, Trouble>> {
        Box::pin(async move {
            let mut waiting = self.docker.wait_container(id, None::<WaitContainerOptions>);
            match tokio::time::timeout(CALL, waiting.next()).await {
                // An exit code other than 0 is an error to bollard; the inspection below tells it in any case.
                Ok(Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) | None) | Err(_) => {}
                Ok(Some(Err(e))) => return Err(engine_trouble(&e)),
            }
            let there = inspected(&self.docker, id).await.map_err(|e| engine_trouble(&e))?;
            let state =
                there.state.ok_or_else(|| Trouble::Engine("Docker tells no state of the container".to_owned()))?;
            if state.running == Some(true) {
                return Err(Trouble::Engine("the container's output ended and it runs on".to_owned()));
            }
            let code = state.exit_code.ok_or_else(|| Trouble::Engine("Docker tells no exit code".to_owned()))?;
            Ok(Exit { code, out_of_memory: state.oom_killed.unwrap_or(false) })
        })
    }

    #[tracing::instrument(name = "docker stop", level = "debug", skip_all, fields(container = id))]
    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let seconds = i32::try_from(grace.as_secs()).unwrap_or(10);
            let options = StopContainerOptionsBuilder::new().t(seconds).build();
            match within(grace + WORK, self.docker.stop_container(id, Some(options))).await {
                Err(e) if status(&e) != 404 => Err(engine_trouble(&e)),
                _ => Ok(()),
            }
        })
    }

    #[tracing::instrument(name = "docker containers", level = "debug", skip_all)]
    fn containers<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<Vec<Ours>, Trouble>> {
        Box::pin(async move {
            let filters = HashMap::from([("label".to_owned(), vec![format!("{INSTANCE_LABEL}={instance}")])]);
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let found =
                within(CALL, self.docker.list_containers(Some(options))).await.map_err(|e| engine_trouble(&e))?;
            let ours = |c: bollard::models::ContainerSummary| {
                let deployment = c.labels?.remove(DEPLOYMENT_LABEL)?.parse().ok()?;
                let state = c.state.map(|s| s.to_string()).unwrap_or_default();
                Some(Ours { id: c.id?, deployment, running: !["created", "exited", "dead"].contains(&state.as_str()) })
            };
            Ok(found.into_iter().filter_map(ours).collect())
        })
    }

    #[tracing::instrument(name = "docker discard", level = "debug", skip_all, fields(container = id))]
    fn discard<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let options = RemoveContainerOptionsBuilder::new().force(false).v(true).build();
            match within(WORK, self.docker.remove_container(id, Some(options))).await {
                // Podman's words for 409.
                Err(e) if says(&e, "as it is running") => Ok(()),
                Err(e) if status(&e) != 404 && status(&e) != 409 => Err(engine_trouble(&e)),
                _ => Ok(()),
            }
        })
    }

    #[tracing::instrument(name = "docker remove", level = "debug", skip_all, fields(container = id))]
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            match within(WORK, self.docker.remove_container(id, Some(options))).await {
                Err(e) if status(&e) != 404 && status(&e) != 409 => Err(engine_trouble(&e)),
                _ => Ok(()),
            }
        })
    }
}

/// What an engine says of what is below it: containerd's and gRPC's words, and those of its own allocator of addresses. All
/// else that it answers with 500, such as `exec format error`, is of the image and stays so.
const PASSING: [&str; 8] = [
    "connection refused",
    "connection reset",
    "context deadline exceeded",
    "transport is closing",
    "code = Unavailable",
    "temporarily unavailable",
    "device or resource busy",
    "no available IPv4",
];

fn is_full(error: &Error) -> bool {
    says(error, "no space left")
}

fn refused(error: &Error) -> Trouble {
    // Two networks of one name, for a moment, or none any more: see `network`.
    if says(error, "is ambiguous") || (says(error, "network") && says(error, "not found")) {
        return engine_trouble(error);
    }
    // What the engine itself works with is away or busy, or has no address left: the same may go well in a moment.
    if status(error) >= 500 && PASSING.iter().any(|part| says(error, part)) {
        return engine_trouble(error);
    }
    let detail = match error {
        Error::DockerResponseServerError { message, .. } => message.chars().take(WORDS_MAX).collect(),
        other => other.to_string(),
    };
    Trouble::Failed(Failure::NotStarted { detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_is_of_the_image_is_not() {
        let said = |status_code, words: &str| {
            refused(&Error::DockerResponseServerError { status_code, message: words.to_owned() })
        };
        for passing in [
            "failed to create task for container: connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused\"",
            "failed to create task for container: rpc error: code = Unavailable desc = transport is closing",
            "failed to set up container networking: no available IPv4 addresses on this network's address pools: coolops (1)",
        ] {
            assert!(matches!(said(500, passing), Trouble::Engine(_)), "{passing}");
        }
        let of_the_image = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"/deploy\": exec format error";
        for (status, words) in [(500, of_the_image), (400, "exec: \"/connection refused\": no such file or directory")]
        {
            assert!(matches!(said(status, words), Trouble::Failed(Failure::NotStarted { .. })), "{words}");
        }
    }
}
