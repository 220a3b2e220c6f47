//! Links to deployments: whoever has one opens what it is of, and nothing else.

use serde::Deserialize;

use super::error::HttpError;
use super::{Parts, traced};
use crate::app::questions::Opens;
use crate::domain::ids::DeploymentId;
use crate::keys::Links;
use crate::projections::timed::Timed;

/// The capability in a link.
#[derive(Deserialize)]
pub struct Key {
    #[serde(default)]
    key: String,
}

impl Key {
    pub(super) fn value(&self) -> &str {
        &self.key
    }
}

/// The deployment that a link opens.
pub(super) async fn open(web: &Parts, id: &str, key: &str) -> Result<Option<Timed>, HttpError> {
    Ok(opened(web, id, key).await?.map(|(timed, _)| timed))
}

/// The deployment that a link opens, and the links of its build.
pub(super) async fn opened(web: &Parts, id: &str, key: &str) -> Result<Option<(Timed, Links)>, HttpError> {
    let Ok(id) = id.parse::<DeploymentId>() else { return Ok(None) };
    traced::about("deployment.id", id);
    let store = web.app.unproven();
    let found = store.deployments().timed(id).await?;
    let Some(timed) = store.directory().unless_lost(found).await? else { return Ok(None) };
    let allowed = web.app.opened(Opens::Deployment, id.0, timed.deployment.of.build_id, key).await?;
    Ok(allowed.map(|links| (timed, links)))
}
