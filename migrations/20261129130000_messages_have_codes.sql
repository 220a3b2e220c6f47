-- HMAC under the master key of what a message's row says that it was sent: whoever writes to this database alone can't make one.
-- None on rows from before: what they say is rendered anew instead. A process of an earlier version that edits a
-- message leaves the code as it was: it is wrong until the next edit.
alter table slack_message add column sent_code bytea;
