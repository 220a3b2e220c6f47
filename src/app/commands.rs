//! `/coolops …`: somebody asks or commands in a channel, and hears of the projects whose builds come to it.
//!
//! **Invariant:** who writes in another channel sees and does nothing: whoever is in a project's channel may know of it.

use std::convert::Infallible;

use super::presses::Cancelled;
use super::way_back::{BUILDS_SHOWN, Before, Question};
use super::{App, CommandError};
use crate::domain::build::BuildRegistered;
use crate::domain::deployment::{Person, State};
use crate::domain::event::{DeploymentEvent, Event};
use crate::domain::ids::{DeploymentId, EnvironmentId, ProjectId};
use crate::domain::lock::Lock;
use crate::domain::person_events::Wants;
use crate::domain::press::{self, CancelDeployment, Pressed, RequestDeployment};
use crate::domain::project::Project;
use crate::domain::rights::Right;
use crate::projections::standing::Standing;
use crate::projections::timed::Timed;
use crate::slack::answer::{Answer, Waits, Whereabouts, newest_of};
use crate::slack::button::Button;
use crate::slack::command::{self, Command, Destination, Misunderstood, Sent};
use crate::slack::render::{build_url, log_url, project_url};
use crate::store::directory::Announced;

/// Projects whose environments an answer shows; of more it names the others.
const PROJECTS_SHOWN: usize = 10;

/// What a command leads to; that it is not understood is answered too.
pub(super) type Answered = Result<Answer, CommandError<Misunderstood>>;

impl From<Misunderstood> for CommandError<Misunderstood> {
    fn from(misunderstood: Misunderstood) -> Self {
        Self::Refused(misunderstood)
    }
}

impl From<CommandError<Infallible>> for CommandError<Misunderstood> {
    fn from(error: CommandError<Infallible>) -> Self {
        match error.refusal() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }
}

/// The environment with this id, archived or not, among those of a channel.
fn place_of(projects: &[Project], id: EnvironmentId) -> Option<Destination<'_>> {
    projects.iter().find_map(|project| Some(Destination { project, environment: project.environment(id)? }))
}

pub(super) fn not_here() -> Answer {
    Answer::Nothing("That environment is not deployed to from this channel.".to_owned())
}

