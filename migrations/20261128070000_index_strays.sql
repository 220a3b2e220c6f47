-- Replay and audit ask first which deployments have an event after their end: there are few, and looking through the whole log for them
-- took a tenth of either.
create index event_of_strays on event (stream_id) where type = 'deployment_stray_stopped';
