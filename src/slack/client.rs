//! Slack's Web API through slack-morphism: our own request structs around its client, every answer sorted into what a
//! caller has to do about it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use slack_morphism::errors::SlackClientError;
use slack_morphism::prelude::*;
use tracing::Instrument;

use super::render::{METADATA_TYPE, Metadata, Payload, REPORT_METADATA_TYPE};
use super::shown::{Of, Said, Shown};

/// Pages of 200 messages that a look for a lost message goes back, at most.
const PAGES_MAX: usize = 20;
/// What [`Slack::find`] says when those were not all.
pub const TOO_MUCH: &str = "too_many_messages_to_look_through";
/// Longest wait for an answer. After it the outcome of a post is unknown.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The Web API for one workspace.
pub struct Slack {
    client: SlackHyperClient,
    token: SlackApiToken,
    base: String,
    /// Slack's id of whoever the token is of, once it was asked for.
    own: tokio::sync::OnceCell<String>,
}

/// What a failed call means.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SlackError {
    /// 429: nothing in this scope until then.
    #[error("Slack asks us to wait {0:?}")]
    RateLimited(Duration),
    /// Slack said no and nothing happened; the word is Slack's.
    #[error("Slack refused: {0}")]
    Refused(String),
    /// It is not known whether Slack did it: no answer, a 5xx, or an error that says so.
    #[error("Slack gave no clear answer: {0}")]
    Unclear(String),
}

/// Slack's words after which a call may or may not have happened.
const UNCLEAR: &[&str] =
    &["request_timeout", "service_unavailable", "internal_error", "fatal_error", "team_added_to_org"];

/// A message that Slack holds.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Posted {
    pub channel: String,
    pub ts: String,
}

#[derive(Serialize)]
struct Post<'a> {
    channel: &'a str,
    #[serde(flatten)]
    payload: &'a Payload,
    unfurl_links: bool,
    unfurl_media: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_ts: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reply_broadcast: bool,
}

/// The thread that a message is posted in; none for the channel itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Thread<'a> {
    /// Slack's name for the message under which it is.
    pub of: Option<&'a str>,
    /// It shows in the channel too.
    pub broadcast: bool,
}

#[derive(Serialize)]
struct Update<'a> {
    channel: &'a str,
    ts: &'a str,
    #[serde(flatten)]
    payload: &'a Payload,
}

#[derive(Serialize)]
struct Delete<'a> {
    channel: &'a str,
    ts: &'a str,
}

#[derive(Serialize)]
struct Ephemeral<'a> {
    channel: &'a str,
    user: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct OpenView<'a> {
    trigger_id: &'a str,
    view: &'a SlackView,
}

#[derive(Serialize)]
struct Open<'a> {
    users: &'a str,
}

#[derive(Deserialize)]
struct Opened {
    channel: OpenedChannel,
}

#[derive(Deserialize)]
struct OpenedChannel {
    id: String,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    messages: Vec<HistoryMessage>,
    response_metadata: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next_cursor: String,
}

#[derive(Deserialize)]
struct HistoryMessage {
    ts: String,
    /// Who posted it; of an app, its bot.
    user: Option<String>,
    /// Null, or not there, where a message has none.
    text: Option<String>,
    #[serde(default)]
    blocks: serde_json::Value,
    #[serde(default)]
    attachments: serde_json::Value,
    metadata: Option<HistoryMetadata>,
    /// `tombstone` where a deleted message has replies.
    #[serde(default)]
    subtype: String,
}

#[derive(Deserialize)]
struct HistoryMetadata {
    event_type: String,
    #[serde(default)]
    event_payload: serde_json::Value,
}

impl HistoryMetadata {
    /// What the message is, when it is one of ours.
    fn of(&self) -> Option<Of> {
        let id = |name| self.event_payload.get(name).and_then(serde_json::Value::as_str);
        match self.event_type.as_str() {
            METADATA_TYPE => Some(Of::Build(id("build_id")?.parse().ok()?)),
            REPORT_METADATA_TYPE => Some(Of::Report(id("report_id")?.parse().ok()?)),
            _ => None,
        }
    }
}

/// Who the token belongs to.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Identity {
    pub team: String,
    pub team_id: String,
    pub user: String,
    pub user_id: String,
}

