//! `POST /builds`: CI announces a build. The contract is the original coolOps.io's: `Authorization: Token …`, a JSON
//! body whatever the content type says, 201.

use std::fmt;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Web;
use super::body::{read, without_mark};
use super::error::HttpError;
use super::traced;
use crate::app::builds::Announcer;
use crate::domain::build::{Entry, RegisterBuild, Source};
use crate::domain::ids::BuildId;
use crate::domain::names;
use coolops_client::limits::{ENTRIES_MAX, printable, without_carriage_return};

/// Largest body, in bytes.
const BODY_MAX: usize = 256 * 1024;

/// What was announced, with the keys that mean nothing here.
#[derive(Default)]
struct Announcement {
    name: Option<String>,
    params: Option<Entries>,
    metadata: Option<Entries>,
    repository: Option<String>,
    commit: Option<String>,
    unknown: Vec<String>,
}

impl<'de> Deserialize<'de> for Announcement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Announcement;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with name, params and metadata")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Announcement, A::Error> {
                let mut announced = Announcement::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => announced.name = map.next_value()?,
                        "params" => announced.params = map.next_value()?,
                        "metadata" => announced.metadata = map.next_value()?,
                        "repository" => announced.repository = map.next_value()?,
                        "commit" => announced.commit = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            if announced.unknown.len() < 10 {
                                announced.unknown.push(printable(&key).into_owned());
                            }
                        }
                    }
                }
                Ok(announced)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Announcement {
    /// A key that was meant to be one of ours: without what it holds, the build would be another one than was meant.
    fn mistyped(&self) -> Option<(&str, &'static str)> {
        let is_near = |key: &str, known: &str| {
            let key = key.to_lowercase();
            // One letter too many, too few, or two in the wrong order.
            strsim::damerau_levenshtein(&key, known) <= 1
                || (known == "params" && ["parameters", "parameter"].contains(&key.as_str()))
        };
        let meant = |key: &str| {
            ["name", "params", "metadata", "repository", "commit"].into_iter().find(|known| is_near(key, known))
        };
        self.unknown.iter().find_map(|key| Some((key.as_str(), meant(key)?)))
    }
}

/// What CI is answered.
#[derive(Serialize)]
pub struct Announced {
    id: BuildId,
    url: String,
    /// What was not taken as it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
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
                            let shown = printable(&name).into_owned();
                            let is = match other {
                                serde_json::Value::Object(_) => "an object",
                                serde_json::Value::Array(_) => "a list",
                                _ => &other.to_string(),
                            };
                            return Err(A::Error::custom(format!(
                                "the value of \"{shown}\" is {is} and not a text; put it in quotes"
                            )));
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
pub async fn handle(State(web): State<Web>, request: Request) -> Result<(StatusCode, Json<Announced>), HttpError> {
    let (parts, body) = request.into_parts();
    let token = bearer(&parts.headers).ok_or_else(HttpError::no_token)?;
    let (project, token) = web.app.token(token).await?.ok_or_else(HttpError::no_token)?;
    let body = read(&parts.headers, body, BODY_MAX).await?;
    let _place = web.room.of_others()?;
    let announced: Announcement = serde_json::from_slice(without_mark(&body))
        .map_err(|e| HttpError::malformed(format!("the body can't be read: {e}")))?;
    if let Some((key, meant)) = announced.mistyped() {
        return Err(HttpError::malformed(format!(
            "there is no field \"{key}\"; did you mean {meant}? There are name, params, metadata, repository and commit"
        )));
    }
    let mut notes: Vec<String> =
        announced.unknown.iter().map(|key| format!("the field {key} means nothing here and was left out")).collect();
    let name = announced
        .name
        .ok_or_else(|| HttpError::malformed("name is missing; send {\"name\": \"…\", \"params\": {…}}"))?;
    let name = trimmed("the name", name, &mut notes).trim().to_owned();
    let mut entries = |given: Option<Entries>| -> Vec<Entry> {
        let given = given.map_or_else(Vec::new, |e| e.0);
        given
            .into_iter()
            .map(|e| Entry {
                value: trimmed(&format!("the value of {}", printable(&e.name)), e.value, &mut notes),
                name: e.name,
            })
            .collect()
    };
    let (params, metadata) = (entries(announced.params), entries(announced.metadata));
    let told = |given: Option<String>| given.filter(|text| !text.trim().is_empty());
    let malformed = |e: names::Invalid| HttpError::malformed(e.0);
    let repository = told(announced.repository).map(|r| names::repository(&r)).transpose().map_err(malformed)?;
    let commit = told(announced.commit).map(|c| names::commit(&c)).transpose().map_err(malformed)?;
    let source = Source::of(repository, commit);
    let command = RegisterBuild { name, params, metadata, public_url: web.app.public_url.clone(), run: None, source };
    let registered = web.app.register_build(project, Announcer::Token(token), command).await?;
    traced::about("build.id", registered.id);
    let status = if registered.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Announced { id: registered.id, url: registered.url, notes })))
}

/// A text without the carriage return that Windows' shells leave at its end; people are told.
fn trimmed(what: &str, text: String, notes: &mut Vec<String>) -> String {
    let kept = without_carriage_return(&text);
    if kept.len() == text.len() {
        return text;
    }
    if notes.len() < ENTRIES_MAX {
        notes.push(format!("{what} ended with a carriage return, which was left out"));
    }
    kept.to_owned()
}

/// The token of an `Authorization: Token …` header, the word in any case.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("token").then(|| token.trim())
}
