//! What CI knows of a build, above its buttons: one line of what is short, a commit's message whole, the rest in fields.
//! Pure.

use slack_morphism::prelude::*;

use super::mrkdwn;
use super::render::{context, markdown, units};
use crate::domain::build::{Entry, Source};
use crate::projections::build_card::BuildCard;
use crate::projections::sites;

/// Slack: 10 fields in a section.
const FIELDS_MAX: usize = 10;
/// What has a place in the line is so short; what is longer is a field like others.
const SHORT: usize = 80;
/// Most characters of the line, of the fields and of a commit's message: together with what else stands in a message far
/// from where Slack says `msg_blocks_too_long`.
const LINE_UNITS: usize = 1_500;
const FIELDS_UNITS: usize = 6_000;
const MESSAGE_UNITS: usize = 2_900;

/// What stands in the line, in this order, by the names that presets and webhooks give it.
const IN_LINE: [&str; 7] = ["workflow", "branch", "tag", "commit", "author", "pull request", "run"];
/// What is a commit's message.
const MESSAGES: [&str; 2] = ["message", "commit message"];

fn is(entry: &Entry, name: &str) -> bool {
    entry.name.eq_ignore_ascii_case(name)
}

/// The blocks; the last link leads to the build's page.
pub(super) fn blocks(card: &BuildCard, page: &str) -> Vec<SlackBlock> {
    let (mut line, mut message, mut fields) = (Vec::new(), None, Vec::new());
    let mut left = LINE_UNITS;
    for entry in &card.metadata {
        let place = IN_LINE.iter().position(|name| is(entry, name)).filter(|_| is_short(entry.value.trim()));
        let shown = place.map(|place| (place, short(entry, card.source.as_ref())));
        match shown {
            // Of two with one name the second is a field like others, and so is what has no room.
            Some((place, text)) if units(&text) <= left && line.iter().all(|(there, _)| *there != place) => {
                left -= units(&text);
                line.push((place, text));
            }
            _ if message.is_none() && MESSAGES.iter().any(|name| is(entry, name)) => {
                // Slack refuses a block of nothing, and nothing may be left of what nobody can see.
                let text = mrkdwn::rich(&entry.value, MESSAGE_UNITS, MESSAGE_UNITS);
                message = Some(text).filter(|text| !text.trim().is_empty());
                if message.is_none() {
                    fields.push(entry);
                }
            }
            _ => fields.push(entry),
        }
    }
    line.sort_by_key(|(place, _)| *place);
    let all = mrkdwn::link(page, "All about this build");
    let shown = line.into_iter().map(|(_, text)| text).chain([all]);
    let mut blocks = vec![context(shown.collect::<Vec<_>>().join(" · "))];
    blocks.extend(message.map(|text| SlackSectionBlock::new().with_text(markdown(text)).into()));
    let mut left = FIELDS_UNITS;
    let mut shown = Vec::new();
    for entry in fields.iter().take(FIELDS_MAX) {
        let title = mrkdwn::word(&entry.name, 60, 120);
        let value = mrkdwn::rich(&entry.value, 300, 900);
        let text = format!("*{title}*\n{}", if value.trim().is_empty() { "–" } else { &value });
        let Some(rest) = left.checked_sub(units(&text)) else { break };
        left = rest;
        shown.push(markdown(text));
    }
    let more = fields.len() - shown.len();
    if !shown.is_empty() {
        blocks.push(SlackSectionBlock::new().with_fields(shown).into());
    }
    if more > 0 {
        let fields = if more == 1 { "field" } else { "fields" };
        blocks.push(context(format!("and {more} more {fields}: {}", mrkdwn::link(page, "see all"))));
    }
    blocks
}

fn is_short(value: &str) -> bool {
    !value.is_empty() && !value.contains('\n') && (value.chars().count() <= SHORT || is_address(value))
}

fn is_address(value: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| value.starts_with(scheme))
        && value.len() <= 500
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A fact in the line: linked where an address is known.
fn short(entry: &Entry, source: Option<&Source>) -> String {
    let value = entry.value.trim();
    let word = || mrkdwn::word(value, SHORT, 2 * SHORT);
    let linked = |url: Option<String>| url.map_or_else(word, |url| mrkdwn::link(&url, &word()));
    match entry.name.to_ascii_lowercase().as_str() {
        "commit" => linked(source.and_then(|source| {
            // What stands there may be another commit than the one that was built.
            let commit = source.commit.as_deref()?;
            commit.starts_with(value).then(|| sites::commit(source)).flatten()
        })),
        "branch" => linked(source.and_then(|source| sites::branch(source, value))),
        "pull request" if is_address(value) => {
            let number = value.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let is_number = !number.is_empty() && number.len() <= 10 && number.bytes().all(|b| b.is_ascii_digit());
            mrkdwn::link(value, &if is_number { format!("PR {number}") } else { "pull request".to_owned() })
        }
        "run" if is_address(value) => mrkdwn::link(value, "CI run"),
        // An address that we don't know what to call stays whole.
        _ if is_address(value) => mrkdwn::rich(value, value.chars().count() + 1, LINE_UNITS),
        _ => word(),
    }
}
