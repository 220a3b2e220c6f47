//! The keys of private texts, and what opens those texts when events are read.
//!
//! **Invariant:** a subject's key is in the database before the first event that needs it, and no process remembers one
//! beyond a read or an append: when its row is gone, nobody reads what is under it any more.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{LazyLock, Mutex};

use chrono::{DateTime, Utc};
use memchr::memmem::Finder;
use uuid::Uuid;

use super::Store;
use super::append::AppendError;
use super::copy_out::Row;
use super::log::ReadError;
use super::wake;
use crate::domain::event::{Actor, Event, StreamKind};
use crate::domain::ids::{DeploymentId, ProjectId, SubjectKeyId};
use crate::domain::private::{self, Part, Subject};
use crate::keys::subject::{self, SubjectKey, SubjectSecret};
use crate::keys::{KeyError, Keyring, SealedValue};

/// Opens the private texts of the events that it was made for.
#[derive(Default)]
pub struct Opener {
    /// The keys that there are: one that isn't here was destroyed.
    keys: HashMap<Uuid, Key>,
    /// Those that were wanted and aren't here.
    missing: Mutex<BTreeSet<Uuid>>,
    /// Master keys that were wanted and aren't set.
    locked: Mutex<BTreeSet<String>>,
    /// What whoever is under a key was called in what was opened.
    called: Mutex<HashMap<Uuid, BTreeSet<String>>>,
    /// Whether one was changed, so that no master key opens it.
    has_changed: bool,
}

enum Key {
    /// Somebody's, who did much.
    Ready(Box<SubjectKey>),
    /// A deployment's: there are many, each for few texts.
    Secret(SubjectSecret),
    /// It is under a master key that isn't set, or was changed.
    Locked(KeyError),
}

impl Key {
    fn is_changed(&self) -> bool {
        matches!(self, Self::Locked(why) if !matches!(why, KeyError::UnknownKey(_)))
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({} keys)", self.keys.len())
    }
}

/// Finds texts that may be private. It is made once: that costs more than to find one in an event.
static PRIVATE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(subject::PREFIX));

/// Characters of a key's id that tell one erased person from another.
const MARK: usize = 12;

impl Opener {
    /// All that there are.
    pub(super) fn keys(&self) -> Vec<SubjectKeyId> {
        self.keys.keys().copied().map(SubjectKeyId).collect()
    }

    /// Takes the ids of destroyed keys that were met since it was last asked.
    pub(super) fn missing(&self) -> BTreeSet<Uuid> {
        std::mem::take(&mut *self.missing.lock().expect("no holder of the lock panics"))
    }

