//! Checkpoints: signed every minute in which something happened, kept outside, and held against what is kept there.
//!
//! **Invariant:** nothing is signed that does not follow from what was signed before. Whoever finds that another history
//! is kept outside closes the log until an operator has decided; nobody decides that by themselves.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::App;
use super::witnesses::{Witness, Witnessing};
use crate::places::{self, Kept, NEWEST, Place, PlaceError};
use crate::proof::chain::Hash;
use crate::proof::checkpoint::{self, Fork, LogKey, Opened, PublicKey};
use crate::proof::tree::TILE;
use crate::store::Store;
use crate::store::checkpoints::{PlaceState, SIGNING, Signed};

/// What checkpoints are made and kept with.
#[derive(Debug, Clone, Default)]
pub struct Keeping {
    /// What signs them; whoever only looks has none.
    pub signer: Option<LogKey>,
    /// What they are believed by: the present key first, then those before it.
    pub believed: Vec<PublicKey>,
    /// Where they are kept.
    pub places: Vec<Place>,
    /// Who is asked to cosign them.
    pub witnesses: Vec<Witness>,
    /// How many of these have to.
    pub threshold: usize,
    /// What this installation is a witness of others with; none where it is none.
    pub witnessing: Option<Witnessing>,
}

impl Keeping {
    /// How many of the witnesses cosigned a note.
    pub fn cosigned(&self, note: &str) -> usize {
        self.witnesses.iter().filter(|witness| witness.key.signed(note).is_some()).count()
    }
}

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum NoCheckpoint {
    /// Nobody signs here.
    #[error("no key signs checkpoints here: set COOLOPS_CHECKPOINT_KEY and COOLOPS_CHECKPOINTS")]
    NoKey,
    /// There is nothing to hold the log against.
    #[error(
        "no place where checkpoints are kept can be read, and nothing is known to be signed; nothing is signed until one can"
    )]
    Nowhere,
    /// The log does not bear out what was signed before, or not even itself.
    #[error("{0}; nothing is signed. coolops audit verify tells more")]
    Tampered(String),
    /// Two histories.
    #[error("{0}")]
    Fork(String),
    /// The database is away.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

/// Checkpoints that are looked through for one that was signed, or that enough witnesses cosigned, the newest first.
pub(super) const PROVABLE: i64 = 60;
/// Checkpoints that a place is sent in one round, beside the newest.
const CATCH_UP: i64 = 200;
/// How often in one round the newest checkpoint is put at a place where another process goes on signing.
const PUT_AT_MOST: u32 = 3;
/// How long it may take in one round to send a place what it lacks.
const ROUND: Duration = Duration::from_secs(20);

/// The newest checkpoint that a database knows, of those that are believed. A row that its own note does not bear out is none:
/// whoever may write rows may write anything.
///
/// # Errors
/// When the database does not answer.
pub async fn newest_signed(store: &Store, believed: &[PublicKey]) -> Result<Option<Signed>, sqlx::Error> {
    let mut before = i64::MAX;
    loop {
        let some = store.checkpoints().before(before, PROVABLE).await?;
        let Some(last) = some.last() else { return Ok(None) };
        before = last.n;
        if let Some(newest) = some.into_iter().find(|signed| is_borne_out(signed, believed)) {
            return Ok(Some(newest));
        }
    }
}

/// Whether what a row says was signed.
pub(super) fn is_borne_out(signed: &Signed, believed: &[PublicKey]) -> bool {
    // A note has one row, of its key: an old one does not come back as the newest.
    let by: Vec<PublicKey> = believed.iter().filter(|key| key.id() == signed.key_id).cloned().collect();
    let opened = checkpoint::open(&signed.note, &by);
    opened.is_ok_and(|opened| opened.size == signed.size && opened.root == signed.root)
}

/// Up to which checkpoint a place had all of them.
pub(super) fn kept_up_to(states: &[PlaceState], place: &Place) -> i64 {
    states.iter().find(|state| state.place == place.name()).map_or(0, |state| state.kept)
}

/// How many events the newest checkpoint of a place covered.
pub(super) fn newest_at(states: &[PlaceState], place: &Place) -> u64 {
    let size = states.iter().find(|state| state.place == place.name()).map_or(0, |state| state.size);
    u64::try_from(size).unwrap_or(0)
}

