//! The small program for CI, as it is downloaded: what it can do, and what each CI system's job sends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get_service, post};
use serde_json::Value;

use super::portable_client::answering;
use crate::story::random_name;
use crate::story::service::service_story;

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What `./just client` made.
pub(super) fn program() -> PathBuf {
    let path = root().join("dist/coolops-x86_64-linux");
    assert!(path.exists(), "run the tests with ./just test, which builds it");
    path
}

/// A folder of this test's own.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("coolops-client-{}", random_name()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(super) type Heard = Arc<Mutex<Vec<(HeaderMap, Value)>>>;

/// A server that serves a folder and takes builds; what it heard is kept.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) heard: Heard,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(super) fn start(folder: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard = Heard::default();
        let file = |name: &'static str| {
            let path = folder.join(name);
            get_service(tower::service_fn(move |_| {
                let path = path.clone();
                async move {
                    let answer = match std::fs::read(&path) {
                        Ok(bytes) => axum::http::Response::new(axum::body::Body::from(bytes)),
                        Err(_) => axum::http::Response::builder().status(404).body(axum::body::Body::empty()).unwrap(),
                    };
                    Ok::<_, std::convert::Infallible>(answer)
                }
            }))
        };
        let router = Router::new()
            .route("/coolops-x86_64-linux", file("coolops-x86_64-linux"))
            .route("/coolops-x86_64-linux.sha256", file("coolops-x86_64-linux.sha256"))
            .route("/coolops.sh", file("coolops.sh"))
            .route("/coolops.sh.sha256", file("coolops.sh.sha256"))
            .route("/install.sh", file("install.sh"))
            .route("/builds", post(take))
            .with_state(Arc::clone(&heard));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, heard, _runtime: runtime }
    }

    pub(super) fn heard(&self) -> Value {
        self.heard.lock().unwrap().pop().expect("a build was announced").1
    }
}

async fn take(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    heard.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    (StatusCode::CREATED, r#"{"id":"7","url":"https://c.example.com/builds/7"}"#)
}

pub(super) fn run(
    program: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    folder: &Path,
) -> (i32, String, String) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(variables.iter().copied())
        .current_dir(folder);
    shown(&command.output().unwrap())
}

pub(super) fn shown(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn it_has_the_commands_of_ci_and_is_small_and_static() {
    let folder = Folder::new();
    let (_, help, _) = run(&program(), &["--help"], &[], &folder.0);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let presets = [
        "auto",
        "azure",
        "bitbucket",
        "buildkite",
        "circleci",
        "drone",
        "github",
        "gitlab",
        "jenkins",
        "travis",
        "woodpecker",
    ];
    let mut expected: Vec<String> = vec!["build:new".into()];
    expected.extend(presets.iter().map(|p| format!("build:new:{p}")));
    expected.push("help".into());
    assert_eq!(commands, expected, "{help}");
    let bytes = std::fs::read(program()).unwrap();
    assert!(bytes.len() < 5_000_000, "it has {} bytes", bytes.len());
    assert!(!interpreters(&bytes), "it asks for no dynamic loader");
    let version = run(&program(), &["--version"], &[], &folder.0).1;
    assert!(version.starts_with("coolops 0.1.0 ("), "{version}");
}

/// Whether an ELF file of 64 bits names a dynamic loader (a program header of the type PT_INTERP, 3).
fn interpreters(elf: &[u8]) -> bool {
    let number =
        |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    assert!(elf.starts_with(b"\x7fELF\x02") && count > 0);
    (0..count).any(|n| number(table + n * size, 4) == 3)
}

#[test]
fn the_server_has_every_command_of_ci_too() {
    let full = Path::new(env!("CARGO_BIN_EXE_coolops"));
    let folder = Folder::new();
    let (_, help, _) = run(full, &["--help"], &[], &folder.0);
    for command in ["build:new:auto", "build:new:github", "serve", "ci"] {
        assert!(help.lines().any(|l| l.split_whitespace().next() == Some(command)), "{command} is missing in\n{help}");
    }
}

/// A checkout with one commit.
pub(super) fn checkout() -> (Folder, String) {
    let folder = Folder::new();
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Mira Sol",
                "-c",
                "user.email=mira@harbour.example",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(&folder.0)
            .env("HOME", &folder.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "Let the lamp turn slower", "-m", "Captains asked for it."]);
    let commit = git(&["rev-parse", "HEAD"]);
    (folder, commit)
}

