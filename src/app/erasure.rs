//! Forgetting: people who ask for it, and what deployments printed.
//!
//! What is to be forgotten is recorded first; a job destroys the keys and the output then, and has what was shown of them
//! made anew. The log keeps its bytes, and with them chain, tree and proofs.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::deployment::{Deployment, Stand, StopReason};
use crate::domain::erasure::{self, ErasureRefusal, Involved};
use crate::domain::erasure_events::{OutputErased, OutputGone};
use crate::domain::event::{Actor, Event, InstallationEvent, Recorded, StreamKind};
use crate::domain::ids::{BuildId, DeploymentId, LockableId, SubjectKeyId, installation_stream, output_stream};
use crate::domain::lock::{Lock, Somebody};
use crate::domain::react::{Task, TaskKind};
use crate::domain::rights::{Rights, Who};
use crate::store::append::Append;
use crate::store::log::ReadError;
use crate::store::private::Erasable;
use crate::telemetry::causes;

type ErasureError = CommandError<ErasureRefusal>;

/// Deployments whose output is looked for at once.
const AT_A_TIME: i64 = 50;
/// Builds that are searched for a name that CI told, at most.
const BUILDS_LOOKED_AT: i64 = 1_000;
/// Time between two edits that take something out: a third of what Slack takes.
const APART: Duration = Duration::from_secs(3);
/// Edits for expired output are spread over this many steps, each [`APART`] from the next.
const SPREAD: u128 = 50;

/// For this long after an erasure it is looked whether a row names them again: nobody's decision is on its way for longer.
const LOOKED_AFTER: Duration = Duration::from_mins(10);

/// Time between two such looks, by whichever process.
const APART_LOOKS: Duration = Duration::from_mins(4);

/// Whom an operator wants erased.
#[derive(Debug, Clone, Copy)]
pub struct Whom<'a> {
    /// Their id in Slack or what they are called there; an operator's login name; the name that CI gave an author.
    pub text: &'a str,
    /// What they are.
    pub kind: PersonKind,
}

/// What somebody is whose private texts can be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonKind {
    /// Somebody in Slack.
    Person,
    /// Somebody at the command line.
    Operator,
    /// Whom CI named as a build's author.
    Author,
}

impl PersonKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Operator => "operator",
            Self::Author => "author",
        }
    }
}

/// Whoever was erased.
#[derive(Debug, Clone)]
pub struct ErasedPerson {
    /// Who it was.
    pub who: Erasable,
    /// So many events name them in plain, from before names were encrypted.
    pub in_plain: i64,
    /// Authors that CI named and whose names have theirs in them: they are erased by themselves.
    pub authors: Vec<String>,
    /// Builds of which CI told their name in plain, of those that were announced last.
    pub by_ci: Vec<String>,
}

fn is_erasure_of(recorded: &Recorded, key: SubjectKeyId) -> bool {
    matches!(&recorded.event, Event::Installation(InstallationEvent::PersonErased(e)) if e.key == key || e.others.contains(&key))
}

/// Whether a name stands in a text as a word of its own.
fn is_named(name: &str, text: &str) -> bool {
    let (name, text) = (name.to_lowercase(), text.to_lowercase());
    let is_whole = |(at, word): (usize, &str)| {
        let beside = [text[..at].chars().next_back(), text[at + word.len()..].chars().next()];
        !beside.into_iter().flatten().any(char::is_alphanumeric)
    };
    !name.is_empty() && text.match_indices(&name).any(is_whole)
}

