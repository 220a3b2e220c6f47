//! The configuration of a role: read once, all problems told at once.

mod reading;
mod variables;

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use self::reading::{Reading, http, root};
pub use self::variables::{Role, Use, VARIABLES, Variable, reference};
use crate::keys::Keyring;
use crate::places::Place;
use crate::places::witness::Endpoint;
use crate::proof::checkpoint::{LogKey, PublicKey};
use crate::proof::cosignature::{WitnessKey, WitnessPublicKey};
use crate::telemetry;

/// The configuration of one role. What the role doesn't use is empty.
pub struct Config {
    /// Postgres.
    pub database_url: String,
    /// Postgres as the owner.
    pub migrate_database_url: String,
    /// Redis.
    pub redis_url: String,
    /// Docker, unless it is the machine's own.
    pub docker_host: Option<String>,
    /// The folder of the program for CI, unless it is beside this one.
    pub client_dir: Option<std::path::PathBuf>,
    /// The web server.
    pub listen: SocketAddr,
    /// Metrics.
    pub admin_listen: Option<SocketAddr>,
    /// The base of links.
    pub public_url: String,
    /// The keys, where the role uses them.
    pub keys: Option<Keyring>,
    /// What signs checkpoints.
    pub checkpoint_key: Option<LogKey>,
    /// What they are believed by: the present key first.
    pub checkpoint_keys: Vec<PublicKey>,
    /// Where they are kept.
    pub checkpoints: Vec<Place>,
    /// Who is asked to cosign them.
    pub witnesses: Vec<(WitnessPublicKey, Endpoint)>,
    /// How many of these have to.
    pub witness_threshold: usize,
    /// What this installation cosigns other logs with.
    pub witness_key: Option<WitnessKey>,
    /// The logs that it is a witness of.
    pub witness_logs: Vec<PublicKey>,
    /// Deployments at a time.
    pub slots: usize,
    /// Whether deployments are kept from the Docker host.
    pub network_guard: bool,
    /// Slack's Web API.
    pub slack_api_url: String,
    /// How many times faster than Slack's limits.
    pub slack_speed: u32,
    /// The bot token.
    pub slack_token: SecretString,
    /// What Slack signs with.
    pub slack_signing_secret: SecretString,
}

