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
  lease       uuid,                                          -- of this claim and no other: fences may be given twice after a crash of the server
  lease_until timestamptz,
  fence       bigint,
  turn        text,                                          -- the scope at Slack where it waits for a turn that it has reserved
  phase       text,                                          -- what is being timed: a deployment's start, or its run
  phase_since timestamptz,
  engine      text,                                          -- the Docker Engine that its container is on
  orphaned_at timestamptz,                                   -- since when no worker on that engine is seen
  claimed_by  text,                                          -- 'doorbell' or 'sweep': how the last claim came about
  last_error  text
) with (fillfactor = 70);
create index job_due on job (kind, (turn is not null), run_at) where state = 'ready';
create index job_leased on job (lease_until) where state = 'leased';
create index job_done on job (run_at) where state = 'done';

-- Whether a claim still holds its job: asked, and kept so until the commit, by everything that a holder writes.
create function holds(p_job uuid, p_fence bigint, p_lease uuid) returns boolean
language plpgsql as $$
begin
  perform 1 from public.job where id = p_job and state = 'leased' and fence = p_fence and lease = p_lease for share;
  return found;
end $$;

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
  plain          boolean     not null default false,         -- Slack refused the layout: the facts were sent as text
  problem        text
) with (fillfactor = 70);

-- Messages that landed when nobody waited for them any more. Whoever syncs the build next deletes what is not its message.
create table slack_stray (
  build_id uuid not null,
  channel  text not null,
  ts       text not null,
  primary key (build_id, channel, ts)
);

-- The newest output of deployments whose log has grown past its first half: for those who watch. What is kept of it is
-- written to the journal at the end.
create unlogged table log_tail (
  deployment_id uuid   not null,
  first_line    bigint not null,                             -- counted over all that was printed
  lines         int    not null,
  body          bytea  not null,
  primary key (deployment_id, first_line)
);

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
  project_id uuid,                                           -- none where no project takes that repository's
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
  project  text,                                             -- none at an address for all projects
  reason   text        not null,
  digest   bytea,                                            -- none where the body was not read to its end
  times    bigint      not null default 1,                   -- so many alike within the second before
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
create function keep_clock() returns timestamptz language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  present timestamptz := public.coolops_now();
  latest  timestamptz;
  back    interval;
begin
  select seen into latest from public.clock for update skip locked;
  if not found then return present; end if;
  if latest > present + interval '5 s' then
    back := latest - present;
    -- The scopes' rows before those of the jobs, as everybody locks them.
    update public.rate_bucket set tat = tat - back, blocked_until = blocked_until - back where greatest(tat, blocked_until) > present;
    update public.job set run_at = run_at - back where state = 'ready' and run_at > present;
    -- What began before the clock was set back is counted on from there; only what began since, by the new time, stays.
    update public.job set phase_since = phase_since - back where phase_since > present or phase_since < present - interval '5 s';
    update public.job set lease_until = lease_until - back where state = 'leased' and lease_until > present + back;
    update public.job set rung_at = null where rung_at > present;
    update public.worker set seen_at = present where seen_at > present;
  end if;
  update public.clock set seen = present;
  return present;
end $$;
