//! The parts of a structured secret that are secret by themselves: what a script takes out of it and prints. Pure.
//!
//! A key file, a kubeconfig, a `.env`, an address with a password: whoever has it takes values out of it, decodes them,
//! joins their lines. Each such part is looked for as the whole is. Reading is tolerant: what can't be read has no parts.

use std::collections::BTreeSet;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// A value, or a part of one, with fewer characters masks nothing: it would blank innocent output.
pub const PART_MIN: usize = 6;
/// Most parts of one secret; the largest key files have some hundred lines.
const PARTS_MAX: usize = 600;
/// How deep one structure may be in another: a key in a JSON in base64 in a YAML.
const DEPTH_MAX: usize = 4;

/// A secret and its parts, each once; none that is too short to be masked.
pub fn parts(secret: &str) -> BTreeSet<String> {
    Parts::of(secret).found
}

/// What of a secret is not masked in logs, as a sentence about it; for whoever sets it.
pub fn unmasked(secret: &str) -> Option<String> {
    let parts = Parts::of(secret);
    let characters = secret.trim_end_matches(['\r', '\n']).chars().count();
    if characters < PART_MIN {
        return Some(format!("it has {characters} characters, and fewer than {PART_MIN} are not masked in logs"));
    }
    if parts.found.len() >= PARTS_MAX {
        return Some(format!(
            "it has more than {PARTS_MAX} parts, and not all of them are masked in logs by themselves"
        ));
    }
    match parts.short.len() {
        0 => None,
        1 => {
            Some(format!("one of its parts has fewer than {PART_MIN} characters, and is not masked in logs by itself"))
        }
        n => Some(format!(
            "{n} of its parts have fewer than {PART_MIN} characters, and are not masked in logs by themselves"
        )),
    }
}

#[derive(Default)]
struct Parts {
    found: BTreeSet<String>,
    /// Those that were too short.
    short: BTreeSet<String>,
}

impl Parts {
    fn of(secret: &str) -> Self {
        let mut parts = Self::default();
        parts.add(secret.trim_end_matches(['\r', '\n']), 0);
        parts
    }

    /// Adds a text and what it is made of.
    fn add(&mut self, text: &str, depth: usize) {
        let text = text.trim_matches(['\r', '\n']);
        if !self.alone(text) || depth == DEPTH_MAX {
            return;
        }
        // As an unquoted `echo $SECRET` prints it.
        let collapsed = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.alone(&collapsed);
        match serde_json::from_str::<Value>(text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => {
                if depth == 0 {
                    // In the order of its own keys, on one line: as `tr -d '\n '` would, and with blanks.
                    self.alone(&minified(text, ""));
                    self.alone(&minified(text, " "));
                }
                self.json(&value, depth);
            }
            // A text in JSON's quotes, escapes and all.
            Ok(Value::String(inner)) => self.add(&inner, depth + 1),
            // Line ends that are written out, as in a variable that holds a key: `printf '%b'` and most programs decode them.
            _ if text.contains("\\n") => {
                self.add(&text.replace("\\r\\n", "\n").replace("\\n", "\n"), depth + 1);
                self.line(text, depth);
            }
            _ if text.contains('\n') => self.lines(text, depth),
            _ => self.line(text, depth),
        }
    }

    /// Adds a text as it is; whether it is a new one.
    fn alone(&mut self, text: &str) -> bool {
        if text.chars().count() < PART_MIN {
            self.short.extend((!text.is_empty()).then(|| text.to_owned()));
            return false;
        }
        self.found.len() < PARTS_MAX && self.found.insert(text.to_owned())
    }

    fn json(&mut self, value: &Value, depth: usize) {
        if depth == 0 {
            self.alone(&value.to_string());
            // As Python and jq print it on one line.
            self.alone(&spaced(value));
            if let Ok(pretty) = serde_json::to_string_pretty(value) {
                self.alone(&pretty);
            }
        }
        let mut left = vec![value];
        while let Some(value) = left.pop() {
            match value {
                Value::String(text) => self.add(text, depth + 1),
                Value::Number(number) => drop(self.alone(&number.to_string())),
                Value::Array(items) => left.extend(items),
                Value::Object(fields) => left.extend(fields.values()),
                _ => {}
            }
        }
    }