#[test]
fn a_circleci_job_announces_what_the_original_announced() {
    let (folder, commit) = checkout();
    let server = Server::start(&folder.0);
    let job = [
        ("CIRCLECI", "true"),
        ("CIRCLE_BRANCH", "feature/fog"),
        ("CIRCLE_BUILD_NUM", "17"),
        ("CIRCLE_SHA1", commit.as_str()),
        ("COOLOPS_URL", server.url.as_str()),
        ("COOLOPS_PROJECT_API_TOKEN", "cops_x"),
    ];
    for command in ["build:new:circleci", "build:new:auto"] {
        let (code, out, said) =
            run(&program(), &[command, "-p", "B=1", "-p", "A=2", "-p", "B=3", "-m", "Note=x"], &job, &folder.0);
        assert_eq!(
            (code, out.as_str(), said.as_str()),
            (0, "", "feature-fog-17 is announced: https://c.example.com/builds/7\n")
        );
        let (headers, body) = server.heard.lock().unwrap().pop().unwrap();
        assert_eq!(headers["authorization"], "Token cops_x");
        assert_eq!(headers["x-coolops-cli-version"], "0.1.0");
        assert_eq!(body["name"], "feature-fog-17");
        assert_eq!(body["params"], serde_json::json!({ "B": "3", "A": "2" }));
        let metadata = serde_json::json!({
            "Note": "x", "Pull Request": "_No Pull Request_", "Last Commit": "```Let the lamp turn slower\n\nCaptains asked for it.```",
        });
        assert_eq!(body["metadata"], metadata);
    }
    let (code, out, _) = run(&program(), &["build:new:circleci", "--name", "mine", "--dry-run"], &job, &folder.0);
    assert!(code == 0 && out.starts_with(&format!("POST {}/builds\n{{\n  \"name\": \"mine\",", server.url)), "{out}");
    assert!(server.heard.lock().unwrap().is_empty(), "a dry run sends nothing");
}

#[test]
fn what_a_preset_lacks_is_said() {
    let folder = Folder::new();
    let (code, _, said) = run(&program(), &["build:new:gitlab"], &[("CI_COMMIT_REF_SLUG", "main")], &folder.0);
    assert_eq!(code, 1);
    assert_eq!(
        said,
        "A build of GitLab CI is named by variables that are not set: $CI_JOB_ID.\nIs this a job of GitLab CI? Otherwise give the name with --name.\n"
    );
    let (code, _, said) = run(&program(), &["build:new:auto"], &[("CI", "true")], &folder.0);
    assert!(
        code == 1 && said.starts_with("This is no CI system that coolops knows (github, woodpecker, gitlab,"),
        "{said}"
    );
    let (code, _, said) = run(&program(), &["build:new", "m", "--dry-run"], &[("COOLOPS_PARAMS", "A=1\nB")], &folder.0);
    assert_eq!((code, said.as_str()), (1, "$COOLOPS_PARAMS: line 2 should have the {key}={value} format\n"));
    let mut latin1 = Command::new(program());
    latin1
        .args(["build:new", "m", "--dry-run"])
        .env_clear()
        .env("COOLOPS_PARAMS", std::ffi::OsStr::from_bytes(b"CITY=Z\xfcrich"));
    let (code, _, said) = shown(&latin1.current_dir(&folder.0).output().unwrap());
    assert_eq!((code, said.as_str()), (1, "$COOLOPS_PARAMS is not UTF-8 text\n"));
}

