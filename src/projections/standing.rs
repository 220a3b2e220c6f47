//! What is where: how an environment stands, told from its deployments. What commands and the project's page show.

use super::timed::Timed;
use crate::domain::ids::EnvironmentId;
use crate::domain::lock::Lock;
use crate::domain::project::Project;

/// How an environment stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The environment.
    pub environment: EnvironmentId,
    /// Its name.
    pub name: String,
    /// Whether a press for it is asked back first.
    pub protected: bool,
    /// Who keeps others out of it: its own lock, its project's, that of everything.
    pub locks: Vec<Lock>,
    /// What went well there last.
    pub good: Option<Timed>,
    /// What ended there last, if that is another one: what runs there may be half of it.
    pub failed: Option<Timed>,
    /// What is on its way there, in the order of the presses.
    pub open: Vec<Timed>,
}

impl Standing {
    /// The environment before anything had happened there.
    #[must_use]
    pub fn before_all(&self) -> Self {
        let (environment, name) = (self.environment, self.name.clone());
        Self { environment, name, protected: false, locks: Vec::new(), good: None, failed: None, open: Vec::new() }
    }

    /// How the open environments of a project stand, in the order of their buttons. `deployments` are those that are
    /// open there, and of each environment the last that ended and the last that went well, in the order of their presses, which
    /// times don't tell: several can be recorded at one moment. `everything` is the lock on everything.
    pub fn of(project: &Project, everything: Option<&Lock>, deployments: &[Timed]) -> Vec<Self> {
        let stands = |e: &crate::domain::project::Environment| {
            let here = deployments.iter().filter(|d| d.deployment.of.environment_id == e.id);
            let (open, mut ended): (Vec<&Timed>, Vec<&Timed>) = here.partition(|d| d.deployment.state().is_open());
            // Whoever pressed first: a lock lets later ones overtake.
            ended.sort_by_key(|d| d.since);
            let is_good = |d: &&&Timed| d.deployment.state() == crate::domain::state::State::Succeeded;
            Self {
                environment: e.id,
                name: e.name.clone(),
                protected: e.protected,
                locks: [e.lock.as_ref(), project.lock.as_ref(), everything].into_iter().flatten().cloned().collect(),
                good: ended.iter().rev().find(is_good).map(|d| (**d).clone()),
                failed: ended.last().filter(|d| !is_good(d)).map(|d| (**d).clone()),
                open: open.into_iter().cloned().collect(),
            }
        };
        project.open_environments().into_iter().map(stands).collect()
    }
}
