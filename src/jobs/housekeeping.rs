//! What is looked after now and then, whoever is at work: work that no job stands for, what nobody needs any more,
//! containers left behind.
//!
//! **Invariant:** a chore can be left out, or done by several processes at once, and nothing is lost or done twice.

use std::time::Duration;

use tokio::time::Instant;

use super::slack_calls::Paces;
use super::sweep_slack::{self, Sweeper};
use crate::app::App;
use crate::domain::ids::LockableId;
use crate::domain::react::Task;
use crate::runner::{Found, Ours, Runner};
use crate::slack::client::Slack;
use crate::telemetry::causes;

/// What is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chore {
    /// Work is owed by the rows and no job stands for it: what a lost job table would cost.
    FindOwedWork,
    /// Deliveries, finished jobs and secrets of what is archived are kept for a while only.
    Forget,
    /// A container is there although its deployment is over.
    SweepContainers,
    /// Who is in a group that rights name is known before it is needed.
    AskAfterGroups,
    /// Somebody may have forgotten a lock without an end.
    RemindOfLocks,
    /// Slack may show something else than it was sent. That is looked at an hour after the start at first: starts are many.
    SweepSlack,
}

impl Chore {
    /// Whether it is done while the log is closed: what is there may be of a history that this log is not, so it is looked at
    /// and left alone.
    pub(super) fn only_looks(self) -> bool {
        matches!(self, Self::SweepSlack | Self::AskAfterGroups)
    }
}

/// Keys of names that are encrypted anew at once, after a change of the master key.
const REWRAPPED: i64 = 1_000;

/// Every chore, and how often it is done.
const CHORES: [(Chore, Duration); 6] = [
    (Chore::FindOwedWork, Duration::from_mins(5)),
    (Chore::Forget, Duration::from_mins(5)),
    (Chore::SweepContainers, Duration::from_secs(30)),
    (Chore::AskAfterGroups, Duration::from_mins(1)),
    (Chore::RemindOfLocks, Duration::from_mins(5)),
    (Chore::SweepSlack, sweep_slack::EVERY),
];

/// When each chore was done last, by this process.
#[derive(Default)]
pub(super) struct Housekeeping {
    done: [Option<Instant>; CHORES.len()],
}

impl Housekeeping {
    /// The chores that are due, which are taken to be done then; at first all but those that wait. While the log is closed
    /// only those that look.
    pub(super) fn due(&mut self, now: Instant, is_open: bool) -> Vec<Chore> {
        let mut due = Vec::new();
        let done = self.done.iter_mut().zip(CHORES);
        for (done, (chore, every)) in done.filter(|(_, (chore, _))| is_open || chore.only_looks()) {
            let is_due = match done {
                None => chore != Chore::SweepSlack,
                Some(at) => now.duration_since(*at) >= every,
            };
            if is_due || done.is_none() {
                *done = Some(now);
            }
            due.extend(is_due.then_some(chore));
        }
        due
    }
}

/// Asks again for owed work that no job stands for.
pub(super) async fn find_owed_work(app: &App) {
    match app.store.jobs().missing().await {
        Ok(owed) => {
            for task in owed {
                tracing::warn!(?task, "work is owed that no job stands for");
                app.store.jobs().want(task).await.ok();
            }
        }
        Err(e) => tracing::warn!(error = format!("{e:#}"), "owed work can't be looked for"),
    }
    if let Err(e) = find_locked_lines(app).await {
        tracing::warn!(error = format!("{e:#}"), "lines that a lock keeps waiting can't be looked at");
    }
}

/// What a lock of everything owes, and whoever waits although no lock keeps them waiting any more.
async fn find_locked_lines(app: &App) -> anyhow::Result<()> {
    let ends = Task::EndLock(LockableId::everything());
    let lock = app.installation_anew().await?.value.lock.clone();
    if lock.is_some_and(|lock| lock.until.is_some()) && app.store.jobs().is_idle(ends).await? {
        app.store.jobs().want(ends).await?;
    }
    app.move_what_waits().await?;
    Ok(())
}

/// Reminds people of locks that they may have forgotten.
pub(super) async fn remind_of_locks(app: &App) {
    if let Err(e) = app.remind_of_locks().await {
        tracing::warn!(error = format!("{e:#}"), "forgotten locks can't be looked for");
    }
}

