//! Docker restarts, hangs, loses containers and is in the way.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use coolops_lab::image;

use super::{Chaos, chaos, counted, counting};
use crate::story::database::service;
use crate::story::proxy::{Mode, Proxy};

pub fn docker(host: &str) -> Docker {
    Docker::connect_with_socket(host.trim_start_matches("unix://"), 30, bollard::API_DEFAULT_VERSION).unwrap()
}

/// A Docker Engine of a test's own, which it may restart.
pub struct Engine {
    child: Option<Child>,
    folder: PathBuf,
    live_restore: bool,
    bridge: Option<String>,
}

impl Engine {
    async fn start(live_restore: bool) -> Self {
        let folder = PathBuf::from(format!("/tmp/engine-{}", crate::story::random_name()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut engine = Self { child: None, folder, live_restore, bridge: None };
        engine.up().await;
        engine
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    async fn up(&mut self) {
        let at = |name: &str| self.folder.join(name);
        let pool = format!("base=10.{}.0.0/16,size=24", 200 + coolops::keys::random::<1>()[0] % 50);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(at("log")).unwrap();
        let mut command = Command::new("dockerd");
        command
            .arg("-H")
            .arg(self.host())
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("x"))
            .arg("--pidfile")
            .arg(at("pid"));
        command.args([
            "--bridge",
            "none",
            "--iptables=false",
            "--ip6tables=false",
            "--log-level",
            "warn",
            "--default-address-pool",
            &pool,
        ]);
        if self.live_restore {
            command.arg("--live-restore");
        }
        std::fs::remove_file(at("pid")).ok();
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        for _ in 0..600 {
            if at("docker.sock").exists() && docker(&self.host()).ping().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the engine does not come up:\n{}", std::fs::read_to_string(at("log")).unwrap_or_default());
    }

    fn signal(&self, signal: &str) {
        Command::new("kill").args([signal, &self.child.as_ref().unwrap().id().to_string()]).status().unwrap();
    }

    fn down(&mut self, signal: &str) {
        self.signal(signal);
        self.child.take().unwrap().wait().unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Its network's bridge would outlive it.
        let host = self.host();
        let asked = Command::new("docker")
            .args([
                "-H",
                &host,
                "network",
                "inspect",
                "coolops",
                "-f",
                "{{index .Options \"com.docker.network.bridge.name\"}}",
            ])
            .output();
        let name = asked.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
        self.bridge = Some(name).filter(|n| n.starts_with("coolops"));
        if let Some(mut child) = self.child.take() {
            for signal in ["-CONT", "-TERM"] {
                Command::new("kill").args([signal, &child.id().to_string()]).status().ok();
            }
            child.wait().ok();
        }
        // What runs on without its engine: the shims and containers below this folder, and containerd.
        let mine = self.folder.display().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&arguments).contains(&mine)
                && let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>()
            {
                Command::new("kill").args(["-KILL", &pid.to_string()]).status().ok();
            }
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut below: Vec<&str> =
            mounts.lines().filter_map(|l| l.split(' ').nth(1)).filter(|m| m.starts_with(&mine)).collect();
        below.sort_by_key(|m| std::cmp::Reverse(m.len()));
        for mount in below {
            Command::new("umount").args(["-l", mount]).status().ok();
        }
        if let Some(bridge) = &self.bridge {
            Command::new("ip").args(["link", "delete", bridge]).status().ok();
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// Moves the story to an engine of its own.
async fn on_an_engine_of_its_own(s: &mut Chaos<'_>, script: &str, live_restore: bool) -> Engine {
    let engine = Engine::start(live_restore).await;
    let instance = s.instance().await;
    s.starts.listen(&engine.host(), &instance);
    let own = coolops_lab::engine::Engine::connect(Some(&engine.host())).unwrap();
    own.import(&s.image, image::busybox_with(&[("deploy", script)]).unwrap()).await.unwrap();
    s.stop("-TERM");
    s.set("DOCKER_HOST", &engine.host());
    s.start().await;
    engine
}

#[test]
fn f09_the_engine_is_killed_and_restarted_with_live_restore() {
    let script = counting(200, 50, 5);
    chaos(&script.clone(), Some(counted(200)), async |s| {
        let mut engine = on_an_engine_of_its_own(s, &script, true).await;
        s.runs("master-1").await;
        s.injects("SIGKILL to dockerd, which comes back after 2 s; live-restore is on");
        engine.down("-KILL");
        tokio::time::sleep(Duration::from_secs(2)).await;
        engine.up().await;
        s.shows("*failed*: exit code 5").await;
        s.saw("the container ran on: its true exit code");
        s.engine = Some(engine);
    });
}

#[test]
fn f09_the_engine_is_killed_in_the_middle_of_a_line_and_what_follows_is_not_passed_over() {
    let script = "seq 1 9 | while read n; do echo line $n; done; i=0; while [ $i -lt 80 ]; do i=$((i+1)); printf .; sleep 0.1; done; echo; i=0; while [ $i -lt 30 ]; do i=$((i+1)); echo after $i; sleep 0.05; done; exit 5";
    chaos(script, None, async |s| {
        let mut engine = on_an_engine_of_its_own(s, script, true).await;
        s.runs("master-1").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        s.injects("SIGKILL to dockerd while half a line is printed, which it has not kept");
        engine.down("-KILL");
        tokio::time::sleep(Duration::from_secs(2)).await;
        engine.up().await;
        s.shows("*failed*: exit code 5").await;
        let log = s.logs();
        for n in 1..=30 {
            assert!(log.contains(&format!("after {n}\n")), "line {n} was passed over:\n{log}");
        }
        let dots = log.matches('.').count();
        assert!(dots == 80 || log.contains("output is missing here"), "{dots} dots and no mark:\n{log}");
        s.saw("every line after it, and the half line whole or marked");
        s.engine = Some(engine);
    });
}

#[test]
fn f10_the_engine_restarts_without_live_restore() {
    let script = counting(400, 50, 0);
    chaos(&script.clone(), None, async |s| {
        let mut engine = on_an_engine_of_its_own(s, &script, false).await;
        s.runs("master-1").await;
        s.injects("dockerd is stopped and started; live-restore is off, so it ends its containers");
        engine.down("-TERM");
        engine.up().await;
        s.shows("*failed*: Docker was restarted while it ran, and ended it").await;
        assert!(s.logs().contains("output is missing here"), "{}", s.logs());
        s.saw("the line names the restart and not an exit code; the log says where output is missing");
        s.engine = Some(engine);
    });
}

#[test]
fn f11_the_engine_hangs() {
    let script = counting(200, 50, 0);
    chaos(&script.clone(), Some(counted(200)), async |s| {
        let engine = on_an_engine_of_its_own(s, &script, false).await;
        s.runs("master-1").await;
        s.injects("SIGSTOP to dockerd for 15 s");
        engine.signal("-STOP");
        let ready = ureq::get(format!("{}/readyz", s.url)).call().unwrap().body_mut().read_to_string().unwrap();
        assert!(ready.contains("\"docker\":\"away, deployments wait"), "{ready}");
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(s.channel().contains("*running*"), "a hung engine is no failure:\n{}", s.channel());
        engine.signal("-CONT");
        s.shows("*succeeded*").await;
        s.saw("/readyz named Docker, and the deployment went on");
        s.engine = Some(engine);
    });
}

#[test]
fn f11_a_deployment_that_was_cancelled_while_the_engine_hung_leaves_no_container() {
    let script = counting(2_000, 50, 0);
    chaos(&script.clone(), None, async |s| {
        let engine = on_an_engine_of_its_own(s, &script, false).await;
        for round in 1..=3 {
            let build = format!("master-{round}");
            s.stop("-TERM");
            s.set("FAILPOINTS", "after_create=return");
            s.start_roles(&["web"]).await;
            s.start_worker();
            s.announces(&build).await;
            s.presses("ana", &build, "Staging").await;
            s.until_process_ended(1).await;
            s.injects(
                "the engine hangs right after create, the worker was killed, and an operator stops the deployment",
            );
            engine.signal("-STOP");
            s.unset("FAILPOINTS");
            let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
            s.cli(&["deployment", "stop", list[0]["of"]["deployment_id"].as_str().unwrap(), "--reason", "wrong build"]);
            s.start_worker();
            tokio::time::sleep(Duration::from_secs(4)).await;
            engine.signal("-CONT");
            s.shows_times("*cancelled*: wrong build, stopped by test", round).await;
            let all = bollard::query_parameters::ListContainersOptionsBuilder::new().all(true).build();
            let left = docker(&engine.host()).list_containers(Some(all)).await.unwrap();
            assert!(left.is_empty(), "its end is recorded, and its container is there: {left:?}");
        }
        assert_eq!(s.starts().await, 0);
        s.saw("three times cancelled, nothing ran, no container is left");
        s.engine = Some(engine);
    });
}

#[test]
fn f12_a_container_that_runs_though_its_deployment_is_over_is_stopped_and_told() {
    // Not under the invariants: the container that is planted here was started by nobody.
    crate::story::service::service_story("echo hello", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        let id = list[0]["of"]["deployment_id"].as_str().unwrap().to_owned();
        let docker = docker(&service("TEST_DOCKER_HOST"));
        let labels = [("coolops.instance", s.instance().await), ("coolops.deployment", id.clone())];
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = bollard::models::ContainerCreateBody {
            image: Some(s.image.clone()),
            entrypoint: Some(vec![
                "/bin/sh".into(),
                "-c".into(),
                "trap 'exit 0' TERM; while :; do sleep 0.1; done".into(),
            ]),
            cmd: Some(vec![]),
            labels: Some(labels),
            host_config: Some(bollard::models::HostConfig { network_mode: Some("none".into()), ..Default::default() }),
            ..Default::default()
        };
        let name = format!("coolops-{id}");
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::new().name(&name).build();
        docker.create_container(Some(options), body).await.unwrap();
        docker.start_container(&name, None::<bollard::query_parameters::StartContainerOptions>).await.unwrap();
        let (_, said) = s.cli_fails(&["doctor"], "");
        assert!(said.contains("runs although its deployment is over"), "{said}");
        s.stop("-TERM");
        s.start().await;
        s.until("it is gone", async || docker.inspect_container(&name, None).await.is_err()).await;
        let told = "select count(*) from event where type = 'deployment_stray_stopped'";
        s.until("its history tells", async || s.database.count(told).await == 1).await;
    });
}

#[test]
fn f12_the_container_is_removed_by_hand() {
    chaos(&counting(2_000, 50, 0), None, async |s| {
        s.runs("master-1").await;
        s.announces("master-2").await;
        s.presses("ben", "master-2", "Staging").await;
        let list: serde_json::Value =
            serde_json::from_str(&s.cli(&["deployment", "list", "--state", "running", "--json"])).unwrap();
        let id = list[0]["of"]["deployment_id"].as_str().unwrap().to_owned();
        s.injects("docker rm -f");
        let force = RemoveContainerOptionsBuilder::new().force(true).build();
        docker(&service("TEST_DOCKER_HOST")).remove_container(&format!("coolops-{id}"), Some(force)).await.unwrap();
        s.shows("*unknown*: its container was removed while it ran").await;
        s.shows("*queued* behind *master-1*").await;
        s.saw("unknown, and the next one waits");
        s.cli(&["deployment", "resolve", &id, "--as", "failed", "--reason", "removed by hand"]);
        let next: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        s.cli(&["deployment", "stop", next[0]["of"]["deployment_id"].as_str().unwrap(), "--reason", "enough"]);
        s.shows("*cancelled*: enough").await;
    });
}

#[test]
fn f14_the_container_uses_too_much_memory() {
    chaos("tail /dev/zero", None, async |s| {
        s.announces("master-1").await;
        s.injects("a script that eats memory without end");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*failed*: out of memory").await;
        s.saw("out of memory, and not 137");
    });
}

#[test]
fn f41_the_engine_s_disk_is_full() {
    chaos("true", None, async |s| {
        let folder = PathBuf::from(format!("/tmp/small-{}", crate::story::random_name()));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&folder).status().unwrap();
        assert!(mounted.success());
        let mut engine = Engine { child: None, folder: folder.clone(), live_restore: false, bridge: None };
        engine.up().await;
        let instance = s.instance().await;
        s.starts.listen(&engine.host(), &instance);
        let own = coolops_lab::engine::Engine::connect(Some(&engine.host())).unwrap();
        own.import(&s.image, image::busybox_with(&[("deploy", "true")]).unwrap()).await.unwrap();
        s.stop("-TERM");
        s.set("DOCKER_HOST", &engine.host());
        s.start().await;
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        s.injects("the disk of the Docker host is full");
        let filler = folder.join("filler");
        Command::new("dd")
            .args(["if=/dev/zero", "bs=64k"])
            .arg(format!("of={}", filler.display()))
            .stderr(Stdio::null())
            .status()
            .unwrap();
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*failed*: the disk of the Docker host is full").await;
        s.saw("the line says so");
        std::fs::remove_file(filler).unwrap();
        s.presses("ana", "master-1", "Staging").await;
        s.shows_times("*succeeded*", 2).await;
        s.engine = Some(engine);
    });
}

#[test]
fn f42_the_script_ignores_sigterm() {
    chaos("trap '' TERM; echo ready; i=0; while [ $i -lt 600 ]; do i=$((i+1)); sleep 0.1; done", None, async |s| {
        s.announces("master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.until("it runs", async || s.channel().contains("*running*") && s.logs().contains("ready")).await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        s.injects("a stop of a script that ignores SIGTERM");
        s.cli(&["deployment", "stop", list[0]["of"]["deployment_id"].as_str().unwrap(), "--reason", "wrong version"]);
        s.shows("*stopping*: wrong version").await;
        s.shows("*cancelled*: wrong version (exit code 137), stopped by test; it had not ended 10 s after SIGTERM, so SIGKILL ended it").await;
        assert!(!s.channel().contains("failed"), "{}", s.channel());
        s.saw("killed after the grace, and cancelled, not failed");
    });
}

#[test]
fn f45_no_network_is_left() {
    chaos("true", None, async |s| {
        let engine = on_an_engine_of_its_own(s, "true", false).await;
        let docker = docker(&engine.host());
        // All that the engine may give away; its own network is not made yet.
        for n in 0.. {
            let request = bollard::models::NetworkCreateRequest { name: format!("full-{n}"), ..Default::default() };
            if docker.create_network(request).await.is_err() {
                break;
            }
        }
        s.announces("master-1").await;
        s.injects("the engine has no address pool left");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("waits, and tries again: Docker says: could not find an available, non-overlapping IPv4 address pool")
            .await;
        assert!(!s.channel().contains("waiting for a free worker"), "{}", s.channel());
        docker.remove_network("full-0").await.unwrap();
        s.shows("*succeeded*").await;
        assert!(!s.channel().contains("waits"), "{}", s.channel());
        for network in docker.list_networks(None).await.unwrap() {
            if network.name.as_deref().is_some_and(|n| n.starts_with("full-")) {
                docker.remove_network(&network.name.unwrap()).await.unwrap();
            }
        }
        s.saw("the line has Docker's words until there is room, and then it runs");
        s.engine = Some(engine);
    });
}

#[test]
fn f46_a_registry_that_is_slow_is_waited_for_and_can_be_stopped() {
    chaos("true", None, async |s| {
        // It takes connections and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        s.announces("master-1").await;
        s.cli(&["project", "set", "api", "--image", &format!("{}/deploy:1", silent.local_addr().unwrap())]);
        s.injects("a registry that does not get on");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*pulling* its image").await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        s.cli(&["deployment", "stop", list[0]["of"]["deployment_id"].as_str().unwrap(), "--reason", "too slow"]);
        s.shows("*cancelled*: too slow").await;
        assert_eq!(s.starts().await, 0);
        s.saw("the line says pulling and not that it waits for a worker, and a stop ends it");
    });
}

#[test]
fn f46_the_registry_does_not_answer() {
    chaos("true", None, async |s| {
        s.announces("master-1").await;
        s.cli(&["project", "set", "api", "--image", "127.0.0.1:9/deploy:1"]);
        s.injects("a registry where nobody listens");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*failed*: the image could not be pulled").await;
        let log = s.logs();
        assert_eq!(log.matches("trying again").count(), 2, "{log}");
        s.saw("three tries, told in the log, before anything was started");
        assert_eq!(s.starts().await, 0);
    });
}

#[test]
fn f12_a_foreign_container_has_our_name() {
    chaos(&counting(3, 10, 0), None, async |s| {
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.announces("master-1").await;
        s.set("FAILPOINTS", "after_intent=return");
        s.start_worker();
        s.presses("ana", "master-1", "Staging").await;
        s.until_process_ended(1).await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        let name = format!("coolops-{}", list[0]["of"]["deployment_id"].as_str().unwrap());
        s.injects("somebody else's container has the name of the deployment's");
        let docker = docker(&service("TEST_DOCKER_HOST"));
        let body = bollard::models::ContainerCreateBody { image: Some(s.image.clone()), ..Default::default() };
        let options = bollard::query_parameters::CreateContainerOptionsBuilder::new().name(&name).build();
        docker.create_container(Some(options), body).await.unwrap();
        s.unset("FAILPOINTS");
        s.start_worker();
        s.shows("*unknown*: a container of its name is there that coolops did not make").await;
        assert!(docker.inspect_container(&name, None).await.is_ok(), "it was not touched");
        s.saw("unknown, and the container is untouched");
        s.cli(&[
            "deployment",
            "resolve",
            list[0]["of"]["deployment_id"].as_str().unwrap(),
            "--as",
            "failed",
            "--reason",
            "foreign",
        ]);
        docker.remove_container(&name, Some(RemoveContainerOptionsBuilder::new().force(true).build())).await.unwrap();
    });
}

/// Puts a fault proxy between the service and its engine.
pub async fn behind_a_proxy(s: &mut Chaos<'_>) -> Proxy {
    let (proxy, through) = Proxy::docker(&service("TEST_DOCKER_HOST")).await;
    s.stop("-TERM");
    s.set("DOCKER_HOST", &through);
    s.start().await;
    s.proxies.push(proxy.clone());
    proxy
}

#[test]
fn f11_the_connection_to_the_engine_breaks_at_any_time() {
    chaos(&counting(150, 40, 0), Some(counted(150)), async |s| {
        let proxy = behind_a_proxy(s).await;
        s.runs("master-1").await;
        for mode in [Mode::Down, Mode::Silent, Mode::Down] {
            s.injects(&format!("the connection to the engine is {mode:?} for 1.5 s"));
            proxy.set(mode);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            proxy.set(Mode::Pass);
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        s.shows("*succeeded*").await;
    });
}

#[test]
fn f11_the_connections_to_the_engine_are_dropped_on_the_way() {
    chaos(&counting(100, 40, 7), Some(counted(100)), async |s| {
        let proxy = behind_a_proxy(s).await;
        s.runs("master-1").await;
        s.injects("every open connection goes nowhere, and neither end is told");
        proxy.lose_connections();
        s.until_long("the end is noticed", Duration::from_secs(90), async || {
            s.channel().contains("*failed*: exit code 7")
        })
        .await;
        s.saw("the whole log and the script's own exit code");
    });
}

#[test]
fn f47_the_tag_moves_between_the_press_and_the_start() {
    chaos("echo the old one", None, async |s| {
        s.announces("master-1").await;
        s.stop("-TERM");
        s.start_roles(&["web"]).await;
        s.presses("ana", "master-1", "Staging").await;
        s.injects("the tag is given to another image while the deployment waits for a worker");
        let host = service("TEST_DOCKER_HOST");
        let engine = coolops_lab::engine::Engine::connect(Some(&host)).unwrap();
        let tar = image::busybox_with(&[("deploy", "echo the new one")]).unwrap();
        engine.import(&s.image, tar).await.unwrap();
        let now = docker(&host).inspect_image(&s.image).await.unwrap().id.unwrap();
        s.start_worker();
        s.shows("*succeeded*").await;
        let list: serde_json::Value = serde_json::from_str(&s.cli(&["deployment", "list", "--json"])).unwrap();
        assert_eq!(list[0]["prepared"]["image_id"], now.as_str(), "what is recorded is what ran");
        assert_eq!(s.logs(), "the new one\n");
        s.saw("the image that ran is the one that is recorded");
    });
}
