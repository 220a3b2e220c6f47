//! `POST /ci/{provider}/{project}`, and `POST /ci/{provider}` for servers with one address: CI systems tell what they
//! built.
//!
//! 201 for a new build, 200 for what is known or makes none (a 4xx would make some of them switch the webhook off), 401
//! and the same words for whatever is not believed, so that nobody without a proof learns which projects there are; 404
//! for no such CI system, 400, 408, 413 and 415 for what can't be read.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Web;
use super::body::read;
use super::error::HttpError;
use super::parameters::Path;
use super::traced;
use crate::app::CommandError;
use crate::app::ci::{CiRefusal, Incoming, Taken};
use crate::ci::{self, BODY_MAX, Headers, Provider, Reach};

/// Handles a webhook to a project.
///
/// # Errors
/// See the module.
pub async fn to_project(
    State(web): State<Web>,
    Path((provider, project)): Path<(String, String)>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), HttpError> {
    let incoming = incoming(&web, &provider, Some(&project), request).await?;
    let _place = web.room.of_others()?;
    let taken = web.app.take_delivery(&project, &incoming).await?;
    Ok((status(std::slice::from_ref(&taken)), Json(shown(&taken))))
}

/// Handles a webhook of a CI server that has one address for all its repositories.
///
/// # Errors
/// See the module.
pub async fn to_server(
    State(web): State<Web>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), HttpError> {
    if ci::provider(&provider).is_some_and(|p| p.reach() != Reach::Server) {
        return Err(HttpError(
            StatusCode::NOT_FOUND,
            format!("the address of {provider} ends with the project's slug: /ci/{provider}/…"),
        ));
    }
    let incoming = incoming(&web, &provider, None, request).await?;
    let _place = web.room.of_others()?;
    let taken = web.app.take_delivery_for_any(&incoming).await?;
    let all: Vec<Value> = taken.iter().map(shown).collect();
    Ok((
        status(&taken),
        Json(if all.len() == 1 { all.into_iter().next().unwrap_or_default() } else { json!({ "deliveries": all }) }),
    ))
}

async fn incoming(web: &Web, provider: &str, project: Option<&str>, request: Request) -> Result<Incoming, HttpError> {
    let provider: &'static dyn Provider = ci::provider(provider).ok_or_else(|| {
        let known: Vec<&str> = ci::PROVIDERS.iter().map(|p| p.name()).collect();
        HttpError(StatusCode::NOT_FOUND, format!("there is no CI system of that name; there are: {}", known.join(", ")))
    })?;
    let (parts, body) = request.into_parts();
    let body = match read(&parts.headers, body, BODY_MAX).await {
        Ok(body) => body,
        Err(answer) => {
            web.app.note_unread(provider, project, &answer.1);
            return Err(answer);
        }
    };
    Ok(Incoming { provider, headers: headers(&parts.headers), body })
}

/// The headers that are text.
fn headers(headers: &HeaderMap) -> Headers {
    let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
        Some((name.as_str().to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    };
    Headers(headers.iter().filter_map(text).collect())
}

/// What everybody hears who is not believed; the reason is kept for the operator.
const UNPROVEN: &str = "this is not believed: no webhook with this proof is set up at this address. On coolops' own machine, coolops ci deliveries says why";

fn status(taken: &[Taken]) -> StatusCode {
    if taken.iter().any(|t| t.build.as_ref().is_some_and(|b| b.new)) { StatusCode::CREATED } else { StatusCode::OK }
}

fn shown(taken: &Taken) -> Value {
    let delivery = &taken.delivery;
    let mut answer = json!({ "delivery": delivery.id, "verdict": delivery.verdict });
    if !delivery.reason.is_empty() {
        answer["reason"] = delivery.reason.clone().into();
    }
    if let Some(build) = &taken.build {
        traced::about("build.id", build.id);
        answer["build"] = json!({ "id": build.id, "url": build.url });
    }
    answer
}

impl From<CommandError<CiRefusal>> for HttpError {
    fn from(error: CommandError<CiRefusal>) -> Self {
        let refusal = match error {
            CommandError::Unavailable(cause) => return Self::unavailable(&*cause),
            CommandError::Impossible(cause) => return Self::impossible(&*cause),
            CommandError::Refused(refusal) => refusal,
        };
        let status = match &refusal {
            CiRefusal::NoProject(_) | CiRefusal::NotSetUp { .. } | CiRefusal::NobodySetUp(_) | CiRefusal::Proof(_) => {
                return Self(StatusCode::UNAUTHORIZED, UNPROVEN.to_owned());
            }
            CiRefusal::Malformed(ci::Malformed::Form) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            CiRefusal::Malformed(_) | CiRefusal::Unread(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, refusal.to_string())
    }
}
