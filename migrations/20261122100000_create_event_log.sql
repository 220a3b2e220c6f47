-- The event log: the only truth. Appended to through one function, never changed, chained by SHA-256 (events/CHAIN.md).

-- The application's role and its rights are arranged by every `coolops migrate` (src/store/access.sql), not here: they belong to a
-- cluster and to a database's name, and a dump or a copy of a database lacks them.

-- Nobody may hold the log's lock and do nothing: not a forgotten psql either.
do $$ begin execute format('alter database %I set idle_in_transaction_session_timeout = ''10s''', current_database());
exception when insufficient_privilege then null; end $$;

-- The clock of everything that compares times: leases, turns, the times of events. Stable, so that it can bound an index
-- scan; one place, so that a test can set it. In plpgsql, which keeps its plan: one in SQL can't be inlined, being more stable
-- than what it calls, and would be parsed anew by every statement that calls it.
create function coolops_now() returns timestamptz language plpgsql stable parallel safe as 'begin return clock_timestamp(); end';

-- Fixed-width columns first: no alignment padding in a table that only grows.
create table event (
  position       bigint      not null primary key,           -- gap-free and in commit order: assigned under event_head
  event_id       uuid        not null unique,                -- made by the caller: what makes an append safe to repeat
  tenant_id      uuid        not null,
  stream_id      uuid        not null,
  correlation_id uuid        not null,                       -- the build (or the project) that the event is about
  causation_id   uuid,
  recorded_at    timestamptz not null,                       -- the database's clock, never going back
  fence          bigint,                                     -- lease token of the worker that wrote it
  stream_version int         not null check (stream_version >= 1),
  schema_version smallint    not null,
  stream_type    text        not null,
  type           text        not null,
  actor          json        not null,
  payload        json        not null,                       -- json, not jsonb: keeps the exact bytes that were hashed
  body_hash      bytea       not null check (octet_length(body_hash) = 32),
  chain_hash     bytea       not null check (octet_length(chain_hash) = 32),
  unique (stream_id, stream_version)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);
create index event_by_correlation on event (correlation_id, position);

create table event_head (
  id         boolean     primary key default true check (id),
  position   bigint      not null,
  chain_hash bytea       not null,
  last_at    timestamptz not null
) with (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
insert into event_head values (true, 0, sha256('coolops-genesis'), '2000-01-01T00:00:00Z');

-- The output journal: the same idea for the lines that deployments print, one chain per deployment.
create table log_chunk (
  deployment_id uuid        not null,
  chunk_no      int         not null check (chunk_no >= 0),
  first_line    bigint      not null,
  lines         int         not null,
  raw_len       int         not null,
  fence         bigint      not null,
  recorded_at   timestamptz not null default coolops_now(),
  envelope      json        not null,                        -- events/deployment_logged: the exact bytes that were hashed
  body          bytea       not null,                        -- zstd
  chain_hash    bytea       not null check (octet_length(chain_hash) = 32),
  primary key (deployment_id, chunk_no)
);

-- Every event type that some version of this program wrote: nothing else gets into the log. Filled by `coolops migrate`.
create table event_type (
  name    text     not null,
  version smallint not null,
  primary key (name, version)
);

create function forbid_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'append-only: % on % is refused', lower(tg_op), tg_table_name using errcode = '42501';
end $$;
create trigger event_is_append_only before update or delete on event for each row execute function forbid_change();
create trigger event_is_never_truncated before truncate on event for each statement execute function forbid_change();
create trigger log_chunk_is_append_only before update or delete on log_chunk for each row execute function forbid_change();
create trigger log_chunk_is_never_truncated before truncate on log_chunk for each statement execute function forbid_change();
-- ENABLE ALWAYS: session_replication_role = replica does not switch them off.
alter table event enable always trigger event_is_append_only;
alter table event enable always trigger event_is_never_truncated;
alter table log_chunk enable always trigger log_chunk_is_append_only;
alter table log_chunk enable always trigger log_chunk_is_never_truncated;
