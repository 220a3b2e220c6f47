//! What `/coolops` answers, as Slack is sent it. Pure.
//!
//! **Invariant:** an answer pings nobody but whose lock was taken away: people are named, not mentioned, because it may be
//! shown to everybody.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slack_morphism::prelude::*;

use super::button::{self, Button, Choice};
use super::command::{COMMANDS, Misunderstood};
use super::line::said;
use super::mrkdwn;
use super::render::{SECTION_UNITS, context, plain, section, units};
use crate::domain::deployment::Person;
use crate::domain::ids::{LockableId, ProjectId};
use crate::domain::lock::{Lock, Scope, Somebody};
use crate::domain::moment::to_the_minute;
use crate::domain::person_events::Wants;
use crate::domain::rights::{Denied, Right, Rights, Rule, Who};
use crate::projections::standing::Standing;
use crate::projections::timed::Timed;
use crate::projections::words::locked_with;

/// Most characters of an answer, far from where Slack says `msg_blocks_too_long`.
const ANSWER_UNITS: usize = 11_000;
/// People and groups that are named for one right.
const NAMED_SHOWN: usize = 10;
/// Locks in a list.
const LOCKS_SHOWN: usize = 20;

/// An answer to a command.
#[derive(Debug, Clone)]
pub enum Answer {
    /// What there is.
    Help,
    /// What is where.
    Status {
        /// Of these projects.
        projects: Vec<Whereabouts>,
        /// More projects of the channel, by name.
        more: Vec<String>,
        /// The one that was asked for.
        of: Option<ProjectId>,
    },
    /// What is where, for everybody in the channel.
    Shown {
        /// Of these projects.
        projects: Vec<Whereabouts>,
        /// More projects of the channel, by name.
        more: Vec<String>,
    },
    /// The newest builds of a project, with their pages.
    Builds {
        /// The project's name.
        project: String,
        /// Name, when it was announced, its page.
        builds: Vec<(String, DateTime<Utc>, Option<String>)>,
    },
    /// A deployment was asked for.
    Asked {
        /// The build.
        build: String,
        /// The environment.
        environment: String,
        /// What it waits for, if it does.
        waits: Option<Waits>,
        /// Its log.
        logs: Option<String>,
    },
    /// A deployment that a button asks for, because it is asked back first.
    Offered {
        /// Why, in a sentence of ours.
        why: String,
        /// The build.
        build: String,
        /// The environment.
        environment: String,
        /// What the button carries.
        button: Button,
        /// Where what would change can be looked at.
        changes: Option<String>,
    },
    /// Several are on their way: which one?
    Which {
        /// The environment.
        environment: String,
        /// In the order of their presses.
        open: Vec<Timed>,
        /// The person said why, which is asked for again.
        has_reason: bool,
    },
    /// A deployment was told to stop.
    Stopped {
        /// The build.
        build: String,
        /// The environment.
        environment: String,
    },
    /// A log.
    Log {
        /// Whose.
        deployment: Box<Timed>,
        /// Where it is.
        url: Option<String>,
    },
    /// Something was locked; its own message tells everybody in the channel.
    Locked {
        /// What it is called.
        what: String,
        /// What the button that takes it away carries.
        id: LockableId,
        /// The lock.
        lock: Lock,
        /// The locks of others that lie on what it is in, and what that is called.
        wider: Vec<(String, Lock)>,
    },
    /// A lock was taken away; its own message tells everybody in the channel, and whose it was is told directly.
    Unlocked {
        /// What it lay on.
        what: String,
        /// The lock.
        lock: Lock,
        /// Who took it away.
        by: Person,
        /// The locks that lie on what it is in, and what that is called.
        wider: Vec<(String, Lock)>,
    },
    /// There was no lock on it.
    NotLocked {
        /// That, in a sentence of plain text.
        sentence: String,
        /// The locks that lie on what it is in, and what that is called.
        wider: Vec<(String, Lock)>,
    },
    /// A lock that is somebody else's: the person is asked whether it shall be taken away.
    TheirLock {
        /// What it lies on.
        what: String,
        /// What the button carries.
        id: LockableId,
        /// The lock.
        lock: Lock,
    },
    /// A lock stays, as its holder said.
    Kept {
        /// What it lies on.
        what: String,
    },
    /// The locks that there are, with what they lie on.
    Locks(Vec<(String, Lock)>),
    /// Who may do what in an environment.
    Who {
        /// Its name.
        environment: String,
        /// What is set.
        rights: Rights,
        /// What the person who asked may, and by which rule.
        own: Vec<(Right, Result<Rule, Denied>)>,
    },
    /// What the person who asked is told directly.
    Notifying(Wants),
    /// Nothing to be done, in a sentence of plain text.
    Nothing(String),
    /// What was not understood.
    Misunderstood(Misunderstood),
    /// The person is told in another way.
    Silence,
}

