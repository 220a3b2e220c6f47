//! `GET /healthz`: the process runs. `GET /readyz`: what it needs is there, by name.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Web;
use crate::jobs::queue::Doorbell;
use crate::runner::Runner;
use crate::store::log::ReadError;

/// What readiness depends on beside the database.
#[derive(Clone, Default)]
pub struct Readiness {
    /// Redis, where the role uses it. Its absence slows, and does not stop.
    pub doorbell: Option<Arc<Doorbell>>,
    /// Docker, where the role uses it. Deployments wait for it.
    pub runner: Option<Arc<dyn Runner>>,
}

/// The original's answer too.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "healthy": true }))
}

/// 200 when presses and builds can be taken, 503 when not; says which part is missing either way. While the log is closed,
/// which is named, pages can be read, and it is 200.
pub async fn readyz(State(web): State<Web>) -> (StatusCode, Json<Value>) {
    let limit = Duration::from_secs(2);
    let postgres = match tokio::time::timeout(limit, web.app.store.ping()).await {
        Ok(Ok(())) if !web.app.store.can_append() => "this process's writer has ended; restart it".to_owned(),
        Ok(Ok(())) => match tokio::time::timeout(limit, web.app.store.directory().rows_are_lost()).await {
            Ok(Ok(false)) => "ok".to_owned(),
            Ok(Ok(true)) => ReadError::RowsLost.to_string(),
            Ok(Err(e)) => e.to_string(),
            Err(_) => "no answer".to_owned(),
        },
        Ok(Err(e)) => e.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    let not_known = || "not known".to_owned();
    let log = match postgres == "ok" {
        true => match tokio::time::timeout(limit, web.app.store.checkpoints().closed()).await {
            Ok(Ok(None)) => "ok".to_owned(),
            Ok(Ok(Some(_))) => "closed, nothing is recorded: there are two histories (coolops doctor)".to_owned(),
            Ok(Err(_)) | Err(_) => not_known(),
        },
        false => not_known(),
    };
    let redis = match &web.readiness.doorbell {
        None => "not used".to_owned(),
        Some(doorbell) => match tokio::time::timeout(limit, doorbell.ping()).await {
            Ok(Ok(())) => match doorbell.trouble() {
                None => "ok".to_owned(),
                Some(why) => format!("answers, but the queue on it breaks off, jobs start seconds later: {why}"),
            },
            Ok(Err(e)) => format!("away, jobs start seconds later: {e}"),
            Err(_) => "away, jobs start seconds later: no answer".to_owned(),
        },
    };
    let docker = match &web.readiness.runner {
        None => "not used".to_owned(),
        Some(runner) => match tokio::time::timeout(limit, runner.alive()).await {
            Ok(Ok(())) => "ok".to_owned(),
            Ok(Err(e)) => format!("away, deployments wait: {e}"),
            Err(_) => "away, deployments wait: no answer".to_owned(),
        },
    };
    let slack = match tokio::time::timeout(limit, web.app.store.paces().is_paused()).await {
        Ok(Ok(None)) => "ok".to_owned(),
        Ok(Ok(Some(word))) => format!("takes nothing from us: {word}"),
        Ok(Err(_)) | Err(_) => not_known(),
    };
    let ready = postgres == "ok";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (
        status,
        Json(
            json!({ "ready": ready, "postgres": postgres, "log": log, "redis": redis, "docker": docker, "slack": slack }),
        ),
    )
}
