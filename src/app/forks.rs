//! Two histories where there should be one: an operator decides which of them goes on.
//!
//! **Invariant:** a decision counts where it is kept outside, with its signature; what is recorded of it tells of it, and opens the
//! log.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use super::tiles::leaf_of;
use super::{App, CommandError};
use crate::domain::event::{Actor, Event, InstallationEvent};
use crate::domain::fork_events::ForkDecided;
use crate::domain::ids::installation_stream;
use crate::places::{self, Kept, NEWEST};
use crate::proof::chain::{self, Hash};
use crate::proof::checkpoint::{self, Fork, GIVEN_UP_MAX, Opened};
use crate::proof::tree::Growing;
use crate::store::checkpoints::Parting;
use crate::store::log::ReadError;

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ForkRefusal {
    /// There is nothing to decide.
    #[error("every checkpoint that is kept outside is of this log, which is open: there is nothing to decide")]
    None,
    /// Nobody can tell which checkpoints are of this log.
    #[error(
        "event {0} is not as it was written, so nobody can tell which checkpoints are of this log; restore it from a dump first (coolops audit verify tells more)"
    )]
    Broken(i64),
    /// The log is closed, and it can't be told whether by mistake.
    #[error(
        "every checkpoint that can be read is of this log; whether it was closed by mistake can be told when all places can be read: {0}"
    )]
    Unread(String),
    /// A reason is recorded.
    #[error("say why, in at most 2000 characters: it is recorded")]
    Reason,
    /// Nobody signs here.
    #[error("a decision is signed: set COOLOPS_CHECKPOINT_KEY and COOLOPS_CHECKPOINTS")]
    NoKey,
    /// What is kept outside decides, and nothing of it can be read or written.
    #[error("no place can be used: {0}")]
    NoPlace(String),
}

/// What an operator decided, and where that is not kept yet.
#[derive(Debug, Serialize)]
pub struct Decided {
    /// What was recorded.
    #[serde(flatten)]
    pub decided: ForkDecided,
    /// The places that could not be used, and why: what was decided is sent there by whoever signs next.
    pub without: Vec<String>,
}

impl App {
    /// An operator decides that this log goes on, although checkpoints outside are of another one. That is signed and kept
    /// outside first: what counts is there, and here it is told. A log that was closed by mistake, as by a place that was set wrongly
    /// for a while, is opened again, and nothing is given up.
    ///
    /// # Errors
    /// See [`ForkRefusal`], or that the database is away.
    pub async fn decide_fork(&self, reason: &str, actor: &Actor) -> Result<Decided, CommandError<ForkRefusal>> {
        let refused = CommandError::Refused;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > 2_000 {
            return Err(refused(ForkRefusal::Reason));
        }
        let signer = self.keeping.signer.as_ref().ok_or_else(|| refused(ForkRefusal::NoKey))?;
        let (mut kept, mut forks, mut unusable) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut newest = Vec::new();
        for place in &self.keeping.places {
            match (place.all().await, place.forks().await) {
                (Ok(all), Ok(decided)) => {
                    let open = |kept: &Kept| checkpoint::open(&kept.note, &self.keeping.believed).ok();
                    newest.extend(all.iter().filter(|kept| kept.file == NEWEST).filter_map(open));
                    kept.extend(all.iter().filter_map(open).map(|opened| ((opened.size, opened.root), opened)));
                    forks.extend(decided.iter().filter_map(|k| checkpoint::open_fork(&k.note, &self.keeping.believed)));
                }
                (Err(e), _) | (_, Err(e)) => unusable.push(format!("{}: {e}", place.name())),
            }
        }
        if unusable.len() == self.keeping.places.len() {
            return Err(refused(ForkRefusal::NoPlace(unusable.join("; "))));
        }
        // What was signed here and not sent yet is of the same histories.
        let mut known = HashSet::new();
        for signed in self.store.checkpoints().after(0, i64::MAX).await? {
            known.insert((signed.size, signed.root));
            let opened = checkpoint::open(&signed.note, &self.keeping.believed);
            kept.extend(opened.map(|opened| ((opened.size, opened.root), opened)));
        }
        let is_given_up = |opened: &Opened| forks.iter().any(|fork: &Fork| fork.gives_up(opened));
        let kept: Vec<Opened> = kept.into_values().filter(|opened| !is_given_up(opened)).collect();
        let roots = self.roots(kept.iter().map(|opened| opened.size).collect()).await?;
        let roots = roots.map_err(|position| refused(ForkRefusal::Broken(position)))?;
        let (ours, others): (Vec<&Opened>, Vec<&Opened>) =
            kept.iter().partition(|opened| roots.get(&opened.size) == Some(&opened.root));
        // A backup may be from before they were noted here.
        let turn = self.store.checkpoints().turn().await?;
        for ours in ours.iter().filter(|ours| !known.contains(&(ours.size, ours.root))) {
            self.note_again(signer, ours).await.map_err(|e| CommandError::Unavailable(e.into()))?;
        }
        turn.over().await?;
        let given_up: Vec<(u64, Hash)> = others.iter().map(|opened| (opened.size, opened.root)).collect();
        let closed = self.store.checkpoints().closed().await?;
        let decided = match given_up.first() {
            Some((first, _)) => {
                let common = ours.iter().map(|opened| opened.size).filter(|size| size < first).max();
                Fork { after: common.unwrap_or(0), given_up }
            }
            None if closed.is_none() => return Err(refused(ForkRefusal::None)),
            None => {
                // What closes the log is what a place calls the newest.
                forks.retain(|fork| newest.iter().any(|newest| fork.gives_up(newest)));
                let decided = match self.decided_and_unrecorded(forks).await? {
                    // Whoever decided did not come to the end.
                    Some(fork) => fork,
                    None if !unusable.is_empty() => return Err(refused(ForkRefusal::Unread(unusable.join("; ")))),
                    None => {
                        let (head, _) = self.store.log().head().await?;
                        Fork { after: u64::try_from(head).unwrap_or(0), given_up: Vec::new() }
                    }
                };
                let decided = self.record_fork(&decided, reason, actor).await?;
                return Ok(Decided { decided, without: unusable });
            }
        };
        let (mut is_kept, mut without) = (false, unusable);
        for part in decided.given_up.chunks(GIVEN_UP_MAX) {
            let part = Fork { after: decided.after, given_up: part.to_vec() };
            let (size, root) = part.until();
            let note = [(places::fork_file(size, &root), signer.sign_fork(&part))];
            for place in &self.keeping.places {
                match place.keep(&note, None).await {
                    Ok(()) => is_kept = true,
                    Err(e) => without.push(format!("{}: {e}", place.name())),
                }
            }
        }
        if !is_kept {
            return Err(refused(ForkRefusal::NoPlace(without.join("; "))));
        }
        without.sort();
        without.dedup();
        let decided = self.record_fork(&decided, reason, actor).await?;
        Ok(Decided { decided, without })
    }

