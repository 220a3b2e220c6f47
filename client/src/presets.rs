//! What each CI system tells a job, as names of variables: the build's name and metadata are made of it.
//!
//! Sources: the vendors' lists of predefined variables. An empty variable counts as unset. The names and titles of
//! `circleci` and `gitlab` are the original coolOps.io's, to the letter, but for forks and for what it had no name for.

use serde_json::Value;

use crate::{limits, told};

/// Where git keeps what it knows of others' branches.
const REMOTES: &str = "refs/remotes/";
/// Longest commit message that is sent, in bytes; a metadata value may have 10,000.
const MESSAGE_MAX: usize = 9_000;
/// Longest branch, and longest number, in a name, in characters; a build's name may have 200.
const PART_MAX: usize = 90;

/// What a preset can ask. Passed in, so that tests can answer.
pub struct Surroundings<'a> {
    /// A variable's value, unless it is unset or empty.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What git prints, where there is a checkout.
    pub git: &'a dyn Fn(&[&str]) -> Option<String>,
    /// GitHub's description of what the job runs for.
    pub event: Option<Value>,
}

impl<'a> Surroundings<'a> {
    /// Asks through the given functions.
    pub fn new(
        variable: &'a dyn Fn(&str) -> Option<String>,
        git: &'a dyn Fn(&[&str]) -> Option<String>,
        file: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let event = variable("GITHUB_EVENT_PATH").and_then(|path| serde_json::from_str(&file(&path)?).ok());
        Self { variable, git, event }
    }

    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|n| (self.variable)(n))
    }

    /// What git says of a commit, where there is a checkout that has it.
    fn logged(&self, commit: &str, format: &str) -> Option<String> {
        let text = (self.git)(&["log", &format!("--format={format}"), "-n", "1", commit, "--"])?;
        Some(text.trim().to_owned()).filter(|t| !t.is_empty())
    }

    pub(crate) fn of_event(&self, pointers: &[&str]) -> Option<String> {
        let text = |pointer: &&str| {
            Some(self.event.as_ref()?.pointer(pointer)?.as_str()?.to_owned()).filter(|t| !t.is_empty())
        };
        pointers.iter().find_map(text)
    }
}

/// A CI system.
pub struct Preset {
    /// The end of its command.
    pub name: &'static str,
    /// How people call it.
    pub title: &'static str,
    /// The variable, and the value where one is needed, by which it is recognised.
    pub(crate) sign: (&'static str, Option<&'static str>),
    pub(crate) branch: &'static [&'static str],
    /// What the numbers are counted in, where that is something else than the branch: it is in the name in its place.
    pub(crate) counted_in: &'static [&'static str],
    pub(crate) number: &'static [&'static str],
    /// Counts the attempts, beginning with this number; later ones go into the name.
    pub(crate) attempt: Option<(&'static str, u32)>,
    pub(crate) commit: &'static [&'static str],
    /// The repository's address: the first of these that is told.
    pub(crate) repository: &'static [&'static str],
    /// Whose repository the branch is of: the first of these that is told; and the variable that says whose is built. Where
    /// they differ the branch is a fork's. Where nothing is told of forks, or they are named otherwise, there is none.
    pub(crate) fork: (&'static [&'static str], Option<&'static str>),
    /// Only where there is no checkout that has the commit.
    pub(crate) message: &'static [&'static str],
    /// Only where there is no checkout that has the commit.
    pub(crate) author: &'static [&'static str],
    /// What is not part of a branch's name.
    pub(crate) strip: &'static [&'static str],
    pub(crate) shows: Shows,
    /// The run's address: the first of these that is told.
    pub(crate) url: &'static [&'static str],
    /// The pull request: the same.
    pub(crate) pull_request: &'static [&'static str],
}

/// Which entries the message gets.
#[derive(Clone, Copy)]
pub(crate) enum Shows {
    /// Pull Request and Last Commit, as the original.
    CircleCi,
    /// Job Url and Last Commit, as the original.
    GitLab,
    /// What a webhook's message shows, under the same titles.
    All,
}

impl Shows {
    /// What the script calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CircleCi => "circleci",
            Self::GitLab => "gitlab",
            Self::All => "all",
        }
    }
}

