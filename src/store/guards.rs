//! What the database keeps the log with: triggers, constraints, functions, rights.
//!
//! **Invariant:** what is told is how they differ from what the migrations made, whether or not an event shows it yet.

use super::Store;
use crate::domain::state::State;

/// The functions that record, date, seal, erase and refuse: the SHA-256 of each as [`Store::unguarded`] reads it.
const FUNCTIONS: [(&str, &str); 13] = [
    ("append_batch", "1066c255b2b65ee79d36a0c8518a6467aaaa233882473957a94ba2c886b472bf"),
    ("append_log_chunk", "dc4881319b258bd1aae0285e52e9fe830669f462eda782dc5dd7c62c7e52b679"),
    ("close_log", "52ee5aeed66700a38296d33807eb0ac7db4ad435ae603f7ab24c860b01330507"),
    ("coolops_now", "1aa25e4588bcda70061d14c40021449d47b84ce33a703af58607e2eda1bebb2d"),
    ("erase_output", "bd4905c09e77a9fa7c2598fe1d34500953a9a64392633799888959c61c9918a9"),
    ("forbid_change", "efa25559895f8a3da0d9fe940d9e97e411622371876d3cc60d0f4cdd073114c6"),
    ("forget_report_text", "5bc62d037e551bb37d73f314af75ff6a055a375d824ce1716b9b14a721bb1bcc"),
    ("holds", "fbe314546a1b6866aec9c02d93d17f739c8e5d7894d2c4bc2f64f659b63c9507"),
    ("holds_environment", "106ab57454f283941b569b5059250fbdadf987d1f63b3459f5ca16c2329c6ad3"),
    ("item_hash", "2241a72d4b31bf0ca24d69d0b8cb77ff0cc4343ed58758741500c56709efbb6b"),
    ("keep_clock", "044bc0a9b6f014742fae1acf27fcb223583376ec70a067b2dd99697af5304e3c"),
    ("keep_output", "87e1077f8b72f4ea1b1cc18995835ff5cf6ed0f8bfb859baf75fab2bea462ee6"),
    ("keep_witnessed", "d0f5666fda29bba79939adb7949d61ef44b25b90c04079cc0751decee2c643d6"),
];

/// Our tables.
const TABLES: [&str; 32] = [
    "event",
    "log_chunk",
    "event_head",
    "event_type",
    "project",
    "token",
    "build",
    "deployment",
    "boundary",
    "snapshot",
    "job",
    "secret_value",
    "subject_key",
    "slack_message",
    "slack_report",
    "slack_sent",
    "slack_stray",
    "slack_report_stray",
    "slack_person",
    "rate_bucket",
    "worker",
    "clock",
    "ci_delivery",
    "ci_refusal",
    "log_tail",
    "log_begun",
    "checkpoint",
    "checkpoint_place",
    "tree_tile",
    "witness",
    "cosignature",
    "witnessed",
];

