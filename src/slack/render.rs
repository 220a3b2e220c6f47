//! A build's card as the message that Slack is sent. Pure: no clock, no map order, no locale.
//!
//! The canonical bytes of a message are the JSON of [`Payload`] with its fixed key order. They are what is stored,
//! hashed, compared and posted. Limits are those that Slack documents (block kit and chat.postMessage references).

use serde::Serialize;
use sha2::{Digest, Sha256};
use slack_morphism::prelude::*;

use super::mrkdwn;
use crate::domain::deployment::State;
use crate::domain::ids::BuildId;
use crate::keys::Links;
use crate::projections::build_card::{BuildCard, Line, Reason};

/// Raised whenever the same card gives other bytes; messages remember which version rendered them.
pub const RENDER_VERSION: i32 = 1;
/// Up to so many environments get buttons; more get a menu. Slack: 25 elements in an actions block.
const BUTTONS_MAX: usize = 25;
/// Slack: 100 options in a menu, and 100 groups of them.
const OPTIONS_MAX: usize = 100;
/// Slack: 10 fields in a section.
const FIELDS_MAX: usize = 10;
/// Finished deployments that get a line of their own.
const FINISHED_MAX: usize = 20;
/// Slack: 100 attachments in a message; one is kept for "and N earlier".
const LINES_MAX: usize = 99;

/// Action id of the deploy buttons and of the deploy menu.
pub const DEPLOY_ACTION: &str = "deploy";
/// `event_type` of the metadata that a message is found again by.
pub const METADATA_TYPE: &str = "coolops_build";

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

