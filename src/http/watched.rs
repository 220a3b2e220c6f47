//! How a deployment stands and how much it has printed, for all who watch it: it is looked at once, however many do.
//!
//! **Invariant:** who watches costs a message and no question to the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::log_window::{begun, last_line};
use super::{Web, deployment_page};
use crate::domain::deployment::State;
use crate::domain::ids::DeploymentId;

/// Between two looks: so often is fast enough for an eye, and seldom enough for a flood.
const PACE: Duration = Duration::from_millis(50);
/// It is looked so often even when nothing woke us.
const POLL: Duration = Duration::from_secs(1);

/// What is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// The last line that there is.
    pub lines: i64,
    /// Markup of the line that has not ended.
    pub begun: String,
    /// The page's head.
    pub head: String,
    /// The page's title, and the word of its icon.
    pub title: String,
    /// The stored word of its state.
    pub state: &'static str,
    /// Nothing more comes.
    pub over: bool,
}

type Told = watch::Sender<Option<Arc<Seen>>>;

/// What is being watched.
#[derive(Default)]
pub struct Watched(Mutex<HashMap<DeploymentId, Weak<Told>>>);

impl Watched {
    /// Hears of a deployment.
    pub fn of(&self, web: &Web, id: DeploymentId) -> watch::Receiver<Option<Arc<Seen>>> {
        let mut all = self.0.lock().expect("no holder of the lock panics");
        all.retain(|_, told| told.strong_count() > 0);
        if let Some(told) = all.get(&id).and_then(Weak::upgrade)
            && told.receiver_count() > 0
        {
            return told.subscribe();
        }
        let told = Arc::new(watch::Sender::new(None));
        all.insert(id, Arc::downgrade(&told));
        let heard = told.subscribe();
        tokio::spawn(look(web.clone(), id, told));
        heard
    }
}

/// Looks until nobody watches, or nothing more comes.
async fn look(web: Web, id: DeploymentId, told: Arc<Told>) {
    let mut woken = web.app.store.wake().about(id);
    loop {
        woken.borrow_and_update();
        match seen(&web, id).await {
            Ok(Some(seen)) => {
                let over = seen.over;
                told.send_if_modified(|last| {
                    let changed = last.as_deref() != Some(&seen);
                    if changed {
                        *last = Some(Arc::new(seen));
                    }
                    changed
                });
                if over {
                    // Whoever comes now looks again, once.
                    return told.closed().await;
                }
            }
            Ok(None) => return,
            Err(_) => {}
        }
        tokio::select! {
            () = told.closed() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        tokio::select! {
            () = told.closed() => return,
            changed = woken.changed() => drop(changed),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn seen(web: &Web, id: DeploymentId) -> Result<Option<Seen>, super::error::Answer> {
    let store = web.app.readers();
    // The state is read before the lines: an end that is seen has all its lines stored.
    let Some(timed) = store.deployments().timed(id).await? else { return Ok(None) };
    let lines = last_line(web, &timed.deployment).await?;
    let state = timed.deployment.state();
    let over = state.is_over() || state == State::Unknown;
    let begun = match over {
        true => String::new(),
        false => store.tails().begun(id).await?.map(|line| begun(&line)).unwrap_or_default(),
    };
    let head = deployment_page::head(&timed).into_string();
    let title = deployment_page::title(&timed.deployment);
    Ok(Some(Seen { lines, begun, head, title, state: state.as_str(), over }))
}
