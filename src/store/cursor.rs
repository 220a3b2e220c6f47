//! Where a look for due jobs begins.
//!
//! What is done stays in the index of due jobs while anybody holds a snapshot, as `pg_dump` does for as long as a dump
//! takes, and a look from the index's beginning walks over all of it. So a look goes on where the one before ended, and
//! only now and then begins at the beginning, for what has come before that: seldom enough that those cost little
//! however long they are.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::domain::react::TaskKind;

/// Least time between two looks from the beginning.
const APART: Duration = Duration::from_millis(50);
/// …and at least this many times what the last one took, so that looks cost a twentieth of the time.
const SHARE: u32 = 20;
/// Longest time between two, however long the last one took.
const APART_MAX: Duration = Duration::from_secs(5);
/// One that took no longer may be made whenever another one found nothing.
const CHEAP: Duration = Duration::from_millis(50);

/// A kind of job, and whether its turn has been given out: the order of the index.
pub(super) type Part = (TaskKind, bool);

/// How far looks have got in each part.
pub(super) struct Cursor {
    state: Mutex<State>,
    /// A look begins so far before that.
    overlap: Duration,
}

#[derive(Default)]
struct State {
    reached: HashMap<Part, DateTime<Utc>>,
    /// By the first kind that is looked for: those who look for others do it by themselves.
    whole: HashMap<TaskKind, Whole>,
}

/// The last look from the beginning.
struct Whole {
    /// When the next one is made.
    next: Instant,
    took: Duration,
}

/// A look that is about to be made.
pub(super) struct Look {
    /// The parts.
    pub(super) parts: Vec<Part>,
    /// Where it begins in each; from the beginning where there is none.
    pub(super) since: Vec<Option<DateTime<Utc>>>,
    begun: Instant,
    whole: bool,
}

impl Cursor {
    /// One whose looks overlap: a job may be seen a moment later than one that is due after it.
    pub(super) fn overlapping(overlap: Duration) -> Self {
        Self { state: Mutex::default(), overlap }
    }

    /// A look at jobs of these kinds: from where the last one ended, unless it is time for a whole one.
    pub(super) fn look(&self, kinds: &[TaskKind]) -> Look {
        let begun = Instant::now();
        let state = self.state.lock().expect("no holder of the lock panics");
        let whole = kinds.first().and_then(|kind| state.whole.get(kind)).is_none_or(|whole| begun >= whole.next);
        let parts: Vec<Part> = kinds.iter().flat_map(|kind| [(*kind, true), (*kind, false)]).collect();
        let since = |part| state.reached.get(part).filter(|_| !whole).map(|at| *at - self.overlap);
        let since = parts.iter().map(since).collect();
        Look { parts, since, begun, whole }
    }

    /// A whole one, because a look from further on found nothing; unless those take long here.
    pub(super) fn again(&self, kinds: &[TaskKind]) -> Option<Look> {
        let kind = kinds.first()?;
        let mut state = self.state.lock().expect("no holder of the lock panics");
        if state.whole.get(kind).is_some_and(|whole| whole.took > CHEAP) {
            return None;
        }
        state.whole.remove(kind);
        drop(state);
        Some(self.look(kinds))
    }

    /// Notes what a look found, and where.
    pub(super) fn found(&self, look: &Look, found: impl IntoIterator<Item = (Part, DateTime<Utc>)>) {
        let mut state = self.state.lock().expect("no holder of the lock panics");
        if let Some((kind, _)) = look.parts.first().filter(|_| look.whole) {
            let took = look.begun.elapsed();
            let next = Instant::now() + (took * SHARE).clamp(APART, APART_MAX);
            state.whole.insert(*kind, Whole { next, took });
        }
        for (part, at) in found {
            state.reached.insert(part, at);
        }
    }
}

impl Look {
    /// The kinds of its parts, as they are stored.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        self.parts.iter().map(|(kind, _)| kind.as_str()).collect()
    }

    /// Which of its parts are jobs whose turn was given out.
    pub(super) fn came(&self) -> Vec<bool> {
        self.parts.iter().map(|(_, came)| *came).collect()
    }

    /// Whether it began at the beginning: what it did not find is not there.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }
}
