//! The dialog that asks why a deployment shall end: what Slack is asked to open, and what comes back from it. Pure.
//!
//! **Invariant:** what the dialog is about goes to Slack with it and comes back signed; it names things by their ids and
//! nothing that is secret.

use serde::{Deserialize, Serialize};
use slack_morphism::prelude::*;

use super::line::stop_words;
use super::mrkdwn;
use super::render::plain;
use crate::domain::deployment::Deployment;
use crate::domain::ids::DeploymentId;
use crate::domain::names::REASON_MAX;

/// What the dialog is known again by.
const CALLBACK: &str = "cancel";
/// The block that the reason is written in, and its element.
pub const REASON: &str = "reason";

/// What a dialog is about: where it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "plain facts of the press")]
pub struct About {
    pub deployment: DeploymentId,
    pub channel: String,
    pub foreign: bool,
    /// It had not started then: to end it is less than to end what runs.
    #[serde(default)]
    pub waits: bool,
}

/// The dialog once more, for whoever agreed to the end of what waited then and runs by now.
pub fn cancel_running(deployment: &Deployment, about: About) -> SlackView {
    ask("It has started meanwhile. ", deployment, &About { waits: false, ..about })
}

/// The dialog that asks whether a deployment shall end, and why.
pub fn cancel(deployment: &Deployment, about: &About) -> SlackView {
    ask("", deployment, about)
}

fn ask(first: &str, deployment: &Deployment, about: &About) -> SlackView {
    let build = mrkdwn::cut(&deployment.build_name, 100, 100);
    let environment = mrkdwn::cut(&deployment.environment_name, 60, 60);
    let what = format!("{first}{build} on {environment}: {}", stop_words(deployment));
    let reason = SlackBlockPlainTextInputElement::new()
        .with_action_id(REASON.into())
        .with_max_length(REASON_MAX as u64)
        .with_placeholder(plain("Shown in the line, and to who had it deployed".to_owned()));
    let blocks = vec![
        SlackSectionBlock::new().with_text(SlackBlockText::Plain(SlackBlockPlainText::new(what))).into(),
        SlackInputBlock::new(plain("Why?".to_owned()), reason.into())
            .with_block_id(REASON.into())
            .with_optional(true)
            .into(),
    ];
    // Slack: 24 characters in a dialog's title and buttons, 3,000 in what goes with it.
    SlackView::Modal(
        SlackModalView::new(plain("Cancel it?".to_owned()), blocks)
            .with_submit(plain("Cancel it".to_owned()))
            .with_close(plain("Let it be".to_owned()))
            .with_callback_id(CALLBACK.into())
            .with_private_metadata(serde_json::to_string(about).expect("ids and a channel are plain data")),
    )
}

/// What was submitted: the reason, and what the dialog is about. `None` when it was never ours.
pub fn submitted(view: &Submitted) -> Option<(About, Option<String>)> {
    if view.callback_id != CALLBACK {
        return None;
    }
    let about = serde_json::from_str(&view.private_metadata).ok()?;
    let reason = view.state.values.get(REASON).and_then(|block| block.get(REASON)).and_then(|e| e.value.clone());
    Some((about, reason.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())))
}

/// Whether a reason fits; a client that nobody here wrote may send a longer one.
pub fn fits(reason: Option<&str>) -> bool {
    reason.is_none_or(|text| text.chars().count() <= REASON_MAX)
}

/// A dialog as Slack sends it back (docs.slack.dev, "view_submission payload").
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Submitted {
    #[serde(default)]
    pub callback_id: String,
    #[serde(default)]
    pub private_metadata: String,
    #[serde(default)]
    pub state: Written,
}

/// What was filled in.
#[derive(Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Written {
    #[serde(default)]
    pub values: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Filled>>,
}

/// An element that was filled in.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Filled {
    pub value: Option<String>,
}
