//! Projects, tokens and builds as commands read them.

use std::collections::HashSet;

use sqlx::types::Json;
use uuid::Uuid;

use super::Store;
use super::log::ReadError;
use crate::domain::ids::*;
use crate::domain::project::Project;

/// A project with the position at which it was read: the guard for what is decided on it.
#[derive(Debug, Clone, Default)]
pub struct Seen<T> {
    /// Position of the last event that moved its boundary.
    pub position: i64,
    /// What was read.
    pub value: T,
}

/// A build in a list.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "columns")]
pub struct BuildSummary {
    pub id: BuildId,
    pub project_id: ProjectId,
    pub name: String,
    pub position: i64,
}

/// A build and when it was announced.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "columns")]
pub struct Announced {
    pub id: BuildId,
    pub name: String,
    pub at: chrono::DateTime<chrono::Utc>,
}

/// Projects, tokens and builds, as rows to find and list them by.
#[derive(Clone, Copy)]
pub struct Directory<'a>(pub(super) &'a Store);

impl Store {
    /// Projects, tokens and builds, as rows to find and list them by.
    pub fn directory(&self) -> Directory<'_> {
        Directory(self)
    }
}

impl Directory<'_> {
    /// The project with this id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn project(self, id: ProjectId) -> Result<Option<Seen<Project>>, sqlx::Error> {
        let row = sqlx::query!(r#"select position, doc as "doc: Json<Project>" from project where id = $1"#, id.0)
            .fetch_optional(&self.0.pool)
            .await?;
        Ok(row.map(|r| Seen { position: r.position, value: r.doc.0 }))
    }

    /// Passes on what was found by a row. Where nothing was found because all rows are lost, nobody is told that it is unknown.
    ///
    /// # Errors
    /// [`ReadError::RowsLost`], or when the database does not answer.
    pub async fn unless_lost<T>(self, found: Option<T>) -> Result<Option<T>, ReadError> {
        match found.is_none() && self.rows_are_lost().await? {
            true => Err(ReadError::RowsLost),
            false => Ok(found),
        }
    }

    /// Those of some builds whose links open what they are of: they were not revoked since.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn linked(self, builds: &[BuildId]) -> Result<HashSet<BuildId>, sqlx::Error> {
        let builds: Vec<Uuid> = builds.iter().map(|build| build.0).collect();
        let linked = sqlx::query_scalar!(
            "select a.stream_id from event a join build b on b.id = a.stream_id join project p on p.id = b.project_id
              where a.stream_id = any($1) and a.stream_version = 1 and a.payload->>'link_key' = p.doc->>'link_key'",
            &builds
        );
        Ok(linked.fetch_all(&self.0.pool).await?.into_iter().map(BuildId).collect())
    }

    /// Whether the rows are lost that are made of the log, all of them: then there is nothing to find anything by.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rows_are_lost(self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            // A press of an old message's button is refused, and moves no boundary, where nothing was ever set up.
            r#"select (not exists (select from boundary) and exists (select from event where stream_type in ('project', 'environment', 'installation')))
                   or (not exists (select from project) and exists (select from event where type = 'project_created')) as "it!""#
        )
        .fetch_one(&self.0.pool)
        .await
    }

    /// Id and slug of every project, by slug; also where the rest of its row can't be read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn slugs(self) -> Result<Vec<(ProjectId, String)>, sqlx::Error> {
        let rows = sqlx::query!("select id, slug from project order by slug").fetch_all(&self.0.pool).await?;
        Ok(rows.into_iter().map(|row| (ProjectId(row.id), row.slug)).collect())
    }

    /// Every project, by slug.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn projects(self) -> Result<Vec<Project>, sqlx::Error> {
        sqlx::query_scalar!(r#"select doc as "doc: Json<serde_json::Value>" from project order by slug"#)
            .fetch_all(&self.0.pool)
            .await
            .map(|docs| docs.into_iter().filter_map(readable).collect())
    }

    /// The open projects whose builds come to a channel, by slug.
    ///
    /// # Errors
    /// [`ReadError::RowsLost`], or when the database does not answer.
    pub async fn projects_of_channel(self, channel: &str) -> Result<Vec<Project>, ReadError> {
        let docs = sqlx::query_scalar!(
            r#"select doc as "doc: Json<serde_json::Value>" from project where doc->>'channel' = $1 order by slug"#,
            channel
        )
        .fetch_all(&self.0.pool)
        .await?;
        self.unless_lost(docs.first()).await?;
        Ok(docs.into_iter().filter_map(readable).filter(|project| !project.archived).collect())
    }

    /// Environments and projects that somebody in Slack has locked without an end, an hour ago or longer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn locked_for_good(self) -> Result<Vec<uuid::Uuid>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select id as "id!" from (
                 select (e->>'id')::uuid as id, e->'lock' as lock from project p, json_array_elements(p.doc->'environments') e union all
                 select id, doc->'lock' from project) lockable
                where lock->'holder'->>'kind' = 'person' and lock->>'until' is null
                  and (lock->>'since')::timestamptz < coolops_now() - interval '1 hour'"#
        )
        .fetch_all(&self.0.pool)
        .await
    }

    /// The channels that the builds of open projects come to.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn channels(self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select distinct doc->>'channel' as "channel!" from project where not (doc->>'archived')::boolean order by 1"#
        )
        .fetch_all(&self.0.pool)
        .await
    }

    /// The project of an environment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn project_of(self, environment: EnvironmentId) -> Result<Option<ProjectId>, sqlx::Error> {
        let id = sqlx::query_scalar!(
            r#"select correlation_id as "id!" from event where stream_id = $1 and stream_version = 1 and stream_type = 'environment'"#,
            environment.0
        );
        Ok(id.fetch_optional(&self.0.pool).await?.map(ProjectId))
    }

    /// The project that a token with this digest belongs to, and the token, unless it is unknown or revoked.
    ///
    /// # Errors
    /// [`ReadError::RowsLost`], or when the database does not answer.
    pub async fn token(self, digest: &[u8]) -> Result<Option<(ProjectId, TokenId)>, ReadError> {
        let row = sqlx::query!("select project_id, token_id from token where digest = $1 and not revoked", digest)
            .fetch_optional(&self.0.pool)
            .await?;
        self.unless_lost(row.map(|r| (ProjectId(r.project_id), TokenId(r.token_id)))).await
    }

    /// Every token's row: project, token, digest in hex, whether it is revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tokens(self) -> Result<Vec<(ProjectId, TokenId, String, bool)>, sqlx::Error> {
        let rows =
            sqlx::query!(r#"select project_id, token_id, encode(digest, 'hex') as "digest!", revoked from token"#);
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows.map(|r| (ProjectId(r.project_id), TokenId(r.token_id), r.digest, r.revoked)).collect())
    }

    /// The newest builds of a project whose names begin so, in any case; the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn builds_like(
        self,
        project: ProjectId,
        beginning: &str,
        limit: i64,
    ) -> Result<Vec<Announced>, sqlx::Error> {
        let rows = sqlx::query!(
            "select b.id, b.name, e.recorded_at from build b join event e on e.position = b.position
              where b.project_id = $1 and starts_with(lower(b.name), lower($2)) order by b.position desc limit $3",
            project.0,
            beginning,
            limit
        );
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows.map(|r| Announced { id: BuildId(r.id), name: r.name, at: r.recorded_at }).collect())
    }

    /// The build of a project with just this name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn build_named(self, project: ProjectId, name: &str) -> Result<Option<Announced>, sqlx::Error> {
        self.build_of(BuildId::of_name(project, name)).await
    }

    /// A build and when it was announced.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn build_of(self, id: BuildId) -> Result<Option<Announced>, sqlx::Error> {
        let row = sqlx::query!(
            "select b.id, b.name, e.recorded_at from build b join event e on e.position = b.position where b.id = $1",
            id.0
        );
        let row = row.fetch_optional(&self.0.pool).await?;
        Ok(row.map(|r| Announced { id: BuildId(r.id), name: r.name, at: r.recorded_at }))
    }

    /// The build with this id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn build(self, id: BuildId) -> Result<Option<BuildSummary>, sqlx::Error> {
        let row = sqlx::query!("select id, project_id, name, position from build where id = $1", id.0)
            .fetch_optional(&self.0.pool)
            .await?;
        Ok(row.map(|r| BuildSummary {
            id: BuildId(r.id),
            project_id: ProjectId(r.project_id),
            name: r.name,
            position: r.position,
        }))
    }
}

/// A project's row, unless somebody made something else of it: one row must not stand in the way of all the others.
fn readable(row: Json<serde_json::Value>) -> Option<Project> {
    let id = row.0.get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    match serde_json::from_value(row.0) {
        Ok(project) => Some(project),
        Err(e) => {
            tracing::error!(
                project.id = %id, error = %e,
                "a project's row is not what this program writes; it is left out until coolops replay"
            );
            None
        }
    }
}
