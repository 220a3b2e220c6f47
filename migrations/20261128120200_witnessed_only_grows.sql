-- What was cosigned of another log stays: a smaller checkpoint, or another one of the same size, is never put in its place. And there is
-- no time that is none: nothing can be counted with it.
create function keep_witnessed() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.origin is distinct from old.origin or new.size < old.size or (new.size = old.size and new.root is distinct from old.root) then
    raise exception 'what was cosigned of % only grows', old.origin;
  end if;
  return new;
end $$;

create trigger witnessed_only_grows before update on witnessed for each row execute function keep_witnessed();
alter table witnessed enable always trigger witnessed_only_grows;

alter table witnessed add constraint witnessed_at_is_a_time check (isfinite(at) and at < '10000-01-01') not valid;
alter table witness add constraint witness_has_times check (isfinite(asked_at) and (failing_since is null or isfinite(failing_since))) not valid;
