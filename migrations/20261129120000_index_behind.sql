-- Who waits behind one that leaves a line is found at once, however long the line is.
create index deployment_behind on deployment ((doc->'stand'->'behind'->>'deployment_id')) where is_open and state = 'queued';
