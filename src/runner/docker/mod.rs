//! Docker Engine through bollard, and Podman where it speaks Docker's API.
//!
//! The container is made from constants: no mounts, no privileges, bounded memory and processes, on a network of ours
//! whose members can't reach each other. It is not removed by the engine. Its output is attached to before its start, and
//! kept by the engine until we have it (`output.rs`).

mod attached;
mod counted;
mod guard;
mod output;
mod stamped;

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountType, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum, SystemVersion,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptions,
};
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
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
/// The network that deployments share, without traffic between them.
const NETWORK: &str = "coolops";
/// Option of a bridge network: whether its members reach each other.
const ICC: &str = "com.docker.network.bridge.enable_icc";
/// Option of a bridge network: the name of the host's interface, at most 15 characters.
const BRIDGE: &str = "com.docker.network.bridge.name";
/// How long the guard's rules are taken to stand.
const GUARDED: Duration = Duration::from_mins(6);
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
/// How long fetching an image may take in one try.
const PULL: Duration = Duration::from_mins(10);
/// Tries to fetch an image, and the pause after the first.
const PULL_TRIES: u32 = 3;
const PULL_PAUSE: Duration = Duration::from_secs(2);
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

/// A network of our name.
struct Known {
    id: String,
    name: String,
    bridge: String,
    /// Its members reach the world.
    is_plain: bool,
    /// Its members can't reach each other, and reach the world.
    sound: bool,
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

    /// Makes an image from a tar archive of its root file system.
    async fn import(&self, name: &str, command: &str, tar: Vec<u8>) -> Result<(), Trouble> {
        let options =
            CreateImageOptionsBuilder::new().from_src("-").repo(name).changes(vec![format!("CMD {command}")]).build();
        let body = bollard::body_full(tar.into());
        let mut progress = self.docker.create_image(Some(options), Some(body), None);
        while let Some(step) = progress.next().await {
            step.map_err(|e| engine_trouble(&e))?;
        }
        Ok(())
    }

