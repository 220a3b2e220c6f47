//! What CI runs: `build:new` and its presets. It needs no runtime and no database, and is all there is in the small program
//! that is built without the feature `server`.

pub mod announce;
pub mod presets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use announce::{Args, NamedArgs};

/// The version and commit of this program.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("COOLOPS_COMMIT"), ")");

/// The commands of CI.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Announce a build: its Slack channel gets one message with a deploy button per environment
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
}

/// Announce builds to coolops from CI.
#[derive(Debug, Parser)]
#[command(name = "coolops", version = VERSION, propagate_version = true, max_term_width = 100)]
struct Client {
    #[command(subcommand)]
    command: Command,
}

/// Parses the process's arguments and runs: the whole of the small program.
pub fn main() -> ExitCode {
    run(&Client::parse().command)
}

/// Runs a command.
pub fn run(command: &Command) -> ExitCode {
    let (preset, args) = match command {
        Command::New(args) => return announce::run_named(args),
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
