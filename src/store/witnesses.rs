//! Witnesses of this log, and logs that this installation is a witness of.

use super::Store;
use crate::proof::chain::Hash;

/// How far a witness is, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the table")]
pub struct WitnessState {
    pub key: String,
    pub size: u64,
    pub problem: Option<String>,
    pub failing_since: Option<chrono::DateTime<chrono::Utc>>,
}

/// The newest checkpoint of a log that this installation is a witness of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the table")]
pub struct Witnessed {
    pub size: u64,
    pub root: Hash,
    /// What was submitted.
    pub note: String,
    /// What was answered, and when.
    pub line: String,
    pub at: chrono::DateTime<chrono::Utc>,
}

/// Witnesses, in both roles.
#[derive(Clone, Copy)]
pub struct Witnesses<'a>(&'a Store);

impl Store {
    /// Witnesses, in both roles.
    pub fn witnesses(&self) -> Witnesses<'_> {
        Witnesses(self)
    }
}

fn stored(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Witnesses<'_> {
    /// How far the witnesses of this log are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn states(self) -> Result<Vec<WitnessState>, sqlx::Error> {
        let rows = sqlx::query!("select key, size, problem, failing_since from witness order by key");
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows
            .map(|r| WitnessState {
                key: r.key,
                size: u64::try_from(r.size).unwrap_or(0),
                problem: r.problem,
                failing_since: r.failing_since,
            })
            .collect())
    }

    /// The cosignatures of a checkpoint, by witness; each a line of its note.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cosignatures(self, size: u64, root: &Hash) -> Result<Vec<(String, String)>, sqlx::Error> {
        let rows = sqlx::query!(
            "select witness, line from cosignature where size = $1 and root = $2 order by witness",
            stored(size),
            &root[..]
        );
        Ok(rows.fetch_all(&self.0.pool).await?.into_iter().map(|r| (r.witness, r.line)).collect())
    }

    /// Notes that a witness cosigned a checkpoint.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cosigned(self, key: &str, size: u64, root: &Hash, line: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "with line as (insert into cosignature (size, root, witness, line) values ($2, $3, $1, $4)
                            on conflict (size, root, witness) do update set line = excluded.line)
             insert into witness (key, size) values ($1, $2)
             on conflict (key) do update set size = excluded.size, asked_at = coolops_now(), problem = null, failing_since = null",
            key,
            stored(size),
            &root[..],
            line
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Notes that a witness did not cosign, and how far it is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn failed(self, key: &str, size: u64, problem: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into witness as w (key, size, problem, failing_since) values ($1, $2, $3, coolops_now())
             on conflict (key) do update set size = excluded.size, asked_at = coolops_now(), problem = excluded.problem,
               failing_since = coalesce(w.failing_since, excluded.failing_since)",
            key,
            stored(size),
            problem
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// The newest checkpoint that was cosigned here of another log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of_log(self, origin: &str) -> Result<Option<Witnessed>, sqlx::Error> {
        let row = sqlx::query!("select size, root, note, line, at from witnessed where origin = $1", origin);
        let Some(row) = row.fetch_optional(&self.0.pool).await? else { return Ok(None) };
        let root = row.root.try_into().map_err(|_| sqlx::Error::Decode("a root that is not 32 bytes long".into()))?;
        let size = u64::try_from(row.size).unwrap_or(0);
        Ok(Some(Witnessed { size, root, note: row.note, line: row.line, at: row.at }))
    }

    /// Notes a newer checkpoint of another log, and the line that it is answered with, in the place of the one that it was
    /// compared with. `false` when somebody else was quicker: then nothing may be cosigned.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn witness(
        self,
        origin: &str,
        before: Option<&Witnessed>,
        (size, root): (u64, &Hash),
        (note, line): (&str, &str),
    ) -> Result<bool, sqlx::Error> {
        let done = match before {
            None => {
                sqlx::query!(
                    "insert into witnessed (origin, size, root, note, line) values ($1, $2, $3, $4, $5) on conflict (origin) do nothing",
                    origin,
                    stored(size),
                    &root[..],
                    note,
                    line
                )
                .execute(&self.0.pool)
                .await?
            }
            Some(before) => {
                sqlx::query!(
                    "update witnessed set size = $4, root = $5, note = $6, line = $7, at = coolops_now() where origin = $1 and size = $2 and root = $3",
                    origin,
                    stored(before.size),
                    &before.root[..],
                    stored(size),
                    &root[..],
                    note,
                    line
                )
                .execute(&self.0.pool)
                .await?
            }
        };
        Ok(done.rows_affected() == 1)
    }

    /// Keeps a checkpoint that a log signed and that can't be of one history with the one that was cosigned: the first one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_fork(self, origin: &str, note: &str) -> Result<(), sqlx::Error> {
        sqlx::query!("update witnessed set forked = $2 where origin = $1 and forked is null", origin, note)
            .execute(&self.0.pool)
            .await
            .map(|_| ())
    }

    /// Logs that signed two histories, as was seen here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forked(self) -> Result<Vec<String>, sqlx::Error> {
        let rows = sqlx::query_scalar!("select origin from witnessed where forked is not null order by 1");
        rows.fetch_all(&self.0.pool).await
    }
}
