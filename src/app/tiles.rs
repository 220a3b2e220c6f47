//! The log's tree, of which the roots of whole tiles are remembered.
//!
//! **Invariant:** what is remembered only saves work. It is made of events that the chain bears out, and believed as far as a
//! root of it was signed: what came since is read again before it is, and all of it before anybody is blamed.

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
    /// Makes the hashes of tiles that have become whole, from the events; of those that are remembered the first few at most are
    /// believed. Tells how many events there are, and all of these hashes. The chain is checked on the way.
    pub(super) async fn grow_tiles(&self, believed: u64) -> Result<(u64, Vec<Hash>), NoCheckpoint> {
        let mut whole = self.store.checkpoints().tiles().await?;
        whole.truncate(usize::try_from(believed).unwrap_or(usize::MAX));
        let (mut after, mut previous) = (whole.len() as u64 * TILE, chain::genesis());
        if after > 0 {
            let last = self.store.history().at(i64::try_from(after).unwrap_or(i64::MAX)).await?;
            match last.and_then(|last| last.chain_hash.try_into().ok()) {
                Some(link) => previous = link,
                // The log is shorter than what is remembered of it.
                None => {
                    self.store.checkpoints().forget_tiles().await?;
                    (after, whole) = (0, Vec::new());
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
        whole.extend(made);
        Ok((size, whole))
    }

    /// The root of the first `size` events, with the hashes of whole tiles.
    pub(super) async fn root(&self, whole: &[Hash], size: u64) -> Result<Hash, NoCheckpoint> {
        self.of_tiles(whole.to_vec(), |tiles| tiles.root(size)).await
    }

    /// What the tree tells, by the tiles that are remembered: to be held against a root that was signed.
    pub(super) async fn of_tree<T>(&self, ask: impl Fn(&Tiles) -> Result<T, NoProof>) -> Result<T, NoCheckpoint> {
        self.of_tiles(self.store.checkpoints().tiles().await?, ask).await
    }

    /// What a tree tells, with the leaves that it needs for it.
    async fn of_tiles<T>(
        &self,
        whole: Vec<Hash>,
        ask: impl Fn(&Tiles) -> Result<T, NoProof>,
    ) -> Result<T, NoCheckpoint> {
        let mut tiles = Tiles { whole, ..Tiles::default() };
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
