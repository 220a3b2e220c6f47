//! Sends a build to coolops: the request, its tries and what went wrong.

use std::io::{IsTerminal, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::presets::{self, PRESETS, Surroundings};
use crate::limits;

/// How often a request without an answer is tried again, and after how long.
const RETRIES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];
const TIMEOUT: Duration = Duration::from_secs(10);

/// What every announcement takes.
#[derive(Debug, clap::Args)]
struct Common {
    /// Something to show in the message; may be given many times [env: COOLOPS_METADATA, one in each line]
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = entry, allow_hyphen_values = true)]
    metadata: Vec<(String, String)>,
    /// A variable for the deployment's container; may be given many times [env: COOLOPS_PARAMS, one in each line]
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = entry, allow_hyphen_values = true)]
    param: Vec<(String, String)>,
    /// The address of the repository that it was built of, such as https://github.com/owner/name; for the link *Changes*
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    repository: Option<String>,
    /// The hash of the commit that it was built of
    #[arg(long, value_name = "HASH", allow_hyphen_values = true)]
    commit: Option<String>,
    /// The project's token [env: COOLOPS_PROJECT_API_TOKEN]
    #[arg(short, long, allow_hyphen_values = true)]
    token: Option<String>,
    /// Where coolops is reached, such as https://coolops.example.com [env: COOLOPS_URL]
    #[arg(long)]
    url: Option<String>,
    /// Print what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't say that it is announced; otherwise that is said once on standard error, at a terminal and in CI
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `build:new`.
#[derive(Debug, clap::Args)]
pub struct NamedArgs {
    /// The build's name, unique in its project
    #[arg(value_name = "BUILD NAME")]
    name: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Arguments of the presets.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The build's name, unique in its project [default: branch-number]
    #[arg(short, long, allow_hyphen_values = true)]
    name: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Splits at the first `=`; the value may be empty or hold more of them.
fn entry(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("should have the {key}={value} format".to_owned()),
    }
}

/// A variable of the job, as text whatever its bytes are; an empty one counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "CI passes everything in its environment; this command reads no other configuration"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty())
}

/// A flag, or else a variable; blanks around it are not meant.
fn given(flag: Option<&String>, name: &str) -> Option<String> {
    let flag = flag.map(|f| f.trim().to_owned()).filter(|f| !f.is_empty());
    flag.or_else(|| variable(name).map(|v| v.trim().to_owned())).filter(|v| !v.is_empty())
}

#[derive(serde::Serialize)]
struct Body<'a> {
    name: &'a str,
    params: Entries<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Entries<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
}

/// An object in the order given; of a repeated key the last value counts, in the place of the first.
struct Entries<'a>(&'a [(String, String)]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (n, (key, _)) in self.0.iter().enumerate() {
            if self.0[..n].iter().all(|(before, _)| before != key) {
                let last = self.0.iter().rfind(|(k, _)| k == key).map(|(_, value)| value);
                map.serialize_entry(key, &last)?;
            }
        }
        map.end()
    }
}

/// Entries from a variable, one in each line: for CI configurations that have no lists. Values can't span lines.
#[expect(clippy::disallowed_methods, reason = "as a flag would be: what is no UTF-8 is refused, not altered")]
fn lines(name: &str) -> Result<Vec<(String, String)>, String> {
    let text =
        std::env::var_os(name).unwrap_or_default().into_string().map_err(|_| format!("${name} is not UTF-8 text"))?;
    let given = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    // The line itself may be a part of a secret, so it isn't shown.
    given.map(|(n, line)| entry(line.trim_start()).map_err(|e| format!("${name}: line {} {e}", n + 1))).collect()
}

fn ended(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::from(1)
        }
    }
}

/// Announces a build under the name that was given.
pub fn run_named(args: &NamedArgs) -> ExitCode {
    let named = args.name.clone().filter(|n| !n.is_empty()).ok_or_else(|| {
        "name is mandatory: coolops build:new NAME, or coolops build:new:auto in a job of a CI system".to_owned()
    });
    let in_ci = variable("CI").is_some();
    ended(named.and_then(|name| announce(&name, &args.common, &[], (None, None), in_ci)))
}

