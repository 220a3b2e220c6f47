-- What was told names people who may be erased: it is rendered again then, wherever it was told.
alter table slack_report add column renew boolean not null default false;
drop index slack_report_about;
create index slack_report_about on slack_report (about);
