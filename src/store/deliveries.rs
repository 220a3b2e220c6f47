//! What CI systems delivered: kept for a while to look up why a build is there or isn't, and to run one again. Never
//! history: what a delivery caused is in the log, and this may be lost.

use std::cell::RefCell;

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::Store;
use crate::domain::ids::{BuildId, DeliveryId, ProjectId};

/// What became of a delivery that was believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryVerdict {
    /// It made a build.
    Accepted,
    /// Its build was there already.
    Repeated,
    /// It makes none.
    Ignored,
}

impl DeliveryVerdict {
    /// The stored and printed word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repeated => "repeated",
            Self::Ignored => "ignored",
        }
    }

    /// The table takes no other words.
    fn named(word: &str) -> Self {
        match word {
            "accepted" => Self::Accepted,
            "repeated" => Self::Repeated,
            "ignored" => Self::Ignored,
            other => unreachable!("a check of ci_delivery refuses the verdict {other:?}"),
        }
    }
}

/// A delivery that was taken, with what became of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Ours.
    pub id: DeliveryId,
    /// When it came first.
    pub at: DateTime<Utc>,
    /// Whose; none when no project takes that repository's.
    pub project: Option<ProjectId>,
    /// The CI system.
    pub provider: String,
    /// The CI system's own name for it, or the body's digest.
    pub name: String,
    /// What became of it.
    pub verdict: DeliveryVerdict,
    /// Why, where it made no build.
    pub reason: String,
    /// The build.
    pub build: Option<BuildId>,
    /// Position of the event that it caused.
    pub position: Option<i64>,
}

/// What is needed to run a delivery again: no proof of origin, no secrets.
#[derive(Debug, Clone)]
pub struct DeliveryContent {
    /// Headers as `[name, value]` pairs.
    pub headers: Vec<(String, String)>,
    /// The redacted body, JSON.
    pub body: Vec<u8>,
}

/// A delivery as it is written: with its verdict, or beside the build that it makes.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns")]
pub struct PackedDelivery {
    pub id: DeliveryId,
    pub project: Option<ProjectId>,
    pub provider: &'static str,
    pub name: String,
    pub headers: serde_json::Value,
    pub body: Vec<u8>,
}

impl PackedDelivery {
    /// Packs what is to be kept.
    pub fn new(
        id: DeliveryId,
        project: Option<ProjectId>,
        provider: &'static str,
        name: &str,
        kept: &DeliveryContent,
    ) -> Self {
        let headers = serde_json::to_value(&kept.headers).unwrap_or_default();
        Self { id, project, provider, name: name.to_owned(), headers, body: packed(&kept.body) }
    }
}

thread_local! {
    // Making a context costs more than packing a body; a body that is kept for a month is packed quickly, not tightly.
    static PACKER: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(zstd::bulk::Compressor::new(-3).unwrap_or_default());
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    PACKER.with_borrow_mut(|packer| packer.compress(bytes)).unwrap_or_default()
}

struct Row {
    id: Uuid,
    at: DateTime<Utc>,
    project_id: Option<Uuid>,
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
            project: r.project_id.map(ProjectId),
            provider: r.provider,
            name: r.name,
            verdict: DeliveryVerdict::named(&r.verdict),
            reason: r.reason,
            build: r.build_id.map(BuildId),
            position: r.position,
        }
    }
}

/// What CI systems sent.
#[derive(Clone, Copy)]
pub struct Deliveries<'a>(pub(super) &'a Store);

impl Store {
    /// What CI systems sent.
    pub fn deliveries(&self) -> Deliveries<'_> {
        Deliveries(self)
    }
}

impl Deliveries<'_> {
    /// A delivery that was taken before.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(self, id: DeliveryId) -> Result<Option<Delivery>, sqlx::Error> {
        let row = sqlx::query_as!(
            Row,
            "select id, at, project_id, provider, name, verdict, reason, build_id, position from ci_delivery where id = $1",
            id.0
        )
        .fetch_optional(&self.0.work)
        .await?;
        Ok(row.map(Into::into))
    }

    /// The position at which a project stands now, and the build that a delivery has made already.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn before(
        self,
        project: ProjectId,
        id: DeliveryId,
    ) -> Result<(Option<i64>, Option<BuildId>), sqlx::Error> {
        let row = sqlx::query!(
            "select (select position from project where id = $1) as position, (select build_id from ci_delivery where id = $2) as build",
            project.0,
            id.0
        )
        .fetch_one(&self.0.work)
        .await?;
        Ok((row.position, row.build.map(BuildId)))
    }

    /// Keeps a delivery that made no build, with the reason, and what it takes to run it again; one that made a build
    /// is kept by the append that records it. One that is there already keeps its time, and the verdict `accepted` once
    /// it has it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep(self, delivery: &Delivery, packed: &PackedDelivery) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into ci_delivery as d (id, project_id, provider, name, verdict, reason, build_id, position, headers, body)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (id) do update set project_id = excluded.project_id, build_id = coalesce(d.build_id, excluded.build_id),
               verdict = case when d.verdict = 'accepted' then d.verdict else excluded.verdict end,
               reason = case when d.verdict = 'accepted' then d.reason else excluded.reason end",
            delivery.id.0,
            delivery.project.map(|p| p.0),
            delivery.provider,
            delivery.name,
            delivery.verdict.as_str(),
            delivery.reason,
            delivery.build.map(|b| b.0),
            delivery.position,
            packed.headers,
            packed.body
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// What it takes to run a delivery again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn kept(self, id: DeliveryId) -> Result<Option<DeliveryContent>, sqlx::Error> {
        let row = sqlx::query!("select headers, body from ci_delivery where id = $1", id.0)
            .fetch_optional(&self.0.work)
            .await?;
        let read = |headers, body: Vec<u8>| {
            let headers = serde_json::from_value(headers).map_err(|e| sqlx::Error::Decode(e.into()))?;
            Ok(DeliveryContent { headers, body: zstd::stream::decode_all(body.as_slice()).map_err(sqlx::Error::Io)? })
        };
        row.map(|r| read(r.headers, r.body)).transpose()
    }

    /// Deliveries whose id begins so; two at most, which is enough to see that more than one does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn like(self, beginning: &str) -> Result<Vec<DeliveryId>, sqlx::Error> {
        let ids = sqlx::query_scalar!("select id from ci_delivery where starts_with(id::text, $1) limit 2", beginning);
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(DeliveryId).collect())
    }

    /// Deliveries, newest first; of one project with those of nobody that came to an address which it shares.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        self,
        project: Option<ProjectId>,
        shared: &[String],
        limit: i64,
    ) -> Result<Vec<Delivery>, sqlx::Error> {
        let rows = sqlx::query_as!(
            Row,
            "select id, at, project_id, provider, name, verdict, reason, build_id, position from ci_delivery
              where $1::uuid is null or project_id = $1 or (project_id is null and provider = any($3))
              order by at desc limit $2",
            project.map(|p| p.0),
            limit,
            shared
        )
        .fetch_all(&self.0.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Forgets deliveries after 30 days, and refused ones with them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_old(self) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from ci_delivery where at < coolops_now() - interval '30 days'")
            .execute(&self.0.work)
            .await?;
        sqlx::query!("delete from ci_refusal where at < coolops_now() - interval '30 days'")
            .execute(&self.0.work)
            .await
            .map(|_| ())
    }
}
