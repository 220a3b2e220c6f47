//! What stands in `deploy/`, as the guide quotes it and as a new host uses it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_yaml_ng::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn the_guide_quotes_the_files_as_they_are() {
    let guide = read("docs/OPERATING.md");
    for (file, language) in [("coolops.service", "ini"), ("nginx.conf", "nginx"), ("Caddyfile", "")] {
        let quoted = format!("```{language}\n{}```\n", read(&format!("deploy/{file}")));
        assert!(guide.contains(&quoted), "docs/OPERATING.md does not quote deploy/{file}");
    }
}

#[test]
fn both_proxies_let_the_public_paths_through_and_log_no_query() {
    let (nginx, caddy) = (read("deploy/nginx.conf"), read("deploy/Caddyfile"));
    for path in
        ["slack", "builds", "projects", "board", "ci", "deployments", "witness", "assets", "client", "install.sh"]
    {
        let in_nginx = path.replace('.', "\\.");
        assert!(nginx.contains(&format!("({in_nginx}|")) || nginx.contains(&format!("|{in_nginx}")), "nginx: {path}");
        assert!(caddy.contains(&format!("/{path}")), "Caddy: {path}");
    }
    for path in ["readyz", "healthz", "metrics"] {
        assert!(!nginx.contains(path) && !caddy.contains(path), "{path} has no login");
    }
    assert!(!nginx.contains("$request ") && !nginx.contains("$request\"") && !nginx.contains("$request_uri"));
    assert!(caddy.contains(r#"request>uri regexp \?.* """#));
}

#[test]
fn a_new_host_gets_secrets_by_chance_and_hears_what_is_its_own_to_fill_in() {
    let folder = std::env::temp_dir().join(format!("coolops-deploy-{}", crate::story::random_name()));
    std::fs::create_dir(&folder).unwrap();
    for file in ["prepare.sh", "compose.yaml", "login.sh"] {
        std::fs::copy(root().join("deploy").join(file), folder.join(file)).unwrap();
    }
    let socket = folder.join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let prepares = || {
        let output = Command::new("sh").arg(folder.join("prepare.sh")).env("DOCKER_SOCKET", &socket).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = prepares();
    for words in ["secrets/slack_bot_token", "secrets/slack_signing_secret", "COOLOPS_PUBLIC_URL="] {
        assert!(said.contains(words), "{said}");
    }
    let secret = |name: &str| std::fs::read_to_string(folder.join("secrets").join(name)).unwrap();
    let key = secret("master_key");
    assert!(coolops::keys::Keyring::new(&key.clone().into(), &[]).is_ok(), "{key}");
    assert!(secret("database_url").contains(&format!(":{}@postgres/", secret("coolops_password"))));
    assert_ne!(secret("coolops_password"), secret("postgres_password"));
    let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("secrets"), mode("secrets/master_key"), mode(".env")), (0o700, 0o444, 0o600));
    let settings = std::fs::read_to_string(folder.join(".env")).unwrap();
    assert!(settings.starts_with("DOCKER_SOCKET=") && settings.contains("\nDOCKER_GROUP="), "{settings}");
    // What is compose.yaml's is there, or is what it says.
    let compose: Value = serde_yaml_ng::from_str(&read("deploy/compose.yaml")).unwrap();
    let names = |value: &Value| -> BTreeSet<String> {
        value.as_mapping().unwrap().keys().map(|k| k.as_str().unwrap().to_owned()).collect()
    };
    for name in names(&compose["secrets"]) {
        assert_eq!(compose["secrets"][&name]["file"], format!("./secrets/{name}").as_str());
        assert!(folder.join("secrets").join(&name).exists() || said.contains(&name), "{name}");
    }
    let service = &compose["services"]["coolops"];
    let given: Vec<String> =
        service["secrets"].as_sequence().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect();
    for (name, value) in service["environment"].as_mapping().unwrap() {
        if let Some(variable) = name.as_str().unwrap().strip_suffix("_FILE") {
            let file = value.as_str().unwrap().strip_prefix("/run/secrets/").unwrap();
            assert!(given.iter().any(|g| g == file), "{variable}");
        }
    }
    // Filled in, and run again: nothing of what was there changes.
    for name in ["slack_bot_token", "slack_signing_secret"] {
        std::fs::write(folder.join("secrets").join(name), "x").unwrap();
    }
    let env = std::fs::read_to_string(folder.join(".env")).unwrap();
    std::fs::write(folder.join(".env"), format!("{env}COOLOPS_PUBLIC_URL=https://c.example.com")).unwrap();
    assert!(prepares().contains("All is there: docker compose"));
    assert_eq!(secret("master_key"), key);
    std::fs::remove_dir_all(&folder).unwrap();
}
