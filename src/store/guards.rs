//! What the database keeps the log with: triggers, constraints, functions, rights.
//!
//! **Invariant:** what is told is how they differ from what the migrations made, whether or not an event shows it yet.

use super::Store;

/// The functions that record, seal, erase and refuse: the SHA-256 of each as [`Store::unguarded`] reads it. `coolops_now` is not
/// among them: who can replace that can set the machine's clock as well, and times never go back.
const FUNCTIONS: [(&str, &str); 11] = [
    ("append_batch", "b298a98c358dadd5c5f0d9d02101032967ceea29ba7373e2c5476a30f3e6ec40"),
    ("append_log_chunk", "86715ed4a07fd30543c481a5990ffb7d86b9bfdb45082092bcf2a3822e1a6857"),
    ("close_log", "5b04e959dc96a9ec3ef1c3ab782b0d1820513232dda35c80cdf8099f1523dfe1"),
    ("erase_output", "52649f20e1d268b8abc97176b252ee639b8fd8e2600478fa2d20eac82ae552b0"),
    ("forbid_change", "6a3383650cca7dfd67e18f7da4d2826a05535c9c141cb6836b483c35ef493499"),
    ("forget_report_text", "30e5dbc13fb64212d8035f96f8dec0f1338775659b8038b9c0104624b483fa38"),
    ("holds", "f33aeecef5f68381ac28a437be5d25ae78bc6935a9d41a9dbde90208f71fd4d3"),
    ("holds_environment", "d6b675937542183672496f125a7392a9c52062cf8f5e487a87e0421682351855"),
    ("item_hash", "04c43afb29088149f688b10f1affe6b2d66515e9fca77a4db1c851ed9e5c4c31"),
    ("keep_clock", "c634cc4ea6d47c431809313689937dbac9d1187ec0062cf50ff71ae187d0cbf2"),
    ("keep_output", "33e3e9ac0102169da02b6509772fc27ac1bb55d800f64ec6b629f3bd6da15c6a"),
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
        said.extend(self.given_rights().await?);
        Ok(said)
    }

    /// The functions that are gone, and those of the same names that no migration made: another body, or other arguments,
    /// so that some of our calls would come to it.
    async fn altered_functions(&self) -> Result<Vec<String>, sqlx::Error> {
        let names: Vec<String> = FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        let there = sqlx::query!(
            r#"select p.proname as "name!", p.oid::regprocedure::text as "signature!",
                      encode(sha256(convert_to(concat_ws(E'\n', pg_get_function_identity_arguments(p.oid), l.lanname, p.prosecdef::text,
                        coalesce(p.proconfig::text, ''), p.prosrc), 'UTF8')), 'hex') as "digest!"
                 from pg_proc p join pg_language l on l.oid = p.prolang
                where p.pronamespace = 'public'::regnamespace and p.proname = any($1) order by 1, 2"#,
            &names
        )
        .fetch_all(&self.pool)
        .await?;
        let gone = FUNCTIONS.iter().filter(|(name, _)| !there.iter().any(|f| f.name == *name));
        let altered = there.iter().filter(|f| !FUNCTIONS.contains(&(&f.name[..], &f.digest[..])));
        Ok(gone
            .map(|(name, _)| format!("the function {name} is gone; restore it from a dump of the schema"))
            .chain(altered.map(|f| {
                format!(
                    "the function {} is not as coolops migrate makes it: it may record something else, or nothing; restore it from a dump of the schema",
                    f.signature
                )
            }))
            .collect())
    }

    /// The triggers, rules and constraints of what only grows that are not as the migrations made them, or that nobody here made.
    async fn altered_triggers(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            // Before each update and delete of a row, 27, and before each truncate, 34: the bits of pg_trigger.tgtype.
            r#"with guarded as (select oid, relname from pg_class where oid in ('public.event'::regclass, 'public.log_chunk'::regclass, 'public.event_head'::regclass)),
                 ours (relation, name, function, fires) as (values
                   ('event', 'event_is_append_only', 'forbid_change', 27), ('event', 'event_is_never_truncated', 'forbid_change', 34),
                   ('log_chunk', 'log_chunk_is_append_only', 'keep_output', 27), ('log_chunk', 'log_chunk_is_never_truncated', 'forbid_change', 34)),
                 there as (select g.relname, t.tgname, o.name is not null and t.tgtype = o.fires and t.tgenabled = 'A' and t.tgqual is null and t.tgattr = ''
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
                 from pg_rewrite r join guarded g on g.oid = r.ev_class
               union all
               select format('the constraint %s is gone: the database takes what can''t be; restore it from a dump of the schema', wanted)
                 from unnest(array['event_pkey', 'event_event_id_key', 'event_stream_id_stream_version_key', 'event_head_pkey', 'log_chunk_pkey']) wanted
                where not exists (select from pg_constraint c join guarded g on g.oid = c.conrelid where c.conname = wanted)"#
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Who may do what nobody was given: write to what only grows, but for its owner; anything with a table of ours, for everybody
    /// who may connect and for the role that reads the views.
    async fn given_rights(&self) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"with ours as (select oid, relname, relacl, relowner from pg_class
                              where relnamespace = 'public'::regnamespace
                                and relname in ('event', 'log_chunk', 'event_head', 'event_type', 'project', 'token', 'build', 'deployment', 'boundary', 'snapshot', 'job',
                                  'secret_value', 'subject_key', 'slack_message', 'slack_report', 'slack_sent', 'slack_stray', 'slack_report_stray', 'slack_person', 'rate_bucket',
                                  'worker', 'clock', 'ci_delivery', 'ci_refusal', 'log_tail', 'log_begun', 'checkpoint', 'checkpoint_place', 'tree_tile',
                                  'witness', 'cosignature', 'witnessed')),
                 acls as (select relname, relowner, relacl as acl from ours where relacl is not null
                          union all select o.relname, o.relowner, a.attacl from ours o join pg_attribute a on a.attrelid = o.oid where a.attacl is not null),
                 granted as (select a.relname, g.grantee, string_agg(distinct g.privilege_type, ', ' order by g.privilege_type) as what,
                                    string_agg(distinct g.privilege_type, ', ' order by g.privilege_type) filter (where g.privilege_type <> 'SELECT') as writes
                               from acls a cross join aclexplode(a.acl) g where g.grantee <> a.relowner group by a.relname, g.grantee)
               select format('everybody who may connect has %s on %s; revoke that', what, relname) as "said!" from granted where grantee = 0
               union all
               select format('the role that reads the views has %s on %s; revoke that', what, relname) from granted
                where grantee = (select oid from pg_roles where rolname = public.coolops_reader_role())
               union all
               select format('the role %s has %s on %s, which nobody writes to but through functions; revoke that', r.rolname, writes, relname)
                 from granted join pg_roles r on r.oid = grantee where writes is not null and relname in ('event', 'log_chunk', 'event_head')
                  and r.rolname <> public.coolops_reader_role()
               order by 1"#
        )
        .fetch_all(&self.pool)
        .await
    }
}
