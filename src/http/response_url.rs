//! The address that Slack gives with a press or a command, to answer later: for 30 minutes, five times.

use std::time::Duration;

use serde_json::Value;

use super::Parts;

/// Answers from memory, and only if the address is Slack's.
pub(super) fn say(web: &Parts, answer_to: Option<&str>, mut answer: Value) {
    let Some(url) = answer_to.and_then(|url| url::Url::parse(url).ok()) else { return };
    if !url.host_str().is_some_and(|host| web.response_hosts.iter().any(|known| known == host)) {
        return;
    }
    answer["replace_original"] = false.into();
    tokio::task::spawn_blocking(move || {
        let request = ureq::post(url.as_str()).config().timeout_global(Some(Duration::from_secs(2))).build();
        if request.header("content-type", "application/json").send(answer.to_string()).is_err() {
            tracing::warn!("somebody could not be answered through Slack's address for it");
        }
    });
}
