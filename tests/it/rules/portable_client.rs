//! The script for machines that there is no program for, beside the program: they send the same, request by request.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coolops_client::portable;
use coolops_client::presets::PRESETS;

use super::client::{Folder, Server, checkout, program, shown};

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

fn script(folder: &Folder) -> PathBuf {
    let path = folder.0.join("coolops.sh");
    std::fs::write(&path, portable::script()).unwrap();
    path
}

/// Runs the program, or the script with a shell.
fn ran(
    shell: Option<&[&str]>,
    file: &Path,
    arguments: &[&str],
    job: &[(&str, &str)],
    folder: &Path,
) -> (i32, String, String) {
    let mut command = match shell {
        Some(shell) => {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).arg(file);
            command
        }
        None => Command::new(file),
    };
    command.args(arguments).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(folder);
    command.envs(job.iter().copied());
    shown(&command.stdin(Stdio::null()).output().unwrap())
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// What stands in variables of jobs, and what could.
const VALUES: &[&str] = &[
    "main",
    "feature/x/y",
    "refs/heads/main",
    "refs/tags/v9",
    "refs/remotes/origin/fix/x",
    "origin/main",
    "refs/pull/7/merge",
    "17",
    "2",
    "0",
    "abcdef0123456789",
    "ABCDEF0",
    "--output=injected",
    "https://x:secret@github.com/a/b.git",
    "git@github.com:a/b.git",
    "ssh://git@ssh.dev.azure.com/v3/o/p/r",
    "ssh://git@host.example.com:2222/a/b.git/",
    "https://gitlab.example.com:8443/g/s/r/?x#y",
    "/srv/git/app",
    "https://github.com/a/../b",
    "Fix it\n\nbecause of that",
    "  blanks around  ",
    "\"quotes\" and \\ back",
    "$(id) `id` ${HOME}",
    "tab\there\r\nand there",
    "é ü 漢字 🚀",
    "false",
    "True",
    "stranger/name",
    "My Web/ä",
    "https://az/o//",
    "Mira Sol <m@example.com>",
    "pull_request",
    "workflow_run",
    "*",
    "'",
    "-n",
    "\u{1}\u{7f}",
];

const EVENTS: &[&str] = &[
    r#"{"workflow_run":{"head_branch":"fix/fog","head_sha":"0123456789abcdef","display_title":"Fog horn","head_commit":{"message":"Sound it\n\ntwice \u00e9 \ud83d\ude80 \"so\" \\ \/","author":{"name":"Mira Sol"}}}}"#,
    r#"{ "other": [1, {"a": [true, null, -1.5e3]}, "x"], "pull_request": {"html_url": "https://gh/a/b/pull/18", "title": "Fog 'horn'", "user": {"login": "stranger"}, "head": {"sha": "0123456789abcdef"}}, "head_commit": null}"#,
    r#"{"workflow_run":{"head_branch":"main","head_repository":{"full_name":"stranger/name"}}}"#,
    r#"{"pull_request":{"head":{"sha":"0123456789abcdef","repo":{"full_name":"/stranger"}}}}"#,
    r#"{"workflow_run":{"head_branch":"main","url":"https://api/runs/7","head_repository":null}}"#,
    r#"{"pull_request":{"head":{"sha":"0123456789abcdef","repo":null,"user":{"login":"stranger"}}}}"#,
    r#"{"pull_request":{"title":"cut off""#,
    r#"{"pull_request":{"title":"and more"}} }"#,
    r#"{"head_commit":{"message":"","author":{"name":7}}}"#,
    "not JSON at all {{{",
    "",
];

