//! Turns: one at a time in this process decides on an environment's line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::domain::ids::EnvironmentId;

/// Whoever decides on an environment's line in this process takes turns: under a burst of presses everybody would
/// otherwise decide anew each time somebody else got on. Other processes are held apart by the boundary.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<EnvironmentId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The turn of whoever decides next on an environment's line; it ends with what is told.
    pub(super) async fn wait(&self, environment: EnvironmentId) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().expect("no holder of the lock panics");
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(&environment).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    turns.insert(environment, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}
