//! A project's rules applied to a report: the build that it makes, or why it makes none.

use serde_json::Value;
use wildmatch::WildMatch;

use super::redact::REDACTED;
use super::{Provider, Reach, Reference, Report, text};
use crate::domain::build::{CiRun, Entry, Source};
use crate::domain::ci_rules::{CiRules, FIELDS, Part, template};
use crate::domain::names::{self, VALUE_MAX, printable};

/// How a build is named unless the project says otherwise.
pub const NAME: &str = "{branch}-{number}";
/// The params that a build gets, where the report tells them.
pub const PARAMS: &[(&str, &str)] = &[
    ("BRANCH", "{branch}"),
    ("TAG", "{tag}"),
    ("COMMIT", "{commit}"),
    ("BUILD_NUMBER", "{number}"),
    ("PULL_REQUEST", "{pull_request}"),
    ("RUN_URL", "{url}"),
];
/// How runs end, in the words of [`Report::conclusion`].
pub const CONCLUSIONS: &[&str] = &[
    "success",
    "failure",
    "cancelled",
    "unstable",
    "skipped",
    "neutral",
    "timed_out",
    "action_required",
    "stale",
    "startup_failure",
];
/// What its message shows, where the report tells it.
pub const METADATA: &[(&str, &str)] = &[
    ("Workflow", "{workflow}"),
    ("Branch", "{branch}"),
    ("Tag", "{tag}"),
    ("Commit", "{short_commit}"),
    ("Author", "{author}"),
    ("Message", "{message}"),
    ("Pull request", "{pull_request_link}"),
    ("Run", "{url}"),
];
/// Events that no workflow makes, so that none is asked for.
const WITHOUT_WORKFLOW: &[&str] = &["release", "tag"];
/// Longest part of a name that comes from one field, in characters.
const PART_MAX: usize = 80;
/// Longest name, in characters; a build's name has room for 200 graphemes.
const NAME_MAX: usize = 180;

/// What a build is announced with.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Its name.
    pub name: String,
    /// What its deployment's container gets.
    pub params: Vec<Entry>,
    /// What its message shows.
    pub metadata: Vec<Entry>,
    /// The run that it is made of, where the report tells one.
    pub run: Option<CiRun>,
    /// What it was built of.
    pub source: Option<Source>,
}

/// Checks that rules fit a provider.
///
/// # Errors
/// A sentence that says which words there are.
pub fn check(provider: &dyn Provider, rules: &CiRules) -> Result<(), String> {
    let (defaults, options) = provider.events();
    let known: Vec<&str> = defaults.iter().chain(options).copied().collect();
    // Where the project says where a field is, the words found there are its own.
    let has_own = |field: &str| rules.fields.iter().any(|f| f.name == field);
    if let Some(unknown) = rules.events.iter().find(|e| !has_own("event") && !known.contains(&e.as_str())) {
        return Err(format!(
            "{} has no event \"{}\" that makes builds; it has: {}",
            provider.name(),
            printable(unknown),
            known.join(", ")
        ));
    }
    match rules.conclusions.iter().find(|c| !has_own("conclusion") && !CONCLUSIONS.contains(&c.as_str())) {
        Some(unknown) => {
            Err(format!("there is no conclusion \"{}\"; there are: {}", printable(unknown), CONCLUSIONS.join(", ")))
        }
        None => Ok(()),
    }
}

