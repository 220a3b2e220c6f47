//! `/coolops …` as Slack sends it, read into what somebody wants. Pure.
//!
//! **Invariant:** nothing is guessed. What is not understood is answered with what was understood, what is wrong, and the
//! nearest correct form.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{short, when};
use crate::domain::deployment::Person;
use crate::domain::names::{REASON_MAX, nearest};
use crate::domain::person_events::Wants;
use crate::domain::project::{Environment, Project};

/// Characters in a command; Slack's own limit for a message is above that.
const TEXT_MAX: usize = 2_000;

/// A command as Slack sends it (docs.slack.dev, "Implementing slash commands").
#[derive(Debug, Clone)]
pub struct Sent {
    /// How the command is called in this workspace, such as `/coolops`.
    pub name: String,
    /// What stands behind it.
    pub text: String,
    /// Who wrote it.
    pub by: Person,
    /// Where.
    pub channel: String,
    /// The address through which it can be answered later: for 30 minutes, five times.
    pub response_url: Option<String>,
}

/// Why a request is not a command.
#[derive(Debug, thiserror::Error)]
#[error("the command can't be read: {0}")]
pub struct Unreadable(String);

#[derive(Deserialize)]
struct Form {
    #[serde(default)]
    ssl_check: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    user_name: String,
    #[serde(default)]
    team_id: String,
    #[serde(default)]
    channel_id: String,
    response_url: Option<String>,
}

/// Reads the verified body of `POST /slack/commands`; nothing for Slack's occasional check of the address.
///
/// # Errors
/// When it is not the form that Slack sends.
pub fn parse(body: &[u8]) -> Result<Option<Sent>, Unreadable> {
    let form: Form = serde_urlencoded::from_bytes(body).map_err(|e| Unreadable(e.to_string()))?;
    if form.ssl_check == "1" {
        return Ok(None);
    }
    for (name, value) in [("user_id", &form.user_id), ("team_id", &form.team_id), ("channel_id", &form.channel_id)] {
        if value.is_empty() {
            return Err(Unreadable(format!("it has no {name}")));
        }
    }
    let named = if form.command.is_empty() { "/coolops".to_owned() } else { short(&form.command) };
    Ok(Some(Sent {
        name: named,
        text: form.text,
        by: Person { team: short(&form.team_id), user: short(&form.user_id), name: short(&form.user_name) },
        channel: short(&form.channel_id),
        response_url: form.response_url,
    }))
}

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// To know what there is.
    Help,
    /// To know what is where, in one project or in all of the channel.
    Status(String),
    /// To see the newest builds.
    Builds(String),
    /// A build somewhere.
    Deploy {
        /// The build's name, the beginning of it, or `latest`.
        build: String,
        /// Where to: an environment, with its project before it where there is a choice.
        place: String,
    },
    /// The end of what is on its way somewhere.
    Cancel {
        /// Where.
        place: String,
        /// Why.
        reason: Option<String>,
    },
    /// The build that ran somewhere before the present one.
    Rollback(String),
    /// The newest log of a place.
    Logs(String),
    /// A lock.
    Lock {
        /// On which environment or project, or on everything.
        place: String,
        /// Until when.
        until: Option<DateTime<Utc>>,
        /// Why.
        reason: Option<String>,
    },
    /// The end of a lock.
    Unlock(String),
    /// To know the locks.
    Locks,
    /// To know who may do what somewhere.
    Who(String),
    /// To be told so much directly; without a word, to know how much that is.
    Notify(Option<Wants>),
}

/// The commands, with what stands behind them and what they do.
pub const COMMANDS: [(&str, &str, &str); 12] = [
    ("status", "[project]", "what is where, since when, by whom; what is on its way"),
    ("builds", "[project]", "the newest builds"),
    ("deploy", "<build|latest> to <environment>", "deploys a build, like its button"),
    ("cancel", "<environment> [because <reason>]", "stops what is on its way there"),
    ("rollback", "<environment>", "asks whether the build before the present one shall be back"),
    ("logs", "<environment>", "the newest log of a place"),
    (
        "lock",
        "<environment | project | all> [for 2h | until 18:00 Europe/Berlin] [because <reason>]",
        "keeps the deployments of others waiting",
    ),
    ("unlock", "<environment | project | all>", "takes a lock away; somebody else's is asked back first"),
    ("locks", "", "what is locked, by whom, until when and why"),
    ("who", "<environment>", "who may do what there, and by which rule"),
    ("notify", "off | failures | all", "what you are told in direct messages"),
    ("help", "", "this"),
];

