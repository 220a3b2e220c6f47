-- Work that is asked for while it is being done, and without an event: its holder may have looked before.
alter table job add column again boolean not null default false;