/// A channel as far as `doctor` asks.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Channel {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub is_member: bool,
    #[serde(default)]
    pub is_archived: bool,
}

#[derive(Deserialize)]
struct GroupMembers {
    #[serde(default)]
    users: Vec<String>,
}

/// A user group.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct UserGroup {
    pub id: String,
    pub handle: String,
}

#[derive(Deserialize)]
struct UserGroups {
    #[serde(default)]
    usergroups: Vec<UserGroup>,
}

#[derive(Deserialize)]
struct UserInfo {
    user: UserFlags,
}

#[derive(Deserialize)]
struct UserFlags {
    #[serde(default)]
    name: String,
    #[serde(default)]
    is_restricted: bool,
    #[serde(default)]
    is_ultra_restricted: bool,
    #[serde(default)]
    is_bot: bool,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct ChannelInfo {
    channel: Channel,
}

impl Slack {
    /// A client for the API at `base` (`https://slack.com/api`, or a stand-in's).
    ///
    /// # Errors
    /// When the machine has no root certificates.
    pub fn new(base: &str, token: &SecretString) -> std::io::Result<Self> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        let base = base.trim_end_matches('/').to_owned();
        let client = SlackClient::new(SlackClientHyperConnector::with_connector(connector).with_slack_api_url(&base));
        Ok(Self {
            client,
            token: SlackApiToken::new(token.expose_secret().to_owned().into()),
            base,
            own: tokio::sync::OnceCell::new(),
        })
    }

