//! Drone: builds.
//!
//! Source: drone/docs, "Webhooks"; drone/drone plugin/webhook and core. The signature covers only the lines `date` and
//! `digest`, so the digest must be computed from the body too. The documentation shows the signature in
//! `Authorization`, the server writes `Signature`. `build.link` is the commit's page, not the run's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::proof::{self, Refusal};
use super::{Provider, Reach, Reading, Report, Request, first, no_event, still, text};

pub struct Drone;

const SIGNATURE: &str = "Signature";
const DIGEST: &str = "Digest";

impl Provider for Drone {
    fn name(&self) -> &'static str {
        "drone"
    }

    fn proof(&self) -> &'static str {
        "the server's DRONE_WEBHOOK_SECRET; it signs date and digest"
    }

    fn headers(&self) -> &'static [&'static str] {
        &["x-drone-event"]
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["build"], &["promote"])
    }

    fn reach(&self) -> Reach {
        Reach::Server
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        let given = ["signature", "authorization"]
            .iter()
            .find_map(|h| request.headers.get(h))
            .ok_or(Refusal::Missing(SIGNATURE))?;
        let part = |name: &str| {
            let given = given.strip_prefix("Signature ").unwrap_or(given);
            given.split(',').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
        };
        let signature = part("signature").ok_or(Refusal::Malformed(SIGNATURE))?;
        if part("algorithm") != Some("hmac-sha256") || part("headers") != Some("date digest") {
            return Err(Refusal::Malformed(SIGNATURE));
        }
        let date = request.headers.get("date").ok_or(Refusal::Missing("Date"))?;
        let digest = request.headers.get("digest").ok_or(Refusal::Missing(DIGEST))?;
        let lines = format!("date: {date}\ndigest: {digest}");
        proof::base64(SIGNATURE, secret.as_bytes(), &[lines.as_bytes()], signature)?;
        let of_body = STANDARD.encode(Sha256::digest(request.body));
        let given = digest.strip_prefix("SHA-256=").ok_or(Refusal::Malformed(DIGEST))?;
        if !bool::from(of_body.as_bytes().ct_eq(given.as_bytes())) {
            return Err(Refusal::Wrong(DIGEST));
        }
        let signed = chrono::DateTime::parse_from_rfc2822(date).map_err(|_| Refusal::Malformed("Date"))?;
        proof::fresh(request.now, signed.timestamp())
    }

    fn delivery(&self, _: &Request<'_>, body: &Value) -> Option<String> {
        Some(format!("{} {}", text(body, "/build/id")?, text(body, "/build/version")?))
    }

    fn repository(&self, body: &Value) -> Option<String> {
        text(body, "/repo/slug")
    }

    fn read(&self, request: &Request<'_>, body: &Value) -> Reading {
        let event = first(body, &["/event"])
            .or_else(|| request.headers.get("x-drone-event").map(str::to_owned))
            .unwrap_or_default();
        if event != "build" {
            return no_event(&event, "");
        }
        let build = |name: &str| text(body, &format!("/build/{name}"));
        let conclusion = match build("status").unwrap_or_default().as_str() {
            "success" => "success",
            "failure" | "error" => "failure",
            "killed" | "declined" => "cancelled",
            "skipped" => "skipped",
            other => return still(other),
        };
        let kind = build("event").unwrap_or_default();
        let reference = build("ref").unwrap_or_default();
        let tag = reference.strip_prefix("refs/tags/").map(str::to_owned);
        let of_pull_request = ["refs/pull/", "refs/pull-requests/", "refs/merge-requests/"]
            .iter()
            .find_map(|p| reference.strip_prefix(p));
        let pull_request = of_pull_request.and_then(|r| r.split('/').next()).map(str::to_owned);
        let is_pull_request = kind == "pull_request" || pull_request.is_some();
        let repository = text(body, "/repo/slug");
        let number = build("number");
        let source = build("source_repo");
        let is_ours = source
            .as_deref()
            .zip(repository.as_deref())
            .is_some_and(|(theirs, ours)| theirs.eq_ignore_ascii_case(ours));
        let pull_request_url = build("link").filter(|link| kind == "pull_request" && !link.contains("/compare/"));
        let url = match (text(body, "/system/link"), &repository, &number) {
            (Some(server), Some(repository), Some(number)) => {
                Some(format!("{}/{repository}/{number}", server.trim_end_matches('/')))
            }
            _ => None,
        };
        Reading::Report(Box::new(Report {
            event: if kind == "promote" || kind == "rollback" { "promote" } else { "build" },
            repository_url: text(body, "/repo/link"),
            workflow: Some(kind).filter(|k| !k.is_empty()),
            branch: if tag.is_some() { None } else { build(if is_pull_request { "source" } else { "target" }) },
            commit: build("after"),
            message: first(body, &["/build/message", "/build/title"]),
            author: first(body, &["/build/author_name", "/build/author_login", "/build/sender"]),
            attempt: 1,
            run: build("id"),
            conclusion: Some(conclusion.to_owned()),
            // Not told for pushes.
            from_fork: if is_pull_request { !is_ours } else { source.is_some() && !is_ours },
            pull_request,
            repository,
            number,
            url,
            tag,
            pull_request_url,
            ..Report::default()
        }))
    }
}
