//! How the small program for CI is installed: by one line, from a server that may be hostile, and as the examples do it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::client::{Folder, Server, checkout, program, root, run, shown};
use crate::story::service::service_story;

/// Runs install.sh as a person would, with programs of ours first in the path.
fn install(folder: &Folder, url: &str, more: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new("sh");
    command.arg(root().join("install.sh")).env_clear().current_dir(&folder.0);
    command.env("PATH", format!("{}:/usr/bin:/bin", folder.path("fake"))).env("HOME", &folder.0);
    command.env("COOLOPS_DOWNLOAD_URL", url).envs(more.iter().copied());
    shown(&command.output().unwrap())
}

#[test]
fn it_is_installed_by_a_script_that_checks_what_it_got() {
    let folder = Folder::new();
    let server = Server::start(&root().join("dist"));
    let (code, said, wrong) = install(&folder, &server.url, &[]);
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    let place = folder.path(".local/bin/coolops");
    assert!(said.starts_with("Installed coolops 0.1.0 (") && said.contains(&format!("as {place}")), "{said}");
    assert!(said.contains("is not in your PATH; add it: export PATH="), "{said}");
    assert!(run(Path::new(&place), &["--version"], &[], &folder.0).1.starts_with("coolops 0.1.0"));
    // Again, elsewhere, where there are blanks in the name, eight at once; with every shell that is here.
    let home = folder.0.to_string_lossy().into_owned();
    let elsewhere = folder.path("a b/bin");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(install(&folder, &server.url, &[("COOLOPS_INSTALL_DIR", &elsewhere)]).0, 0));
        }
    });
    for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
        let mut command = Command::new(shell[0]);
        command
            .args(&shell[1..])
            .arg(root().join("install.sh"))
            .env_clear()
            .current_dir(&folder.0)
            .env("PATH", "/usr/bin:/bin");
        command.envs([
            ("HOME", home.as_str()),
            ("COOLOPS_DOWNLOAD_URL", &server.url),
            ("COOLOPS_INSTALL_DIR", &elsewhere),
        ]);
        assert_eq!(shown(&command.output().unwrap()).0, 0, "{shell:?}");
    }
    // With wget and shasum where the others are missing; a relative folder is not looked for in CDPATH.
    let bare = folder.0.join("bare");
    std::fs::create_dir(&bare).unwrap();
    for tool in
        ["sh", "wget", "shasum", "uname", "mktemp", "tr", "grep", "head", "mkdir", "cat", "chmod", "mv", "rm", "perl"]
    {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), bare.join(tool)).unwrap();
    }
    let more = [("PATH", bare.to_str().unwrap()), ("COOLOPS_INSTALL_DIR", "here"), ("CDPATH", "/tmp")];
    let (code, said, wrong) = install(&folder, &server.url, &more);
    assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
    assert!(said.contains(&format!("as {home}/here/coolops")), "{said}");
    // Another program of that name comes first: it would still be the one that runs.
    let older = folder.0.join("fake");
    std::fs::create_dir_all(&older).unwrap();
    std::fs::copy(&place, older.join("coolops")).unwrap();
    let (_, said, _) = install(&folder, &server.url, &[]);
    assert!(said.contains("in your PATH, another program: remove it, or put"), "{said}");
    let left = std::fs::read_dir(&elsewhere).unwrap().count();
    assert_eq!(left, 1, "nothing but the program is left");
    let in_the_way = folder.path("in-the-way");
    std::fs::create_dir_all(format!("{in_the_way}/coolops")).unwrap();
    let (code, _, said) = install(&folder, &server.url, &[("COOLOPS_INSTALL_DIR", &in_the_way)]);
    assert!(code == 1 && said.contains("is a folder; move it away"), "{said}");
    let (code, _, _) = install(&folder, &server.url, &[("COOLOPS_INSTALL_DIR", &elsewhere)]);
    assert!(code == 0 && Path::new(&elsewhere).join("coolops").exists());
}

