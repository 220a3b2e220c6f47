//! Proofs that an event stands in the log, for whoever has no database.
//!
//! **Invariant:** nobody is given one that does not hold.

use super::App;
use super::checkpoints::{NoCheckpoint, PROVABLE};
use crate::proof::chain;
use crate::proof::checkpoint;
use crate::proof::exported::Exported;
use crate::proof::statement::Statement;
use crate::store::history::Entry;

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

impl App {
    /// A proof that an event stands in the log of the newest checkpoint.
    ///
    /// # Errors
    /// See [`NotProvable`].
    pub async fn prove(&self, event: &Entry) -> Result<Statement, NotProvable> {
        self.keeping.believed.first().ok_or(NoCheckpoint::NoKey)?;
        let position = u64::try_from(event.position).unwrap_or(0);
        let (mut provable, mut is_tampered) = (None, None);
        for signed in self.store.checkpoints().covering(event.position, PROVABLE).await? {
            let Ok(opened) = checkpoint::open(&signed.note, &self.keeping.believed) else { continue };
            // One of a history that was given up proves nothing here.
            if !self.fits(&opened).await? {
                is_tampered = Some(opened.size);
                continue;
            }
            let note = self.cosigned_note(&signed).await?;
            let enough = self.keeping.cosigned(&note) >= self.keeping.threshold;
            if provable.is_none() || enough {
                provable = Some((opened, note));
            }
            if enough {
                break;
            }
        }
        let Some((opened, note)) = provable else {
            if let Some(size) = is_tampered {
                let why = format!("the first {size} events are not those that were signed");
                return Err(NoCheckpoint::Tampered(why).into());
            }
            let size = self.newest_signed().await?.map_or(0, |signed| signed.size);
            return Err(NotProvable::NotYet { position: event.position, size });
        };
        let inclusion = self.of_tree(|tiles| tiles.inclusion(opened.size, position - 1)).await?;
        let previous = match event.position {
            1 => chain::genesis().to_vec(),
            position => {
                self.store.history().at(position - 1).await?.map(|before| before.chain_hash).unwrap_or_default()
            }
        };
        let hashes = (&event.body_hash[..], &previous[..], &event.chain_hash[..]);
        let exported =
            Exported::new(event.position, event.micros_since_2000(), &event.header(), &event.payload, hashes);
        let proof = Statement::new(exported.into_owned(), &inclusion, &note);
        // Nobody is given one that does not hold.
        match proof.check(&self.keeping.believed) {
            Ok(_) => Ok(proof),
            Err(e) => Err(NoCheckpoint::Tampered(format!("event {}: {e}", event.position)).into()),
        }
    }
}
