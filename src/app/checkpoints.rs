//! Checkpoints: signed every minute in which something happened, kept outside, and held against what is kept there.
//!
//! **Invariant:** nothing is signed that does not follow from what was signed before. Whoever finds that another history
//! is kept outside closes the log until an operator has decided; nobody decides that by themselves.

use std::fmt::Write;

use super::finding::Kind;
use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::event::{Actor, Event};
use crate::domain::fork_events::{Abandoned, ForkDecided};
use crate::domain::installation::Installation;
use crate::places::{Place, PlaceError};
use crate::proof::chain::{self, Hash};
use crate::proof::checkpoint::{self, LogKey, NotBelieved, PublicKey};
use crate::proof::exported::Exported;
use crate::proof::statement::Statement;
use crate::proof::tree::{self, Growing, NoProof, TILE, Tiles};
use crate::store::append::{Append, AppendError};
use crate::store::checkpoints::Signed;
use crate::store::copy_out::Row;
use crate::store::history::Entry;

/// What checkpoints are made and kept with.
#[derive(Debug, Clone, Default)]
pub struct Keeping {
    /// What signs them; whoever only looks has none.
    pub signer: Option<LogKey>,
    /// What they are believed by: the present key first, then those before it.
    pub believed: Vec<PublicKey>,
    /// Where they are kept.
    pub places: Vec<Place>,
}

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum NoCheckpoint {
    /// Nobody signs here.
    #[error("no key signs checkpoints here: set COOLOPS_CHECKPOINT_KEY and COOLOPS_CHECKPOINTS")]
    NoKey,
    /// The log does not bear out what was signed before, or not even itself.
    #[error("{0}; nothing is signed. coolops audit verify tells more")]
    Tampered(String),
    /// Two histories.
    #[error("{0}")]
    Fork(String),
    /// The database is away.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    /// What the log says of its installation can't be read.
    #[error(transparent)]
    Unreadable(#[from] crate::store::log::ReadError),
}

/// Why a decision was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ForkRefusal {
    /// There is nothing to decide.
    #[error("every checkpoint that is kept outside is of this log: there is nothing to decide")]
    None,
    /// A reason is recorded.
    #[error("say why, in at most 2000 characters: it is recorded")]
    Reason,
    /// A place can't be read, and what is there decides.
    #[error("{place} can't be read: {why}")]
    Place {
        /// Which.
        place: String,
        /// Why.
        why: PlaceError,
    },
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NotProvable {
    /// No checkpoint covers the event yet.
    #[error(
        "event {position} is not covered by a checkpoint yet: the newest covers {size} events; one is made every minute in which something happened"
    )]
    NotYet {
        /// Where the event stands.
        position: i64,
        /// How far the newest checkpoint goes.
        size: u64,
    },
    /// What is there does not fit together.
    #[error(transparent)]
    NoCheckpoint(#[from] NoCheckpoint),
}

impl From<sqlx::Error> for NotProvable {
    fn from(error: sqlx::Error) -> Self {
        Self::NoCheckpoint(error.into())
    }
}

/// Checkpoints that a place is sent in one round.
const CATCH_UP: i64 = 200;

/// The leaf of a row, and the link that it makes; nothing when it is not as it was written.
pub(super) fn leaf_of(row: &Row<'_>, previous: &Hash) -> Option<(Hash, Hash)> {
    let item = chain::item_hash(&row.header, &chain::body_hash(row.payload.as_bytes()));
    let entry = chain::entry(row.position, row.micros_since_2000, &item);
    let link = chain::link(previous, &entry);
    (row.chain_hash == link).then(|| (tree::leaf(&entry), link))
}

/// Whether an operator decided that a checkpoint's history does not go on.
pub fn is_abandoned(installation: &Installation, size: u64, root: &Hash) -> bool {
    installation.abandoned.iter().any(|gone| gone.size == size && gone.root == hex::encode(root))
}

