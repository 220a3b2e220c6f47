//! Webhooks of CI systems as pure functions: prove the origin on the raw bytes, read the body into a [`Report`], and
//! let a project's [`rules`] make a build of it or say why not.
//!
//! **Invariant:** nothing of a body is believed before [`Provider::verify`]. Facts about each provider's bodies,
//! headers and signatures stand, with their source, in the provider's file.
//!
//! **How to add a provider:** write its file, add it to the modules and to [`PROVIDERS`] here; in `tests/it/ci` give it
//! a folder of bodies, a way to sign, and its name in the lists of `readings.rs` and `bad_input.rs`.

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
    /// Its address, on the web or for git.
    pub repository_url: Option<String>,
    /// The workflow, pipeline or job.
    pub workflow: Option<String>,
    /// The same with the folders that it is in, where others may have its name.
    pub workflow_path: Option<String>,
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
    /// Where the pull request can be looked at.
    pub pull_request_url: Option<String>,
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
    /// Whether the code is a fork's, or may be.
    pub from_fork: bool,
    /// Whether a merge queue made the run, of what is not merged yet.
    pub of_queue: bool,
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

    /// Its own headers that are kept of a delivery, in lower case: all that [`Provider::read`] and
    /// [`Provider::delivery`] ask for, and what helps people. Never one that proves an origin.
    fn headers(&self) -> &'static [&'static str] {
        &[]
    }

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

    /// Reads a body. Others call [`read`], which settles what is a branch and what a tag.
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
        (Travels::Json | Travels::Either, false) => {
            serde_json::from_slice(request.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(request.body))
        }
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

/// No more of a text is looked at: a build's values are shorter.
const TEXT_MAX: usize = 12_000;

