-- What commands and pages read: rows derived from the log, written in the append transaction, rebuilt by `coolops replay`.

create table project (
  id       uuid   primary key,
  slug     text   not null unique,
  position bigint not null,
  doc      json   not null                                   -- domain::Project with its environments
);

create table token (
  digest     bytea  primary key,                             -- SHA-256 of the token
  project_id uuid   not null,
  token_id   uuid   not null,
  revoked    boolean not null
);

create table build (
  id         uuid   primary key,                             -- UUIDv5 of project and name: one build per name
  project_id uuid   not null,
  position   bigint not null,
  name       text   not null
);
create index build_by_project on build (project_id, position desc);

-- What the words for a deployment's state mean, as domain::state::State says it; a test holds the two together.
create function holds_environment(state text) returns boolean
language sql immutable strict parallel safe
return state in ('ready', 'pulling', 'starting', 'running', 'cancelling', 'unknown'); -- bound when it is made, so it needs no search_path


create table deployment (
  id             uuid   primary key,
  build_id       uuid   not null,
  environment_id uuid   not null,
  project_id     uuid   not null,
  requested      bigint not null,                            -- position of the press: the order of the line
  position       bigint not null,
  since          bigint not null,                            -- position of the event that brought it where it stands
  state          text   not null,
  doc            json   not null,                            -- domain::Deployment
  holds          boolean not null generated always as (holds_environment(state)) stored,
  is_open        boolean not null generated always as (holds_environment(state) or state = 'queued') stored,
  is_worked_on   boolean not null generated always as (holds_environment(state) and state <> 'unknown') stored,
  -- Of these four, `holds` and `is_open` have indexes: a query that asks for another one names one of them too.
  has_not_begun  boolean not null generated always as (state in ('queued', 'ready', 'pulling')) stored
);
-- Load-bearing: two deployments can never hold one environment, whatever the code decides.
create unique index deployment_one_per_environment on deployment (environment_id)
  where holds;
create index deployment_open on deployment (environment_id, requested)
  where is_open;
create index deployment_by_build on deployment (build_id, requested);
create index deployment_recent on deployment (requested desc);

-- Where each consistency boundary (a project's configuration, an environment's line) was last moved.
create table boundary (
  key      uuid   primary key,
  position bigint not null
) with (fillfactor = 70);
