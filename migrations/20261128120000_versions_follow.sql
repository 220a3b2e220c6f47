-- The versions of a stream follow from each other also where several events of one are recorded at once, and no fence is below zero:
-- whoever may call `append_batch` could make a stream that nothing can be added to any more, or an event that other people's
-- verifiers refuse. The function is as it was but for that.

create or replace function append_batch(
  e_request int[], e_id uuid[], e_stream uuid[], e_correlation uuid[], e_causation uuid[], e_fence bigint[], e_expected int[],
  e_first boolean[], e_version smallint[], e_stream_type text[], e_type text[], e_actor text[], e_payload text[],
  m_event int[], m_key uuid[],                               -- "this event moves this boundary"
  g_request int[], g_key uuid[], g_seen bigint[],            -- "this boundary has not moved since position …"
  f_request int[], f_job uuid[], f_fence bigint[], f_lease uuid[], -- "this job is still leased under this fence"
  b_event int[], b_id uuid[], b_project uuid[], b_name text[], -- rows of build and job: every build has one of each
  j_event int[], j_id uuid[], j_kind text[], j_key uuid[], j_turn text[], j_every bigint[], j_burst bigint[], -- paces in microseconds
  d_event int[], d_id uuid[], d_project uuid[], d_build uuid[], d_provider text[], d_name text[], d_headers jsonb[], d_body bytea[],
  projects text, tokens text, deployments text,              -- rows as JSON arrays
  out base bigint, out at timestamptz, out lost int[], out fenced int[])
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  the_tenant constant uuid := '00000000-0000-0000-0000-000000000000'; -- in the chain from the first event on, because it can't be added later
  h record;
  bodies bytea[] := '{}';
  items bytea[] := '{}';
  causes uuid[];
  n int := 0;
  chain bytea[] := '{}';
  pos bigint[] := '{}';
  clock bytea;
  present timestamptz;
  run timestamptz[] := '{}';
  -- Turns: the scopes that are asked for, how many in each, and the last one's place in the row that books them.
  scopes text[] := '{}';
  asked int[] := '{}';
  which int[] := '{}';
  nth int[] := '{}';
  booked timestamptz[] := '{}';
  closed timestamptz[] := '{}';
  pace interval;
  last timestamptz;
  until timestamptz;
  slot int;                                                  -- the place of a scope in these
  wrong text;
