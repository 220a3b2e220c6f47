//! Whether every message says what the log says, and is edited where it was posted.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Report, Trust};
use crate::app::App;
use crate::app::finding::{Finding, Kind};
use crate::domain::event::Event;
use crate::domain::ids::BuildId;
use crate::domain::react::Task;
use crate::keys::{self, code::Code};
use crate::projections::build_card::BuildCard;
use crate::slack::render::{self, RENDER_VERSION};
use crate::store::copy_out;
use crate::store::log::ReadError;
use crate::store::messages::{Audited, LastSent, MessageState};

/// What Slack was sent of builds, and what the log says of them so far.
#[derive(Default)]
pub(super) struct Messages {
    /// All that can be are rendered anew.
    is_wanted: bool,
    /// Where the message of each build stands, as its row says.
    rows: HashMap<BuildId, Row>,
    /// What was sent last, until the event is reached that it was made of.
    sent: HashMap<BuildId, LastSent>,
    cards: HashMap<BuildId, Option<BuildCard>>,
    /// Messages that are not what the log says.
    differing: Vec<(BuildId, LastSent)>,
    /// The builds that there are: one that was never registered has no message.
    registered: HashSet<BuildId>,
    posted: HashMap<BuildId, Posted>,
    /// The column of a message's row that can't be as it was written, and the position that the row names.
    wrong: BTreeMap<BuildId, (i64, &'static str)>,
}

struct Row {
    state: MessageState,
    channel: String,
    ts: Option<String>,
    /// It is known what Slack was sent.
    is_known: bool,
}

/// What the log says of where a build's message is.
struct Posted {
    /// The event that says so last.
    position: i64,
    /// One of those that say so says what its row does.
    is_there: bool,
}

impl Messages {
    /// What was sent, as it is stored. It is rendered anew where that `is_wanted`, and where no code tells that it is as it was
    /// noted.
    pub(super) fn as_sent(all: Vec<Audited>, is_wanted: bool, report: &mut Report) -> Self {
        let mut messages = Self { is_wanted, ..Self::default() };
        for Audited { build, state, channel, ts, sent } in all {
            messages.rows.insert(build, Row { state, channel, ts, is_known: sent.is_some() });
            let Some(sent) = sent else { continue };
            let can_render = sent.render_version == Some(RENDER_VERSION);
            let column = match (state, sent.render_version) {
                // What is not there was not sent.
                (MessageState::Posting | MessageState::Gone, _) => Some("state"),
                (_, None) => Some("render_version"),
                _ if sent.code == Code::Wrong && !can_render => Some("sent_code"),
                _ => None,
            };
            if let Some(column) = column {
                messages.wrong.insert(build, (sent.position, column));
            }
            if can_render && (is_wanted || sent.code != Code::Right) {
                messages.sent.insert(build, sent);
            } else if sent.code == Code::Right {
                report.messages_as_noted += 1;
            } else {
                report.messages_of_other_versions += 1;
            }
        }
        messages
    }

    /// One more event: where it is the one that a message was sent after, that is rendered anew.
    pub(super) fn event(&mut self, app: &App, row: &copy_out::Row<'_>, event: &Event, report: &mut Report) {
        match event {
            Event::BuildRegistered(e) => drop(self.registered.insert(e.build_id)),
            Event::MessagePosted(e) if self.registered.contains(&e.build_id) => {
                let of_row = self.rows.get(&e.build_id);
                let is_there =
                    of_row.is_some_and(|of_row| of_row.channel == e.channel && of_row.ts.as_ref() == Some(&e.ts));
                let was_there = self.posted.get(&e.build_id).is_some_and(|posted| posted.is_there);
                self.posted.insert(e.build_id, Posted { position: row.position, is_there: was_there || is_there });
            }
            _ => {}
        }
        let build = BuildId(row.header.correlation_id);
        let Some(sent) = self.sent.get(&build) else { return };
        BuildCard::apply(self.cards.entry(build).or_default(), event, row.recorded_at());
        if sent.position == row.position
            && let Some(sent) = self.sent.remove(&build)
        {
            let card = self.cards.remove(&build).flatten();
            self.compare(app, (build, sent), card, report);
        }
    }

    /// Nothing can be said of a build's message.
    pub(super) fn leave_out(&mut self, build: BuildId) {
        self.sent.remove(&build);
        self.cards.remove(&build);
    }

    /// Renders a card as it was last sent, and compares.
    fn compare(&mut self, app: &App, of: (BuildId, LastSent), card: Option<BuildCard>, report: &mut Report) {
        let (build, sent) = &of;
        let Some(mut card) = card else {
            let said = format!("message of build {build}: its registration is not in the log");
            return report.find(Finding::at(Kind::ChangedMessage, sent.position, said));
        };
        let Some(links) = app.keys.links(&card.link_key) else {
            // A code under a master key that was taken out tells nothing either, and nobody asked for more than that.
            if self.is_wanted {
                *report.unchecked.entry(keys::master_key_of(&card.link_key).to_owned()).or_default() += 1;
            }
            return;
        };
        // It was rendered before the log said that it was posted.
        let ts = self.rows.get(build).and_then(|row| row.ts.clone());
        card.posted.extend(ts.filter(|ts| !card.posted.contains(ts)));
        report.messages += 1;
        let payload = if sent.is_plain { render::render_plainly(&card, &links) } else { render::render(&card, &links) };
        if sent.digest != render::digest(&payload.bytes()) {
            self.differing.push(of);
        }
    }

