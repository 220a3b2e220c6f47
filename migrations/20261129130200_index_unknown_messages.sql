-- Messages of which nobody knows what they say are found at once; each is sent anew.
create index slack_message_unknown on slack_message (build_id) where state = 'live' and sent_digest is null;