/// The checkpoints that a place had and lacks now. What is called the newest there is a copy, and stands for none.
pub(super) fn missing(signed: &[Signed], kept: &[Kept], up_to: i64) -> Vec<Signed> {
    let there: HashSet<&str> = kept.iter().filter(|kept| kept.file != NEWEST).map(|kept| kept.note.as_str()).collect();
    signed.iter().filter(|signed| signed.n <= up_to && !there.contains(signed.note.as_str())).cloned().collect()
}

/// What the places have, as far as they were asked in one round.
struct Looked {
    /// Each of them.
    there: Vec<There>,
    /// Up to which checkpoint each of them had all before it was asked.
    kept: Vec<i64>,
    /// What was decided, as it is kept in any of them.
    forks: Vec<Fork>,
    /// The decisions that each of them lacks and another one has: the names of their files, and what they say.
    lacking: Vec<Vec<(String, String)>>,
}

/// What a place has, as far as it was asked in one round.
enum There {
    /// It can be used, and this, which is called the newest there, is of this log.
    Ours(Opened),
    /// It can be used, and nothing is there.
    Empty,
    /// It can't be used now, or holds what is not of this log's key: nothing is put there.
    Unusable(String),
}

impl App {
    /// Signs how far the log went, if it went further than what was signed last, and brings every place up to date.
    /// Tells what a place can't do, and goes on.
    ///
    /// # Errors
    /// See [`NoCheckpoint`].
    pub async fn checkpoint(&self) -> Result<Option<Signed>, NoCheckpoint> {
        self.checkpoint_asking(&self.keeping.witnesses).await
    }

    /// The same without a word to the witnesses, which may take long: they are asked at the next start.
    ///
    /// # Errors
    /// See [`NoCheckpoint`].
    pub async fn last_checkpoint(&self) -> Result<Option<Signed>, NoCheckpoint> {
        self.checkpoint_asking(&[]).await
    }

    async fn checkpoint_asking(&self, witnesses: &[Witness]) -> Result<Option<Signed>, NoCheckpoint> {
        let signer = self.keeping.signer.as_ref().ok_or(NoCheckpoint::NoKey)?;
        let signed = self.sign_and_keep(signer, witnesses).await;
        match &signed {
            Ok(_) => self.store.checkpoints().signs().await?,
            Err(why @ (NoCheckpoint::Tampered(_) | NoCheckpoint::Nowhere)) => {
                self.store.checkpoints().failed(SIGNING, &why.to_string()).await?;
            }
            // It is told where the log is asked whether it is open, or can't be.
            Err(NoCheckpoint::NoKey | NoCheckpoint::Fork(_) | NoCheckpoint::Database(_)) => {}
        }
        signed
    }

    async fn sign_and_keep(&self, signer: &LogKey, witnesses: &[Witness]) -> Result<Option<Signed>, NoCheckpoint> {
        let Looked { there, kept, forks, lacking } = self.look_at_places(None).await?;
        // Before anything is signed: what keeps that from happening may be that none of them can be used.
        for (place, there) in self.keeping.places.iter().zip(&there) {
            if let There::Unusable(why) = there {
                tracing::warn!(place = place.name(), error = %why, "checkpoints can't be kept there now");
                self.store.checkpoints().failed(place.name(), why).await?;
            }
        }
        let one_is_read = there.iter().any(|there| !matches!(there, There::Unusable(_)));
        let ours = there.iter().filter_map(|there| if let There::Ours(opened) = there { Some(opened) } else { None });
        let signed = self.sign(signer, one_is_read, &forks, ours.cloned().collect()).await?;
        if let Some(newest) = self.newest_signed().await? {
            self.ask_witnesses(witnesses, &newest).await;
        }
        let places = self.keeping.places.iter().zip(there.iter().zip(kept)).zip(&lacking);
        let sending = places.map(|((place, there), lacking)| self.bring_up_to_date(place, there, lacking));
        for sent in futures::future::join_all(sending).await {
            sent?;
        }
        Ok(signed)
    }

    /// Holds what each place calls its newest checkpoint against the log; closes it where there are two histories. A place that
    /// takes longer than `patience` is not waited for, and keeps no other from being heard; which ones were not is told in the log.
    ///
    /// # Errors
    /// See [`NoCheckpoint`].
    pub async fn hold_against_places(&self, patience: Duration) -> Result<(), NoCheckpoint> {
        let Looked { there, kept, .. } = self.look_at_places(Some(patience)).await?;
        for ((place, there), known) in self.keeping.places.iter().zip(there).zip(kept) {
            let why = match there {
                There::Unusable(why) => why,
                // As where what should be mounted there is not.
                There::Empty if known > 0 => "nothing is there, and checkpoints were".to_owned(),
                There::Empty | There::Ours(_) => continue,
            };
            tracing::error!(
                place = place.name(),
                why,
                "this log is not held against the checkpoints that are kept there: if a backup was restored, that is not seen yet"
            );
        }
        Ok(())
    }

