//! What people are told beside a build's message, as Slack is sent it. Pure.
//!
//! **Invariant:** in a thread people are called by their names: a mention would call everybody who is named, each time.

use super::answer;
use super::line::{code, fact, from_to, printed, said, times};
use super::mrkdwn;
use super::render::{Metadata, Payload, SECTION_UNITS, build_url, context, log_url, section, units};
use crate::domain::deployment::Person;
use crate::domain::lock::{Lock, LockTaken, Somebody};
use crate::domain::moment::to_the_minute;
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::lock_card::LockCard;
use crate::projections::reports::{Fact, Report, To};
use crate::projections::timed::Timed;

/// Last lines that are shown in the thread.
pub const LINES: usize = 20;

/// How a deployment goes, told of a report; `lines` are the last ones that it printed.
pub fn of_deployment(report: &Report, line: &Timed, card: &BuildCard, links: &Links, lines: &[String]) -> Payload {
    let d = &line.deployment;
    let (project, build) = (mrkdwn::word(&card.project_name, 60, 120), mrkdwn::word(&card.build_name, 200, 400));
    let environment = mrkdwn::word(&d.environment_name, 60, 120);
    let mut blocks = match report.to {
        To::Person(_) => {
            let how = said(d, 300, &|person: &Person| mrkdwn::mention(&person.user));
            vec![section(format!("{project} *{build}* → *{environment}*: {how}{}", printed(d)))]
        }
        To::Thread | To::Channel(_) => {
            let how = said(d, 300, &|person: &Person| mrkdwn::word(&person.name, 80, 160));
            let who = mrkdwn::word(d.requested_by.name(), 80, 160);
            let mut blocks = vec![section(format!("{who} → *{environment}*: {how}"))];
            blocks.extend(newest_that_fit(lines).map(|lines| section(code(lines))));
            blocks
        }
    };
    let logs = mrkdwn::link(&log_url(&card.public_url, links, d.of.deployment_id), "See logs");
    let all = mrkdwn::link(&build_url(&card.public_url, links, card.build_id), "All about this build");
    blocks.push(context(format!("{}{} · {logs} · {all}", from_to(d), times(line))));
    let with_who = report.to == To::Thread;
    Payload {
        text: format!("{project} {build}: {}", fact(line, with_who)),
        blocks,
        attachments: Vec::new(),
        metadata: Metadata::report(report.id),
    }
}

/// What a lock lies on, and of which project that is.
fn place(what: &str, project: Option<&str>) -> String {
    let of = project.map(|project| format!(" ({})", mrkdwn::word(project, 60, 120))).unwrap_or_default();
    format!("*{}*{of}", mrkdwn::word(what, 100, 200))
}

fn reason(lock: &Lock) -> String {
    lock.reason.as_ref().map(|r| format!(": {}", mrkdwn::word(r, 300, 600))).unwrap_or_default()
}

/// That somebody took a lock away.
fn of_lock_taken(report: &Report, LockTaken { lock, by }: &LockTaken, place: &str) -> Payload {
    let is_owners = matches!(report.to, To::Person(_));
    let name = |who: &Somebody| mrkdwn::word(who.name(), 80, 160);
    let whose = if is_owners { "your".to_owned() } else { format!("{}'s", name(&lock.holder)) };
    let told = |who: &str, place: &str| {
        format!("{who} took away {whose} lock of {place}{}. It was there since ", reason(lock))
    };
    let who = match by {
        Somebody::Person(person) if is_owners => mrkdwn::mention(&person.user),
        Somebody::Person(_) => name(by),
        Somebody::Operator { .. } => format!("{}, an operator,", name(by)),
    };
    let since = mrkdwn::local_time(lock.since);
    Payload {
        text: format!("{}{}.", told(&name(by), &place.replace('*', "")), to_the_minute(lock.since)),
        blocks: vec![section(format!("{}{since}.", told(&who, place)))],
        attachments: Vec::new(),
        metadata: Metadata::report(report.id),
    }
}

/// That a lock may have been forgotten; it can be taken away, or stay for another while.
fn of_lock_forgotten(report: &Report, card: &LockCard, place: &str) -> Payload {
    let told = |place: &str, since: &str| {
        format!(
            "You hold a lock of {place} since {since}{}. Others wait for as long as it is there.",
            reason(&card.lock)
        )
    };
    let since = to_the_minute(card.lock.since);
    Payload {
        text: told(&place.replace('*', ""), &since),
        blocks: vec![
            section(told(place, &mrkdwn::local_time(card.lock.since))),
            answer::keep_buttons(&card.what, card.lockable, &card.lock),
        ],
        attachments: Vec::new(),
        metadata: Metadata::report(report.id),
    }
}

/// The message of a lock: who has it, or how it went.
fn of_lock_card(report: &Report, card: &LockCard) -> Payload {
    let (text, blocks) = match &card.gone {
        None => {
            let text = answer::locked(&card.what, &card.lock);
            let since = context(format!("since {}", mrkdwn::local_time(card.lock.since)));
            (text.clone(), vec![section(text), since, answer::unlock_button(&card.what, card.lockable, &card.lock)])
        }
        Some(gone) => {
            let text = answer::unlocked(&card.what, &card.lock, gone.by.as_ref());
            (text.clone(), vec![section(text)])
        }
    };
    Payload { text, blocks, attachments: Vec::new(), metadata: Metadata::report(report.id) }
}

/// What a report says; `lines` are the last ones that a deployment printed.
pub fn render(report: &Report, card: Option<(&BuildCard, &Links)>, lines: &[String]) -> Option<Payload> {
    match (&report.fact, card) {
        (Fact::Deployment(line), Some((card, links))) => Some(of_deployment(report, line, card, links, lines)),
        (Fact::Deployment(_), None) => None,
        (Fact::Lock(card), _) => Some(of_lock_card(report, card)),
        (Fact::LockTaken { taken, what, project }, _) => {
            Some(of_lock_taken(report, taken, &place(what, project.as_deref())))
        }
        (Fact::LockForgotten { card, project }, _) => {
            Some(of_lock_forgotten(report, card, &place(&card.what, project.as_deref())))
        }
    }
}

/// The newest lines that have room in a section.
fn newest_that_fit(lines: &[String]) -> Option<&[String]> {
    let fits = |from: &usize| units(&code(&lines[*from..])) <= SECTION_UNITS;
    let from = (0..lines.len()).find(fits)?;
    Some(&lines[from..])
}
