//! What each CI system tells a job, as names of variables: the build's name and metadata are made of it.
//!
//! Sources: the vendors' lists of predefined variables. An empty variable counts as unset. The names and titles of
//! `circleci` and `gitlab` are the original coolOps.io's, to the letter.

/// Longest commit message that is sent, in bytes; a metadata value may have 10,000.
const MESSAGE_MAX: usize = 9_000;
/// Longest branch in a name, in characters; a build's name may have 200.
const BRANCH_MAX: usize = 150;

/// What a preset can ask. Passed in, so that tests can answer.
pub struct Surroundings<'a> {
    /// A variable's value, unless it is unset or empty.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// What git prints, where there is a checkout.
    pub git: &'a dyn Fn(&[&str]) -> Option<String>,
    /// A file's content.
    pub file: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|n| (self.variable)(n))
    }
}

/// A CI system.
pub struct Preset {
    /// The end of its command.
    pub name: &'static str,
    /// How people call it.
    pub title: &'static str,
    /// The variable, and the value where one is needed, by which it is recognised.
    sign: (&'static str, Option<&'static str>),
    branch: &'static [&'static str],
    number: &'static [&'static str],
    /// Counts the attempts, beginning with this number; later ones go into the name.
    attempt: Option<(&'static str, u32)>,
    commit: &'static [&'static str],
    message: &'static [&'static str],
    author: &'static [&'static str],
    url: fn(&Surroundings<'_>) -> Option<String>,
    pull_request: fn(&Surroundings<'_>) -> Option<String>,
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
        message: &[],
        author: &["GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"],
        url: |s| {
            let of = |name| (s.variable)(name);
            Some(format!("{}/{}/actions/runs/{}", of("GITHUB_SERVER_URL")?, of("GITHUB_REPOSITORY")?, of("GITHUB_RUN_ID")?))
        },
        pull_request: |s| {
            let reference = (s.variable)("GITHUB_REF")?;
            let number = reference.strip_prefix("refs/pull/")?.split('/').next()?;
            Some(format!("{}/{}/pull/{number}", (s.variable)("GITHUB_SERVER_URL")?, (s.variable)("GITHUB_REPOSITORY")?))
        },
    },
    Preset {
        name: "woodpecker",
        title: "Woodpecker",
        sign: ("CI", Some("woodpecker")),
        branch: &["CI_COMMIT_TAG", "CI_COMMIT_SOURCE_BRANCH", "CI_COMMIT_BRANCH"],
        number: &["CI_PIPELINE_NUMBER"],
        attempt: Some(("CI_PIPELINE_RERUNS", 0)),
        commit: &["CI_COMMIT_SHA"],
        message: &["CI_COMMIT_MESSAGE"],
        author: &["CI_COMMIT_AUTHOR"],
        url: |s| (s.variable)("CI_PIPELINE_URL"),
        pull_request: |s| (s.variable)("CI_COMMIT_PULL_REQUEST").map(|n| format!("#{n}")),
    },
    Preset {
        name: "gitlab",
        title: "GitLab CI",
        sign: ("GITLAB_CI", None),
        branch: &["CI_COMMIT_REF_SLUG"],
        number: &["CI_JOB_ID"],
        attempt: None,
        commit: &["CI_COMMIT_SHA"],
        message: &["CI_COMMIT_MESSAGE"],
        author: &["CI_COMMIT_AUTHOR", "GITLAB_USER_NAME"],
        url: |s| (s.variable)("CI_JOB_URL"),
        pull_request: |s| (s.variable)("CI_MERGE_REQUEST_IID").map(|n| format!("!{n}")),
    },
    Preset {
        name: "circleci",
        title: "CircleCI",
        sign: ("CIRCLECI", None),
        branch: &["CIRCLE_TAG", "CIRCLE_BRANCH"],
        number: &["CIRCLE_BUILD_NUM"],
        attempt: None,
        commit: &["CIRCLE_SHA1"],
        message: &[],
        author: &["CIRCLE_USERNAME"],
        url: |s| (s.variable)("CIRCLE_BUILD_URL"),
        pull_request: |s| (s.variable)("CIRCLE_PULL_REQUEST"),
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
        message: &["BUILDKITE_MESSAGE"],
        author: &["BUILDKITE_BUILD_AUTHOR", "BUILDKITE_BUILD_CREATOR"],
        url: |s| (s.variable)("BUILDKITE_BUILD_URL"),
        pull_request: |s| (s.variable)("BUILDKITE_PULL_REQUEST").filter(|n| n != "false").map(|n| format!("#{n}")),
    },
    Preset {
        name: "bitbucket",
        title: "Bitbucket Pipelines",
        sign: ("BITBUCKET_BUILD_NUMBER", None),
        branch: &["BITBUCKET_TAG", "BITBUCKET_BRANCH"],
        number: &["BITBUCKET_BUILD_NUMBER"],
        attempt: None,
        commit: &["BITBUCKET_COMMIT"],
        message: &[],
        author: &[],
        url: |s| {
            let origin = (s.variable)("BITBUCKET_GIT_HTTP_ORIGIN")?;
            Some(format!("{origin}/pipelines/results/{}", (s.variable)("BITBUCKET_BUILD_NUMBER")?))
        },
        pull_request: |s| (s.variable)("BITBUCKET_PR_ID").map(|n| format!("#{n}")),
    },
    Preset {
        name: "drone",
        title: "Drone",
        sign: ("DRONE", None),
        branch: &["DRONE_TAG", "DRONE_SOURCE_BRANCH", "DRONE_BRANCH"],
        number: &["DRONE_BUILD_NUMBER"],
        attempt: None,
        commit: &["DRONE_COMMIT_SHA"],
        message: &["DRONE_COMMIT_MESSAGE"],
        author: &["DRONE_COMMIT_AUTHOR_NAME", "DRONE_COMMIT_AUTHOR"],
        url: |s| (s.variable)("DRONE_BUILD_LINK"),
        pull_request: |s| (s.variable)("DRONE_PULL_REQUEST").map(|n| format!("#{n}")),
    },
    Preset {
        name: "travis",
        title: "Travis CI",
        sign: ("TRAVIS", None),
        branch: &["TRAVIS_TAG", "TRAVIS_PULL_REQUEST_BRANCH", "TRAVIS_BRANCH"],
        number: &["TRAVIS_BUILD_NUMBER"],
        attempt: None,
        commit: &["TRAVIS_PULL_REQUEST_SHA", "TRAVIS_COMMIT"],
        message: &["TRAVIS_COMMIT_MESSAGE"],
        author: &[],
        url: |s| s.first(&["TRAVIS_BUILD_WEB_URL", "TRAVIS_JOB_WEB_URL"]),
        pull_request: |s| (s.variable)("TRAVIS_PULL_REQUEST").filter(|n| n != "false").map(|n| format!("#{n}")),
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
        message: &["BUILD_SOURCEVERSIONMESSAGE"],
        author: &["BUILD_REQUESTEDFOR"],
        url: |s| {
            let (collection, project) = ((s.variable)("SYSTEM_COLLECTIONURI")?, (s.variable)("SYSTEM_TEAMPROJECT")?);
            let project = project.replace(' ', "%20");
            Some(format!("{collection}{project}/_build/results?buildId={}", (s.variable)("BUILD_BUILDID")?))
        },
        pull_request: |s| s.first(&["SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID"]).map(|n| format!("#{n}")),
    },
    Preset {
        name: "jenkins",
        title: "Jenkins",
        sign: ("JENKINS_URL", None),
        branch: &["TAG_NAME", "CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"],
        number: &["BUILD_NUMBER"],
        attempt: None,
        commit: &["GIT_COMMIT"],
        message: &[],
        author: &["CHANGE_AUTHOR"],
        url: |s| (s.variable)("BUILD_URL"),
        pull_request: |s| (s.variable)("CHANGE_URL"),
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
        let (branch, number) = (s.first(self.branch), s.first(self.number));
        let missing: Vec<String> = [(&branch, self.branch), (&number, self.number)]
            .iter()
            .filter(|(value, _)| value.is_none())
            .map(|(_, names)| names.iter().map(|n| format!("${n}")).collect::<Vec<_>>().join(" or "))
            .collect();
        let (Some(branch), Some(number)) = (branch, number) else {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            return Err(format!(
                "{} {verb} not set, and {} names builds by it.\nIs this a job of {}? Otherwise give the name with --name.",
                missing.join(" and "),
                self.name,
                self.title
            ));
        };
        let branch: String = short(&branch).replace('/', "-").chars().take(BRANCH_MAX).collect();
        let attempt = self.attempt.and_then(|(variable, first)| {
            let attempt: u32 = (s.variable)(variable)?.trim().parse().ok()?;
            (attempt > first).then(|| format!("-{}", attempt - first + 1))
        });
        Ok(format!("{branch}-{number}{}", attempt.unwrap_or_default()))
    }

    /// What the message shows, by title. Those of `circleci` and `gitlab` are the original's.
    pub fn metadata(&self, s: &Surroundings<'_>) -> Vec<(String, String)> {
        let event = (self.name == "github").then(|| event_file(s)).flatten();
        let of_event = |pointer: &str| event.as_ref().and_then(|e| e.pointer(pointer)?.as_str().map(str::to_owned));
        let commit = of_event("/pull_request/head/sha").or_else(|| s.first(self.commit)).unwrap_or_else(|| "HEAD".to_owned());
        let log = |format: &str| (s.git)(&["log", &format!("--format={format}"), "-n", "1", &commit]).filter(|t| !t.trim().is_empty());
        let message = log("%B").or_else(|| s.first(self.message)).or_else(|| of_event("/head_commit/message"));
        let author = log("%an").or_else(|| of_event("/head_commit/author/name")).or_else(|| s.first(self.author));
        let author = author.map(|a| a.split('<').next().unwrap_or_default().trim().to_owned()).filter(|a| !a.is_empty());
        let last_commit = format!("```{}```", cut(message.as_deref().unwrap_or_default().trim()));
        let entry = |title: &str, value: String| (title.to_owned(), value);
        let pull_request = (self.pull_request)(s);
        match self.name {
            "circleci" => vec![
                entry("Pull Request", pull_request.unwrap_or_else(|| "_No Pull Request_".to_owned())),
                entry("Last Commit", last_commit),
            ],
            "gitlab" => vec![entry("Job Url", (self.url)(s).unwrap_or_default()), entry("Last Commit", last_commit)],
            _ => {
                let url = (self.url)(s).map(|url| entry("Job Url", url));
                let pull_request = pull_request.map(|p| entry("Pull Request", p));
                let author = author.map(|a| entry("Author", a));
                let message = message.is_some().then(|| entry("Last Commit", last_commit));
                [pull_request, url, author, message].into_iter().flatten().collect()
            }
        }
    }
}

