//! `/coolops …`: somebody asks or commands in a channel, and hears of the projects whose builds come to it.
//!
//! **Invariant:** who writes in another channel sees and does nothing: whoever is in a project's channel may know of it.

use std::convert::Infallible;

use chrono::DateTime;

use super::presses::Cancelled;
use super::{App, CommandError};
use crate::domain::deployment::{Deployment, Person};
use crate::domain::event::{DeploymentEvent, Event};
use crate::domain::ids::{BuildId, DeploymentId, EnvironmentId, ProjectId};
use crate::domain::lock::{Holder, Lock, LockRefusal, Unlocking};
use crate::domain::person_events::Wants;
use crate::domain::press::{self, CancelDeployment, RequestDeployment};
use crate::domain::project::Project;
use crate::domain::rights::Right;
use crate::projections::changes;
use crate::projections::standing::Standing;
use crate::slack::answer::{Answer, Whereabouts, newest_of};
use crate::slack::button::Button;
use crate::slack::command::{self, Command, Misunderstood, Place, Sent};
use crate::slack::render::{build_url, log_url, project_url};
use crate::store::directory::Announced;

/// Projects whose environments an answer shows; of more it names the others.
const PROJECTS_SHOWN: usize = 10;
/// Builds in a list.
const BUILDS_SHOWN: i64 = 10;

/// What a command leads to; the inner error is an answer too.
type Answered<T = Answer> = Result<Result<T, Misunderstood>, CommandError<Infallible>>;

/// A refusal as a sentence of its own.
fn sentence(refusal: &LockRefusal) -> String {
    let text = refusal.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// The environment with this id, archived or not, among those of a channel.
fn place_of(projects: &[Project], id: EnvironmentId) -> Option<Place<'_>> {
    projects.iter().find_map(|project| Some(Place { project, environment: project.environment(id)? }))
}

fn not_here() -> Answer {
    Answer::Nothing("That environment is not deployed to from this channel.".to_owned())
}

