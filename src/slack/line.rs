//! A line of a build's message: how one deployment goes, and what can be done with it. Pure.

use slack_morphism::prelude::*;

use super::button::{self, Button, Choice};
use super::mrkdwn;
use super::render::{context, log_url, markdown, plain};
use crate::domain::deployment::{Deployment, Person, Somebody, State, duration};
use crate::domain::moment::to_the_minute;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::sites;
use crate::projections::timed::Timed;
use crate::projections::words::{self, Part, Words};

/// A line as one line of text.
pub(super) fn brief(line: &Timed, public_url: &str, links: &Links) -> String {
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
    let who = match &deployment.requested_by {
        Somebody::Person(person) => mrkdwn::mention(&person.user),
        Somebody::Operator { login } => format!("{} (operator)", mrkdwn::word(login, 80, 160)),
    };
    format!("{who} → *{environment}*")
}

/// A line's sentence, and what stands smaller beneath it.
pub(super) fn full(line: &Timed) -> (String, String) {
    let d = &line.deployment;
    let sentence = format!("{}: {}{}", pressed(d), said(d, 300, &mentioned), printed(d));
    (sentence, format!("{}{}{}", from_to(d), times(line), not_checked(d)))
}

/// Which build it takes the place of, and since when that was there, from when that is known.
pub(super) fn from_to(deployment: &Deployment) -> String {
    let Some(prepared) = &deployment.prepared else { return String::new() };
    let word = |name: &str| mrkdwn::word(name, 60, 120);
    match prepared.replaces.as_ref().filter(|before| **before != deployment.build_name) {
        Some(before) => {
            let since = prepared.replaces_since.map(|at| format!(" (since {})", mrkdwn::local_time(at)));
            let (before, after) = (word(before), word(&deployment.build_name));
            format!("{before}{} → {after} · {}", since.unwrap_or_default(), changes(deployment))
        }
        None => String::new(),
    }
}

/// Where what changed since then can be looked at, where that is known.
fn changes(deployment: &Deployment) -> String {
    let before = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces_source.as_ref());
    let url = before.zip(deployment.source.as_ref()).and_then(|(from, to)| sites::changes(from, to));
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
            let ended = line.ended_at().unwrap_or(line.since);
            format!("ended {}{}", at(ended), ran.map(|s| format!(" · ran {}", duration(s))).unwrap_or_default())
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

/// A line with a colour, and what can be done with it.
pub(super) fn attachment(line: &Timed, card: &BuildCard, links: &Links) -> SlackMessageAttachment {
    let (sentence, detail) = full(line);
    let section = SlackSectionBlock::new().with_text(markdown(sentence));
    let attachment = SlackMessageAttachment::new().with_blocks(vec![
        section.into(),
        context(detail),
        actions(&line.deployment, card, links),
    ]);
    match colour(line.deployment.state()) {
        Some(colour) => attachment.with_color(colour.to_owned()),
        None => attachment,
    }
}

/// What can be done with a line: *See logs*; *Cancel* while it is open, a menu when it has ended, neither while it stops
/// or only an operator can tell how it stands. Slack documented two entries as the least for a menu, so *Cancel* is a
/// button.
fn actions(deployment: &Deployment, card: &BuildCard, links: &Links) -> SlackBlock {
    let id = deployment.of.deployment_id;
    let (build, environment) = (&deployment.build_name, &deployment.environment_name);
    let label = mrkdwn::cut(&format!("See the logs of {build} on {environment}"), 75, 75);
    let logs = SlackBlockButtonElement::new(plain("See logs".to_owned()))
        .with_action_id(button::logs_action(id).into())
        .with_accessibility_label(label.into());
    // An address that can't be read is none: the build's page leads to the log as well.
    let logs = match url::Url::parse(&log_url(&card.public_url, links, id)) {
        Ok(url) => Some(logs.with_url(url)),
        Err(_) => None,
    };
    let cancel = || {
        let label = mrkdwn::cut(&format!("Cancel {build} on {environment}"), 75, 75);
        SlackBlockButtonElement::new(plain("Cancel …".to_owned()))
            .with_action_id(button::line(id).into())
            .with_value(Choice::AskCancel(id).value())
            .with_accessibility_label(label.into())
            .into()
    };
    let menu = || {
        let environment = deployment.of.environment_id;
        let entry = |label: &str, choice: Choice| SlackBlockChoiceItem::new(plain(label.to_owned()), choice.value());
        let entries = vec![
            entry("Deploy again", Choice::Again(Button { build: card.build_id, environment })),
            entry("Roll back …", Choice::Rollback(environment)),
        ];
        SlackBlockOverflowElement::new(entries).with_action_id(button::line(id).into()).into()
    };
    let more: Option<SlackActionBlockElement> = match deployment.state() {
        State::Queued | State::Ready | State::Pulling | State::Starting | State::Running => Some(cancel()),
        State::Cancelling | State::Unknown => None,
        State::Succeeded | State::Failed | State::TimedOut | State::Cancelled | State::Refused => Some(menu()),
    };
    let elements = logs.map(Into::into).into_iter().chain(more).collect();
    SlackActionsBlock::new(elements).with_block_id(button::line(id).into()).into()
}

/// What it means that a deployment is cancelled as it stands.
pub(super) fn stop_words(deployment: &Deployment) -> String {
    match deployment.state() {
        State::Queued => "it waits, and will not start.".to_owned(),
        state if state.has_not_started() => "it will not start.".to_owned(),
        _ => format!(
            "its container gets SIGTERM, and SIGKILL {} later. What it did stays done.",
            duration(deployment.stop_grace_seconds.into())
        ),
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

/// How a line stands in one sentence of plain text, with or without who pressed.
pub(super) fn fact(line: &Timed, with_who: bool) -> String {
    let d = &line.deployment;
    let who = if with_who { format!(", {}", mrkdwn::word(d.requested_by.name(), 80, 160)) } else { String::new() };
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
        Part::At(at) => to_the_minute(*at),
    }
}