impl App {
    /// Records that somebody is to be erased; the rest is a job's.
    ///
    /// # Errors
    /// See [`ErasureRefusal`], or that the database is away.
    pub async fn erase_person(
        &self,
        whom: Whom<'_>,
        reason: &str,
        actor: &Actor,
    ) -> Result<ErasedPerson, ErasureError> {
        let refused = CommandError::Refused;
        // What CI calls somebody may begin with that sign.
        let text = match whom.kind {
            PersonKind::Author => whom.text.trim(),
            _ => whom.text.trim().trim_start_matches('@'),
        };
        let (people, others): (Vec<Erasable>, Vec<Erasable>) =
            self.store.subjects().people().await?.into_iter().partition(|of| of.kind == whom.kind.as_str());
        let by_id: Vec<&Erasable> = people.iter().filter(|of| of.id == text).collect();
        let by_name =
            || people.iter().filter(|of| of.name.as_ref().unwrap_or(&of.id).trim().eq_ignore_ascii_case(text));
        let is_by_name = by_id.is_empty();
        let found: Vec<&Erasable> = if is_by_name { by_name().collect() } else { by_id };
        let mut who = match &found[..] {
            [who] => Erasable::clone(who),
            [] => {
                let plain = match self.store.subjects().named_in_plain(text).await? {
                    0 => String::new(),
                    n => format!("; {n} events from before names were encrypted name them, and stay as they are"),
                };
                return Err(refused(ErasureRefusal::Nobody(text.to_owned(), plain)));
            }
            several => {
                let ids: Vec<&str> = several.iter().map(|of| of.id.as_str()).collect();
                return Err(refused(ErasureRefusal::Several(ids.len(), ids.join(", "))));
            }
        };
        // Who is called what is in a table that somebody may have changed, and what is erased does not come back.
        if let (true, Some(name)) = (is_by_name, &who.name)
            && !self.store.subjects().is_called(&who.keys, name).await?
        {
            return Err(refused(ErasureRefusal::NotCalledSo(who.id, name.clone())));
        }
        let involved = self.involved(&who).await?;
        if who.keys.is_empty() {
            who.keys.push(self.store.subjects().key_of_person(&who.id).await?);
        }
        for _ in 0..ATTEMPTS {
            let recorded = self.store.log().about(installation_stream()).await?;
            let is_erased = |key: &SubjectKeyId| recorded.iter().any(|recorded| is_erasure_of(recorded, *key));
            let (erased, keys): (Vec<SubjectKeyId>, Vec<_>) = who.keys.iter().partition(|key| is_erased(key));
            for key in &erased {
                // Whoever was to do it did not come to the end.
                self.store.jobs().want(Task::ErasePerson(*key)).await?;
            }
            if let Some((key, others)) = keys.split_first() {
                let event = erasure::person(&involved, (*key, others.to_vec()), reason).map_err(refused)?;
                let version = recorded.last().map_or(0, |last| last.version);
                let mut append = Append::default();
                record(&mut append, new_event_id(), &event, actor, version);
                if self.append_unless_moved(append).await?.is_none() {
                    continue;
                }
            }
            let in_plain = self.store.subjects().named_in_plain(&who.id).await?;
            let name = who.name.as_deref().unwrap_or(&who.id);
            let everybody = others.iter().chain(people.iter().filter(|of| of.id != who.id));
            let authors = everybody.filter(|of| of.kind == PersonKind::Author.as_str() && is_named(name, &of.id));
            let authors = authors.map(|of| of.id.clone()).collect();
            let by_ci = self.builds_naming(name).await?;
            return Ok(ErasedPerson { who, in_plain, authors, by_ci });
        }
        Err(too_busy())
    }

    /// The names of builds of which CI told this name as a word of its own, the newest first.
    async fn builds_naming(&self, name: &str) -> Result<Vec<String>, sqlx::Error> {
        let found = self.store.subjects().builds_naming(name, BUILDS_LOOKED_AT).await?;
        Ok(found.into_iter().filter(|(_, told)| is_named(name, told)).map(|(build, _)| build).collect())
    }

