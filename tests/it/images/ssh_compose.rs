//! `ssh-compose` over a real sshd, with a `docker` that plays Compose, and once with the real Engine and docker-compose.

use std::process::{Child, Command, Stdio};

use super::{Bench, SHELLS, Variables, in_each_shell, variables, with};
use crate::story::service::free_port;

/// An sshd of its own, which lets one key in; what is run there finds the bench's tools.
pub struct Machine {
    sshd: Child,
    pub port: u16,
}

pub fn keygen(bench: &Bench, name: &str) -> (String, String) {
    let file = bench.path(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&file).status();
    assert!(made.unwrap().success());
    let read = |end: &str| std::fs::read_to_string(format!("{}{end}", file.display())).unwrap();
    (read(""), read(".pub"))
}

impl Machine {
    pub fn start(bench: &Bench, more: &str) -> Self {
        let port = free_port();
        keygen(bench, "host");
        let (_, public) = keygen(bench, "user");
        bench.file("authorized", &public);
        let at = bench.path("").display().to_string();
        let path = std::env::var("PATH").unwrap();
        let config = bench.file(
            "sshd_config",
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}host\nAuthorizedKeysFile {at}authorized\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nSetEnv PATH={at}bin:{path} {more}\n"
            ),
        );
        // As root it wants an empty folder of its own.
        std::fs::create_dir_all("/run/sshd").ok();
        let log = std::fs::File::create(bench.path("sshd.log")).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let sshd = command.spawn().unwrap();
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed().as_secs() < 20, "{}", std::fs::read_to_string(bench.path("sshd.log")).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self { sshd, port }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.sshd.kill().ok();
        self.sshd.wait().ok();
    }
}

pub fn login() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

fn deploys_to(bench: &Bench, port: u16) -> Variables {
    let read = |name: &str| {
        std::fs::read_to_string(bench.path(name)).unwrap_or_else(|_| "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI".into())
    };
    let all = variables(&[
        ("DOCKER_TAG", "v2"),
        ("DEPLOY_HOST", "127.0.0.1"),
        ("WAIT_SECONDS", "3"),
        ("SETTLE_SECONDS", "1"),
    ]);
    let all = with(&with(&all, "DEPLOY_PORT", &port.to_string()), "DEPLOY_USER", &login());
    let key = std::fs::read_to_string(bench.path("user")).unwrap_or_else(|_| "-----BEGIN PRIVATE KEY-----".into());
    let all = with(&with(&all, "DEPLOY_HOST_KEY", &read("host.pub")), "DEPLOY_KEY", &key);
    let folder =
        bench.file("shop/compose.yaml", "services: {web: {image: 'web:${DOCKER_TAG}'}}\n").replace("/compose.yaml", "");
    with(&all, "COMPOSE_FOLDER", &folder)
}

/// Compose, as far as it is asked: what its containers do depends on the tag.
const DOCKER: &str = r#"cd "$(dirname "$0")/../shop"
tag=$(sed -n 's/^DOCKER_TAG=//p' .env 2>/dev/null)
case "$1 $2" in
  'compose version') ;;
  'compose pull') case $tag in none*) echo 'manifest unknown' >&2; exit 1 ;; esac ;;
  'compose up') case $tag in slow*) : >../began; i=0; while [ ! -f ../go-on ] && [ $i -lt 600 ]; do i=$((i + 1)); sleep 0.05; done ;; esac ;;
  'compose ps') echo 4f1c ;;
  'compose logs') echo "web_1 | no such table: users"; [ ! -f ../no-logs ] || exit 1 ;;
  'inspect -f') case $tag in
    bad*) echo "/shop_web_1 exited - 1 0" ;;
    sick*) echo "/shop_web_1 running unhealthy 0 0" ;;
    starting*) echo "/shop_web_1 running starting 0 0" ;;
    plain*) echo "/shop_web_1 running - 0 0"; echo "/shop_migrate_1 exited - 0 0" ;;
    *) echo "/shop_web_1 running healthy 0 0" ;;
  esac ;;
esac"#;