/// Decides what a report leads to.
///
/// # Errors
/// Why it makes no build, as the end of "ignored, because …".
pub fn decide(provider: &dyn Provider, rules: &CiRules, report: &Report, body: &Value) -> Result<Announcement, String> {
    let told = Told { provider: provider.name(), report, body, fields: &rules.fields };
    let defaults = provider.events().0;
    let event = told.field("event").ok_or("its event is not told")?;
    let has_own = rules.fields.iter().any(|f| f.name == "event");
    let is_default = defaults.contains(&report.event);
    let wanted =
        if rules.events.is_empty() { is_default } else { (is_default || !has_own) && rules.events.contains(&event) };
    if !wanted {
        return Err(format!("the event {} is not chosen", printable(&event)));
    }
    if provider.reach() != Reach::Webhook && rules.repositories.is_empty() {
        let name = provider.name();
        return Err(format!(
            "{name} proves the builds of other repositories too; name yours: coolops ci rules PROJECT {name} --repository …"
        ));
    }
    if report.from_fork && !rules.forks {
        return Err("its code may be a fork's; allow that with --forks true".to_owned());
    }
    chosen("repository", &rules.repositories, told.field("repository").as_deref())?;
    if !WITHOUT_WORKFLOW.contains(&report.event) {
        chosen("workflow", &rules.workflows, told.field("workflow").as_deref())?;
    }
    match told.field("tag") {
        // A tag may be called like a branch: where branches are chosen, tags are chosen by their own names.
        Some(tag) if rules.tags.is_empty() && chooses(&rules.branches) => {
            return Err(format!(
                "it is of the tag {}, and only branches are chosen; choose tags with --tag",
                printable(&tag)
            ));
        }
        Some(tag) => chosen("tag", &rules.tags, Some(&tag))?,
        None if chooses(&rules.tags) && rules.branches.is_empty() => {
            return Err("it is of no tag, and only tags are chosen; choose branches with --branch".to_owned());
        }
        None => chosen("branch", &rules.branches, told.field("branch").as_deref())?,
    }
    let branch = told.field("branch").unwrap_or_default();
    if (report.of_queue || is_of_a_queue(&branch)) && !asks_for_queues(rules, &branch) {
        let choose = queue_of(&branch).map_or(branch.clone(), |q| format!("{q}*"));
        return Err(format!(
            "it is a merge queue's ({}); choose it with --branch \"{}\" if you want those",
            printable(&branch),
            printable(&choose)
        ));
    }
    match told.field("conclusion") {
        Some(conclusion) if rules.conclusions.is_empty() && conclusion != "success" => {
            return Err(format!("the run's conclusion is {}", printable(&conclusion)));
        }
        Some(conclusion) if !rules.conclusions.is_empty() && !rules.conclusions.contains(&conclusion) => {
            return Err(format!("the conclusion {} is not chosen", printable(&conclusion)));
        }
        None if !rules.conclusions.is_empty() || rules.fields.iter().any(|f| f.name == "conclusion") => {
            return Err("its conclusion is not told".to_owned());
        }
        _ => {}
    }
    told.has_what_is_asked(rules)?;
    Ok(Announcement {
        run: told.run(),
        source: source(report),
        name: name(rules, &told)?,
        params: entries(PARAMS, &rules.params, &told),
        metadata: entries(METADATA, &rules.metadata, &told),
    })
}

/// What was built, as far as it can be read: a report that can't be read in this makes a build all the same.
fn source(report: &Report) -> Option<Source> {
    let repository = report.repository_url.as_deref().and_then(|url| names::repository(url).ok());
    let commit = report.commit.as_deref().and_then(|commit| names::commit(commit).ok());
    Source::of(repository, commit)
}

/// Beginnings of branches that merge queues make for themselves: what they build is not merged yet, and mostly never
/// looked at. Sources: the vendors' documentation of GitHub's merge queue, Mergify, Trunk, Graphite and bors.
const QUEUES: &[&str] = &[
    "gh-readonly-queue/",
    "mergify/merge-queue/",
    "trunk-merge/",
    "gtmq_",
    "graphite-base/",
    "automation/bors/",
    "refs/merge-requests/",
];
/// Whole names of such branches.
const QUEUE_NAMES: &[&str] = &["staging.tmp", "trying.tmp", "trying"];

fn is_of_a_queue(branch: &str) -> bool {
    QUEUES.iter().any(|q| branch.starts_with(q)) || QUEUE_NAMES.contains(&branch)
}

fn queue_of(branch: &str) -> Option<&'static str> {
    QUEUES.iter().find(|q| branch.starts_with(**q)).copied()
}

/// Whether something is chosen, and not only left out.
fn chooses(patterns: &[String]) -> bool {
    patterns.iter().any(|p| !p.starts_with('!'))
}

/// Whether one of the project's own patterns is about a merge queue's branches.
fn asks_for_queues(rules: &CiRules, branch: &str) -> bool {
    let is_about_queues = |pattern: &String| {
        // A pattern may end within a queue's name, and choose all queues of one tool.
        let plain = pattern.split('*').next().unwrap_or_default();
        is_of_a_queue(plain) || (plain.len() > 3 && QUEUES.iter().any(|q| q.starts_with(plain))) || pattern == branch
    };
    rules.branches.iter().any(|p| !p.starts_with('!') && is_about_queues(p))
}

