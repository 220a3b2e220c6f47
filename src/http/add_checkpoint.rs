//! `POST /witness/add-checkpoint`: this installation as a witness of other logs. Source: <https://c2sp.org/tlog-witness>.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::Limited;

use super::Web;
use super::body::collected;
use super::error::HttpError;
use crate::app::witnesses::{NotCosigned, SIZE};

/// Largest body, in bytes: a proof of 63 hashes, and a note with 16 signatures, which may be post-quantum ones of 5 kB.
const BODY_MAX: usize = 128 * 1024;

/// Handles the request.
///
/// # Errors
/// As the protocol has them; 408 for a body that does not come, 413 for one that is too large, 503 when the database is
/// away, or when too many wait for their turn.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<Response, HttpError> {
    let body = match collected(Limited::new(request.into_body(), BODY_MAX)).await {
        Some(Ok(body)) => body,
        Some(Err(_)) => {
            return Err(HttpError(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 131072 bytes".to_owned()));
        }
        None => return Err(HttpError(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    };
    let _place = web.room.witnessing().await?;
    let body = std::str::from_utf8(&body).map_err(|_| refused(&NotCosigned::Malformed, StatusCode::BAD_REQUEST))?;
    match web.app.cosign(body).await {
        Ok(line) => Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response()),
        Err(NotCosigned::AnotherSize(size)) => {
            Ok((StatusCode::CONFLICT, [(header::CONTENT_TYPE, SIZE)], format!("{size}\n")).into_response())
        }
        Err(NotCosigned::Database(e)) => Err(e.into()),
        Err(why) => {
            let status = match &why {
                NotCosigned::UnknownLog => StatusCode::NOT_FOUND,
                NotCosigned::NotSigned => StatusCode::FORBIDDEN,
                NotCosigned::AnotherRoot | NotCosigned::Inconsistent(_) => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_REQUEST,
            };
            Err(refused(&why, status))
        }
    }
}

fn refused(why: &NotCosigned, status: StatusCode) -> HttpError {
    HttpError(status, why.to_string())
}
