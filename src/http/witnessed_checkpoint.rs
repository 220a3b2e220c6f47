//! `GET /witness/{origin hash}/checkpoint`: the newest checkpoint of another log that was cosigned here, for whoever monitors that
//! log. Source: <https://c2sp.org/tlog-witness>, "Monitor Retrieval Mechanism".

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Web;
use super::error::HttpError;
use super::parameters::Path;

/// Handles the request; the hash is the SHA-256 of the log's origin, in lower-case hex.
///
/// # Errors
/// 404 for a log that is not witnessed here, or was not yet; 503 when the database is away, or when too many wait for their turn.
pub async fn handle(State(web): State<Web>, Path(origin_hash): Path<String>) -> Result<Response, HttpError> {
    let _place = web.room.witnessing().await?;
    match web.app.witnessed(&origin_hash).await? {
        Some(note) => Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response()),
        None => Err(HttpError::not_found()),
    }
}