    /// Each line, and what stands in it; the bodies of PEM blocks as one, too, and so base64 that is wrapped.
    fn lines(&mut self, text: &str, depth: usize) {
        let mut body = None;
        self.wrapped(text, depth);
        self.json_within(text, depth);
        for line in text.lines().map(str::trim) {
            if line.starts_with("-----BEGIN ") {
                body = Some(String::new());
            } else if line.starts_with("-----END ") {
                self.alone(&body.take().unwrap_or_default());
            } else {
                if let Some(body) = &mut body {
                    body.push_str(line);
                }
                // A heading of YAML, or a ruler: innocent output is full of them.
                let first = line.chars().next();
                if !line.ends_with(':') && !line.chars().all(|c| Some(c) == first) {
                    self.alone(line);
                }
                if body.is_none() {
                    self.line(line, depth);
                }
            }
        }
    }

    /// Lines of base64 below each other are one text.
    fn wrapped(&mut self, text: &str, depth: usize) {
        let is_base64 =
            |line: &str| line.len() >= 16 && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b));
        let mut joined = String::new();
        let mut many = 0;
        for line in text.lines().map(str::trim).chain([""]) {
            // The last of them may be short.
            let ends = many > 0
                && !line.is_empty()
                && line.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b));
            if is_base64(line) || ends {
                joined.push_str(line);
                many += 1;
                if is_base64(line) {
                    continue;
                }
            }
            if many > 1 {
                self.alone(&joined);
                if let Some(decoded) = decoded(&joined) {
                    self.add(&decoded, depth + 1);
                }
            }
            (joined, many) = (String::new(), 0);
        }
    }

    /// JSON that stands in another text: in a block of YAML, or in a shell's quotes.
    fn json_within(&mut self, text: &str, depth: usize) {
        for (open, close) in [('{', '}'), ('[', ']')] {
            let span = text.find(open).zip(text.rfind(close)).filter(|(from, to)| from < to);
            let value = span.and_then(|(from, to)| serde_json::from_str::<Value>(&text[from..=to]).ok());
            if let Some(value @ (Value::Object(_) | Value::Array(_))) = value {
                self.json(&value, depth + 1);
            }
        }
    }

    /// The value of `KEY=value`, `key: value` or `- value`, the password of an address, and what base64 holds.
    fn line(&mut self, line: &str, depth: usize) {
        let line = line.trim();
        let entry = line.strip_prefix("- ").map_or(line, str::trim_start);
        let (name, value) = match (entry.split_once('='), entry.split_once(": ")) {
            (Some((name, value)), None) => (name, value),
            (None, Some((name, value))) => (name, value),
            // Whichever comes first: a value may hold the other's mark.
            (Some((name, value)), Some((key, of))) => {
                if name.len() < key.len() {
                    (name, value)
                } else {
                    (key, of)
                }
            }
            (None, None) => ("", entry),
        };
        // npm's settings have a registry's address before the name.
        let is_name = |c: char| c.is_alphanumeric() || "_-.\"' /:@".contains(c);
        let is_value = !value.trim().trim_matches('=').is_empty();
        let value = if name.chars().all(is_name) && is_value { value.trim() } else { entry };
        self.json_within(value, depth);
        if let Some(bare) = without_trailer(value) {
            self.add(&bare, depth + 1);
        }
        // YAML's maps and lists on one line.
        let flow = value.strip_prefix('{').and_then(|v| v.strip_suffix('}'));
        if let Some(flow) = flow.or_else(|| value.strip_prefix('[').and_then(|v| v.strip_suffix(']')))
            && depth < DEPTH_MAX
        {
            flow.split(',').for_each(|item| self.line(item, depth + 1));
        }
        if let Some(quoted) = unquoted(value) {
            self.add(&quoted, depth + 1);
        } else if value != line {
            self.add(value, depth + 1);
        }
        self.userinfo(value, depth);
        // What stands after a word, as in `Basic …`, too; and the whole, whose last `=` only fill it up.
        let last = value.rsplit(' ').next().unwrap_or(value);
        let kinds = ["Bearer ", "bearer ", "Basic ", "basic ", "Token ", "token ", "ApiKey "];
        if kinds.iter().any(|kind| value.strip_prefix(kind) == Some(last)) {
            self.add(last, depth + 1);
        }
        for encoded in BTreeSet::from([value, last, entry]) {
            let Some(decoded) = decoded(encoded) else { continue };
            self.add(&decoded, depth + 1);
            // As a Docker configuration and an HTTP header have a name and a password.
            if let Some((_, password)) = decoded.split_once(':').filter(|_| !decoded.contains('\n')) {
                self.add(password, depth + 1);
            }
        }
    }

    /// The password in `scheme://user:password@host`, as it stands and decoded.
    fn userinfo(&mut self, text: &str, depth: usize) {
        for (scheme, rest) in text.match_indices("://").map(|(at, _)| text.split_at(at + 3)) {
            let authority = rest.split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
            let Some((userinfo, _)) = authority.rsplit_once('@') else { continue };
            // A token may stand in the user's place, where addresses have no other users.
            let token = ["http://", "https://"].iter().any(|s| scheme.ends_with(s)).then_some(userinfo);
            let password = match userinfo.split_once(':') {
                Some((user, "" | "x-oauth-basic")) => Some(user),
                Some((_, password)) => Some(password),
                None => token,
            };
            let Some(password) = password else { continue };
            self.add(password, depth + 1);
            if let Ok(plain) = percent_decoded(password) {
                self.add(&plain, depth + 1);
            }
        }
    }
}

