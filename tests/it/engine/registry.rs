//! Pulling with the project's credentials, against Debian's docker-registry with htpasswd on loopback.

use std::process::{Child, Command, Stdio};

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::{PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder};
use coolops_lab::engine::Engine;
use coolops_lab::image;
use futures::StreamExt;

use crate::story::database::service;
use crate::story::service::service_story;

struct Registry {
    child: Child,
    folder: std::path::PathBuf,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.fall_silent();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

impl Registry {
    /// Nobody answers at its address any more.
    fn fall_silent(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Puts an image there, and leaves none of it on the engine.
    async fn takes(&self, name: &str, tag: &str, script: &str) {
        let docker = docker();
        let ours = Engine::connect(Some(&service("TEST_DOCKER_HOST"))).unwrap();
        let files = image::busybox_with(&[("deploy", script)]).unwrap();
        ours.import(&format!("{name}-local:{tag}"), files).await.unwrap();
        let as_there = TagImageOptionsBuilder::new().repo(name).tag(tag).build();
        docker.tag_image(&format!("{name}-local:{tag}"), Some(as_there)).await.unwrap();
        let login = DockerCredentials {
            username: Some("puller".into()),
            password: Some("pull-password".into()),
            ..Default::default()
        };
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let mut push = docker.push_image(name, Some(options), Some(login));
        while let Some(step) = push.next().await {
            step.unwrap();
        }
        for image in [format!("{name}:{tag}"), format!("{name}-local:{tag}")] {
            docker.remove_image(&image, None::<RemoveImageOptions>, None).await.unwrap();
        }
    }
}

fn docker() -> Docker {
    let host = service("TEST_DOCKER_HOST");
    Docker::connect_with_socket(host.trim_start_matches("unix://"), 120, bollard::API_DEFAULT_VERSION).unwrap()
}

fn start_registry() -> Registry {
    let folder = std::env::temp_dir().join(format!("registry-{}", crate::story::random_name()));
    std::fs::create_dir_all(&folder).unwrap();
    let users = Command::new("htpasswd").args(["-nbB", "puller", "pull-password"]).output().unwrap();
    std::fs::write(folder.join("htpasswd"), users.stdout).unwrap();
    let port = crate::story::service::free_port();
    let address = format!("127.0.0.1:{port}");
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {0}\nhttp:\n  addr: {address}\nauth:\n  htpasswd:\n    realm: test\n    path: {0}/htpasswd\n",
        folder.display()
    );
    std::fs::write(folder.join("config.yml"), config).unwrap();
    let mut command = Command::new("docker-registry");
    let child = command
        .arg("serve")
        .arg(folder.join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Registry { child, folder, address }
}

#[test]
fn a_private_image_is_pulled_with_the_projects_login_and_refused_without() {
    service_story("true", "info", async |s| {
        let registry = start_registry();
        let address = registry.address.clone();
        let name = format!("{address}/team/deploy");
        s.until("the registry answers", async || std::net::TcpStream::connect(&address).is_ok()).await;
        registry.takes(&name, "1", "echo private image; echo login is $LEAK").await;
        s.cli(&["project", "set", "api", "--image", &format!("{name}:1")]);
        s.cli(&["build:new", "master-1", "-p", "LEAK=pull-password"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows(&format!("*failed*: the image {name}:1 does not exist, or {address} wants a login for it (coolops project registry set)"))
            .await;
        s.cli_with(&["project", "registry", "set", "api", &address, "--username", "puller"], "wrong-password\n");
        s.presses("ana", "master-1", "Staging").await;
        s.shows(&format!("*failed*: the registry {address} refused our credentials (coolops project registry set)"))
            .await;
        s.cli_with(&["project", "registry", "set", "api", &address, "--username", "puller"], "pull-password\n");
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let logs = s.logs();
        assert!(logs.contains(&format!("Pulling {name}:1")) && logs.contains("Pull complete"), "{logs}");
        assert!(logs.contains("private image\nlogin is ***\n"), "{logs}");
        s.cli(&["project", "set", "api", "--image", &format!("{name}:2")]);
        s.presses("ana", "master-1", "Staging").await;
        s.shows(&format!("*failed*: the image {name}:2 does not exist")).await;
        forget(&format!("{name}:1")).await;
    });
}

async fn forget(image: &str) {
    Engine::connect(Some(&service("TEST_DOCKER_HOST"))).unwrap().forget(image).await.unwrap();
}

#[test]
fn yesterdays_latest_is_not_taken_for_todays_while_the_registry_is_silent() {
    service_story("true", "info", async |s| {
        let mut registry = start_registry();
        let address = registry.address.clone();
        let name = format!("{address}/team/moving");
        s.until("the registry answers", async || std::net::TcpStream::connect(&address).is_ok()).await;
        registry.takes(&name, "latest", "echo yesterday").await;
        s.cli_with(&["project", "registry", "set", "api", &address, "--username", "puller"], "pull-password\n");
        s.cli(&["project", "set", "api", "--image", &format!("{name}:latest")]);
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        assert!(!s.channel().contains("could not be asked"), "{}", s.channel());
        let digests = docker().inspect_image(&format!("{name}:latest")).await.unwrap().repo_digests.unwrap();
        let short = &digests[0][..digests[0].find("sha256:").unwrap() + "sha256:".len() + 12];
        registry.fall_silent();
        s.presses("ana", "master-1", "Staging").await;
        s.shows(&format!("*failed*: the registry could not be asked whether {name}:latest is the newest image: "))
            .await;
        assert!(s.channel().contains("(coolops project set --unchecked-image)"), "{}", s.channel());
        s.cli(&["project", "set", "api", "--unchecked-image", "run"]);
        s.presses("ana", "master-1", "Staging").await;
        s.shows_times("*succeeded*", 2).await;
        assert!(
            s.channel().contains(&format!("runs {short}, which the registry could not be asked about")),
            "{}",
            s.channel()
        );
        assert!(s.logs().contains("yesterday"), "{}", s.logs());
        forget(&format!("{name}:latest")).await;
    });
}
