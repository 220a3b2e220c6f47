//! Places where a test can kill or hold a process: right before and after everything that is committed.
//!
//! They exist with the cargo feature `failpoints` only, which a release build refuses. A test sets those of a real process
//! through the variable `FAILPOINTS` (the `fail` crate's syntax): `return` there kills the process as SIGKILL would. One
//! whose processes are simulated, on a runtime each, is asked at every place instead (`watching`), and what has come to
//! the place where it says so goes on when it says otherwise, if ever.

/// Stops the process here when a test wants so; nothing in any other build.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::here($name).await;
    };
}

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("release builds have no failpoints");

#[cfg(feature = "failpoints")]
type Stays = std::sync::Arc<dyn Fn(&'static str) -> bool>;

#[cfg(feature = "failpoints")]
thread_local! {
    static WATCHED: std::cell::RefCell<Option<Stays>> = const { std::cell::RefCell::new(None) };
}

/// Does what a test asked for at this place.
#[cfg(feature = "failpoints")]
pub async fn here(name: &'static str) {
    kill(name);
    while WATCHED.with_borrow(|watched| watched.as_ref().is_some_and(|stays| stays(name))) {
        tokio::task::yield_now().await;
    }
}

#[cfg(feature = "failpoints")]
fn kill(name: &'static str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Asks `stays` at each place that is come to on this thread while `work` runs. What has come to one where it says yes
/// stays there for as long as it does: whoever asked lets the runtime that it runs on stand, or drops it.
#[cfg(feature = "failpoints")]
pub fn watching<T>(stays: Stays, work: impl FnOnce() -> T) -> T {
    struct Unwatched;
    impl Drop for Unwatched {
        fn drop(&mut self) {
            WATCHED.set(None);
        }
    }
    WATCHED.set(Some(stays));
    let _unwatched = Unwatched;
    work()
}

/// Reads `FAILPOINTS`; call it once, at the start.
pub fn start() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}
