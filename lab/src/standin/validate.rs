//! What Slack refuses in a message: the limits of the Block Kit reference (docs.slack.dev, reference/block-kit) and of
//! message metadata.

use std::collections::HashSet;

use serde_json::Value;

/// Why content is refused, in Slack's word and with the details that it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain data")]
pub struct Fault {
    pub error: &'static str,
    pub messages: Vec<String>,
}

/// Characters of all texts in a blocks array together (seen, not documented).
const BLOCKS_TEXT_MAX: usize = 13_200;

#[derive(Default)]
struct Judge {
    path: String,
    messages: Vec<String>,
    text: usize,
    /// Whether it is a dialog's: only there something can be filled in.
    in_view: bool,
}

impl Judge {
    fn wrong(&mut self, what: impl AsRef<str>) {
        self.messages.push(format!("[ERROR] {} [json-pointer:{}]", what.as_ref(), self.path));
    }

    fn at(&mut self, part: impl std::fmt::Display, look: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        self.path.push_str(&format!("/{part}"));
        look(self);
        self.path.truncate(before);
    }

    /// The object's keys are all known.
    fn keys(&mut self, value: &Value, known: &[&str]) {
        for key in value.as_object().into_iter().flat_map(|o| o.keys()) {
            if !known.contains(&key.as_str()) {
                self.wrong(format!("no more than the documented properties allowed: {key}"));
            }
        }
    }

    /// A plain string of bounded length.
    fn string(&mut self, value: &Value, name: &str, max: usize, required: bool) {
        self.at(name, |j| match value.get(name) {
            None => {
                if required {
                    j.wrong(format!("missing required field: {name}"));
                }
            }
            Some(Value::String(text)) => {
                let length = text.chars().count();
                if length > max {
                    j.wrong(format!("must be less than {} characters", max + 1));
                }
                if length == 0 && required {
                    j.wrong("must be more than 0 characters");
                }
            }
            Some(_) => j.wrong("must be a string"),
        });
    }

    /// A text object.
    fn text(&mut self, value: &Value, name: &str, max: usize, only_plain: bool, required: bool) {
        let Some(object) = value.get(name) else {
            if required {
                self.wrong(format!("missing required field: {name}"));
            }
            return;
        };
        self.at(name, |j| j.text_object(object, max, only_plain));
    }

    fn text_object(&mut self, object: &Value, max: usize, only_plain: bool) {
        let kind = object.get("type").and_then(Value::as_str);
        match kind {
            Some("plain_text") => self.keys(object, &["type", "text", "emoji"]),
            Some("mrkdwn") if !only_plain => self.keys(object, &["type", "text", "verbatim"]),
            Some("mrkdwn") => self.wrong("must be a plain_text object"),
            _ => return self.wrong("must be a text object"),
        }
        match object.get("text").and_then(Value::as_str) {
            None => self.wrong("missing required field: text"),
            Some("") => self.wrong("must be more than 0 characters"),
            Some(text) => {
                let length = text.chars().count();
                self.text += length;
                if length > max {
                    self.wrong(format!("must be less than {} characters", max + 1));
                }
            }
        }
    }

