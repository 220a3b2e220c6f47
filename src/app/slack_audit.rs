//! What Slack shows of builds, held against what it was sent; and how it is made right.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::App;
use crate::domain::ids::BuildId;
use crate::domain::react::Task;
use crate::slack::client::{Shown, Slack, SlackError, TOO_MUCH};
use crate::store::limits::Pace;

/// Pages of a channel's history that are looked through, of 200 messages each.
const PAGES_MAX: usize = 50;

/// In what way a message is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// Slack does not show it any more.
    Missing,
    /// There is a second one of its build.
    Doubled,
    /// It says something else than what was sent last.
    Stale,
    /// It is marked as ours, and its build is not known here: another installation's, or of a history that was given up.
    NotOurs,
}

impl Wrong {
    /// The word for it in counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Stale => "stale",
            Self::NotOurs => "not_ours",
        }
    }
}

/// A message that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// In what way.
    pub wrong: Wrong,
    /// Its build.
    pub build: BuildId,
    /// The channel.
    pub channel: String,
    /// Slack's name for it there.
    pub ts: String,
}

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub enum NoAudit {
    /// Slack says no, or nothing.
    #[error("{channel}: {why}")]
    Slack {
        /// Which channel was asked for.
        channel: String,
        /// Its word.
        #[source]
        why: SlackError,
    },
    /// The database.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

/// A text without what Slack may write in another way: links that it found itself, names of emoji, spaces and signs.
fn bare(text: &str) -> String {
    let mut rest = text;
    let mut labels = String::new();
    while let Some((before, link)) = rest.split_once('<') {
        labels.push_str(before);
        let Some((link, after)) = link.split_once('>') else { break };
        labels.push_str(link.split_once('|').map_or(link, |(_, label)| label));
        rest = after;
    }
    labels.push_str(rest);
    let is_emoji = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_+-".contains(c))
    };
    // Every second part of a text that is cut at its colons may be the name of an emoji.
    let mut parts: Vec<&str> = labels.split(':').collect();
    let last = parts.len().saturating_sub(1);
    for (n, part) in parts.iter_mut().enumerate() {
        if n > 0 && n < last && is_emoji(part) {
            *part = "";
        }
    }
    parts.concat().chars().filter(|c| c.is_alphanumeric()).collect()
}

impl App {
    /// Reads back what Slack shows in some channels of builds since a time, and tells what is not as it was sent. Each
    /// page waits for a turn in a scope, where one is given with its pace.
    ///
    /// # Errors
    /// See [`NoAudit`].
    pub async fn audit_slack(
        &self,
        slack: &Slack,
        channels: &[String],
        since: DateTime<Utc>,
        turns: Option<(&str, Pace)>,
    ) -> Result<Vec<Found>, NoAudit> {
        let mut found = Vec::new();
        for channel in channels {
            let refused = |why| NoAudit::Slack { channel: channel.clone(), why };
            // What is posted or edited meanwhile is not judged.
            let before = self.store.messages().live_since(channel, since).await?;
            let (mut shown, mut from) = (Vec::new(), Some(String::new()));
            for _ in 0..PAGES_MAX {
                let Some(at) = from.take() else { break };
                if let Some((scope, pace)) = turns {
                    tokio::time::sleep(self.store.paces().reserve_turn(scope, pace).await?).await;
                }
                let (page, next) = slack.builds_in(channel, since, &at).await.map_err(refused)?;
                shown.extend(page);
                from = next;
            }
            if from.is_some() {
                return Err(refused(SlackError::Refused(TOO_MUCH.to_owned())));
            }
            let mut sent = self.store.messages().live_since(channel, since).await?;
            sent.retain(|now| before.contains(now));
            let by_build: HashMap<BuildId, &str> = sent.iter().map(|s| (s.build, s.ts.as_str())).collect();
            let there: HashSet<&str> = shown.iter().map(|shown| shown.ts.as_str()).collect();
            let tell = |wrong, build, ts: &str| Found { wrong, build, channel: channel.clone(), ts: ts.to_owned() };
            found.extend(
                sent.iter()
                    .filter(|sent| !there.contains(sent.ts.as_str()))
                    .map(|sent| tell(Wrong::Missing, sent.build, &sent.ts)),
            );
            for Shown { build, ts, text } in &shown {
                let is_it = by_build.get(build).is_some_and(|own| own == ts);
                if is_it {
                    let told = sent.iter().find(|sent| sent.build == *build).and_then(|sent| sent.text.as_deref());
                    if told.is_some_and(|told| bare(told) != bare(text)) {
                        found.push(tell(Wrong::Stale, *build, ts));
                    }
                } else if self.store.directory().build(*build).await?.is_none() {
                    found.push(tell(Wrong::NotOurs, *build, ts));
                } else if self
                    .store
                    .messages()
                    .get(*build)
                    .await?
                    .is_some_and(|own| own.ts.is_some_and(|own| own != *ts))
                {
                    found.push(tell(Wrong::Doubled, *build, ts));
                }
            }
        }
        Ok(found)
    }

    /// Has what was found made right from the log, by whoever syncs messages: an edit, a new post (once in a build's life),
    /// the deletion of a second one. What is not ours is left alone. Tells how many are on their way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn repair_slack(&self, found: &[Found]) -> Result<usize, sqlx::Error> {
        let mut wanted = 0;
        for one in found {
            match one.wrong {
                Wrong::NotOurs => continue,
                Wrong::Doubled => self.store.messages().note_stray(one.build, &one.channel, &one.ts).await?,
                Wrong::Missing | Wrong::Stale => {}
            }
            self.store.messages().doubted(one.build).await?;
            self.store.jobs().want(Task::SyncMessage(one.build)).await?;
            wanted += 1;
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn what_slack_writes_in_another_way_is_the_same() {
        for (sent, shown) in [
            ("see www.example.com/x", "see <http://www.example.com/x|www.example.com/x>"),
            ("see https://example.com", "see <https://example.com>"),
            ("\u{1f680} Api is there", ":rocket: Api is there"),
            ("a &amp; b", "a &amp;  b"),
        ] {
            assert_eq!(bare(sent), bare(shown), "{sent}");
        }
        assert_ne!(bare("Api: running"), bare("Api: succeeded"));
    }
}
