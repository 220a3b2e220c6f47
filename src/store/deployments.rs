//! Deployments as commands, workers and lists read them.

use serde_json::Value;
use sqlx::types::Json;

use super::Store;
use super::directory::Seen;
use crate::domain::deployment::{Deployment, DeploymentOf, State};
use crate::domain::ids::*;
use crate::domain::line::{Line, Ran};
use crate::domain::lock::{Lock, Somebody};
use crate::projections::timed::Timed;

/// A deployment's neighbours in its environment.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "plain words")]
pub struct Around {
    pub before: Option<Deployment>,
    pub after: Option<Deployment>,
    /// The last one before it that went well.
    pub good: Option<Deployment>,
}

/// Deployments, as rows to find and list them by.
#[derive(Clone, Copy)]
pub struct Deployments<'a>(pub(super) &'a Store);

impl Store {
    /// Deployments, as rows to find and list them by.
    pub fn deployments(&self) -> Deployments<'_> {
        Deployments(self)
    }
}

/// A deployment's row, unless somebody made something else of it: in a list one row must not stand in the way of all the others.
pub(super) fn readable(row: Json<Value>) -> Option<Deployment> {
    let id = row.0["of"]["deployment_id"].as_str().unwrap_or("?").to_owned();
    match serde_json::from_value(row.0) {
        Ok(deployment) => Some(deployment),
        Err(e) => {
            tracing::error!(
                deployment.id = %id, error = %e,
                "a deployment's row is not what this program writes; lists leave it out until coolops replay"
            );
            None
        }
    }
}

