//! The Merkle tree over the log (RFC 6962, section 2.1): a leaf for each event, made of its entry in the chain.
//!
//! Hashes of whole tiles of 256 events are kept as disposable rows, so that a root or a proof costs a few hundred events
//! and not the whole log. What is kept is never believed: a root is compared with one that was signed before, and
//! where they differ it is made again from the events.

use std::collections::HashMap;

use tlog_tiles::tlog::{self, Hash as TreeHash, HashReader};

use super::chain::Hash;

/// Events in a tile.
pub const TILE: u64 = 256;
/// The level of a whole tile's hash.
const TILE_LEVEL: u8 = 8;

/// The leaf of an entry.
pub fn leaf(entry: &[u8; 48]) -> Hash {
    tlog::record_hash(entry).0
}

/// A tree that grows to the right: knows the hashes of its whole subtrees, one for each bit of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growing {
    peaks: Vec<(u8, Hash)>,
    size: u64,
}

impl Growing {
    /// Adds a leaf.
    pub fn leaf(&mut self, leaf: Hash) {
        self.push(0, leaf);
    }

    /// Adds a whole tile; only before the first single leaf.
    pub fn tile(&mut self, hash: Hash) {
        self.push(TILE_LEVEL, hash);
    }

    fn push(&mut self, mut level: u8, mut hash: Hash) {
        self.size += 1 << level;
        while let Some((last, left)) = self.peaks.last().copied()
            && last == level
        {
            self.peaks.pop();
            hash = tlog::node_hash(TreeHash(left), TreeHash(hash)).0;
            level += 1;
        }
        self.peaks.push((level, hash));
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root, which is SHA-256 of nothing for an empty tree.
    pub fn root(&self) -> Hash {
        let right = self.peaks.iter().rev().map(|(_, hash)| TreeHash(*hash));
        right.reduce(|right, left| tlog::node_hash(left, right)).unwrap_or(tlog::EMPTY_HASH).0
    }
}

/// A tree as far as it is at hand: the hashes of its whole tiles, and the leaves of some.
#[derive(Debug, Default)]
pub struct Tiles {
    /// Of each whole tile, in order.
    pub whole: Vec<Hash>,
    /// The leaves of tiles, by the tile's number.
    pub leaves: HashMap<u64, Vec<Hash>>,
}

/// What a tree can't tell.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// Leaves of these tiles are needed.
    #[error("the leaves of tiles {0:?} are needed")]
    Needs(Vec<u64>),
    /// The request itself makes no sense.
    #[error(transparent)]
    Tree(#[from] tlog::Error),
}

/// Reads what is at hand, and notes what is not.
struct Reading<'a> {
    tiles: &'a Tiles,
    missing: std::cell::RefCell<Vec<u64>>,
}

impl HashReader for Reading<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TreeHash>, tlog::Error> {
        // All of them are tried, so that all that is missing is told at once.
        let hashes: Vec<Option<Hash>> = indexes
            .iter()
            .map(|index| {
                let (level, n) = tlog::split_stored_hash_index(*index);
                self.hash(level, n)
            })
            .collect();
        hashes.into_iter().map(|hash| hash.map(TreeHash).ok_or(tlog::Error::IndexesNotInTree)).collect()
    }
}

impl Reading<'_> {
    fn hash(&self, level: u8, n: u64) -> Option<Hash> {
        let (first, count) = (n << level, 1_u64 << level);
        let tile = first / TILE;
        let mut subtree = Growing::default();
        if level >= TILE_LEVEL {
            let whole = usize::try_from(tile).ok().zip(usize::try_from(count / TILE).ok());
            let slice = whole.and_then(|(tile, count)| self.tiles.whole.get(tile..tile + count));
            slice.unwrap_or_default().iter().for_each(|hash| subtree.tile(*hash));
        } else {
            let Some(leaves) = self.tiles.leaves.get(&tile) else {
                self.missing.borrow_mut().push(tile);
                return None;
            };
            let first = usize::try_from(first % TILE).ok()?;
            let slice = leaves.get(first..first + usize::try_from(count).ok()?);
            slice.unwrap_or_default().iter().for_each(|leaf| subtree.leaf(*leaf));
        }
        (subtree.size() == count).then(|| subtree.root())
    }
}

