//! Takes out of a delivery what may be a secret, before anything else looks at it: what is kept, what becomes a param
//! and what a replay reads are then the same, and no secret can reach an event.
//!
//! By field, not by guess: GitLab's pipeline variables (values in clear), Buildkite's `env`, Jenkins' parameters,
//! Drone's params, and whatever a field's name calls a token, password or key.

use serde_json::Value;

use super::{Headers, Provider};

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// Objects and lists whose values are what somebody typed into a CI system.
const HOLDERS: &[&str] =
    &["variables", "env", "parameters", "templateparameters", "params", "secrets", "inputs", "config"];
/// What CI systems themselves set there, which is no secret and tells whose code it is: whether of a pull request, of which, and
/// of which repository.
const OURS_TO_READ: &[&str] = &[
    "BUILDKITE_PULL_REQUEST",
    "BUILDKITE_PULL_REQUEST_REPO",
    "CHANGE_ID",
    "CHANGE_FORK",
    "ghprbPullId",
    "gitlabMergeRequestIid",
];
/// Ends of names of fields that hold a secret, without `_` and `-`.
const SECRETS: &[&str] = &[
    "token",
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "secret",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "credentials",
    "authorization",
    "webhookurl",
];
/// Whole names of such fields: Jenkins' console output is one, because it may hold anything.
const SECRET_NAMES: &[&str] = &["log"];
/// Headers that are kept of every delivery. All others, but for the provider's own, may hold a proof.
const HEADERS: &[&str] = &["content-type", "user-agent", "date"];

