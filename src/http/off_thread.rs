//! Work over megabytes, which is nothing for the threads that answer requests.

use tokio::task;

/// Does it on a thread of its own. Where it panics, so does whoever asked.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(work).await.map_err(task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The process ends before it was begun, and whoever asked ends too.
        Err(Err(_)) => std::future::pending().await,
    }
}
