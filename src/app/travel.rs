//! What was where at a moment of the log, and what changed between two.
//!
//! **Invariant:** everything is folded from events up to that moment; rows only say which streams to read.

use std::collections::HashMap;

use uuid::Uuid;

use super::history::{NotTold, When};
use super::{App, folding, installation};
use crate::domain::event::Recorded;
use crate::domain::ids::{EnvironmentId, ProjectId};
use crate::domain::lock::Lock;
use crate::domain::moment::to_the_minute;
use crate::domain::project::{Environment, Project};
use crate::projections::standing::Standing;
use crate::projections::timed::Timed;
use crate::projections::words::{Words, locked_with};
use crate::store::log::ReadError;
use crate::telemetry::causes;

/// How everything stood at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// When.
    pub when: When,
    /// Each project that there was, with its environments.
    pub projects: Vec<(Project, Vec<Standing>)>,
    /// Those of which something can't be read: nothing is told of them.
    pub unread: Vec<NotTold>,
}

/// What is other than before in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The project's slug.
    pub project: String,
    /// The environment's name; empty for what is the whole project's.
    pub environment: String,
    /// In words; what others wrote is in it as it is.
    pub what: String,
}

impl App {
    /// How everything stood at a moment: all projects, or one. One of which something can't be read stands in nobody's way.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read of the one that is asked for, or of the installation.
    pub async fn board(&self, when: When, only: Option<ProjectId>) -> Result<Board, ReadError> {
        let log = self.readers().log();
        let installation = installation::of(log, None, when.position).await?;
        let everything = installation.value.lock.filter(|lock| !lock.is_over(when.at));
        let (mut projects, mut unread) = (Vec::new(), Vec::new());
        for (id, slug) in self.readers().directory().slugs().await? {
            if only.is_some_and(|only| only != id) {
                continue;
            }
            match self.stood(id, when, everything.as_ref()).await {
                Ok(Some((project, _))) if project.archived && only.is_none() => {}
                Ok(stood) => projects.extend(stood),
                Err(why) if why.is_of_one_thing() && only.is_none() => {
                    unread.push(NotTold { id, slug, why: causes(&why) });
                }
                Err(why) => return Err(why),
            }
        }
        Ok(Board { when, projects, unread })
    }

    /// How a project stood at a moment, under the lock on everything; none when there was none.
    async fn stood(
        &self,
        id: ProjectId,
        when: When,
        everything: Option<&Lock>,
    ) -> Result<Option<(Project, Vec<Standing>)>, ReadError> {
        let log = self.readers().log();
        let Some(seen) = folding::project_until(self.readers(), id, when.position).await? else { return Ok(None) };
        let mut project = seen.value;
        let is_over = |lock: &Lock| lock.is_over(when.at);
        project.lock = project.lock.filter(|lock| !is_over(lock));
        for environment in &mut project.environments {
            environment.lock = environment.lock.take().filter(|lock| !is_over(lock));
        }
        let environments: Vec<Uuid> = project.open_environments().into_iter().map(|e| e.id.0).collect();
        let streams = self.readers().history().told_at(&environments, when.position).await?;
        let (mut stories, mut in_order): (HashMap<Uuid, Vec<Recorded>>, Vec<Uuid>) = (HashMap::new(), Vec::new());
        for recorded in log.streams_until(&streams, when.position).await? {
            let stream = recorded.event.address().stream;
            let begin = || {
                in_order.push(stream);
                Vec::new()
            };
            stories.entry(stream).or_insert_with(begin).push(recorded);
        }
        let deployments: Vec<Timed> = in_order.iter().filter_map(|stream| Timed::fold(&stories[stream])).collect();
        let standings = Standing::of(&project, everything, &deployments);
        Ok(Some((project, standings)))
    }
}

/// What is other on the second board than on the first, in the order of the second; nothing of what one of them can't tell.
pub fn between(before: &Board, after: &Board) -> Vec<Difference> {
    let known: HashMap<Uuid, &Standing> =
        before.projects.iter().flat_map(|(_, all)| all).map(|standing| (standing.environment.0, standing)).collect();
    let mut differences = Vec::new();
    let is_told = |id: ProjectId| before.unread.iter().chain(&after.unread).all(|unread| unread.id != id);
    for (project, standings) in after.projects.iter().filter(|(project, _)| is_told(project.id)) {
        let whole = |what: String| Difference { project: project.slug.clone(), environment: String::new(), what };
        match before.projects.iter().find(|(other, _)| other.id == project.id) {
            None => differences.push(whole("is new".to_owned())),
            Some((was, _)) => differences.extend(changes_of_project(was, project).into_iter().map(whole)),
        }
        for standing in standings {
            let differs =
                |what: String| Difference { project: project.slug.clone(), environment: standing.name.clone(), what };
            match known.get(&standing.environment.0) {
                None => {
                    differences.push(differs("is new".to_owned()));
                    differences.extend(changes(&standing.before_all(), standing).into_iter().map(differs));
                }
                Some(was) => {
                    differences.extend(changes(was, standing).into_iter().map(differs));
                    let is_set_otherwise = before
                        .projects
                        .iter()
                        .find(|(other, _)| other.id == project.id)
                        .is_some_and(|(other, _)| are_set_otherwise(other, project, standing.environment));
                    differences.extend(is_set_otherwise.then(|| differs(SET_OTHERWISE.to_owned())));
                }
            }
        }
    }
    for (project, standings) in before.projects.iter().filter(|(project, _)| is_told(project.id)) {
        let Some((_, still)) = after.projects.iter().find(|(other, _)| other.id == project.id) else {
            let (project, environment) = (project.slug.clone(), String::new());
            differences.push(Difference { project, environment, what: "is archived".to_owned() });
            continue;
        };
        for gone in standings {
            if !still.iter().any(|standing| standing.environment == gone.environment) {
                let (project, environment) = (project.slug.clone(), gone.name.clone());
                differences.push(Difference { project, environment, what: "is archived".to_owned() });
            }
        }
    }
    differences
}