/// Announces a build of this CI job; of whatever CI system it is when none is named.
pub fn run_preset(name: Option<&str>, args: &Args) -> ExitCode {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let file = |path: &str| std::fs::read_to_string(path).ok();
    let here = Surroundings::new(&variable, &git, &file);
    let found = match name {
        Some(name) => presets::named(name),
        None => presets::recognised(&here),
    };
    let announced = found.ok_or_else(|| {
        let known: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
        format!(
            "This is no CI system that coolops knows ({}).\nAnnounce the build with its name: coolops build:new NAME",
            known.join(", ")
        )
    });
    ended(announced.and_then(|preset| {
        let name = match args.name.clone().filter(|n| !n.is_empty()) {
            Some(name) => name,
            None => preset.build_name(&here)?,
        };
        announce(&name, &args.common, &preset.metadata(&here), preset.source(&here), true)
    }))
}

/// `told` is what the CI system says of the repository and the commit; in CI it is said what became of it.
fn announce(
    name: &str,
    args: &Common,
    metadata: &[(String, String)],
    told: (Option<String>, Option<String>),
    in_ci: bool,
) -> Result<(), String> {
    let flag = |given: &Option<String>| given.clone().filter(|text| !text.trim().is_empty());
    let invalid = |e: limits::Invalid| format!("Invalid request: {e}");
    let repository = flag(&args.repository).map(|r| limits::repository(&r)).transpose().map_err(invalid)?.or(told.0);
    let commit = flag(&args.commit).map(|c| limits::commit(&c)).transpose().map_err(invalid)?.or(told.1);
    // As in the original, a preset's entries win over the user's of the same title.
    let metadata = [lines("COOLOPS_METADATA")?.as_slice(), &args.metadata, metadata].concat();
    let params = [lines("COOLOPS_PARAMS")?, args.param.clone()].concat();
    let name = trimmed("the name", name).trim();
    let without = |all: Vec<(String, String)>| -> Vec<(String, String)> {
        all.into_iter()
            .map(|(key, value)| (key.clone(), trimmed(&format!("the value of {key}"), &value).to_owned()))
            .collect()
    };
    let (params, metadata) = (without(params), without(metadata));
    let body = Body {
        name,
        params: Entries(&params),
        metadata: Some(Entries(&metadata)).filter(|m| !m.0.is_empty()),
        repository: repository.as_deref(),
        commit: commit.as_deref(),
    };
    let url = given(args.url.as_ref(), "COOLOPS_URL");
    if args.dry_run {
        // What the service would refuse is refused here too.
        check(name, &params, &metadata).map_err(|e| format!("Invalid request: {e}"))?;
        let shown = serde_json::to_string_pretty(&body).unwrap_or_default();
        let _ = writeln!(
            std::io::stdout(),
            "POST {}/builds\n{shown}",
            url.as_deref().unwrap_or("$COOLOPS_URL").trim_end_matches('/')
        );
        return Ok(());
    }
    let token = given(args.token.as_ref(), "COOLOPS_PROJECT_API_TOKEN").ok_or(
        "The project's api token is mandatory.\nEither pass it using the --token flag or setting the $COOLOPS_PROJECT_API_TOKEN environment variable.",
    )?;
    let url = url.ok_or(
        "The address of coolops is mandatory.\nEither pass it using the --url flag or setting the $COOLOPS_URL environment variable.",
    )?;
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("The project's api token holds characters that no token has; copy it again.".to_owned());
    }
    let address = address(&url)?;
    let agent = agent()?;
    let body = serde_json::to_string(&body).map_err(|e| e.to_string())?;
    let mut retries = RETRIES.iter();
    loop {
        let problem = match send(&agent, &address, &token, &body) {
            Ok(taken) => {
                if !args.quiet && (in_ci || std::io::stderr().is_terminal()) {
                    taken.tell(name);
                }
                return Ok(());
            }
            Err(Problem::Final(reason)) => return Err(reason),
            Err(Problem::Passing(reason)) => reason,
        };
        match retries.next() {
            Some(wait) => std::thread::sleep(*wait),
            None => {
                let tries = RETRIES.len() + 1;
                return Err(format!(
                    "The build could not be announced to {address}, in {tries} tries: {problem}\nIs the address right, and can this job reach it?"
                ));
            }
        }
    }
}

/// A text without the carriage return that Windows' shells leave at its end; a person is told.
fn trimmed<'a>(what: &str, text: &'a str) -> &'a str {
    let kept = limits::without_carriage_return(text);
    if kept.len() < text.len() {
        let _ = writeln!(std::io::stderr(), "{what} ended with a carriage return, which was left out");
    }
    kept
}

/// The rules of an announcement, as the service has them. A project may let in params that are refused here.
fn check(name: &str, params: &[(String, String)], metadata: &[(String, String)]) -> Result<(), limits::Invalid> {
    limits::build_name(name)?;
    for (what, all) in [("params", params), ("metadata entries", metadata)] {
        if all.len() > limits::ENTRIES_MAX {
            return Err(limits::Invalid(format!(
                "there are {} {what}; at most {} are allowed",
                all.len(),
                limits::ENTRIES_MAX
            )));
        }
    }
    for (key, value) in params {
        limits::param(key)?;
        limits::value(key, value)?;
    }
    for (key, value) in metadata {
        limits::metadata_key(key)?;
        limits::value(key, value)?;
    }
    Ok(())
}

