-- What was told names people who may be erased: it is rendered again then, wherever it was told. Each reason to do so counts.
alter table slack_report add column renew int not null default 0;
-- What is told from here on may have been read before somebody was erased, also by the program before.
alter table slack_report alter column renew set default 1;
drop index slack_report_about;
create index slack_report_about on slack_report (about);
create index slack_report_to_renew on slack_report (about) where renew > 0;
-- What the program before was asked to look at again.
update slack_report set renew = 1 where about in (select key from job where kind in ('report', 'report_lock') and state <> 'done');