#[test]
fn every_preset_is_the_one_of_its_command() {
    let folder = Folder::new();
    let both = |a: &'static str, b: &'static str| [(a, "fix/x"), (b, "7")];
    for (command, job) in [
        ("azure", both("BUILD_SOURCEBRANCH", "BUILD_BUILDNUMBER")),
        ("bitbucket", both("BITBUCKET_BRANCH", "BITBUCKET_BUILD_NUMBER")),
        ("buildkite", both("BUILDKITE_BRANCH", "BUILDKITE_BUILD_NUMBER")),
        ("circleci", both("CIRCLE_BRANCH", "CIRCLE_BUILD_NUM")),
        ("drone", both("DRONE_BRANCH", "DRONE_BUILD_NUMBER")),
        ("github", both("GITHUB_REF_NAME", "GITHUB_RUN_NUMBER")),
        ("gitlab", both("CI_COMMIT_REF_SLUG", "CI_JOB_ID")),
        ("jenkins", both("BRANCH_NAME", "BUILD_NUMBER")),
        ("travis", both("TRAVIS_BRANCH", "TRAVIS_BUILD_NUMBER")),
        ("woodpecker", both("CI_COMMIT_BRANCH", "CI_PIPELINE_NUMBER")),
    ] {
        let (code, out, said) = run(&program(), &[&format!("build:new:{command}"), "--dry-run"], &job, &folder.0);
        assert!(code == 0 && out.contains("\"name\": \"fix-x-7\""), "{command}: {out}{said}");
    }
}