/// What a deployment waits for.
#[derive(Debug, Clone)]
pub enum Waits {
    /// Another build there.
    Behind(String),
    /// Somebody's lock.
    Lock(Lock),
}

/// How a project's environments stand.
#[derive(Debug, Clone)]
pub struct Whereabouts {
    /// The project's name.
    pub project: String,
    /// Its page.
    pub url: Option<String>,
    /// Its environments.
    pub standings: Vec<Standing>,
}

impl Answer {
    /// The answer without what only the person who asked is offered.
    #[must_use]
    pub fn for_everybody(self) -> Self {
        match self {
            Self::Status { projects, more, .. } => Self::Shown { projects, more },
            other => other,
        }
    }

    /// What Slack is sent; `name` is what the command is called in this workspace. Nothing where nothing is to be shown.
    pub fn render(&self, name: &str) -> Option<Value> {
        let for_all = matches!(self, Self::Shown { .. });
        let (text, blocks) = match self {
            Self::Silence => return None,
            Self::Locked { what, id, lock, wider } => {
                let told = match lock.scope {
                    Scope::Everything => "every channel is told",
                    Scope::Environment | Scope::Project => "the channel is told",
                };
                let (name, terms) = (bold(&capital(what)), terms(lock));
                let text = match also_locked(wider) {
                    None => format!(
                        ":lock: {name} is yours{terms}. Your deployments go through, those of others wait; {told}."
                    ),
                    Some(also) => {
                        format!(":lock: {name} is yours{terms}; {told}. {also}: your deployments wait for that, too.")
                    }
                };
                (text.clone(), vec![section(text), unlock_button(what, *id, lock)])
            }
            Self::Unlocked { what, lock, by, wider } => {
                let text = unlocked(what, lock, Some(&Somebody::Person(by.clone())));
                match also_locked(wider) {
                    None => (text, vec![]),
                    Some(also) => (format!("{text} {also}, which goes on."), vec![]),
                }
            }
            Self::NotLocked { sentence, wider } => match also_locked(wider) {
                None => (sentence_of(sentence), vec![]),
                Some(also) => (format!("{} {also}.", sentence_of(sentence)), vec![]),
            },
            Self::TheirLock { what, id, lock } => {
                let holder = who(&lock.holder);
                let what_is = bold(&capital(what));
                let text = format!("{what_is} is locked by {holder}{}. Shall it be taken away?", terms(lock));
                (text.clone(), vec![section(text), unlock_button(what, *id, lock)])
            }
            Self::Kept { what } => {
                (format!(":lock: Your lock of {} stays. You are asked again in the same time.", bold(what)), vec![])
            }
            Self::Locks(locks) if locks.is_empty() => ("Nothing is locked here.".to_owned(), vec![]),
            Self::Locks(locks) => {
                let line = |(what, lock): &(String, Lock)| {
                    let since = mrkdwn::local_time(lock.since);
                    format!(":lock: {} by {} since {since}{}", bold(&capital(what)), who(&lock.holder), terms(lock))
                };
                let mut lines: Vec<String> = locks.iter().take(LOCKS_SHOWN).map(line).collect();
                if locks.len() > LOCKS_SHOWN {
                    lines.push(format!("and {} more", locks.len() - LOCKS_SHOWN));
                }
                (lines.join("\n"), vec![])
            }
            Self::Help => (help(name), vec![]),
            Self::Status { projects, more, of } => {
                let (text, mut blocks) = status(projects, more);
                blocks.push(show_button(*of));
                (text, blocks)
            }
            Self::Shown { projects, more } => status(projects, more),
            Self::Builds { project, builds } => (newest(project, builds), vec![]),
            Self::Asked { build, environment, waits, logs } => {
                let logs = logs.as_deref().map(|url| format!(" {}", mrkdwn::link(url, "See logs"))).unwrap_or_default();
                let (build, environment) = (bold(build), bold(environment));
                let how = match waits {
                    None => String::new(),
                    Some(Waits::Behind(ahead)) => format!(" and waits behind {}", bold(ahead)),
                    Some(Waits::Lock(lock)) => {
                        let over = locked_with(lock.scope);
                        format!(" and waits for the lock of {}{over}{}", who(&lock.holder), terms(lock))
                    }
                };
                let shows = "its line in the build's message shows how it goes.";
                (format!("{build} is on its way to {environment}{how}; {shows}{logs}"), vec![])
            }
            Self::Offered { why, build, environment, button, changes } => {
                let text = match changes {
                    Some(url) => format!("{} {}", sentence_of(why), mrkdwn::link(url, "Changes")),
                    None => sentence_of(why),
                };
                offered(text, build, environment, *button)
            }
            Self::Which { environment, open, has_reason } => which(environment, open, *has_reason),
            Self::Stopped { build, environment } => (
                format!("{} on {} is told to stop; its line shows how it ends.", bold(build), bold(environment)),
                vec![],
            ),
            Self::Log { deployment, url } => (log(deployment, url.as_deref()), vec![]),
            Self::Who { environment, rights, own } => (who_may(environment, rights, own), vec![]),
            Self::Notifying(wants) => {
                let told = match wants {
                    Wants::Off => "You get no direct messages.",
                    Wants::Failures => {
                        "You get a direct message when a deployment of yours fails, or somebody else ends it or takes your lock away."
                    }
                    Wants::All => {
                        "You get a direct message when a deployment of yours ends, waits for a lock, or somebody takes your lock away."
                    }
                };
                let others = Wants::ALL.iter().filter(|other| *other != wants);
                let forms: Vec<String> = others.map(|w| code(&format!("{name} notify {}", w.word()))).collect();
                (format!("{told}\nOtherwise: {}", forms.join(" or ")), vec![])
            }
            Self::Nothing(sentence) => (sentence_of(sentence), vec![]),
            Self::Misunderstood(Misunderstood { wrong, instead }) => {
                let forms: Vec<String> = instead.iter().map(|form| code(&format!("{name} {form}"))).collect();
                let instead = match &forms[..] {
                    [] => String::new(),
                    [one] => format!("\nTry: {one}"),
                    several => format!("\nTry one of these:\n{}", several.join("\n")),
                };
                (format!("{}{instead}", sentence_of(wrong)), vec![])
            }
        };
        let response_type = if for_all { "in_channel" } else { "ephemeral" };
        let mut answer = json!({ "response_type": response_type, "text": text });
        if !blocks.is_empty() {
            answer["blocks"] = serde_json::to_value(blocks).expect("blocks are plain data");
        }
        Some(answer)
    }
}

