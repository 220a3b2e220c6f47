//! Travis CI: builds.
//!
//! Source: docs.travis-ci.com, "Configuring build notifications". A form with the JSON in `payload`; `Signature` is an
//! RSA PKCS#1 v1.5 signature with SHA-1 over the decoded payload, by a key that Travis publishes under
//! `https://api.travis-ci.com/config` (`config.notifications.webhook.public_key`): that key is what is set as the
//! secret. Everybody on Travis is signed for with that key, so a proof says nothing about whose build it is. For a pull
//! request `branch` is the target and `commit` the merge; its own branch is not told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use serde_json::Value;
use spki::SubjectPublicKeyInfoOwned;
use spki::der::DecodePem;

use super::proof::Refusal;
use super::{Provider, Reach, Reading, Report, Request, Travels, no_event, payload, still, text};

pub struct Travis;

const SIGNATURE: &str = "Signature";
const KEY_PLACE: &str = "config.notifications.webhook.public_key of https://api.travis-ci.com/config";

/// The RSA key in a PEM text.
fn public_key(pem: &str) -> Option<Vec<u8>> {
    let key = SubjectPublicKeyInfoOwned::from_pem(pem.trim().as_bytes()).ok()?;
    Some(key.subject_public_key.raw_bytes().to_vec())
}

impl Provider for Travis {
    fn name(&self) -> &'static str {
        "travis"
    }

    fn proof(&self) -> &'static str {
        "Travis' public key, in PEM; it checks each body's signature"
    }

    fn headers(&self) -> &'static [&'static str] {
        &["travis-repo-slug"]
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["push", "api", "cron"], &["pull_request"])
    }

    fn reach(&self) -> Reach {
        Reach::Everybody
    }

    fn check_secret(&self, secret: &str) -> Result<(), String> {
        match public_key(secret) {
            Some(_) => Ok(()),
            None => Err(format!("it is not a public key in PEM; take the one that Travis publishes: {KEY_PLACE}")),
        }
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        let given = request.headers.get("signature").ok_or(Refusal::Missing(SIGNATURE))?;
        let given = STANDARD.decode(given.trim()).map_err(|_| Refusal::Malformed(SIGNATURE))?;
        // What is signed is the field's value, so the form is taken apart first, and nothing more.
        let payload = payload(request.body).ok_or(Refusal::Unsigned("the body is not a form with a field payload"))?;
        let key = public_key(secret).ok_or(Refusal::Wrong(SIGNATURE))?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, key)
            .verify(payload.as_bytes(), &given)
            .map_err(|_| Refusal::Wrong(SIGNATURE))
    }

    fn travels(&self) -> Travels {
        Travels::Form
    }

    fn delivery(&self, _: &Request<'_>, body: &Value) -> Option<String> {
        Some(format!(
            "{} {} {}",
            text(body, "/id")?,
            text(body, "/state")?,
            text(body, "/finished_at").unwrap_or_default()
        ))
    }

    fn read(&self, _: &Request<'_>, body: &Value) -> Reading {
        let event = match text(body, "/type").unwrap_or_default().as_str() {
            "push" => "push",
            "pull_request" => "pull_request",
            "cron" => "cron",
            "api" => "api",
            other => return no_event(other, ""),
        };
        let conclusion = match text(body, "/state").unwrap_or_default().as_str() {
            "passed" => "success",
            "failed" | "errored" => "failure",
            "canceled" => "cancelled",
            other => return still(other),
        };
        let (owner, name) = (text(body, "/repository/owner_name"), text(body, "/repository/name"));
        let tag = text(body, "/tag");
        Reading::Report(Box::new(Report {
            event,
            repository: owner.zip(name).map(|(owner, name)| format!("{owner}/{name}")),
            workflow: Some(event.to_owned()),
            branch: text(body, "/branch").filter(|_| tag.is_none() && event != "pull_request"),
            commit: match event {
                "pull_request" => text(body, "/head_commit").or_else(|| text(body, "/commit")),
                _ => text(body, "/commit"),
            },
            message: text(body, "/message"),
            author: text(body, "/author_name"),
            pull_request: text(body, "/pull_request_number"),
            number: text(body, "/number"),
            // A build that is restarted keeps its id and its number, and ends again.
            run: text(body, "/id").map(|id| format!("{id} {}", text(body, "/finished_at").unwrap_or_default())),
            attempt: 1,
            url: text(body, "/build_url"),
            conclusion: Some(conclusion.to_owned()),
            // Whose code a pull request has isn't told.
            from_fork: event == "pull_request",
            tag,
            ..Report::default()
        }))
    }
}
