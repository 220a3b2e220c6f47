//! The images themselves: their Dockerfiles on a base made on the spot, run by coolops from the press to the line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use coolops::cli::images::{IMAGES, variables};
use coolops::domain::declared::LABEL;
use coolops_lab::engine::Engine;
use coolops_lab::image::busybox_and;

use crate::story::database::service;
use crate::story::random_name;
use crate::story::service::service_story;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deployment-images")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn each_image_says_the_same_variables_in_its_readme_its_label_and_its_script() {
    let folders = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let mut there: Vec<String> = folders
        .filter(|entry| entry.file_type().unwrap().is_dir() && entry.file_name() != "lib")
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    there.sort();
    let mut known: Vec<&str> = IMAGES.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(there, known, "coolops images names them all");
    for (image, readme) in IMAGES {
        let dockerfile = read(&format!("{image}/Dockerfile"));
        let label = dockerfile.split(&format!("LABEL {LABEL}=\"")).nth(1).unwrap().split('"').next().unwrap();
        let words = label.split_whitespace().filter(|word| !word.starts_with('*'));
        let mut labelled: Vec<&str> =
            words.flat_map(|word| word.trim_end_matches('?').trim_end_matches("@build").split('|')).collect();
        let told = variables(readme);
        let mut named: Vec<&str> = told.iter().map(|v| v.name.as_str()).collect();
        labelled.sort_unstable();
        named.sort_unstable();
        assert_eq!(labelled, named, "{image}: the label and the README");
        let libraries = dockerfile.split_whitespace().filter(|word| word.starts_with("lib/"));
        let script: String = libraries.map(read).chain([read(&format!("{image}/deploy.sh"))]).collect();
        for variable in &told {
            assert!(script.contains(&variable.name), "{image}: nothing reads {}", variable.name);
            assert!(["build", "environment"].contains(&variable.of.as_str()), "{image}: {}", variable.of);
            assert!(!variable.meaning.is_empty());
        }
        // What the script itself asks for by name stands in the table.
        for line in read(&format!("{image}/deploy.sh")).lines().map(str::trim) {
            let asked = ["of_build ", "of_environment ", "optional ", "limit ", "yes_or_no ", "text "];
            let Some(rest) = asked.iter().find_map(|word| line.strip_prefix(word)) else { continue };
            let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_uppercase()) && word.contains('_');
            for word in rest.replace(['\'', '|'], " ").split_whitespace().filter(is_name) {
                assert!(named.contains(&word), "{image}: {word} is not in the README");
            }
        }
    }
}

/// A program of this machine with the libraries that it needs.
fn program(path: &str) -> Vec<(String, Vec<u8>)> {
    let needs = std::process::Command::new("ldd").arg(path).output().unwrap();
    let needs = String::from_utf8(needs.stdout).unwrap();
    let libraries = needs.split_whitespace().filter(|word| word.starts_with('/'));
    let files =
        libraries.chain([path]).map(|path| (path.trim_start_matches('/').to_owned(), std::fs::read(path).unwrap()));
    files.collect()
}

const KUBECTL: &str = r#"#!/bin/sh
case $* in
  *'get events'* | *'get pods'*) ;;
  *' get '*) echo "web $(cat "$HOME/image" 2>/dev/null || echo web:1)" ;;
  *'set image'*) for a in "$@"; do case $a in web=*) echo "${a#web=}" >"$HOME/image" ;; esac; done; echo 'deployment.apps/web image updated' ;;
  *'rollout status'*) echo 'deployment "web" successfully rolled out' ;;
esac
"#;
const AWS: &str = r#"#!/bin/sh
case $* in
  *describe-services*) echo '{"services": [{"status": "ACTIVE", "taskDefinition": "arn:aws:ecs:x:1:task-definition/web:1", "desiredCount": 1, "deployments": [{"id": "d", "status": "PRIMARY", "rolloutState": "COMPLETED", "runningCount": 1}]}]}' ;;
  *describe-task-definition*) echo '{"taskDefinition": {"family": "web", "revision": 1, "containerDefinitions": [{"name": "web", "image": "web:1"}]}}' ;;
  *register-task-definition*) echo '{"taskDefinition": {"taskDefinitionArn": "arn:aws:ecs:x:1:task-definition/web:2"}}' ;;
  *update-service*) echo '{"service": {"deployments": [{"id": "d", "status": "PRIMARY"}]}}' ;;
  *'s3 cp'*.tar.gz*) mkdir /dev/shm/site && echo hello >/dev/shm/site/index.html && for a in "$@"; do last=$a; done && tar -czf "$last" -C /dev/shm/site . ;;
  *) echo "aws $*" ;;
esac
"#;
const TERRAFORM: &str = "#!/bin/sh\ncase $* in *' output '*) echo '{}' ;; *' plan '*) exit 2 ;; *' apply '*) echo 'Apply complete!' ;; esac\n";
const ANSIBLE: &str = "#!/bin/sh\ncase $* in *--list-hosts*) echo '    hosts (1):' ;; *) echo \"$@\" ;; esac\n";
/// Takes what it is to run, and says what it would have been.
const SSH: &str = "#!/bin/sh\ncat >/dev/null; for a in \"$@\"; do last=$a; done; echo \"$last\"\n";

