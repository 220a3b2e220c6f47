-- What is owed and how far it got: jobs, messages, rate limits, secrets. Mutable, never the truth about what happened.

create sequence fence_seq;

-- A job is owed while wanted > done: asking again for the same thing only moves `wanted`.
create table job (
  id          uuid        primary key,                       -- UUIDv5 of kind and key: one job per kind and key
  kind        text        not null,
  key         uuid        not null,
  wanted      bigint      not null,                          -- position of the last event that asked for it
  done        bigint      not null default 0,
  state       text        not null default 'ready' check (state in ('ready', 'leased', 'done')),
  attempts    int         not null default 0,
  run_at      timestamptz not null default coolops_now(),
  rung_at     timestamptz,
  lease_owner uuid,
  lease_until timestamptz,
  fence       bigint,
  turn        text,                                          -- the scope at Slack where it waits for a turn that it has reserved
  engine      text,                                          -- the Docker Engine that its container is on
  orphaned_at timestamptz,                                   -- since when no worker on that engine is seen
  claimed_by  text,                                          -- 'doorbell' or 'sweep': how the last claim came about
  last_error  text
) with (fillfactor = 70);
create index job_due on job (kind, run_at) where state = 'ready';
create index job_leased on job (lease_until) where state = 'leased';

-- Who does jobs, and on which engine. A row that is not renewed is a process that is gone.
create table worker (
  id      uuid        primary key,
  engine  text,
  seen_at timestamptz not null
) with (fillfactor = 50);

-- The latest time that anybody saw. When the clock was set back, what waits for a time is set back with it.
create table clock (
  id   boolean     primary key default true check (id),
  seen timestamptz not null
);
insert into clock values (true, '-infinity');

create table slack_message (
  build_id       uuid        primary key,
  state          text        not null check (state in ('posting', 'live', 'gone', 'blocked')),
  channel        text        not null,
  ts             text,
  attempted_at   timestamptz not null default coolops_now(),
  lookups        int         not null default 0,
  doubts         int         not null default 0,             -- edits of holders that had lost the job when they landed
  sent_at        timestamptz,
  sent_position  bigint      not null default 0,
  sent_digest    bytea,
  sent_payload   text,
  render_version int,
  problem        text
) with (fillfactor = 70);

-- GCRA: one row per Slack scope, shared by every process.
create table rate_bucket (
  scope         text        primary key,
  tat           timestamptz not null,
  blocked_until timestamptz not null default '-infinity',
  failures      int         not null default 0,              -- calls without a clear answer, one after the other
  reason        text                                         -- why it is blocked, where it is more than a 429
) with (fillfactor = 50);

-- What CI systems delivered, for 30 days, with what became of it. Redacted; what a build was made of is in the log.
create table ci_delivery (
  id         uuid        primary key,                        -- UUIDv5 of project, provider, its own name for it, and the body's digest
  at         timestamptz not null default coolops_now(),
  project_id uuid        not null,
  build_id   uuid,
  position   bigint,                                         -- of the event that it caused
  provider   text        not null,
  name       text        not null,
  verdict    text        not null check (verdict in ('accepted', 'repeated', 'ignored')),
  reason     text        not null,
  headers    jsonb       not null,
  body       bytea       not null                            -- zstd
);
alter table ci_delivery alter body set storage external;
alter table ci_delivery set (toast_tuple_target = 8160);      -- most bodies fit beside their columns
create index ci_delivery_at on ci_delivery using brin (at);
create index ci_delivery_of_project on ci_delivery (project_id, at);

-- Requests that were not believed or could not be read; the newest thousand.
create table ci_refusal (
  id       bigint      generated always as identity primary key,
  at       timestamptz not null default coolops_now(),
  provider text        not null,
  project  text        not null,
  reason   text        not null,
  digest   bytea,                                            -- none where the body was not read to its end
  known    boolean     not null                              -- whether there is such a project
);
create index ci_refusal_known on ci_refusal (known, id);

-- Secret values, encrypted and erasable. The log only knows their name, version and fingerprint.
create table secret_value (
  owner      uuid  not null,
  name       text  not null,
  version    int   not null,
  key_id     text  not null,
  nonce      bytea not null,
  ciphertext bytea not null,
  kept_at    timestamptz not null default coolops_now(),
  primary key (owner, name, version)
);

-- Notes the time; called by every process every 2 seconds. Leases may get a little longer by it, never shorter.
create function keep_clock() returns timestamptz language plpgsql as $$
declare
  present timestamptz := coolops_now();
  latest  timestamptz;
  back    interval;
begin
  select seen into latest from clock for update skip locked;
  if not found then return present; end if;
  if latest > present + interval '5 s' then
    back := latest - present;
    update job set run_at = run_at - back where state = 'ready' and run_at > present;
    update job set lease_until = lease_until - back where state = 'leased' and lease_until > present + back;
    update job set rung_at = null where rung_at > present;
    update rate_bucket set tat = tat - back, blocked_until = blocked_until - back where greatest(tat, blocked_until) > present;
    update worker set seen_at = present where seen_at > present;
  end if;
  update clock set seen = present;
  return present;
end $$;
