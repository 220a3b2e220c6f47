-- Checkpoints of the log (docs/PROOF.md). None of this is believed: what counts is what is kept outside, and the key is not here.

-- Hashes of whole tiles of 256 events, so that a root costs no pass over the log. Disposable: made again from the events.
create table tree_tile (
  n    bigint primary key,
  hash bytea  not null check (octet_length(hash) = 32)
);

-- What was signed, in the order in which it was.
create table checkpoint (
  n         bigint      primary key generated always as identity,
  size      bigint      not null,
  root      bytea       not null check (octet_length(root) = 32),
  key_id    text        not null,
  note      text        not null,
  signed_at timestamptz not null default coolops_now(),
  unique (size, root, key_id)
);

-- How far each place outside got.
create table checkpoint_place (
  place         text        primary key,
  size          bigint      not null default 0,              -- of the newest that is there
  kept          bigint      not null default 0,              -- all up to this n are there
  asked_at      timestamptz not null default coolops_now(),
  problem       text,
  failing_since timestamptz
);
