//! What each CI system tells a job, as names of variables: the build's name and metadata are made of it.
//!
//! Sources: the vendors' lists of predefined variables. An empty variable counts as unset. The names and titles of
//! `circleci` and `gitlab` are the original coolOps.io's, to the letter.

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
    pub(crate) number: &'static [&'static str],
    /// Counts the attempts, beginning with this number; later ones go into the name.
    pub(crate) attempt: Option<(&'static str, u32)>,
    pub(crate) commit: &'static [&'static str],
    /// The repository's address: the first of these that is told.
    pub(crate) repository: &'static [&'static str],
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
        number: &["GITHUB_RUN_NUMBER"],
        attempt: Some(("GITHUB_RUN_ATTEMPT", 1)),
        commit: &["GITHUB_SHA"],
        repository: &["{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}"],
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
        number: &["CI_PIPELINE_NUMBER"],
        attempt: Some(("CI_PIPELINE_RERUNS", 0)),
        commit: &["CI_COMMIT_SHA"],
        repository: &["{CI_REPO_URL}"],
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
        branch: &["CI_COMMIT_REF_SLUG"],
        number: &["CI_JOB_ID"],
        attempt: None,
        commit: &["CI_COMMIT_SHA"],
        repository: &["{CI_PROJECT_URL}"],
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
        number: &["CIRCLE_BUILD_NUM"],
        attempt: None,
        commit: &["CIRCLE_SHA1"],
        repository: &["{CIRCLE_REPOSITORY_URL}"],
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
        number: &["BUILDKITE_BUILD_NUMBER"],
        // A job that is retried is the same build: its name counts the retries.
        attempt: Some(("BUILDKITE_RETRY_COUNT", 0)),
        commit: &["BUILDKITE_COMMIT"],
        repository: &["{BUILDKITE_REPO}"],
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
        number: &["BITBUCKET_BUILD_NUMBER"],
        attempt: Some(("BITBUCKET_STEP_RUN_NUMBER", 1)),
        commit: &["BITBUCKET_COMMIT"],
        repository: &["{BITBUCKET_GIT_HTTP_ORIGIN}"],
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
        number: &["DRONE_BUILD_NUMBER"],
        attempt: None,
        commit: &["DRONE_COMMIT_SHA"],
        repository: &["{DRONE_REPO_LINK}"],
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
        number: &["TRAVIS_BUILD_NUMBER"],
        attempt: None,
        commit: &["TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"],
        repository: &[],
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
        number: &["BUILD_BUILDNUMBER", "BUILD_BUILDID"],
        attempt: Some(("SYSTEM_JOBATTEMPT", 1)),
        commit: &["BUILD_SOURCEVERSION"],
        repository: &["{BUILD_REPOSITORY_URI}"],
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
        number: &["BUILD_NUMBER"],
        attempt: None,
        commit: &["GIT_COMMIT"],
        repository: &["{GIT_URL}"],
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
    /// The build's name: branch, dash, number; with the attempt where there are several.
    ///
    /// # Errors
    /// The variables that are missing, as a sentence.
    pub fn build_name(&self, s: &Surroundings<'_>) -> Result<String, String> {
        let (branch, number) = (self.branch_here(s), s.first(self.number));
        let either = |names: &[&str]| names.iter().map(|n| format!("${n}")).collect::<Vec<_>>().join(" or ");
        let missing = [(branch.is_none(), self.branch), (number.is_none(), self.number)];
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

    fn branch_here(&self, s: &Surroundings<'_>) -> Option<String> {
        if let Some(branch) = self.triggering(s, "/head_branch") {
            return Some(branch);
        }
        let name = s.first(self.branch)?;
        let stripped = self.strip.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(&name);
        // `refs/remotes/origin/main`, whatever the remote is called.
        let of_remote = self.strip.contains(&REMOTES).then(|| name.strip_prefix(REMOTES)?.split_once('/')).flatten();
        Some(of_remote.map_or(stripped, |(_, branch)| branch).to_owned())
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
mod tests {
    use super::*;

    /// What a job would announce: name, then titles and values.
    fn announced(
        preset: Option<&str>,
        variables: &[(&str, &str)],
        git: Option<(&str, &str)>,
        event: &str,
    ) -> Result<(String, Vec<(String, String)>), String> {
        let variable =
            |name: &str| variables.iter().find(|(n, v)| *n == name && !v.is_empty()).map(|(_, v)| (*v).to_owned());
        let ask = |arguments: &[&str]| {
            let (message, author) = git?;
            assert!(arguments.iter().all(|a| !a.starts_with("--output")), "a variable became an option of git");
            Some(
                match arguments {
                    ["rev-parse", "HEAD"] => "0123456789abcdef",
                    ["log", "--format=%an", ..] => author,
                    _ => message,
                }
                .to_owned(),
            )
        };
        let file = |_: &str| Some(event.to_owned()).filter(|e| !e.is_empty());
        let s = Surroundings::new(&variable, &ask, &file);
        let preset = match preset {
            Some(name) => named(name).unwrap(),
            None => recognised(&s).ok_or("none")?,
        };
        Ok((preset.build_name(&s)?, preset.metadata(&s)))
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    const CIRCLE: &[(&str, &str)] = &[
        ("CIRCLECI", "true"),
        ("CI", "true"),
        ("CIRCLE_BRANCH", "feature/x/y"),
        ("CIRCLE_BUILD_NUM", "17"),
        ("CIRCLE_SHA1", "abcdef0123"),
    ];

    #[test]
    fn the_repository_and_the_commit_are_told_where_the_ci_system_tells_them() {
        let source = |name: &str, variables: &[(&str, &str)], origin: Option<&str>| {
            let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            let git = |arguments: &[&str]| match arguments {
                ["remote", "get-url", "origin"] => origin.map(str::to_owned),
                _ => None,
            };
            named(name).unwrap().source(&Surroundings::new(&variable, &git, &|_| None))
        };
        let hash = "abcdef0123";
        let told = |repository: &str| (Some(repository.to_owned()), Some(hash.to_owned()));
        let github =
            [("GITHUB_SERVER_URL", "https://github.com"), ("GITHUB_REPOSITORY", "octo/hello"), ("GITHUB_SHA", hash)];
        assert_eq!(source("github", &github, None), told("https://github.com/octo/hello"));
        let buildkite = [("BUILDKITE_REPO", "https://x:secret@github.com/octo/hello.git"), ("BUILDKITE_COMMIT", hash)];
        assert_eq!(source("buildkite", &buildkite, None), told("https://github.com/octo/hello"));
        let travis = source("travis", &[("TRAVIS_COMMIT", hash)], Some("git@github.com:octo/hello.git\n"));
        assert_eq!(travis, told("https://github.com/octo/hello"), "git knows");
        assert_eq!(source("jenkins", &[("GIT_URL", "/srv/git/app"), ("GIT_COMMIT", "HEAD")], None), (None, None));
    }

    #[test]
    fn circleci_is_the_original_s_to_the_letter() {
        let expected = (
            "feature-x-y-17".to_owned(),
            pairs(&[("Pull Request", "_No Pull Request_"), ("Last Commit", "```Fix it```")]),
        );
        assert_eq!(announced(Some("circleci"), CIRCLE, Some(("Fix it\n\n", "Mira")), ""), Ok(expected));
        let with = [CIRCLE, &[("CIRCLE_PULL_REQUEST", "https://x/pull/3")]].concat();
        let (_, metadata) = announced(None, &with, None, "").unwrap();
        assert_eq!(
            metadata,
            pairs(&[("Pull Request", "https://x/pull/3")]),
            "without a checkout there is no commit to show"
        );
    }

    #[test]
    fn gitlab_is_the_original_s_to_the_letter() {
        let variables = [
            ("GITLAB_CI", "true"),
            ("CI_COMMIT_REF_SLUG", "feature-x"),
            ("CI_JOB_ID", "99"),
            ("CI_JOB_URL", "https://gl/99"),
            ("CI_COMMIT_MESSAGE", "From the variable"),
        ];
        let expected = (
            "feature-x-99".to_owned(),
            pairs(&[("Job Url", "https://gl/99"), ("Last Commit", "```From the variable```")]),
        );
        assert_eq!(announced(None, &variables, None, ""), Ok(expected));
    }

    #[test]
    fn circleci_keeps_what_the_original_kept_of_a_branch() {
        let branch = [("CIRCLE_BRANCH", "origin/fix/x"), ("CIRCLE_BUILD_NUM", "7")];
        assert_eq!(announced(Some("circleci"), &branch, None, "").unwrap().0, "origin-fix-x-7");
    }

    const GITHUB: &[(&str, &str)] = &[
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REF_NAME", "17/merge"),
        ("GITHUB_HEAD_REF", "fix/fog"),
        ("GITHUB_REF", "refs/pull/17/merge"),
        ("GITHUB_RUN_NUMBER", "42"),
        ("GITHUB_RUN_ATTEMPT", "2"),
        ("GITHUB_SERVER_URL", "https://gh"),
        ("GITHUB_REPOSITORY", "a/b"),
        ("GITHUB_RUN_ID", "7"),
        ("GITHUB_SHA", "ffffffffff"),
        ("GITHUB_EVENT_PATH", "/event"),
        ("GITHUB_ACTOR", "mira"),
    ];

    #[test]
    fn github_reads_its_event_and_counts_attempts() {
        let event = r#"{"head_commit":{"message":"From the event","author":{"name":"Mira Sol"}}}"#;
        let expected = pairs(&[
            ("Branch", "fix/fog"),
            ("Commit", "fffffff"),
            ("Author", "Mira Sol"),
            ("Message", "From the event"),
            ("Pull request", "https://gh/a/b/pull/17"),
            ("Run", "https://gh/a/b/actions/runs/7"),
        ]);
        assert_eq!(announced(None, GITHUB, None, event), Ok(("fix-fog-42-2".to_owned(), expected)));
    }

    #[test]
    fn a_job_that_another_workflow_started_is_about_that_one_s_run() {
        let event = r#"{"workflow_run":{"head_branch":"fix/fog","head_sha":"0123456789abcdef","display_title":"Fog horn","head_commit":{"message":"Sound it","author":{"name":"Mira Sol"}}}}"#;
        let job = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "workflow_run"),
            ("GITHUB_EVENT_PATH", "/event"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_REF", "refs/heads/main"),
            ("GITHUB_SHA", "ffffffffff"),
            ("GITHUB_RUN_NUMBER", "9"),
            ("GITHUB_SERVER_URL", "https://gh"),
            ("GITHUB_REPOSITORY", "a/b"),
            ("GITHUB_RUN_ID", "7"),
        ];
        let (name, metadata) = announced(None, &job, None, event).unwrap();
        assert_eq!(name, "fix-fog-9");
        assert_eq!(
            metadata,
            pairs(&[
                ("Branch", "fix/fog"),
                ("Commit", "0123456"),
                ("Author", "Mira Sol"),
                ("Message", "Sound it"),
                ("Run", "https://gh/a/b/actions/runs/7"),
            ])
        );
        let elsewhere = [
            ("GITHUB_EVENT_NAME", "push"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_PATH", "/event"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_RUN_NUMBER", "9"),
        ];
        assert_eq!(announced(None, &elsewhere, None, event).unwrap().0, "main-9");
    }

    #[test]
    fn jenkins_names_a_branch_in_many_ways() {
        for (variable, value, name) in [
            ("GIT_BRANCH", "refs/remotes/origin/main", "main-4"),
            ("GIT_BRANCH", "refs/remotes/upstream/fix/x", "fix-x-4"),
            ("GIT_BRANCH", "origin/main", "main-4"),
            ("GIT_BRANCH", "refs/heads/main", "main-4"),
            ("GIT_BRANCH", "refs/tags/v9", "v9-4"),
            ("BRANCH_NAME", "main", "main-4"),
        ] {
            let job = [("JENKINS_URL", "http://j"), (variable, value), ("BUILD_NUMBER", "4")];
            assert_eq!(announced(Some("jenkins"), &job, None, "").unwrap().0, name, "{value}");
        }
    }

    #[test]
    fn a_pull_request_on_github_is_described_by_its_own_head() {
        let event = r#"{"pull_request":{"html_url":"https://gh/a/b/pull/18","title":"Fog horn","user":{"login":"stranger"},"head":{"sha":"0123456789abcdef"}}}"#;
        let (_, metadata) = announced(None, GITHUB, None, event).unwrap();
        let expected = pairs(&[
            ("Branch", "fix/fog"),
            ("Commit", "0123456"),
            ("Author", "stranger"),
            ("Message", "Fog horn"),
            ("Pull request", "https://gh/a/b/pull/18"),
            ("Run", "https://gh/a/b/actions/runs/7"),
        ]);
        assert_eq!(metadata, expected);
    }

    #[test]
    fn a_commit_that_is_no_hash_never_reaches_git() {
        let job = [
            ("BUILDKITE", "true"),
            ("BUILDKITE_BRANCH", "main"),
            ("BUILDKITE_BUILD_NUMBER", "7"),
            ("BUILDKITE_COMMIT", "--output=/tmp/x"),
        ];
        let (_, metadata) = announced(None, &job, Some(("Fix it", "Mira")), "").unwrap();
        assert_eq!(
            metadata,
            pairs(&[("Branch", "main"), ("Commit", "0123456"), ("Author", "Mira"), ("Message", "Fix it")])
        );
    }

    #[test]
    fn every_other_ci_names_branch_and_number() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: &[Case<'_>] = &[
            (
                "woodpecker",
                &[
                    ("CI", "woodpecker"),
                    ("GITLAB_CI", "x"),
                    ("CI_COMMIT_BRANCH", "main"),
                    ("CI_PIPELINE_NUMBER", "4"),
                    ("CI_PIPELINE_RERUNS", "1"),
                    ("CI_PIPELINE_URL", "u"),
                ],
                "main-4-2",
                "u",
            ),
            (
                "buildkite",
                &[
                    ("BUILDKITE", "true"),
                    ("BUILDKITE_BRANCH", "main"),
                    ("BUILDKITE_BUILD_NUMBER", "4"),
                    ("BUILDKITE_BUILD_URL", "u"),
                    ("BUILDKITE_PULL_REQUEST", "false"),
                ],
                "main-4",
                "u",
            ),
            (
                "bitbucket",
                &[
                    ("BITBUCKET_BUILD_NUMBER", "4"),
                    ("BITBUCKET_TAG", "v1"),
                    ("BITBUCKET_GIT_HTTP_ORIGIN", "http://bb/a/b"),
                ],
                "v1-4",
                "http://bb/a/b/pipelines/results/4",
            ),
            (
                "drone",
                &[
                    ("DRONE", "true"),
                    ("DRONE_BRANCH", "main"),
                    ("DRONE_SOURCE_BRANCH", "fix/x"),
                    ("DRONE_BUILD_NUMBER", "4"),
                    ("DRONE_BUILD_LINK", "u"),
                ],
                "fix-x-4",
                "u",
            ),
            (
                "travis",
                &[
                    ("TRAVIS", "true"),
                    ("TRAVIS_BRANCH", "main"),
                    ("TRAVIS_BUILD_NUMBER", "4"),
                    ("TRAVIS_BUILD_WEB_URL", "u"),
                    ("TRAVIS_PULL_REQUEST", "false"),
                ],
                "main-4",
                "u",
            ),
            (
                "azure",
                &[
                    ("TF_BUILD", "True"),
                    ("BUILD_SOURCEBRANCH", "refs/heads/feature/x"),
                    ("BUILD_BUILDNUMBER", "20261120.1"),
                    ("BUILD_BUILDID", "4"),
                    ("SYSTEM_COLLECTIONURI", "https://az/o/"),
                    ("SYSTEM_TEAMPROJECT", "My Web"),
                ],
                "feature-x-20261120.1",
                "https://az/o/My%20Web/_build/results?buildId=4",
            ),
            (
                "jenkins",
                &[("JENKINS_URL", "x"), ("GIT_BRANCH", "origin/main"), ("BUILD_NUMBER", "4"), ("BUILD_URL", "u")],
                "main-4",
                "u",
            ),
        ];
        for (name, variables, build, url) in cases {
            let (named, metadata) = announced(None, variables, None, "").unwrap();
            assert_eq!(
                (named.as_str(), metadata.last()),
                (*build, Some(&("Run".to_owned(), (*url).to_owned()))),
                "{name}"
            );
            assert_eq!(announced(Some(name), variables, None, "").unwrap().0, *build);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = announced(Some("circleci"), &[("CIRCLE_TAG", "")], None, "").unwrap_err();
        assert_eq!(
            refusal,
            "A build of CircleCI is named by variables that are not set: $CIRCLE_TAG or $CIRCLE_BRANCH, and $CIRCLE_BUILD_NUM.\n\
             Is this a job of CircleCI? Otherwise give the name with --name."
        );
        assert_eq!(announced(None, &[("CI", "true")], None, ""), Err("none".to_owned()));
    }
}
