//! What every request of Slack has in common: a body and Slack's signature over its exact bytes.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use super::Parts;
use super::error::Answer;
use super::notify_build::read;
use crate::slack::signature;

/// Largest body, in bytes; Slack sends the whole message along with a press.
const BODY_MAX: usize = 1024 * 1024;

/// A request that Slack signed.
pub struct Signed {
    /// Its exact bytes.
    pub body: Bytes,
    /// The signature.
    pub signature: String,
    /// When Slack made it, in seconds.
    pub timestamp: String,
}

/// Reads a request and checks the signature, by the database's clock: this machine's may be wrong.
///
/// # Errors
/// 401 when Slack didn't sign it; 413 past the limit.
pub async fn verified(web: &Parts, request: Request) -> Result<Signed, Answer> {
    let (parts, body) = request.into_parts();
    let body = read(&parts.headers, body, BODY_MAX).await?;
    let (timestamp, signature) = headers(&parts.headers);
    let now = web.app.store.clock().now().timestamp();
    signature::verify(&web.signing_secret, timestamp, signature, &body, now).map_err(|why| {
        tracing::warn!(%why, "a Slack request was refused");
        Answer(StatusCode::UNAUTHORIZED, "the request is not signed by Slack".to_owned())
    })?;
    Ok(Signed { body, signature: signature.to_owned(), timestamp: timestamp.to_owned() })
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
