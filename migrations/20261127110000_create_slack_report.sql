-- What people are told beside a build's message, once each: direct messages, and replies in the thread under it.
create table slack_report (
  id           uuid        primary key,                      -- UUIDv5 of what is told and where
  about        uuid        not null,                         -- the deployment, or the environment whose lock it was
  state        text        not null check (state in ('posting', 'sent', 'unwanted', 'refused')),
  person       text,                                         -- whom it is for: workspace and user; none in a thread
  channel      text,                                         -- where, as far as it got there
  ts           text,
  attempted_at timestamptz not null default coolops_now(),
  lookups      int         not null default 0,
  problem      text                                          -- Slack's word for why not
);
create index slack_report_of_person on slack_report (person, attempted_at desc) where channel is not null;
create index slack_report_refused on slack_report (attempted_at) where state = 'refused';
