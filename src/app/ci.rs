//! A CI system delivers a webhook: prove, read, decide, register.
//!
//! **Invariant:** nothing is believed before its proof, and the proof counts only under the project as it stands when the
//! build is recorded. What may be secret is taken out before the rules see the body, so nothing of it reaches an event.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::builds::{AnnounceRefusal, Announcer, Registered};
use super::{App, CommandError};
use crate::ci::proof::Refusal;
use crate::ci::{self, Headers, Malformed, Provider, Reading, Request, redact, rules};
use crate::domain::build::{BuildRefusal, RegisterBuild};
use crate::domain::event::Actor;
use crate::domain::ids::{BuildId, DeliveryId, ProjectId};
use crate::domain::names;
use crate::domain::project::{Ci, Project, SecretRef};
use crate::store::deliveries::{Delivery, Kept};
use crate::store::directory::Seen;

/// A webhook as it came in.
#[derive(Clone)]
pub struct Incoming {
    /// From whom.
    pub provider: &'static dyn Provider,
    /// Its headers.
    pub headers: Headers,
    /// Its body, byte for byte.
    pub body: Bytes,
}

/// What became of a webhook that was believed.
#[derive(Debug, Clone)]
pub struct Taken {
    /// As it is listed.
    pub delivery: Delivery,
    /// The build, where there is one.
    pub build: Option<Registered>,
}

