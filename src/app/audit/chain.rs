//! Whether the chain holds, reaches the head that the database has, and is the one that checkpoints were made of.

use super::Report;
use crate::app::App;
use crate::app::anchors::Anchors;
use crate::app::finding::{Finding, Kind};
use crate::proof::shift::{self, Link, Shift};
use crate::proof::{chain, tree};
use crate::store::copy_out::Row;
use crate::store::log::Head;

/// The chain as far as it was read.
pub(super) struct Chain {
    events: i64,
    previous: chain::Hash,
    /// The event whose hash does not follow from the one before it.
    parts_at: Option<i64>,
    /// The head as it stood before the events were read: the log must reach it, with that hash, at that time.
    head: Option<Head>,
    anchors: Anchors,
    findings: Vec<Finding>,
    /// That the head tells another time, where nothing else is said of it.
    head_time: Option<Finding>,
    is_broken: bool,
}

impl Chain {
    /// Before the first event.
    pub(super) fn of(head: Option<Head>, anchors: Anchors) -> Self {
        let (previous, findings) = (chain::genesis(), Vec::new());
        Self { events: 0, previous, parts_at: None, head, anchors, findings, head_time: None, is_broken: false }
    }

    /// Takes one more event; `false` when it does not belong there, and nothing after it can be judged.
    pub(super) fn goes_on(&mut self, row: &Row<'_>) -> bool {
        let found = self.break_at(row);
        self.is_broken = found.is_some() || self.parts_at.is_some();
        self.findings.extend(found);
        !self.is_broken
    }

    /// Whether it does not hold.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Where the chain does not hold; else it is one event longer. Why it parts is seen by what stands around there.
    fn break_at(&mut self, row: &Row<'_>) -> Option<Finding> {
        let expected = self.events + 1;
        if row.position < expected {
            let said = format!("event {}: inserted (before event {expected})", row.position);
            return Some(Finding::at(Kind::InsertedEvent, row.position, said));
        }
        if row.position != expected {
            let said = format!("event {expected}: missing (the next one is {})", row.position);
            return Some(Finding::at(Kind::MissingEvent, expected, said));
        }
        let body = chain::body_hash(row.payload.as_bytes());
        if row.body_hash != body {
            return Some(Finding::at(Kind::EditedBody, expected, format!("event {expected}: payload")));
        }
        let item = chain::item_hash(&row.header, &body);
        let entry = chain::entry(row.position, row.micros_since_2000, &item);
        let link = chain::link(&self.previous, &entry);
        if row.chain_hash != link {
            self.parts_at = Some(expected);
            return None;
        }
        if let Some(head) = self.head.as_ref().filter(|head| head.position == expected) {
            if head.hash != link {
                let said = format!("event {expected}: event_head has another chain_hash");
                return Some(Finding::at(Kind::RewrittenHead, expected, said));
            }
            if head.last_at != Some(row.recorded_at()) {
                let said = head.last_at.map_or("no time".to_owned(), |at| at.to_string());
                let at = row.recorded_at();
                let said = format!(
                    "event {expected}: event_head says that it was recorded at {said}, and not at {at}; later events would be recorded then"
                );
                self.head_time = Some(Finding::at(Kind::RewrittenHead, expected, said));
            }
        }
        self.previous = link;
        self.events = expected;
        self.anchors.leaf(tree::leaf(&entry));
        None
    }

    /// Tells what was found, and holds the last event against the head; comes back with the checkpoints, and with what is to be
    /// told of the head where they say nothing of it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn check(self, app: &App, report: &mut Report) -> Result<(Anchors, Option<Finding>), sqlx::Error> {
        let Self { events, previous, parts_at, head, anchors, findings, head_time, is_broken } = self;
        findings.into_iter().for_each(|finding| report.find(finding));
        if let Some(position) = parts_at {
            report.find(why_it_parts(app, position).await?);
        }
        (report.events, report.head) = (events, hex::encode(previous));
        if is_broken {
            return Ok((anchors, head_time));
        }
        let is_of_last = head.as_ref().is_some_and(|head| head.hash == previous);
        let (next, there) = (events + 1, head.map_or(0, |head| head.position));
        if events < there && is_of_last {
            let said = format!("event {events}: event_head says that it is event {there}");
            report.find(Finding::at(Kind::RewrittenHead, events, said));
        } else if events < there {
            let said = format!("event {next}: missing (event_head says that there are {there})");
            report.find(Finding::at(Kind::CutTail, next, said));
        }
        // What was appended since the head was read moved it.
        match app.store.log().head_there().await? {
            None => {
                let said =
                    "event_head is empty, so nothing can be appended; restore its row, or the database, from a dump";
                report.find(Finding::at(Kind::RewrittenHead, events.max(1), said));
            }
            Some(now) if events > now.position => {
                let (first, there) = (now.position + 1, now.position);
                let said = format!("event {first}: inserted (event_head says that there are {there})");
                report.find(Finding::at(Kind::InsertedEvent, first, said));
            }
            Some(_) => {}
        }
        Ok((anchors, head_time))
    }
}

/// Why the chain parts before an event.
async fn why_it_parts(app: &App, position: i64) -> Result<Finding, sqlx::Error> {
    let around = i64::try_from(shift::LOOKED_AT).unwrap_or(i64::MAX);
    let after = (position - around - 1).max(0);
    let (mut before, mut from) = (Vec::from_iter((after == 0).then(chain::genesis)), Vec::new());
    let visit = |row: &Row<'_>| {
        let chain_hash = chain::Hash::try_from(row.chain_hash).unwrap_or_default();
        if row.position < position {
            before.push(chain_hash);
        } else {
            let item = chain::item_hash(&row.header, &chain::body_hash(row.payload.as_bytes()));
            from.push(Link { micros_since_2000: row.micros_since_2000, item, chain_hash });
        }
        row.position < position + around
    };
    app.store.log().scan(after, visit).await?;
    let named = |first: i64, many: i64| match many {
        1 => format!("event {first}"),
        many => format!("events {first} to {}", first + many - 1),
    };
    Ok(match shift::shift(position, &before, &from) {
        Some(Shift::Inserted { first, many }) => {
            let (next, last) = (first + many, first - 1);
            let said = format!("{}: inserted (event {next} follows from event {last})", named(first, many));
            Finding::at(Kind::InsertedEvent, first, said)
        }
        Some(Shift::TakenOut { first, many }) => {
            let said = format!("{}: missing (those behind were moved up to close the gap)", named(first, many));
            Finding::at(Kind::MissingEvent, first, said)
        }
        None => {
            let said =
                format!("event {position}: chain_hash (its header, its time, or words and their hash were changed)");
            Finding::at(Kind::EditedHeader, position, said)
        }
    })
}
