//! Azure DevOps: `build.complete`, in both versions of the resource.
//!
//! Source: learn.microsoft.com, "Service hooks events", and the Build REST object for version 2.0 (no body of it is
//! published). It signs nothing; a Basic password or a header can be set. With "resource details to send: minimal"
//! there are ids only.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request, first, ignored, no_event, still, text};

pub struct Azure;

impl Provider for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn proof(&self) -> &'static str {
        "a password that you choose, as Basic or X-Coolops-Token"
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["build.complete"], &[])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        proof::password(request, secret)
    }

    fn delivery(&self, _: &Request<'_>, body: &Value) -> Option<String> {
        Some(format!("{} {}", text(body, "/id")?, text(body, "/subscriptionId").unwrap_or_default()))
    }

    fn read(&self, _: &Request<'_>, body: &Value) -> Reading {
        let event = text(body, "/eventType").unwrap_or_default();
        if event != "build.complete" {
            return no_event(&event, "Build completed");
        }
        let resource = |name: &str| text(body, &format!("/resource/{name}"));
        // 2.0 has the result apart from the status, 1.0 has it as the status.
        let Some(result) = resource("result").or_else(|| resource("status")) else {
            return ignored("it has no details; set \"Resource details to send\" to All in the service hook");
        };
        let conclusion = match result.as_str() {
            "succeeded" => "success",
            "partiallySucceeded" => "unstable",
            "failed" => "failure",
            "canceled" | "stopped" => "cancelled",
            other => return still(other),
        };
        // 1.0: "LG:refs/heads/master:600c52d…".
        let version = resource("sourceGetVersion");
        let old = version.as_deref().and_then(|v| v.strip_prefix("LG:")?.rsplit_once(':'));
        let reference =
            resource("sourceBranch").or_else(|| old.map(|(reference, _)| reference.to_owned())).unwrap_or_default();
        let pull_request = reference.strip_prefix("refs/pull/").and_then(|r| r.split('/').next()).map(str::to_owned);
        let told = body.pointer("/resource/triggerInfo").and_then(Value::as_object);
        let is_pull_request = pull_request.is_some()
            || resource("reason").is_some_and(|r| r.eq_ignore_ascii_case("pullRequest"))
            || told.is_some_and(|t| ["pr.number", "pr.id", "pr.isFork"].iter().any(|name| t.contains_key(*name)));
        let tag = reference.strip_prefix("refs/tags/").map(str::to_owned);
        let own_branch = resource("triggerInfo/pr.sourceBranch");
        let in_message =
            || text(body, "/message/markdown").and_then(|m| m.split_once("](")?.1.split(')').next().map(str::to_owned));
        Reading::Report(Box::new(Report {
            event: "build.complete",
            repository: first(body, &["/resource/repository/name", "/resource/repository/id"]),
            repository_url: text(body, "/resource/repository/url"),
            workflow: resource("definition/name"),
            branch: own_branch.or_else(|| {
                (pull_request.is_none() && tag.is_none()).then(|| reference.clone()).filter(|r| !r.is_empty())
            }),
            // A pull request is built as its merge into the target, which no repository keeps.
            commit: resource("triggerInfo/pr.sourceSha")
                .or_else(|| resource("sourceVersion"))
                .or_else(|| old.map(|(_, commit)| commit.to_owned())),
            message: resource("triggerInfo/ci.message"),
            author: first(
                body,
                &["/resource/requestedFor/displayName", "/resource/requests/0/requestedFor/displayName"],
            ),
            pull_request: resource("triggerInfo/pr.number").or(pull_request),
            number: first(body, &["/resource/buildNumber", "/resource/id"]),
            run: resource("id"),
            attempt: 1,
            url: resource("_links/web/href").or_else(in_message),
            conclusion: Some(conclusion.to_owned()),
            // What isn't told to be ours may be a fork's.
            from_fork: is_pull_request
                && !resource("triggerInfo/pr.isFork").is_some_and(|f| f.eq_ignore_ascii_case("false")),
            tag,
            ..Report::default()
        }))
    }
}
