//! CircleCI: `workflow-completed`, in both shapes.
//!
//! Source: CircleCI docs, "Outbound webhooks", "Outbound webhooks reference". The shape under `pipeline.vcs` is for GitHub
//! OAuth and Bitbucket Cloud, the one under `pipeline.trigger_parameters` for GitLab, GitHub App and Data Center. Every
//! field of `vcs.commit`, the branch and the tag can be null, absent or empty.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request, first, ignored, no_event, still, text};

pub struct CircleCi;

const SIGNATURE: &str = "circleci-signature";
const WEB_URL: &str = "/pipeline/trigger_parameters/gitlab/web_url";
const REPO_URL: &str = "/pipeline/trigger_parameters/github_app/repo_url";

impl Provider for CircleCi {
    fn name(&self) -> &'static str {
        "circleci"
    }

    fn proof(&self) -> &'static str {
        "the webhook's secret token; it signs each body"
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["workflow-completed"], &[])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        let given = request.headers.get(SIGNATURE).ok_or(Refusal::Missing(SIGNATURE))?;
        let v1 = given.split(',').find_map(|s| s.trim().strip_prefix("v1=")).ok_or(Refusal::Malformed(SIGNATURE))?;
        proof::hex(SIGNATURE, secret.as_bytes(), &[request.body], v1)
    }

    fn delivery(&self, _: &Request<'_>, body: &Value) -> Option<String> {
        text(body, "/id")
    }

    fn read(&self, request: &Request<'_>, body: &Value) -> Reading {
        let kind = text(body, "/type").or_else(|| request.headers.get("circleci-event-type").map(str::to_owned)).unwrap_or_default();
        match kind.as_str() {
            "workflow-completed" => {}
            "ping" => return ignored("it is CircleCI's test: the webhook is set up"),
            other => return no_event(other, "Workflow Completed"),
        }
        let conclusion = match text(body, "/workflow/status").unwrap_or_default().as_str() {
            "" => return still(""),
            "canceled" => "cancelled".to_owned(),
            "failed" | "error" | "unauthorized" => "failure".to_owned(),
            other => other.to_owned(),
        };
        let parameters = "/pipeline/trigger_parameters";
        let either = |vcs: &str, new: &[&str]| {
            text(body, &format!("/pipeline/vcs/{vcs}")).or_else(|| new.iter().find_map(|n| text(body, &format!("{parameters}/{n}"))))
        };
        let subject = text(body, "/pipeline/vcs/commit/subject").map(|subject| match text(body, "/pipeline/vcs/commit/body") {
            Some(rest) => format!("{subject}\n\n{rest}"),
            None => subject,
        });
        let repository = text(body, "/project/slug").filter(|s| !s.starts_with("circleci/")).map(|slug| {
            // "github/org/repo" or "gh/org/repo".
            slug.split_once('/').map_or(slug.clone(), |(_, rest)| rest.to_owned())
        });
        let tag = either("tag", &["git/tag"]);
        Reading::Report(Box::new(Report {
            event: "workflow-completed",
            repository: repository.or_else(|| first(body, &[WEB_URL, REPO_URL]).map(|u| super::repository(&u))),
            workflow: text(body, "/workflow/name"),
            branch: either("branch", &["git/branch", "gitlab/branch", "github_app/branch"]).filter(|_| tag.is_none()),
            commit: either("revision", &["git/checkout_sha", "gitlab/checkout_sha", "github_app/checkout_sha"]),
            message: subject.or_else(|| {
                either("-", &["gitlab/commit_message", "github_app/commit_message", "gitlab/commit_title", "github_app/commit_title"])
            }),
            author: either("commit/author/name", &["gitlab/commit_author_name", "github_app/commit_author_name", "gitlab/user_name"]),
            pull_request: None,
            number: text(body, "/pipeline/number"),
            // A re-run is another workflow of the same pipeline.
            run: text(body, "/workflow/id"),
            attempt: 1,
            url: text(body, "/workflow/url"),
            conclusion: Some(conclusion),
            from_fork: {
                let origin = text(body, "/pipeline/vcs/origin_repository_url");
                origin.is_some() && origin != text(body, "/pipeline/vcs/target_repository_url")
            },
            tag,
        }))
    }
}