    async fn look_at_places(&self, patience: Option<Duration>) -> Result<Looked, NoCheckpoint> {
        if let Some(why) = self.store.checkpoints().closed().await? {
            return Err(NoCheckpoint::Fork(format!("the log is closed: {why}")));
        }
        let states = self.store.checkpoints().places().await?;
        let known: Vec<i64> = self.keeping.places.iter().map(|place| kept_up_to(&states, place)).collect();
        let ask = async |place: &Place| match place.newest().await {
            // Whoever does not answer is not asked twice: the others wait for it.
            Err(e) => (Err(e), Ok(Vec::new())),
            newest => (newest, place.forks().await),
        };
        let asked = self.keeping.places.iter().map(async |place| match patience {
            None => ask(place).await,
            Some(patience) => {
                let silent = |_| (Err(PlaceError::Silent(patience)), Ok(Vec::new()));
                tokio::time::timeout(patience, ask(place)).await.unwrap_or_else(silent)
            }
        });
        let answers = futures::future::join_all(asked).await;
        let kept =
            answers.iter().map(|(_, forks)| forks.as_deref().map_or(BTreeMap::new(), |kept| self.decisions(kept)));
        let kept: Vec<BTreeMap<String, (Fork, String)>> = kept.collect();
        let all: BTreeMap<&String, &(Fork, String)> = kept.iter().flatten().collect();
        let lacking = kept.iter().map(|kept| {
            let lacking = all.iter().filter(|(file, _)| !kept.contains_key(**file));
            lacking.map(|(file, (_, note))| ((*file).clone(), note.clone())).collect()
        });
        let (lacking, forks) = (lacking.collect(), all.values().map(|(fork, _)| fork.clone()).collect::<Vec<Fork>>());
        let mut there = Vec::new();
        for (place, answer) in self.keeping.places.iter().zip(answers) {
            there.push(match answer {
                // What was decided may be what excuses its newest: without that nobody is blamed.
                (Err(e), _) | (_, Err(e)) => There::Unusable(e.to_string()),
                (Ok(None), _) => There::Empty,
                (Ok(Some(newest)), _) => match checkpoint::open(&newest.note, &self.keeping.believed) {
                    // Somebody else's log is kept there, or somebody wrote there: what is there stays as it is.
                    Err(e) => There::Unusable(format!("{}: {e}", newest.file)),
                    Ok(opened) => {
                        if let Some(fork) = self.parts_from(&opened, place.name(), &forks).await? {
                            self.store.checkpoints().close_log(&fork).await?;
                            tracing::error!(place = place.name(), "the log is closed: {fork}");
                            return Err(NoCheckpoint::Fork(format!("the log is closed: {fork}")));
                        }
                        There::Ours(opened)
                    }
                },
            });
        }
        Ok(Looked { there, kept: known, forks, lacking })
    }

    /// The decisions among what is kept, by the names of their files.
    fn decisions(&self, kept: &[Kept]) -> BTreeMap<String, (Fork, String)> {
        let opened = kept.iter().filter_map(|kept| {
            let fork = checkpoint::open_fork(&kept.note, &self.keeping.believed)?;
            let (size, root) = fork.until();
            Some((places::fork_file(size, &root), (fork, kept.note.clone())))
        });
        opened.collect()
    }

    /// In which way a checkpoint that is kept outside is not of this log; nothing when it is, or when that was decided.
    async fn parts_from(&self, kept: &Opened, place: &str, forks: &[Fork]) -> Result<Option<String>, NoCheckpoint> {
        if forks.iter().any(|fork| fork.gives_up(kept)) || self.fits(kept).await? {
            return Ok(None);
        }
        let (head, _) = self.store.log().head().await?;
        let size = kept.size;
        Ok(Some(if i64::try_from(size).is_ok_and(|size| size <= head) {
            format!("{place} has a checkpoint of {size} events that is of another history than this log's first {size}")
        } else {
            format!(
                "{place} has a checkpoint of {size} events, and this log has {head}: a backup was restored, or its end was cut off"
            )
        }))
    }