impl Store {
    /// What keeps the log as it is, and does not any more, each as a sentence: the functions that record, the triggers that
    /// refuse changes, the constraints, and that nobody else can get in between or may do more than we gave them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unguarded(&self) -> Result<Vec<String>, sqlx::Error> {
        let mut said = self.altered_functions().await?;
        said.extend(self.altered_triggers().await?);
        said.extend(self.altered_tables().await?);
        said.extend(self.given_rights().await?);
        Ok(said)
    }

    /// The tables that are not what they were made: something else under their name, which may show one thing to one and another
    /// thing to another; and what keeps two deployments out of one environment.
    async fn altered_tables(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"with ours as (select c.* from pg_class c where c.relnamespace = 'public'::regnamespace and c.relname = any($1))
               select format('%s is not a plain table any more: what it shows may depend on who asks; restore it from a dump', o.relname) as "said!"
                 from ours o where o.relkind <> 'r' or o.relrowsecurity or exists (select from pg_inherits i where i.inhparent = o.oid or i.inhrelid = o.oid)
                                or exists (select from pg_rewrite r where r.ev_class = o.oid)
               union all
               select format('the table %s is not logged: a crash empties it; alter table %s set logged', o.relname, o.relname)
                 from ours o where o.relpersistence <> 'p' and o.relname not in ('log_tail', 'log_begun')
               union all
               select format('the trigger %s on %s is none of ours: it can change or swallow what is written there; drop it', t.tgname, o.relname)
                 from pg_trigger t join ours o on o.oid = t.tgrelid
                where not t.tgisinternal and o.relname not in ('event', 'log_chunk', 'event_head', 'slack_report', 'checkpoint', 'checkpoint_place', 'witnessed')
               union all
               select 'nothing keeps two deployments out of one environment: the index deployment_one_per_environment is gone or another one; restore it from a dump of the schema'
                where not exists (select from pg_index i join pg_class c on c.oid = i.indexrelid
                                   where c.relname = 'deployment_one_per_environment' and i.indisvalid and i.indisunique
                                     and pg_get_indexdef(c.oid) = 'CREATE UNIQUE INDEX deployment_one_per_environment ON public.deployment USING btree (environment_id) WHERE holds')
               union all
               select format('the column %s of deployment is not made of its state any more; restore it from a dump of the schema', n)
                 from (values ('holds', 'holds_environment(state)'), ('is_open', '(holds_environment(state) OR (state = ''queued''::text))'),
                             ('is_worked_on', '(holds_environment(state) AND (state <> ''unknown''::text))'),
                             ('has_not_begun', '(state = ANY (ARRAY[''queued''::text, ''ready''::text, ''pulling''::text]))')) made (n, says)
                where not exists (select from pg_attribute a join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                                   where a.attrelid = 'public.deployment'::regclass and a.attname = n and a.attgenerated = 's'
                                     and pg_get_expr(d.adbin, d.adrelid) = says)
               order by 1"#,
            &TABLES.map(str::to_owned)
        )
        .fetch_all(&self.pool)
        .await
    }

    /// The functions that are gone, and those of the same names that no migration made: another body, or other arguments,
    /// so that some of our calls would come to it.
    async fn altered_functions(&self) -> Result<Vec<String>, sqlx::Error> {
        let names: Vec<String> = FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let there = sqlx::query!(
            r#"select p.proname as "name!", p.oid::regprocedure::text as "signature!",
                      encode(sha256(convert_to(concat_ws(E'\n', pg_get_function_identity_arguments(p.oid), p.prorettype::regtype::text, l.lanname, p.prosecdef::text,
                        p.proisstrict::text, p.provolatile::text, coalesce(p.proconfig::text, ''), p.prosrc), 'UTF8')), 'hex') as "digest!",
                      -- Tests that live through days in seconds move the clock, and say so.
                      $2 and p.proname = 'coolops_now' and obj_description(p.oid, 'pg_proc') is not distinct from 'moved by a test' as "is_moved!"
                 from pg_proc p join pg_language l on l.oid = p.prolang
                where p.pronamespace = 'public'::regnamespace and p.proname = any($1) order by 1, 2"#,
            &names,
            cfg!(feature = "failpoints")
        )
        .fetch_all(&self.pool)
        .await?;
        // Its body is an expression, which each Postgres prints in its own way: it is asked.
        let states: Vec<String> = State::ALL.iter().map(|state| state.as_str().to_owned()).collect();
        let is_there = there.iter().any(|f| f.name == "holds_environment");
        let answers = match is_there {
            true => sqlx::query_scalar!(
                r#"select coalesce(public.holds_environment(state), false) as "holds!" from unnest($1::text[]) with ordinality s(state, n) order by n"#,
                &states
            )
            .fetch_all(&self.pool)
            .await
            // One that raises, or takes too long, tells nothing either.
            .or_else(|why| if why.as_database_error().is_some() { Ok(Vec::new()) } else { Err(why) })?,
            false => Vec::new(),
        };
        let is_wrong = is_there && answers != State::ALL.map(State::holds);
        let wrong = is_wrong.then(|| "the function holds_environment does not tell which deployments hold an environment: two could; restore it from a dump of the schema".to_owned());
        let gone = FUNCTIONS.iter().filter(|(name, _)| !there.iter().any(|f| f.name == *name));
        let altered = there.iter().filter(|f| !f.is_moved && !FUNCTIONS.contains(&(&f.name[..], &f.digest[..])));
        Ok(gone
            .map(|(name, _)| format!("the function {name} is gone; restore it from a dump of the schema"))
            .chain(altered.map(|f| {
                format!(
                    "the function {} is not as coolops migrate makes it: it may record something else, or nothing; restore it from a dump of the schema",
                    f.signature
                )
            }))
            .chain(wrong)
            .collect())
    }

    /// The triggers, rules and constraints of what only grows that are not as the migrations made them, or that nobody here made.
    async fn altered_triggers(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            // Before each update and delete of a row, 27, and before each truncate, 34: the bits of pg_trigger.tgtype.
            // One before an update of a report, 19, has a condition, and is not needed while rows are copied.
            r#"with guarded as (select oid, relname from pg_class
                                where oid in ('public.event'::regclass, 'public.log_chunk'::regclass, 'public.event_head'::regclass, 'public.slack_report'::regclass,
                                             'public.checkpoint'::regclass, 'public.checkpoint_place'::regclass, 'public.witnessed'::regclass)),
                 ours (relation, name, function, fires, enabled) as (values
                   ('event', 'event_is_append_only', 'forbid_change', 27, 'A'), ('event', 'event_is_never_truncated', 'forbid_change', 34, 'A'),
                   ('log_chunk', 'log_chunk_is_append_only', 'keep_output', 27, 'A'), ('log_chunk', 'log_chunk_is_never_truncated', 'forbid_change', 34, 'A'),
                   ('witnessed', 'witnessed_only_grows', 'keep_witnessed', 19, 'A'),
                   ('slack_report', 'slack_report_text', 'forget_report_text', 19, 'O')),
                 there as (select g.relname, t.tgname, o.name is not null and t.tgtype = o.fires and t.tgenabled = o.enabled::"char" and t.tgattr = ''
                                    and (t.tgqual is null or o.relation = 'slack_report')
                                    and p.proname = o.function and p.pronamespace = 'public'::regnamespace as is_whole, o.name is not null as is_ours
                             from pg_trigger t join guarded g on g.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
                             left join ours o on o.relation = g.relname and o.name = t.tgname where not t.tgisinternal)
               select format('the trigger %s on %s is gone, switched off or another one: the database does not refuse changes any more; coolops migrate makes no other one, restore it from a dump of the schema', o.name, o.relation) as "said!"
                 from ours o where not exists (select from there t where t.relname = o.relation and t.tgname = o.name and t.is_whole)
               union all
               select format('the trigger %s on %s is none of ours: it can change or swallow what is recorded; drop it', t.tgname, t.relname)
                 from there t where not t.is_ours
               union all
               select format('the rule %s on %s is none of ours: it can change or swallow what is recorded; drop it', r.rulename, g.relname)
                 from pg_rewrite r join guarded g on g.oid = r.ev_class where r.ev_type <> '1'
               union all
               select format('the constraint %s is gone or another one: the database takes what can''t be; restore it from a dump of the schema', wanted.name)
                 from (values ('event', 'event_pkey', 'PRIMARY KEY ("position")'), ('event', 'event_event_id_key', 'UNIQUE (event_id)'),
                         ('event', 'event_stream_id_stream_version_key', 'UNIQUE (stream_id, stream_version)'), ('event_head', 'event_head_pkey', 'PRIMARY KEY (id)'),
                         ('log_chunk', 'log_chunk_pkey', 'PRIMARY KEY (deployment_id, chunk_no)'),
                         ('event', 'event_recorded_at_is_a_time', null), ('checkpoint', 'checkpoint_signed_at_is_a_time', null),
                         ('checkpoint', 'checkpoint_has_a_code', 'CHECK ((code IS NOT NULL)) NOT VALID'), ('event_head', 'event_head_last_at_is_a_time', null)) wanted (relation, name, says)
                where not exists (select from pg_constraint c join guarded g on g.oid = c.conrelid
                                   where g.relname = wanted.relation and c.conname = wanted.name
                                     -- What a check says is printed with the time zone of whoever asks.
                                     and case when wanted.says is null then c.contype = 'c' and pg_get_constraintdef(c.oid) like '%isfinite(%' else pg_get_constraintdef(c.oid) = wanted.says end)"#
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Privileges that no migration granted, a sentence for each: writing to what only grows (but for its owner); and, for everybody
    /// who may connect and for the role that reads the views, anything with a table of ours, and calling what records, closes and
    /// erases.
    async fn given_rights(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"with roles as (select public.coolops_app_role() as app, public.coolops_reader_role() as reader),
                    ours as (select oid, relname, relacl, relowner from pg_class
                              where relnamespace = 'public'::regnamespace and relname = any($1)),
                 acls as (select relname, relowner, relacl as acl from ours where relacl is not null
                          union all select o.relname, o.relowner, a.attacl from ours o join pg_attribute a on a.attrelid = o.oid where a.attacl is not null),
                 granted as (select a.relname, g.grantee, string_agg(distinct g.privilege_type, ', ' order by g.privilege_type) as what,
                                    string_agg(distinct g.privilege_type, ', ' order by g.privilege_type) filter (where g.privilege_type <> 'SELECT') as writes
                               from acls a cross join aclexplode(a.acl) g where g.grantee <> a.relowner group by a.relname, g.grantee)
               select format('everybody who may connect has %s on %s; revoke that', what, relname) as "said!" from granted where grantee = 0
               union all
               select format('the role that reads the views has %s on %s; revoke that', what, relname) from granted
                where grantee = (select r.oid from pg_roles r join roles on r.rolname = roles.reader)
               union all
               select format('the role %s has %s on %s, which nobody writes to but through functions; revoke that', r.rolname, writes, relname)
                 from granted join pg_roles r on r.oid = grantee where writes is not null and relname in ('event', 'log_chunk', 'event_head')
                  and r.rolname <> (select reader from roles)
               union all
               select distinct format('%s may call %s; revoke that', case when g.grantee = 0 then 'everybody who may connect'
                        when r.rolname = roles.reader then 'the role that reads the views' else format('the role %s', r.rolname) end, p.proname)
                 from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g cross join roles left join pg_roles r on r.oid = g.grantee
                where p.pronamespace = 'public'::regnamespace and p.proname in ('append_batch', 'append_log_chunk', 'close_log', 'erase_output')
                  -- A copy under another name has the role of its first name as well, which may not even connect to it.
                  and g.grantee <> p.proowner and coalesce(r.rolname, '') !~ '^coolops_app_'
               union all
               select format('%s is a member of %s; revoke that', case when member.rolname = roles.reader then 'the role that reads the views' else format('the role %s', member.rolname) end, granted.rolname)
                 from pg_auth_members m join pg_roles member on member.oid = m.member join pg_roles granted on granted.oid = m.roleid cross join roles
                where member.rolname in (roles.reader, roles.app)
               union all
               select format('the role %s may do more than use tables; alter role %s nosuperuser nobypassrls nocreaterole noreplication', r.rolname, r.rolname)
                 from pg_roles r join roles on r.rolname in (roles.reader, roles.app) where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolreplication
               union all
               select format('%s belongs to %s, and event to %s: whoever owns it may do anything with it; give it back', o.name, o.owner::regrole, e.relowner::regrole)
                 from pg_class e join (select relname::text as name, relowner as owner from ours
                                       union all select proname, proowner from pg_proc where pronamespace = 'public'::regnamespace
                                         and proname in ('append_batch', 'append_log_chunk', 'close_log', 'erase_output', 'forbid_change', 'keep_output')) o on o.owner <> e.relowner
                where e.oid = 'public.event'::regclass
               union all
               select format('the function %s is not as coolops migrate makes it; run coolops migrate', f.name)
                 from (values ('coolops_app_role', 'coolops_app_'), ('coolops_reader_role', 'coolops_reader_')) f(name, role)
                where not exists (select from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname = f.name and p.pronargs = 0
                                   and p.prosrc ~ ('^select +E?''' || f.role || '[^'']+''::text$'))
               order by 1"#,
            &TABLES.map(str::to_owned)
        )
        .fetch_all(&self.pool)
        .await
    }
}
