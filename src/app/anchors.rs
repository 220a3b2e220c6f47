//! Checkpoints that are held against the log while it is read: what was signed and kept elsewhere tells of changes that the
//! chain alone can't show, because somebody computed it anew.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Evidence, Found};
use super::finding::{Finding, Kind};
use crate::proof::chain::Hash;
use crate::proof::checkpoint::{Fork, Opened};
use crate::proof::tree::Growing;

/// Checkpoints by their size, and the tree as far as the log was read.
#[derive(Default)]
pub struct Anchors {
    tree: Growing,
    waiting: BTreeMap<u64, Vec<Waiting>>,
    fitting: BTreeMap<u64, usize>,
    outside: usize,
    covered_outside: u64,
    /// Checkpoints of this log of which the database knows nothing: where each is, and how many events it covers.
    without_row: Vec<(String, u64)>,
    misfits: Vec<Misfit>,
    forks: Vec<Fork>,
    given_up: usize,
    findings: Vec<Finding>,
    /// Checkpoints whose codes nobody can check, by the master key's id.
    pub unknown_codes: BTreeMap<String, usize>,
}

/// A checkpoint that the log is to be held against, once it was read so far.
struct Waiting {
    at: String,
    outside: bool,
    has_row: bool,
    root: Hash,
}

/// What became of the checkpoints.
pub struct Judged {
    /// How many are of this log.
    pub fitting: usize,
    /// How many of these are kept outside.
    pub outside: usize,
    /// How many events the newest that is of this log covers, wherever it is.
    pub covered: u64,
    /// The same of those that are kept outside.
    pub covered_outside: u64,
    /// How many are of histories that were given up, as somebody with the key decided.
    pub given_up: usize,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// That a checkpoint which is kept outside is of another history, where the chain is whole: what an operator decides.
    pub two_histories: Option<String>,
}

/// A checkpoint that the log does not bear out.
struct Misfit {
    size: u64,
    at: String,
    outside: bool,
}

impl Anchors {
    /// Takes what was found; what is not believed is told.
    pub fn of(evidence: Evidence) -> Self {
        let (forks, unknown_codes) = (evidence.forks, evidence.unknown_codes);
        let mut anchors = Self { forks, unknown_codes, ..Self::default() };
        anchors.findings.extend(
            evidence.problems.into_iter().map(|(size, said)| Finding::about(Kind::MissingCheckpoint, size, said)),
        );
        anchors
            .findings
            .extend(evidence.changed.into_iter().map(|(size, said)| Finding::about(Kind::BadCheckpoint, size, said)));
        anchors.findings.extend(
            evidence.gaps.into_iter().map(|(first, said)| Finding::about(Kind::MissingCheckpoint, first, said)),
        );
        anchors.findings.extend(evidence.uncosigned.map(|said| Finding::of(Kind::Uncosigned, said)));
        for Found { at, outside, has_row, claims, opened } in evidence.found {
            match opened {
                Ok(Opened { size, root }) => {
                    anchors.waiting.entry(size).or_default().push(Waiting { at, outside, has_row, root });
                }
                Err(why) => anchors.findings.push(Finding::about(Kind::BadCheckpoint, claims, format!("{at}: {why}"))),
            }
        }
        anchors
    }

    /// The next event's leaf.
    pub fn leaf(&mut self, leaf: Hash) {
        self.tree.leaf(leaf);
        let Some(here) = self.waiting.remove(&self.tree.size()) else { return };
        let (size, root) = (self.tree.size(), self.tree.root());
        for Waiting { at, outside, has_row, root: signed } in here {
            if signed == root {
                if !has_row {
                    self.without_row.push((at.clone(), size));
                }
                *self.fitting.entry(size).or_default() += 1;
                if outside {
                    self.outside += 1;
                    self.covered_outside = size;
                }
            } else if self.forks.iter().any(|fork| fork.gives_up(&Opened { size, root: signed })) {
                self.given_up += 1;
            } else {
                self.misfits.push(Misfit { size, at, outside });
            }
        }
    }

    /// Judges them when the log was read to its end, or as far as its chain holds. What belongs together is one finding.
    pub fn judge(self, broken: bool) -> Judged {
        let Self { tree, waiting, fitting, outside, covered_outside, misfits, forks, .. } = self;
        let (mut given_up, mut findings, without_row) = (self.given_up, self.findings, self.without_row);
        let covered = fitting.keys().next_back().copied().unwrap_or(0);
        let and_more =
            |n: usize| if n > 1 { format!(", and {} more checkpoints say so", n - 1) } else { String::new() };
        let (signed_twice, rewritten): (Vec<_>, Vec<_>) =
            misfits.into_iter().partition(|misfit| misfit.size <= covered);
        let (mut two_histories, is_outside) =
            (None, |all: &[Misfit]| all.iter().any(|misfit| misfit.outside) && !broken);
        let first_after = |size: u64| {
            let good = fitting.range(..size).next_back().map_or(0, |(size, _)| *size);
            i64::try_from(good + 1).unwrap_or(i64::MAX)
        };
        if let Some((at, size)) = without_row.first() {
            let more = without_row.iter().map(|(_, size)| size).collect::<BTreeSet<_>>().len() - 1;
            let more = if more > 0 { format!(", nor of {more} more") } else { String::new() };
            let said = format!(
                "this database has no row of the checkpoint of {size} events that is kept outside ({at}){more}"
            );
            findings.push(Finding::about(Kind::MissingCheckpoint, i64::try_from(*size).ok(), said));
        }
        if let Some(Misfit { size, at, .. }) = signed_twice.first() {
            let (first, more) = (first_after(*size), and_more(signed_twice.len()));
            let said = format!(
                "{at}: it says of {size} events what others that were signed don't: there are two histories, which part at event {first} or after{more}"
            );
            two_histories = is_outside(&signed_twice).then(|| said.clone());
            findings.push(Finding::at(Kind::Fork, first, said));
        }
        if let Some(Misfit { size, at, .. }) = rewritten.first() {
            let (first, more) = (first_after(*size), and_more(rewritten.len()));
            let said = format!(
                "events {first} to {size}: not those that were signed ({at}); the chain is whole, so it was computed anew{more}"
            );
            two_histories = two_histories.or_else(|| is_outside(&rewritten).then(|| said.clone()));
            findings.push(Finding::at(Kind::RewrittenHistory, first, said));
        }
        let beyond = waiting.into_iter().flat_map(|(size, all)| {
            all.into_iter().map(move |waiting| (Opened { size, root: waiting.root }, waiting.at, waiting.outside))
        });
        let (decided, gone): (Vec<_>, Vec<_>) =
            beyond.filter(|_| !broken).partition(|(opened, ..)| forks.iter().any(|fork| fork.gives_up(opened)));
        given_up += decided.len();
        if let Some((Opened { size, .. }, at, _)) = gone.last() {
            let (first, more) = (i64::try_from(tree.size() + 1).unwrap_or(i64::MAX), and_more(gone.len()));
            let said = format!("event {first}: missing, and so on to {size}, which were signed ({at}){more}");
            let is_outside = gone.iter().any(|(_, _, outside)| *outside);
            two_histories = two_histories.or_else(|| is_outside.then(|| said.clone()));
            findings.push(Finding::at(Kind::RewrittenHead, first, said));
        }
        Judged { fitting: fitting.values().sum(), outside, covered, covered_outside, given_up, findings, two_histories }
    }
}
