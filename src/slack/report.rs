//! What people are told beside a build's message, as Slack is sent it. Pure.
//!
//! **Invariant:** in a thread people are called by their names: a mention would call everybody who is named, each time.

use slack_morphism::prelude::*;

use super::answer;
use super::mrkdwn;
use super::render::{
    Metadata, Payload, SECTION_UNITS, build_url, code, context, fact, from_to, log_url, markdown, printed, said, times,
    units,
};
use crate::domain::deployment::Person;
use crate::domain::lock::{Holder, Lock};
use crate::keys::Links;
use crate::projections::build_card::BuildCard;
use crate::projections::lock_card::LockCard;
use crate::projections::reports::{Fact, Report, To};
use crate::projections::timed::Timed;

/// So many of the last lines that it printed stand in the thread.
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
            let who = mrkdwn::word(&d.requested_by.name, 80, 160);
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

/// That somebody took a lock away.
pub fn of_lock(report: &Report, lock: &Lock, by: &Holder, project: &str, environment: &str) -> Payload {
    let place = format!("*{}* ({})", mrkdwn::word(environment, 60, 120), mrkdwn::word(project, 60, 120));
    let reason = lock.reason.as_ref().map(|r| format!(": {}", mrkdwn::word(r, 300, 600))).unwrap_or_default();
    let told = |who: &str, place: &str| format!("{who} took away your lock of {place}{reason}. It was there since ");
    let mentioned = match by {
        Holder::Person(person) => mrkdwn::mention(&person.user),
        Holder::Operator { login } => format!("{}, an operator,", mrkdwn::word(login, 80, 160)),
    };
    let since = mrkdwn::local_time(lock.since);
    Payload {
        text: format!(
            "{}{}.",
            told(&mrkdwn::word(by.name(), 80, 160), &place.replace('*', "")),
            lock.since.format("%Y-%m-%d %H:%M UTC")
        ),
        blocks: vec![section(format!("{}{since}.", told(&mentioned, &place)))],
        attachments: Vec::new(),
        metadata: Metadata::report(report.id),
    }
}

/// The message of a lock: who has it, or how it went.
pub fn of_lock_card(report: &Report, card: &LockCard) -> Payload {
    let (text, blocks) = match &card.gone {
        None => {
            let text = answer::locked(&card.environment, &card.lock);
            (
                text.clone(),
                vec![section(text), answer::unlock_button(&card.environment, card.environment_id, &card.lock)],
            )
        }
        Some(gone) => {
            let text = answer::unlocked(&card.environment, &card.lock, gone.by.as_ref());
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
        (Fact::LockTaken { lock, by, environment, project }, _) => {
            Some(of_lock(report, lock, by, project, environment))
        }
    }
}

/// The newest lines that have room in a section.
fn newest_that_fit(lines: &[String]) -> Option<&[String]> {
    let fits = |from: &usize| units(&code(&lines[*from..])) <= SECTION_UNITS;
    let from = (0..lines.len()).find(fits)?;
    Some(&lines[from..])
}

fn section(text: String) -> SlackBlock {
    SlackSectionBlock::new().with_text(markdown(text)).into()
}