#[test]
fn a_fork_s_branch_does_not_pass_for_one_s_own() {
    let folder = Folder::new();
    let event = folder.path("event.json");
    let shows = |command: &str, job: &[(&str, &str)]| {
        let (code, out, said) = run(&program(), &[&format!("build:new:{command}"), "--dry-run"], job, &folder.0);
        assert_eq!(code, 0, "{said}");
        let body: Value = serde_json::from_str(out.split_once('\n').unwrap().1).unwrap();
        (body["name"].as_str().unwrap().to_owned(), body["metadata"]["Branch"].as_str().unwrap_or("-").to_owned())
    };
    let told = |name: &str, branch: &str| (name.to_owned(), branch.to_owned());
    let github = [("GITHUB_REPOSITORY", "a/b"), ("GITHUB_RUN_NUMBER", "7"), ("GITHUB_EVENT_PATH", &event[..])];
    let run_of = [&github[..], &[("GITHUB_EVENT_NAME", "workflow_run"), ("GITHUB_REF_NAME", "main")]].concat();
    let of = |owner: &str| {
        format!(r#"{{"workflow_run":{{"head_branch":"main","head_repository":{{"full_name":"{owner}/b"}}}}}}"#)
    };
    std::fs::write(&event, of("a")).unwrap();
    assert_eq!(shows("github", &run_of), told("main-7", "main"));
    std::fs::write(&event, of("stranger")).unwrap();
    assert_eq!(shows("github", &run_of), told("stranger:main-7", "stranger:main"));
    let target = [&github[..], &[("GITHUB_EVENT_NAME", "pull_request_target"), ("GITHUB_HEAD_REF", "main")]].concat();
    std::fs::write(&event, r#"{"pull_request":{"head":{"repo":{"full_name":"stranger/b"}}}}"#).unwrap();
    assert_eq!(shows("github", &target), told("stranger:main-7", "stranger:main"));
    // A fork that was deleted has no repository any more, and its code is still somebody else's.
    std::fs::write(&event, r#"{"pull_request":{"head":{"repo":null,"user":{"login":"stranger"}}}}"#).unwrap();
    assert_eq!(shows("github", &target), told("stranger:main-7", "stranger:main"));
    let gone = r#"{"workflow_run":{"head_branch":"main","url":"https://api/runs/7","head_repository":null}}"#;
    std::fs::write(&event, gone).unwrap();
    assert_eq!(shows("github", &run_of), told("fork:main-7", "fork:main"));
    let gitlab = [
        ("CI_COMMIT_REF_SLUG", "main"),
        ("CI_JOB_ID", "7"),
        ("CI_PROJECT_PATH", "group/a"),
        ("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH", "stranger/a"),
    ];
    assert_eq!(shows("gitlab", &gitlab), told("stranger:main-7", "-"));
    let travis = [
        ("TRAVIS_PULL_REQUEST_BRANCH", "main"),
        ("TRAVIS_BUILD_NUMBER", "7"),
        ("TRAVIS_REPO_SLUG", "a/b"),
        ("TRAVIS_PULL_REQUEST_SLUG", "stranger/b"),
    ];
    assert_eq!(shows("travis", &travis), told("stranger:main-7", "stranger:main"));
    let azure = |is_fork| {
        let branch = ("SYSTEM_PULLREQUEST_SOURCEBRANCH", "refs/heads/main");
        shows("azure", &[branch, ("BUILD_BUILDNUMBER", "7"), ("SYSTEM_PULLREQUEST_ISFORK", is_fork)])
    };
    assert_eq!([azure("True"), azure("False")], [told("fork:main-7", "fork:main"), told("main-7", "main")]);
    // Jenkins counts in each of its jobs: that of a pull request is another than its branch's.
    let jenkins =
        [("BRANCH_NAME", "PR-3"), ("CHANGE_BRANCH", "main"), ("CHANGE_FORK", "stranger/b"), ("BUILD_NUMBER", "7")];
    assert_eq!(shows("jenkins", &jenkins), told("PR-3-7", "stranger:main"));
}

#[test]
fn a_branch_that_has_no_slug_is_named_all_the_same() {
    let job = [("CI_COMMIT_REF_SLUG", ""), ("CI_COMMIT_REF_NAME", "港"), ("CI_JOB_ID", "7")];
    let (code, out, said) = run(&program(), &["build:new:gitlab", "--dry-run"], &job, &Folder::new().0);
    assert!(code == 0 && out.contains("\"name\": \"港-7\""), "{out}{said}");
}

#[test]
fn a_job_s_odd_values_are_sent_or_refused_and_never_lost() {
    let (folder, commit) = checkout();
    let server = Server::start(&folder.0);
    let job = [("COOLOPS_URL", server.url.as_str()), ("COOLOPS_PROJECT_API_TOKEN", "cops_x\n")];
    let ok = |arguments: &[&str]| {
        let (code, _, said) = run(&program(), arguments, &job, &folder.0);
        assert_eq!((code, said.as_str()), (0, ""), "{arguments:?}");
        server.heard()
    };
    assert_eq!(
        ok(&["build:new", "-param=A=1", "-p", "B=-x=1", "n"])["params"],
        serde_json::json!({ "A": "1", "B": "-x=1" })
    );
    assert_eq!(
        ok(&["build:new", "n", "-t", ""])["name"],
        "n",
        "an empty flag is no flag; the token's line break is not sent"
    );
    let buildkite = [
        &job[..],
        &[("BUILDKITE_BRANCH", "main"), ("BUILDKITE_BUILD_NUMBER", "7"), ("BUILDKITE_COMMIT", "--output=injected")],
    ]
    .concat();
    assert_eq!(run(&program(), &["build:new:buildkite"], &buildkite, &folder.0).0, 0);
    assert_eq!(server.heard()["metadata"]["Author"], "Mira Sol");
    assert!(!folder.0.join("injected").exists(), "a variable became an option of git");
    let github =
        [&job[..], &[("GITHUB_REF_NAME", "main"), ("GITHUB_RUN_NUMBER", "7"), ("GITHUB_SHA", &commit)]].concat();
    assert_eq!(run(&program(), &["build:new:github"], &github, &folder.0).0, 0);
    assert_eq!(server.heard()["metadata"]["Message"], "Let the lamp turn slower\n\nCaptains asked for it.");
    let fails = |arguments: &[&str], sentence: &str| {
        let (code, _, said) = run(&program(), arguments, &job, &folder.0);
        assert!(code == 1 && said.contains(sentence), "{arguments:?}: {code} {said}");
    };
    fails(&["build:new", "n", "-t", "a\u{e9}b"], "holds characters that no token has");
    fails(
        &["build:new", "n", "--url", "http://user:pw@localhost:1"],
        "can't be read; write it like https://coolops.example.com, without user and query",
    );
    fails(&["build:new", "n", "--url", &format!("{}?x=1", server.url)], "without user and query");
    let (code, _, said) = run(&program(), &["fly"], &[], &folder.0);
    assert_eq!(
        (code, said.as_str()),
        (
            2,
            "coolops: 'fly' is not a coolops command (this small program only announces builds). See 'coolops --help'.\n"
        )
    );
    assert!(run(&program(), &["-v"], &[], &folder.0).1.starts_with("coolops 0.1.0"));
}

#[test]
fn a_redirect_is_not_taken_for_an_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: https://login.example.com/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
    });
    let folder = Folder::new();
    let (code, _, said) = run(&program(), &["build:new", "n", "-t", "x", "--url", &url], &[], &folder.0);
    server.join().unwrap();
    assert_eq!(code, 1);
    assert_eq!(
        said,
        format!("{url}/builds sends us on to https://login.example.com/; set the address of coolops itself\n")
    );
}

