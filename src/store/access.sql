-- Who may do what in this database: run by every `coolops migrate`, as the owner of the tables. The application's role has the
-- database's name in its own, so that the login of one installation is nobody in another's database.
do $$
declare
  name text := case when octet_length(current_database()) <= 50 then current_database() else md5(current_database()) end;
  app text := 'coolops_app_' || name;
  reader text := 'coolops_reader_' || name;
begin
  -- Two at once would change the same things, which Postgres refuses to the second.
  perform pg_advisory_xact_lock(hashtextextended('coolops migrate ' || current_database(), 0));
  execute format('create or replace function public.coolops_app_role() returns text language sql immutable as %L', format('select %L::text', app));
  execute format('create or replace function public.coolops_reader_role() returns text language sql immutable as %L', format('select %L::text', reader));
  begin execute format('create role %I nologin', app);
  exception when duplicate_object or unique_violation then null; end;
  -- A failed grant means that this login can't drop to the role; `coolops doctor` explains what to do.
  begin execute format('grant %I to %I', app, session_user); exception when others then null; end;
  -- Only whoever owns the database may; `coolops doctor` tells when others may connect.
  begin
    execute format('revoke connect, temporary on database %I from public', current_database());
    execute format('grant connect, temporary on database %I to %I', current_database(), app);
  exception when insufficient_privilege then null; end;
  begin revoke create on schema public from public; exception when insufficient_privilege then null; end;
  execute format('grant usage on schema public to %I', app);
  execute format('grant select on all tables in schema public to %I', app);
  execute format('grant execute on function public.append_batch, public.append_log_chunk, public.close_log, public.erase_output to %I', app);
  execute format('grant usage on sequence public.fence_seq to %I', app);
  execute format('grant insert, update, delete on public.project, public.token, public.build, public.deployment, public.boundary to %I', app);
  execute format('grant insert, update, delete on public.job, public.slack_message, public.slack_stray, public.slack_sent, public.slack_report, public.slack_report_stray, public.slack_person, public.rate_bucket, public.secret_value,
                    public.worker, public.clock, public.tree_tile, public.checkpoint_place, public.ci_delivery, public.ci_refusal, public.log_tail, public.log_begun, public.snapshot to %I', app);
  -- Whom a key is about stays as it was.
  execute format('grant insert, delete, update (name, key_id, nonce, ciphertext) on public.subject_key to %I', app);
  -- What was signed stays as it was; in which order, and when, the database says.
  execute format('revoke insert on public.checkpoint from %I', app);
  execute format('grant insert (size, root, key_id, note, code) on public.checkpoint to %I', app);
  execute format('grant insert, update on public.witness, public.cosignature, public.witnessed to %I', app);
  -- Whoever looks at the history with tools of their own: the views, and nothing that they are made of.
  begin execute format('create role %I nologin', reader);
  exception when duplicate_object or unique_violation then null; end;
  begin execute format('grant connect on database %I to %I', current_database(), reader);
  exception when insufficient_privilege then null; end;
  execute format('grant usage on schema public to %I', reader);
  execute format('grant select on public.history_deployments, public.history_events, public.history_messages to %I', reader);
end $$;
