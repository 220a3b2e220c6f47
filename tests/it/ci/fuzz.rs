//! Mutated bodies and proofs, from a seed: parsers never panic, what they make of a body can always be registered, and
//! no changed byte is believed. `./just fuzz` runs it for as long as you like; what it found is kept in `fuzz/`.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use coolops::ci::{self, Headers, Provider, Reading, Request, redact, rules};
use coolops::domain::names;
use serde_json::Value;

use super::{Sample, samples, sign};

/// A small generator: the same seed gives the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap()
    }
}

const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "HEAD",
    "refs/heads/",
    "refs/tags/",
    "refs/pull/",
    "origin/",
    "v1",
    "💥",
    "\u{202e}",
    "<!channel>",
    "#",
    "://",
    "{",
    "null",
    "-",
    "0",
];

/// Changes something somewhere.
fn mutate(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(fields) if !fields.is_empty() && dice.roll(8) != 0 => {
            let name = fields.keys().nth(dice.roll(fields.len())).cloned().unwrap();
            match dice.roll(12) {
                0 => drop(fields.remove(&name)),
                1 => drop(fields.insert(name, any(dice))),
                _ => mutate(dice, &mut fields[&name]),
            }
        }
        Value::Array(items) if !items.is_empty() && dice.roll(8) != 0 => {
            let at = dice.roll(items.len());
            mutate(dice, &mut items[at]);
        }
        Value::String(text) if dice.roll(2) == 0 => match dice.roll(4) {
            0 => *text = text.chars().rev().collect(),
            1 => *text = text.repeat(dice.roll(3_000)),
            2 => text.insert_str(0, TEXTS[dice.roll(TEXTS.len())]),
            _ => text.push_str(TEXTS[dice.roll(TEXTS.len())]),
        },
        other => *other = any(dice),
    }
}

fn any(dice: &mut Dice) -> Value {
    match dice.roll(8) {
        0 => Value::Null,
        1 => true.into(),
        2 => (dice.0.cast_signed()).into(),
        3 => serde_json::json!(1e300),
        4 => serde_json::json!([]),
        5 => serde_json::json!({ "a": { "b": [1, { "c": null }] } }),
        _ => TEXTS[dice.roll(TEXTS.len())].into(),
    }
}

/// Reads and decides; what comes out must be fit to be registered.
fn reads(provider: &dyn Provider, headers: &[(String, String)], bytes: &[u8]) {
    let headers = Headers(headers.to_vec());
    let request = Request { headers: &headers, body: bytes, now: 1_700_000_000 };
    let Ok(mut body) = ci::body(provider, &request) else { return };
    redact::body(&mut body);
    let _ = provider.delivery(&request, &body);
    if let Reading::Report(report) = provider.read(&request, &body)
        && let Ok(build) = rules::decide(provider, &super::rules(provider.name()), &report, &body)
    {
        names::build_name(&build.name).unwrap();
        for part in build.run.iter().flat_map(|run| [&run.of, &run.id]) {
            assert!(!part.chars().any(char::is_control), "{part:?}");
        }
        for entry in &build.params {
            names::param(&entry.name).unwrap();
        }
        for entry in build.params.iter().chain(&build.metadata) {
            names::value(&entry.name, &entry.value).unwrap();
        }
    }
}

/// Flips, cuts or repeats some bytes.
fn scramble(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.roll(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.roll(bytes.len());
        match dice.roll(4) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, u8::try_from(dice.roll(256)).unwrap()),
            _ => drop(bytes.remove(at)),
        }
    }
}

/// Every way to prove an origin, with where in which header the proof is: after this mark, to the end or a comma.
const PROOFS: &[(&str, &str, &str)] = &[
    ("github", "x-hub-signature-256", "sha256="),
    ("bitbucket", "x-hub-signature", "sha256="),
    ("circleci", "circleci-signature", "v1="),
    ("buildkite", "x-buildkite-signature", "signature="),
    ("buildkite", "x-buildkite-signature", "timestamp="),
    ("buildkite_token", "x-buildkite-token", ""),
    ("gitlab", "x-gitlab-token", ""),
    ("gitlab_signing", "webhook-signature", "v1,"),
    ("gitlab_signing", "webhook-timestamp", ""),
    ("gitlab_signing", "webhook-id", ""),
    ("drone", "signature", ",signature=\""),
    ("drone", "digest", "SHA-256="),
    ("drone", "date", ""),
    ("travis", "signature", ""),
    ("jenkins", "authorization", "Basic Y2k6"), // after the name, which may be any
    ("azure", "x-coolops-token", ""),
    ("generic", "authorization", "Bearer "),
];

