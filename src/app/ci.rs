//! A CI system delivers a webhook: prove, read, decide, register.
//!
//! **Invariant:** nothing is believed before its proof, and the proof counts only under the project as it stands when the
//! build is recorded. What may be secret is taken out before the rules see the body, so nothing of it reaches an event.

use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::builds::{AnnounceRefusal, Announcer, Registered};
use super::{App, CommandError};
use crate::ci::proof;
use crate::ci::{self, Headers, Malformed, Provider, Reading, Request, redact, rules};
use crate::domain::build::{BuildRefusal, RegisterBuild};
use crate::domain::ids::{BuildId, DeliveryId, ProjectId};
use crate::domain::names;
use crate::domain::project::{Ci, Project, SecretRef};
use crate::store::deliveries::{Delivery, DeliveryContent, DeliveryVerdict, PackedDelivery};
use crate::store::directory::Seen;
use crate::store::refusals::Refusal;

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
        /// Its slug.
        project: String,
        /// The CI system.
        provider: &'static str,
    },
    /// No project takes anything from this CI system, which has one address for all.
    #[error("no project takes webhooks of {0} yet; set one up with: coolops ci secret PROJECT {0}")]
    NobodySetUp(&'static str),
    /// Its body is too long, or broke off.
    #[error("{0}")]
    Unread(String),
    /// Its origin isn't proved.
    #[error(transparent)]
    Proof(#[from] proof::Refusal),
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
/// A body of so many bytes takes long enough to read to stand in the way of others.
const LARGE: usize = 64 * 1024;
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
        let taken = self.verify_and_take(ProjectId::of_slug(slug), slug, incoming).await;
        self.record_refusal(taken, Some(slug), incoming)
    }

    /// Takes a webhook of a CI system that sends those of all repositories to one address: every project whose secret proves
    /// it and whose rules name the repository gets it.
    ///
    /// # Errors
    /// A refusal, which is noted, or that the database is away.
    pub async fn take_delivery_for_any(&self, incoming: &Incoming) -> Result<Vec<Taken>, Refused> {
        let taken = self.route_delivery(incoming).await;
        self.record_refusal(taken, None, incoming)
    }

    /// Notes a webhook whose body was not read to its end, of a project or of an address for all.
    pub fn note_unread(&self, provider: &'static dyn Provider, slug: Option<&str>, why: &str) {
        let incoming = Incoming { provider, headers: Headers::default(), body: Bytes::new() };
        let unread: Result<(), Refused> = Err(refused(CiRefusal::Unread(why.to_owned())));
        drop(self.record_refusal(unread, slug, &incoming));
    }

    fn record_refusal<T>(&self, taken: Result<T, Refused>, slug: Option<&str>, incoming: &Incoming) -> Result<T, Refused> {
        if let Err(CommandError::Refused(refusal)) = &taken {
            let provider = incoming.provider.name();
            metrics::counter!("coolops_ci_deliveries_total", "provider" => provider, "verdict" => "refused").increment(1);
            let known = match refusal {
                CiRefusal::NoProject(_) | CiRefusal::NobodySetUp(_) => false,
                // Nothing was looked up for it.
                CiRefusal::Unread(_) => slug.is_some_and(|slug| {
                    self.directory.projects.read().expect("no holder of the lock panics").contains_key(&ProjectId::of_slug(slug))
                }),
                CiRefusal::NotSetUp { .. } | CiRefusal::Proof(_) | CiRefusal::Malformed(_) => true,
            };
            let project = slug.map(|slug| slug.chars().filter(|c| !c.is_control()).take(60).collect());
            // What was not read to its end has no digest.
            let digest = (!matches!(refusal, CiRefusal::Unread(_))).then(|| Sha256::digest(&incoming.body).to_vec());
            self.refusals.note(Refusal { provider, project, known, reason: refusal.to_string() }, digest);
        }
        taken
    }

    async fn route_delivery(&self, incoming: &Incoming) -> Result<Vec<Taken>, Refused> {
        let provider = incoming.provider.name();
        // Whoever proves nothing costs nothing.
        if let Err(refusal @ proof::Refusal::Missing(_)) = incoming.provider.verify(&self.request(incoming), "") {
            return Err(refused(refusal));
        }
        let mut candidates: Vec<Project> = self.unproven().projects().await?;
        candidates.retain(|p| !p.archived && p.ci(provider).is_some_and(|c| c.secret.is_some()));
        if candidates.is_empty() {
            return Err(refused(CiRefusal::NobodySetUp(provider)));
        }
        let (mut believed, mut refusal) = (Vec::new(), None);
        for project in candidates {
            let ci = project.ci(provider).cloned().unwrap_or_default();
            match self.verify_origin(&project, &ci, incoming).await {
                Ok(Ok(())) => believed.push(project),
                Ok(Err(why)) => refusal = Some(why),
                // One project whose secret can't be read must not stop the others.
                Err(e) => tracing::warn!(project = %project.slug, error = %e, "a secret of CI can't be used"),
            }
        }
        if believed.is_empty() {
            return Err(match refusal {
                Some(why) => refused(why),
                None => CommandError::Unavailable("no project's secret can be read".to_owned()),
            });
        }
        let body = self.read_redacted(incoming).await?;
        let (mut taken, mut failed) = (Vec::new(), None);
        for project in theirs(&believed, incoming.provider, &body) {
            match self.verify_and_take(project.id, &project.slug, incoming).await {
                Ok(done) => taken.push(done),
                // Drone does not try again: one project's trouble must not cost the others their build.
                Err(e) => failed = Some(e),
            }
        }
        if let Some(e) = failed {
            return Err(e);
        }
        if taken.is_empty() {
            let reason = match incoming.provider.repository(&body) {
                Some(repository) => format!(
                    "no project takes the builds of {}; choose one: coolops ci rules PROJECT {provider} --repository …",
                    names::printable(&repository)
                ),
                None => "it names no repository".to_owned(),
            };
            taken.push(self.keep_delivery(&self.pack_delivery(None, incoming, &body), Decided::ignored(reason)).await?);
        }
        Ok(taken)
    }

    async fn verify_and_take(&self, project: ProjectId, slug: &str, incoming: &Incoming) -> Result<Taken, Refused> {
        let mut seen = self.project_unproven(project, false).await?;
        for look in 1..=LOOKS {
            let Some(there) = seen else { return Err(refused(CiRefusal::NoProject(names::printable(slug).into_owned()))) };
            let ci = there.value.ci(incoming.provider.name()).cloned().unwrap_or_default();
            match self.verify_origin(&there.value, &ci, incoming).await {
                Ok(Ok(())) => {
                    let body = self.read_redacted(incoming).await?;
                    if let Some(taken) = self.ingest(&there, &ci, incoming, &body).await? {
                        return Ok(taken);
                    }
                }
                // What was remembered of the project may be older than a change of the secret, which may be erased by now.
                Ok(Err(_)) | Err(CommandError::Unavailable(_)) if look == 1 => {}
                Ok(Err(refusal)) => return Err(refused(refusal)),
                Err(e) => return Err(e),
            }
            seen = self.project_unproven(project, true).await?;
        }
        Err(super::too_busy())
    }

    fn request<'a>(&self, incoming: &'a Incoming) -> Request<'a> {
        Request { headers: &incoming.headers, body: &incoming.body, now: self.store.clock().now().timestamp() }
    }

    /// The body without what may be secret. A large one is read where nobody else waits.
    async fn read_redacted(&self, incoming: &Incoming) -> Result<Value, Refused> {
        let now = self.request(incoming).now;
        let read = move |incoming: &Incoming| {
            let request = Request { headers: &incoming.headers, body: &incoming.body, now };
            let mut body = ci::body(incoming.provider, &request)?;
            redact::body(&mut body);
            Ok(body)
        };
        let body: Result<Value, Malformed> = if incoming.body.len() < LARGE {
            read(incoming)
        } else {
            let incoming = incoming.clone();
            let read = tokio::task::spawn_blocking(move || read(&incoming)).await;
            read.map_err(|e| CommandError::Impossible(format!("the body can't be read: {e}")))?
        };
        body.map_err(refused)
    }

    /// Whether one of the project's secrets proves the origin.
    async fn verify_origin(&self, project: &Project, ci: &Ci, incoming: &Incoming) -> Result<Result<(), CiRefusal>, Refused> {
        let Some(secret) = ci.secret.as_ref() else {
            let not_set_up = CiRefusal::NotSetUp { project: project.slug.clone(), provider: incoming.provider.name() };
            return Ok(Err(not_set_up));
        };
        let request = self.request(incoming);
        let current = self.ci_secret(project.id, ci, secret).await?;
        let refusal = match incoming.provider.verify(&request, current.expose_secret()) {
            Ok(()) => return Ok(Ok(())),
            Err(refusal) => refusal,
        };
        if let (Some(previous), proof::Refusal::Wrong(_) | proof::Refusal::Missing(_)) = (&ci.previous, &refusal) {
            let previous = self.ci_secret(project.id, ci, previous).await?;
            let may = incoming.provider.may_stand_beside(current.expose_secret(), previous.expose_secret());
            if may && incoming.provider.verify(&request, previous.expose_secret()).is_ok() {
                return Ok(Ok(()));
            }
        }
        Ok(Err(refusal.into()))
    }

    /// A secret's value, from memory if it was used before; the fingerprint tells it from one of an earlier life.
    async fn ci_secret(&self, project: ProjectId, ci: &Ci, secret: &SecretRef) -> Result<Arc<SecretString>, Refused> {
        let key = |fingerprint: &str| (project, ci.provider.clone(), fingerprint.to_owned());
        let known = self.directory.ci_secrets.read().expect("no holder of the lock panics").get(&key(&secret.fingerprint)).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let value = self.secret(project.0, &ci_place(&ci.provider), secret).await?;
        let value = Arc::new(value.map_err(|e| CommandError::Unavailable(format!("the secret of {}: {e}", ci.provider)))?);
        let mut all = self.directory.ci_secrets.write().expect("no holder of the lock panics");
        // Those that are accepted no more leave the memory.
        let accepted: Vec<&str> = ci.secret.iter().chain(&ci.previous).map(|s| s.fingerprint.as_str()).collect();
        all.retain(|(of, provider, fingerprint), _| *of != project || *provider != ci.provider || accepted.contains(&fingerprint.as_str()));
        all.insert(key(&secret.fingerprint), Arc::clone(&value));
        Ok(value)
    }

    /// Decides on a webhook that is believed, and keeps it. Nothing when the settings changed meanwhile.
    async fn ingest(&self, project: &Seen<Project>, ci: &Ci, incoming: &Incoming, body: &Value) -> Result<Option<Taken>, Refused> {
        let packed = self.pack_delivery(Some(project.value.id), incoming, body);
        let Some(decided) = self.decide_build(project.value.id, ci, incoming, body, &packed).await? else { return Ok(None) };
        if decided.verdict == DeliveryVerdict::Accepted {
            // The append has kept it, and noticed if the settings had changed.
            return Ok(Some(self.conclude_delivery(&packed, decided)));
        }
        let (position, made) = self.store.before_delivery(project.value.id, packed.id).await?;
        if position != Some(project.position) {
            return Ok(None);
        }
        // What it made once stays its verdict; what made no build was decided again, because the rules may have changed.
        if let (Some(build), Some(delivery)) = (made, if made.is_some() { self.store.delivery(packed.id).await? } else { None }) {
            let build = self.build(build).await?.map(|b| Self::registered(&b, None));
            return Ok(Some(Taken { delivery, build }));
        }
        self.keep_delivery(&packed, decided).await.map(Some)
    }

    async fn decide_build(
        &self,
        project: ProjectId,
        ci: &Ci,
        incoming: &Incoming,
        body: &Value,
        delivery: &PackedDelivery,
    ) -> Result<Option<Decided>, Refused> {
        let provider = incoming.provider;
        let report = match ci::read(provider, &self.request(incoming), body) {
            Reading::Report(report) => report,
            Reading::Ignored(why) => return Ok(Some(Decided::ignored(why))),
        };
        let announced = match rules::decide(provider, &ci.rules, &report, body) {
            Ok(announced) => announced,
            Err(why) => return Ok(Some(Decided::ignored(why))),
        };
        let (mut base, mut apart) = (announced.name.clone(), rules::name_apart(&ci.rules, &report, &announced.name));
        let mut attempt = 0;
        while attempt < ATTEMPTS_MAX {
            attempt += 1;
            let mut name = if attempt == 1 { base.clone() } else { format!("{base}-{attempt}") };
            // Another workflow of the same pipeline may have been quicker with the name; then this one's own goes in.
            if let Some(other) = self.build(BuildId::of_name(project, &name)).await?.and_then(|b| b.run)
                && announced.run.as_ref().is_some_and(|run| run.of != other.of)
                && let Some(own) = apart.take()
            {
                base = own;
                name.clone_from(&base);
            }
            let (params, metadata, run) = (announced.params.clone(), announced.metadata.clone(), announced.run.clone());
            let command = RegisterBuild { name, params, metadata, run, public_url: self.public_url.clone() };
            match self.register_build(project, Announcer::Webhook { ci, delivery }, command).await {
                Ok(build) => return Ok(Some(Decided::built(build))),
                Err(CommandError::Refused(AnnounceRefusal::SettingsChanged)) => return Ok(None),
                // Some CI systems number a re-run as the first one.
                Err(CommandError::Refused(AnnounceRefusal::Build(BuildRefusal::EarlierAttempt(_)))) => {}
                // Another workflow was quicker between the look and the record.
                Err(CommandError::Refused(AnnounceRefusal::Build(BuildRefusal::OtherRun { .. }))) if apart.is_some() => {
                    base = apart.take().unwrap_or(base);
                    attempt = 0;
                }
                Err(CommandError::Refused(AnnounceRefusal::Build(
                    refusal @ (BuildRefusal::OtherRun { .. } | BuildRefusal::OtherParams { .. }),
                ))) => {
                    let option = match report.workflow {
                        Some(_) => "--name \"{workflow}-{branch}-{number}\"",
                        None => "--name … (or, where the body counts attempts, with --field attempt=/…)",
                    };
                    let why = format!("{}; tell them apart by name: coolops ci rules PROJECT {} {option}", refusal.fact(), provider.name());
                    return Ok(Some(Decided::ignored(why)));
                }
                Err(CommandError::Refused(refusal)) => return Ok(Some(Decided::ignored(refusal.to_string()))),
                // Sent again it would be the same.
                Err(CommandError::Impossible(why)) => return Ok(Some(Decided::ignored(why))),
                Err(CommandError::Unavailable(why)) => return Err(CommandError::Unavailable(why)),
            }
        }
        Ok(Some(Decided::ignored(format!("it is run for more than the {ATTEMPTS_MAX}th time"))))
    }

    /// What is kept of a webhook.
    fn pack_delivery(&self, project: Option<ProjectId>, incoming: &Incoming, body: &Value) -> PackedDelivery {
        let (provider, digest) = (incoming.provider, Sha256::digest(&incoming.body));
        let name = provider.delivery(&self.request(incoming), body).unwrap_or_else(|| hex::encode(digest));
        let id = DeliveryId::of(project, provider.name(), &name, &digest);
        let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
        let headers = incoming.headers.0.iter().filter(|(name, _)| redact::keeps_header(name)).cloned().collect();
        PackedDelivery::new(
            id,
            project,
            provider.name(),
            &name,
            &DeliveryContent { headers, body: serde_json::to_vec(body).unwrap_or_default() },
        )
    }

    fn conclude_delivery(&self, packed: &PackedDelivery, decided: Decided) -> Taken {
        let Decided { verdict, reason, build } = decided;
        metrics::counter!("coolops_ci_deliveries_total", "provider" => packed.provider, "verdict" => verdict.as_str()).increment(1);
        let delivery = Delivery {
            id: packed.id,
            at: self.store.clock().now(),
            project: packed.project,
            provider: packed.provider.to_owned(),
            name: packed.name.clone(),
            verdict,
            reason,
            build: build.as_ref().map(|b| b.id),
            position: build.as_ref().and_then(|b| b.position),
        };
        Taken { delivery, build }
    }

    async fn keep_delivery(&self, packed: &PackedDelivery, decided: Decided) -> Result<Taken, Refused> {
        let taken = self.conclude_delivery(packed, decided);
        self.store.keep_delivery(&taken.delivery, packed).await?;
        Ok(taken)
    }

    /// Runs a kept delivery again, under the rules as they are now: for its project, or for every project that takes what
    /// nobody took when it came. A build that is there already stays as it is, and nothing is posted twice.
    ///
    /// # Errors
    /// That it is not kept any more, its project or CI system is gone, or the database is away.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<Vec<Taken>, CommandError<ReplayRefusal>> {
        let gone = || CommandError::Refused(ReplayRefusal::NotKept(id));
        let delivery = self.store.delivery(id).await?.ok_or_else(gone)?;
        if let Some(build) = delivery.build {
            let build = self.build(build).await?.map(|b| Self::registered(&b, None));
            let (verdict, reason) = (DeliveryVerdict::Repeated, ALREADY.to_owned());
            return Ok(vec![Taken { delivery: Delivery { verdict, reason, ..delivery }, build }]);
        }
        let kept = self.store.kept_delivery(id).await?.ok_or_else(gone)?;
        let provider = ci::provider(&delivery.provider).ok_or_else(gone)?;
        let body: Value = serde_json::from_slice(&kept.body).map_err(|_| gone())?;
        if let Some(project) = delivery.project {
            return Ok(vec![self.replay_for(project, delivery, provider, &kept, &body).await?]);
        }
        let projects = self.store.projects().await?;
        let takes = |p: &&Project| !p.archived && p.ci(provider.name()).is_some_and(|c| c.secret.is_some());
        let mut taken = Vec::new();
        for project in theirs(&projects, provider, &body).filter(takes) {
            // Each has a delivery of its own, as if it had come now.
            let id = DeliveryId::of(Some(project.id), provider.name(), &delivery.name, id.0.as_bytes());
            let delivery = Delivery { id, project: Some(project.id), ..delivery.clone() };
            taken.push(self.replay_for(project.id, delivery, provider, &kept, &body).await?);
        }
        if taken.is_empty() {
            return Err(CommandError::Refused(ReplayRefusal::NoProject(provider.name())));
        }
        Ok(taken)
    }

    async fn replay_for(
        &self,
        project: ProjectId,
        delivery: Delivery,
        provider: &'static dyn Provider,
        kept: &DeliveryContent,
        body: &Value,
    ) -> Result<Taken, CommandError<ReplayRefusal>> {
        let there = self.project_anew(project).await?.ok_or(CommandError::Refused(ReplayRefusal::NoProject(provider.name())))?;
        let ci = there.value.ci(provider.name()).cloned().unwrap_or_default();
        if ci.secret.is_none() {
            return Err(CommandError::Refused(ReplayRefusal::NotSetUp { project: there.value.slug.clone(), provider: provider.name() }));
        }
        let packed = PackedDelivery::new(delivery.id, delivery.project, provider.name(), &delivery.name, kept);
        let incoming = Incoming { provider, headers: Headers(kept.headers.clone()), body: Bytes::new() };
        let decided = self.decide_build(project, &ci, &incoming, body, &packed).await;
        let decided = decided.map_err(|e| CommandError::Unavailable(e.to_string()))?;
        let Decided { verdict, reason, build } = decided.ok_or_else(super::too_busy)?;
        let position = build.as_ref().and_then(|b| b.position).or(delivery.position);
        let delivery = Delivery { verdict, reason, build: build.as_ref().map(|b| b.id).or(delivery.build), position, ..delivery };
        self.store.keep_delivery(&delivery, &packed).await?;
        Ok(Taken { delivery, build })
    }
}

