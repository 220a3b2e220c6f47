//! Signs a checkpoint every minute in which something happened, and brings every place up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::checkpoints::NoCheckpoint;
use crate::telemetry::causes;

/// Between two checkpoints.
const EVERY: Duration = Duration::from_mins(1);
/// How long the last one may take, at a stop.
const LAST: Duration = Duration::from_secs(2);

/// Runs until it is told to stop. What is in the way is told and tried again: what happens is recorded meanwhile, unless
/// two histories were found.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    loop {
        match app.checkpoint().await {
            Ok(Some(signed)) => tracing::debug!(events = signed.size, "a checkpoint was signed"),
            Ok(None) => {}
            Err(e @ (NoCheckpoint::Tampered(_) | NoCheckpoint::Fork(_))) => {
                tracing::error!(error = causes(&e), "there is no checkpoint");
            }
            Err(e) => tracing::warn!(error = causes(&e), "there is no checkpoint now"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Signs what happened since, when all else has ended: what nobody covers is told by an audit for as long as nobody runs. No witness
/// is waited for.
pub async fn last(app: &App) {
    match tokio::time::timeout(LAST, app.last_checkpoint()).await {
        Ok(Ok(_) | Err(NoCheckpoint::NoKey)) => {}
        Ok(Err(e)) => tracing::warn!(error = causes(&e), "the last minute is covered by no checkpoint yet"),
        Err(_) => tracing::warn!("the last minute is covered by no checkpoint yet: the places take long"),
    }
}
