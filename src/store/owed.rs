//! Work that the rows say is owed and no job stands for: what a lost job table would cost.

use std::collections::BTreeSet;

use super::Store;
use super::jobs::Jobs;
use crate::domain::ids::*;
use crate::domain::react::Task;

impl Jobs<'_> {
    /// All of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn missing(self) -> Result<Vec<Task>, sqlx::Error> {
        let store = self.0;
        let mut owed = runs(store).await?;
        owed.extend(messages(store).await?);
        owed.extend(people(store).await?);
        owed.extend(outputs(store).await?);
        owed.extend(reports(store).await?);
        owed.extend(lock_ends(store).await?);
        Ok(owed)
    }
}

/// Deployments that somebody is to work on.
async fn runs(store: &Store) -> Result<Vec<Task>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "select d.id from deployment d where d.holds and d.is_worked_on
            and not exists (select 1 from job j where j.kind = 'run_deployment' and j.key = d.id and j.state in ('ready', 'leased'))"
    );
    Ok(ids.fetch_all(&store.pool).await?.into_iter().map(|id| Task::RunDeployment(DeploymentId(id))).collect())
}

/// Builds that were announced of late and have no message, and those of whose message nobody knows what it says.
async fn messages(store: &Store) -> Result<Vec<Task>, sqlx::Error> {
    // After a replay nobody has counted the rows yet: a plan that looks through the jobs for each build would take longer than a
    // statement may.
    let mut bulk = store.bulk().await?;
    sqlx::query("set enable_nestloop = off").execute(&mut bulk).await?;
    let ids = sqlx::query_scalar!(
        // One that was sent had a job, which is done and may be forgotten by now.
        r#"select b.id as "id!" from build b where b.position > (select position - 100000 from event_head)
            and not exists (select 1 from job j where j.kind = 'sync_message' and j.key = b.id)
            and not exists (select 1 from slack_message m where m.build_id = b.id and m.state in ('live', 'gone'))
         union select m.build_id from slack_message m join build b on b.id = m.build_id where m.state = 'live' and m.sent_digest is null
            and not exists (select 1 from job j where j.kind = 'sync_message' and j.key = m.build_id and j.state in ('ready', 'leased'))"#
    );
    Ok(ids.fetch_all(&mut bulk).await?.into_iter().map(|id| Task::SyncMessage(BuildId(id))).collect())
}

/// Locks that run out.
async fn lock_ends(store: &Store) -> Result<Vec<Task>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select id as "id!" from (
             select (e->>'id')::uuid as id, e->'lock' as lock from project p, json_array_elements(p.doc->'environments') e union all
             select id, doc->'lock' from project) lockable
            where lock->>'until' is not null
              and not exists (select 1 from job j where j.kind = 'end_lock' and j.key = lockable.id and j.state in ('ready', 'leased'))"#
    );
    Ok(ids.fetch_all(&store.pool).await?.into_iter().map(|id| Task::EndLock(LockableId(id))).collect())
}

/// Keys of people that were to be destroyed, and are there. What somebody planted may say anything in place of an id.
async fn people(store: &Store) -> Result<Vec<Task>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select k.id from subject_key k
          where k.kind in ('person', 'operator', 'author') and k.id::text in (
             select e.payload->>'key' from event e where e.stream_id = $1 and e.type = 'person_erased' union
             select o.other from event e cross join lateral json_array_elements_text(
               case json_typeof(e.payload->'others') when 'array' then e.payload->'others' else '[]' end) o(other)
              where e.stream_id = $1 and e.type = 'person_erased')
            and not exists (select 1 from job j where j.kind = 'erase_person' and j.key = k.id and j.state in ('ready', 'leased'))"#,
        installation_stream()
    );
    Ok(ids.fetch_all(&store.pool).await?.into_iter().map(|id| Task::ErasePerson(SubjectKeyId(id))).collect())
}

/// Deployments whose output was to be erased, and is there, or the key of its lines.
async fn outputs(store: &Store) -> Result<Vec<Task>, sqlx::Error> {
    let lines = sqlx::query_scalar!(
        r#"select k.subject from subject_key k join event e on e.type = 'output_erased' and e.payload->'of'->>'deployment_id' = k.subject
            where k.kind = 'output' and not exists (select 1 from job j where j.kind = 'erase_output' and j.key::text = k.subject and j.state in ('ready', 'leased'))"#
    );
    let lines = lines.fetch_all(&store.pool).await?.into_iter().filter_map(|id| id.parse().ok());
    let bodies = sqlx::query_scalar!(
        r#"select c.deployment_id from event e cross join lateral (select e.payload->'of'->>'deployment_id' as of) said
             join log_chunk c on c.deployment_id = case when said.of ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then said.of::uuid end and c.chunk_no = 0 and c.body is not null
            where e.type = 'output_erased' and e.position > (select position - 100000 from event_head)
              and not exists (select 1 from job j where j.kind = 'erase_output' and j.key = c.deployment_id and j.state in ('ready', 'leased'))
            group by 1"#
    );
    let bodies = bodies.fetch_all(&store.pool).await?.into_iter().map(DeploymentId);
    let all: BTreeSet<DeploymentId> = bodies.chain(lines).collect();
    Ok(all.into_iter().map(Task::EraseOutput).collect())
}

/// What was told and is to be told otherwise, or a second time by mistake.
async fn reports(store: &Store) -> Result<Vec<Task>, sqlx::Error> {
    let about = sqlx::query!(
        r#"select distinct r.about as "about!", exists (select from event e where e.stream_id = r.about and e.stream_type = 'deployment') as "is_of_deployment!" from
              (select about from slack_report where renew > 0 and state = 'sent' union select about from slack_report_stray) r
            where not exists (select 1 from job j where j.kind in ('report', 'report_lock') and j.key = r.about and j.state in ('ready', 'leased'))"#
    );
    let about = about.fetch_all(&store.pool).await?.into_iter();
    Ok(about.map(|r| super::reports::task(r.about, r.is_of_deployment)).collect())
}