#[test]
fn it_writes_the_tag_pulls_starts_and_waits_on_a_machine_whose_key_is_pinned() {
    let bench = Bench::new();
    bench.tool("docker", DOCKER);
    let machine = Machine::start(&bench, "");
    let all = deploys_to(&bench, machine.port);
    bench.file("shop/.env", "OTHER=1\nDOCKER_TAG=v1\n");
    for (shell, tag) in SHELLS.into_iter().zip(["v2", "plain", "v4\r\n"]) {
        let ran = bench.deploys("ssh-compose", shell, &with(&all, "DOCKER_TAG", tag)).succeeded();
        ran.says(&format!(" → {}\n", tag.trim())).says("--- Waiting until it is well, 3 seconds at most");
        let asked = bench.asked();
        assert!(asked.contains("docker compose pull") && asked.contains("docker compose up -d"), "{asked}");
    }
    assert_eq!(std::fs::read_to_string(bench.path("shop/.env")).unwrap(), "OTHER=1\nDOCKER_TAG=v4\n");
    // The key in any of the forms in which people have it.
    let public = std::fs::read_to_string(bench.path("host.pub")).unwrap();
    for form in [
        format!("127.0.0.1 {public}"),
        format!("# comment\n[127.0.0.1]:22 {}\r\n", public.trim()),
        format!("{} root@host", public.trim()),
    ] {
        bench.deploys("ssh-compose", SHELLS[0], &with(&all, "DEPLOY_HOST_KEY", &form)).succeeded();
    }
    let key = std::fs::read_to_string(bench.path("user")).unwrap();
    bench.deploys("ssh-compose", SHELLS[0], &with(&all, "DEPLOY_KEY", &super::kubernetes::base64(&key))).succeeded();
}

#[test]
fn what_is_not_well_is_told_with_its_last_lines_and_the_tag_of_before_comes_back_where_that_is_wanted() {
    in_each_shell(|bench, shell| {
        bench.tool("docker", DOCKER);
        let machine = Machine::start(bench, "");
        let all = deploys_to(bench, machine.port);
        let tag = || std::fs::read_to_string(bench.path("shop/.env")).unwrap();
        bench.file("shop/.env", "DOCKER_TAG=v1\n");
        let ran = bench.deploys("ssh-compose", shell, &with(&all, "DOCKER_TAG", "none")).failed();
        ran.says("manifest unknown").says("none can't be pulled. What runs was not touched.");
        assert_eq!(tag(), "DOCKER_TAG=v1\n");
        for bad in ["bad", "sick", "starting"] {
            bench.file("shop/.env", "DOCKER_TAG=v1\n");
            let ran = bench.deploys("ssh-compose", shell, &with(&all, "DOCKER_TAG", bad)).failed();
            ran.says("no such table: users").says(&format!("{bad} is not well. It stays as it is"));
            assert_eq!(tag(), format!("DOCKER_TAG={bad}\n"));
        }
        bench.file("shop/.env", "DOCKER_TAG=v1\n");
        let back = with(&with(&all, "DOCKER_TAG", "bad"), "ROLLBACK_ON_FAILURE", "true");
        bench.deploys("ssh-compose", shell, &back).failed().says("bad is not well. v1 was put back, and runs.");
        assert_eq!(tag(), "DOCKER_TAG=v1\n");
        let unhealthy = with(&with(&back, "DOCKER_TAG", "v2"), "HEALTH_URL", "http://127.0.0.1:1/healthz?key=secret");
        let ran =
            bench.deploys("ssh-compose", shell, &unhealthy).failed().says("What ran before was put back, and runs.");
        assert!(!ran.err.contains("secret") && !ran.out.contains("secret"), "a query may be a key: {ran:?}");
        assert_eq!(tag(), "DOCKER_TAG=v1\n");
        // Neither logs that can't be read nor an old tag that is not well either begin it all again.
        bench.file("no-logs", "");
        bench.deploys("ssh-compose", shell, &unhealthy).failed().says("What ran before was put back, and runs.");
        assert_eq!(tag(), "DOCKER_TAG=v1\n");
        std::fs::remove_file(bench.path("no-logs")).unwrap();
        bench.file("shop/.env", "DOCKER_TAG=sick\n");
        bench.asked();
        bench.deploys("ssh-compose", shell, &unhealthy).failed().says("could not be put back, or is not well.");
        assert_eq!((tag().as_str(), bench.asked().matches("compose pull").count()), ("DOCKER_TAG=sick\n", 1));
    });
}

