//! `POST /slack/interactions`: somebody pressed a button. Verify, decide, append, 200; everything else is derived.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::error::HttpError;
use super::slack_request::verified;
use super::{Parts, Web, response_url, traced};
use crate::app::CommandError;
use crate::app::dialogs::Asked;
use crate::app::presses::Cancelled;
use crate::domain::ids::DeploymentId;
use crate::domain::names::REASON_MAX;
use crate::slack::button::Choice;
use crate::slack::dialog::{self, About};
use crate::slack::interaction::{self, Asks, Interaction, Press, Submission};
use crate::telemetry::causes;

/// Slack gives up on an answer after 3 s.
const DEADLINE: Duration = Duration::from_millis(2_300);

/// What is left of that when Slack is not waited for any longer: somebody has to be told so.
const MARGIN: Duration = Duration::from_millis(200);

/// Handles the request.
///
/// # Errors
/// 401 when Slack didn't sign it (nothing is recorded), 400 when it isn't what Slack sends.
pub async fn handle(State(web): State<Web>, request: Request) -> Result<Response, HttpError> {
    let signed = verified(&web, request).await?;
    let home = web.home.get().map(String::as_str);
    let Interaction { asks, response_url } =
        interaction::parse(&signed.body, home).map_err(|e| HttpError::malformed(e.to_string()))?;
    let answer_to = response_url.as_deref();
    // The same bytes again are the same press.
    let id = DeploymentId::of_press(&signed.signature, &signed.timestamp);
    match asks {
        Asks::Press(press) => Box::pin(pressed(&web, id, answer_to, *press)).await,
        Asks::Submission(submission) => return Ok(filled_in(&web, id, *submission).await),
        Asks::Nothing => {}
        Asks::Stale => say(&web, answer_to, STALE),
    }
    Ok(StatusCode::OK.into_response())
}

/// A dialog was filled in: an empty answer closes it, a problem is shown beside what was written, and whoever agreed to the end of
/// what waited is asked anew where it has started (docs.slack.dev, "view_submission").
async fn filled_in(web: &Web, id: DeploymentId, submission: Submission) -> Response {
    let problem = |text: &str| {
        let errors = serde_json::json!({ dialog::REASON: text });
        Json(serde_json::json!({ "response_action": "errors", "errors": errors })).into_response()
    };
    if !dialog::fits(submission.reason.as_deref()) {
        return problem(&format!("That is too long: {REASON_MAX} characters at most."));
    }
    traced::about("deployment.id", submission.about.deployment);
    let (about, command) = (submission.about.clone(), submission.cancel());
    match in_time(web.app.cancel(id, command)).await {
        Ok(Cancelled::Yes | Cancelled::Refused) => StatusCode::OK.into_response(),
        Ok(Cancelled::Unknown) => problem("There is no such deployment any more."),
        Ok(Cancelled::Started(deployment)) => {
            let view = dialog::cancel_running(&deployment, about);
            Json(serde_json::json!({ "response_action": "update", "view": view })).into_response()
        }
        Err(sentence) => problem(sentence),
    }
}

/// What was done before Slack gives up, or what the presser is told instead.
async fn in_time<T>(done: impl Future<Output = Result<T, CommandError<Infallible>>>) -> Result<T, &'static str> {
    let done = tokio::time::timeout(DEADLINE, done).await;
    match done.unwrap_or_else(|_| Err(CommandError::Unavailable("the database is too slow".into()))) {
        Ok(done) => Ok(done),
        Err(CommandError::Unavailable(cause)) => {
            tracing::warn!(details = causes(&*cause), "a press could not be recorded");
            Err(TRY_AGAIN)
        }
        Err(CommandError::Impossible(cause)) => {
            tracing::error!(details = causes(&*cause), "a press can't be recorded");
            Err(IMPOSSIBLE)
        }
        Err(CommandError::Refused(never)) => match never {},
    }
}

/// What became of a press.
enum Pressed {
    /// It was recorded, or answered.
    Seen,
    /// What it is about is not there.
    Stale,
}

impl From<Cancelled> for Pressed {
    fn from(cancelled: Cancelled) -> Self {
        match cancelled {
            Cancelled::Yes | Cancelled::Refused => Self::Seen,
            Cancelled::Unknown | Cancelled::Started(_) => Self::Stale,
        }
    }
}

