//! Witnesses of this log, and logs that this installation is a witness of.

use super::Store;
use crate::proof::chain::Hash;

/// How far a witness is, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "columns of the table")]
pub struct WitnessState {
    pub name: String,
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
        let rows = sqlx::query!("select name, size, problem, failing_since from witness order by name");
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows
            .map(|r| WitnessState {
                name: r.name,
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
    pub async fn cosigned(self, name: &str, size: u64, root: &Hash, line: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "with line as (insert into cosignature (size, root, witness, line) values ($2, $3, $1, $4) on conflict do nothing)
             insert into witness (name, size) values ($1, $2)
             on conflict (name) do update set size = excluded.size, asked_at = coolops_now(), problem = null, failing_since = null",
            name,
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
    pub async fn failed(self, name: &str, size: u64, problem: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into witness as w (name, size, problem, failing_since) values ($1, $2, $3, coolops_now())
             on conflict (name) do update set size = excluded.size, asked_at = coolops_now(), problem = excluded.problem,
               failing_since = coalesce(w.failing_since, excluded.failing_since)",
            name,
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
        let row = sqlx::query!("select size, root from witnessed where origin = $1", origin);
        let Some(row) = row.fetch_optional(&self.0.pool).await? else { return Ok(None) };
        let root = row.root.try_into().map_err(|_| sqlx::Error::Decode("a root that is not 32 bytes long".into()))?;
        Ok(Some(Witnessed { size: u64::try_from(row.size).unwrap_or(0), root }))
    }

    /// Notes a newer checkpoint of another log in the place of the one that it was compared with. `false` when somebody
    /// else was quicker: then nothing may be cosigned.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn witness(
        self,
        origin: &str,
        before: Option<&Witnessed>,
        now: &Witnessed,
        note: &str,
    ) -> Result<bool, sqlx::Error> {
        let done = match before {
            None => {
                sqlx::query!(
                    "insert into witnessed (origin, size, root, note) values ($1, $2, $3, $4) on conflict (origin) do nothing",
                    origin,
                    stored(now.size),
                    &now.root[..],
                    note
                )
                .execute(&self.0.pool)
                .await?
            }
            Some(before) => {
                sqlx::query!(
                    "update witnessed set size = $4, root = $5, note = $6, at = coolops_now() where origin = $1 and size = $2 and root = $3",
                    origin,
                    stored(before.size),
                    &before.root[..],
                    stored(now.size),
                    &now.root[..],
                    note
                )
                .execute(&self.0.pool)
                .await?
            }
        };
        Ok(done.rows_affected() == 1)
    }
}
