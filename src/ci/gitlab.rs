//! GitLab: pipelines.
//!
//! Source: GitLab docs, "Webhooks", "Webhook events". `X-Gitlab-Token` is the secret itself; the newer signing token
//! (`whsec_…`, Standard Webhooks) signs id, time and body, and then nothing else is accepted. `Idempotency-Key` stays
//! the same over retries. `commit`, `merge_request` and `object_attributes.url` may be null or absent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request, first, no_event, person, still, text};

pub struct GitLab;

const SIGNATURE: &str = "webhook-signature";

/// The key of a signing token.
fn signing_key(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.trim().strip_prefix("whsec_")?).ok().filter(|key| key.len() >= 24)
}

impl Provider for GitLab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn proof(&self) -> &'static str {
        "the webhook's secret token, or its signing token whsec_…"
    }

    fn headers(&self) -> &'static [&'static str] {
        &["x-gitlab-event", "x-gitlab-event-uuid", "idempotency-key", "webhook-id"]
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["pipeline"], &["child_pipeline"])
    }

    fn check_secret(&self, secret: &str) -> Result<(), String> {
        if secret.starts_with("whsec_") && signing_key(secret).is_none() {
            return Err(
                "after whsec_ comes the key in base64, of 24 bytes and more; copy the whole signing token".to_owned()
            );
        }
        Ok(())
    }

    fn may_stand_beside(&self, current: &str, previous: &str) -> bool {
        signing_key(current).is_none() || signing_key(previous).is_some()
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        let Some(key) = signing_key(secret) else {
            let given = request.headers.get("x-gitlab-token").ok_or(Refusal::Missing("X-Gitlab-Token"))?;
            return proof::plain("X-Gitlab-Token", secret, given);
        };
        let header = |name: &'static str| request.headers.get(name).ok_or(Refusal::Missing(name));
        let (given, id, time) = (header(SIGNATURE)?, header("webhook-id")?, header("webhook-timestamp")?);
        proof::fresh(request.now, time.parse().map_err(|_| Refusal::Malformed("webhook-timestamp"))?)?;
        let pieces: [&[u8]; 5] = [id.as_bytes(), b".", time.as_bytes(), b".", request.body];
        // Several may be given while the token is being replaced; versions that aren't known are passed over.
        let mut refusal = Refusal::Malformed(SIGNATURE);
        for signature in given.split_ascii_whitespace().filter_map(|s| s.strip_prefix("v1,")) {
            match proof::base64(SIGNATURE, &key, &pieces, signature) {
                Ok(()) => return Ok(()),
                Err(e) => refusal = e,
            }
        }
        Err(refusal)
    }

    fn delivery(&self, request: &Request<'_>, _: &Value) -> Option<String> {
        ["idempotency-key", "webhook-id", "x-gitlab-event-uuid"]
            .iter()
            .find_map(|h| request.headers.get(h))
            .map(str::to_owned)
    }

    fn read(&self, request: &Request<'_>, body: &Value) -> Reading {
        let kind = request.headers.get("x-gitlab-event").unwrap_or_default();
        if kind != "Pipeline Hook" && text(body, "/object_kind").as_deref() != Some("pipeline") {
            return no_event(kind, "pipeline events");
        }
        let pipeline = |name: &str| text(body, &format!("/object_attributes/{name}"));
        let status = pipeline("status").unwrap_or_default();
        let conclusion = match status.as_str() {
            "success" => "success",
            "failed" => "failure",
            "canceled" => "cancelled",
            "skipped" => "skipped",
            // "manual" waits for a click and may be followed by success.
            other => return still(other),
        };
        let is_tag = body.pointer("/object_attributes/tag").and_then(Value::as_bool) == Some(true);
        let reference = pipeline("ref");
        let is_child = pipeline("source").as_deref() == Some("parent_pipeline");
        let project_url = text(body, "/project/web_url");
        let id = pipeline("id");
        let of_merge_request = pipeline("source")
            .is_some_and(|s| ["merge_request_event", "external_pull_request_event"].contains(&s.as_str()));
        let by_reference =
            reference.as_deref().is_some_and(|r| matches!(super::Reference::of(r), super::Reference::PullRequest(_)));
        // A child tells its parent's merge request.
        let is_merge_request =
            of_merge_request || by_reference || body.pointer("/merge_request").is_some_and(Value::is_object);
        let train = reference.clone().filter(|r| r.ends_with("/train"));
        let source = text(body, "/merge_request/source_project_id");
        Reading::Report(Box::new(Report {
            event: if is_child { "child_pipeline" } else { "pipeline" },
            repository: text(body, "/project/path_with_namespace"),
            repository_url: text(body, "/project/web_url"),
            workflow: pipeline("name").or_else(|| pipeline("source")),
            branch: if is_tag {
                None
            } else {
                train.or_else(|| text(body, "/merge_request/source_branch")).or(reference.clone())
            },
            tag: if is_tag { reference.clone().map(|r| r.trim_start_matches("refs/tags/").to_owned()) } else { None },
            commit: first(body, &["/object_attributes/sha", "/commit/id"]),
            message: first(body, &["/commit/message", "/commit/title"]),
            author: first(body, &["/commit/author/name", "/user/name", "/user/username"]).map(|a| person(&a)),
            pull_request: text(body, "/merge_request/iid"),
            pull_request_url: text(body, "/merge_request/url"),
            number: pipeline("iid").or_else(|| id.clone()),
            run: id.clone(),
            attempt: 1,
            url: pipeline("url").or_else(|| Some(format!("{}/-/pipelines/{}", project_url?, id?))),
            conclusion: Some(conclusion.to_owned()),
            // A merge train builds what is not merged yet. Most servers call it by the source branch, and nothing
            // tells.
            of_queue: reference.as_deref().is_some_and(|r| r.ends_with("/train")),
            from_fork: is_merge_request
                && (source.is_none()
                    || source != text(body, "/merge_request/target_project_id")
                    || text(body, "/project/id").is_some_and(|ours| source != Some(ours))),
            ..Report::default()
        }))
    }
}