/// Every variable that a preset reads.
fn known(preset: &str) -> Vec<String> {
    let script = portable::script();
    let own = |line: &&str| line.starts_with(&format!("{preset}_"));
    let case = script.split(&format!("    {preset})\n")).nth(1).unwrap().split("      ;;").next().unwrap();
    let functions = script.split("\n}\n").filter(own);
    let text = format!("{case}{}", functions.collect::<String>());
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words
        .filter(|word| word.len() > 3 && word.contains('_'))
        .map(str::to_owned)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[test]
fn the_script_sends_what_the_program_sends_whatever_the_job_s_variables_say() {
    let (folder, commit) = checkout();
    let elsewhere = Folder::new();
    let server = Server::start(&folder.0);
    let script = script(&folder);
    let mut dice = Dice(7);
    let mut compared = 0;
    for round in 0..18 {
        for preset in PRESETS {
            let variables = known(preset.name);
            let mut job: Vec<(&str, &str)> =
                vec![("COOLOPS_URL", &server.url), ("COOLOPS_PROJECT_API_TOKEN", "cops_x\n")];
            let values = [VALUES, &[&commit[..]]].concat();
            for variable in &variables {
                if dice.below(4) > 0 {
                    job.push((variable, dice.one_of(&values)));
                }
            }
            let event = folder.path("event");
            if dice.below(2) == 0 {
                std::fs::write(&event, dice.one_of(EVENTS)).unwrap();
                job.push(("GITHUB_EVENT_PATH", &event));
            }
            if dice.below(3) == 0 {
                job.push(("GITHUB_EVENT_NAME", dice.one_of(&["workflow_run", "push"])));
            }
            if dice.below(3) == 0 {
                job.push(("COOLOPS_PARAMS", "A=1\r\n\n  B=x=y \nA=2"));
                job.push(("COOLOPS_METADATA", "Branch=mine\nJob url=https://ci/é"));
            }
            let param = format!("P={}", dice.one_of(VALUES));
            let command = format!("build:new:{}", preset.name);
            let arguments = [&command, "-param", &param, "-p", "A=3", "-mX=Y", "--metadata=Message=own"];
            // With a checkout that git knows, and without one.
            let place = if dice.below(2) == 0 { &folder.0 } else { &elsewhere.0 };
            let told = ran(None, &program(), &arguments, &job, place);
            let sent = server.heard.lock().unwrap().pop();
            let shell = SHELLS[round % SHELLS.len()];
            let told_too = ran(Some(shell), &script, &arguments, &job, place);
            let sent_too = server.heard.lock().unwrap().pop();
            let quietly = |told: &(i32, String, String)| (told.0, told.1.clone(), told.2.replace(" (portable)", ""));
            assert_eq!(quietly(&told_too), quietly(&told), "{shell:?} {job:?}");
            assert_eq!(sent_too.as_ref().map(|s| &s.1), sent.as_ref().map(|s| &s.1), "{shell:?} {job:?}");
            if let (Some((headers, _)), Some((own, _))) = (&sent, &sent_too) {
                for header in ["authorization", "x-coolops-cli-version", "content-type"] {
                    assert_eq!(own.get(header), headers.get(header), "{header}");
                }
                compared += 1;
            }
        }
    }
    // What is no text arrives as a character that says so, from both.
    let latin1 = Folder::new();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.com"]).args(arguments).current_dir(&latin1.0);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
    };
    git(&["init", "-q"]);
    let raw = std::ffi::OsStr::from_bytes(b"Caf\xe9 \xc3\xa9 \xe2\x82");
    std::fs::write(latin1.0.join("message"), raw.as_bytes()).unwrap();
    // As other tools write it: without a word about the encoding.
    git(&["commit", "-q", "--allow-empty", "--cleanup=verbatim", "-F", "message"]);
    let job = [
        ("COOLOPS_URL", &server.url[..]),
        ("COOLOPS_PROJECT_API_TOKEN", "x"),
        ("BRANCH_NAME", "main"),
        ("BUILD_NUMBER", "1"),
    ];
    ran(None, &program(), &["build:new:jenkins"], &job, &latin1.0);
    let sent = server.heard();
    for shell in SHELLS {
        ran(Some(shell), &script, &["build:new:jenkins"], &job, &latin1.0);
        assert_eq!(server.heard(), sent, "{shell:?}");
    }
    assert!(compared > 60, "only {compared} requests were made at all");
    assert!(!folder.0.join("injected").exists() && !elsewhere.0.join("injected").exists());
}