    /// What somebody still has to do with.
    async fn involved(&self, who: &Erasable) -> Result<Involved, ReadError> {
        let is_operator = who.kind == PersonKind::Operator.as_str();
        let is_person = who.kind == PersonKind::Person.as_str();
        let is_them = |somebody: &Somebody| {
            somebody.id() == who.id && if somebody.person().is_some() { is_person } else { is_operator }
        };
        let stops = |reason: &StopReason| match reason {
            StopReason::Person { by, .. } => is_person && by.user == who.id,
            StopReason::Operator { by, .. } => is_operator && *by == who.id,
            _ => false,
        };
        let now = self.store.clock().now();
        let theirs = |lock: &Lock| is_them(&lock.holder) && !lock.is_over(now);
        let name = who.name.clone().unwrap_or_else(|| who.id.clone());
        let mut involved = Involved { id: who.id.clone(), name, ..Involved::default() };
        for id in self.store.deployments().open().await? {
            let deployment = self.deployment_of_log(id).await?;
            involved.under_way.extend(deployment.filter(|d| {
                let stand = match &d.stand {
                    Stand::Locked { lock } => is_them(&lock.holder),
                    Stand::Cancelling { reason } => stops(reason),
                    _ => false,
                };
                stand || is_them(&d.requested_by)
            }));
        }
        let named = |all: &[Who]| is_person && all.iter().any(|of| matches!(of, Who::User { id, .. } if *id == who.id));
        for listed in self.store.directory().projects().await? {
            let Some(project) = self.project_of_log(listed.id).await? else { continue };
            let project = project.value;
            involved.held = involved.held.or_else(|| Some((project.slug.clone(), project.hold.clone()?)));
            // Nobody does anything there any more, and nothing there can be given to others.
            if project.archived {
                continue;
            }
            involved
                .locks
                .extend(project.lock.iter().filter(|l| theirs(l)).map(|_| format!("the project {}", project.slug)));
            for environment in project.open_environments() {
                let place = format!("{} of {}", environment.name, project.slug);
                if environment.lock.as_ref().is_some_and(theirs) {
                    involved.locks.push(place.clone());
                }
                let Rights { deploy, lock, stop, administer, .. } = &environment.rights;
                if [deploy, lock, stop].into_iter().flatten().any(|all| named(all)) || named(administer) {
                    involved.rights.push(place);
                }
            }
        }
        let installation = self.installation_anew().await?;
        involved
            .locks
            .extend(installation.value.lock.iter().filter(|lock| theirs(lock)).map(|_| "everything".to_owned()));
        involved.rights.extend(named(&installation.value.administrators).then(|| "everything".to_owned()));
        Ok(involved)
    }