#[test]
fn a_changed_host_key_a_wrong_key_of_ours_and_a_machine_that_is_away_are_told_apart_by_ssh() {
    let bench = Bench::new();
    bench.tool("docker", DOCKER);
    let machine = Machine::start(&bench, "");
    let all = deploys_to(&bench, machine.port);
    let (other, public) = keygen(&bench, "other");
    let unreached = "127.0.0.1 can't be reached, or is not the machine of DEPLOY_HOST_KEY, or does not take DEPLOY_KEY";
    let ran = bench.deploys("ssh-compose", SHELLS[0], &with(&all, "DEPLOY_HOST_KEY", &public)).failed();
    ran.says("REMOTE HOST IDENTIFICATION HAS CHANGED").says(unreached);
    bench
        .deploys("ssh-compose", SHELLS[0], &with(&all, "DEPLOY_KEY", &other))
        .failed()
        .says("Permission denied")
        .says(unreached);
    bench
        .deploys("ssh-compose", SHELLS[0], &with(&all, "DEPLOY_PORT", "1"))
        .failed()
        .says("Connection refused")
        .says(unreached);
    let folder = with(&all, "COMPOSE_FOLDER", "/nowhere/at/all");
    bench
        .deploys("ssh-compose", SHELLS[0], &folder)
        .failed()
        .says("there is no folder /nowhere/at/all on this machine. Nothing was touched.");
    assert_eq!(bench.asked(), "");
}

