//! The streaming masker: secrets leave a container's output before the first byte is stored anywhere.
//!
//! It is a safety net and no boundary: a script can always transform a value in a way that nobody foresaw.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::forms::{self, base64_core};
use super::parts::{PART_MIN, parts};

/// How much may stand between two bytes of a secret that nobody sees: control characters, colours.
const UNSEEN_MAX: usize = 4096;
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
    wrapped: Wrapped,
}

impl Patterns {
    /// The forms of these secrets and of their [parts](super::parts): raw, base64 in every alignment (both alphabets),
    /// percent-, JSON-, shell-, XML-escaped and hex.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let parts: BTreeSet<String> = secrets.into_iter().flat_map(parts).collect();
        let forms: BTreeSet<Vec<u8>> = parts.iter().flat_map(|part| forms(part)).collect();
        let Some(longest) = forms.iter().map(Vec::len).max() else { return Self(None) };
        let forms: Vec<Vec<u8>> = forms.into_iter().collect();
        let mut starts = [false; 256];
        forms.iter().for_each(|form| starts[usize::from(form[0])] = true);
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&forms)
            .expect("a few short patterns fit");
        let wrapped = Wrapped::new(&parts);
        Self(Some(Arc::new(Inner { search, forms, starts, longest, wrapped })))
    }

    /// Writes whole lines to `out`, without what they have of secrets where a longer base64 text is wrapped over them.
    /// `goes_on` is whether the line before ended in the middle of one.
    pub fn lines(&self, lines: &[u8], goes_on: &mut bool, out: &mut Vec<u8>) {
        let Some(inner) = &self.0 else { return out.extend_from_slice(lines) };
        for line in lines.split_inclusive(|b| *b == b'\n') {
            match inner.wrapped.masked(line, goes_on) {
                Some(masked) => out.extend_from_slice(&masked),
                None => out.extend_from_slice(line),
            }
        }
    }
}

/// Secrets in the middle of a longer text whose base64 is wrapped, as base64(1) does: each line has some of a secret,
/// from anywhere in it. A line of other things than base64 is none of this.
#[derive(Default)]
struct Wrapped {
    /// All that stands together in some secret's base64, so many characters at a time.
    grams: HashSet<[u8; GRAM]>,
    /// Fewer, at the end of a line: with what a secret begins.
    begins: HashSet<Vec<u8>>,
    /// And at the beginning of one: with what it ends.
    ends: HashSet<Vec<u8>>,
}

/// Six bytes, which is what is masked at least.
const GRAM: usize = 8;
/// At a line's border so few are masked; fewer would be in many texts by chance.
const BORDER: usize = 3;
/// Lines are wrapped at no fewer characters than these.
const COLUMNS_MIN: usize = 16;

impl Wrapped {
    fn new(parts: &BTreeSet<String>) -> Self {
        let mut this = Self::default();
        // The lines of a part that has several are parts too; what they have around them is no secret (PEM's first line).
        for part in parts.iter().filter(|part| !part.contains('\n') && !part.contains("-----BEGIN")) {
            for (shift, engine) in (0..3).flat_map(|shift| [(shift, &STANDARD_NO_PAD), (shift, &URL_SAFE_NO_PAD)]) {
                let core = base64_core(engine, part.as_bytes(), shift);
                this.grams.extend(core.array_windows());
                for length in BORDER..GRAM.min(core.len()) {
                    this.begins.insert(core[..length].to_vec());
                    this.ends.insert(core[core.len() - length..].to_vec());
                }
            }
        }
        this
    }

