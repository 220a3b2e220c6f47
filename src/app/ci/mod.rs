//! A CI system delivers a webhook: prove, read, decide, register.
//!
//! **Invariant:** nothing is believed before its proof, and the proof counts only under the project as it stands when
//! the build is recorded. What may be secret is taken out before the rules see the body, so nothing of it reaches an
//! event.

mod ingest;
mod proof;
pub mod replay;

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::ingest::Decided;
use super::builds::Registered;
use super::{App, CommandError};
use crate::ci::proof::Refusal as ProofRefusal;
use crate::ci::{Headers, Malformed, Provider, Request, rules};
use crate::domain::ids::ProjectId;
use crate::domain::names;
use crate::domain::project::Project;
use crate::store::deliveries::Delivery;
use crate::store::refusals::Refusal;
use crate::telemetry::causes;

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
    Proof(#[from] ProofRefusal),
    /// It can't be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

type CiError = CommandError<CiRefusal>;

fn refused(refusal: impl Into<CiRefusal>) -> CiError {
    CommandError::Refused(refusal.into())
}

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
    pub async fn take_delivery(&self, slug: &str, incoming: &Incoming) -> Result<Taken, CiError> {
        let taken = self.verify_and_take(ProjectId::of_slug(slug), slug, incoming).await;
        self.record_refusal(taken, Some(slug), incoming)
    }

    /// Takes a webhook of a CI system that sends those of all repositories to one address: every project whose secret
    /// proves it and whose rules name the repository gets it.
    ///
    /// # Errors
    /// A refusal, which is noted, or that the database is away.
    pub async fn take_delivery_for_any(&self, incoming: &Incoming) -> Result<Vec<Taken>, CiError> {
        let taken = self.route_delivery(incoming).await;
        self.record_refusal(taken, None, incoming)
    }

    /// Notes a webhook whose body was not read to its end, of a project or of an address for all.
    pub fn note_unread(&self, provider: &'static dyn Provider, slug: Option<&str>, why: &str) {
        let incoming = Incoming { provider, headers: Headers::default(), body: Bytes::new() };
        let unread: Result<(), CiError> = Err(refused(CiRefusal::Unread(why.to_owned())));
        drop(self.record_refusal(unread, slug, &incoming));
    }

    fn record_refusal<T>(
        &self,
        taken: Result<T, CiError>,
        slug: Option<&str>,
        incoming: &Incoming,
    ) -> Result<T, CiError> {
        if let Err(CommandError::Refused(refusal)) = &taken {
            let provider = incoming.provider.name();
            metrics::counter!("coolops_ci_deliveries_total", "provider" => provider, "verdict" => "refused")
                .increment(1);
            let known = match refusal {
                CiRefusal::NoProject(_) | CiRefusal::NobodySetUp(_) => false,
                // Nothing was looked up for it.
                CiRefusal::Unread(_) => slug.is_some_and(|slug| self.memory.knows(ProjectId::of_slug(slug))),
                CiRefusal::NotSetUp { .. } | CiRefusal::Proof(_) | CiRefusal::Malformed(_) => true,
            };
            let project = slug.map(|slug| slug.chars().filter(|c| !c.is_control()).take(60).collect());
            // What was not read to its end has no digest.
            let digest = (!matches!(refusal, CiRefusal::Unread(_))).then(|| Sha256::digest(&incoming.body).to_vec());
            self.refusals.note(Refusal { provider, project, known, reason: refusal.to_string() }, digest);
        }
        taken
    }

    async fn route_delivery(&self, incoming: &Incoming) -> Result<Vec<Taken>, CiError> {
        let provider = incoming.provider.name();
        // Whoever proves nothing costs nothing.
        if let Err(refusal @ ProofRefusal::Missing(_)) = incoming.provider.verify(&self.request(incoming), "") {
            return Err(refused(refusal));
        }
        let directory = self.unproven().directory();
        let mut candidates: Vec<Project> = directory.projects().await?;
        directory.unless_lost(candidates.first()).await?;
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
                Err(e) => tracing::warn!(project = %project.slug, error = causes(&e), "a secret of CI can't be used"),
            }
        }
        if believed.is_empty() {
            return Err(match refusal {
                Some(why) => refused(why),
                None => CommandError::Unavailable("no project's secret can be read".into()),
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

    async fn verify_and_take(&self, project: ProjectId, slug: &str, incoming: &Incoming) -> Result<Taken, CiError> {
        let mut seen = self.project_unproven(project, false).await?;
        for look in 1..=LOOKS {
            let Some(there) = seen else {
                return Err(refused(CiRefusal::NoProject(names::printable(slug).into_owned())));
            };
            let ci = there.value.ci(incoming.provider.name()).cloned().unwrap_or_default();
            match self.verify_origin(&there.value, &ci, incoming).await {
                Ok(Ok(())) => {
                    let body = self.read_redacted(incoming).await?;
                    if let Some(taken) = self.ingest(&there, &ci, incoming, &body).await? {
                        return Ok(taken);
                    }
                }
                // What was remembered of the project may be older than a change of the secret, which may be erased by
                // now.
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
}

/// The projects that name the repository which a body is about.
fn theirs<'a>(
    projects: &'a [Project],
    provider: &'a dyn Provider,
    body: &'a Value,
) -> impl Iterator<Item = &'a Project> {
    let repository = provider.repository(body);
    projects.iter().filter(move |p| {
        let rules = p.ci(provider.name()).map(|c| &c.rules);
        repository.as_deref().zip(rules).is_some_and(|(repository, rules)| rules::names_repository(rules, repository))
    })
}