/// Whether a project takes a repository's reports, and names it: where one address takes all repositories.
pub fn names_repository(rules: &CiRules, repository: &str) -> bool {
    !rules.repositories.is_empty() && chosen("repository", &rules.repositories, Some(repository)).is_ok()
}

/// Whether a value is among the patterns.
fn chosen(what: &str, patterns: &[String], value: Option<&str>) -> Result<(), String> {
    if patterns.is_empty() {
        return Ok(());
    }
    let Some(value) = value else { return Err(format!("its {what} is not told")) };
    let fits = |pattern: &str| WildMatch::new(pattern).matches(value);
    let mut wanted = patterns.iter().filter(|p| !p.starts_with('!')).peekable();
    let is_wanted = wanted.peek().is_none() || wanted.any(|p| fits(p));
    let is_excluded = patterns.iter().filter_map(|p| p.strip_prefix('!')).any(fits);
    if is_wanted && !is_excluded { Ok(()) } else { Err(format!("the {what} {} is not chosen", printable(value))) }
}

/// A report, the body that it was read from, and where the project says that fields are.
struct Told<'a> {
    provider: &'static str,
    report: &'a Report,
    body: &'a Value,
    fields: &'a [Entry],
}

impl Told<'_> {
    fn field(&self, name: &str) -> Option<String> {
        debug_assert!(
            ["short_commit", "pull_request_link"].contains(&name) || FIELDS.contains(&name),
            "templates are checked"
        );
        let own = |name: &str| self.fields.iter().find(|f| f.name == name).map(|place| text(self.body, &place.value));
        // Where a reference stands it is read as such, as those are that CI systems are known to tell.
        let reference = || own("branch").flatten().map(|text| Reference::of(&text));
        match (name, own(name)) {
            ("branch", Some(_)) => return reference().and_then(Reference::branch),
            ("tag", None) => {
                if let Some(Reference::Tag(tag)) = reference() {
                    return Some(tag);
                }
            }
            (_, Some(told)) => return told,
            (_, None) => {}
        }
        let r = self.report;
        match name {
            "event" => Some(r.event.to_owned()),
            "repository" => r.repository.clone(),
            "workflow" => r.workflow.clone(),
            "branch" => r.branch.clone(),
            "tag" => r.tag.clone(),
            "commit" => r.commit.clone(),
            "short_commit" => self.field("commit").map(|c| c.chars().take(7).collect()),
            "message" => r.message.clone(),
            "author" => r.author.clone(),
            "pull_request" => r.pull_request.clone(),
            // GitLab writes its merge requests with an exclamation mark; whoever tells an address gets a link.
            "pull_request_link" => {
                let number = r.pull_request.as_ref()?;
                let mark = if self.provider == "gitlab" { '!' } else { '#' };
                Some(match &r.pull_request_url {
                    Some(url) => format!("{mark}{number} {url}"),
                    None => format!("{mark}{number}"),
                })
            }
            "number" => r.number.clone(),
            "attempt" => Some(r.attempt.max(1).to_string()),
            "url" => r.url.clone(),
            "conclusion" => r.conclusion.clone(),
            _ => None,
        }
    }

    /// Places that the project asks for must not hold what was taken out as a secret: it would become a name or a
    /// param.
    fn has_what_is_asked(&self, rules: &CiRules) -> Result<(), String> {
        let templates = rules.name.iter().chain(rules.params.iter().chain(&rules.metadata).map(|e| &e.value));
        let parts: Vec<Part<'_>> = templates.flat_map(|t| template(t).unwrap_or_default()).collect();
        let places = parts.iter().filter_map(|p| if let Part::Pointer(pointer) = p { Some(*pointer) } else { None });
        let mut places = places.chain(self.fields.iter().map(|f| f.value.as_str()));
        match places.find(|p| text(self.body, p).is_some_and(|value| value == REDACTED)) {
            Some(place) => Err(format!(
                "the place {} may hold a secret, which is never kept; ask for another one",
                printable(place)
            )),
            None => Ok(()),
        }
    }

    /// The run, and what its attempts have in common.
    fn run(&self) -> Option<CiRun> {
        let id = self.report.run.as_ref()?;
        let has_own = self.fields.iter().any(|f| f.name == "workflow");
        let workflow = self.report.workflow_path.clone().filter(|_| !has_own).or_else(|| self.field("workflow"));
        let of = [self.field("repository"), workflow, self.field("number")].map(Option::unwrap_or_default);
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
        Some(CiRun { of: cut(&of.join(" ")), id: cut(&format!("{id} {}", self.attempt())) })
    }

    /// The attempt, where the report or the project's rules tell it.
    fn attempt(&self) -> u64 {
        self.field("attempt").and_then(|a| a.parse().ok()).unwrap_or(1)
    }

    fn part(&self, part: &Part<'_>) -> Option<String> {
        match part {
            Part::Text(text) => Some((*text).to_owned()),
            Part::Field(name) => self.field(name),
            Part::Pointer(pointer) => text(self.body, pointer),
        }
    }
}

