//! A channel as its members read it: title, fields, `[buttons]`, `[red buttons!]`, lines with their colour bar.

use coolops_lab::standin::workspace::{Channel, Message, Workspace};
use serde_json::{Value, json};

/// What a person sees; ephemeral messages only for their reader.
pub fn channel(channel: &Channel, reader: Option<&str>) -> String {
    let seen = |m: &&Message| {
        (m.only_for.is_none() || m.only_for.as_deref() == reader) && (m.thread_ts.is_none() || m.broadcast)
    };
    channel.messages.iter().filter(seen).map(message).collect::<Vec<_>>().join("\n\n")
}

/// The build whose message this is; none for answers and reports.
pub fn build_of(m: &Message) -> Option<&str> {
    (m.metadata["event_type"] == "coolops_build").then(|| m.metadata["event_payload"]["build_id"].as_str())?
}

/// The reports that people got, in direct messages and in threads.
pub fn reports(workspace: &Workspace) -> Vec<String> {
    let all = workspace.channels.iter().flat_map(|c| &c.messages);
    let ids = all.filter(|m| m.metadata["event_type"] == "coolops_report");
    ids.map(|m| m.metadata["event_payload"]["report_id"].as_str().expect("it names itself").to_owned()).collect()
}

/// What stands in the threads of a channel.
pub fn threads(channel: &Channel) -> String {
    channel.messages.iter().filter(|m| m.thread_ts.is_some()).map(message).collect::<Vec<_>>().join("\n\n")
}

pub fn message(m: &Message) -> String {
    let mut lines = Vec::new();
    match m.blocks.as_array() {
        Some(blocks) => lines.extend(blocks.iter().map(block)),
        None => lines.push(text(&json!({ "text": m.text }))),
    }
    for attachment in m.attachments.as_array().into_iter().flatten() {
        let colour = attachment["color"].as_str().unwrap_or("none");
        let inner: Vec<String> = attachment["blocks"].as_array().into_iter().flatten().map(block).collect();
        lines.push(format!("  |{colour}| {}", inner.join(" / ")));
    }
    lines.join("\n")
}

/// The first line of a message.
pub fn title(m: &Message) -> String {
    message(m).lines().next().unwrap_or_default().to_owned()
}

fn text(value: &Value) -> String {
    // Slack's links carry a capability that differs from run to run.
    let mut text =
        value["text"].as_str().unwrap_or_default().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    while let Some(start) = text.find("<http") {
        let end = start + text[start..].find('>').unwrap_or(0);
        let shown = match text[start + 1..end].split_once('|') {
            Some((_, label)) => format!("({label})"),
            None => text[start + 1..end].to_owned(),
        };
        text.replace_range(start..=end, &shown);
    }
    text
}

fn block(b: &Value) -> String {
    let list = |name: &str| b[name].as_array().cloned().unwrap_or_default();
    match b["type"].as_str().unwrap_or_default() {
        "header" => format!("# {}", text(&b["text"])),
        "section" if b["fields"].is_array() => {
            list("fields").iter().map(|f| text(f).replace('\n', " ")).collect::<Vec<_>>().join("\n")
        }
        "section" if b["accessory"]["type"] == "button" => {
            format!("{} [{}]", text(&b["text"]), text(&b["accessory"]["text"]))
        }
        "section" => match b["accessory"]["options"].as_array() {
            Some(entries) => {
                let entries: Vec<String> = entries.iter().map(|o| text(&o["text"])).collect();
                format!("{} [⋯ {}]", text(&b["text"]), entries.join(" | "))
            }
            None => text(&b["text"]),
        },
        "context" => list("elements").iter().map(text).collect::<Vec<_>>().join(" "),
        "actions" => {
            let element = |e: &Value| match e["type"].as_str() {
                Some("overflow") => {
                    let entries: Vec<String> =
                        e["options"].as_array().into_iter().flatten().map(|o| text(&o["text"])).collect();
                    format!("[⋯ {}]", entries.join(" | "))
                }
                Some("button") => {
                    format!("[{}{}]", text(&e["text"]), if e["style"] == "danger" { "!" } else { "" })
                }
                _ => format!("[{} ▾]", text(&e["placeholder"])),
            };
            list("elements").iter().map(element).collect::<Vec<_>>().join(" ")
        }
        other => format!("({other})"),
    }
}