fn bold(name: &str) -> String {
    format!("*{}*", mrkdwn::word(name, 100, 200))
}

/// A sentence that quotes what somebody wrote.
fn sentence_of(text: &str) -> String {
    mrkdwn::word(text, 600, 1_200)
}

/// Something to be pasted, as code.
fn code(text: &str) -> String {
    format!("`{}`", mrkdwn::escape(&mrkdwn::cut(&mrkdwn::clean(text), 200, 400).replace('`', "'")))
}

fn who(holder: &Somebody) -> String {
    mrkdwn::word(holder.name(), 80, 160)
}

/// What for, why and until when.
fn terms(lock: &Lock) -> String {
    let build = lock.build.as_ref().map(|build| format!(" for {}", bold(build))).unwrap_or_default();
    let reason =
        lock.reason.as_ref().map(|reason| format!(" ({})", mrkdwn::word(reason, 300, 600))).unwrap_or_default();
    let until = lock.until.map(|until| format!(", until {}", mrkdwn::local_time(until))).unwrap_or_default();
    format!("{build}{reason}{until}")
}

/// A text as the beginning of a sentence.
pub fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", chars.as_str())
}

fn buttons_of_lock(buttons: Vec<SlackBlockButtonElement>) -> SlackBlock {
    SlackActionsBlock::new(buttons.into_iter().map(Into::into).collect())
        .with_block_id(button::answer_block().into())
        .into()
}

