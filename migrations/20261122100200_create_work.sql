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
  run_at      timestamptz not null default clock_timestamp(),
  rung_at     timestamptz,
  lease_owner uuid,
  lease_until timestamptz,
  fence       bigint,
  has_turn    boolean     not null default false,            -- waits for a turn at Slack that it has reserved
  claimed_by  text,                                          -- 'doorbell' or 'sweep': how the last claim came about
  last_error  text
) with (fillfactor = 70);
create index job_due on job (kind, run_at) where state = 'ready';
create index job_leased on job (lease_until) where state = 'leased';

create table slack_message (
  build_id       uuid        primary key,
  state          text        not null check (state in ('posting', 'live', 'gone', 'blocked')),
  channel        text        not null,
  ts             text,
  attempted_at   timestamptz not null default clock_timestamp(),
  lookups        int         not null default 0,
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
  blocked_until timestamptz not null default '-infinity'
) with (fillfactor = 50);

-- Secret values, encrypted and erasable. The log only knows their name, version and fingerprint.
create table secret_value (
  owner      uuid  not null,
  name       text  not null,
  version    int   not null,
  key_id     text  not null,
  nonce      bytea not null,
  ciphertext bytea not null,
  primary key (owner, name, version)
);
