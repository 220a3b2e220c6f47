//! What operators do with a running installation: change keys, read its log.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::story::random_name;
use crate::story::service::service_story;

#[test]
fn a_rotated_master_key_still_opens_what_the_one_before_sealed() {
    service_story("echo got ${#SECRET} characters", "info", async |s| {
        s.cli_with(&["environment", "set", "api", "Staging", "--secret", "SECRET"], "hunter2-hunter2");
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        let before = s.variable("COOLOPS_MASTER_KEY");
        s.stop("-TERM");
        s.set("COOLOPS_MASTER_KEY", &coolops::keys::new_master_key());
        s.start().await;
        s.presses("ana", "master-1", "Staging").await;
        // The line's own link can't be made without the old key, so the message waits for it; the deployment tells.
        s.until("it failed for the key", async || {
            s.cli(&["deployment", "list"]).contains("the secret SECRET can't be decrypted")
        })
        .await;
        let (code, said) = s.cli_fails(&["replay", "--verify"], "");
        assert!(code == 1 && said.contains("UNCHECKED  1 message with links of the master key "), "{said}");
        assert!(!said.contains("CHANGED"), "a missing key is no sign of tampering: {said}");
        s.stop("-TERM");
        s.set("COOLOPS_MASTER_KEY_PREVIOUS", &format!("{}, {before}", coolops::keys::new_master_key()));
        s.start().await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "got 15 characters\n");
        let verified = s.cli(&["replay", "--verify"]);
        assert!(
            verified.contains("1 message, rendered anew from the events, equals what Slack was last sent"),
            "{verified}"
        );
    });
}

#[test]
fn log_lines_are_json_where_a_machine_reads_them() {
    service_story("true", "info", async |s| {
        s.stop("-TERM");
        std::fs::write(&s.log, "").unwrap();
        s.set("COOLOPS_LOG_FORMAT", "json");
        s.start().await;
        s.stop("-TERM");
        let log = std::fs::read_to_string(&s.log).unwrap();
        let lines: Vec<serde_json::Value> =
            log.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l:?} is not JSON: {e}"))).collect();
        assert!(
            lines
                .iter()
                .any(|l| l["message"] == "coolops is listening" && l["level"] == "INFO" && l["timestamp"].is_string()),
            "{log}"
        );
        s.start().await;
    });
}

/// A Redis that speaks TLS only, with a certificate of an authority of its own.
struct RedisOverTls {
    child: Child,
    folder: std::path::PathBuf,
    port: u16,
}

impl RedisOverTls {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("tls{}", random_name()));
        std::fs::create_dir(&folder).unwrap();
        let openssl = |arguments: &str| {
            let done = Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(&folder)
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(done.success(), "openssl {arguments}");
        };
        openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority");
        openssl("req -newkey rsa:2048 -nodes -keyout key.pem -out request -subj /CN=localhost");
        std::fs::write(folder.join("san"), "subjectAltName=DNS:localhost").unwrap();
        openssl("x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem");
        let port = crate::story::service::free_port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--tls-auth-clients",
            "no",
            "--tls-port",
            &port.to_string(),
        ]);
        command
            .args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"])
            .current_dir(&folder);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, folder, port }
    }
}

impl Drop for RedisOverTls {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

#[test]
fn redis_may_be_reached_over_tls() {
    service_story("true", "info", async |s| {
        let redis = RedisOverTls::start();
        s.stop("-TERM");
        s.set("REDIS_URL", &format!("rediss://localhost:{}", redis.port));
        s.set("SSL_CERT_FILE", redis.folder.join("ca.pem").to_str().unwrap());
        s.start().await;
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let metrics = ureq::get(format!("{}/metrics", s.admin)).call().unwrap().body_mut().read_to_string().unwrap();
        assert!(metrics.contains(r#"coolops_claims_total{kind="run_deployment",via="doorbell"} 1"#), "{metrics}");
    });
}

#[test]
fn a_service_that_has_nothing_to_do_leaves_the_database_alone() {
    service_story("true", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        let asked = "select xact_commit from pg_stat_database where datname = current_database()";
        // What is counted comes a second late.
        let before = s.database.count(asked).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let often = s.database.count(asked).await - before;
        assert!(often < 500, "{often} transactions in five seconds of nothing");
    });
}
