//! What Slack's Events API tells us, as far as it changes what we do. Pure.
//!
//! Source: docs.slack.dev, "Events API" and the pages of the events named here.

use serde::Deserialize;
use serde_json::Value;

/// What an event asks for.
#[derive(Debug, PartialEq)]
pub enum Notice {
    /// Slack checks the address: this is to be answered.
    Challenge(String),
    /// The app may not use the workspace any more; with Slack's word for it.
    Removed(&'static str),
    /// A channel may be posted to again: unarchived, or the app was invited.
    ChannelOpen(String),
    /// A channel can't be posted to any more; with Slack's word for it.
    ChannelClosed(String, &'static str),
    /// Nothing that concerns us.
    Nothing,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    challenge: Option<String>,
    #[serde(default)]
    event: Value,
    #[serde(default)]
    authorizations: Vec<Authorization>,
}

#[derive(Deserialize)]
struct Authorization {
    user_id: Option<String>,
}

/// Reads the verified body of `POST /slack/events`.
///
/// # Errors
/// When it is not the JSON that Slack sends.
pub fn parse(body: &[u8]) -> Result<Notice, serde_json::Error> {
    let envelope: Envelope = serde_json::from_slice(body)?;
    if envelope.kind == "url_verification" {
        return Ok(envelope.challenge.map_or(Notice::Nothing, Notice::Challenge));
    }
    let event = &envelope.event;
    let channel = || event["channel"].as_str().unwrap_or_default().to_owned();
    // Joining and leaving is told of everybody; ours is the one that the event was sent to.
    let is_us = || envelope.authorizations.iter().any(|a| a.user_id.as_deref() == event["user"].as_str());
    Ok(match event["type"].as_str().unwrap_or_default() {
        "app_uninstalled" => Notice::Removed("app_uninstalled"),
        "tokens_revoked" if event["tokens"]["bot"].as_array().is_some_and(|bots| !bots.is_empty()) => {
            Notice::Removed("token_revoked")
        }
        "channel_unarchive" | "group_unarchive" => Notice::ChannelOpen(channel()),
        "member_joined_channel" if is_us() => Notice::ChannelOpen(channel()),
        "channel_archive" | "group_archive" => Notice::ChannelClosed(channel(), "is_archived"),
        "channel_deleted" | "group_deleted" => Notice::ChannelClosed(channel(), "channel_not_found"),
        "channel_left" | "group_left" => Notice::ChannelClosed(channel(), "not_in_channel"),
        _ => Notice::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str) -> Notice {
        let body = format!(r#"{{"type":"event_callback","event":{event},"authorizations":[{{"user_id":"U0BOT"}}]}}"#);
        parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_concerns_us_is_told_from_what_does_not() {
        assert_eq!(
            parse(br#"{"type":"url_verification","challenge":"abc"}"#).unwrap(),
            Notice::Challenge("abc".into())
        );
        assert_eq!(event(r#"{"type":"app_uninstalled"}"#), Notice::Removed("app_uninstalled"));
        assert_eq!(
            event(r#"{"type":"tokens_revoked","tokens":{"oauth":["U1"],"bot":["U0BOT"]}}"#),
            Notice::Removed("token_revoked")
        );
        assert_eq!(event(r#"{"type":"tokens_revoked","tokens":{"oauth":["U1"]}}"#), Notice::Nothing);
        assert_eq!(
            event(r#"{"type":"member_joined_channel","user":"U0BOT","channel":"C1"}"#),
            Notice::ChannelOpen("C1".into())
        );
        assert_eq!(event(r#"{"type":"member_joined_channel","user":"U0ANA","channel":"C1"}"#), Notice::Nothing);
        assert_eq!(
            event(r#"{"type":"channel_archive","channel":"C1"}"#),
            Notice::ChannelClosed("C1".into(), "is_archived")
        );
        assert_eq!(event(r#"{"type":"message","channel":"C1"}"#), Notice::Nothing);
        assert!(parse(b"payload=1").is_err());
    }
}
