//! The demo as a person runs it: two at once, Ctrl-C, a killed one, what is left behind.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::story::database::service;

struct Demo {
    child: Child,
    page: String,
}

/// A temporary folder of the test's own, so that it meets no other demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        Command::new(env!("CARGO_BIN_EXE_coolops")).args(["demo", "clean"]).env("TMPDIR", &self.0).output().ok();
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Folder {
    fn make() -> Self {
        let path = std::env::temp_dir().join(format!("d{}", crate::story::random_name()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)).unwrap();
        Self(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = if arguments[0] == "demo" { "coolops" } else { "coolops-lab" };
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_coolops")).with_file_name(program));
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TMPDIR", &self.0);
        command.env("DOCKER_HOST", service("TEST_DOCKER_HOST"));
        command
    }

    fn start(&self, port: &str) -> Demo {
        let mut child = self.command(&["demo", "--port", port]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let page = lines
            .map_while(Result::ok)
            .find(|l| l.trim().starts_with("http://127.0.0.1:"))
            .expect("the demo prints an address");
        Demo { child, page: page.trim().to_owned() }
    }

    fn runs(&self) -> usize {
        let Ok(users) = std::fs::read_dir(&self.0) else { return 0 };
        users.filter_map(|u| std::fs::read_dir(u.ok()?.path()).ok()).map(Iterator::count).sum()
    }
}

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

fn announce(folder: &Folder, name: &str) -> bool {
    let program = env!("CARGO_BIN_EXE_coolops");
    let script = format!(
        "eval \"$({program} demo env)\" && coolops build:new {name} -p DOCKER_TAG=1 && coolops deploy api {name} Staging >&2 &&
         coolops deployment logs --follow $(coolops deployment list | awk 'NR == 2 {{ print $1 }}') >&2 && coolops replay --verify"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", &folder.0);
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).contains("is whole")
}

fn images_of(demo: &Demo) -> String {
    let name = format!("coolops-demo-{}", demo.child.id());
    let mut docker = Command::new("docker");
    docker.args(["images", "--quiet", &name]).env("DOCKER_HOST", service("TEST_DOCKER_HOST"));
    String::from_utf8(docker.output().unwrap().stdout).unwrap()
}

#[test]
fn two_demos_run_beside_each_other_and_ctrl_c_leaves_nothing() {
    let folder = Folder::make();
    let first = folder.start("0");
    let taken = first.page.split([':', '/']).nth(4).unwrap().to_owned();
    let second = folder.start(&taken);
    assert_ne!(first.page, second.page, "the second found another port");
    assert!(announce(&folder, "master-1"));
    for mut demo in [first, second] {
        signal(&demo.child, "-INT");
        assert!(demo.child.wait().unwrap().success());
    }
    assert_eq!(folder.runs(), 0, "something was left behind");
}

#[test]
fn what_a_killed_demo_left_is_cleaned_up_by_the_next() {
    let folder = Folder::make();
    let mut killed = folder.start("0");
    signal(&killed.child, "-KILL");
    killed.child.wait().unwrap();
    assert_eq!(folder.runs(), 1);
    let output = folder.command(&["demo", "env"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("no demo is running; start one in another terminal with: ./just demo")
    );
    let mut next = folder.start("0");
    assert!(announce(&folder, "master-1"));
    assert_eq!(folder.runs(), 1);
    signal(&next.child, "-TERM");
    next.child.wait().unwrap();
    assert_eq!(folder.runs(), 0);
}

#[test]
fn cleaning_takes_what_a_killed_demo_left_on_the_engine_and_nothing_of_one_that_runs_elsewhere() {
    let [elsewhere, folder] = [Folder::make(), Folder::make()];
    let mut running = elsewhere.start("0");
    let mut killed = folder.start("0");
    signal(&killed.child, "-KILL");
    killed.child.wait().unwrap();
    let output = folder.command(&["demo", "clean"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("what is theirs stays"), "{said}");
    assert_eq!(images_of(&killed), "", "what the killed one left is still there");
    assert!(announce(&elsewhere, "master-1"), "a deployment of the other one");
    signal(&running.child, "-TERM");
    running.child.wait().unwrap();
}

/// What a killed Docker Engine leaves: its folder mounted onto itself and more.
#[test]
fn what_a_killed_run_left_mounted_is_unmounted_and_never_deleted_through() {
    let folder = Folder::make();
    let precious = folder.0.join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("file"), "kept").unwrap();
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    let run = folder.0.join(format!("coolops-{}", String::from_utf8_lossy(&user).trim())).join("services-killed");
    let mounted = run.join("docker/a folder");
    std::fs::create_dir_all(&mounted).unwrap();
    std::fs::write(run.join("owner"), "0").unwrap();
    for _ in 0..2 {
        let mount = Command::new("mount").arg("--bind").args([&precious, &mounted]).status().unwrap();
        assert!(mount.success(), "this test needs root, as do those with a Docker Engine of their own");
    }
    let output = folder.command(&["demo", "clean"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Removed the folders and processes of 1 killed run(s)."));
    assert!(!run.exists());
    assert_eq!(std::fs::read_to_string(precious.join("file")).unwrap(), "kept");
}

#[test]
fn cleaning_without_a_docker_says_so_and_is_no_failure() {
    let folder = Folder::make();
    let output = folder.command(&["demo", "clean"]).env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("No Docker answers, so there is no image to remove."));
}

#[test]
fn what_a_command_beside_the_services_started_ends_with_it() {
    let folder = Folder::make();
    let note = folder.0.join("started");
    let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", note.display());
    let quiet = Stdio::null;
    let mut child = folder
        .command(&["with-services", "--", "sh", "-c", &script])
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !note.exists() {
        assert!(std::time::Instant::now() < deadline, "its command never began");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let started = std::fs::read_to_string(&note).unwrap();
    let state =
        || std::fs::read_to_string(format!("/proc/{}/stat", started.trim())).ok().filter(|stat| !stat.contains(") Z "));
    assert!(state().is_some(), "it runs");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
    assert_eq!(state(), None, "what the command started runs on");
}

#[test]
fn a_program_that_stands_alone_says_where_the_demo_is() {
    let folder = Folder::make();
    let alone = folder.0.join("coolops");
    std::fs::copy(env!("CARGO_BIN_EXE_coolops"), &alone).unwrap();
    let output = Command::new(&alone).args(["demo", "--port", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("./just demo in a checkout of coolops builds both"), "{said}");
}
