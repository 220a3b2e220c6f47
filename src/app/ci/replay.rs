//! Running a kept delivery again, under the rules as they are now.

use bytes::Bytes;
use serde_json::Value;

use super::ingest::{ALREADY, Decided};
use super::{Incoming, Taken, theirs};
use crate::app::{App, CommandError, too_busy};
use crate::ci::{self, Headers, Provider};
use crate::domain::ids::{DeliveryId, ProjectId};
use crate::domain::project::Project;
use crate::store::deliveries::{Delivery, DeliveryContent, DeliveryVerdict, PackedDelivery};

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
    #[error(
        "{project} takes no webhooks of {provider} any more; set the secret with: coolops ci secret {project} {provider}"
    )]
    NotSetUp {
        /// Its slug.
        project: String,
        /// The CI system.
        provider: &'static str,
    },
}

impl App {
    /// Runs a kept delivery again, under the rules as they are now: for its project, or for every project that takes
    /// what nobody took when it came. A build that is there already stays as it is, and nothing is posted twice.
    ///
    /// # Errors
    /// That it is not kept any more, its project or CI system is gone, or the database is away.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<Vec<Taken>, CommandError<ReplayRefusal>> {
        let gone = || CommandError::Refused(ReplayRefusal::NotKept(id));
        let delivery = self.store.deliveries().get(id).await?.ok_or_else(gone)?;
        if let Some(build) = delivery.build {
            let build = self.build(build).await?.map(|b| Self::registered(&b, None));
            let (verdict, reason) = (DeliveryVerdict::Repeated, ALREADY.to_owned());
            return Ok(vec![Taken { delivery: Delivery { verdict, reason, ..delivery }, build }]);
        }
        let kept = self.store.deliveries().kept(id).await?.ok_or_else(gone)?;
        let provider = ci::provider(&delivery.provider).ok_or_else(gone)?;
        let body: Value = serde_json::from_slice(&kept.body).map_err(|_| gone())?;
        if let Some(project) = delivery.project {
            return Ok(vec![self.replay_for(project, delivery, provider, &kept, &body).await?]);
        }
        let projects = self.store.directory().projects().await?;
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
        let there = self
            .project_anew(project)
            .await?
            .ok_or(CommandError::Refused(ReplayRefusal::NoProject(provider.name())))?;
        let ci = there.value.ci(provider.name()).cloned().unwrap_or_default();
        if ci.secret.is_none() {
            return Err(CommandError::Refused(ReplayRefusal::NotSetUp {
                project: there.value.slug.clone(),
                provider: provider.name(),
            }));
        }
        let packed = PackedDelivery::new(delivery.id, delivery.project, provider.name(), &delivery.name, kept);
        let incoming = Incoming { provider, headers: Headers(kept.headers.clone()), body: Bytes::new() };
        let decided = self.decide_build(project, &ci, &incoming, body, &packed).await;
        let decided = decided.map_err(|e| CommandError::Unavailable(e.into()))?;
        let Decided { verdict, reason, build } = decided.ok_or_else(too_busy)?;
        let position = build.as_ref().and_then(|b| b.position).or(delivery.position);
        let delivery =
            Delivery { verdict, reason, build: build.as_ref().map(|b| b.id).or(delivery.build), position, ..delivery };
        self.store.deliveries().keep(&delivery, &packed).await?;
        Ok(Taken { delivery, build })
    }
}
