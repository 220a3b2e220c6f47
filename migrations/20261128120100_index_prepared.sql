-- What began last in an environment, by the log: before something begins there it is looked whether that is over.
create index event_prepared on event (((payload -> 'of') ->> 'environment_id'), position) where type = 'deployment_prepared';