fn unlock(what: &str, id: LockableId, lock: &Lock) -> SlackBlockButtonElement {
    let until = lock.until.map(|until| format!(", until {}", to_the_minute(until))).unwrap_or_default();
    let reason = lock.reason.as_ref().map(|reason| format!(" ({})", mrkdwn::cut(reason, 150, 150))).unwrap_or_default();
    let text = format!("It is the lock of {}{reason}{until}.", lock.holder.name());
    let asked = super::render::asked_back(&format!("Unlock {what}?"), &text, "Unlock", "Let it be");
    SlackBlockButtonElement::new(plain("Unlock".to_owned()))
        .with_action_id(button::unlock_action().into())
        .with_value(Choice::Unlock(id, lock.since.timestamp_micros()).value())
        .with_confirm(asked)
}

/// *Unlock*, which asks back first and names whose lock it is.
pub(super) fn unlock_button(what: &str, id: LockableId, lock: &Lock) -> SlackBlock {
    buttons_of_lock(vec![unlock(what, id, lock)])
}

/// That wider locks keep somebody waiting; none where there are none.
fn also_locked(wider: &[(String, Lock)]) -> Option<String> {
    let one = |(what, lock): &(String, Lock)| {
        format!("{} is locked by {}{}", bold(&capital(what)), who(&lock.holder), terms(lock))
    };
    Some(wider.iter().map(one).collect::<Vec<_>>().join(" and ")).filter(|also| !also.is_empty())
}

/// *Keep* and *Unlock*, which asks back first and names whose lock it is.
pub(super) fn keep_buttons(what: &str, id: LockableId, lock: &Lock) -> SlackBlock {
    let keep = SlackBlockButtonElement::new(plain("Keep".to_owned()))
        .with_action_id(button::keep_action().into())
        .with_value(Choice::Keep(id, lock.since.timestamp_micros()).value());
    buttons_of_lock(vec![unlock(what, id, lock), keep])
}

/// That somebody has something for themselves.
pub(super) fn locked(what: &str, lock: &Lock) -> String {
    let (name, who, terms) = (bold(&capital(what)), who(&lock.holder), terms(lock));
    format!(":lock: {name} is locked by {who}{terms}. Their deployments go through, those of others wait.")
}

/// How a lock went: who took it away, or that it ran out.
pub(super) fn unlocked(what: &str, lock: &Lock, by: Option<&Somebody>) -> String {
    let name = bold(&capital(what));
    let Some(by) = by else {
        return format!(":unlock: {name} is unlocked: the lock of {}{} ran out.", who(&lock.holder), terms(lock));
    };
    if lock.holder.same(by) {
        return format!(":unlock: {name} is unlocked by {}.", who(&lock.holder));
    }
    let holder = match &lock.holder {
        Somebody::Person(person) => mrkdwn::mention(&person.user),
        Somebody::Operator { .. } => who(&lock.holder),
    };
    format!(":unlock: {name} is unlocked by {}; it was the lock of {holder}{}.", who(by), terms(lock))
}

fn help(name: &str) -> String {
    let line = |(verb, behind, what): &(&str, &str, &str)| {
        format!("{} {}", code(format!("{name} {verb} {behind}").trim()), mrkdwn::escape(what))
    };
    let all: Vec<String> = COMMANDS.iter().map(line).collect();
    format!(
        "{}\nProjects, environments and builds by any beginning that only one has; where builds of several projects come to a channel, the project stands before the environment.",
        all.join("\n")
    )
}