    /// A line without them; nothing where it has none. Notes whether it ends in one.
    fn masked(&self, line: &[u8], ended_in_one: &mut bool) -> Option<Vec<u8>> {
        let goes_on = std::mem::take(ended_in_one);
        let begin = line.iter().position(|b| !matches!(b, b' ' | b'\t'))?;
        let end = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r' | b'=' | b' '))? + 1;
        let text = line.get(begin..end)?;
        if (text.len() < GRAM && !goes_on && !text.ends_with(MASK))
            || !text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'*'))
        {
            return None;
        }
        let mut secret = vec![false; text.len()];
        for (at, gram) in text.array_windows().enumerate() {
            if self.grams.contains(gram) {
                secret[at..at + GRAM].fill(true);
            }
        }
        let is_wide = text.len() >= COLUMNS_MIN;
        for length in BORDER..GRAM.min(text.len() + 1) {
            let last = text.len() - length;
            if is_wide && self.begins.contains(&text[last..]) {
                secret[last..].fill(true);
            }
            if (is_wide || goes_on) && self.ends.contains(&text[..length]) {
                secret[..length].fill(true);
            }
        }
        // So little beside what is masked already that nothing can be said of it is more of the same.
        let is_mask = |b: &u8| *b == MASK[0];
        if let Some(first) = text.iter().position(is_mask).filter(|first| goes_on && (1..GRAM).contains(first)) {
            secret[..(first + MASK.len()).min(text.len())].fill(true);
        }
        let last =
            text.iter().rposition(is_mask).filter(|last| is_wide && (1..GRAM).contains(&(text.len() - last - 1)));
        if let Some(last) = last {
            secret[(last + 1).saturating_sub(MASK.len())..].fill(true);
        }
        *ended_in_one = secret.last() == Some(&true) || text.ends_with(MASK);
        if !secret.contains(&true) {
            return None;
        }
        let mut masked = line[..begin].to_vec();
        for (at, byte) in text.iter().enumerate() {
            match (secret[at], at > 0 && secret[at - 1]) {
                (false, _) => masked.push(*byte),
                (true, false) => masked.extend_from_slice(MASK),
                (true, true) => {}
            }
        }
        masked.extend_from_slice(&line[end..]);
        Some(masked)
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

fn forms(text: &str) -> Vec<Vec<u8>> {
    let forms = forms::of(text);
    // What nobody sees is passed over in the output, so it may be left out here too.
    let seen: Vec<Vec<u8>> = forms.iter().filter_map(|form| Seen::of(form, true)).map(|seen| seen.text).collect();
    forms.into_iter().chain(seen).filter(|form| form.len() >= PART_MIN && !form.contains(&b'\n')).collect()
}

/// Bytes as a person sees them: without control characters and escape sequences.
struct Seen {
    text: Vec<u8>,
    /// Where each of them stands.
    at: Vec<usize>,
    /// Where a sequence begins whose end is not there.
    unended: Option<usize>,
}

impl Seen {
    /// Nothing where all is seen: most output is. At the end of the stream a sequence without an end is none.
    fn of(bytes: &[u8], ended: bool) -> Option<Self> {
        let mut next = bytes.iter().position(|b| is_unseen(*b))?;
        let mut seen = Self { text: bytes[..next].to_vec(), at: (0..next).collect(), unended: None };
        while next < bytes.len() {
            match unseen(&bytes[next..]) {
                Some(0) => {
                    seen.text.push(bytes[next]);
                    seen.at.push(next);
                    next += 1;
                }
                Some(length) => next += length,
                None if !ended => {
                    seen.unended = Some(next);
                    break;
                }
                None => next += 1,
            }
        }
        Some(seen)
    }
}

/// Whether a byte may begin something that nobody sees. A carriage return is no such thing: what it leads to is.
fn is_unseen(byte: u8) -> bool {
    is_control(byte) || matches!(byte, 0xc2 | 0xe2 | 0xef)
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0x7f
}

/// How many bytes a character takes that pages don't show: controls beyond ASCII, marks of direction, blanks of no width.
fn hidden(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [0xc2, 0x80..=0x9f, ..] => Some(2),
        [0xe2, 0x80, 0x8b..=0x8f | 0xaa..=0xae, ..] | [0xe2, 0x81, 0xa0..=0xaf, ..] | [0xef, 0xbb, 0xbf, ..] => Some(3),
        [0xc2 | 0xe2 | 0xef] | [0xe2, 0x80 | 0x81] | [0xef, 0xbb] => None,
        _ => Some(0),
    }
}

