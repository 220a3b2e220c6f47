-- HMAC under the master key of what a message's row says that it was sent: whoever writes to this database alone can't make one.
-- None on rows from before: what they say is rendered anew instead.
alter table slack_message add column sent_code bytea;