#[test]
fn coolops_hands_out_its_program_for_ci_with_one_line() {
    service_story("true", "info", async |s| {
        let folder = Folder::new();
        let bin = folder.path("bin");
        std::fs::create_dir(&bin).unwrap();
        let (url, token) = (s.url.clone(), s.token.clone());
        let job = |line: &str, path: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", line]).env_clear().env("PATH", path).env("HOME", &folder.0).current_dir(&folder.0);
            command.envs([("COOLOPS_URL", &url), ("COOLOPS_PROJECT_API_TOKEN", &token)]);
            shown(&command.stdin(Stdio::null()).output().unwrap())
        };
        // There is no program at first: then a script with the same commands is installed.
        let line = |name: &str| format!("curl -fsSL {}/install.sh | sh && coolops build:new {name}", s.url);
        let path = format!("{bin}:/usr/bin:/bin");
        let (code, said, wrong) = job(&line("main-0"), &path);
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
        assert!(said.contains("(portable) as ") && said.contains(&format!("{bin}/coolops")), "{said}");
        s.shows("# Api: main-0").await;
        let line = line("main-1");
        s.stop("-TERM");
        s.set("COOLOPS_CLIENT_DIR", root().join("dist").to_str().unwrap());
        s.start().await;
        // Into a folder that programs are found in.
        let (code, said, wrong) = job(&line, &path);
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
        assert!(said.contains(&format!("as {bin}/coolops")) && !said.contains("PATH"), "{said}");
        assert!(!said.contains("portable"), "the program takes the script's place: {said}");
        s.shows("# Api: main-1").await;
        let own = format!("curl -fsSL {}/install.sh | sh", s.url);
        let (code, said, _) = job(&own, "/usr/bin:/bin");
        assert!(code == 0 && said.contains("is not in your PATH; add it"), "{said}");
        let (_, _, wrong) = job(&format!("curl -fsS {}/client/..%2fCargo.toml", s.url), "/usr/bin:/bin");
        assert!(wrong.contains("404"), "{wrong}");
    });
}

#[test]
fn where_there_is_no_program_a_script_is_installed_with_the_same_commands() {
    for (system, machine) in [("Darwin", "arm64"), ("Linux", "aarch64"), ("MINGW64_NT-10.0-19045", "x86_64")] {
        let folder = Folder::new();
        let server = Server::start(&root().join("dist"));
        let fake = folder.0.join("fake");
        std::fs::create_dir_all(&fake).unwrap();
        let uname = format!("#!/bin/sh\n[ \"$1\" = -s ] && echo {system} || echo {machine}\n");
        std::fs::write(fake.join("uname"), uname).unwrap();
        Command::new("chmod").arg("+x").arg(fake.join("uname")).status().unwrap();
        let (code, said, wrong) = install(&folder, &server.url, &[]);
        assert_eq!((code, wrong.as_str()), (0, ""), "{said}");
        assert!(said.starts_with("Installed coolops 0.1.0 (portable) as "), "{said}");
        let place = folder.path(".local/bin/coolops");
        let job = [("COOLOPS_URL", server.url.as_str()), ("COOLOPS_PROJECT_API_TOKEN", "cops_x")];
        let (code, _, said) = run(Path::new(&place), &["build:new", "main-1", "-p", "A=1"], &job, &folder.0);
        assert_eq!((code, said.as_str()), (0, ""));
        assert_eq!(server.heard(), serde_json::json!({ "name": "main-1", "params": { "A": "1" } }));
    }
}

