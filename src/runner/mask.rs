//! The streaming masker: secrets leave a container's output before the first byte is stored anywhere.
//!
//! It is a safety net and no boundary: a script can always transform a value in a way that nobody foresaw.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter secrets are refused when they are set: masking them would blank innocent output.
pub const SECRET_MIN: usize = 8;
/// What stands in the place of a secret.
const MASK: &[u8] = b"***";

/// The forms of a deployment's secrets that are looked for. Cheap to clone; one [`Masker`] per stream.
#[derive(Clone)]
pub struct Patterns(Option<Arc<Inner>>);

struct Inner {
    search: AhoCorasick,
    /// Sorted, to tell whether a tail may be the beginning of one.
    forms: Vec<Vec<u8>>,
    /// First bytes of any form.
    starts: [bool; 256],
    longest: usize,
}

impl Patterns {
    /// The forms of these secrets: raw, per line, base64 in every alignment (both alphabets), percent-, JSON-, shell-,
    /// XML-escaped and hex.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let forms: BTreeSet<Vec<u8>> = secrets.into_iter().flat_map(forms).collect();
        let Some(longest) = forms.iter().map(Vec::len).max() else { return Self(None) };
        let forms: Vec<Vec<u8>> = forms.into_iter().collect();
        let mut starts = [false; 256];
        forms.iter().for_each(|form| starts[usize::from(form[0])] = true);
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&forms)
            .expect("a few short patterns fit");
        Self(Some(Arc::new(Inner { search, forms, starts, longest })))
    }
}

