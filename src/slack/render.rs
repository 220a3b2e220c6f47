//! A build's card as the message that Slack is sent. Pure: no clock, no map order, no locale.
//!
//! The canonical bytes of a message are the JSON of [`Payload`] with its fixed key order. They are what is stored,
//! hashed, compared and posted. Limits are those that Slack documents (block kit and chat.postMessage references).

use serde::Serialize;
use sha2::{Digest, Sha256};
use slack_morphism::prelude::*;

use super::button::{self, Button};
use super::line::{attachment, brief, fact, full};
use super::{facts, mrkdwn};
use crate::domain::build::ButtonFor;
use crate::domain::ids::{BuildId, ReportId};
use crate::domain::project::Project;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::timed::Timed;

/// Raised whenever the same card gives other bytes; messages remember which version rendered them.
pub const RENDER_VERSION: i32 = 10;
/// Up to so many environments get buttons; more get a menu. Slack: 25 elements in an actions block.
const BUTTONS_MAX: usize = 25;
/// Slack: 100 options in a menu, and 100 groups of them.
const OPTIONS_MAX: usize = 100;
/// Attachments in a message. Slack allows 100 and refused more than 20 with blocks in the wild.
const ATTACHMENTS_MAX: usize = 20;
/// Slack: 50 blocks in a message, those of attachments included.
const BLOCKS_MAX: usize = 50;
/// Most characters of all lines together, far from where Slack says `msg_blocks_too_long`.
const LINES_UNITS: usize = 12_000;
/// Slack: 300 characters in the text of a confirmation.
const CONFIRM_UNITS: usize = 300;
/// Slack: 3,000 characters in a section's text.
pub(super) const SECTION_UNITS: usize = 2_900;
/// Slack: 4,000 characters in the text of an edit.
const TEXT_UNITS: usize = 3_800;

/// `event_type` of the metadata that a message is found again by.
pub const METADATA_TYPE: &str = "coolops_build";
/// Of a report.
pub const REPORT_METADATA_TYPE: &str = "coolops_report";

/// What Slack is sent, without channel, ts and token.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Payload {
    pub text: String,
    pub blocks: Vec<SlackBlock>,
    pub attachments: Vec<SlackMessageAttachment>,
    pub metadata: Metadata,
}

/// Slack's message metadata. Values are texts: a number would make some clients fail to read the history.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Metadata {
    pub event_type: &'static str,
    pub event_payload: MetadataPayload,
}

/// What a message is: the one of a build, or a report.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "plain facts")]
pub enum MetadataPayload {
    Build { build_id: BuildId },
    Report { report_id: ReportId },
}

impl Metadata {
    /// Of a build's message.
    pub fn build(build_id: BuildId) -> Self {
        Self { event_type: METADATA_TYPE, event_payload: MetadataPayload::Build { build_id } }
    }

    /// Of a report.
    pub fn report(report_id: ReportId) -> Self {
        Self { event_type: REPORT_METADATA_TYPE, event_payload: MetadataPayload::Report { report_id } }
    }
}

impl Payload {
    /// The canonical bytes.
    pub fn bytes(&self) -> String {
        serde_json::to_string(self).expect("a payload is plain data")
    }
}

/// SHA-256 of canonical bytes.
pub fn digest(bytes: &str) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Address of a deployment's log page, with the capability to read it.
pub fn log_url(public_url: &str, links: &Links, id: crate::domain::ids::DeploymentId) -> String {
    format!("{}/deployments/{id}?key={}", public_url.trim_end_matches('/'), links.capability("deployments", id.0))
}

/// Address of a build's page, with the capability to read it.
pub fn build_url(public_url: &str, links: &Links, id: BuildId) -> String {
    format!("{}/builds/{id}?key={}", public_url.trim_end_matches('/'), links.capability("builds", id.0))
}

/// Address of a project's page, with the capability to read it.
pub fn project_url(public_url: &str, links: &Links, project: &Project) -> String {
    let (base, key) = (public_url.trim_end_matches('/'), links.capability("projects", project.id.0));
    format!("{base}/projects/{}?key={key}", project.slug)
}

/// Renders a card.
pub fn render(card: &BuildCard, links: &Links) -> Payload {
    let page = build_url(&card.public_url, links, card.build_id);
    let all = || mrkdwn::link(&page, "see all");
    let mut blocks = vec![header(card)];
    blocks.extend(posted_again(card).map(|said| context(said.to_owned())));
    blocks.extend(facts::blocks(card, &page));
    if !card.environments.is_empty() {
        blocks.push(actions(card));
    }
    let room = Budget { attachments: ATTACHMENTS_MAX, blocks: BLOCKS_MAX - blocks.len(), units: LINES_UNITS };
    let Shown { attachments, hidden } = room.full(card, links).unwrap_or_else(|| room.brief(card, links));
    let told = (hidden > 0).then(|| {
        let text =
            format!("and {hidden} {}: {}", if hidden == 1 { "other deployment" } else { "other deployments" }, all());
        SlackMessageAttachment::new().with_blocks(vec![context(text)])
    });
    Payload {
        text: fallback(card),
        blocks,
        attachments: attachments.into_iter().chain(told).collect(),
        metadata: Metadata::build(card.build_id),
    }
}