    /// A decision that was signed and kept outside, and that the log does not tell of.
    async fn decided_and_unrecorded(&self, forks: Vec<Fork>) -> Result<Option<Fork>, ReadError> {
        let recorded = self.store.log().about(installation_stream()).await?;
        let is_told = |fork: &Fork| {
            recorded.iter().any(|recorded| match &recorded.event {
                // Of a decision in several parts the last one is told.
                Event::Installation(InstallationEvent::ForkDecided(told)) => {
                    told.after == fork.after && told.until >= fork.until().0
                }
                _ => false,
            })
        };
        Ok(forks.into_iter().filter(|fork| !is_told(fork)).max_by_key(Fork::until))
    }

    /// The roots of the first so many events, for several sizes in one pass; none for those that the log does not reach. Or the
    /// first event that is not as it was written.
    async fn roots(&self, sizes: HashSet<u64>) -> Result<Result<HashMap<u64, Hash>, i64>, sqlx::Error> {
        let (mut growing, mut previous, mut roots) = (Growing::default(), chain::genesis(), HashMap::new());
        let mut broken = None;
        self.store
            .log()
            .scan(0, |row| {
                let next = i64::try_from(growing.size() + 1).unwrap_or(i64::MAX);
                let Some((leaf, link)) = leaf_of(row, &previous).filter(|_| row.position == next) else {
                    broken = Some(next);
                    return false;
                };
                previous = link;
                growing.leaf(leaf);
                if sizes.contains(&growing.size()) {
                    roots.insert(growing.size(), growing.root());
                }
                true
            })
            .await?;
        Ok(broken.map_or(Ok(roots), Err))
    }

    /// Where this log parts from another history, of what began before that was decided: it may be further on there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn parting_of(&self, stream: Uuid) -> Result<Option<Parting>, sqlx::Error> {
        let Some(parting) = self.store.checkpoints().parting().await? else { return Ok(None) };
        let begins_at = self.store.log().begins_at(stream).await?;
        Ok(begins_at.is_some_and(|position| position < parting.position).then_some(parting))
    }

    async fn record_fork(
        &self,
        fork: &Fork,
        reason: &str,
        actor: &Actor,
    ) -> Result<ForkDecided, CommandError<ForkRefusal>> {
        let (after, (until, root)) = (fork.after, fork.until());
        let decided = ForkDecided { after, until, root: hex::encode(root), reason: reason.to_owned() };
        // It opens the log: whoever goes on finds it.
        self.record_of_everything(&decided.clone().into(), actor).await?;
        Ok(decided)
    }
}
