-- Keys are compared as the texts that they are in events: what somebody planted there may say anything.
select k.id as "key!" from (
  select e.payload->>'key' as key from job j join event e on e.type = 'person_erased' and e.payload->>'key' = j.key::text
   where j.kind = 'erase_person' and j.state <> 'done'
   union
  select other from job j join event e on e.type = 'person_erased' and e.payload->>'key' = j.key::text
   cross join json_array_elements_text(case json_typeof(e.payload->'others') when 'array' then e.payload->'others' else '[]' end) other
   where j.kind = 'erase_person' and j.state <> 'done'
   union
  select e.payload->>'key' from job j join event e on e.type = 'output_erased' and e.payload->'of'->>'deployment_id' = j.key::text
   where j.kind = 'erase_output' and j.state <> 'done') erased
 cross join lateral (select case when erased.key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then erased.key::uuid end as id) k
 where k.id is not null
