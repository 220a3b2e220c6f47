//! Encrypted values, outside the log and erasable. Keys and plain values never come here.

use uuid::Uuid;

use super::Store;
use crate::keys::SealedValue;

/// Encrypted values, and their erasure.
#[derive(Clone, Copy)]
pub struct Secrets<'a>(pub(super) &'a Store);

impl Store {
    /// Encrypted values, and their erasure.
    pub fn secrets(&self) -> Secrets<'_> {
        Secrets(self)
    }
}

impl Secrets<'_> {
    /// Keeps a value under its owner, name and version. `false` when that version is taken: nothing is ever replaced.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep(self, owner: Uuid, name: &str, version: i32, sealed: &SealedValue) -> Result<bool, sqlx::Error> {
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
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// The value of that version, unless it was erased.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(self, owner: Uuid, name: &str, version: i32) -> Result<Option<SealedValue>, sqlx::Error> {
        sqlx::query_as!(
            SealedValue,
            "select key_id, nonce, ciphertext from secret_value where owner = $1 and name = $2 and version = $3",
            owner,
            name,
            version
        )
        .fetch_optional(&self.0.pool)
        .await
    }

    /// Values that are under one of these master keys, with their owners, names and versions; so many at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn under_keys(
        self,
        keys: &[String],
        limit: i64,
    ) -> Result<Vec<(Uuid, String, i32, SealedValue)>, sqlx::Error> {
        let rows = sqlx::query!(
            "select owner, name, version, key_id, nonce, ciphertext from secret_value where key_id = any($1) order by owner, name, version limit $2",
            keys,
            limit
        );
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        let sealed = |key_id, nonce, ciphertext| SealedValue { key_id, nonce, ciphertext };
        Ok(rows.map(|r| (r.owner, r.name, r.version, sealed(r.key_id, r.nonce, r.ciphertext))).collect())
    }

    /// Keeps the same value as it is encrypted anew, unless what was read of it is not there any more: it may have been erased,
    /// and another one set in its place.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rewrap(
        self,
        (owner, name, version): (Uuid, &str, i32),
        read: &SealedValue,
        anew: &SealedValue,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update secret_value set key_id = $4, nonce = $5, ciphertext = $6
              where owner = $1 and name = $2 and version = $3 and nonce = $7 and ciphertext = $8",
            owner,
            name,
            version,
            anew.key_id,
            anew.nonce,
            anew.ciphertext,
            read.nonce,
            read.ciphertext
        )
        .execute(&self.0.pool)
        .await
        .map(drop)
    }

    /// Values that are under a master key other than these, by that; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn under_other_keys(self, known: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select key_id, count(*) as "n!" from secret_value where key_id <> all($1) group by 1 order by 1"#,
            known
        );
        Ok(rows.fetch_all(&self.0.pool).await?.into_iter().map(|r| (r.key_id, r.n)).collect())
    }

    /// Every value that is kept under an owner, with its name and version: also those that were replaced and may still
    /// be in a container.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(self, owner: Uuid) -> Result<Vec<(String, i32, SealedValue)>, sqlx::Error> {
        let rows =
            sqlx::query!("select name, version, key_id, nonce, ciphertext from secret_value where owner = $1", owner);
        let sealed = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(sealed
            .map(|r| (r.name, r.version, SealedValue { key_id: r.key_id, nonce: r.nonce, ciphertext: r.ciphertext }))
            .collect())
    }

    /// Erases an environment's values that are not among the present ones (names and versions in parallel), unless a
    /// container may have them: while a deployment is open they are needed to mask its output. What was kept in the
    /// last minute stays; its event may be on its way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn erase_superseded(
        self,
        environment: Uuid,
        names: &[String],
        versions: &[i32],
    ) -> Result<u64, sqlx::Error> {
        sqlx::query!(
            "delete from secret_value s where s.owner = $1 and s.kept_at < coolops_now() - interval '1 min'
                and not exists (select 1 from unnest($2::text[], $3::int[]) present(name, version)
                                 where present.name = s.name and present.version = s.version)
                and not exists (select 1 from deployment d where d.environment_id = $1 and d.holds)",
            environment,
            names,
            versions
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected())
    }

    /// Erases one version of an environment's value, unless a deployment is open there: see
    /// [`Secrets::erase_superseded`], which does it then, and has the rest.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn erase_unless_open(self, environment: Uuid, name: &str, version: i32) -> Result<u64, sqlx::Error> {
        sqlx::query!(
            "delete from secret_value where owner = $1 and name = $2 and version = $3
                and not exists (select 1 from deployment d where d.environment_id = $1 and d.holds)",
            environment,
            name,
            version
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected())
    }

    /// Erases everything that is kept for an environment or a project, unless a deployment is open there: its output is
    /// masked by it. What proves the webhooks of a CI system stays, so that it hears that the project is archived; that
    /// can be unset.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn erase_all(self, owner: Uuid) -> Result<u64, sqlx::Error> {
        sqlx::query!(
            "delete from secret_value where owner = $1 and name not like 'ci %'
                and not exists (select 1 from deployment d where (d.environment_id = $1 or d.project_id = $1) and d.holds)",
            owner
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected())
    }

    /// Erases the versions of a value before one; all of them when `from` is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn erase(self, owner: Uuid, name: &str, from: Option<i32>) -> Result<u64, sqlx::Error> {
        sqlx::query!(
            "delete from secret_value where owner = $1 and name = $2 and ($3::int is null or version < $3)",
            owner,
            name,
            from
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected())
    }
}
