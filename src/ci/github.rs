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

    fn headers(&self) -> &'static [&'static str] {
        &["x-github-event", "x-github-delivery"]
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
    let is_own = ["id", "full_name"].iter().find_map(|name| {
        let (head, ours) = (run(&format!("head_repository/{name}"))?, text(body, &format!("/repository/{name}"))?);
        Some(head.eq_ignore_ascii_case(&ours))
    });
    let is_own = is_own.unwrap_or(false);
    let is_for_a_target = run("event").as_deref() == Some("pull_request_target");
    // A run of a release is the only one that is told to be a tag's; else nothing tells, and the tag's name is the
    // branch.
    let is_release = run("event").as_deref() == Some("release");
    let pull_request = own_pull_request(body);
    Reading::Report(Box::new(Report {
        event: "workflow_run",
        // A fork that was deleted has no repository any more; a run for somebody else's pull request may have built its
        // code.
        from_fork: !is_own || (is_for_a_target && pull_request.is_none()),
        repository,
        repository_url: text(body, "/repository/html_url"),
        // A run's own name is a title that the workflow may make of anything.
        workflow: first(body, &["/workflow/name", "/workflow_run/name"]),
        branch: run("head_branch").filter(|_| !is_release),
        tag: run("head_branch").filter(|_| is_release),
        commit: run("head_sha"),
        message: run("head_commit/message").or_else(|| run("display_title")),
        author: first(
            body,
            &[
                "/workflow_run/head_commit/author/name",
                "/workflow_run/triggering_actor/login",
                "/workflow_run/actor/login",
            ],
        ),
        pull_request_url: pull_request
            .as_ref()
            .zip(text(body, "/repository/html_url"))
            .map(|(n, url)| format!("{url}/pull/{n}")),
        pull_request,
        number: run("run_number"),
        run: run("id"),
        attempt: body.pointer("/workflow_run/run_attempt").and_then(Value::as_u64).unwrap_or(1),
        url: run("html_url"),
        conclusion: Some(conclusion),
        of_queue: run("event").as_deref() == Some("merge_group"),
        ..Report::default()
    }))
}

/// The run's pull request. The list holds those of any repository that has the branch: only one into this repository,
/// from this repository, whose head is this commit, is the run's.
fn own_pull_request(body: &Value) -> Option<String> {
    let (repository, commit) = (text(body, "/repository/id")?, text(body, "/workflow_run/head_sha")?);
    let ours = |pull: &&Value| {
        let of = |end: &str| text(pull, &format!("/{end}/repo/id"));
        of("base").as_ref() == Some(&repository)
            && of("head").as_ref() == Some(&repository)
            && text(pull, "/head/sha").as_ref() == Some(&commit)
    };
    body.pointer("/workflow_run/pull_requests")?.as_array()?.iter().find(ours).and_then(|pull| text(pull, "/number"))
}

fn release(body: &Value) -> Reading {
    let action = text(body, "/action").unwrap_or_default();
    if action != "published" {
        return ignored(format!(
            "only published releases make builds, this one was {}",
            crate::domain::names::printable(&action)
        ));
    }
    let tag = text(body, "/release/tag_name");
    Reading::Report(Box::new(Report {
        event: "release",
        repository: text(body, "/repository/full_name"),
        repository_url: text(body, "/repository/html_url"),
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
    let Some(tag) = reference.strip_prefix("refs/tags/") else {
        return ignored("pushes to branches make no builds; their workflows do");
    };
    if body.pointer("/deleted").and_then(Value::as_bool) == Some(true) {
        return ignored("the tag was deleted");
    }
    let commit = first(body, &["/head_commit/id", "/after"]);
    Reading::Report(Box::new(Report {
        event: "tag",
        repository: text(body, "/repository/full_name"),
        repository_url: text(body, "/repository/html_url"),
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