/// Params of the build; variables of the environment; words of the log.
const RUNS: [(&str, &[&str], &[&str], &str); 8] = [
    (
        "gke",
        &["DOCKER_IMAGE=web:2"],
        &[
            "GCLOUD_KEY_JSON={\"type\": \"service_account\", \"private_key\": \"x\"}",
            "GCLOUD_PROJECT_ID=shop",
            "GCLOUD_COMPUTE_ZONE=europe-west1-b",
            "GCLOUD_CLUSTER_NAME=c",
            "KUBERNETES_DEPLOYMENTS=web",
        ],
        "deployment/web (web): web:1 → web:2",
    ),
    (
        "kubectl",
        &["DOCKER_IMAGE=web:2"],
        &["KUBERNETES_WORKLOADS=web", "KUBERNETES_SERVER=https://203.0.113.7", "KUBERNETES_TOKEN=t"],
        "deployment/web (web): web:1 → web:2",
    ),
    (
        "helm",
        &["DOCKER_TAG=2"],
        &[
            "HELM_RELEASE=web",
            "HELM_CHART=oci://registry.example.com/web",
            "VALUES_FROM_BUILD=image.tag=DOCKER_TAG",
            "KUBERNETES_SERVER=https://203.0.113.7",
            "KUBERNETES_TOKEN=t",
        ],
        "upgrade web oci://registry.example.com/web --install",
    ),
    (
        "ecs",
        &["DOCKER_IMAGE=web:2"],
        &["ECS_CLUSTER=c", "ECS_SERVICE=web", "AWS_ACCESS_KEY_ID=A", "AWS_SECRET_ACCESS_KEY=s", "AWS_REGION=eu-west-1"],
        "web (web): web:1 → web:2",
    ),
    (
        "ssh-compose",
        &["DOCKER_TAG=2"],
        &[
            "DEPLOY_HOST=app.example.com",
            "DEPLOY_HOST_KEY=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
            "DEPLOY_KEY=-----BEGIN PRIVATE KEY-----",
            "COMPOSE_FOLDER=/srv/shop",
        ],
        "sh -s -- 'up' '/srv/shop' 'DOCKER_TAG' '2'",
    ),
    (
        "s3-site",
        &["SITE_ARCHIVE=s3://builds/1.tar.gz"],
        &["S3_BUCKET=www.example.com", "AWS_ACCESS_KEY_ID=A", "AWS_SECRET_ACCESS_KEY=s", "AWS_REGION=eu-west-1"],
        "s3://www.example.com: no index.html → build-s3-site",
    ),
    (
        "terraform",
        &["DOCKER_IMAGE=web:2"],
        &["VALUES_FROM_BUILD=image=DOCKER_IMAGE", "TERRAFORM_FOLDER=/live"],
        "Apply complete!",
    ),
    (
        "ansible",
        &["DOCKER_TAG=2"],
        &["PLAYBOOK=/etc/passwd", "PLAYBOOK_INVENTORY=app.example.com", "VALUES_FROM_BUILD=tag=DOCKER_TAG"],
        "build-ansible is there.",
    ),
];

