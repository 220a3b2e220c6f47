//! Cosignatures: what a witness signs when it has seen that a log only grew.
//!
//! Source: <https://c2sp.org/tlog-cosignature>, the Ed25519 type (`cosignature/v1`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature as Ed25519, Signer, SigningKey, Verifier, VerifyingKey};
use secrecy::{ExposeSecret, SecretString};
use signed_note::{Note, Signature};

use super::checkpoint::BadKey;

/// The algorithm's byte in keys and in their hashes.
const COSIGNATURE: u8 = 4;

/// The key that a witness signs with.
#[derive(Clone)]
pub struct WitnessKey {
    key: SigningKey,
    public: WitnessPublicKey,
}

/// The key that a witness is believed by.
#[derive(Clone, PartialEq, Eq)]
pub struct WitnessPublicKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl std::fmt::Debug for WitnessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WitnessKey({})", self.public.text())
    }
}

impl std::fmt::Debug for WitnessPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WitnessPublicKey({})", self.text())
    }
}

/// Name, hash and key of a text in the form of a note's keys, where its algorithm is that of cosignatures.
fn parts(text: &str) -> Option<(&str, u32, [u8; 32])> {
    let mut parts = text.trim().splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, STANDARD.decode(parts.next()?).ok()?);
    let key = key.strip_prefix(&[COSIGNATURE])?.try_into().ok()?;
    Some((name, u32::from_str_radix(id, 16).ok()?, key))
}

impl WitnessKey {
    /// A key of this name, made of 32 random bytes: in the form that it is read in.
    ///
    /// # Errors
    /// When the name is none.
    pub fn form(name: &str, seed: &[u8; 32]) -> Result<SecretString, BadKey> {
        if !signed_note::is_key_name_valid(name) || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(BadKey::Name);
        }
        let public = WitnessPublicKey::of(name, SigningKey::from_bytes(seed).verifying_key());
        let private = STANDARD.encode([&[COSIGNATURE], seed.as_slice()].concat());
        Ok(format!("PRIVATE+KEY+{name}+{:08x}+{private}", public.id).into())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read(text: &SecretString) -> Result<Self, BadKey> {
        let rest = text.expose_secret().trim().strip_prefix("PRIVATE+KEY+").ok_or(BadKey::Private)?;
        let (name, id, seed) = parts(rest).ok_or(BadKey::Private)?;
        let key = SigningKey::from_bytes(&seed);
        let public = WitnessPublicKey::of(name, key.verifying_key());
        if public.id == id { Ok(Self { key, public }) } else { Err(BadKey::Private) }
    }

    /// What others believe it by.
    pub fn public(&self) -> &WitnessPublicKey {
        &self.public
    }

    /// The line that a checkpoint's note gets, signed at a time in seconds since 1970. None for what is no note.
    pub fn sign(&self, note: &str, seconds: u64) -> Option<String> {
        let note = Note::from_bytes(note.as_bytes()).ok()?;
        let signature = self.key.sign(&message(&note, seconds)).to_bytes();
        let signature = [seconds.to_be_bytes().as_slice(), &signature].concat();
        let line = Signature::new(self.public.name.clone(), self.public.id, signature).ok()?.to_bytes();
        String::from_utf8(line).ok()
    }
}

/// What is signed.
fn message(note: &Note, seconds: u64) -> Vec<u8> {
    [format!("cosignature/v1\ntime {seconds}\n").as_bytes(), note.text()].concat()
}

