//! Witnesses: others who sign that this log only grew, and this installation signing that of others' logs.
//!
//! **Invariant:** as a witness nothing is cosigned that does not go on from what was cosigned last, and that is noted
//! before it is answered.

use std::time::Duration;

use chrono::TimeDelta;
use sha2::{Digest, Sha256};

use super::App;
use super::checkpoints::NoCheckpoint;
use crate::places::witness::{Answer, Endpoint};
use crate::proof::checkpoint::{self, NotBelieved, Opened, PublicKey};
use crate::proof::cosignature::{self, WitnessKey, WitnessPublicKey};
pub use crate::proof::submission::SIZE;
use crate::proof::submission::{self, Submission};
use crate::proof::tree::{self, Growing};
use crate::store::checkpoints::Signed;
use crate::telemetry::causes;

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

/// Questions to a witness that says it is at another size than we thought.
const ASKED: usize = 3;

/// How long the same answer is given again for the same checkpoint: making one costs a write.
const SAME_ANSWER: TimeDelta = TimeDelta::minutes(1);
/// How long a round of questions to one witness takes at most: the places wait for it.
const ROUND: Duration = Duration::from_secs(6);

impl App {
    /// Asks each witness that has not cosigned a checkpoint to do so. What it says instead is noted, and holds up nothing.
    pub(super) async fn ask_witnesses(&self, witnesses: &[Witness], signed: &Signed) {
        let asked = witnesses.iter().map(async |witness| {
            let asked = match tokio::time::timeout(ROUND, self.ask_witness(witness, signed)).await {
                Ok(asked) => asked,
                // How far it is it tells again.
                Err(_) => {
                    let slow = format!("it took longer than {} s to say how far it is", ROUND.as_secs());
                    self.store.witnesses().failed(&witness.key.text(), 0, &slow).await.map_err(NoCheckpoint::from)
                }
            };
            if let Err(e) = asked {
                tracing::warn!(witness = witness.key.name(), error = causes(&e), "a witness can't be asked now");
            }
        });
        futures::future::join_all(asked).await;
    }

    async fn ask_witness(&self, witness: &Witness, signed: &Signed) -> Result<(), NoCheckpoint> {
        let (key, witnesses) = (witness.key.text(), self.store.witnesses());
        if self.line_of(witness, signed).await?.is_some() {
            return Ok(());
        }
        let known = witnesses.states().await?.into_iter().find(|state| state.key == key).map_or(0, |state| state.size);
        // What it said another time may be over: it tells again.
        let mut old = if known > signed.size { 0 } else { known };
        let mut problem = "it names another size each time".to_owned();
        for _ in 0..ASKED {
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
                    return Ok(witnesses.cosigned(&key, signed.size, &signed.root, &line).await?);
                }
                Said::At(size) if size > signed.size => {
                    // Another process of ours may have signed more meanwhile, and been quicker.
                    let newest = self.newest_signed().await?.map_or(0, |newest| newest.size);
                    if newest >= size {
                        return Ok(());
                    }
                    problem = format!(
                        "it has seen this log with {size} events, and the newest checkpoint covers {newest}: was a backup restored?"
                    );
                    break;
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
        tracing::warn!(witness = witness.key.name(), problem, "a checkpoint is not cosigned");
        Ok(witnesses.failed(&key, old, &problem).await?)
    }

    /// The line of a witness under a checkpoint, where its key bears it out: rows are not believed.
    async fn line_of(&self, witness: &Witness, signed: &Signed) -> Result<Option<String>, sqlx::Error> {
        let lines = self.store.witnesses().cosignatures(signed.size, &signed.root).await?;
        let own = lines.into_iter().find(|(key, _)| *key == witness.key.text());
        Ok(own.and_then(|(_, line)| cosignature::borne_out(&signed.note, &line, &witness.key)))
    }

    /// A checkpoint's note with the cosignatures that there are of the witnesses that are asked here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn cosigned_note(&self, signed: &Signed) -> Result<String, sqlx::Error> {
        let mut note = signed.note.clone();
        for witness in &self.keeping.witnesses {
            note.extend(self.line_of(witness, signed).await?);
        }
        Ok(note)
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
            NotBelieved::Edited
            | NotBelieved::AnotherKey(_)
            | NotBelieved::Later(_)
            | NotBelieved::AnotherLog { .. } => NotCosigned::NotSigned,
        })?;
        if old > size {
            return Err(NotCosigned::OldIsLarger { old, size });
        }
        // None that can be kept: no log has as many events.
        if i64::try_from(size).is_err() {
            return Err(NotCosigned::Malformed);
        }
        let witnesses = self.store.witnesses();
        let before = witnesses.of_log(origin).await?;
        let at = before.as_ref().map_or(0, |before| before.size);
        if old != at {
            return Err(NotCosigned::AnotherSize(at));
        }
        let now = self.store.clock().now();
        match &before {
            Some(before) if before.size == size && before.root != root => {
                witnesses.keep_fork(origin, &note).await?;
                tracing::error!(log = origin, events = size, "a log signed two histories; both are kept");
                return Err(NotCosigned::AnotherRoot);
            }
            // A line is of one text: there may be other extension lines in one of the same size and root.
            Some(before) if text(&before.note) == text(&note) && now - before.at < SAME_ANSWER => {
                return Ok(before.line.clone());
            }
            _ if size == old && !proof.is_empty() => return Err(NotCosigned::Inconsistent(at)),
            _ if size == 0 && root != Growing::default().root() => return Err(NotCosigned::Inconsistent(at)),
            _ if size == old => {}
            // Everything goes on from nothing.
            _ if old == 0 && proof.is_empty() => {}
            Some(before) if old > 0 && tree::is_consistent(&proof, (size, root), (before.size, before.root)) => {}
            _ => {
                tracing::warn!(log = origin, events = size, "a checkpoint was submitted whose proof does not hold");
                return Err(NotCosigned::Inconsistent(at));
            }
        }
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        let line = witnessing.key.sign(&note, seconds).ok_or(NotCosigned::Malformed)?;
        if !witnesses.witness(origin, before.as_ref(), (size, &root), (&note, &line)).await? {
            let now = witnesses.of_log(origin).await?.map_or(0, |now| now.size);
            return Err(NotCosigned::AnotherSize(now));
        }
        Ok(line)
    }
}

impl App {
    /// The newest checkpoint of another log that was cosigned here, with our line; none of a log that is not witnessed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn witnessed(&self, origin_hash: &str) -> Result<Option<String>, sqlx::Error> {
        let mut logs = self.keeping.witnessing.iter().flat_map(|witnessing| &witnessing.logs);
        let is_it = |key: &&PublicKey| hex::encode(Sha256::digest(key.name())) == origin_hash;
        let Some(log) = logs.find(is_it) else { return Ok(None) };
        let newest = self.store.witnesses().of_log(log.name()).await?;
        Ok(newest.map(|newest| newest.note + &newest.line))
    }
}

/// What is signed of a note: all before its signatures.
fn text(note: &str) -> &str {
    note.rsplit_once("\n\n").map_or(note, |(text, _)| text)
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
