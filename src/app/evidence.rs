//! What there is to hold the log against: checkpoints and decisions, as they are kept outside and in the database.
//!
//! **Invariant:** nothing is left out because it is not believed, or can't be read: that is told with it.

use super::App;
use super::checkpoints::{kept_up_to, missing};
use crate::places::{NEWEST, PlaceError};
use crate::proof::checkpoint::{self, Fork, NotBelieved, Opened};

/// A checkpoint that is kept somewhere, and what it is worth.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where: a place and a file, or this database.
    pub at: String,
    /// Whether it is kept outside.
    pub outside: bool,
    /// How many events it says it covers, believed or not.
    pub claims: Option<i64>,
    /// What it covers, or why it is not believed.
    pub opened: Result<Opened, NotBelieved>,
}

/// Everything that is kept: checkpoints, decisions, and what is wrong with the places.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Checkpoints.
    pub found: Vec<Found>,
    /// Histories that were given up.
    pub forks: Vec<Fork>,
    /// Places that can't be read, or lack what was kept there: how many events that covered.
    pub problems: Vec<(Option<i64>, String)>,
    /// Rows of this database that say something else than the checkpoint in them: how many events that covers.
    pub changed: Vec<(Option<i64>, String)>,
    /// That too few witnesses cosigned the newest checkpoint outside.
    pub uncosigned: Option<String>,
}

impl App {
    /// Everything that is kept outside and in this database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn evidence(&self) -> Result<Evidence, sqlx::Error> {
        let believed = &self.keeping.believed;
        let mut evidence = Evidence::default();
        if believed.is_empty() {
            return Ok(evidence);
        }
        let mut cosigned = None;
        let signed = self.store.checkpoints().after(0, i64::MAX).await?;
        let states = self.store.checkpoints().places().await?;
        // All at once: one that does not answer is waited for once.
        let asked = self.keeping.places.iter().map(async |place| Ok((place.all().await?, place.forks().await?)));
        let answers: Vec<Result<_, PlaceError>> = futures::future::join_all(asked).await;
        for (place, answer) in self.keeping.places.iter().zip(answers) {
            let (kept, forks) = match answer {
                Ok(there) => there,
                Err(e) => {
                    evidence.problems.push((None, format!("{} can't be read: {e}", place.name())));
                    continue;
                }
            };
            evidence.forks.extend(forks.iter().filter_map(|fork| checkpoint::open_fork(&fork.note, believed)));
            if let [first, more @ ..] = &missing(&signed, &kept, kept_up_to(&states, place))[..] {
                let more = more.len();
                let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                let (place, size) = (place.name(), first.size);
                let said = format!("{place} lacks the checkpoint of {size} events, which was kept there{more}");
                evidence.problems.push((i64::try_from(size).ok(), said));
            }
            for newest in kept.iter().filter(|kept| kept.file == NEWEST) {
                let opened = checkpoint::open(&newest.note, believed).ok();
                // Of those that are as new, the one that more cosigned.
                cosigned = cosigned.max(opened.map(|opened| (opened.size, self.keeping.cosigned(&newest.note))));
            }
            for kept in kept {
                let at = format!("{}, {}", place.name(), kept.file);
                let claims = checkpoint::claimed(&kept.note);
                evidence.found.push(Found {
                    at,
                    outside: true,
                    claims,
                    opened: checkpoint::open(&kept.note, believed),
                });
            }
        }
        let by = cosigned.map_or(0, |(_, by)| by);
        let is_signed = evidence.found.iter().any(|found| found.opened.is_ok()) || !signed.is_empty();
        if by < self.keeping.threshold && is_signed && !self.keeping.places.is_empty() {
            let wanted = self.keeping.threshold;
            evidence.uncosigned = Some(format!(
                "the newest checkpoint outside is cosigned by {by} of the {wanted} witnesses that have to; coolops doctor says why"
            ));
        }
        for signed in signed {
            let at = format!("this database, the checkpoint of {} events", signed.size);
            let (claims, opened) = (i64::try_from(signed.size).ok(), checkpoint::open(&signed.note, believed));
            if opened.as_ref().is_ok_and(|opened| (opened.size, opened.root) != (signed.size, signed.root)) {
                evidence.changed.push((claims, format!("{at}: its size or root is not what was signed")));
            }
            evidence.found.push(Found { at, outside: false, claims, opened });
        }
        Ok(evidence)
    }
}