impl Deployments<'_> {
    /// Writes what a deployment's row says anew, as the log has it up to a position; `false` where its row is of another one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(self, deployment: &Deployment, position: i64) -> Result<bool, sqlx::Error> {
        let doc = serde_json::to_string(deployment).expect("a row is plain data");
        let id = deployment.of.deployment_id.0;
        let renewed = sqlx::query!(
            "update deployment set doc = $2::text::json, requested_by = $4 where id = $1 and position = $3",
            id,
            doc,
            position,
            deployment.requested_by.name()
        );
        Ok(renewed.execute(&self.0.pool).await?.rows_affected() == 1)
    }

    /// The line of an environment under locks, as far as a decision about a build's deployment there needs it, whatever
    /// its length; or with all that wait, two hundred of them at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn line(
        self,
        environment: EnvironmentId,
        locks: Vec<Lock>,
        build: Option<BuildId>,
        around: Option<DeploymentId>,
        all_that_wait: bool,
    ) -> Result<Seen<Line>, sqlx::Error> {
        // Whom all of them let through: nobody, where they are of several people.
        let owner = locks.first().map(|lock| &lock.holder).filter(|own| locks.iter().all(|l| l.holder.same(own)));
        let (user, team) = (owner.map(Somebody::id), owner.and_then(|owner| Some(owner.person()?.team.as_str())));
        // One statement, so one snapshot: the position belongs to the line.
        let row = sqlx::query!(
            r#"with open as not materialized (
                 select id, build_id, requested, state, holds, doc from deployment where environment_id = $1
                    and is_open),
               needed as (
                 (select * from open order by requested limit 2) union all
                 (select * from open order by requested desc limit 1) union all
                 (select * from open where build_id = $2) union all
                 (select * from open where holds) union all
                 (select * from open where $6 and state = 'queued' order by requested limit 200) union all
                 (select * from open where state = 'queued' and coalesce((doc->'requested_by')->>'user', (doc->'requested_by')->>'login') = $4 and (doc->'requested_by')->>'team' is not distinct from $5 order by requested limit 1) union all
                 (select * from open where state = 'queued' and coalesce((doc->'requested_by')->>'user', (doc->'requested_by')->>'login') = $4 and (doc->'requested_by')->>'team' is not distinct from $5 order by requested desc limit 1) union all
                 (select * from open where requested < (select requested from deployment where id = $3) order by requested desc limit 1) union all
                 (select * from open where state = 'queued' and doc->'stand'->'behind'->>'deployment_id' = $3::text) union all
                 (select * from open where state = 'queued' and requested > (select requested from deployment where id = $3) order by requested limit 1))
               select coalesce((select position from boundary where key = $1), 0) as "position!",
                      coalesce((select json_agg(doc order by requested) from (select distinct on (id) requested, doc from needed order by id) one), '[]')
                        as "line!: Json<Vec<Deployment>>",
                      (select json_build_object('build_name', d.doc->'build_name', 'source', d.doc->'source', 'since', e.recorded_at)
                         from (select doc, since from deployment where environment_id = $1 and not is_open and state = 'succeeded'
                                order by since desc limit 1) d join event e on e.position = d.since) as "runs: Json<Ran>""#,
            environment.0,
            build.map(|b| b.0),
            around.map(|d| d.0),
            user,
            team,
            all_that_wait
        )
        .fetch_one(&self.0.pool)
        .await?;
        Ok(Seen { position: row.position, value: Line { open: row.line.0, locks, runs: row.runs.map(|ran| ran.0) } })
    }

    /// Every deployment that is not over by its row.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open(self) -> Result<Vec<DeploymentId>, sqlx::Error> {
        let ids = sqlx::query_scalar!("select id from deployment where is_open");
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(DeploymentId).collect())
    }

    /// Environments where something waits; of one project or all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn waited_for(self, project: Option<ProjectId>) -> Result<Vec<EnvironmentId>, sqlx::Error> {
        let ids = sqlx::query_scalar!(
            "select distinct environment_id from deployment where is_open and state = 'queued' and ($1::uuid is null or project_id = $1)",
            project.map(|p| p.0)
        );
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(EnvironmentId).collect())
    }

    /// Environments where something waits and nothing holds them: a lock keeps it waiting, or nobody gave it its turn.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn held_by_nobody(self) -> Result<Vec<EnvironmentId>, sqlx::Error> {
        let ids = sqlx::query_scalar!(
            "select environment_id from deployment where is_open group by environment_id having not bool_or(holds)"
        );
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(EnvironmentId).collect())
    }

    /// Deployments of an environment that have not begun, the last in its line first: none of them gets another's turn
    /// while they are ended one by one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn waiting(self, environment: EnvironmentId) -> Result<Vec<DeploymentId>, sqlx::Error> {
        let ids = sqlx::query_scalar!(
            "select id from deployment where environment_id = $1 and is_open and has_not_begun order by requested desc",
            environment.0
        );
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(DeploymentId).collect())
    }

    /// The deployment with this id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(self, id: DeploymentId) -> Result<Option<Deployment>, sqlx::Error> {
        let doc = sqlx::query_scalar!(r#"select doc as "doc: Json<Deployment>" from deployment where id = $1"#, id.0)
            .fetch_optional(&self.0.pool)
            .await?;
        Ok(doc.map(|d| d.0))
    }

    /// The deployment with this id and its times.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn timed(self, id: DeploymentId) -> Result<Option<Timed>, sqlx::Error> {
        let row = sqlx::query!(
            r#"select d.doc as "doc: Json<Deployment>", r.recorded_at as requested_at, l.recorded_at as since,
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at,
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_lost') as lost_at
                 from deployment d join event r on r.position = d.requested join event l on l.position = d.since where d.id = $1"#,
            id.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        Ok(row.map(|r| Timed {
            deployment: r.doc.0,
            requested_at: r.requested_at,
            started_at: r.started_at,
            lost_at: r.lost_at,
            since: r.since,
        }))
    }

    /// The deployments of the same environment that were pressed before and after this one, and the last one that had gone well
    /// there when it ended, or has by now: a lock lets later presses overtake.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn around(self, of: &DeploymentOf) -> Result<Around, sqlx::Error> {
        let row = sqlx::query!(
            r#"with this as (select environment_id as environment, requested as at, case when is_open then 9223372036854775807 else since end as until
                               from deployment where id = $1)
               select (select d.doc from deployment d, this where d.environment_id = this.environment and d.requested < this.at
                        order by d.requested desc limit 1) as "before: Json<Deployment>",
                      (select d.doc from deployment d, this where d.environment_id = this.environment and d.requested > this.at
                        order by d.requested limit 1) as "after: Json<Deployment>",
                      (select d.doc from deployment d, this where d.environment_id = this.environment and not d.is_open and d.since < this.until
                          and d.state = 'succeeded' order by d.since desc limit 1) as "good: Json<Deployment>""#,
            of.deployment_id.0
        )
        .fetch_one(&self.0.pool)
        .await?;
        Ok(Around { before: row.before.map(|d| d.0), after: row.after.map(|d| d.0), good: row.good.map(|d| d.0) })
    }

    /// The newest deployments, newest first; of one project or all, in some states or all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        self,
        project: Option<ProjectId>,
        states: &[State],
        limit: i64,
    ) -> Result<Vec<Timed>, sqlx::Error> {
        let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        let rows = sqlx::query!(
            r#"select d.doc as "doc: Json<Value>", r.recorded_at as requested_at, l.recorded_at as since,
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at,
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_lost') as lost_at
                 from deployment d join event r on r.position = d.requested join event l on l.position = d.since
                where ($1::uuid is null or d.project_id = $1) and (cardinality($2::text[]) = 0 or d.state = any($2))
                order by d.requested desc limit $3"#,
            project.map(|p| p.0),
            &states as &[&str],
            limit
        )
        .fetch_all(&self.0.pool)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|r| {
                Some(Timed {
                    deployment: readable(r.doc)?,
                    requested_at: r.requested_at,
                    started_at: r.started_at,
                    lost_at: r.lost_at,
                    since: r.since,
                })
            })
            .collect())
    }

    /// What is open in each of these environments, the last that ended there and the last that went well, in the order of their presses.
    /// What was cancelled or refused before it began has left no trace there. The last is that which ended last, whoever pressed
    /// first: a lock lets later ones overtake.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn standing(self, environments: &[EnvironmentId]) -> Result<Vec<Timed>, sqlx::Error> {
        let ids: Vec<uuid::Uuid> = environments.iter().map(|e| e.0).collect();
        let rows = sqlx::query!(
            r#"with wanted as (
                 select id from deployment where environment_id = any($1) and is_open union
                 select last.id from unnest($1::uuid[]) e cross join lateral (
                   select id from deployment where environment_id = e and not is_open and not (state in ('cancelled', 'refused') and doc->>'prepared' is null)
                    order by since desc limit 1) last union
                 select good.id from unnest($1::uuid[]) e cross join lateral (
                   select id from deployment where environment_id = e and not is_open and state = 'succeeded'
                    order by since desc limit 1) good)
               select d.doc as "doc!: Json<Value>", r.recorded_at as "requested_at!", l.recorded_at as "since!",
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at,
                      (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_lost') as lost_at
                 from wanted join deployment d using (id) join event r on r.position = d.requested join event l on l.position = d.since
                order by d.requested"#,
            &ids
        )
        .fetch_all(&self.0.pool)
        .await?;
        let timed = |doc, requested_at, since, (started_at, lost_at)| {
            Some(Timed { deployment: readable(doc)?, requested_at, started_at, lost_at, since })
        };
        Ok(rows.into_iter().filter_map(|r| timed(r.doc, r.requested_at, r.since, (r.started_at, r.lost_at))).collect())
    }

    /// The last deployment of another build that went well in the same environment before this one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn good_before(self, of: &DeploymentOf) -> Result<Option<Deployment>, sqlx::Error> {
        let doc = sqlx::query_scalar!(
            r#"select doc as "doc: Json<Deployment>" from deployment
                where environment_id = $1 and not is_open and state = 'succeeded' and build_id <> $2
                  and since < (select since from deployment where id = $3) order by since desc limit 1"#,
            of.environment_id.0,
            of.build_id.0,
            of.deployment_id.0
        );
        Ok(doc.fetch_optional(&self.0.pool).await?.map(|d| d.0))
    }

    /// Deployments whose id begins so; two at most, which is enough to see that more than one does.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn like(self, beginning: &str) -> Result<Vec<DeploymentId>, sqlx::Error> {
        let ids = sqlx::query_scalar!("select id from deployment where starts_with(id::text, $1) limit 2", beginning);
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(DeploymentId).collect())
    }
}
