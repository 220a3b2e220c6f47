-- When a piece of a running deployment's newest output was shown: its lines have a time before the journal has them.
alter table log_tail add column shown_at timestamptz not null default clock_timestamp();
