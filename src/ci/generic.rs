//! Any other system that can post JSON with a password: the project's rules say where in the body each field is
//! (`coolops ci rules … --field branch=/build/ref`).

use serde_json::Value;

use super::proof::{self, Refusal};
use super::{Provider, Reading, Report, Request};

pub struct Generic;

impl Provider for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn proof(&self) -> &'static str {
        "a password that you choose, as Basic, Bearer or X-Coolops-Token"
    }

    fn events(&self) -> (&'static [&'static str], &'static [&'static str]) {
        (&["post"], &[])
    }

    fn verify(&self, request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
        proof::password(request, secret)
    }

    fn delivery(&self, request: &Request<'_>, _: &Value) -> Option<String> {
        ["idempotency-key", "x-request-id"].iter().find_map(|h| request.headers.get(h)).map(str::to_owned)
    }

    fn read(&self, _: &Request<'_>, _: &Value) -> Reading {
        Reading::Report(Box::new(Report { event: "post", attempt: 1, ..Report::default() }))
    }
}
