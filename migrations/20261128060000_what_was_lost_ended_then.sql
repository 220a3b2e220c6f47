-- A deployment that nobody could tell of, and that a person decided on later, ended when it was lost: that is the last that is known
-- of it. And whoever was erased has no id in Slack any more, in any view.

create or replace view history_deployments as
select d.id as deployment_id, p.slug as project, d.doc->>'environment_name' as environment, d.doc->>'build_name' as build, d.build_id,
       coalesce(d.doc->'requested_by'->>'name', d.doc->'requested_by'->>'login') as requested_by,
       case when d.doc->'requested_by'->>'user' !~ '^(former|unknown)-' then d.doc->'requested_by'->>'user' end as requested_by_id,
       r.recorded_at as requested_at,
       (select s.recorded_at from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at,
       case when not d.is_open
            then coalesce((select s.recorded_at from event s where s.stream_id = d.id and s.type = 'deployment_lost'), l.recorded_at) end as ended_at,
       d.state, d.doc->'prepared'->>'replaces' as replaces,
       d.doc->'prepared'->>'image_id' as image_id, d.doc->'prepared'->>'digest' as image_digest,
       d.doc->'source'->>'repository' as repository, d.doc->'source'->>'commit' as commit,
       d.requested as position
  from deployment d join project p on p.id = d.project_id
  join event r on r.position = d.requested join event l on l.position = d.since;
comment on column history_deployments.requested_by_id is 'The id in Slack of whoever pressed; none of an operator, nor of somebody who was erased.';
comment on column history_deployments.ended_at is 'When it ended; none while it has not. What a person decided on later ended when nobody could tell of it any more.';
