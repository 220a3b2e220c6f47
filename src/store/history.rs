//! What happened, to be told: deployments in the order of their presses, and events with all their columns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::deployments::readable;
use super::log::{Raw, ReadError};
use super::private::Opener;
use crate::domain::deployment::State;
use crate::domain::event::{Actor, Event};
use crate::domain::ids::*;
use crate::domain::somebody::is_former;
use crate::projections::insights::Sample;
use crate::projections::timed::Timed;
use crate::proof::chain::{self, Header};

/// What is asked for of the history of deployments; what is none goes for all.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Of this project.
    pub project: Option<ProjectId>,
    /// To one of these environments; none stand for all.
    pub environments: Vec<EnvironmentId>,
    /// By whoever is called so, or has this id.
    pub user: Option<String>,
    /// Of builds whose names begin so, in any case.
    pub build: Option<String>,
    /// Pressed after this position.
    pub after: Option<i64>,
    /// Pressed at this position or before.
    pub until: Option<i64>,
    /// That stand so; none stand for all.
    pub states: Vec<State>,
}

/// A page of deployments, newest press first.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that can be told.
    pub deployed: Vec<Deployed>,
    /// Those whose rows can't be read.
    pub untold: Vec<DeploymentId>,
    /// The position before which it goes on, if it does.
    pub next: Option<i64>,
}

/// A deployment of the history.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// Position of its press: its place in the history, for ever.
    pub position: i64,
    /// Its project's slug.
    pub project: String,
    /// Id of the key that its build's links are made with; none when they were revoked.
    pub link_key: Option<String>,
    /// It brought back a build that was announced before the one that ran there.
    pub is_back: bool,
    /// The deployment and its times.
    pub timed: Timed,
}

impl Deployed {
    /// Its build, and the one that ran there before, where that is known.
    fn builds(&self) -> impl Iterator<Item = BuildId> {
        let deployment = &self.timed.deployment;
        let ran = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces.as_deref());
        let ran = ran.map(|name| BuildId::of_name(deployment.of.project_id, name));
        std::iter::once(deployment.of.build_id).chain(ran)
    }
}

/// An event with all its columns.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns of the event table")]
pub struct Entry {
    pub position: i64,
    pub event_id: Uuid,
    pub tenant_id: Uuid,
    pub stream_type: String,
    pub stream_id: Uuid,
    pub stream_version: i32,
    pub kind: String,
    pub schema_version: i16,
    pub actor: String,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub fence: Option<i64>,
    pub recorded_at: DateTime<Utc>,
    pub payload: String,
    pub body_hash: Vec<u8>,
    pub chain_hash: Vec<u8>,
    pub opener: Arc<Opener>,
}

impl Entry {
    /// What the chain covers beside position, time and payload.
    pub fn header(&self) -> Header<'_> {
        Header {
            event_id: self.event_id,
            tenant_id: self.tenant_id,
            stream_type: &self.stream_type,
            stream_id: self.stream_id,
            stream_version: self.stream_version,
            kind: &self.kind,
            schema_version: self.schema_version,
            actor: &self.actor,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            fence: self.fence,
        }
    }

    /// When it was recorded, as the chain counts.
    pub fn micros_since_2000(&self) -> i64 {
        chain::micros_since_2000(self.recorded_at)
    }

    /// Its entry in chain and tree, computed anew from everything that it says.
    pub fn chained(&self) -> [u8; 48] {
        let body = chain::body_hash(self.payload.as_bytes());
        chain::entry(self.position, self.micros_since_2000(), &chain::item_hash(&self.header(), &body))
    }

    /// What happened.
    ///
    /// # Errors
    /// When type or payload can't be read.
    pub fn event(&self) -> Result<Event, ReadError> {
        self.raw().event()
    }

    fn raw(&self) -> Raw<'_> {
        Raw {
            position: self.position,
            event_id: self.event_id,
            stream_version: self.stream_version,
            recorded_at: self.recorded_at,
            kind: &self.kind,
            schema_version: self.schema_version,
            actor: &self.actor,
            payload: &self.payload,
            opener: &self.opener,
        }
    }

    /// What its encrypted texts say, by what is stored in their place; without those that were erased.
    pub fn plain(&self) -> BTreeMap<&str, String> {
        self.opener.plain([self.actor.as_str(), self.payload.as_str()])
    }

    /// Who did it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn actor(&self) -> Result<Actor, ReadError> {
        self.raw().actor()
    }
}

