//! `GET /metrics` on the admin address, in Prometheus' text format.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::jobs::crew::Crew;

/// The routes of the admin address.
pub fn router(crews: Vec<Crew>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(crews)
}

async fn metrics(State(crews): State<Vec<Crew>>) -> Response {
    let mut text =
        String::from("# HELP coolops_claims_total Jobs claimed, by how the claim came about.\n# TYPE coolops_claims_total counter\n");
    for crew in &crews {
        let (doorbell, sweep) = crew.claims().counts();
        let kinds = crew.kinds().join(",");
        for (via, count) in [("doorbell", doorbell), ("sweep", sweep)] {
            text.push_str(&format!("coolops_claims_total{{kinds=\"{kinds}\",via=\"{via}\"}} {count}\n"));
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
