//! Every variable of the service, what it is for, and which role needs it.
//!
//! **Invariant:** nothing is read that is not listed here.

use crate::telemetry;

/// A role of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `web` and `worker` in one process.
    Serve,
    /// HTTP and Slack.
    Web,
    /// Docker.
    Worker,
    /// The database's tables.
    Migrate,
    /// The command line against the database.
    Operate,
}

impl Role {
    /// All roles, in the order of the reference table.
    pub const ALL: [Self; 5] = [Self::Serve, Self::Web, Self::Worker, Self::Migrate, Self::Operate];

    /// Its name in the reference table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Migrate => "migrate",
            Self::Operate => "project, environment, ci, deployment, replay, audit",
        }
    }
}

/// What a role does with a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It must be set.
    Required,
    /// It may be set.
    Optional,
    /// It is not read.
    Ignored,
}

/// A variable.
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is for, and how it is written.
    pub help: &'static str,
    /// Its value when it isn't set.
    pub default: Option<&'static str>,
    /// What each role does with it, in the order of [`Role::ALL`].
    pub uses: [Use; 5],
}

use Use::{Ignored as I, Optional as O, Required as R};

/// Every variable of the service.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "DATABASE_URL",
        help: "Postgres, such as postgres://coolops@localhost/coolops; with ?sslmode=verify-full over a network",
        default: None,
        uses: [R, R, R, R, R],
    },
    Variable {
        name: "COOLOPS_MIGRATE_DATABASE_URL",
        help: "Postgres as the owner of the tables; DATABASE_URL where it isn't set",
        default: None,
        uses: [I, I, I, O, I],
    },
    Variable {
        name: "REDIS_URL",
        help: "Redis, such as redis://localhost or redis+unix:///run/redis.sock; it holds nothing that is not in Postgres",
        default: Some("redis://127.0.0.1:6379"),
        uses: [O, O, O, I, I],
    },
    Variable {
        name: "DOCKER_HOST",
        help: "Docker Engine: unix:///path, or tcp://host:port, which is not encrypted: keep it on a private network",
        default: Some("unix:///var/run/docker.sock"),
        uses: [O, I, O, I, O],
    },
    Variable {
        name: "COOLOPS_LISTEN",
        help: "address of the web server; 0.0.0.0:3000 for all interfaces",
        default: Some("127.0.0.1:3000"),
        uses: [O, O, I, I, I],
    },
    Variable {
        name: "COOLOPS_CLIENT_DIR",
        help: "folder with the program for CI that is handed out (what ./just client makes); the folder client beside the program where it isn't set",
        default: None,
        uses: [O, O, I, I, I],
    },
    Variable {
        name: "COOLOPS_ADMIN_LISTEN",
        help: "address of /metrics, which has no login; none where it isn't set",
        default: None,
        uses: [O, O, O, I, I],
    },
    Variable {
        name: "COOLOPS_PUBLIC_URL",
        help: "where Slack and people's browsers reach the web server, such as https://coolops.example.com; the base of every link",
        default: None,
        uses: [R, R, O, I, O],
    },
    Variable {
        name: "COOLOPS_MASTER_KEY",
        help: "32 random bytes in base64 (openssl rand -base64 32); encrypts secrets, makes links",
        default: None,
        uses: [R, R, R, I, R],
    },
    Variable {
        name: "COOLOPS_MASTER_KEY_PREVIOUS",
        help: "master keys before this one, separated by commas: they still open secrets and links, and make none",
        default: None,
        uses: [O, O, O, I, O],
    },
    Variable {
        name: "COOLOPS_CHECKPOINT_KEY",
        help: "what signs checkpoints of the log (coolops audit key NAME makes one): keep it out of the database and its backups",
        default: None,
        uses: [O, O, I, I, O],
    },
    Variable {
        name: "COOLOPS_CHECKPOINT_PUBLIC_KEYS",
        help: "public keys that checkpoints are believed by as well, separated by commas: those before the present one, or all where nobody signs; with @SIZE behind one it is believed up to so many events only",
        default: None,
        uses: [O, O, O, I, O],
    },
    Variable {
        name: "COOLOPS_CHECKPOINTS",
        help: "where checkpoints are kept, separated by commas: folders (/srv/checkpoints), buckets (s3://bucket/prefix, with AWS_ACCESS_KEY_ID and the like), git repositories (git:/srv/checkpoints)",
        default: None,
        uses: [O, O, O, I, O],
    },
    Variable {
        name: "COOLOPS_WITNESSES",
        help: "witnesses that are asked to cosign checkpoints, separated by commas: each its public key, a space, and the address before /add-checkpoint",
        default: None,
        uses: [O, O, I, I, O],
    },
    Variable {
        name: "COOLOPS_WITNESS_THRESHOLD",
        help: "how many of these have to cosign; all of them where it is not set",
        default: None,
        uses: [O, O, I, I, O],
    },
    Variable {
        name: "COOLOPS_WITNESS_KEY",
        help: "what this installation cosigns other logs with, as their witness (coolops audit key NAME --witness makes one)",
        default: None,
        uses: [O, O, I, I, I],
    },
    Variable {
        name: "COOLOPS_WITNESS_LOGS",
        help: "public keys of the logs that this installation is a witness of, separated by commas",
        default: None,
        uses: [O, O, I, I, I],
    },
    Variable {
        name: "COOLOPS_WORKER_SLOTS",
        help: "deployments at a time in one process, 1 to 1000",
        default: Some("4"),
        uses: [O, I, O, I, I],
    },
    Variable {
        name: "COOLOPS_NETWORK_GUARD",
        help: "on or off: keeps deployments from the Docker host's own addresses and from 169.254.0.0/16, where clouds give out credentials",
        default: Some("on"),
        uses: [O, I, O, I, I],
    },
    Variable {
        name: "SLACK_API_URL",
        help: "Slack's Web API; for tests",
        default: Some("https://slack.com/api"),
        uses: [O, O, O, I, O],
    },
    Variable {
        name: "COOLOPS_SLACK_SPEED",
        help: "how many times faster than Slack's documented limits messages are sent; for tests",
        default: Some("1"),
        uses: [O, O, I, I, I],
    },
    Variable {
        name: "SLACK_BOT_TOKEN",
        help: "the app's bot token, xoxb-…; a worker and the command line ask with it who is in a group, or know it from the others",
        default: None,
        uses: [R, R, O, I, O],
    },
    Variable { name: "SLACK_SIGNING_SECRET", help: "the app's signing secret", default: None, uses: [R, R, I, I, I] },
    Variable {
        name: "RUST_LOG",
        help: "what is logged, such as info or coolops=debug",
        default: Some("info"),
        uses: [O, O, O, O, O],
    },
    Variable { name: "COOLOPS_LOG_FORMAT", help: "human or json", default: Some("human"), uses: [O, O, O, O, O] },
    Variable {
        name: telemetry::ENDPOINT,
        help: "an OpenTelemetry collector (OTLP over HTTP), such as http://localhost:4318: spans are sent there, with the ids that they are about",
        default: None,
        uses: [O, O, O, I, I],
    },
    Variable { name: "NO_COLOR", help: "no colours in the terminal", default: None, uses: [O, O, O, O, O] },
];