    fn list<'a>(
        &mut self,
        value: &'a Value,
        name: &str,
        range: std::ops::RangeInclusive<usize>,
        required: bool,
    ) -> &'a [Value] {
        match value.get(name) {
            None if !required => &[],
            None => {
                self.wrong(format!("missing required field: {name}"));
                &[]
            }
            Some(Value::Array(items)) => {
                if !range.contains(&items.len()) {
                    self.at(name, |j| j.wrong(format!("must have {} to {} items", range.start(), range.end())));
                }
                items
            }
            Some(_) => {
                self.at(name, |j| j.wrong("must be an array"));
                &[]
            }
        }
    }

    fn block(&mut self, block: &Value) {
        let Some(kind) = block.get("type").and_then(Value::as_str) else {
            return self.wrong("missing required field: type");
        };
        self.string(block, "block_id", 255, false);
        match kind {
            "header" => {
                self.keys(block, &["type", "block_id", "text", "level"]);
                self.text(block, "text", 150, true, true);
            }
            "section" => {
                self.keys(block, &["type", "block_id", "text", "fields", "accessory", "expand"]);
                if block.get("text").is_none() && block.get("fields").is_none() {
                    self.wrong("a section needs text or fields");
                }
                self.text(block, "text", 3_000, false, false);
                let fields = self.list(block, "fields", 1..=10, false);
                for (n, field) in fields.iter().enumerate() {
                    self.at(format!("fields/{n}"), |j| j.text_object(field, 2_000, false));
                }
                if let Some(element) = block.get("accessory") {
                    self.at("accessory", |j| j.element(element));
                }
            }
            "context" => {
                self.keys(block, &["type", "block_id", "elements"]);
                for (n, element) in self.list(block, "elements", 1..=10, true).iter().enumerate() {
                    self.at(format!("elements/{n}"), |j| match element.get("type").and_then(Value::as_str) {
                        Some("image") => j.image(element),
                        _ => j.text_object(element, 3_000, false),
                    });
                }
            }
            "actions" => {
                self.keys(block, &["type", "block_id", "elements"]);
                let mut ids = HashSet::new();
                for (n, element) in self.list(block, "elements", 1..=25, true).iter().enumerate() {
                    self.at(format!("elements/{n}"), |j| {
                        j.element(element);
                        if let Some(id) = element.get("action_id").and_then(Value::as_str)
                            && !ids.insert(id)
                        {
                            j.wrong(format!("action_id `{id}` already exists for this block"));
                        }
                    });
                }
            }
            "input" if self.in_view => {
                self.keys(block, &["type", "block_id", "label", "element", "hint", "optional", "dispatch_action"]);
                self.text(block, "label", 2_000, true, true);
                self.text(block, "hint", 2_000, true, false);
                match block.get("element") {
                    Some(element) => self.at("element", |j| j.input(element)),
                    None => self.wrong("missing required field: element"),
                }
            }
            "divider" => self.keys(block, &["type", "block_id"]),
            "image" => {
                self.keys(block, &["type", "block_id", "image_url", "alt_text", "title"]);
                self.image(block);
                self.text(block, "title", 2_000, true, false);
            }
            "rich_text" => {
                self.keys(block, &["type", "block_id", "elements"]);
                for (n, element) in self.list(block, "elements", 1..=1_000, true).iter().enumerate() {
                    self.at(format!("elements/{n}"), |j| j.rich_text(element));
                }
            }
            other => self.wrong(format!("unsupported block type: {other}")),
        }
    }

    /// A part of a rich text: a section, a quote, preformatted text, or a list of sections.
    fn rich_text(&mut self, part: &Value) {
        match part.get("type").and_then(Value::as_str) {
            Some("rich_text_section") => self.keys(part, &["type", "elements"]),
            Some("rich_text_quote") => self.keys(part, &["type", "elements", "border"]),
            Some("rich_text_preformatted") => self.keys(part, &["type", "elements", "border", "language"]),
            Some("rich_text_list") => {
                self.keys(part, &["type", "elements", "style", "indent", "offset", "border"]);
                if !["bullet", "ordered"].contains(&part.get("style").and_then(Value::as_str).unwrap_or_default()) {
                    self.wrong("a list's style must be bullet or ordered");
                }
                for (n, item) in self.list(part, "elements", 1..=1_000, true).iter().enumerate() {
                    self.at(format!("elements/{n}"), |j| match item.get("type").and_then(Value::as_str) {
                        Some("rich_text_section") => j.rich_text(item),
                        _ => j.wrong("a list holds sections"),
                    });
                }
                return;
            }
            Some(other) => return self.wrong(format!("unsupported rich text: {other}")),
            None => return self.wrong("missing required field: type"),
        }
        for (n, element) in self.list(part, "elements", 0..=1_000, true).iter().enumerate() {
            self.at(format!("elements/{n}"), |j| j.rich_element(element));
        }
    }

    fn rich_element(&mut self, element: &Value) {
        let needs = match element.get("type").and_then(Value::as_str) {
            Some("text") => "text",
            Some("link") => "url",
            Some("user") => "user_id",
            Some("channel") => "channel_id",
            Some("usergroup") => "usergroup_id",
            Some("emoji") => "name",
            Some("color") => "value",
            Some("broadcast") => "range",
            Some("date") => return self.keys(element, &["type", "timestamp", "format", "url", "fallback"]),
            Some(other) => return self.wrong(format!("unsupported rich text element: {other}")),
            None => return self.wrong("missing required field: type"),
        };
        self.keys(element, &["type", needs, "text", "style", "unsafe", "unicode", "skin_tone"]);
        self.string(element, needs, 12_000, true);
        self.link(element, "url");
        self.text += element.get("text").and_then(Value::as_str).map_or(0, |t| t.chars().count());
    }

    /// An address that a click opens: of a scheme that can't run anything.
    fn link(&mut self, of: &Value, name: &str) {
        let Some(address) = of.get(name).and_then(Value::as_str) else { return };
        let fine =
            url::Url::parse(address).is_ok_and(|u| ["http", "https", "mailto", "slack", "tel"].contains(&u.scheme()));
        if !fine {
            self.at(name, |j| j.wrong("invalid url"));
        }
    }

    fn image(&mut self, image: &Value) {
        self.link(image, "image_url");
        self.string(image, "image_url", 3_000, true);
        self.string(image, "alt_text", 2_000, true);
    }

    fn element(&mut self, element: &Value) {
        self.string(element, "action_id", 255, false);
        match element.get("type").and_then(Value::as_str) {
            Some("button") => {
                self.keys(
                    element,
                    &["type", "action_id", "text", "url", "value", "style", "confirm", "accessibility_label"],
                );
                self.text(element, "text", 75, true, true);
                self.string(element, "value", 2_000, false);
                self.string(element, "url", 3_000, false);
                self.link(element, "url");
                self.string(element, "accessibility_label", 75, false);
                if let Some(style) = element.get("style")
                    && !["primary", "danger"].contains(&style.as_str().unwrap_or_default())
                {
                    self.wrong("style must be primary or danger");
                }
                self.confirm(element);
            }
            Some("static_select") => {
                self.keys(
                    element,
                    &[
                        "type",
                        "action_id",
                        "placeholder",
                        "options",
                        "option_groups",
                        "initial_option",
                        "confirm",
                        "focus_on_load",
                    ],
                );
                self.text(element, "placeholder", 150, true, false);
                if element.get("options").is_some() == element.get("option_groups").is_some() {
                    self.wrong("a select needs either options or option_groups");
                }
                self.options(element, 100);
                for (n, group) in self.list(element, "option_groups", 1..=100, false).iter().enumerate() {
                    self.at(format!("option_groups/{n}"), |j| {
                        j.text(group, "label", 75, true, true);
                        j.options(group, 100);
                    });
                }
                self.confirm(element);
            }
            Some("overflow") => {
                self.keys(element, &["type", "action_id", "options", "confirm"]);
                // "Maximum number of options is 5, minimum is 2": the minimum has gone from the page, not from what
                // other libraries check.
                if element["options"].as_array().is_none_or(|options| options.len() < 2) {
                    self.wrong("an overflow menu needs 2 to 5 options");
                }
                self.options(element, 5);
                self.confirm(element);
            }
            Some("image") => self.image(element),
            Some(other) => self.wrong(format!("unsupported element type: {other}")),
            None => self.wrong("missing required field: type"),
        }
    }

    fn input(&mut self, element: &Value) {
        self.string(element, "action_id", 255, false);
        if element["type"] != "plain_text_input" {
            return self.wrong("unsupported input element");
        }
        self.keys(
            element,
            &[
                "type",
                "action_id",
                "initial_value",
                "multiline",
                "min_length",
                "max_length",
                "placeholder",
                "focus_on_load",
            ],
        );
        self.text(element, "placeholder", 150, true, false);
        if element.get("max_length").is_some_and(|max| !max.as_u64().is_some_and(|max| (1..=3_000).contains(&max))) {
            self.wrong("max_length must be from 1 to 3000");
        }
    }

    fn options(&mut self, of: &Value, max: usize) {
        for (n, option) in self.list(of, "options", 1..=max, false).iter().enumerate() {
            self.at(format!("options/{n}"), |j| {
                j.keys(option, &["text", "value", "description", "url"]);
                j.text(option, "text", 75, false, true);
                j.link(option, "url");
                j.string(option, "value", 150, true);
                j.text(option, "description", 75, false, false);
            });
        }
    }

    fn confirm(&mut self, of: &Value) {
        if let Some(confirm) = of.get("confirm") {
            self.at("confirm", |j| {
                j.keys(confirm, &["title", "text", "confirm", "deny", "style"]);
                j.text(confirm, "title", 100, true, true);
                j.text(confirm, "text", 300, true, true);
                j.text(confirm, "confirm", 30, true, true);
                j.text(confirm, "deny", 30, true, true);
            });
        }
    }
}

