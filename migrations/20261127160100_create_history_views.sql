-- For people's own tools: views with stable names and columns, which `coolops migrate` lets a role read that can read nothing
-- else (src/store/access.sql). A column is never taken away or given another meaning; docs/HISTORY.md says the same as here.

create index deployment_of_project on deployment (project_id, requested desc);
create index deployment_of_presser on deployment (lower(coalesce(doc->'requested_by'->>'name', doc->'requested_by'->>'login')), requested desc);

create view history_events as
select e.position, e.recorded_at, e.type, e.schema_version,
       e.actor->>'kind' as actor_kind, e.actor->>'id' as actor_id, coalesce(e.actor->>'name', e.actor->>'id') as actor,
       e.stream_type, e.stream_id, e.correlation_id, e.event_id, e.causation_id, e.payload
  from event e;
comment on view history_events is 'Everything that happened, once each, in one order.';
comment on column history_events.position is 'Its place in the log: from 1, without gaps.';
comment on column history_events.recorded_at is 'When it was recorded, by the database''s clock; never goes back.';
comment on column history_events.type is 'What happened: docs/EVENTS.md.';
comment on column history_events.schema_version is 'Version of that type.';
comment on column history_events.actor_kind is 'Who did it: token, webhook, slack, operator or system.';
comment on column history_events.actor_id is 'Their id: a token''s, a delivery''s, a Slack user''s, a login.';
comment on column history_events.actor is 'What they were called then; their id where they had no name.';
comment on column history_events.stream_type is 'What it happened to: project, environment, build, deployment, message, person or installation.';
comment on column history_events.stream_id is 'The id of that.';
comment on column history_events.correlation_id is 'The build or the project that it is about.';
comment on column history_events.event_id is 'Its own id.';
comment on column history_events.causation_id is 'The event that it follows from.';
comment on column history_events.payload is 'What it says. Never a secret''s value.';

create view history_deployments as
select d.id as deployment_id, p.slug as project, d.doc->>'environment_name' as environment, d.doc->>'build_name' as build, d.build_id,
       coalesce(d.doc->'requested_by'->>'name', d.doc->'requested_by'->>'login') as requested_by,
       d.doc->'requested_by'->>'user' as requested_by_id,
       r.recorded_at as requested_at,
       (select s.recorded_at from event s where s.stream_id = d.id and s.type = 'deployment_started') as started_at,
       case when not d.is_open then l.recorded_at end as ended_at,
       d.state, d.doc->'prepared'->>'replaces' as replaces,
       d.doc->'prepared'->>'image_id' as image_id, d.doc->'prepared'->>'digest' as image_digest,
       d.doc->'source'->>'repository' as repository, d.doc->'source'->>'commit' as commit,
       d.requested as position
  from deployment d join project p on p.id = d.project_id
  join event r on r.position = d.requested join event l on l.position = d.since;
comment on view history_deployments is 'Every accepted press and how its deployment went.';
comment on column history_deployments.deployment_id is 'Its id.';
comment on column history_deployments.project is 'The project''s slug.';
comment on column history_deployments.environment is 'The environment''s name at the press.';
comment on column history_deployments.build is 'The build''s name.';
comment on column history_deployments.build_id is 'The build''s id.';
comment on column history_deployments.requested_by is 'Who pressed: a name in Slack, or an operator''s login.';
comment on column history_deployments.requested_by_id is 'The id in Slack of whoever pressed; none of an operator.';
comment on column history_deployments.requested_at is 'When.';
comment on column history_deployments.started_at is 'When its container was started; none when it was not.';
comment on column history_deployments.ended_at is 'When it ended; none while it has not.';
comment on column history_deployments.state is 'Where it stands: queued, ready, pulling, starting, running, cancelling, unknown, succeeded, failed, timed_out, cancelled or refused.';
comment on column history_deployments.replaces is 'The build that ran there before, as far as that is known.';
comment on column history_deployments.image_id is 'The deployment image that ran, by its id at the engine.';
comment on column history_deployments.image_digest is 'The same by its digest in the registry, where it has one.';
comment on column history_deployments.repository is 'What the build was built of, as far as CI told: the repository''s address.';
comment on column history_deployments.commit is 'The same: the commit.';
comment on column history_deployments.position is 'Position of the press in the log.';

create view history_messages as
select m.build_id, p.slug as project, b.name as build, m.state, m.channel, m.ts, m.sent_at, m.sent_position, m.render_version,
       m.plain, m.problem
  from slack_message m join build b on b.id = m.build_id join project p on p.id = b.project_id;
comment on view history_messages is 'The message of each build in Slack, and how far it got.';
comment on column history_messages.build_id is 'The build.';
comment on column history_messages.project is 'The project''s slug.';
comment on column history_messages.build is 'The build''s name.';
comment on column history_messages.state is 'posting, live, gone (somebody deleted it) or blocked.';
comment on column history_messages.channel is 'The channel in Slack.';
comment on column history_messages.ts is 'Slack''s name for the message there.';
comment on column history_messages.sent_at is 'When Slack last took it, or an edit of it.';
comment on column history_messages.sent_position is 'The position in the log that what was sent last tells of.';
comment on column history_messages.render_version is 'The version of the renderer that made it.';
comment on column history_messages.plain is 'Whether Slack refused the layout, so that it was sent as text.';
comment on column history_messages.problem is 'Why it is blocked.';
