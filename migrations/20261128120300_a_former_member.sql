-- Whoever was erased is called the same everywhere: an operator was another one in this view than in lists and pages.
create or replace view history_events as
select e.position, e.recorded_at, e.type, e.schema_version,
       e.actor->>'kind' as actor_kind,
       case when private.key is null then e.actor->>'id' else k.subject end as actor_id,
       case when private.key is null then coalesce(e.actor->>'name', e.actor->>'id') else coalesce(k.name, k.subject, 'a former member') end as actor,
       e.stream_type, e.stream_id, e.correlation_id, e.event_id, e.causation_id, e.payload
  from event e
  cross join lateral (select substring(e.actor->>'id' from '^private:([0-9a-f]{32}):')::uuid as key) private
  left join subject_key k on k.id = private.key;