    /// The API's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn post_json<A: for<'de> Deserialize<'de> + Send>(
        &self,
        method: &str,
        request: &(impl Serialize + Send + Sync),
    ) -> Result<A, SlackError> {
        let session = self.client.open_session(&self.token);
        let call = tokio::time::timeout(TIMEOUT, session.http_session_api.http_post(method, request, None));
        counted(method, settle(call.instrument(span(method)).await))
    }

    async fn get<A: for<'de> Deserialize<'de> + Send>(
        &self,
        method: &str,
        params: &[(&str, &str)],
    ) -> Result<A, SlackError> {
        let session = self.client.open_session(&self.token);
        let params: Vec<(&str, Option<&str>)> = params.iter().map(|(name, value)| (*name, Some(*value))).collect();
        let call = tokio::time::timeout(TIMEOUT, session.http_session_api.http_get(method, &params, None));
        counted(method, settle(call.instrument(span(method)).await))
    }

    /// `chat.postMessage`. The answer's channel is the one to keep.
    ///
    /// # Errors
    /// See [`SlackError`]; after [`SlackError::Unclear`] the message may be there.
    pub async fn post(&self, channel: &str, payload: &Payload) -> Result<Posted, SlackError> {
        self.post_in(channel, payload, Thread::default()).await
    }

    /// `chat.postMessage` in a thread, or wherever [`Thread`] says.
    ///
    /// # Errors
    /// See [`SlackError`]; after [`SlackError::Unclear`] the message may be there.
    pub async fn post_in(
        &self,
        channel: &str,
        payload: &Payload,
        Thread { of, broadcast }: Thread<'_>,
    ) -> Result<Posted, SlackError> {
        let (unfurl_links, unfurl_media) = (false, false);
        let post = Post { channel, payload, unfurl_links, unfurl_media, thread_ts: of, reply_broadcast: broadcast };
        self.post_json("chat.postMessage", &post).await
    }

    /// `conversations.open`: the channel of the direct messages with a person. Asked again it is the same one.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn direct(&self, user: &str) -> Result<String, SlackError> {
        self.post_json::<Opened>("conversations.open", &Open { users: user }).await.map(|opened| opened.channel.id)
    }

    /// `chat.update`, with text, blocks and attachments together: what is left out would be kept or cleared.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn update(&self, channel: &str, ts: &str, payload: &Payload) -> Result<Posted, SlackError> {
        self.post_json("chat.update", &Update { channel, ts, payload }).await
    }

    /// `chat.delete`: a message of ours that should not be there.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn delete(&self, channel: &str, ts: &str) -> Result<(), SlackError> {
        self.post_json::<Nothing>("chat.delete", &Delete { channel, ts }).await.map(|_| ())
    }

    /// `chat.postEphemeral`: a note that only one person sees.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn whisper(&self, channel: &str, user: &str, text: &str) -> Result<(), SlackError> {
        self.post_json::<Nothing>("chat.postEphemeral", &Ephemeral { channel, user, text }).await.map(|_| ())
    }

    /// `views.open`: a dialog for whoever pressed, within three seconds of the press.
    ///
    /// # Errors
    /// See [`SlackError`]; `expired_trigger_id` when it took longer.
    pub async fn open_view(&self, trigger_id: &str, view: &SlackView) -> Result<(), SlackError> {
        self.post_json::<Nothing>("views.open", &OpenView { trigger_id, view }).await.map(|_| ())
    }

    /// Looks for a message of ours between two times, by its metadata, in a channel or in a thread there.
    ///
    /// # Errors
    /// See [`SlackError`]; also when there is more to look through than is reasonable: it may be there all the same.
    pub async fn find(
        &self,
        channel: &str,
        thread: Option<&str>,
        metadata: &Metadata,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<String>, SlackError> {
        let own = self.own().await?;
        let is = serde_json::to_value(&metadata.event_payload).unwrap_or_default();
        let (oldest, latest) = (format!("{}.000000", since.timestamp()), format!("{}.000000", until.timestamp()));
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let mut params = vec![
                ("channel", channel),
                ("limit", "200"),
                ("include_all_metadata", "true"),
                ("oldest", oldest.as_str()),
            ];
            params.push(("latest", latest.as_str()));
            if !cursor.is_empty() {
                params.push(("cursor", cursor.as_str()));
            }
            let method = if thread.is_some() { "conversations.replies" } else { "conversations.history" };
            params.extend(thread.map(|ts| ("ts", ts)));
            let history: History = self.get(method, &params).await?;
            // What else it says of itself is not what it is known by.
            let same = |given: &serde_json::Value| {
                is.as_object().is_some_and(|is| is.iter().all(|(name, value)| given.get(name) == Some(value)))
            };
            let ours = |m: &HistoryMessage| {
                let found = m.metadata.as_ref().filter(|_| m.user.as_deref() == Some(own));
                found.is_some_and(|d| d.event_type == metadata.event_type && same(&d.event_payload))
            };
            if let Some(found) = history.messages.into_iter().find(ours) {
                return Ok(Some(found.ts));
            }
            cursor = history.response_metadata.map(|m| m.next_cursor).unwrap_or_default();
            if cursor.is_empty() {
                return Ok(None);
            }
        }
        Err(SlackError::Refused(TOO_MUCH.to_owned()))
    }

    /// A page of what a channel, or a thread there, shows since a time; and where the next page begins, if there is one. A
    /// thread shows its first message too, where that is there.
    ///
    /// # Errors
    /// See [`SlackError`]; `thread_not_found` where there is no such thread any more.
    pub async fn shown(
        &self,
        channel: &str,
        thread: Option<&str>,
        since: DateTime<Utc>,
        from: &str,
    ) -> Result<(Vec<Shown>, Option<String>), SlackError> {
        let oldest = format!("{}.000000", since.timestamp());
        let mut params =
            vec![("channel", channel), ("limit", "200"), ("include_all_metadata", "true"), ("oldest", oldest.as_str())];
        if !from.is_empty() {
            params.push(("cursor", from));
        }
        let method = if thread.is_some() { "conversations.replies" } else { "conversations.history" };
        params.extend(thread.map(|ts| ("ts", ts)));
        let own = self.own().await?;
        let history: History = self.get(method, &params).await?;
        let there = history.messages.into_iter().filter(|message| message.subtype != "tombstone");
        let shown = there.map(|message| Shown {
            of: message.metadata.and_then(|metadata| metadata.of()),
            is_by_us: message.user.as_deref() == Some(own),
            ts: message.ts,
            said: Said::new(message.text.unwrap_or_default(), &message.blocks, &message.attachments),
        });
        let next = history.response_metadata.map(|m| m.next_cursor).filter(|next| !next.is_empty());
        Ok((shown.collect(), next))
    }

    /// Whether a channel's history may be read: one look at its end.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn may_read(&self, channel: &str) -> Result<(), SlackError> {
        self.get::<History>("conversations.history", &[("channel", channel), ("limit", "1")]).await.map(|_| ())
    }

    /// Slack's id of whoever the token is of: other apps may mark messages as ours are, as another installation does.
    async fn own(&self) -> Result<&str, SlackError> {
        self.own.get_or_try_init(async || self.identity().await.map(|who| who.user_id)).await.map(String::as_str)
    }

    /// `auth.test`: whose token this is.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn identity(&self) -> Result<Identity, SlackError> {
        self.post_json("auth.test", &serde_json::json!({})).await
    }

    /// `usergroups.users.list`: who is in a user group.
    ///
    /// # Errors
    /// See [`SlackError`]; `no_such_subteam` when it is gone.
    pub async fn members(&self, group: &str) -> Result<Vec<String>, SlackError> {
        self.get::<GroupMembers>("usergroups.users.list", &[("usergroup", group)]).await.map(|a| a.users)
    }

    /// `usergroups.list`: the user groups that there are.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn user_groups(&self) -> Result<Vec<UserGroup>, SlackError> {
        self.get::<UserGroups>("usergroups.list", &[]).await.map(|a| a.usergroups)
    }

    /// `users.info`: what somebody is called.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn name(&self, user: &str) -> Result<String, SlackError> {
        self.get::<UserInfo>("users.info", &[("user", user)]).await.map(|a| a.user.name)
    }

    /// `users.info`: whether somebody is a guest or a bot, or has left the workspace.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn is_guest(&self, user: &str) -> Result<bool, SlackError> {
        let user = self.get::<UserInfo>("users.info", &[("user", user)]).await?.user;
        Ok(user.is_restricted || user.is_ultra_restricted || user.is_bot || user.deleted)
    }

    /// `conversations.info`.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn channel(&self, id: &str) -> Result<Channel, SlackError> {
        self.get::<ChannelInfo>("conversations.info", &[("channel", id)]).await.map(|a| a.channel)
    }
}

