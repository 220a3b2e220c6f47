//! The head and the tail of an output that may be longer than what is kept. Pure.
//!
//! **Invariant:** what is given back for storing plus what is counted as left out is what was offered, byte for byte.
//! What is held for the tail lives in memory only: after a crash it is read again from the engine, from the last stored
//! piece on.

use std::collections::VecDeque;

use crate::domain::deployment::{LeftOut, LogCursor};
use crate::domain::output::Piece;

/// From this size on a piece is held compressed, in bytes: several floods at once are megabytes each.
const PACKED: usize = 4 * 1024;
/// Zstandard's level for it: a flood must not wait.
const LEVEL: i32 = -3;

/// A piece that waits for the end.
struct Held {
    /// Its body is compressed where `packed` says so.
    piece: Piece,
    bytes: usize,
    lines: i64,
    packed: bool,
}

impl Held {
    fn of(mut piece: Piece) -> Self {
        let (bytes, lines) = (piece.body.len(), piece.lines());
        let packed = if bytes < PACKED { None } else { zstd::bulk::compress(&piece.body, LEVEL).ok() };
        let packed = packed.filter(|packed| packed.len() < bytes).map(|packed| piece.body = packed).is_some();
        piece.body.shrink_to_fit();
        Self { piece, bytes, lines, packed }
    }

    fn unpacked(self) -> Piece {
        let Self { mut piece, bytes, packed, .. } = self;
        if packed {
            piece.body = zstd::bulk::decompress(&piece.body, bytes).expect("what was compressed here a moment ago");
        }
        piece
    }
}

/// Decides for each piece of output whether it is stored at once or held for the tail.
pub struct Keep {
    head_left: u64,
    tail_max: u64,
    tail: VecDeque<Held>,
    tail_bytes: u64,
    left_out: LeftOut,
    left_out_to: Option<LogCursor>,
    left_out_gaps: i32,
    last: Option<LogCursor>,
}

impl Keep {
    /// Keeps so many bytes, half of them from the beginning; of the beginning, `stored` bytes are kept already.
    pub fn new(limit: u64, stored: u64) -> Self {
        Self {
            head_left: (limit / 2).saturating_sub(stored),
            tail_max: limit / 2,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out: LeftOut::default(),
            left_out_to: None,
            left_out_gaps: 0,
            last: None,
        }
    }

    /// Whether a piece would be stored at once.
    pub fn stores(&self, piece: &Piece) -> bool {
        self.tail.is_empty() && piece.body.len() as u64 <= self.head_left
    }

    /// Takes a piece; gives it back when it is to be stored now.
    pub fn offer(&mut self, piece: Piece) -> Option<Piece> {
        if piece.cursor.is_some() {
            self.last.clone_from(&piece.cursor);
        }
        let bytes = piece.body.len() as u64;
        if self.stores(&piece) {
            self.head_left -= bytes;
            return Some(piece);
        }
        self.head_left = 0;
        self.tail_bytes += bytes;
        self.tail.push_back(Held::of(piece));
        while self.tail_bytes > self.tail_max
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_bytes -= oldest.bytes as u64;
            self.left_out.lines += oldest.lines;
            self.left_out.bytes += oldest.bytes as i64;
            self.left_out_gaps += oldest.piece.gaps;
            self.left_out_to = oldest.piece.cursor;
        }
        None
    }

    /// Where reading goes on after everything that was offered; none before anything was.
    pub fn cursor(&self) -> Option<&LogCursor> {
        self.last.as_ref()
    }

    /// The output has ended: what was held, with a note in front of it when something was left out.
    pub fn finish(&mut self) -> impl Iterator<Item = Piece> + use<> {
        let left_out = std::mem::take(&mut self.left_out);
        let note = (left_out.bytes > 0).then(|| Piece {
            body: format!(
                "… [{} lines, {} bytes left out here: of a longer output, its beginning and its end are kept]\n",
                left_out.lines, left_out.bytes
            )
            .into_bytes(),
            cursor: self.left_out_to.take(),
            left_out: Some(left_out),
            gaps: std::mem::take(&mut self.left_out_gaps),
        });
        note.into_iter().chain(std::mem::take(&mut self.tail).into_iter().map(Held::unpacked))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    fn piece(n: usize, text: &str) -> Piece {
        Piece { body: format!("{text}\n").into_bytes(), cursor: Some(LogCursor(n.into())), ..Piece::default() }
    }

    #[test]
    fn a_short_output_is_stored_as_it_comes() {
        let mut keep = Keep::new(100, 0);
        assert!(keep.offer(piece(1, "one")).is_some());
        assert!(keep.offer(piece(2, "two")).is_some());
        assert_eq!(keep.finish().next(), None);
    }

    #[test]
    fn of_a_long_output_the_beginning_and_the_end_stay_and_the_rest_is_counted() {
        let mut keep = Keep::new(20, 0);
        let stored: Vec<_> = (0..10).filter_map(|n| keep.offer(piece(n, "abcd"))).collect();
        assert_eq!(stored.len(), 2);
        let end: Vec<_> = keep.finish().collect();
        assert_eq!(end[0].left_out, Some(LeftOut { lines: 6, bytes: 30 }));
        assert!(String::from_utf8_lossy(&end[0].body).starts_with("… [6 lines, 30 bytes left out here"));
        assert_eq!(end[0].cursor, piece(7, "").cursor, "reading goes on after what was left out");
        assert_eq!(end.len(), 3);
    }

    #[test]
    fn what_is_held_comes_back_byte_for_byte_and_takes_little_meanwhile() {
        let random: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let bodies = [b"short\n".to_vec(), "a line like many others\n".repeat(5_000).into_bytes(), random];
        let mut keep = Keep::new(1 << 20, 1 << 20);
        for body in &bodies {
            assert!(keep.offer(Piece { body: body.clone(), ..Piece::default() }).is_none());
        }
        assert!(keep.tail[1].piece.body.len() < 1_000);
        assert_eq!(keep.finish().map(|piece| piece.body).collect::<Vec<_>>(), bodies);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_uncounted(sizes in prop::collection::vec(0_usize..40, 0..60), limit in 0_u64..400) {
            let mut keep = Keep::new(limit, 0);
            let offered: i64 = sizes.iter().map(|s| *s as i64 + 1).sum();
            let mut kept: i64 = 0;
            for (n, size) in sizes.iter().enumerate() {
                kept += keep.offer(piece(n, &"x".repeat(*size))).map_or(0, |p| p.body.len() as i64);
            }
            let mut counted = 0;
            for piece in keep.finish() {
                match piece.left_out {
                    Some(left_out) => counted += left_out.bytes,
                    None => kept += piece.body.len() as i64,
                }
            }
            prop_assert_eq!(kept + counted, offered);
            prop_assert!(kept <= limit as i64);
        }
    }
}
