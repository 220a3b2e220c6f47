//! What strangers can make us say is said seldom, and counted.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So long the same is not said again.
const SELDOM: Duration = Duration::from_secs(10);

/// Something that anybody can make us say: it is said at most every ten seconds, with how often it was left out.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// Not said yet.
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// How often it was left out, when it is time to say it again; none when it isn't.
    pub fn due(&self) -> Option<u64> {
        let mut said = self.0.lock().expect("no holder of the lock panics");
        if said.0.is_some_and(|at| at.elapsed() < SELDOM) {
            said.1 += 1;
            return None;
        }
        said.0 = Some(Instant::now());
        Some(std::mem::take(&mut said.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_can_make_us_say_is_said_once_and_counted() {
        let seldom = Seldom::new();
        assert_eq!(seldom.due(), Some(0));
        assert!((0..1_000).all(|_| seldom.due().is_none()));
        seldom.0.lock().unwrap().0 = Instant::now().checked_sub(SELDOM);
        assert_eq!(seldom.due(), Some(1_000));
    }
}
