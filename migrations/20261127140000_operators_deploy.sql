-- Who had something deployed may be an operator too; rows from before know people in Slack.
update deployment set doc = replace(doc::text, '"requested_by":{"team":', '"requested_by":{"kind":"person","team":')::json;
-- Under a lock, whose owner's deployments go first: asked at each press.
drop index deployment_open_by_person;
create index deployment_open_by_presser on deployment
  (environment_id, (coalesce((doc->'requested_by')->>'user', (doc->'requested_by')->>'login')), requested)
  where is_open;
