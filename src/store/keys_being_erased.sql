select j.key as "key!" from job j where j.kind = 'erase_person' and j.state <> 'done'
 union all
select (e.payload->>'key')::uuid from job j join event e on e.type = 'output_erased' and e.payload->'of'->>'deployment_id' = j.key::text
 where j.kind = 'erase_output' and j.state <> 'done' and e.payload->>'key' is not null
