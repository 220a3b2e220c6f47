//! The commands of CI, and how their arguments are read.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use super::announce::{self, Args, NamedArgs};

/// What `--version` says: the version, and the commit if the build was told of one.
pub fn version(commit: Option<&str>) -> String {
    let commit = commit.filter(|c| !c.is_empty()).unwrap_or("unknown commit");
    format!("{} ({commit})", env!("CARGO_PKG_VERSION"))
}

/// The commands of CI.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Announce a build: it gets a message with deploy buttons in its Slack channel
    #[command(name = "build:new")]
    New(NamedArgs),
    /// Announce a build from whatever CI system this is
    #[command(name = "build:new:auto")]
    Auto(Args),
    /// Announce a build from Azure Pipelines
    #[command(name = "build:new:azure")]
    Azure(Args),
    /// Announce a build from Bitbucket Pipelines
    #[command(name = "build:new:bitbucket")]
    Bitbucket(Args),
    /// Announce a build from Buildkite
    #[command(name = "build:new:buildkite")]
    Buildkite(Args),
    /// Announce a build from CircleCI
    #[command(name = "build:new:circleci")]
    CircleCi(Args),
    /// Announce a build from Drone
    #[command(name = "build:new:drone")]
    Drone(Args),
    /// Announce a build from GitHub Actions
    #[command(name = "build:new:github")]
    GitHub(Args),
    /// Announce a build from GitLab CI
    #[command(name = "build:new:gitlab")]
    GitLab(Args),
    /// Announce a build from Jenkins
    #[command(name = "build:new:jenkins")]
    Jenkins(Args),
    /// Announce a build from Travis CI
    #[command(name = "build:new:travis")]
    Travis(Args),
    /// Announce a build from Woodpecker
    #[command(name = "build:new:woodpecker")]
    Woodpecker(Args),
    /// Print these commands as a POSIX script, for machines that there is no program for
    #[command(name = "portable", hide = true)]
    Portable,
}

/// Announce builds to coolops from CI.
#[derive(Debug, Parser)]
#[command(name = "coolops", max_term_width = 100)]
struct Client {
    #[command(subcommand)]
    command: Command,
}

/// Parses the process's arguments and runs: the whole of the small program.
pub fn main(commit: Option<&str>) -> ExitCode {
    run(&parsed::<Client>(commit, " (this small program only announces builds)").command)
}

/// Parses the process's arguments; a mistake ends the process with code 2. `bounds` is added where a command isn't
/// known.
pub fn parsed<P: Parser>(commit: Option<&str>, bounds: &str) -> P {
    let matches = P::command().version(version(commit)).try_get_matches_from(arguments(std::env::args_os()));
    matches.and_then(|mut matches| P::from_arg_matches_mut(&mut matches)).unwrap_or_else(|e| {
        // As the original said it; of a command's own commands clap knows the one that was meant.
        if e.kind() == ErrorKind::InvalidSubcommand
            && let Some(ContextValue::String(given)) = e.get(ContextKind::InvalidSubcommand)
            && std::env::args_os().nth(1).is_some_and(|first| first.to_str() == Some(given))
        {
            let _ = writeln!(
                std::io::stderr(),
                "coolops: '{given}' is not a coolops command{bounds}. See 'coolops --help'."
            );
            std::process::exit(2);
        }
        e.exit()
    })
}

/// The arguments as the original took them: its long flags may have one dash (`-param K=V`, `-name=x`), which otherwise
/// would read as a short flag with a value; and `-v` is the version.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = given.collect();
    if all.get(1).is_some_and(|a| a == "-v") {
        all[1] = "--version".into();
    }
    if !all.get(1).and_then(|c| c.to_str()).is_some_and(|c| c.starts_with("build:new")) {
        return all;
    }
    for argument in &mut all {
        let Some(text) = argument.to_str() else { continue };
        let name = text.split('=').next().unwrap_or_default();
        if ["-name", "-metadata", "-param", "-token"].contains(&name) {
            *argument = format!("-{text}").into();
        }
    }
    all
}

/// Runs a command.
pub fn run(command: &Command) -> ExitCode {
    let (preset, args) = match command {
        Command::New(args) => return announce::run_named(args),
        Command::Portable => {
            let _ = write!(std::io::stdout(), "{}", crate::portable::script());
            return ExitCode::SUCCESS;
        }
        Command::Auto(args) => (None, args),
        Command::Azure(args) => (Some("azure"), args),
        Command::Bitbucket(args) => (Some("bitbucket"), args),
        Command::Buildkite(args) => (Some("buildkite"), args),
        Command::CircleCi(args) => (Some("circleci"), args),
        Command::Drone(args) => (Some("drone"), args),
        Command::GitHub(args) => (Some("github"), args),
        Command::GitLab(args) => (Some("gitlab"), args),
        Command::Jenkins(args) => (Some("jenkins"), args),
        Command::Travis(args) => (Some("travis"), args),
        Command::Woodpecker(args) => (Some("woodpecker"), args),
    };
    announce::run_preset(preset, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_flags_of_the_original_may_have_one_dash() {
        let read = |text: &str| -> Vec<String> {
            arguments(text.split(' ').map(OsString::from)).into_iter().map(|a| a.into_string().unwrap()).collect()
        };
        assert_eq!(
            read("coolops build:new -param=A=1 -token x -p B=2 --name y name"),
            ["coolops", "build:new", "--param=A=1", "--token", "x", "-p", "B=2", "--name", "y", "name"]
        );
        assert_eq!(read("coolops -v"), ["coolops", "--version"]);
        assert_eq!(read("coolops project -name"), ["coolops", "project", "-name"]);
    }
}