fn status(projects: &[Whereabouts], more: &[String]) -> (String, Vec<SlackBlock>) {
    let (mut told, mut left, mut others) = (Vec::new(), ANSWER_UNITS, Vec::new());
    for project in projects {
        let text = whereabouts(project);
        match left.checked_sub(units(&text)) {
            Some(rest) => {
                left = rest;
                told.push(text);
            }
            None => others.push(project.project.clone()),
        }
    }
    let text = told.join("\n");
    let mut blocks: Vec<SlackBlock> = told.into_iter().map(section).collect();
    others.extend_from_slice(more);
    if !others.is_empty() {
        let names = mrkdwn::word(&others.join(", "), 1_000, 1_500);
        blocks.push(context(format!("Name one of these to see it too: {names}")));
    }
    (mrkdwn::cut(&text, SECTION_UNITS, SECTION_UNITS), blocks)
}

fn show_button(of: Option<ProjectId>) -> SlackBlock {
    let show = SlackBlockButtonElement::new(plain("Show to everybody".to_owned()))
        .with_action_id(button::show_action().into())
        .with_value(Choice::Show(of).value());
    SlackActionsBlock::new(vec![show.into()]).with_block_id(button::answer_block().into()).into()
}

fn whereabouts(of: &Whereabouts) -> String {
    let title = of
        .url
        .as_deref()
        .map_or_else(|| bold(&of.project), |url| format!("{} · {}", bold(&of.project), mrkdwn::link(url, "its page")));
    let mut text = title;
    for (n, standing) in of.standings.iter().enumerate() {
        let line = standing_of(standing);
        let rest = of.standings.len() - n;
        if units(&text) + units(&line) > SECTION_UNITS - 60 {
            text.push_str(&format!("\nand {rest} more"));
            break;
        }
        text.push_str(&line);
    }
    if of.standings.is_empty() {
        text.push_str("\nno environment yet");
    }
    text
}

fn standing_of(s: &Standing) -> String {
    let by = |d: &Timed| mrkdwn::word(d.deployment.requested_by.name(), 80, 160);
    let protected = if s.protected { " (protected)" } else { "" };
    let mut text = match &s.good {
        Some(good) => {
            let (build, since) = (bold(&good.deployment.build_name), mrkdwn::local_time(good.since));
            format!("\n{}{protected}: {build} since {since}, by {}", bold(&s.name), by(good))
        }
        None => format!("\n{}{protected}: nothing yet", bold(&s.name)),
    };
    for lock in &s.locks {
        let with = locked_with(lock.scope);
        text.push_str(&format!("\n    :lock: locked{with} by {}{}", who(&lock.holder), terms(lock)));
    }
    let shown = 5;
    for d in s.open.iter().take(shown).chain(&s.failed) {
        let how = said(&d.deployment, 100, &|person| mrkdwn::word(&person.name, 80, 160));
        text.push_str(&format!(
            "\n    {} {how}, {} · {}",
            bold(&d.deployment.build_name),
            by(d),
            mrkdwn::local_time(d.since)
        ));
    }
    if s.open.len() > shown {
        text.push_str(&format!("\n    and {} more wait", s.open.len() - shown));
    }
    text
}