/// What a message says that is not the build's first.
fn posted_again(card: &BuildCard) -> Option<&'static str> {
    (card.posted.len() > 1).then_some("_Posted again: an earlier message of this build is gone or can't be edited._")
}

/// The same facts without any layout: what is sent when Slack refuses the layout.
pub fn render_plainly(card: &BuildCard, links: &Links) -> Payload {
    let mut text =
        format!("*{}: {}*", mrkdwn::word(&card.project_name, 60, 120), mrkdwn::word(&card.build_name, 200, 400));
    text.extend(posted_again(card).map(|said| format!("\n{said}")));
    let end = format!(
        "\nAll of it: {}",
        mrkdwn::link(&build_url(&card.public_url, links, card.build_id), "this build's page")
    );
    // What matters most comes first, and what does not fit is on the page.
    let (open, over): (Vec<&Timed>, Vec<&Timed>) =
        card.lines.iter().rev().partition(|l| !l.deployment.state().is_over());
    for line in open.into_iter().chain(over) {
        let more = format!("\n{}", brief(line, &card.public_url, links));
        if units(&text) + units(&more) + units(&end) > TEXT_UNITS {
            break;
        }
        text.push_str(&more);
    }
    text.push_str(&end);
    Payload { text, blocks: Vec::new(), attachments: Vec::new(), metadata: Metadata::build(card.build_id) }
}

/// Length as Slack counts it.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// What is left of a message for its lines.
#[derive(Clone, Copy)]
struct Budget {
    attachments: usize,
    blocks: usize,
    units: usize,
}

/// The lines that are shown, the newest first, and how many are not.
struct Shown {
    attachments: Vec<SlackMessageAttachment>,
    hidden: usize,
}

/// Blocks of a line with a colour.
const LINE_BLOCKS: usize = 3;

impl Budget {
    /// Every open line and, of each environment, the newest that has ended, each with a colour and what can be done with
    /// it, the newest press first; those that ended before in one piece beneath, a line of text each. Nothing when the
    /// open ones alone don't fit.
    fn full(self, card: &BuildCard, links: &Links) -> Option<Shown> {
        let length = |line: &Timed| {
            let (sentence, detail) = full(line);
            units(&sentence) + units(&detail)
        };
        let is_open = |line: &Timed| !line.deployment.state().is_over();
        // What is left beneath may be one piece of text, and one that counts what is not shown.
        let fits = |shown: usize| shown + 2 <= self.attachments && LINE_BLOCKS * shown + 2 <= self.blocks;
        let open = card.lines.iter().filter(|line| is_open(line));
        let (mut shown, mut used) = open.fold((0, 0), |(n, used), line| (n + 1, used + length(line)));
        if !fits(shown) || used > self.units {
            return None;
        }
        let mut ended_in = std::collections::HashSet::new();
        let (mut whole, mut older) = (Vec::new(), Vec::new());
        for line in card.lines.iter().rev() {
            if is_open(line) {
                whole.push(attachment(line, card, links));
                continue;
            }
            let more = length(line);
            let is_newest = ended_in.insert(line.deployment.of.environment_id);
            if is_newest && fits(shown + 1) && used + more <= self.units {
                (shown, used) = (shown + 1, used + more);
                whole.push(attachment(line, card, links));
            } else {
                older.push(brief(line, &card.public_url, links));
            }
        }
        let mut folded = String::new();
        let mut told = 0;
        for text in &older {
            let most = SECTION_UNITS.min(self.units - used);
            if units(&folded) + units(text) + 1 > most {
                break;
            }
            if told > 0 {
                folded.push('\n');
            }
            folded.push_str(text);
            told += 1;
        }
        if told > 0 {
            whole.push(SlackMessageAttachment::new().with_blocks(vec![context(folded)]));
        }
        Some(Shown { attachments: whole, hidden: older.len() - told })
    }

    /// So many are open that each gets one line of text: the newest that fit, several to a section.
    fn brief(self, card: &BuildCard, links: &Links) -> Shown {
        let sections = (self.attachments - 1).min(self.blocks - 1);
        let (mut texts, mut told, mut left): (Vec<String>, usize, usize) = (Vec::new(), 0, self.units);
        for line in card.lines.iter().rev().filter(|l| !l.deployment.state().is_over()) {
            let text = brief(line, &card.public_url, links);
            let length = units(&text) + 1;
            let fits = texts.last().is_some_and(|last| units(last) + length <= SECTION_UNITS);
            if length > left || (!fits && texts.len() == sections) {
                break;
            }
            match texts.last_mut().filter(|_| fits) {
                Some(last) => last.push_str(&format!("\n{text}")),
                None => texts.push(text),
            }
            told += 1;
            left -= length;
        }
        let section = |text| {
            SlackMessageAttachment::new().with_blocks(vec![SlackSectionBlock::new().with_text(markdown(text)).into()])
        };
        Shown { hidden: card.lines.len() - told, attachments: texts.into_iter().map(section).collect() }
    }
}