impl Tiles {
    fn asked<T>(&self, ask: impl Fn(&Reading<'_>) -> Result<T, tlog::Error>) -> Result<T, NoProof> {
        let reading = Reading { tiles: self, missing: std::cell::RefCell::default() };
        let told = ask(&reading);
        let mut missing = reading.missing.into_inner();
        missing.sort_unstable();
        missing.dedup();
        match told {
            Ok(told) => Ok(told),
            Err(_) if !missing.is_empty() => Err(NoProof::Needs(missing)),
            Err(e) => Err(e.into()),
        }
    }

    /// The root of the first `size` events.
    ///
    /// # Errors
    /// See [`NoProof`].
    pub fn root(&self, size: u64) -> Result<Hash, NoProof> {
        self.asked(|reader| tlog::tree_hash(size, reader)).map(|hash| hash.0)
    }

    /// The proof that the event with an index (its position less one) is among the first `size`.
    ///
    /// # Errors
    /// See [`NoProof`].
    pub fn inclusion(&self, size: u64, index: u64) -> Result<Vec<Hash>, NoProof> {
        let proof = self.asked(|reader| tlog::prove_record(size, index, reader))?;
        Ok(proof.into_iter().map(|hash| hash.0).collect())
    }
}

impl Tiles {
    /// The proof that the first `old` events are the beginning of the first `size`.
    ///
    /// # Errors
    /// See [`NoProof`].
    pub fn consistency(&self, size: u64, old: u64) -> Result<Vec<Hash>, NoProof> {
        let proof = self.asked(|reader| tlog::prove_tree(size, old, reader))?;
        Ok(proof.into_iter().map(|hash| hash.0).collect())
    }
}

/// Whether the tree of a size and root goes on from an older one, which has at least one leaf.
pub fn is_consistent(proof: &[Hash], (size, root): (u64, Hash), (old, old_root): (u64, Hash)) -> bool {
    let proof: Vec<_> = proof.iter().map(|hash| TreeHash(*hash)).collect();
    proof.len() <= 64 && tlog::check_tree(&proof, size, TreeHash(root), old, TreeHash(old_root)).is_ok()
}

/// Whether a leaf stands at an index of the tree of that size and root.
pub fn is_included(proof: &[Hash], (size, root): (u64, Hash), index: u64, leaf: Hash) -> bool {
    // The longest there can be: one hash for each level.
    let proof: Vec<_> = proof.iter().map(|hash| TreeHash(*hash)).collect();
    proof.len() <= 64 && tlog::check_record(&proof, size, TreeHash(root), index, TreeHash(leaf)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|n| leaf(&super::super::chain::entry(n as i64 + 1, 7, &[n as u8; 32]))).collect()
    }

    /// As RFC 6962 defines it, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => tlog::EMPTY_HASH.0,
            [one] => *one,
            many => {
                let half = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(half);
                tlog::node_hash(TreeHash(defined(left)), TreeHash(defined(right))).0
            }
        }
    }

    fn tiles(all: &[Hash]) -> Tiles {
        let mut tiles = Tiles::default();
        for (n, chunk) in all.chunks(TILE as usize).enumerate() {
            if chunk.len() == TILE as usize {
                tiles.whole.push(defined(chunk));
            }
            tiles.leaves.insert(n as u64, chunk.to_vec());
        }
        tiles
    }

    #[test]
    fn the_root_is_that_of_the_rfc_however_it_is_come_by() {
        for size in [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 1000, 1024, 1300] {
            let all = leaves(size);
            let mut growing = Growing::default();
            all.iter().for_each(|leaf| growing.leaf(*leaf));
            assert_eq!((growing.size(), growing.root()), (size, defined(&all)), "{size}");
            assert_eq!(tiles(&all).root(size).unwrap(), defined(&all), "{size}");
            let (mut by_tiles, tiles) = (Growing::default(), tiles(&all));
            tiles.whole.iter().for_each(|tile| by_tiles.tile(*tile));
            tiles.leaves.get(&(size / TILE)).into_iter().flatten().for_each(|leaf| by_tiles.leaf(*leaf));
            assert_eq!(by_tiles, growing, "{size}");
        }
    }

    #[test]
    fn every_event_is_proved_and_nothing_else_is() {
        let all = leaves(700);
        let tiles = tiles(&all);
        let root = defined(&all);
        for index in [0, 1, 254, 255, 256, 511, 512, 699] {
            let proof = tiles.inclusion(700, index).unwrap();
            assert!(is_included(&proof, (700, root), index, all[index as usize]));
            assert!(!is_included(&proof, (700, root), index, all[3]), "another event");
            assert!(!is_included(&proof, (700, root), (index + 1) % 700, all[index as usize]), "another place");
            assert!(!is_included(&proof[1..], (700, root), index, all[index as usize]), "a shorter proof");
        }
    }

    #[test]
    fn a_tree_goes_on_from_each_that_it_was_and_from_no_other() {
        let all = leaves(700);
        let tiles = tiles(&all);
        let root = |size: u64| defined(&all[..size as usize]);
        for (old, size) in [(1, 2), (1, 700), (255, 256), (256, 257), (300, 700), (512, 700), (699, 700), (7, 7)] {
            let proof = tiles.consistency(size, old).unwrap();
            assert!(is_consistent(&proof, (size, root(size)), (old, root(old))), "{old} {size}");
            assert!(!is_consistent(&proof, (size, root(size)), (old, [7; 32])), "{old} {size}: another history");
            assert!(!is_consistent(&proof, (size, [7; 32]), (old, root(old))), "{old} {size}: another tree");
        }
    }

    #[test]
    fn only_the_tiles_at_the_edges_are_asked_for() {
        let all = leaves(1300);
        let mut few = tiles(&all);
        few.leaves.clear();
        let Err(NoProof::Needs(needed)) = few.inclusion(1300, 300) else { panic!("it needs leaves") };
        assert_eq!(needed, [1, 5]);
        assert!(matches!(few.inclusion(1300, 1300), Err(NoProof::Tree(_))));
        // A hash that is not there is told, and never made up.
        let mut whole = tiles(&all);
        whole.whole.pop();
        assert!(matches!(whole.root(1300), Err(NoProof::Tree(_))));
        let mut short = tiles(&all);
        short.leaves.get_mut(&5).unwrap().pop();
        assert!(matches!(short.root(1300), Err(NoProof::Tree(_))));
    }
}
