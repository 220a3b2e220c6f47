//! Whether the chain holds, reaches the head that the database has, and is the one that checkpoints were made of.

use super::Report;
use crate::app::App;
use crate::app::anchors::Anchors;
use crate::app::finding::{Finding, Kind};
use crate::proof::{chain, tree};
use crate::store::copy_out::Row;
use crate::store::log::Head;

/// The chain as far as it was read.
pub(super) struct Chain {
    events: i64,
    previous: chain::Hash,
    /// The link before that one.
    before: chain::Hash,
    /// The head as it stood before the events were read: the log must reach it, with that hash, at that time.
    head: Option<Head>,
    anchors: Anchors,
    findings: Vec<Finding>,
    is_broken: bool,
}

impl Chain {
    /// Before the first event.
    pub(super) fn of(head: Option<Head>, anchors: Anchors) -> Self {
        let genesis = chain::genesis();
        let (previous, before, findings) = (genesis, genesis, Vec::new());
        Self { events: 0, previous, before, head, anchors, findings, is_broken: false }
    }

    /// Takes one more event; `false` when it does not belong there, and nothing after it can be judged.
    pub(super) fn goes_on(&mut self, row: &Row<'_>) -> bool {
        let found = self.break_at(row);
        self.is_broken = found.is_some();
        self.findings.extend(found);
        !self.is_broken
    }

    /// Whether it does not hold.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Where the chain does not hold; else it is one event longer.
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
            // Somebody who makes room for another event moves those behind it, and can't move what they are chained by.
            let moved = chain::entry(self.events, row.micros_since_2000, &item);
            if self.events > 0 && row.chain_hash == chain::link(&self.before, &moved) {
                let (inserted, next) = (self.events, expected);
                let said = format!("event {inserted}: inserted (event {next} follows from the one before it)");
                return Some(Finding::at(Kind::InsertedEvent, inserted, said));
            }
            let said = format!("event {expected}: chain_hash (its header or time was changed, or an event before it)");
            return Some(Finding::at(Kind::EditedHeader, expected, said));
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
                self.findings.push(Finding::at(Kind::RewrittenHead, expected, said));
            }
        }
        self.before = std::mem::replace(&mut self.previous, link);
        self.events = expected;
        self.anchors.leaf(tree::leaf(&entry));
        None
    }

    /// Tells what was found, and holds the last event against the head; comes back with the checkpoints.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn check(self, app: &App, report: &mut Report) -> Result<Anchors, sqlx::Error> {
        let Self { events, previous, head, anchors, findings, is_broken, .. } = self;
        findings.into_iter().for_each(|finding| report.find(finding));
        (report.events, report.head) = (events, hex::encode(previous));
        if is_broken {
            return Ok(anchors);
        }
        let (next, there) = (events + 1, head.map_or(0, |head| head.position));
        if events < there {
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
        Ok(anchors)
    }
}
