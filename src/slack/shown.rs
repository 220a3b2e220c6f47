//! A message as Slack shows it, and whether it says what it was sent. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::render::{Payload, digest};
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
    /// Our app posted it: nobody else's message can be edited or deleted.
    pub is_by_us: bool,
    /// Slack's name for it.
    pub ts: String,
    /// What it says.
    pub said: Said,
}

impl Shown {
    /// Whether it says what it was sent, as far as Slack may write that in another way.
    pub fn says(&self, sent: &Said) -> bool {
        let same_layout = match (&self.said.layout, &sent.layout) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(shown), Some(sent)) => shown.says(sent),
        };
        same_layout && are_the_same(&self.said.text, &sent.text)
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Said {
    /// For those who see no layout.
    pub text: String,
    /// For everybody else; none where there is no layout, or where nobody knows it any more.
    layout: Option<Layout>,
}

impl Said {
    /// A text, and nothing of a layout.
    pub fn text(text: String) -> Self {
        Self { text, layout: None }
    }

    /// What a payload says.
    pub fn of(payload: &Payload) -> Self {
        let part = |part: serde_json::Result<Value>| part.unwrap_or_default();
        Self::new(
            payload.text.clone(),
            &part(serde_json::to_value(&payload.blocks)),
            &part(serde_json::to_value(&payload.attachments)),
        )
    }

    /// What the canonical bytes of a payload say; none of what are none.
    pub fn of_bytes(bytes: &str) -> Option<Self> {
        let payload: Value = serde_json::from_str(bytes).ok()?;
        Some(Self::new(payload["text"].as_str()?.to_owned(), &payload["blocks"], &payload["attachments"]))
    }

    /// What Slack's own fields say.
    pub fn new(text: String, blocks: &Value, attachments: &Value) -> Self {
        // Slack shows text that came without a layout in one of its own, and previews of links in attachments without any.
        let attached = attachments.as_array().into_iter().flatten();
        let attached =
            attached.filter(|attachment| attachment["from_url"].is_null() && attachment["original_url"].is_null());
        let attached = attached.map(|attachment| attachment.get("blocks").unwrap_or(attachment));
        let parts: Vec<&Value> = std::iter::once(blocks).chain(attached).collect();
        Self { text, layout: Layout::of(&parts) }
    }
}

/// What a layout says, as digests: its texts, read in both ways, and what Slack writes as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Layout {
    texts: [[u8; 32]; 2],
    exact: [u8; 32],
}

impl Layout {
    fn of(blocks: &[&Value]) -> Option<Self> {
        let (mut texts, mut exact) = (Vec::new(), Vec::new());
        blocks.iter().for_each(|block| collect(block, &mut texts, &mut exact));
        if texts.is_empty() {
            return None;
        }
        let read = |backwards| {
            let bare: Vec<String> = texts.iter().map(|text| bare(text, backwards)).collect();
            digest(&bare.join("\n"))
        };
        Some(Self { texts: [read(false), read(true)], exact: digest(&exact.join("\n")) })
    }

    fn says(&self, sent: &Self) -> bool {
        let same = self.texts.iter().zip(&sent.texts).any(|(shown, sent)| shown == sent);
        same && self.exact == sent.exact
    }
}

/// The texts of a block, in their order; where its links lead, and what its buttons are for.
fn collect(part: &Value, texts: &mut Vec<String>, exact: &mut Vec<String>) {
    match part {
        Value::Array(all) => all.iter().for_each(|one| collect(one, texts, exact)),
        Value::Object(fields) => {
            for name in ["action_id", "image_url", "url", "value"] {
                exact.extend(fields.get(name).and_then(Value::as_str).map(str::to_owned));
            }
            match (fields.get("text").and_then(Value::as_str), fields.get("type").and_then(Value::as_str)) {
                // Slack gives it back escaped, and nothing in it is a link.
                (Some(text), Some("plain_text")) => texts.push(text.replace(['<', '>'], " ")),
                (Some(text), _) => {
                    exact.extend(links(text).map(|to| to.replace("&amp;", "&")));
                    texts.push(text.to_owned());
                }
                (None, _) => {}
            }
            // In the order of their names, whoever wrote them.
            let parts: BTreeMap<&String, &Value> = fields.iter().filter(|(_, value)| !value.is_string()).collect();
            parts.into_values().for_each(|part| collect(part, texts, exact));
        }
        _ => {}
    }
}

