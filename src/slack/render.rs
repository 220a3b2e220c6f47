//! A build's card as the message that Slack is sent. Pure: no clock, no map order, no locale.
//!
//! The canonical bytes of a message are the JSON of [`Payload`] with its fixed key order. They are what is stored,
//! hashed, compared and posted. Limits are those that Slack documents (block kit and chat.postMessage references).

use serde::Serialize;
use sha2::{Digest, Sha256};
use slack_morphism::prelude::*;

use super::button::{self, Button, Choice};
use super::mrkdwn;
use crate::domain::build::ButtonFor;
use crate::domain::deployment::{Deployment, Person, State, duration};
use crate::domain::ids::{BuildId, ReportId};
use crate::domain::project::Project;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::changes;
use crate::projections::timed::Timed;
use crate::projections::words::{self, Part, Words};

/// Raised whenever the same card gives other bytes; messages remember which version rendered them.
pub const RENDER_VERSION: i32 = 4;
/// Up to so many environments get buttons; more get a menu. Slack: 25 elements in an actions block.
const BUTTONS_MAX: usize = 25;
/// Slack: 100 options in a menu, and 100 groups of them.
const OPTIONS_MAX: usize = 100;
/// Slack: 10 fields in a section.
const FIELDS_MAX: usize = 10;
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
        Self { event_type: "coolops_report", event_payload: MetadataPayload::Report { report_id } }
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
    let mut blocks = vec![header(card)];
    let all = || mrkdwn::link(&build_url(&card.public_url, links, card.build_id), "see all");
    if !card.metadata.is_empty() {
        let fields = card.metadata.iter().take(FIELDS_MAX).map(|entry| {
            let title = mrkdwn::word(&entry.name, 60, 120);
            let value = mrkdwn::rich(&entry.value, 300, 900);
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
    blocks.push(context(mrkdwn::link(&build_url(&card.public_url, links, card.build_id), "All about this build")));
    let room = Room { attachments: ATTACHMENTS_MAX, blocks: BLOCKS_MAX - blocks.len(), units: LINES_UNITS };
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

/// The same facts without any layout: what is sent when Slack refuses the layout.
pub fn render_plainly(card: &BuildCard, links: &Links) -> Payload {
    let mut text =
        format!("*{}: {}*", mrkdwn::word(&card.project_name, 60, 120), mrkdwn::word(&card.build_name, 200, 400));
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
struct Room {
    attachments: usize,
    blocks: usize,
    units: usize,
}

/// The lines that are shown, the newest first, and how many are not.
struct Shown {
    attachments: Vec<SlackMessageAttachment>,
    hidden: usize,
}

impl Room {
    /// Every open line and the newest finished ones that fit, each with a colour; the newest press stands directly under
    /// the buttons. Nothing when the open ones alone don't fit.
    fn full(self, card: &BuildCard, links: &Links) -> Option<Shown> {
        let length = |line: &Timed| {
            let (sentence, detail) = full(line, &card.public_url, links);
            units(&sentence) + units(&detail)
        };
        let lines = |shown: usize, hidden: bool| {
            shown + usize::from(hidden) <= self.attachments && 2 * shown + usize::from(hidden) <= self.blocks
        };
        let open: Vec<bool> = card.lines.iter().map(|l| !l.deployment.state().is_over()).collect();
        let mut kept = open.clone();
        let mut shown = open.iter().filter(|o| **o).count();
        let mut used: usize = card.lines.iter().zip(&open).filter(|(_, open)| **open).map(|(l, _)| length(l)).sum();
        if !lines(shown, shown < card.lines.len()) || used > self.units {
            return None;
        }
        for (n, line) in card.lines.iter().enumerate().rev().filter(|(n, _)| !open[*n]) {
            let more = length(line);
            if !lines(shown + 1, shown + 1 < card.lines.len()) || used + more > self.units {
                break;
            }
            (kept[n], shown, used) = (true, shown + 1, used + more);
        }
        let newest = card.lines.iter().zip(&kept).rev().filter(|(_, kept)| **kept).map(|(line, _)| line);
        let attachments = newest.map(|line| attachment(line, card, links)).collect();
        Some(Shown { attachments, hidden: card.lines.len() - shown })
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

/// A line as one line of text.
fn brief(line: &Timed, public_url: &str, links: &Links) -> String {
    let d = &line.deployment;
    format!(
        "{}: {}{} · {}",
        pressed(d),
        said(d, 60, &mentioned),
        not_checked(d),
        mrkdwn::link(&log_url(public_url, links, d.of.deployment_id), "logs")
    )
}

fn mentioned(person: &Person) -> String {
    mrkdwn::mention(&person.user)
}

/// Who pressed, and for which environment.
fn pressed(deployment: &Deployment) -> String {
    let environment = mrkdwn::word(&deployment.environment_name, 60, 120);
    format!("{} → *{environment}*", mrkdwn::mention(&deployment.requested_by.user))
}

/// A line's sentence, and what stands smaller beneath it.
fn full(line: &Timed, public_url: &str, links: &Links) -> (String, String) {
    let d = &line.deployment;
    let sentence = format!("{}: {}{}", pressed(d), said(d, 300, &mentioned), printed(d));
    let detail = format!(
        "{}{}{} · {}",
        from_to(d),
        times(line),
        not_checked(d),
        mrkdwn::link(&log_url(public_url, links, d.of.deployment_id), "See logs")
    );
    (sentence, detail)
}

/// Which build it takes the place of, from when that is known.
pub(super) fn from_to(deployment: &Deployment) -> String {
    let before = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces.as_ref());
    let word = |name: &str| mrkdwn::word(name, 60, 120);
    match before.filter(|before| **before != deployment.build_name) {
        Some(before) => {
            format!("{} → {} · {}", word(before), word(&deployment.build_name), changes(deployment))
        }
        None => String::new(),
    }
}

/// Where what changed since then can be looked at, where that is known.
fn changes(deployment: &Deployment) -> String {
    let before = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces_source.as_ref());
    let url = before.zip(deployment.source.as_ref()).and_then(|(from, to)| changes::url(from, to));
    url.map(|url| format!("{} · ", mrkdwn::link(&url, "Changes"))).unwrap_or_default()
}

/// What it printed last when it failed.
pub(super) fn printed(deployment: &Deployment) -> String {
    match &Words::of(deployment).last_lines[..] {
        [] => String::new(),
        lines => format!("\n{}", code(lines)),
    }
}

/// Lines as code in which nothing has a meaning.
pub(super) fn code(lines: &[String]) -> String {
    let plain = |line: &String| mrkdwn::escape(&mrkdwn::cut(&mrkdwn::clean(line), 150, 300).replace('`', "'"));
    format!("```{}```", lines.iter().map(plain).collect::<Vec<_>>().join("\n"))
}

/// When what the line says came about, and how long its container ran.
pub(super) fn times(line: &Timed) -> String {
    let at = mrkdwn::local_time;
    match (line.deployment.state(), line.started_at) {
        (state, started) if state.is_over() => {
            let ran = line.ran(line.since).filter(|_| started.is_some());
            format!("ended {}{}", at(line.since), ran.map(|s| format!(" · ran {}", duration(s))).unwrap_or_default())
        }
        (State::Unknown, _) => format!("since {}", at(line.since)),
        (_, Some(started)) => format!("started {}", at(started)),
        (_, None) => format!("pressed {}", at(line.requested_at)),
    }
}

/// Which image runs, where nobody could ask whether it is still the one that is meant.
fn not_checked(deployment: &Deployment) -> String {
    let told = |image| {
        format!(" · runs {}, which the registry could not be asked about", mrkdwn::word(&short_digest(image), 100, 200))
    };
    words::unchecked(deployment).map(told).unwrap_or_default()
}

/// A digest as people compare it: `name@sha256:` and the first twelve digits.
fn short_digest(image: &str) -> String {
    let hex = image.rfind("sha256:").map_or(image.len(), |at| at + "sha256:".len() + 12);
    image.get(..hex).unwrap_or(image).to_owned()
}

fn attachment(line: &Timed, card: &BuildCard, links: &Links) -> SlackMessageAttachment {
    let (sentence, detail) = full(line, &card.public_url, links);
    let section = SlackSectionBlock::new().with_text(markdown(sentence));
    let section = match menu(&line.deployment, card) {
        Some(menu) => section.with_block_id(button::line(line.deployment.of.deployment_id).into()).with_accessory(menu),
        None => section,
    };
    let attachment = SlackMessageAttachment::new().with_blocks(vec![section.into(), context(detail)]);
    match colour(line.deployment.state()) {
        Some(colour) => attachment.with_color(colour.to_owned()),
        None => attachment,
    }
}

/// What can be done with a line: *Cancel* while it is open, a menu when it has ended; nothing while it stops, or when
/// only an operator can tell how it stands. Slack documented two entries as the least for a menu, so one is a button.
fn menu(deployment: &Deployment, card: &BuildCard) -> Option<SlackSectionBlockElement> {
    let action = || button::line(deployment.of.deployment_id).into();
    let stop = |what: String| {
        let build = mrkdwn::cut(&deployment.build_name, 100, 100);
        let text = format!("{build} on {}: {what}", deployment.environment_name);
        SlackBlockButtonElement::new(plain("Cancel".to_owned()))
            .with_action_id(action())
            .with_value(Choice::Cancel(deployment.of.deployment_id).value())
            .with_confirm(asked_back("Cancel it?", &text, "Cancel it", "Let it be").with_style("danger".to_owned()))
            .into()
    };
    match deployment.state() {
        State::Queued => Some(stop("it waits, and will not start.".to_owned())),
        State::Ready | State::Pulling | State::Starting => Some(stop("it will not start.".to_owned())),
        State::Running => Some(stop(format!(
            "its container gets SIGTERM, and SIGKILL {} later. What it did stays done.",
            duration(deployment.stop_grace_seconds.into())
        ))),
        State::Cancelling | State::Unknown => None,
        State::Succeeded | State::Failed | State::TimedOut | State::Cancelled | State::Refused => {
            let environment = deployment.of.environment_id;
            let entry =
                |label: &str, choice: Choice| SlackBlockChoiceItem::new(plain(label.to_owned()), choice.value());
            let entries = vec![
                entry("Deploy again", Choice::Again(Button { build: card.build_id, environment })),
                entry("Roll back …", Choice::Rollback(environment)),
            ];
            Some(SlackBlockOverflowElement::new(entries).with_action_id(action()).into())
        }
    }
}

/// The colour bar of a line: it repeats what the words say.
fn colour(state: State) -> Option<&'static str> {
    match state {
        State::Queued | State::Ready => None,
        State::Pulling | State::Starting | State::Running | State::Cancelling => Some("warning"),
        State::TimedOut | State::Cancelled | State::Refused | State::Failed | State::Unknown => Some("danger"),
        State::Succeeded => Some("good"),
    }
}

/// How a deployment goes, with what others wrote cut to so many characters, and people as `who` tells them.
pub(super) fn said(deployment: &Deployment, longest: usize, who: &dyn Fn(&Person) -> String) -> String {
    let icon = match deployment.state() {
        State::TimedOut | State::Failed => ":x: ",
        State::Cancelled | State::Refused => ":no_entry_sign: ",
        State::Succeeded => ":white_check_mark: ",
        State::Unknown => ":warning: ",
        _ => "",
    };
    let Words { state, completed, joint, reason, afterwards, last_lines: _ } = Words::of(deployment);
    let part = |part: &Part| match part {
        Part::Build(_) => format!("*{}*", plainly(part, longest)),
        Part::Who(person) => who(person),
        Part::At(at) => mrkdwn::local_time(*at),
        Part::Ours(_) | Part::Said(_) => plainly(part, longest),
    };
    let reason: String = reason.iter().map(part).collect();
    let joint = if reason.is_empty() { "" } else { joint };
    let afterwards = afterwards.map(|text| format!(". {text}")).unwrap_or_default();
    format!("{icon}*{state}*{completed}{joint}{reason}{afterwards}")
}

/// What notifications, phones and screen readers say: the latest fact whole, or that there is a new build.
fn fallback(card: &BuildCard) -> String {
    let (project, build) = (mrkdwn::word(&card.project_name, 60, 120), mrkdwn::word(&card.build_name, 200, 400));
    let Some(line) = card.lines.iter().max_by_key(|line| line.since) else {
        return format!("{project} has a new build: {build}");
    };
    format!("{project} {build}: {}", fact(line, true))
}

/// How a line stands in one sentence of plain text, with or without who pressed.
pub(super) fn fact(line: &Timed, with_who: bool) -> String {
    let d = &line.deployment;
    let who = if with_who { format!(", {}", mrkdwn::word(&d.requested_by.name, 80, 160)) } else { String::new() };
    let words = Words::of(d);
    let reason: String = words.reason.iter().map(|part| plainly(part, 300)).collect();
    let reason = match words.joint {
        _ if reason.is_empty() => reason,
        ": " if !reason.contains('(') => format!(" ({})", reason.trim_end_matches('.')),
        joint => format!("{joint}{reason}"),
    };
    let ran = line.ran(line.since).filter(|_| d.state().is_over());
    let after = ran.map(|seconds| format!(" after {}", duration(seconds))).unwrap_or_default();
    format!(
        "{} {}{}{after}{reason}{who}{}",
        mrkdwn::word(&d.environment_name, 60, 120),
        words.state,
        words.completed,
        words.afterwards.map(|text| format!(". {text}")).unwrap_or_default()
    )
}

/// A piece of a sentence without any emphasis.
fn plainly(part: &Part, longest: usize) -> String {
    match part {
        Part::Ours(text) => (*text).to_owned(),
        Part::Said(text) => mrkdwn::word(text, longest, 2 * longest),
        Part::Build(name) => mrkdwn::word(name, 100, 200),
        Part::Who(person) => mrkdwn::word(&person.name, 80, 160),
        Part::At(at) => at.format("%Y-%m-%d %H:%M UTC").to_string(),
    }
}

pub(super) fn plain(text: String) -> SlackBlockPlainTextOnly {
    SlackBlockPlainText::new(text).into()
}

/// Text in which nothing becomes a link or a mention that we did not make one.
pub(super) fn markdown(text: String) -> SlackBlockText {
    SlackBlockText::MarkDown(SlackBlockMarkDownText::new(text).with_verbatim(true))
}

pub(super) fn context(text: String) -> SlackBlock {
    SlackContextBlock::new(vec![SlackContextBlockElement::MarkDown(
        SlackBlockMarkDownText::new(text).with_verbatim(true),
    )])
    .into()
}