impl App {
    /// Signs how far the log went, if it went further than what was signed last, and brings every place up to date.
    /// Tells what a place can't do, and goes on.
    ///
    /// # Errors
    /// See [`NoCheckpoint`].
    pub async fn checkpoint(&self) -> Result<Option<Signed>, NoCheckpoint> {
        let keeping = &self.keeping;
        let signer = keeping.signer.as_ref().ok_or(NoCheckpoint::NoKey)?;
        if let Some(why) = self.store.checkpoints().closed().await? {
            return Err(NoCheckpoint::Fork(format!("the log is closed: {why}")));
        }
        for place in &keeping.places {
            self.hold_against(place).await?;
        }
        let signed = self.sign(signer).await?;
        for place in &keeping.places {
            if let Err(e) = self.bring_up_to_date(place).await? {
                tracing::warn!(place = place.name(), error = %e, "checkpoints can't be kept there now");
                self.store.checkpoints().failed(place.name(), &e.to_string()).await?;
            }
        }
        Ok(signed)
    }

    /// Holds what a place calls its newest checkpoint against the log. A place that can't be read is noted, and asked
    /// again the next time: what happened is recorded meanwhile.
    async fn hold_against(&self, place: &Place) -> Result<(), NoCheckpoint> {
        let newest = match place.newest().await {
            Ok(newest) => newest,
            Err(e) => {
                tracing::warn!(place = place.name(), error = %e, "checkpoints can't be read there now");
                self.store.checkpoints().failed(place.name(), &e.to_string()).await?;
                return Ok(());
            }
        };
        let Some(newest) = newest else { return Ok(()) };
        let opened = match checkpoint::open(&newest.note, &self.keeping.believed) {
            Ok(opened) => opened,
            // Somebody else's log is kept there, or somebody wrote there: nothing of ours is put beside it.
            Err(e) => {
                self.store.checkpoints().failed(place.name(), &format!("{}: {e}", newest.file)).await?;
                return Ok(());
            }
        };
        let Some(fork) = self.parts_from(opened.size, &opened.root, place.name()).await? else { return Ok(()) };
        self.store.checkpoints().close_log(&fork).await?;
        tracing::error!(place = place.name(), "the log is closed: {fork}");
        Err(NoCheckpoint::Fork(format!("the log is closed: {fork}")))
    }

    /// In which way a checkpoint that is kept outside is not of this log; nothing when it is, or when that was decided.
    async fn parts_from(&self, size: u64, root: &Hash, place: &str) -> Result<Option<String>, NoCheckpoint> {
        let (head, _) = self.store.log().head().await?;
        let head = u64::try_from(head).unwrap_or(0);
        if size <= head && self.root(size).await? == *root {
            return Ok(None);
        }
        if is_abandoned(&self.installation_anew().await?.value, size, root) {
            return Ok(None);
        }
        Ok(Some(if size > head {
            format!(
                "{place} has a checkpoint of {size} events, and this log has {head}: a backup was restored, or its end was cut off"
            )
        } else {
            format!("{place} has a checkpoint of {size} events that is of another history than this log's first {size}")
        }))
    }

    /// Signs how far the log went, if it went further.
    async fn sign(&self, signer: &LogKey) -> Result<Option<Signed>, NoCheckpoint> {
        let size = self.grow_tiles().await?;
        let before = self.store.checkpoints().newest().await?;
        if let Some(before) = &before {
            let abandoned = is_abandoned(&self.installation_anew().await?.value, before.size, &before.root);
            let opened = checkpoint::open(&before.note, &self.keeping.believed);
            // A key that nobody knows any more: what it signed is not built on.
            if opened.is_ok() && !abandoned {
                if size < before.size {
                    let (at, n) = (before.size, size);
                    return Err(NoCheckpoint::Tampered(format!("{at} events were signed, and the log has {n}")));
                }
                if self.root(before.size).await? != before.root {
                    // The tiles are only remembered: they are made again from the events before anybody is blamed.
                    self.store.checkpoints().forget_tiles().await?;
                    self.grow_tiles().await?;
                    if self.root(before.size).await? != before.root {
                        let why = format!("the first {} events are not those that were signed", before.size);
                        return Err(NoCheckpoint::Tampered(why));
                    }
                }
                if size == before.size {
                    return Ok(None);
                }
            }
        }
        if size == 0 {
            return Ok(None);
        }
        let root = self.root(size).await?;
        let note = signer.sign(size, root);
        self.store.checkpoints().sign(size, &root, &note).await?;
        Ok(self.store.checkpoints().newest().await?)
    }

