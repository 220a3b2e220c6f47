//! Everything that needs a key: encrypting secrets, fingerprints, link capabilities, tokens.
//!
//! **Invariant:** each purpose has its own key, derived from the master key; plain secrets are held in [`SecretString`]
//! and never printed.

pub mod code;
pub mod subject;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

type HmacSha256 = Hmac<Sha256>;

/// What keys of secrets are derived for.
const SECRET: &str = "secret-value";

/// The keys of an installation.
pub struct Keyring {
    keys: Vec<MasterKey>,
}

struct MasterKey {
    id: String,
    key: SecretSlice<u8>,
}

/// Why a key or a sealed value can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes of base64.
    #[error("it is not 32 bytes in base64; make one with: openssl rand -base64 32")]
    Malformed,
    /// The value is under a key that isn't set.
    #[error(
        "it is encrypted under the master key {0}, which is neither COOLOPS_MASTER_KEY nor among COOLOPS_MASTER_KEY_PREVIOUS"
    )]
    UnknownKey(String),
    /// The ciphertext was changed, or belongs elsewhere.
    #[error("it can't be decrypted: it was changed, or moved from another place")]
    Damaged,
}

/// An encrypted value with what is needed to open it.
pub struct SealedValue {
    /// Which master key.
    pub key_id: String,
    /// 12 random bytes.
    pub nonce: Vec<u8>,
    /// AES-256-GCM output.
    pub ciphertext: Vec<u8>,
}

/// Fills a buffer from the operating system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A new master key, in the form that `COOLOPS_MASTER_KEY` takes.
pub fn new_master_key() -> String {
    STANDARD.encode(random::<32>())
}

impl Keyring {
    /// Reads the master key and, read-only, those before it.
    ///
    /// # Errors
    /// When a key is not 32 bytes of base64.
    pub fn new(current: &SecretString, previous: &[SecretString]) -> Result<Self, KeyError> {
        let read = |text: &SecretString| {
            let bytes = STANDARD.decode(text.expose_secret().trim()).map_err(|_| KeyError::Malformed)?;
            if bytes.len() != 32 {
                return Err(KeyError::Malformed);
            }
            let id = Sha256::new().chain_update(b"coolops-key-id").chain_update(&bytes).finalize();
            Ok(MasterKey { id: hex::encode(&id[..4]), key: bytes.into() })
        };
        let keys = std::iter::once(current).chain(previous).map(read).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// The ids of the master keys that are set.
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }

    /// The ids of the master keys that came before the present one.
    pub fn earlier_ids(&self) -> Vec<String> {
        let mut ids = self.ids();
        // One that is named twice, as by whoever put it there too early, is the present one.
        let present = ids.remove(0);
        ids.retain(|id| *id != present);
        ids
    }

    fn derive(&self, key_id: &str, purpose: &str) -> Option<[u8; 32]> {
        let master = self.keys.iter().find(|k| k.id == key_id)?;
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, master.key.expose_secret())
            .expand(purpose.as_bytes(), &mut key)
            .expect("32 bytes can be expanded");
        Some(key)
    }

    fn current(&self, purpose: &str) -> (String, [u8; 32]) {
        let id = self.keys[0].id.clone();
        let key = self.derive(&id, purpose).expect("the current key is there");
        (id, key)
    }

    /// Encrypts a value, bound to its place (owner, name, version): moved elsewhere it does not open.
    pub fn seal(&self, place: &str, value: &SecretString) -> SealedValue {
        self.seal_bytes(SECRET, place, value.expose_secret().as_bytes())
    }

    fn seal_bytes(&self, purpose: &str, place: &str, value: &[u8]) -> SealedValue {
        let (key_id, key) = self.current(purpose);
        let nonce = random::<12>();
        let payload = Payload { msg: value, aad: place.as_bytes() };
        let ciphertext = Aes256Gcm::new(&key.into())
            .encrypt(Nonce::from_slice(&nonce), payload)
            .expect("a short value can be encrypted");
        SealedValue { key_id, nonce: nonce.to_vec(), ciphertext }
    }

    /// Decrypts a value from its place.
    ///
    /// # Errors
    /// When its key isn't set, or it was changed or moved.
    pub fn open(&self, place: &str, sealed: &SealedValue) -> Result<SecretString, KeyError> {
        let plain = self.open_bytes(SECRET, place, sealed)?;
        String::from_utf8(plain).map(SecretString::from).map_err(|_| KeyError::Damaged)
    }

    fn open_bytes(&self, purpose: &str, place: &str, sealed: &SealedValue) -> Result<Vec<u8>, KeyError> {
        let key = self.derive(&sealed.key_id, purpose).ok_or_else(|| KeyError::UnknownKey(sealed.key_id.clone()))?;
        let payload = Payload { msg: &sealed.ciphertext, aad: place.as_bytes() };
        if sealed.nonce.len() != 12 {
            return Err(KeyError::Damaged);
        }
        Aes256Gcm::new(&key.into()).decrypt(Nonce::from_slice(&sealed.nonce), payload).map_err(|_| KeyError::Damaged)
    }

    /// What the log may know of a value: equal values have equal fingerprints, and nothing can be guessed from one.
    pub fn fingerprint(&self, value: &SecretString) -> String {
        let (_, key) = self.current("fingerprint");
        hex::encode(&mac(&key, &[value.expose_secret().as_bytes()])[..8])
    }

    /// Id of a new key for log links; it names the master key that it is derived from.
    pub fn new_link_key(&self) -> String {
        format!("{}-{}", self.keys[0].id, hex::encode(random::<4>()))
    }

    /// The maker and checker of links to what shows every project. Another master key makes them void.
    pub fn board_links(&self) -> Links {
        let (_, key) = self.current("links board");
        Links { mac: <HmacSha256 as Mac>::new_from_slice(&key).expect("HMAC takes keys of any length") }
    }

    /// The maker and checker of links under a link key; none when its master key isn't set any more.
    pub fn links(&self, link_key: &str) -> Option<Links> {
        let key = self.derive(master_key_of(link_key), &format!("links {link_key}"))?;
        Some(Links { mac: <HmacSha256 as Mac>::new_from_slice(&key).expect("HMAC takes keys of any length") })
    }
}

