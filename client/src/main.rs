//! The small program for CI: it announces builds, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    coolops_client::command::main(option_env!("COOLOPS_COMMIT"))
}
