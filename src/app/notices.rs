//! What Slack tells of the app, its token and its channels.
//!
//! A notice only changes when something is tried again, so one that comes twice, late or never does no harm.

use super::App;
use crate::slack::event::Notice;

impl App {
    /// Takes a notice in.
    ///
    /// # Errors
    /// When the database does not answer; Slack tells it again.
    pub async fn noticed(&self, notice: &Notice) -> Result<(), sqlx::Error> {
        match notice {
            Notice::Removed(word) => {
                tracing::warn!(
                    slack.error = word,
                    "Slack took the app's access away; nothing is sent until it is given back"
                );
                self.store.paces().pause(word).await
            }
            Notice::ChannelOpen(channel) => self.store.messages().retry_channel(channel).await,
            Notice::ChannelClosed(channel, word) => {
                tracing::warn!(
                    channel,
                    slack.error = word,
                    "a channel can't be posted to any more; its deployments go on"
                );
                Ok(())
            }
            Notice::Challenge(_) | Notice::Nothing => Ok(()),
        }
    }
}