/// Names of the same run when another one has the name already: with its workflow or job, which tells it from others of its
/// repository, and then with its repository too.
pub fn names_apart(rules: &CiRules, report: &Report, name: &str) -> Vec<String> {
    if rules.name.is_some() {
        return vec![];
    }
    let (workflow, repository) =
        (report.workflow_path.as_ref().or(report.workflow.as_ref()), report.repository.as_ref());
    let with = |before: &str, name: &str| {
        let part: String = in_a_name(before).collect();
        if part.is_empty() { name.to_owned() } else { format!("{part}-{name}") }
    };
    let of_workflow = workflow.map_or_else(|| name.to_owned(), |workflow| with(workflow, name));
    let of_repository = repository.map_or_else(|| of_workflow.clone(), |repository| with(repository, &of_workflow));
    let mut apart = vec![of_workflow, of_repository];
    apart.dedup();
    apart.retain(|apart| apart != name && apart.chars().count() <= NAME_MAX + 10);
    apart
}

/// The build's name. A re-run has the name of the run and its attempt.
fn name(rules: &CiRules, told: &Told<'_>) -> Result<String, String> {
    let parts = template(rules.name.as_deref().unwrap_or(NAME)).map_err(|e| e.to_string())?;
    let short = || told.field("short_commit");
    let mut name = String::new();
    for part in &parts {
        let value = told.part(part).or_else(|| match part {
            // Some runs have no branch: of a tag, of a pull request, of a bare commit.
            Part::Field("branch") => told
                .field("tag")
                .map(|tag| format!("tag-{tag}"))
                .or_else(|| told.field("pull_request").map(|n| format!("pr-{n}")))
                .or_else(short)
                // A job without a repository is known by its own name.
                .or_else(|| told.field("workflow"))
                .or(Some("build".to_owned())),
            Part::Field("number") => short(),
            _ => None,
        });
        match (part, value) {
            (Part::Text(text), _) => name.push_str(text),
            (_, Some(value)) => name.extend(in_a_name(&value)),
            (Part::Field("number"), None) => {
                return Err(
                    "it tells neither a number nor a commit to name the build by; say where one is with --field number=/…".to_owned()
                );
            }
            (_, None) => {}
        }
    }
    let mut name: String = name.trim().chars().take(NAME_MAX).collect();
    if told.attempt() > 1 && !parts.contains(&Part::Field("attempt")) {
        name.push_str(&format!("-{}", told.attempt()));
    }
    if name.chars().all(|c| c.is_whitespace() || c == '-') {
        return Err("the fields that name the build are all empty".to_owned());
    }
    Ok(name)
}

/// A field as it stands in a name: the original's rule of `/` to `-`, widened to all that isn't a letter, a digit or
/// plain.
fn in_a_name(value: &str) -> impl Iterator<Item = char> {
    value.chars().take(PART_MAX).map(|c| if c.is_alphanumeric() || "-_.+#@:".contains(c) { c } else { '-' })
}

/// The defaults that the report tells, with the project's own in place of those of the same name, then its others.
fn entries(defaults: &[(&str, &str)], own: &[Entry], told: &Told<'_>) -> Vec<Entry> {
    let own_of = |name: &str| own.iter().rev().find(|e| e.name == name).map(|e| e.value.as_str());
    let known = defaults.iter().map(|(name, default)| (*name, own_of(name).unwrap_or(default)));
    let others = own
        .iter()
        .filter(|e| !defaults.iter().any(|(name, _)| *name == e.name))
        .map(|e| (e.name.as_str(), e.value.as_str()));
    known
        .chain(others)
        .filter_map(|(name, template)| Some(Entry { name: name.to_owned(), value: filled(template, told)? }))
        .collect()
}

