//! Writes the published contract under `events/`, and `docs/EVENTS.md` for people, generated from the types.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use serde_json::Value;

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

/// `docs/EVENTS.md`: each event, when it is recorded, its fields and an example; and what the fields are made of.
pub fn reference() -> String {
    let contract = event::contract();
    let mut text = String::from(
        "# Events\n\nGenerated from the types by `./just events`. What everything here is derived from: each is recorded once and never changed. `events/` has \
         the same for machines, older versions included; `events/CHANGELOG.md` says what changed, `events/CHAIN.md` how they are chained. What may be missing is marked `?`. Ids, names and words of people, and the last lines of output, are stored encrypted (`private:…`, docs/PROOF.md); here they are in plain.\n\n\
         | event | version | |\n|---|---|---|\n",
    );
    for event in &contract {
        let (name, version) = (event.name, event.version);
        let _ = writeln!(text, "| [`{name}`](#{name}) | {version} | {} |", described(event.schema.as_value()));
    }
    let mut parts = BTreeMap::new();
    for event in &contract {
        let schema = event.schema.as_value();
        let _ = write!(text, "\n## `{}`\n\n{}\n\n{}", event.name, described(schema), fields(schema));
        for before in 1..event.version {
            let (at, version) = (format!("../events/{}/v{before}", event.name), event.version);
            let _ = write!(
                text,
                "\nVersion {before} ([schema]({at}.schema.json), [example]({at}.example.json)) is not written any more, and read as version {version} for ever.\n"
            );
        }
        let example = serde_json::to_string_pretty(&event.example).unwrap_or_default();
        let _ = write!(text, "\n<details><summary>Example</summary>\n\n```json\n{example}\n```\n\n</details>\n");
        let of_schema = schema["$defs"].as_object().into_iter().flatten();
        parts.extend(of_schema.map(|(name, part)| (name.clone(), part.clone())));
    }
    text.push_str("\n# What they are made of\n");
    for (name, part) in &parts {
        let _ = write!(text, "\n## {name}\n\n{}\n", described(part));
        let table = fields(part);
        if !table.is_empty() {
            let _ = write!(text, "\n{table}");
        }
        for variant in part["oneOf"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "\n- {}{}", shape(variant), dash(&described(variant)));
            text.push_str(&fields(variant).lines().fold(String::new(), |all, line| all + "  " + line + "\n"));
        }
    }
    text
}

fn dash(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// A schema's description, on one line.
fn described(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A table of the fields that a schema has; nothing where it has none.
fn fields(schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object().filter(|all| !all.is_empty()) else { return String::new() };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut table = String::from("| field | is | |\n|---|---|---|\n");
    for (name, field) in properties {
        let mark = if required.contains(&name.as_str()) { "" } else { "?" };
        let _ = writeln!(table, "| `{name}`{mark} | {} | {} |", shape(field), described(field));
    }
    table
}

/// What a value is, in a few words.
fn shape(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(only) = schema["const"].as_str() {
        return format!("`\"{only}\"`");
    }
    for many in ["anyOf", "oneOf"] {
        if let Some(all) = schema[many].as_array() {
            let words: Vec<String> = all.iter().filter(|one| one["type"] != "null").map(shape).collect();
            return words.join(" or ");
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".to_owned(),
    };
    match (kind.as_str(), schema["format"].as_str()) {
        ("array", _) => format!("list of {}", shape(&schema["items"])),
        ("string", Some("date-time")) => "time".to_owned(),
        ("string", Some("uuid")) => "UUID".to_owned(),
        ("string", _) => "text".to_owned(),
        ("integer", _) => "number".to_owned(),
        ("boolean", _) => "true or false".to_owned(),
        (kind, _) => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_when_each_event_is_recorded_and_what_is_in_it() {
        let text = reference();
        for event in event::contract() {
            assert!(text.contains(&format!("\n## `{}`\n\nRecorded ", event.name)), "{} does not say when", event.name);
        }
        assert!(text.contains("| `lock_taken`? | [LockTaken](#locktaken) | The lock that it waited for"));
        assert!(text.contains("\n## LockTaken\n\nA lock that somebody else took away from its holder.\n"));
    }
}
