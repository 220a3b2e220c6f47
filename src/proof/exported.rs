//! An event as `coolops audit export` writes it: everything that its hashes are made of, so that it is checked without
//! the database.

use std::borrow::Cow;

use chrono::{SecondsFormat, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::chain::{self, Hash, Header};

/// A line of an export. Payload and actor are texts: the exact bytes that were hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "columns of the event table; events/CHAIN.md says how they are hashed")]
pub struct Exported<'a> {
    pub position: i64,
    pub recorded_at: String,
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    pub schema_version: i16,
    pub event_id: Uuid,
    pub tenant_id: Uuid,
    pub stream_type: Cow<'a, str>,
    pub stream_id: Uuid,
    pub stream_version: i32,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub fence: Option<i64>,
    pub actor: Cow<'a, str>,
    pub payload: Cow<'a, str>,
    pub body_hash: String,
    /// The link before.
    pub previous: String,
    pub chain_hash: String,
}

/// The columns, in the order of a CSV file.
pub const COLUMNS: [&str; 17] = [
    "position",
    "recorded_at",
    "type",
    "schema_version",
    "event_id",
    "tenant_id",
    "stream_type",
    "stream_id",
    "stream_version",
    "correlation_id",
    "causation_id",
    "fence",
    "actor",
    "payload",
    "body_hash",
    "previous",
    "chain_hash",
];

/// The columns that are ids.
const IDS: [&str; 5] = ["event_id", "tenant_id", "stream_id", "correlation_id", "causation_id"];

/// In which way fields are not those of an event, beside which there may be others; none where they are. Each is there, and is
/// written in one way only: what somebody else's verifier would refuse is refused.
pub fn misfit(fields: &Map<String, Value>, beside: &[&str]) -> Option<String> {
    let is_unknown = |name: &&String| !COLUMNS.contains(&name.as_str()) && !beside.contains(&name.as_str());
    if let Some(unknown) = fields.keys().find(is_unknown) {
        return Some(format!("no event has a field {unknown:?}"));
    }
    if let Some(missing) = COLUMNS.into_iter().find(|name| !fields.contains_key(*name)) {
        return Some(format!("its field {missing:?} is missing"));
    }
    let is_written_so = |id: &str| Uuid::parse_str(id).is_ok_and(|read| read.to_string() == id);
    let ids = IDS.into_iter().filter_map(|name| Some((name, fields.get(name)?.as_str()?)));
    ids.into_iter().find(|(_, id)| !is_written_so(id)).map(|(name, id)| format!("its {name} is not an id: {id:?}"))
}

/// What in a line is not as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Changed {
    /// What the event says.
    #[error("its payload is not what was hashed")]
    Body,
    /// Anything else of it.
    #[error("its header, its time or its place is not what was hashed")]
    Header,
    /// A time that can't be read.
    #[error("its time can't be read")]
    Time,
    /// A number that none has.
    #[error("one of its numbers is lower than any that is recorded")]
    Number,
}

/// A time as exports write it: UTC, with microseconds; one that nobody can count with, as `infinity`, by its number.
pub fn time(micros_since_2000: i64) -> String {
    match chain::epoch().checked_add_signed(TimeDelta::microseconds(micros_since_2000)) {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::Micros, true),
        None => micros_since_2000.to_string(),
    }
}

/// A hash in hexadecimal digits: [`hex::encode`] puts them together one by one, and an export has three of them for each event.
fn digits(hash: &[u8]) -> String {
    let mut digits = vec![0; 2 * hash.len()];
    hex::encode_to_slice(hash, &mut digits).expect("there are two digits for each byte");
    String::from_utf8(digits).expect("digits are ASCII")
}