/// Why a command does nothing: what was understood, what is wrong, and the nearest correct form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}")]
pub struct Misunderstood {
    /// A sentence, of plain text.
    pub wrong: String,
    /// What could be meant, without the command's name; ready to be pasted.
    pub instead: Vec<String>,
}

impl Misunderstood {
    /// One sentence and what could be meant.
    pub fn new(wrong: impl Into<String>, instead: impl IntoIterator<Item = String>) -> Self {
        Self { wrong: wrong.into(), instead: instead.into_iter().collect() }
    }
}

impl Command {
    /// Reads what stands behind `/coolops`. Capitals don't matter in its own words; quotes and dashes may be those that
    /// phones and word processors make of them.
    ///
    /// # Errors
    /// When nothing is asked for that there is.
    pub fn read(text: &str, now: DateTime<Utc>) -> Result<Self, Misunderstood> {
        let length = text.chars().count();
        if length > TEXT_MAX {
            let wrong = format!("That has {length} characters; a command has {TEXT_MAX} at most.");
            return Err(Misunderstood::new(wrong, ["help".to_owned()]));
        }
        let words = words(text);
        let Some((verb, rest)) = words.split_first() else { return Ok(Self::Help) };
        let joined = |words: &[String]| words.join(" ");
        let usage = |wrong: &str| {
            let known = COMMANDS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(verb));
            let form = known.map(|(name, behind, _)| format!("{name} {behind}").trim().to_owned());
            Misunderstood::new(wrong, form)
        };
        let place = |what: &str| match joined(rest) {
            place if place.is_empty() => Err(usage(what)),
            place => Ok(place),
        };
        match verb.to_lowercase().as_str() {
            "help" | "?" => Ok(Self::Help),
            "status" => Ok(Self::Status(joined(rest))),
            "builds" => Ok(Self::Builds(joined(rest))),
            "deploy" => {
                let to = rest.iter().rposition(|word| word.eq_ignore_ascii_case("to"));
                let Some(to) = to else {
                    return Err(usage("A deployment needs a build and, behind the word \"to\", an environment."));
                };
                match (joined(&rest[..to]), joined(&rest[to + 1..])) {
                    (build, _) if build.is_empty() => Err(usage("Which build? It stands before the word \"to\".")),
                    (_, place) if place.is_empty() => {
                        Err(usage("Where to? The environment stands behind the word \"to\"."))
                    }
                    (build, place) => Ok(Self::Deploy { build, place }),
                }
            }
            "cancel" | "stop" => {
                let (place, reason) = reasoned(rest);
                if place.is_empty() {
                    return Err(usage("Where? Name the environment."));
                }
                let (place, reason) = (joined(place), reason_of(verb, &joined(place), reason)?);
                Ok(Self::Cancel { place, reason })
            }
            "lock" => {
                let (before, reason) = reasoned(rest);
                let at = before.iter().position(|w| ["for", "until"].iter().any(|known| w.eq_ignore_ascii_case(known)));
                let (place, time) = before.split_at(at.unwrap_or(before.len()));
                if place.is_empty() {
                    return Err(usage("Where? Name the environment."));
                }
                // Everybody would take it for the lock's end, which it would not have.
                if let (true, Some(at)) = (time.is_empty(), ends_in_a_time(reason, now)) {
                    let (why, end) = (reason[..at].join(" "), reason[at..].join(" "));
                    let wrong = format!("\"{end}\" stands in the reason, and the lock would not end then.");
                    let meant = format!("lock {} {end} because {why}", joined(place));
                    return Err(Misunderstood::new(
                        wrong,
                        [meant, format!("lock {} because \"{why} {end}\"", joined(place))],
                    ));
                }
                let reason = reason_of(verb, &joined(place), reason)?;
                let until = match time {
                    [] => None,
                    [word, time @ ..] => Some(
                        when::end(&word.to_lowercase(), time, now)
                            .map_err(|wrong| Misunderstood::new(wrong, [format!("lock {} for 2h", joined(place))]))?,
                    ),
                };
                Ok(Self::Lock { place: joined(place), until, reason })
            }
            "unlock" => place("Which one? Name the environment.").map(Self::Unlock),
            "locks" => Ok(Self::Locks),
            "who" => place("Where? Name the environment.").map(Self::Who),
            "notify" => match rest {
                [] => Ok(Self::Notify(None)),
                [word] => match Wants::ALL.into_iter().find(|wants| begins(wants.word(), word)) {
                    Some(wants) => Ok(Self::Notify(Some(wants))),
                    None => {
                        let forms = Wants::ALL.map(|wants| format!("notify {}", wants.word()));
                        Err(Misunderstood::new(format!("\"{word}\" is nothing that you can be told."), forms))
                    }
                },
                _ => Err(usage("One word says what you want to be told.")),
            },
            "rollback" => place("Where? Name the environment.").map(Self::Rollback),
            "logs" | "log" => place("Of what? Name the environment.").map(Self::Logs),
            other => {
                let near = nearest(other, COMMANDS.iter().map(|(name, ..)| *name));
                let instead = match near {
                    Some(name) => joined(&[&[name.to_owned()], rest].concat()),
                    None => "help".to_owned(),
                };
                Err(Misunderstood::new(format!("There is no command \"{verb}\"."), [instead]))
            }
        }
    }
}

