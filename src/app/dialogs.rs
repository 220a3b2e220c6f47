//! Somebody asks for a dialog; Slack opens it, within three seconds of the press.

use std::convert::Infallible;
use std::time::Duration;

use slack_morphism::prelude::SlackView;

use super::{App, CommandError};
use crate::domain::deployment::Deployment;
use crate::domain::press::{self, CancelDeployment};
use crate::domain::rights::Known;
use crate::domain::state::State;

impl App {
    /// Asks Slack to open a dialog for whoever pressed; waits so long at most.
    ///
    /// # Errors
    /// Slack's word, or why nobody knows.
    pub async fn open_dialog(&self, trigger: &str, view: &SlackView, patience: Duration) -> Result<(), String> {
        let Some(slack) = self.people.slack() else { return Err("SLACK_BOT_TOKEN is not set".to_owned()) };
        match tokio::time::timeout(patience, slack.open_view(trigger, view)).await {
            Ok(opened) => opened.map_err(|e| e.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// A deployment that somebody may end now, so that it makes sense to ask them why; without it they are told at once.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn to_be_cancelled(
        &self,
        command: &CancelDeployment,
    ) -> Result<Option<Deployment>, CommandError<Infallible>> {
        let Some(deployment) = self.store.deployments().get(command.deployment_id).await? else { return Ok(None) };
        if !deployment.state().is_open() || matches!(deployment.state(), State::Cancelling | State::Unknown) {
            return Ok(None);
        }
        let (build, posted_in) = self.announced(deployment.of.build_id).await?;
        let around = self.around_anew(Some(deployment.of.project_id)).await?;
        let known = build.as_ref().zip(around.project.as_deref().map(|p| &p.value));
        let of_person = match known.and_then(|(_, project)| project.environment(deployment.of.environment_id)) {
            Some(environment) => {
                let rights = std::slice::from_ref(&environment.rights);
                self.known(&around.installation.value, rights, &command.requested_by).await?
            }
            None => Known::default(),
        };
        let may = press::may_cancel(known, posted_in.as_deref(), &deployment, &of_person, command);
        Ok(may.is_ok().then_some(deployment))
    }
}
