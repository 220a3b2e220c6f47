-- What an event says of a person, and the lines of output in it, is encrypted under a key of whoever it is about. The key is here,
-- under the master key, and nowhere else: deleting the row erases the texts. Positions, hashes and proofs stay as they are.
create table subject_key (
  id         uuid        primary key,                        -- what the encrypted texts name
  kind       text        not null check (kind in ('person', 'operator', 'chooser', 'output')),
  subject    text        not null,                           -- an id in Slack, a login name, a deployment
  generation int         not null default 0,                 -- counts those that were made because the one before could not be opened
  name       text,                                           -- what they were called last
  key_id     text        not null,                           -- which master key it is under
  nonce      bytea       not null,
  ciphertext bytea       not null,
  made_at    timestamptz not null default coolops_now(),
  unique (kind, subject, generation)
);

-- Where something was erased, messages are edited, and not posted again where they are gone.
alter table slack_message add column only_edit_until bigint not null default 0;

create or replace view history_events as
select e.position, e.recorded_at, e.type, e.schema_version,
       e.actor->>'kind' as actor_kind,
       case when private.key is null then e.actor->>'id' else k.subject end as actor_id,
       case when private.key is null then coalesce(e.actor->>'name', e.actor->>'id') else coalesce(k.name, k.subject, case e.actor->>'kind' when 'operator' then 'a former operator' else 'a former member' end) end as actor,
       e.stream_type, e.stream_id, e.correlation_id, e.event_id, e.causation_id, e.payload
  from event e
  cross join lateral (select substring(e.actor->>'id' from '^private:([0-9a-f]{32}):')::uuid as key) private
  left join subject_key k on k.id = private.key;
comment on column history_events.actor_id is 'Their id: a token''s, a delivery''s, a Slack user''s, a login; none of somebody who was erased.';
comment on column history_events.actor is 'What they are called now; their id where they have no name.';
comment on column history_events.payload is 'What it says. Never a secret''s value; names, ids and words of people are encrypted in it.';
