//! Why a deployment failed, or why nobody can tell how it ended.
//!
//! **Invariant:** both stand in events as they are here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a deployment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The script ended with another exit code than 0.
    Exit {
        /// The code.
        code: i64,
    },
    /// The container was killed because it used more memory than it may.
    OutOfMemory,
    /// The container was killed, and not by coolops: by a restart of the engine, or by somebody.
    Killed {
        /// Whether the engine went away while it ran.
        engine_restarted: bool,
    },
    /// The engine's disk is full.
    EngineFull,
    /// The registry knows no such image or tag.
    ImageMissing,
    /// The registry wants other credentials.
    RegistryRefused {
        /// The registry's host.
        registry: String,
    },
    /// The registry could not say whether the tag of the image at hand has moved.
    ImageUnchecked {
        /// The registry's, or Docker's, words.
        detail: String,
    },
    /// The image does not exist, or needs a login that was not set: registries don't tell which.
    ImageMissingOrPrivate {
        /// The registry's host.
        registry: String,
    },
    /// The image could not be fetched.
    PullFailed {
        /// Docker's words.
        detail: String,
    },
    /// Docker would not make or start the container.
    NotStarted {
        /// Docker's words.
        detail: String,
    },
    /// A secret that the environment names can't be read.
    SecretUnreadable {
        /// Its name.
        name: String,
    },
}

impl Failure {
    /// The exit code that goes with it, where there was one.
    pub fn exit_code(&self) -> Option<i64> {
        match self {
            Self::Exit { code } => Some(*code),
            // How it took the signal isn't known when the engine ended it.
            Self::Killed { engine_restarted: true } => None,
            Self::Killed { engine_restarted: false } | Self::OutOfMemory => Some(137),
            Self::EngineFull
            | Self::ImageMissing
            | Self::RegistryRefused { .. }
            | Self::ImageUnchecked { .. }
            | Self::ImageMissingOrPrivate { .. }
            | Self::PullFailed { .. }
            | Self::NotStarted { .. }
            | Self::SecretUnreadable { .. } => None,
        }
    }

    /// This failure with Docker's words, where there are any, as `change` gives them back.
    #[must_use]
    pub fn with_detail(self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::PullFailed { detail } => Self::PullFailed { detail: change(&detail) },
            Self::ImageUnchecked { detail } => Self::ImageUnchecked { detail: change(&detail) },
            Self::NotStarted { detail } => Self::NotStarted { detail: change(&detail) },
            other => other,
        }
    }

    /// The reason as it stands in messages and lists; fits after "failed: ".
    pub fn sentence(&self, image: &str) -> String {
        match self {
            Self::Exit { code } => format!("exit code {code}"),
            Self::OutOfMemory => "out of memory".to_owned(),
            Self::Killed { engine_restarted: true } => "Docker was restarted while it ran, and ended it".to_owned(),
            Self::Killed { engine_restarted: false } => "it was killed from outside (exit code 137)".to_owned(),
            Self::EngineFull => "the disk of the Docker host is full".to_owned(),
            Self::ImageMissing => format!("the image {image} does not exist"),
            Self::RegistryRefused { registry } => {
                format!("the registry {registry} refused our credentials (coolops project registry set)")
            }
            Self::ImageUnchecked { detail } => format!(
                "the registry could not be asked whether {image} is the newest image: {detail} (coolops project set --unchecked-image)"
            ),
            Self::ImageMissingOrPrivate { registry } => {
                format!(
                    "the image {image} does not exist, or {registry} wants a login for it (coolops project registry set)"
                )
            }
            Self::PullFailed { detail } => format!("the image could not be pulled: {detail}"),
            Self::NotStarted { detail } => format!("the container could not be started: {detail}"),
            Self::SecretUnreadable { name } => {
                format!("the secret {name} can't be decrypted (is COOLOPS_MASTER_KEY the right one?)")
            }
        }
    }
}

/// Why it can't be known how a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Its container is not on its engine any more.
    ContainerRemoved,
    /// A container of its name is there that coolops did not make.
    ForeignContainer,
    /// Its container is on an engine that no worker has seen for long.
    EngineGone,
    /// The log does not know its project.
    ProjectMissing,
    /// The log does not know its build.
    BuildMissing,
    /// It had not ended where this log parts from another history of it, and may be over in that one.
    OtherHistory,
}

impl Loss {
    /// What was found, as it stands in messages and lists; fits after "unknown: ".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::ContainerRemoved => "its container was removed while it ran",
            Self::ForeignContainer => "a container of its name is there that coolops did not make; it was left alone",
            Self::EngineGone => "its container is on a Docker Engine that nobody has seen for 10 minutes",
            Self::ProjectMissing => "its project is not in the log",
            Self::BuildMissing => "its build is not in the log",
            Self::OtherHistory => "what became of it was lost when a backup was restored",
        }
    }
}
