-- HMAC under the master key of what was signed and of what was signed before it: where one in between is gone, that shows. None on
-- rows from before; a process of an earlier version signs nothing from here on.
alter table checkpoint add column code bytea;
alter table checkpoint add constraint checkpoint_has_a_code check (code is not null) not valid;
