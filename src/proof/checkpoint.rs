//! Checkpoints: how far the log went and its tree's root, as a C2SP `tlog-checkpoint` in a C2SP `signed-note`.
//!
//! The name of the key is the log's origin. Sources: <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/signed-note>.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use secrecy::{ExposeSecret, SecretString};
use signed_note::{Note, NoteError, StandardSigner, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::checkpoint::Checkpoint;
use tlog_tiles::tlog::Hash as TreeHash;

use super::chain::Hash;

/// The key that signs an installation's checkpoints.
#[derive(Clone)]
pub struct LogKey {
    signer: StandardSigner,
    public: PublicKey,
}

/// The key that checkpoints are believed by.
#[derive(Clone)]
pub struct PublicKey {
    verifier: StandardVerifier,
    text: String,
    /// How many events a checkpoint of it covers at most, where it signs no more: whoever has it since has nothing.
    until: Option<u64>,
}

/// Why a key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The name has what a name can't have.
    #[error("the name of a log is like coolops.example.com/log: without spaces and plus signs, at most 200 characters")]
    Name,
    /// Not the form of a private key.
    #[error("it is no signing key (PRIVATE+KEY+name+…); make one with: coolops audit key NAME")]
    Private,
    /// Not the form of a public key.
    #[error(
        "it is no public key (name+hash+key), as coolops audit key prints it, nor one that is believed up to a size (name+hash+key@SIZE)"
    )]
    Public,
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogKey({})", self.public.text)
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.text)
    }
}

impl LogKey {
    /// A key of this name, made of 32 random bytes: in the form that it is read in.
    ///
    /// # Errors
    /// When the name is none.
    pub fn form(name: &str, seed: &[u8; 32]) -> Result<SecretString, BadKey> {
        if !signed_note::is_key_name_valid(name) || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(BadKey::Name);
        }
        let public = [&[1], SigningKey::from_bytes(seed).verifying_key().as_bytes().as_slice()].concat();
        let id = signed_note::key_id(name, &public);
        let private = STANDARD.encode([&[1], seed.as_slice()].concat());
        Ok(format!("PRIVATE+KEY+{name}+{id:08x}+{private}").into())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read(text: &SecretString) -> Result<Self, BadKey> {
        let text = text.expose_secret().trim();
        let signer = StandardSigner::new(text).map_err(|_| BadKey::Private)?;
        // The signer keeps the key that its public part is made of to itself.
        let mut parts = text.splitn(5, '+').skip(2);
        let (name, key) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let seed = STANDARD.decode(key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.get(1..)?).ok());
        let key = SigningKey::from_bytes(&seed.ok_or(BadKey::Private)?).verifying_key();
        Ok(Self { signer, public: PublicKey::read(&signed_note::new_ed25519_verifier_key(name, &key))? })
    }

    /// What others believe it by.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs how far the log went.
    pub fn sign(&self, size: u64, root: Hash) -> String {
        let text = Checkpoint::new(self.public.name(), size, TreeHash(root), "").expect("an origin without lines");
        let mut note = Note::new(&text.to_bytes(), &[]).expect("a checkpoint is a note's text");
        note.add_sigs(&[&self.signer]).expect("an Ed25519 key signs everything");
        String::from_utf8(note.to_bytes()).expect("a note is text")
    }
}

impl PublicKey {
    /// Reads a key; with `@` and a number behind it, one that is believed only of checkpoints of so many events at most.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let whole = StandardVerifier::new(text).map(|verifier| (verifier, text, None));
        let up_to_a_size = || {
            let (key, until) = text.rsplit_once('@')?;
            Some((StandardVerifier::new(key).ok()?, key, Some(until.parse().ok()?)))
        };
        let (verifier, text, until) = whole.ok().or_else(up_to_a_size).ok_or(BadKey::Public)?;
        Ok(Self { verifier, text: text.to_owned(), until })
    }

    /// Whether it is believed of so many events.
    fn covers(&self, size: u64) -> bool {
        self.until.is_none_or(|until| size <= until)
    }

    /// The name, which is the log's origin.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    /// The hash that its signatures are told by, in hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:08x}", self.verifier.key_id())
    }

    /// The form that it is read in.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// That a history does not go on, as whoever has the key decided: these checkpoints are of another one than the log's, and
/// no others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// How many events both have in common, as far as checkpoints tell.
    pub after: u64,
    /// The checkpoints that were given up: size and root, the smallest first; never none.
    pub given_up: Vec<(u64, Hash)>,
}

impl Fork {
    /// Whether a checkpoint was given up.
    pub fn gives_up(&self, opened: &Opened) -> bool {
        self.given_up.binary_search(&(opened.size, opened.root)).is_ok()
    }

    /// How far the other history went, as far as checkpoints tell, and its root then.
    pub fn until(&self) -> (u64, Hash) {
        self.given_up.last().copied().unwrap_or_default()
    }
}

/// What the second line of such a note says.
const FORK: &str = "fork";