/// Why a webhook was refused. Nothing of it is kept but when, whose, why, and its digest.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CiRefusal {
    /// The address names no project.
    #[error("there is no project \"{0}\"; the address ends with the project's slug, as coolops project list shows it")]
    NoProject(String),
    /// The project takes nothing from this CI system.
    #[error("{project} takes no webhooks of {provider}; set the secret with: coolops ci secret {project} {provider}")]
    NotSetUp {
        /// Its slug, or "no project".
        project: String,
        /// The CI system.
        provider: &'static str,
    },
    /// Its origin isn't proved.
    #[error(transparent)]
    Proof(#[from] Refusal),
    /// It can't be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

type Refused = CommandError<CiRefusal>;

fn refused(refusal: impl Into<CiRefusal>) -> Refused {
    CommandError::Refused(refusal.into())
}

/// Most builds of one run: its attempts.
const ATTEMPTS_MAX: usize = 50;
/// How often a delivery is looked at anew because its project's settings changed meanwhile.
const LOOKS: usize = 5;

/// The name that a CI system's secret is kept under.
pub fn ci_place(provider: &str) -> String {
    format!("ci {provider}")
}

impl App {
    /// Takes a webhook that was sent to a project.
    ///
    /// # Errors
    /// A refusal, which is noted, or that the database is away.
    pub async fn take_delivery(&self, slug: &str, incoming: &Incoming) -> Result<Taken, Refused> {
        let taken = self.proved_and_taken(ProjectId::of_slug(slug), slug, incoming).await;
        self.noted(taken, slug, incoming).await
    }

    /// Takes a webhook of a CI system that sends those of all repositories to one address: every project whose secret proves
    /// it and whose rules name the repository gets it.
    ///
    /// # Errors
    /// A refusal, which is noted, or that the database is away.
    pub async fn take_delivery_for_any(&self, incoming: &Incoming) -> Result<Vec<Taken>, Refused> {
        let taken = self.routed(incoming).await;
        self.noted(taken, "", incoming).await
    }

    async fn noted<T>(&self, taken: Result<T, Refused>, slug: &str, incoming: &Incoming) -> Result<T, Refused> {
        if let Err(CommandError::Refused(refusal)) = &taken {
            let provider = incoming.provider.name();
            metrics::counter!("coolops_ci_deliveries_total", "provider" => provider, "verdict" => "refused").increment(1);
            let slug: String = slug.chars().filter(|c| !c.is_control()).take(60).collect();
            self.store.note_refusal(provider, &slug, &refusal.to_string(), &Sha256::digest(&incoming.body)).await?;
        }
        taken
    }

    async fn routed(&self, incoming: &Incoming) -> Result<Vec<Taken>, Refused> {
        let provider = incoming.provider.name();
        let mut candidates: Vec<Project> = self.store.projects().await?;
        candidates.retain(|p| !p.archived && p.ci(provider).is_some_and(|c| c.secret.is_some()));
        if candidates.is_empty() {
            return Err(refused(CiRefusal::NotSetUp { project: "no project".to_owned(), provider }));
        }
        let mut believed = Vec::new();
        let mut refusal = None;
        for project in candidates {
            let ci = project.ci(provider).cloned().unwrap_or_default();
            match self.proved(&project, &ci, incoming).await? {
                Ok(()) => believed.push(project),
                Err(why) => refusal = Some(why),
            }
        }
        if let (true, Some(why)) = (believed.is_empty(), refusal) {
            return Err(refused(why));
        }
        let body = self.read(incoming)?;
        // Only projects that say which repository is theirs: all of them share one secret.
        let is_theirs = |p: &Project| p.ci(provider).is_some_and(|c| !c.rules.repositories.is_empty());
        let mut taken = Vec::new();
        for project in believed.iter().filter(|p| is_theirs(p)) {
            let one = self.proved_and_taken(project.id, &project.slug, incoming).await?;
            if !one.delivery.reason.starts_with("the repository ") {
                taken.push(one);
            }
        }
        if taken.is_empty() {
            let nobody = ProjectId(Uuid::nil());
            let request = self.request(incoming);
            let (id, name) = identity(incoming.provider, &request, &body, nobody);
            let repository = match incoming.provider.read(&request, &body) {
                Reading::Report(report) => report.repository,
                Reading::Ignored(_) => None,
            };
            let reason = match repository {
                Some(repository) => format!(
                    "no project takes the builds of {}; choose one: coolops ci rules PROJECT {provider} --repository …",
                    names::printable(&repository)
                ),
                None => "it names no repository that a project takes builds of".to_owned(),
            };
            taken.push(self.kept(Judged { id, name, project: nobody, verdict: "ignored", reason, build: None }, incoming, &body).await?);
        }
        Ok(taken)
    }

    async fn proved_and_taken(&self, project: ProjectId, slug: &str, incoming: &Incoming) -> Result<Taken, Refused> {
        for _ in 0..LOOKS {
            // Read anew: what is remembered may be older than a change of the secret or the rules.
            let Some(project) = self.project_anew(project).await? else {
                return Err(refused(CiRefusal::NoProject(names::printable(slug).into_owned())));
            };
            let ci = project.value.ci(incoming.provider.name()).cloned().unwrap_or_default();
            self.proved(&project.value, &ci, incoming).await?.map_err(refused)?;
            let body = self.read(incoming)?;
            if let Some(taken) = self.judged(&project, &ci, incoming, &body).await? {
                return Ok(taken);
            }
        }
        Err(super::too_busy())
    }

    fn request<'a>(&self, incoming: &'a Incoming) -> Request<'a> {
        Request { headers: &incoming.headers, body: &incoming.body, now: self.store.clock().now().timestamp() }
    }

    /// The body without what may be secret.
    fn read(&self, incoming: &Incoming) -> Result<Value, Refused> {
        let mut body = ci::body(incoming.provider, &self.request(incoming)).map_err(refused)?;
        redact::body(&mut body);
        Ok(body)
    }

    /// Whether one of the project's secrets proves the origin.
    async fn proved(&self, project: &Project, ci: &Ci, incoming: &Incoming) -> Result<Result<(), CiRefusal>, Refused> {
        let Some(secret) = &ci.secret else {
            let not_set_up = CiRefusal::NotSetUp { project: project.slug.clone(), provider: incoming.provider.name() };
            return Ok(Err(not_set_up));
        };
        let request = self.request(incoming);
        let current = self.ci_secret(project.id, &ci.provider, secret).await?;
        let Err(refusal) = incoming.provider.verify(&request, current.expose_secret()) else { return Ok(Ok(())) };
        if ci.keeps_previous
            && let Some(previous) = self.secret_before(project.id.0, &ci_place(&ci.provider), secret).await?
            && incoming.provider.verify(&request, previous.expose_secret()).is_ok()
        {
            return Ok(Ok(()));
        }
        Ok(Err(refusal.into()))
    }

    /// The secret's value, from memory if it was used before; the fingerprint tells it from one of an earlier life.
    async fn ci_secret(&self, project: ProjectId, provider: &str, secret: &SecretRef) -> Result<Arc<SecretString>, Refused> {
        let key = (project, provider.to_owned(), secret.fingerprint.clone());
        let known = self.directory.ci_secrets.read().expect("no holder of the lock panics").get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let value = self.secret(project.0, &ci_place(provider), secret).await?;
        let value = Arc::new(value.map_err(|e| CommandError::Unavailable(format!("the secret of {provider}: {e}")))?);
        self.directory.ci_secrets.write().expect("no holder of the lock panics").insert(key, Arc::clone(&value));
        Ok(value)
    }

    /// Decides on a webhook that is believed, and keeps it. Nothing when the settings changed meanwhile.
    async fn judged(&self, project: &Seen<Project>, ci: &Ci, incoming: &Incoming, body: &Value) -> Result<Option<Taken>, Refused> {
        let request = self.request(incoming);
        let (id, name) = identity(incoming.provider, &request, body, project.value.id);
        if let Some(delivery) = self.store.delivery(id).await? {
            return Ok(Some(Taken { delivery, build: None }));
        }
        let judged = self.decided(project.value.id, ci, incoming, body, id).await?;
        let Some((verdict, reason, build)) = judged else { return Ok(None) };
        let judged = Judged { id, name, project: project.value.id, verdict, reason, build };
        self.kept(judged, incoming, body).await.map(Some)
    }

    async fn decided(
        &self,
        project: ProjectId,
        ci: &Ci,
        incoming: &Incoming,
        body: &Value,
        delivery: DeliveryId,
    ) -> Result<Option<(&'static str, String, Option<Registered>)>, Refused> {
        let provider = incoming.provider;
        let report = match provider.read(&self.request(incoming), body) {
            Reading::Report(report) => report,
            Reading::Ignored(why) => return Ok(Some(("ignored", why, None))),
        };
        let announced = match rules::decide(provider, &ci.rules, &report, body) {
            Ok(announced) => announced,
            Err(why) => return Ok(Some(("ignored", why, None))),
        };
        let actor = Actor::Webhook { provider: provider.name().to_owned(), delivery };
        for attempt in 1..=ATTEMPTS_MAX {
            let name = if attempt == 1 { announced.name.clone() } else { format!("{}-{attempt}", announced.name) };
            let (params, metadata, public_url) = (announced.params.clone(), announced.metadata.clone(), self.public_url.clone());
            let command = RegisterBuild { name: name.clone(), params, metadata, public_url };
            match self.register_build(project, Announcer::Webhook { ci, actor: actor.clone() }, command).await {
                Ok(build) if build.new => return Ok(Some(("accepted", String::new(), Some(build)))),
                Ok(build) => return Ok(Some(("repeated", "the build is registered already".to_owned(), Some(build)))),
                Err(CommandError::Refused(AnnounceRefusal::SettingsChanged)) => return Ok(None),
                Err(CommandError::Refused(AnnounceRefusal::Build(BuildRefusal::OtherParams { difference, .. }))) => {
                    let there = self.build(BuildId::of_name(project, &name)).await?;
                    if there.is_some_and(|b| rules::is_run_again(&announced, &b.params, &b.metadata)) {
                        continue;
                    }
                    let why = format!(
                        "another run made the build {name} already ({difference}); tell them apart by name, such as \
                         coolops ci rules PROJECT {} --name \"{{workflow}}-{{branch}}-{{number}}\"",
                        provider.name()
                    );
                    return Ok(Some(("ignored", why, None)));
                }
                Err(CommandError::Refused(refusal)) => return Ok(Some(("ignored", refusal.to_string(), None))),
                Err(CommandError::Unavailable(why)) => return Err(CommandError::Unavailable(why)),
            }
        }
        Ok(Some(("ignored", format!("it is run for more than the {ATTEMPTS_MAX}th time"), None)))
    }

    async fn kept(&self, judged: Judged, incoming: &Incoming, body: &Value) -> Result<Taken, Refused> {
        let Judged { id, name, project, verdict, reason, build } = judged;
        metrics::counter!("coolops_ci_deliveries_total", "provider" => incoming.provider.name(), "verdict" => verdict).increment(1);
        let delivery = Delivery {
            id,
            at: self.store.clock().now(),
            project,
            provider: incoming.provider.name().to_owned(),
            name,
            verdict: verdict.to_owned(),
            reason,
            build: build.as_ref().map(|b| b.id),
            position: build.as_ref().and_then(|b| b.position),
        };
        let headers = incoming.headers.0.iter().filter(|(name, _)| redact::keeps_header(name)).cloned().collect();
        let kept = Kept { headers, body: serde_json::to_vec(body).unwrap_or_default() };
        self.store.keep_delivery(&delivery, Some(&kept)).await?;
        Ok(Taken { delivery, build })
    }

    /// Runs a kept delivery again, under the rules as they are now. A build that is there already stays as it is, and nothing
    /// is posted twice.
    ///
    /// # Errors
    /// That it is not kept any more, its project or CI system is gone, or the database is away.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<Taken, CommandError<ReplayRefusal>> {
        let gone = || CommandError::Refused(ReplayRefusal::NotKept(id));
        let delivery = self.store.delivery(id).await?.ok_or_else(gone)?;
        let kept = self.store.kept_delivery(id).await?.ok_or_else(gone)?;
        let provider = ci::provider(&delivery.provider).ok_or_else(gone)?;
        let body: Value = serde_json::from_slice(&kept.body).map_err(|_| gone())?;
        let project = self.project_anew(delivery.project).await?.ok_or(CommandError::Refused(ReplayRefusal::NoProject))?;
        let ci = project.value.ci(provider.name()).cloned().unwrap_or_default();
        if ci.secret.is_none() {
            return Err(CommandError::Refused(ReplayRefusal::NotSetUp { project: project.value.slug.clone(), provider: provider.name() }));
        }
        let incoming = Incoming { provider, headers: Headers(kept.headers), body: Bytes::new() };
        let decided =
            self.decided(delivery.project, &ci, &incoming, &body, id).await.map_err(|e| CommandError::Unavailable(e.to_string()))?;
        let (verdict, reason, build) = decided.ok_or_else(super::too_busy)?;
        let position = build.as_ref().and_then(|b| b.position).or(delivery.position);
        let delivery =
            Delivery { verdict: verdict.to_owned(), reason, build: build.as_ref().map(|b| b.id).or(delivery.build), position, ..delivery };
        self.store.keep_delivery(&delivery, None).await?;
        Ok(Taken { delivery, build })
    }
}

