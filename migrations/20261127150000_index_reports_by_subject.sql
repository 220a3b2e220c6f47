-- Where something about a lock was told: asked whenever its messages are brought up to date.
create index slack_report_about on slack_report (about) where person is null;
