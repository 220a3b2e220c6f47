-- What Slack said last of people and groups, for everybody who decides on rights; asked again when it is old.
create table slack_person (
  id       text        primary key,                          -- Slack's id of a user or of a user group
  doc      jsonb       not null,                             -- of a user: whether they are a guest; of a group: who is in it
  asked_at timestamptz not null
);