/// What `coolops history --settings` tells whole.
const SET_OTHERWISE: &str = "is set otherwise (coolops history --settings)";

fn changes_of_project(was: &Project, is: &Project) -> Vec<String> {
    let mut changes = Vec::new();
    if was.name != is.name {
        changes.push(format!("was called {}", was.name));
    }
    if was.image != is.image {
        changes.push(format!("runs the image {}, in place of {}", is.image.as_str(), was.image.as_str()));
    }
    if was.archived != is.archived {
        changes.push(if is.archived { "is archived".to_owned() } else { "is not archived any more".to_owned() });
    }
    if was.channel != is.channel {
        changes.push(format!("has its messages in {}, in place of {}", is.channel, was.channel));
    }
    // What is told already, and what is told of its environments.
    let rest = |of: &Project| Project {
        name: String::new(),
        image: is.image.clone(),
        channel: String::new(),
        archived: false,
        environments: Vec::new(),
        version: 0,
        lock: None,
        unlocked: None,
        ..of.clone()
    };
    if rest(was) != rest(is) {
        changes.push(SET_OTHERWISE.to_owned());
    }
    changes
}

/// Whether something is set otherwise of an environment than its name and its protection, which are told.
fn are_set_otherwise(was: &Project, is: &Project, id: EnvironmentId) -> bool {
    let rest = |of: &Project| {
        let of = of.environment(id)?.clone();
        Some(Environment { name: String::new(), protected: false, lock: None, unlocked: None, version: 0, ..of })
    };
    rest(was) != rest(is)
}

fn changes(before: &Standing, after: &Standing) -> Vec<String> {
    let mut changes = Vec::new();
    if before.name != after.name {
        changes.push(format!("was called {}", before.name));
    }
    let id = |d: &Timed| d.deployment.of.deployment_id;
    match (&before.good, &after.good) {
        (Some(was), Some(is)) if id(was) != id(is) => {
            changes.push(format!("runs {}, in place of {}", is.deployment.build_name, was.deployment.build_name));
        }
        (None, Some(is)) => changes.push(format!("runs {}", is.deployment.build_name)),
        _ => {}
    }
    if before.protected != after.protected {
        changes.push(if after.protected { "is protected".to_owned() } else { "is not protected any more".to_owned() });
    }
    let still = |d: &Timed| after.open.iter().chain(&after.failed).chain(&after.good).any(|other| id(other) == id(d));
    changes
        .extend(before.open.iter().filter(|d| !still(d)).map(|d| format!("{} is over there", d.deployment.build_name)));
    let new = after.open.iter().chain(&after.failed).filter(|d| {
        let there = before.open.iter().chain(&before.failed).find(|other| id(other) == id(d));
        there.is_none_or(|other| other.deployment.stand != d.deployment.stand)
    });
    changes.extend(
        new.map(|d| format!("{} {}", d.deployment.build_name, Words::of(&d.deployment).sentence(str::to_owned))),
    );
    let same = |lock: &Lock, locks: &[Lock]| locks.iter().any(|other| other.is_the_same(lock));
    for lock in &after.locks {
        let was = before.locks.iter().find(|was| was.is_the_same(lock));
        if was.is_some_and(|was| (&was.reason, was.until) != (&lock.reason, lock.until)) {
            let until = lock.until.map(|until| format!(" until {}", to_the_minute(until))).unwrap_or_default();
            let why = lock.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            changes.push(format!("is now locked{} by {}{until}{why}", locked_with(lock.scope), lock.holder.name()));
        }
    }
    for lock in after.locks.iter().filter(|lock| !same(lock, &before.locks)) {
        let why = lock.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        changes.push(format!("is locked{} by {}{why}", locked_with(lock.scope), lock.holder.name()));
    }
    for lock in before.locks.iter().filter(|lock| !same(lock, &after.locks)) {
        changes.push(format!("is not locked{} by {} any more", locked_with(lock.scope), lock.holder.name()));
    }
    changes
}
