//! Encrypted values, outside the log and erasable. Keys and plain values never come here.

use uuid::Uuid;

use super::Store;

/// An encrypted value.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Which master key it is under.
    pub key_id: String,
    /// AES-GCM nonce.
    pub nonce: Vec<u8>,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl Store {
    /// Keeps a value under its owner, name and version. `false` when that version is taken: nothing is ever replaced.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_secret(&self, owner: Uuid, name: &str, version: i32, sealed: &Sealed) -> Result<bool, sqlx::Error> {
        sqlx::query!(
            "insert into secret_value (owner, name, version, key_id, nonce, ciphertext) values ($1, $2, $3, $4, $5, $6)
             on conflict (owner, name, version) do nothing",
            owner,
            name,
            version,
            sealed.key_id,
            sealed.nonce,
            sealed.ciphertext
        )
        .execute(&self.pool)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// The value of that version, unless it was erased.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn secret(&self, owner: Uuid, name: &str, version: i32) -> Result<Option<Sealed>, sqlx::Error> {
        sqlx::query_as!(
            Sealed,
            "select key_id, nonce, ciphertext from secret_value where owner = $1 and name = $2 and version = $3",
            owner,
            name,
            version
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Erases the versions of a value before one; all of them when `from` is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn erase_secrets(&self, owner: Uuid, name: &str, from: Option<i32>) -> Result<u64, sqlx::Error> {
        sqlx::query!("delete from secret_value where owner = $1 and name = $2 and ($3::int is null or version < $3)", owner, name, from)
            .execute(&self.pool)
            .await
            .map(|done| done.rows_affected())
    }
}
