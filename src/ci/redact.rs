//! Takes out of a delivery what may be a secret, before anything else looks at it: what is kept, what becomes a param and
//! what a replay reads are then the same, and no secret can reach an event.
//!
//! By field, not by guess: GitLab's pipeline variables (values in clear), Buildkite's `env`, Jenkins' parameters, Drone's
//! params, and whatever a field's name calls a token, password or key.

use serde_json::Value;

/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// Objects and lists whose values are what somebody typed into a CI system.
const HOLDERS: &[&str] = &["variables", "env", "parameters", "params", "secrets", "inputs"];
/// Ends of names of fields that hold a secret.
const SECRETS: &[&str] = &["token", "password", "passwd", "secret", "api_key", "apikey", "private_key", "credentials", "authorization"];
/// Headers with a proof of origin, and cookies.
const HEADERS: &[&str] = &["authorization", "proxy-authorization", "cookie", "signature"];

/// Redacts a body.
pub fn body(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.to_ascii_lowercase();
                if HOLDERS.contains(&name.as_str()) {
                    all_texts(value);
                } else if SECRETS.iter().any(|s| name.ends_with(s)) && (value.is_string() || value.is_number()) {
                    *value = REDACTED.into();
                } else {
                    body(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(body),
        _ => {}
    }
}

/// Redacts every value below; names and keys stay, so that people see what there was.
fn all_texts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                // GitLab: {"key": "NAME", "value": "…"}.
                if name != "key" && name != "name" {
                    all_texts(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(all_texts),
        Value::String(_) | Value::Number(_) => *value = REDACTED.into(),
        Value::Bool(_) | Value::Null => {}
    }
}

/// Whether a header's value is kept.
pub fn keeps_header(name: &str) -> bool {
    !(HEADERS.contains(&name) || name.ends_with("-token") || name.ends_with("signature") || name.ends_with("signature-256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_names_stay() {
        let mut delivery = serde_json::json!({
            "object_attributes": { "id": 31, "variables": [{ "key": "DEPLOY_PASSWORD", "value": "hunter2" }] },
            "build": { "env": { "AWS_KEY": "AKIA" }, "number": 4, "access_token": "x", "message": "token rotation" },
        });
        body(&mut delivery);
        assert_eq!(
            delivery,
            serde_json::json!({
                "object_attributes": { "id": 31, "variables": [{ "key": "DEPLOY_PASSWORD", "value": REDACTED }] },
                "build": { "env": { "AWS_KEY": REDACTED }, "number": 4, "access_token": REDACTED, "message": "token rotation" },
            })
        );
    }

    #[test]
    fn proofs_in_headers_are_not_kept() {
        for name in ["authorization", "x-gitlab-token", "x-hub-signature-256", "circleci-signature", "signature", "x-coolops-token"] {
            assert!(!keeps_header(name), "{name}");
        }
        assert!(keeps_header("x-github-delivery") && keeps_header("user-agent"));
    }
}
