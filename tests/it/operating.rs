//! What operators do with a running installation: change keys, read its log.

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
        s.until("it failed for the key", async || s.cli(&["deployment", "list"]).contains("the secret SECRET can't be decrypted")).await;
        s.stop("-TERM");
        s.set("COOLOPS_MASTER_KEY_PREVIOUS", &before);
        s.start().await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        assert_eq!(s.logs(), "got 15 characters\n");
        let verified = s.cli(&["replay", "--verify"]);
        assert!(verified.contains("1 message, rendered anew from the events, equals what Slack was last sent"), "{verified}");
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
            lines.iter().any(|l| l["message"] == "coolops is listening" && l["level"] == "INFO" && l["timestamp"].is_string()),
            "{log}"
        );
        s.start().await;
    });
}
