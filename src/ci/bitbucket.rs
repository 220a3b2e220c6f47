//! Bitbucket Cloud: commit statuses of the type `build`. Pipelines have no hook of their own.
//!
//! Source: support.atlassian.com, "Event payloads", "Manage webhooks". The signature is SHA-256 although the header has
//! the name of GitHub's SHA-1 one. Any tool can post a commit status: those of Pipelines are the event `pipeline`, all
//! others `commit_status`. Old bodies have no `refname` and no `commit`.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request, first, ignored, no_event, person, still, text};

pub struct Bitbucket;

const SIGNATURE: &str = "X-Hub-Signature";

impl Provider for Bitbucket {
    fn name(&self) -> &'static str {
        "bitbucket"
    }

    fn proof(&self) -> &'static str {
        "the webhook's secret; it signs each body"
    }

    fn headers(&self) -> &'static [&'static str] {
        &["x-event-key", "x-request-uuid", "x-attempt-number"]
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["pipeline"], &["commit_status"])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        proof::sha256_of_body(request, "x-hub-signature", SIGNATURE, secret)
    }

    fn delivery(&self, request: &Request<'_>, _: &Value) -> Option<String> {
        request.headers.get("x-request-uuid").map(str::to_owned)
    }

    fn read(&self, request: &Request<'_>, body: &Value) -> Reading {
        let key = request.headers.get("x-event-key").unwrap_or_default();
        if !["repo:commit_status_created", "repo:commit_status_updated"].contains(&key) {
            return no_event(key, "Build status created and updated");
        }
        let status = |name: &str| text(body, &format!("/commit_status/{name}"));
        if status("type").is_some_and(|t| t != "build") {
            return ignored("the commit status is not of the type build");
        }
        let conclusion = match status("state").unwrap_or_default().as_str() {
            "SUCCESSFUL" => "success",
            "FAILED" => "failure",
            "STOPPED" => "cancelled",
            other => return still(other),
        };
        let name = status("name").unwrap_or_default();
        let (workflow, number) = match name.split_once('#') {
            Some((before, after)) => {
                (before.trim().to_owned(), after.chars().take_while(char::is_ascii_digit).collect::<String>())
            }
            None => (name.clone(), String::new()),
        };
        let url = status("url");
        // A whole word of digits at the end: those of a commit's hash are no number.
        let from_url = || {
            let last = url.as_deref()?.rsplit(['/', '#', '=', '-', '_']).next()?;
            Some(last.to_owned()).filter(|l| l.bytes().all(|b| b.is_ascii_digit()))
        };
        let number = Some(number).filter(|n| !n.is_empty()).or_else(from_url).filter(|n| !n.is_empty());
        let from_link = || status("links/commit/href").and_then(|l| l.rsplit('/').next().map(str::to_owned));
        let commit = status("commit/hash").or_else(from_link);
        Reading::Report(Box::new(Report {
            // Any tool can post a status; Pipelines' own are named "Pipeline #4 for main".
            event: if name.starts_with("Pipeline #") { "pipeline" } else { "commit_status" },
            repository: text(body, "/repository/full_name"),
            // Only Bitbucket Cloud sends these.
            repository_url: text(body, "/repository/links/html/href")
                .or_else(|| Some(format!("https://bitbucket.org/{}", text(body, "/repository/full_name")?))),
            workflow: Some(workflow).filter(|w| !w.is_empty()).or_else(|| status("key")),
            branch: status("refname"),
            tag: None,
            message: status("commit/message"),
            author: first(
                body,
                &[
                    "/commit_status/commit/author/user/display_name",
                    "/commit_status/commit/author/raw",
                    "/actor/display_name",
                ],
            )
            .map(|a| person(&a)),
            pull_request: None,
            number,
            // Some tools give all their runs one key.
            run: status("key").map(|key| format!("{key} {}", commit.as_deref().unwrap_or_default())),
            commit,
            attempt: 1,
            conclusion: Some(conclusion.to_owned()),
            from_fork: false,
            url,
            ..Report::default()
        }))
    }
}