impl Patterns {
    /// A whole text without them.
    pub fn masked(&self, text: &str) -> String {
        let (mut masker, mut out) = (Masker::new(self.clone()), Vec::with_capacity(text.len()));
        masker.push(text.as_bytes(), &mut out);
        masker.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut raw: BTreeSet<&str> = secret.lines().map(str::trim).filter(|line| line.len() >= SECRET_MIN).collect();
    raw.insert(secret.trim_end_matches(['\r', '\n']));
    let mut forms = BTreeSet::new();
    for text in raw {
        if !text.contains('\n') {
            forms.insert(text.as_bytes().to_vec());
            forms.insert(text.replace('\'', r"'\''").into_bytes());
            forms.insert(text.replace('\'', r#"'"'"'"#).into_bytes());
            forms.insert(backslashed(text).into_bytes());
            forms.insert(double_quoted(text).into_bytes());
            forms.insert(xml(text).into_bytes());
        }
        let json = serde_json::to_string(text).unwrap_or_default();
        forms.insert(json.trim_matches('"').as_bytes().to_vec());
        forms.insert(json.trim_matches('"').replace('/', r"\/").into_bytes());
        forms.insert(json_ascii(text).into_bytes());
        for strict in [true, false] {
            let upper = percent(text, strict);
            for form in [lowercase_escapes(&upper), upper] {
                forms.insert(form.replace("%20", "+").into_bytes());
                forms.insert(form.into_bytes());
            }
        }
    }
    // The value as `printf %s` and as `echo` would give it to an encoder.
    for bytes in [secret.as_bytes().to_vec(), [secret.as_bytes(), b"\n"].concat()] {
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
    forms.into_iter().filter(|form| form.len() >= SECRET_MIN.min(secret.len()) && !form.contains(&b'\n')).collect()
}

/// The part of a base64 text that does not depend on what stands before and after the secret.
fn base64_core(engine: &impl Engine, secret: &[u8], shift: usize) -> Vec<u8> {
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

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn json_ascii(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    let mut units = [0; 2];
    let ascii = json.trim_matches('"').chars().map(|c| match c {
        c if c.is_ascii() => c.to_string(),
        c => c.encode_utf16(&mut units).iter().map(|u| format!("\\u{u:04x}")).collect(),
    });
    ascii.collect()
}

/// Masks one stream. What might be the beginning of a secret is held back until the next bytes tell.
pub struct Masker {
    patterns: Patterns,
    held: Vec<u8>,
}

impl Masker {
    /// A masker at the beginning of a stream.
    pub fn new(patterns: Patterns) -> Self {
        Self { patterns, held: Vec::new() }
    }

    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes more bytes and writes what is certain to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(inner) = &self.patterns.0 else { return out.extend_from_slice(bytes) };
        self.held.extend_from_slice(bytes);
        let certain = self.held.len() - inner.unfinished(&self.held);
        let mut done = 0;
        for found in inner.search.find_iter(&self.held) {
            // A match that reaches into the tail may yet become a longer one.
            if found.start() >= certain {
                break;
            }
            if found.end() > certain && inner.may_grow(&self.held[found.start()..]) {
                break;
            }
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend_from_slice(MASK);
            done = found.end();
        }
        if done < certain {
            // Up to the certain part, unless a match that was left for later begins before it.
            let stop =
                inner.search.find_iter(&self.held[done..]).next().map_or(certain, |m| (done + m.start()).min(certain));
            out.extend_from_slice(&self.held[done..stop]);
            done = stop;
        }
        self.held.drain(..done);
    }

    /// The stream ended: writes what was held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        match &self.patterns.0 {
            Some(inner) => {
                let mut done = 0;
                for found in inner.search.find_iter(&held) {
                    out.extend_from_slice(&held[done..found.start()]);
                    out.extend_from_slice(MASK);
                    done = found.end();
                }
                out.extend_from_slice(&held[done..]);
            }
            None => out.extend_from_slice(&held),
        }
    }
}

impl Inner {
    /// Length of the longest tail that is the beginning, and not the whole, of a form.
    fn unfinished(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest - 1);
        (from..bytes.len())
            .find(|at| self.starts[usize::from(bytes[*at])] && self.may_grow(&bytes[*at..]))
            .map_or(0, |at| bytes.len() - at)
    }

    /// Whether some form begins with these bytes and is longer.
    fn may_grow(&self, bytes: &[u8]) -> bool {
        let next = self.forms.partition_point(|form| form.as_slice() <= bytes);
        self.forms.get(next).is_some_and(|form| form.starts_with(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    fn masked(secrets: &[&str], pieces: &[&[u8]]) -> String {
        let mut masker = Masker::new(Patterns::new(secrets.iter().copied()));
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| masker.push(piece, &mut out));
        masker.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_masked_in_every_form_that_scripts_print() {
        let secret = "p@ss w0rd/\"q'\\é";
        for form in [
            secret.to_owned(),
            serde_json::to_string(secret).unwrap(),
            "p%40ss%20w0rd%2F%22q%27%5C%C3%A9".to_owned(),
            "p%40ss+w0rd%2f%22q%27%5c%c3%a9".to_owned(),
            r#"'p@ss w0rd/"q'\''\é'"#.to_owned(),
            hex::encode(secret),
        ] {
            let out = masked(&[secret], &[format!("before {form} after").as_bytes()]);
            assert!(out.starts_with("before ") && out.ends_with(" after") && out.contains("***"), "{form} → {out}");
            assert!(!out.contains("w0rd"), "{form} → {out}");
        }
    }

    #[test]
    fn base64_is_masked_whatever_stands_before_the_secret() {
        let secret = "correct-horse-battery";
        for before in ["", "u", "us", "user:", "Bearer "] {
            let encoded = STANDARD.encode(format!("{before}{secret}!"));
            let out = masked(&[secret], &[encoded.as_bytes()]);
            let core = &encoded[(before.len() * 8).div_ceil(6)..(before.len() + secret.len()) * 8 / 6];
            assert!(!out.contains(core) && out.contains("***"), "{encoded} → {out}");
        }
    }

    #[test]
    fn each_line_of_a_key_file_is_masked() {
        let out = masked(&["-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n"], &[b"a MIIEvQIBADANBg b\n"]);
        assert_eq!(out, "a *** b\n");
    }

    #[test]
    fn what_only_begins_like_a_secret_is_let_through_in_the_end() {
        assert_eq!(masked(&["abcdefgh"], &[b"xx abc", b"dxx ", b"abcdefg"]), "xx abcdxx abcdefg");
        assert_eq!(masked(&["abcdefgh", "abcdefghijkl"], &[b"abcdefgh", b"ijk ", b"abcdefghijkl"]), "***ijk ***");
    }

    #[test]
    fn a_long_secret_is_masked_though_base64_wraps_it() {
        let secret = "0123456789abcdef".repeat(12);
        for columns in [76, 64] {
            let wrapped: Vec<String> = STANDARD
                .encode(&secret)
                .as_bytes()
                .chunks(columns)
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .collect();
            let out = masked(&[&secret], &[wrapped.join("\n").as_bytes()]);
            assert!(wrapped.iter().all(|line| !out.contains(line.trim_end_matches('='))), "{out}");
        }
    }

    proptest! {
        #[test]
        fn a_split_anywhere_changes_nothing(
            before in "[a-h ]{0,20}", after in "[a-h ]{0,20}", cuts in prop::collection::vec(0_usize..60, 0..6)
        ) {
            let text = format!("{before}abcdefgh{after}abababab");
            let whole = masked(&["abcdefgh", "abababab"], &[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text.as_bytes()[w[0]..w[1]]).collect();
            prop_assert_eq!(&masked(&["abcdefgh", "abababab"], &pieces), &whole);
            prop_assert!(!whole.contains("abcdefgh") && !whole.contains("abababab"));
        }
    }
}
