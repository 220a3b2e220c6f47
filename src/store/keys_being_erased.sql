select key::uuid as "key!" from (
  select e.payload->>'key' as key from job j join event e on e.type = 'person_erased' and e.payload->>'key' = j.key::text
   where j.kind = 'erase_person' and j.state <> 'done'
   union all
  select other from job j join event e on e.type = 'person_erased' and e.payload->>'key' = j.key::text
   cross join json_array_elements_text(coalesce(e.payload->'others', '[]'::json)) other
   where j.kind = 'erase_person' and j.state <> 'done'
   union all
  select e.payload->>'key' from job j join event e on e.type = 'output_erased' and e.payload->'of'->>'deployment_id' = j.key::text
   where j.kind = 'erase_output' and j.state <> 'done' and e.payload->>'key' is not null) erased
