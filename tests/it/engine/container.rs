//! The service as a container: what `scripts/image` made, run as `deploy/compose.yaml` runs it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use coolops_lab::engine::Engine;

use crate::story::database::service;
use crate::story::service::{free_port, service_story};

fn docker(arguments: &[&str]) -> (bool, String) {
    let output =
        Command::new("docker").args(arguments).env("DOCKER_HOST", service("TEST_DOCKER_HOST")).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said.trim().to_owned())
}

/// The folder and the Dockerfile, as the engine is handed them.
fn context() -> Vec<u8> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(root.join("Dockerfile"), "Dockerfile").unwrap();
    tar.append_dir_all("dist/image", root.join("dist/image")).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn the_container_serves_without_root_without_a_shell_and_without_writing_anything() {
    service_story("echo deployed from a container", "info", async |s| {
        s.stop("-TERM");
        let engine = Engine::connect(Some(&service("TEST_DOCKER_HOST"))).unwrap();
        let name = format!("coolops-test-{}", s.database.name);
        let image = format!("{name}:1");
        // The program, certificates, what CI runs, and nothing else.
        let inside = Command::new("find")
            .args([".", "-type", "f"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/image"))
            .output();
        let inside = String::from_utf8(inside.unwrap().stdout).unwrap();
        let mut inside: Vec<&str> = inside.lines().collect();
        inside.sort_unstable();
        let of_ci = ["coolops-x86_64-linux", "coolops-x86_64-linux.sha256", "coolops.sh", "coolops.sh.sha256"];
        let of_ci = of_ci.map(|file| format!("./usr/share/coolops/client/{file}"));
        let expected =
            ["./coolops", "./etc/ssl/certs/ca-certificates.crt"].into_iter().chain(of_ci.iter().map(String::as_str));
        assert_eq!(inside, expected.collect::<Vec<_>>());
        engine.build(&image, "Dockerfile", context(), &std::collections::HashMap::new()).await.unwrap();
        // Secrets come in files; Postgres and Redis by their sockets, here.
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir(&folder).unwrap();
        let mut arguments: Vec<String> =
            "run --detach --read-only --cap-drop ALL --security-opt no-new-privileges --network host"
                .split(' ')
                .map(str::to_owned)
                .collect();
        arguments.extend(["--name".to_owned(), name.clone()]);
        for variable in ["DATABASE_URL", "COOLOPS_MASTER_KEY", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"] {
            std::fs::write(folder.join(variable), s.variable(variable)).unwrap();
            arguments.extend(["--env".to_owned(), format!("{variable}_FILE=/run/secrets/{variable}")]);
        }
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        for (variable, value) in [
            ("REDIS_URL", s.variable("REDIS_URL")),
            ("SLACK_API_URL", s.variable("SLACK_API_URL")),
            ("COOLOPS_PUBLIC_URL", format!("http://{listen}")),
            ("COOLOPS_LISTEN", listen.clone()),
            ("DOCKER_HOST", s.variable("DOCKER_HOST")),
        ] {
            arguments.extend(["--env".to_owned(), format!("{variable}={value}")]);
        }
        let database = s.variable("DATABASE_URL");
        let sockets = std::path::Path::new(database.split("host=").nth(1).unwrap().split('&').next().unwrap());
        // Here Postgres' socket is for its own user alone: the container is that one, and not root either.
        let owner = std::fs::metadata(sockets).unwrap();
        let user = format!("{}:{}", owner.uid(), owner.gid());
        assert_ne!(owner.uid(), 0);
        let sockets = sockets.parent().unwrap().display().to_string();
        let docker_socket = s.variable("DOCKER_HOST").replace("unix://", "");
        let group = std::fs::metadata(&docker_socket).unwrap().gid().to_string();
        arguments.extend([
            "--user".to_owned(),
            user,
            "--group-add".to_owned(),
            group,
            "--volume".to_owned(),
            format!("{sockets}:{sockets}"),
            "--volume".to_owned(),
            format!("{}:/run/secrets:ro", folder.display()),
            image.clone(),
        ]);
        let (started, said) = docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(started, "{said}");
        let began = Instant::now();
        loop {
            let (is_ready, said) = docker(&["exec", &name, "/coolops", "ready"]);
            if is_ready {
                break;
            }
            let (_, log) = docker(&["logs", &name]);
            assert!(began.elapsed() < Duration::from_secs(30), "{said}\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (_, user) = docker(&["inspect", "-f", "{{.Config.User}}", &image]);
        assert_eq!(user, "65532:65532");
        assert!(!docker(&["exec", &name, "/bin/sh", "-c", "true"]).0, "there is no shell");
        // It takes a build, and deploys it by the engine whose socket it was given.
        let url = format!("http://{listen}");
        s.set("COOLOPS_URL", &url);
        s.url.clone_from(&url);
        let line = format!("curl -fsSL {url}/client/coolops-x86_64-linux.sha256");
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "it hands out the program");
        s.cli(&["build:new", "main-1"]);
        s.shows("# Api: main-1").await;
        s.standin.send_presses_to(&format!("{url}/slack/interactions"));
        assert_eq!(s.presses("ana", "main-1", "Staging").await, 200);
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "deployed from a container\n");
        let (_, log) = docker(&["logs", &name]);
        assert!(!log.contains(&s.variable("COOLOPS_MASTER_KEY")), "{log}");
        docker(&["stop", "--time", "20", &name]);
        let (_, code) = docker(&["inspect", "-f", "{{.State.ExitCode}}", &name]);
        assert_eq!(code, "0", "it ends by itself on SIGTERM");
        engine.forget(&image).await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    });
}
