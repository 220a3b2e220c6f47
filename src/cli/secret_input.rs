//! Secrets that commands are given: from a file or from standard input, never from the command line.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result};
use secrecy::SecretString;

/// Reads a secret from a file or from standard input, without the line's end.
///
/// # Errors
/// When it can't be read, or is not text.
pub(super) fn secret_input(file: Option<&Path>, what: &str) -> Result<SecretString> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?,
        None => {
            if std::io::stdin().is_terminal() {
                anyhow::bail!(
                    "{what} comes from standard input, so that it stays out of your shell's history; pipe it in: printf %s … | coolops …"
                );
            }
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .with_context(|| format!("{what} can't be read from standard input"))?;
            text
        }
    };
    Ok(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r').to_owned().into())
}