begin
  if cardinality(e_request) > 4096 then raise exception 'a batch of % events is too large', cardinality(e_request); end if;
  wrong := case
    -- JSON has none outside of its texts, where it is written as an escape: an event is one line, wherever it goes.
    when exists (select from unnest(e_actor || e_payload) t(v) where t.v ~ E'[\n\r]') then 'an event has a line feed or a carriage return'
    -- What is not there compares with nothing, and would pass each check.
    when array_position(e_request, null) is not null or array_position(e_first, null) is not null or array_position(e_expected, null) is not null
      or (cardinality(e_request) = all (array[cardinality(e_id), cardinality(e_stream), cardinality(e_correlation), cardinality(e_causation), cardinality(e_fence),
            cardinality(e_expected), cardinality(e_first), cardinality(e_version), cardinality(e_stream_type), cardinality(e_type), cardinality(e_actor), cardinality(e_payload)])) is not true
      then 'something of an event is missing'
    -- The chain has no numbers below zero.
    when 0 > any (e_fence) then 'a fence is below zero'
    -- The first one of a stream is held against what is there; the others follow from it.
    when false = any (e_first) and exists (
      select from (select t.f, t.x, lag(t.x) over (partition by t.r, t.s order by t.n) as before
                     from unnest(e_request, e_stream, e_expected, e_first) with ordinality t(r, s, x, f, n)) v
       where not v.f and v.before is distinct from v.x - 1) then 'an event does not follow from the one before it in its stream'
  end;
  if wrong is not null then raise exception '%', wrong; end if;
  -- Before the lock, so that nobody waits for it. Statements are few here and expressions many: beginning one costs more than
  -- what it does for an event.
  causes := array(
    select coalesce(t.ca,
        case when t.x > 0 then coalesce(
               (select v.event_id from public.event v where v.stream_id = t.s and v.stream_version = case when t.k in ('deployment', 'message') then t.x else 1 end),
               (select u.e from unnest(e_id, e_stream, e_expected) u(e, s, x) where u.s = t.s and u.x = case when t.k in ('deployment', 'message') then t.x - 1 else 0 end limit 1))
             when t.s <> t.c then coalesce(
               (select v.event_id from public.event v where v.stream_id = t.c and v.stream_version = 1),
               (select u.e from unnest(e_id, e_stream, e_expected) u(e, s, x) where u.s = t.c and u.x = 0 limit 1)) end)
      from unnest(e_causation, e_stream, e_correlation, e_expected, e_stream_type) with ordinality t(ca, s, c, x, k, n) order by t.n);
  for i in 1 .. cardinality(e_request) loop
    bodies[i] := sha256('\x00'::bytea || convert_to(e_payload[i], 'UTF8'));
    items[i] := public.item_hash(e_id[i], the_tenant, e_stream_type[i], e_stream[i], e_expected[i] + 1, e_type[i], e_version[i], e_actor[i], e_correlation[i], causes[i], e_fence[i], bodies[i]);
  end loop;
  select v.position, v.chain_hash, v.last_at, v.closed,
         exists (select from unnest(e_type, e_version, e_stream_type) t(k, v, s)
                  where not exists (select from public.event_type y where y.name = t.k and y.version = t.v and y.stream_type = t.s))
           or exists (select from unnest(e_stream, e_stream_type) t(s, k) group by t.s having min(t.k) <> max(t.k)) as unknown
    into h from public.event_head v where v.id for update;         -- each later statement reads a new snapshot: authoritative
  if h.closed is not null and e_type <> array['fork_decided'] then raise exception 'the log is closed: %', h.closed using errcode = 'CO003'; end if;
  if h.unknown then raise exception 'an event type is unknown to this database, or is of another type of stream; run: coolops migrate'; end if;
  if cardinality(f_request) > 0 then
    select array_agg(distinct t.r) into fenced from unnest(f_request, f_job, f_fence, f_lease) t(r, j, f, l)
     where (select true from public.job v where v.id = t.j and v.state = 'leased' and v.fence = t.f and v.lease = t.l for share) is not true;
  end if;
  -- Scalar sub-selects, not EXISTS: a plan cached on an empty table would otherwise hash the whole log for ever.
  select array_agg(distinct u.r) into lost from (
    select t.r from unnest(e_request, e_id, e_stream, e_stream_type, e_expected, e_first) t(r, e, s, k, x, f)
     where t.r = any(fenced)
        or (select v.position from public.event v where v.event_id = t.e) is not null
        or (t.f and not coalesce((select v.stream_version = t.x and v.stream_type = t.k from public.event v where v.stream_id = t.s
                                   order by v.stream_version desc limit 1), t.x = 0))
    union all
    select t.r from unnest(g_request, g_key, g_seen) t(r, k, s)
     where coalesce((select v.position from public.boundary v where v.key = t.k), 0) <> t.s) u;
  if cardinality(d_event) > 0 then                           -- "this delivery of a CI system has made no build yet"
    select array_agg(distinct r) into lost from (
      select unnest(lost) r union all
      select e_request[t.e] from unnest(d_event, d_id) t(e, i)
       where (select v.build_id from public.ci_delivery v where v.id = t.i) is not null) u;
  end if;
  base := h.position;
  present := public.coolops_now();
  at := greatest(h.last_at, present);
  clock := timestamptz_send(at);
  for i in 1 .. cardinality(e_request) loop
    if e_request[i] = any(lost) then pos[i] := null; chain[i] := null; continue; end if;
    n := n + 1;
    pos[i] := h.position + n;
    h.chain_hash := sha256('\x01'::bytea || h.chain_hash || int8send(pos[i]) || clock || items[i]);
    chain[i] := h.chain_hash;
  end loop;
  if n = 0 then return; end if;
  insert into public.event
    select t.p, t.e, the_tenant, t.s, t.c, t.ca, at, t.f, t.x + 1, t.v, t.st, t.ty, t.a::json, t.pl::json, t.b, t.ch
      from unnest(pos, e_id, e_stream, e_correlation, causes, e_fence, e_expected, e_version, e_stream_type, e_type, e_actor, e_payload, bodies, chain)
        t(p, e, s, c, ca, f, x, v, st, ty, a, pl, b, ch) where t.p is not null;
  if cardinality(m_event) > 0 then
    insert into public.boundary as b
      select t.k, max(pos[t.e]) from unnest(m_event, m_key) t(e, k) where pos[t.e] is not null group by t.k
      on conflict (key) do update set position = excluded.position;
  end if;
  if projects is not null then
    insert into public.project as p
      select t.id, t.slug, pos[t.event], t.doc from json_to_recordset(projects::json) t(event int, id uuid, slug text, doc json) where pos[t.event] is not null
      on conflict (id) do update set slug = excluded.slug, position = excluded.position, doc = excluded.doc;
  end if;
  if tokens is not null then
    insert into public.token
      select t.digest, t.project_id, t.token_id, t.revoked
        from json_to_recordset(tokens::json) t(event int, digest bytea, project_id uuid, token_id uuid, revoked boolean) where pos[t.event] is not null
      on conflict (digest) do update set revoked = excluded.revoked;
  end if;
  if cardinality(b_event) > 0 then
    insert into public.build
      select t.id, t.project_id, pos[t.e], t.name from unnest(b_event, b_id, b_project, b_name) t(e, id, project_id, name)
       where pos[t.e] is not null;
  end if;
  if cardinality(d_event) > 0 then
    insert into public.ci_delivery (id, at, project_id, build_id, position, provider, name, verdict, reason, headers, body)
      select t.id, at, t.project, t.build, pos[t.e], t.provider, t.name, 'accepted', '', t.headers, t.body
        from unnest(d_event, d_id, d_project, d_build, d_provider, d_name, d_headers, d_body) t(e, id, project, build, provider, name, headers, body)
       where pos[t.e] is not null
      on conflict (id) do update set project_id = excluded.project_id, build_id = excluded.build_id, position = excluded.position,
        verdict = excluded.verdict, reason = excluded.reason;
  end if;
  if deployments is not null then
    -- Rows that give an environment up come before rows that take it, so a hand-over fits the unique index.
    insert into public.deployment as d
      (id, build_id, environment_id, project_id, requested, position, since, state, requested_by, doc)
      select t.id, t.build_id, t.environment_id, t.project_id, pos[t.event], pos[t.event], pos[t.event], t.state,
             -- The program before does not say it.
             coalesce(t.requested_by, t.doc->'requested_by'->>'name', t.doc->'requested_by'->>'login', ''), t.doc
        from json_to_recordset(deployments::json) t(event int, id uuid, build_id uuid, environment_id uuid, project_id uuid, state text, requested_by text, doc json)
       where pos[t.event] is not null
       order by public.holds_environment(t.state), t.event
      on conflict (id) do update set position = excluded.position, state = excluded.state, requested_by = excluded.requested_by, doc = excluded.doc,
        since = case when d.state = excluded.state then d.since else excluded.since end;
  end if;
  if cardinality(j_event) > 0 then
    -- Turns at Slack are given out here, so that what waits for one costs nothing until then: GCRA, as `reserve_turn` in
    -- src/store/limits.rs, for many at once.
    for i in 1 .. cardinality(j_event) loop
      if j_turn[i] is null or pos[j_event[i]] is null then run[i] := null; continue; end if;
      slot := array_position(scopes, j_turn[i]);
      if slot is null then
        scopes := scopes || j_turn[i];
        slot := cardinality(scopes);
        asked[slot] := 0;
      end if;
      asked[slot] := asked[slot] + 1;
      which[i] := slot;
      nth[i] := asked[slot];
    end loop;
    for slot in 1 .. cardinality(scopes) loop
      pace := j_every[array_position(j_turn, scopes[slot])] * asked[slot] * interval '1 us';
      insert into public.rate_bucket as b (scope, tat)
        values (scopes[slot], greatest(present, (select p.blocked_until from public.rate_bucket p where p.scope = 'slack')) + pace)
        on conflict (scope) do update set tat = greatest(b.tat, b.blocked_until, excluded.tat - pace) + pace
        returning b.tat, greatest(b.blocked_until, (select p.blocked_until from public.rate_bucket p where p.scope = 'slack'))
        into last, until;
      booked[slot] := last;
      closed[slot] := until;
    end loop;
    for i in 1 .. cardinality(j_event) loop
      if which[i] is null then continue; end if;
      slot := which[i];
      run[i] := greatest(closed[slot], booked[slot] - ((asked[slot] - nth[i] + 1) * j_every[i] + j_burst[i]) * interval '1 us');
    end loop;
    insert into public.job as j (id, kind, key, wanted, run_at, turn)
      select t.id, t.kind, t.key, max(pos[t.e]), greatest(present, max(run[t.ord])), max(t.turn)
        from unnest(j_event, j_id, j_kind, j_key, j_turn) with ordinality t(e, id, kind, key, turn, ord) where pos[t.e] is not null group by t.id, t.kind, t.key
      on conflict (id) do update set wanted = excluded.wanted,
        state  = case when j.state = 'done' then 'ready' else j.state end,
        run_at = case when j.state = 'done' or j.has_time then present else j.run_at end,
        rung_at = case when j.state = 'done' or j.has_time then null else j.rung_at end,
        has_time = false;
  end if;
  update public.event_head set position = h.position + n, chain_hash = h.chain_hash, last_at = at, closed = null where id;
end $$;