impl WitnessPublicKey {
    fn of(name: &str, key: VerifyingKey) -> Self {
        let id = signed_note::key_id(name, &[&[COSIGNATURE], key.as_bytes().as_slice()].concat());
        Self { name: name.to_owned(), id, key }
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read(text: &str) -> Result<Self, BadKey> {
        let (name, id, key) = parts(text).ok_or(BadKey::Public)?;
        let valid = signed_note::is_key_name_valid(name);
        let public = VerifyingKey::from_bytes(&key).ok().filter(|_| valid).map(|key| Self::of(name, key));
        public.filter(|public| public.id == id).ok_or(BadKey::Public)
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bare key: whatever it is called, it is one witness.
    pub fn bytes(&self) -> [u8; 32] {
        *self.key.as_bytes()
    }

    /// The form that it is read in.
    pub fn text(&self) -> String {
        let key = STANDARD.encode([&[COSIGNATURE], self.key.as_bytes().as_slice()].concat());
        format!("{}+{:08x}+{key}", self.name, self.id)
    }

    /// When this witness signed a note, in seconds since 1970; none where it did not.
    pub fn signed(&self, note: &str) -> Option<u64> {
        let parsed = Note::from_bytes(note.as_bytes()).ok()?;
        let (_, lines) = note.rsplit_once("\n\n")?;
        let signatures = lines.lines().filter_map(|line| Signature::from_bytes(line.as_bytes()).ok());
        let own = signatures.filter(|signature| signature.name() == self.name && signature.id() == self.id);
        own.filter_map(|signature| {
            let (seconds, signature) = signature.signature().split_first_chunk::<8>()?;
            let seconds = u64::from_be_bytes(*seconds);
            i64::try_from(seconds).ok()?;
            let signature = Ed25519::from_slice(signature).ok()?;
            self.key.verify(&message(&parsed, seconds), &signature).ok().map(|()| seconds)
        })
        .max()
    }
}

/// The line of a witness in its answer, if it bears the note out; nothing else of the answer is taken.
pub fn borne_out(note: &str, answer: &str, by: &WitnessPublicKey) -> Option<String> {
    answer.lines().map(|line| format!("{line}\n")).find(|line| by.signed(&format!("{note}{line}")).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::{self, LogKey};
    use super::*;

    fn witness(name: &str, seed: u8) -> WitnessKey {
        WitnessKey::read(&WitnessKey::form(name, &[seed; 32]).unwrap()).unwrap()
    }

    #[test]
    fn a_witness_signs_what_a_log_signed_and_both_are_believed() {
        let log = LogKey::read(&LogKey::form("coolops.example.com/log", &[7; 32]).unwrap()).unwrap();
        let (one, two) = (witness("one.example.com", 1), witness("two.example.com", 2));
        let note = log.sign(42, [9; 32]);
        let line = one.sign(&note, 1_700_000_000).unwrap();
        let cosigned = format!("{note}{line}");
        assert_eq!(one.public().signed(&cosigned), Some(1_700_000_000));
        assert_eq!(two.public().signed(&cosigned), None);
        assert_eq!(one.public().signed(&note), None);
        assert_eq!(one.public().signed(&cosigned.replace("\n42\n", "\n43\n")), None);
        assert!(checkpoint::open(&cosigned, &[log.public().clone()]).is_ok(), "the log's own signature still holds");
        let answer = format!("— somebody.else AAAAAAAA\n{line}");
        assert_eq!(borne_out(&note, &answer, one.public()).as_deref(), Some(line.as_str()));
        assert_eq!(borne_out(&note, &answer, two.public()), None);
    }

    #[test]
    fn a_key_has_one_form_and_is_for_one_thing() {
        let public = witness("witness.example.com/w1", 5).public().clone();
        assert_eq!(WitnessPublicKey::read(&public.text()).unwrap(), public);
        assert!(public.text().starts_with("witness.example.com/w1+"));
        for text in ["", "a+b+c", "coolops.example.com/log+00000000+AQID", &public.text().replace("w1", "w2")] {
            assert!(WitnessPublicKey::read(text).is_err(), "{text}");
        }
        let private = WitnessKey::form("w", &[1; 32]).unwrap();
        let log = LogKey::form("w", &[1; 32]).unwrap();
        assert!(WitnessKey::read(&log).is_err() && LogKey::read(&private).is_err(), "each key is for one thing");
        assert!(!format!("{:?}", WitnessKey::read(&private).unwrap()).contains("PRIVATE"));
    }
}
