//! Webhooks of CI systems as pure functions: prove the origin on the raw bytes, read the body into a [`Report`], and let a
//! project's [`rules`] make a build of it or say why not.
//!
//! **Invariant:** nothing of a body is believed before [`Provider::verify`]. Facts about each provider's bodies, headers
//! and signatures stand, with their source, in the provider's file.
//!
//! **How to add a provider:** write its file, add it to the modules and to [`PROVIDERS`] here; in `tests/it/ci` give it a folder
//! of bodies, a way to sign, and its name in the lists of `readings.rs` and `bad_input.rs`.

mod azure;
mod bitbucket;
mod buildkite;
mod circleci;
mod drone;
mod generic;
mod github;
mod gitlab;
mod jenkins;
pub mod proof;
pub mod redact;
pub mod rules;
mod travis;

use serde_json::Value;

use proof::Refusal;

/// Largest body, in bytes.
pub const BODY_MAX: usize = 1024 * 1024;

/// Every provider, by the name in its address.
pub const PROVIDERS: &[&dyn Provider] = &[
    &github::GitHub,
    &gitlab::GitLab,
    &circleci::CircleCi,
    &buildkite::Buildkite,
    &bitbucket::Bitbucket,
    &jenkins::Jenkins,
    &drone::Drone,
    &azure::Azure,
    &travis::Travis,
    &generic::Generic,
];

/// The provider of a name.
pub fn provider(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS.iter().copied().find(|p| p.name() == name)
}

/// What a CI system sent.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Its headers.
    pub headers: &'a Headers,
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// Now, in seconds since 1970, by the database's clock.
    pub now: i64,
}

/// Headers by their names in lower case, in the order sent.
#[derive(Debug, Clone, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a header; the name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a CI system says about one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Which of the provider's events it is.
    pub event: &'static str,
    /// The repository's full name, such as `octocat/hello`.
    pub repository: Option<String>,
    /// The workflow, pipeline or job.
    pub workflow: Option<String>,
    /// The branch; of a pull request its own, not the target.
    pub branch: Option<String>,
    /// The tag, where a tag was built.
    pub tag: Option<String>,
    /// The commit's full hash.
    pub commit: Option<String>,
    /// The commit's message.
    pub message: Option<String>,
    /// Who wrote the commit, or else who started the run.
    pub author: Option<String>,
    /// The pull request's number.
    pub pull_request: Option<String>,
    /// The run's number, as people know it.
    pub number: Option<String>,
    /// Which attempt of the run; 0 or 1 for the first.
    pub attempt: u64,
    /// The CI system's own id of the run; where its attempts share one, with what tells them apart.
    pub run: Option<String>,
    /// Where the run can be looked at.
    pub url: Option<String>,
    /// How it ended: `success`, `failure`, `cancelled`, `unstable`, `skipped`, or the provider's own word.
    pub conclusion: Option<String>,
    /// Whether the code is a fork's.
    pub from_fork: bool,
}

/// What a body turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A run that has ended.
    Report(Box<Report>),
    /// Something that makes no build; why, as the end of "ignored, because …".
    Ignored(String),
}

/// How a body travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travels {
    /// As JSON.
    Json,
    /// As a form with the JSON in the field `payload`.
    Form,
    /// As either; the content type says which.
    Either,
}

/// Whose deliveries a secret proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// A webhook's: it is set in the settings of one repository, group or job.
    Webhook,
    /// A server's, which sends those of all its repositories to one address.
    Server,
    /// Everybody's: the CI system signs for all its users with one key.
    Everybody,
}

/// A CI system.
pub trait Provider: Sync {
    /// Its name in the address.
    fn name(&self) -> &'static str;

    /// How it proves its origin, for people who set it up.
    fn proof(&self) -> &'static str;

