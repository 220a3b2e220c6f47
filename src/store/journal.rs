//! The output journal: each deployment's lines in hash-chained chunks, compressed, append-only.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Store;
use super::jobs::Claim;
use crate::domain::deployment::{DeploymentLogged, LeftOut, LogCursor, LogSeal};
use crate::domain::ids::{DeploymentId, JobId};
use crate::domain::output::Piece;
use crate::proof::chain::{self, Hash};

/// A chunk is stored when its body has so many bytes before compression. A last line that is long makes it larger.
pub const CHUNK: usize = 64 * 1024;
const COMPRESSION: i32 = 1;

/// A deployment's journal, open for writing by the holder of its job.
#[derive(Debug, Clone)]
pub struct Journal {
    deployment: DeploymentId,
    job: JobId,
    fence: i64,
    lease: Uuid,
    chunks: i32,
    lines: i64,
    bytes: i64,
    head: Hash,
    cursor: Option<LogCursor>,
    left_out: LeftOut,
    gaps: i32,
}

/// Why a chunk was not written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The lease was lost to another worker.
    #[error("the job's lease was taken over")]
    Fenced,
    /// The database.
    #[error("the database does not answer: {0}")]
    Database(sqlx::Error),
}

/// A chunk as stored.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Its number.
    pub number: i32,
    /// Number of its first line, from 1.
    pub first_line: i64,
    /// Its lines.
    pub lines: i32,
    /// Lines that were printed and left out right before it; then it is the note of that, of one line.
    pub left_out: i64,
    /// When it was stored, by the database's clock: its lines were printed at most a moment before.
    pub at: DateTime<Utc>,
    /// The masked output, exactly.
    pub body: Vec<u8>,
}

impl Chunk {
    /// The number of its last line.
    pub fn last_line(&self) -> i64 {
        self.first_line - 1 + i64::from(self.lines)
    }

    /// The number of the chunk after it.
    pub fn next(&self) -> i32 {
        self.number.saturating_add(1)
    }
}

impl Journal {
    /// Where reading the container's output goes on.
    pub fn cursor(&self) -> Option<&LogCursor> {
        self.cursor.as_ref()
    }

    /// What the finishing event says of the journal.
    pub fn seal(&self) -> LogSeal {
        LogSeal {
            chunks: self.chunks,
            lines: self.lines,
            bytes: self.bytes,
            head: hex::encode(self.head),
            left_out: self.left_out,
            gaps: self.gaps,
        }
    }

    /// Lines in it.
    pub fn lines(&self) -> i64 {
        self.lines
    }

    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(0)
    }
}

/// What deployments printed.
#[derive(Clone, Copy)]
pub struct Journals<'a>(pub(super) &'a Store);

impl Store {
    /// What deployments printed.
    pub fn journals(&self) -> Journals<'_> {
        Journals(self)
    }
}

