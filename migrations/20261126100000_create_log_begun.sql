-- The line that a running deployment prints now and that has not ended: dots, a prompt, a progress bar. For those who watch;
-- when it has ended it is in the journal, or in log_tail.
create unlogged table log_begun (
  deployment_id uuid  primary key,
  body          bytea not null
);