/// In the order in which they are recognised: some set the variables of others too.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "github",
        title: "GitHub Actions",
        sign: ("GITHUB_ACTIONS", None),
        branch: &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"],
        counted_in: &[],
        number: &["GITHUB_RUN_NUMBER"],
        attempt: Some(("GITHUB_RUN_ATTEMPT", 1)),
        commit: &["GITHUB_SHA"],
        repository: &["{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}"],
        fork: (
            &[
                "{event:/workflow_run/head_repository/full_name}",
                "{event:/pull_request/head/repo/full_name}",
                // One that was deleted has no name any more.
                "{event:/pull_request/head/user/login}",
                "{event:/workflow_run/url:fork}",
            ],
            Some("GITHUB_REPOSITORY"),
        ),
        message: &[],
        author: &["GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"],
        strip: &[],
        shows: Shows::All,
        url: &["{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}"],
        pull_request: &[
            "{event:/pull_request/html_url}",
            "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/pull/{GITHUB_REF:pull}",
        ],
    },
    Preset {
        name: "woodpecker",
        title: "Woodpecker",
        sign: ("CI", Some("woodpecker")),
        branch: &["CI_COMMIT_TAG", "CI_COMMIT_SOURCE_BRANCH", "CI_COMMIT_BRANCH"],
        counted_in: &[],
        number: &["CI_PIPELINE_NUMBER"],
        attempt: Some(("CI_PIPELINE_RERUNS", 0)),
        commit: &["CI_COMMIT_SHA"],
        repository: &["{CI_REPO_URL}"],
        fork: (&[], None),
        message: &["CI_COMMIT_MESSAGE"],
        author: &["CI_COMMIT_AUTHOR"],
        strip: &[],
        shows: Shows::All,
        url: &["{CI_PIPELINE_URL}"],
        pull_request: &["#{CI_COMMIT_PULL_REQUEST}"],
    },
    Preset {
        name: "gitlab",
        title: "GitLab CI",
        sign: ("GITLAB_CI", None),
        // The slug of a branch without Latin letters is empty.
        branch: &["CI_COMMIT_REF_SLUG", "CI_COMMIT_REF_NAME"],
        counted_in: &[],
        number: &["CI_JOB_ID"],
        attempt: None,
        commit: &["CI_COMMIT_SHA"],
        repository: &["{CI_PROJECT_URL}"],
        fork: (&["{CI_MERGE_REQUEST_SOURCE_PROJECT_PATH}"], Some("CI_PROJECT_PATH")),
        message: &["CI_COMMIT_MESSAGE"],
        author: &["CI_COMMIT_AUTHOR", "GITLAB_USER_NAME"],
        strip: &[],
        shows: Shows::GitLab,
        url: &["{CI_JOB_URL}"],
        pull_request: &["!{CI_MERGE_REQUEST_IID}"],
    },
    Preset {
        name: "circleci",
        title: "CircleCI",
        sign: ("CIRCLECI", None),
        branch: &["CIRCLE_TAG", "CIRCLE_BRANCH"],
        counted_in: &[],
        number: &["CIRCLE_BUILD_NUM"],
        attempt: None,
        commit: &["CIRCLE_SHA1"],
        repository: &["{CIRCLE_REPOSITORY_URL}"],
        fork: (&[], None),
        message: &[],
        author: &["CIRCLE_USERNAME"],
        strip: &[],
        shows: Shows::CircleCi,
        url: &["{CIRCLE_BUILD_URL}"],
        pull_request: &["{CIRCLE_PULL_REQUEST}"],
    },
    Preset {
        name: "buildkite",
        title: "Buildkite",
        sign: ("BUILDKITE", None),
        branch: &["BUILDKITE_TAG", "BUILDKITE_BRANCH"],
        counted_in: &[],
        number: &["BUILDKITE_BUILD_NUMBER"],
        // A job that is retried is the same build: its name counts the retries.
        attempt: Some(("BUILDKITE_RETRY_COUNT", 0)),
        commit: &["BUILDKITE_COMMIT"],
        repository: &["{BUILDKITE_REPO}"],
        fork: (&[], None),
        message: &["BUILDKITE_MESSAGE"],
        author: &["BUILDKITE_BUILD_AUTHOR", "BUILDKITE_BUILD_CREATOR"],
        strip: &[],
        shows: Shows::All,
        url: &["{BUILDKITE_BUILD_URL}"],
        pull_request: &["#{BUILDKITE_PULL_REQUEST:number}"],
    },
    Preset {
        name: "bitbucket",
        title: "Bitbucket Pipelines",
        sign: ("BITBUCKET_BUILD_NUMBER", None),
        branch: &["BITBUCKET_TAG", "BITBUCKET_BRANCH"],
        counted_in: &[],
        number: &["BITBUCKET_BUILD_NUMBER"],
        attempt: Some(("BITBUCKET_STEP_RUN_NUMBER", 1)),
        commit: &["BITBUCKET_COMMIT"],
        repository: &["{BITBUCKET_GIT_HTTP_ORIGIN}"],
        fork: (&[], None),
        message: &[],
        author: &[],
        strip: &[],
        shows: Shows::All,
        url: &["{BITBUCKET_GIT_HTTP_ORIGIN}/pipelines/results/{BITBUCKET_BUILD_NUMBER}"],
        pull_request: &["#{BITBUCKET_PR_ID}"],
    },
    Preset {
        name: "drone",
        title: "Drone",
        sign: ("DRONE", None),
        branch: &["DRONE_TAG", "DRONE_SOURCE_BRANCH", "DRONE_BRANCH"],
        counted_in: &[],
        number: &["DRONE_BUILD_NUMBER"],
        attempt: None,
        commit: &["DRONE_COMMIT_SHA"],
        repository: &["{DRONE_REPO_LINK}"],
        fork: (&[], None),
        message: &["DRONE_COMMIT_MESSAGE"],
        author: &["DRONE_COMMIT_AUTHOR_NAME", "DRONE_COMMIT_AUTHOR"],
        strip: &[],
        shows: Shows::All,
        url: &["{DRONE_BUILD_LINK}"],
        pull_request: &["#{DRONE_PULL_REQUEST}"],
    },
    Preset {
        name: "travis",
        title: "Travis CI",
        sign: ("TRAVIS", None),
        branch: &["TRAVIS_TAG", "TRAVIS_PULL_REQUEST_BRANCH", "TRAVIS_BRANCH"],
        counted_in: &[],
        number: &["TRAVIS_BUILD_NUMBER"],
        attempt: None,
        commit: &["TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"],
        repository: &[],
        fork: (&["{TRAVIS_PULL_REQUEST_SLUG}"], Some("TRAVIS_REPO_SLUG")),
        message: &["TRAVIS_COMMIT_MESSAGE"],
        author: &[],
        strip: &[],
        shows: Shows::All,
        url: &["{TRAVIS_BUILD_WEB_URL}", "{TRAVIS_JOB_WEB_URL}"],
        pull_request: &["#{TRAVIS_PULL_REQUEST:number}"],
    },
    Preset {
        name: "azure",
        title: "Azure Pipelines",
        sign: ("TF_BUILD", None),
        // BUILD_SOURCEBRANCHNAME is only the last part of the path.
        branch: &["SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCH"],
        counted_in: &[],
        number: &["BUILD_BUILDNUMBER", "BUILD_BUILDID"],
        attempt: Some(("SYSTEM_JOBATTEMPT", 1)),
        commit: &["BUILD_SOURCEVERSION"],
        repository: &["{BUILD_REPOSITORY_URI}"],
        fork: (&["{SYSTEM_PULLREQUEST_ISFORK:fork}"], None),
        message: &["BUILD_SOURCEVERSIONMESSAGE"],
        author: &["BUILD_REQUESTEDFOR"],
        strip: &["refs/heads/", "refs/tags/", REMOTES, "refs/"],
        shows: Shows::All,
        url: &["{SYSTEM_COLLECTIONURI:trimmed}/{SYSTEM_TEAMPROJECT:path}/_build/results?buildId={BUILD_BUILDID}"],
        pull_request: &["#{SYSTEM_PULLREQUEST_PULLREQUESTNUMBER}", "#{SYSTEM_PULLREQUEST_PULLREQUESTID}"],
    },
    Preset {
        name: "jenkins",
        title: "Jenkins",
        sign: ("JENKINS_URL", None),
        branch: &["TAG_NAME", "CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"],
        // Each job counts for itself, and a pull request's is another one than its branch's.
        counted_in: &["TAG_NAME", "BRANCH_NAME", "GIT_BRANCH"],
        number: &["BUILD_NUMBER"],
        attempt: None,
        commit: &["GIT_COMMIT"],
        repository: &["{GIT_URL}"],
        fork: (&["{CHANGE_FORK}"], None),
        message: &["CHANGE_TITLE"],
        author: &["CHANGE_AUTHOR"],
        strip: &["origin/", "refs/heads/", "refs/tags/", REMOTES],
        shows: Shows::All,
        url: &["{BUILD_URL}"],
        pull_request: &["{CHANGE_URL}"],
    },
];

