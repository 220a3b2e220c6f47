//! What CI systems delivered: kept for a while to look up why a build is there or isn't, and to run one again. Never
//! history: what a delivery caused is in the log, and this may be lost.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::Store;
use crate::domain::ids::{BuildId, DeliveryId, ProjectId};

/// Refused requests that are kept, at most, and as many again for projects that don't exist: anybody can send them.
const REFUSALS_MAX: i64 = 1_000;

/// A delivery that was taken, with what became of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Ours.
    pub id: DeliveryId,
    /// When it came first.
    pub at: DateTime<Utc>,
    /// Whose; the nil id when no project takes that repository's.
    pub project: ProjectId,
    /// The CI system.
    pub provider: String,
    /// The CI system's own name for it, or the body's digest.
    pub name: String,
    /// `accepted`, `repeated` (the build was there already) or `ignored`.
    pub verdict: String,
    /// Why, where it made no build.
    pub reason: String,
    /// The build.
    pub build: Option<BuildId>,
    /// Position of the event that it caused.
    pub position: Option<i64>,
}

/// What is needed to run a delivery again: no proof of origin, no secrets.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Headers as `[name, value]` pairs.
    pub headers: Vec<(String, String)>,
    /// The redacted body, JSON.
    pub body: Vec<u8>,
}

/// A request that was not believed or could not be read.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns")]
pub struct Refused {
    pub at: DateTime<Utc>,
    pub provider: String,
    pub project: String,
    pub reason: String,
    pub digest: Vec<u8>,
}

struct Row {
    id: Uuid,
    at: DateTime<Utc>,
    project_id: Uuid,
    provider: String,
    name: String,
    verdict: String,
    reason: String,
    build_id: Option<Uuid>,
    position: Option<i64>,
}

impl From<Row> for Delivery {
    fn from(r: Row) -> Self {
        Self {
            id: DeliveryId(r.id),
            at: r.at,
            project: ProjectId(r.project_id),
            provider: r.provider,
            name: r.name,
            verdict: r.verdict,
            reason: r.reason,
            build: r.build_id.map(BuildId),
            position: r.position,
        }
    }
}

impl Store {
    /// A delivery that was taken before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            "select id, at, project_id, provider, name, verdict, reason, build_id, position from ci_delivery where id = $1",
            id.0
        )
        .fetch_optional(&self.work)
        .await?;
        Ok(row.map(Into::into))
    }

    /// The position at which a project stands now, and the build that a delivery has made already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn before_delivery(&self, project: ProjectId, id: DeliveryId) -> Result<(Option<i64>, Option<BuildId>), sqlx::Error> {
        let row = sqlx::query!(
            "select (select position from project where id = $1) as position, (select build_id from ci_delivery where id = $2) as build",
            project.0,
            id.0
        )
        .fetch_one(&self.work)
        .await?;
        Ok((row.position, row.build.map(BuildId)))
    }

    /// Keeps a delivery with what became of it, and what it takes to run it again. One that is there already keeps its
    /// time, and the verdict `accepted` once it has it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_delivery(&self, delivery: &Delivery, kept: Kept) -> Result<(), sqlx::Error> {
        self.keeper.keep(delivery.clone(), kept).await
    }

    /// What it takes to run a delivery again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn kept_delivery(&self, id: DeliveryId) -> Result<Option<Kept>, sqlx::Error> {
        let row = sqlx::query!("select headers, body from ci_delivery where id = $1", id.0).fetch_optional(&self.work).await?;
        Ok(row.map(|r| Kept {
            headers: serde_json::from_value(r.headers).unwrap_or_default(),
            body: zstd::stream::decode_all(r.body.as_slice()).unwrap_or_default(),
        }))
    }

    /// Deliveries whose id begins so; two at most, which is enough to see that more than one does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deliveries_like(&self, beginning: &str) -> Result<Vec<DeliveryId>, sqlx::Error> {
        let ids = sqlx::query_scalar!("select id from ci_delivery where starts_with(id::text, $1) limit 2", beginning);
        Ok(ids.fetch_all(&self.pool).await?.into_iter().map(DeliveryId).collect())
    }

    /// Deliveries, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deliveries(&self, project: Option<ProjectId>, limit: i64) -> Result<Vec<Delivery>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Row,
            "select id, at, project_id, provider, name, verdict, reason, build_id, position from ci_delivery
              where $1::uuid is null or project_id = $1 order by at desc limit $2",
            project.map(|p| p.0),
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Notes a request that was refused: when, for whom, why, and the digest of its body; nothing else of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_refusal(&self, provider: &str, project: &str, known: bool, reason: &str, digest: &[u8]) -> Result<(), sqlx::Error> {
        sqlx::query!(
            // Those for projects that don't exist have room of their own: nobody can push the others out with them.
            "with gone as (delete from ci_refusal where known = $6 and id <=
               (select id from ci_refusal where known = $6 order by id desc offset $5 limit 1))
             insert into ci_refusal (provider, project, reason, digest, known) values ($1, $2, $3, $4, $6)",
            provider,
            project,
            reason,
            digest,
            REFUSALS_MAX - 1,
            known
        )
        .execute(&self.work)
        .await
        .map(|_| ())
    }

    /// Refused requests, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refusals(&self, project: Option<&str>, limit: i64) -> Result<Vec<Refused>, sqlx::Error> {
        sqlx::query_as!(
            Refused,
            "select at, provider, project, reason, digest from ci_refusal where $1::text is null or project = $1 order by id desc limit $2",
            project,
            limit
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Forgets deliveries after 30 days, and refused ones with them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_deliveries(&self) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from ci_delivery where at < coolops_now() - interval '30 days'").execute(&self.work).await?;
        sqlx::query!("delete from ci_refusal where at < coolops_now() - interval '30 days'").execute(&self.work).await.map(|_| ())
    }
}

