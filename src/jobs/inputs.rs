//! What a deployment's container gets: variables, secrets, and the login of its image's registry.
//!
//! **Invariant:** whatever of it is secret is among what is masked, as long as it may show in the output.

use std::time::Duration;

use secrecy::SecretString;

use super::Outcome;
use super::breaks::Break;
use super::run_deployment::Run;
use crate::domain::deployment::{Deployment, Failure, Loss, Somebody, StopReason};
use crate::domain::project::{Project, VariableValue};
use crate::domain::rights::Right;
use crate::runner::Credentials;

/// What a deployment's container gets, and what must not show in its output.
pub(super) struct Inputs {
    pub(super) variables: Vec<(String, SecretString)>,
    pub(super) secrets: Vec<SecretString>,
    pub(super) credentials: Option<Credentials>,
}

impl Run<'_> {
    /// Whether whoever pressed may deploy there still, while it has not begun.
    pub(super) async fn may_still(&self, deployment: &Deployment, project: &Project) -> Result<(), Break> {
        let Some(environment) = project.environment(deployment.of.environment_id) else { return Ok(()) };
        if !deployment.state().has_not_begun() {
            return Ok(());
        }
        // An operator may all.
        let Somebody::Person(person) = &deployment.requested_by else { return Ok(()) };
        let installation = self.app.installation_anew().await?;
        let rights = std::slice::from_ref(&environment.rights);
        let known = self.app.known(&installation.value, rights, person).await?;
        match environment.rights.may(Right::Deploy, person, &known) {
            Ok(_) => Ok(()),
            Err(denied) => Err(Break::Withdraw(StopReason::NotAllowed { denied })),
        }
    }

    /// Reads what the container gets. The environment's variables win over the build's params; `COOLOPS_*` over both.
    pub(super) async fn inputs(&self, deployment: &Deployment) -> Result<Inputs, Break> {
        let of = deployment.of;
        let seen = self.app.project_anew(of.project_id).await?.ok_or(Break::Lose(Loss::ProjectMissing))?;
        let project = &seen.value;
        if let (Some(what), true) = (project.archived(of.environment_id), deployment.state().has_not_begun()) {
            return Err(Break::Withdraw(StopReason::Archived { what }));
        }
        self.may_still(deployment, project).await?;
        let build = self.app.build(of.build_id).await?.ok_or(Break::Lose(Loss::BuildMissing))?;
        let mut variables: Vec<(String, SecretString)> =
            build.params.iter().map(|p| (p.name.clone(), p.value.clone().into())).collect();
        let mut secrets = Vec::new();
        for variable in project.environment(of.environment_id).into_iter().flat_map(|e| &e.variables) {
            let value = match &variable.value {
                VariableValue::Plain(value) => value.clone().into(),
                VariableValue::Secret(secret) => {
                    let opened = self.app.secret(of.environment_id.0, &variable.name, secret).await?;
                    let value = opened.map_err(|_| unreadable(deployment, variable.name.clone()))?;
                    secrets.push(value.clone());
                    value
                }
            };
            variables.push((variable.name.clone(), value));
        }
        // A param of that name is overruled; one that an operator has named is theirs.
        let is_build_s = |name: &String| {
            !variables[build.params.len()..].iter().any(|(own, _)| own == name)
                && project.params.as_ref().is_none_or(|named| !named.contains(name))
        };
        let of_build: Vec<&str> =
            build.params.iter().map(|p| &p.name).filter(|name| is_build_s(name)).map(String::as_str).collect();
        let of_build = of_build.join(" ");
        for (name, value) in [
            ("COOLOPS_BUILD_PARAMS", of_build),
            ("COOLOPS_DEPLOYER_NAME", deployment.requested_by.name().to_owned()),
            ("COOLOPS_DEPLOYER_EXTERNAL_ID", deployment.requested_by.id().to_owned()),
            ("COOLOPS_DEPLOYMENT_ID", of.deployment_id.to_string()),
            ("COOLOPS_BUILD_NAME", deployment.build_name.clone()),
            ("COOLOPS_PROJECT", project.name.clone()),
            ("COOLOPS_ENVIRONMENT", deployment.environment_name.clone()),
        ] {
            variables.push((name.to_owned(), value.into()));
        }
        // Replaced or removed while it runs, a value that the container got is still to be masked.
        match self.app.secrets_to_mask(of.environment_id).await? {
            Ok(kept) => secrets.extend(kept),
            Err(name) if deployment.prepared.is_some() => return Err(unreadable(deployment, name)),
            // What has not begun never gets what was replaced.
            Err(_) => {}
        }
        let credentials = self.credentials(project, deployment, &mut secrets).await?;
        Ok(Inputs { variables, secrets, credentials })
    }

    async fn credentials(
        &self,
        project: &Project,
        deployment: &Deployment,
        secrets: &mut Vec<SecretString>,
    ) -> Result<Option<Credentials>, Break> {
        match self.app.registry_login(project, &deployment.image).await? {
            None => Ok(None),
            Some((registry, Ok(password))) => {
                secrets.push(password.clone());
                Ok(Some(Credentials { registry: registry.host, username: registry.username, password }))
            }
            // Erased when the project was archived, and not needed any more by what has begun.
            Some((_, Err(_))) if project.archived => Ok(None),
            Some((registry, Err(_))) => Err(unreadable(deployment, format!("for {}", registry.host))),
        }
    }
}

/// Without its secrets nothing can be started, and the output of what runs can't be masked: that has to wait.
fn unreadable(deployment: &Deployment, name: String) -> Break {
    match deployment.prepared {
        None => Break::Fail(Failure::SecretUnreadable { name }),
        Some(_) => Break::Leave(Outcome::Later(
            Duration::from_secs(10),
            Some(format!("the secret {name} can't be read; the container runs on")),
        )),
    }
}
