//! CircleCI: `workflow-completed`, in both shapes.
//!
//! Source: CircleCI docs, "Outbound webhooks", "Outbound webhooks reference". The shape under `pipeline.vcs` is for
//! GitHub OAuth and Bitbucket Cloud, the one under `pipeline.trigger_parameters` for GitLab, GitHub App and Data
//! Center. Every field of `vcs.commit`, the branch and the tag can be null, absent or empty.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Reference, Report, Request, first, ignored, no_event, still, text};

pub struct CircleCi;

const SIGNATURE: &str = "circleci-signature";
/// Where references are told.
const REFERENCES: &[&str] = &[
    "/pipeline/vcs/branch",
    "/pipeline/trigger_parameters/git/ref",
    "/pipeline/trigger_parameters/git/branch",
    "/pipeline/trigger_parameters/gitlab/ref",
    "/pipeline/trigger_parameters/gitlab/branch",
    "/pipeline/trigger_parameters/github_app/ref",
    "/pipeline/trigger_parameters/github_app/full_ref",
    "/pipeline/trigger_parameters/github_app/branch",
];
const WEB_URL: &str = "/pipeline/trigger_parameters/gitlab/web_url";
const REPO_URL: &str = "/pipeline/trigger_parameters/github_app/repo_url";

/// Whether the code may be a fork's. In the older shape both repositories are told. In the newer one a merge request of
/// GitLab says whether it is, pushes never are, and forks never start pipelines of the GitHub App; anything else isn't
/// known to be ours.
fn may_be_a_forks(body: &Value) -> bool {
    let by_reference = |place: &&str| {
        text(body, place)
            .is_some_and(|r| r.starts_with("pull/") || matches!(Reference::of(&r), Reference::PullRequest(_)))
    };
    if REFERENCES.iter().any(by_reference) {
        return true;
    }
    let Some(parameters) = body.pointer("/pipeline/trigger_parameters").filter(|p| p.is_object()) else {
        let of = |name: &str| {
            text(body, &format!("/pipeline/vcs/{name}_repository_url")).map(|u| super::repository(&u).to_lowercase())
        };
        return of("origin").is_none() || of("origin") != of("target");
    };
    if let Some(says) = text(parameters, "/gitlab/is_fork_merge_request") {
        return !says.eq_ignore_ascii_case("false");
    }
    let kind = |place: &str| text(parameters, place).unwrap_or_default();
    let is_push = ["/gitlab/type", "/circleci/event_type", "/github_app/type"]
        .iter()
        .any(|p| ["push", "tag_push"].contains(&kind(p).as_str()));
    let is_app = parameters.get("github_app").is_some_and(Value::is_object)
        || kind("/circleci/trigger_type") == "github_app"
        || text(body, "/pipeline/trigger/type").as_deref() == Some("github_app");
    !is_push && !is_app
}

impl Provider for CircleCi {
    fn name(&self) -> &'static str {
        "circleci"
    }

    fn proof(&self) -> &'static str {
        "the webhook's secret token; it signs each body"
    }

    fn headers(&self) -> &'static [&'static str] {
        &["circleci-event-type"]
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
        let kind = text(body, "/type")
            .or_else(|| request.headers.get("circleci-event-type").map(str::to_owned))
            .unwrap_or_default();
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
            text(body, &format!("/pipeline/vcs/{vcs}"))
                .or_else(|| new.iter().find_map(|n| text(body, &format!("{parameters}/{n}"))))
        };
        let subject =
            text(body, "/pipeline/vcs/commit/subject").map(|subject| match text(body, "/pipeline/vcs/commit/body") {
                Some(rest) => format!("{subject}\n\n{rest}"),
                None => subject,
            });
        let repository = text(body, "/project/slug").filter(|s| !s.starts_with("circleci/")).map(|slug| {
            // "github/org/repo" or "gh/org/repo".
            slug.split_once('/').map_or(slug.clone(), |(_, rest)| rest.to_owned())
        });
        let of_reference = || {
            let tag = |place: &&str| match Reference::of(&text(body, place)?) {
                Reference::Tag(tag) => Some(tag),
                _ => None,
            };
            REFERENCES.iter().find_map(tag)
        };
        let tag = either("tag", &["git/tag", "gitlab/tag", "github_app/tag"]).or_else(of_reference);
        Reading::Report(Box::new(Report {
            event: "workflow-completed",
            repository: repository.or_else(|| first(body, &[WEB_URL, REPO_URL]).map(|u| super::repository(&u))),
            repository_url: first(body, &[WEB_URL, REPO_URL, "/pipeline/vcs/target_repository_url"]),
            workflow: text(body, "/workflow/name"),
            branch: either("branch", &["git/branch", "gitlab/branch", "github_app/branch"]).filter(|_| tag.is_none()),
            commit: either(
                "revision",
                &[
                    "git/checkout_sha",
                    "gitlab/checkout_sha",
                    "gitlab/commit_sha",
                    "github_app/checkout_sha",
                    "github_app/commit_sha",
                ],
            ),
            message: subject.or_else(|| {
                either(
                    "-",
                    &[
                        "git/commit_message",
                        "gitlab/commit_message",
                        "github_app/commit_message",
                        "gitlab/commit_title",
                        "github_app/commit_title",
                    ],
                )
            }),
            author: either(
                "commit/author/name",
                &[
                    "git/commit_author_name",
                    "gitlab/commit_author_name",
                    "github_app/commit_author_name",
                    "gitlab/user_name",
                ],
            ),
            pull_request: None,
            number: text(body, "/pipeline/number"),
            // A re-run is another workflow of the same pipeline.
            run: text(body, "/workflow/id"),
            attempt: 1,
            url: text(body, "/workflow/url"),
            conclusion: Some(conclusion),
            from_fork: may_be_a_forks(body),
            tag,
            ..Report::default()
        }))
    }
}
