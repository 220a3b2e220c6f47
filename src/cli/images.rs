//! `coolops images`: the deployment images that come with coolops, and their variables.
//!
//! **Invariant:** what is printed is what stands in their own README: it is read from the table there.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use super::output::{self, Format};

macro_rules! images {
    ($($name:literal)*) => {
        /// The images, with what their READMEs say.
        pub const IMAGES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../deployment-images/", $name, "/README.md")))),*];
    };
}

images!("gke" "kubectl" "helm" "ecs" "ssh-compose" "s3-site" "terraform" "ansible");

/// Arguments of `images`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this one
    name: Option<String>,
    #[command(flatten)]
    format: Format,
}

/// A variable, as a README tells it.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Variable {
    pub name: String,
    pub of: String,
    pub required: String,
    pub default: String,
    pub example: String,
    pub meaning: String,
}

/// What an image does, by its README: the first sentence beneath the title.
pub fn purpose(readme: &str) -> &str {
    readme.lines().skip(1).find(|line| !line.is_empty()).unwrap_or_default()
}

/// The variables in a README's table.
pub fn variables(readme: &str) -> Vec<Variable> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let row = line.strip_prefix("| `")?.strip_suffix(" |")?;
        Some(row.split(" | ").map(|cell| cell.trim().replace('`', "")).collect())
    };
    let variable = |cells: Vec<String>| {
        let [name, of, required, default, example, meaning] = cells.try_into().ok()?;
        Some(Variable { name, of, required, default, example, meaning })
    };
    readme.lines().filter_map(cells).filter_map(variable).collect()
}

/// Prints them.
///
/// # Errors
/// When there is none of that name.
pub fn run(args: &Args) -> Result<ExitCode> {
    let known = || IMAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let chosen: Vec<_> =
        IMAGES.iter().filter(|(name, _)| args.name.as_deref().is_none_or(|wanted| wanted == *name)).collect();
    chosen.first().with_context(|| format!("there is no such image; there are {}", known()))?;
    if args.format.json {
        let one = |(name, readme): &&(&str, &str)| json!({ "name": name, "purpose": purpose(readme), "variables": variables(readme) });
        output::json(&chosen.iter().map(one).collect::<Vec<_>>());
        return Ok(ExitCode::SUCCESS);
    }
    for (name, readme) in chosen {
        output::line(&format!("{name}: {}", purpose(readme)));
        let row = |v: Variable| {
            let default = if v.default.is_empty() { v.required } else { format!("default: {}", v.default) };
            vec![format!("  {}", v.name), v.of, default, v.meaning]
        };
        output::table(
            &["  VARIABLE", "OF THE", "REQUIRED", "MEANING"],
            &variables(readme).into_iter().map(row).collect::<Vec<_>>(),
        );
        output::line(" ");
    }
    output::line(
        "They are made from the folder deployment-images of coolops; its README says how. What an environment lacks: coolops environment check PROJECT ENVIRONMENT",
    );
    Ok(ExitCode::SUCCESS)
}