/// How many bytes at the beginning nobody sees; nothing when that can't be told yet. Source: ECMA-48, 5.4 (control
/// sequences) and 5.6 (control strings).
fn unseen(bytes: &[u8]) -> Option<usize> {
    let Some((first, rest)) = bytes.split_first() else { return Some(0) };
    if !is_control(*first) {
        return hidden(bytes);
    }
    let (end, closing): (fn(&u8) -> bool, usize) = match (first, rest.first()) {
        (0x1b, Some(b'[')) => (|b| (0x40..=0x7e).contains(b), 0),
        (0x1b, Some(b']' | b'P' | b'X' | b'^' | b'_')) => (|b| matches!(b, 0x07 | 0x1b), 1),
        // A designation, such as `ESC ( B` of `tput sgr0`.
        (0x1b, Some(0x20..=0x2f)) => {
            let end = rest.iter().take(UNSEEN_MAX).position(|b| !(0x20..=0x2f).contains(b));
            return end.map(|at| if rest[at] == b'\n' { at + 1 } else { at + 2 });
        }
        (0x1b, Some(0x30..=0x7e)) => return Some(2),
        (0x1b, None) => return None,
        _ => return Some(1),
    };
    // A line's end ends a sequence too: pages show line by line.
    match rest[1..].iter().take(UNSEEN_MAX).position(|b| end(b) || *b == b'\n') {
        Some(at) if rest[1 + at] == b'\n' => Some(at + 2),
        // The backslash of ESC \, which ends a string.
        Some(at) if rest[1 + at] == 0x1b => (rest.len() > 1 + at + closing).then_some(at + 3 + closing),
        Some(at) => Some(at + 3),
        // One that has no end is none, or the rest of the output would be passed over.
        None if rest.len() > UNSEEN_MAX => Some(1),
        None => None,
    }
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
        let done = inner.mask(&self.held, false, out);
        self.held.drain(..done);
    }

    /// The stream ended: writes what was held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        match &self.patterns.0 {
            Some(inner) => drop(inner.mask(&held, true, out)),
            None => out.extend_from_slice(&held),
        }
    }
}

