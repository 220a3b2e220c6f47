-- A lock's message changes when the lock does: what was last sent of it is told by its digest.
alter table slack_report add column digest bytea;