/// Where the links of a text lead: Slack makes none of its own in what is sent as it is to be shown.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let inside = text.split('<').skip(1).filter_map(|after| Some(after.split_once('>')?.0));
    inside.map(|inside| inside.split_once('|').map_or(inside, |(to, _)| to)).filter(|to| to.starts_with("http"))
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
        let Some((link, after)) = link.split_once('>') else {
            rest = link;
            break;
        };
        // Of a mention or a date the words beside it are Slack's.
        let words = match link.split_once('|') {
            Some((what, _)) if what.starts_with(['@', '#', '!']) => what,
            Some((_, label)) => label,
            None => link,
        };
        labels.push_str(words);
        rest = after;
    }
    labels.push_str(rest);
    // Characters that are escaped, or were not when they were sent.
    for escaped in ["&amp;", "&lt;", "&gt;"] {
        labels = labels.replace(escaped, " ");
    }
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
    use serde_json::{Value, json};

    use super::{Said, Shown, are_the_same};

    #[test]
    fn what_slack_writes_in_another_way_is_the_same() {
        for (sent, shown) in [
            ("see www.example.com/x", "see <http://www.example.com/x|www.example.com/x>"),
            ("see https://example.com", "see <https://example.com>"),
            ("\u{1f680} Api is there", ":rocket: Api is there"),
            ("a &amp; b", "a &amp;  b"),
            ("hotfix:v2\u{1f389} done", "hotfix:v2:tada: done"),
            ("R&D, a < b", "R&amp;D, a &lt; b"),
            ("1\u{fe0f}\u{20e3} \u{2139}\u{fe0f} \u{1f44d}", ":one: :information_source: :+1:"),
        ] {
            assert!(are_the_same(shown, sent), "{sent}");
        }
        for (one, other) in [("Api: running", "Api: succeeded"), ("at 12:30:45", "at 12:31:45")] {
            assert!(!are_the_same(one, other), "{one}");
        }
    }

    #[test]
    fn a_layout_is_compared_by_what_people_see_and_where_it_leads() {
        let block =
            |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } });
        let button = |value: &str| json!({ "type": "actions", "elements": [{ "type": "button", "action_id": "deploy", "value": value, "text": { "type": "plain_text", "text": "Deploy <R&D> \u{1f680}" } }] });
        let said =
            |blocks: Value, attached: Value| Said::new("Api".to_owned(), &blocks, &json!([{ "blocks": attached }]));
        let sent = said(
            json!([
                block("*Api* &amp; <https://example.com/a?b=1&amp;c=2|logs> <!date^1^{time}|12:00 UTC>"),
                button("1")
            ]),
            json!([block("<@U1>: running")]),
        );
        let shows = |said: Said| Shown { of: None, is_by_us: true, ts: "1.1".to_owned(), said }.says(&sent);
        // Slack adds ids and names of its own, and writes emoji by their names.
        let mut first = block("*Api* &amp; <https://example.com/a?b=1&amp;c=2|logs> <!date^1^{time}|13:00 CET>");
        first["block_id"] = "x1".into();
        let mut pressed = button("1");
        pressed["elements"][0]["text"] =
            json!({ "type": "plain_text", "text": "Deploy &lt;R&amp;D&gt; :rocket:", "emoji": true });
        let shown = |first: &Value, pressed: &Value, line: &str| said(json!([first, pressed]), json!([block(line)]));
        assert!(shows(shown(&first, &pressed, "<@U1|ana>: running")));
        assert!(!shows(shown(&first, &pressed, "<@U1>: succeeded")), "an older line was edited");
        assert!(!shows(shown(&first, &button("2"), "<@U1>: running")), "another button");
        let elsewhere = block("*Api* &amp; <https://example.org/a?b=1&amp;c=2|logs> <!date^1^{time}|12:00 UTC>");
        assert!(!shows(shown(&elsewhere, &pressed, "<@U1>: running")), "a link leads elsewhere");
        assert!(!shows(Said::text("Api".to_owned())), "the layout was taken away");
        // A link without words of its own leads somewhere too, and what somebody attached is seen; a preview is Slack's.
        let bare = |address: &str| said(json!([block(&format!("*Api* <{address}>"))]), json!([]));
        let shown = Shown { of: None, is_by_us: true, ts: "1.1".to_owned(), said: bare("https://ci-example.com/7") };
        assert!(!shown.says(&bare("https://ci.example.com/7")), "it leads elsewhere");
        let attached = |attachment: Value| {
            let blocks = json!([block("Api")]);
            let shown = Said::new("Api".to_owned(), &blocks, &json!([{ "blocks": [] }, attachment]));
            Shown { of: None, is_by_us: true, ts: "1.1".to_owned(), said: shown }.says(&Said::new(
                "Api".to_owned(),
                &blocks,
                &json!([]),
            ))
        };
        assert!(!attached(json!({ "text": "Approved by ana" })));
        assert!(!attached(
            json!({ "blocks": [{ "type": "image", "image_url": "https://example.com/x.png", "alt_text": "x" }] })
        ));
        assert!(attached(json!({ "from_url": "https://ci.example.com/7", "text": "Job 7" })));
        assert!(
            Shown { of: None, is_by_us: true, ts: "1.1".to_owned(), said: sent.clone() }
                .says(&Said::text("Api".to_owned()))
        );
    }
}
