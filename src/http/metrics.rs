//! The admin address: `GET /metrics` in Prometheus' text format, and the health endpoints for roles without a web
//! server.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::{Web, health};
use crate::store::within;

/// Counts what is counted anywhere in the process.
#[derive(Clone)]
pub struct Recorder(Arc<PrometheusHandle>);

impl Recorder {
    /// Begins counting; once in a process.
    ///
    /// # Errors
    /// When it was begun before.
    pub fn start() -> anyhow::Result<Self> {
        let handle = PrometheusBuilder::new().install_recorder()?;
        metrics::describe_counter!("coolops_claims_total", "Jobs claimed, by how the claim came about.");
        metrics::describe_counter!("coolops_slack_calls_total", "Calls of Slack's Web API, by method and outcome.");
        metrics::describe_counter!(
            "coolops_slack_found_total",
            "Messages that were found not to be as they were sent."
        );
        metrics::describe_counter!("coolops_ci_deliveries_total", "Webhooks of CI systems, by system and verdict.");
        metrics::describe_counter!("coolops_slack_requests_refused_total", "Requests that Slack did not sign.");
        metrics::describe_counter!(
            "coolops_connections_closed_total",
            "Connections closed because they were slow, or because there was no room."
        );
        metrics::describe_counter!("coolops_events_appended_total", "Events recorded by this process.");
        metrics::describe_counter!("coolops_append_batches_total", "Transactions that recorded them.");
        metrics::describe_counter!(
            "coolops_append_retries_total",
            "Batches sent again after an error of the database."
        );
        metrics::describe_counter!("coolops_leases_lost_total", "Leases that this process lost or could not renew.");
        metrics::describe_counter!(
            "coolops_leases_expired_total",
            "Leases of others that this process found expired and gave back."
        );
        metrics::describe_counter!("coolops_queue_restarts_total", "Restarts of the Redis workers after a trouble.");
        metrics::describe_counter!("coolops_log_bytes_total", "Bytes of output stored.");
        Ok(Self(Arc::new(handle)))
    }
}

/// The routes of the admin address.
pub fn router(recorder: Recorder, web: Web) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state((recorder, web.clone())).merge(
        Router::new().route("/healthz", get(health::healthz)).route("/readyz", get(health::readyz)).with_state(web),
    )
}

async fn metrics(State((recorder, web)): State<(Recorder, Web)>) -> Response {
    recorder.0.run_upkeep();
    let mut text = recorder.0.render();
    // What only the database knows is asked now; without it the rest is told all the same.
    if let Ok(lags) = within(web.app.store.lags()).await {
        let rows = [
            ("coolops_jobs_due", "Jobs that are due and held by nobody.", lags.due as f64),
            ("coolops_job_lag_seconds", "How long the oldest of them is due.", lags.oldest_due_seconds),
            (
                "coolops_messages_behind",
                "Slack messages that do not show the latest state yet.",
                lags.messages_behind as f64,
            ),
            ("coolops_leases_expired", "Leases that ran out and were not given back yet.", lags.expired_leases as f64),
            ("coolops_deployments_unknown", "Deployments that wait for a person.", lags.unknown as f64),
            ("coolops_channels_blocked", "Slack channels that can't be posted to.", lags.blocked_channels as f64),
            ("coolops_slack_paused", "1 while Slack takes nothing from us.", f64::from(u8::from(lags.slack_paused))),
            ("coolops_log_position", "Position of the last event.", lags.position as f64),
            (
                "coolops_log_closed",
                "1 while nothing is recorded because of two histories.",
                f64::from(u8::from(lags.closed)),
            ),
            ("coolops_checkpoint_size", "Events that the newest checkpoint covers.", lags.signed as f64),
            (
                "coolops_checkpoint_lag_seconds",
                "How long the oldest event is there that no checkpoint covers; 0 where nobody ever tried to keep any.",
                lags.oldest_unsigned_seconds,
            ),
            (
                "coolops_checkpoint_failing",
                "Places where checkpoints can't be kept, and one more while nothing can be signed.",
                lags.places_failing as f64,
            ),
        ];
        for (name, help, value) in rows {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
