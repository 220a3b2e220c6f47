-- What Slack shows of reports is held against what it was sent. Unknown for what the program before sent: not judged.
alter table slack_report add column text text;                       -- what it says, for those who see no layout
alter table slack_report add column thread text;                     -- Slack's name for the message that it answers
create index slack_report_shown on slack_report (channel, attempted_at) where state = 'sent' and text is not null;

-- Second ones of a report. Whoever sees to what they are about next deletes them.
create table slack_report_stray (
  report  uuid not null,
  about   uuid not null,
  channel text not null,
  ts      text not null,
  primary key (report, channel, ts)
);
create index slack_report_stray_about on slack_report_stray (about);
