-- What ran somewhere last: asked for each environment of a project at once.
create index deployment_ended on deployment (environment_id, requested)
  where not is_open;
