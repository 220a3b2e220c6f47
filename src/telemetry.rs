//! The process's own log: one line per event, for people or as JSON.
//!
//! **Invariant:** other crates' logging is clamped to info whatever `RUST_LOG` says: some print every header and every
//! variable of a container at debug.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// An error with all of its causes on one line, for logs and for notes beside a job.
pub fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// Starts logging to standard error.
#[expect(clippy::disallowed_methods, reason = "logging starts before the configuration is read")]
pub fn start() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    let clamp = Targets::new().with_target("coolops", LevelFilter::TRACE).with_default(LevelFilter::INFO);
    let json = std::env::var("COOLOPS_LOG_FORMAT").is_ok_and(|f| f == "json");
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let registry = tracing_subscriber::registry().with(filter);
    let done = if json {
        registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_filter(clamp))
            .try_init()
    } else {
        registry
            .with(fmt::layer().with_ansi(colour).with_target(false).with_writer(std::io::stderr).with_filter(clamp))
            .try_init()
    };
    // A second start in one process (tests) keeps the first.
    drop(done);
}