/// Everything that is wrong with the environment, one line each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is wrong:\n{}", .0.iter().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads a role's configuration, from the process's environment or a test's.
    ///
    /// # Errors
    /// All problems at once.
    pub fn read(
        role: Role,
        variable: &dyn Fn(&str) -> Option<String>,
        file: &dyn Fn(&str) -> std::io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let index = Role::ALL.iter().position(|r| *r == role).expect("every role is listed");
        let mut r = Reading { role: index, variable, file, problems: Vec::new() };
        let postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
        const POSTGRES: &str = "an address of Postgres such as postgres://coolops@localhost/coolops";
        const LISTEN: &str = "an IP address and a port such as 0.0.0.0:3000";
        const WEB: &str = "an address that begins with https:// or http://";
        const UP_TO_1000: &str = "a number from 1 to 1000";
        let database_url =
            r.parsed("DATABASE_URL", POSTGRES, |u| postgres(u).then(|| u.to_owned())).unwrap_or_default();
        let migrate_database_url =
            r.parsed("COOLOPS_MIGRATE_DATABASE_URL", POSTGRES, |u| postgres(u).then(|| u.to_owned()));
        let redis =
            "an address of Redis such as redis://localhost, rediss://redis.example.com or redis+unix:///run/redis.sock";
        let redis_url =
            r.parsed("REDIS_URL", redis, |u| redis::Client::open(u).ok().map(|_| u.to_owned())).unwrap_or_default();
        let docker =
            "an address of a Docker Engine: unix:///path or tcp://host:port (ssh:// and TLS are not supported)";
        let docker_host = r.parsed("DOCKER_HOST", docker, |h| {
            ["unix://", "tcp://", "http://"].iter().any(|p| h.starts_with(p)).then(|| h.to_owned())
        });
        let listen = r.parsed("COOLOPS_LISTEN", LISTEN, |a| a.parse().ok());
        let client_dir = r.text("COOLOPS_CLIENT_DIR").map(std::path::PathBuf::from);
        let admin_listen = r.parsed("COOLOPS_ADMIN_LISTEN", LISTEN, |a| a.parse().ok());
        let base = |u: &str| http(u).map(|_| u.trim_end_matches('/').to_owned());
        let up_to_1000 = |n: &str| n.parse::<u32>().ok().filter(|n| (1..=1000).contains(n));
        const ROOT: &str =
            "an address that begins with https:// or http:// and ends after the host: no path, no query, no user";
        let public_url = r.parsed("COOLOPS_PUBLIC_URL", ROOT, root).unwrap_or_default();
        let network_guard =
            r.parsed("COOLOPS_NETWORK_GUARD", "on or off", |g| ["on", "off"].contains(&g).then_some(g == "on"));
        let slots = r.parsed("COOLOPS_WORKER_SLOTS", UP_TO_1000, up_to_1000).unwrap_or(1);
        let slack_api_url = r.parsed("SLACK_API_URL", WEB, base).unwrap_or_default();
        let slack_speed = r.parsed("COOLOPS_SLACK_SPEED", UP_TO_1000, up_to_1000).unwrap_or(1);
        // Read where logging starts, before anything else; refused here.
        r.parsed("RUST_LOG", "a filter such as info or coolops=debug", |f| EnvFilter::try_new(f).ok());
        r.parsed(telemetry::ENDPOINT, WEB, http);
        r.parsed("COOLOPS_LOG_FORMAT", "human or json", |f| ["human", "json"].contains(&f).then_some(()));
        let slack_token: SecretString = r.text("SLACK_BOT_TOKEN").unwrap_or_default().into();
        if !slack_token.expose_secret().is_empty() && !slack_token.expose_secret().starts_with("xox") {
            r.problems.push("SLACK_BOT_TOKEN does not look like a bot token (xoxb-…)".to_owned());
        }
        let slack_signing_secret = r.text("SLACK_SIGNING_SECRET").unwrap_or_default().into();
        let keys = r.master_keys();
        let (checkpoint_key, checkpoint_keys, checkpoints) = r.checkpoints(role);
        let (witnesses, witness_threshold) = r.witnesses(!checkpoint_keys.is_empty());
        let (witness_key, witness_logs) = r.witnessing();
        if !r.problems.is_empty() {
            return Err(ConfigError(r.problems));
        }
        Ok(Self {
            witnesses,
            witness_threshold,
            witness_key,
            witness_logs,
            migrate_database_url: migrate_database_url.unwrap_or_else(|| database_url.clone()),
            database_url,
            redis_url,
            docker_host,
            client_dir,
            listen: listen.unwrap_or_else(|| ([127, 0, 0, 1], 3000).into()),
            admin_listen,
            public_url,
            keys,
            checkpoint_key,
            checkpoint_keys,
            checkpoints,
            slots: slots as usize,
            network_guard: network_guard.unwrap_or(true),
            slack_api_url,
            slack_speed,
            slack_token,
            slack_signing_secret,
        })
    }

    /// Reads a role's configuration from the process's environment.
    ///
    /// # Errors
    /// All problems at once.
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    pub fn from_environment(role: Role) -> Result<Self, ConfigError> {
        Self::read(role, &|name| std::env::var(name).ok(), &|path| std::fs::read_to_string(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_file(_: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    #[test]
    fn a_worker_that_looks_at_checkpoints_needs_the_public_key() {
        let key = crate::keys::new_master_key();
        let given = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://x".to_owned()),
            "COOLOPS_MASTER_KEY" => Some(key.clone()),
            "COOLOPS_CHECKPOINTS" => Some("/srv/checkpoints".to_owned()),
            // Of a file that is shared with those who sign.
            "COOLOPS_CHECKPOINT_KEY" => Some("secret".to_owned()),
            _ => None,
        };
        let Err(error) = Config::read(Role::Worker, &given, &no_file) else { panic!("accepted") };
        assert!(
            error.to_string().contains("COOLOPS_CHECKPOINT_PUBLIC_KEYS is not set, and COOLOPS_CHECKPOINTS is"),
            "{error}"
        );
    }

    #[test]
    fn what_is_secret_can_be_in_a_file() {
        let key = crate::keys::new_master_key();
        let given = |name: &str| match name {
            "DATABASE_URL_FILE" => Some("/run/secrets/database".to_owned()),
            "COOLOPS_MASTER_KEY_FILE" => Some("/run/secrets/key".to_owned()),
            _ => None,
        };
        let file = |path: &str| match path {
            "/run/secrets/database" => Ok("postgres://x\n".to_owned()),
            "/run/secrets/key" => Ok(format!("{key}\r\n")),
            _ => no_file(path),
        };
        let Ok(config) = Config::read(Role::Worker, &given, &file) else { panic!("refused") };
        assert_eq!(config.database_url, "postgres://x");
        for (key_file, key_itself, problem) in [
            ("/gone", None, "COOLOPS_MASTER_KEY_FILE names a file that can't be read: /gone: entity not found"),
            ("/empty", None, "COOLOPS_MASTER_KEY_FILE names an empty file: /empty"),
            (
                "/run/secrets/key",
                Some("x"),
                "COOLOPS_MASTER_KEY and COOLOPS_MASTER_KEY_FILE are both set; set one of them",
            ),
        ] {
            let given = |name: &str| match name {
                "COOLOPS_MASTER_KEY_FILE" => Some(key_file.to_owned()),
                "COOLOPS_MASTER_KEY" => key_itself.map(str::to_owned),
                other => given(other),
            };
            let file = |path: &str| if path == "/empty" { Ok("\n".to_owned()) } else { file(path) };
            let Err(error) = Config::read(Role::Worker, &given, &file) else { panic!("accepted") };
            assert_eq!(error.to_string(), format!("the configuration is wrong:\n  {problem}"));
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let given = |name: &str| match name {
            "DATABASE_URL" => Some("mysql://x".to_owned()),
            "COOLOPS_LISTEN" => Some("3000".to_owned()),
            "COOLOPS_MASTER_KEY" => Some("short".to_owned()),
            _ => None,
        };
        let Err(error) = Config::read(Role::Serve, &given, &no_file) else { panic!("accepted") };
        let text = error.to_string();
        for name in [
            "DATABASE_URL",
            "COOLOPS_LISTEN",
            "COOLOPS_MASTER_KEY",
            "COOLOPS_PUBLIC_URL",
            "SLACK_BOT_TOKEN",
            "SLACK_SIGNING_SECRET",
        ] {
            assert!(text.contains(&format!("  {name}")), "{name} is missing in:\n{text}");
        }
        assert!(!text.contains("mysql"), "a value may be a secret in the wrong place");
    }

    #[test]
    fn the_public_address_is_a_root() {
        for (given, fits) in [
            ("https://coolops.example.com", true),
            ("https://coolops.example.com/", true),
            ("http://10.0.0.4:3000", true),
            ("https://example.com/coolops", false),
            ("https://example.com/?a=b", false),
            ("https://u:p@example.com", false),
            ("https://example.com/#x", false),
            ("coolops.example.com", false),
        ] {
            let variable = |name: &str| (name == "COOLOPS_PUBLIC_URL").then(|| given.to_owned());
            let Err(error) = Config::read(Role::Serve, &variable, &no_file) else { panic!("accepted") };
            assert_eq!(!error.to_string().contains("COOLOPS_PUBLIC_URL is not"), fits, "{given}");
        }
    }

    #[test]
    fn a_worker_needs_nothing_of_slack() {
        let key = crate::keys::new_master_key();
        let given = |name: &str| match name {
            "DATABASE_URL" => Some("postgres://x".to_owned()),
            "COOLOPS_MASTER_KEY" => Some(key.clone()),
            _ => None,
        };
        let Ok(config) = Config::read(Role::Worker, &given, &no_file) else { panic!("refused") };
        assert_eq!((config.slots, config.docker_host.as_deref()), (4, Some("unix:///var/run/docker.sock")));
    }
}