    /// Makes the hashes of tiles that have become whole, from the events; tells how many events there are. The chain is
    /// checked on the way.
    async fn grow_tiles(&self) -> Result<u64, NoCheckpoint> {
        let whole = self.store.checkpoints().tiles().await?.len() as u64;
        let (mut after, mut previous) = (whole * TILE, chain::genesis());
        if after > 0 {
            let last = self.store.history().at(i64::try_from(after).unwrap_or(i64::MAX)).await?;
            match last.and_then(|last| last.chain_hash.try_into().ok()) {
                Some(link) => previous = link,
                // The log is shorter than what is remembered of it.
                None => {
                    self.store.checkpoints().forget_tiles().await?;
                    after = 0;
                }
            }
        }
        let (mut tile, mut made, mut size, mut broken) = (Growing::default(), Vec::new(), after, None);
        let first = after / TILE;
        self.store
            .log()
            .scan(i64::try_from(after).unwrap_or(i64::MAX), |row| {
                let Some((leaf, link)) = leaf_of(row, &previous).filter(|_| row.position == size as i64 + 1) else {
                    broken = Some(size + 1);
                    return false;
                };
                previous = link;
                size += 1;
                tile.leaf(leaf);
                if tile.size() == TILE {
                    made.push(tile.root());
                    tile = Growing::default();
                }
                true
            })
            .await?;
        if let Some(position) = broken {
            return Err(NoCheckpoint::Tampered(format!("event {position} is not as it was written")));
        }
        if !made.is_empty() {
            self.store.checkpoints().keep_tiles(first, &made).await?;
        }
        Ok(size)
    }

    /// The root of the first `size` events.
    async fn root(&self, size: u64) -> Result<Hash, NoCheckpoint> {
        self.of_tree(|tiles| tiles.root(size)).await
    }

    /// What a tree tells, with the leaves that it needs for it.
    async fn of_tree<T>(&self, ask: impl Fn(&Tiles) -> Result<T, NoProof>) -> Result<T, NoCheckpoint> {
        let mut tiles = Tiles { whole: self.store.checkpoints().tiles().await?, ..Tiles::default() };
        loop {
            match ask(&tiles) {
                Ok(told) => return Ok(told),
                Err(NoProof::Needs(needed)) if needed.iter().any(|n| !tiles.leaves.contains_key(n)) => {
                    for n in needed {
                        let events = self.store.checkpoints().tile(n).await?;
                        tiles.leaves.insert(n, events.iter().map(|event| tree::leaf(&event.chained())).collect());
                    }
                }
                Err(e) => return Err(NoCheckpoint::Tampered(format!("the log's tree can't be made: {e}"))),
            }
        }
    }

    /// Sends a place what it lacks. The inner error is the place's.
    async fn bring_up_to_date(&self, place: &Place) -> Result<Result<(), PlaceError>, sqlx::Error> {
        let there = self.store.checkpoints().places().await?.into_iter().find(|state| state.place == place.name());
        let lacks = self.store.checkpoints().after(there.and_then(|state| state.kept_at), CATCH_UP).await?;
        for signed in lacks {
            if let Err(e) = place.keep(signed.size, &signed.root, &signed.note, signed.at).await {
                return Ok(Err(e));
            }
            self.store.checkpoints().kept(place.name(), &signed).await?;
        }
        Ok(Ok(()))
    }

