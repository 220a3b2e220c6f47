//! A press as Slack sends it, read into a command. Pure.

use serde::Deserialize;

use super::button::{self, Button, Choice};
use super::dialog::{self, About, Submitted};
use super::short;
use crate::domain::deployment::Person;
use crate::domain::ids::DeploymentId;
use crate::domain::press::{CancelDeployment, Pressed, RequestDeployment};

/// What Slack sends when somebody does something with a message of ours.
#[derive(Debug)]
pub struct Interaction {
    /// What is asked for.
    pub asks: Asks,
    /// The address through which the person can be answered privately: for 30 minutes, five times.
    pub response_url: Option<String>,
}

/// What an interaction asks for.
#[derive(Debug)]
pub enum Asks {
    /// A button or a menu's entry of ours.
    Press(Box<Press>),
    /// Nothing that somebody waits for: a link button, another kind of interaction. Acknowledged and left alone.
    Nothing,
    /// A dialog of ours was filled in.
    Submission(Box<Submission>),
    /// A button that we can't make anything of: of an older product, or with a value that was never ours. The presser
    /// hears so.
    Stale,
}

/// A press of a button, or a choice in a menu.
#[derive(Debug)]
pub struct Press {
    /// What it asks for.
    pub choice: Choice,
    /// Who pressed.
    pub by: Person,
    /// The channel of the message.
    pub channel: String,
    /// It is not on a message of this app in its own workspace.
    pub foreign: bool,
    /// What a dialog can be opened with, for three seconds.
    pub trigger: Option<String>,
}

/// A dialog that was filled in: a deployment shall end.
#[derive(Debug)]
pub struct Submission {
    /// What it is about.
    pub about: About,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Who filled it in.
    pub by: Person,
}

impl Submission {
    /// The request for a deployment's end that it is.
    pub fn cancel(self) -> CancelDeployment {
        let Self { about: About { deployment, channel, foreign, waits: before_start }, reason, by } = self;
        CancelDeployment { deployment_id: deployment, requested_by: by, reason, channel, foreign, before_start }
    }
}

impl Press {
    /// The request for a deployment that it is; its id comes from the signature of the bytes that it was read from.
    pub fn request(self, deployment_id: DeploymentId, Button { build, environment }: Button) -> RequestDeployment {
        let Self { by, channel, foreign, .. } = self;
        RequestDeployment {
            deployment_id,
            build_id: build,
            environment_id: environment,
            requested_by: by.into(),
            pressed: Some(Pressed { channel, foreign }),
        }
    }

    /// The request for a deployment's end that it is.
    pub fn cancel(self, deployment_id: DeploymentId) -> CancelDeployment {
        let Self { by, channel, foreign, .. } = self;
        CancelDeployment { deployment_id, requested_by: by, reason: None, channel, foreign, before_start: false }
    }
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
    response_url: Option<String>,
    trigger_id: Option<String>,
    #[serde(default)]
    actions: Vec<Action>,
    view: Option<Submitted>,
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
    #[serde(default, rename = "action_id")]
    id: String,
    value: Option<String>,
    selected_option: Option<Chosen>,
}

#[derive(Deserialize)]
struct Chosen {
    value: String,
}

/// Reads the verified body of `POST /slack/interactions`; `home` is the workspace that the app's token is of, where
/// that is known.
///
/// # Errors
/// When it is not the form that Slack sends.
pub fn parse(body: &[u8], home: Option<&str>) -> Result<Interaction, Unreadable> {
    let form: Form = serde_urlencoded::from_bytes(body).map_err(|e| Unreadable(e.to_string()))?;
    let mut payload: Payload = serde_json::from_str(&form.payload).map_err(|e| Unreadable(e.to_string()))?;
    let response_url = payload.response_url.take();
    let asks = match payload.kind.as_str() {
        "block_actions" => pressed(payload, home)?,
        "view_submission" => filled_in(payload)?,
        // The buttons of coolOps.io, and of others before blocks.
        "interactive_message" => Asks::Stale,
        _ => Asks::Nothing,
    };
    Ok(Interaction { asks, response_url })
}