#[test]
fn ssh_compose_checks_every_value_and_hears_sigterm() {
    let bench = Bench::new();
    bench.tool("docker", DOCKER);
    bench.tool("ssh", "");
    let all = deploys_to(&bench, 22);
    let required = ["DOCKER_TAG", "DEPLOY_HOST", "DEPLOY_HOST_KEY", "DEPLOY_KEY", "COMPOSE_FOLDER"];
    let hostile = [
        "DOCKER_TAG",
        "DEPLOY_HOST",
        "COMPOSE_FOLDER",
        "DEPLOY_USER",
        "DEPLOY_PORT",
        "COMPOSE_VARIABLE",
        "COMPOSE_SERVICES",
        "HEALTH_URL",
    ];
    bench.checks("ssh-compose", &all, &required, &hostile);
    for tag in [".hidden", "a/b", "a:b"] {
        bench
            .deploys("ssh-compose", SHELLS[0], &with(&all, "DOCKER_TAG", tag))
            .failed()
            .says("DOCKER_TAG is no tag of an image");
    }
    let revoked = with(&all, "DEPLOY_HOST_KEY", "@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI");
    bench.deploys("ssh-compose", SHELLS[0], &revoked).failed().says("holds no public key of a machine");
    bench
        .deploys("ssh-compose", SHELLS[0], &with(&all, "DEPLOY_HOST_KEY", "nonsense"))
        .failed()
        .says("holds no public key of a machine");
    in_each_shell(|bench, shell| {
        bench.tool("docker", DOCKER);
        let machine = Machine::start(bench, "");
        let all = with(&deploys_to(bench, machine.port), "DOCKER_TAG", "slow");
        let ran = bench.is_stopped("ssh-compose", shell, &all, || bench.path("began").exists());
        assert_eq!(ran.code, Some(143), "{ran:?}");
        ran.says("ssh-compose: stopped. What was begun on 127.0.0.1 goes on there to its end.");
        // Until then there is no room for another.
        let busy = with(&all, "DOCKER_TAG", "v9");
        bench.deploys("ssh-compose", shell, &busy).failed().says("another deployment still goes on");
        bench.asked();
        bench.file("go-on", "");
        let began = std::time::Instant::now();
        while bench.path("shop/.coolops.lock").exists() {
            assert!(began.elapsed().as_secs() < 20, "it did not come to its end there");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(bench.asked().contains("docker inspect"), "it went on there until all was well");
    });
}

/// A registry without logins on loopback, and images that were pushed there; all of it goes at the end.
struct Real {
    registry: Child,
    address: String,
    host: String,
    project: String,
}

impl Real {
    fn start(bench: &Bench) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nhttp: {{addr: \"{address}\"}}\n",
            bench.path("registry").display()
        );
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(bench.file("registry.yml", &config)).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = command.spawn().unwrap();
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(began.elapsed().as_secs() < 20, "the registry does not answer");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let host = crate::story::database::service("TEST_DOCKER_HOST");
        Self { registry, address, host, project: format!("shop{}", crate::story::random_name()) }
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(arguments).env("DOCKER_HOST", &self.host).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// An image that runs this, in the registry alone.
    fn has(&self, bench: &Bench, tag: &str, script: &str) {
        let tar = bench.path("image.tar").display().to_string();
        std::fs::write(&tar, coolops_lab::image::busybox_with(&[("deploy", script)]).unwrap()).unwrap();
        let name = format!("{}/web:{tag}", self.address);
        self.docker(&["import", "--change", "CMD [\"/bin/sh\", \"/deploy\"]", &tar, &name]);
        self.docker(&["push", &name]);
        self.docker(&["rmi", &name]);
    }

    /// The tag that the service runs.
    fn runs(&self) -> String {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        self.docker(&["ps", "--filter", &filter, "--format", "{{.Image}}"])
            .trim()
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let script = format!(
            "docker ps -aq --filter label=com.docker.compose.project={0} | xargs -r docker rm -f; docker network rm {0}_default; docker images -q '{1}/web' | xargs -r docker rmi -f",
            self.project, self.address
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("DOCKER_HOST", &self.host).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().ok();
        self.registry.kill().ok();
        self.registry.wait().ok();
    }
}

/// Runs until it is told to stop, and stops then.
const STAYS: &str = "trap 'exit 0' TERM; while :; do sleep 0.2; done";

#[test]
fn real_compose_pulls_starts_and_comes_back() {
    let bench = Bench::new();
    let real = Real::start(&bench);
    for (tag, script) in [("v1", STAYS), ("v2", STAYS), ("bad", "echo no such table: users; exit 3")] {
        real.has(&bench, tag, script);
    }
    let machine = Machine::start(&bench, &format!("DOCKER_HOST={} COMPOSE_PROJECT_NAME={}", real.host, real.project));
    let all = with(&deploys_to(&bench, machine.port), "WAIT_SECONDS", "30");
    let image = format!("{}/web:${{DOCKER_TAG}}", real.address);
    let compose = format!(
        "services:\n  web: {{image: \"{image}\"}}\n  once: {{image: \"{image}\", command: [\"/bin/sh\", \"-c\", \"echo migrated\"]}}\n"
    );
    bench.file("shop/compose.yaml", &compose);
    bench.deploys("ssh-compose", SHELLS[0], &with(&all, "DOCKER_TAG", "v1")).succeeded().says("nothing → v1");
    let ran = bench.deploys("ssh-compose", SHELLS[1], &with(&all, "DOCKER_TAG", "v2")).succeeded();
    ran.says("v1 → v2").says("exited - 0 0");
    assert_eq!(real.runs(), "v2");
    let back = with(&with(&all, "DOCKER_TAG", "bad"), "ROLLBACK_ON_FAILURE", "true");
    let ran = bench.deploys("ssh-compose", SHELLS[2], &back).failed();
    ran.says("no such table: users").says("bad is not well. v2 was put back, and runs.");
    assert_eq!(real.runs(), "v2");
    bench
        .deploys("ssh-compose", SHELLS[0], &with(&all, "DOCKER_TAG", "none"))
        .failed()
        .says("manifest unknown")
        .says("What runs was not touched.");
    assert_eq!(real.runs(), "v2");
}