    /// An operator decides that this log goes on, although checkpoints outside are of another one.
    ///
    /// # Errors
    /// See [`ForkRefusal`], or that the database is away.
    pub async fn decide_fork(&self, reason: &str, actor: &Actor) -> Result<ForkDecided, CommandError<ForkRefusal>> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > 2_000 {
            return Err(CommandError::Refused(ForkRefusal::Reason));
        }
        let mut abandoned: Vec<Abandoned> = Vec::new();
        for place in &self.keeping.places {
            let refused = |why| CommandError::Refused(ForkRefusal::Place { place: place.name().to_owned(), why });
            for kept in place.all().await.map_err(refused)? {
                let Ok(opened) = checkpoint::open(&kept.note, &self.keeping.believed) else { continue };
                let parts = self.parts_from(opened.size, &opened.root, place.name()).await;
                let gone = Abandoned { size: opened.size, root: hex::encode(opened.root) };
                if parts.map_err(unavailable)?.is_some() && !abandoned.contains(&gone) {
                    abandoned.push(gone);
                }
            }
        }
        if abandoned.is_empty() {
            // Somebody closed it, and the reason is gone: it is opened again.
            if self.store.checkpoints().closed().await?.is_none() {
                return Err(CommandError::Refused(ForkRefusal::None));
            }
        }
        let decided = ForkDecided { abandoned, reason: reason.to_owned() };
        let event = Event::from(decided.clone());
        for _ in 0..ATTEMPTS {
            let seen = self.installation_anew().await?;
            let mut append = Append::default();
            record(&mut append, new_event_id(), &event, actor, seen.value.version);
            // If this process ends between the two, whoever looks next closes it again.
            self.store.checkpoints().open_log().await?;
            match self.store.append(append).await {
                Ok(_) => {
                    self.installation_anew().await?;
                    return Ok(decided);
                }
                Err(AppendError::Conflict) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(too_busy())
    }

    /// A proof that an event stands in the log of the newest checkpoint.
    ///
    /// # Errors
    /// See [`NotProvable`].
    pub async fn prove(&self, event: &Entry) -> Result<Statement, NotProvable> {
        let key = self.keeping.believed.first().ok_or(NoCheckpoint::NoKey)?;
        let position = u64::try_from(event.position).unwrap_or(0);
        let newest = self.store.checkpoints().all().await?.into_iter().rev();
        let mut believed = newest.filter(|signed| checkpoint::open(&signed.note, &self.keeping.believed).is_ok());
        let signed = believed.next().filter(|signed| signed.size >= position);
        let Some(signed) = signed else {
            let size = self.store.checkpoints().newest().await?.map_or(0, |signed| signed.size);
            return Err(NotProvable::NotYet { position: event.position, size });
        };
        let inclusion = self.of_tree(|tiles| tiles.inclusion(signed.size, position - 1)).await?;
        let previous = match event.position {
            1 => chain::genesis().to_vec(),
            position => {
                self.store.history().at(position - 1).await?.map(|before| before.chain_hash).unwrap_or_default()
            }
        };
        let hashes = (&event.body_hash[..], &previous[..], &event.chain_hash[..]);
        let exported =
            Exported::new(event.position, event.micros_since_2000(), &event.header(), &event.payload, hashes);
        Ok(Statement::new(key.name(), exported.into_owned(), &inclusion, &signed.note))
    }
}

fn unavailable<R: std::error::Error>(error: NoCheckpoint) -> CommandError<R> {
    CommandError::Unavailable(error.into())
}

/// A checkpoint that is kept somewhere, and what it is worth.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where: a place and a file, or this database.
    pub at: String,
    /// What it covers, or why it is not believed.
    pub opened: Result<checkpoint::Opened, NotBelieved>,
}

impl App {
    /// Every checkpoint that is kept outside and in this database; which places can't be read, and which lack what was kept
    /// there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn checkpoints_found(&self) -> Result<(Vec<Found>, Vec<(Kind, String)>), sqlx::Error> {
        let key = &self.keeping.believed;
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        let signed = self.store.checkpoints().all().await?;
        let states = self.store.checkpoints().places().await?;
        for place in &self.keeping.places {
            let kept = match place.all().await {
                Ok(kept) => kept,
                Err(e) => {
                    problems.push((Kind::MissingCheckpoint, format!("{} can't be read: {e}", place.name())));
                    continue;
                }
            };
            let kept_until = states.iter().find(|state| state.place == place.name()).and_then(|state| state.kept_at);
            let mut missing = String::new();
            for signed in signed.iter().filter(|signed| kept_until.is_some_and(|until| signed.at <= until)) {
                let is_there = kept.iter().any(|kept| kept.note == signed.note && kept.file != "checkpoint");
                if !is_there && missing.is_empty() {
                    let _ = write!(
                        missing,
                        "{} lacks the checkpoint of {} events, which was kept there",
                        place.name(),
                        signed.size
                    );
                }
            }
            problems.extend(Some((Kind::MissingCheckpoint, missing)).filter(|(_, missing)| !missing.is_empty()));
            for kept in kept {
                let at = format!("{}, {}", place.name(), kept.file);
                found.push(Found { at, opened: checkpoint::open(&kept.note, key) });
            }
        }
        for signed in signed {
            let at = format!("this database, the checkpoint of {} events", signed.size);
            found.push(Found { at, opened: checkpoint::open(&signed.note, key) });
        }
        Ok((found, problems))
    }
}
