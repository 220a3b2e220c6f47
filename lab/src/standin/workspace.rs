//! The workspace as data: people, channels, messages, what is seen by whom, and planned misbehaviour.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::dialog::{Dialog, Trigger};

/// The workspace's id.
pub const TEAM: &str = "T0DEMO0001";
/// The app's id.
pub const APP: &str = "A0DEMO0001";
/// The bot's user id.
pub const BOT: &str = "U0COOLOPS1";

/// The scopes that our manifest asks for.
const SCOPES: &[&str] = &[
    "chat:write",
    "channels:history",
    "channels:read",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "commands",
    "usergroups:read",
    "users:read",
];

/// Everything there is.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "plain data")]
pub struct Workspace {
    pub users: Vec<User>,
    pub groups: Vec<UserGroup>,
    pub channels: Vec<Channel>,
    #[serde(skip)]
    pub calls: Vec<Call>,
    #[serde(skip)]
    pub faults: Vec<Planned>,
    /// What Slack would hold against us: calls before their time.
    #[serde(skip)]
    pub breaches: Vec<String>,
    /// What the app was allowed to do, as in the manifest that README gives.
    #[serde(skip)]
    pub scopes: Vec<String>,
    /// Whether posts into one channel are counted. A test of ours that announces hundreds of builds at once isn't about
    /// that.
    #[serde(skip)]
    pub counts_posts: bool,
    /// Dialogs that people see.
    pub dialogs: Vec<Dialog>,
    #[serde(skip)]
    pub(super) triggers: Vec<Trigger>,
    #[serde(skip)]
    pub(super) response_urls: Vec<ResponseUrl>,
    #[serde(skip)]
    closed: Vec<Closed>,
    #[serde(skip)]
    clock: u64,
    /// How far its clock is ahead of this machine's.
    #[serde(skip)]
    pub ahead: Duration,
    /// How long it has been there in a world whose time is simulated, and stands between two moves.
    #[serde(skip)]
    pub simulated: Option<Duration>,
    /// When it began, by both clocks.
    #[serde(skip)]
    began: (Instant, Duration),
}

/// A method that a 429 closed.
#[derive(Debug)]
struct Closed {
    method: String,
    since: Instant,
    until: Instant,
}

/// Calls that were sent before the 429 was read may still come for so long.
const ON_ITS_WAY: Duration = Duration::from_millis(200);

/// A person, or the bot.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "plain data")]
pub struct User {
    pub id: String,
    pub name: String,
    pub real_name: String,
    /// A guest, with access to some channels alone.
    pub is_guest: bool,
    /// Deactivated: out of the workspace.
    pub has_left: bool,
}

/// A group of people.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "plain data")]
pub struct UserGroup {
    pub id: String,
    pub handle: String,
    /// Their ids.
    pub users: Vec<String>,
}

/// A channel, or the direct messages between the bot and a person.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "plain data")]
pub struct Channel {
    pub id: String,
    pub name: String,
    pub is_member: bool,
    pub is_archived: bool,
    /// The person, for direct messages.
    pub with: Option<String>,
    pub messages: Vec<Message>,
    #[serde(skip)]
    posts: Posts,
}

/// How fast a channel took posts lately. Slack takes "one per second per channel" and lets short bursts pass; how long
/// those may be isn't documented.
#[derive(Debug)]
struct Posts {
    /// How many more it takes at once.
    left: f64,
    since: Instant,
}

/// So many posts a channel takes at once, then one a second.
const BURST: f64 = 20.0;

impl Default for Posts {
    fn default() -> Self {
        Self { left: BURST, since: Instant::now() }
    }
}

impl Channel {
    fn new(id: &str, name: &str, with: Option<&str>) -> Self {
        let (id, name, with) = (id.to_owned(), name.to_owned(), with.map(Into::into));
        Self { id, name, is_member: true, is_archived: false, with, messages: Vec::new(), posts: Posts::default() }
    }

    /// Counts a post; none when there were too many.
    pub(super) fn takes_a_post(&mut self, now: Instant) -> Option<()> {
        let posts = &mut self.posts;
        posts.left = (posts.left + now.duration_since(posts.since).as_secs_f64()).min(BURST);
        posts.since = now;
        (posts.left >= 1.0).then(|| posts.left -= 1.0)
    }
}

/// An address for answers to a press: a secret, for five of them within thirty minutes.
#[derive(Debug)]
pub(super) struct ResponseUrl {
    pub secret: String,
    pub channel: String,
    pub ts: String,
    pub user: String,
    pub since: Instant,
    pub left: u32,
}

/// A message as the model keeps it.
#[derive(Debug, Clone, Default, Serialize)]
#[expect(missing_docs, reason = "Slack's own names")]
pub struct Message {
    pub ts: String,
    pub user: String,
    pub text: String,
    pub blocks: Value,
    pub attachments: Value,
    #[serde(skip)]
    pub metadata: Value,
    /// Only this person sees it.
    pub only_for: Option<String>,
    /// How many times it was edited.
    pub edits: u32,
    /// The message that it answers to, in its thread.
    pub thread_ts: Option<String>,
    /// Whether an answer in a thread shows in the channel too.
    pub broadcast: bool,
}

