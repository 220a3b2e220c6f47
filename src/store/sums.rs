//! Sums over rows: whether two sets of them are the same, told in little memory and in any order.
//!
//! A row counts as the bytes that `COPY` writes for it, hashed under a key that no other run has.

use std::hash::{BuildHasher, RandomState};

use super::copy_out::{Snapshot, tuples};
use super::rebuild::{Rows, Swapped};
use super::tuple::{TABLES, Tuple};

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
    /// How many rows each table has, if those of a snapshot are the ones that were summed; `None` when they are not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn are_those_of(&self, snapshot: &mut Snapshot) -> Result<Option<Vec<Swapped>>, sqlx::Error> {
        let mut same = Vec::new();
        for (table, of_log) in TABLES.into_iter().zip(self.tables) {
            let mut live = Sum::default();
            let hash = |tuple: &[u8]| {
                live.add(self.key.hash_one(tuple));
                true
            };
            let columns = table.columns.join(", ");
            let statement = format!("copy (select {columns} from {}) to stdout (format binary)", table.name);
            tuples(&mut snapshot.connection, &statement, hash).await?;
            if live != of_log {
                return Ok(None);
            }
            same.push(Swapped { table: table.name, rows: live.rows, removed: 0, written: 0 });
        }
        Ok(Some(same))
    }
}