/// Checkpoints that one note gives up, at most: it may have a million bytes.
pub const GIVEN_UP_MAX: usize = 10_000;

impl LogKey {
    /// Signs a decision: a signed note whose second line tells it from a checkpoint, the third how many events are common;
    /// each line after that is a checkpoint that was given up, its size and root.
    pub fn sign_fork(&self, fork: &Fork) -> String {
        let mut text = format!("{}\n{FORK}\n{}\n", self.public.name(), fork.after);
        for (size, root) in &fork.given_up {
            text.push_str(&format!("{size} {}\n", STANDARD.encode(root)));
        }
        let mut note = Note::new(text.as_bytes(), &[]).expect("its lines are a note's text");
        note.add_sigs(&[&self.signer]).expect("an Ed25519 key signs everything");
        String::from_utf8(note.to_bytes()).expect("a note is text")
    }
}

/// Reads a decision, and believes it if one of the keys signed it.
pub fn open_fork(note: &str, keys: &[PublicKey]) -> Option<Fork> {
    let note = Note::from_bytes(note.as_bytes()).ok()?;
    let mut lines = std::str::from_utf8(note.text()).ok()?.lines();
    let (name, kind, after) = (lines.next()?, lines.next()?, lines.next()?);
    let checkpoint = |line: &str| {
        let (size, root) = line.split_once(' ')?;
        Some((size.parse().ok()?, STANDARD.decode(root).ok()?.try_into().ok()?))
    };
    let mut given_up = lines.map(checkpoint).collect::<Option<Vec<_>>>()?;
    given_up.sort_unstable();
    let largest = given_up.last()?.0;
    let is_signed = |key: &PublicKey| {
        let alone = VerifierList::new(vec![Box::new(key.verifier.clone())]);
        key.name() == name && key.covers(largest) && note.verify(&alone).is_ok()
    };
    (kind == FORK && keys.iter().any(is_signed)).then_some(())?;
    Some(Fork { after: after.parse().ok()?, given_up })
}

/// A checkpoint that a key bears out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// How many events it covers.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

/// Why a text is no checkpoint of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// Not a signed checkpoint at all.
    #[error("it is no checkpoint")]
    Malformed,
    /// Its text was changed after it was signed.
    #[error("its signature does not fit what it says: it was changed")]
    Edited,
    /// Somebody else signed it.
    #[error("it is not signed by {0}")]
    AnotherKey(String),
    /// The key signs no more, and is believed up to a size.
    #[error(
        "it is signed by a key that is believed up to {0} events only: somebody else has that key, or its size is set wrongly"
    )]
    Later(u64),
    /// It is of another log.
    #[error("it is a checkpoint of {found}, not of {wanted}")]
    AnotherLog {
        /// Whose it is.
        found: String,
        /// Whose was wanted.
        wanted: String,
    },
}

/// Reads a checkpoint, and believes it if one of the keys signed it: the present one, or one before it. A note with a line of a
/// known key that does not fit is none, whatever else signed it (<https://c2sp.org/signed-note>).
///
/// # Errors
/// See [`NotBelieved`].
pub fn open(note: &str, keys: &[PublicKey]) -> Result<Opened, NotBelieved> {
    let note = Note::from_bytes(note.as_bytes()).map_err(|_| NotBelieved::Malformed)?;
    let said = Checkpoint::from_bytes(note.text()).map_err(|_| NotBelieved::Malformed)?;
    let first = keys.first().ok_or(NotBelieved::Malformed)?;
    let another_log = || NotBelieved::AnotherLog { found: said.origin().to_owned(), wanted: first.name().to_owned() };
    match note.verify(&verifiers(keys)) {
        Ok((signed, _)) => {
            let is_it = |key: &&PublicKey| {
                key.name() == said.origin() && signed.iter().any(|by| by.id() == key.verifier.key_id())
            };
            let signers: Vec<&PublicKey> = keys.iter().filter(is_it).collect();
            match signers.iter().find_map(|key| key.until) {
                _ if signers.is_empty() => Err(another_log()),
                Some(until) if !signers.iter().any(|key| key.covers(said.size())) => Err(NotBelieved::Later(until)),
                _ => Ok(Opened { size: said.size(), root: said.hash().0 }),
            }
        }
        Err(NoteError::InvalidSignature { .. }) => Err(NotBelieved::Edited),
        Err(_) if keys.iter().all(|key| key.name() != said.origin()) => Err(another_log()),
        Err(_) => Err(NotBelieved::AnotherKey(first.text().to_owned())),
    }
}

/// Several keys; one that is named twice counts once.
fn verifiers(keys: &[PublicKey]) -> VerifierList {
    let mut names = BTreeSet::new();
    let once = keys.iter().filter(|key| names.insert(key.text()));
    VerifierList::new(once.map(|key| Box::new(key.verifier.clone()) as Box<dyn Verifier>).collect())
}

