-- Names are looked up, and in no language's order: each was compared by that with a dozen others before it had its place.

drop index deployment_of_presser;
create index deployment_of_presser on deployment (lower(requested_by) collate "C", requested desc);
