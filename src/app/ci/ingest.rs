//! What a believed webhook makes: it is read without what may be secret, decided by the project's rules, and kept with
//! its verdict.

use std::collections::VecDeque;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CiError, Incoming, Taken, refused};
use crate::app::builds::{AnnounceRefusal, Announcer, Registered};
use crate::app::{App, CommandError};
use crate::ci::{self, Malformed, Reading, Request, redact, rules};
use crate::domain::build::{BuildRefusal, RegisterBuild};
use crate::domain::ids::{BuildId, DeliveryId, ProjectId};
use crate::domain::project::{Ci, Project};
use crate::store::deliveries::{Delivery, DeliveryContent, DeliveryVerdict, PackedDelivery};
use crate::store::directory::Seen;
use crate::telemetry::causes;

/// Most builds of one run: its attempts.
const ATTEMPTS_MAX: usize = 50;
/// A body larger than this is read on a thread of its own.
const LARGE: usize = 64 * 1024;

/// What the rules and the history make of a webhook.
pub(super) struct Decided {
    pub(super) verdict: DeliveryVerdict,
    pub(super) reason: String,
    pub(super) build: Option<Registered>,
}

/// Why a repeated delivery makes no build.
pub(super) const ALREADY: &str = "the build is registered already";

impl Decided {
    pub(super) fn ignored(reason: String) -> Self {
        Self { verdict: DeliveryVerdict::Ignored, reason, build: None }
    }

    fn built(build: Registered) -> Self {
        let (verdict, reason) =
            if build.new { (DeliveryVerdict::Accepted, "") } else { (DeliveryVerdict::Repeated, ALREADY) };
        Self { verdict, reason: reason.to_owned(), build: Some(build) }
    }
}

