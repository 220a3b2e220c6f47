//! `coolops doctor`: checks a live set-up and says what to fix. 0 fine, 1 findings, 2 nothing can be checked.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use chrono::TimeDelta;
use clap::ValueEnum;
use serde::Serialize;

use super::output::{self, Format};
use crate::app::checkpoints::newest_signed;
use crate::config::{Config, Role};
use crate::domain::deployment::{Stand, State, duration};
use crate::jobs::queue::Doorbell;
use crate::jobs::report::TOO_LATE;
use crate::keys::Keyring;
use crate::proof::cosignature::{self, WitnessPublicKey};
use crate::runner::Runner;
use crate::runner::docker::DockerRunner;
use crate::slack::client::{Slack, SlackError};
use crate::store::Store;
use crate::store::limits::Pause;
use crate::store::log::ReadError;
use crate::store::witnesses::WitnessState;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What this host runs: of a worker's neither Slack nor addresses are asked for, of a web server's no Docker
    #[arg(long, value_enum, default_value = "serve")]
    role: Runs,
    #[command(flatten)]
    format: Format,
}

/// What a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runs {
    /// Everything
    Serve,
    /// HTTP and Slack
    Web,
    /// Deployments
    Worker,
}

#[derive(Serialize)]
struct Check {
    what: String,
    ok: bool,
    found: String,
}

/// The checks and their outcomes so far.
#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn note(&mut self, what: impl Into<String>, ok: bool, found: impl Into<String>) {
        self.0.push(Check { what: what.into(), ok, found: found.into() });
    }
}

