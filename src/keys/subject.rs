//! The key of whoever an event's private texts are about: destroyed, it takes them along.
//!
//! **Invariant:** under one key the same text is always the same ciphertext, so that an event that is recorded again is
//! the same bytes. Its nonce is a keyed digest of the text (as SIV modes do), so no nonce is used for two texts.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;
use uuid::Uuid;

use super::{KeyError, Keyring, SealedValue, random};

/// What keys that encrypt subjects' keys are derived for.
const PURPOSE: &str = "subject-key";
/// What an encrypted text begins with, before its key's id. See `docs/PROOF.md`.
pub const PREFIX: &str = "private:";
const NONCE: usize = 12;

/// Encrypts the private texts of one subject.
pub struct SubjectKey {
    id: Uuid,
    cipher: Aes256Gcm,
    mac: Hmac<Sha256>,
}

/// The secret that a [`SubjectKey`] is made of.
#[derive(Clone)]
pub struct SubjectSecret(Zeroizing<[u8; 32]>);

/// A fresh secret, and an id for it that says nothing.
pub fn new_secret() -> (Uuid, SubjectSecret) {
    (uuid::Builder::from_random_bytes(random()).into_uuid(), SubjectSecret(random::<32>().into()))
}

impl Keyring {
    /// Encrypts a subject's secret under the master key, bound to its place: moved elsewhere it does not open.
    pub fn wrap(&self, place: &str, secret: &SubjectSecret) -> SealedValue {
        self.seal_bytes(PURPOSE, place, &secret.0[..])
    }

    /// Decrypts it again.
    ///
    /// # Errors
    /// When its master key isn't set, or it was changed or moved.
    pub fn unwrap_subject(&self, place: &str, wrapped: &SealedValue) -> Result<SubjectSecret, KeyError> {
        let plain = Zeroizing::new(self.open_bytes(PURPOSE, place, wrapped)?);
        let secret: [u8; 32] = plain[..].try_into().map_err(|_| KeyError::Damaged)?;
        Ok(SubjectSecret(secret.into()))
    }
}

/// The id of the key that a text is encrypted under, and the rest of it; none for a plain text.
fn parts(text: &str) -> Option<(Uuid, &str)> {
    let (id, rest) = text.strip_prefix(PREFIX)?.split_once(':')?;
    Some((Uuid::try_parse(id).ok()?, rest))
}

/// The id of the key that a text is encrypted under; none for a plain text.
pub fn key_of(text: &str) -> Option<Uuid> {
    parts(text).map(|(id, _)| id)
}

impl SubjectKey {
    /// The id that texts under it name.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The key that a secret makes.
    pub fn new(id: Uuid, secret: &SubjectSecret) -> Self {
        let derived = |info: &[u8]| {
            let mut key = [0; 32];
            Hkdf::<Sha256>::new(None, &secret.0[..]).expand(info, &mut key).expect("32 bytes can be expanded");
            key
        };
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&derived(b"nonce")).expect("HMAC takes keys of any length");
        Self { id, cipher: Aes256Gcm::new(&derived(b"text").into()), mac }
    }

    /// Encrypts a text.
    pub fn seal(&self, text: &str) -> String {
        let digest = self.mac.clone().chain_update(text).finalize().into_bytes();
        let nonce = &digest[..NONCE];
        let payload = Payload { msg: text.as_bytes(), aad: self.id.as_bytes() };
        let sealed = self.cipher.encrypt(Nonce::from_slice(nonce), payload).expect("a short text can be encrypted");
        format!("{PREFIX}{}:{}", self.id.simple(), URL_SAFE_NO_PAD.encode([nonce, &sealed].concat()))
    }

    /// Decrypts a text of [`SubjectKey::seal`].
    ///
    /// # Errors
    /// When it was changed, or is under another key.
    pub fn open(&self, text: &str) -> Result<String, KeyError> {
        let (_, sealed) = parts(text).filter(|(id, _)| *id == self.id).ok_or(KeyError::Damaged)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| KeyError::Damaged)?;
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE).ok_or(KeyError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: self.id.as_bytes() };
        let plain = self.cipher.decrypt(Nonce::from_slice(nonce), payload).map_err(|_| KeyError::Damaged)?;
        String::from_utf8(plain).map_err(|_| KeyError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_same_bytes_again_and_opens_under_its_own_key_alone() {
        let (id, secret) = new_secret();
        let key = SubjectKey::new(id, &secret);
        let sealed = key.seal("ana");
        assert_eq!(sealed, SubjectKey::new(id, &secret).seal("ana"));
        assert_ne!(sealed, key.seal("ben"));
        assert_eq!(key.open(&sealed).unwrap(), "ana");
        assert_eq!(key_of(&sealed), Some(id));
        let (other, another) = new_secret();
        assert!(SubjectKey::new(other, &another).open(&sealed).is_err());
        assert!(SubjectKey::new(id, &another).open(&sealed).is_err());
        assert!(key.open(&sealed.replace(&id.simple().to_string(), &other.simple().to_string())).is_err());
        for plain in ["ana", "private:", "private:not-an-id:AAAA", ""] {
            assert_eq!(key_of(plain), None, "{plain}");
        }
    }

    #[test]
    fn a_secret_opens_under_its_master_key_and_in_its_place_alone() {
        let keys = Keyring::new(&super::super::new_master_key().into(), &[]).unwrap();
        let (id, secret) = new_secret();
        let wrapped = keys.wrap("ana", &secret);
        let sealed = SubjectKey::new(id, &secret).seal("ana");
        let again = SubjectKey::new(id, &keys.unwrap_subject("ana", &wrapped).unwrap());
        assert_eq!(again.open(&sealed).unwrap(), "ana");
        assert!(matches!(keys.unwrap_subject("ben", &wrapped), Err(KeyError::Damaged)));
        assert!(keys.open("ana", &wrapped).is_err(), "each purpose has its own key");
    }
}
