-- What ended somewhere last, in the order of the ends: asked for each environment of a project at once.
create index deployment_ended on deployment (environment_id, since)
  where not is_open;