#[test]
fn the_script_takes_the_arguments_of_the_program_and_says_the_same() {
    let folder = Folder::new();
    let server = Server::start(&folder.0);
    let script = script(&folder);
    let url = server.url.as_str();
    let away = ("COOLOPS_URL", "http://127.0.0.1:1/");
    let job = [("COOLOPS_URL", url), ("COOLOPS_PROJECT_API_TOKEN", "cops_x")];
    let long = "x".repeat(12_000);
    let long_param = format!("LONG={long}");
    for shell in SHELLS {
        let both = |arguments: &[&str], job: &[(&str, &str)]| {
            let told = ran(None, &program(), arguments, job, &folder.0);
            let sent = server.heard.lock().unwrap().pop().map(|s| s.1);
            let told_too = ran(Some(shell), &script, arguments, job, &folder.0);
            let sent_too = server.heard.lock().unwrap().pop().map(|s| s.1);
            assert_eq!(sent_too, sent, "{shell:?} {arguments:?}: {told_too:?}");
            (told, told_too)
        };
        let same = |arguments: &[&str], job: &[(&str, &str)]| {
            let (told, told_too) = both(arguments, job);
            assert_eq!(told_too, told, "{shell:?} {arguments:?}");
        };
        same(&["build:new", "main-1"], &job);
        same(&["build:new", "-p", "A=1", "-p", "A=2", "-p", "B=", "-p", "C==", "main 2", "-m", "k k=v"], &job);
        same(&["build:new", "main-1\r\n", "-p", "A=1\r", "-p", "B=x\ny\r\n"], &job);
        same(&["build:new", "main-1", "-p", &long_param], &job);
        same(&["build:new", "main-1", "--repository", "git@github.com:a/b.git", "--commit", "ABCDEF0123"], &job);
        same(&["build:new", "main-1", "--repository", "nonsense"], &job);
        same(&["build:new", "main-1", "--commit", "nonsense"], &job);
        same(&["build:new", "main-1", "-t", "own"], &job);
        same(&["build:new", "main-1", "-t", ""], &job);
        same(&["build:new"], &job);
        same(&["build:new", "main-1"], &job[..1]);
        same(&["build:new", "main-1"], &job[1..]);
        same(&["build:new", "main-1", "-t", "a\u{e9}b"], &job);
        same(&["build:new", "main-1", "-t", "a\"b\\c"], &job);
        for bad in ["http://user:pw@localhost:1", "ftp://x", "x", "http://h?x=1", "http://h#x"] {
            same(&["build:new", "main-1", "--url", bad], &job);
        }
        same(&["build:new:circleci"], &[&job[..], &[("CIRCLE_BUILD_NUM", "7")]].concat());
        same(&["build:new:github"], &job);
        same(&["build:new:auto"], &job);
        same(&["build:new:auto", "--name", "own"], &[&job[..], &[("TF_BUILD", "True")]].concat());
        same(&["build:new", "m"], &[&job[..], &[("COOLOPS_PARAMS", "A=1\nB")]].concat());
        same(&["fly"], &job);
        same(&["build:new", "main-1", "--dry-run", "-p", "A=1", "-m", "B=\u{e9}\"\\"], &job);
        same(&["build:new", "main-1", "--dry-run"], &[]);
        same(&["build:new", "in-ci"], &[&job[..], &[("CI", "1")]].concat());
        same(&["build:new", "in-ci", "--quiet"], &[&job[..], &[("CI", "1")]].concat());
        for wrong in [
            &["build:new", "a", "b"][..],
            &["build:new", "a", "-p"],
            &["build:new", "a", "-p", "B"],
            &["build:new", "a", "--fly"],
            &["build:new:github", "a"],
        ] {
            let (told, told_too) = both(wrong, &job);
            assert_eq!((told.0, told_too.0), (2, 2), "{wrong:?}: {told_too:?}");
            assert!(told_too.2.starts_with("error: "), "{}", told_too.2);
        }
        let (told, told_too) = both(&["build:new", "m"], &[away, job[1]]);
        let first = |text: &str| text.split(": ").next().unwrap().to_owned();
        assert_eq!((told.0, first(&told.2)), (told_too.0, first(&told_too.2)));
        assert_eq!(ran(Some(shell), &script, &["--version"], &[], &folder.0).1.split(' ').next(), Some("coolops"));
        assert!(ran(Some(shell), &script, &["--help"], &[], &folder.0).1.contains("build:new:<CI>"));
    }
}

/// A server that gives each request one of these answers: a status, with more headers, and a body.
pub(super) fn answering(answers: Vec<(&'static str, &'static str)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let began = std::time::Instant::now();
        let mut all = Vec::new();
        for (head, body) in answers {
            let mut stream = loop {
                match listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(_) if began.elapsed().as_secs() > 20 => return all,
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
                }
            };
            stream.set_nonblocking(false).unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            // Until the body is there, which ends with a brace.
            while !request.ends_with(b"}") {
                let n = stream.read(&mut piece).unwrap();
                assert!(n > 0, "it broke off");
                request.extend_from_slice(&piece[..n]);
            }
            let length = body.len();
            write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
            all.push(String::from_utf8_lossy(&request).into_owned());
        }
        all
    });
    (url, heard)
}

