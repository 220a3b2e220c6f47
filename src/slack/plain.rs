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
                return lines.extend(text.lines().map(str::to_owned));
            }
            for part in ["text", "fields", "elements", "accessory", "blocks"] {
                collect(&value[part], lines);
            }
        }
        _ => {}
    }
}
