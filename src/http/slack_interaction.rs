//! `POST /slack/interactions`: somebody pressed a button. Verify, decide, append, 200; everything else is derived.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::error::Answer;
use super::slack_request::verified;
use super::{Parts, Web, response_url, traced};
use crate::app::CommandError;
use crate::app::presses::Cancelled;
use crate::domain::ids::DeploymentId;
use crate::slack::button::Choice;
use crate::slack::interaction::{self, Asks, Interaction};
use crate::telemetry::causes;

/// Slack gives up on an answer after 3 s.
const DEADLINE: Duration = Duration::from_millis(2_300);

/// Handles the request.
///
/// # Errors
/// 401 when Slack didn't sign it (nothing is recorded), 400 when it isn't what Slack sends.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<StatusCode, Answer> {
    let signed = verified(&web, request).await?;
    let home = web.home.get().map(String::as_str);
    let Interaction { asks, response_url } =
        interaction::parse(&signed.body, home).map_err(|e| Answer::malformed(e.to_string()))?;
    let answer_to = response_url.as_deref();
    let press = match asks {
        Asks::Press(press) => *press,
        Asks::Nothing => return Ok(StatusCode::OK),
        Asks::Stale => {
            say(&web, answer_to, STALE);
            return Ok(StatusCode::OK);
        }
    };
    // The same bytes again are the same press.
    let id = DeploymentId::of_press(&signed.signature, &signed.timestamp);
    let done = async {
        match press.choice {
            Choice::Deploy(button) => {
                traced::about("deployment.id", id);
                web.app.press(press.request(id, button)).await.map(|_| Cancelled::Yes)
            }
            Choice::Cancel(deployment) => {
                traced::about("deployment.id", deployment);
                web.app.cancel(id, press.cancel(deployment)).await
            }
            Choice::Again(button) => {
                let answer = web.app.chosen_again(press.request(id, button)).await?;
                Ok(answer_with(&web, answer_to, &answer))
            }
            _ if press.foreign => {
                let sentence = crate::domain::deployment::PressRefusal::ForeignMessage.sentence();
                Ok(answer_with(&web, answer_to, &crate::slack::answer::Answer::Nothing(sentence)))
            }
            Choice::Rollback(environment) => {
                let answer = web.app.chosen_rollback(&press.channel, environment).await?;
                Ok(answer_with(&web, answer_to, &answer))
            }
            Choice::Unlock(environment, since) => {
                let answer = web.app.pressed_unlock(&press.channel, (environment, since), press.by).await?;
                Ok(answer_with(&web, answer_to, &answer))
            }
            Choice::Show(project) => {
                let answer = web.app.whereabouts(&press.channel, project).await?.for_everybody();
                Ok(answer_with(&web, answer_to, &answer))
            }
        }
    };
    let done = tokio::time::timeout(DEADLINE, done).await;
    match done.unwrap_or_else(|_| Err(CommandError::Unavailable("the database is too slow".into()))) {
        Ok(Cancelled::Yes | Cancelled::Refused) => {}
        Ok(Cancelled::Unknown) => say(&web, answer_to, STALE),
        Err(CommandError::Unavailable(cause)) => {
            tracing::warn!(details = causes(&*cause), "a press could not be recorded");
            say(&web, answer_to, TRY_AGAIN);
        }
        Err(CommandError::Impossible(cause)) => {
            tracing::error!(details = causes(&*cause), "a press can't be recorded");
            say(&web, answer_to, IMPOSSIBLE);
        }
        Err(CommandError::Refused(never)) => match never {},
    }
    Ok(StatusCode::OK)
}

const TRY_AGAIN: &str = "coolops can't reach its database right now and could not confirm your press. Please try again in a moment; if the message shows it by then, your press was taken.";
const IMPOSSIBLE: &str =
    "coolops could not record your press, and would not if you pressed again. An operator finds the reason in its log.";
const STALE: &str =
    "This button is not one of coolops' (any more), so nothing was started. Newer builds have buttons that work.";

/// How the command is called where nobody has written it.
const COMMAND: &str = "/coolops";

/// Answers a choice through its own address.
fn answer_with(web: &Parts, answer_to: Option<&str>, answer: &crate::slack::answer::Answer) -> Cancelled {
    if let Some(answer) = answer.render(COMMAND) {
        response_url::say(web, answer_to, answer);
    }
    Cancelled::Yes
}

/// Tells the presser something that is not recorded.
fn say(web: &Parts, answer_to: Option<&str>, text: &'static str) {
    response_url::say(web, answer_to, serde_json::json!({ "response_type": "ephemeral", "text": text }));
}