    /// Tells which messages are not what the log says, as far as that can be told; and those `with_other_bytes` than their
    /// digests say.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn check(
        mut self,
        app: &App,
        with_other_bytes: Vec<(BuildId, i64)>,
        trust: Trust,
        report: &mut Report,
    ) -> Result<(), sqlx::Error> {
        for (build, position) in with_other_bytes {
            let wrong = self.wrong.entry(build).or_insert((position, "sent_payload"));
            if wrong.1 == "sent_code" {
                wrong.1 = "sent_payload";
            }
        }
        for (build, (position, column)) in &self.wrong {
            report.find(Finding::at(Kind::ChangedMessage, *position, format!("message of build {build}: {column}")));
        }
        if trust.is_comparable {
            // What is edited elsewhere is rendered as if it had been posted there.
            let elsewhere = if trust.is_sound { self.check_places(app, report).await? } else { HashSet::new() };
            for (build, sent) in self.differing.iter().filter(|(build, _)| !elsewhere.contains(build)) {
                // What was erased since it was sent is being edited out of it; what has another code was never sent.
                let is_told = sent.code == Code::Wrong || !will_be_edited(app, *build).await?;
                let now = app.store.messages().get(*build).await?;
                let is_as_read = now.is_some_and(|now| now.sent_digest.as_ref() == Some(&sent.digest));
                if is_told && is_as_read {
                    let said = format!("message of build {build}: sent_digest (rendered anew it is different)");
                    report.find(Finding::at(Kind::ChangedMessage, sent.position, said));
                }
            }
        }
        if trust.is_sound {
            for (build, sent) in self.sent {
                let said = format!("message of build {build}: sent_position is not in the log");
                report.find(Finding::at(Kind::ChangedMessage, sent.position, said));
            }
        }
        Ok(())
    }

    /// Holds where messages are edited against where they were posted, as the log says; tells whose are elsewhere.
    async fn check_places(&self, app: &App, report: &mut Report) -> Result<HashSet<BuildId>, sqlx::Error> {
        let mut elsewhere = HashSet::new();
        for (build, Row { state, channel, ts, is_known }) in &self.rows {
            let (build, posted) = (*build, self.posted.get(build));
            // What is at work comes to its end, and the row is read again after it.
            if left_alone(*state, ts.as_deref(), *is_known).is_some() && !will_be_edited(app, build).await? {
                let now = app.store.messages().get(build).await?;
                let column = now.and_then(|now| left_alone(now.state, now.ts.as_deref(), now.sent_digest.is_some()));
                if let Some(column) = column {
                    let said = format!("message of build {build}: {column}");
                    report.find(Finding::about(Kind::ChangedMessage, posted.map(|posted| posted.position), said));
                }
            }
            let Some(ts) = ts.as_ref().filter(|_| *state == MessageState::Live) else { continue };
            let Some(Posted { position, .. }) = posted.filter(|posted| !posted.is_there) else { continue };
            // It may be on its way into the log, and has come there since that was read.
            if will_be_edited(app, build).await? {
                continue;
            }
            let is_posted = match app.store.log().build(build).await {
                Ok(events) => events
                    .iter()
                    .any(|r| matches!(&r.event, Event::MessagePosted(e) if e.channel == *channel && e.ts == *ts)),
                Err(ReadError::Database(e)) => return Err(e),
                Err(_) => continue,
            };
            if !is_posted {
                let said = format!("message of build {build}: it is edited elsewhere than it was posted");
                report.find(Finding::at(Kind::ChangedMessage, *position, said));
                elsewhere.insert(build);
            }
        }
        let without_row = self.posted.iter().filter(|(build, _)| !self.rows.contains_key(build));
        for (build, posted) in without_row {
            // Where Slack did not take it when it was posted again there is none either, and somebody goes on with it.
            if !will_be_edited(app, *build).await? && app.store.messages().get(*build).await?.is_none() {
                let said = format!("message of build {build}: its row is missing, and nobody brings it up to date");
                report.find(Finding::at(Kind::ChangedMessage, posted.position, said));
            }
        }
        Ok(elsewhere)
    }
}

/// Whether somebody is at a build's message, or will be. Asked before what was read is read again: whoever is done by then has
/// written it.
async fn will_be_edited(app: &App, build: BuildId) -> Result<bool, sqlx::Error> {
    app.store.jobs().will_be_done(Task::SyncMessage(build)).await
}

/// The column of a message's row that is as none stays: what waits for a channel is tried again, and what nobody knows is sent anew.
fn left_alone(state: MessageState, ts: Option<&str>, is_known: bool) -> Option<&'static str> {
    match state {
        MessageState::Blocked => Some("state (nobody tries to bring it up to date)"),
        MessageState::Live if ts.is_none() => Some("ts (Slack has it, and it has no name)"),
        MessageState::Live if !is_known => Some("sent_digest (nobody knows what was sent, or sends it anew)"),
        _ => None,
    }
}