    /// Destroys a key of which an event says that it is to be destroyed, and has what named its owner made anew. What they do
    /// since is under another key. `false` while a project is held, or a deployment is under way that named them under this
    /// one, as a press does that came at that moment: nothing is destroyed then.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn destroy_person(&self, key: SubjectKeyId) -> Result<bool, ReadError> {
        let said = self.store.log().about(installation_stream()).await?;
        let Some(said) = said.iter().find(|recorded| is_erasure_of(recorded, key)) else { return Ok(true) };
        let others = match &said.event {
            Event::Installation(InstallationEvent::PersonErased(e)) => e.others.clone(),
            _ => Vec::new(),
        };
        let keys: Vec<SubjectKeyId> = std::iter::once(key).chain(others).collect();
        let mut stories = self.stories_of(&keys).await?;
        let under_way: HashSet<Uuid> = self.store.deployments().open().await?.into_iter().map(|id| id.0).collect();
        let people = self.store.subjects().people().await?;
        if let Some(who) = people.iter().find(|of| of.keys.contains(&key))
            && (stories.iter().any(|(_, stream, _)| under_way.contains(stream))
                || self.involved(who).await?.held.is_some())
        {
            return Ok(false);
        }
        if !self.store.subjects().destroy(&keys).await? {
            return Ok(false);
        }
        // Those of what was recorded under it meanwhile, too.
        stories.extend(self.stories_of(&keys).await?);
        stories.sort();
        stories.dedup();
        // Before what is slow, and what is not to be done twice: where this can't be done now, all of it comes again.
        self.rebuild().await?;
        let (mut after, mut asked) = (Duration::ZERO, HashSet::new());
        for (kind, stream, correlation) in stories {
            match kind {
                StreamKind::Deployment => {
                    // Once for all its deployments. Whoever was erased just before had it edited for themselves alone.
                    if asked.insert(correlation) {
                        self.edit_out(BuildId(correlation), after).await?;
                    }
                    let reports = self.store.reports().renew(stream).await?;
                    let task = Task::Report(DeploymentId(stream));
                    // Also where there is none, if one may be on its way.
                    if reports > 0 || !self.store.jobs().is_idle(task).await? {
                        self.store.jobs().want_within(task, after).await?;
                    }
                    after += APART * (1 + u32::try_from(reports).unwrap_or(0));
                }
                StreamKind::Build => {
                    if asked.insert(stream) {
                        self.edit_out(BuildId(stream), after).await?;
                        after += APART;
                    }
                }
                StreamKind::Project | StreamKind::Environment | StreamKind::Installation => {
                    let reports = self.store.reports().renew(stream).await?;
                    self.store.jobs().want_within(Task::ReportLock(LockableId(stream)), after).await?;
                    after += APART * u32::try_from(reports).unwrap_or(0);
                }
                // These are shown nowhere: what is sent is made of the others.
                StreamKind::Message | StreamKind::Output | StreamKind::Person => {}
            }
        }
        Ok(true)
    }

    /// Makes rows right again that name somebody who was erased in the last minutes: whoever read a row before, and wrote it
    /// after, wrote the name again; or died before they could look whether it may be there.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn look_after_erasures(&self) -> Result<(), ReadError> {
        let is_due = self.store.jobs().were_done(TaskKind::ErasePerson, LOOKED_AFTER).await?;
        // One process does it.
        if is_due && self.store.paces().take("look_after_erasures", APART_LOOKS).await? {
            self.rebuild().await?;
        }
        Ok(())
    }

    /// The builds, and what else the events are about, that name one of these keys.
    async fn stories_of(&self, keys: &[SubjectKeyId]) -> Result<Vec<(StreamKind, Uuid, Uuid)>, sqlx::Error> {
        let mut stories = Vec::new();
        for key in keys {
            stories.extend(self.store.subjects().stories_of(*key).await?);
        }
        Ok(stories)
    }

    /// Has what was erased taken out of a build's message, after a while: many such edits are not to keep those of running
    /// deployments waiting. Where the message is gone it is not posted again for that.
    async fn edit_out(&self, build: BuildId, after: Duration) -> Result<(), sqlx::Error> {
        self.store.messages().edit_out(build).await?;
        // Also of one that is not there: it may be on its way, from whoever read the log before.
        self.store.jobs().want_within(Task::SyncMessage(build), after).await
    }

    /// What became of a deployment's output after its end, and when; none while it is there.
    ///
    /// # Errors
    /// When the database does not answer, or the event can't be read.
    pub async fn output_erased(&self, id: DeploymentId) -> Result<Option<(Recorded, OutputErased)>, ReadError> {
        let told = self.readers().log().stream(output_stream(id)).await?.into_iter().next();
        Ok(told.and_then(|recorded| match recorded.event.clone() {
            Event::OutputErased(erased) => Some((recorded, erased)),
            _ => None,
        }))
    }

    /// Records that what a deployment printed is to be erased; the rest is a job's. Asked for again it is seen to again.
    ///
    /// # Errors
    /// See [`ErasureRefusal`], or that the database is away.
    pub async fn erase_output(
        &self,
        id: DeploymentId,
        why: OutputGone,
        actor: &Actor,
    ) -> Result<Deployment, ErasureError> {
        let missing = || CommandError::Refused(ErasureRefusal::NoDeployment(id.to_string()));
        for _ in 0..ATTEMPTS {
            let told = self.store.log().stream(id.0).await?;
            let deployment = self.deployment_of_log(id).await?.ok_or_else(missing)?;
            let project = self.project_of_log(deployment.of.project_id).await?.ok_or_else(missing)?;
            let key = self.store.subjects().key_of_output(id).await?;
            let event =
                erasure::output(&deployment, &project.value, key, why.clone()).map_err(CommandError::Refused)?;
            if self.output_erased(id).await?.is_some() {
                self.store.jobs().want(Task::EraseOutput(id)).await?;
                return Ok(deployment);
            }
            let mut append = Append::default();
            record(&mut append, new_event_id(), &event, actor, 0);
            if let Some(last) = told.last() {
                append.because(last.event_id);
            }
            // Whether it is held.
            append.guard(project.value.id.0, project.position);
            if self.append_unless_moved(append).await?.is_some() {
                return Ok(deployment);
            }
        }
        Err(too_busy())
    }

    /// Destroys output of which an event says that it is to be destroyed, and has what showed of it made anew. `false` while
    /// its project is held.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn destroy_output(&self, id: DeploymentId) -> Result<bool, ReadError> {
        let (Some((_, erased)), Some(deployment)) = (self.output_erased(id).await?, self.deployment_of_log(id).await?)
        else {
            return Ok(true);
        };
        if self.project_of_log(deployment.of.project_id).await?.is_some_and(|project| project.value.hold.is_some()) {
            return Ok(false);
        }
        let showed = erased.key.is_some()
            || matches!(&deployment.stand, Stand::Failed { last_lines, .. } if !last_lines.is_empty());
        self.store.subjects().erase_output(id).await?;
        self.renew_row(id).await?;
        let after = match erased.why {
            OutputGone::Asked { .. } => Duration::ZERO,
            // Many expire at once.
            OutputGone::Expired { .. } => APART * u32::try_from(id.0.as_u128() % SPREAD).unwrap_or(0),
        };
        if showed {
            self.edit_out(deployment.of.build_id, after).await?;
        }
        let task = Task::Report(id);
        // Also where there is none, if one may be on its way.
        if self.store.reports().renew(id.0).await? > 0 || !self.store.jobs().is_idle(task).await? {
            self.store.jobs().want_within(task, after).await?;
        }
        Ok(true)
    }

    /// Writes what a deployment's row says anew, as the log has it by now; again where something happened meanwhile, or somebody
    /// was erased, who would be named in it.
    async fn renew_row(&self, id: DeploymentId) -> Result<(), ReadError> {
        for _ in 0..ATTEMPTS {
            let erasures = self.store.wake().erasures();
            let Some(last) = self.store.log().ends_at(id.0).await? else { return Ok(()) };
            let Some(deployment) = self.deployment_of_log(id).await? else { return Ok(()) };
            let is_renewed = self.store.deployments().renew(&deployment, last).await?;
            if is_renewed && self.store.wake().erasures() == erasures {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets go of output that is older than its project keeps it, of the oldest first; of so much at once as Slack can be told
    /// without that running deployments wait. Tells how many there were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn expire_outputs(&self) -> Result<usize, sqlx::Error> {
        let projects = self.store.directory().projects().await?;
        let kept: Vec<_> =
            projects.iter().filter(|p| p.hold.is_none()).filter_map(|p| Some((p.id, p.output_kept_days?))).collect();
        if kept.is_empty() {
            return Ok(0);
        }
        let (mut expired, mut tried) = (0, Vec::new());
        loop {
            let some = self.store.subjects().outputs_older_than(&kept, &tried, AT_A_TIME).await?;
            let is_all = i64::try_from(some.len()).is_ok_and(|n| n < AT_A_TIME);
            for (id, days) in some {
                tried.push(id);
                match self.erase_output(id, OutputGone::Expired { days }, &Actor::System).await {
                    Ok(_) => expired += 1,
                    // It is held meanwhile, or kept for longer.
                    Err(CommandError::Refused(_)) => {}
                    // One that can't be read is in nobody else's way.
                    Err(e @ CommandError::Impossible(_)) => {
                        tracing::warn!(deployment.id = %id, error = causes(&e), "output can't be let go of");
                    }
                    // Nothing can be recorded now: the others come next time.
                    Err(e @ CommandError::Unavailable(_)) => {
                        tracing::warn!(deployment.id = %id, error = causes(&e), "output can't be let go of now");
                        return Ok(expired);
                    }
                }
            }
            if is_all || expired >= AT_A_TIME as usize {
                return Ok(expired);
            }
        }
    }
}
