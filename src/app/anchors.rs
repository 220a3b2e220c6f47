//! Checkpoints that are held against the log while it is read: what was signed and kept elsewhere tells of changes that the
//! chain alone can't show, because somebody computed it anew.

use std::collections::BTreeMap;

use super::checkpoints::{Found, is_abandoned};
use super::finding::{Finding, Kind};
use crate::domain::installation::Installation;
use crate::proof::chain::Hash;
use crate::proof::tree::Growing;

/// Checkpoints by their size, and the tree as far as the log was read.
#[derive(Default)]
pub struct Anchors {
    tree: Growing,
    waiting: BTreeMap<u64, Vec<(String, Hash)>>,
    fitting: BTreeMap<u64, usize>,
    misfits: Vec<(u64, Hash, String)>,
    findings: Vec<Finding>,
}

/// What became of the checkpoints.
pub struct Judged {
    /// How many are of this log.
    pub fitting: usize,
    /// How many events the newest of these covers.
    pub covered: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl Anchors {
    /// Takes what was found; what is not believed is told.
    pub fn of(found: Vec<Found>, problems: Vec<(Kind, String)>) -> Self {
        let mut anchors = Self::default();
        anchors.findings.extend(problems.into_iter().map(|(kind, said)| Finding::of(kind, said)));
        for Found { at, opened } in found {
            match opened {
                Ok(opened) => anchors.waiting.entry(opened.size).or_default().push((at, opened.root)),
                Err(why) => anchors.findings.push(Finding::of(Kind::BadCheckpoint, format!("{at}: {why}"))),
            }
        }
        anchors
    }

    /// The next event's leaf.
    pub fn leaf(&mut self, leaf: Hash) {
        self.tree.leaf(leaf);
        let Some(here) = self.waiting.remove(&self.tree.size()) else { return };
        let (size, root) = (self.tree.size(), self.tree.root());
        for (at, signed) in here {
            if signed == root {
                *self.fitting.entry(size).or_default() += 1;
            } else {
                self.misfits.push((size, signed, at));
            }
        }
    }

    /// Judges them when the log was read to its end, or as far as its chain holds.
    pub fn judge(self, installation: &Installation, broken: bool) -> Judged {
        let Self { tree, waiting, fitting, misfits, mut findings } = self;
        let covered = fitting.keys().next_back().copied().unwrap_or(0);
        for (size, root, at) in misfits {
            if is_abandoned(installation, size, &root) {
                continue;
            }
            let good = fitting.range(..size).next_back().map_or(0, |(size, _)| *size);
            let first = i64::try_from(good + 1).unwrap_or(i64::MAX);
            if covered >= size {
                let said = format!(
                    "{at}: it says of {size} events what others that were signed don't: there are two histories, which part at event {first} or after"
                );
                findings.push(Finding::at(Kind::Fork, first, said));
            } else {
                let said = format!(
                    "events {first} to {size}: not those that were signed ({at}); the chain is whole, so it was computed anew"
                );
                findings.push(Finding::at(Kind::RewrittenHistory, first, said));
            }
        }
        let beyond =
            waiting.into_iter().flat_map(|(size, all)| all.into_iter().map(move |(at, root)| (size, root, at)));
        let gone = beyond.filter(|(size, root, _)| !broken && !is_abandoned(installation, *size, root));
        for (size, _, at) in gone {
            let (first, size) = (i64::try_from(tree.size() + 1).unwrap_or(i64::MAX), size.max(1));
            let said = format!("event {first}: missing, and so on to {size}, which were signed ({at})");
            findings.push(Finding::at(Kind::RewrittenHead, first, said));
        }
        Judged { fitting: fitting.values().sum(), covered, findings }
    }
}
