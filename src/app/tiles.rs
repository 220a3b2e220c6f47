//! The log's tree, of which the roots of whole tiles are remembered.
//!
//! **Invariant:** what is remembered only saves work: it is made of events that the chain bears out, and made again from them
//! before anybody is blamed.

use super::App;
use super::checkpoints::NoCheckpoint;
use crate::proof::chain::{self, Hash};
use crate::proof::tree::{self, Growing, NoProof, TILE, Tiles};
use crate::store::copy_out::Row;

/// The leaf of a row, and the link that it makes; nothing when it is not as it was written.
pub(super) fn leaf_of(row: &Row<'_>, previous: &Hash) -> Option<(Hash, Hash)> {
    let item = chain::item_hash(&row.header, &chain::body_hash(row.payload.as_bytes()));
    let entry = chain::entry(row.position, row.micros_since_2000, &item);
    let link = chain::link(previous, &entry);
    (row.chain_hash == link).then(|| (tree::leaf(&entry), link))
}

impl App {
    /// Makes the hashes of tiles that have become whole, from the events; tells how many events there are. The chain is
    /// checked on the way.
    pub(super) async fn grow_tiles(&self) -> Result<u64, NoCheckpoint> {
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
    pub(super) async fn root(&self, size: u64) -> Result<Hash, NoCheckpoint> {
        self.of_tree(|tiles| tiles.root(size)).await
    }

    /// What a tree tells, with the leaves that it needs for it.
    pub(super) async fn of_tree<T>(&self, ask: impl Fn(&Tiles) -> Result<T, NoProof>) -> Result<T, NoCheckpoint> {
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
}
