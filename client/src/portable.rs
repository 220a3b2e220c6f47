//! The commands of CI as a POSIX script, for machines that there is no program for: made of the same table of presets.
//!
//! **Invariant:** what it sends is what the program sends, request by request; a test holds both side by side.

use std::fmt::Write;

use crate::limits::REPOSITORY_MAX;
use crate::presets::{PRESETS, Preset};
use crate::told::{Made, Piece, pieces};

/// Everything but the table.
const SCRIPT: &str = include_str!("portable.sh");

/// The script.
pub fn script() -> String {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    let commands: String = names.iter().fold(String::new(), |mut all, name| {
        let _ = write!(all, " | build:new:{name}");
        all
    });
    SCRIPT
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@NAMES@", &names.join(", "))
        .replace("@COMMANDS@", &commands)
        .replace("@REPOSITORY_MAX@", &REPOSITORY_MAX.to_string())
        .replace("@PRESETS@", &table())
}

fn table() -> String {
    let mut recognised = String::from("recognised() {\n");
    let mut known = String::from("preset_of() {\n  attempt='' first_attempt=0\n  case $1 in\n");
    let mut told = String::new();
    for preset in PRESETS {
        let (variable, wanted) = preset.sign;
        let asked = match wanted {
            Some(value) => format!("[ \"${{{variable}:-}}\" = {value} ]"),
            None => format!("has {variable}"),
        };
        let _ = writeln!(recognised, "  {asked} && echo {} && return", preset.name);
        known.push_str(&of(preset));
        for (what, texts) in [
            ("url", preset.url),
            ("pull_request", preset.pull_request),
            ("repository", preset.repository),
            ("fork", preset.fork.0),
        ] {
            let _ = writeln!(told, "{}_{what}() {{", preset.name);
            texts.iter().for_each(|text| told.push_str(&function(text)));
            told.push_str("  return 1\n}\n");
        }
    }
    recognised.push_str("  return 1\n}\n");
    known.push_str("  esac\n}\n");
    format!("{recognised}{known}{told}").trim_end().to_owned()
}

/// What a preset is, as the shell's variables.
fn of(preset: &Preset) -> String {
    let list = |names: &[&str]| names.join(" ");
    let attempt = match preset.attempt {
        Some((variable, first)) => format!(" attempt={variable} first_attempt={first}"),
        None => String::new(),
    };
    format!(
        "    {})\n      title='{}' shows={}{attempt}\n      branches='{}' counted_in='{}' numbers='{}' commits='{}'\n      messages='{}' authors='{}' strip='{}' own='{}'\n      ;;\n",
        preset.name,
        preset.title,
        preset.shows.name(),
        list(preset.branch),
        list(preset.counted_in),
        list(preset.number),
        list(preset.commit),
        list(preset.message),
        list(preset.author),
        list(preset.strip),
        preset.fork.1.unwrap_or_default(),
    )
}

/// A text of variables as commands that print it and return, if all of it is there.
fn function(text: &str) -> String {
    let (mut conditions, mut printed) = (Vec::new(), String::new());
    for piece in pieces(text) {
        match piece {
            Piece::Plain(text) => printed.push_str(text),
            Piece::Event(pointer) | Piece::Fork(pointer) => {
                let name = format!("event{}", pointer.replace('/', "_"));
                conditions.push(format!("[ -n \"${name}\" ]"));
                match piece {
                    Piece::Fork(_) => printed.push_str("fork"),
                    _ => drop(write!(printed, "${name}")),
                }
            }
            Piece::Variable(name, made) => {
                conditions.push(format!("has {name}"));
                match made {
                    Made::AsItIs => drop(write!(printed, "${name}")),
                    Made::Path => drop(write!(printed, "$(in_a_path \"${name}\")")),
                    Made::Trimmed => drop(write!(printed, "$(no_slashes \"${name}\")")),
                    Made::Number => {
                        conditions.push(format!("[ \"${name}\" != false ]"));
                        let _ = write!(printed, "${name}");
                    }
                    Made::Fork => {
                        conditions.push(format!("[ \"${name}\" = True ]"));
                        printed.push_str("fork");
                    }
                    Made::Pull => {
                        conditions.push(format!("[ -z \"${{{name}%%refs/pull/*}}\" ]"));
                        let _ = write!(printed, "$(pull_of \"${name}\")");
                    }
                }
            }
        }
    }
    format!("  {} && printf '%s' \"{printed}\" && return\n", conditions.join(" && "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_table_is_filled_in() {
        let script = script();
        assert!(!script.contains("@PRESETS@") && !script.contains("@VERSION@") && !script.contains("@NAMES@"));
        for preset in PRESETS {
            assert!(script.contains(&format!("build:new:{}", preset.name)));
            assert!(script.contains(&format!("\n{}_url() {{\n", preset.name)));
        }
    }
}
