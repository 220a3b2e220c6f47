//! Forgetting: people who ask for it, and what deployments printed.
//!
//! What is to be forgotten is recorded first; a job destroys the keys and the output then, and has what was shown of them
//! made anew. The log keeps its bytes, and with them chain, tree and proofs.

use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::deployment::Deployment;
use crate::domain::erasure::{self, ErasureRefusal};
use crate::domain::erasure_events::{OutputErased, OutputGone};
use crate::domain::event::{Actor, Event, InstallationEvent, Recorded};
use crate::domain::ids::{BuildId, DeploymentId, LockableId, SubjectKeyId, installation_stream, output_stream};
use crate::domain::lock::{Lock, Somebody};
use crate::domain::project::Project;
use crate::domain::react::Task;
use crate::store::append::{Append, AppendError};
use crate::store::log::ReadError;
use crate::store::private::Erasable;

type Refused = CommandError<ErasureRefusal>;

/// Deployments whose output is let go of at once, for each project.
const AT_A_TIME: i64 = 200;

/// Whom an operator wants erased.
#[derive(Debug, Clone, Copy)]
pub struct Whom<'a> {
    /// Their id in Slack or what they are called there; an operator's login name.
    pub text: &'a str,
    /// Whether it is an operator.
    pub is_operator: bool,
}

/// Whoever was erased.
#[derive(Debug, Clone)]
pub struct ErasedPerson {
    /// Who it was.
    pub who: Erasable,
    /// So many events name them in plain, from before names were encrypted.
    pub in_plain: i64,
}

impl App {
    /// Records that somebody is to be erased; the rest is a job's.
    ///
    /// # Errors
    /// See [`ErasureRefusal`], or that the database is away.
    pub async fn erase_person(&self, whom: Whom<'_>, reason: &str, actor: &Actor) -> Result<ErasedPerson, Refused> {
        let refused = CommandError::Refused;
        let text = whom.text.trim().trim_start_matches('@');
        let kind = if whom.is_operator { "operator" } else { "person" };
        let people: Vec<Erasable> =
            self.store.subjects().people().await?.into_iter().filter(|of| of.kind == kind).collect();
        let by_id: Vec<&Erasable> = people.iter().filter(|of| of.id == text).collect();
        let by_name = || people.iter().filter(|of| of.name.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(text)));
        let found: Vec<&Erasable> = if by_id.is_empty() { by_name().collect() } else { by_id };
        let who = match &found[..] {
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
        let is_them = |somebody: &Somebody| somebody.id() == who.id && somebody.person().is_none() == whom.is_operator;
        let projects = self.store.directory().projects().await?;
        let under_way = self.under_way(&is_them).await?;
        let locks = self.locks_of(&projects, &is_them).await?;
        let name = who.name.as_deref().unwrap_or(&who.id);
        let event = erasure::person(name, who.key, reason, &under_way, &locks, &projects).map_err(refused)?;
        for _ in 0..ATTEMPTS {
            let is_recorded = |recorded: &Recorded| matches!(&recorded.event, Event::Installation(InstallationEvent::PersonErased(e)) if e.key == who.key);
            let recorded = self.store.log().about(installation_stream()).await?;
            if recorded.iter().any(is_recorded) {
                // Whoever was to do it did not come to the end.
                self.store.jobs().want(Task::ErasePerson(who.key)).await?;
            } else {
                let version = recorded.last().map_or(0, |last| last.version);
                let mut append = Append::default();
                record(&mut append, new_event_id(), &event, actor, version);
                match self.store.append(append).await {
                    Ok(_) => {}
                    Err(AppendError::Conflict) => continue,
                    Err(e) => return Err(e.into()),
                }
            }
            let in_plain = self.store.subjects().named_in_plain(&who.id).await?;
            return Ok(ErasedPerson { who, in_plain });
        }
        Err(too_busy())
    }

    /// The deployments of somebody that are not over.
    async fn under_way(&self, is_them: &impl Fn(&Somebody) -> bool) -> Result<Vec<Deployment>, sqlx::Error> {
        let mut under_way = Vec::new();
        for id in self.store.deployments().open().await? {
            under_way.extend(self.store.deployments().get(id).await?.filter(|d| is_them(&d.requested_by)));
        }
        Ok(under_way)
    }

    /// What somebody has locked.
    async fn locks_of(
        &self,
        projects: &[Project],
        is_them: &impl Fn(&Somebody) -> bool,
    ) -> Result<Vec<String>, ReadError> {
        let now = self.store.clock().now();
        let theirs =
            |lock: &Option<Lock>| lock.as_ref().is_some_and(|lock| is_them(&lock.holder) && !lock.is_over(now));
        let mut locks = Vec::new();
        for project in projects {
            locks.extend(theirs(&project.lock).then(|| format!("the project {}", project.slug)));
            let environments = project.environments.iter().filter(|e| theirs(&e.lock));
            locks.extend(environments.map(|e| format!("{} of {}", e.name, project.slug)));
        }
        locks.extend(theirs(&self.installation_anew().await?.value.lock).then(|| "everything".to_owned()));
        Ok(locks)
    }

    /// Destroys a key of which an event says that it is to be destroyed, and has what named its owner made anew.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn destroy_person(&self, key: SubjectKeyId) -> Result<(), ReadError> {
        self.store.subjects().destroy(key).await?;
        self.rebuild().await?;
        let jobs = self.store.jobs();
        for (kind, stream, correlation) in self.store.subjects().stories_of(key).await? {
            match kind.as_str() {
                "deployment" | "output" => jobs.want(Task::SyncMessage(BuildId(correlation))).await?,
                "project" | "environment" | "installation" => jobs.want(Task::ReportLock(LockableId(stream))).await?,
                _ => {}
            }
        }
        Ok(())
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
    pub async fn erase_output(&self, id: DeploymentId, why: OutputGone, actor: &Actor) -> Result<Deployment, Refused> {
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
            match self.store.append(append).await {
                Ok(_) => return Ok(deployment),
                Err(AppendError::Conflict) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(too_busy())
    }

    /// Destroys output of which an event says that it is to be destroyed, and has what showed of it made anew.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn destroy_output(&self, id: DeploymentId) -> Result<(), ReadError> {
        self.store.subjects().erase_output(id).await?;
        let Some(deployment) = self.deployment_of_log(id).await? else { return Ok(()) };
        self.store.deployments().renew(&deployment).await?;
        self.store.jobs().want(Task::SyncMessage(deployment.of.build_id)).await?;
        self.store.jobs().want(Task::Report(id)).await?;
        Ok(())
    }

    /// Lets go of output that is older than its project keeps it; of the oldest first, and of so many at once. Tells how
    /// many there were.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn expire_outputs(&self) -> Result<usize, Refused> {
        let mut expired = 0;
        for project in self.store.directory().projects().await? {
            let (Some(days), None) = (project.output_kept_days, &project.hold) else { continue };
            let before = self.store.clock().now() - chrono::Duration::days(i64::from(days));
            for id in self.store.subjects().outputs_before(project.id, before, AT_A_TIME).await? {
                match self.erase_output(id, OutputGone::Expired { days }, &Actor::System).await {
                    Ok(_) => expired += 1,
                    // It is held meanwhile.
                    Err(CommandError::Refused(_)) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(expired)
    }
}