fn judged(value: &Value) -> Result<(), Fault> {
    let fault = |error, messages| Err(Fault { error, messages });
    let items = match value {
        Value::Null => return Ok(()),
        Value::Array(items) => items,
        _ => return fault("invalid_blocks_format", vec![]),
    };
    let mut judge = Judge { path: "/blocks".to_owned(), ..Judge::default() };
    if items.len() > 50 {
        judge.wrong("no more than 50 items allowed");
    }
    let mut ids = HashSet::new();
    for (n, block) in items.iter().enumerate() {
        judge.at(n, |j| {
            j.block(block);
            if let Some(id) = block.get("block_id").and_then(Value::as_str)
                && !ids.insert(id)
            {
                j.wrong(format!("block_id `{id}` already exists"));
            }
        });
    }
    if !judge.messages.is_empty() {
        return fault("invalid_blocks", judge.messages);
    }
    if judge.text > BLOCKS_TEXT_MAX {
        return fault("msg_blocks_too_long", vec![]);
    }
    Ok(())
}

/// Judges a message's `blocks`.
///
/// # Errors
/// What Slack would answer.
pub fn blocks(value: &Value) -> Result<(), Fault> {
    judged(value)
}

/// Judges a dialog (docs.slack.dev, "Modal view").
///
/// # Errors
/// What Slack would answer.
pub fn view(view: &Value) -> Result<(), Fault> {
    let mut judge = Judge { path: "/view".to_owned(), in_view: true, ..Judge::default() };
    if view["type"] != "modal" {
        judge.wrong("must be a modal");
    }
    let known = [
        "type",
        "title",
        "blocks",
        "close",
        "submit",
        "private_metadata",
        "callback_id",
        "clear_on_close",
        "notify_on_close",
        "external_id",
    ];
    judge.keys(view, &known);
    judge.text(view, "title", 24, true, true);
    judge.text(view, "submit", 24, true, false);
    judge.text(view, "close", 24, true, false);
    judge.string(view, "callback_id", 255, false);
    judge.string(view, "private_metadata", 3_000, false);
    let blocks = judge.list(view, "blocks", 1..=100, true);
    let mut ids = HashSet::new();
    for (n, block) in blocks.iter().enumerate() {
        judge.at(format!("blocks/{n}"), |j| {
            j.block(block);
            if let Some(id) = block.get("block_id").and_then(Value::as_str)
                && !ids.insert(id)
            {
                j.wrong(format!("block_id `{id}` already exists"));
            }
        });
    }
    if blocks.iter().any(|block| block["type"] == "input") && view.get("submit").is_none() {
        judge.wrong("a view with inputs needs submit");
    }
    if judge.messages.is_empty() { Ok(()) } else { Err(Fault { error: "invalid_arguments", messages: judge.messages }) }
}