/// Causes of an event that are told, at most.
pub const CAUSES_MAX: usize = 50;

/// What happened, to be told.
#[derive(Clone, Copy)]
pub struct History<'a>(&'a Store);

impl Store {
    /// What happened, to be told.
    pub fn history(&self) -> History<'_> {
        History(self)
    }
}

/// Whether a text may be somebody's id in Slack.
fn is_an_id(user: &str) -> bool {
    let is_slacks = user.starts_with(['U', 'W', 'u', 'w']) && user.bytes().all(|b| b.is_ascii_alphanumeric());
    user.len() >= 9 && (is_slacks || is_former(user))
}

/// The ids of a page of deployments, by what else is asked beside what is always asked.
macro_rules! page {
    ($self:ident, $asked:ident, $before:ident, $limit:ident, $where:literal, $argument:expr) => {{
        let states: Vec<&str> = $asked.states.iter().map(|state| state.as_str()).collect();
        let environments: Vec<Uuid> = $asked.environments.iter().map(|environment| environment.0).collect();
        let user = $asked.user.as_deref().map(|user| user.trim_start_matches('@'));
        sqlx::query!(
            "select d.id, d.requested from deployment d
              where d.requested < $1 and d.requested > $2 and d.requested <= $3
                and (cardinality($4::uuid[]) = 0 or d.environment_id = any($4)) and (cardinality($5::text[]) = 0 or d.state = any($5))
                and ($6::text is null or lower($6) in (lower(d.requested_by), lower(d.doc->'requested_by'->>'user')))
                and ($7::text is null or starts_with(lower(d.doc->>'build_name'), lower($7)))
                and " + $where + " order by d.requested desc limit $9",
            $before.unwrap_or(i64::MAX),
            $asked.after.unwrap_or(0),
            $asked.until.unwrap_or(i64::MAX),
            &environments,
            &states as &[&str],
            user,
            $asked.build.as_deref(),
            $argument,
            $limit
        )
        .fetch_all(&$self.0.pool)
        .await
        .map(|rows| rows.into_iter().map(|row| (row.id, row.requested)).collect::<Vec<_>>())
    }};
}

