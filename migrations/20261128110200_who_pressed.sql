-- What whoever pressed is called, of deployments from before there was a column for it. Others go on meanwhile; whoever changes one of
-- these rows waits for it.

update deployment set requested_by = coalesce(doc->'requested_by'->>'name', doc->'requested_by'->>'login', '') where requested_by = '';
