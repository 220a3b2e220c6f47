//! The binary: reads the command line and leaves the rest to [`coolops::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    coolops::cli::main()
}
