//! GitHub: `workflow_run` and `release`; the push of a tag as an option.
//!
//! Source: docs.github.com, "Webhook events and payloads", "Validating webhook deliveries"; a re-run keeps `id` and
//! `run_number` and raises `run_attempt`; `head_commit`, `head_branch` may be null; `pull_requests` is empty for forks.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request, Travels, first, ignored, no_event, still, text};

pub struct GitHub;

const SIGNATURE: &str = "X-Hub-Signature-256";

impl Provider for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn proof(&self) -> &'static str {
        "the webhook's secret; it signs each body"
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["workflow_run", "release"], &["tag"])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        proof::sha256_of_body(request, "x-hub-signature-256", SIGNATURE, secret)
    }

    fn travels(&self) -> Travels {
        // The form is GitHub's first choice for new webhooks.
        Travels::Either
    }

    fn delivery(&self, request: &Request<'_>, _: &Value) -> Option<String> {
        request.headers.get("x-github-delivery").map(str::to_owned)
    }

    fn read(&self, request: &Request<'_>, body: &Value) -> Reading {
        match request.headers.get("x-github-event").unwrap_or_default() {
            "workflow_run" => workflow_run(body),
            "release" => release(body),
            "push" => push(body),
            "ping" => ignored("it is GitHub's ping: the webhook is set up"),
            other => no_event(other, ""),
        }
    }
}

fn workflow_run(body: &Value) -> Reading {
    let run = |name: &str| text(body, &format!("/workflow_run/{name}"));
    let action = text(body, "/action").unwrap_or_default();
    // A body may say "completed" while its action is still "in_progress"; the action "completed" comes in any case.
    if action != "completed" {
        return still(&action);
    }
    let Some(conclusion) = run("conclusion") else { return still("no conclusion") };
    let repository = text(body, "/repository/full_name");
    let head = text(body, "/workflow_run/head_repository/full_name");
    // A run for a tag has the tag's name as its branch, and nothing tells that it is one.
    Reading::Report(Box::new(Report {
        event: "workflow_run",
        // A fork that was deleted has no repository any more.
        from_fork: head != repository,
        repository,
        workflow: first(body, &["/workflow_run/name", "/workflow/name"]),
        branch: run("head_branch"),
        tag: None,
        commit: run("head_sha"),
        message: run("head_commit/message").or_else(|| run("display_title")),
        author: first(
            body,
            &["/workflow_run/head_commit/author/name", "/workflow_run/triggering_actor/login", "/workflow_run/actor/login"],
        ),
        pull_request: run("pull_requests/0/number"),
        number: run("run_number"),
        run: run("id"),
        attempt: body.pointer("/workflow_run/run_attempt").and_then(Value::as_u64).unwrap_or(1),
        url: run("html_url"),
        conclusion: Some(conclusion),
    }))
}

fn release(body: &Value) -> Reading {
    let action = text(body, "/action").unwrap_or_default();
    if action != "published" {
        return ignored(format!("only published releases make builds, this one was {}", crate::domain::names::printable(&action)));
    }
    let tag = text(body, "/release/tag_name");
    Reading::Report(Box::new(Report {
        event: "release",
        repository: text(body, "/repository/full_name"),
        // `target_commitish` is not the tag's commit when the tag was there before the release.
        message: first(body, &["/release/name", "/release/body"]),
        author: text(body, "/release/author/login"),
        // A tag has one release; its id tells one that was deleted and made again.
        number: text(body, "/release/id"),
        url: text(body, "/release/html_url"),
        conclusion: Some("success".to_owned()),
        tag,
        ..Report::default()
    }))
}

fn push(body: &Value) -> Reading {
    let reference = text(body, "/ref").unwrap_or_default();
    let Some(tag) = reference.strip_prefix("refs/tags/") else { return ignored("pushes to branches make no builds; their workflows do") };
    if body.pointer("/deleted").and_then(Value::as_bool) == Some(true) {
        return ignored("the tag was deleted");
    }
    let commit = first(body, &["/head_commit/id", "/after"]);
    Reading::Report(Box::new(Report {
        event: "tag",
        repository: text(body, "/repository/full_name"),
        tag: Some(tag.to_owned()),
        message: text(body, "/head_commit/message"),
        author: first(body, &["/head_commit/author/name", "/pusher/name"]),
        number: commit.as_deref().map(|c| c.chars().take(7).collect()),
        url: first(body, &["/head_commit/url", "/compare"]),
        conclusion: Some("success".to_owned()),
        commit,
        ..Report::default()
    }))
}
