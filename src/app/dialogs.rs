//! Somebody asks for a dialog; Slack opens it, within three seconds of the press.

use std::convert::Infallible;
use std::time::Duration;

use slack_morphism::prelude::SlackView;

use super::{App, CommandError};
use crate::domain::deployment::{Deployment, DeploymentOf, PressRefusal, StopReason};
use crate::domain::line::Line;
use crate::domain::press::CancelDeployment;

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

    /// A deployment that somebody may end now, so that it makes sense to ask them why; or why it can't be. Nothing when there
    /// is no such deployment.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn to_be_cancelled(&self, command: &CancelDeployment) -> Result<Option<Asked>, CommandError<Infallible>> {
        let Some(deployment) = self.store.deployments().get(command.deployment_id).await? else { return Ok(None) };
        let reason = StopReason::Person { by: command.requested_by.clone(), reason: None };
        let may = self.may_cancel(&deployment, command).await?;
        let may = may.and_then(|()| deployment.request_stop(reason, &Line::default(), false));
        Ok(Some(match may {
            Ok(_) => Asked::Why(Box::new(deployment)),
            Err(refusal) => Asked::Refused(deployment.of, refusal),
        }))
    }
}

/// What somebody is told who wants a deployment to end.
pub enum Asked {
    /// Why it shall: it can be ended.
    Why(Box<Deployment>),
    /// That it can't be.
    Refused(DeploymentOf, PressRefusal),
}