/// Where an end of a lock begins at the end of a reason.
fn ends_in_a_time(reason: &[String], now: DateTime<Utc>) -> Option<usize> {
    let is_end = |at: &usize| {
        let word = reason[*at].to_lowercase();
        ["for", "until"].contains(&word.as_str()) && when::end(&word, &reason[at + 1..], now).is_ok()
    };
    (1..reason.len()).rev().find(is_end)
}

/// What stands before and behind the word "because".
fn reasoned(words: &[String]) -> (&[String], &[String]) {
    let because = words.iter().position(|word| word.eq_ignore_ascii_case("because"));
    let (before, behind) = words.split_at(because.unwrap_or(words.len()));
    (before, behind.get(1..).unwrap_or_default())
}

fn reason_of(verb: &str, place: &str, words: &[String]) -> Result<Option<String>, Misunderstood> {
    let reason = words.join(" ");
    let length = reason.chars().count();
    if length > REASON_MAX {
        let wrong = format!("The reason has {length} characters; it has {REASON_MAX} at most.");
        return Err(Misunderstood::new(wrong, [format!("{} {place} because …", verb.to_lowercase())]));
    }
    Ok(Some(reason).filter(|r| !r.is_empty()))
}

/// The words of a text; what stands between quotes is one.
fn words(text: &str) -> Vec<String> {
    let plain = |c: char| match c {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{00ab}' | '\u{00bb}' => '"',
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => '\'',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        c if c.is_control() => ' ',
        c => c,
    };
    let (mut all, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in text.chars().map(plain) {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        all.push(word);
    }
    all
}

/// An environment of a project that builds come to this channel of.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "plain words")]
pub struct Destination<'a> {
    pub project: &'a Project,
    pub environment: &'a Environment,
}

impl Destination<'_> {
    /// How it is named among so many projects.
    fn named(&self, projects: &[Project]) -> String {
        match projects {
            [_] => quoted(&self.environment.name),
            _ => format!("{} {}", self.project.slug, quoted(&self.environment.name)),
        }
    }
}

/// A name as it is written in a command.
fn quoted(name: &str) -> String {
    if name.contains(char::is_whitespace) { format!("\"{name}\"") } else { name.to_owned() }
}

fn begins(name: &str, with: &str) -> bool {
    name.to_lowercase().starts_with(&with.to_lowercase())
}

fn same(name: &str, other: &str) -> bool {
    name.to_lowercase() == other.to_lowercase()
}

/// The project that is named among those of the channel; the only one needn't be named.
///
/// # Errors
/// When none or several begin so.
pub fn project<'a>(projects: &'a [Project], verb: &str, named: &str) -> Result<&'a Project, Misunderstood> {
    let is = |p: &&Project, fits: fn(&str, &str) -> bool| fits(&p.slug, named) || fits(&p.name, named);
    if let ([only], true) = (projects, named.is_empty()) {
        return Ok(only);
    }
    if let Some(exact) = exact_project(projects, named) {
        return Ok(exact);
    }
    let fit: Vec<&Project> = projects.iter().filter(|p| is(p, begins)).collect();
    let forms = |of: &[&Project]| of.iter().take(5).map(|p| format!("{verb} {}", p.slug)).collect::<Vec<_>>();
    match fit[..] {
        [only] => Ok(only),
        [] => {
            let near = nearest(named, projects.iter().map(|p| p.slug.as_str()));
            let near: Vec<&Project> = projects.iter().filter(|p| near.is_none_or(|n| n == p.slug)).collect();
            let wrong = format!("No project whose builds come to this channel begins with \"{named}\".");
            Err(Misunderstood::new(wrong, forms(&near)))
        }
        _ if named.is_empty() => {
            Err(Misunderstood::new("Builds of several projects come to this channel; name one.", forms(&fit)))
        }
        _ => Err(Misunderstood::new(format!("\"{named}\" can be several projects."), forms(&fit))),
    }
}