/// The preset of a name.
pub fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}

/// The CI system that this is.
pub fn recognised(s: &Surroundings<'_>) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| {
        let (variable, wanted) = p.sign;
        (s.variable)(variable).is_some_and(|value| wanted.is_none_or(|w| value == w))
    })
}

impl Preset {
    /// The build's name: branch, or what the numbers are counted in, dash, number; with the attempt where there are several.
    ///
    /// # Errors
    /// The variables that are missing, as a sentence.
    pub fn build_name(&self, s: &Surroundings<'_>) -> Result<String, String> {
        let named_by = if self.counted_in.is_empty() { self.branch } else { self.counted_in };
        let branch = match self.counted_in {
            [] => self.branch_here(s),
            _ => s.first(self.counted_in).map(|name| self.stripped(&name).to_owned()),
        };
        let number = s.first(self.number);
        let either = |names: &[&str]| names.iter().map(|n| format!("${n}")).collect::<Vec<_>>().join(" or ");
        let missing = [(branch.is_none(), named_by), (number.is_none(), self.number)];
        let missing: Vec<String> =
            missing.iter().filter(|(is_missing, _)| *is_missing).map(|(_, names)| either(names)).collect();
        let (Some(branch), Some(number)) = (branch, number) else {
            return Err(format!(
                "A build of {} is named by variables that are not set: {}.\nIs this a job of {0}? Otherwise give the name with --name.",
                self.title,
                missing.join(", and ")
            ));
        };
        let attempt = self.attempt.and_then(|(variable, first)| {
            let attempt: u32 = (s.variable)(variable)?.trim().parse().ok()?;
            (attempt > first).then(|| format!("-{}", attempt - first + 1))
        });
        Ok(format!("{}-{}{}", in_a_name(&branch), in_a_name(&number), attempt.unwrap_or_default()))
    }

