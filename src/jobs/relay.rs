//! Rings for due jobs, in every process: at once after an append, on NOTIFY from others, and when a waiting job's time
//! comes.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::queue::Doorbell;
use crate::domain::react::TaskKind;
use crate::failpoint;
use crate::store::{Store, within};

/// Rings that nobody answered yet, at most: far below what apalis-redis can bear (about 8,000).
const OUTSTANDING_MAX: i64 = 256;
/// Rings in one round, at most.
const ROUND_MAX: i64 = 32;
/// What each ring for a message costs in rest: a backlog waits for Slack's pace anyway, and is worked off at one that
/// leaves the machine to those who announce and press. One job alone is rung for at once.
pub const MESSAGE_PAUSE: Duration = Duration::from_millis(16);
/// How long it waits without any sign.
const POLL: Duration = Duration::from_secs(1);

/// Rings until it is stopped. Redis being away is not an error here: the crews look by themselves.
pub async fn run(
    store: Store,
    doorbell: Arc<Doorbell>,
    kinds: &'static [TaskKind],
    pause: Duration,
    stop: CancellationToken,
) {
    let mut events = store.wake().events();
    loop {
        events.borrow_and_update();
        let mut wait = POLL;
        match ring(&store, &doorbell, kinds).await {
            Ok((rung, next)) => {
                tokio::time::sleep(pause * rung).await;
                wait = if i64::from(rung) == ROUND_MAX { Duration::ZERO } else { wait.min(next) };
            }
            Err(e) => tracing::debug!(error = %e, "no doorbells now"),
        }
        tokio::select! {
            _ = events.changed() => {}
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Rings for what is due; tells how many rings that were, and how long until something else is due.
async fn ring(store: &Store, doorbell: &Doorbell, kinds: &[TaskKind]) -> anyhow::Result<(u32, Duration)> {
    if !doorbell.is_up().await {
        return Ok((0, POLL));
    }
    let mut rung = 0;
    let room = (OUTSTANDING_MAX - doorbell.outstanding().await?).min(ROUND_MAX);
    if room > 0 {
        let due = within(store.jobs().to_ring(kinds, room)).await?;
        for job in due {
            failpoint!("after_ring_noted");
            if !doorbell.ring(job).await {
                break;
            }
            rung += 1;
        }
    }
    let next = within(store.jobs().next_due(kinds)).await?;
    Ok((rung, next.map_or(POLL, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0) + 1))))
}