/// Redacts a body.
pub fn body(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let mut room = [0; 32];
                let name = plain(name, &mut room);
                let is_secret = SECRETS.iter().any(|s| name.ends_with(s.as_bytes()))
                    || SECRET_NAMES.iter().any(|s| name == s.as_bytes());
                if is_secret || HOLDERS.iter().any(|h| name == h.as_bytes()) {
                    all_texts(value);
                } else {
                    body(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(body),
        Value::String(text) => without_user(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The end of a name in lower case and without `_` and `-`; a body has hundreds of names, so nothing is allocated.
fn plain<'a>(name: &str, room: &'a mut [u8; 32]) -> &'a [u8] {
    let mut from = room.len();
    for byte in name.bytes().rev().filter(|b| *b != b'_' && *b != b'-').take(room.len()) {
        from -= 1;
        room[from] = byte.to_ascii_lowercase();
    }
    &room[from..]
}

/// Takes user and password out of every address in a text (`https://ci:…@host/`); a token may stand alone there.
fn without_user(text: &mut String) {
    let is_end = |c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>') || c.is_whitespace();
    // Written anew beside the old text, and only when there is something to take out: each byte is looked at once.
    let (mut out, mut done, mut from) = (String::new(), 0, 0);
    while let Some(at) = text[from..].find("://") {
        let start = from + at + "://".len();
        let end = text[start..].find(is_end).map_or(text.len(), |n| start + n);
        // `ssh://git@…` names nobody.
        if let Some(user) = text[start..end].rfind('@').filter(|n| &text[start..start + n] != "git") {
            out.push_str(&text[done..start]);
            out.push_str(REDACTED);
            done = start + user;
        }
        // The end may be the stroke of the next one's "://".
        from = if end > start && text.as_bytes()[end - 1] == b':' { end - 1 } else { end };
    }
    if done > 0 {
        out.push_str(&text[done..]);
        *text = out;
    }
}

/// Redacts every value below; names and keys stay, so that people see what there was.
fn all_texts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // GitLab: {"key": "NAME", "value": "…"}.
            let is_pair = fields.contains_key("value");
            for (name, value) in fields {
                match value {
                    Value::String(text) if OURS_TO_READ.contains(&name.as_str()) => without_user(text),
                    _ if is_pair && (name == "key" || name == "name") => {}
                    _ => all_texts(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(all_texts),
        Value::String(_) | Value::Number(_) => *value = REDACTED.into(),
        Value::Bool(_) | Value::Null => {}
    }
}

/// The headers of a delivery that are kept.
pub fn headers(provider: &dyn Provider, headers: &Headers) -> Vec<(String, String)> {
    let kept = |name: &str| HEADERS.contains(&name) || provider.headers().contains(&name);
    headers.0.iter().filter(|(name, _)| kept(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_whose_code_it_is_stays() {
        let mut delivery = serde_json::json!({
            "build": {
                "env": { "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_PULL_REQUEST_REPO": "https://u:tok@git.example/a/b", "OTHER": "" },
                "parameters": { "ghprbPullId": "", "CHANGE_ID": ["x"] },
            },
        });
        body(&mut delivery);
        assert_eq!(
            delivery["build"],
            serde_json::json!({
                "env": { "BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_PULL_REQUEST_REPO": "https://[redacted]@git.example/a/b", "OTHER": REDACTED },
                "parameters": { "ghprbPullId": "", "CHANGE_ID": [REDACTED] },
            })
        );
    }

    #[test]
    fn values_go_and_names_stay() {
        let mut texts = serde_json::json!([
            "https://ghp_token@github.com/o/r",
            "see https://a.example/x, then https://u:p@b.example/ and https://t@c.example?d@e",
            "ssh://git@github.com/o/r and git@github.com:o/r",
            "://@ :// @",
        ]);
        body(&mut texts);
        assert_eq!(
            texts,
            serde_json::json!([
                "https://[redacted]@github.com/o/r",
                "see https://a.example/x, then https://[redacted]@b.example/ and https://[redacted]@c.example?d@e",
                "ssh://git@github.com/o/r and git@github.com:o/r",
                "://[redacted]@ :// @",
            ])
        );
        let mut held = serde_json::json!({ "credentials": { "value": "hunter2", "id": 4 }, "token": ["t"], "config": { "slack": "a:b" } });
        body(&mut held);
        assert_eq!(
            held,
            serde_json::json!({ "credentials": { "value": REDACTED, "id": REDACTED }, "token": [REDACTED], "config": { "slack": REDACTED } })
        );
        let mut delivery = serde_json::json!({
            "object_attributes": { "id": 31, "variables": [{ "key": "DEPLOY_PASSWORD", "value": "hunter2" }] },
            "build": { "env": { "AWS_KEY": "AKIA", "name": "s3cret" }, "scm": { "url": "https://u:tok@git.example/a/b" }, "log": "…", "number": 4, "access_token": "x", "message": "token rotation" },
        });
        body(&mut delivery);
        assert_eq!(
            delivery,
            serde_json::json!({
                "object_attributes": { "id": 31, "variables": [{ "key": "DEPLOY_PASSWORD", "value": REDACTED }] },
                "build": {
                    "env": { "AWS_KEY": REDACTED, "name": REDACTED }, "scm": { "url": "https://[redacted]@git.example/a/b" }, "log": REDACTED, "number": 4, "access_token": REDACTED, "message": "token rotation" },
            })
        );
    }

    /// What is quadratic in any body stands still for seconds at a megabyte; what is linear takes some milliseconds.
    #[test]
    fn a_hostile_body_costs_no_more_than_a_long_one() {
        for (text, clean) in [
            ("https://https://ci:tok@host/", "https://https://***@host/"),
            ("docker://https://u:p@h/x https://a:b@c", "docker://https://***@h/x https://***@c"),
        ] {
            let mut text = text.to_owned();
            without_user(&mut text);
            assert_eq!(text, clean.replace("***", REDACTED));
        }
        for unit in ["://@", "://@/", "://a:b@c", "@://", "://", ":/", "git@://git@"] {
            let long = unit.repeat(1_000_000 / unit.len());
            let time = |text: &str| {
                let mut value = Value::String(text.to_owned());
                let begun = std::time::Instant::now();
                body(&mut value);
                begun.elapsed()
            };
            let (whole, tenth) = (time(&long), time(&long[..long.len() / 10 / unit.len() * unit.len()]));
            assert!(
                whole < tenth * 40 + std::time::Duration::from_millis(50),
                "{unit}: {whole:?} for ten times what took {tenth:?}"
            );
        }
    }

    #[test]
    fn proofs_in_headers_are_not_kept() {
        let proofs = [
            "authorization",
            "x-gitlab-token",
            "x-hub-signature-256",
            "circleci-signature",
            "signature",
            "x-coolops-token",
        ];
        let sent: Vec<(String, String)> = proofs
            .iter()
            .chain(&["x-github-delivery", "user-agent"])
            .map(|name| ((*name).to_owned(), "value".to_owned()))
            .collect();
        for provider in crate::ci::PROVIDERS {
            let kept = headers(*provider, &Headers(sent.clone()));
            assert!(kept.iter().all(|(name, _)| !proofs.contains(&name.as_str())), "{}: {kept:?}", provider.name());
            assert!(kept.iter().any(|(name, _)| name == "user-agent"));
        }
    }
}