impl Journals<'_> {
    /// Opens a deployment's journal where it was left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(self, deployment: DeploymentId, claim: &Claim) -> Result<Journal, sqlx::Error> {
        let last = sqlx::query!(
            r#"select chunk_no, first_line, lines, chain_hash, envelope::text as "envelope!",
                      (select sum(raw_len) from log_chunk where deployment_id = $1)::bigint as "bytes!",
                      (select coalesce(sum((envelope->'left_out'->>'lines')::bigint), 0) from log_chunk where deployment_id = $1)::bigint as "left_out_lines!",
                      (select coalesce(sum((envelope->'left_out'->>'bytes')::bigint), 0) from log_chunk where deployment_id = $1)::bigint as "left_out_bytes!",
                      (select coalesce(sum((envelope->>'gaps')::int), 0) from log_chunk where deployment_id = $1)::int as "gaps!"
                 from log_chunk where deployment_id = $1 order by chunk_no desc limit 1"#,
            deployment.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        let head = chain::journal_genesis(deployment.0);
        let left_out = LeftOut::default();
        let (job, fence, lease) = (claim.id, claim.fence, claim.lease);
        let mut journal = Journal {
            deployment,
            job,
            fence,
            lease,
            chunks: 0,
            lines: 0,
            bytes: 0,
            head,
            cursor: None,
            left_out,
            gaps: 0,
        };
        if let Some(last) = last {
            journal.chunks = last.chunk_no + 1;
            journal.lines = last.first_line - 1 + i64::from(last.lines);
            journal.bytes = last.bytes;
            journal.left_out = LeftOut { lines: last.left_out_lines, bytes: last.left_out_bytes };
            journal.gaps = last.gaps;
            journal.head = last
                .chain_hash
                .try_into()
                .map_err(|_| sqlx::Error::Decode("a chain hash that is not 32 bytes long".into()))?;
            journal.cursor = self.last_cursor(deployment).await?;
        }
        Ok(journal)
    }

    async fn last_cursor(self, deployment: DeploymentId) -> Result<Option<LogCursor>, sqlx::Error> {
        let envelope = sqlx::query_scalar!(
            r#"select envelope::text as "envelope!" from log_chunk where deployment_id = $1 and envelope->>'cursor' is not null
                order by chunk_no desc limit 1"#,
            deployment.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        // Without its place the whole output would be stored again.
        let read = |e: String| serde_json::from_str::<DeploymentLogged>(&e).map_err(|e| sqlx::Error::Decode(e.into()));
        Ok(envelope.map(read).transpose()?.and_then(|e| e.cursor))
    }

    /// Appends a chunk. The journal advances only when the database has it, so a failed call may be repeated.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn append(self, journal: &mut Journal, piece: &Piece) -> Result<(), JournalError> {
        let body = &piece.body[..];
        let lines = i32::try_from(body.iter().filter(|b| **b == b'\n').count()).unwrap_or(i32::MAX);
        let envelope = DeploymentLogged {
            deployment_id: journal.deployment,
            chunk: journal.chunks,
            first_line: journal.lines + 1,
            lines,
            bytes: i32::try_from(body.len()).unwrap_or(i32::MAX),
            sha256: hex::encode(Sha256::digest(body)),
            cursor: piece.cursor.clone(),
            left_out: piece.left_out,
            gaps: piece.gaps,
        };
        let envelope_text = serde_json::to_string(&envelope).expect("an envelope is plain data");
        let head = chain::journal_link(&journal.head, envelope_text.as_bytes());
        let compressed =
            zstd::bulk::compress(body, COMPRESSION).map_err(|e| JournalError::Database(sqlx::Error::Io(e)))?;
        let written = sqlx::query!(
            r#"select append_log_chunk($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) is null as "done""#,
            journal.job.0,
            journal.fence,
            journal.lease,
            journal.deployment.0,
            envelope.chunk,
            envelope.first_line,
            lines,
            envelope.bytes,
            envelope_text,
            compressed,
            &head[..]
        )
        .fetch_one(&self.0.pool)
        .await;
        match written {
            Ok(_) => {}
            Err(e) if e.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("CO001") => {
                return Err(JournalError::Fenced);
            }
            Err(e) => return Err(JournalError::Database(e)),
        }
        journal.chunks += 1;
        journal.lines += i64::from(lines);
        journal.bytes += body.len() as i64;
        journal.head = head;
        if let Some(left_out) = piece.left_out {
            journal.left_out.lines += left_out.lines;
            journal.left_out.bytes += left_out.bytes;
        }
        journal.gaps += piece.gaps;
        if piece.cursor.is_some() {
            journal.cursor.clone_from(&piece.cursor);
        }
        metrics::counter!("coolops_log_bytes_total").increment(body.len() as u64);
        self.0.wake.moved(journal.deployment);
        Ok(())
    }

    /// At most `limit` chunks of a deployment from a number on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn chunks_from(self, deployment: DeploymentId, from: i32, limit: i64) -> Result<Vec<Chunk>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select chunk_no, first_line, lines, raw_len, body as "body!", recorded_at, coalesce((envelope->'left_out'->>'lines')::bigint, 0) as "left_out!"
                 from log_chunk where deployment_id = $1 and chunk_no >= $2 and body is not null order by chunk_no limit $3"#,
            deployment.0,
            from,
            limit
        )
        .fetch_all(&self.0.pool)
        .await?;
        rows.into_iter()
            .map(|r| {
                let body = zstd::bulk::decompress(&r.body, usize::try_from(r.raw_len).unwrap_or(0))
                    .map_err(sqlx::Error::Io)?;
                Ok(Chunk {
                    number: r.chunk_no,
                    first_line: r.first_line,
                    lines: r.lines,
                    left_out: r.left_out,
                    at: r.recorded_at,
                    body,
                })
            })
            .collect()
    }

    /// The number of the chunk that a line is in, or would be.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn chunk_of_line(self, deployment: DeploymentId, line: i64) -> Result<i32, sqlx::Error> {
        let found = sqlx::query_scalar!(
            r#"select coalesce(max(chunk_no), 0) as "n!" from log_chunk where deployment_id = $1 and first_line <= $2 and body is not null"#,
            deployment.0,
            line
        )
        .fetch_one(&self.0.pool)
        .await?;
        Ok(found)
    }

    /// The line that stands for what was left out, if something was.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn left_out_at(self, deployment: DeploymentId) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar!(
            "select first_line from log_chunk where deployment_id = $1 and envelope->'left_out'->>'lines' is not null and body is not null order by chunk_no limit 1",
            deployment.0
        )
        .fetch_optional(&self.0.pool)
        .await
    }

    /// The number of the first chunk that was stored after a time, or that would be, and of the last line before it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn since(self, deployment: DeploymentId, at: DateTime<Utc>) -> Result<(i32, i64), sqlx::Error> {
        let before = sqlx::query!(
            r#"select chunk_no + 1 as "next!", first_line - 1 + lines as "last!" from log_chunk
               where deployment_id = $1 and recorded_at < $2 order by chunk_no desc limit 1"#,
            deployment.0,
            at
        );
        Ok(before.fetch_optional(&self.0.pool).await?.map_or((0, 0), |found| (found.next, found.last)))
    }

    /// The number of the last line that is stored.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_line(self, deployment: DeploymentId) -> Result<i64, sqlx::Error> {
        let last = sqlx::query_scalar!(
            r#"select first_line - 1 + lines as "last!" from log_chunk where deployment_id = $1 and body is not null order by chunk_no desc limit 1"#,
            deployment.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        Ok(last.unwrap_or(0))
    }

    /// Whether anything is kept of what a deployment printed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_there(self, deployment: DeploymentId) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select exists (select from log_chunk where deployment_id = $1 and body is not null) as "it!""#,
            deployment.0
        )
        .fetch_one(&self.0.pool)
        .await
    }

    /// Checks a journal against its seal, chunk by chunk; of one that was `erased`, what is there. `Ok(None)` when all is as
    /// it was written, else what is not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn verify(
        self,
        deployment: DeploymentId,
        seal: Option<&LogSeal>,
        erased: bool,
    ) -> Result<Option<String>, sqlx::Error> {
        let (mut head, mut number, mut lines, mut bytes) = (chain::journal_genesis(deployment.0), 0, 0_i64, 0_i64);
        let (mut left_out, mut gaps) = (LeftOut::default(), 0);
        loop {
            let rows = sqlx::query!(
                r#"select chunk_no, first_line, lines, raw_len, envelope::text as "envelope!", body, chain_hash
                     from log_chunk where deployment_id = $1 and chunk_no >= $2 order by chunk_no limit 64"#,
                deployment.0,
                number
            )
            .fetch_all(&self.0.pool)
            .await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let wrong = |field: &str| Ok(Some(format!("log chunk {number} of deployment {deployment}: {field}")));
                let Ok(envelope) = serde_json::from_str::<DeploymentLogged>(&row.envelope) else {
                    return wrong("envelope");
                };
                if row.chunk_no != number || envelope.chunk != number {
                    return wrong("chunk_no");
                }
                head = chain::journal_link(&head, row.envelope.as_bytes());
                if row.chain_hash != head {
                    return wrong("chain_hash");
                }
                if (row.first_line, row.lines, row.raw_len) != (envelope.first_line, envelope.lines, envelope.bytes) {
                    return wrong("envelope");
                }
                let size = usize::try_from(row.raw_len).unwrap_or(0);
                let body = row.body.map(|body| zstd::bulk::decompress(&body, size).unwrap_or_default());
                if let Some(body) = body.or_else(|| (!erased).then(Vec::new))
                    && hex::encode(Sha256::digest(&body)) != envelope.sha256
                {
                    return wrong("body");
                }
                number += 1;
                lines += i64::from(row.lines);
                bytes += i64::from(row.raw_len);
                left_out.lines += envelope.left_out.map_or(0, |l| l.lines);
                left_out.bytes += envelope.left_out.map_or(0, |l| l.bytes);
                gaps += envelope.gaps;
            }
        }
        Ok(match seal {
            Some(seal)
                if *seal != (LogSeal { chunks: number, lines, bytes, head: hex::encode(head), left_out, gaps }) =>
            {
                Some(format!(
                    "log of deployment {deployment}: it does not match its seal ({number} of {} chunks)",
                    seal.chunks
                ))
            }
            _ => None,
        })
    }

    /// Deployments that have journal chunks.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn all(self) -> Result<Vec<DeploymentId>, sqlx::Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar!("select distinct deployment_id from log_chunk")
            .fetch_all(&mut self.0.bulk().await?)
            .await?;
        Ok(ids.into_iter().map(DeploymentId).collect())
    }
}