enum Problem {
    /// The server has spoken.
    Final(String),
    /// The network or the server may be well in a moment.
    Passing(String),
}

/// The address that builds are sent to.
fn address(url: &str) -> Result<String, String> {
    let address = format!("{}/builds", url.trim_end_matches('/'));
    let parsed: Option<ureq::http::Uri> = address.parse().ok();
    let fits = parsed.is_some_and(|u| {
        let has_user = u.authority().is_some_and(|a| a.as_str().contains('@'));
        ["http", "https"].contains(&u.scheme_str().unwrap_or_default()) && u.query().is_none() && !has_user
    });
    // It isn't shown: there may be a password in it.
    if fits && !address.contains('#') {
        Ok(address)
    } else {
        Err("The address of coolops can't be read; write it like https://coolops.example.com, without user and query"
            .to_owned())
    }
}

/// The client: it follows nobody elsewhere, and trusts the certificates of `SSL_CERT_FILE` where that is set.
fn agent() -> Result<ureq::Agent, String> {
    let mut tls = ureq::tls::TlsConfig::builder();
    if let Some(file) = variable("SSL_CERT_FILE") {
        let pem = std::fs::read(&file).map_err(|e| format!("$SSL_CERT_FILE: {file} can't be read: {e}"))?;
        let items: Vec<_> = ureq::tls::parse_pem(&pem).filter_map(Result::ok).collect();
        let certificates: Vec<_> = items
            .into_iter()
            .filter_map(|i| if let ureq::tls::PemItem::Certificate(c) = i { Some(c) } else { None })
            .collect();
        if certificates.is_empty() {
            return Err(format!("$SSL_CERT_FILE: {file} holds no certificate in PEM"));
        }
        tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&certificates));
    }
    let config =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).max_redirects(0);
    Ok(config.max_redirects_will_error(false).tls_config(tls.build()).build().new_agent())
}

/// What coolops answered to a build that it took.
struct Taken {
    new: bool,
    url: String,
}

impl Taken {
    /// Says what became of it. Standard output stays empty: a job may use it.
    fn tell(&self, name: &str) {
        let what = if self.new { "is announced" } else { "was announced before" };
        let _ = writeln!(std::io::stderr(), "{} {what}: {}", limits::on_a_line(name), limits::on_a_line(&self.url));
    }
}

fn send(agent: &ureq::Agent, address: &str, token: &str, body: &str) -> Result<Taken, Problem> {
    let request = agent
        .post(address)
        .header("authorization", format!("Token {token}"))
        .header("x-coolops-cli-version", env!("CARGO_PKG_VERSION"))
        .header("content-type", "application/json");
    let mut answer = request.send(body).map_err(|e| {
        let text = e.to_string();
        match text.contains("certificate") {
            true => Problem::Final(format!(
                "{address} has a certificate that isn't trusted ({text}); name the file of your authority in $SSL_CERT_FILE"
            )),
            false => Problem::Passing(text),
        }
    })?;
    let status = answer.status().as_u16();
    let mut reason = || {
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|v| v["error"].as_str().map(str::to_owned))
            .unwrap_or_else(|| format!("status {status}"))
    };
    match status {
        200 | 201 => {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            // A page of something on the way, as where people log in, takes no build.
            let Some(url) = said["url"].as_str().filter(|url| !url.is_empty()) else {
                return Err(Problem::Passing(format!("what answers there is not coolops (status {status})")));
            };
            for note in said["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let _ = writeln!(std::io::stderr(), "{}", limits::on_a_line(note));
            }
            Ok(Taken { new: status == 201, url: url.to_owned() })
        }
        300..=399 => {
            let to = answer.headers().get("location").and_then(|l| l.to_str().ok()).unwrap_or("another address");
            Err(Problem::Final(format!("{address} sends us on to {to}; set the address of coolops itself")))
        }
        401 => Err(Problem::Final(
            "Invalid project token: it is unknown or was revoked. Make one with: coolops project token new PROJECT"
                .to_owned(),
        )),
        // What something on the way says when it is busy may be over in a moment.
        408 | 429 | 500.. => Err(Problem::Passing(reason())),
        _ => Err(Problem::Final(format!("Invalid request: {}", reason()))),
    }
}