fn filled_in(payload: Payload) -> Result<Asks, Unreadable> {
    let Some((about, reason)) = payload.view.as_ref().and_then(dialog::submitted) else { return Ok(Asks::Nothing) };
    let by = person(payload.user, payload.team)?;
    Ok(Asks::Submission(Box::new(Submission { about, reason, by })))
}

/// Who did it. In a channel that is shared between workspaces, the payload's team need not be the person's.
fn person(user: Option<User>, team: Option<Team>) -> Result<Person, Unreadable> {
    let missing = |what: &str| Unreadable(format!("the press has no {what}"));
    let user = user.ok_or_else(|| missing("user"))?;
    let team = user.team_id.or(team.map(|t| t.id)).ok_or_else(|| missing("team"))?;
    let name = if user.username.is_empty() { user.name } else { user.username };
    Ok(Person { team: short(&team), user: short(&user.id), name: short(&name) })
}

fn pressed(payload: Payload, home: Option<&str>) -> Result<Asks, Unreadable> {
    let asks = |action: &Action| button::is_ours(&action.block_id) && !button::only_opens(&action.id);
    let Some(action) = payload.actions.into_iter().find(asks) else {
        return Ok(Asks::Nothing);
    };
    let missing = |what: &str| Unreadable(format!("the press has no {what}"));
    let value = action.selected_option.map(|o| o.value).or(action.value).unwrap_or_default();
    let Some(choice) = Choice::read(&value) else { return Ok(Asks::Stale) };
    let channel = payload.channel.map(|c| c.id).or_else(|| payload.container.and_then(|c| c.channel_id));
    let by = person(payload.user, payload.team)?;
    let differ = |a: Option<&str>, b: Option<&str>| a.zip(b).is_some_and(|(a, b)| a != b);
    let foreign = payload
        .message
        .is_some_and(|m| differ(m.app_id.as_deref(), payload.api_app_id.as_deref()) || differ(m.team.as_deref(), home));
    Ok(Asks::Press(Box::new(Press {
        choice,
        by,
        channel: short(&channel.ok_or_else(|| missing("channel"))?),
        foreign,
        trigger: payload.trigger_id,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{BuildId, EnvironmentId};

    fn read(payload: &serde_json::Value) -> Result<Asks, Unreadable> {
        let body = serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap();
        parse(body.as_bytes(), Some("T1")).map(|interaction| interaction.asks)
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
        let Ok(Asks::Press(press)) = read(&payload) else { panic!("not read") };
        let button = Button { build: BuildId(build), environment: EnvironmentId(environment) };
        assert_eq!(press.choice, Choice::Deploy(button));
        assert_eq!(
            (press.by.user.as_str(), press.channel.as_str(), press.by.team.as_str()),
            ("U1", "C1", "T9"),
            "in a shared channel the person's team counts"
        );
        assert!(!press.foreign);
        for (what, value) in [("app_id", "A2"), ("team", "T2")] {
            let mut foreign = payload.clone();
            foreign["message"][what] = value.into();
            assert!(matches!(read(&foreign), Ok(Asks::Press(c)) if c.foreign), "{what}");
        }
        payload["actions"][0]["block_id"] = "deploy.17".into();
        assert!(matches!(read(&payload), Ok(Asks::Press(_))), "a menu's block counts its versions");
        let legacy = serde_json::json!({"type": "interactive_message", "actions": [{"name": "deploy", "type": "button", "value": "4"}]});
        assert!(matches!(read(&legacy), Ok(Asks::Stale)));
        payload["actions"][0]["value"] = "v1.nonsense".into();
        assert!(matches!(read(&payload), Ok(Asks::Stale)), "a value that was never ours is answered");
        payload["actions"][0]["block_id"] = "link".into();
        assert!(matches!(read(&payload), Ok(Asks::Nothing)));
        assert!(parse(b"payload=%7B", None).is_err());
    }
}
