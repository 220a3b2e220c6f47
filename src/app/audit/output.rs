//! Whether what deployments printed is what their ends sealed.

use std::collections::{HashMap, HashSet};

use super::Report;
use crate::app::App;
use crate::app::finding::{Finding, Kind};
use crate::domain::deployment::LogSeal;
use crate::domain::event::Event;
use crate::domain::ids::DeploymentId;
use crate::domain::react::Task;
use crate::store::log::ReadError;

/// The journals that there are, and what the log says of them so far.
pub(super) struct Output {
    with_journal: HashSet<DeploymentId>,
    /// The seal of what a deployment printed, and where it is.
    seals: HashMap<DeploymentId, (i64, LogSeal)>,
    /// Deployments whose output was erased.
    erased: HashSet<DeploymentId>,
    /// Deployments of which an event can't be read: it may be the one that seals.
    unjudged: HashSet<DeploymentId>,
}

impl Output {
    /// The deployments that have a journal.
    pub(super) fn of(with_journal: Vec<DeploymentId>) -> Self {
        let (seals, erased, unjudged) = (HashMap::new(), HashSet::new(), HashSet::new());
        Self { with_journal: with_journal.into_iter().collect(), seals, erased, unjudged }
    }

    /// An event of a deployment can't be read.
    pub(super) fn leave_out(&mut self, deployment: DeploymentId) {
        self.unjudged.insert(deployment);
    }

    /// One more event. What printed nothing has nothing to check, unless there are chunks that the seal does not know.
    pub(super) fn event(&mut self, position: i64, event: &Event) {
        if let Event::OutputErased(e) = event {
            self.erased.insert(e.of.deployment_id);
        }
        if let Some((deployment, seal)) = event.seal()
            && (seal.chunks > 0 || self.with_journal.contains(&deployment))
        {
            self.seals.insert(deployment, (position, seal.clone()));
        }
    }

    /// Holds every journal against its seal. What is over has one; what is not in the log at all may be of a history that was
    /// given up, where somebody with the key has decided so.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn check(
        self,
        app: &App,
        is_open: impl Fn(DeploymentId) -> bool,
        may_have_parted: bool,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        let Self { with_journal, seals, erased, unjudged } = self;
        let at = |deployment: &DeploymentId| seals.get(deployment).map(|(position, _)| *position);
        let journals: HashSet<DeploymentId> = with_journal.into_iter().chain(seals.keys().copied()).collect();
        let mut journals: Vec<DeploymentId> = journals.into_iter().collect();
        journals.sort_by_key(|deployment| (at(deployment), deployment.0));
        for deployment in journals {
            report.journals += 1;
            let seal = seals.get(&deployment).map(|(_, seal)| seal);
            let mut said = app.store.journals().verify(deployment, seal, erased.contains(&deployment)).await?;
            // It may have been erased since the log was read.
            if said.is_some() && !erased.contains(&deployment) && is_erased(app, deployment).await? {
                said = app.store.journals().verify(deployment, seal, true).await?;
            }
            if seal.is_none() && said.is_none() && !is_open(deployment) && !unjudged.contains(&deployment) {
                let is_in_log = app.store.log().begins_at(deployment.0).await?.is_some();
                let may_be_given_up =
                    may_have_parted && !is_in_log && app.store.checkpoints().parting().await?.is_some();
                let unsealed = format!("log of deployment {deployment}: no event of its end seals it");
                said = (!may_be_given_up).then_some(unsealed);
            }
            if said.is_none() && erased.contains(&deployment) && is_kept(app, deployment).await? {
                said = Some(format!(
                    "log of deployment {deployment}: it was erased, an event says, and it is there; erase it again: coolops deployment erase-output"
                ));
            }
            if let Some(said) = said {
                report.find(Finding::about(Kind::ChangedOutput, at(&deployment), said));
            }
        }
        Ok(())
    }
}

/// Whether output is there that nobody is at erasing.
async fn is_kept(app: &App, deployment: DeploymentId) -> Result<bool, sqlx::Error> {
    // In this order: whoever is at it may come to the end meanwhile.
    Ok(app.store.jobs().is_idle(Task::EraseOutput(deployment)).await?
        && app.store.journals().is_there(deployment).await?)
}

/// Whether the log says now that a deployment's output is erased.
async fn is_erased(app: &App, deployment: DeploymentId) -> Result<bool, sqlx::Error> {
    match app.output_erased(deployment).await {
        Ok(told) => Ok(told.is_some()),
        Err(ReadError::Database(e)) => Err(e),
        Err(_) => Ok(false),
    }
}