/// The project that is called just so: by its slug, which only one has, or by its name where only one has that.
fn exact_project<'a>(projects: &'a [Project], named: &str) -> Option<&'a Project> {
    let mut by_name = projects.iter().filter(|p| same(&p.name, named));
    let only = by_name.next().filter(|_| by_name.next().is_none());
    projects.iter().find(|p| same(&p.slug, named)).or(only)
}

/// The environment that is named, with its project before it where there is a choice. `form` makes the command of a
/// place.
///
/// # Errors
/// When none or several begin so.
pub fn place<'a>(
    projects: &'a [Project],
    named: &str,
    form: impl Fn(&str) -> String,
) -> Result<Destination<'a>, Misunderstood> {
    let exact = places(projects, named, same);
    let fit = if exact.is_empty() { places(projects, named, begins) } else { exact };
    let forms = |of: Vec<Destination<'_>>| of.iter().take(5).map(|p| form(&p.named(projects))).collect::<Vec<_>>();
    match fit[..] {
        [only] => Ok(only),
        [] => {
            let all = || places(projects, "", begins).into_iter();
            let names: Vec<String> = all().map(|p| p.named(projects)).collect();
            let near = nearest(named, names.iter().map(String::as_str));
            let instead = all().filter(|p| near.is_none_or(|near| p.named(projects) == near)).collect();
            Err(Misunderstood::new(format!("No environment here begins with \"{named}\"."), forms(instead)))
        }
        _ => Err(Misunderstood::new(format!("\"{named}\" can be several environments."), forms(fit))),
    }
}

/// What can be locked, as somebody names it in a channel.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// An environment.
    Environment(Destination<'a>),
    /// A project.
    Project(&'a Project),
    /// Everything there is.
    Everything,
}

/// The environment or project that is named, or everything: `all`. `all of` before a project's name tells it from an
/// environment that is called the same.
///
/// # Errors
/// When nothing or several things begin so.
pub fn lockable<'a>(projects: &'a [Project], named: &str, verb: &str) -> Result<Named<'a>, Misunderstood> {
    if ["all", "everything"].iter().any(|word| same(word, named)) {
        return Ok(Named::Everything);
    }
    let all_of = named.get(..7).filter(|before| same(before, "all of ")).and_then(|_| named.get(7..));
    if let Some(project) = all_of {
        return self::project(projects, &format!("{verb} all of"), project).map(Named::Project);
    }
    let is = |p: &&Project, fits: fn(&str, &str) -> bool| fits(&p.slug, named) || fits(&p.name, named);
    let (exact, begin) = (places(projects, named, same), places(projects, named, begins));
    let projects_begin: Vec<&Project> = projects.iter().filter(|p| is(p, begins)).collect();
    if exact.is_empty()
        && let Some(project) = exact_project(projects, named)
    {
        return Ok(Named::Project(project));
    }
    let of_places = begin.iter().take(3).map(|place| format!("{verb} {}", place.named(projects)));
    let of_projects = projects_begin.iter().take(3).map(|project| format!("{verb} all of {}", project.slug));
    match (&begin[..], &projects_begin[..]) {
        ([], [only]) => Ok(Named::Project(only)),
        ([], [_, _, ..]) => Err(Misunderstood::new(format!("\"{named}\" can be several projects."), of_projects)),
        ([_, ..], [_, ..]) if exact.is_empty() => {
            let wrong = format!("\"{named}\" can be an environment or a project.");
            Err(Misunderstood::new(wrong, of_places.chain(of_projects)))
        }
        _ => place(projects, named, |place| format!("{verb} {place}")).map(Named::Environment),
    }
}

