//! No secret leaks: a canary is set wherever a secret can be, printed by the container in every way, and looked for in
//! everything that is stored, sent, logged or shown.

use std::process::Command;

use crate::story::database::service;
use crate::story::service::service_story;

const SECRET: &str = "canary-s3cret/with\"quote'and\\slash";
const PASSWORD: &str = "canary-registry-password";
/// As a cloud gives one out: what a script prints of it is the key inside, or a line of that.
const ACCOUNT: &str = r#"{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEcanaryLINEone\nMIIEcanaryLINEtwo\n-----END PRIVATE KEY-----\n"}"#;

#[test]
fn no_secret_is_stored_sent_logged_or_shown() {
    let script = r#"
        printf '%b' "$ACCOUNT"; echo; printf %s "x$ACCOUNT" | base64 | tr -d '\n'; echo; printf 'MIIEca\033[1mnaryLINE\033[0mone\n'
        echo "raw $SECRET"; printf %s "$SECRET" | base64; printf %s "u:$SECRET" | base64; printf %s "us:$SECRET" | base64
        env | head -c 4000; printf %s "$SECRET" | od -An -tx1 | tr -d ' \n'; echo
        printf %s "${SECRET%%secret*}"; sleep 0.3; echo "${SECRET#canary-s3c}"; echo "$SECRET" >&2; exit 3"#;
    service_story(script, "trace", async |s| {
        s.cli_with(&["environment", "set", "api", "Staging", "--secret", "SECRET"], SECRET);
        s.cli_with(&["environment", "set", "api", "Staging", "--secret", "ACCOUNT"], ACCOUNT);
        s.cli_with(&["project", "registry", "set", "api", "registry.test", "--username", "puller"], PASSWORD);
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*failed*: exit code 3").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows_times("*failed*: exit code 3", 2).await;
        let logs = s.logs();
        assert!(logs.contains("raw ***"), "{logs}");
        let token = s.token.clone();
        let key = s.log_url().split("key=").nth(1).unwrap().to_owned();
        let page = ureq::get(&s.log_url()).call().unwrap().body_mut().read_to_string().unwrap();
        let dump = Command::new("pg_dump")
            .args(["--inserts", &s.database.url.replace("postgres:///", "postgresql:///")])
            .output()
            .unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let bodies: String = s.standin.workspace().calls.iter().map(|c| c.raw.clone()).collect();
        let show = s.cli(&["environment", "show", "api", "Staging"])
            + &s.cli(&["project", "show", "api", "--json"])
            + &s.cli(&["deployment", "list", "--json"]);
        let forms = |secret: &str| {
            let json = serde_json::to_string(secret).unwrap();
            let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
            vec![
                secret.to_owned(),
                json.trim_matches('"').to_owned(),
                base64[..base64.len() - 4].to_owned(),
                hex::encode(secret),
            ]
        };
        let service_log = std::fs::read_to_string(&s.log).unwrap();
        let places = [
            ("the database", String::from_utf8_lossy(&dump.stdout).into_owned()),
            ("Redis", redis_dump().await),
            ("the service's log", service_log.clone()),
            ("Slack", bodies),
            ("the log", logs),
            ("the page", page),
            ("the command line", show),
        ];
        for (place, text) in &places {
            assert!(!text.is_empty() || *place == "Redis", "{place} was not looked at");
            for secret in [SECRET, PASSWORD, &token, "xoxb-service-test", "signing-secret-of-the-test"] {
                for form in forms(secret) {
                    assert!(!text.contains(&form), "{place} holds {form}");
                }
            }
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("x{ACCOUNT}"));
            for part in ["naryLINE", &encoded[8..60]] {
                assert!(!text.contains(part), "{place} holds {part}, which stands in a secret");
            }
        }
        assert!(!service_log.contains(&key), "a link's capability is in the service's log");
    });
}

#[test]
fn a_secret_that_is_replaced_while_it_is_in_a_container_stays_masked() {
    let script = "echo before; sleep 6; echo $SECRET $OTHER $GONE";
    service_story(script, "info", async |s| {
        let set = |s: &crate::story::service::Service, name: &str, value: &str| {
            s.cli_with(&["environment", "set", "api", "Staging", "--secret", name], value);
        };
        set(s, "SECRET", "first-secret-value");
        set(s, "OTHER", "other-secret-value");
        set(s, "GONE", "gone-secret-value");
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        s.until("it runs", async || s.logs().contains("before")).await;
        // Twice replaced, once by something plain, once removed: the container has the first ones.
        set(s, "SECRET", "second-secret-value");
        set(s, "SECRET", "third-secret-value");
        s.cli(&["environment", "set", "api", "Staging", "OTHER=plain"]);
        s.cli(&["environment", "unset", "api", "Staging", "GONE"]);
        s.stop("-TERM");
        s.start().await;
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "before\n*** *** ***\n");
        // What was replaced is erased at the end of the next deployment, when it is not as new as its event may be.
        s.database.set_clock(120).await;
        let press = s.press_of_at("ana", "master-1", "Staging", 120);
        s.standin.shared().deliver(press).await.unwrap();
        s.shows_times("*succeeded*", 2).await;
        let kept = "select count(*) from secret_value";
        s.until("only the present value is kept", async || s.database.count(kept).await == 1).await;
    });
}

#[test]
fn output_is_not_stored_while_a_replaced_secret_that_is_in_it_can_not_be_masked() {
    let script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i $SECRET; sleep 0.2; done";
    service_story(script, "info", async |s| {
        let set = |s: &crate::story::service::Service, value: &str| {
            s.cli_with(&["environment", "set", "api", "Staging", "--secret", "SECRET"], value);
        };
        set(s, "first-secret-value");
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let (first, second) = (s.variable("COOLOPS_MASTER_KEY"), coolops::keys::new_master_key());
        s.set("COOLOPS_MASTER_KEY", &second);
        s.set("COOLOPS_MASTER_KEY_PREVIOUS", &first);
        // The container has what was encrypted with the first key, and the first key is taken away.
        set(s, "second-secret-value");
        s.unset("COOLOPS_MASTER_KEY_PREVIOUS");
        s.stop("-TERM");
        s.start().await;
        let waits =
            "select count(*) from job where last_error = 'the secret SECRET can''t be read; the container runs on'";
        s.until("its worker says what it waits for", async || s.database.count(waits).await == 1).await;
        let stored = s.database.count("select count(*) from log_chunk").await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(
            s.database.count("select count(*) from log_chunk").await,
            stored,
            "nothing is stored that can't be masked"
        );
        s.set("COOLOPS_MASTER_KEY_PREVIOUS", &first);
        s.stop("-TERM");
        s.start().await;
        s.shows("*succeeded*").await;
        let whole: String = (1..=60).map(|n| format!("{n} ***\n")).collect();
        assert_eq!(s.logs(), whole, "all of it, masked");
    });
}

async fn redis_dump() -> String {
    let mut connection = crate::story::redis::connection(&service("TEST_REDIS_URL")).await;
    let mut text = String::new();
    for database in 0..16 {
        redis::cmd("SELECT").arg(database).query_async::<()>(&mut connection).await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
        for key in keys {
            let value: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query_async(&mut connection).await.unwrap();
            text.push_str(&format!("{key} {}\n", String::from_utf8_lossy(&value.unwrap_or_default())));
        }
    }
    text
}
