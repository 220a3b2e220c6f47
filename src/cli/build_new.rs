//! `coolops build:new`: what CI runs. It needs no runtime and no database.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// How often a request without an answer is tried again, and after how long.
const RETRIES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];
const TIMEOUT: Duration = Duration::from_secs(10);

/// Announce a build: its Slack channel gets one message with a deploy button per environment.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The build's name, unique in its project
    #[arg(value_name = "BUILD NAME")]
    name: Option<String>,
    /// Something to show in the message; may be given many times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = entry)]
    metadata: Vec<(String, String)>,
    /// A variable for the deployment's container; may be given many times
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = entry)]
    param: Vec<(String, String)>,
    /// The project's token [env: COOLOPS_PROJECT_API_TOKEN]
    #[arg(short, long)]
    token: Option<String>,
    /// Where coolops is reached, such as <https://coolops.example.com> [env: COOLOPS_URL]
    #[arg(long)]
    url: Option<String>,
}

/// Splits at the first `=`; the value may be empty or hold more of them.
fn entry(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("should have the {key}={value} format".to_owned()),
    }
}

#[expect(clippy::disallowed_methods, reason = "CI passes both in its environment; this command reads no other configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Announces the build.
pub fn run(args: &Args) -> ExitCode {
    match announce(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "{reason}");
            ExitCode::from(1)
        }
    }
}

fn announce(args: &Args) -> Result<(), String> {
    let name = args.name.as_deref().filter(|n| !n.is_empty()).ok_or("name is mandatory")?;
    let token = args.token.clone().or_else(|| variable("COOLOPS_PROJECT_API_TOKEN")).ok_or(
        "The project's api token is mandatory.\nEither pass it using the --token flag or setting the $COOLOPS_PROJECT_API_TOKEN environment variable.",
    )?;
    let url = args.url.clone().or_else(|| variable("COOLOPS_URL")).ok_or(
        "The address of coolops is mandatory.\nEither pass it using the --url flag or setting the $COOLOPS_URL environment variable.",
    )?;
    let object =
        |entries: &[(String, String)]| -> Map<String, Value> { entries.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect() };
    let mut body = json!({ "name": name, "params": object(&args.param) });
    if !args.metadata.is_empty() {
        body["metadata"] = object(&args.metadata).into();
    }
    let mut retries = RETRIES.iter();
    loop {
        let problem = match send(&url, &token, &body) {
            Ok(()) => return Ok(()),
            Err(Problem::Final(reason)) => return Err(reason),
            Err(Problem::Passing(reason)) => reason,
        };
        match retries.next() {
            Some(wait) => std::thread::sleep(*wait),
            None => return Err(format!("The build could not be announced to {url}: {problem}")),
        }
    }
}

enum Problem {
    /// The server has spoken.
    Final(String),
    /// The network or the server may be well in a moment.
    Passing(String),
}

fn send(url: &str, token: &str, body: &Value) -> Result<(), Problem> {
    let request = ureq::post(format!("{}/builds", url.trim_end_matches('/')))
        .config()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Token {token}"))
        .header("x-coolops-cli-version", env!("CARGO_PKG_VERSION"))
        .header("content-type", "application/json");
    let mut answer = request.send(body.to_string()).map_err(|e| match e {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            Problem::Final(format!("The address {url} can't be read; write it like https://coolops.example.com"))
        }
        other => Problem::Passing(other.to_string()),
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
        200 | 201 => Ok(()),
        401 => Err(Problem::Final("Invalid project token".to_owned())),
        500.. => Err(Problem::Passing(reason())),
        _ => Err(Problem::Final(format!("Invalid request: {}", reason()))),
    }
}