/// GitHub's description of what the job runs for.
fn event_file(s: &Surroundings<'_>) -> Option<serde_json::Value> {
    serde_json::from_str(&(s.file)(&(s.variable)("GITHUB_EVENT_PATH")?)?).ok()
}

/// A branch or tag without `refs/heads/`, `refs/tags/`, `refs/` or `origin/`.
fn short(name: &str) -> &str {
    let name = ["refs/heads/", "refs/tags/", "refs/"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    name.strip_prefix("origin/").unwrap_or(name)
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
        let variable = |name: &str| variables.iter().find(|(n, v)| *n == name && !v.is_empty()).map(|(_, v)| (*v).to_owned());
        let ask = |arguments: &[&str]| {
            let (message, author) = git?;
            Some(if arguments.contains(&"--format=%an") { author } else { message }.to_owned())
        };
        let file = |_: &str| Some(event.to_owned()).filter(|e| !e.is_empty());
        let s = Surroundings { variable: &variable, git: &ask, file: &file };
        let preset = match preset {
            Some(name) => named(name).unwrap(),
            None => recognised(&s).ok_or("none")?,
        };
        Ok((preset.build_name(&s)?, preset.metadata(&s)))
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    const CIRCLE: &[(&str, &str)] =
        &[("CIRCLECI", "true"), ("CI", "true"), ("CIRCLE_BRANCH", "feature/x/y"), ("CIRCLE_BUILD_NUM", "17"), ("CIRCLE_SHA1", "abc")];

    #[test]
    fn circleci_is_the_original_s_to_the_letter() {
        let expected = ("feature-x-y-17".to_owned(), pairs(&[("Pull Request", "_No Pull Request_"), ("Last Commit", "```Fix it```")]));
        assert_eq!(announced(Some("circleci"), CIRCLE, Some(("Fix it\n\n", "Mira")), ""), Ok(expected));
        let with = [CIRCLE, &[("CIRCLE_PULL_REQUEST", "https://x/pull/3")]].concat();
        let (_, metadata) = announced(None, &with, None, "").unwrap();
        assert_eq!(metadata, pairs(&[("Pull Request", "https://x/pull/3"), ("Last Commit", "``````")]));
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
        let expected = ("feature-x-99".to_owned(), pairs(&[("Job Url", "https://gl/99"), ("Last Commit", "```From the variable```")]));
        assert_eq!(announced(None, &variables, None, ""), Ok(expected));
    }

    #[test]
    fn github_reads_its_event_and_counts_attempts() {
        let variables = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REF_NAME", "17/merge"),
            ("GITHUB_HEAD_REF", "fix/fog"),
            ("GITHUB_REF", "refs/pull/17/merge"),
            ("GITHUB_RUN_NUMBER", "42"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_SERVER_URL", "https://gh"),
            ("GITHUB_REPOSITORY", "a/b"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_EVENT_PATH", "/event"),
            ("GITHUB_ACTOR", "mira"),
        ];
        let event = r#"{"head_commit":{"message":"From the event","author":{"name":"Mira Sol"}}}"#;
        let expected = pairs(&[
            ("Pull Request", "https://gh/a/b/pull/17"),
            ("Job Url", "https://gh/a/b/actions/runs/7"),
            ("Author", "Mira Sol"),
            ("Last Commit", "```From the event```"),
        ]);
        assert_eq!(announced(None, &variables, None, event), Ok(("fix-fog-42-2".to_owned(), expected)));
    }

    #[test]
    fn every_other_ci_names_branch_and_number() {
        let cases: &[(&str, &[(&str, &str)], &str, &str)] = &[
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
                &[("BITBUCKET_BUILD_NUMBER", "4"), ("BITBUCKET_TAG", "v1"), ("BITBUCKET_GIT_HTTP_ORIGIN", "http://bb/a/b")],
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
            ("jenkins", &[("JENKINS_URL", "x"), ("GIT_BRANCH", "origin/main"), ("BUILD_NUMBER", "4"), ("BUILD_URL", "u")], "main-4", "u"),
        ];
        for (name, variables, build, url) in cases {
            let (named, metadata) = announced(None, variables, None, "").unwrap();
            assert_eq!((named.as_str(), metadata), (*build, pairs(&[("Job Url", url)])), "{name}");
            assert_eq!(announced(Some(name), variables, None, "").unwrap().0, *build);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = announced(Some("circleci"), &[("CIRCLE_TAG", "")], None, "").unwrap_err();
        assert_eq!(
            refusal,
            "$CIRCLE_TAG or $CIRCLE_BRANCH and $CIRCLE_BUILD_NUM are not set, and circleci names builds by it.\nIs this a job of CircleCI? Otherwise give the name with --name."
        );
        assert_eq!(announced(None, &[("CI", "true")], None, ""), Err("none".to_owned()));
    }
}
