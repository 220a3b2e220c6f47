//! What CI systems send: bodies of their shapes, signed as they sign, and what becomes of them.

mod bad_input;
mod commands;
mod fuzz;
mod readings;
mod sign;
mod vectors;
mod webhooks;

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use coolops::ci::{self, Provider};
use coolops::domain::event::Actor;
use serde_json::Value;

use crate::story::Story;

/// A kept body: the headers that come with it, without the proof of origin.
#[derive(Clone)]
pub struct Sample {
    pub name: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

fn folder(provider: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ci/bodies").join(provider)
}

fn read(path: &Path) -> Sample {
    let kept: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let headers =
        kept["headers"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
    Sample { name: path.file_stem().unwrap().to_string_lossy().into_owned(), headers, body: kept["body"].clone() }
}

/// One body.
pub fn sample(provider: &str, name: &str) -> Sample {
    read(&folder(provider).join(format!("{name}.json")))
}

/// All bodies of a provider, by name.
pub fn samples(provider: &str) -> Vec<Sample> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder(provider)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| read(p)).collect()
}

/// A body of each provider that makes a build.
pub fn good(provider: &str) -> Sample {
    let provider = sign::provider_of(provider);
    let name = match provider {
        "circleci" => "vcs",
        "buildkite" => "passed",
        "bitbucket" => "pipeline",
        "jenkins" => "finalized",
        "azure" => "version_2",
        "generic" => "any",
        _ => "push",
    };
    sample(provider, name)
}

pub fn provider(name: &str) -> &'static dyn Provider {
    ci::provider(name).unwrap()
}

/// What an operator has to set before a provider's bodies can make builds: where things are in those of no shape of
/// their own, and the repositories where others' are proved too.
pub fn rules(provider: &str) -> coolops::domain::ci_rules::CiRules {
    let field = |name: &str, value: &str| coolops::domain::build::Entry { name: name.into(), value: value.into() };
    let mut rules = coolops::domain::ci_rules::CiRules::default();
    if provider == "generic" {
        let places =
            [("branch", "ref"), ("number", "no"), ("commit", "sha"), ("conclusion", "ok"), ("message", "text")];
        rules.fields = places.iter().map(|(name, place)| field(name, &format!("/build/{place}"))).collect();
    }
    // What proves the builds of others too says nothing without a name.
    if coolops::ci::provider(provider).unwrap().reach() != ci::Reach::Webhook {
        rules.repositories = vec!["harbour/*".into()];
    }
    rules
}

/// The story's project takes a provider's webhooks.
pub async fn set_up(s: &Story, scheme: &str) {
    let operator = Actor::Operator { login: "test".into() };
    let name = sign::provider_of(scheme);
    s.app.set_ci_secret(s.project(), provider(name), &sign::secret(scheme).into(), true, &operator).await.unwrap();
    if rules(name) != coolops::domain::ci_rules::CiRules::default() {
        let change = coolops::domain::settings::ProjectChange::CiRules {
            provider: name.into(),
            rules: Box::new(rules(name)),
            was: None,
        };
        s.app.change_project(s.project(), change, &operator).await.unwrap();
    }
}

/// Sends a request as it is.
pub async fn post(s: &Story, path: &str, headers: &[(String, String)], body: Vec<u8>) -> (StatusCode, Value) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    s.send(request.body(Body::from(body)).unwrap()).await
}

/// Sends a body as its provider would, signed now.
pub async fn deliver(s: &Story, scheme: &str, sample: &Sample) -> (StatusCode, Value) {
    let (headers, body) = sign::signed(scheme, sample, now());
    post(s, &format!("/ci/{}/api", sign::provider_of(scheme)), &headers, body).await
}

pub fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
