//! Places where a test can kill or hold the process: right before and after everything that is committed.
//!
//! They exist with the cargo feature `failpoints` only, which a release build refuses. A test sets them through the
//! variable `FAILPOINTS` (the `fail` crate's syntax): `return` there kills the process as SIGKILL would.

/// Stops the process here when a test wants so; nothing in any other build.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::here($name);
    };
}

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("release builds have no failpoints");

/// Does what a test asked for at this place.
#[cfg(feature = "failpoints")]
pub fn here(name: &'static str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Reads `FAILPOINTS`; call it once, at the start.
pub fn start() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}
