//! The image that a deployment runs: at hand, or fetched from its registry.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::stream::StreamExt;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use super::{CALL, DockerRunner, WORDS_MAX, engine_trouble, status, within};
use crate::domain::deployment::Failure;
use crate::domain::names::ImageRef;
use crate::domain::project::Unchecked;
use crate::runner::{Credentials, Image, Progress, Trouble};

/// How long an engine may say nothing while it fetches an image: it tells of every piece that comes.
const SILENCE: Duration = Duration::from_mins(10);
/// Tries to fetch an image, and the pause after the first.
const PULL_TRIES: u32 = 3;
const PULL_PAUSE: Duration = Duration::from_secs(2);

impl DockerRunner {
    /// What an image says in a label, where it has that; it is fetched where it is not at hand.
    ///
    /// # Errors
    /// When it can't be fetched, or the engine does not answer.
    pub async fn label(
        &self,
        image: &ImageRef,
        credentials: Option<Credentials>,
        label: &str,
    ) -> Result<Option<String>, Trouble> {
        let (progress, mut told) = mpsc::channel(64);
        let heard = async { while told.recv().await.is_some() {} };
        let prepared = async {
            let prepared = self.prepared(image, credentials, Unchecked::Run, &progress).await;
            drop(progress);
            prepared
        };
        let (prepared, ()) = tokio::join!(prepared, heard);
        let there = within(CALL, self.docker.inspect_image(&prepared?.id)).await.map_err(|e| engine_trouble(&e))?;
        Ok(there.config.and_then(|config| config.labels).and_then(|mut labels| labels.remove(label)))
    }

    /// Makes sure that an image is there, and tells which one it is.
    pub(super) async fn prepared(
        &self,
        image: &ImageRef,
        credentials: Option<Credentials>,
        unchecked: Unchecked,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<Image, Trouble> {
        let inspect = || within(CALL, self.docker.inspect_image(image.as_str()));
        // As Kubernetes does: `latest` means the latest, any other tag is fetched once.
        let mut could_ask = true;
        if image.moves()
            && let Err(trouble) = self.pull(image, credentials.clone(), progress).await
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
                self.pull(image, credentials, progress).await?;
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
            let Err(trouble) = self.pull_once(image, credentials.clone(), progress).await else { return Ok(()) };
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
        loop {
            let step = match tokio::time::timeout(SILENCE, steps.next()).await {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(()),
                Err(_) => {
                    let detail = "nothing more came for 10 minutes".to_owned();
                    return Err(Trouble::Failed(Failure::PullFailed { detail }));
                }
            };
            let step = step.map_err(|e| pull_trouble(&e, image, has_login))?;
            let status = step.status.unwrap_or_default();
            // Byte counts come many times a second; the steps are what people want to read.
            if !matches!(status.as_str(), "Downloading" | "Extracting" | "Waiting" | "Verifying Checksum" | "") {
                let id = step.id.map(|id| format!("{id}: ")).unwrap_or_default();
                let _ = progress.send(Progress::Said(format!("{id}{status}"))).await;
            }
        }
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
    } else if has(&["no matching manifest", "no match for platform", "permission denied"]) {
        // The image is there, of another platform; or it is this machine that denies something.
        Failure::PullFailed { detail: words.chars().take(WORDS_MAX).collect() }
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
