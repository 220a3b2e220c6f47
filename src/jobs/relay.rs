//! Rings for due jobs, in every process: at once after an append, on NOTIFY from others, and when a waiting job's time
//! comes.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::queue::Doorbell;
use crate::store::Store;

/// Rings that nobody answered yet, at most: far below what apalis-redis can bear (about 8,000).
const OUTSTANDING_MAX: i64 = 256;
/// How long it waits without any sign.
const POLL: Duration = Duration::from_secs(1);

/// Rings until it is stopped. Redis being away is not an error here: the crews look by themselves.
pub async fn run(store: Store, doorbell: Arc<Doorbell>, kinds: Vec<String>, stop: CancellationToken) {
    let mut events = store.wake().events();
    loop {
        events.borrow_and_update();
        let mut wait = POLL;
        match ring(&store, &doorbell, &kinds).await {
            Ok(next) => wait = wait.min(next),
            Err(e) => tracing::debug!(error = %e, "no doorbells now"),
        }
        tokio::select! {
            _ = events.changed() => {}
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Rings for what is due; tells how long until something else is.
async fn ring(store: &Store, doorbell: &Doorbell, kinds: &[String]) -> anyhow::Result<Duration> {
    if !doorbell.is_up().await {
        return Ok(POLL);
    }
    let room = OUTSTANDING_MAX - doorbell.outstanding().await?;
    if room > 0 {
        for job in store.to_ring(kinds, room).await? {
            doorbell.ring(job).await;
        }
    }
    let next = store.next_due(kinds).await?;
    Ok(next.map_or(POLL, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0) + 1)))
}
