-- Projects as the log left them at some positions, so that whoever folds one need not begin at its beginning: a project that
-- is locked every hour has a hundred thousand events in some years. Disposable: what is missing, or can't be believed, is
-- folded from the events and written anew.
create table snapshot (
  of         uuid   not null,             -- the project
  position   bigint not null,             -- its last event that is folded into this
  key_id     text   not null,             -- of the master key that it is encrypted under
  nonce      bytea  not null,
  ciphertext bytea  not null,             -- bound to its place; private texts in it are as the event has them
  primary key (of, position)
);