fn newest(project: &str, builds: &[(String, DateTime<Utc>, Option<String>)]) -> String {
    if builds.is_empty() {
        return format!("{} has no build yet.", bold(project));
    }
    let line = |(name, at, url): &(String, DateTime<Utc>, Option<String>)| {
        let name = mrkdwn::word(name, 100, 200);
        let name = url.as_deref().map_or_else(|| name.clone(), |url| mrkdwn::link(url, &name));
        format!("*{name}* · {}", mrkdwn::local_time(*at))
    };
    format!("The newest builds of {}:\n{}", bold(project), builds.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn offered(text: String, build: &str, environment: &str, carried: Button) -> (String, Vec<SlackBlock>) {
    let label = mrkdwn::cut(&format!("Deploy {build} to {environment}"), 75, 75);
    let asked = super::render::asked_back(
        &format!("Deploy to {environment}?"),
        &format!("{} goes to {environment}.", mrkdwn::cut(build, 100, 100)),
        "Deploy",
        "Don't",
    );
    let button = SlackBlockButtonElement::new(plain(label))
        .with_action_id(button::action(0).into())
        .with_value(carried.value())
        .with_style(SlackBlockButtonStyle::Danger)
        .with_confirm(asked.with_style("danger".to_owned()));
    let block = SlackActionsBlock::new(vec![button.into()]).with_block_id(button::answer_block().into());
    (text.clone(), vec![section(text), block.into()])
}

fn which(environment: &str, open: &[Timed], has_reason: bool) -> (String, Vec<SlackBlock>) {
    let again = if has_reason { " Its dialog asks for the reason again." } else { "" };
    let text = format!("Several are on their way to {}. Which one shall stop?{again}", bold(environment));
    let button = |(n, d): (usize, &Timed)| {
        let label = format!("Cancel {} ({})", d.deployment.build_name, d.deployment.state().word());
        let id = d.deployment.of.deployment_id;
        let button =
            SlackBlockButtonElement::new(plain(mrkdwn::cut(&label, 75, 75))).with_action_id(button::action(n).into());
        if has_reason {
            return button.with_value(Choice::AskCancel(id).value()).into();
        }
        let text = format!("{} on {environment} will not go on.", mrkdwn::cut(&d.deployment.build_name, 100, 100));
        let asked = super::render::asked_back("Cancel it?", &text, "Cancel it", "Let it be");
        button.with_value(Choice::Cancel(id).value()).with_confirm(asked.with_style("danger".to_owned())).into()
    };
    // Slack: 25 elements in a block. The first ones are those that matter; the others have lines of their own.
    let buttons = open.iter().take(25).enumerate().map(button).collect();
    let block = SlackActionsBlock::new(buttons).with_block_id(button::answer_block().into());
    (text.clone(), vec![section(text), block.into()])
}

fn log(deployment: &Timed, url: Option<&str>) -> String {
    let d = &deployment.deployment;
    let how = said(d, 200, &|person| mrkdwn::word(&person.name, 80, 160));
    let link = url.map(|url| format!(" · {}", mrkdwn::link(url, "See logs"))).unwrap_or_default();
    format!(
        "{} → {} {how} · {}{link}",
        bold(&d.build_name),
        bold(&d.environment_name),
        mrkdwn::local_time(deployment.since)
    )
}

/// The deployment whose log is asked for: the one that has the environment, or else the last one there. What only waits has
/// none yet.
pub fn newest_of(standing: &Standing) -> Option<&Timed> {
    let holder = standing.open.iter().find(|open| open.deployment.state().holds());
    holder.or(standing.failed.as_ref()).or(standing.good.as_ref()).or(standing.open.first())
}

/// Who may do what, and what the person who asked may. A group is not called by being named.
fn who_may(environment: &str, rights: &Rights, own: &[(Right, Result<Rule, Denied>)]) -> String {
    let name = |who: &Who| match who {
        Who::User { id, .. } => mrkdwn::mention(id),
        Who::Group { .. } => bold(&who.name()),
    };
    let mut lines = vec![format!("On {}:", bold(environment))];
    for (right, may) in own {
        let who = match rights.named(*right) {
            None => "everybody who sees the build's message".to_owned(),
            Some([]) if rights.administer.is_empty() => "operators alone".to_owned(),
            Some([]) => "who administers it".to_owned(),
            Some(all) => {
                let mut names: Vec<String> = all.iter().take(NAMED_SHOWN).map(name).collect();
                if all.len() > NAMED_SHOWN {
                    names.push(format!("{} more", all.len() - NAMED_SHOWN));
                }
                names.join(", ")
            }
        };
        let you = match may {
            Ok(Rule::Everybody) => "you may".to_owned(),
            Ok(Rule::Named(Who::User { .. })) => "you may, by name".to_owned(),
            Ok(Rule::Named(group)) => format!("you may, being in {}", bold(&group.name())),
            Ok(Rule::Administers(_)) => "you may, as you administer it".to_owned(),
            Err(denied) => format!("you may not: {}", sentence_of(&denied.reason())),
        };
        lines.push(format!("• {}: {who} ({you})", right.word()));
    }
    lines.join("\n")
}
