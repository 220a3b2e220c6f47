-- What Slack was sent of a build's message, and when, for 30 days: what `coolops explain` tells.
create table slack_sent (
  build_id uuid        not null,
  position bigint      not null,                             -- what it tells of; 0 where the message was found again
  sent_at  timestamptz not null
);
create index slack_sent_of_build on slack_sent (build_id, sent_at);
create index slack_sent_at on slack_sent using brin (sent_at);