/// How many events a checkpoint says it covers, whoever signed it.
pub fn claimed(note: &str) -> Option<i64> {
    note.lines().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, seed: u8) -> LogKey {
        LogKey::read(&LogKey::form(name, &[seed; 32]).unwrap()).unwrap()
    }

    #[test]
    fn a_key_that_signs_no_more_is_believed_up_to_a_size() {
        let (old, new) = (key("coolops.example.com/log", 7), key("coolops.example.com/log", 8));
        let up_to = PublicKey::read(&format!("{}@42", old.public().text())).unwrap();
        let keys = [new.public().clone(), up_to];
        assert!(open(&old.sign(42, [9; 32]), &keys).is_ok());
        assert_eq!(open(&old.sign(43, [9; 32]), &keys), Err(NotBelieved::Later(42)));
        assert!(open(&new.sign(43, [9; 32]), &keys).is_ok());
        let fork = |size| Fork { after: 7, given_up: vec![(size, [9; 32])] };
        assert_eq!(open_fork(&old.sign_fork(&fork(42)), &keys), Some(fork(42)));
        assert_eq!(open_fork(&old.sign_fork(&fork(43)), &keys), None);
        assert_eq!(open_fork(&new.sign_fork(&fork(43)), &keys), Some(fork(43)));
        for wrong in ["@42", "@", "@x", "@-1"] {
            let text = format!("{}{wrong}", if wrong == "@42" { "x+y+z" } else { old.public().text() });
            assert_eq!(PublicKey::read(&text).err(), Some(BadKey::Public), "{text}");
        }
    }

    #[test]
    fn what_was_signed_is_read_again_and_nothing_else() {
        let log = key("coolops.example.com/log", 7);
        let note = log.sign(42, [9; 32]);
        assert_eq!(open(&note, std::slice::from_ref(log.public())), Ok(Opened { size: 42, root: [9; 32] }));
        assert_eq!(
            open(&note.replace("\n42\n", "\n43\n"), std::slice::from_ref(log.public())),
            Err(NotBelieved::Edited)
        );
        let other = key("coolops.example.com/log", 8);
        assert!(matches!(open(&note, std::slice::from_ref(other.public())), Err(NotBelieved::AnotherKey(_))));
        let elsewhere = key("other.example.com/log", 7);
        assert!(matches!(open(&note, std::slice::from_ref(elsewhere.public())), Err(NotBelieved::AnotherLog { .. })));
        for nothing in ["", "x", "a\nb\nc\n", "\n\n", &note[..note.len() - 2]] {
            assert_eq!(open(nothing, std::slice::from_ref(log.public())), Err(NotBelieved::Malformed), "{nothing:?}");
        }
    }

    #[test]
    fn a_decision_is_signed_and_is_no_checkpoint() {
        let (log, other) = (key("coolops.example.com/log", 7), key("coolops.example.com/log", 8));
        let fork = Fork { after: 3, given_up: vec![(5, [2; 32]), (9, [1; 32])] };
        let note = log.sign_fork(&fork);
        assert_eq!(open_fork(&note, &[log.public().clone()]), Some(fork.clone()));
        assert_eq!(open_fork(&note.replace("\n9 ", "\n99 "), &[log.public().clone()]), None);
        assert_eq!(open_fork(&note, &[other.public().clone()]), None);
        assert!(matches!(open(&note, std::slice::from_ref(log.public())), Err(NotBelieved::Malformed)));
        assert_eq!(open_fork(&log.sign(9, [1; 32]), &[log.public().clone()]), None);
        let of = |size, root: u8| Opened { size, root: [root; 32] };
        assert!(fork.gives_up(&of(5, 2)) && fork.gives_up(&of(9, 1)));
        assert!(!fork.gives_up(&of(5, 1)) && !fork.gives_up(&of(6, 2)), "what is not named is not given up");
        assert_eq!(fork.until(), (9, [1; 32]));
        let many = Fork { after: 0, given_up: (0..GIVEN_UP_MAX as u64).map(|n| (n, [7; 32])).collect() };
        assert_eq!(open_fork(&log.sign_fork(&many), &[log.public().clone()]), Some(many));
    }

    #[test]
    fn a_key_has_one_form_and_its_public_part_is_told() {
        let log = key("coolops.example.com/log", 7);
        assert!(log.public().text().starts_with("coolops.example.com/log+"), "{}", log.public().text());
        assert_eq!(PublicKey::read(log.public().text()).unwrap().name(), "coolops.example.com/log");
        assert!(!format!("{log:?}").contains("PRIVATE"));
        for name in ["", "a b", "a+b", "a\u{7}b"] {
            assert_eq!(LogKey::form(name, &[7; 32]).err(), Some(BadKey::Name), "{name:?}");
        }
        assert_eq!(LogKey::read(&log.public().text().to_owned().into()).err(), Some(BadKey::Private));
        assert_eq!(PublicKey::read("x+y+z").err(), Some(BadKey::Public));
    }
}