impl App {
    /// The body without what may be secret. A large one is read where nobody else waits.
    pub(super) async fn read_redacted(&self, incoming: &Incoming) -> Result<Value, CiError> {
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
            read.map_err(|e| CommandError::Impossible(format!("the body can't be read: {e}").into()))?
        };
        body.map_err(refused)
    }

    /// Decides on a webhook that is believed, and keeps it. Nothing when the settings changed meanwhile.
    pub(super) async fn ingest(
        &self,
        project: &Seen<Project>,
        ci: &Ci,
        incoming: &Incoming,
        body: &Value,
    ) -> Result<Option<Taken>, CiError> {
        let packed = self.pack_delivery(Some(project.value.id), incoming, body);
        let Some(decided) = self.decide_build(project.value.id, ci, incoming, body, &packed).await? else {
            return Ok(None);
        };
        if decided.verdict == DeliveryVerdict::Accepted {
            // The append has kept it, and noticed if the settings had changed.
            return Ok(Some(self.conclude_delivery(&packed, decided)));
        }
        let (position, made) = self.store.deliveries().before(project.value.id, packed.id).await?;
        if position != Some(project.position) {
            return Ok(None);
        }
        // What it made once stays its verdict; what made no build was decided again, because the rules may have
        // changed.
        if let (Some(build), Some(delivery)) =
            (made, if made.is_some() { self.store.deliveries().get(packed.id).await? } else { None })
        {
            let build = self.build(build).await?.map(|b| Self::registered(&b, None));
            return Ok(Some(Taken { delivery, build }));
        }
        self.keep_delivery(&packed, decided).await.map(Some)
    }

    pub(super) async fn decide_build(
        &self,
        project: ProjectId,
        ci: &Ci,
        incoming: &Incoming,
        body: &Value,
        delivery: &PackedDelivery,
    ) -> Result<Option<Decided>, CiError> {
        let provider = incoming.provider;
        let report = match ci::read(provider, &self.request(incoming), body) {
            Reading::Report(report) => report,
            Reading::Ignored(why) => return Ok(Some(Decided::ignored(why))),
        };
        let mut announced = match rules::decide(provider, &ci.rules, &report, body) {
            Ok(announced) => announced,
            Err(why) => return Ok(Some(Decided::ignored(why))),
        };
        // What every report tells is left out where the project does not take it; what its own rules ask for is refused.
        if let Some(listed) = self.project(project).await?.and_then(|project| project.value.params.clone()) {
            let is_own = |name: &str| ci.rules.params.iter().any(|own| own.name == name);
            announced.params.retain(|param| listed.contains(&param.name) || is_own(&param.name));
        }
        let mut base = announced.name.clone();
        let mut apart = VecDeque::from(rules::names_apart(&ci.rules, &report, &announced.name));
        let mut attempt = 0;
        while attempt < ATTEMPTS_MAX {
            attempt += 1;
            let mut name = if attempt == 1 { base.clone() } else { format!("{base}-{attempt}") };
            // Another workflow of the same pipeline may have been quicker with the name; then this one's own goes in.
            if let Some(other) = self.build(BuildId::of_name(project, &name)).await?.and_then(|b| b.run)
                && announced.run.as_ref().is_some_and(|run| run.of != other.of)
                && let Some(own) = apart.pop_front()
            {
                base = own;
                name.clone_from(&base);
            }
            let (params, metadata, run) = (announced.params.clone(), announced.metadata.clone(), announced.run.clone());
            let (public_url, source) = (self.public_url.clone(), announced.source.clone());
            let command = RegisterBuild { name, params, metadata, public_url, run, source };
            match self.register_build(project, Announcer::Webhook { ci, delivery }, command).await {
                Ok(build) => return Ok(Some(Decided::built(build))),
                Err(CommandError::Refused(AnnounceRefusal::SettingsChanged)) => return Ok(None),
                // Some CI systems number a re-run as the first one.
                Err(CommandError::Refused(AnnounceRefusal::Build(BuildRefusal::EarlierAttempt(_)))) => {}
                // Another workflow was quicker between the look and the record.
                Err(CommandError::Refused(AnnounceRefusal::Build(
                    BuildRefusal::OtherRun { .. } | BuildRefusal::OtherCommit { .. },
                ))) if !apart.is_empty() => {
                    base = apart.pop_front().unwrap_or(base);
                    attempt = 0;
                }
                Err(CommandError::Refused(AnnounceRefusal::Build(
                    refusal @ (BuildRefusal::OtherRun { .. }
                    | BuildRefusal::OtherCommit { .. }
                    | BuildRefusal::OtherParams { .. }),
                ))) => {
                    let option = match report.workflow {
                        Some(_) => "--name \"{repository}-{workflow}-{branch}-{number}\"",
                        None => "--name … (or, where the body counts attempts, with --field attempt=/…)",
                    };
                    let why = format!(
                        "{}; tell them apart by name: coolops ci rules PROJECT {} {option}",
                        refusal.fact(),
                        provider.name()
                    );
                    return Ok(Some(Decided::ignored(why)));
                }
                Err(CommandError::Refused(refusal)) => return Ok(Some(Decided::ignored(refusal.to_string()))),
                // Sent again it would be the same.
                Err(CommandError::Impossible(why)) => return Ok(Some(Decided::ignored(causes(&*why)))),
                Err(CommandError::Unavailable(why)) => return Err(CommandError::Unavailable(why)),
            }
        }
        Ok(Some(Decided::ignored(format!("it is run for more than the {ATTEMPTS_MAX}th time"))))
    }

    /// What is kept of a webhook.
    pub(super) fn pack_delivery(
        &self,
        project: Option<ProjectId>,
        incoming: &Incoming,
        body: &Value,
    ) -> PackedDelivery {
        let (provider, digest) = (incoming.provider, Sha256::digest(&incoming.body));
        let name = provider.delivery(&self.request(incoming), body).unwrap_or_else(|| hex::encode(digest));
        let id = DeliveryId::of(project, provider.name(), &name, &digest);
        let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
        let headers = redact::headers(provider, &incoming.headers);
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
        metrics::counter!("coolops_ci_deliveries_total", "provider" => packed.provider, "verdict" => verdict.as_str())
            .increment(1);
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

    pub(super) async fn keep_delivery(&self, packed: &PackedDelivery, decided: Decided) -> Result<Taken, CiError> {
        let taken = self.conclude_delivery(packed, decided);
        self.store.deliveries().keep(&taken.delivery, packed).await?;
        Ok(taken)
    }
}