    /// Networks of our names, in the order in which they are used.
    async fn networks(&self) -> Result<Vec<Known>, Trouble> {
        let filters = HashMap::from([("name".to_owned(), vec![format!("^{NETWORK}(-[0-9]+)?$")])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = within(CALL, self.docker.list_networks(Some(options))).await.map_err(|e| engine_trouble(&e))?;
        let known = |n: bollard::models::Network| {
            let option = |name: &str| n.options.as_ref().and_then(|o| o.get(name)).map(String::as_str);
            let apart = matches!(option(ICC), Some("false" | "0"));
            let plain =
                n.driver.as_deref() == Some("bridge") && n.internal != Some(true) && n.enable_ipv6 != Some(true);
            Some(Known {
                id: n.id.clone()?,
                name: n.name.clone()?,
                bridge: option(BRIDGE).unwrap_or_default().to_owned(),
                is_plain: plain,
                sound: apart && plain,
            })
        };
        let mut known: Vec<Known> = found.into_iter().filter_map(known).collect();
        known.sort_by(|a, b| (a.name.len(), &a.name, &a.id).cmp(&(b.name.len(), &b.name, &b.id)));
        Ok(known)
    }

    /// Makes sure that there is one network that deployments share, and tells its name; somebody may have pruned it
    /// since the last one, or made one of that name that lets them reach each other.
    async fn network(&self) -> Result<String, Trouble> {
        if self.is_podman().await? {
            return self.network_of_podman().await;
        }
        // Asking who it is takes an engine much longer than telling its networks, so it is asked only where the network of
        // the one that answered last is not there.
        let remembered = self.known.lock().await.as_ref().map(|(id, _, root)| bridge_of(&format!("{id} {root}")));
        let (mut bridge, mut asked) = (remembered.unwrap_or_default(), false);
        for _ in 0..3 {
            let known = self.networks().await?;
            let (ours, others): (Vec<&Known>, Vec<&Known>) = known.iter().partition(|n| n.sound && n.bridge == bridge);
            if let Some(first) = ours.first() {
                // Docker before version 25 may make a second one of the same name, when two workers begin at once, and
                // can use neither then. All keep the same one, and nothing can be on the others.
                for second in ours.iter().skip(1) {
                    drop(within(CALL, self.docker.remove_network(&second.id)).await);
                }
                self.guard(&bridge).await?;
                return Ok(first.name.clone());
            }
            if !asked {
                (bridge, asked) = (bridge_of(&self.engine_id().await?), true);
                continue;
            }
            let is_taken = |name: &String| others.iter().any(|n| n.name == *name);
            let names = std::iter::once(NETWORK.to_owned()).chain((1..=20).map(|n| format!("{NETWORK}-{n}")));
            let name = names.into_iter().find(|n| !is_taken(n)).unwrap_or_else(|| NETWORK.to_owned());
            if let Some(other) = others.first() {
                tracing::warn!(
                    network = %other.name, using = %name,
                    "there is a network of our name with other settings; deployments get one of their own"
                );
            }
            let options = HashMap::from([(ICC.to_owned(), "false".to_owned()), (BRIDGE.to_owned(), bridge.clone())]);
            let request = NetworkCreateRequest {
                name,
                driver: Some("bridge".to_owned()),
                options: Some(options),
                ..Default::default()
            };
            match within(WORK, self.docker.create_network(request)).await {
                Err(e) if is_full(&e) => return Err(Trouble::Failed(Failure::EngineFull)),
                // Somebody else was quicker: of the name, or of the bridge.
                Err(e) if status(&e) == 409 || (status(&e) == 403 && says(&e, "same bridge name")) => {}
                Err(e) => return Err(engine_trouble(&e)),
                Ok(_) => *self.guarded.lock().await = None,
            }
        }
        Err(Trouble::Engine(format!("the network {NETWORK} is made and not there")))
    }

    /// Whether the engine is Podman; asked once.
    async fn is_podman(&self) -> Result<bool, Trouble> {
        let ask = || async {
            let version = within(CALL, self.docker.version()).await.map_err(|e| engine_trouble(&e))?;
            Ok(is_of_podman(&version))
        };
        self.podman.get_or_try_init(ask).await.copied()
    }

    /// The same for Podman. It takes what keeps containers from each other and does nothing with it, and tells nothing of
    /// what a network was made with; `coolops doctor` says so.
    async fn network_of_podman(&self) -> Result<String, Trouble> {
        let bridge = bridge_of(&self.engine_id().await?);
        for _ in 0..2 {
            if let Some(ours) = self.networks().await?.iter().find(|n| n.is_plain) {
                self.guard(&bridge).await?;
                return Ok(ours.name.clone());
            }
            let request = NetworkCreateRequest {
                name: NETWORK.to_owned(),
                driver: Some("bridge".to_owned()),
                options: Some(HashMap::from([(BRIDGE.to_owned(), bridge.clone())])),
                ..Default::default()
            };
            match within(WORK, self.docker.create_network(request)).await {
                Err(e) if !says(&e, "already") => return Err(engine_trouble(&e)),
                _ => *self.guarded.lock().await = None,
            }
        }
        Err(Trouble::Engine(format!("the network {NETWORK} is made and not there")))
    }

    /// What of the engine is not as deployments need it, in a sentence for an operator.
    ///
    /// # Errors
    /// When the engine doesn't answer.
    pub async fn shortcomings(&self) -> Result<Option<String>, Trouble> {
        let podman = "it is Podman, which does not keep deployments that run at the same time from each other's ports";
        Ok(self.is_podman().await?.then(|| podman.to_owned()))
    }

    /// Sets the rules of [`guard`] anew, unless that was done lately: a reboot or a firewall may have lost them.
    async fn guard(&self, bridge: &str) -> Result<(), Trouble> {
        // Podman makes a bridge with the first container on it.
        let later = if self.is_podman().await? { "later" } else { "" };
        let mut guarded = self.guarded.lock().await;
        let stands = |(of, at): &(String, Instant)| of == bridge && at.elapsed() < GUARDED;
        if !self.guards || guarded.as_ref().is_some_and(stands) {
            return Ok(());
        }
        let refused = |why: String| {
            Trouble::Engine(format!(
                "deployments can't be kept from the host and its metadata address: {why} (COOLOPS_NETWORK_GUARD=off runs them all the same)"
            ))
        };
        if within(CALL, self.docker.inspect_image(guard::IMAGE)).await.is_err() {
            let files = guard::file_system().map_err(|e| refused(e.to_string()))?;
            self.import(guard::IMAGE, "[\"/bin/sh\"]", files).await?;
        }
        let host = Mount {
            typ: Some(MountType::BIND),
            source: Some("/".to_owned()),
            target: Some("/host".to_owned()),
            read_only: Some(true),
            bind_options: Some(MountBindOptions { non_recursive: Some(true), ..Default::default() }),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(guard::IMAGE.to_owned()),
            cmd: Some(["/bin/sh", "-c", guard::SCRIPT, "sh", bridge, later].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                userns_mode: Some("host".to_owned()),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                readonly_rootfs: Some(true),
                tmpfs: Some(HashMap::from([("/run".to_owned(), String::new())])),
                mounts: Some(vec![host]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let made =
            within(WORK, self.docker.create_container(None::<bollard::query_parameters::CreateContainerOptions>, body))
                .await;
        let id = made.map_err(|e| refused(words(&e)))?.id;
        let ran = async {
            within(WORK, self.docker.start_container(&id, None)).await.map_err(|e| refused(words(&e)))?;
            let exit = self.wait(&id).await?;
            if exit.code == 0 {
                return Ok(());
            }
            let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("5").build();
            let said: Vec<String> = self
                .docker
                .logs(&id, Some(options))
                .filter_map(async |l| l.ok())
                .map(|l| l.to_string())
                .collect()
                .await;
            Err(refused(format!("exit code {}: {}", exit.code, said.concat().trim())))
        };
        let ran = ran.await;
        drop(self.remove(&id).await);
        ran?;
        *guarded = Some((bridge.to_owned(), Instant::now()));
        Ok(())
    }

    /// Fetches an image. Nothing has started yet, so what may pass is tried again.
    async fn pull(
        &self,
        image: &ImageRef,
        credentials: Option<Credentials>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), Trouble> {
        drop(progress.send(Progress::Pulling).await);
        let mut pause = PULL_PAUSE;
        for tries_left in (0..PULL_TRIES).rev() {
            let pulled = tokio::time::timeout(PULL, self.pull_once(image, credentials.clone(), progress)).await;
            let trouble = match pulled {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Failed(Failure::PullFailed { detail: "it took longer than 10 minutes".to_owned() }),
            };
            match &trouble {
                Trouble::Failed(Failure::PullFailed { detail }) if tries_left > 0 => {
                    let _ =
                        progress.send(Progress::Said(format!("{detail}; trying again in {} s", pause.as_secs()))).await;
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return Err(trouble),
            }
        }
        unreachable!("the last try returns")
    }

    async fn pull_once(
        &self,
        image: &ImageRef,
        credentials: Option<Credentials>,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), Trouble> {
        let has_login = credentials.is_some();
        let (name, tag) = image.name_and_tag();
        let options = CreateImageOptionsBuilder::new().from_image(name).tag(tag).build();
        let login = credentials.map(|c| DockerCredentials {
            username: Some(c.username),
            password: Some(c.password.expose_secret().to_owned()),
            serveraddress: Some(c.registry),
            ..Default::default()
        });
        let _ = progress.send(Progress::Said(format!("Pulling {}", image.as_str()))).await;
        let mut steps = self.docker.create_image(Some(options), None, login);
        while let Some(step) = steps.next().await {
            let step = step.map_err(|e| pull_trouble(&e, image, has_login))?;
            let status = step.status.unwrap_or_default();
            // Byte counts come many times a second; the steps are what people want to read.
            if !matches!(status.as_str(), "Downloading" | "Extracting" | "Waiting" | "Verifying Checksum" | "") {
                let id = step.id.map(|id| format!("{id}: ")).unwrap_or_default();
                let _ = progress.send(Progress::Said(format!("{id}{status}"))).await;
            }
        }
        Ok(())
    }
}

/// Docker answers all failures of a registry with status 500 (or within the stream) and words.
fn pull_trouble(error: &Error, image: &ImageRef, has_login: bool) -> Trouble {
    let words = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        other => return Trouble::Engine(format!("Docker does not answer: {other}")),
    };
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    Trouble::Failed(if has(&["no space left"]) {
        Failure::EngineFull
    } else if has(&["no basic auth credentials", "unauthorized", "authentication required", "denied"]) {
        let registry = image.registry();
        // Whoever shows no login hears the same of what is private and of what isn't there.
        if has_login { Failure::RegistryRefused { registry } } else { Failure::ImageMissingOrPrivate { registry } }
    } else if has(&["manifest unknown", "not found", "does not exist", "name unknown"]) {
        Failure::ImageMissing
    } else {
        Failure::PullFailed { detail: words.chars().take(WORDS_MAX).collect() }
    })
}

/// That an image of a moving tag is at hand and nobody can say whether it is the newest.
fn not_checked(trouble: Trouble, image: &ImageRef) -> Trouble {
    let detail = match trouble {
        Trouble::Failed(Failure::PullFailed { detail }) | Trouble::Engine(detail) => detail,
        Trouble::Failed(failure) => failure.sentence(image.as_str()),
    };
    Trouble::Failed(Failure::ImageUnchecked { detail })
}

/// The bridge of an engine's network: one engine's own, because several on one machine can't share one.
fn bridge_of(engine: &str) -> String {
    format!("{NETWORK}{}", &hex::encode(Sha256::digest(engine))[..8])
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
            let inspect = || within(CALL, self.docker.inspect_image(image.as_str()));
            // As Kubernetes does: `latest` means the latest, any other tag is fetched once.
            let mut could_ask = true;
            if image.moves()
                && let Err(trouble) = self.pull(image, credentials.clone(), &progress).await
            {
                let Ok(there) = inspect().await else { return Err(trouble) };
                // What never came from a registry can't have moved there.
                let is_local = there.repo_digests.unwrap_or_default().is_empty();
                // The engine didn't answer: that says nothing of the registry.
                if matches!(trouble, Trouble::Engine(_)) {
                    return Err(trouble);
                }
                if unchecked == Unchecked::Fail && !is_local {
                    return Err(not_checked(trouble, image));
                }
                could_ask = is_local;
                let line = "The registry gives no newer image; using the one on this machine";
                drop(progress.send(Progress::Said(line.to_owned())).await);
            }
            let there = match inspect().await {
                Err(e) if status(&e) == 404 => {
                    self.pull(image, credentials, &progress).await?;
                    inspect().await
                }
                there => there,
            };
            let there = there.map_err(|e| engine_trouble(&e))?;
            let id = there.id.ok_or_else(|| Trouble::Engine("Docker tells no id of the image".to_owned()))?;
            // One image may be known under several names; the digest is the one of the name that was asked for.
            let name = image.listed_name();
            let known = there.repo_digests.unwrap_or_default();
            let digest = known.into_iter().find(|d| d.split('@').next() == Some(name.as_str()));
            Ok(Image { id, digest, unchecked: !could_ask })
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
                ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD => Found::Ended(id),
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

fn is_full(error: &Error) -> bool {
    says(error, "no space left")
}

fn refused(error: &Error) -> Trouble {
    // Two networks of one name, for a moment, or none any more: see `network`.
    if says(error, "is ambiguous") || (says(error, "network") && says(error, "not found")) {
        return engine_trouble(error);
    }
    let detail = match error {
        Error::DockerResponseServerError { message, .. } => message.chars().take(WORDS_MAX).collect(),
        other => other.to_string(),
    };
    Trouble::Failed(Failure::NotStarted { detail })
}