/// Which build a message is about.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "plain facts")]
pub struct MetadataPayload {
    pub build_id: BuildId,
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

/// The value of a button: constant for the message's life. A press acts on the present state, never on what the
/// message showed.
pub fn button_value(build: BuildId, environment: crate::domain::ids::EnvironmentId) -> String {
    format!("v1.{build}.{environment}")
}

/// Address of a deployment's log page, with the capability to read it.
pub fn log_url(public_url: &str, links: &Links, id: crate::domain::ids::DeploymentId) -> String {
    format!("{}/deployments/{id}?key={}", public_url.trim_end_matches('/'), links.capability("deployments", id.0))
}

/// Address of a build's page, with the capability to read it.
pub fn build_url(public_url: &str, links: &Links, id: BuildId) -> String {
    format!("{}/builds/{id}?key={}", public_url.trim_end_matches('/'), links.capability("builds", id.0))
}

/// Renders a card.
pub fn render(card: &BuildCard, links: &Links) -> Payload {
    let mut blocks = vec![header(card)];
    let all = || mrkdwn::link(&build_url(&card.public_url, links, card.build_id), "see all");
    if !card.metadata.is_empty() {
        let fields = card.metadata.iter().take(FIELDS_MAX).map(|entry| {
            let title = mrkdwn::word(&entry.name, 60, 120);
            let value = mrkdwn::escape(&mrkdwn::cut(&entry.value, 300, 900));
            markdown(format!("*{title}*\n{}", if value.trim().is_empty() { "–" } else { &value }))
        });
        blocks.push(SlackSectionBlock::new().with_fields(fields.collect()).into());
    }
    if card.metadata.len() > FIELDS_MAX {
        blocks.push(context(format!("and {} more fields: {}", card.metadata.len() - FIELDS_MAX, all())));
    }
    if !card.environments.is_empty() {
        blocks.push(actions(card));
    }
    let shown = shown_lines(&card.lines);
    let hidden = card.lines.len() - shown.len();
    let mut attachments = Vec::with_capacity(shown.len() + 1);
    if hidden > 0 {
        let text = format!("and {hidden} earlier {}: {}", if hidden == 1 { "deployment" } else { "deployments" }, all());
        attachments.push(SlackMessageAttachment::new().with_blocks(vec![context(text)]));
    }
    attachments.extend(shown.iter().map(|line| attachment(line, &card.public_url, links)));
    Payload {
        text: fallback(card, &shown),
        blocks,
        attachments,
        metadata: Metadata { event_type: METADATA_TYPE, event_payload: MetadataPayload { build_id: card.build_id } },
    }
}

/// Every open line, and the newest finished ones that fit; in the order of the presses.
fn shown_lines(lines: &[Line]) -> Vec<&Line> {
    let open = lines.iter().filter(|l| !l.state.is_over()).count();
    let room = LINES_MAX.saturating_sub(open).min(FINISHED_MAX);
    let finished = lines.len() - open;
    let (mut skip_finished, mut skip_open) = (finished.saturating_sub(room), open.saturating_sub(LINES_MAX));
    let keep = |line: &&Line| {
        let skip = if line.state.is_over() { &mut skip_finished } else { &mut skip_open };
        let keep = *skip == 0;
        *skip = skip.saturating_sub(1);
        keep
    };
    lines.iter().filter(keep).collect()
}

fn header(card: &BuildCard) -> SlackBlock {
    let text = mrkdwn::cut(&format!("{}: {}", card.project_name, card.build_name).replace(['\n', '\t'], " "), 150, 150);
    SlackHeaderBlock::new(plain(text)).into()
}

fn actions(card: &BuildCard) -> SlackBlock {
    let label = |name: &str| mrkdwn::cut(name, 75, 75);
    let value = |id| button_value(card.build_id, id);
    if card.environments.len() <= BUTTONS_MAX {
        let buttons = card.environments.iter().enumerate().map(|(n, e)| {
            SlackBlockButtonElement::new(plain(label(&format!("Deploy to {}", e.name))))
                .with_action_id(format!("{DEPLOY_ACTION}.{n}").into())
                .with_value(value(e.id))
                .into()
        });
        return SlackActionsBlock::new(buttons.collect()).with_block_id(DEPLOY_ACTION.to_owned().into()).into();
    }
    let options = || card.environments.iter().map(|e| SlackBlockChoiceItem::new(plain(label(&e.name)), value(e.id)));
    let menu = SlackBlockStaticSelectElement::new()
        .with_action_id(format!("{DEPLOY_ACTION}.menu").into())
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
    SlackActionsBlock::new(vec![menu.into()]).with_block_id(DEPLOY_ACTION.to_owned().into()).into()
}

fn attachment(line: &Line, public_url: &str, links: &Links) -> SlackMessageAttachment {
    let (colour, words) = words(line);
    let sentence = format!("{} → *{}*: {words}", mrkdwn::mention(&line.user), mrkdwn::word(&line.environment, 60, 120));
    let ran = match (line.state.is_over(), line.started_at) {
        (true, Some(started)) => format!(" · ran {}", duration((line.since - started).num_seconds())),
        _ => String::new(),
    };
    let detail = format!(
        "{}{ran} · {}",
        mrkdwn::local_time(line.requested_at),
        mrkdwn::link(&log_url(public_url, links, line.deployment_id), "See logs")
    );
    let attachment =
        SlackMessageAttachment::new().with_blocks(vec![SlackSectionBlock::new().with_text(markdown(sentence)).into(), context(detail)]);
    match colour {
        Some(colour) => attachment.with_color(colour.to_owned()),
        None => attachment,
    }
}

/// The colour bar and the words of a line. The words say everything; the colour repeats it.
fn words(line: &Line) -> (Option<&'static str>, String) {
    let reason = || match &line.reason {
        Some(Reason::Failed(failure)) => format!(": {}", mrkdwn::word(&failure.sentence(&line.image), 300, 600)),
        Some(Reason::Lost(found)) => format!(": {}", mrkdwn::word(found, 300, 600)),
        Some(Reason::Resolved(reason)) => format!(", as a person decided: {}", mrkdwn::word(reason, 300, 600)),
        Some(Reason::Stopped(reason, exit_code)) => {
            let code = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
            format!(": {}{code}", mrkdwn::word(&reason.sentence(), 300, 600))
        }
        None => String::new(),
    };
    match line.state {
        State::Queued => {
            let behind = line.behind.as_deref().map(|b| format!(" behind *{}*", mrkdwn::word(b, 100, 200))).unwrap_or_default();
            (None, format!("*queued*{behind}"))
        }
        State::Ready => (None, "*queued*, waiting for a free worker".to_owned()),
        State::Starting => (Some("warning"), "*starting*".to_owned()),
        State::Running => (Some("warning"), "*running*".to_owned()),
        State::Cancelling => (Some("warning"), format!("*stopping*{}", reason())),
        State::TimedOut => (Some("danger"), format!(":x: *timed out*{}", reason())),
        State::Cancelled => (Some("danger"), format!(":no_entry_sign: *cancelled*{}", reason())),
        State::Succeeded => (Some("good"), format!(":white_check_mark: *succeeded*{}", reason())),
        State::Failed => (Some("danger"), format!(":x: *failed*{}", reason())),
        State::Unknown => {
            (Some("danger"), format!(":warning: *unknown*{}. The environment stays closed until an operator decides.", reason()))
        }
    }
}

fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

/// What notifications and screen readers say.
fn fallback(card: &BuildCard, shown: &[&Line]) -> String {
    let mut text = format!("{} has a new build: {}", mrkdwn::word(&card.project_name, 60, 120), mrkdwn::word(&card.build_name, 200, 400));
    for line in shown.iter().rev().take(5) {
        text.push_str(&format!("\n{}: {}", mrkdwn::word(&line.environment, 60, 120), line.state.word()));
    }
    text
}

fn plain(text: String) -> SlackBlockPlainTextOnly {
    SlackBlockPlainText::new(text).into()
}

fn markdown(text: String) -> SlackBlockText {
    SlackBlockText::MarkDown(SlackBlockMarkDownText::new(text))
}

fn context(text: String) -> SlackBlock {
    SlackContextBlock::new(vec![SlackContextBlockElement::MarkDown(SlackBlockMarkDownText::new(text))]).into()
}