/// What can be in a file: the variable with `_FILE` at its end names it. Secrets are handed to containers so.
pub(super) const IN_FILES: &[&str] = &[
    "DATABASE_URL",
    "COOLOPS_MIGRATE_DATABASE_URL",
    "REDIS_URL",
    "COOLOPS_MASTER_KEY",
    "COOLOPS_MASTER_KEY_PREVIOUS",
    "COOLOPS_CHECKPOINT_KEY",
    "COOLOPS_WITNESS_KEY",
    "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET",
];

/// The reference table of `docs/CONFIGURATION.md`.
pub fn reference() -> String {
    let mut text = String::from("| variable | what it is | default |");
    for role in Role::ALL {
        text.push_str(&format!(" {} |", role.name()));
    }
    text.push_str("\n|---|---|---|---|---|---|---|---|\n");
    for v in VARIABLES {
        text.push_str(&format!(
            "| `{}` | {} | {} |",
            v.name,
            v.help,
            v.default.map_or_else(String::new, |d| format!("`{d}`"))
        ));
        for used in v.uses {
            text.push_str(match used {
                Use::Required => " required |",
                Use::Optional => " read |",
                Use::Ignored => " – |",
            });
        }
        text.push('\n');
    }
    let in_files: Vec<String> = IN_FILES.iter().map(|name| format!("`{name}`")).collect();
    let (last, first) = in_files.split_last().expect("there are some");
    text.push_str(&format!(
        "\n{} and {last} can each be in a file that the variable with `_FILE` at its end names, such as `COOLOPS_MASTER_KEY_FILE=/run/secrets/key`.\n",
        first.join(", ")
    ));
    text
}
