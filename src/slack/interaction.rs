//! A press as Slack sends it, read into a command. Pure.

use serde::Deserialize;

use crate::domain::deployment::{Person, RequestDeployment};
use crate::domain::ids::*;

/// What an interaction asks for.
#[derive(Debug)]
pub enum Interaction {
    /// A deploy button or menu entry.
    Deploy(Box<RequestDeployment>),
    /// Nothing of ours: a link button, another kind of interaction. Acknowledged and left alone.
    Nothing,
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
    user: Option<User>,
    team: Option<Team>,
    channel: Option<Channel>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Action>,
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

/// Reads the verified body of `POST /slack/interactions`. `press` is the id that its signature gives it.
///
/// # Errors
/// When it is not the form that Slack sends, or a button of ours carries a value that we never gave it.
pub fn parse(body: &[u8], press: DeploymentId) -> Result<Interaction, Unreadable> {
    let form: Form = serde_urlencoded::from_bytes(body).map_err(|e| Unreadable(e.to_string()))?;
    let payload: Payload = serde_json::from_str(&form.payload).map_err(|e| Unreadable(e.to_string()))?;
    if payload.kind != "block_actions" {
        return Ok(Interaction::Nothing);
    }
    let Some(action) = payload.actions.into_iter().find(|a| a.block_id == super::render::DEPLOY_ACTION) else {
        return Ok(Interaction::Nothing);
    };
    let missing = |what: &str| Unreadable(format!("the press has no {what}"));
    let value = action.selected_option.map(|o| o.value).or(action.value).ok_or_else(|| missing("value"))?;
    let (build_id, environment_id) = read_value(&value).ok_or_else(|| Unreadable("the button's value is not one of ours".to_owned()))?;
    let user = payload.user.ok_or_else(|| missing("user"))?;
    let channel = payload.channel.map(|c| c.id).or_else(|| payload.container.and_then(|c| c.channel_id));
    let team = payload.team.map(|t| t.id).or(user.team_id);
    let name = if user.username.is_empty() { user.name } else { user.username };
    Ok(Interaction::Deploy(Box::new(RequestDeployment {
        deployment_id: press,
        build_id,
        environment_id,
        requested_by: Person { team: short(&team.ok_or_else(|| missing("team"))?), user: short(&user.id), name: short(&name) },
        channel: short(&channel.ok_or_else(|| missing("channel"))?),
    })))
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
        parse(body.as_bytes(), DeploymentId(uuid::Uuid::nil()))
    }

    #[test]
    fn a_press_names_the_build_the_environment_and_the_person() {
        let (build, environment) = (uuid::Uuid::from_u128(4), uuid::Uuid::from_u128(2));
        let mut payload = serde_json::json!({
            "type": "block_actions",
            "user": {"id": "U1", "username": "ana", "team_id": "T1"},
            "team": null,
            "container": {"type": "message", "channel_id": "C1"},
            "actions": [{"type": "button", "block_id": "deploy", "action_id": "deploy.0", "value": format!("v1.{build}.{environment}")}],
        });
        let Ok(Interaction::Deploy(command)) = read(&payload) else { panic!("not read") };
        assert_eq!((command.build_id.0, command.environment_id.0), (build, environment));
        assert_eq!((command.requested_by.user.as_str(), command.channel.as_str(), command.requested_by.team.as_str()), ("U1", "C1", "T1"));
        payload["actions"][0]["value"] = "v1.nonsense".into();
        assert!(read(&payload).is_err());
        payload["actions"][0]["block_id"] = "link".into();
        assert!(matches!(read(&payload), Ok(Interaction::Nothing)));
        assert!(parse(b"payload=%7B", DeploymentId(uuid::Uuid::nil())).is_err());
    }
}
