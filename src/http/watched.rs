//! How a deployment stands and how much it has printed, for all who watch it: it is looked at once, however many do.
//!
//! **Invariant:** who watches costs a message and no question to the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::log_window::{Window, begun, last_line, window};
use super::{Web, deployment_page};
use crate::domain::deployment::State;
use crate::domain::ids::DeploymentId;
use crate::terminal::ROWS;

/// Between two looks: so often is fast enough for an eye, and seldom enough for a flood.
const PACE: Duration = Duration::from_millis(50);
/// Of a flood, whose lines are asked for and drawn for those who ask.
const PACE_OF_FLOOD: Duration = Duration::from_millis(250);
/// So many lines, and so many bytes of markup, are told at once.
const LINES_MAX: i64 = 60;
const HTML_MAX: usize = 32 * 1024;
/// It is looked so often even when nothing woke us.
const POLL: Duration = Duration::from_secs(1);

/// What is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// The last line that there is.
    pub lines: i64,
    /// The markup of what came last, from this line on: of a flood nothing, and the page asks for what it shows.
    pub from: i64,
    pub html: String,
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

impl Seen {
    /// Whether somebody who knows this one has to hear of another.
    fn differs(&self, other: &Self) -> bool {
        let of = |seen: &Self| (seen.lines, seen.begun.clone(), seen.head.clone(), seen.state, seen.over);
        of(self) != of(other)
    }
}

type Told = watch::Sender<Option<Arc<Seen>>>;

/// What is being watched.
#[derive(Default)]
pub struct Watched(Mutex<HashMap<DeploymentId, Weak<Told>>>);

impl Watched {
    /// The last line that all who watch a deployment were told of; none where nobody does.
    pub fn lines(&self, id: DeploymentId) -> Option<i64> {
        let all = self.0.lock().expect("no holder of the lock panics");
        let told = all.get(&id).and_then(Weak::upgrade).filter(|told| told.receiver_count() > 0)?;
        told.borrow().as_ref().map(|seen| seen.lines)
    }

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
    let (mut known, mut pace) = (None, PACE);
    loop {
        woken.borrow_and_update();
        match seen(&web, id, known).await {
            Ok(Some(seen)) => {
                let over = seen.over;
                let is_flood = known.is_some_and(|known| known < seen.lines) && seen.html.is_empty();
                pace = if is_flood { PACE_OF_FLOOD } else { PACE };
                known = Some(seen.lines);
                told.send_if_modified(|last| {
                    let changed = last.as_deref().is_none_or(|last| last.differs(&seen));
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
            () = tokio::time::sleep(pace) => {}
        }
        tokio::select! {
            () = told.closed() => return,
            changed = woken.changed() => drop(changed),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

async fn seen(web: &Web, id: DeploymentId, known: Option<i64>) -> Result<Option<Seen>, super::error::HttpError> {
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
    let mut newest = Window::default();
    if let Some(known) = known
        && known < lines
        && lines - known <= LINES_MAX
    {
        // A line may draw over those before it.
        let from = (known + 1 - ROWS as i64).max(1);
        newest = window(web, &timed.deployment, from, lines, lines).await?;
        if newest.to < lines || newest.html.len() > HTML_MAX {
            newest = Window::default();
        }
    }
    let head = deployment_page::head(&timed).into_string();
    let title = deployment_page::title(&timed.deployment);
    let Window { from, html, .. } = newest;
    Ok(Some(Seen { lines, from, html, begun, head, title, state: state.as_str(), over }))
}