/// A template with its fields filled in; nothing when it is empty or asks for what isn't told.
fn filled(text: &str, told: &Told<'_>) -> Option<String> {
    let value: String = template(text).ok()?.iter().map(|part| told.part(part)).collect::<Option<_>>()?;
    let value = value.replace('\0', "\u{fffd}");
    if value.len() <= VALUE_MAX {
        return Some(value).filter(|v| !v.is_empty());
    }
    let mut end = VALUE_MAX - '…'.len_utf8();
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    Some(format!("{}…", &value[..end]))
}

#[cfg(test)]
mod tests {
    use super::super::provider;
    use super::*;

    fn report() -> Report {
        let some = |text: &str| Some(text.to_owned());
        Report {
            event: "workflow_run",
            repository: some("octocat/hello"),
            workflow: some("CI"),
            branch: some("feature/x"),
            commit: some("0123456789abcdef"),
            message: some("Say <!channel>\n\nlonger"),
            number: some("42"),
            attempt: 1,
            conclusion: some("success"),
            ..Report::default()
        }
    }

    fn decided(rules: &CiRules, report: &Report) -> Result<Announcement, String> {
        let body = serde_json::json!({ "workflow_run": { "id": 7 }, "empty": "" });
        decide(provider("github").unwrap(), rules, report, &body)
    }

    fn entry(name: &str, value: &str) -> Entry {
        Entry { name: name.into(), value: value.into() }
    }

    #[test]
    fn a_run_makes_a_build_named_after_branch_and_number() {
        let made = decided(&CiRules::default(), &report()).unwrap();
        assert_eq!(made.name, "feature-x-42");
        assert_eq!(
            made.params,
            [entry("BRANCH", "feature/x"), entry("COMMIT", "0123456789abcdef"), entry("BUILD_NUMBER", "42")]
        );
        let titles: Vec<_> = made.metadata.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(titles, ["Workflow", "Branch", "Commit", "Message"]);
        assert_eq!(decided(&CiRules::default(), &Report { attempt: 3, ..report() }).unwrap().name, "feature-x-42-3");
    }

    #[test]
    fn what_is_not_chosen_is_ignored_with_the_reason() {
        let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        for (rules, why) in [
            (
                CiRules { branches: list(&["main", "release/*"]), ..CiRules::default() },
                "the branch feature/x is not chosen",
            ),
            (CiRules { branches: list(&["!feature/*"]), ..CiRules::default() }, "the branch feature/x is not chosen"),
            (CiRules { workflows: list(&["Deploy"]), ..CiRules::default() }, "the workflow CI is not chosen"),
            (
                CiRules { repositories: list(&["octocat/other"]), ..CiRules::default() },
                "the repository octocat/hello is not chosen",
            ),
            (CiRules { events: list(&["release"]), ..CiRules::default() }, "the event workflow_run is not chosen"),
            (CiRules { conclusions: list(&["failure"]), ..CiRules::default() }, "the conclusion success is not chosen"),
        ] {
            assert_eq!(decided(&rules, &report()).unwrap_err(), why);
        }
        let on_push = CiRules {
            events: list(&["push"]),
            fields: vec![entry("event", "/workflow_run/event")],
            ..CiRules::default()
        };
        let body = |event: &str| serde_json::json!({ "workflow_run": { "event": event } });
        let by = |event: &str| decide(provider("github").unwrap(), &on_push, &report(), &body(event));
        assert_eq!(by("schedule").unwrap_err(), "the event schedule is not chosen");
        assert!(by("push").is_ok() && check(provider("github").unwrap(), &on_push).is_ok());
        let workflows = CiRules { workflows: list(&["CI"]), ..CiRules::default() };
        assert_eq!(
            decided(&workflows, &Report { workflow: None, ..report() }).unwrap_err(),
            "its workflow is not told"
        );
        let rules = CiRules { branches: list(&["feature/*"]), ..CiRules::default() };
        assert!(decided(&rules, &report()).is_ok());
        assert_eq!(decided(&rules, &Report { branch: None, ..report() }).unwrap_err(), "its branch is not told");
        let failed = Report { conclusion: Some("failure".into()), ..report() };
        assert_eq!(decided(&CiRules::default(), &failed).unwrap_err(), "the run's conclusion is failure");
        let fork = Report { from_fork: true, ..report() };
        assert!(decided(&CiRules::default(), &fork).unwrap_err().contains("--forks"));
        assert!(decided(&CiRules { forks: true, ..CiRules::default() }, &fork).is_ok());
    }

