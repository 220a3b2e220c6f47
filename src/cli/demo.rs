//! `coolops demo`: the lab's program, which stands beside this one. What is for trying is not in what runs in production.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, anyhow};

/// Becomes the lab's program; comes back only where that isn't possible, and says what to do.
pub fn run(arguments: &[OsString]) -> anyhow::Error {
    let lab = match std::env::current_exe().context("this program's own file can't be found") {
        Ok(own) => own.with_file_name("coolops-lab"),
        Err(e) => return e,
    };
    let failed = Command::new(&lab).arg("demo").args(arguments).exec();
    match failed.kind() {
        ErrorKind::NotFound => anyhow!(
            "the demo is a program of its own, and {} is not there; ./just demo in a checkout of coolops builds both",
            lab.display()
        ),
        _ => anyhow::Error::from(failed).context(format!("{} can't be run", lab.display())),
    }
}
