//! What a message says, as lines of text: for people who compare two of them at a terminal.

use serde_json::Value;

use super::render::Payload;

/// The lines of a message, in the order in which people read them; buttons are in brackets.
pub fn lines(payload: &Payload) -> Vec<String> {
    let mut lines = Vec::new();
    for part in [serde_json::to_value(&payload.blocks), serde_json::to_value(&payload.attachments)] {
        collect(&part.unwrap_or_default(), &mut lines);
    }
    lines
}

/// A line of mrkdwn as people see it: of a link and of a date what stands for it, and escaped characters as they are.
fn readable(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((inside, behind)) = after.split_once('>') else { break };
        shown.push_str(before);
        shown.push_str(inside.rsplit_once('|').map_or(inside, |(_, label)| label));
        rest = behind;
    }
    shown.push_str(rest);
    shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn collect(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect(one, lines)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
            if kind == "button" {
                let label = value["text"]["text"].as_str().unwrap_or_default();
                return lines.push(format!("[{label}]"));
            }
            if let Some(text) = fields.get("text").and_then(Value::as_str) {
                return lines.extend(text.lines().map(readable));
            }
            for part in ["text", "fields", "elements", "accessory", "blocks"] {
                collect(&value[part], lines);
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
            ("by <@U0ANA00001>: *running*", "by @U0ANA00001: *running*"),
            ("a &lt; b", "a < b"),
        ] {
            assert_eq!(readable(mrkdwn), shown);
        }
    }
}
