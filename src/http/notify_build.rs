//! `POST /builds`: CI announces a build. The contract is the original coolOps.io's: `Authorization: Token …`, a JSON body
//! whatever the content type says, 201.

use std::fmt;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Web;
use super::error::Answer;
use crate::app::builds::Announcer;
use crate::domain::build::{Entry, RegisterBuild};
use crate::domain::ids::BuildId;
use crate::domain::names::ENTRIES_MAX;

/// Largest body, in bytes.
const BODY_MAX: usize = 256 * 1024;

#[derive(Deserialize)]
struct Announcement {
    name: Option<String>,
    params: Option<Entries>,
    metadata: Option<Entries>,
}

/// What CI is answered.
#[derive(Serialize)]
pub struct Announced {
    id: BuildId,
    url: String,
}

/// An object of texts, in the order given; a repeated key keeps its last value, as in the original.
struct Entries(Vec<Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries: Vec<Entry> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let value = match map.next_value::<serde_json::Value>()? {
                        serde_json::Value::String(value) => value,
                        other => {
                            let shown = crate::domain::names::printable(&name).into_owned();
                            let is = match other {
                                serde_json::Value::Object(_) => "an object",
                                serde_json::Value::Array(_) => "a list",
                                _ => &other.to_string(),
                            };
                            return Err(A::Error::custom(format!("the value of \"{shown}\" is {is} and not a text; put it in quotes")));
                        }
                    };
                    // Past the limit they are only counted, so that the refusal can tell the number.
                    match entries.iter_mut().take(ENTRIES_MAX).find(|e| e.name == name) {
                        Some(entry) => entry.value = value,
                        None => entries.push(Entry { name, value }),
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Handles the request.
///
/// # Errors
/// 401 without a valid token (before the body is looked at), 400 with the place and reason, 409 for another build of the
/// same name, 413 past the limit, 503 when the database is away.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<(StatusCode, Json<Announced>), Answer> {
    let (parts, body) = request.into_parts();
    let token = bearer(&parts.headers).ok_or_else(Answer::no_token)?;
    let (project, token) = web.app.token(token).await?.ok_or_else(Answer::no_token)?;
    let body = read(&parts.headers, body, BODY_MAX).await?;
    let announced: Announcement = serde_json::from_slice(&body).map_err(|e| Answer::malformed(format!("the body can't be read: {e}")))?;
    let name = announced.name.ok_or_else(|| Answer::malformed("name is missing; send {\"name\": \"…\", \"params\": {…}}"))?;
    let entries = |given: Option<Entries>| given.map_or_else(Vec::new, |e| e.0);
    let command = RegisterBuild {
        name,
        params: entries(announced.params),
        metadata: entries(announced.metadata),
        public_url: web.app.public_url.clone(),
        run: None,
    };
    let registered = web.app.register_build(project, Announcer::Token(token), command).await?;
    let status = if registered.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Announced { id: registered.id, url: registered.url })))
}

/// The token of an `Authorization: Token …` header, the word in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("token").then(|| token.trim())
}

/// Reads a whole body up to a limit.
///
/// # Errors
/// 413 past the limit, 400 when it breaks off.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<bytes::Bytes, Answer> {
    let size = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if size.is_some_and(|s| s > limit as u64) {
        return Err(Answer::too_large(limit, size));
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.downcast_ref::<LengthLimitError>().is_some() => Err(Answer::too_large(limit, None)),
        Err(_) => Err(Answer::malformed("the body broke off")),
    }
}
