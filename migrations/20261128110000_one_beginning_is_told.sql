-- A deployment begins once, and is lost once. Of a second event of either kind, which only somebody can plant, the first one counts: it
-- hides no other deployment.

create or replace view history_deployments as
select d.id as deployment_id, p.slug as project, d.doc->>'environment_name' as environment, d.doc->>'build_name' as build, d.build_id,
       coalesce(d.doc->'requested_by'->>'name', d.doc->'requested_by'->>'login') as requested_by,
       case when d.doc->'requested_by'->>'user' !~ '^(former|unknown)-' then d.doc->'requested_by'->>'user' end as requested_by_id,
       r.recorded_at as requested_at,
       (select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at,
       case when not d.is_open
            then coalesce((select min(s.recorded_at) from event s where s.stream_id = d.id and s.type = 'deployment_lost'), l.recorded_at) end as ended_at,
       d.state, d.doc->'prepared'->>'replaces' as replaces,
       d.doc->'prepared'->>'image_id' as image_id, d.doc->'prepared'->>'digest' as image_digest,
       d.doc->'source'->>'repository' as repository, d.doc->'source'->>'commit' as commit,
       d.requested as position
  from deployment d join project p on p.id = d.project_id
  join event r on r.position = d.requested join event l on l.position = d.since;
