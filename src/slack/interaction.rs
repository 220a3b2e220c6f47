//! A press as Slack sends it, read into a command. Pure.

use serde::Deserialize;

use crate::domain::deployment::{Person, RequestDeployment};
use crate::domain::ids::*;
use crate::slack::render;

/// What an interaction asks for.
#[derive(Debug)]
pub enum Interaction {
    /// A deploy button or menu entry.
    Deploy(Box<RequestDeployment>),
    /// Nothing that somebody waits for: a link button, another kind of interaction. Acknowledged and left alone.
    Nothing,
    /// A button that we can't make anything of: of an older product, or with a value that was never ours. The presser hears so.
    Stale,
}

/// Why an interaction can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the interaction can't be read: {0}")]
pub struct Unreadable(String);

#[derive(Deserialize)]
struct Form {
    payload: String,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    api_app_id: Option<String>,
    message: Option<Message>,
    user: Option<User>,
    team: Option<Team>,
    channel: Option<Channel>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
}

/// Whose message the button is on, as Slack keeps it.
#[derive(Deserialize)]
struct Message {
    app_id: Option<String>,
    team: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    name: String,
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct Team {
    id: String,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    channel_id: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default)]
    block_id: String,
    value: Option<String>,
    selected_option: Option<Chosen>,
}

#[derive(Deserialize)]
struct Chosen {
    value: String,
}

/// Reads the verified body of `POST /slack/interactions`. `press` is the id that its signature gives it; `home` is the workspace
/// that the app's token is of, where that is known.
///
/// # Errors
/// When it is not the form that Slack sends.
pub fn parse(body: &[u8], press: DeploymentId, home: Option<&str>) -> Result<Interaction, Unreadable> {
    let form: Form = serde_urlencoded::from_bytes(body).map_err(|e| Unreadable(e.to_string()))?;
    let payload: Payload = serde_json::from_str(&form.payload).map_err(|e| Unreadable(e.to_string()))?;
    match payload.kind.as_str() {
        "block_actions" => {}
        // The buttons of coolOps.io, and of others before blocks.
        "interactive_message" => return Ok(Interaction::Stale),
        _ => return Ok(Interaction::Nothing),
    }
    let is_ours =
        |a: &Action| a.block_id == render::DEPLOY_ACTION || a.block_id.split_once('.').is_some_and(|(id, _)| id == render::DEPLOY_ACTION);
    let Some(action) = payload.actions.into_iter().find(is_ours) else {
        return Ok(Interaction::Nothing);
    };
    let missing = |what: &str| Unreadable(format!("the press has no {what}"));
    let value = action.selected_option.map(|o| o.value).or(action.value).unwrap_or_default();
    let Some((build_id, environment_id)) = read_value(&value) else { return Ok(Interaction::Stale) };
    let user = payload.user.ok_or_else(|| missing("user"))?;
    let channel = payload.channel.map(|c| c.id).or_else(|| payload.container.and_then(|c| c.channel_id));
    // In a channel that is shared between workspaces, the payload's team need not be the person's.
    let team = user.team_id.or(payload.team.map(|t| t.id));
    let name = if user.username.is_empty() { user.name } else { user.username };
    let differ = |a: Option<&str>, b: Option<&str>| a.zip(b).is_some_and(|(a, b)| a != b);
    let foreign =
        payload.message.is_some_and(|m| differ(m.app_id.as_deref(), payload.api_app_id.as_deref()) || differ(m.team.as_deref(), home));
    Ok(Interaction::Deploy(Box::new(RequestDeployment {
        deployment_id: press,
        build_id,
        environment_id,
        requested_by: Person { team: short(&team.ok_or_else(|| missing("team"))?), user: short(&user.id), name: short(&name) },
        channel: short(&channel.ok_or_else(|| missing("channel"))?),
        foreign,
    })))
}

/// The address through which a press can be answered privately, for a short while.
pub fn response_url(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answerable {
        response_url: String,
    }
    let form: Form = serde_urlencoded::from_bytes(body).ok()?;
    serde_json::from_str::<Answerable>(&form.payload).ok().map(|a| a.response_url)
}

fn read_value(value: &str) -> Option<(BuildId, EnvironmentId)> {
    let mut parts = value.split('.');
    let fields = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    match fields {
        ("v1", build, environment, None) => Some((build.parse().ok()?, environment.parse().ok()?)),
        _ => None,
    }
}

/// Slack's ids and handles are short; what isn't, is not kept whole for ever. A NUL can't be stored at all.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &serde_json::Value) -> Result<Interaction, Unreadable> {
        let body = serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap();
        parse(body.as_bytes(), DeploymentId(uuid::Uuid::nil()), Some("T1"))
    }

    #[test]
    fn a_press_names_the_build_the_environment_and_the_person() {
        let (build, environment) = (uuid::Uuid::from_u128(4), uuid::Uuid::from_u128(2));
        let mut payload = serde_json::json!({
            "type": "block_actions",
            "api_app_id": "A1",
            "message": {"app_id": "A1", "team": "T1"},
            "user": {"id": "U1", "username": "ana", "team_id": "T9"},
            "team": {"id": "T1"},
            "container": {"type": "message", "channel_id": "C1"},
            "actions": [{"type": "button", "block_id": "deploy", "action_id": "deploy.0", "value": format!("v1.{build}.{environment}")}],
        });
        let Ok(Interaction::Deploy(command)) = read(&payload) else { panic!("not read") };
        assert_eq!((command.build_id.0, command.environment_id.0), (build, environment));
        assert_eq!(
            (command.requested_by.user.as_str(), command.channel.as_str(), command.requested_by.team.as_str()),
            ("U1", "C1", "T9"),
            "in a shared channel the person's team counts"
        );
        assert!(!command.foreign);
        for (what, value) in [("app_id", "A2"), ("team", "T2")] {
            let mut foreign = payload.clone();
            foreign["message"][what] = value.into();
            assert!(matches!(read(&foreign), Ok(Interaction::Deploy(c)) if c.foreign), "{what}");
        }
        payload["actions"][0]["block_id"] = "deploy.17".into();
        assert!(matches!(read(&payload), Ok(Interaction::Deploy(_))), "a menu's block counts its versions");
        let legacy = serde_json::json!({"type": "interactive_message", "actions": [{"name": "deploy", "type": "button", "value": "4"}]});
        assert!(matches!(read(&legacy), Ok(Interaction::Stale)));
        payload["actions"][0]["value"] = "v1.nonsense".into();
        assert!(matches!(read(&payload), Ok(Interaction::Stale)), "a value that was never ours is answered");
        payload["actions"][0]["block_id"] = "link".into();
        assert!(matches!(read(&payload), Ok(Interaction::Nothing)));
        assert!(parse(b"payload=%7B", DeploymentId(uuid::Uuid::nil()), None).is_err());
    }
}
