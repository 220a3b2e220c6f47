//! What was inserted or taken out where the chain parts, although the positions have no gap: whoever makes room, or closes a gap,
//! moves the events behind it, and can't move what they are chained by.

use super::chain::{self, Hash};

/// Events on either side of where the chain parts among which is looked for what goes on.
pub const LOOKED_AT: usize = 256;
/// Events, at most, that were taken out.
const TAKEN_OUT: i64 = 1_000_000;

/// An event as far as the chain covers it, and the hash that it has.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "see the chain")]
pub struct Link {
    pub micros_since_2000: i64,
    pub item: Hash,
    pub chain_hash: Hash,
}

impl Link {
    /// Whether it was recorded at a position, behind an event of that hash.
    fn was_at(&self, position: i64, previous: &Hash) -> bool {
        let entry = chain::entry(position, self.micros_since_2000, &self.item);
        chain::link(previous, &entry) == self.chain_hash
    }
}

/// What made others move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// So many events from a position on are none of the log's.
    Inserted {
        /// The first of them.
        first: i64,
        /// How many.
        many: i64,
    },
    /// So many events are gone that began at a position.
    TakenOut {
        /// Where the first of them was.
        first: i64,
        /// How many.
        many: i64,
    },
}

/// Tells what made the events move that the chain parts from at a position; none where they did not, or nothing goes on.
/// `before` are the hashes up to the event before it, which is the last of them; `from` the events from it on.
pub fn shift(position: i64, before: &[Hash], from: &[Link]) -> Option<Shift> {
    let first_of = |back: usize| position - i64::try_from(back).unwrap_or(i64::MAX);
    for (back, previous) in before.iter().rev().enumerate().take(LOOKED_AT) {
        let first = first_of(back);
        // The one at the position itself, behind the one before it, would be no parting.
        let ahead = (0..from.len().min(LOOKED_AT)).skip(usize::from(back == 0));
        let mut goes_on = ahead.filter(|ahead| from[*ahead].was_at(first, previous));
        if let Some(ahead) = goes_on.next() {
            // Where the next one is found elsewhere they were not moved by others, but changed places.
            let (this, between) = (&from[ahead], &from[..ahead]);
            let is_next = |link: &Link| link.was_at(first + 1, &this.chain_hash);
            let is_moved = match from.get(ahead + 1) {
                Some(next) => !is_next(next),
                None => between.iter().any(is_next),
            };
            return (!is_moved)
                .then(|| Shift::Inserted { first, many: i64::try_from(back + ahead).unwrap_or(i64::MAX) });
        }
    }
    // What the first one behind the gap was chained to is gone with it; the next one was chained to that.
    let [first, next, ..] = from else { return None };
    let many = (1..=TAKEN_OUT).find(|many| next.was_at(position + 1 + many, &first.chain_hash))?;
    Some(Shift::TakenOut { first: position, many })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of so many events, each with its hash.
    fn log(events: u8) -> Vec<Link> {
        let mut previous = chain::genesis();
        let link = |n: u8| {
            let (item, micros_since_2000) = ([n; 32], i64::from(n));
            previous = chain::link(&previous, &chain::entry(i64::from(n), micros_since_2000, &item));
            Link { micros_since_2000, item, chain_hash: previous }
        };
        (1..=events).map(link).collect()
    }

    /// What is told of a log that parts at a position.
    fn told(log: &[Link], position: i64) -> Option<Shift> {
        let at = usize::try_from(position).unwrap() - 1;
        let before: Vec<Hash> =
            std::iter::once(chain::genesis()).chain(log[..at].iter().map(|link| link.chain_hash)).collect();
        shift(position, &before, &log[at..])
    }

    #[test]
    fn events_that_are_chained_by_nothing_are_inserted_where_what_follows_goes_on_before_them() {
        for many in [1, 2, 200] {
            let mut log = log(20);
            let planted = Link { micros_since_2000: 0, item: [0; 32], chain_hash: [7; 32] };
            log.splice(4..4, std::iter::repeat_n(planted, many));
            let many = i64::try_from(many).unwrap();
            assert_eq!(told(&log, 5), Some(Shift::Inserted { first: 5, many }));
        }
    }

    #[test]
    fn events_that_are_chained_to_those_before_them_are_inserted_too() {
        for many in [1_u8, 2, 100] {
            let mut log = log(20);
            let mut previous = log[3].chain_hash;
            for n in 0..many {
                let entry = chain::entry(5 + i64::from(n), 0, &[0; 32]);
                previous = chain::link(&previous, &entry);
                let planted = Link { micros_since_2000: 0, item: [0; 32], chain_hash: previous };
                log.insert(4 + usize::from(n), planted);
            }
            // They fit: it is the one behind them that does not.
            assert_eq!(told(&log, 5 + i64::from(many)), Some(Shift::Inserted { first: 5, many: i64::from(many) }));
        }
    }

    #[test]
    fn events_are_taken_out_where_the_next_ones_were_numbered_higher() {
        for many in [1, 2, 12] {
            let mut log = log(20);
            log.drain(4..4 + many);
            let many = i64::try_from(many).unwrap();
            assert_eq!(told(&log, 5), Some(Shift::TakenOut { first: 5, many }));
        }
        let mut log = log(20);
        log.remove(0);
        assert_eq!(told(&log, 1), Some(Shift::TakenOut { first: 1, many: 1 }), "the first one");
    }

    #[test]
    fn events_that_changed_places_are_neither_inserted_nor_gone() {
        for (one, other) in [(4, 5), (4, 8), (18, 19), (4, 19)] {
            let mut log = log(20);
            log.swap(one, other);
            assert_eq!(told(&log, one as i64 + 1), None, "{one} and {other}");
        }
        let mut log = log(20);
        log[4..7].rotate_left(1);
        assert_eq!(told(&log, 5), None, "three of them");
        let mut log = self::log(20);
        log[4..].rotate_left(1);
        assert_eq!(told(&log, 5), None, "one behind all others");
    }

    #[test]
    fn an_event_that_was_edited_in_its_place_moved_nothing() {
        let mut log = log(20);
        log[4].micros_since_2000 += 1;
        assert_eq!(told(&log, 5), None);
        assert_eq!(told(&log[..5], 5), None, "nor the last one");
    }
}
