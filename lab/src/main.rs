//! The lab's program: `coolops demo` becomes it, and tests run beside its services.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coolops_lab::{demo, with_services};

/// Try coolops and test it, beside private services.
#[derive(Debug, Parser)]
#[command(name = "coolops-lab", version, max_term_width = 100)]
struct Lab {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything on this machine, with a stand-in for Slack
    #[command(bin_name = "coolops demo")]
    Demo(demo::Args),
    /// Run a command beside private services
    WithServices(with_services::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let ran = match Lab::parse().command {
        Command::Demo(args) => demo::run(args).await,
        Command::WithServices(args) => with_services::run(args).await,
    };
    ran.unwrap_or_else(|error| {
        // Nothing is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "coolops: {error:#}");
        ExitCode::from(1)
    })
}
