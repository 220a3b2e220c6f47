//! Writes the published contract under `events/`, generated from the types.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::domain::event;

/// Writes every schema and example. Before the first release they may change; afterwards an event is forever.
///
/// # Errors
/// When a file can't be written.
pub fn write(folder: &Path) -> Result<()> {
    for (path, content) in files() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a contract file has a folder")?)?;
        fs::write(&path, content).with_context(|| format!("{} can't be written", path.display()))?;
    }
    ensure!(folder.join("CHAIN.md").exists(), "{} is not the events folder: it has no CHAIN.md", folder.display());
    Ok(())
}

/// Every contract file with its content, by its path below `events/`.
pub fn files() -> Vec<(String, String)> {
    let pretty = |value: &serde_json::Value| format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default());
    let actor = schemars::schema_for!(crate::domain::actor::Stored);
    event::contract()
        .into_iter()
        .flat_map(|c| {
            let base = format!("{}/v{}", c.name, c.version);
            [
                (format!("{base}.schema.json"), pretty(c.schema.as_value())),
                (format!("{base}.example.json"), pretty(&c.example)),
            ]
        })
        .chain([("actor.schema.json".to_owned(), pretty(actor.as_value()))])
        .collect()
}