/// Id of the master key that a link key is derived from.
pub fn master_key_of(link_key: &str) -> &str {
    link_key.split_once('-').map_or(link_key, |(master, _)| master)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <HmacSha256 as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 of parts under a text key, as Slack signs.
pub fn sign(secret: &SecretString, parts: &[&[u8]]) -> [u8; 32] {
    mac(secret.expose_secret().as_bytes(), parts)
}

/// Makes and checks the capability in a link: read-only, for one thing.
#[derive(Clone)]
pub struct Links {
    /// Keyed once, cloned for each link.
    mac: HmacSha256,
}

impl Links {
    /// The capability for a thing, such as `("deployments", id)`: 128 bits, URL-safe.
    pub fn capability(&self, kind: &str, id: Uuid) -> String {
        let mac = self.mac.clone().chain_update(kind).chain_update(b"/").chain_update(id.as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
    }

    /// Whether a capability is the right one. Constant-time.
    pub fn allows(&self, kind: &str, id: Uuid, capability: &str) -> bool {
        self.capability(kind, id).as_bytes().ct_eq(capability.as_bytes()).into()
    }
}

/// Prefix of every project token, so that secret scanners find a leaked one.
pub const TOKEN_PREFIX: &str = "cops_";

/// A new project token of 256 random bits and the digest that is kept of it.
pub fn new_token() -> (SecretString, String) {
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random::<32>()));
    let digest = hex::encode(token_digest(&token));
    (token.into(), digest)
}

/// SHA-256 of a token, as stored.
pub fn token_digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Keyring {
        Keyring::new(&new_master_key().into(), &[]).unwrap()
    }

    #[test]
    fn a_secret_opens_in_its_place_only() {
        let keys = keyring();
        let sealed = keys.seal("production/TOKEN/1", &"hunter2hunter2".to_owned().into());
        assert_eq!(keys.open("production/TOKEN/1", &sealed).unwrap().expose_secret(), "hunter2hunter2");
        assert!(matches!(keys.open("staging/TOKEN/1", &sealed), Err(KeyError::Damaged)));
        assert!(matches!(keyring().open("production/TOKEN/1", &sealed), Err(KeyError::UnknownKey(_))));
    }

    #[test]
    fn earlier_keys_still_open_and_link() {
        let (old, new) = (new_master_key(), new_master_key());
        let before = Keyring::new(&old.clone().into(), &[]).unwrap();
        let after = Keyring::new(&new.into(), &[new_master_key().into(), old.into()]).unwrap();
        let sealed = before.seal("p", &"value".to_owned().into());
        assert_eq!(after.open("p", &sealed).unwrap().expose_secret(), "value");
        let link_key = before.new_link_key();
        let capability = before.links(&link_key).unwrap().capability("deployments", Uuid::nil());
        assert!(after.links(&link_key).unwrap().allows("deployments", Uuid::nil(), &capability));
        assert!(!after.links(&after.new_link_key()).unwrap().allows("deployments", Uuid::nil(), &capability));
    }

    #[test]
    fn a_master_key_is_32_bytes() {
        assert!(Keyring::new(&"c2hvcnQ=".to_owned().into(), &[]).is_err());
    }
}
