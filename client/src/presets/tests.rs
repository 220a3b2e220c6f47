//! What each preset makes of a job's variables.

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
    let expected =
        ("feature-x-y-17".to_owned(), pairs(&[("Pull Request", "_No Pull Request_"), ("Last Commit", "```Fix it```")]));
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
    let expected =
        ("feature-x-99".to_owned(), pairs(&[("Job Url", "https://gl/99"), ("Last Commit", "```From the variable```")]));
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
        (
            "jenkins",
            &[("JENKINS_URL", "x"), ("GIT_BRANCH", "origin/main"), ("BUILD_NUMBER", "4"), ("BUILD_URL", "u")],
            "main-4",
            "u",
        ),
    ];
    for (name, variables, build, url) in cases {
        let (named, metadata) = announced(None, variables, None, "").unwrap();
        assert_eq!((named.as_str(), metadata.last()), (*build, Some(&("Run".to_owned(), (*url).to_owned()))), "{name}");
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