    /// Whether a checkpoint is of this log. The tiles are only remembered: before anybody is blamed, they are made again
    /// from the events.
    pub(super) async fn fits(&self, kept: &Opened) -> Result<bool, NoCheckpoint> {
        let (head, _) = self.store.log().head().await?;
        if i64::try_from(kept.size).map_or(true, |size| size > head) {
            return Ok(false);
        }
        let mut whole = self.store.checkpoints().tiles().await?;
        if (whole.len() as u64) < kept.size / TILE {
            whole = self.grow_tiles(u64::MAX).await?.1;
        }
        if self.root(&whole, kept.size).await.is_ok_and(|root| root == kept.root) {
            return Ok(true);
        }
        let (_, whole) = self.grow_tiles(0).await?;
        Ok(self.root(&whole, kept.size).await? == kept.root)
    }

    /// Signs how far the log went, if it went further; nobody else signs meanwhile.
    async fn sign(
        &self,
        signer: &LogKey,
        one_is_read: bool,
        forks: &[Fork],
        kept: Vec<Opened>,
    ) -> Result<Option<Signed>, NoCheckpoint> {
        let turn = self.store.checkpoints().turn().await?;
        let signed = self.sign_alone(signer, one_is_read, forks, kept).await;
        turn.over().await?;
        signed
    }

    async fn sign_alone(
        &self,
        signer: &LogKey,
        one_is_read: bool,
        forks: &[Fork],
        mut kept: Vec<Opened>,
    ) -> Result<Option<Signed>, NoCheckpoint> {
        let before = self.newest_signed().await?;
        let opened = before.as_ref().and_then(|b| checkpoint::open(&b.note, &self.keeping.believed).ok());
        // What was given up binds nobody.
        let opened = opened.filter(|before| !forks.iter().any(|fork| fork.gives_up(before)));
        // What the signed root bears out is believed of the tiles, and nothing else: what is signed now follows from the events.
        let (mut size, mut whole) = self.grow_tiles(opened.as_ref().map_or(0, |before| before.size / TILE)).await?;
        match &opened {
            Some(before) if size < before.size => {
                let (at, n) = (before.size, size);
                return Err(NoCheckpoint::Tampered(format!("{at} events were signed, and the log has {n}")));
            }
            Some(before) => {
                if self.root(&whole, before.size).await.ok() != Some(before.root) {
                    (size, whole) = self.grow_tiles(0).await?;
                    if self.root(&whole, before.size).await? != before.root {
                        let why = format!("the first {} events are not those that were signed", before.size);
                        return Err(NoCheckpoint::Tampered(why));
                    }
                }
                if size == before.size {
                    return Ok(None);
                }
            }
            // The database remembers nothing, so what is kept outside is all there is to hold the log against.
            None if !one_is_read => return Err(NoCheckpoint::Nowhere),
            None => {}
        }
        if size == 0 {
            return Ok(None);
        }
        // What was signed after the backup that this database is from, of events that it has.
        kept.retain(|kept| kept.size < size);
        for kept in kept {
            if self.root(&whole, kept.size).await? == kept.root {
                self.note_again(signer, &kept).await?;
            }
        }
        let root = self.root(&whole, size).await?;
        self.note_signed(signer, size, &root).await?;
        Ok(self.newest_signed().await?)
    }

    /// Signs what a place has of this log, where this database does not know of it any more. Whoever does has the turn.
    pub(super) async fn note_again(&self, signer: &LogKey, kept: &Opened) -> Result<(), NoCheckpoint> {
        match self.store.checkpoints().number_of(kept.size, &kept.root).await? {
            Some(_) => Ok(()),
            None => self.note_signed(signer, kept.size, &kept.root).await,
        }
    }

    /// Signs so many events with that root after what was signed last.
    async fn note_signed(&self, signer: &LogKey, size: u64, root: &Hash) -> Result<(), NoCheckpoint> {
        let before = self.newest_signed().await?;
        let (id, note) = (signer.public().id(), signer.sign(size, *root));
        if !self.store.checkpoints().sign(size, root, &id, &note, before.as_ref()).await? {
            return Err(NoCheckpoint::Tampered("the database does not keep what is signed".to_owned()));
        }
        Ok(())
    }

