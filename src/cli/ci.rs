//! `coolops ci …`: webhooks of CI systems, who may send them, which make builds, and what was delivered.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::output::{self, Format};
use super::secret_input::secret_input;
use super::{beginning_of_id, the_only};
use super::{operate, operator};
use crate::app::App;
use crate::ci::{self, Provider, Reach, rules};
use crate::domain::build::Entry;
use crate::domain::ci_rules::CiRules;
use crate::domain::ids::{DeliveryId, ProjectId};
use crate::domain::project::Ci;
use crate::domain::settings::ProjectChange;
use crate::keys;
use crate::store::deliveries::{Delivery, DeliveryVerdict};

/// Arguments of `ci`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the CI systems whose webhooks are understood
    Providers(Format),
    /// Set the secret that a CI system's webhooks prove their origin with
    Secret {
        /// The project's slug
        project: String,
        /// The CI system; see coolops ci providers
        provider: String,
        /// Read the secret from this file; from standard input otherwise
        #[arg(long)]
        file: Option<PathBuf>,
        /// Make a new secret and print it, once
        #[arg(long, conflicts_with = "file")]
        generate: bool,
        /// End the old secret at once, not only when the next one is set
        #[arg(long)]
        now: bool,
        /// Set no new secret; stop accepting the old one
        #[arg(long, conflicts_with_all = ["file", "generate", "now"])]
        end_previous: bool,
    },
    /// Choose which reports of a CI system make builds, and how they are named; each option replaces what it was, an
    /// empty one clears it
    Rules(Box<Rules>),
    /// Show what a project takes from CI systems
    Show {
        /// The project's slug
        project: String,
        #[command(flatten)]
        format: Format,
    },
    /// Take no more webhooks of a CI system; its secret is erased and its rules are forgotten
    Unset {
        /// The project's slug
        project: String,
        /// The CI system
        provider: String,
    },
    /// List what was delivered, newest first, with the reason of each that made no build
    Deliveries {
        /// Only this project's
        #[arg(long)]
        project: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: i64,
        #[command(flatten)]
        format: Format,
    },
    /// Run a delivery again under the present rules; nothing is made or posted twice
    Replay {
        /// Its id, or the beginning of it
        delivery: String,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Debug, clap::Args)]
struct Rules {
    /// The project's slug
    project: String,
    /// The CI system
    provider: String,
    /// Which of its events make a build; may be repeated, and replaces the default, so name that too
    #[arg(long)]
    event: Vec<String>,
    /// Which repositories, as a pattern such as octocat/*
    #[arg(long)]
    repository: Vec<String>,
    /// Which branches, as a pattern such as main, release/* or !dependabot/*; builds of tags then need --tag
    #[arg(long)]
    branch: Vec<String>,
    /// Which tags, as a pattern such as v*
    #[arg(long)]
    tag: Vec<String>,
    /// Which workflows or pipelines, as a pattern
    #[arg(long)]
    workflow: Vec<String>,
    /// Which conclusions: success (the default), failure, cancelled, unstable, skipped
    #[arg(long)]
    conclusion: Vec<String>,
    /// Whether the code of forks makes builds
    #[arg(long, value_name = "true|false")]
    forks: Option<bool>,
    /// How a build is named, such as "{workflow}-{branch}-{number}"
    #[arg(long, value_name = "TEMPLATE")]
    name: Option<String>,
    /// A param: NAME=template, such as DOCKER_TAG={commit} or ID={/workflow_run/id}; empty leaves it out
    #[arg(long, value_name = "NAME=TEMPLATE", value_parser = entry)]
    param: Vec<Entry>,
    /// A metadata entry: TITLE=template; empty leaves it out
    #[arg(long, value_name = "TITLE=TEMPLATE", value_parser = entry)]
    metadata: Vec<Entry>,
    /// Where a field is in the body, such as branch=/build/ref
    #[arg(long, value_name = "FIELD=POINTER", value_parser = entry)]
    field: Vec<Entry>,
    /// Begin from the defaults
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    format: Format,
}

fn entry(text: &str) -> Result<Entry, String> {
    match text.split_once('=') {
        None if text.is_empty() => Ok(Entry { name: String::new(), value: String::new() }),
        Some((name, value)) if !name.is_empty() => Ok(Entry { name: name.to_owned(), value: value.to_owned() }),
        _ => Err("write it as name=value".to_owned()),
    }
}

