//! A message as Slack shows it, and whether it says what it was sent. Pure.

use serde::Serialize;

use crate::domain::ids::{BuildId, ReportId};

/// What a message of ours is, by its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// A build's.
    Build(BuildId),
    /// A reply in the thread under one, or the message of a lock.
    Report(ReportId),
}

/// A message as Slack shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What it is, where it is marked as ours.
    pub of: Option<Of>,
    /// Slack's name for it.
    pub ts: String,
    /// Its text, for those who see no layout.
    pub text: String,
}

impl Shown {
    /// Whether it says what it was sent, as far as Slack may write that in another way.
    pub fn says(&self, sent: &str) -> bool {
        are_the_same(&self.text, sent)
    }
}

fn are_the_same(shown: &str, sent: &str) -> bool {
    [false, true].into_iter().any(|backwards| bare(shown, backwards) == bare(sent, backwards))
}

/// A text without what Slack may write in another way: links that it found itself, emoji and their names, spaces and signs.
fn bare(text: &str, backwards: bool) -> String {
    let mut rest = text;
    let mut labels = String::new();
    while let Some((before, link)) = rest.split_once('<') {
        labels.push_str(before);
        let Some((link, after)) = link.split_once('>') else { break };
        labels.push_str(link.split_once('|').map_or(link, |(_, label)| label));
        rest = after;
    }
    labels.push_str(rest);
    without_names(&without_pictures(&labels), backwards).chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Without what may be the names of emoji between colons: of two such parts that share a colon one is taken for a name,
/// which of them is not known.
fn without_names(text: &str, backwards: bool) -> String {
    let parts: Vec<&str> = text.split(':').collect();
    let mut kept = vec![true; parts.len()];
    let mut inner: Vec<usize> = (1..parts.len().saturating_sub(1)).collect();
    if backwards {
        inner.reverse();
    }
    for n in inner {
        kept[n] = !(kept[n - 1] && kept[n + 1] && is_emoji(parts[n]));
    }
    parts.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(part, _)| part).collect()
}

/// Without emoji: also without digits and letters that the next character makes one of.
fn without_pictures(text: &str) -> String {
    let after = text.chars().skip(1).map(Some).chain([None]);
    let is_picture = |c: char, next: Option<char>| {
        matches!(c, '\u{1f000}'..='\u{1faff}') || matches!(next, Some('\u{fe0f}' | '\u{20e3}'))
    };
    text.chars().zip(after).filter(|(c, next)| !is_picture(*c, *next)).map(|(c, _)| c).collect()
}

/// Whether this stands for an emoji between two colons; a number of a time does not.
fn is_emoji(word: &str) -> bool {
    let all = word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-".contains(c));
    all && (word.chars().any(|c| c.is_ascii_lowercase()) || ["+1", "-1", "100", "1234"].contains(&word))
}

#[cfg(test)]
mod tests {
    use super::are_the_same;

    #[test]
    fn what_slack_writes_in_another_way_is_the_same() {
        for (sent, shown) in [
            ("see www.example.com/x", "see <http://www.example.com/x|www.example.com/x>"),
            ("see https://example.com", "see <https://example.com>"),
            ("\u{1f680} Api is there", ":rocket: Api is there"),
            ("a &amp; b", "a &amp;  b"),
            ("hotfix:v2\u{1f389} done", "hotfix:v2:tada: done"),
            ("1\u{fe0f}\u{20e3} \u{2139}\u{fe0f} \u{1f44d}", ":one: :information_source: :+1:"),
        ] {
            assert!(are_the_same(shown, sent), "{sent}");
        }
        for (one, other) in [("Api: running", "Api: succeeded"), ("at 12:30:45", "at 12:31:45")] {
            assert!(!are_the_same(one, other), "{one}");
        }
    }
}
