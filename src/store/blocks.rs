//! Taking a binary `COPY … TO STDOUT` apart: blocks of whole tuples, and the tuples in them.
//!
//! The format is that of PostgreSQL's documentation of `COPY`, "Binary Format": a header, tuples (how many fields, then each
//! one's length and bytes), a trailer. Where one message of the protocol ends says nothing of where a tuple does.

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use sqlx::PgConnection;

/// Signature, flags and the length of an extension that there is none of.
const HEADER_LEN: usize = 19;
/// Bytes after which a block is handed on: so many that this costs nothing, so few that they stay in a processor's cache.
const BLOCK: usize = 64 * 1024;

/// The answer to a `COPY`, block by block.
pub(super) struct Blocks<'c> {
    messages: BoxStream<'c, Result<Bytes, sqlx::Error>>,
    buffer: BytesMut,
    is_begun: bool,
}

impl<'c> Blocks<'c> {
    /// Asks for them. When they are left before their end, nothing more can be asked on this connection.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn of(connection: &'c mut PgConnection, statement: &str) -> Result<Self, sqlx::Error> {
        let messages = connection.copy_out_raw(statement).await?.fuse().boxed();
        Ok(Self { messages, buffer: BytesMut::new(), is_begun: false })
    }

    /// The next one: whole tuples, at least one; `None` at the end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, sqlx::Error> {
        let mut whole = 0;
        while whole < BLOCK
            && let Some(message) = self.messages.next().await
        {
            self.buffer.extend_from_slice(&message?);
            if !self.is_begun && self.buffer.len() >= HEADER_LEN {
                self.buffer.advance(HEADER_LEN);
                self.is_begun = true;
            }
            while self.is_begun
                && let Some(length) = tuple_len(&self.buffer[whole..])
            {
                whole += length;
            }
        }
        Ok((whole > 0).then(|| self.buffer.split_to(whole).freeze()))
    }
}

/// Length of the tuple at the beginning of a buffer, once it is there whole; the trailer is none.
fn tuple_len(buffer: &[u8]) -> Option<usize> {
    let fields = u16::try_from(i16::from_be_bytes(buffer.get(..2)?.try_into().ok()?)).ok()?;
    let mut at = 2;
    for _ in 0..fields {
        let length = i32::from_be_bytes(buffer.get(at..at + 4)?.try_into().ok()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (buffer.len() >= at).then_some(at)
}

/// The tuples of a block, in order.
pub(super) fn tuples_in(mut block: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (tuple, rest) = block.split_at(tuple_len(block)?);
        block = rest;
        Some(tuple)
    })
}

/// Visits every tuple of an answer in order, until the visitor says `false`.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn tuples(
    connection: &mut PgConnection,
    statement: &str,
    mut visit: impl FnMut(&[u8]) -> bool + Send,
) -> Result<(), sqlx::Error> {
    let mut blocks = Blocks::of(connection, statement).await?;
    while let Some(block) = blocks.next().await? {
        if !tuples_in(&block).all(&mut visit) {
            break;
        }
    }
    Ok(())
}
