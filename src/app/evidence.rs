//! What there is to hold the log against: checkpoints and decisions, as they are kept outside and in the database.
//!
//! **Invariant:** nothing is left out because it is not believed, or can't be read: that is told with it.

use std::collections::{BTreeMap, HashSet};

use super::App;
use super::checkpoints::{is_borne_out, kept_up_to, missing, newest_at};
use crate::keys::code::{RowCodes, key_of as code_key};
use crate::places::{NEWEST, PlaceError};
use crate::proof::chain::Hash;
use crate::proof::checkpoint::{self, Fork, NotBelieved, Opened};
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

/// Which events something is about that is not as it should be, as far as that is known, and what.
pub type Wrong = (Option<i64>, String);

/// Everything that is kept: checkpoints, decisions, and what is wrong with the places.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Checkpoints.
    pub found: Vec<Found>,
    /// Histories that were given up.
    pub forks: Vec<Fork>,
    /// Places that can't be read, or lack what was kept there: how many events that covered.
    pub problems: Vec<Wrong>,
    /// Rows of this database that say something else than the checkpoint in them: how many events that covers.
    pub changed: Vec<Wrong>,
    /// Where this database knows that something was signed, and does not have it: the first event that it covered anew.
    pub gaps: Vec<Wrong>,
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
        let mut rows = Vec::new();
        for signed in signed {
            let at = format!("this database, the checkpoint of {} events", signed.size);
            let claims = i64::try_from(signed.size).ok();
            let is_borne_out = is_borne_out(&signed, believed);
            let opened = match is_borne_out {
                true => Ok(Opened { size: signed.size, root: signed.root }),
                false => checkpoint::open(&signed.note, believed),
            };
            if opened.is_ok() && !is_borne_out {
                evidence.changed.push((claims, format!("{at}: its size, root or key is not that of its note")));
            }
            evidence.found.push(Found { at, outside: false, has_row: true, claims, opened });
            rows.push((signed, is_borne_out));
        }
        (evidence.gaps, evidence.unknown_codes) = gaps(&rows, &checkpoints::codes(&self.keys));
        Ok(evidence)
    }
}

/// So many rows before one, at most, the one is that it was signed after: two processes that are at it believe other keys for a while,
/// and one that was frozen comes late.
const LOOKED_BACK: usize = 16;

