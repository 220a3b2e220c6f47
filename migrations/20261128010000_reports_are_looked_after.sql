-- What Slack shows of reports is held against what it was sent. Unknown for what the program before sent: not judged.
alter table slack_report add column text text;                       -- what it says, for those who see no layout
alter table slack_report add column thread text;                     -- Slack's name for the message that it answers
create index slack_report_shown on slack_report (attempted_at) where text is not null;
-- The program before does not know of it when somebody is erased.
create function forget_report_text() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.text := null;
  return new;
end $$;
create trigger slack_report_text before update on slack_report for each row
  when (new.renew > old.renew and new.text is not distinct from old.text) execute function forget_report_text();

-- Second ones of a report. Whoever sees to what they are about next deletes them.
create table slack_report_stray (
  report  uuid not null,
  about   uuid not null,
  channel text not null,
  ts      text not null,
  primary key (report, channel, ts)
);
create index slack_report_stray_about on slack_report_stray (about);
