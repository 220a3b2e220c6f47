-- Under a lock, whose owner's deployments go first: asked at each press.
create index deployment_open_by_person on deployment (environment_id, ((doc->'requested_by')->>'user'), requested)
  where is_open;