/// Asks in a dialog why a deployment shall end; whoever can't end it hears so at once.
async fn ask_why(
    web: &Web,
    id: DeploymentId,
    answer_to: Option<&str>,
    press: Press,
    deployment: DeploymentId,
) -> Result<Pressed, CommandError<Infallible>> {
    let begun = Instant::now();
    let trigger = press.trigger.clone().unwrap_or_default();
    let command = press.cancel(deployment);
    let there = match web.app.to_be_cancelled(&command).await? {
        None => return Ok(Pressed::Stale),
        Some(Asked::Refused(of, refusal)) => {
            return web.app.not_cancelled(id, of, command, refusal).await.map(Pressed::from);
        }
        Some(Asked::Why(there)) => there,
    };
    let waits = there.state().has_not_started();
    let about = About { deployment, channel: command.channel, foreign: command.foreign, waits };
    // Whoever asked Slack who somebody is has waited already.
    let patience = DEADLINE.saturating_sub(begun.elapsed() + MARGIN);
    if let Err(why) = web.app.open_dialog(&trigger, &dialog::cancel(&there, &about), patience).await {
        tracing::warn!(error = why, "Slack does not open a dialog");
        let place = there.environment_name;
        let sentence = format!(
            "Slack did not open the dialog, so nothing was cancelled. Press again, or write: {COMMAND} cancel {place} because …"
        );
        answer_with(web, answer_to, &crate::slack::answer::Answer::Nothing(sentence));
    }
    Ok(Pressed::Seen)
}

/// Somebody pressed a button, or chose from a menu.
async fn pressed(web: &Web, id: DeploymentId, answer_to: Option<&str>, press: Press) {
    let done = async {
        let answer = match press.choice {
            Choice::Deploy(button) => {
                traced::about("deployment.id", id);
                web.app.press(press.request(id, button)).await?;
                return Ok(Pressed::Seen);
            }
            Choice::Cancel(deployment) => {
                traced::about("deployment.id", deployment);
                return web.app.cancel(id, press.cancel(deployment)).await.map(Pressed::from);
            }
            Choice::AskCancel(deployment) => {
                traced::about("deployment.id", deployment);
                return ask_why(web, id, answer_to, press, deployment).await;
            }
            Choice::Again(button) => web.app.chosen_again(press.request(id, button)).await?,
            _ if press.foreign => crate::slack::answer::Answer::Nothing(
                crate::domain::deployment::PressRefusal::ForeignMessage.sentence(),
            ),
            Choice::Rollback(environment) => web.app.chosen_rollback(&press.channel, environment).await?,
            Choice::Unlock(lockable, since) => {
                web.app.pressed_unlock(&press.channel, (lockable, since), press.by).await?
            }
            Choice::Keep(lockable, since) => web.app.pressed_keep(&press.channel, (lockable, since), press.by).await?,
            Choice::Show(project) => web.app.whereabouts(&press.channel, project).await?.for_everybody(),
        };
        answer_with(web, answer_to, &answer);
        Ok(Pressed::Seen)
    };
    match in_time(done).await {
        Ok(Pressed::Seen) => {}
        Ok(Pressed::Stale) => say(web, answer_to, STALE),
        Err(sentence) => say(web, answer_to, sentence),
    }
}

const TRY_AGAIN: &str = "coolops can't reach its database right now and could not confirm your press. Please try again in a moment; if the message shows it by then, your press was taken.";
const IMPOSSIBLE: &str =
    "coolops could not record your press, and would not if you pressed again. An operator finds the reason in its log.";
const STALE: &str =
    "This button is not one of coolops' (any more), so nothing was started. Newer builds have buttons that work.";

/// How the command is called where nobody has written it.
const COMMAND: &str = "/coolops";

/// Answers a choice through its own address.
fn answer_with(web: &Parts, answer_to: Option<&str>, answer: &crate::slack::answer::Answer) {
    if let Some(answer) = answer.render(COMMAND) {
        response_url::say(web, answer_to, answer);
    }
}

/// Tells the presser something that is not recorded.
fn say(web: &Parts, answer_to: Option<&str>, text: &'static str) {
    response_url::say(web, answer_to, serde_json::json!({ "response_type": "ephemeral", "text": text }));
}
