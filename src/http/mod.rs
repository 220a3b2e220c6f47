//! The web server: CI and Slack come in here, people read pages. One file per endpoint.
//!
//! **Invariant:** the query part of an address is never logged, because it may hold a capability.

mod add_checkpoint;
pub mod board_page;
mod body;
pub mod build_page;
pub mod ci_webhook;
pub mod client_program;
pub mod compare_page;
pub mod deployment_downloads;
pub mod deployment_page;
pub mod error;
pub mod health;
pub mod history_page;
pub mod insights_page;
mod link;
pub mod live;
mod log_numbers;
mod log_search;
mod log_steps;
mod log_window;
pub mod metrics;
pub mod notify_build;
mod off_thread;
pub mod page;
mod parameters;
pub mod project_page;
mod response_url;
mod room;
mod seldom;
pub mod server;
pub mod slack_command;
pub mod slack_events;
pub mod slack_interaction;
pub mod slack_request;
mod traced;
mod watched;
mod witnessed_checkpoint;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::routing::{get, post};
use secrecy::SecretString;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;

/// What the endpoints work with.
#[derive(Clone)]
pub struct Web(Arc<Parts>);

/// Parts of [`Web`].
pub struct Parts {
    /// The shell.
    pub app: Arc<App>,
    /// What Slack signs with.
    pub signing_secret: SecretString,
    /// Hosts that a `response_url` may name.
    pub response_hosts: Vec<String>,
    /// The workspace that the app's token is of, once Slack has said so.
    pub home: Arc<OnceLock<String>>,
    /// The folder of the program for CI.
    pub client: std::path::PathBuf,
    /// What `/readyz` asks.
    pub readiness: health::Readiness,
    /// How much is answered at a time.
    pub room: Arc<room::Room>,
    /// What is remembered of logs that somebody reads.
    pub logs: Logs,
}

/// What is remembered of logs that somebody reads: made again when it is lost.
#[derive(Default)]
pub struct Logs {
    watched: watched::Watched,
    newest: log_window::Newest,
    outlines: log_steps::Outlines,
}

impl std::ops::Deref for Web {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Web {
    /// The parts, shared.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

/// The routes while the database is not there yet.
pub fn waiting() -> Router {
    let wait = "coolops has started and waits for Postgres; try again in a moment";
    let ready = async move || {
        let answer = serde_json::json!({ "ready": false, "postgres": "no connection yet; it is waited for" });
        (axum::http::StatusCode::SERVICE_UNAVAILABLE, axum::Json(answer))
    };
    Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(ready)).fallback(
        async move |request: axum::extract::Request| {
            let answer = error::HttpError(axum::http::StatusCode::SERVICE_UNAVAILABLE, wait.to_owned());
            match request.method() {
                &axum::http::Method::GET => page::for_people(&answer),
                _ => axum::response::IntoResponse::into_response(answer),
            }
        },
    )
}

/// The routes.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/builds", post(notify_build::handle))
        .route("/builds/{id}", get(build_page::handle))
        .route("/board", get(board_page::handle))
        .route("/projects/{slug}", get(project_page::handle))
        .route("/projects/{slug}/history", get(history_page::handle))
        .route("/projects/{slug}/insights", get(insights_page::handle))
        .route("/ci/{provider}/{project}", post(ci_webhook::to_project))
        .route("/ci/{provider}", post(ci_webhook::to_server))
        .route("/deployments/{id}", get(deployment_page::page))
        .route("/deployments/{id}/logs", get(deployment_downloads::logs))
        .route("/deployments/{id}/raw", get(deployment_downloads::raw))
        .route("/deployments/{id}/text", get(deployment_downloads::text))
        .route("/deployments/{id}/live", get(live::live))
        .route("/deployments/{id}/lines", get(log_window::lines))
        .route("/deployments/{id}/search", get(log_search::search))
        .route("/deployments/{id}/steps", get(log_steps::steps))
        .route("/deployments/{id}/compare", get(compare_page::page))
        .route("/witness/add-checkpoint", post(add_checkpoint::handle))
        .route("/witness/{origin_hash}/checkpoint", get(witnessed_checkpoint::handle))
        .route("/slack/interactions", post(slack_interaction::handle))
        .route("/slack/events", post(slack_events::handle))
        .route("/slack/commands", post(slack_command::handle))
        .route("/install.sh", get(client_program::installer))
        .route("/client/{name}", get(client_program::file))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/assets/{name}", get(page::asset))
        .fallback(async || error::HttpError::not_found())
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(axum::middleware::from_fn_with_state(web.clone(), room::admit))
        .layer(axum::middleware::from_fn(traced::traced))
        // Logs are mostly the same words. Streams of events are left alone.
        .layer(tower_http::compression::CompressionLayer::new())
        .with_state(web)
}