#[test]
fn a_page_where_people_log_in_takes_no_build() {
    let page = ("200 OK", "<!doctype html><title>Log in</title>");
    let (url, heard) = answering(vec![page, page, page]);
    let folder = Folder::new();
    let (code, _, said) = run(&program(), &["build:new", "n", "-t", "x", "--url", &url], &[], &folder.0);
    assert_eq!((code, heard.join().unwrap().len()), (1, 3));
    let told = format!(
        "The build could not be announced to {url}/builds, in 3 tries: what answers there is not coolops (status 200)\nIs the address right, and can this job reach it?\n"
    );
    assert_eq!(said, told);
}

/// Sends bytes as they are and tells the status of the answer.
fn raw(address: &str, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[test]
fn the_program_of_2018_keeps_working() {
    service_story("true", "info", async |s| {
        let address = s.url.trim_start_matches("http://").to_owned();
        // As Go's net/http of that time wrote it: no content type, this order.
        let request = |token: &str, body: &str| {
            format!(
                "POST /builds HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\nAuthorization: Token {token}\r\n\
                 X-Coolops-Cli-Version: 0.2.0\r\nAccept-Encoding: gzip\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        };
        let circleci = r#"{"name":"master-1","params":{"DOCKER_TAG":"1"},"metadata":{"Last Commit":"```Fix```","Pull Request":"_No Pull Request_"}}"#;
        assert_eq!(raw(&address, &request(&s.token, circleci)), 201);
        assert_eq!(raw(&address, &request(&s.token, circleci)), 200);
        assert_eq!(raw(&address, &request(&s.token, r#"{"name":"bare","params":{}}"#)), 201);
        // Each of its three commands; Go's JSON writes three signs by number, and sorts what it was given.
        let gitlab = r#"{"name":"feature-x-99","params":{"A":"1","B":"x=y"},"metadata":{"Job Url":"https://gl.example.com/99","Last Commit":"```a \u003c b \u0026 c```"}}"#;
        assert_eq!(raw(&address, &request(&s.token, gitlab)), 201);
        let named = r#"{"name":"release 7","params":{"DOCKER_TAG":""},"metadata":{"Who":"mira"}}"#;
        assert_eq!(raw(&address, &request(&s.token, named)), 201);
        assert_eq!(raw(&address, &request("nobody", circleci)), 401);
        assert_eq!(raw(&address, &request(&s.token, r#"{"params":{}}"#)), 400);
        s.shows("# Api: master-1").await;
        s.shows("# Api: bare").await;
        s.shows("_No Pull Request_").await;
        s.shows("# Api: release 7").await;
        s.shows("a < b & c").await;
    });
}

#[test]
fn the_small_program_speaks_with_the_service() {
    service_story("true", "info", async |s| {
        let folder = Folder::new();
        let variables = [("COOLOPS_URL", s.url.as_str()), ("COOLOPS_PROJECT_API_TOKEN", s.token.as_str())];
        let (code, out, said) = run(&program(), &["build:new", "master-7", "-p", "A=1"], &variables, &folder.0);
        assert_eq!((code, out.as_str(), said.as_str()), (0, "", ""));
        s.shows("# Api: master-7").await;
        // In CI it says what became of it, where people look for it; standard output is the job's own.
        let in_ci = [&variables[..], &[("CI", "true")]].concat();
        let (code, out, said) = run(&program(), &["build:new", "master-8"], &in_ci, &folder.0);
        assert_eq!((code, out.as_str()), (0, ""));
        assert!(
            said.starts_with(&format!("master-8 is announced: {}/builds/", s.url)) && !said.contains("key="),
            "{said}"
        );
        let (_, _, said) = run(&program(), &["build:new", "master-8"], &in_ci, &folder.0);
        assert!(said.starts_with("master-8 was announced before: "), "{said}");
        let (code, out, said) = run(&program(), &["build:new", "master-9", "--quiet"], &in_ci, &folder.0);
        assert_eq!((code, out.as_str(), said.as_str()), (0, "", ""));
        let (code, _, said) = run(&program(), &["build:new", "master-7", "-p", "A=2"], &variables, &folder.0);
        assert!(code == 1 && said.starts_with("Invalid request: the build master-7 is registered already"), "{said}");
    });
}