#[test]
fn the_installer_says_what_it_lacks_leaves_nothing_half_and_goes_through_a_proxy() {
    let folder = Folder::new();
    let server = Server::start(&root().join("dist"));
    // Neither curl nor wget.
    let bare = folder.0.join("bare");
    std::fs::create_dir(&bare).unwrap();
    for tool in ["sh", "uname", "mktemp", "tr", "grep", "head", "mkdir", "cat", "chmod", "mv", "rm", "sha256sum"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), bare.join(tool)).unwrap();
    }
    let (code, _, said) = install(&folder, &server.url, &[("PATH", bare.to_str().unwrap())]);
    assert_eq!(
        (code, said.lines().next()),
        (1, Some("coolops install: neither curl nor wget is there; install one of them"))
    );
    // Nowhere to write to, whoever asks.
    let (code, _, said) = install(&folder, &server.url, &[("COOLOPS_INSTALL_DIR", "/proc/coolops")]);
    assert!(
        code == 1 && said.contains("/proc/coolops can't be made; set COOLOPS_INSTALL_DIR to a folder of yours"),
        "{said}"
    );
    // Interrupted while it fetches: what had begun is gone.
    let fake = folder.0.join("fake");
    std::fs::create_dir_all(&fake).unwrap();
    let began = folder.0.join("began");
    let stalls = format!(
        "#!/bin/sh\nfor a in \"$@\"; do case $a in /*) echo half >\"$a\" ;; esac; done\n: >'{}'\nexec sleep 20\n",
        began.display()
    );
    std::fs::write(fake.join("curl"), stalls).unwrap();
    Command::new("chmod").arg("+x").arg(fake.join("curl")).status().unwrap();
    let (temporary, home) = (folder.0.join("tmp"), folder.0.join("home"));
    std::fs::create_dir(&temporary).unwrap();
    let mut command = Command::new("sh");
    command
        .arg(root().join("install.sh"))
        .env_clear()
        .current_dir(&folder.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.env("PATH", format!("{}:/usr/bin:/bin", fake.display())).env("TMPDIR", &temporary).env("HOME", &home);
    let mut child = command.env("COOLOPS_DOWNLOAD_URL", &server.url).spawn().unwrap();
    let patience = std::time::Instant::now();
    while !began.exists() {
        assert!(patience.elapsed().as_secs() < 20, "it never began");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // As a terminal does: everybody in the group hears it.
    let children = Command::new("pkill").args(["-TERM", "-P", &child.id().to_string()]).status().unwrap();
    assert!(children.success());
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "nothing half is left");
    assert!(!home.exists());
    std::fs::remove_file(fake.join("curl")).unwrap();
    // A proxy is asked for what is elsewhere.
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut request = [0; 4096];
        let n = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&request[..n]).into_owned()
    });
    let (code, _, said) = install(&folder, "http://coolops.example.com/client", &[("http_proxy", &address)]);
    assert!(code == 1 && said.contains("coolops-x86_64-linux can't be fetched"), "{said}");
    assert!(heard.join().unwrap().starts_with("GET http://coolops.example.com/client/coolops-x86_64-linux HTTP/1.1"));
}

#[test]
fn nothing_is_installed_when_something_is_wrong() {
    let (folder, dist) = (Folder::new(), Folder::new());
    let server = Server::start(&dist.0);
    let place = folder.0.join(".local/bin/coolops");
    let fails = |url: &str, sentence: &str| {
        let (code, out, said) = install(&folder, url, &[]);
        assert!(code == 1 && said.contains("coolops install: ") && said.contains(sentence), "{code} {out} {said}");
        assert!(!place.exists(), "nothing is installed");
    };
    fails("", "COOLOPS_DOWNLOAD_URL is not set");
    fails(&server.url, "coolops-x86_64-linux can't be fetched");
    std::fs::copy(program(), dist.0.join("coolops-x86_64-linux")).unwrap();
    fails(&server.url, "nothing is installed without its checksum");
    std::fs::write(dist.0.join("coolops-x86_64-linux.sha256"), format!("{}  coolops-x86_64-linux\n", "0".repeat(64)))
        .unwrap();
    fails(
        &server.url,
        "and should be 0000000000000000000000000000000000000000000000000000000000000000; nothing is installed",
    );
    std::fs::write(dist.0.join("coolops-x86_64-linux.sha256"), "").unwrap();
    fails(&server.url, "holds no SHA-256 checksum; nothing is installed");
    let fake = folder.0.join("fake");
    std::fs::create_dir_all(&fake).unwrap();
    std::fs::write(fake.join("uname"), "#!/bin/sh\n[ \"$1\" = -s ] && echo Darwin || echo arm64\n").unwrap();
    Command::new("chmod").arg("+x").arg(fake.join("uname")).status().unwrap();
    fails(&server.url, "coolops.sh can't be fetched");
}

/// A step of an example: its script, and the variables that the CI system would set for it, with `fill` for every place
/// that it fills in.
fn example(
    file: &str,
    at: &[&str],
    script: &str,
    variables: &[&str],
    fill: &dyn Fn(&str) -> String,
) -> (String, Vec<(String, String)>) {
    let text = std::fs::read_to_string(root().join("examples/ci").join(file)).unwrap();
    let whole: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    let walk = |at: &[&str]| {
        at.iter().fold(&whole, |value, step| match step.parse::<usize>() {
            Ok(n) => &value[n],
            Err(_) => &value[*step],
        })
    };
    let step = walk(at);
    let script = if script.is_empty() { step[0].as_str() } else { step[script].as_str() }
        .unwrap_or_else(|| panic!("no script in {file}"));
    let variables = walk(variables).as_mapping().unwrap_or_else(|| panic!("no variables in {file}")).iter();
    let variables =
        variables.map(|(name, value)| (name.as_str().unwrap().to_owned(), fill(value.as_str().unwrap()))).collect();
    (script.to_owned(), variables)
}