/// Deliveries in one statement, at most.
const BATCH_MAX: usize = 64;

struct Asked {
    delivery: Delivery,
    kept: Kept,
    reply: oneshot::Sender<Result<(), sqlx::Error>>,
}

/// The way to the process's writer of deliveries: those that come while a batch is written form the next one.
#[derive(Clone)]
pub struct Keeper(mpsc::Sender<Asked>);

impl Keeper {
    /// Starts the writer; it ends when the last handle is dropped and what was asked is written.
    pub(super) fn start(pool: PgPool) -> Self {
        let (asked, inbox) = mpsc::channel(256);
        tokio::spawn(write(inbox, pool));
        Self(asked)
    }

    async fn keep(&self, delivery: Delivery, kept: Kept) -> Result<(), sqlx::Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || sqlx::Error::WorkerCrashed;
        self.0.send(Asked { delivery, kept, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn write(mut inbox: mpsc::Receiver<Asked>, pool: PgPool) {
    // One context for all: making one costs more than packing a body.
    let mut packer = zstd::bulk::Compressor::new(1).unwrap_or_default();
    let mut waiting: Vec<Asked> = Vec::new();
    loop {
        if waiting.is_empty() && inbox.recv_many(&mut waiting, BATCH_MAX).await == 0 {
            return;
        }
        // One statement can't write a row twice: what comes again waits for the next one.
        let mut ids = HashSet::new();
        let (batch, again): (Vec<Asked>, Vec<Asked>) = waiting.drain(..).partition(|a| ids.insert(a.delivery.id));
        waiting = again;
        let done = insert(&pool, &batch, &mut packer).await;
        for asked in batch {
            let answer = match &done {
                Ok(()) => Ok(()),
                Err(e) => Err(sqlx::Error::Protocol(e.to_string())),
            };
            // Whoever asked may have gone away.
            let _ = asked.reply.send(answer);
        }
    }
}

async fn insert(pool: &PgPool, batch: &[Asked], packer: &mut zstd::bulk::Compressor<'_>) -> Result<(), sqlx::Error> {
    fn each<T>(batch: &[Asked], column: impl Fn(&Asked) -> T) -> Vec<T> {
        batch.iter().map(column).collect()
    }
    let bodies: Vec<Vec<u8>> = batch.iter().map(|a| packer.compress(&a.kept.body).unwrap_or_default()).collect();
    sqlx::query!(
        "insert into ci_delivery as d (id, project_id, provider, name, verdict, reason, build_id, position, headers, body)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::bigint[], $9::jsonb[],
                              $10::bytea[])
         on conflict (id) do update set build_id = coalesce(d.build_id, excluded.build_id), position = coalesce(d.position, excluded.position),
           project_id = excluded.project_id,
           verdict = case when d.verdict = 'accepted' then d.verdict else excluded.verdict end,
           reason = case when d.verdict = 'accepted' then d.reason else excluded.reason end",
        &each(batch, |a| a.delivery.id.0),
        &each(batch, |a| a.delivery.project.0),
        &each(batch, |a| a.delivery.provider.clone()),
        &each(batch, |a| a.delivery.name.clone()),
        &each(batch, |a| a.delivery.verdict.clone()),
        &each(batch, |a| a.delivery.reason.clone()),
        &each(batch, |a| a.delivery.build.map(|b| b.0)) as &[Option<Uuid>],
        &each(batch, |a| a.delivery.position) as &[Option<i64>],
        &each(batch, |a| serde_json::to_value(&a.kept.headers).unwrap_or_default()),
        &bodies
    )
    .execute(pool)
    .await
    .map(|_| ())
}
