//! `coolops ci …` as an operator uses it, on a real service.

use std::process::Command;

use super::{good, sample, sign};
use crate::story::service::{Service, service_story};

fn deliver(s: &Service, name: &str, secret: &str, sample: &super::Sample) -> u16 {
    use hmac::{Hmac, Mac};
    let body = sign::bytes(name, &sample.body);
    let mac =
        Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&body).finalize().into_bytes();
    let mut request = ureq::post(format!("{}/ci/{name}/api", s.url)).config().http_status_as_error(false).build();
    for (name, value) in &sample.headers {
        request = request.header(name, value);
    }
    request
        .header("x-hub-signature-256", format!("sha256={}", hex::encode(mac)))
        .send(&body[..])
        .unwrap()
        .status()
        .as_u16()
}

#[test]
fn an_operator_sets_webhooks_up_and_sees_what_came() {
    service_story("true", "info", async |s| {
        let providers = s.cli(&["ci", "providers"]);
        for provider in coolops::ci::PROVIDERS {
            assert!(providers.lines().any(|l| l.split_whitespace().next() == Some(provider.name())), "{providers}");
        }
        let refused = |arguments: &[&str], input: &str, sentence: &str| {
            let (code, said) = s.cli_fails(arguments, input);
            assert!(code == 1 && said.contains(sentence), "{arguments:?}: {said}");
        };
        refused(
            &["ci", "secret", "api", "circle"],
            "long-enough-secret",
            "there is no CI system \"circle\"; there are: github, gitlab, circleci,",
        );
        refused(&["ci", "secret", "api", "github"], "short", "the secret has 5 bytes; give at least 12");
        refused(&["ci", "secret", "api", "gitlab"], "whsec_no base64!", "after whsec_ comes the key in base64");
        refused(&["ci", "secret", "api", "travis"], "not a key at all", "it is not a public key in PEM");
        refused(&["ci", "rules", "api", "github"], "", "nothing to change; give --branch");
        refused(
            &["ci", "rules", "api", "github", "--event", "push"],
            "",
            "github has no event \"push\" that makes builds; it has: workflow_run, release, tag",
        );
        refused(
            &["ci", "rules", "api", "github", "--conclusion", "failed"],
            "",
            "there is no conclusion \"failed\"; there are: success, failure, cancelled, unstable, skipped",
        );
        refused(
            &["ci", "rules", "api", "github", "--name", "{brunch}"],
            "",
            "asks for {brunch}; there are event, repository",
        );
        refused(&["ci", "rules", "api", "github", "--param", "LD_PRELOAD={branch}"], "", "can't come from CI");
        refused(
            &["ci", "rules", "api", "generic", "--field", "branch=ref"],
            "",
            "write it as a JSON pointer such as /build/ref",
        );
        refused(&["ci", "unset", "api", "github"], "", "takes no webhooks of github");
        assert!(
            s.cli(&["ci", "show", "api"])
                .contains("api takes no webhooks; set one up with: coolops ci secret api github")
        );

        let secret = s.cli(&["ci", "secret", "api", "github", "--generate"]).trim().to_owned();
        assert!(secret.starts_with("cops_"));
        s.cli(&["ci", "rules", "api", "github", "--branch", "main", "--param", "DOCKER_TAG={short_commit}"]);
        let shown = s.cli(&["ci", "show", "api"]);
        assert!(
            shown.contains("branches     main") && shown.contains("param        DOCKER_TAG = {short_commit}"),
            "{shown}"
        );
        assert!(!shown.contains(&secret));

        assert_eq!(deliver(s, "github", &secret, &good("github")), 201);
        assert_eq!(deliver(s, "github", &secret, &sample("github", "pull_request")), 200);
        assert_eq!(deliver(s, "github", "another secret", &good("github")), 401);
        s.shows("# Api: main-42").await;
        // Refused ones are written together, within a second.
        s.until("the refused one is listed", async || {
            s.cli(&["ci", "deliveries", "--project", "api"]).contains("refused")
        })
        .await;
        let listed = s.cli(&["ci", "deliveries", "--project", "api"]);
        let line = |word: &str| {
            listed
                .lines()
                .find(|l| l.contains(word))
                .unwrap_or_else(|| panic!("{word} is missing in\n{listed}"))
                .to_owned()
        };
        assert!(line("accepted").contains("main-42 (event "), "{listed}");
        assert!(line("ignored").contains("the branch feature/fog is not chosen"), "{listed}");
        assert!(line("refused").contains("X-Hub-Signature-256 does not fit"), "{listed}");

        let id = line("ignored")
            .split_whitespace()
            .find(|w| w.len() == 8 && w.bytes().all(|b| b.is_ascii_hexdigit()))
            .unwrap()
            .to_owned();
        assert_eq!(s.cli(&["ci", "replay", &id]), "Ignored, because the branch feature/fog is not chosen.\n");
        s.cli(&["ci", "rules", "api", "github", "--reset"]);
        assert_eq!(s.cli(&["ci", "replay", &id]), "The build feature-fog-42 is registered.\n");
        assert_eq!(
            s.cli(&["ci", "replay", &id]),
            "The build feature-fog-42 is registered already; nothing was done.\n"
        );
        s.shows("# Api: feature-fog-42").await;
        let all: serde_json::Value = serde_json::from_str(&s.cli(&["ci", "replay", &id, "--json"])).unwrap();
        assert_eq!((&all[0]["project"], &all[0]["verdict"]), (&"api".into(), &"repeated".into()), "{all}");
        refused(&["ci", "replay", "ffffffff"], "", "there is no delivery ffffffff; see: coolops ci deliveries");
        let json: serde_json::Value = serde_json::from_str(&s.cli(&["ci", "deliveries", "--json"])).unwrap();
        assert_eq!((json["deliveries"].as_array().unwrap().len(), json["refused"].as_array().unwrap().len()), (2, 1));

        s.cli(&["ci", "unset", "api", "github"]);
        assert_eq!(deliver(s, "github", &secret, &good("github")), 401);
        let dump = Command::new("pg_dump")
            .args(["--inserts", &s.database.url.replace("postgres:///", "postgresql:///")])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&dump.stdout);
        assert!(dump.status.success() && text.contains("main-42"), "{}", String::from_utf8_lossy(&dump.stderr));
        assert!(!text.contains(&secret), "the secret is stored encrypted only");
    });
}
