//! What Slack said last of people and of groups.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Store;

/// What Slack said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlackFact {
    /// Who is in a group.
    Members(Vec<String>),
    /// Whether somebody is a guest or a bot, or has left.
    Guest(bool),
    /// Which workspace the app is in.
    Home(String),
}

/// What Slack said last of people and of groups.
#[derive(Clone, Copy)]
pub struct People<'a>(pub(super) &'a Store);

impl Store {
    /// What Slack said last of people and of groups.
    pub fn people(&self) -> People<'_> {
        People(self)
    }
}

impl People<'_> {
    /// What Slack said last of a user or a group, and when.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(self, id: &str) -> Result<Option<(SlackFact, DateTime<Utc>)>, sqlx::Error> {
        let row = sqlx::query!("select doc, asked_at from slack_person where id = $1", id);
        let row = row.fetch_optional(&self.0.pool).await?;
        // What can't be read is asked for again.
        Ok(row.and_then(|r| Some((serde_json::from_value(r.doc).ok()?, r.asked_at))))
    }

    /// Slack said this just now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn put(self, id: &str, said: &SlackFact) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_person (id, doc, asked_at) values ($1, $2, coolops_now())
             on conflict (id) do update set doc = excluded.doc, asked_at = excluded.asked_at",
            id,
            serde_json::to_value(said).unwrap_or_default()
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }
}