/// Runs it.
///
/// # Errors
/// When the configuration isn't complete.
pub async fn run(Args { role, format }: Args) -> Result<ExitCode> {
    let configured = match role {
        Runs::Serve => Role::Serve,
        Runs::Web => Role::Web,
        Runs::Worker => Role::Worker,
    };
    let config = match Config::from_environment(configured) {
        Ok(config) => config,
        Err(e) => {
            output::hint(&format!("coolops: {e}"));
            return Ok(ExitCode::from(2));
        }
    };
    let mut checks = Checks::default();
    let store = postgres(&config, &mut checks).await;
    let are_lost = match &store {
        Some(store) => rows(store, &mut checks).await?,
        None => false,
    };
    redis(&config, &mut checks).await;
    // Without rows nobody can tell whose a container is.
    if role != Runs::Web {
        docker(&config, store.as_ref().filter(|_| !are_lost), &mut checks).await;
    }
    if role != Runs::Worker {
        slack(&config, store.as_ref(), &mut checks).await;
    }
    if let Some(store) = &store {
        checkpoints(&config, store, &mut checks).await?;
        names(&config, store, &mut checks).await?;
        secrets(&config, store, &mut checks).await?;
        stuck(store, &mut checks).await?;
    }
    if format.json {
        output::json(&checks.0);
    } else {
        for check in &checks.0 {
            output::line(&format!("{}  {}: {}", if check.ok { "ok   " } else { "WRONG" }, check.what, check.found));
        }
        output::line(&match checks.0.iter().filter(|c| !c.ok).count() {
            0 => "Everything is well.".to_owned(),
            1 => "1 finding.".to_owned(),
            n => format!("{n} findings."),
        });
    }
    Ok(if checks.0.iter().all(|c| c.ok) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn postgres(config: &Config, checks: &mut Checks) -> Option<Store> {
    match Store::open(&config.database_url, 2).await {
        Ok(store) => {
            store.keep_clock().await.ok();
            checks.note("Postgres", true, "answers, and has this program's schema");
            for what in store.privileges().await.unwrap_or_default() {
                let text = format!(
                    "the login of DATABASE_URL could do more than it needs: {what}; give serve a login of its own that was only granted the \
                     application's role (docs/OPERATING.md, \"Postgres\")"
                );
                checks.note("Postgres login", false, text);
            }
            Some(store)
        }
        Err(e) => {
            checks.note("Postgres", false, e.to_string());
            None
        }
    }
}

/// Whether the rows are lost that everything is found by, all of them: as where only the log was restored.
async fn rows(store: &Store, checks: &mut Checks) -> Result<bool> {
    let are_lost = store.directory().rows_are_lost().await?;
    if are_lost {
        checks.note("Rows", false, ReadError::RowsLost.to_string());
    }
    Ok(are_lost)
}

/// What is said of what an earlier master key is still needed for.
fn still_under(key: &str) -> String {
    format!(
        "need the master key {key} yet, so it has to stay in COOLOPS_MASTER_KEY_PREVIOUS; a running coolops encrypts them anew within minutes"
    )
}

/// Whether secrets can be opened.
async fn secrets(config: &Config, store: &Store, checks: &mut Checks) -> Result<()> {
    let known = config.keys.as_ref().map(Keyring::ids).unwrap_or_default();
    for (key, n) in store.secrets().under_other_keys(known.get(..1).unwrap_or_default()).await? {
        if known.contains(&key) {
            checks.note(
                "Secrets",
                true,
                format!("{n} of the secrets, registry passwords and CI secrets {}", still_under(&key)),
            );
            continue;
        }
        let text = format!(
            "the master key {key} is needed for {n} of the secrets, registry passwords and CI secrets, and is neither COOLOPS_MASTER_KEY nor among \
             COOLOPS_MASTER_KEY_PREVIOUS; what uses them fails until it is, or until they are set again"
        );
        checks.note("Secrets", false, text);
    }
    Ok(())
}

/// Whether the names in the history can be read.
async fn names(config: &Config, store: &Store, checks: &mut Checks) -> Result<()> {
    let known = config.keys.as_ref().map(Keyring::ids).unwrap_or_default();
    for (key, n) in store.subjects().under_other_keys(known.get(..1).unwrap_or_default()).await? {
        if known.contains(&key) {
            checks.note(
                "Names",
                true,
                format!("those of {n} people, authors, operators or outputs {}", still_under(&key)),
            );
            continue;
        }
        let text = format!(
            "the names of {n} people, authors, operators or outputs in the history are encrypted under the master key {key}, which is neither \
             COOLOPS_MASTER_KEY nor among COOLOPS_MASTER_KEY_PREVIOUS; they read as somebody until it is"
        );
        checks.note("Names", false, text);
    }
    Ok(())
}

async fn redis(config: &Config, checks: &mut Checks) {
    let answer = match Doorbell::new(&config.redis_url, "doctor") {
        Ok(doorbell) => tokio::time::timeout(Duration::from_secs(5), async move { doorbell.ping().await }).await,
        Err(e) => Ok(Err(e)),
    };
    match answer {
        Ok(Ok(())) => checks.note("Redis", true, "answers"),
        Ok(Err(e)) => checks.note("Redis", false, format!("REDIS_URL: {e}. Jobs start seconds later until it answers")),
        Err(_) => checks.note("Redis", false, "REDIS_URL: no answer. Jobs start seconds later until it answers"),
    }
}

async fn docker(config: &Config, store: Option<&Store>, checks: &mut Checks) {
    let asked = async {
        let runner = DockerRunner::connect(config.docker_host.as_deref())?;
        let version = runner.version().await?;
        runner.engine_id().await?;
        let containers = match store {
            Some(store) => runner.containers(&store.instance().await.unwrap_or_default()).await?,
            None => Vec::new(),
        };
        let shortcomings = runner.shortcomings().await?;
        let live_restore = shortcomings.is_some() || runner.live_restore().await?;
        Ok::<_, crate::runner::Trouble>((version, live_restore, containers, shortcomings))
    };
    match tokio::time::timeout(Duration::from_secs(10), asked).await {
        Ok(Ok((version, live_restore, containers, shortcomings))) => {
            for ours in containers.iter().filter(|c| c.running) {
                let Some(store) = store else { continue };
                // What can't be asked can't be judged.
                let Ok(known) = store.deployments().get(ours.deployment).await else { continue };
                let text = match known {
                    Some(d) if d.state().is_over() => {
                        "runs although its deployment is over; a worker on that engine stops and removes it within minutes"
                    }
                    Some(d) if d.state().has_not_begun() => {
                        "runs although its deployment has not begun; was the database restored from a backup? It is waited for: look at it, or stop it by hand"
                    }
                    Some(_) => continue,
                    None => {
                        "runs and is of no deployment that this database knows; was it restored from a backup? Look at it, then stop it by hand"
                    }
                };
                checks.note(format!("Container of {}", ours.deployment), false, text);
            }
            checks.note("Docker", true, format!("answers, version {version}"));
            if let Some(text) = shortcomings {
                checks.note("Engine", false, text);
            } else if !live_restore {
                let text = "live-restore is off: a restart of Docker ends running deployments. Put {\"live-restore\": true} into /etc/docker/daemon.json";
                checks.note("Docker live-restore", false, text);
            }
        }
        Ok(Err(e)) => {
            checks.note("Docker", false, format!("{e}. Is it running, and may this user use it (group docker)?"));
        }
        Err(_) => checks.note("Docker", false, "no answer within 10 s"),
    }
}

async fn slack(config: &Config, store: Option<&Store>, checks: &mut Checks) {
    let slack = match Slack::new(&config.slack_api_url, &config.slack_token) {
        Ok(slack) => slack,
        Err(e) => return checks.note("Slack", false, format!("no root certificates on this machine: {e}")),
    };
    match slack.identity().await {
        Ok(who) => {
            checks.note("Slack token", true, format!("is {} in {}", who.user, who.team));
            may_ask_who_people_are(&slack, &who.user_id, checks).await;
        }
        Err(e) => {
            let what =
                "SLACK_BOT_TOKEN: take the Bot User OAuth Token (xoxb-…) of your app, Install App in its settings";
            return checks.note("Slack token", false, format!("{e}. {what}"));
        }
    }
    let projects = match store {
        Some(store) => store.directory().projects().await.unwrap_or_default(),
        None => Vec::new(),
    };
    for project in projects.into_iter().filter(|p| !p.archived) {
        let what = format!("Slack channel {} of {}", project.channel, project.slug);
        match slack.channel(&project.channel).await {
            Ok(channel) if channel.is_archived => {
                checks.note(
                    what,
                    false,
                    format!("is archived; choose another: coolops project set {} --channel C…", project.slug),
                );
            }
            Ok(channel) if !channel.is_member => {
                checks.note(
                    what,
                    false,
                    format!("coolops is not a member of #{}; invite it there: /invite @coolops", channel.name),
                );
            }
            Ok(channel) => match slack.may_read(&project.channel).await {
                Ok(()) => {
                    checks.note(what, true, format!("#{}, coolops is a member and may read its history", channel.name));
                }
                Err(SlackError::Refused(word)) => {
                    let text = format!(
                        "Slack says {word}: without the scope channels:history (groups:history) an interrupted post may be doubled"
                    );
                    checks.note(what, false, text);
                }
                Err(e) => checks.note(what, false, e.to_string()),
            },
            Err(SlackError::Refused(word)) if word.starts_with("missing_scope") => {
                let text = "the app lacks the scope channels:read (groups:read); reinstall it from deploy/slack-app-manifest.yaml";
                checks.note(what, false, text);
            }
            Err(e) => checks.note(what, false, format!("{e}; is the id right, and is coolops invited?")),
        }
    }
}

/// Without these scopes nobody is known to be a guest, and a group that is named for a right is nobody.
async fn may_ask_who_people_are(slack: &Slack, user: &str, checks: &mut Checks) {
    for (scope, asked) in [
        ("users:read", slack.is_guest(user).await.map(|_| ())),
        ("usergroups:read", slack.user_groups().await.map(|_| ())),
    ] {
        if let Err(SlackError::Refused(word)) = asked
            && word.starts_with("missing_scope")
        {
            let text = format!("the app lacks the scope {scope}; reinstall it from deploy/slack-app-manifest.yaml");
            checks.note("Slack people and groups", false, text);
        }
    }
}

/// Whether the log is open, and whether what proves it is kept outside.
async fn checkpoints(config: &Config, store: &Store, checks: &mut Checks) -> Result<()> {
    if let Some(why) = store.checkpoints().closed().await? {
        let text = format!("nothing is recorded: {why}. See docs/PROOF.md, \"Two histories\"");
        checks.note("Log", false, text);
    }
    if config.checkpoint_key.is_none() && config.checkpoints.is_empty() {
        let text = "none are signed, so whoever rewrites the whole database is not found out; docs/PROOF.md says how";
        checks.note("Checkpoints", true, text);
        return witnesses(config, store, checks).await;
    }
    unsigned(store, checks).await?;
    let states = store.checkpoints().places().await?;
    let signed = store.checkpoints().signed_before(store.clock().now() - LATE).await?;
    for place in &config.checkpoints {
        let what = format!("Checkpoints in {}", place.name());
        match states.iter().find(|state| state.place == place.name()) {
            None => checks.note(
                what,
                false,
                "none is there yet; is a coolops serve (or web) running with this configuration?",
            ),
            Some(state) => match &state.problem {
                Some(problem) => {
                    let since = state.failing_since.map(output::time).unwrap_or_default();
                    checks.note(what, false, format!("can't be kept since {since}: {problem}"));
                }
                None if state.size < signed => {
                    let text = format!(
                        "cover {} events of {signed} that were signed minutes ago; does coolops serve (or web) run with this place?",
                        state.size
                    );
                    checks.note(what, false, text);
                }
                // To look into a repository is to fetch, as whoever runs this.
                None if place.is_repository() => checks.note(what, true, format!("cover {} events", state.size)),
                None => match place.newest().await {
                    Err(e) => {
                        checks.note(
                            what,
                            true,
                            format!("cover {} events; seen from here they can't be read: {e}", state.size),
                        );
                    }
                    Ok(None) if state.size > 0 => {
                        let text = format!(
                            "nothing is there, seen from here, and checkpoints of {} events were; is what should be mounted there mounted?",
                            state.size
                        );
                        checks.note(what, false, text);
                    }
                    Ok(_) => checks.note(what, true, format!("cover {} events", state.size)),
                },
            },
        }
    }
    witnesses(config, store, checks).await
}

/// What happened is signed within a minute; after so long something is in the way.
const LATE: TimeDelta = TimeDelta::minutes(5);

/// Whether what happened is signed.
async fn unsigned(store: &Store, checks: &mut Checks) -> Result<()> {
    let oldest = store.lags().await?.oldest_unsigned_seconds as i64;
    match store.checkpoints().unsigned_because().await? {
        Some(why) => checks.note("Checkpoints", false, why),
        None if oldest > LATE.num_seconds() => {
            let text = format!(
                "nothing that happened in the last {} is signed; is a coolops serve (or web) running with this configuration?",
                duration(oldest)
            );
            checks.note("Checkpoints", false, text);
        }
        None => {}
    }
    Ok(())
}

/// Whether enough witnesses cosigned the newest checkpoint, and what was seen as a witness of others.
async fn witnesses(config: &Config, store: &Store, checks: &mut Checks) -> Result<()> {
    for log in store.witnesses().forked().await? {
        let text = "it signed two histories; both checkpoints are in the table witnessed. Tell whoever relies on it";
        checks.note(format!("Log {log}, which is witnessed here"), false, text);
    }
    let Some(newest) = newest_signed(store, &config.checkpoint_keys).await? else { return Ok(()) };
    let lines = store.witnesses().cosignatures(newest.size, &newest.root).await?;
    let states = store.witnesses().states().await?;
    let has = |key: &WitnessPublicKey| {
        let own = lines.iter().filter(|(by, _)| *by == key.text());
        own.into_iter().any(|(_, line)| cosignature::borne_out(&newest.note, line, key).is_some())
    };
    let enough = config.witnesses.iter().filter(|(key, _)| has(key)).count() >= config.witness_threshold;
    for (key, _) in &config.witnesses {
        let what = format!("Witness {}", key.name());
        match states.iter().find(|state| state.key == key.text()) {
            _ if has(key) => {
                checks.note(what, true, format!("cosigned the newest checkpoint, of {} events", newest.size));
            }
            Some(WitnessState { problem: Some(problem), failing_since, .. }) => {
                let since = failing_since.map(output::time).unwrap_or_default();
                checks.note(what, enough, format!("has not cosigned since {since}: {problem}"));
            }
            Some(state) => checks.note(what, true, format!("cosigned {} events last, and is being asked", state.size)),
            None => checks.note(
                what,
                enough,
                "was not asked yet; is a coolops serve (or web) running with this configuration?",
            ),
        }
    }
    Ok(())
}

/// Things that wait for a person.
async fn stuck(store: &Store, checks: &mut Checks) -> Result<()> {
    for unknown in store.deployments().list(None, &[State::Unknown], 100).await? {
        let d = &unknown.deployment;
        let Stand::Unknown { loss, .. } = &d.stand else { continue };
        let text = format!(
            "nobody can tell how it ended ({}), and {} stays closed; its container {} is kept if it is there. Look at it, then: \
             coolops deployment resolve {} --as failed --reason …",
            loss.sentence(),
            d.environment_name,
            d.container_name(),
            d.of.deployment_id
        );
        checks.note(format!("Deployment of {} to {}", d.build_name, d.environment_name), false, text);
    }
    if let Some(pause) = store.paces().is_paused().await? {
        let next = match pause {
            Pause::NoClearAnswer { .. } => {
                "coolops tries again by itself; look at https://slack-status.com if it lasts"
            }
            Pause::Refused(_) => "reinstall the app, set the new SLACK_BOT_TOKEN and restart coolops",
        };
        let text = format!("takes nothing from us: {pause}; {next}");
        checks.note("Slack", false, text);
    }
    for (build, word) in store.messages().plain().await? {
        let text = format!(
            "Slack refuses its layout ({word}), so it was sent as text; that is a fault of coolops, please report it"
        );
        checks.note(format!("Message of build {build}"), false, text);
    }
    for (channel, problem, messages) in store.messages().blocked_channels().await? {
        let next = "invite coolops there (/invite @coolops), or choose another channel: coolops project set PROJECT --channel C…";
        let text = format!("{messages} messages can't be brought up to date there ({problem}); {next}");
        checks.note(format!("Slack channel {channel}"), false, text);
    }
    for refused in store.reports().refused().await? {
        let next = match refused.problem.as_str() {
            word if word.starts_with("missing_scope") => "; reinstall the app from deploy/slack-app-manifest.yaml",
            TOO_LATE => "; they could not be told for a day, and are not any more",
            _ => "",
        };
        let text = format!("Slack refused {} within a day ({}){next}", refused.count, refused.problem);
        checks.note("Direct messages and threads", false, text);
    }
    for job in store.jobs().stuck().await? {
        let what = format!("Job {} {}", job.kind, job.key);
        if job.expired {
            checks.note(
                what,
                false,
                "its worker is gone and nobody took it over; is a coolops serve or worker running?",
            );
        } else if let Some(problem) = job.last_error {
            checks.note(what, false, format!("was put off {} times: {problem}", job.attempts));
        }
    }
    let lags = store.lags().await?;
    if lags.oldest_due_seconds > 60.0 {
        let text = format!(
            "{} jobs are due, the oldest since {:.0} s; is a coolops serve (or web and worker) running?",
            lags.due, lags.oldest_due_seconds
        );
        checks.note("Jobs", false, text);
    }
    if lags.messages_behind > 0 {
        let text = format!("{} wait to be brought up to date", lags.messages_behind);
        match lags.oldest_message_seconds > 60.0 {
            true => checks.note(
                "Messages",
                false,
                format!("{text}; is a coolops serve or web running, and does Slack answer?"),
            ),
            false => checks.note("Messages", true, text),
        }
    }
    let behind = store.clock().behind();
    if behind.abs() > 5_000 {
        let text =
            format!("this machine's clock and the database's differ by {} s; set it by NTP", behind.abs() / 1_000);
        checks.note("Clock", false, text);
    }
    Ok(())
}