/// JSON on one line with a blank after each comma and colon.
fn spaced(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", Value::from(name.as_str()), spaced(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string(),
    }
}

/// JSON as it is, without the blanks between its parts; with another text after each comma and colon.
fn minified(json: &str, after: &str) -> String {
    let mut bare = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted || !c.is_whitespace() {
            bare.push(c);
        }
        if !quoted && matches!(c, ',' | ':') {
            bare.push_str(after);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    bare
}

/// A value without the comment, the comma or the semicolon that stands behind it, and without its quotes.
fn without_trailer(value: &str) -> Option<String> {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        let mut escaped = false;
        let end = value.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (end, _) = end.filter(|(at, _)| at + 1 < value.len())?;
        let rest = value[end + 1..].trim_start();
        return rest.starts_with(['#', ',', ';', '}']).then(|| unquoted(&value[..=end])).flatten();
    }
    let comment = value.find(" #").map_or(value, |at| &value[..at]);
    let bare = comment.trim_end().trim_end_matches([',', ';']).trim_end();
    (bare != value).then(|| unquoted(bare).unwrap_or_else(|| bare.to_owned()))
}

/// What stands in quotes, escapes decoded.
fn unquoted(text: &str) -> Option<String> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    match (inner('"'), inner('\'')) {
        (Some(_), _) if serde_json::from_str::<String>(text).is_ok() => serde_json::from_str(text).ok(),
        (Some(inner), _) | (None, Some(inner)) => Some(inner.to_owned()),
        (None, None) => None,
    }
}

/// The text that base64 holds, when it is one: random characters decode to no text.
fn decoded(text: &str) -> Option<String> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let is_text = |text: &String| {
        text.chars().count() >= PART_MIN && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
    };
    [&STANDARD, &URL_SAFE]
        .into_iter()
        .filter_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
        .filter_map(|bytes| String::from_utf8(bytes).ok())
        .find(is_text)
}

