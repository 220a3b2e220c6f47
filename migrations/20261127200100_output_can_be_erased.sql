-- What a deployment printed can be erased, once an event says so: its chunks keep their envelopes, which the seal is made of and
-- which name the bodies by their digests.
alter table log_chunk alter column body drop not null;
create index log_chunk_kept on log_chunk (recorded_at) where chunk_no = 0 and body is not null;
create index event_output_erased on event ((payload->'of'->>'deployment_id')) where type = 'output_erased';

create function keep_output() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.body is null
    and (new.deployment_id, new.chunk_no, new.first_line, new.lines, new.raw_len, new.fence, new.recorded_at, new.envelope::text, new.chain_hash)
      = (old.deployment_id, old.chunk_no, old.first_line, old.lines, old.raw_len, old.fence, old.recorded_at, old.envelope::text, old.chain_hash)
    and exists (select from public.event where type = 'output_erased' and payload->'of'->>'deployment_id' = old.deployment_id::text)
  then
    return new;
  end if;
  raise exception 'append-only: % on % is refused', lower(tg_op), tg_table_name using errcode = '42501';
end $$;
drop trigger log_chunk_is_append_only on log_chunk;
create trigger log_chunk_is_append_only before update or delete on log_chunk for each row execute function keep_output();
alter table log_chunk enable always trigger log_chunk_is_append_only;

-- Destroys what a deployment printed: its lines in the journal, and the key of those in events.
create function erase_output(p_deployment uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from public.event where type = 'output_erased' and payload->'of'->>'deployment_id' = p_deployment::text) then
    raise exception 'no event says that the output of % is erased', p_deployment using errcode = '42501';
  end if;
  update public.log_chunk set body = null where deployment_id = p_deployment and body is not null;
  delete from public.subject_key where kind = 'output' and subject = p_deployment::text;
  delete from public.log_tail where deployment_id = p_deployment;
  delete from public.log_begun where deployment_id = p_deployment;
end $$;
revoke all on function erase_output from public;

comment on column history_events.stream_type is 'What it happened to: project, environment, build, deployment, message, output, person or installation.';
