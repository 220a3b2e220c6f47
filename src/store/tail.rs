//! The newest output of deployments whose log has grown past its first half, for those who watch. What is kept of it is
//! written to the journal at the end; until then this may be lost, and is never longer than a screen or two needs.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Store;
use crate::domain::ids::DeploymentId;

/// How much of a deployment's newest output is there for watchers, in bytes, about.
const KEPT: i64 = 1024 * 1024;

/// A piece of it: whole lines.
#[derive(Debug, Clone)]
pub struct Newest {
    /// Number of its first line, counted over all that was printed, from 1.
    pub first_line: i64,
    /// Its lines.
    pub lines: i64,
    /// The masked output.
    pub body: Vec<u8>,
    /// When it was shown, by the database's clock.
    pub at: DateTime<Utc>,
}

impl Newest {
    /// What of it comes after line `seen`; nothing when all of it was seen.
    #[must_use]
    pub fn after(&self, seen: i64) -> Option<Self> {
        let skip = usize::try_from((seen - self.first_line + 1).max(0)).unwrap_or(0);
        if skip == 0 {
            return Some(self.clone());
        }
        let from = self.body.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(skip - 1).map(|(at, _)| at + 1)?;
        let body = self.body[from..].to_vec();
        (!body.is_empty()).then(|| Self {
            first_line: self.first_line + skip as i64,
            lines: self.lines - skip as i64,
            body,
            at: self.at,
        })
    }

    /// The number of its last line.
    pub fn last_line(&self) -> i64 {
        self.first_line + self.lines - 1
    }
}

/// What is shown of deployments that run, before their journals have it.
#[derive(Clone, Copy)]
pub struct Tails<'a>(pub(super) &'a Store);

impl Store {
    /// What is shown of deployments that run, before their journals have it.
    pub fn tails(&self) -> Tails<'_> {
        Tails(self)
    }
}

impl Tails<'_> {
    /// Shows whole lines to those who watch, and the number of the first; what is long past leaves.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn show(
        self,
        deployment: DeploymentId,
        first_line: i64,
        lines: i64,
        body: &[u8],
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into log_tail (deployment_id, first_line, lines, body) values ($1, $2, $3, $4)
             on conflict (deployment_id, first_line) do update set lines = excluded.lines, body = excluded.body",
            deployment.0,
            first_line,
            i32::try_from(lines).unwrap_or(i32::MAX),
            body
        )
        .execute(&self.0.work)
        .await?;
        sqlx::query!(
            "delete from log_tail where deployment_id = $1 and first_line <
               (select min(first_line) from (select first_line, sum(length(body)) over (order by first_line desc) as size
                                               from log_tail where deployment_id = $1) t where size <= $2)",
            deployment.0,
            KEPT
        )
        .execute(&self.0.work)
        .await?;
        self.0.wake.moved(deployment);
        Ok(())
    }

    /// What there is of a deployment's newest output after a line.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn after(self, deployment: DeploymentId, line: i64) -> Result<Vec<Newest>, sqlx::Error> {
        newest(&self.0.pool, deployment, line).await
    }

    /// The number of the last line that is shown and not stored; 0 when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_line(self, deployment: DeploymentId) -> Result<i64, sqlx::Error> {
        let last = sqlx::query_scalar!(
            r#"select coalesce(max(first_line - 1 + lines), 0) as "n!" from log_tail where deployment_id = $1"#,
            deployment.0
        );
        last.fetch_one(&self.0.pool).await
    }

    /// Shows the line that is printed now and has not ended; an empty one is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin(self, deployment: DeploymentId, line: &[u8]) -> Result<(), sqlx::Error> {
        if line.is_empty() {
            sqlx::query!("delete from log_begun where deployment_id = $1", deployment.0).execute(&self.0.work).await?;
        } else {
            sqlx::query!(
                "insert into log_begun (deployment_id, body) values ($1, $2) on conflict (deployment_id) do update set body = excluded.body",
                deployment.0,
                line
            )
            .execute(&self.0.work)
            .await?;
        }
        self.0.wake.moved(deployment);
        Ok(())
    }

    /// The line that is printed now and has not ended.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begun(self, deployment: DeploymentId) -> Result<Option<Vec<u8>>, sqlx::Error> {
        sqlx::query_scalar!("select body from log_begun where deployment_id = $1", deployment.0)
            .fetch_optional(&self.0.pool)
            .await
    }

    /// Nobody watches it any more: the journal has what is kept, or somebody else reads it again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget(self, deployment: DeploymentId) -> Result<(), sqlx::Error> {
        for table in [
            sqlx::query!("delete from log_tail where deployment_id = $1", deployment.0),
            sqlx::query!("delete from log_begun where deployment_id = $1", deployment.0),
        ] {
            table.execute(&self.0.work).await?;
        }
        Ok(())
    }
}

async fn newest(pool: &PgPool, deployment: DeploymentId, line: i64) -> Result<Vec<Newest>, sqlx::Error> {
    let rows = sqlx::query!(
        "select first_line, lines, body, shown_at from log_tail where deployment_id = $1 and first_line + lines - 1 > $2::bigint order by first_line",
        deployment.0,
        line
    )
    .fetch_all(pool)
    .await?;
    let mut seen = line;
    let mut all = Vec::new();
    for row in rows {
        let piece =
            Newest { first_line: row.first_line, lines: i64::from(row.lines), body: row.body, at: row.shown_at };
        if let Some(piece) = piece.after(seen) {
            seen = piece.last_line();
            all.push(piece);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_does_not_come_again() {
        let piece = Newest { first_line: 10, lines: 3, body: b"a\nb\nc\n".to_vec(), at: DateTime::UNIX_EPOCH };
        assert_eq!(piece.after(9).unwrap().body, b"a\nb\nc\n");
        let rest = piece.after(10).unwrap();
        assert_eq!((rest.first_line, rest.lines, rest.body.as_slice()), (11, 2, b"b\nc\n".as_slice()));
        assert!(piece.after(12).is_none() && piece.after(40).is_none());
    }
}
