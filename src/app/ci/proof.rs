//! Whether a webhook comes from where it says: one of the project's secrets proves it.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{CiError, CiRefusal, Incoming, ci_place};
use crate::app::{App, CommandError};
use crate::ci::proof;
use crate::domain::ids::ProjectId;
use crate::domain::project::{Ci, Project, SecretRef};

impl App {
    /// Whether one of the project's secrets proves the origin.
    pub(super) async fn verify_origin(
        &self,
        project: &Project,
        ci: &Ci,
        incoming: &Incoming,
    ) -> Result<Result<(), CiRefusal>, CiError> {
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
    async fn ci_secret(&self, project: ProjectId, ci: &Ci, secret: &SecretRef) -> Result<Arc<SecretString>, CiError> {
        if let Some(known) = self.memory.ci_secret(project, &ci.provider, &secret.fingerprint) {
            return Ok(known);
        }
        let value = self.secret(project.0, &ci_place(&ci.provider), secret).await?;
        let value = Arc::new(
            value.map_err(|e| CommandError::Unavailable(format!("the secret of {}: {e}", ci.provider).into()))?,
        );
        let accepted: Vec<&str> = ci.secret.iter().chain(&ci.previous).map(|s| s.fingerprint.as_str()).collect();
        self.memory.keep_ci_secret((project, &ci.provider, &secret.fingerprint), &accepted, &value);
        Ok(value)
    }
}
