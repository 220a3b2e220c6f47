//! Witnesses: others who sign that this log only grew, and this installation signing that of others' logs.
//!
//! **Invariant:** as a witness nothing is cosigned that does not go on from what was cosigned last, and that is noted
//! before it is answered.

use super::App;
use super::checkpoints::NoCheckpoint;
use crate::places::witness::{Answer, Endpoint};
use crate::proof::checkpoint::{self, NotBelieved, Opened, PublicKey};
use crate::proof::cosignature::{self, WitnessKey, WitnessPublicKey};
pub use crate::proof::submission::SIZE;
use crate::proof::submission::{self, Submission};
use crate::proof::tree;
use crate::store::checkpoints::Signed;
use crate::store::witnesses::Witnessed;

/// A witness of this log.
#[derive(Debug, Clone)]
pub struct Witness {
    /// What it is believed by.
    pub key: WitnessPublicKey,
    /// Where it is asked.
    pub at: Endpoint,
}

/// What this installation is a witness with.
#[derive(Debug, Clone)]
pub struct Witnessing {
    /// What it signs with.
    pub key: WitnessKey,
    /// The logs that it is a witness of; several keys of one name are one log's.
    pub logs: Vec<PublicKey>,
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum NotCosigned {
    #[error("this is no add-checkpoint request: see https://c2sp.org/tlog-witness")]
    Malformed,
    #[error("the old size {old} is larger than the checkpoint's {size}")]
    OldIsLarger { old: u64, size: u64 },
    #[error("this is no witness of that log")]
    UnknownLog,
    #[error("no key that is known signed it")]
    NotSigned,
    /// How far the log was when its last checkpoint was cosigned here.
    #[error("{0}")]
    AnotherSize(u64),
    #[error("another checkpoint of as many events was cosigned: there are two histories")]
    AnotherRoot,
    #[error("it does not go on from the {0} events that were cosigned last")]
    Inconsistent(u64),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// So often a witness is asked again that says it is at another size than we thought.
const ASKED: usize = 3;

impl App {
    /// Asks each witness that has not cosigned a checkpoint to do so. What it says instead is noted, and holds up nothing.
    pub(super) async fn ask_witnesses(&self, signed: &Signed) -> Result<(), NoCheckpoint> {
        let there = self.store.witnesses().cosignatures(signed.size, &signed.root).await?;
        let states = self.store.witnesses().states().await?;
        let lacking = self.keeping.witnesses.iter().filter(|w| !there.iter().any(|(name, _)| name == w.key.name()));
        let asked = lacking.map(async |witness| {
            let known = states.iter().find(|state| state.name == witness.key.name()).map_or(0, |state| state.size);
            self.ask_witness(witness, signed, known).await
        });
        for asked in futures::future::join_all(asked).await {
            asked?;
        }
        Ok(())
    }

    async fn ask_witness(&self, witness: &Witness, signed: &Signed, known: u64) -> Result<(), NoCheckpoint> {
        let (name, witnesses) = (witness.key.name(), self.store.witnesses());
        let mut old = known;
        let mut problem = "it names another size each time".to_owned();
        for _ in 0..ASKED {
            if old > signed.size {
                problem = format!(
                    "it has seen this log with {old} events, and the newest checkpoint covers {}: was a backup restored?",
                    signed.size
                );
                break;
            }
            let proof = match old {
                0 => Vec::new(),
                old => self.of_tree(|tiles| tiles.consistency(signed.size, old)).await?,
            };
            let submission = Submission { old, proof, note: signed.note.clone() };
            let answer = match witness.at.add_checkpoint(submission.text()).await {
                Ok(answer) => answer,
                Err(why) => {
                    problem = why;
                    break;
                }
            };
            match said(&answer, &signed.note, &witness.key) {
                Said::Cosigned(line) => {
                    witnesses.cosigned(name, signed.size, &signed.root, &line).await?;
                    return Ok(());
                }
                Said::At(size) if size != old => old = size,
                Said::At(_) => {
                    "it has seen another history of as many events".clone_into(&mut problem);
                    break;
                }
                Said::No(why) => {
                    problem = why;
                    break;
                }
            }
        }
        tracing::warn!(witness = name, problem, "a checkpoint is not cosigned");
        Ok(witnesses.failed(name, old, &problem).await?)
    }

    /// A checkpoint's note with the cosignatures that there are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cosigned_note(&self, signed: &Signed) -> Result<String, sqlx::Error> {
        let lines = self.store.witnesses().cosignatures(signed.size, &signed.root).await?;
        Ok(lines.into_iter().fold(signed.note.clone(), |note, (_, line)| note + &line))
    }

    /// As a witness: signs that another log only grew, when it did.
    ///
    /// # Errors
    /// See [`NotCosigned`].
    pub async fn cosign(&self, body: &str) -> Result<String, NotCosigned> {
        let witnessing = self.keeping.witnessing.as_ref().ok_or(NotCosigned::UnknownLog)?;
        let Submission { old, proof, note } = Submission::read(body).ok_or(NotCosigned::Malformed)?;
        let origin = note.lines().next().unwrap_or_default();
        let keys: Vec<PublicKey> = witnessing.logs.iter().filter(|key| key.name() == origin).cloned().collect();
        if keys.is_empty() {
            return Err(NotCosigned::UnknownLog);
        }
        let Opened { size, root } = checkpoint::open(&note, &keys).map_err(|why| match why {
            NotBelieved::Malformed => NotCosigned::Malformed,
            NotBelieved::Edited | NotBelieved::AnotherKey(_) | NotBelieved::AnotherLog { .. } => NotCosigned::NotSigned,
        })?;
        if old > size {
            return Err(NotCosigned::OldIsLarger { old, size });
        }
        let before = self.store.witnesses().of_log(origin).await?;
        let at = before.as_ref().map_or(0, |before| before.size);
        if old != at {
            return Err(NotCosigned::AnotherSize(at));
        }
        match &before {
            None if !proof.is_empty() => return Err(NotCosigned::Inconsistent(0)),
            None => {}
            Some(before) if before.size == size && before.root != root => return Err(NotCosigned::AnotherRoot),
            Some(before) if before.size == size => {}
            Some(before) if tree::is_consistent(&proof, (size, root), (before.size, before.root)) => {}
            Some(before) => {
                tracing::error!(log = origin, events = size, "a checkpoint of another history was submitted");
                return Err(NotCosigned::Inconsistent(before.size));
            }
        }
        let seconds = u64::try_from(self.store.clock().now().timestamp()).unwrap_or(0);
        let line = witnessing.key.sign(&note, seconds).ok_or(NotCosigned::Malformed)?;
        if !self.store.witnesses().witness(origin, before.as_ref(), &Witnessed { size, root }, &note).await? {
            let now = self.store.witnesses().of_log(origin).await?.map_or(0, |now| now.size);
            return Err(NotCosigned::AnotherSize(now));
        }
        Ok(line)
    }
}

/// What a witness says.
enum Said {
    /// Its line.
    Cosigned(String),
    /// It is somewhere else.
    At(u64),
    /// It does not cosign, and why.
    No(String),
}

fn said(answer: &Answer, note: &str, key: &WitnessPublicKey) -> Said {
    match answer.status {
        200 => match cosignature::borne_out(note, &answer.text, key) {
            Some(line) => Said::Cosigned(line),
            None => Said::No("what it answered is not signed by its key".to_owned()),
        },
        409 if answer.kind == SIZE => match submission::number(answer.text.trim_end_matches('\n')) {
            Some(size) => Said::At(size),
            None => Said::No("it names a size that can't be read".to_owned()),
        },
        409 => Said::No("it has seen another history of as many events".to_owned()),
        422 => Said::No("it has seen another history: this log does not go on from that".to_owned()),
        404 => Said::No("it does not know this log: give it the log's public key".to_owned()),
        403 => Said::No("it knows this log by another key".to_owned()),
        status => Said::No(format!("it answered {status}")),
    }
}
