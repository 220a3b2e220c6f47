//! Jenkins through its Notification plugin: the phase `FINALIZED`, or `COMPLETED` as an option.
//!
//! Source: jenkinsci/notification-plugin, README and source. It signs nothing; a password can stand in the address that
//! Jenkins is given (`https://coolops:…@host/ci/jenkins/api`), which it sends as `Authorization: Basic`. `build.scm`
//! may be absent, `build.full_url` too.

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request, first, repository, still, text};

pub struct Jenkins;

/// The number in `PR-7`, `PR-7-merge` or `MR-7`: how a multibranch job calls the job of a pull or merge request. Whose
/// code that is isn't told, so that it may be a fork's.
fn request_number(name: &str) -> Option<String> {
    let rest = name.strip_prefix("PR-").or_else(|| name.strip_prefix("MR-"))?;
    let number = rest.strip_suffix("-head").or_else(|| rest.strip_suffix("-merge")).unwrap_or(rest);
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then(|| number.to_owned())
}

impl Provider for Jenkins {
    fn name(&self) -> &'static str {
        "jenkins"
    }

    fn proof(&self) -> &'static str {
        "a password that you choose, as Basic, Bearer or X-Coolops-Token"
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["FINALIZED"], &["COMPLETED"])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        proof::password(request, secret)
    }

    fn delivery(&self, _: &Request<'_>, body: &Value) -> Option<String> {
        let url = first(body, &["/build/full_url", "/build/url", "/url", "/name"])?;
        Some(format!("{url} {} {}", text(body, "/build/number")?, text(body, "/build/phase")?))
    }

    fn read(&self, _: &Request<'_>, body: &Value) -> Reading {
        let phase = text(body, "/build/phase").unwrap_or_default();
        let event = match phase.as_str() {
            "FINALIZED" => "FINALIZED",
            "COMPLETED" => "COMPLETED",
            other => return still(other),
        };
        let conclusion = match text(body, "/build/status").unwrap_or_default().as_str() {
            "SUCCESS" => "success".to_owned(),
            "FAILURE" => "failure".to_owned(),
            "ABORTED" => "cancelled".to_owned(),
            "NOT_BUILT" => "skipped".to_owned(),
            "" => return still("no status"),
            other => other.to_lowercase(),
        };
        let branch = text(body, "/build/scm/branch");
        let names =
            [text(body, "/name"), text(body, "/url").map(|u| u.trim_end_matches('/').to_owned()), branch.clone()];
        let pull_request = names.iter().flatten().find_map(|name| request_number(name.rsplit('/').next()?));
        let is_told = ["ghprbPullId", "CHANGE_ID", "CHANGE_FORK", "gitlabMergeRequestIid"]
            .iter()
            .any(|name| text(body, &format!("/build/parameters/{name}")).is_some());
        Reading::Report(Box::new(Report {
            event,
            repository: text(body, "/build/scm/url").map(|u| repository(&u)),
            repository_url: text(body, "/build/scm/url"),
            workflow: first(body, &["/display_name", "/name"]),
            workflow_path: text(body, "/url")
                .map(|u| u.split('/').filter(|part| !part.is_empty() && *part != "job").collect::<Vec<_>>().join("/")),
            branch: branch.map(|branch| without_remote(&branch).to_owned()),
            commit: text(body, "/build/scm/commit"),
            message: text(body, "/build/notes"),
            author: text(body, "/build/scm/culprits/0"),
            number: text(body, "/build/number"),
            // A job that was made again counts from 1 again: its place in the queue tells one run from another.
            run: first(body, &["/build/full_url", "/build/url"]).map(|url| match text(body, "/build/queue_id") {
                Some(queued) => format!("{url} {queued}"),
                None => url,
            }),
            attempt: 1,
            url: text(body, "/build/full_url"),
            conclusion: Some(conclusion),
            from_fork: pull_request.is_some() || is_told,
            pull_request,
            ..Report::default()
        }))
    }
}

/// A branch as the git plugin writes it: `origin/main`, `refs/remotes/origin/main`, or by itself.
fn without_remote(branch: &str) -> &str {
    let of_remote = branch.strip_prefix("refs/remotes/").and_then(|rest| rest.split_once('/'));
    of_remote.map_or_else(|| branch.strip_prefix("origin/").unwrap_or(branch), |(_, branch)| branch)
}