/// Where rows of what was signed are gone, or were changed, as the codes of those behind them say; and the master keys of codes that
/// nobody can check, each with how many there are. Of the rows, those count that their notes bear out.
fn gaps(signed: &[(Signed, bool)], codes: &RowCodes) -> (Vec<Wrong>, BTreeMap<String, usize>) {
    let (mut gaps, mut unknown, mut had_code) = (Vec::new(), BTreeMap::new(), false);
    // A master key that was taken out was the first one's, or that of some behind it.
    let (mut covered, mut taken_out) = (0, HashSet::new());
    for (n, (this, _)) in signed.iter().enumerate().filter(|(_, (_, is_borne_out))| *is_borne_out) {
        let before = signed[n.saturating_sub(LOOKED_BACK)..n].iter().rev().map(|(before, _)| Some(before));
        // Only the first has none before it.
        let first = (!had_code).then_some(None);
        let mut said = before.chain(first).map(|before| this.is_after(before, codes));
        let why = match (&this.code, said.find(|said| *said != Some(false))) {
            (None, _) => had_code.then_some("its row has no code any more"),
            (Some(_), Some(Some(_))) => {
                had_code = true;
                None
            }
            (Some(code), Some(None)) => {
                let key = code_key(code);
                if !had_code {
                    taken_out.insert(key);
                } else if !taken_out.contains(&key) {
                    *unknown.entry(key).or_default() += 1;
                }
                None
            }
            (Some(_), None) => Some("its row was changed, or what was signed before it is gone"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Keyring, new_master_key};

    /// So many rows, each coded after the one before it, by the keyrings in turns.
    fn signed(rows: u64, by: &[&Keyring]) -> Vec<(Signed, bool)> {
        let mut all: Vec<(Signed, bool)> = Vec::new();
        for n in 1..=rows {
            let (root, keys) = ([n as u8; 32], by[n as usize % by.len()]);
            let before = all.last().map(|(before, _)| before);
            let code = checkpoints::codes(keys).of(&checkpoints::row(n * 10, &root, "key", before));
            let (key_id, note) = ("key".to_owned(), String::new());
            let (n, size, at, code) = (n as i64, n * 10, chrono::DateTime::UNIX_EPOCH, Some(code));
            all.push((Signed { n, size, root, key_id, note, at, code }, true));
        }
        all
    }

    /// The first events of what is told, and how many codes nobody can check.
    fn told(rows: &[(Signed, bool)], keys: &Keyring) -> (Vec<i64>, usize) {
        let (gaps, unknown) = gaps(rows, &checkpoints::codes(keys));
        (gaps.into_iter().filter_map(|(first, _)| first).collect(), unknown.into_values().sum())
    }

    fn keyring() -> Keyring {
        Keyring::new(&new_master_key().into(), &[]).unwrap()
    }

    #[test]
    fn a_row_that_is_gone_or_changed_or_has_no_code_any_more_leaves_a_gap() {
        let keys = keyring();
        let whole = signed(5, &[&keys]);
        assert_eq!(told(&whole, &keys), (vec![], 0));
        for (gone, first) in [(0, 1), (2, 21)] {
            let mut rows = whole.clone();
            rows.remove(gone);
            assert_eq!(told(&rows, &keys), (vec![first], 0));
        }
        let mut rows = whole.clone();
        rows[2].0.code = None;
        assert_eq!(told(&rows, &keys), (vec![21], 0));
        let mut rows = whole.clone();
        rows[2].0.key_id = "other".to_owned();
        assert_eq!(told(&rows, &keys), (vec![21], 0));
        // The newest is named by none behind it.
        assert_eq!(told(&whole[..4], &keys), (vec![], 0));
    }

    #[test]
    fn rows_from_before_there_were_codes_and_planted_ones_leave_none() {
        let keys = keyring();
        let mut rows = signed(5, &[&keys]);
        rows.iter_mut().take(2).for_each(|(row, _)| row.code = None);
        assert_eq!(told(&rows, &keys), (vec![], 0));
        let mut planted = rows[0].clone();
        (planted.0.size, planted.1) = (7, false);
        rows.insert(3, planted);
        assert_eq!(told(&rows, &keys), (vec![], 0));
    }

    #[test]
    fn one_that_was_signed_late_after_an_older_one_leaves_none() {
        let keys = keyring();
        let mut rows = signed(5, &[&keys]);
        let late = &mut rows[4].0.clone();
        late.code =
            Some(checkpoints::codes(&keys).of(&checkpoints::row(late.size, &late.root, "key", Some(&rows[2].0))));
        rows[4].0 = late.clone();
        assert_eq!(told(&rows, &keys), (vec![], 0));
    }

    #[test]
    fn codes_of_a_master_key_that_was_taken_out_are_left_and_those_of_one_that_never_was_are_told() {
        let (old, new) = (keyring(), keyring());
        let mut rows = signed(3, &[&old]);
        let last = rows[2].0.clone();
        let mut then = signed(6, &[&new, &old]).split_off(3);
        then[0].0.code =
            Some(checkpoints::codes(&new).of(&checkpoints::row(then[0].0.size, &then[0].0.root, "key", Some(&last))));
        rows.extend(then);
        assert_eq!(told(&rows, &new), (vec![], 0), "two processes had one each for a while");
        rows[4].0.code = Some(vec![0; 4]);
        assert_eq!(told(&rows, &new), (vec![], 1));
    }
}