/// The text at a JSON pointer; numbers and truth values as text, nothing for null, empty texts and anything larger.
pub fn text(body: &Value, pointer: &str) -> Option<String> {
    match body.pointer(pointer)? {
        Value::String(text) => {
            Some(text.trim()).filter(|t| !t.is_empty()).map(|t| t[..t.floor_char_boundary(TEXT_MAX)].to_owned())
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The first of several places that holds a text.
fn first(body: &Value, pointers: &[&str]) -> Option<String> {
    pointers.iter().find_map(|p| text(body, p))
}

/// Reads a body, and settles what all CI systems have in common: what is a branch, what a tag, and what may be a
/// fork's.
pub fn read(provider: &dyn Provider, request: &Request<'_>, body: &Value) -> Reading {
    let Reading::Report(mut report) = provider.read(request, body) else { return provider.read(request, body) };
    match report.branch.as_deref().map(Reference::of) {
        Some(Reference::Branch(name)) => report.branch = Some(name),
        Some(Reference::Tag(name)) => {
            report.branch = None;
            report.tag.get_or_insert(name);
        }
        Some(Reference::PullRequest(number)) => {
            report.branch = None;
            report.pull_request.get_or_insert(number);
        }
        Some(Reference::None) | None => report.branch = None,
    }
    if report.tag.is_some() {
        report.branch = None;
    }
    report.from_fork |= says_fork(body);
    Reading::Report(report)
}

/// What a git reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A branch, without where it is.
    Branch(String),
    /// A tag.
    Tag(String),
    /// A pull or merge request's number.
    PullRequest(String),
    /// Nothing that has a name.
    None,
}

impl Reference {
    /// The branch, if it is one.
    pub fn branch(self) -> Option<String> {
        if let Self::Branch(name) = self { Some(name) } else { None }
    }

    /// Reads a reference in any of the forms that git and CI systems give it: `main`, `refs/heads/main`, `refs/tags/v9`,
    /// `refs/pull/7/merge`, `refs/merge-requests/3/head`. `origin/main`, or `remotes/x/main`, is a branch of that name: whoever
    /// may push one so called is not on main by that. Jenkins, which is known to write its own so, reads it for itself.
    pub fn of(text: &str) -> Self {
        // GitHub's documentation writes a stroke before it.
        let text = text.trim().trim_start_matches('/');
        let numbered = ["refs/pull/", "refs/pull-requests/", "refs/merge-requests/", "refs/changes/"];
        if let Some(rest) = numbered.iter().find_map(|p| text.strip_prefix(p)) {
            if rest.ends_with("/train") {
                // What a merge queue builds is no merge request's own.
                return Self::Branch(text.to_owned());
            }
            let number = rest.split('/').find(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
            return number.map_or(Self::None, |n| Self::PullRequest(n.to_owned()));
        }
        if let Some(tag) = text.strip_prefix("refs/tags/") {
            return if tag.is_empty() { Self::None } else { Self::Tag(tag.to_owned()) };
        }
        match text.strip_prefix("refs/heads/").unwrap_or(text) {
            "" | "HEAD" | "detached" | "(no branch)" => Self::None,
            name => Self::Branch(name.to_owned()),
        }
    }
}

/// Whether a body says in so many words that the code is a fork's. That a repository is a fork of another one says
/// nothing of that, so only fields about a request or a build count.
fn says_fork(body: &Value) -> bool {
    const WORDS: &[&str] = &[
        "isfork",
        "isforkmergerequest",
        "isforkpullrequest",
        "fromfork",
        "iscrossrepository",
        "crossrepository",
        "isforkpr",
    ];
    match body {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let plain = || name.bytes().filter(|b| *b != b'_' && *b != b'-').map(|b| b.to_ascii_lowercase());
            let says_so =
                || value == &Value::Bool(true) || value.as_str().is_some_and(|v| v.eq_ignore_ascii_case("true"));
            // Of a repository it says that it is a fork of another one.
            if name.eq_ignore_ascii_case("repository") || name.eq_ignore_ascii_case("repo") {
                return false;
            }
            (name.len() < 40 && WORDS.iter().any(|w| plain().eq(w.bytes())) && says_so()) || says_fork(value)
        }),
        Value::Array(items) => items.iter().any(says_fork),
        _ => false,
    }
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
    fn a_reference_is_read_in_every_form() {
        let branch = |name: &str| Reference::Branch(name.to_owned());
        for text in ["main", "refs/heads/main", "/refs/heads/main", " main "] {
            assert_eq!(Reference::of(text), branch("main"), "{text}");
        }
        assert_eq!(Reference::of("refs/heads/feature/x"), branch("feature/x"));
        // Somebody may call a branch so, and isn't on main by that.
        for own in ["origin/main", "remotes/evil/main", "refs/remotes/evil/main"] {
            assert_eq!(Reference::of(own), branch(own));
        }
        assert_eq!(Reference::of("refs/tags/v9"), Reference::Tag("v9".into()));
        for text in
            ["refs/pull/7/merge", "refs/pull/7/head", "refs/pull-requests/7/from", "refs/merge-requests/7/merge"]
        {
            assert_eq!(Reference::of(text), Reference::PullRequest("7".into()), "{text}");
        }
        for text in ["", "HEAD", "detached", "refs/heads/", "refs/tags/"] {
            assert_eq!(Reference::of(text), Reference::None, "{text}");
        }
    }

    #[test]
    fn whoever_says_fork_is_heard() {
        for body in [
            r#"{"a":{"is_fork_merge_request":true}}"#,
            r#"{"a":[{"isFork":"True"}]}"#,
            r#"{"from_fork":true}"#,
            r#"{"pull_request":{"is_cross_repository":true}}"#,
        ] {
            assert!(says_fork(&serde_json::from_str(body).unwrap()), "{body}");
        }
        for body in
            [r#"{"repository":{"fork":true}}"#, r#"{"is_fork":false}"#, r#"{"isFork":"False"}"#, r#"{"forks":3}"#]
        {
            assert!(!says_fork(&serde_json::from_str(body).unwrap()), "{body}");
        }
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
