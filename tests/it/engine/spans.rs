//! Spans over OTLP, as a collector gets them: read by OpenTelemetry's own types.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

use crate::story::service::service_story;

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector {
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

/// A span as far as the story asks.
#[derive(Debug, Clone)]
struct Span {
    name: String,
    id: Vec<u8>,
    parent: Vec<u8>,
    told: HashMap<String, String>,
}

impl Span {
    fn says(&self, name: &str) -> &str {
        self.told.get(name).map_or("", String::as_str)
    }
}

impl Collector {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let kept = self.clone();
        let take = async move |body: Bytes| {
            kept.bodies.lock().unwrap().push(body);
            StatusCode::OK
        };
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.bodies.lock().unwrap().clone();
        let requests = requests.into_iter().map(|body| ExportTraceServiceRequest::decode(body).unwrap());
        let text = |value: Option<Value>| match value {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        let mut spans = Vec::new();
        for resource in requests.flat_map(|r| r.resource_spans) {
            let named = resource.resource.unwrap().attributes;
            assert!(named.iter().any(|a| a.key == "service.name" && text(a.value.clone().unwrap().value) == "coolops"));
            for span in resource.scope_spans.into_iter().flat_map(|s| s.spans) {
                let told = span.attributes.into_iter().map(|a| (a.key, text(a.value.and_then(|v| v.value)))).collect();
                spans.push(Span { name: span.name, id: span.span_id, parent: span.parent_span_id, told });
            }
        }
        spans
    }
}

#[test]
fn a_collector_is_told_of_requests_appends_jobs_and_calls_with_their_ids_and_of_no_secret() {
    service_story("echo hello", "info", async |s| {
        let collector = Collector::default();
        s.cli_with(&["environment", "set", "api", "Staging", "--secret", "PASSWORD"], "correct-horse-battery");
        s.stop("-TERM");
        s.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.start().await);
        s.start().await;
        s.cli(&["build:new", "master-1", "-p", "DOCKER_TAG=4711-the-param"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let page = s.log_url();
        assert!(ureq::get(&page).call().is_ok());
        // What was not sent by then is sent before the process ends.
        s.stop("-TERM");
        let spans = collector.spans();
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        let [build, deployment] = ["build_id", "deployment_id"].map(|id| list[0]["of"][id].as_str().unwrap());
        let find = |name: &str, told: &[(&str, &str)]| -> Span {
            let fits = |span: &&Span| span.name == name && told.iter().all(|(key, value)| span.says(key) == *value);
            spans.iter().find(fits).cloned().unwrap_or_else(|| panic!("no span {name} {told:?} in {spans:#?}"))
        };
        let announced = find("request", &[("http.route", "/builds"), ("http.response.status_code", "201")]);
        assert_eq!(announced.says("build.id"), build);
        let appended = find("append", &[("event.type", "build_registered"), ("build.id", build)]);
        assert!(appended.says("event.position").parse::<i64>().unwrap() > 0);
        assert_eq!(appended.parent, announced.id, "the append belongs to the request");
        let synced = find("job", &[("job.kind", "sync_message"), ("build.id", build)]);
        assert!(
            spans.iter().any(|span| span.says("slack.method") == "chat.postMessage" && span.parent != Vec::<u8>::new()),
            "{spans:#?}"
        );
        assert_ne!(synced.id, announced.id);
        let pressed = find("request", &[("http.route", "/slack/interactions"), ("deployment.id", deployment)]);
        assert_eq!(pressed.says("http.response.status_code"), "200");
        let run = find("job", &[("job.kind", "run_deployment"), ("deployment.id", deployment)]);
        let made = find("docker create", &[("deployment.id", deployment)]);
        assert_eq!(made.parent, run.id, "the container is made by the job");
        find("append", &[("event.type", "deployment_succeeded"), ("deployment.id", deployment), ("build.id", build)]);
        find("request", &[("http.route", "/deployments/{id}"), ("deployment.id", deployment)]);
        let key = page.split("key=").nth(1).unwrap().to_owned();
        let sent: Vec<u8> = collector.bodies.lock().unwrap().concat();
        let token = s.token.clone();
        for secret in ["correct-horse-battery", "4711-the-param", key.as_str(), token.as_str(), "xoxb-"] {
            assert!(!sent.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} was sent to the collector");
        }
        s.start().await;
    });
}

#[test]
fn a_collector_that_is_not_there_harms_nobody_and_a_wrong_address_is_refused() {
    service_story("echo hello", "info", async |s| {
        s.stop("-TERM");
        // One refuses, another one accepts and says nothing.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = (format!("http://{}", silent.local_addr().unwrap()), silent);
        for (n, address) in ["http://127.0.0.1:9", &silent.0].into_iter().enumerate() {
            s.set("OTEL_EXPORTER_OTLP_ENDPOINT", address);
            s.set("OTEL_EXPORTER_OTLP_TIMEOUT", "500");
            s.start().await;
            let build = format!("master-{n}");
            s.cli(&["build:new", &build]);
            s.shows(&format!("# Api: {build}")).await;
            s.presses("ana", &build, "Staging").await;
            s.shows_times("*succeeded*", n + 1).await;
            let began = std::time::Instant::now();
            s.stop("-TERM");
            assert!(began.elapsed() < std::time::Duration::from_secs(8), "it ends in {:?}", began.elapsed());
        }
        s.set("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318");
        let (code, said) = s.cli_fails(&["serve"], "");
        assert!(code == 2 && said.contains("OTEL_EXPORTER_OTLP_ENDPOINT is not"), "{said}");
        s.unset("OTEL_EXPORTER_OTLP_ENDPOINT");
        s.start().await;
    });
}
