//! A proof in a file: that an event stands in a log, for somebody who has the log's public key and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chain::Hash;
use super::checkpoint::{self, NotBelieved, Opened, PublicKey};
use super::exported::{Changed, Exported, misfit};
use super::once::Once;
use super::tree;

/// What the first field of the file says.
pub const FORMAT: &str = "coolops-proof-1";

/// A proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`FORMAT`].
    pub format: String,
    /// The log's origin.
    pub log: String,
    /// The event.
    pub event: Exported<'static>,
    /// The seal of its deployment's output, for an event that has one: the same as in its payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Value>,
    /// The event's index in the tree: its position less one.
    pub index: u64,
    /// The hashes beside its way to the root (RFC 6962, 2.1.1), each in base64.
    pub inclusion: Vec<String>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum NotProved {
    #[error("it is no proof of coolops: {0}")]
    Malformed(String),
    #[error("the event is not as it was recorded: {0}")]
    Event(#[from] Changed),
    #[error("the seal is not the one that the event carries")]
    Seal,
    #[error("the checkpoint is not believed: {0}")]
    Checkpoint(#[from] NotBelieved),
    #[error("the event at position {position} is not in the log of that checkpoint, which covers {size} events")]
    NotIncluded { position: i64, size: u64 },
}

impl Statement {
    /// A proof for an event that a checkpoint covers.
    pub fn new(event: Exported<'static>, inclusion: &[Hash], checkpoint: &str) -> Self {
        let seal = seal_of(&event);
        Self {
            format: FORMAT.to_owned(),
            log: origin(checkpoint).to_owned(),
            index: u64::try_from(event.position - 1).unwrap_or(0),
            event,
            seal,
            inclusion: inclusion.iter().map(|hash| STANDARD.encode(hash)).collect(),
            checkpoint: checkpoint.to_owned(),
        }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Self, NotProved> {
        let malformed = |e: serde_json::Error| NotProved::Malformed(e.to_string());
        let read: Self = serde_json::from_str(text).map_err(malformed)?;
        let fields: Value = serde_json::from_str::<Once>(text).map_err(malformed)?.0;
        if let Some(what) = fields["event"].as_object().and_then(|event| misfit(event, &[])) {
            return Err(NotProved::Malformed(what));
        }
        if read.format != FORMAT {
            return Err(NotProved::Malformed(format!("its format is {:?}, not {FORMAT:?}", read.format)));
        }
        Ok(read)
    }

    /// Checks everything, with the log's public keys alone; tells what the checkpoint covers.
    ///
    /// # Errors
    /// See [`NotProved`].
    pub fn check(&self, keys: &[PublicKey]) -> Result<Opened, NotProved> {
        let entry = self.event.checked()?;
        if self.seal != seal_of(&self.event) {
            return Err(NotProved::Seal);
        }
        let opened = checkpoint::open(&self.checkpoint, keys)?;
        if origin(&self.checkpoint) != self.log {
            return Err(NotProved::Malformed("it names another log than its checkpoint".to_owned()));
        }
        let decoded = self.inclusion.iter().map(|hash| {
            let bytes = STANDARD.decode(hash).ok().and_then(|bytes| Hash::try_from(bytes).ok());
            bytes.ok_or_else(|| NotProved::Malformed("a hash of its proof can't be read".to_owned()))
        });
        let inclusion = decoded.collect::<Result<Vec<_>, _>>()?;
        let fits = self.event.position >= 1 && i64::try_from(self.index) == Ok(self.event.position - 1);
        if !fits || !tree::is_included(&inclusion, (opened.size, opened.root), self.index, tree::leaf(&entry)) {
            return Err(NotProved::NotIncluded { position: self.event.position, size: opened.size });
        }
        Ok(opened)
    }
}

/// The log that a checkpoint says it is of: whoever opens it holds that against the key's name.
fn origin(checkpoint: &str) -> &str {
    checkpoint.lines().next().unwrap_or_default()
}

/// The seal in an event's payload.
fn seal_of(event: &Exported<'_>) -> Option<Value> {
    let payload: Value = serde_json::from_str(&event.payload).ok()?;
    payload.get("log").filter(|log| log.get("head").is_some()).cloned()
}