/// Why a delivery can't be run again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayRefusal {
    /// Unknown, or older than 30 days.
    #[error("there is no delivery {0}; deliveries are kept for 30 days, see: coolops ci deliveries")]
    NotKept(DeliveryId),
    /// No project takes it.
    #[error("no project takes the builds of its repository; choose one: coolops ci rules PROJECT {0} --repository …")]
    NoProject(&'static str),
    /// The project doesn't take webhooks of that system any more.
    #[error("{project} takes no webhooks of {provider} any more; set the secret with: coolops ci secret {project} {provider}")]
    NotSetUp {
        /// Its slug.
        project: String,
        /// The CI system.
        provider: &'static str,
    },
}

/// The projects that name the repository which a body is about.
fn theirs<'a>(projects: &'a [Project], provider: &'a dyn Provider, body: &'a Value) -> impl Iterator<Item = &'a Project> {
    let repository = provider.repository(body);
    projects.iter().filter(move |p| {
        let rules = p.ci(provider.name()).map(|c| &c.rules);
        repository.as_deref().zip(rules).is_some_and(|(repository, rules)| rules::names_repository(rules, repository))
    })
}

/// What the rules and the history make of a webhook.
struct Decided {
    verdict: DeliveryVerdict,
    reason: String,
    build: Option<Registered>,
}

/// Why a repeated delivery makes no build.
const ALREADY: &str = "the build is registered already";

impl Decided {
    fn ignored(reason: String) -> Self {
        Self { verdict: DeliveryVerdict::Ignored, reason, build: None }
    }

    fn built(build: Registered) -> Self {
        let (verdict, reason) = if build.new { (DeliveryVerdict::Accepted, "") } else { (DeliveryVerdict::Repeated, ALREADY) };
        Self { verdict, reason: reason.to_owned(), build: Some(build) }
    }
}