fn percent_decoded(text: &str) -> Result<String, std::string::FromUtf8Error> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn has(secret: &str, part: &str) {
        let all = parts(secret);
        assert!(all.contains(part), "{part:?} is no part of {secret:?}: {all:#?}");
    }

    #[test]
    fn a_service_account_is_masked_by_its_values_and_its_key_by_its_lines() {
        let account = "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\nkqhkiG9w0BAQ\\n-----END PRIVATE KEY-----\\n\"\n}";
        has(account, "MIIEvQIBADANBg");
        has(account, "kqhkiG9w0BAQ");
        has(account, "MIIEvQIBADANBgkqhkiG9w0BAQ");
        has(account, "service_account");
        has(
            account,
            r#"{"private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END PRIVATE KEY-----\n", "type": "service_account"}"#,
        );
        let encoded = base64::engine::general_purpose::STANDARD.encode(account);
        has(&encoded, "MIIEvQIBADANBg");
    }

    #[test]
    fn the_values_of_yaml_and_of_an_environment_file_are_parts() {
        let kubeconfig = "apiVersion: v1\nusers:\n- name: ci\n  user:\n    token: eyJhbGciOiJSUzI1NiJ9.payload\n    password: \"pass: word=1\"\n";
        has(kubeconfig, "eyJhbGciOiJSUzI1NiJ9.payload");
        has(kubeconfig, "pass: word=1");
        let env =
            "# settings\nexport TOKEN='s3cr3t-token'\nURL=postgres://app:p%40ssw0rd@db/app\nPLAIN=value=with=signs\n";
        has(env, "s3cr3t-token");
        has(env, "p%40ssw0rd");
        has(env, "p@ssw0rd");
        has(env, "value=with=signs");
    }

    #[test]
    fn what_a_docker_configuration_holds_is_decoded() {
        let auth = base64::engine::general_purpose::STANDARD.encode("puller:correct-horse");
        let config = format!(r#"{{"auths":{{"ghcr.io":{{"auth":"{auth}"}}}}}}"#);
        has(&config, &auth);
        has(&config, "puller:correct-horse");
        has(&config, "correct-horse");
        // Filled up with one or two signs, and after a word.
        for password in ["correct-horse-1", "correct-horse-12", "correct-horse-123"] {
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("puller:{password}"));
            has(&auth, password);
            has(&format!("Authorization: Basic {auth}"), password);
        }
        has("https://ghp_token123@github.com/x", "ghp_token123");
        assert!(!parts("ssh://deploy@host/path").contains("deploy"));
    }

    #[test]
    fn line_ends_that_are_written_out_are_decoded() {
        has(
            "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\nkqhkiG9w0BAQ\\n-----END PRIVATE KEY-----\\n",
            "MIIEvQIBADANBg",
        );
        assert!(!parts("# ----\n--------\nusers:\nTOKEN=s3cr3t-token\n").contains("--------"));
    }

    #[test]
    fn blanks_are_collapsed_as_an_unquoted_echo_does() {
        has("first line\n  second   line\n", "first line second line");
    }

    #[test]
    fn whoever_sets_a_secret_is_told_what_of_it_is_not_masked() {
        assert_eq!(unmasked("correct-horse"), None);
        assert_eq!(unmasked("short").unwrap(), "it has 5 characters, and fewer than 6 are not masked in logs");
        let note = unmasked("USER=ana\nPASSWORD=correct-horse\n").unwrap();
        assert!(note.starts_with("one of its parts has fewer than 6 characters"), "{note}");
    }

    #[test]
    fn comments_commas_and_other_company_are_left_behind() {
        has("TOKEN=s3cr3t-token # rotate in May\nOTHER=\"quoted # value\" # note\n", "s3cr3t-token");
        has("TOKEN=s3cr3t-token # rotate in May\nOTHER=\"quoted # value\" # note\n", "quoted # value");
        has("token: s3cr3t-token  # yaml\n", "s3cr3t-token");
        has("key: |\n  {\n    \"password\": \"correct-horse\",\n    \"other\": 1\n  }\n", "correct-horse");
        has("{\"password\":\"correct-horse\"}\n{\"password\":\"battery-staple\"}\n", "battery-staple");
        has("CONFIG='{\"password\": \"correct-horse\"}'\n", "correct-horse");
        has("//registry.example.com/:_authToken=npm_s3cr3t\n", "npm_s3cr3t");
        has("Authorization: Bearer s3cr3t-token\n", "s3cr3t-token");
        has("user: {name: ana, password: correct-horse}\n", "correct-horse");
        has("{\"pin\": 12345678}", "12345678");
    }

    #[test]
    fn base64_that_is_wrapped_is_one_text() {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode("the password is correct-horse-battery-staple, and more");
        let wrapped: String =
            encoded.as_bytes().chunks(24).map(|l| format!("  {}\n", String::from_utf8_lossy(l))).collect();
        has(&format!("data: |\n{wrapped}"), &encoded);
        has(&format!("data: |\n{wrapped}"), "the password is correct-horse-battery-staple, and more");
    }

    #[test]
    fn json_is_masked_in_the_order_of_its_keys() {
        has("{\n \"z\": \"one two\",\n \"a\": [1, 2]\n}", "{\"z\":\"one two\",\"a\":[1,2]}");
        has("{\n \"z\": \"one two\",\n \"a\": [1, 2]\n}", "{\"z\": \"one two\", \"a\": [1, 2]}");
    }

    #[test]
    fn what_is_short_is_no_part_and_what_is_random_has_none() {
        assert!(parts("a: b\nc=d\n").iter().all(|part| part.len() > 5));
        assert!(parts("short").is_empty());
        assert_eq!(parts("Xk9vQ2Lz7TqW8rYp").len(), 1);
    }
}