    #[test]
    fn tags_and_branches_of_one_name_are_told_apart() {
        let list = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let tag = Report { branch: None, tag: Some("main".into()), ..report() };
        let branch = Report { branch: Some("main".into()), ..report() };
        let main = CiRules { branches: list(&["main"]), ..CiRules::default() };
        assert!(decided(&main, &branch).is_ok());
        assert!(decided(&main, &tag).unwrap_err().contains("of the tag main, and only branches are chosen"));
        let tags = CiRules { tags: list(&["v*", "main"]), ..CiRules::default() };
        assert!(decided(&tags, &tag).is_ok());
        assert!(decided(&tags, &branch).unwrap_err().contains("of no tag"));
        let both = CiRules { branches: list(&["main"]), tags: list(&["v*"]), ..CiRules::default() };
        assert_eq!(decided(&both, &tag).unwrap_err(), "the tag main is not chosen");
        assert!(decided(&both, &branch).is_ok() && decided(&CiRules::default(), &tag).is_ok());
        let made = decided(&CiRules::default(), &tag).unwrap();
        assert!(made.params.contains(&entry("TAG", "main")) && !made.params.iter().any(|p| p.name == "BRANCH"));
        assert_eq!(
            (made.name.as_str(), decided(&CiRules::default(), &branch).unwrap().name.as_str()),
            ("tag-main-42", "main-42")
        );
    }

    #[test]
    fn a_merge_queue_s_branches_make_no_builds_unless_they_are_asked_for() {
        let queue = Report { branch: Some("gh-readonly-queue/main/pr-7-abc".into()), ..report() };
        assert!(decided(&CiRules::default(), &queue).unwrap_err().contains("it is a merge queue's"));
        let any = CiRules { branches: vec!["*".into()], ..CiRules::default() };
        assert!(decided(&any, &queue).is_err());
        let asked = CiRules { branches: vec!["gh-readonly-queue/*".into()], ..CiRules::default() };
        assert!(decided(&asked, &queue).is_ok());
        // GitLab's trains, where the server tells them.
        let train = Report { branch: Some("refs/merge-requests/7/train".into()), of_queue: true, ..report() };
        assert!(
            decided(&CiRules::default(), &train)
                .unwrap_err()
                .contains("choose it with --branch \"refs/merge-requests/*\"")
        );
        assert!(
            decided(&CiRules { branches: vec!["refs/merge-requests/*".into()], ..CiRules::default() }, &train).is_ok()
        );
        // What only leaves out chooses nothing: tags still make builds.
        let tag = Report { branch: None, tag: Some("v1".into()), ..report() };
        assert!(decided(&CiRules { branches: vec!["!dependabot/*".into()], ..CiRules::default() }, &tag).is_ok());
    }

    #[test]
    fn a_project_names_and_maps_as_it_likes() {
        let rules = CiRules {
            name: Some("{workflow} {/workflow_run/id}".into()),
            params: vec![entry("COMMIT", ""), entry("ID", "run-{/workflow_run/id}"), entry("NONE", "{/empty}")],
            metadata: vec![entry("Branch", "on {branch}")],
            ..CiRules::default()
        };
        let made = decided(&rules, &report()).unwrap();
        assert_eq!(made.name, "CI 7");
        assert_eq!(made.params, [entry("BRANCH", "feature/x"), entry("BUILD_NUMBER", "42"), entry("ID", "run-7")]);
        assert!(made.metadata.contains(&entry("Branch", "on feature/x")));
    }

    #[test]
    fn nothing_that_is_missing_or_monstrous_fails_a_build() {
        let bare = Report { event: "workflow_run", commit: Some("abcdef0123".into()), ..Report::default() };
        assert_eq!(decided(&CiRules::default(), &bare).unwrap().name, "abcdef0-abcdef0");
        let none = Report { event: "workflow_run", ..Report::default() };
        assert!(decided(&CiRules::default(), &none).unwrap_err().contains("--field number="));
        let huge = Report { branch: Some("é\n\0".repeat(9_000)), message: Some("💥".repeat(25_000)), ..report() };
        let made = decided(&CiRules::default(), &huge).unwrap();
        assert!(crate::domain::names::build_name(&made.name).is_ok());
        assert!(
            made.metadata.iter().chain(&made.params).all(|e| crate::domain::names::value(&e.name, &e.value).is_ok())
        );
    }
}
