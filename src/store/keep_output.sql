
begin
  if tg_op = 'UPDATE' and new.body is null
    and (new.deployment_id, new.chunk_no, new.first_line, new.lines, new.raw_len, new.fence, new.recorded_at, new.envelope::text, new.chain_hash)
      = (old.deployment_id, old.chunk_no, old.first_line, old.lines, old.raw_len, old.fence, old.recorded_at, old.envelope::text, old.chain_hash)
    and exists (select from public.event where type = 'output_erased' and payload->'of'->>'deployment_id' = old.deployment_id::text)
  then
    return new;
  end if;
  raise exception 'append-only: % on % is refused', lower(tg_op), tg_table_name using errcode = '42501';
end 