/// Forgets what nobody needs any more.
pub(super) async fn forget(app: &App) {
    // First: what comes after it may take longer than there is to look.
    if let Err(e) = app.look_after_erasures().await {
        tracing::warn!(error = causes(&e), "whether rows name somebody who was erased can't be looked after");
    }
    // Each by itself: what one can't do keeps no other from it.
    let forgotten = [
        app.store.deliveries().forget_old().await.map(drop),
        app.store.jobs().forget_done().await.map(drop),
        app.store.messages().forget_sends().await.map(drop),
        app.erase_archived().await,
        app.store.subjects().rewrap(REWRAPPED).await,
        app.rewrap_secrets(REWRAPPED).await,
        app.expire_outputs().await.map(|expired| match expired {
            0 => {}
            expired => tracing::info!(expired, "let go of output that was kept for long enough"),
        }),
    ];
    for e in forgotten.into_iter().filter_map(Result::err) {
        tracing::warn!(error = causes(&e), "what nobody needs any more can't be forgotten now");
    }
}

/// Holds what Slack shows against what it was sent; one process does it for all.
pub(super) async fn sweep_slack(sweeper: &mut Sweeper, app: &App, slack: &Slack, paces: &Paces) {
    if let Err(e) = sweeper.sweep_in_turn(app, slack, paces).await {
        tracing::warn!(error = format!("{e:#}"), "what Slack shows can't be held against what it was sent");
    }
}

/// Asks Slack anew who is in the groups that rights name.
pub(super) async fn ask_after_groups(app: &App) {
    if let Err(e) = app.ask_after_groups().await {
        tracing::debug!(error = format!("{e:#}"), "groups can't be asked after");
    }
}

/// Removes what a crash or a hanging engine left behind: containers whose deployment is over, and nobody is at it. One
/// that runs is stopped first, and that is recorded: the deployment's line has said otherwise.
pub(super) async fn sweep_containers(app: &App, runner: &dyn Runner) {
    let listed = async {
        let instance = app.store.instance().await?;
        anyhow::Ok(runner.containers(&instance).await?)
    };
    let all = match listed.await {
        Ok(all) => all,
        // The engine is asked after all the time, and doctor tells.
        Err(e) => return tracing::debug!(error = format!("{e:#}"), "containers can't be looked through"),
    };
    for left in all {
        if let Err(e) = sweep(app, runner, &left).await {
            tracing::warn!(
                deployment.id = %left.deployment,
                container = left.id,
                error = format!("{e:#}"),
                "a container can't be looked after; it is tried again"
            );
        }
    }
}

async fn sweep(app: &App, runner: &dyn Runner, left: &Ours) -> anyhow::Result<()> {
    let Some(deployment) = app.deployment_of_log(left.deployment).await? else {
        tracing::warn!(
            deployment.id = %left.deployment,
            "a container of ours is of no deployment that is known; it stays"
        );
        return Ok(());
    };
    if !deployment.state().is_over() || !app.store.jobs().is_idle(Task::RunDeployment(left.deployment)).await? {
        return Ok(());
    }
    // It may have ended between the list and the end of its deployment.
    let runs =
        left.running && matches!(runner.look(&deployment.container_name(), left.deployment).await?, Found::Running(_));
    if runs {
        tracing::error!(
            deployment.id = %left.deployment,
            "a container runs although its deployment is over; stopping it"
        );
        runner.stop(&left.id, Duration::from_secs(u64::from(deployment.stop_grace_seconds))).await?;
        app.found_stray(left.deployment, &left.id).await?;
    } else {
        tracing::info!(deployment.id = %left.deployment, "removing a container whose deployment is over");
    }
    Ok(runner.remove(&left.id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chore_has_its_own_period_whatever_the_pace_of_the_rounds() {
        let (begun, mut keeping) = (Instant::now(), Housekeeping::default());
        let all = || CHORES.map(|(chore, _)| chore).to_vec();
        let at_once: Vec<Chore> = all().into_iter().filter(|chore| *chore != Chore::SweepSlack).collect();
        assert_eq!(keeping.due(begun, true), at_once, "at first all but what waits");
        assert_eq!(keeping.due(begun + Duration::from_hours(1), true), all());
        for pace in [500, 2_000] {
            let (mut keeping, mut swept) = (Housekeeping::default(), 0);
            for round in 0..(60_000 / pace) {
                let due = keeping.due(begun + Duration::from_millis(round * pace), true);
                swept += due.iter().filter(|chore| **chore == Chore::SweepContainers).count();
            }
            assert_eq!(swept, 2, "a minute of rounds every {pace} ms");
        }
    }
}
