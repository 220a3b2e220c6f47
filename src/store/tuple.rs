//! Rows that replay makes, as `COPY … (FORMAT binary)` reads and writes them: how many fields, then each one's length and
//! bytes. Source: PostgreSQL, "COPY", binary format.
//!
//! **Invariant:** every column of these tables that isn't generated is among `COLUMNS` (a story holds it so).

use serde::Serialize;
use uuid::Uuid;

use super::rebuild::Begun;
use crate::projections::rows::{Row, TokenRow};

/// A table that replay makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    /// Its columns, in the order in which a tuple has them.
    pub(super) columns: &'static [&'static str],
}

pub(super) const BOUNDARY: Table = Table { name: "boundary", key: "key", columns: &["key", "position"] };
const PROJECT: Table = Table { name: "project", key: "id", columns: &["id", "slug", "position", "doc"] };
const TOKEN: Table = Table { name: "token", key: "digest", columns: &["digest", "project_id", "token_id", "revoked"] };
const BUILD: Table = Table { name: "build", key: "id", columns: &["id", "project_id", "position", "name"] };
const DEPLOYMENT: Table = Table {
    name: "deployment",
    key: "id",
    columns: &[
        "id",
        "build_id",
        "environment_id",
        "project_id",
        "requested",
        "position",
        "since",
        "state",
        "requested_by",
        "doc",
    ],
};

/// All of them, in the order in which an append locks them.
pub(super) const TABLES: [Table; 5] = [BOUNDARY, PROJECT, TOKEN, BUILD, DEPLOYMENT];

/// What comes before the tuples of a stream, and after them.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(super) const TRAILER: [u8; 2] = [0xff; 2];

/// Bytes that most rows have room in: those of deployments are the most there are.
const ROOM: usize = 1024;

/// One row, and where it belongs.
pub struct Tuple {
    pub(super) table: Table,
    pub(super) bytes: Vec<u8>,
}

impl Tuple {
    fn of(table: Table) -> Self {
        let fields = i16::try_from(table.columns.len()).unwrap_or_default();
        let mut bytes = Vec::with_capacity(ROOM);
        bytes.extend_from_slice(&fields.to_be_bytes());
        Self { table, bytes }
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(-1).to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn id(self, id: Uuid) -> Self {
        self.bytes(id.as_bytes())
    }

    fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn json(mut self, value: &impl Serialize) -> Self {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        serde_json::to_writer(&mut self.bytes, value).expect("a row is plain data");
        let length = i32::try_from(self.bytes.len() - at - 4).unwrap_or(-1);
        self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
        self
    }

    pub(super) fn of_boundary(key: Uuid, position: i64) -> Self {
        Self::of(BOUNDARY).id(key).number(position)
    }

    pub(super) fn of_token(token: &TokenRow) -> Self {
        let digest = hex::decode(token.digest.trim_start_matches("\\x")).unwrap_or_default();
        Self::of(TOKEN).bytes(&digest).id(token.project_id).id(token.token_id).bytes(&[u8::from(token.revoked)])
    }

    /// A row as an event at a position left it. Only deployments have `begun`.
    pub(super) fn of_row(position: i64, begun: Begun, row: &Row) -> Self {
        match row {
            Row::Project(row) => {
                Self::of(PROJECT).id(row.id).bytes(row.slug.as_bytes()).number(position).json(&row.doc)
            }
            Row::Token(row) => Self::of_token(row),
            Row::Build(row) => {
                Self::of(BUILD).id(row.id).id(row.project_id).number(position).bytes(row.name.as_bytes())
            }
            Row::Deployment(row) => {
                let ids = Self::of(DEPLOYMENT).id(row.id).id(row.build_id).id(row.environment_id).id(row.project_id);
                let begun = ids.number(begun.requested).number(position).number(begun.since);
                begun.bytes(row.state.as_bytes()).bytes(row.requested_by.as_bytes()).json(&row.doc)
            }
        }
    }
}