/// It is about the build or the press of the job that it is in.
fn span(method: &str) -> tracing::Span {
    tracing::debug_span!("slack", slack.method = method)
}

fn counted<A>(method: &str, answer: Result<A, SlackError>) -> Result<A, SlackError> {
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(SlackError::RateLimited(_)) => "rate_limited",
        Err(SlackError::Refused(_)) => "refused",
        Err(SlackError::Unclear(_)) => "unclear",
    };
    metrics::counter!("coolops_slack_calls_total", "method" => method.to_owned(), "outcome" => outcome).increment(1);
    answer
}

/// Slack asks for a minute at most; what asks for more is something on the way, and is asked again.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

fn settle<A>(answer: Result<Result<A, SlackClientError>, tokio::time::error::Elapsed>) -> Result<A, SlackError> {
    match answer {
        Err(_) => Err(SlackError::Unclear(format!("no answer within {} s", TIMEOUT.as_secs()))),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(SlackClientError::RateLimitError(e))) => {
            Err(SlackError::RateLimited(e.retry_after.unwrap_or(Duration::from_secs(30)).min(RETRY_AFTER_MAX)))
        }
        Ok(Err(SlackClientError::ApiError(e))) if e.code == "ratelimited" || e.code == "rate_limited" => {
            Err(SlackError::RateLimited(Duration::from_secs(30)))
        }
        Ok(Err(SlackClientError::ApiError(e))) if UNCLEAR.contains(&e.code.as_str()) => {
            Err(SlackError::Unclear(e.code))
        }
        Ok(Err(SlackClientError::ApiError(e))) => {
            let details = e.errors.unwrap_or_default();
            Err(SlackError::Refused(if details.is_empty() {
                e.code
            } else {
                format!("{} ({})", e.code, details.join("; "))
            }))
        }
        Ok(Err(SlackClientError::HttpError(e))) => {
            Err(SlackError::Unclear(format!("HTTP status {}", e.status_code.as_u16())))
        }
        // The driver's own words may quote the request with its token; only their kind is kept.
        Ok(Err(SlackClientError::HttpProtocolError(_))) => Err(SlackError::Unclear("the connection failed".to_owned())),
        Ok(Err(SlackClientError::ProtocolError(_))) => {
            Err(SlackError::Unclear("an answer that can't be read".to_owned()))
        }
        Ok(Err(_)) => Err(SlackError::Unclear("the client failed".to_owned())),
    }
}
