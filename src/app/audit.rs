//! Checking the log: the chain, the journals that it seals, and that every message says what the log says.
//!
//! One pass over the events. What it holds grows with the builds and deployments, some hundred bytes each, not with events and output.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::App;
use crate::domain::deployment::LogSeal;
use crate::domain::event::SEALING;
use crate::domain::ids::{BuildId, DeploymentId};
use crate::keys;
use crate::projections::build_card::BuildCard;
use crate::slack::render::{self, RENDER_VERSION};
use crate::store::chain;
use crate::store::copy_out::Row;
use crate::store::messages::Audited;

/// What an audit found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Events whose chain was checked.
    pub events: i64,
    /// The chain's head, hex: what to compare with one kept elsewhere.
    pub head: String,
    /// Output journals checked.
    pub journals: usize,
    /// Messages rendered anew and compared with what Slack was last sent.
    pub messages: usize,
    /// Messages sent by another version of the renderer: only their stored bytes were checked.
    pub messages_of_other_versions: usize,
    /// Messages that Slack has not been sent the latest of yet.
    pub messages_behind: i64,
    /// Messages that can't be compared because a master key is missing, by the missing key's id.
    pub unchecked: BTreeMap<String, usize>,
    /// What is not as it was written: position or place, and field. Empty when all is well.
    pub findings: Vec<String>,
}

/// Findings past this many are not listed: one early change breaks every later link.
const FINDINGS_MAX: usize = 20;

impl Report {
    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

struct Audit<'a> {
    app: &'a App,
    report: Report,
    previous: chain::Hash,
    /// The head as it stood before the scan: the log must reach it, with that hash.
    head: (i64, Vec<u8>),
    sent: HashMap<BuildId, Audited>,
    cards: HashMap<BuildId, Option<BuildCard>>,
    with_journal: HashSet<DeploymentId>,
    seals: HashMap<DeploymentId, LogSeal>,
}

impl App {
    /// Checks the chain, the journals and the stored payloads; with `messages` also renders every message anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self, messages: bool) -> Result<Report, sqlx::Error> {
        let mut audit = Audit {
            app: self,
            report: Report::default(),
            previous: chain::genesis(),
            head: self.store.head().await?,
            sent: HashMap::new(),
            cards: HashMap::new(),
            with_journal: self.store.journals().await?.into_iter().collect(),
            seals: HashMap::new(),
        };
        for sent in self.store.sent_messages().await? {
            if sent.payload_digest != sent.sent_digest {
                audit.report.find(format!("message of build {}: sent_payload", sent.build_id));
            }
            if messages && sent.render_version == RENDER_VERSION {
                audit.sent.insert(sent.build_id, sent);
            } else if messages {
                audit.report.messages_of_other_versions += 1;
            }
        }
        self.store.scan(0, |row| audit.event(row)).await?;
        let Audit { mut report, previous, head, sent, with_journal, seals, .. } = audit;
        report.head = hex::encode(previous);
        if report.findings.is_empty() {
            if report.events < head.0 {
                report.find(format!("event {}: missing (event_head says that there are {})", report.events + 1, head.0));
            }
            for (build, _) in sent {
                report.find(format!("message of build {build}: sent_position is not in the log"));
            }
        }
        let sealed = seals.keys().copied();
        let journals: HashSet<DeploymentId> = with_journal.into_iter().chain(sealed).collect();
        for deployment in journals {
            report.journals += 1;
            if let Some(finding) = self.store.verify_journal(deployment, seals.get(&deployment)).await? {
                report.find(finding);
            }
        }
        report.messages_behind = self.store.messages_behind().await?;
        Ok(report)
    }
}

impl Audit<'_> {
    /// Checks one event; `false` when nothing after it can be judged.
    fn event(&mut self, row: &Row<'_>) -> bool {
        let expected = self.report.events + 1;
        if row.position != expected {
            self.report.find(format!("event {expected}: missing (the next one is {})", row.position));
            return false;
        }
        let body = chain::body_hash(row.payload.as_bytes());
        if row.body_hash != body {
            self.report.find(format!("event {expected}: payload"));
            return false;
        }
        let item = chain::item_hash(&row.header, &body);
        let link = chain::link(&self.previous, row.position, row.micros_since_2000, &item);
        if row.chain_hash != link {
            self.report.find(format!("event {expected}: chain_hash (its header or time was changed, or an event before it)"));
            return false;
        }
        if expected == self.head.0 && self.head.1 != link {
            self.report.find(format!("event {expected}: event_head has another chain_hash"));
            return false;
        }
        self.previous = link;
        self.report.events = expected;
        self.content(row);
        true
    }

    fn content(&mut self, row: &Row<'_>) {
        let build = BuildId(row.header.correlation_id);
        let sealing = SEALING.contains(&row.header.kind);
        let wanted = self.sent.contains_key(&build);
        if !sealing && !wanted {
            return;
        }
        let event = match row.event() {
            Ok(event) => event,
            Err(e) => return self.report.find(e.to_string()),
        };
        // What printed nothing has nothing to check, unless there are chunks that the seal does not know.
        if let Some((deployment, seal)) = event.seal()
            && (seal.chunks > 0 || self.with_journal.contains(&deployment))
        {
            self.seals.insert(deployment, seal.clone());
        }
        if !wanted {
            return;
        }
        BuildCard::apply(self.cards.entry(build).or_default(), &event, row.recorded_at());
        if self.sent.get(&build).is_some_and(|sent| sent.sent_position == row.position) {
            let card = self.cards.remove(&build).flatten();
            self.compare(build, card);
        }
    }

    /// Renders a card where it was last sent, and compares.
    fn compare(&mut self, build: BuildId, card: Option<BuildCard>) {
        let Some(sent) = self.sent.remove(&build) else { return };
        let Some(card) = card else { return self.report.find(format!("message of build {build}: its registration is not in the log")) };
        let Some(links) = self.app.keys.links(&card.link_key) else {
            *self.report.unchecked.entry(keys::master_key_of(&card.link_key).to_owned()).or_default() += 1;
            return;
        };
        self.report.messages += 1;
        let digest = render::digest(&render::render(&card, &links).bytes());
        if sent.sent_digest != digest {
            self.report.find(format!("message of build {build}: sent_digest (rendered anew it is different)"));
        }
    }
}
