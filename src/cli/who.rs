//! `coolops who`: who may do what in an environment, and by which rule.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::operate;
use super::output::{self, Format};
use crate::app::App;
use crate::domain::names;
use crate::domain::project::Environment;
use crate::domain::rights::{Right, Who};

/// Arguments of `who`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's slug
    project: String,
    /// The environment's name
    environment: String,
    #[command(flatten)]
    format: Format,
}

/// Runs it.
///
/// # Errors
/// When there is no such environment, or the database is away.
pub async fn run(args: Args) -> Result<ExitCode> {
    let app = operate().await?;
    let project = app.project_named(&args.project).await?;
    let environment = project.environment_named(&args.environment)?;
    if args.format.json {
        let administrators = app.installation_anew().await?.value.administrators.clone();
        let (name, rights) = (&environment.name, &environment.rights);
        output::json(&json!({ "environment": name, "rights": rights, "administrators": administrators }));
    } else {
        show(&app, environment).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints who may do what.
///
/// # Errors
/// When the database is away.
pub(super) async fn show(app: &App, environment: &Environment) -> Result<()> {
    let administrators = app.installation_anew().await?.value.administrators.clone();
    let rights = environment.rights.clone().with_administrators(&administrators);
    let mut rows = Vec::new();
    for right in Right::ALL {
        let by = match rights.named(right) {
            None => vec![("everybody who sees the build's message".to_owned(), String::new())],
            Some([]) if rights.administer.is_empty() => vec![("operators alone".to_owned(), String::new())],
            Some([]) => vec![("who administers it".to_owned(), String::new())],
            Some(all) => {
                let mut by = Vec::new();
                for who in all {
                    by.push((who.name(), members(app, who).await?));
                }
                by
            }
        };
        for (n, (who, members)) in by.into_iter().enumerate() {
            let word = if n == 0 { right.word().to_owned() } else { String::new() };
            rows.push(vec![word, output::safe(&who), members]);
        }
    }
    output::table(&["MAY", "WHO", "THAT IS"], &rows);
    if !rights.administer.is_empty() {
        output::line("Who administers it may do the rest as well.");
    }
    output::line(&format!(
        "People of other workspaces {}, guests {}.",
        if rights.other_workspaces { "may too" } else { "may not" },
        if rights.guests { "may too" } else { "may not, unless they are named" }
    ));
    Ok(())
}

async fn members(app: &App, who: &Who) -> Result<String> {
    let Who::Group { id, .. } = who else { return Ok("a person".to_owned()) };
    Ok(match app.members(id).await? {
        None => "a group; Slack does not say of whom".to_owned(),
        Some(members) if members.is_empty() => "a group that is empty or gone: nobody".to_owned(),
        Some(members) => members.join(" "),
    })
}

/// Who is named by these words; nothing for everybody.
pub(super) async fn named(app: &App, words: &[String]) -> Result<Option<Vec<Who>>> {
    let words: Vec<&str> = words.iter().flat_map(|w| w.split(',')).map(str::trim).filter(|w| !w.is_empty()).collect();
    match words[..] {
        // As of a variable of the shell that is not set: nobody is said in so many words.
        [] => anyhow::bail!(
            "nobody is named; give @group, Slack's id of a person (U…) or of a group (S…), everybody, or nobody"
        ),
        ["everybody"] => return Ok(None),
        ["nobody"] => return Ok(Some(vec![])),
        _ => {}
    }
    let mut all = Vec::new();
    for word in words {
        let is_id = |first: &[char]| {
            word.starts_with(first)
                && (9..=21).contains(&word.len())
                && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        };
        let who = match word.strip_prefix('@') {
            Some(handle) => app.group_called(handle).await.map_err(anyhow::Error::msg)?,
            None if is_id(&['U', 'W']) => app.person_named(word).await,
            None if is_id(&['S']) => Who::Group { id: word.to_owned(), handle: None },
            None => anyhow::bail!(
                "\"{}\" is nobody; give @group, Slack's id of a person (U…) or of a group (S…), everybody, or nobody",
                names::printable(word)
            ),
        };
        if !all.contains(&who) {
            all.push(who);
        }
    }
    Ok(Some(all))
}
