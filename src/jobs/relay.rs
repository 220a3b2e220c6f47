//! Rings for due jobs, in every process: at once after an append, on NOTIFY from others, and when a waiting job's time
//! comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
/// How long it waits when nobody answers.
const FULL: Duration = Duration::from_millis(50);
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
    let mut room = Quota::default();
    loop {
        events.borrow_and_update();
        let mut wait = POLL;
        match ring(&store, &doorbell, kinds, &mut room).await {
            Ok((rung, next)) => {
                tokio::time::sleep(pause * rung).await;
                wait = if i64::from(rung) == ROUND_MAX { Duration::ZERO } else { wait.min(next) };
            }
            Err(e) => tracing::debug!(error = format!("{e:#}"), "no doorbells now"),
        }
        tokio::select! {
            _ = events.changed() => {}
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How many more rings there is room for.
#[derive(Default)]
struct Quota {
    left: i64,
    asked: Option<Instant>,
}

impl Quota {
    /// Other processes ring too.
    fn is_stale(&self) -> bool {
        self.left <= 0 || self.asked.is_none_or(|at| at.elapsed() > POLL)
    }

    async fn ask(&mut self, doorbell: &Doorbell) -> anyhow::Result<()> {
        self.left = (OUTSTANDING_MAX - doorbell.outstanding().await?).min(ROUND_MAX);
        self.asked = Some(Instant::now());
        Ok(())
    }
}

/// Rings for what is due; tells how many rings that were, and how long until something else is due. How many more rings
/// there is room for is asked when the present ones are out: whoever waits for a ring does not wait for that.
async fn ring(
    store: &Store,
    doorbell: &Doorbell,
    kinds: &[TaskKind],
    room: &mut Quota,
) -> anyhow::Result<(u32, Duration)> {
    if !doorbell.is_up().await {
        return Ok((0, POLL));
    }
    let mut rung = 0;
    if room.is_stale() {
        room.ask(doorbell).await?;
    }
    if room.left > 0 {
        let due = within(store.jobs().to_ring(kinds, room.left)).await?;
        for job in due {
            failpoint!("after_ring_noted");
            if !doorbell.ring(job).await {
                break;
            }
            rung += 1;
        }
    }
    if rung > 0 {
        room.ask(doorbell).await?;
    }
    // Nobody has answered so many: those behind them can wait for a moment.
    if room.left <= 0 {
        return Ok((rung, FULL));
    }
    let next = within(store.jobs().next_due(kinds)).await?;
    Ok((rung, next.map_or(POLL, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0) + 1))))
}