    /// The events that can make a build: the defaults, and those that are an option.
    fn events(&self) -> (&'static [&'static str], &'static [&'static str]);

    /// Checks the origin of the raw bytes with one of the project's secrets, in constant time.
    ///
    /// # Errors
    /// A refusal; nothing of the body may be believed.
    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal>;

    /// Whose deliveries a proof stands for. Where they aren't the project's only, its rules must name its repositories.
    fn reach(&self) -> Reach {
        Reach::Webhook
    }

    /// Checks what is to be kept as a secret.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    fn check_secret(&self, secret: &str) -> Result<(), String> {
        let _ = secret;
        Ok(())
    }

    /// How the body travels.
    fn travels(&self) -> Travels {
        Travels::Json
    }

    /// What names a delivery: the same for a re-delivery. Without one the body's digest does.
    fn delivery(&self, request: &Request<'_>, body: &Value) -> Option<String>;

    /// The repository that a body is about, whatever it says; only asked where one address takes all repositories.
    fn repository(&self, body: &Value) -> Option<String> {
        let _ = body;
        None
    }

    /// Whether a secret may still be accepted while this one is in force.
    fn may_stand_beside(&self, current: &str, previous: &str) -> bool {
        let _ = (current, previous);
        true
    }

    /// Reads a body.
    fn read(&self, request: &Request<'_>, body: &Value) -> Reading;
}

/// Why a body can't be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// A form where JSON is expected.
    #[error("the body is a form; choose the content type application/json in the webhook's settings")]
    Form,
    /// Not a form with a payload.
    #[error("the body is not a form with a field payload")]
    NoPayload,
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

/// The JSON in a request's body.
///
/// # Errors
/// When there is none. More than 128 levels are refused.
pub fn body(provider: &dyn Provider, request: &Request<'_>) -> Result<Value, Malformed> {
    let kind = request.headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    let parsed = match (provider.travels(), is_form) {
        (Travels::Json, true) => return Err(Malformed::Form),
        (Travels::Json, false) | (Travels::Either, false) => serde_json::from_slice(request.body),
        (Travels::Form, _) | (Travels::Either, true) => {
            let payload = payload(request.body).ok_or(Malformed::NoPayload)?;
            serde_json::from_str(&payload)
        }
    };
    let value: Value = parsed.map_err(|e| Malformed::Json(e.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(Malformed::NotAnObject) }
}

/// The field `payload` of a form.
fn payload(body: &[u8]) -> Option<String> {
    url::form_urlencoded::parse(body).find(|(name, _)| name == "payload").map(|(_, value)| value.into_owned())
}

/// The text at a JSON pointer; numbers and truth values as text, nothing for null, empty texts and anything larger.
pub fn text(body: &Value, pointer: &str) -> Option<String> {
    match body.pointer(pointer)? {
        Value::String(text) => Some(text.trim()).filter(|t| !t.is_empty()).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The first of several places that holds a text.
fn first(body: &Value, pointers: &[&str]) -> Option<String> {
    pointers.iter().find_map(|p| text(body, p))
}

/// A branch without `refs/heads/` or `origin/`.
fn branch(name: &str) -> String {
    let name = name.strip_prefix("refs/heads/").unwrap_or(name);
    name.strip_prefix("origin/").unwrap_or(name).to_owned()
}

/// The name without the mail address in `Name <mail>`.
fn person(raw: &str) -> String {
    raw.split('<').next().unwrap_or_default().trim().to_owned()
}

/// `owner/name` of a repository's address, over ssh or https.
fn repository(address: &str) -> String {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or(rest, |(_, path)| path),
        None => address.split_once(':').map_or(address, |(_, path)| path),
    };
    path.trim_end_matches('/').trim_end_matches(".git").to_owned()
}

/// That an event makes no builds; `choose` says which does, where that helps.
fn no_event(event: &str, choose: &str) -> Reading {
    let event = if event.is_empty() {
        "it names no event".to_owned()
    } else {
        format!("the event {} makes no builds", crate::domain::names::printable(event))
    };
    Reading::Ignored(if choose.is_empty() { event } else { format!("{event}; choose {choose}") })
}

fn ignored(why: impl Into<String>) -> Reading {
    Reading::Ignored(why.into())
}

fn still(state: &str) -> Reading {
    let state = if state.is_empty() { "its state is not told" } else { state };
    ignored(format!("the run has not ended ({})", crate::domain::names::printable(state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_whatever_they_are_and_nothing_is_not_a_text() {
        let body: Value = serde_json::from_str(r#"{"a":{"b":[" x ",7,true,null,"",{}]}}"#).unwrap();
        let at = |n: usize| text(&body, &format!("/a/b/{n}"));
        assert_eq!((at(0), at(1), at(2)), (Some("x".into()), Some("7".into()), Some("true".into())));
        assert_eq!((at(3), at(4), at(5), at(6)), (None, None, None, None));
    }

    #[test]
    fn every_provider_has_a_name_of_its_own() {
        let mut names: Vec<_> = PROVIDERS.iter().map(|p| p.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROVIDERS.len());
        assert!(provider("github").is_some() && provider("woodpecker").is_none());
    }
}