impl Inner {
    /// Writes what is certain, without the forms in it: as the bytes stand there, and as a person sees them. Tells how
    /// many of the bytes that were.
    fn mask(&self, held: &[u8], ended: bool, out: &mut Vec<u8>) -> usize {
        let seen = Seen::of(held, ended);
        let mut certain = held.len();
        if !ended {
            certain -= self.unfinished(held);
            if let Some(seen) = &seen {
                let tail = seen.text.len() - self.unfinished(&seen.text);
                let tail = seen.at.get(tail).copied().or(seen.unended);
                certain = certain.min(tail.unwrap_or(certain)).min(seen.unended.unwrap_or(certain));
            }
            // What is begun is not waited for for ever.
            if held.len() - certain > self.longest + UNSEEN_MAX {
                certain = held.len();
            }
        }
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut take = |text: &[u8], begin: &dyn Fn(usize) -> usize, end: &dyn Fn(usize) -> usize| {
            for hit in self.search.find_iter(text) {
                let (from, to) = (begin(hit.start()), end(hit.end()));
                if from >= certain {
                    break;
                }
                // One that reaches into the tail may yet become a longer one.
                if to > certain && !ended && self.may_grow(&text[hit.start()..]) {
                    certain = certain.min(from);
                    break;
                }
                found.push((from, to));
            }
        };
        take(held, &|at| at, &|at| at);
        if let Some(seen) = &seen {
            take(&seen.text, &|at| seen.at[at], &|at| seen.at[at - 1] + 1);
        }
        found.sort_unstable();
        let mut done = 0;
        for (from, to) in found {
            if from >= certain {
                break;
            }
            if to <= done {
                continue;
            }
            if from >= done {
                out.extend_from_slice(&held[done..from]);
                out.extend_from_slice(MASK);
            }
            done = to;
        }
        if done < certain {
            out.extend_from_slice(&held[done..certain]);
            done = certain;
        }
        done
    }

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
    use base64::Engine;
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
    fn a_secret_is_masked_as_each_writer_of_json_markup_and_tables_escapes_it() {
        let secret = "aB&cD<eF>1'2\"3+é/x";
        for form in [
            // Go, Terraform, kubectl.
            r#"aB\u0026cD\u003ceF\u003e1'2\"3+é/x"#,
            // .NET, PowerShell.
            r"aB\u0026cD\u003CeF\u003E1\u00272\u00223\u002B\u00E9/x",
            // Gson.
            r#"aB\u0026cD\u003ceF\u003e1\u00272\"3+é/x"#,
            // Python.
            r#"aB&cD<eF>1'2\"3+\u00e9/x"#,
            // PHP, with and without its JSON_HEX_*.
            r#"aB&cD<eF>1'2\"3+\u00e9\/x"#,
            // HTML by Python, PHP, Go; XML.
            "aB&amp;cD&lt;eF&gt;1&#x27;2&quot;3+é/x",
            "aB&amp;cD&lt;eF&gt;1&#039;2&quot;3+é/x",
            "aB&amp;cD&lt;eF&gt;1&#39;2&#34;3+é/x",
            "aB&amp;cD&lt;eF&gt;1&apos;2&quot;3+é/x",
            // YAML and SQL, CSV.
            "aB&cD<eF>1''2\"3+é/x",
            "aB&cD<eF>1'2\"\"3+é/x",
        ] {
            assert_eq!(masked(&[secret], &[format!("before {form} after").as_bytes()]), "before *** after", "{form}");
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
    fn a_large_structured_secret_does_not_fill_the_memory() {
        let fields: Vec<String> =
            (0..200).map(|n| format!("\"key_{n}\": \"value number {n} of a large secret, {}\"", n * 7919)).collect();
        let secret = format!("{{{}}}", fields.join(", "));
        assert!(secret.len() > 10_000);
        let patterns = Patterns::new([secret.as_str()]);
        let inner = patterns.0.as_ref().unwrap();
        let memory = inner.search.memory_usage() + inner.forms.iter().map(Vec::len).sum::<usize>();
        assert!(memory < 32 << 20, "{memory} bytes of patterns");
    }

    #[test]
    fn a_secret_is_masked_though_something_unseen_stands_in_it() {
        for printed in [
            "correct\x1b[31m-horse\x1b[0m-battery",
            "correct\0-hor\x08se-battery",
            "cor\x1b]8;;https://example.com\x07rect-horse\x1b]8;;\x1b\\-battery",
            "\x1b[1mc\x1b[38;2;1;2;3morrect-horse-battery",
            "correct\x1b(B\x1b[m-horse-battery",
            "\x1b]0;title\ncor\x1b[31mrect-horse-battery",
            "cor\u{200b}rect\u{202e}-horse\u{85}-bat\u{feff}tery",
        ] {
            let bytes = printed.as_bytes();
            for cut in 0..bytes.len() {
                let out = masked(&["correct-horse-battery"], &[b"a ", &bytes[..cut], &bytes[cut..], b" b\n"]);
                assert!(
                    out.starts_with("a ") && out.ends_with(" b\n") && out.contains("***"),
                    "{printed:?} cut at {cut}: {out:?}"
                );
                assert!(!out.contains("horse"), "{printed:?} cut at {cut}: {out:?}");
            }
        }
        // What has a control in itself is masked with and without it.
        for printed in ["cor\x1brect-horse", "corect-horse", "cor\x1b[0mect-horse"] {
            let out = masked(&["cor\x1brect-horse"], &[printed.as_bytes()]);
            assert!(!out.contains("horse"), "{printed:?} → {out:?}");
        }
    }

    #[test]
    fn colours_and_controls_beside_a_secret_stay_as_they_are() {
        let out = masked(&["correct-horse"], &[b"\x1b[1mkey\x1b[0m \x1b[32mcorrect-horse\x1b[0m \x07done\n"]);
        assert_eq!(out, "\x1b[1mkey\x1b[0m \x1b[32m***\x1b[0m \x07done\n");
        // What nobody ends is no control string: what follows is looked at.
        let endless = [b"\x1b]0;".as_slice(), &[b'x'; 5_000], b"correct-horse\n"].concat();
        assert!(!masked(&["correct-horse"], &[&endless]).contains("horse"));
        // And what nobody sees is not waited for for ever.
        let mut masker = Masker::new(Patterns::new(["correct-horse"]));
        let mut out = Vec::new();
        masker.push(b"correct-", &mut out);
        for _ in 0..10 {
            masker.push(&[0; 1_000], &mut out);
        }
        assert!(out.len() > 5_000, "{}", out.len());
    }

    #[test]
    fn a_structured_secret_is_masked_in_its_parts() {
        let account = "{\"type\":\"service_account\",\"private_key\":\"-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBg\\nqkhkiG9w0BAQ\\n-----END PRIVATE KEY-----\\n\"}";
        let out = masked(&[account], &[b"MIIEvQIBADANBg\nqkhkiG9w0BAQ\n"]);
        assert_eq!(out, "***\n***\n");
        let encoded = STANDARD.encode(format!("x{account}"));
        assert!(!masked(&[account], &[encoded.as_bytes()]).contains(&encoded[8..60]));
        assert_eq!(masked(&["postgres://app:p%40ssw0rd@db/app"], &[b"p@ssw0rd p%40ssw0rd\n"]), "*** ***\n");
        assert_eq!(masked(&["first line\n  second   line\n"], &[b"first line second line\n"]), "***\n");
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

    #[test]
    fn a_secret_is_masked_in_the_middle_of_a_longer_base64_that_is_wrapped() {
        let wrapped = |text: &str| -> String {
            let lines = STANDARD.encode(text).into_bytes();
            lines.chunks(76).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
        };
        let read = |secret: &str, printed: &str| {
            let mut lines = super::super::lines::Lines::new(&Patterns::new([secret]));
            let mut out = Vec::new();
            // As it comes: a line at a time.
            printed.split_inclusive('\n').for_each(|line| lines.push(false, line.as_bytes(), &mut out));
            String::from_utf8(out).unwrap()
        };
        let long = "a password that is as long as a private key may be, and goes over several lines of base64";
        for (secret, after) in
            [(long, " and what comes after it is nobody's secret at all"), (long, ""), ("correct-horse-battery", "")]
        {
            for before in 0..80 {
                let printed = wrapped(&format!("{}{secret}{after}", "x".repeat(before)));
                let out = read(secret, &printed);
                assert!(out.contains("***"), "{printed} → {out}");
                let of_secret = (before * 8).div_ceil(6)..(before + secret.len()) * 8 / 6;
                for (n, (line, shown)) in printed.lines().zip(out.lines()).enumerate() {
                    // All that stays of a line are its ends that are none of the secret's, and up to two characters.
                    let here = of_secret.start.max(n * 76)..of_secret.end.min(n * 76 + line.len());
                    let ours =
                        line.get(here.start.saturating_sub(n * 76)..here.end.saturating_sub(n * 76)).unwrap_or("");
                    let length = ours.len().min(BORDER);
                    let is_there = length == BORDER
                        && shown.contains(&ours[..length])
                        && shown.contains(&ours[ours.len() - length..]);
                    assert!(!is_there, "{before}: {line} → {shown}");
                    if of_secret.start < n * 76 && ours.len() >= BORDER {
                        assert!(shown.starts_with("***"), "{before}: {line} → {shown} in {printed} → {out}");
                    }
                }
                assert_eq!(out.lines().count(), printed.lines().count(), "lines stay lines");
            }
        }
        // What one line has of it whole is masked before, and the rest of that line all the same.
        let account =
            format!("{{\"user\": \"deployer\", \"password\": \"correct-horse\", \"note\": \"{}\"}}", "n".repeat(90));
        let printed = wrapped(&format!("some: yaml\nfile: {account}\n"));
        let (out, core) = (read(&account, &printed), &printed[24..]);
        assert!(!(0..=core.len() - 12).any(|at| core.get(at..at + 12).is_some_and(|g| out.contains(g))), "{out}");
        // Other lines stay as they are, and the base64 of another key's first line.
        let harmless = "deployed\nZm9vYmFyYmF6cXV4cXV1eGNvcmdl\nan ordinary line\n\n";
        assert_eq!(read(long, harmless), harmless);
        let (key, other) = (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n",
            wrapped("-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIB"),
        );
        assert_eq!(read(key, &other), other);
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