impl History<'_> {
    /// Deployments, newest press first: at most `limit` pressed before a position. Where it goes on stays the same, whatever is
    /// pressed meanwhile.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn deployments(self, asked: &Asked, before: Option<i64>, limit: i64) -> Result<Page, sqlx::Error> {
        let more = limit.saturating_add(1);
        // Each kind of question has a statement of its own, and so a plan with the index that it needs.
        let user = asked.user.as_deref().map(|user| user.trim_start_matches('@'));
        let mut found = match (asked.project, user) {
            (Some(project), _) => page!(self, asked, before, more, "d.project_id = $8", project.0),
            // By an id they are looked through: names are what people ask for, and `deployment_of_presser` has them, compared so.
            (None, Some(user)) if !is_an_id(user) => {
                page!(self, asked, before, more, "lower(d.requested_by) = lower($8) collate \"C\"", user)
            }
            (None, _) => page!(self, asked, before, more, "$8", true),
        }?;
        let is_more = found.len() as i64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = found.last().filter(|_| is_more).map(|last| last.1);
        let ids: Vec<Uuid> = found.into_iter().map(|(id, _)| id).collect();
        let rows = sqlx::query!(
            // A stream is read once: page after page, half of what a look costs is finding events.
            r#"select d.id, d.requested as position, p.slug, d.doc as "doc: Json<Value>", t.requested_at as "requested_at!", t.since as "since!",
                      t.started_at, t.lost_at,
                      (select a.payload->>'link_key' from event a where a.stream_id = d.build_id and a.stream_version = 1) as link_key,
                      p.doc->>'link_key' as project_link_key
                 from deployment d join project p on p.id = d.project_id
                cross join lateral (
                      select min(s.recorded_at) filter (where s.position = d.requested) as requested_at, min(s.recorded_at) filter (where s.position = d.since) as since,
                             min(s.recorded_at) filter (where s.type = 'deployment_started') as started_at, min(s.recorded_at) filter (where s.type = 'deployment_lost') as lost_at
                        from event s where s.stream_id = d.id) t
                where d.id = any($1) and t.requested_at is not null and t.since is not null order by d.requested desc"#,
            &ids
        )
        .fetch_all(&self.0.pool)
        .await?;
        let mut page = Page { next, ..Page::default() };
        for r in rows {
            let Some(deployment) = readable(r.doc) else {
                page.untold.push(DeploymentId(r.id));
                continue;
            };
            let (requested_at, started_at, lost_at, since) = (r.requested_at, r.started_at, r.lost_at, r.since);
            page.deployed.push(Deployed {
                position: r.position,
                project: r.slug,
                // Links that were revoked open nothing.
                link_key: r.link_key.filter(|key| Some(key) == r.project_link_key.as_ref()),
                is_back: false,
                timed: Timed { deployment, requested_at, started_at, lost_at, since },
            });
        }
        let positions = self.positions(page.deployed.iter().flat_map(Deployed::builds)).await?;
        for deployed in &mut page.deployed {
            let of: Vec<Option<&i64>> = deployed.builds().map(|build| positions.get(&build)).collect();
            deployed.is_back = matches!(of[..], [Some(this), Some(ran)] if this < ran);
        }
        Ok(page)
    }

    /// Where these builds were announced.
    async fn positions(self, builds: impl Iterator<Item = BuildId>) -> Result<HashMap<BuildId, i64>, sqlx::Error> {
        let builds: Vec<Uuid> = builds.map(|build| build.0).collect();
        let rows = sqlx::query!("select id, position from build where id = any($1)", &builds);
        Ok(rows.fetch_all(&self.0.pool).await?.into_iter().map(|r| (BuildId(r.id), r.position)).collect())
    }

    /// What ended in a project after a position, for its measures.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn samples(self, project: ProjectId, after: i64) -> Result<Vec<Sample>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select d.environment_id, d.state, a.recorded_at as announced_at,
                      not exists (select from deployment f where f.build_id = d.build_id and f.environment_id = d.environment_id and f.state = 'succeeded' and f.since < d.since) as "is_first!",
                      coalesce((select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_lost'), l.recorded_at) as "ended_at!",
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at
                 from deployment d join event a on a.stream_id = d.build_id and a.stream_version = 1 join event l on l.position = d.since
                where d.project_id = $1 and not d.is_open and d.since > $2
                  and coalesce((select min(s.position) from event s where s.stream_id = d.id and s.type = 'deployment_lost'), d.since) > $2"#,
            project.0,
            after
        );
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter().filter_map(|r| {
            let state = State::ALL.into_iter().find(|state| state.as_str() == r.state)?;
            let (announced_at, started_at, ended_at) = (r.announced_at, r.started_at, r.ended_at);
            let of = EnvironmentId(r.environment_id);
            Some(Sample { of, state, is_first: r.is_first, announced_at, started_at, ended_at })
        });
        Ok(rows.collect())
    }

    /// The deployments that told how some environments stood at a position: what was open there, the last that had ended,
    /// and the last that had gone well. Rows only find them: what they were is in the log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn told_at(self, environments: &[Uuid], position: i64) -> Result<Vec<Uuid>, sqlx::Error> {
        // What is over stays as it is, since the event that ended it.
        sqlx::query_scalar!(
            r#"select id as "id!" from deployment where environment_id = any($1) and is_open and requested <= $2 union
               select id from deployment where environment_id = any($1) and not is_open and since > $2 and requested <= $2 union
               select last.id from unnest($1::uuid[]) e cross join lateral (
                 select id from deployment where environment_id = e and not is_open and since <= $2 and not (state in ('cancelled', 'refused') and doc->>'prepared' is null)
                  order by since desc limit 1) last union
               select good.id from unnest($1::uuid[]) e cross join lateral (
                 select id from deployment where environment_id = e and not is_open and since <= $2 and state = 'succeeded'
                  order by since desc limit 1) good"#,
            environments,
            position
        )
        .fetch_all(&self.0.pool)
        .await
    }

    /// The position of the last event recorded at a time or before; 0 when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn position_at(self, at: DateTime<Utc>) -> Result<i64, sqlx::Error> {
        // Positions have no gaps and times never go back, so halving finds it.
        sqlx::query_scalar!(
            r#"with recursive halving(low, high) as (
                 select 0::bigint, (select position from event_head)
                 union all
                 select case when m.early then m.middle else h.low end, case when m.early then h.high else m.middle - 1 end
                   from halving h cross join lateral (
                     select (h.low + h.high + 1) / 2 as middle,
                            coalesce((select e.recorded_at from event e where e.position = (h.low + h.high + 1) / 2), '-infinity') <= $1 as early) m
                  where h.low < h.high)
               select low as "low!" from halving where low = high"#,
            at
        )
        .fetch_one(&self.0.pool)
        .await
    }

    /// When the first event and the last were recorded; nothing in an empty log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn span(self) -> Result<Option<(DateTime<Utc>, DateTime<Utc>, i64)>, sqlx::Error> {
        let row = sqlx::query!(
            "select f.recorded_at as first, h.last_at as last, h.position from event f cross join event_head h where f.position = 1"
        );
        Ok(row.fetch_optional(&self.0.pool).await?.map(|r| (r.first, r.last, r.position)))
    }
}

