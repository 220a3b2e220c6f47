//! The binary: everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Here and not in the library, which would be compiled anew for each commit.
    coolops::main(option_env!("COOLOPS_COMMIT"))
}
