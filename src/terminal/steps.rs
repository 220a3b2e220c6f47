//! The steps that a script prints, in the conventions of CI systems.
//!
//! Sources: Buildkite, "Managing log output" (`---`, `+++`, `~~~`); GitHub, "Workflow commands" (`::group::`,
//! `::endgroup::`, `::error`); GitLab, "Custom collapsible sections" (`section_start`, `section_end`).

use chrono::{DateTime, Utc};

use super::text;

/// Most steps that are kept; the lines of later ones are of the last.
const STEPS_MAX: usize = 2_000;
/// Longest title, in characters.
const TITLE_MAX: usize = 200;

/// A step: lines from its title to the next one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of its title.
    pub line: i64,
    /// Its title, as it is shown.
    pub title: String,
    /// Whether it is shown open.
    pub open: bool,
    /// When it began.
    pub at: DateTime<Utc>,
    /// Where it ended, if something says so: the line of its end, and when.
    pub end: Option<(i64, DateTime<Utc>)>,
    /// Lines in it that say that something is wrong.
    pub errors: u32,
    /// GitLab's name of it.
    name: Option<String>,
}

/// A log's steps, found line by line.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    all: Vec<Step>,
}

/// What a line says of steps.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Begins {
        title: String,
        open: bool,
        name: Option<String>,
    },
    Ends {
        name: Option<String>,
    },
    /// What was begun last failed.
    Opens,
    Error,
    Nothing,
}

impl Steps {
    /// Takes the next line, given without its end.
    pub fn line(&mut self, number: i64, line: &[u8], at: DateTime<Utc>) {
        match said(line) {
            Said::Begins { title, open, name } => {
                if self.all.len() < STEPS_MAX {
                    self.all.push(Step { line: number, title, open, at, end: None, errors: 0, name });
                }
            }
            Said::Ends { name } => {
                let open =
                    self.all.iter_mut().rev().find(|step| step.end.is_none() && (name.is_none() || step.name == name));
                if let Some(step) = open {
                    step.end = Some((number, at));
                }
            }
            Said::Opens => {
                if let Some(step) = self.all.last_mut() {
                    step.open = true;
                }
            }
            Said::Error => {
                if let Some(step) = self.all.iter_mut().rev().find(|step| step.end.is_none()) {
                    step.errors += 1;
                }
            }
            Said::Nothing => {}
        }
    }

    /// What was found.
    pub fn all(&self) -> &[Step] {
        &self.all
    }
}

fn said(line: &[u8]) -> Said {
    // Most lines begin with none of these, colours apart.
    let begin = &line[..line.len().min(64)];
    let shown = begin.iter().position(|b| *b == 0x1b).is_some() || begin.contains(&b'\r');
    let first = begin.first().copied().unwrap_or_default();
    if !shown
        && !matches!(
            first,
            b'-' | b'+' | b'~' | b'^' | b':' | b's' | b'#' | b'e' | b'E' | b'f' | b'F' | b'p' | b'P' | b't' | b'['
        )
    {
        return Said::Nothing;
    }
    // GitLab's marks stand before a carriage return, which erases them.
    let raw = String::from_utf8_lossy(&line[..line.len().min(4_096)]);
    let mark = raw.trim_start_matches(['\u{1b}', '[', '0', 'K']);
    if let Some(rest) = mark.strip_prefix("section_start:") {
        let (head, title) = rest.split_once('\r').unwrap_or((rest, ""));
        let name = head.split(':').nth(1).unwrap_or_default().to_owned();
        let (name, options) = name.split_once('[').map_or((name.clone(), ""), |(n, o)| (n.to_owned(), o));
        let title = short(&text::of_line(title.as_bytes()));
        let title = if title.is_empty() { short(&name) } else { title };
        return Said::Begins { title, open: !options.contains("collapsed=true"), name: Some(name) };
    }
    if let Some(rest) = mark.strip_prefix("section_end:") {
        let name = rest.split(':').nth(1).unwrap_or_default().split('\r').next().unwrap_or_default();
        return Said::Ends { name: Some(name.to_owned()) };
    }
    let shown = text::of_line(raw.as_bytes());
    let begins = |title: &str, open| Said::Begins { title: short(title), open, name: None };
    for (mark, open) in [("--- ", false), ("+++ ", true), ("~~~ ", false), ("::group::", false), ("##[group]", false)] {
        // A patch has the first two of these before the names of files; a title is no path of one.
        if let Some(title) = shown.strip_prefix(mark).map(str::trim)
            && !title.is_empty()
            && !(title.starts_with("a/") || title.starts_with("b/") || title == "/dev/null")
        {
            return begins(title, open);
        }
    }
    if shown == "^^^ +++" {
        return Said::Opens;
    }
    if shown.starts_with("::endgroup::") || shown.starts_with("##[endgroup]") {
        return Said::Ends { name: None };
    }
    let lower: String = shown.chars().take(16).collect::<String>().to_ascii_lowercase();
    let lower = lower.trim_start_matches('[');
    let words = ["error", "fatal", "panic", "::error", "traceback"];
    let is_error = words.iter().any(|word| {
        lower
            .strip_prefix(word)
            .is_some_and(|rest| rest.chars().next().is_none_or(|c| !c.is_alphanumeric() && c != '_'))
    });
    if is_error { Said::Error } else { Said::Nothing }
}

fn short(title: &str) -> String {
    title.chars().take(TITLE_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(log: &str) -> Vec<(i64, String, bool, u32, Option<i64>)> {
        let mut steps = Steps::default();
        for (n, line) in log.lines().enumerate() {
            steps.line(n as i64 + 1, line.as_bytes(), DateTime::UNIX_EPOCH);
        }
        steps.all().iter().map(|s| (s.line, s.title.clone(), s.open, s.errors, s.end.map(|e| e.0))).collect()
    }

    #[test]
    fn steps_are_found_in_each_convention() {
        let log = "--- :docker: Build\nERROR: no space\n+++ Test\n~~~ Clean up\n::group::Install\nfatal: x\n::endgroup::\n\x1b[33m--- Coloured\x1b[0m\n";
        assert_eq!(
            steps(log),
            [
                (1, ":docker: Build".into(), false, 1, None),
                (3, "Test".into(), true, 0, None),
                (4, "Clean up".into(), false, 0, None),
                (5, "Install".into(), false, 1, Some(7)),
                (8, "Coloured".into(), false, 0, None),
            ]
        );
        let gitlab = "\x1b[0Ksection_start:1560896352:my_first[collapsed=true]\r\x1b[0KHeader of it\nin it\n\x1b[0Ksection_end:1560896353:my_first\r\x1b[0K\n";
        assert_eq!(steps(gitlab), [(1, "Header of it".into(), false, 0, Some(3))]);
    }

    #[test]
    fn what_only_looks_like_a_step_is_none() {
        assert_eq!(
            steps("--- a/src/main.rs\n+++ b/src/main.rs\n---\n--- \n-----BEGIN KEY-----\nerrors: 0\n  --- indented\n"),
            []
        );
    }

    #[test]
    fn a_failing_step_opens_itself() {
        assert_eq!(steps("--- One\n^^^ +++\n"), [(1, "One".into(), true, 0, None)]);
    }
}
