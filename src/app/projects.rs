//! Somebody sets up a project from the command line.

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::ci::ci_place;
use super::{ATTEMPTS, App, CommandError, new_event_id, new_id, record, too_busy};
use crate::ci::Provider;
use crate::domain::event::{Actor, Event, SettingsEvent};
use crate::domain::ids::*;
use crate::domain::names::{self, ImageRef, Invalid};
use crate::domain::project::*;
use crate::domain::settings::{EnvironmentChange, ProjectChange, create, registry_host};
use crate::keys::{self, KeyError};
use crate::projections::rows;
use crate::store::append::Append;
use crate::store::directory::Seen;

type ProjectError = CommandError<ProjectRefusal>;

/// Shortest secret of a CI system, in bytes.
const CI_SECRET_MIN: usize = 12;

/// A change of a project that was recorded.
struct Change {
    before: Project,
    after: Project,
    event: EventId,
    /// The stream that it is in: the project's, or an environment's.
    of: Uuid,
}

impl App {
    /// Sets up a project.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn create_project(
        &self,
        slug: &str,
        name: &str,
        image: &str,
        channel: &str,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let event = create(slug, name, image, channel, self.keys.new_link_key()).map_err(CommandError::Refused)?;
        let Event::Settings(SettingsEvent::ProjectCreated(created)) = &event else { unreachable!("creation creates") };
        let project = Project::created(created);
        let mut append = Append::default();
        record(&mut append, new_event_id(), &event, actor, 0);
        append.row(rows::of_project(project.clone()));
        let taken = || CommandError::Refused(ProjectRefusal::SlugTaken(slug.to_owned()));
        self.append_unless_moved(append).await?.map(|_| project).ok_or_else(taken)
    }

    async fn there(&self, id: ProjectId) -> Result<Seen<Project>, ProjectError> {
        self.project_of_log(id).await?.ok_or_else(|| CommandError::Impossible("there is no such project".into()))
    }

    /// Decides on a project as it stands and records the outcome; the decision is made anew when it has changed. Tells the event's
    /// id, too.
    async fn change(
        &self,
        id: ProjectId,
        actor: &Actor,
        decide: impl Fn(&Project) -> Result<Event, ProjectRefusal>,
    ) -> Result<Change, ProjectError> {
        for _ in 0..ATTEMPTS {
            let Seen { position, value: before } = self.there(id).await?;
            let event = decide(&before).map_err(CommandError::Refused)?;
            let of = event.address().stream;
            let expected = match of == before.id.0 {
                true => before.version,
                false => before.environment(EnvironmentId(of)).map_or(0, |e| e.version),
            };
            let after = before.clone().evolve(&event);
            let (mut append, event_id) = (Append::default(), new_event_id());
            record(&mut append, event_id, &event, actor, expected);
            append.guard(id.0, position);
            for row in rows::of_tokens(&after, &event) {
                append.row(row);
            }
            append.row(rows::of_project(after.clone()));
            if self.append_unless_moved(append).await?.is_some() {
                return Ok(Change { before, after, event: event_id, of });
            }
        }
        Err(too_busy())
    }

    /// Changes a project's own settings.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn change_project(
        &self,
        id: ProjectId,
        change: ProjectChange,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let Change { after, event, .. } =
            self.change(id, actor, |project| project.change_settings(change.clone())).await?;
        match change {
            ProjectChange::Archive => self.close(&after, after.environments.iter(), (event, actor)).await?,
            // What could not be posted where it went before is posted where it goes now.
            ProjectChange::Channel(_) => self.store.messages().retry_project(id).await?,
            _ => {}
        }
        Ok(after)
    }

    /// What was archived starts nothing any more, and needs no secrets: what waits there ends, and values that no
    /// container has are erased. Whoever was quicker with a start gets none of them either; see `jobs::run_deployment`.
    async fn close(
        &self,
        project: &Project,
        environments: impl Iterator<Item = &Environment>,
        archived: (EventId, &Actor),
    ) -> Result<(), ProjectError> {
        for environment in environments {
            if let Some(what) = project.archived(environment.id) {
                self.end_waiting(environment.id, &what, archived)
                    .await
                    .or_else(|e| Err(CommandError::Unavailable(e.refusal()?.into())))?;
                self.erase_superseded(project.id, environment.id).await?;
            }
        }
        if project.archived {
            self.store.secrets().erase_all(project.id.0).await?;
        }
        Ok(())
    }

    /// Declares all log links of a project void.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn revoke_links(&self, id: ProjectId, actor: &Actor) -> Result<Project, ProjectError> {
        self.change_project(id, ProjectChange::RevokeLinks(self.keys.new_link_key()), actor).await
    }

    /// Makes a token for CI, and tells its id. The token is in the answer and nowhere else.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn issue_token(
        &self,
        id: ProjectId,
        label: &str,
        actor: &Actor,
    ) -> Result<(TokenId, SecretString), ProjectError> {
        let ((token, digest), token_id) = (keys::new_token(), TokenId(new_id()));
        self.change_project(id, ProjectChange::IssueToken { token_id, label: label.to_owned(), digest }, actor).await?;
        Ok((token_id, token))
    }

    /// Adds an environment.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn create_environment(
        &self,
        project: ProjectId,
        name: &str,
        position: Option<i32>,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let id = EnvironmentId(new_id());
        let decide = |project: &Project| project.create_environment(id, name, position);
        Ok(self.change(project, actor, decide).await?.after)
    }

    /// Changes an environment.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn change_environment(
        &self,
        project: ProjectId,
        name: &str,
        change: EnvironmentChange,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        // What replaces a secret, or removes it, takes the value with it.
        let replaced = match &change {
            EnvironmentChange::UnsetVariable(variable) | EnvironmentChange::SetVariable { name: variable, .. } => {
                Some(variable.clone())
            }
            EnvironmentChange::SetSecret { name: variable, .. } => Some(variable.clone()),
            EnvironmentChange::Rename(_)
            | EnvironmentChange::Move(_)
            | EnvironmentChange::Protect(_)
            | EnvironmentChange::Supersede(_)
            | EnvironmentChange::Broadcast(_)
            | EnvironmentChange::LockByDeployment(_)
            | EnvironmentChange::Allow { .. }
            | EnvironmentChange::Archive => None,
        };
        let decide = |project: &Project| project.change_environment(name, change.clone());
        let Change { before, after, event, of } = self.change(project, actor, decide).await?;
        if matches!(change, EnvironmentChange::Archive) {
            let closed =
                after.environments.iter().filter(|e| e.archived && e.name.to_lowercase() == name.to_lowercase());
            self.close(&after, closed, (event, actor)).await?;
        }
        if let (Some(environment), Some(variable)) = (before.environment(EnvironmentId(of)), replaced)
            && let Some(secret) = environment.secret(&variable)
        {
            self.store.secrets().erase_unless_open(of, &variable, secret.version).await?;
        }
        Ok(after)
    }

    /// Sets a secret variable of an environment. The value is kept encrypted; the log gets its version and fingerprint.
    ///
    /// # Errors
    /// A refusal (also of a value too short to be masked in logs), or that the database is away.
    pub async fn set_secret(
        &self,
        project: ProjectId,
        environment: &str,
        name: &str,
        value: &SecretString,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let refuse = |e: Invalid| CommandError::Refused(ProjectRefusal::Invalid(e));
        names::variable(name).map_err(refuse)?;
        check_secret(name, value).map_err(refuse)?;
        let there = self.there(project).await?.value;
        there.open().map_err(CommandError::Refused)?;
        let found = there.environment_named(environment).map_err(CommandError::Refused)?;
        let secret = self.keep(found.id.0, name, Project::next_secret_version(found.secret(name)), value).await?;
        let change = EnvironmentChange::SetSecret { name: name.to_owned(), secret };
        self.change_environment(project, environment, change, actor).await
    }

    /// Sets the credentials for pulling from a registry.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn set_registry(
        &self,
        project: ProjectId,
        registry: &str,
        username: &str,
        password: &SecretString,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        check_secret("the password", password).map_err(|e| CommandError::Refused(ProjectRefusal::Invalid(e)))?;
        let registry = registry_host(registry).map_err(|e| CommandError::Refused(ProjectRefusal::Invalid(e)))?;
        let there = self.there(project).await?.value;
        there.open().map_err(CommandError::Refused)?;
        let current = there.registries.iter().find(|r| r.host == registry).map(|r| &r.secret);
        let place = registry_place(&registry);
        let secret = self.keep(project.0, &place, Project::next_secret_version(current), password).await?;
        let version = secret.version;
        let change = ProjectChange::SetRegistry { registry, username: username.to_owned(), secret };
        let changed = self.change_project(project, change, actor).await?;
        self.store.secrets().erase(project.0, &place, Some(version - 1)).await?;
        Ok(changed)
    }

    /// Removes the credentials for a registry and erases the password.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn unset_registry(
        &self,
        project: ProjectId,
        registry: &str,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let registry = registry_host(registry).map_err(|e| CommandError::Refused(ProjectRefusal::Invalid(e)))?;
        let changed = self.change_project(project, ProjectChange::UnsetRegistry(registry.clone()), actor).await?;
        self.store.secrets().erase(project.0, &registry_place(&registry), None).await?;
        Ok(changed)
    }

    /// Sets what a CI system's webhooks are believed by.
    ///
    /// # Errors
    /// A refusal (also of a value too short to be a secret, or of another kind), or that the database is away.
    pub async fn set_ci_secret(
        &self,
        project: ProjectId,
        provider: &dyn Provider,
        secret: &SecretString,
        keeps_previous: bool,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let refuse = |why: String| CommandError::Refused(ProjectRefusal::Invalid(Invalid(why)));
        let value = secret.expose_secret();
        names::value("the secret", value).map_err(|e| refuse(e.to_string()))?;
        if value.len() < CI_SECRET_MIN {
            return Err(refuse(format!(
                "the secret has {} bytes; give at least {CI_SECRET_MIN}, such as --generate makes",
                value.len()
            )));
        }
        provider.check_secret(value).map_err(|why| refuse(format!("the secret of {}: {why}", provider.name())))?;
        let there = self.there(project).await?.value;
        let before = there.ci(provider.name()).and_then(|c| c.secret.as_ref());
        let place = ci_place(provider.name());
        let secret = self.keep(project.0, &place, Project::next_secret_version(before), secret).await?;
        let change = ProjectChange::SetCiSecret { provider: provider.name().to_owned(), secret, keeps_previous };
        self.change_ci_secret(project, provider, change, actor).await
    }

    /// Changes what a CI system's webhooks are believed by, and erases what they aren't any more.
    async fn change_ci_secret(
        &self,
        project: ProjectId,
        provider: &dyn Provider,
        change: ProjectChange,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        let changed = self.change_project(project, change, actor).await?;
        let accepted = changed.ci(provider.name()).into_iter().flat_map(|c| c.previous.iter().chain(&c.secret));
        if let Some(oldest) = accepted.map(|s| s.version).min() {
            self.store.secrets().erase(project.0, &ci_place(provider.name()), Some(oldest)).await?;
        }
        Ok(changed)
    }

    /// Ends the secret before the present one.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn end_previous_ci_secret(
        &self,
        project: ProjectId,
        provider: &dyn Provider,
        actor: &Actor,
    ) -> Result<Project, ProjectError> {
        self.change_ci_secret(project, provider, ProjectChange::EndPreviousCiSecret(provider.name().to_owned()), actor)
            .await
    }

    /// Takes no more webhooks of a CI system, and erases the secret.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn unset_ci(&self, project: ProjectId, provider: &str, actor: &Actor) -> Result<Project, ProjectError> {
        let changed = self.change_project(project, ProjectChange::UnsetCi(provider.to_owned()), actor).await?;
        self.store.secrets().erase(project.0, &ci_place(provider), None).await?;
        Ok(changed)
    }

    /// The login of a project for the registry that an image comes from, where it has one.
    ///
    /// # Errors
    /// The database's; or that the password can't be opened, or was erased.
    pub async fn registry_login(
        &self,
        project: &Project,
        image: &ImageRef,
    ) -> Result<Option<(Registry, Result<SecretString, KeyError>)>, sqlx::Error> {
        let is_its = |registry: &&Registry| names::registry(&registry.host) == image.registry();
        let Some(registry) = project.registries.iter().find(is_its) else { return Ok(None) };
        let password = self.secret(project.id.0, &registry_place(&registry.host), &registry.secret).await?;
        Ok(Some((registry.clone(), password)))
    }
}

/// The name that a registry's password is kept under.
fn registry_place(registry: &str) -> String {
    format!("registry {registry}")
}

fn check_secret(name: &str, value: &SecretString) -> Result<(), Invalid> {
    let value = value.expose_secret();
    names::value(name, value)?;
    if value.trim().is_empty() {
        return Err(Invalid(format!("{name} is empty; give it a value, or remove it with: coolops environment unset")));
    }
    Ok(())
}
