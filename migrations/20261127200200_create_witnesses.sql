-- Witnesses (docs/PROOF.md): what others cosigned of this log's checkpoints, and what this installation cosigned of other logs.

-- How far each witness of this log is, by its public key.
create table witness (
  key           text        primary key,
  size          bigint      not null default 0,              -- of the checkpoint that it cosigned last, as it says
  asked_at      timestamptz not null default coolops_now(),
  problem       text,
  failing_since timestamptz
);

-- Cosignatures, each a line of a note.
create table cosignature (
  size    bigint      not null,
  root    bytea       not null check (octet_length(root) = 32),
  witness text        not null,                              -- its public key
  line    text        not null,
  at      timestamptz not null default coolops_now(),
  primary key (size, root, witness)
);

-- The newest checkpoint of each log that this installation is a witness of. It only grows: whoever deletes a row lets that log begin anew.
create table witnessed (
  origin text        primary key,
  size   bigint      not null,
  root   bytea       not null check (octet_length(root) = 32),
  note   text        not null,
  line   text        not null,                               -- what was answered
  at     timestamptz not null default coolops_now(),
  forked text                                                -- a checkpoint that the log signed too, and that can't be of one history with this one
);
