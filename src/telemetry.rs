//! What the process tells of itself: its log, a line per event for people or as JSON; and, where it is asked to, its
//! spans (a request, an append, a job, a call to Slack or Docker) over OTLP.
//!
//! **Invariant:** other crates' logging is clamped to info whatever `RUST_LOG` says: some print every header and every
//! variable of a container at debug. Spans carry ids and names, never a value of a variable, an address' query or a
//! body.

use std::error::Error;
use std::io::IsTerminal;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, Response};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, OTEL_EXPORTER_OTLP_TIMEOUT, OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, SpanExporter, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, SdkProvidedResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// The variable that asks for spans, with the base address of a collector. Source: OpenTelemetry, "OTLP Exporter
/// Configuration"; its other variables (headers, timeout, the service's name) are read as it says.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// How long a collector is waited for where no variable says. Source: as above.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An error with all of its causes on one line, for logs and for notes beside a job.
pub fn causes(error: &dyn Error) -> String {
    let (mut told, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        // Some say their cause in their own words, and name it too.
        let words = error.to_string();
        if !told.ends_with(&words) {
            told.push_str(&format!(": {words}"));
        }
        cause = error.source();
    }
    told
}

/// What has to be finished before the process ends.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    /// Sends the last spans, for some seconds at most.
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            drop(provider.shutdown());
        }
    }
}

/// Starts logging to standard error; `spans` says whether this process has any to export.
#[expect(clippy::disallowed_methods, reason = "logging starts before the configuration is read")]
pub fn start(spans: bool) -> Telemetry {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let clamp = Targets::new().with_target("coolops", LevelFilter::TRACE).with_default(LevelFilter::INFO);
    let json = std::env::var("COOLOPS_LOG_FORMAT").is_ok_and(|f| f == "json");
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = if json {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
            .with_filter(clamp)
            .with_filter(filter)
            .boxed()
    } else {
        let plain = fmt::layer().with_ansi(colour).with_target(false).with_writer(std::io::stderr);
        plain.with_filter(clamp).with_filter(filter).boxed()
    };
    let asked = spans && std::env::var(ENDPOINT).is_ok_and(|endpoint| !endpoint.is_empty());
    let provider = if asked { exporting().map(Some) } else { Ok(None) };
    // Spans are at debug, so that the log does not repeat them before each line; where they aren't exported they cost
    // a look at a flag.
    let exported = provider.as_ref().ok().and_then(Option::as_ref).map(|provider| {
        // Lines of the log stay here: they may hold Docker's words.
        let ours = filter_fn(|about| about.is_span() && about.target().starts_with("coolops"));
        tracing_opentelemetry::layer().with_tracer(provider.tracer("coolops")).with_filter(ours)
    });
    // A second start in one process (tests) keeps the first.
    drop(tracing_subscriber::registry().with(log).with(exported).try_init());
    Telemetry(provider.unwrap_or_else(|e| {
        tracing::warn!(why = causes(&e), "spans can't be exported");
        None
    }))
}

#[expect(clippy::disallowed_methods, reason = "as OpenTelemetry says")]
fn exporting() -> Result<SdkTracerProvider, ExporterBuildError> {
    // Whoever accepts and says nothing must not hold the exporter for ever.
    let given = |name| std::env::var(name).ok()?.parse().ok().map(Duration::from_millis);
    let limit = given(OTEL_EXPORTER_OTLP_TRACES_TIMEOUT).or_else(|| given(OTEL_EXPORTER_OTLP_TIMEOUT));
    let agent = ureq::Agent::config_builder().timeout_global(Some(limit.unwrap_or(TIMEOUT))).build();
    let exporter = SpanExporter::builder().with_http().with_http_client(Collector(agent.into())).build()?;
    // What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say stands over our own name.
    let ours = KeyValue::new("service.name", "coolops");
    let resource = Resource::builder_empty().with_attribute(ours).with_detector(Box::new(EnvResourceDetector::new()));
    let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.with_detector(Box::new(SdkProvidedResourceDetector)),
        None => resource,
    };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// The way to the collector. It blocks, and is called on the exporter's own thread.
#[derive(Debug)]
struct Collector(ureq::Agent);

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut response = self.0.run(request.map(|body| body.to_vec()))?;
        let body = response.body_mut().read_to_vec()?;
        let (parts, _) = response.into_parts();
        Ok(Response::from_parts(parts, body.into()))
    }
}