/// Judges a message's `attachments`.
///
/// # Errors
/// What Slack would answer.
pub fn attachments(value: &Value) -> Result<(), Fault> {
    let invalid = |message: String| Err(Fault { error: "invalid_attachments", messages: vec![message] });
    let items = match value {
        Value::Null => return Ok(()),
        Value::Array(items) => items,
        _ => return invalid("[ERROR] attachments must be an array".to_owned()),
    };
    if items.len() > 100 {
        return Err(Fault { error: "too_many_attachments", messages: vec![] });
    }
    for (n, attachment) in items.iter().enumerate() {
        let Some(object) = attachment.as_object() else {
            return invalid(format!("[ERROR] attachment {n} must be an object"));
        };
        let known = [
            "color",
            "blocks",
            "fallback",
            "text",
            "pretext",
            "title",
            "title_link",
            "fields",
            "footer",
            "footer_icon",
            "mrkdwn_in",
            "ts",
            "id",
            "image_url",
            "thumb_url",
            "author_name",
            "author_link",
            "author_icon",
        ];
        if let Some(unknown) = object.keys().find(|k| !known.contains(&k.as_str())) {
            return invalid(format!("[ERROR] attachment {n} has an unknown property {unknown}"));
        }
        if let Some(colour) = object.get("color") {
            let colour = colour.as_str().unwrap_or_default();
            let hex =
                colour.strip_prefix('#').is_some_and(|h| h.len() == 6 && h.bytes().all(|b| b.is_ascii_hexdigit()));
            if !hex && !["good", "warning", "danger"].contains(&colour) {
                return invalid(format!("[ERROR] attachment {n} has an unknown color"));
            }
        }
        if object.get("footer").and_then(Value::as_str).is_some_and(|f| f.chars().count() > 300) {
            return invalid(format!("[ERROR] attachment {n} has a footer over 300 characters"));
        }
        for name in ["title_link", "image_url", "thumb_url", "author_link", "author_icon", "footer_icon"] {
            let address = object.get(name).and_then(Value::as_str);
            if address.is_some_and(|a| !url::Url::parse(a).is_ok_and(|u| ["http", "https"].contains(&u.scheme()))) {
                return invalid(format!("[ERROR] attachment {n} has an invalid {name}"));
            }
        }
        judged(object.get("blocks").unwrap_or(&Value::Null))?;
    }
    Ok(())
}