impl App {
    /// Does what a command asks for and tells what to answer. `id` is the deployment that it makes, if it makes one: the
    /// same signed bytes are the same command.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn command(&self, sent: &Sent, id: DeploymentId) -> Result<Answer, CommandError<Infallible>> {
        let now = self.store.clock().now();
        let command = match Command::read(&sent.text, now) {
            Ok(Command::Help) => return Ok(Answer::Help),
            Ok(Command::Notify(chosen)) => return self.told_to_notify(&sent.by, chosen).await,
            Ok(command) => command,
            Err(misunderstood) => return Ok(Answer::Misunderstood(misunderstood)),
        };
        let projects = self.store.directory().projects_of_channel(&sent.channel).await?;
        if projects.is_empty() {
            let sentence = "No project's builds come to this channel. Write it where they are announced.";
            return Ok(Answer::Nothing(sentence.to_owned()));
        }
        let answered = match command {
            Command::Help | Command::Notify(_) => Ok(Answer::Help),
            Command::Status(named) => self.told_status(&projects, &named).await,
            Command::Builds(named) => self.told_builds(&projects, &named).await,
            Command::Deploy { build, place } => self.told_to_deploy(&projects, sent, id, &build, &place).await,
            Command::Cancel { place, reason } => self.told_to_cancel(&projects, sent, id, &place, reason).await,
            Command::Rollback(place) => self.told_to_roll_back(&projects, &place).await,
            Command::Logs(place) => self.told_logs(&projects, &place).await,
            Command::Lock { place, until, reason } => {
                let lock = Lock::new(sent.by.clone().into(), reason, now, until);
                self.told_to_lock(&projects, &place, lock).await
            }
            Command::Unlock(place) => self.told_to_unlock(&projects, &place, sent.by.clone()).await,
            Command::Locks => self.told_locks(&projects).await,
            Command::Who(place) => self.told_who(&projects, &place, &sent.by).await,
        };
        answered.or_else(|e| e.refusal().map(Answer::Misunderstood))
    }

    async fn told_who(&self, projects: &[Project], named: &str, by: &Person) -> Answered {
        let place = command::place(projects, named, |place| format!("who {place}"))?;
        let rights = place.environment.rights.clone();
        let installation = self.installation_anew().await?;
        let known = self.known(&installation.value, std::slice::from_ref(&rights), by).await?;
        let own = Right::ALL.map(|right| (right, rights.may(right, by, &known)));
        let rights = rights.with_administrators(&installation.value.administrators);
        Ok(Answer::Who { environment: place.environment.name.clone(), rights, own: own.to_vec() })
    }

    /// Somebody chooses what they are told directly, or asks what that is; in any channel.
    async fn told_to_notify(&self, by: &Person, chosen: Option<Wants>) -> Result<Answer, CommandError<Infallible>> {
        if let Some(wants) = chosen {
            self.choose(by, wants, &by.into()).await?;
        }
        Ok(Answer::Notifying(self.wants(by).await?))
    }

    /// What is where, of one project of a channel or of all: what the button under an answer shows to everybody.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn whereabouts(&self, channel: &str, of: Option<ProjectId>) -> Result<Answer, CommandError<Infallible>> {
        let projects = self.store.directory().projects_of_channel(channel).await?;
        self.whereabouts_of(&projects, of).await
    }

    async fn whereabouts_of(
        &self,
        projects: &[Project],
        of: Option<ProjectId>,
    ) -> Result<Answer, CommandError<Infallible>> {
        let asked: Vec<&Project> = projects.iter().filter(|project| of.is_none_or(|of| of == project.id)).collect();
        if asked.is_empty() {
            return Ok(Answer::Nothing("Nothing is deployed from this channel any more.".to_owned()));
        }
        let (shown, more) = asked.split_at(asked.len().min(PROJECTS_SHOWN));
        // One question for all of them.
        let environments: Vec<EnvironmentId> =
            shown.iter().flat_map(|project| project.open_environments()).map(|e| e.id).collect();
        let (deployments, installation) =
            futures::join!(self.store.deployments().standing(&environments), self.installation_anew());
        let (deployments, everything) = (deployments?, installation?.value.lock.clone());
        let whereabouts = |project: &&Project| Whereabouts {
            project: project.name.clone(),
            url: self.keys.links(&project.link_key).map(|links| project_url(&self.public_url, &links, project)),
            standings: Standing::of(project, everything.as_ref(), &deployments),
        };
        let more = more.iter().map(|project| project.slug.clone()).collect();
        Ok(Answer::Status { projects: shown.iter().map(whereabouts).collect(), more, of })
    }

    async fn told_status(&self, projects: &[Project], named: &str) -> Answered {
        if named.is_empty() {
            return Ok(self.whereabouts_of(projects, None).await?);
        }
        let project = command::project(projects, "status", named)?;
        Ok(self.whereabouts_of(projects, Some(project.id)).await?)
    }

    async fn told_builds(&self, projects: &[Project], named: &str) -> Answered {
        let project = command::project(projects, "builds", named)?;
        let links = self.keys.links(&project.link_key);
        let page = |build: &Announced| links.as_ref().map(|links| build_url(&self.public_url, links, build.id));
        let newest = self.store.directory().builds_like(project.id, "", BUILDS_SHOWN).await?;
        let builds = newest.into_iter().map(|b| (b.name.clone(), b.at, page(&b))).collect();
        Ok(Answer::Builds { project: project.name.clone(), builds })
    }

    pub(super) fn log_of(&self, project: &Project, id: DeploymentId) -> Option<String> {
        self.keys.links(&project.link_key).map(|links| log_url(&self.public_url, &links, id))
    }

    async fn told_to_deploy(
        &self,
        projects: &[Project],
        sent: &Sent,
        id: DeploymentId,
        named: &str,
        where_to: &str,
    ) -> Answered {
        let place = command::place(projects, where_to, |place| format!("deploy {named} to {place}"))?;
        let build = self.build_named(place, named, |build| format!("deploy {build} to {where_to}")).await??;
        let request = RequestDeployment {
            deployment_id: id,
            build_id: build.id,
            environment_id: place.environment.id,
            requested_by: sent.by.clone().into(),
            pressed: Some(Pressed { channel: sent.channel.clone(), foreign: false }),
        };
        Ok(self.deploy_or_ask(place, build, request).await?)
    }

    /// Deploys a build, or asks back first: where the environment is protected, or runs a newer build.
    async fn deploy_or_ask(
        &self,
        place: Destination<'_>,
        build: Announced,
        request: RequestDeployment,
    ) -> Result<Answer, CommandError<Infallible>> {
        let environment = place.environment.name.clone();
        let id = request.deployment_id;
        if let Some(Question { why, changes }) = self.asked_before(place, &build).await? {
            let button = Button { build: build.id, environment: place.environment.id };
            return Ok(Answer::Offered { why, build: build.name, environment, button, changes });
        }
        Ok(match self.press(request).await? {
            Event::Deployment(DeploymentEvent::Requested(requested)) => {
                let lock = requested.lock.map(|lock| Waits::Lock(*lock));
                let waits = lock.or(requested.behind.map(|ahead| Waits::Behind(ahead.build_name)));
                Answer::Asked { build: build.name, environment, waits, logs: self.log_of(place.project, id) }
            }
            // A refusal is told like that of a button.
            _ => Answer::Silence,
        })
    }

    /// Somebody chose *Deploy again* in the menu of a line.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn chosen_again(&self, request: RequestDeployment) -> Result<Answer, CommandError<Infallible>> {
        let build = self.store.directory().build_of(request.build_id).await?;
        let (registered, posted_in) = self.announced(request.build_id).await?;
        // Nothing guards on it when it is only asked back: what was remembered may be old.
        let project = match &registered {
            Some(registered) => self.project_anew(registered.project_id).await?,
            None => None,
        };
        let is_here = |registered: &BuildRegistered, project: &Project| {
            let pressed = request.pressed.as_ref().filter(|pressed| !pressed.foreign && !project.archived);
            pressed.is_some_and(|p| press::is_at_home(registered, project, posted_in.as_deref(), &p.channel))
        };
        let known = registered.as_ref().zip(project.as_deref().map(|p| &p.value));
        let known = known.filter(|(registered, project)| is_here(registered, project));
        let environment = known.and_then(|(_, project)| Some((project, project.environment(request.environment_id)?)));
        let place = environment.map(|(project, environment)| Destination { project, environment });
        let (Some(place), Some(build)) = (place.filter(|place| !place.environment.archived), build) else {
            // Why not is told like to a button's presser.
            self.press(request).await?;
            return Ok(Answer::Silence);
        };
        Ok(match self.deploy_or_ask(place, build, request).await? {
            // Its line says so.
            Answer::Asked { .. } => Answer::Silence,
            answer => answer,
        })
    }

    /// Somebody chose *Roll back* in the menu of a line.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn chosen_rollback(
        &self,
        channel: &str,
        environment: EnvironmentId,
    ) -> Result<Answer, CommandError<Infallible>> {
        let projects = self.store.directory().projects_of_channel(channel).await?;
        match place_of(&projects, environment).filter(|place| !place.environment.archived) {
            Some(place) => self.offer_rollback(place).await,
            None => Ok(not_here()),
        }
    }

    /// Names the build that went well before the present one, and asks.
    async fn offer_rollback(&self, place: Destination<'_>) -> Result<Answer, CommandError<Infallible>> {
        let environment = place.environment.name.clone();
        Ok(match self.before_present(place).await? {
            Err(sentence) => Answer::Nothing(sentence),
            Ok(Before { build, build_name, question: Question { why, changes } }) => {
                let button = Button { build, environment: place.environment.id };
                Answer::Offered { why, build: build_name, environment, button, changes }
            }
        })
    }

    async fn told_to_cancel(
        &self,
        projects: &[Project],
        sent: &Sent,
        id: DeploymentId,
        named: &str,
        reason: Option<String>,
    ) -> Answered {
        let place = command::place(projects, named, |place| format!("cancel {place}"))?;
        let environment = place.environment.name.clone();
        let mut open = self.standing(place).await?.map(|s| s.open).unwrap_or_default();
        // What stops already, or is decided on by a person, is no answer to which.
        let is_to_stop = |d: &Timed| !matches!(d.deployment.state(), State::Cancelling | State::Unknown);
        if open.iter().any(is_to_stop) {
            open.retain(is_to_stop);
        }
        let one = match &open[..] {
            [] => return Ok(Answer::Nothing(format!("Nothing is on its way to {environment}."))),
            [one] => one.deployment.clone(),
            _ => return Ok(Answer::Which { environment, open, has_reason: reason.is_some() }),
        };
        let cancel = CancelDeployment {
            before_start: false,
            deployment_id: one.of.deployment_id,
            requested_by: sent.by.clone(),
            reason,
            channel: sent.channel.clone(),
            foreign: false,
        };
        Ok(match self.cancel(id, cancel).await? {
            Cancelled::Yes => Answer::Stopped { build: one.build_name, environment },
            Cancelled::Refused | Cancelled::Unknown | Cancelled::Started(_) => Answer::Silence,
        })
    }

    async fn told_to_roll_back(&self, projects: &[Project], named: &str) -> Answered {
        let place = command::place(projects, named, |place| format!("rollback {place}"))?;
        Ok(self.offer_rollback(place).await?)
    }

    async fn told_logs(&self, projects: &[Project], named: &str) -> Answered {
        let place = command::place(projects, named, |place| format!("logs {place}"))?;
        let standing = self.standing(place).await?;
        let Some(newest) = standing.as_ref().and_then(newest_of) else {
            let sentence = format!("Nothing was deployed to {} yet.", place.environment.name);
            return Ok(Answer::Nothing(sentence));
        };
        let url = self.log_of(place.project, newest.deployment.of.deployment_id);
        Ok(Answer::Log { deployment: Box::new(newest.clone()), url })
    }
}
