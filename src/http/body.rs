//! Bodies of requests, read whole.
//!
//! **Invariant:** none is read for ever, and none past its limit.

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use coolops_client::limits::printable;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::error::HttpError;
use super::server::BODY;

/// Reads a whole body up to a limit.
///
/// # Errors
/// 413 past the limit, 415 when it is compressed, 408 when it takes too long, 400 when it breaks off.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<bytes::Bytes, HttpError> {
    if let Some(coding) =
        headers.get(header::CONTENT_ENCODING).filter(|c| !c.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let coding = printable(coding.to_str().unwrap_or("…")).into_owned();
        let text = format!("the body is compressed (Content-Encoding: {coding}); send it as it is");
        return Err(HttpError(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let size = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if size.is_some_and(|s| s > limit as u64) {
        return Err(HttpError::too_large(limit, size));
    }
    let Some(read) = collected(Limited::new(body, limit)).await else {
        return Err(HttpError(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", BODY.as_secs()),
        ));
    };
    match read {
        Ok(body) => Ok(body),
        Err(e) if e.downcast_ref::<LengthLimitError>().is_some() => Err(HttpError::too_large(limit, None)),
        Err(_) => Err(HttpError::malformed("the body broke off")),
    }
}

/// JSON without the byte order mark that some programs begin texts with.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Reads a whole body up to a limit, not for ever.
///
/// # Errors
/// What broke it off, or nothing when it took too long.
pub(super) async fn collected<B>(body: B) -> Option<Result<Bytes, B::Error>>
where
    B: HttpBody<Data = Bytes>,
{
    let read = tokio::time::timeout(BODY, body.collect()).await.ok()?;
    Some(read.map(http_body_util::Collected::to_bytes))
}