/// No change of a byte, in a signed body or in a proof, is believed.
fn disbelieves(dice: &mut Dice) {
    let (scheme, header, mark) = PROOFS[dice.roll(PROOFS.len())];
    let provider = super::provider(sign::provider_of(scheme));
    let (now, secret) = (1_700_000_000, sign::secret(scheme));
    // Signing with RSA takes a process of its own.
    static TRAVIS: LazyLock<(Vec<(String, String)>, Vec<u8>)> =
        LazyLock::new(|| sign::signed("travis", &super::good("travis"), 0));
    let (headers, bytes) =
        if scheme == "travis" { TRAVIS.clone() } else { sign::signed(scheme, &super::good(scheme), now) };
    let checks = |headers: &[(String, String)], bytes: &[u8]| {
        let headers = Headers(headers.to_vec());
        provider.verify(&Request { headers: &headers, body: bytes, now }, &secret)
    };
    assert_eq!(checks(&headers, &bytes), Ok(()), "{scheme} signs as it checks");
    let mut other = bytes.clone();
    scramble(dice, &mut other);
    let signs_the_body = ["github", "bitbucket", "circleci", "buildkite", "gitlab_signing", "drone"].contains(&scheme);
    let payload =
        |bytes: &[u8]| url::form_urlencoded::parse(bytes).find(|(n, _)| n == "payload").map(|(_, v)| v.into_owned());
    // Of a form the field is signed, not the way it is written.
    let is_other =
        if scheme == "travis" { payload(&other) != payload(&bytes) } else { signs_the_body && other != bytes };
    if is_other {
        assert!(checks(&headers, &other).is_err(), "{scheme} believed other bytes");
    }
    let mut forged = headers;
    let value = &mut forged.iter_mut().find(|(name, _)| name == header).unwrap().1;
    let from = value.find(mark).unwrap() + mark.len();
    let until = value[from..].find([',', '"']).map_or(value.len(), |n| from + n);
    // One character for another of its alphabet; the last of base64 before the padding may carry bits that don't count.
    let room: Vec<usize> =
        (from..until.saturating_sub(2)).filter(|n| value.as_bytes()[*n].is_ascii_alphanumeric()).collect();
    let at = room[dice.roll(room.len())];
    let alphabet: &[u8] = if value.as_bytes()[at].is_ascii_digit() { b"0123456789" } else { b"abcdef" };
    let new = alphabet[dice.roll(alphabet.len())];
    let is_same = value.as_bytes()[at].eq_ignore_ascii_case(&new);
    value.replace_range(at..=at, std::str::from_utf8(&[new]).unwrap());
    if !is_same {
        let forged_value = value.clone();
        assert!(checks(&forged, &bytes).is_err(), "{scheme} believed {header}: {forged_value}");
    }
    // Anything at all in the place of a proof: refused, and no panic.
    let value = &mut forged.iter_mut().find(|(name, _)| name == header).unwrap().1;
    let mut noise = value.clone().into_bytes();
    scramble(dice, &mut noise);
    *value = String::from_utf8_lossy(&noise).into_owned();
    let _ = checks(&forged, &bytes);
}

fn fuzz(time: Duration, seed: u64) {
    println!("seed {seed}, {} s", time.as_secs());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ci/fuzz");
    let mut dice = Dice(seed | 1);
    let mut all: Vec<(&dyn Provider, Vec<Sample>)> = ci::PROVIDERS.iter().map(|p| (*p, samples(p.name()))).collect();
    let mut kept = 0;
    for (provider, samples) in &mut all {
        // What was found before comes first, byte for byte.
        for found in std::fs::read_dir(corpus.join(provider.name())).into_iter().flatten().flatten() {
            reads(*provider, &samples[0].headers, &std::fs::read(found.path()).unwrap());
            kept += 1;
        }
    }
    assert!(kept > 0, "the corpus is kept beside this file");
    let (begun, mut rounds) = (Instant::now(), 0_u64);
    while begun.elapsed() < time {
        let (provider, samples) = &all[dice.roll(all.len())];
        let mut sample = samples[dice.roll(samples.len())].clone();
        for _ in 0..=dice.roll(4) {
            mutate(&mut dice, &mut sample.body);
        }
        let mut bytes = sign::bytes(provider.name(), &sample.body);
        if dice.roll(4) == 0 {
            scramble(&mut dice, &mut bytes);
        }
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| reads(*provider, &sample.headers, &bytes)));
        if let Err(panic) = read {
            let folder = corpus.join(provider.name());
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("{seed}-{rounds}"));
            std::fs::write(&path, &bytes).unwrap();
            println!("kept as {}", path.display());
            std::panic::resume_unwind(panic);
        }
        disbelieves(&mut dice);
        rounds += 1;
    }
    println!("{rounds} rounds");
    assert!(rounds > 100);
}

#[test]
fn mutated_bodies_and_proofs_for_a_few_seconds() {
    fuzz(Duration::from_secs(5), 20_261_122);
}

#[test]
#[ignore = "as long as you want: ./just fuzz --minutes 10 --seed 7"]
fn mutated_bodies_and_proofs_for_long() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(|| u64::try_from(super::now()).unwrap());
    fuzz(Duration::from_secs(number("FUZZ_MINUTES").unwrap_or(10) * 60), seed);
}
