//! What every request of Slack has in common: a body and Slack's signature over its exact bytes.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::Parts;
use super::body::read;
use super::error::HttpError;
use super::seldom::Seldom;
use crate::slack::signature;

/// Largest body, in bytes; Slack sends the whole message along with a press.
const BODY_MAX: usize = 1024 * 1024;

static REFUSED: Seldom = Seldom::new();

/// A request that Slack signed.
pub struct Signed {
    /// Its exact bytes.
    pub body: Bytes,
    /// The signature.
    pub signature: String,
    /// When Slack made it, in seconds.
    pub timestamp: String,
    /// Its place among those that are answered, for as long as it is kept.
    #[expect(dead_code, reason = "it is given back when this is dropped")]
    place: OwnedSemaphorePermit,
}

/// Reads a request and checks the signature, by the database's clock: this machine's may be wrong.
///
/// # Errors
/// 401 when Slack didn't sign it; 413 past the limit; 503 when there is no place for it.
pub async fn verified(web: &Parts, request: Request) -> Result<Signed, HttpError> {
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body, BODY_MAX).await?;
    let place = web.room.of_slack()?;
    let (timestamp, signature) = headers(&parts.headers);
    let now = web.app.store.clock().now().timestamp();
    signature::verify(&web.signing_secret, timestamp, signature, &body, now).map_err(|why| {
        metrics::counter!("coolops_slack_requests_refused_total").increment(1);
        if let Some(left_out) = REFUSED.due() {
            tracing::warn!(%why, left_out, "a Slack request was refused");
        }
        HttpError(StatusCode::UNAUTHORIZED, "the request is not signed by Slack".to_owned())
    })?;
    Ok(Signed { body, signature: signature.to_owned(), timestamp: timestamp.to_owned(), place })
}

/// The two headers, each exactly once, or nothing.
fn headers(headers: &HeaderMap) -> (&str, &str) {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().unwrap_or_default(),
            _ => "",
        }
    };
    (one("x-slack-request-timestamp"), one("x-slack-signature"))
}
