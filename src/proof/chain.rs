//! The recipe of the hash chains, as published in `events/CHAIN.md`.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// Everything that a link covers besides its position and time, which the database assigns.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "columns of the event table")]
pub struct Header<'a> {
    pub event_id: Uuid,
    pub tenant_id: Uuid,
    pub stream_type: &'a str,
    pub stream_id: Uuid,
    pub stream_version: i32,
    pub kind: &'a str,
    pub schema_version: i16,
    pub actor: &'a str,
    pub correlation_id: Uuid,
    pub causation_id: Option<Uuid>,
    pub fence: Option<i64>,
}

/// Hash of the chain before the first event.
pub fn genesis() -> Hash {
    Sha256::digest(b"coolops-genesis").into()
}

/// Hash of an event's payload, from the exact stored bytes.
pub fn body_hash(payload: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(payload).finalize().into()
}

/// Hash of an event without position and time. Fixed-width numbers are big-endian; texts have their length before them.
pub fn item_hash(header: &Header<'_>, body: &Hash) -> Hash {
    let mut hash = Sha256::new().chain_update([2]);
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u32).to_be_bytes());
        hash.update(text);
    };
    hash.update(header.event_id);
    hash.update(header.tenant_id);
    text(&mut hash, header.stream_type);
    hash.update(header.stream_id);
    hash.update(header.stream_version.to_be_bytes());
    text(&mut hash, header.kind);
    hash.update(header.schema_version.to_be_bytes());
    text(&mut hash, header.actor);
    hash.update(header.correlation_id);
    match header.causation_id {
        Some(id) => {
            hash.update([1]);
            hash.update(id);
        }
        None => hash.update([0]),
    }
    match header.fence {
        Some(fence) => {
            hash.update([1]);
            hash.update(fence.to_be_bytes());
        }
        None => hash.update([0]),
    }
    hash.update(body);
    hash.finalize().into()
}

/// 2000-01-01T00:00:00Z, from where times are counted.
pub fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(946_684_800, 0).unwrap_or_default()
}

/// A time as it is counted: microseconds since [`epoch`].
pub fn micros_since_2000(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros() - epoch().timestamp_micros()
}

/// What a link covers beside the link before it, and what a leaf of the tree is made of: position, time in microseconds
/// since 2000-01-01T00:00:00Z, item.
pub fn entry(position: i64, micros_since_2000: i64, item: &Hash) -> [u8; 48] {
    let mut entry = [0; 48];
    entry[..8].copy_from_slice(&position.to_be_bytes());
    entry[8..16].copy_from_slice(&micros_since_2000.to_be_bytes());
    entry[16..].copy_from_slice(item);
    entry
}

/// The next link: previous link and entry.
pub fn link(previous: &Hash, entry: &[u8; 48]) -> Hash {
    Sha256::new().chain_update([1]).chain_update(previous).chain_update(entry).finalize().into()
}

/// Hash of a deployment's output journal before its first chunk.
pub fn journal_genesis(deployment: Uuid) -> Hash {
    Sha256::new().chain_update(b"coolops-journal").chain_update(deployment).finalize().into()
}

/// The journal's next link: previous link and the envelope's exact bytes, which name the body by its digest.
pub fn journal_link(previous: &Hash, envelope: &[u8]) -> Hash {
    Sha256::new().chain_update([3]).chain_update(previous).chain_update(envelope).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of `events/CHAIN.md`; whoever changes the recipe breaks every log there is.
    #[test]
    fn the_published_vector_holds() {
        let body = body_hash(br#"{"project_id":"00000000-0000-0000-0000-000000000001","name":"Public API"}"#);
        let header = Header {
            event_id: Uuid::from_u128(0xe),
            tenant_id: Uuid::nil(),
            stream_type: "project",
            stream_id: Uuid::from_u128(1),
            stream_version: 2,
            kind: "project_renamed",
            schema_version: 1,
            actor: r#"{"kind":"operator","login":"ana"}"#,
            correlation_id: Uuid::from_u128(1),
            causation_id: None,
            fence: Some(7),
        };
        let item = item_hash(&header, &body);
        let chain = link(&genesis(), &entry(1, 846_000_000_000_000, &item));
        assert_eq!(
            [hex::encode(body), hex::encode(item), hex::encode(chain)],
            include_str!("../../events/chain-vector.txt").lines().map(str::to_owned).collect::<Vec<_>>()[..],
        );
    }
}