fn provider_named(name: &str) -> Result<&'static dyn Provider> {
    ci::provider(name).with_context(|| {
        let known: Vec<&str> = ci::PROVIDERS.iter().map(|p| p.name()).collect();
        format!("there is no CI system \"{name}\"; there are: {}", known.join(", "))
    })
}

/// Runs it.
///
/// # Errors
/// A refusal, or that the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    if let Command::Providers(format) = args.command {
        providers(format);
        return Ok(ExitCode::SUCCESS);
    }
    let app = operate().await?;
    let actor = operator();
    match args.command {
        Command::Providers(_) => unreachable!("it needs no database"),
        Command::Secret { project, provider, file, generate, now, end_previous } => {
            let provider = provider_named(&provider)?;
            let id = app.project_named(&project).await?.id;
            if end_previous {
                app.end_previous_ci_secret(id, provider, &actor).await?;
                output::line("Only the present secret is accepted now.");
                return Ok(ExitCode::SUCCESS);
            }
            let secret: SecretString = match generate {
                true => keys::new_token().0,
                false => secret_input(file.as_deref(), "the secret")?,
            };
            app.set_ci_secret(id, provider, &secret, !now, &actor).await?;
            if generate {
                output::line(secret.expose_secret());
                output::hint("This is the only time that the secret is shown.");
            }
            let base = if app.public_url.is_empty() { "…" } else { &app.public_url };
            output::hint(&format!(
                "{project} takes webhooks of {} at {base}{}",
                provider.name(),
                address(provider, &project)
            ));
            if provider.reach() != Reach::Webhook {
                output::hint(&format!(
                    "That secret proves those of other repositories too; name yours: coolops ci rules {project} {} --repository …",
                    provider.name()
                ));
            }
        }
        Command::Rules(given) => {
            let provider = provider_named(&given.provider)?;
            let project = app.project_named(&given.project).await?;
            let format = given.format;
            let before = project.ci(provider.name()).map(|c| c.rules.clone()).unwrap_or_default();
            let rules = changed(before.clone(), *given)?;
            rules::check(provider, &rules).map_err(anyhow::Error::msg)?;
            let (provider_name, was) = (provider.name().to_owned(), Some(Box::new(before)));
            let change = ProjectChange::CiRules { provider: provider_name, rules: Box::new(rules), was };
            let project = app.change_project(project.id, change, &actor).await?;
            if let Some(ci) = project.ci(provider.name()) {
                show(&project.slug, ci, format);
            }
        }
        Command::Show { project, format } => {
            let project = app.project_named(&project).await?;
            if format.json {
                output::json(&project.ci.iter().map(as_json).collect::<Vec<_>>());
            } else if project.ci.is_empty() {
                output::line(&format!(
                    "{} takes no webhooks; set one up with: coolops ci secret {0} github",
                    project.slug
                ));
            } else {
                project.ci.iter().for_each(|ci| show(&project.slug, ci, format));
            }
        }
        Command::Unset { project, provider } => {
            let provider = provider_named(&provider)?;
            app.unset_ci(app.project_named(&project).await?.id, provider.name(), &actor).await?;
            output::line(&format!("{project} takes no webhooks of {} any more.", provider.name()));
        }
        Command::Deliveries { project, limit, format } => {
            deliveries(&app, project, limit.clamp(1, 10_000), format).await?;
        }
        Command::Replay { delivery, format } => {
            anyhow::ensure!(!app.public_url.is_empty(), "COOLOPS_PUBLIC_URL is not set; a build's message links there");
            let id = find(&app, &delivery).await?;
            let all = app.replay_delivery(id).await?;
            if format.json {
                let slugs = slugs(&app).await?;
                let json = |d: &Delivery| delivery_json(d, d.project.and_then(|id| slugs.get(&id)));
                output::json(&all.iter().map(|taken| json(&taken.delivery)).collect::<Vec<_>>());
                return Ok(ExitCode::SUCCESS);
            }
            for taken in all {
                let name = match taken.delivery.build {
                    Some(build) => app.store.directory().build(build).await?.map(|b| b.name).unwrap_or_default(),
                    None => String::new(),
                };
                output::line(&sentence(&taken.delivery, &name));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The rules with what was given in place of what was.
fn changed(before: CiRules, given: Rules) -> Result<CiRules> {
    let lists = [&given.event, &given.repository, &given.branch, &given.tag, &given.workflow, &given.conclusion];
    let entries = [&given.param, &given.metadata, &given.field];
    let nothing = lists.iter().all(|l| l.is_empty())
        && entries.iter().all(|l| l.is_empty())
        && given.forks.is_none()
        && given.name.is_none();
    anyhow::ensure!(
        !nothing || given.reset,
        "nothing to change; give --branch, --workflow, --name …, or --reset for the defaults"
    );
    let base = if given.reset { CiRules::default() } else { before };
    fn or_else_base<T>(given: Vec<T>, base: Vec<T>, is_empty: impl Fn(&T) -> bool) -> Vec<T> {
        match given.as_slice() {
            [] => base,
            [one] if is_empty(one) => Vec::new(),
            _ => given,
        }
    }
    let or = |given, base| or_else_base(given, base, String::is_empty);
    let or_entries = |given, base| or_else_base(given, base, |e: &Entry| e.name.is_empty());
    Ok(CiRules {
        events: or(given.event, base.events),
        repositories: or(given.repository, base.repositories),
        branches: or(given.branch, base.branches),
        tags: or(given.tag, base.tags),
        workflows: or(given.workflow, base.workflows),
        conclusions: or(given.conclusion, base.conclusions),
        forks: given.forks.unwrap_or(base.forks),
        name: given.name.or(base.name).filter(|n| !n.is_empty()),
        params: or_entries(given.param, base.params),
        metadata: or_entries(given.metadata, base.metadata),
        fields: or_entries(given.field, base.fields),
    })
}

fn providers(format: Format) {
    let events = |p: &dyn Provider| {
        let (defaults, options) = p.events();
        (defaults.join(", "), options.join(", "))
    };
    if format.json {
        let all: Vec<_> = ci::PROVIDERS
            .iter()
            .map(|p| json!({ "name": p.name(), "address": address(*p, "{project}"), "proof": p.proof(), "events": p.events().0, "more_events": p.events().1 }))
            .collect();
        return output::json(&all);
    }
    let rows: Vec<Vec<String>> = ci::PROVIDERS
        .iter()
        .map(|p| {
            let (defaults, options) = events(*p);
            vec![p.name().to_owned(), defaults, options, p.proof().to_owned()]
        })
        .collect();
    output::table(&["NAME", "EVENTS", "WITH --event", "PROOF OF ORIGIN"], &rows);
}

/// The path that a CI system sends a project's deliveries to.
fn address(provider: &dyn Provider, project: &str) -> String {
    match provider.reach() {
        Reach::Server => format!("/ci/{}", provider.name()),
        Reach::Webhook | Reach::Everybody => format!("/ci/{}/{project}", provider.name()),
    }
}

fn as_json(ci: &Ci) -> serde_json::Value {
    let secret = ci.secret.as_ref().map(
        |s| json!({ "version": s.version, "fingerprint": s.fingerprint, "previous_accepted": ci.previous.is_some() }),
    );
    json!({ "provider": ci.provider, "secret": secret, "rules": ci.rules })
}

fn show(project: &str, ci: &Ci, format: Format) {
    if format.json {
        return output::json(&as_json(ci));
    }
    let secret = match &ci.secret {
        Some(secret) if ci.previous.is_some() => {
            format!("number {} ({}), and the one before it", secret.version, secret.fingerprint)
        }
        Some(secret) => format!("number {} ({})", secret.version, secret.fingerprint),
        None => format!("not set, so nothing is taken; coolops ci secret {project} {}", ci.provider),
    };
    let there = ci::provider(&ci.provider).map(|p| address(p, project)).unwrap_or_default();
    output::line(&format!("{}, at {there}", ci.provider));
    output::line(&format!("  secret       {secret}"));
    let (defaults, _) = ci::provider(&ci.provider).map(Provider::events).unwrap_or_default();
    let list = |what: &str, given: &[String], otherwise: &str| {
        output::line(&format!(
            "  {what:<12} {}",
            if given.is_empty() { otherwise.to_owned() } else { given.join(", ") }
        ));
    };
    list("events", &ci.rules.events, &defaults.join(", "));
    let shared = ci::provider(&ci.provider).is_some_and(|p| p.reach() != Reach::Webhook);
    list("repositories", &ci.rules.repositories, if shared { "none named, so nothing makes a build" } else { "all" });
    list("branches", &ci.rules.branches, if ci.rules.tags.is_empty() { "all but merge queues'" } else { "none" });
    list("tags", &ci.rules.tags, if ci.rules.branches.is_empty() { "all" } else { "none" });
    list("workflows", &ci.rules.workflows, "all");
    list("conclusions", &ci.rules.conclusions, "success");
    output::line(&format!("  forks        {}", if ci.rules.forks { "make builds" } else { "make no builds" }));
    output::line(&format!("  name         {}", ci.rules.name.as_deref().unwrap_or(rules::NAME)));
    for (what, entries) in [("param", &ci.rules.params), ("metadata", &ci.rules.metadata), ("field", &ci.rules.fields)]
    {
        entries.iter().for_each(|e| output::line(&format!("  {what:<12} {} = {}", e.name, e.value)));
    }
}

async fn deliveries(app: &App, project: Option<String>, limit: i64, format: Format) -> Result<()> {
    let of = match &project {
        Some(slug) => Some(app.project_named(slug).await?),
        None => None,
    };
    // What came to an address that the project shares with others may concern it too.
    let is_shared = |provider: &str| ci::provider(provider).is_some_and(|p| p.reach() == Reach::Server);
    let shared: Vec<String> =
        of.iter().flat_map(|p| &p.ci).map(|c| c.provider.clone()).filter(|p| is_shared(p)).collect();
    let slugs = slugs(app).await?;
    let slug = |id: Option<ProjectId>| id.and_then(|id| slugs.get(&id).cloned()).unwrap_or_else(|| "–".to_owned());
    let taken = app.store.deliveries().list(of.as_ref().map(|p| p.id), &shared, limit).await?;
    let refused = app.store.refusals().list(project.as_deref(), &shared, limit).await?;
    if format.json {
        output::json(&json!({
            "deliveries": taken.iter().map(|d| delivery_json(d, d.project.and_then(|id| slugs.get(&id)))).collect::<Vec<_>>(),
            "refused": refused.iter().map(|r| json!({
                "at": r.at, "provider": r.provider, "project": r.project, "reason": r.reason, "digest": r.digest.as_ref().map(hex::encode),
                "times": r.times,
            })).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let mut rows = Vec::new();
    for d in &taken {
        let name = match d.build {
            Some(build) => app.store.directory().build(build).await?.map(|b| b.name).unwrap_or_default(),
            None => String::new(),
        };
        let what = match (d.verdict, d.position) {
            (DeliveryVerdict::Accepted, Some(position)) => format!("{name} (event {position})"),
            (DeliveryVerdict::Accepted, None) => name,
            (DeliveryVerdict::Repeated, _) => format!("{name}: {}", d.reason),
            (DeliveryVerdict::Ignored, _) => d.reason.clone(),
        };
        rows.push((
            d.at,
            vec![
                output::time(d.at),
                slug(d.project),
                d.provider.clone(),
                d.verdict.as_str().to_owned(),
                d.id.to_string()[..8].to_owned(),
                output::safe(&what),
            ],
        ));
    }
    for r in &refused {
        rows.push((
            r.at,
            vec![
                output::time(r.at),
                output::safe(r.project.as_deref().unwrap_or("–")),
                r.provider.clone(),
                "refused".to_owned(),
                "–".to_owned(),
                if r.times > 1 {
                    format!("{} ({} times)", output::safe(&r.reason), r.times)
                } else {
                    output::safe(&r.reason)
                },
            ],
        ));
    }
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    if rows.is_empty() {
        output::line("Nothing was delivered in the last 30 days.");
    } else {
        output::table(&["WHEN", "PROJECT", "FROM", "VERDICT", "ID", "BUILD OR REASON"], &rows);
    }
    Ok(())
}

/// What projects are called, by their ids.
async fn slugs(app: &App) -> Result<HashMap<ProjectId, String>> {
    Ok(app.store.directory().projects().await?.into_iter().map(|p| (p.id, p.slug)).collect())
}

fn delivery_json(d: &Delivery, project: Option<&String>) -> serde_json::Value {
    json!({
        "id": d.id, "at": d.at, "project": project, "provider": d.provider, "name": d.name, "verdict": d.verdict, "reason": d.reason,
        "build": d.build, "events": d.position.into_iter().collect::<Vec<_>>(),
    })
}

fn sentence(d: &Delivery, build: &str) -> String {
    let build = output::safe(build);
    match d.verdict {
        DeliveryVerdict::Accepted => format!("The build {build} is registered."),
        DeliveryVerdict::Repeated => format!("The build {build} is registered already; nothing was done."),
        DeliveryVerdict::Ignored => format!("Ignored, because {}.", output::safe(&d.reason)),
    }
}

/// The delivery whose id begins so.
async fn find(app: &App, text: &str) -> Result<DeliveryId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let (what, list) = ("delivery", "coolops ci deliveries");
    let beginning = beginning_of_id(what, list, text)?;
    the_only(what, list, text, app.store.deliveries().like(&beginning).await?)
}