impl<'a> Exported<'a> {
    /// The line of an event.
    pub fn new(
        position: i64,
        micros_since_2000: i64,
        header: &Header<'a>,
        payload: &'a str,
        (body, previous, link): (&[u8], &[u8], &[u8]),
    ) -> Self {
        Self {
            position,
            recorded_at: time(micros_since_2000),
            kind: header.kind.into(),
            schema_version: header.schema_version,
            event_id: header.event_id,
            tenant_id: header.tenant_id,
            stream_type: header.stream_type.into(),
            stream_id: header.stream_id,
            stream_version: header.stream_version,
            correlation_id: header.correlation_id,
            causation_id: header.causation_id,
            fence: header.fence,
            actor: header.actor.into(),
            payload: payload.into(),
            body_hash: digits(body),
            previous: digits(previous),
            chain_hash: digits(link),
        }
    }

    fn header(&self) -> Header<'_> {
        Header {
            event_id: self.event_id,
            tenant_id: self.tenant_id,
            stream_type: &self.stream_type,
            stream_id: self.stream_id,
            stream_version: self.stream_version,
            kind: &self.kind,
            schema_version: self.schema_version,
            actor: &self.actor,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            fence: self.fence,
        }
    }

    /// A copy that borrows from nothing.
    pub fn into_owned(self) -> Exported<'static> {
        Exported {
            kind: self.kind.into_owned().into(),
            stream_type: self.stream_type.into_owned().into(),
            actor: self.actor.into_owned().into(),
            payload: self.payload.into_owned().into(),
            recorded_at: self.recorded_at,
            body_hash: self.body_hash,
            previous: self.previous,
            chain_hash: self.chain_hash,
            position: self.position,
            schema_version: self.schema_version,
            event_id: self.event_id,
            tenant_id: self.tenant_id,
            stream_id: self.stream_id,
            stream_version: self.stream_version,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            fence: self.fence,
        }
    }

    /// Microseconds since 2000.
    ///
    /// # Errors
    /// When the time can't be read.
    pub fn micros_since_2000(&self) -> Result<i64, Changed> {
        let at = chrono::NaiveDateTime::parse_from_str(&self.recorded_at, "%Y-%m-%dT%H:%M:%S%.fZ");
        let at = at.map_err(|_| Changed::Time)?.and_utc();
        let micros = (at - chain::epoch()).num_microseconds().ok_or(Changed::Time)?;
        // There is one way to write it: what else is there is not what was recorded.
        if time(micros) == self.recorded_at { Ok(micros) } else { Err(Changed::Time) }
    }

    /// Computes every hash anew; what is told is the event's entry in chain and tree.
    ///
    /// # Errors
    /// What is not as it was recorded.
    pub fn checked(&self) -> Result<[u8; 48], Changed> {
        if self.position < 1 || self.stream_version < 1 || self.schema_version < 0 || self.fence.is_some_and(|n| n < 0)
        {
            return Err(Changed::Number);
        }
        let body = chain::body_hash(self.payload.as_bytes());
        if digits(&body) != self.body_hash {
            return Err(Changed::Body);
        }
        let previous: Hash = hex::decode(&self.previous).ok().and_then(|b| b.try_into().ok()).ok_or(Changed::Header)?;
        if digits(&previous) != self.previous {
            return Err(Changed::Header);
        }
        let item = chain::item_hash(&self.header(), &body);
        let entry = chain::entry(self.position, self.micros_since_2000()?, &item);
        if digits(&chain::link(&previous, &entry)) != self.chain_hash {
            return Err(Changed::Header);
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was exported before is checked by the same text.
    #[test]
    fn times_are_written_with_microseconds_in_any_year() {
        for (micros, text) in [
            (0, "2000-01-01T00:00:00.000000Z"),
            (-1, "1999-12-31T23:59:59.999999Z"),
            (820_454_400_000_120, "2025-12-31T00:00:00.000120Z"),
            (252_455_616_000_000_000, "+10000-01-01T00:00:00.000000Z"),
            (-63_145_440_000_000_000, "-0001-01-01T00:00:00.000000Z"),
            (i64::MAX, "9223372036854775807"),
        ] {
            assert_eq!(time(micros), text);
        }
    }
}