/// The open environments whose names are compared so with what somebody wrote, with or without their projects' before.
fn places<'a>(projects: &'a [Project], named: &str, compare: fn(&str, &str) -> bool) -> Vec<Destination<'a>> {
    let all = projects.iter().flat_map(|project| {
        project.open_environments().into_iter().map(move |environment| Destination { project, environment })
    });
    let fits = |place: &Destination<'_>| {
        let own = compare(&place.environment.name, named);
        // The project's name may have blanks, and the environment's too.
        let behind = named.match_indices(' ').any(|(at, _)| {
            let (project, environment) = (&named[..at], &named[at + 1..]);
            (compare(&place.project.slug, project) || compare(&place.project.name, project))
                && compare(&place.environment.name, environment)
        });
        own || behind
    };
    all.filter(fits).collect()
}

/// The build that is named among those whose names begin so, the newest first.
///
/// # Errors
/// When none or several do.
pub fn build<'a>(
    found: &'a [String],
    named: &str,
    newest: &[String],
    form: impl Fn(&str) -> String,
) -> Result<&'a String, Misunderstood> {
    if let Some(exact) = found.iter().find(|name| same(name, named)) {
        return Ok(exact);
    }
    let forms = |of: &[String]| of.iter().take(5).map(|name| form(&quoted(name))).collect::<Vec<_>>();
    match found {
        [only] => Ok(only),
        [] => {
            let near = nearest(named, newest.iter().map(String::as_str)).map(str::to_owned);
            let instead = near.map_or_else(|| newest.to_vec(), |near| vec![near]);
            Err(Misunderstood::new(format!("No build begins with \"{named}\"."), forms(&instead)))
        }
        several => Err(Misunderstood::new(format!("\"{named}\" can be several builds."), forms(several))),
    }
}

/// Whether a build's name is the word for the newest.
pub fn is_latest(build: &str) -> bool {
    same(build, "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, Misunderstood> {
        Command::read(text, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn a_command_is_read_as_people_and_their_phones_write_it() {
        let deploy = |build: &str, place: &str| Ok(Command::Deploy { build: build.into(), place: place.into() });
        assert_eq!(read(""), Ok(Command::Help));
        assert_eq!(read("  HELP "), Ok(Command::Help));
        assert_eq!(read("Status  api"), Ok(Command::Status("api".into())));
        assert_eq!(read("deploy main-42 to production"), deploy("main-42", "production"));
        assert_eq!(read("DEPLOY main\u{2013}42 TO \u{201c}Customer 7\u{201d}"), deploy("main-42", "Customer 7"));
        assert_eq!(read("deploy way to go to api production"), deploy("way to go", "api production"));
        let cancel = |place: &str, reason: Option<&str>| {
            Ok(Command::Cancel { place: place.into(), reason: reason.map(str::to_owned) })
        };
        assert_eq!(read("cancel production"), cancel("production", None));
        assert_eq!(read("stop api prod Because <!channel>, no"), cancel("api prod", Some("<!channel>, no")));
    }

    #[test]
    fn what_is_not_understood_is_answered_with_the_nearest_correct_form() {
        let wrong = |text: &str| read(text).unwrap_err();
        assert_eq!(wrong("stauts api").instead, ["status api"]);
        assert_eq!(wrong("xyzzy").instead, ["help"]);
        assert_eq!(wrong("deploy main-42").instead, ["deploy <build|latest> to <environment>"]);
        assert_eq!(wrong("deploy to production").wrong, "Which build? It stands before the word \"to\".");
        assert_eq!(wrong("deploy main-42 to").wrong, "Where to? The environment stands behind the word \"to\".");
        assert_eq!(wrong("rollback").instead, ["rollback <environment>"]);
        assert_eq!(wrong(&"x".repeat(3_000)).wrong, "That has 3000 characters; a command has 2000 at most.");
        let long = wrong(&format!("cancel production because {}", "y".repeat(501)));
        assert_eq!(long.wrong, "The reason has 501 characters; it has 500 at most.");
        assert_eq!(long.instead, ["cancel production because …"]);
    }

    #[test]
    fn only_slack_s_own_form_is_a_command() {
        assert!(parse(b"ssl_check=1&token=x").unwrap().is_none());
        assert_eq!(parse(b"text=help").unwrap_err().to_string(), "the command can't be read: it has no user_id");
        let sent =
            parse(b"command=%2Fops&text=help&user_id=U1&user_name=ana&team_id=T1&channel_id=C1").unwrap().unwrap();
        assert_eq!((sent.name.as_str(), sent.text.as_str(), sent.channel.as_str()), ("/ops", "help", "C1"));
    }
}