    /// Takes the master keys that texts opened since it was last asked were under, and that aren't set.
    pub(super) fn locked(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.locked.lock().expect("no holder of the lock panics"))
    }

    /// Opens a text in its place; `false` when it was erased. What is under a master key that isn't set reads as such for now:
    /// deployments go on without it.
    fn text(&self, part: Part, text: &mut String) -> Result<bool, String> {
        let Some(id) = subject::key_of(text) else { return Ok(true) };
        let opened = match self.keys.get(&id) {
            None => {
                self.missing.lock().expect("no holder of the lock panics").insert(id);
                let mark = &id.simple().to_string()[..MARK];
                *text = private::erased(part, mark);
                return Ok(false);
            }
            Some(Key::Ready(key)) => key.open(text),
            Some(Key::Secret(secret)) => SubjectKey::new(id, secret).open(text),
            Some(Key::Locked(why)) => {
                if let KeyError::UnknownKey(master) = why {
                    self.locked.lock().expect("no holder of the lock panics").insert(master.clone());
                }
                *text = private::unreadable(part, &id.simple().to_string()[..MARK]);
                // A line that can't be read is left out.
                return Ok(part != Part::Line);
            }
        };
        *text = opened.map_err(|why| why.to_string())?;
        if part == Part::Name {
            let mut called = self.called.lock().expect("no holder of the lock panics");
            let names = called.entry(id).or_default();
            if !names.contains(text.as_str()) {
                names.insert(text.clone());
            }
        }
        Ok(true)
    }

    /// Notes which keys are missing, or under a master key that isn't set, of the texts in a stored text that nobody opens.
    pub(super) fn notes(&self, stored: &str) {
        if !may_be_private(stored) {
            return;
        }
        for id in keys_in([stored]) {
            match self.keys.get(&id) {
                None => drop(self.missing.lock().expect("no holder of the lock panics").insert(id)),
                Some(Key::Locked(KeyError::UnknownKey(master))) => {
                    self.locked.lock().expect("no holder of the lock panics").insert(master.clone());
                }
                Some(_) => {}
            }
        }
    }

    /// Notes that of the private texts of an event that nobody opens. What only looks like one, as a variable may, is none.
    pub(super) fn notes_of(&self, event: &mut Event) {
        let anybody = Subject::Operator(String::new());
        private::event(event, Some(&anybody), &mut |_, _, text| {
            self.notes(text);
            true
        });
    }

    /// A key of texts in a stored text that was changed.
    pub(super) fn changed_in(&self, stored: &str) -> Option<SubjectKeyId> {
        if !self.has_changed || !may_be_private(stored) {
            return None;
        }
        let is_changed = |id: &Uuid| self.keys.get(id).is_some_and(Key::is_changed);
        keys_in([stored]).into_iter().find(is_changed).map(SubjectKeyId)
    }

    /// What whoever is under a key was called in what was opened; none where nothing of it was.
    pub(super) fn called(&self, key: Uuid) -> BTreeSet<String> {
        self.called.lock().expect("no holder of the lock panics").get(&key).cloned().unwrap_or_default()
    }

    /// Anything with its private texts in plain, where they weren't erased.
    ///
    /// # Errors
    /// [`ReadError::Locked`].
    pub(super) fn opening<T>(
        &self,
        position: i64,
        mut of: T,
        visit: impl FnOnce(&mut T, &mut private::Visit<'_>),
    ) -> Result<T, ReadError> {
        let mut failed = None;
        visit(&mut of, &mut |_, part, text| match self.text(part, text) {
            Ok(there) => there,
            Err(why) => {
                failed.get_or_insert(why);
                true
            }
        });
        failed.map_or(Ok(of), |why| Err(ReadError::Locked { position, why }))
    }

    /// An event with its private texts in plain, where they weren't erased.
    ///
    /// # Errors
    /// [`ReadError::Locked`].
    pub(super) fn event(&self, position: i64, event: Event) -> Result<Event, ReadError> {
        // Each text names its own key: whom it is about is asked when it is encrypted.
        let anybody = Subject::Operator(String::new());
        self.opening(position, event, |event, visit| private::event(event, Some(&anybody), visit))
    }

    /// An actor with their private texts in plain, where they weren't erased.
    ///
    /// # Errors
    /// [`ReadError::Locked`].
    pub(super) fn actor(&self, position: i64, actor: Actor) -> Result<Actor, ReadError> {
        self.opening(position, actor, |actor, visit| private::actor(actor, visit))
    }
}

impl Opener {
    /// The encrypted texts in stored texts, and what they say; without those that were erased.
    pub(super) fn plain<'a>(&self, stored: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, String> {
        let mut plain = BTreeMap::new();
        for text in stored {
            for at in PRIVATE.find_iter(text.as_bytes()) {
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_');
                let sealed = &text[at..];
                let sealed = &sealed[..sealed.find(|c| !is_part(c)).unwrap_or(sealed.len())];
                let mut said = sealed.to_owned();
                if subject::key_of(sealed).is_some() && matches!(self.text(Part::Words, &mut said), Ok(true)) {
                    plain.insert(sealed, said);
                }
            }
        }
        plain
    }
}

/// Whether a stored text may have private texts in it: most events have none, and are spared the rest.
pub(super) fn may_be_private(stored: &str) -> bool {
    PRIVATE.find(stored.as_bytes()).is_some()
}

/// The ids of the keys that stored texts name.
pub(super) fn keys_in<'a>(stored: impl IntoIterator<Item = &'a str>) -> Vec<Uuid> {
    let mut ids = HashSet::new();
    for text in stored {
        for at in PRIVATE.find_iter(text.as_bytes()) {
            // Its id is of ASCII characters, or it is none.
            ids.extend(text.get(at..at + subject::PREFIX.len() + 33).and_then(subject::key_of));
        }
    }
    ids.into_iter().collect()
}