fn header(card: &BuildCard) -> SlackBlock {
    let text = mrkdwn::cut(&format!("{}: {}", card.project_name, card.build_name).replace(['\n', '\t'], " "), 150, 150);
    SlackHeaderBlock::new(plain(text)).into()
}

fn actions(card: &BuildCard) -> SlackBlock {
    let label = |name: &str| mrkdwn::cut(name, 75, 75);
    let value = |environment| Button { build: card.build_id, environment }.value();
    if card.environments.len() <= BUTTONS_MAX {
        let buttons = card.environments.iter().enumerate().map(|(n, e)| {
            let button = SlackBlockButtonElement::new(plain(label(&format!("Deploy to {}", e.name))))
                .with_action_id(button::action(n).into())
                .with_value(value(e.id));
            let asked = |button: SlackBlockButtonElement| {
                button.with_style(SlackBlockButtonStyle::Danger).with_confirm(confirm(card, &[e]))
            };
            if e.protected { asked(button) } else { button }.into()
        });
        return SlackActionsBlock::new(buttons.collect()).with_block_id(button::block().into()).into();
    }
    let options = || card.environments.iter().map(|e| SlackBlockChoiceItem::new(plain(label(&e.name)), value(e.id)));
    let menu = SlackBlockStaticSelectElement::new()
        .with_action_id(button::menu_action().into())
        .with_placeholder(plain("Deploy to …".to_owned()));
    let menu = if card.environments.len() <= OPTIONS_MAX {
        menu.with_options(options().collect())
    } else {
        let all: Vec<_> = options().collect();
        let group = |(n, part): (usize, &[SlackBlockChoiceItem<SlackBlockPlainTextOnly>])| {
            let first = n * OPTIONS_MAX + 1;
            SlackBlockOptionGroup::new(plain(format!("{first} to {}", first + part.len() - 1)), part.to_vec())
        };
        menu.with_option_groups(all.chunks(OPTIONS_MAX).enumerate().map(group).collect())
    };
    // A menu asks for all of its entries, or for none.
    let protected: Vec<&ButtonFor> = card.environments.iter().filter(|e| e.protected).collect();
    let menu = if protected.is_empty() { menu } else { menu.with_confirm(confirm(card, &protected)) };
    SlackActionsBlock::new(vec![menu.into()]).with_block_id(button::menu_block(card.version).into()).into()
}

/// What is asked back before a press counts that may be for one of these.
fn confirm(card: &BuildCard, protected: &[&ButtonFor]) -> SlackBlockConfirmItem {
    let build = mrkdwn::cut(&card.build_name, 100, 100);
    let (title, text) = match protected {
        [one] => (format!("Deploy to {}?", one.name), format!("{build} goes to {}, which is protected.", one.name)),
        all => {
            let names = all.iter().map(|e| e.name.as_str()).collect::<Vec<_>>().join(", ");
            let text = format!("{build} goes to the environment that you chose. Protected are: {names}");
            ("Deploy?".to_owned(), text)
        }
    };
    asked_back(&title, &text, "Deploy", "Don't").with_style("danger".to_owned())
}

/// Slack's own dialog before a press counts: its title and text, and the words for yes and no. The text is plain: Slack's
/// page says so by now.
pub(super) fn asked_back(title: &str, text: &str, yes: &str, no: &str) -> SlackBlockConfirmItem {
    let text = mrkdwn::cut(&mrkdwn::clean(text).replace('\n', " "), CONFIRM_UNITS, CONFIRM_UNITS);
    SlackBlockConfirmItem::new(
        plain(mrkdwn::cut(title, 100, 100)),
        SlackBlockText::Plain(SlackBlockPlainText::new(text)),
        plain(yes.to_owned()),
        plain(no.to_owned()),
    )
}

/// What notifications, phones and screen readers say: the latest fact whole, or that there is a new build.
fn fallback(card: &BuildCard) -> String {
    let (project, build) = (mrkdwn::word(&card.project_name, 60, 120), mrkdwn::word(&card.build_name, 200, 400));
    let Some(line) = card.lines.iter().max_by_key(|line| line.since) else {
        return format!("{project} has a new build: {build}");
    };
    format!("{project} {build}: {}", fact(line, true))
}

pub(super) fn plain(text: String) -> SlackBlockPlainTextOnly {
    SlackBlockPlainText::new(text).into()
}

/// Text in which nothing becomes a link or a mention that we did not make one.
pub(super) fn section(text: String) -> SlackBlock {
    SlackSectionBlock::new().with_text(markdown(text)).into()
}

pub(super) fn markdown(text: String) -> SlackBlockText {
    SlackBlockText::MarkDown(SlackBlockMarkDownText::new(text).with_verbatim(true))
}

pub(super) fn context(text: String) -> SlackBlock {
    SlackContextBlock::new(vec![SlackContextBlockElement::MarkDown(
        SlackBlockMarkDownText::new(text).with_verbatim(true),
    )])
    .into()
}