#[test]
fn the_examples_install_and_announce() {
    let server = Server::start(&root().join("dist"));
    let (folder, commit) = checkout();
    let home = folder.0.to_string_lossy().into_owned();
    let params = "DOCKER_TAG=a b\n\nEMPTY=\n";
    for (own, expected) in [("", "main-42"), ("My own name", "My own name")] {
        // What a person writes into `with:` or beside the command.
        let given = |name: &str| match name {
            "url" | "download-url" => server.url.clone(),
            "token" => "cops_x".to_owned(),
            "name" => own.to_owned(),
            "params" => params.to_owned(),
            "metadata" => "Note=by hand".to_owned(),
            other => panic!("the example asks for {other}"),
        };
        let between = |text: &str, open: &str, close: &str| match text.split_once(open) {
            Some((_, rest)) => given(rest.split(close).next().unwrap().trim()),
            None => text.replace("$CI_PROJECT_DIR", &home),
        };
        let project: &[(&str, &str)] = &[
            ("COOLOPS_URL", &server.url),
            ("COOLOPS_DOWNLOAD_URL", &server.url),
            ("COOLOPS_PROJECT_API_TOKEN", "cops_x"),
            ("COOLOPS_PARAMS", params),
            ("COOLOPS_METADATA", "Note=by hand"),
        ];
        let github: &[(&str, &str)] = &[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REF_NAME", "main"),
            ("GITHUB_RUN_NUMBER", "42"),
            ("GITHUB_SHA", &commit),
            ("RUNNER_TEMP", &home),
        ];
        let circleci: &[(&str, &str)] =
            &[("CIRCLECI", "true"), ("CIRCLE_BRANCH", "main"), ("CIRCLE_BUILD_NUM", "42"), ("CIRCLE_SHA1", &commit)];
        let gitlab: &[(&str, &str)] =
            &[("GITLAB_CI", "true"), ("CI_COMMIT_REF_SLUG", "main"), ("CI_JOB_ID", "42"), ("CI_COMMIT_SHA", &commit)];
        let step = &["commands", "announce", "steps", "0", "run"];
        let examples = [
            (
                "github",
                example("github/action.yml", &["runs", "steps", "0"], "run", &["runs", "steps", "0", "env"], &|t| {
                    between(t, "${{ inputs.", "}}")
                }),
                vec![github],
            ),
            (
                "circleci",
                example("circleci/orb.yml", step, "command", &[step.as_slice(), &["environment"]].concat(), &|t| {
                    between(t, "<< parameters.", ">>")
                }),
                vec![&project[..3], circleci],
            ),
            (
                "gitlab",
                example(
                    "gitlab/coolops.gitlab-ci.yml",
                    &[".coolops-announce", "script"],
                    "",
                    &[".coolops-announce", "variables"],
                    &|t| between(t, "\0", "\0"),
                ),
                vec![project, gitlab],
            ),
        ];
        for (name, (script, own_variables), variables) in examples {
            let mut child = Command::new("sh");
            child.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &home).envs(own_variables);
            child.envs(variables.into_iter().flatten().copied());
            if name == "gitlab" {
                child.env("COOLOPS_BUILD", own);
            }
            let (code, out, said) =
                shown(&child.args(["-e", "-c", &script]).current_dir(&folder.0).stdin(Stdio::null()).output().unwrap());
            assert_eq!(code, 0, "{name}: {out}{said}");
            let heard = server.heard();
            assert_eq!(
                (heard["name"].as_str(), &heard["params"]),
                (Some(expected), &serde_json::json!({ "DOCKER_TAG": "a b", "EMPTY": "" })),
                "{name}"
            );
            assert!(
                heard["metadata"].to_string().contains("Let the lamp turn slower")
                    && heard["metadata"]["Note"] == "by hand",
                "{heard}"
            );
        }
    }
}
