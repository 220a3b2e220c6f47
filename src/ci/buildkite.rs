//! Buildkite: `build.finished`.
//!
//! Source: buildkite/docs, "Webhooks" and "Builds API". By the hook's setting either `X-Buildkite-Token` or
//! `X-Buildkite-Signature`. A build stopped at a block step sends `build.finished` with state `passed` and
//! `blocked: true`: it is not finished. The commit may be the word `HEAD`; creator and author may be null.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Reference, Report, Request, first, ignored, no_event, repository, still, text};

pub struct Buildkite;

const SIGNATURE: &str = "X-Buildkite-Signature";

impl Provider for Buildkite {
    fn name(&self) -> &'static str {
        "buildkite"
    }

    fn proof(&self) -> &'static str {
        "the notification service's token, sent plain or as a signature"
    }

    fn headers(&self) -> &'static [&'static str] {
        &["x-buildkite-event", "x-request-id"]
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["build.finished"], &[])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        let Some(given) = request.headers.get("x-buildkite-signature") else {
            let token = request.headers.get("x-buildkite-token").ok_or(Refusal::Missing(SIGNATURE))?;
            return proof::plain("X-Buildkite-Token", secret, token);
        };
        let part = |name: &str| given.split(',').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='));
        let (time, signature) = part("timestamp").zip(part("signature")).ok_or(Refusal::Malformed(SIGNATURE))?;
        proof::hex(SIGNATURE, secret.as_bytes(), &[time.as_bytes(), b".", request.body], signature)?;
        proof::fresh(request.now, time.parse().map_err(|_| Refusal::Malformed(SIGNATURE))?)
    }

    fn delivery(&self, _: &Request<'_>, body: &Value) -> Option<String> {
        // There is no id of the delivery: the build, what happened, and how it stands.
        let blocked = text(body, "/build/blocked").unwrap_or_default();
        Some(format!(
            "{} {} {} {blocked}",
            text(body, "/build/id")?,
            text(body, "/event")?,
            text(body, "/build/state")?
        ))
    }

    fn read(&self, _: &Request<'_>, body: &Value) -> Reading {
        let event = text(body, "/event").unwrap_or_default();
        match event.as_str() {
            "build.finished" => {}
            "ping" => return ignored("it is Buildkite's ping: the webhook is set up"),
            other => return no_event(other, "build.finished"),
        }
        let build = |name: &str| text(body, &format!("/build/{name}"));
        if body.pointer("/build/blocked").and_then(Value::as_bool) == Some(true) {
            return still("it waits at a block step");
        }
        let conclusion = match build("state").unwrap_or_default().as_str() {
            "passed" => "success",
            "failed" => "failure",
            "canceled" => "cancelled",
            "skipped" | "not_run" => "skipped",
            // The body is made when it is sent and may be newer than the event.
            other => return still(other),
        };
        let tag = build("tag");
        // A build that another build started tells its pull request in the variables only.
        let pull_request =
            build("pull_request/id").or_else(|| build("env/BUILDKITE_PULL_REQUEST").filter(|n| n != "false"));
        let named = |name: String| repository(&name).to_lowercase();
        let theirs = build("pull_request/repository").or_else(|| build("env/BUILDKITE_PULL_REQUEST_REPO")).map(named);
        let ours = text(body, "/pipeline/repository").map(named);
        let branch = build("branch").unwrap_or_default();
        let by_reference = branch.starts_with("pull/") || matches!(Reference::of(&branch), Reference::PullRequest(_));
        let is_pull_request = pull_request.is_some() || by_reference;
        // "owner:branch" is how Buildkite names a stranger's branch.
        let is_of_a_stranger = branch.contains(':');
        let organization = build("web_url").and_then(|u| {
            let mut parts = u.split('/').skip(3);
            Some(format!("{}/{}", parts.next()?, parts.next()?))
        });
        Reading::Report(Box::new(Report {
            event: "build.finished",
            repository: text(body, "/pipeline/repository").map(|r| repository(&r)).or(organization),
            repository_url: text(body, "/pipeline/repository"),
            workflow: first(body, &["/pipeline/slug", "/pipeline/name"]),
            branch: build("branch").filter(|_| tag.is_none()),
            commit: build("commit").filter(|c| c != "HEAD"),
            message: build("message"),
            author: first(
                body,
                &["/build/author/name", "/build/author/username", "/build/creator/name", "/sender/name"],
            ),
            pull_request,
            number: build("number"),
            run: build("id"),
            attempt: 1,
            url: build("web_url"),
            conclusion: Some(conclusion.to_owned()),
            from_fork: is_of_a_stranger || is_pull_request && (theirs.is_none() || theirs != ours),
            tag,
            of_queue: body.pointer("/build/merge_queue").is_some_and(|q| !q.is_null()),
            ..Report::default()
        }))
    }
}
