//! The span of a request: which route, which answer, and the ids that it is about.
//!
//! **Invariant:** it holds the route and never the address, whose query may hold a capability.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span, field};

/// Answers a request within a span of its own.
pub(super) async fn traced(request: Request, next: Next) -> Response {
    let span = tracing::debug_span!(
        "request",
        http.request.method = request.method().as_str(),
        http.route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
        http.response.status_code = field::Empty,
        build.id = field::Empty,
        deployment.id = field::Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

/// Says which build or deployment the present request is about.
pub(super) fn about(name: &'static str, id: impl std::fmt::Display) {
    Span::current().record(name, field::display(id));
}