/// Judges a message's `blocks` and `attachments` together: Slack counts at most 50 blocks over all of them, and refuses
/// more than 20 attachments with blocks (reported, not documented).
///
/// # Errors
/// What Slack would answer.
pub fn together(blocks: &Value, attachments: &Value) -> Result<(), Fault> {
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let attached: Vec<usize> = attachments.as_array().into_iter().flatten().map(|a| count(&a["blocks"])).collect();
    let all = count(blocks) + attached.iter().sum::<usize>();
    if all > 50 {
        let said = format!(
            "[ERROR] no more than 50 items allowed: there are {all} over blocks and attachments [json-pointer:/blocks]"
        );
        return Err(Fault { error: "invalid_blocks", messages: vec![said] });
    }
    if attached.iter().filter(|n| **n > 0).count() > 20 {
        return Err(Fault { error: "too_many_attachments", messages: vec![] });
    }
    Ok(())
}

/// Judges a message's `metadata`.
///
/// # Errors
/// What Slack would answer.
pub fn metadata(value: &Value) -> Result<(), Fault> {
    let invalid = |error| Err(Fault { error, messages: vec![] });
    if value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(());
    }
    let kind = value.get("event_type").and_then(Value::as_str).unwrap_or_default();
    let payload = value.get("event_payload").and_then(Value::as_object);
    let Some(payload) = payload.filter(|_| !kind.is_empty()) else { return invalid("invalid_metadata_format") };
    if !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return invalid("invalid_metadata_format");
    }
    let named = |name: &str| {
        name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if payload.iter().any(|(name, value)| !named(name) || value.is_object() || value.is_array()) {
        return invalid("invalid_metadata_schema");
    }
    if value.to_string().len() > 8_000 {
        return invalid("metadata_too_large");
    }
    Ok(())
}
