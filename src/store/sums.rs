//! Sums over rows: whether two sets of them are the same, told in little memory and in any order; and, where they are not,
//! which rows differ.
//!
//! A row counts as the bytes that `COPY` writes for it, hashed under a key that no other run has.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::blocks::tuples;
use super::copy_out::Snapshot;
use super::rebuild::{Rows, Swapped};
use super::tuple::{BOUNDARY, TABLES, Table, Tuple};

/// Sums of rows, by table.
#[derive(Default)]
pub struct Sums {
    key: RandomState,
    tables: [Sum; TABLES.len()],
}

#[derive(Default, Clone, Copy, PartialEq)]
struct Sum {
    rows: i64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, hash: u64) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }
}

impl Rows for Sums {
    fn tuple(&mut self, tuple: Tuple) {
        let hash = self.key.hash_one(&tuple.bytes[..]);
        if let Some(at) = TABLES.iter().position(|table| *table == tuple.table) {
            self.tables[at].add(hash);
        }
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

impl Sums {
    /// None yet, that can be held against these.
    #[must_use]
    pub fn alike(&self) -> Self {
        Self { key: self.key.clone(), ..Self::default() }
    }

    /// The same with all rows of a snapshot.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn with_rows_of(mut self, snapshot: &mut Snapshot) -> Result<Self, sqlx::Error> {
        for (table, sum) in TABLES.into_iter().zip(&mut self.tables) {
            let add = |tuple: &[u8]| {
                sum.add(self.key.hash_one(tuple));
                true
            };
            tuples(&mut snapshot.connection, &all_of(table), add).await?;
        }
        Ok(self)
    }

    /// How many rows each table has, if these are the sums of the rows that there are; `None` when they are not.
    pub fn held_against(&self, live: &Self) -> Option<Vec<Swapped>> {
        let swapped =
            |(table, sum): (Table, &Sum)| Swapped { table: table.name, rows: sum.rows, removed: 0, written: 0 };
        (self.tables == live.tables).then(|| TABLES.into_iter().zip(&live.tables).map(swapped).collect())
    }
}

/// Reads a table.
fn all_of(table: Table) -> String {
    format!("copy (select {} from {}) to stdout (format binary)", table.columns.join(", "), table.name)
}

/// A row that is not what it should be.
#[derive(Debug)]
pub struct Differing {
    /// Its table.
    pub table: &'static str,
    /// Its key.
    pub key: Vec<u8>,
    /// Of a boundary, the event that moved it last.
    pub position: Option<i64>,
}

/// Every row by itself, by its table and its key, which is its first field.
#[derive(Default)]
pub struct Each {
    hasher: RandomState,
    rows: HashMap<(&'static str, Vec<u8>), u64>,
    /// Which event each boundary was moved by last.
    boundaries: HashMap<Vec<u8>, i64>,
}

/// The key of a tuple: what stands in its first field, after the number of fields and the length.
fn key(tuple: &[u8]) -> Vec<u8> {
    let length = tuple.get(2..6).and_then(|length| length.try_into().ok()).map_or(0, u32::from_be_bytes);
    tuple.get(6..6 + length as usize).unwrap_or_default().to_vec()
}

impl Rows for Each {
    fn tuple(&mut self, tuple: Tuple) {
        let (hash, key) = (self.hasher.hash_one(&tuple.bytes[..]), key(&tuple.bytes));
        if tuple.table == BOUNDARY
            && let Some(position) = tuple.bytes.last_chunk()
        {
            self.boundaries.insert(key.clone(), i64::from_be_bytes(*position));
        }
        self.rows.insert((tuple.table.name, key), hash);
    }

    async fn write(&mut self) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

impl Each {
    /// The rows of a snapshot that are not these, those that are too many and those that are missing: the table and the key
    /// of each, in the order of tables and keys; and where a boundary should be.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn differing(mut self, snapshot: &mut Snapshot) -> Result<Vec<Differing>, sqlx::Error> {
        let mut differing: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for table in TABLES {
            let hold = |tuple: &[u8]| {
                let row = (table.name, key(tuple));
                if self.rows.remove(&row) != Some(self.hasher.hash_one(tuple)) {
                    differing.push(row);
                }
                true
            };
            tuples(&mut snapshot.connection, &all_of(table), hold).await?;
        }
        differing.extend(self.rows.into_keys());
        differing.sort_unstable();
        differing.dedup();
        let moved = |(table, key): (&'static str, Vec<u8>)| {
            let position = self.boundaries.get(&key).copied().filter(|_| table == BOUNDARY.name);
            Differing { table, key, position }
        };
        Ok(differing.into_iter().map(moved).collect())
    }
}