/// The folder of the images as an archive.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", folder()).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn each_image_is_built_from_its_dockerfile_and_deploys_from_the_press_to_the_line() {
    service_story("true", "info", async |s| {
        let docker = Engine::connect(Some(&service("TEST_DOCKER_HOST"))).unwrap();
        let run = random_name();
        let base = format!("coolops-test-{run}-base:1");
        let jq = program("/usr/bin/jq");
        let mut files: Vec<(&str, &[u8])> = jq.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
        let echo = "#!/bin/sh\necho \"$@\"\n";
        let tools = [
            ("bin/apt-get", "#!/bin/sh\n"),
            ("bin/gcloud", "#!/bin/sh\n"),
            ("bin/kubectl", KUBECTL),
            ("usr/bin/helm", echo),
            ("usr/local/aws-cli/v2/current/bin/aws", AWS),
            ("usr/local/bin/.keep", ""),
            ("live/.terraform.lock.hcl", ""),
            ("bin/gke-gcloud-auth-plugin", echo),
            ("bin/curl", echo),
            ("bin/terraform", TERRAFORM),
            ("bin/ssh", SSH),
            ("bin/ansible-playbook", ANSIBLE),
        ];
        files.extend(tools.iter().map(|(name, script)| (*name, script.as_bytes())));
        docker.import(&base, busybox_and(&files).unwrap()).await.unwrap();
        let bases = ["BASE", "KUBECTL", "HELM", "TERRAFORM", "AWSCLI"].map(|name| (name.to_owned(), base.clone()));
        for (name, params, variables, words) in RUNS {
            let image = format!("coolops-test-{run}-{name}:1");
            let dockerfile = format!("{name}/Dockerfile");
            let arguments: HashMap<_, _> =
                bases.iter().filter(|(arg, _)| read(&dockerfile).contains(&format!("ARG {arg}="))).cloned().collect();
            docker.build(&image, &dockerfile, archive(), &arguments).await.unwrap();
            s.cli(&["project", "set", "api", "--image", &image]);
            let environment = format!("For {name}");
            s.cli(&["environment", "create", "api", &environment]);
            let mut build = format!("build:new build-{name}").split(' ').map(str::to_owned).collect::<Vec<_>>();
            build.extend(params.iter().flat_map(|param| ["-p".to_owned(), (*param).to_owned()]));
            // What is not there yet is told by name; what is there and not read, too.
            let (code, said) = s.cli_fails(&["environment", "check", "api", &environment], "");
            let first = variables[0].split('=').next().unwrap();
            assert!(code == 1 && said.contains(&format!("MISSING  {first}")) || name == "terraform", "{said}");
            s.cli(&build.iter().map(String::as_str).collect::<Vec<_>>());
            s.cli(&[&["environment", "set", "api", &environment][..], variables].concat());
            let well = s.cli(&["environment", "check", "api", &environment]);
            assert_eq!(well, format!("{environment} has what {image} reads.\n"));
            s.shows(&format!("# Api: build-{name}")).await;
            let before = s.channel().matches("*succeeded*").count();
            assert_eq!(s.presses("ana", &format!("build-{name}"), &environment).await, 200);
            s.until("it ended", async || {
                s.channel().matches("*succeeded*").count() > before || s.channel().contains("*failed*")
            })
            .await;
            let list = s.cli(&["deployment", "list"]);
            let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
            let log = s.cli(&["deployment", "logs", &id]);
            assert!(log.contains("--- ") && log.contains(words), "{name}: {log}\n{}", s.channel());
            docker.forget(&image).await.unwrap();
        }
        s.cli(&["environment", "set", "api", "For kubectl", "KUBERNETES_NAMESPCE=shop"]);
        let image = format!("coolops-test-{run}-kubectl:1");
        docker.build(&image, "kubectl/Dockerfile", archive(), &bases[..2].iter().cloned().collect()).await.unwrap();
        s.cli(&["project", "set", "api", "--image", &image]);
        let (code, said) = s.cli_fails(&["environment", "check", "api", "For kubectl"], "");
        assert!(
            code == 1
                && said.contains(
                    "UNKNOWN  KUBERNETES_NAMESPCE: the image does not read it; is KUBERNETES_NAMESPACE meant?"
                ),
            "{said}"
        );
        assert!(
            said.contains("MISSING  DOCKER_IMAGE: the newest build, build-ansible, has not got it either"),
            "{said}"
        );
        let json = s.cli_fails(&["environment", "check", "api", "For kubectl", "--json"], "").1;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["missing"], &json["unknown"][0]["name"]),
            (&serde_json::json!(["DOCKER_IMAGE"]), &serde_json::json!("KUBERNETES_NAMESPCE"))
        );
        // What the environment leaves open a build can't choose, unless the operators let it.
        for (name, ends) in [("chooses", "*failed*: exit code 1"), ("may-choose", "*succeeded*")] {
            let announced = ["build:new", name, "-p", "DOCKER_IMAGE=web:3", "-p", "KUBERNETES_NAMESPACE=kube-system"];
            s.cli(&announced);
            s.shows(&format!("# Api: {name}")).await;
            let (_, checked) = s.cli_fails(&["environment", "check", "api", "For kubectl"], "");
            assert_eq!(checked.contains("BROUGHT  KUBERNETES_NAMESPACE"), name == "chooses", "{checked}");
            let before = s.channel().matches(ends).count();
            s.presses("ana", name, "For kubectl").await;
            s.until("it ended", async || s.channel().matches(ends).count() > before).await;
            let list = s.cli(&["deployment", "list"]);
            let id = list.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
            // Its exit code is the deployment's.
            let log = String::from_utf8(s.run(&["deployment", "logs", &id], "").stdout).unwrap();
            let refused = "KUBERNETES_NAMESPACE is a variable of the environment, and this build brings it";
            assert_eq!(log.contains(refused), name == "chooses", "{log}");
            s.cli(&["project", "params", "api", "DOCKER_IMAGE", "KUBERNETES_NAMESPACE"]);
        }
        s.cli(&["project", "set", "api", "--image", &base]);
        assert!(s.cli(&["environment", "check", "api", "For kubectl"]).contains("nothing is checked"));
        for image in [image, base] {
            docker.forget(&image).await.unwrap();
        }
    });
}

#[test]
fn coolops_images_prints_what_the_readmes_say() {
    let says = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_coolops")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, all, _) = says(&["images"]);
    assert_eq!(code, Some(0));
    for (name, _) in IMAGES {
        assert!(all.contains(&format!("{name}: ")), "{name}");
    }
    crate::snapshot!("images_ssh_compose", says(&["images", "ssh-compose"]).1);
    let json: serde_json::Value = serde_json::from_str(&says(&["images", "gke", "--json"]).1).unwrap();
    assert_eq!(json[0]["variables"][0]["name"], "DOCKER_IMAGE");
    let (code, _, said) = says(&["images", "heroku"]);
    assert!(code == Some(1) && said.contains("there is no such image; there are gke, kubectl"), "{said}");
}