/// The action of an environment's button, or of the menu with the environment's entry.
pub fn button(m: &Message, environment: &str) -> Option<(String, Option<String>)> {
    let elements = m.blocks.as_array()?.iter().filter_map(|b| b["elements"].as_array()).flatten();
    for e in elements {
        let id = e["action_id"].as_str().unwrap_or_default().to_owned();
        if e["text"]["text"] == format!("Deploy to {environment}") {
            return Some((id, None));
        }
        let entry = e["options"].as_array().into_iter().flatten().find(|o| o["text"]["text"] == environment);
        if let Some(entry) = entry {
            return Some((id, entry["value"].as_str().map(str::to_owned)));
        }
    }
    None
}

/// The action of the button with this label.
pub fn labelled(m: &Message, label: &str) -> Option<String> {
    let elements = m.blocks.as_array()?.iter().filter_map(|b| b["elements"].as_array()).flatten();
    let button = elements.into_iter().find(|e| e["text"]["text"] == label)?;
    Some(button["action_id"].as_str()?.to_owned())
}

/// What can be done with the newest line whose words hold these.
fn line<'a>(m: &'a Message, words: &str) -> Option<&'a [Value]> {
    let mut lines = m.attachments.as_array()?.iter().filter_map(|a| a["blocks"].as_array());
    let blocks = lines.find(|blocks| {
        blocks.iter().any(|b| b["type"] == "actions") && blocks.iter().any(|b| text(&b["text"]).contains(words))
    })?;
    blocks.iter().find(|b| b["type"] == "actions")?["elements"].as_array().map(Vec::as_slice)
}

/// The action and the value of an entry in the menu of the newest line whose words hold these.
pub fn entry(m: &Message, words: &str, entry: &str) -> Option<(String, Option<String>)> {
    line(m, words)?.iter().find_map(|element| {
        let action = element["action_id"].as_str()?.to_owned();
        if element["text"]["text"] == entry {
            return Some((action, None));
        }
        let chosen = element["options"].as_array()?.iter().find(|o| o["text"]["text"] == entry)?;
        Some((action, Some(chosen["value"].as_str()?.to_owned())))
    })
}

/// What a dialog says above what is to be filled in.
pub fn dialog(workspace: &Workspace, user: &str) -> Option<String> {
    let id = &workspace.users.iter().find(|u| u.name == user)?.id;
    let view = &workspace.dialogs.iter().find(|d| d.user == *id)?.view;
    let blocks: Vec<String> =
        view["blocks"].as_array()?.iter().map(|b| text(&b["text"])).filter(|t| !t.is_empty()).collect();
    let part = |name: &str| text(&view[name]);
    Some(format!("{} {} [{}] [{}]", part("title"), blocks.join(" "), part("submit"), part("close")))
}

/// What is asked back before the n-th element of the buttons' block counts.
pub fn asked_back(m: &Message, n: usize) -> Option<String> {
    let elements =
        m.blocks.as_array()?.iter().find_map(|b| b["elements"].as_array().filter(|_| b["type"] == "actions"))?;
    asks(elements.get(n)?.get("confirm")?)
}

fn asks(confirm: &Value) -> Option<String> {
    let part = |name: &str| confirm[name].is_object().then(|| text(&confirm[name]));
    Some(format!("{} {} [{}] [{}]", part("title")?, part("text")?, part("confirm")?, part("deny")?))
}

/// What only this person sees in the first channel.
pub fn private_notes(workspace: &Workspace, user: &str) -> Vec<String> {
    let id = &workspace.users.iter().find(|u| u.name == user).unwrap().id;
    workspace
        .channels
        .iter()
        .flat_map(|c| &c.messages)
        .filter(|m| m.only_for.as_ref() == Some(id))
        .map(|m| m.text.clone())
        .collect()
}