/// A key as its row has it.
pub(super) struct Wrapped {
    pub(super) id: Uuid,
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) key_id: String,
    pub(super) nonce: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

impl Wrapped {
    fn open(self, keys: Option<&Keyring>) -> (Uuid, Key) {
        let Self { id, kind, subject, key_id, nonce, ciphertext } = self;
        let wrapped = SealedValue { key_id, nonce, ciphertext };
        let secret = match keys {
            Some(keys) => keys.unwrap_subject(&place(id, &kind, &subject), &wrapped),
            None => Err(KeyError::UnknownKey(wrapped.key_id)),
        };
        (
            id,
            match secret {
                Ok(secret) if kind == "output" => Key::Secret(secret),
                Ok(secret) => Key::Ready(Box::new(SubjectKey::new(id, &secret))),
                Err(why) => Key::Locked(why),
            },
        )
    }
}

impl Store {
    /// What opens the private texts in stored texts. Asks the database only when there are some.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn opener(&self, stored: impl IntoIterator<Item = &str>) -> Result<Opener, sqlx::Error> {
        let ids = keys_in(stored);
        if ids.is_empty() {
            return Ok(Opener::default());
        }
        let rows = sqlx::query_as!(
            Wrapped,
            "select id, kind, subject, key_id, nonce, ciphertext from subject_key where id = any($1)",
            &ids
        );
        Ok(self.opening_with(rows.fetch_all(&self.pool).await?))
    }

    /// What opens everything that is under these keys.
    pub(super) fn opening_with(&self, rows: Vec<Wrapped>) -> Opener {
        let keys: HashMap<Uuid, Key> = rows.into_iter().map(|row| row.open(self.keys.as_deref())).collect();
        Opener { has_changed: keys.values().any(Key::is_changed), keys, ..Opener::default() }
    }

    /// The keys of all these subjects, made where there are none yet; with what they are called, where that is known. And those
    /// that are called otherwise by now: that is noted when it is recorded.
    pub(super) async fn subject_keys(
        &self,
        subjects: &HashMap<Subject, Option<String>>,
    ) -> Result<(HashMap<Subject, SubjectKey>, Vec<Renamed>), AppendError> {
        let keys =
            self.keys.as_deref().ok_or_else(|| AppendError::Locked("the master key is not known here".to_owned()))?;
        let (mut kinds, mut of, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (subject, name) in subjects {
            let (kind, id) = subject.stored();
            kinds.push(kind);
            of.push(id);
            names.push(name.clone());
        }
        let (mut found, mut renamed) = (HashMap::new(), Vec::new());
        // What was made, by us or by somebody else, is found the next time; an erasure may come in between.
        for _ in 0..5 {
            let rows = sqlx::query!(
                // Whoever is named again while they are being erased is somebody new.
                r#"select a.n::int as "n!", k.id, k.generation, k.key_id, k.nonce, k.ciphertext, a.name is distinct from k.name and a.name is not null as "renamed!",
                          exists (select from event e where e.type = 'person_erased'
                                     and (e.payload->>'key' = k.id::text or (e.payload->'others')::jsonb ? k.id::text)) as "erased!"
                     from unnest($1::text[], $2::text[], $3::text[]) with ordinality a(kind, subject, name, n)
                     join subject_key k on k.kind = a.kind and k.subject = a.subject order by k.generation"#,
                &kinds as &[&str],
                &of,
                &names as &[Option<String>]
            )
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
            let mut generations: HashMap<Subject, i32> = HashMap::new();
            for row in rows {
                let Some((subject, name)) = usize::try_from(row.n - 1).ok().and_then(|n| subjects.iter().nth(n)) else {
                    continue;
                };
                generations.insert(subject.clone(), row.generation + 1);
                if row.erased {
                    continue;
                }
                let wrapped = SealedValue { key_id: row.key_id, nonce: row.nonce, ciphertext: row.ciphertext };
                let (kind, id) = subject.stored();
                // One that can't be opened, as under a master key that isn't set, is left alone: there will be another one.
                let Ok(secret) = keys.unwrap_subject(&place(row.id, kind, &id), &wrapped) else { continue };
                found.entry(subject.clone()).or_insert_with(|| SubjectKey::new(row.id, &secret));
                renamed.extend(name.clone().filter(|_| row.renamed).map(|name| Renamed { key: row.id, name }));
            }
            if found.len() == subjects.len() {
                return Ok((found, renamed));
            }
            renamed.clear();
            for (subject, name) in subjects.iter().filter(|(subject, _)| !found.contains_key(*subject)) {
                let (id, secret) = subject::new_secret();
                let (kind, of) = subject.stored();
                let wrapped = keys.wrap(&place(id, kind, &of), &secret);
                sqlx::query!(
                    "insert into subject_key (id, kind, subject, generation, name, key_id, nonce, ciphertext) values ($1, $2, $3, $4, $5, $6, $7, $8)
                     on conflict (kind, subject, generation) do nothing",
                    id,
                    kind,
                    of,
                    generations.get(subject).copied().unwrap_or(0),
                    name.as_deref(),
                    wrapped.key_id,
                    wrapped.nonce,
                    wrapped.ciphertext
                )
                .execute(&self.pool)
                .await
                .map_err(unavailable)?;
            }
        }
        Err(unavailable(sqlx::Error::RowNotFound))
    }
}

