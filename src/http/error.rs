//! Every answer that is not a success, in one place: `{"error": "a sentence that says what to do"}`.

use std::any::Any;
use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::seldom::Seldom;
use crate::app::CommandError;
use crate::app::builds::AnnounceRefusal;
use crate::app::history::{NoRange, NoSuchMoment};
use crate::domain::build::BuildRefusal;
use crate::store::append::AppendError;
use crate::store::log::ReadError;
use crate::telemetry::causes;

/// A status and a sentence.
#[derive(Debug)]
pub struct HttpError(pub StatusCode, pub String);

/// What is said while the database does not answer.
pub(super) const AWAY: &str = "coolops can't reach its database right now; try again in a moment";

impl HttpError {
    /// 400.
    pub fn malformed(why: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }

    /// 401 for CI.
    pub fn no_token() -> Self {
        let text =
            "the project token is missing, unknown or revoked; send it as: Authorization: Token <the project's token>";
        Self(StatusCode::UNAUTHORIZED, text.to_owned())
    }

    /// 404.
    pub fn not_found() -> Self {
        Self(StatusCode::NOT_FOUND, "there is nothing at this address".to_owned())
    }

    /// 503: an operator has something to do first, which is said.
    pub fn not_now(why: impl Into<String>) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, why.into())
    }

    /// 413 with the limit and, where it is known, the size.
    pub fn too_large(limit: usize, size: Option<u64>) -> Self {
        let size = size.map_or_else(|| format!("more than {limit}"), |s| s.to_string());
        Self(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has {size} bytes; at most {limit} are allowed"))
    }

    /// 422: it would fail again in the same way.
    pub fn impossible(cause: &dyn Error) -> Self {
        let why = causes(cause);
        static SAID: Seldom = Seldom::new();
        if let Some(left_out) = SAID.due() {
            tracing::warn!(details = why, left_out, "a request can't be served");
        }
        Self(StatusCode::UNPROCESSABLE_ENTITY, format!("this can't be recorded, now or later: {why}"))
    }

    /// 500: what is in the log can't be read by this program; the details are for our log.
    pub fn unreadable(cause: &dyn Error) -> Self {
        static SAID: Seldom = Seldom::new();
        if let Some(left_out) = SAID.due() {
            tracing::error!(details = causes(cause), left_out, "an event can't be read");
        }
        let text = "coolops can't read what is recorded of this; its operator finds out why with: coolops audit verify";
        Self(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
    }

    /// 503; the details are for our log.
    pub fn unavailable(cause: &(dyn Error + 'static)) -> Self {
        if let Some(AppendError::Closed(_)) = cause.downcast_ref::<AppendError>() {
            let text = "coolops records nothing now: it found two histories, and an operator has to decide which one goes on (coolops doctor)";
            return Self(StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
        }
        if let Some(lost @ ReadError::RowsLost) = cause.downcast_ref::<ReadError>() {
            return Self::not_now(lost.to_string());
        }
        static SAID: Seldom = Seldom::new();
        if let Some(left_out) = SAID.due() {
            tracing::warn!(details = causes(cause), left_out, "a request could not be served");
        }
        Self(StatusCode::SERVICE_UNAVAILABLE, AWAY.to_owned())
    }
}

/// 500 for what only a fault of this program leads to; the thread that panicked has told what it was.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let text = "coolops failed here, which is its own fault; what went wrong is in its operator's log";
    HttpError(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned()).into_response()
}

impl From<CommandError<AnnounceRefusal>> for HttpError {
    fn from(error: CommandError<AnnounceRefusal>) -> Self {
        match error {
            CommandError::Unavailable(cause) => Self::unavailable(&*cause),
            CommandError::Impossible(cause) => Self::impossible(&*cause),
            CommandError::Refused(
                AnnounceRefusal::TokenRevoked | AnnounceRefusal::NoProject | AnnounceRefusal::SettingsChanged,
            ) => Self::no_token(),
            CommandError::Refused(AnnounceRefusal::Build(refusal)) => {
                let status = match refusal {
                    BuildRefusal::OtherParams { .. }
                    | BuildRefusal::OtherCommit { .. }
                    | BuildRefusal::OtherRun { .. }
                    | BuildRefusal::EarlierAttempt(_)
                    | BuildRefusal::ProjectArchived(_) => StatusCode::CONFLICT,
                    BuildRefusal::Invalid(_) => StatusCode::BAD_REQUEST,
                };
                Self(status, refusal.to_string())
            }
        }
    }
}

impl From<sqlx::Error> for HttpError {
    fn from(error: sqlx::Error) -> Self {
        // PostgreSQL's character_not_in_repertoire: what is asked for has a NUL in it, which no stored text has.
        match error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() {
            Some("22021") => Self::malformed("there is a character in it that no text has".to_owned()),
            _ => Self::unavailable(&error),
        }
    }
}

impl From<NoRange> for HttpError {
    fn from(error: NoRange) -> Self {
        match error {
            NoRange::Database(e) | NoRange::NotYet(NoSuchMoment::Database(e)) => e.into(),
            mistaken => Self::malformed(mistaken.to_string()),
        }
    }
}

impl From<ReadError> for HttpError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Database(e) => e.into(),
            ReadError::RowsLost => Self::not_now(error.to_string()),
            // It will be so for ever, whoever asks again.
            ReadError::Unreadable { .. } | ReadError::Actor { .. } | ReadError::Locked { .. } => {
                Self::unreadable(&error)
            }
        }
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
