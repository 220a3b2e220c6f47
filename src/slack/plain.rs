//! What a message says, as lines of text: for people who read it outside of Slack.

use std::collections::HashMap;

use serde_json::Value;

use super::render::Payload;
use crate::domain::event::{Actor, Recorded};

/// What people are called, by the ids that Slack mentions them by.
#[derive(Debug, Default)]
pub struct Names<'a>(HashMap<&'a str, &'a str>);

impl<'a> Names<'a> {
    /// The names of all who did something in these events, as they were at the last of it.
    pub fn of(events: &'a [Recorded]) -> Self {
        let named = |recorded: &'a Recorded| match &recorded.actor {
            Actor::Slack { user, name, .. } if !name.is_empty() => Some((user.as_str(), name.as_str())),
            _ => None,
        };
        Self(events.iter().filter_map(named).collect())
    }

    /// Slack shows a mention by its name to everybody who reads there; whoever is not known here stays an id.
    fn mentioned(&self, inside: &str) -> String {
        let name = inside.strip_prefix('@').and_then(|user| self.0.get(user));
        name.map_or_else(|| inside.to_owned(), |name| format!("@{name}"))
    }
}

/// The lines of a message, in the order in which people read them; buttons are in brackets.
pub fn lines(payload: &Payload, names: &Names<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for part in [serde_json::to_value(&payload.blocks), serde_json::to_value(&payload.attachments)] {
        collect(&part.unwrap_or_default(), names, &mut lines);
    }
    lines
}

/// A line of mrkdwn as people see it: of a mention, a link and a date what stands for it, and escaped characters as they are.
fn readable(line: &str, names: &Names<'_>) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((inside, behind)) = after.split_once('>') else { break };
        shown.push_str(before);
        match inside.rsplit_once('|') {
            Some((_, label)) => shown.push_str(label),
            None => shown.push_str(&names.mentioned(inside)),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn collect(value: &Value, names: &Names<'_>, lines: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, names, lines)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind == "button" {
                let label = value["text"]["text"].as_str().unwrap_or_default();
                return lines.push(format!("[{label}]"));
            }
            if let Some(text) = fields.get("text").and_then(Value::as_str) {
                return lines.extend(text.lines().map(|line| readable(line, names)));
            }
            for part in ["text", "fields", "elements", "accessory", "blocks"] {
                collect(&value[part], names, lines);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_people_see_of_it() {
        for (mrkdwn, shown) in [
            (
                "ended <!date^1795797019^{date_short_pretty} at {time}|2026-11-27 16:30 UTC> · ran 8 s",
                "ended 2026-11-27 16:30 UTC · ran 8 s",
            ),
            ("<https://ci.example.com/7|Job url> &amp; &lt;b&gt;", "Job url & <b>"),
            ("by <@U0ANA00001>: *running*", "by @ana: *running*"),
            ("by <@U0BEN00002>: *running*", "by @U0BEN00002: *running*"),
            ("a &lt; b", "a < b"),
        ] {
            assert_eq!(readable(mrkdwn, &Names(HashMap::from([("U0ANA00001", "ana")]))), shown);
        }
    }
}
