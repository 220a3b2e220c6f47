//! Projects as the log left them at some positions, so that whoever folds one need not begin at its beginning.
//!
//! **Invariant:** only what this installation wrote itself is believed. A snapshot is encrypted under the master key, bound to
//! the project, the position, the hash of the event there and the sources of the domain: what was edited or moved, is of
//! another history or was folded by other rules does not open, and counts as missing. Private texts in it are as the log
//! has them, so that erasing somebody erases them here too.

use secrecy::ExposeSecret;
use uuid::Uuid;

use super::Store;
use super::directory::Seen;
use super::log::ReadError;
use crate::domain::ids::ProjectId;
use crate::domain::project::Project;
use crate::keys::SealedValue;

/// Snapshots, to be found and kept.
#[derive(Clone, Copy)]
pub struct Snapshots<'a>(&'a Store);

impl Store {
    /// Snapshots, to be found and kept.
    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots(self)
    }

    /// A project with its private texts in plain, where they weren't erased.
    ///
    /// # Errors
    /// When the database does not answer, or a text was changed.
    pub async fn opened(&self, Seen { position, value }: Seen<Project>) -> Result<Seen<Project>, ReadError> {
        let stored = serde_json::to_string(&value).expect("a project is plain data");
        let opener = self.opener([&stored[..]]).await?;
        let value = opener.opening(position, value, Project::private)?;
        Ok(Seen { position, value })
    }
}

impl Snapshots<'_> {
    /// The last one of a project up to a position that can be believed, if that is the last one there is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn nearest(self, of: ProjectId, until: i64) -> Result<Option<Seen<Project>>, sqlx::Error> {
        let row = sqlx::query!(
            "select s.position, s.key_id, s.nonce, s.ciphertext, e.chain_hash
               from snapshot s join event e on e.position = s.position and e.correlation_id = s.of
              where s.of = $1 and s.position <= $2 order by s.position desc limit 1",
            of.0,
            until
        )
        .fetch_optional(&self.0.pool)
        .await?;
        let (Some(row), Some(keys)) = (row, &self.0.keys) else { return Ok(None) };
        let sealed = SealedValue { key_id: row.key_id, nonce: row.nonce, ciphertext: row.ciphertext };
        let opened = keys.open(&place(of.0, row.position, &row.chain_hash), &sealed).ok();
        let value = opened.and_then(|doc| serde_json::from_str(doc.expose_secret()).ok());
        Ok(value.map(|value| Seen { position: row.position, value }))
    }

    /// Keeps one, whose private texts are as the log has them; in place of one that could not be believed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep(self, seen: &Seen<Project>) -> Result<(), sqlx::Error> {
        let (Some(keys), of) = (&self.0.keys, seen.value.id.0) else { return Ok(()) };
        let hash = sqlx::query_scalar!("select chain_hash from event where position = $1", seen.position)
            .fetch_one(&self.0.pool)
            .await?;
        let doc = serde_json::to_string(&seen.value).expect("a project is plain data");
        let SealedValue { key_id, nonce, ciphertext } = keys.seal(&place(of, seen.position, &hash), &doc.into());
        sqlx::query!(
            "insert into snapshot (of, position, key_id, nonce, ciphertext) values ($1, $2, $3, $4, $5)
             on conflict (of, position) do update set key_id = excluded.key_id, nonce = excluded.nonce, ciphertext = excluded.ciphertext",
            of,
            seen.position,
            key_id,
            nonce,
            ciphertext
        )
        .execute(&self.0.pool)
        .await?;
        Ok(())
    }

    /// Forgets all of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget(self) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from snapshot").execute(&self.0.pool).await?;
        Ok(())
    }
}

/// Where a snapshot belongs.
fn place(of: Uuid, position: i64, hash: &[u8]) -> String {
    format!("snapshot {of} {position} {} {}", hex::encode(hash), env!("COOLOPS_DOMAIN"))
}
