//! Authentication codes of rows that no event holds: whoever can write to the database alone can't make one.
//!
//! **Invariant:** a code is 4 bytes of the master key's id and the HMAC-SHA256 of a row under a key that is derived from it for
//! this kind of row alone.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Keyring;

/// What a code says of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The row is as whoever has the master key wrote it.
    Right,
    /// It is not.
    Wrong,
    /// There is none, or its master key isn't set: nothing can be told.
    Unknown,
}

/// The id of the master key that a code names, as [`Keyring::ids`] tells it.
pub fn key_of(code: &[u8]) -> String {
    hex::encode(&code[..code.len().min(4)])
}

/// Makes and checks the codes of one kind of row.
pub struct RowCodes {
    /// Under each master key, the present one first: its id, and what is keyed once and cloned for each row.
    keyed: Vec<(Vec<u8>, Hmac<Sha256>)>,
}

impl Keyring {
    /// The maker and checker of codes for one kind of row.
    pub fn row_codes(&self, kind: &str) -> RowCodes {
        let purpose = format!("row {kind}");
        let keyed = self.ids().into_iter().filter_map(|id| {
            let key = self.derive(&id, &purpose)?;
            Some((hex::decode(&id).ok()?, <Hmac<Sha256> as Mac>::new_from_slice(&key).ok()?))
        });
        RowCodes { keyed: keyed.collect() }
    }
}

impl RowCodes {
    /// The code of a row, under the present master key. Two different rows must not have the same bytes.
    pub fn of(&self, row: &[u8]) -> Vec<u8> {
        let (id, keyed) = &self.keyed[0];
        [&id[..], &keyed.clone().chain_update(row).finalize().into_bytes()].concat()
    }

    /// What a code says of a row, under any master key that is set. Constant-time.
    pub fn check(&self, row: &[u8], code: &[u8]) -> Code {
        let of_id = self.keyed.iter().find_map(|(id, keyed)| Some((keyed, code.strip_prefix(&id[..])?)));
        match of_id.map(|(keyed, code)| keyed.clone().chain_update(row).verify_slice(code)) {
            Some(Ok(())) => Code::Right,
            Some(Err(_)) => Code::Wrong,
            None => Code::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::new_master_key;

    #[test]
    fn a_code_is_of_one_row_of_one_kind_under_a_master_key_that_is_set() {
        let (old, new) = (new_master_key(), new_master_key());
        let before = Keyring::new(&old.clone().into(), &[]).unwrap();
        let code = before.row_codes("message").of(b"one");
        assert_eq!(code.len(), 36);
        assert_eq!(before.row_codes("message").check(b"one", &code), Code::Right);
        assert_eq!(before.row_codes("message").check(b"two", &code), Code::Wrong);
        assert_eq!(before.row_codes("report").check(b"one", &code), Code::Wrong, "of another kind");
        for wrong in [&code[..35], &code[..4], &[&code[..4], &[0; 32]].concat()] {
            assert_eq!(before.row_codes("message").check(b"one", wrong), Code::Wrong, "{wrong:?}");
        }
        for unknown in [&code[4..], &code[..3], &[]] {
            assert_eq!(before.row_codes("message").check(b"one", unknown), Code::Unknown, "{unknown:?}");
        }
        let after = Keyring::new(&new.clone().into(), &[old.into()]).unwrap();
        assert_eq!(
            after.row_codes("message").check(b"one", &code),
            Code::Right,
            "an earlier master key goes on checking"
        );
        assert_ne!(after.row_codes("message").of(b"one"), code);
        let without = Keyring::new(&new.into(), &[]).unwrap();
        assert_eq!(without.row_codes("message").check(b"one", &code), Code::Unknown);
    }
}