    /// The newest checkpoint that this database knows, see [`newest_signed`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn newest_signed(&self) -> Result<Option<Signed>, sqlx::Error> {
        newest_signed(&self.store, &self.keeping.believed).await
    }

    /// Sends a place what it lacks: what was decided while it was away, or before there was such a place, and the newest
    /// checkpoint first; so one that was away for long says at once how far the log is. What is put there is the newest when it is
    /// there, whoever signs meanwhile.
    async fn bring_up_to_date(
        &self,
        place: &Place,
        (there, known): (&There, i64),
        lacking: &[(String, String)],
    ) -> Result<(), sqlx::Error> {
        let checkpoints = self.store.checkpoints();
        if matches!(there, There::Unusable(_)) {
            return Ok(());
        }
        let Some(mut newest) = self.newest_signed().await? else { return Ok(()) };
        let known = known.min(newest.n);
        // A place that was set back, as from a backup of it, lacks what came after.
        let mut kept = match there {
            There::Ours(opened) => {
                checkpoints.number_of(opened.size, &opened.root).await?.map_or(known, |n| n.min(known))
            }
            There::Empty | There::Unusable(_) => 0,
        };
        if kept < known {
            tracing::error!(place = place.name(), "checkpoints that were kept there are gone; they are sent again");
        }
        for put in 1.. {
            let cosigned = self.cosigned_note(&newest).await?;
            let first = [lacking, &self.notes(std::slice::from_ref(&newest))[..]].concat();
            if let Err(e) = place.keep(&first, Some(&cosigned)).await {
                tracing::warn!(place = place.name(), error = %e, "checkpoints can't be kept there now");
                return checkpoints.failed(place.name(), &e.to_string()).await;
            }
            // Another process may have put a newer one there meanwhile, or one with more cosignatures, which is overwritten now.
            match self.newest_signed().await? {
                Some(now) if put < PUT_AT_MOST && self.is_newer(&now, (&newest, &cosigned)).await? => newest = now,
                _ => break,
            }
        }
        let (began, mut problem) = (Instant::now(), None);
        for some in checkpoints.after(kept, CATCH_UP).await?.chunks(place.at_once()) {
            match place.keep(&self.notes(some), None).await {
                Ok(()) => {}
                // One that can't be kept is told, and holds up no other.
                Err(e @ PlaceError::Other(_)) => problem = Some(e.to_string()),
                Err(e) => {
                    problem = Some(e.to_string());
                    break;
                }
            }
            // What was planted behind the newest holds up nothing.
            kept = some.last().map_or(kept, |signed| signed.n.min(newest.n));
            if began.elapsed() > ROUND {
                break;
            }
        }
        checkpoints.kept(place.name(), newest.size, kept).await?;
        match problem {
            Some(problem) => checkpoints.failed(place.name(), &problem).await,
            None => Ok(()),
        }
    }

    /// Whether a checkpoint, as witnesses cosigned it by now, is newer than one and the note that was made of that.
    async fn is_newer(&self, now: &Signed, (newest, note): (&Signed, &str)) -> Result<bool, sqlx::Error> {
        Ok(now.n > newest.n || (now.n == newest.n && self.cosigned_note(now).await? != note))
    }

    /// Sends every place what it was sent before and lacks now, as single files that somebody removed. It reads all that is there.
    /// Tells how many it sent.
    ///
    /// # Errors
    /// When the database does not answer. What a place can't do is noted, as ever.
    pub async fn refill_places(&self) -> Result<usize, sqlx::Error> {
        let (signed, mut sent) = (self.store.checkpoints().after(0, i64::MAX).await?, 0);
        let states = self.store.checkpoints().places().await?;
        for place in &self.keeping.places {
            let Ok(kept) = place.all().await else { continue };
            let lacking = self.notes(&missing(&signed, &kept, kept_up_to(&states, place)));
            for some in lacking.chunks(place.at_once()) {
                match place.keep(some, None).await {
                    Ok(()) => sent += some.len(),
                    Err(e) => self.store.checkpoints().failed(place.name(), &e.to_string()).await?,
                }
            }
        }
        Ok(sent)
    }

    /// Checkpoints as they are kept, with the names of their files; one that no key bears out is not kept anywhere.
    fn notes(&self, signed: &[Signed]) -> Vec<(String, String)> {
        let note = |signed: &Signed| {
            let signs = |key: &&PublicKey| checkpoint::open(&signed.note, std::slice::from_ref(*key)).is_ok();
            if !is_borne_out(signed, &self.keeping.believed) {
                return None;
            }
            let key = self.keeping.believed.iter().find(signs)?;
            let file = places::checkpoint_file(signed.size, &signed.root, &key.id(), signed.at);
            Some((file, signed.note.clone()))
        };
        signed.iter().filter_map(note).collect()
    }
}
