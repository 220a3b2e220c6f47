//! In which forms a secret is printed: as each writer of JSON, markup, shell words, addresses and encodings has it. Pure.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What scripts, and the tools that they call, make of a text when they print it.
pub(super) fn of(text: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    if !text.contains('\n') {
        forms.insert(text.as_bytes().to_vec());
        forms.insert(text.replace('\'', r"'\''").into_bytes());
        forms.insert(text.replace('\'', r#"'"'"'"#).into_bytes());
        forms.insert(backslashed(text).into_bytes());
        forms.insert(double_quoted(text).into_bytes());
        // As YAML, SQL and CSV double them.
        forms.insert(text.replace('\'', "''").into_bytes());
        forms.insert(text.replace('"', "\"\"").into_bytes());
        for (double, single) in QUOTES_IN_MARKUP {
            forms.insert(markup(text, double, single).into_bytes());
        }
    }
    for (also, beyond_ascii, digits) in JSON_WRITERS {
        let written = json(text, also, *beyond_ascii, *digits);
        forms.insert(written.replace('/', r"\/").into_bytes());
        forms.insert(written.into_bytes());
    }
    for strict in [true, false] {
        let upper = percent(text, strict);
        for form in [lowercase_escapes(&upper), upper] {
            forms.insert(form.replace("%20", "+").into_bytes());
            forms.insert(form.into_bytes());
        }
    }
    // The value as `printf %s` and as `echo` would give it to an encoder.
    for bytes in [text.as_bytes().to_vec(), [text.as_bytes(), b"\n"].concat()] {
        forms.insert(hex::encode(&bytes).into_bytes());
        forms.insert(hex::encode_upper(&bytes).into_bytes());
        // As base64(1) and openssl wrap a long value that is encoded by itself.
        let alone = STANDARD_NO_PAD.encode(&bytes);
        for columns in [76, 64] {
            forms.extend(alone.as_bytes().chunks(columns).map(<[u8]>::to_vec));
        }
        for shift in 0..3 {
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                forms.insert(base64_core(engine, &bytes, shift));
            }
        }
    }
    forms
}

/// The part of a base64 text that does not depend on what stands before and after the secret.
pub(super) fn base64_core(engine: &impl Engine, secret: &[u8], shift: usize) -> Vec<u8> {
    let encoded = engine.encode([&vec![0; shift], secret].concat());
    let first = (shift * 8).div_ceil(6);
    let last = (shift + secret.len()) * 8 / 6;
    encoded.as_bytes()[first..last].to_vec()
}

/// `%C3` as `%c3`; the rest stays.
fn lowercase_escapes(percent: &str) -> String {
    let mut left = 0_u8;
    let lower = |c: char| {
        let escaped = left > 0;
        left = if c == '%' { 2 } else { left.saturating_sub(1) };
        if escaped { c.to_ascii_lowercase() } else { c }
    };
    percent.chars().map(lower).collect()
}

fn percent(text: &str, strict: bool) -> String {
    let keep =
        |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || (!strict && b"!*'();:@&=+$,/?#[]".contains(&b));
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn backslashed(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    text.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

fn double_quoted(text: &str) -> String {
    text.chars().flat_map(|c| "\"\\$`".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// What those who write HTML or XML make of a double and of a single quote.
const QUOTES_IN_MARKUP: [(&str, &str); 7] = [
    ("\"", "'"),
    ("&quot;", "'"),
    ("&quot;", "&#39;"),
    ("&quot;", "&#039;"),
    ("&quot;", "&#x27;"),
    ("&quot;", "&apos;"),
    ("&#34;", "&#39;"),
];

fn markup(text: &str, double: &str, single: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', double).replace('\'', single)
}

/// Digits of an escape.
#[derive(Clone, Copy)]
enum Hex {
    Lower,
    Upper,
}

/// What writers of JSON escape that needn't be: these characters, and perhaps those beyond ASCII; with which digits.
const JSON_WRITERS: &[(&str, bool, Hex)] = &[
    ("", false, Hex::Lower),
    // Python, Ruby's `ascii_only`, jq -a.
    ("", true, Hex::Lower),
    ("", true, Hex::Upper),
    // Go, and with it Terraform and kubectl; Rails.
    ("<>&", false, Hex::Lower),
    ("<>&", true, Hex::Lower),
    // Django.
    ("<>&", false, Hex::Upper),
    // Gson.
    ("<>&='", false, Hex::Lower),
    // System.Text.Json, and with it PowerShell; Newtonsoft for HTML; PHP's JSON_HEX_*.
    ("<>&'+`\"", true, Hex::Upper),
    ("<>&'\"", false, Hex::Lower),
    ("<>&'\"", true, Hex::Upper),
];

fn json(text: &str, also: &str, beyond_ascii: bool, digits: Hex) -> String {
    let mut units = [0; 2];
    let written = text.chars().map(|c| match c {
        c if also.contains(c) || (beyond_ascii && !c.is_ascii()) => {
            let escape = |unit: &u16| match digits {
                Hex::Lower => format!("\\u{unit:04x}"),
                Hex::Upper => format!("\\u{unit:04X}"),
            };
            c.encode_utf16(&mut units).iter().map(escape).collect()
        }
        // Without the quotes around it.
        c => serde_json::to_string(&c).map_or_else(|_| c.to_string(), |quoted| quoted[1..quoted.len() - 1].to_owned()),
    });
    written.collect()
}