type Answer = (&'static str, &'static str);
const TAKEN: Answer =
    ("201 Created", r#"{"id":"7","url":"https://c.example.com/builds/7","notes":["A was trimmed","B \u00e9 too"]}"#);
const AWAY: Answer = ("503 Service Unavailable", r#"{"error":"just a sec"}"#);
const UNKNOWN: Answer = ("401 Unauthorized", "{}");
const REFUSED: Answer = ("400 Bad Request", r#"{"error":"name is too long"}"#);
const PAGE: Answer = ("200 OK", "<!doctype html><title>Log in</title>");
const CUT_OFF: Answer = ("201 Created", r#"{"url":"https://c.example.com/builds/7""#);
const LONGER: Answer = ("201 Created", r#"{"url":"https://c.example.com/builds/7"} <!-- -->"#);
const ELSEWHERE: Answer = ("302 Found\r\nlocation: https://login.example.com/", "");

#[test]
fn the_script_understands_every_answer_with_curl_and_with_wget() {
    let folder = Folder::new();
    let script = script(&folder);
    let tools = ["awk", "cat", "date", "git", "grep", "mktemp", "od", "rm", "sed", "sh", "sleep", "tail", "tr", "dash"];
    for with in ["curl", "wget", "busybox"] {
        let bin = folder.0.join(with);
        std::fs::create_dir(&bin).unwrap();
        for tool in tools {
            let of_system = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
            symlink(String::from_utf8(of_system.stdout).unwrap().trim(), bin.join(tool)).unwrap();
        }
        let (named, real) =
            if with == "busybox" { ("wget", "/usr/bin/busybox") } else { (with, &format!("/usr/bin/{with}")[..]) };
        symlink(real, bin.join(named)).unwrap();
        let says = |answers: Vec<Answer>| {
            let (url, heard) = answering(answers);
            let mut command = Command::new("dash");
            command.arg(&script).args(["build:new", "m", "-p", "A=1", "--url", &url, "-t", "cops_secret"]).env_clear();
            command.env("PATH", &bin).env("CI", "1").current_dir(&folder.0);
            let told = shown(&command.stdin(Stdio::null()).output().unwrap());
            (told.0, told.2.replace(&url, "URL"), heard.join().unwrap())
        };
        if with == "busybox" {
            // It would tell the token to whoever it is sent on to: nobody is asked anything.
            let mut command = Command::new("dash");
            command.arg(&script).args(["build:new", "m", "--url", "http://127.0.0.1:1", "-t", "x"]).env_clear();
            let (code, _, said) = shown(&command.env("PATH", &bin).current_dir(&folder.0).output().unwrap());
            assert!(code == 1 && said.contains("this wget can not be trusted with a token; install curl"), "{said}");
            continue;
        }
        let (code, said, heard) = says(vec![TAKEN]);
        assert_eq!(
            (code, said.as_str()),
            (0, "A was trimmed\nB é too\nm is announced: https://c.example.com/builds/7\n"),
            "{with}"
        );
        assert!(heard[0].to_lowercase().contains("authorization: token cops_secret"), "{with}: {}", heard[0]);
        assert!(heard[0].ends_with(r#"{"name":"m","params":{"A":"1"}}"#), "{with}: {}", heard[0]);
        let (code, said, _) = says(vec![AWAY, TAKEN]);
        assert!(code == 0 && said.ends_with("m is announced: https://c.example.com/builds/7\n"), "{with}: {said}");
        let (code, said, _) = says(vec![UNKNOWN]);
        assert!(
            code == 1 && said.starts_with("Invalid project token: it is unknown or was revoked."),
            "{with}: {said}"
        );
        let (code, said, _) = says(vec![REFUSED]);
        assert_eq!((code, said.as_str()), (1, "Invalid request: name is too long\n"), "{with}");
        let (code, said, heard) = says(vec![PAGE, CUT_OFF, LONGER]);
        let is_no_answer = "The build could not be announced to URL/builds, in 3 tries: what answers there is not coolops (status 201)\nIs the address right, and can this job reach it?\n";
        assert_eq!((code, said.as_str(), heard.len()), (1, is_no_answer, 3), "{with}");
        let (code, said, _) = says(vec![ELSEWHERE]);
        let sent_on = "URL/builds sends us on to https://login.example.com/; set the address of coolops itself\n";
        assert_eq!((code, said.as_str()), (1, sent_on), "{with}");
    }
}