macro_rules! entries {
    ($self:ident, $tail:literal, $($argument:expr),*) => {{
        let rows = sqlx::query!(
            r#"select e.position as "position!", e.event_id as "event_id!", e.tenant_id as "tenant_id!", e.stream_type as "stream_type!",
                      e.stream_id as "stream_id!", e.stream_version as "stream_version!", e.type as "kind!", e.schema_version as "schema_version!",
                      e.actor::text as "actor!", e.correlation_id as "correlation_id!", e.causation_id, e.fence, e.recorded_at as "recorded_at!",
                      e.payload::text as "payload!", e.body_hash as "body_hash!", e.chain_hash as "chain_hash!" "# + $tail,
            $($argument),*
        )
        .fetch_all(&$self.0.pool)
        .await?;
        let opener = Arc::new($self.0.opener(rows.iter().flat_map(|r| [&r.actor[..], &r.payload[..]])).await?);
        rows.into_iter()
            .map(|r| Entry {
                position: r.position,
                event_id: r.event_id,
                tenant_id: r.tenant_id,
                stream_type: r.stream_type,
                stream_id: r.stream_id,
                stream_version: r.stream_version,
                kind: r.kind,
                schema_version: r.schema_version,
                actor: r.actor,
                correlation_id: r.correlation_id,
                causation_id: r.causation_id,
                fence: r.fence,
                recorded_at: r.recorded_at,
                payload: r.payload,
                body_hash: r.body_hash,
                chain_hash: r.chain_hash,
                opener: Arc::clone(&opener),
            })
            .collect::<Vec<Entry>>()
    }};
}

impl History<'_> {
    /// The event at a position.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn at(self, position: i64) -> Result<Option<Entry>, sqlx::Error> {
        Ok(entries!(self, "from event e where e.position = $1", position).pop())
    }

    /// The event with this id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn with_id(self, id: EventId) -> Result<Option<Entry>, sqlx::Error> {
        Ok(entries!(self, "from event e where e.event_id = $1", id.0).pop())
    }

    /// The events of a stream, oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stream(self, stream: Uuid) -> Result<Vec<Entry>, sqlx::Error> {
        Ok(entries!(self, "from event e where e.stream_id = $1 order by e.position", stream))
    }

    /// The events about a build or a project from a position on, and what follows from them in other stories; oldest first, at
    /// most `limit` of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn about(self, correlation: Uuid, from: i64, limit: i64) -> Result<Vec<Entry>, sqlx::Error> {
        Ok(entries!(
            self,
            "from (with recursive following as (
                     select position, event_id, stream_id from event where correlation_id = $1 and position >= $3
                     union
                     select f.position, f.event_id, f.stream_id from following c join event f on f.causation_id = c.event_id and f.stream_id <> c.stream_id
                        and f.type in ('deployment_promoted', 'deployment_moved_up', 'deployment_locked_out', 'deployment_stop_requested', 'deployment_stopped', 'environment_locked'))
                   select position from following) p join event e using (position) order by e.position limit $2",
            correlation,
            limit,
            from
        ))
    }

    /// The events after a position, up to another one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn between(self, after: i64, until: i64) -> Result<Vec<Entry>, sqlx::Error> {
        Ok(entries!(self, "from event e where e.position > $1 and e.position <= $2 order by e.position", after, until))
    }

    /// What an event follows from, and so on: its causes, the nearest first, at most [`CAUSES_MAX`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn causes(self, of: &Entry) -> Result<Vec<Entry>, sqlx::Error> {
        let mut causes: Vec<Entry> = Vec::new();
        while let Some(cause) = causes.last().unwrap_or(of).causation_id
            && causes.len() < CAUSES_MAX
        {
            let Some(found) = self.with_id(EventId(cause)).await? else { break };
            causes.push(found);
        }
        Ok(causes)
    }
}