/// Why a delivery can't be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayRefusal {
    /// Unknown, or older than 30 days.
    #[error("there is no delivery {0}; deliveries are kept for 30 days, see: coolops ci deliveries")]
    NotKept(DeliveryId),
    /// No project took it.
    #[error(
        "no project took this delivery; name its repository with coolops ci rules PROJECT PROVIDER --repository …, then redeliver it there"
    )]
    NoProject,
    /// The project doesn't take webhooks of that system any more.
    #[error("{project} takes no webhooks of {provider} any more; set the secret with: coolops ci secret {project} {provider}")]
    NotSetUp {
        /// Its slug.
        project: String,
        /// The CI system.
        provider: &'static str,
    },
}

/// What is known of a delivery when it is decided.
struct Judged {
    id: DeliveryId,
    name: String,
    project: ProjectId,
    verdict: &'static str,
    reason: String,
    build: Option<Registered>,
}

/// A delivery's name and id.
fn identity(provider: &dyn Provider, request: &Request<'_>, body: &Value, project: ProjectId) -> (DeliveryId, String) {
    let digest = Sha256::digest(request.body);
    let name = provider.delivery(request, body).unwrap_or_else(|| hex::encode(digest));
    (DeliveryId::of(project, provider.name(), &name, &digest), name.chars().filter(|c| !c.is_control()).take(200).collect())
}