fn locks_of(projects: &[Project]) -> Answer {
    let of = |project: &Project| {
        let named = |name: &str| if projects.len() == 1 { name.to_owned() } else { format!("{} {name}", project.name) };
        let open = project.open_environments();
        open.into_iter().filter_map(|e| Some((named(&e.name), e.lock.clone()?))).collect::<Vec<_>>()
    };
    Answer::Locks(projects.iter().flat_map(of).collect())
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
            Command::Help | Command::Notify(_) => Ok(Ok(Answer::Help)),
            Command::Status(named) => self.told_status(&projects, &named).await,
            Command::Builds(named) => self.told_builds(&projects, &named).await,
            Command::Deploy { build, place } => self.told_to_deploy(&projects, sent, id, &build, &place).await,
            Command::Cancel { place, reason } => self.told_to_cancel(&projects, sent, id, &place, reason).await,
            Command::Rollback(place) => self.told_to_roll_back(&projects, &place).await,
            Command::Logs(place) => self.told_logs(&projects, &place).await,
            Command::Lock { place, until, reason } => {
                let lock = Lock { holder: Holder::Person(sent.by.clone()), reason, since: now, until };
                self.told_to_lock(&projects, &place, lock).await
            }
            Command::Unlock(place) => self.told_to_unlock(&projects, &place, sent.by.clone()).await,
            Command::Locks => Ok(Ok(locks_of(&projects))),
            Command::Who(place) => self.told_who(&projects, &place, &sent.by).await,
        };
        Ok(answered?.unwrap_or_else(Answer::Misunderstood))
    }

    async fn told_who(&self, projects: &[Project], named: &str, by: &Person) -> Answered {
        let place = match command::place(projects, named, |place| format!("who {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let known = self.known(place.environment, by).await?;
        let rights = place.environment.rights.clone();
        let own = Right::ALL.map(|right| (right, rights.may(right, by, &known)));
        Ok(Ok(Answer::Who { environment: place.environment.name.clone(), rights, own: own.to_vec() }))
    }

    /// Somebody chooses what they are told directly, or asks what that is; in any channel.
    async fn told_to_notify(&self, by: &Person, chosen: Option<Wants>) -> Result<Answer, CommandError<Infallible>> {
        if let Some(wants) = chosen {
            self.choose(by, wants).await?;
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
        let deployments = self.store.deployments().standing(&environments).await?;
        let whereabouts = |project: &&Project| Whereabouts {
            project: project.name.clone(),
            url: self.keys.links(&project.link_key).map(|links| project_url(&self.public_url, &links, project)),
            standings: Standing::of(project, &deployments),
        };
        let more = more.iter().map(|project| project.slug.clone()).collect();
        Ok(Answer::Status { projects: shown.iter().map(whereabouts).collect(), more, of })
    }

    async fn told_status(&self, projects: &[Project], named: &str) -> Answered {
        if named.is_empty() {
            return Ok(Ok(self.whereabouts_of(projects, None).await?));
        }
        match command::project(projects, "status", named) {
            Ok(project) => Ok(Ok(self.whereabouts_of(projects, Some(project.id)).await?)),
            Err(misunderstood) => Ok(Err(misunderstood)),
        }
    }

    async fn told_builds(&self, projects: &[Project], named: &str) -> Answered {
        let project = match command::project(projects, "builds", named) {
            Ok(project) => project,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let links = self.keys.links(&project.link_key);
        let page = |build: &Announced| links.as_ref().map(|links| build_url(&self.public_url, links, build.id));
        let newest = self.store.directory().builds_like(project.id, "", BUILDS_SHOWN).await?;
        let builds = newest.into_iter().map(|b| (b.name.clone(), b.at, page(&b))).collect();
        Ok(Ok(Answer::Builds { project: project.name.clone(), builds }))
    }

    /// The build of a project that somebody names.
    async fn build_named(&self, place: Place<'_>, named: &str, where_to: &str) -> Answered<Announced> {
        let directory = self.store.directory();
        let newest = directory.builds_like(place.project.id, "", BUILDS_SHOWN).await?;
        if command::is_latest(named) {
            let none = || Misunderstood::new(format!("{} has no build yet.", place.project.name), []);
            return Ok(newest.into_iter().next().ok_or_else(none));
        }
        let mut found = directory.builds_like(place.project.id, named, BUILDS_SHOWN).await?;
        // Whose name is just that may be older than many whose names begin so.
        if let Some(exact) = directory.build_named(place.project.id, named).await? {
            found.insert(0, exact);
        }
        let names = |builds: &[Announced]| builds.iter().map(|b| b.name.clone()).collect::<Vec<_>>();
        let form = |build: &str| format!("deploy {build} to {where_to}");
        let (all, known) = (names(&found), names(&newest));
        Ok(command::build(&all, named, &known, form).map(|name| {
            let at = all.iter().position(|n| n == name).unwrap_or_default();
            found.swap_remove(at)
        }))
    }

    async fn standing(&self, place: Place<'_>) -> Result<Option<Standing>, CommandError<Infallible>> {
        let here = self.store.deployments().standing(&[place.environment.id]).await?;
        Ok(Standing::of(place.project, &here).into_iter().find(|s| s.environment == place.environment.id))
    }

    fn log_of(&self, project: &Project, id: DeploymentId) -> Option<String> {
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
        let place = match command::place(projects, where_to, |place| format!("deploy {named} to {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let build = match self.build_named(place, named, where_to).await? {
            Ok(build) => build,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let Sent { by, channel, .. } = sent;
        Ok(Ok(self.deploy_or_ask(place, build, by, channel, id).await?))
    }

    /// Deploys a build, or asks back first: where the environment is protected, or runs a newer build.
    async fn deploy_or_ask(
        &self,
        place: Place<'_>,
        build: Announced,
        by: &Person,
        channel: &str,
        id: DeploymentId,
    ) -> Result<Answer, CommandError<Infallible>> {
        let Place { project, environment } = place;
        let button = Button { build: build.id, environment: environment.id };
        let name = environment.name.clone();
        let runs = self.standing(place).await?.and_then(|s| s.good).map(|d| d.deployment);
        let runs = runs.filter(|d| d.of.build_id != build.id);
        let newer = match &runs {
            Some(there) => self.store.directory().build(there.of.build_id).await?,
            None => None,
        };
        let ours = self.store.directory().build(build.id).await?;
        if newer.zip(ours).is_some_and(|(there, ours)| there.position > ours.position) {
            let changes = self.changes_since(runs.as_ref(), build.id).await?;
            let there = runs.map(|d| d.build_name).unwrap_or_default();
            let why = format!(
                "{name} runs {there}, and {} is older. Shall it go from {there} to {}?",
                build.name, build.name
            );
            return Ok(Answer::Offered { why, build: build.name, environment: name, button, changes });
        }
        if environment.protected {
            let why = format!("{name} is protected, so a press is asked back first.");
            let changes = self.changes_since(runs.as_ref(), build.id).await?;
            return Ok(Answer::Offered { why, build: build.name, environment: name, button, changes });
        }
        let request = RequestDeployment {
            deployment_id: id,
            build_id: build.id,
            environment_id: environment.id,
            requested_by: by.clone(),
            channel: channel.to_owned(),
            foreign: false,
        };
        Ok(match self.press(request).await? {
            Event::Deployment(DeploymentEvent::Requested(_)) => {
                Answer::Asked { build: build.name, environment: name, logs: self.log_of(project, id) }
            }
            // A refusal is told like that of a button.
            _ => Answer::Silence,
        })
    }

    /// Where the changes between what runs and a build can be looked at.
    async fn changes_since(
        &self,
        runs: Option<&Deployment>,
        build: BuildId,
    ) -> Result<Option<String>, CommandError<Infallible>> {
        let Some(from) = runs.and_then(|d| d.source.as_ref()) else { return Ok(None) };
        let to = self.build(build).await?.and_then(|build| build.source);
        Ok(to.and_then(|to| changes::url(from, &to)))
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
        let known = registered.as_ref().zip(project.as_deref().map(|p| &p.value)).filter(|(registered, project)| {
            !request.foreign
                && !project.archived
                && press::is_at_home(registered, project, posted_in.as_deref(), &request.channel)
        });
        let environment = known.and_then(|(_, project)| Some((project, project.environment(request.environment_id)?)));
        let place = environment.map(|(project, environment)| Place { project, environment });
        let (Some(place), Some(build)) = (place.filter(|place| !place.environment.archived), build) else {
            // Why not is told like to a button's presser.
            self.press(request).await?;
            return Ok(Answer::Silence);
        };
        let RequestDeployment { deployment_id, requested_by, channel, .. } = request;
        Ok(match self.deploy_or_ask(place, build, &requested_by, &channel, deployment_id).await? {
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

    async fn told_to_cancel(
        &self,
        projects: &[Project],
        sent: &Sent,
        id: DeploymentId,
        named: &str,
        reason: Option<String>,
    ) -> Answered {
        let place = match command::place(projects, named, |place| format!("cancel {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let environment = place.environment.name.clone();
        let open = self.standing(place).await?.map(|s| s.open).unwrap_or_default();
        let one = match &open[..] {
            [] => return Ok(Ok(Answer::Nothing(format!("Nothing is on its way to {environment}.")))),
            [one] => one.deployment.clone(),
            _ => return Ok(Ok(Answer::Which { environment, open })),
        };
        let cancel = CancelDeployment {
            deployment_id: one.of.deployment_id,
            requested_by: sent.by.clone(),
            reason,
            channel: sent.channel.clone(),
            foreign: false,
        };
        Ok(Ok(match self.cancel(id, cancel).await? {
            Cancelled::Yes => Answer::Stopped { build: one.build_name, environment },
            Cancelled::Refused | Cancelled::Unknown => Answer::Silence,
        }))
    }

    async fn told_to_roll_back(&self, projects: &[Project], named: &str) -> Answered {
        let place = match command::place(projects, named, |place| format!("rollback {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        Ok(Ok(self.offer_rollback(place).await?))
    }

    /// Names the build that went well before the present one, and asks.
    async fn offer_rollback(&self, place: Place<'_>) -> Result<Answer, CommandError<Infallible>> {
        let environment = place.environment.name.clone();
        let Some(present) = self.standing(place).await?.and_then(|s| s.good).map(|d| d.deployment) else {
            let sentence = format!("Nothing was deployed to {environment} with success yet.");
            return Ok(Answer::Nothing(sentence));
        };
        let Some(before) = self.store.deployments().good_before(&present.of).await? else {
            let sentence = format!("{environment} runs {}; no other build went well there before.", present.build_name);
            return Ok(Answer::Nothing(sentence));
        };
        let why = format!(
            "{environment} runs {}. Before it, {} went well there. Shall it go from {} to {}?",
            present.build_name, before.build_name, present.build_name, before.build_name
        );
        let button = Button { build: before.of.build_id, environment: place.environment.id };
        let changes = present.source.as_ref().zip(before.source.as_ref()).and_then(|(from, to)| changes::url(from, to));
        Ok(Answer::Offered { why, build: before.build_name, environment, button, changes })
    }

    async fn told_to_lock(&self, projects: &[Project], named: &str, lock: Lock) -> Answered {
        let Place { project, environment } = match command::place(projects, named, |place| format!("lock {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let (name, id) = (environment.name.clone(), environment.id);
        Ok(Ok(match self.lock(project.id, id, lock).await {
            Ok(lock) => Answer::Locked { environment: name, id, lock },
            Err(CommandError::Refused(refusal)) => Answer::Nothing(sentence(&refusal)),
            Err(CommandError::Unavailable(e)) => return Err(CommandError::Unavailable(e)),
            Err(CommandError::Impossible(e)) => return Err(CommandError::Impossible(e)),
        }))
    }

    async fn told_to_unlock(&self, projects: &[Project], named: &str, by: Person) -> Answered {
        let Place { project, environment } = match command::place(projects, named, |place| format!("unlock {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let (name, id) = (environment.name.clone(), environment.id);
        Ok(Ok(match self.unlock(project.id, id, &Unlocking::Own(Holder::Person(by.clone()))).await {
            Ok(lock) => Answer::Unlocked { environment: name, lock, by },
            Err(CommandError::Refused(LockRefusal::Theirs { lock, .. })) => {
                Answer::TheirLock { environment: name, id, lock: *lock }
            }
            Err(CommandError::Refused(refusal)) => Answer::Nothing(sentence(&refusal)),
            Err(CommandError::Unavailable(e)) => return Err(CommandError::Unavailable(e)),
            Err(CommandError::Impossible(e)) => return Err(CommandError::Impossible(e)),
        }))
    }

    /// Somebody pressed *Unlock* in a channel, having been asked back about a lock: that one is taken away, whosever it
    /// is. Another one that is there by now is another question.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn pressed_unlock(
        &self,
        channel: &str,
        (environment, since): (EnvironmentId, i64),
        by: Person,
    ) -> Result<Answer, CommandError<Infallible>> {
        let projects = self.store.directory().projects_of_channel(channel).await?;
        let Some(Place { project, environment }) = place_of(&projects, environment) else { return Ok(not_here()) };
        let since = DateTime::from_timestamp_micros(since).unwrap_or_default();
        match self.unlock(project.id, environment.id, &Unlocking::Asked(Holder::Person(by.clone()), since)).await {
            Err(CommandError::Refused(LockRefusal::Theirs { lock, .. })) => {
                let (name, id) = (environment.name.clone(), environment.id);
                Ok(Answer::TheirLock { environment: name, id, lock: *lock })
            }
            Ok(lock) => Ok(Answer::Unlocked { environment: environment.name.clone(), lock, by }),
            Err(CommandError::Refused(refusal)) => Ok(Answer::Nothing(sentence(&refusal))),
            Err(CommandError::Unavailable(e)) => Err(CommandError::Unavailable(e)),
            Err(CommandError::Impossible(e)) => Err(CommandError::Impossible(e)),
        }
    }

    async fn told_logs(&self, projects: &[Project], named: &str) -> Answered {
        let place = match command::place(projects, named, |place| format!("logs {place}")) {
            Ok(place) => place,
            Err(misunderstood) => return Ok(Err(misunderstood)),
        };
        let standing = self.standing(place).await?;
        let Some(newest) = standing.as_ref().and_then(newest_of) else {
            let sentence = format!("Nothing was deployed to {} yet.", place.environment.name);
            return Ok(Ok(Answer::Nothing(sentence)));
        };
        let url = self.log_of(place.project, newest.deployment.of.deployment_id);
        Ok(Ok(Answer::Log { deployment: Box::new(newest.clone()), url }))
    }
}