/// Somebody who is called otherwise than their key's row says.
pub(super) struct Renamed {
    key: Uuid,
    name: String,
}

impl Store {
    /// Notes what they are called by now, as an event says.
    pub(super) async fn rename(&self, renamed: Vec<Renamed>) -> Result<(), sqlx::Error> {
        for Renamed { key, name } in renamed {
            sqlx::query!("update subject_key set name = $2 where id = $1", key, name).execute(&self.pool).await?;
        }
        Ok(())
    }
}

/// Somebody whose private texts can be erased.
#[derive(Debug, Clone)]
pub struct Erasable {
    /// Their keys: more than one where a master key was missing for a while; none of somebody who only chose what they are told.
    pub keys: Vec<SubjectKeyId>,
    /// `person`, `operator` or `author`.
    pub kind: String,
    /// Their id in Slack, login name, or name.
    pub id: String,
    /// What they were called last.
    pub name: Option<String>,
    /// When they were first named.
    pub since: DateTime<Utc>,
}

/// Whom private texts are about.
#[derive(Clone, Copy)]
pub struct Subjects<'a>(&'a Store);

impl Store {
    /// Whom private texts are about.
    pub fn subjects(&self) -> Subjects<'_> {
        Subjects(self)
    }
}

impl Subjects<'_> {
    /// Everybody who is named in events under a key of theirs; in the order of their names. Whoever chose what they are told is a
    /// person, though that is under another key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn people(self) -> Result<Vec<Erasable>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select coalesce(array_agg(id order by generation) filter (where kind <> 'chooser'), '{}') as "ids!", who as "kind!", subject,
                      coalesce(max(name) filter (where kind <> 'chooser'), max(name)) as name, min(made_at) as "made_at!"
                 from (select *, case kind when 'chooser' then 'person' else kind end as who from subject_key
                        where kind in ('person', 'operator', 'author', 'chooser')) key
                group by who, subject order by coalesce(coalesce(max(name) filter (where kind <> 'chooser'), max(name)), subject), subject"#
        );
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows
            .map(|r| Erasable {
                keys: r.ids.into_iter().map(SubjectKeyId).collect(),
                kind: r.kind,
                id: r.subject,
                name: r.name,
                since: r.made_at,
            })
            .collect())
    }

    /// The key of a person in Slack, made where there is none: an erasure names it, and never the one under which somebody chose what
    /// they are told.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn key_of_person(self, id: &str) -> Result<SubjectKeyId, AppendError> {
        let person = Subject::Person(id.to_owned());
        let (keys, _) = self.0.subject_keys(&HashMap::from([(person.clone(), None)])).await?;
        keys.get(&person).map(|key| SubjectKeyId(key.id())).ok_or_else(|| unavailable(sqlx::Error::RowNotFound))
    }

    /// Whether an event under one of somebody's keys calls them so; also when none is under one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_called(self, keys: &[SubjectKeyId], name: &str) -> Result<bool, sqlx::Error> {
        let (mut is_named, mut is_called) = (false, false);
        let look = |row: &Row<'_>| {
            if row.is_under(keys) {
                (is_named, is_called) = (true, row.calls(keys, name));
            }
            !is_called
        };
        self.0.log().scan_opened(0, look).await?;
        Ok(is_called || !is_named)
    }

    /// Encrypts keys that are under an earlier master key anew under the present one; so many at most.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rewrap(self, limit: i64) -> Result<(), sqlx::Error> {
        let Some(keys) = self.0.keys.as_deref() else { return Ok(()) };
        let ids = keys.earlier_ids();
        let rows = sqlx::query_as!(
            Wrapped,
            "select id, kind, subject, key_id, nonce, ciphertext from subject_key where key_id = any($1)
              order by kind = 'output', id limit $2",
            &ids,
            limit
        );
        for row in rows.fetch_all(&self.0.pool).await? {
            let place = place(row.id, &row.kind, &row.subject);
            let wrapped = SealedValue { key_id: row.key_id, nonce: row.nonce, ciphertext: row.ciphertext };
            // One that was changed stays as it is, and is told when it is needed.
            let Ok(secret) = keys.unwrap_subject(&place, &wrapped) else { continue };
            let anew = keys.wrap(&place, &secret);
            sqlx::query!(
                "update subject_key set key_id = $2, nonce = $3, ciphertext = $4 where id = $1",
                row.id,
                anew.key_id,
                anew.nonce,
                anew.ciphertext
            )
            .execute(&self.0.pool)
            .await?;
        }
        Ok(())
    }

    /// The key of the lines that a deployment printed and that stand in events; none where no event has any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn key_of_output(self, deployment: DeploymentId) -> Result<Option<SubjectKeyId>, sqlx::Error> {
        let of = deployment.to_string();
        let key = sqlx::query_scalar!(
            "select id from subject_key where kind = 'output' and subject = $1 order by generation limit 1",
            of
        );
        Ok(key.fetch_optional(&self.0.pool).await?.map(SubjectKeyId))
    }

    /// Of these keys, those that are there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn there(self, keys: &[SubjectKeyId]) -> Result<Vec<SubjectKeyId>, sqlx::Error> {
        let keys: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let there = sqlx::query_scalar!("select id from subject_key where id = any($1) order by id", &keys);
        Ok(there.fetch_all(&self.0.pool).await?.into_iter().map(SubjectKeyId).collect())
    }

    /// How many events name an id in plain: those that were recorded before names were encrypted, which stay as they are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn named_in_plain(self, id: &str) -> Result<i64, sqlx::Error> {
        let quoted = serde_json::Value::from(id).to_string();
        sqlx::query_scalar!(
            r#"select count(*) as "n!" from event where strpos(payload::text, $1) > 0 or strpos(actor::text, $1) > 0"#,
            quoted
        )
        .fetch_one(&mut self.0.bulk().await?)
        .await
    }

    /// The builds of which CI told a name, the newest first, at most so many: what CI tells is recorded in plain. It may be
    /// part of another word there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn builds_naming(self, name: &str, limit: i64) -> Result<Vec<(String, String)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select payload->>'name' as "name!", coalesce(payload->>'metadata', '') as "told!" from event
                where type = 'build_registered' and strpos(lower(payload->>'metadata'), lower($1)) > 0 order by position desc limit $2"#,
            name,
            limit
        );
        let rows = rows.fetch_all(&mut self.0.bulk().await?).await?;
        Ok(rows.into_iter().map(|r| (r.name, r.told)).collect())
    }

    /// Destroys somebody's keys, and what else is kept of them outside the log; whoever remembers anything that was read
    /// before forgets it. What they did since is under another key, and stays. `false` while a project is held: nothing is
    /// destroyed then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn destroy(self, keys: &[SubjectKeyId]) -> Result<bool, sqlx::Error> {
        // Who is in the way was asked project by project, and one may have been held meanwhile.
        let may = sqlx::query_scalar!(
            r#"with free as (select not exists (select from project where doc->>'hold' is not null)
                               -- What is destroyed is destroyed: the rest of it follows.
                               or not exists (select from subject_key k where k.id = any($1) and k.kind in ('person', 'operator', 'author')) as may),
                    gone as (delete from subject_key k using free where free.may and k.id = any($1) and k.kind in ('person', 'operator', 'author') returning k.kind, k.subject),
                    chosen as (delete from subject_key k using gone where gone.kind = 'person' and k.kind = 'chooser' and k.subject = gone.subject),
                    known as (delete from slack_person p using gone where gone.kind = 'person' and (p.id = gone.subject or strpos(p.doc::text, '"' || gone.subject || '"') > 0)),
                    -- What was told stays noted: it is not told again.
                    told as (update slack_report r set state = 'unwanted', person = null, channel = null, ts = null, text = null, thread = null, problem = null
                               from gone where gone.kind = 'person' and r.person like '% ' || gone.subject)
               select may and pg_notify($2, $3) is not null as "may!" from free"#,
            &keys.iter().map(|key| key.0).collect::<Vec<_>>(),
            wake::CHANNEL,
            wake::ERASED
        )
        .fetch_one(&self.0.pool)
        .await?;
        self.0.wake.erased();
        Ok(may)
    }

    /// The builds, and what else the events are about, that name a key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stories_of(self, key: SubjectKeyId) -> Result<Vec<(StreamKind, Uuid, Uuid)>, sqlx::Error> {
        let named = format!("{}{}:", subject::PREFIX, key.0.simple());
        let rows = sqlx::query!(
            "select distinct stream_type, stream_id, correlation_id from event
              where strpos(payload::text, $1) > 0 or strpos(actor::text, $1) > 0",
            named
        );
        let rows = rows.fetch_all(&mut self.0.bulk().await?).await?.into_iter();
        // What no version of this program wrote is shown nowhere.
        let story = |kind: &str, stream, correlation| Some((StreamKind::named(kind)?, stream, correlation));
        Ok(rows.filter_map(|r| story(&r.stream_type, r.stream_id, r.correlation_id)).collect())
    }

    /// Keys that are under a master key other than these, by that; how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn under_other_keys(self, known: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select key_id, count(*) as "n!" from subject_key where key_id <> all($1) group by 1 order by 1"#,
            known
        );
        Ok(rows.fetch_all(&self.0.pool).await?.into_iter().map(|r| (r.key_id, r.n)).collect())
    }

    /// Destroys what a deployment printed: its lines in the journal, and those in events.
    ///
    /// # Errors
    /// When the database does not answer, or no event says that it is erased.
    pub async fn erase_output(self, deployment: DeploymentId) -> Result<(), sqlx::Error> {
        sqlx::query_scalar!(r#"select erase_output($1) is null as "done""#, deployment.0)
            .fetch_one(&mut self.0.bulk().await?)
            .await?;
        self.0.wake.moved(deployment);
        Ok(())
    }

    /// Deployments whose output is kept for longer than so many days after their end, by project, but for some; the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outputs_older_than(
        self,
        days: &[(ProjectId, u32)],
        but: &[DeploymentId],
        limit: i64,
    ) -> Result<Vec<(DeploymentId, u32)>, sqlx::Error> {
        let (projects, days): (Vec<Uuid>, Vec<i32>) =
            days.iter().map(|(project, days)| (project.0, i32::try_from(*days).unwrap_or(i32::MAX))).unzip();
        let rows = sqlx::query!(
            r#"select d.id, p.days as "days!" from log_chunk c join deployment d on d.id = c.deployment_id
                 join unnest($1::uuid[], $2::int[]) p(project, days) on p.project = d.project_id
                 join event e on e.position = d.since
                where c.chunk_no = 0 and c.body is not null and not d.is_open
                  and c.recorded_at < coolops_now() - make_interval(days => (select min(days) from unnest($2::int[]) days))
                  and e.recorded_at < coolops_now() - make_interval(days => p.days)
                  and not exists (select from event o where o.type = 'output_erased' and o.payload->'of'->>'deployment_id' = d.id::text)
                  and d.id <> all($4::uuid[])
                order by c.recorded_at limit $3"#,
            &projects,
            &days,
            limit,
            &but.iter().map(|id| id.0).collect::<Vec<_>>()
        );
        let rows = rows.fetch_all(&mut self.0.bulk().await?).await?.into_iter();
        Ok(rows.map(|r| (DeploymentId(r.id), u32::try_from(r.days).unwrap_or(0))).collect())
    }
}

/// What a key is bound to: moved to somebody else it does not open.
fn place(id: Uuid, kind: &str, subject: &str) -> String {
    format!("{id} {kind} {subject}")
}

fn unavailable(error: sqlx::Error) -> AppendError {
    AppendError::Unavailable(std::sync::Arc::new(error))
}
