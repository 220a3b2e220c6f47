//! Somebody presses a button.

use std::convert::Infallible;

use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::deployment::{self, Deployment, RequestDeployment};
use crate::domain::event::{Actor, DeploymentEvent, Event};
use crate::projections::rows;
use crate::store::append::{Append, AppendError};

impl App {
    /// Records a press: accepted or refused, always one event. The same press again changes nothing.
    ///
    /// # Errors
    /// When the database is away; nothing is recorded then, as far as is known.
    pub async fn press(&self, command: RequestDeployment) -> Result<Event, CommandError<Infallible>> {
        let person = &command.requested_by;
        let actor = Actor::Slack { team: person.team.clone(), user: person.user.clone(), name: person.name.clone() };
        let told = self.store.log().build(command.build_id).await?;
        let posted_in = told
            .iter()
            .rev()
            .find_map(|e| if let Event::MessagePosted(m) = &e.event { Some(m.channel.clone()) } else { None });
        let build =
            told.into_iter().find_map(|e| if let Event::BuildRegistered(build) = e.event { Some(build) } else { None });
        let mut project = match &build {
            Some(build) => self.project(build.project_id).await?,
            None => None,
        };
        let event_id = new_event_id();
        let _turn = self.turns.wait(command.environment_id).await;
        for _ in 0..ATTEMPTS {
            let line = self.store.deployments().line(command.environment_id, command.build_id, None).await?;
            let known = build.as_ref().zip(project.as_deref().map(|p| &p.value));
            let event = deployment::request(known, posted_in.as_deref(), &line.value, &command);
            let mut append = Append::default();
            record(&mut append, event_id, &event, &actor, 0);
            if let Event::Deployment(DeploymentEvent::Requested(requested)) = &event {
                append.row(rows::of_deployment(Deployment::requested(requested)));
            }
            append.guard(command.environment_id.0, line.position);
            if let Some(project) = &project {
                append.guard(project.value.id.0, project.position);
            }
            match self.store.append(append).await {
                Ok(_) => return Ok(event),
                Err(AppendError::Conflict) => {
                    // The same signed bytes twice are one press: its outcome stands.
                    if let Some(before) = self.store.log().stream(command.deployment_id.0).await?.into_iter().next() {
                        return Ok(before.event);
                    }
                    if let Some(build) = &build {
                        project = self.project_anew(build.project_id).await?;
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(too_busy())
    }
}
