//! The configuration: every variable, what it is for, and which role needs it. Read once, all problems told at once.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;

use crate::keys::Keyring;
use crate::places::Place;
use crate::places::witness::Endpoint;
use crate::proof::checkpoint::{LogKey, PublicKey};
use crate::proof::cosignature::{WitnessKey, WitnessPublicKey};
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

/// What can be in a file: the variable with `_FILE` at its end names it. Secrets are handed to containers so.
const IN_FILES: &[&str] = &[
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

/// What is separated by commas.
fn listed(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// Everything that is wrong with the environment, one line each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is wrong:\n{}", .0.iter().map(|l| format!("  {l}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<String>);

struct Reading<'a> {
    role: usize,
    variable: &'a dyn Fn(&str) -> Option<String>,
    file: &'a dyn Fn(&str) -> std::io::Result<String>,
    problems: Vec<String>,
}

impl Reading<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        let variable = VARIABLES.iter().find(|v| v.name == name).expect("only listed variables are read");
        if variable.uses[self.role] == Use::Ignored {
            return None;
        }
        let given = match (self.set(name), self.set(&format!("{name}_FILE")).filter(|_| IN_FILES.contains(&name))) {
            (Some(_), Some(_)) => {
                self.problems.push(format!("{name} and {name}_FILE are both set; set one of them"));
                return None;
            }
            (given, None) => given,
            (None, Some(path)) => Some(self.read(name, &path)?),
        };
        match variable.uses[self.role] {
            Use::Ignored => None,
            Use::Required if given.is_none() => {
                self.problems.push(format!("{name} is not set; it is for: {}", variable.help));
                None
            }
            _ => given.or_else(|| variable.default.map(str::to_owned)),
        }
    }

    fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|v| !v.trim().is_empty())
    }

    /// What a file holds, without the line's end that editors put behind it.
    fn read(&mut self, name: &str, path: &str) -> Option<String> {
        let problem = match (self.file)(path) {
            Ok(text) if text.trim().is_empty() => format!("{name}_FILE names an empty file: {path}"),
            Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(e) => format!("{name}_FILE names a file that can't be read: {path}: {e}"),
        };
        self.problems.push(problem);
        None
    }

    /// A value of a certain form, which a person is told when it has another.
    fn parsed<T>(&mut self, name: &str, form: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            // The value isn't shown: it may be a secret in the wrong place.
            self.problems.push(format!("{name} is not {form}"));
        }
        parsed
    }

    /// Each of a list that is separated by commas; what can't be read is a problem, and the others are read all the same.
    fn each<T, E: std::fmt::Display>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let mut all = Vec::new();
        for text in listed(self.text(name)) {
            match read(&text) {
                Ok(one) => all.push(one),
                Err(e) => self.problems.push(format!("{name}: {e}")),
            }
        }
        all
    }

    /// What secrets and links are made with.
    fn master_keys(&mut self) -> Option<Keyring> {
        let (key, previous) = (self.text("COOLOPS_MASTER_KEY"), self.text("COOLOPS_MASTER_KEY_PREVIOUS"));
        let previous: Vec<SecretString> =
            previous.iter().flat_map(|all| all.split(',')).map(|key| key.trim().to_owned().into()).collect();
        key.map(SecretString::from).and_then(|key| {
            let wrong = if Keyring::new(&key, &[]).is_err() {
                "COOLOPS_MASTER_KEY"
            } else {
                "a key of COOLOPS_MASTER_KEY_PREVIOUS"
            };
            Keyring::new(&key, &previous).map_err(|e| self.problems.push(format!("{wrong} can't be read: {e}"))).ok()
        })
    }

    /// What signs checkpoints, what they are believed by, and where they are kept.
    fn checkpoints(&mut self, role: Role) -> (Option<LogKey>, Vec<PublicKey>, Vec<Place>) {
        let key = self.text("COOLOPS_CHECKPOINT_KEY").and_then(|key| {
            LogKey::read(&key.into()).map_err(|e| self.problems.push(format!("COOLOPS_CHECKPOINT_KEY: {e}"))).ok()
        });
        let mut keys: Vec<PublicKey> = key.iter().map(|key| key.public().clone()).collect();
        keys.extend(self.each("COOLOPS_CHECKPOINT_PUBLIC_KEYS", PublicKey::read));
        let places = self.each("COOLOPS_CHECKPOINTS", Place::read);
        if key.is_some() && places.is_empty() {
            self.problems.push(
                "COOLOPS_CHECKPOINTS is not set: a checkpoint that is kept in the database alone proves nothing"
                    .to_owned(),
            );
        }
        if keys.is_empty() && !places.is_empty() {
            self.problems.push(match role {
                Role::Worker => "COOLOPS_CHECKPOINT_PUBLIC_KEYS is not set, and COOLOPS_CHECKPOINTS is; a worker signs no checkpoints, and believes those of the public key that coolops audit key printed: set it to that".to_owned(),
                _ => "COOLOPS_CHECKPOINT_KEY is not set, and COOLOPS_CHECKPOINTS is; make a key with: coolops audit key NAME".to_owned(),
            });
        }
        (key, keys, places)
    }

    /// Who is asked to cosign checkpoints, and how many have to.
    fn witnesses(&mut self, is_believed: bool) -> (Vec<(WitnessPublicKey, Endpoint)>, usize) {
        let mut witnesses: Vec<(WitnessPublicKey, Endpoint)> = Vec::new();
        for witness in listed(self.text("COOLOPS_WITNESSES")) {
            let read = witness
                .split_once(' ')
                .and_then(|(key, at)| Some((WitnessPublicKey::read(key).ok()?, Endpoint::read(at.trim())?)));
            match read {
                Some((key, _)) if witnesses.iter().any(|(other, _)| other.name() == key.name() || other.bytes() == key.bytes()) => {
                    self.problems.push(format!("COOLOPS_WITNESSES: {} has the name or the key of another one", key.name()));
                }
                Some(read) => witnesses.push(read),
                None => self.problems.push(
                    "COOLOPS_WITNESSES: write each as its public key (name+hash+key), a space and its address (https://…)"
                        .to_owned(),
                ),
            }
        }
        let threshold = match self.text("COOLOPS_WITNESS_THRESHOLD") {
            None => witnesses.len(),
            Some(text) => text.parse().ok().filter(|wanted| *wanted <= witnesses.len()).unwrap_or_else(|| {
                let many = witnesses.len();
                self.problems.push(format!(
                    "COOLOPS_WITNESS_THRESHOLD: write a number from 0 to {many}, the number of witnesses"
                ));
                0
            }),
        };
        if !is_believed && !witnesses.is_empty() {
            self.problems.push(
                "COOLOPS_CHECKPOINT_KEY is not set, and COOLOPS_WITNESSES is: there is nothing to cosign".to_owned(),
            );
        }
        (witnesses, threshold)
    }

    /// What this installation cosigns with, and whose checkpoints.
    fn witnessing(&mut self) -> (Option<WitnessKey>, Vec<PublicKey>) {
        let key = self.text("COOLOPS_WITNESS_KEY");
        let is_witness = key.is_some();
        let key = key.and_then(|key| {
            WitnessKey::read(&key.into())
                .map_err(|_| {
                    self.problems.push(
                        "COOLOPS_WITNESS_KEY: it is no witness's key; make one with: coolops audit key NAME --witness"
                            .to_owned(),
                    );
                })
                .ok()
        });
        let logs = self.each("COOLOPS_WITNESS_LOGS", PublicKey::read);
        if is_witness != self.text("COOLOPS_WITNESS_LOGS").is_some() {
            self.problems.push(
                "COOLOPS_WITNESS_KEY and COOLOPS_WITNESS_LOGS go together: what is cosigned with, and which logs"
                    .to_owned(),
            );
        }
        (key, logs)
    }
}

/// An address that browsers know.
fn http(text: &str) -> Option<url::Url> {
    url::Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// One of a host and nothing behind it: styles, scripts and live logs are asked for from the root.
fn root(text: &str) -> Option<String> {
    let url = http(text)?;
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then(|| text.trim().trim_end_matches('/').to_owned())
}

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
