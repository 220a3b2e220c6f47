//! What each body is read as, and what the default rules make of it. The snapshots are what people would see.

use coolops::ci::{self, Headers, Reading, Request, redact, rules};

use super::{provider, samples, sign};
use crate::snapshot;

fn shown(name: &str) -> String {
    let mut text = String::new();
    for sample in samples(name) {
        let provider = provider(name);
        let bytes = sign::bytes(name, &sample.body);
        let headers = Headers(sample.headers.clone());
        let request = Request { headers: &headers, body: &bytes, now: super::now() };
        let mut body = ci::body(provider, &request).unwrap();
        redact::body(&mut body);
        text.push_str(&format!(
            "{}\n  delivery {}\n",
            sample.name,
            provider.delivery(&request, &body).unwrap_or_else(|| "by digest".into())
        ));
        let decided = match ci::read(provider, &request, &body) {
            Reading::Report(report) => rules::decide(provider, &super::rules(name), &report, &body),
            Reading::Ignored(why) => Err(why),
        };
        match decided {
            Ok(build) => {
                text.push_str(&format!("  build {}\n", build.name));
                let list = |entries: &[coolops::domain::build::Entry]| {
                    entries.iter().map(|e| format!("{}={:?}", e.name, e.value)).collect::<Vec<_>>().join(" ")
                };
                text.push_str(&format!(
                    "    params   {}\n    metadata {}\n",
                    list(&build.params),
                    list(&build.metadata)
                ));
                if let Some(source) = build.source {
                    let told = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
                    text.push_str(&format!("    source   {} {}\n", told(source.repository), told(source.commit)));
                }
            }
            Err(why) => text.push_str(&format!("  ignored, because {why}\n")),
        }
    }
    text
}

macro_rules! readings {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            snapshot!(concat!("ci_", stringify!($name)), shown(stringify!($name)));
        }
    )*};
}

readings! { github gitlab circleci buildkite bitbucket jenkins drone azure travis generic }

#[test]
fn every_provider_has_bodies_and_a_snapshot() {
    for provider in ci::PROVIDERS {
        assert!(!samples(provider.name()).is_empty(), "{} has no bodies", provider.name());
    }
}

#[test]
fn what_is_kept_of_a_delivery_reads_like_the_delivery() {
    for provider in ci::PROVIDERS {
        for sample in samples(provider.name()) {
            let bytes = sign::bytes(provider.name(), &sample.body);
            let sent = Headers(sample.headers.clone());
            let request = Request { headers: &sent, body: &bytes, now: super::now() };
            let mut body = ci::body(*provider, &request).unwrap();
            redact::body(&mut body);
            let kept = Headers(redact::headers(*provider, &sent));
            let again = Request { headers: &kept, body: &[], now: super::now() };
            assert_eq!(ci::read(*provider, &again, &body), ci::read(*provider, &request, &body), "{}", sample.name);
            assert_eq!(provider.delivery(&again, &body), provider.delivery(&request, &body), "{}", sample.name);
        }
    }
}
