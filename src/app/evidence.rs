//! What there is to hold the log against: checkpoints and decisions, as they are kept outside and in the database.
//!
//! **Invariant:** nothing is left out because it is not believed, or can't be read: that is told with it.

use std::collections::{BTreeMap, HashSet};

use super::App;
use super::checkpoints::{is_borne_out, kept_up_to, missing, newest_at};
use crate::keys::code::{RowCodes, key_of as code_key};
use crate::places::{NEWEST, PlaceError};
use crate::proof::chain::Hash;
use crate::proof::checkpoint::{self, Fork, NotBelieved, Opened, PublicKey};
use crate::store::checkpoints::{self, Signed};

/// A checkpoint that is kept somewhere, and what it is worth.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where: a place and a file, or this database.
    pub at: String,
    /// Whether it is kept outside.
    pub outside: bool,
    /// Whether this database knows that so much was signed, with this root.
    pub has_row: bool,
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
    /// Where this database knows that something was signed, and does not have it: the first event that it covered anew.
    pub gaps: Vec<(Option<i64>, String)>,
    /// Checkpoints whose codes are under master keys that aren't set, by the key's id.
    pub unknown_codes: BTreeMap<String, usize>,
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
        let rows: HashSet<(u64, Hash)> = signed.iter().map(|signed| (signed.size, signed.root)).collect();
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
            let (mut newest_there, was_newest) = (0, newest_at(&states, place));
            for newest in kept.iter().filter(|kept| kept.file == NEWEST) {
                let opened = checkpoint::open(&newest.note, believed).ok();
                newest_there = opened.as_ref().map_or(was_newest, |opened| opened.size);
                // Of those that are as new, the one that more cosigned.
                cosigned = cosigned.max(opened.map(|opened| (opened.size, self.keeping.cosigned(&newest.note))));
            }
            if newest_there < was_newest {
                let place = place.name();
                let said = format!(
                    "{place}: what is called the newest there covers {newest_there} events, and covered {was_newest}"
                );
                evidence.problems.push((i64::try_from(was_newest).ok(), said));
            }
            for kept in kept {
                let at = format!("{}, {}", place.name(), kept.file);
                let claims = checkpoint::claimed(&kept.note);
                let opened = checkpoint::open(&kept.note, believed);
                let has_row = opened.as_ref().is_ok_and(|opened| rows.contains(&(opened.size, opened.root)));
                evidence.found.push(Found { at, outside: true, has_row, claims, opened });
            }
        }
        // What was signed since the rows were read has one by now.
        for found in evidence.found.iter_mut().filter(|found| !found.has_row) {
            if let Ok(Opened { size, root }) = &found.opened {
                found.has_row = self.store.checkpoints().number_of(*size, root).await?.is_some();
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
        (evidence.gaps, evidence.unknown_codes) = gaps(&signed, believed, &checkpoints::codes(&self.keys));
        for signed in signed {
            let at = format!("this database, the checkpoint of {} events", signed.size);
            let (claims, opened) = (i64::try_from(signed.size).ok(), checkpoint::open(&signed.note, believed));
            if opened.is_ok() && !is_borne_out(&signed, believed) {
                evidence.changed.push((claims, format!("{at}: its size, root or key is not that of its note")));
            }
            evidence.found.push(Found { at, outside: false, has_row: true, claims, opened });
        }
        Ok(evidence)
    }
}

/// Rows before another one among which is looked for the one that it was signed after. Two processes that are at it believe other
/// keys for a while, and one that was frozen comes late.
const BEFORE: usize = 16;

/// Where rows of what was signed are gone, or were changed, as the codes of those behind them say; and the master keys of codes that
/// nobody can check, each with how many there are.
fn gaps(
    signed: &[Signed],
    believed: &[PublicKey],
    codes: &RowCodes,
) -> (Vec<(Option<i64>, String)>, BTreeMap<String, usize>) {
    let (mut gaps, mut unknown, mut had_code) = (Vec::new(), BTreeMap::new(), false);
    let mut covered = 0;
    for (n, this) in signed.iter().enumerate().filter(|(_, this)| is_borne_out(this, believed)) {
        let before = signed[n.saturating_sub(BEFORE)..n].iter().rev().map(Some);
        // Only the first has none before it.
        let first = (!had_code).then_some(None);
        let says: Vec<Option<bool>> = before.chain(first).map(|before| this.is_after(before, codes)).collect();
        let why = match &this.code {
            Some(_) if says.contains(&Some(true)) => {
                had_code = true;
                None
            }
            Some(code) if says.contains(&None) && had_code => {
                *unknown.entry(code_key(code)).or_default() += 1;
                None
            }
            Some(_) if says.contains(&None) => None,
            None => had_code.then_some("its row has no code any more"),
            Some(_) => Some("its row was changed, or what was signed before it is gone"),
        };
        gaps.extend(why.map(|why| {
            let said = format!(
                "this database, the checkpoint of {} events: it does not follow from the one before it, of {covered}: {why}",
                this.size
            );
            (i64::try_from(covered + 1).ok(), said)
        }));
        covered = this.size;
    }
    (gaps, unknown)
}
