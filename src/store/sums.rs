//! Sums over rows: whether two sets of them are the same, told in little memory and in any order.
//!
//! A row counts as the bytes that `COPY … (FORMAT binary)` writes for it, hashed under a key that no other run has.
//! **Invariant:** every column that isn't generated counts; a table with another one can't be compared.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use serde::Serialize;
use uuid::Uuid;

use super::copy_out::{Snapshot, tuples};
use super::rebuild::{Begun, Rows, Swapped, TABLES};
use crate::projections::rows::{Row, TokenRow};

/// The columns of the tables that replay makes, in the order in which they count.
const COLUMNS: [&[&str]; TABLES.len()] = [
    &["key", "position"],
    &["id", "slug", "position", "doc"],
    &["digest", "project_id", "token_id", "revoked"],
    &["id", "project_id", "position", "name"],
    &["id", "build_id", "environment_id", "project_id", "requested", "position", "since", "state", "doc"],
];
const BOUNDARY: usize = 0;
const PROJECT: usize = 1;
const TOKEN: usize = 2;
const BUILD: usize = 3;
const DEPLOYMENT: usize = 4;

/// Sums of the rows that an event left, and that no later one changes.
#[derive(Default)]
pub struct Sums {
    key: RandomState,
    tables: [Sum; TABLES.len()],
    /// What still changes: few rows.
    boundaries: HashMap<Uuid, i64>,
    tokens: HashMap<String, TokenRow>,
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

/// A tuple as `COPY` writes it in binary: how many fields, then each one's length and bytes.
struct Tuple(Vec<u8>);

impl Tuple {
    fn of(table: usize) -> Self {
        Self(i16::try_from(COLUMNS[table].len()).unwrap_or_default().to_be_bytes().to_vec())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(-1).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    fn id(self, id: Uuid) -> Self {
        self.bytes(id.as_bytes())
    }

    fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn json(mut self, value: &impl Serialize) -> Self {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        serde_json::to_writer(&mut self.0, value).expect("a row is plain data");
        let length = i32::try_from(self.0.len() - at - 4).unwrap_or(-1);
        self.0[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self
    }
}

impl Rows for Sums {
    fn row(&mut self, position: i64, begun: Begun, row: &Row) {
        match row {
            Row::Project(row) => {
                let tuple = Tuple::of(PROJECT).id(row.id).bytes(row.slug.as_bytes()).number(position).json(&row.doc);
                self.add(PROJECT, &tuple);
            }
            Row::Token(row) => drop(self.tokens.insert(row.digest.clone(), row.clone())),
            Row::Build(row) => {
                let tuple = Tuple::of(BUILD).id(row.id).id(row.project_id).number(position).bytes(row.name.as_bytes());
                self.add(BUILD, &tuple);
            }
            Row::Deployment(row) => {
                let tuple = Tuple::of(DEPLOYMENT).id(row.id).id(row.build_id).id(row.environment_id).id(row.project_id);
                let tuple = tuple.number(begun.requested).number(position).number(begun.since);
                self.add(DEPLOYMENT, &tuple.bytes(row.state.as_bytes()).json(&row.doc));
            }
        }
    }

    fn boundary(&mut self, key: Uuid, position: i64) {
        self.boundaries.insert(key, position);
    }
}

impl Sums {
    fn add(&mut self, table: usize, tuple: &Tuple) {
        let hash = self.key.hash_one(&tuple.0);
        self.tables[table].add(hash);
    }

    /// How many rows each table has, if those of a snapshot are the ones that were summed; `None` when they are not.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn are_those_of(mut self, snapshot: &mut Snapshot) -> Result<Option<Vec<Swapped>>, sqlx::Error> {
        for (key, position) in std::mem::take(&mut self.boundaries) {
            self.add(BOUNDARY, &Tuple::of(BOUNDARY).id(key).number(position));
        }
        for token in std::mem::take(&mut self.tokens).into_values() {
            let digest = hex::decode(token.digest.trim_start_matches("\\x")).unwrap_or_default();
            let tuple = Tuple::of(TOKEN).bytes(&digest).id(token.project_id).id(token.token_id);
            self.add(TOKEN, &tuple.bytes(&[u8::from(token.revoked)]));
        }
        let mut same = Vec::new();
        for (((table, _), columns), of_log) in TABLES.into_iter().zip(COLUMNS).zip(self.tables) {
            let own = sqlx::query_scalar!(
                r#"select attname::text as "name!" from pg_attribute
                    where attrelid = ($1::text)::regclass and attnum > 0 and not attisdropped and attgenerated = ''"#,
                table
            );
            let mut own = own.fetch_all(&mut snapshot.connection).await?;
            let mut known = columns.to_vec();
            own.sort();
            known.sort_unstable();
            let mut live = Sum::default();
            let statement = format!("copy (select {} from {table}) to stdout (format binary)", columns.join(", "));
            if own == known {
                let hash = |tuple: &[u8]| {
                    live.add(self.key.hash_one(tuple));
                    true
                };
                tuples(&mut snapshot.connection, &statement, hash).await?;
            }
            if own != known || live != of_log {
                return Ok(None);
            }
            same.push(Swapped { table, rows: live.rows, removed: 0, written: 0 });
        }
        Ok(Some(same))
    }
}
