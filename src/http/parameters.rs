//! What a request names in its path and its query. What can't be read is answered in our words, as a page where pages are wanted.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::error::HttpError;
use super::page;

/// The query, as axum's.
pub struct Query<T>(pub T);

/// The path, as axum's.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(why) => Err(unread(&parts.headers, &why.body_text())),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(why) => Err(unread(&parts.headers, &why.body_text())),
        }
    }
}

fn unread(headers: &HeaderMap, why: &str) -> Response {
    // What axum says before that is of its own making.
    let why = why.rsplit_once(": ").map_or(why, |(_, why)| why);
    let answer = HttpError::malformed(format!("the address can't be read: {why}"));
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match accepts.contains("text/html") {
        true => page::for_people(&answer),
        false => answer.into_response(),
    }
}