    /// The branch; a fork's with whose it is before it, as GitHub writes it: `owner:main` is not `main`.
    fn branch_here(&self, s: &Surroundings<'_>) -> Option<String> {
        let own = || s.first(self.branch).map(|name| self.stripped(&name).to_owned());
        let branch = self.triggering(s, "/head_branch").or_else(own)?;
        Some(match self.fork_here(s).filter(|_| !branch.is_empty()) {
            Some(owner) => format!("{owner}:{branch}"),
            None => branch,
        })
    }

    /// Whose fork the branch is of, if it is one's.
    fn fork_here(&self, s: &Surroundings<'_>) -> Option<String> {
        let (theirs, ours) = self.fork;
        let theirs = told::first(theirs, s)?;
        let is_ours = ours.is_some_and(|ours| (s.variable)(ours).as_ref() == Some(&theirs));
        (!is_ours).then(|| theirs.split('/').next().unwrap_or_default().to_owned())
    }

    /// A branch without what is not part of its name.
    fn stripped<'a>(&self, name: &'a str) -> &'a str {
        let stripped = self.strip.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
        // `refs/remotes/origin/main`, whatever the remote is called.
        let of_remote = self.strip.contains(&REMOTES).then(|| name.strip_prefix(REMOTES)?.split_once('/')).flatten();
        of_remote.map_or(stripped, |(_, branch)| branch)
    }

    /// What GitHub says of the run that started this one: a job for `workflow_run` runs on the default branch, whatever
    /// it is about.
    fn triggering(&self, s: &Surroundings<'_>, field: &str) -> Option<String> {
        if self.name != "github" || (s.variable)("GITHUB_EVENT_NAME").is_some_and(|event| event != "workflow_run") {
            return None;
        }
        s.of_event(&[&format!("/workflow_run{field}")])
    }

    /// What the message shows, by title.
    pub fn metadata(&self, s: &Surroundings<'_>) -> Vec<(String, String)> {
        let commit = self.commit_here(s);
        let logged = |format: &str| s.logged(commit.as_deref()?, format);
        let message = || self.message_here(s, logged("%B"));
        let entry = |title: &str, value: Option<String>| value.map(|v| (title.to_owned(), v));
        let entries = match self.shows {
            Shows::CircleCi => vec![
                entry(
                    "Pull Request",
                    Some(told::first(self.pull_request, s).unwrap_or_else(|| "_No Pull Request_".to_owned())),
                ),
                // Without a checkout there is none to show, and an empty fence would be six backticks.
                entry("Last Commit", message().map(|m| format!("```{m}```"))),
            ],
            Shows::GitLab => vec![
                entry("Job Url", Some(told::first(self.url, s).unwrap_or_default())),
                entry("Last Commit", message().map(|m| format!("```{m}```"))),
            ],
            Shows::All => vec![
                entry("Branch", self.branch_here(s)),
                entry("Commit", commit.as_ref().map(|c| c.chars().take(7).collect())),
                entry("Author", self.author_here(s, logged("%an"))),
                entry("Message", message()),
                entry("Pull request", told::first(self.pull_request, s)),
                entry("Run", told::first(self.url, s)),
            ],
        };
        entries.into_iter().flatten().collect()
    }

    /// The repository's address on the web, and the commit's hash, as far as they are told.
    pub fn source(&self, s: &Surroundings<'_>) -> (Option<String>, Option<String>) {
        let of_git = || (s.git)(&["remote", "get-url", "origin"]);
        let repository = told::first(self.repository, s).or_else(of_git).and_then(|url| limits::repository(&url).ok());
        (repository, self.commit_here(s).and_then(|commit| limits::commit(&commit).ok()))
    }

    /// The commit's hash; of a pull request on GitHub its own, not that of the merge. What is no hash is not believed:
    /// it would reach git as an option.
    fn commit_here(&self, s: &Surroundings<'_>) -> Option<String> {
        let is_hash = |c: &String| (7..=64).contains(&c.len()) && c.bytes().all(|b| b.is_ascii_hexdigit());
        let of_event = self.triggering(s, "/head_sha").or_else(|| s.of_event(&["/pull_request/head/sha"]));
        of_event.into_iter().chain(s.first(self.commit)).find(is_hash).or_else(|| {
            let head = (s.git)(&["rev-parse", "HEAD"])?;
            Some(head.trim().to_owned()).filter(is_hash)
        })
    }

    fn message_here(&self, s: &Surroundings<'_>, logged: Option<String>) -> Option<String> {
        let of_event = || {
            s.of_event(&[
                "/workflow_run/head_commit/message",
                "/workflow_run/display_title",
                "/head_commit/message",
                "/pull_request/title",
            ])
        };
        let message = logged.or_else(|| s.first(self.message)).or_else(of_event)?;
        Some(cut(message.trim())).filter(|m| !m.is_empty())
    }

    fn author_here(&self, s: &Surroundings<'_>, logged: Option<String>) -> Option<String> {
        let of_event = || {
            s.of_event(&[
                "/workflow_run/head_commit/author/name",
                "/head_commit/author/name",
                "/pull_request/user/login",
            ])
        };
        let author = logged.or_else(of_event).or_else(|| s.first(self.author))?;
        // "Name <mail>".
        Some(author.split('<').next().unwrap_or_default().trim().to_owned()).filter(|a| !a.is_empty())
    }
}

/// The original's rule, `/` to `-`, and no more than fits.
fn in_a_name(text: &str) -> String {
    text.replace('/', "-").chars().take(PART_MAX).collect()
}

fn cut(text: &str) -> String {
    if text.len() <= MESSAGE_MAX {
        return text.to_owned();
    }
    let end = (0..=MESSAGE_MAX).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests;