/// A call of the Web API that was let in, for tests to look at.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain data")]
pub struct Call {
    pub at: Instant,
    pub method: String,
    pub arguments: Value,
    pub raw: String,
    pub answer: Value,
}

/// Misbehaviour planned for the next calls of a method.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Which method.
    pub method: String,
    /// What happens.
    pub fault: Fault,
    /// How many calls it is for.
    pub times: u32,
}

/// A way to misbehave.
#[derive(Debug, Clone)]
pub enum Fault {
    /// 429 with so many seconds to wait.
    RateLimited(u32),
    /// An HTTP status, nothing done.
    Status(u16),
    /// Done, and the connection breaks before the answer.
    LostReply,
    /// Done after so many seconds: a client may have given up by then.
    Late(u64),
    /// `ok: false` with this word, nothing done.
    Error(String),
}

impl Workspace {
    /// A channel, three people, our bot, and a direct message channel for each person.
    pub fn demo() -> Self {
        let user = |id: &str, name: &str, real: &str| User {
            id: id.into(),
            name: name.into(),
            real_name: real.into(),
            is_guest: false,
            has_left: false,
        };
        let users = vec![
            user("U0ANA00001", "ana", "Ana Lima"),
            user("U0BEN00001", "ben", "Ben Okafor"),
            user("U0CHI00001", "chi", "Chi Tanaka"),
            user(BOT, "coolops", "coolops"),
        ];
        let mut channels =
            vec![Channel::new("C0DEPLOYS1", "deploys", None), Channel::new("C0RANDOM01", "random", None)];
        channels[1].is_member = false;
        channels.extend(users[..3].iter().map(|u| Channel::new(&u.id.replacen('U', "D", 1), &u.name, Some(&u.id))));
        Self {
            users,
            groups: vec![UserGroup { id: "S0OPS00001".into(), handle: "ops".into(), users: vec!["U0ANA00001".into()] }],
            channels,
            calls: Vec::new(),
            faults: Vec::new(),
            breaches: Vec::new(),
            scopes: SCOPES.iter().map(|s| (*s).to_owned()).collect(),
            counts_posts: true,
            dialogs: Vec::new(),
            triggers: Vec::new(),
            response_urls: Vec::new(),
            closed: Vec::new(),
            clock: 1_700_000_000,
            ahead: Duration::ZERO,
            simulated: None,
            began: (Instant::now(), since_epoch()),
        }
    }

    /// A channel more, with our bot in it.
    pub fn add_channel(&mut self, id: &str, name: &str) {
        self.channels.push(Channel::new(id, name, None));
    }

    /// The time, as it is here.
    pub(super) fn now(&self) -> Instant {
        self.simulated.map_or_else(Instant::now, |passed| self.began.0 + passed) + self.ahead
    }

    /// The time since 1970, as it is here.
    pub(super) fn since_epoch(&self) -> Duration {
        self.simulated.map_or_else(since_epoch, |passed| self.began.1 + passed) + self.ahead
    }

    /// The next timestamp, unique in the workspace and near the real time.
    pub fn next_ts(&mut self) -> String {
        self.clock = u64::try_from(self.since_epoch().as_micros()).unwrap_or(0).max(self.clock + 1);
        format!("{}.{:06}", self.clock / 1_000_000, self.clock % 1_000_000)
    }

    /// A channel by id, or the direct messages with a user id.
    pub fn channel(&mut self, id: &str) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|c| c.id == id || c.with.as_deref() == Some(id))
    }

    /// A person.
    pub fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|u| u.id == id)
    }

    /// Plans misbehaviour.
    pub fn plan(&mut self, method: &str, fault: Fault, times: u32) {
        self.faults.push(Planned { method: method.to_owned(), fault, times });
    }

    /// Whether a call comes before the time that a 429 named. What was on its way then is not held against it.
    pub fn is_too_early(&mut self, method: &str) -> Option<u64> {
        let (now, closed) = (self.now(), self.closed.iter().find(|c| c.method == method)?);
        // A simulated world comes to the very moment.
        let left = closed.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        if now.duration_since(closed.since) > ON_ITS_WAY {
            self.breaches.push(format!("{method} was called {} ms before its time", left.as_millis()));
        }
        Some(left.as_secs() + 1)
    }

    /// Nothing of this method for so many seconds.
    pub fn close(&mut self, method: &str, seconds: u32) {
        self.closed.retain(|c| c.method != method);
        let since = self.now();
        self.closed.push(Closed {
            method: method.to_owned(),
            since,
            until: since + Duration::from_secs(u64::from(seconds)),
        });
    }

    /// Takes back what every 429 closed, as if its time were over.
    pub fn reopen(&mut self) {
        self.closed.clear();
    }

    /// The fault for this call, if one is planned.
    pub fn fault(&mut self, method: &str) -> Option<Fault> {
        let planned = self.faults.iter_mut().find(|p| p.method == method && p.times > 0)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    /// Deletes a message, as a person would.
    pub fn delete(&mut self, channel: &str, ts: &str) {
        if let Some(channel) = self.channel(channel) {
            channel.messages.retain(|m| m.ts != ts);
        }
    }
}

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
