//! What Slack was last sent for each build: the bytes, their digest and the position that they tell.

use chrono::{DateTime, Utc};

use super::Store;
use super::jobs::Claim;
use crate::domain::ids::{BuildId, ProjectId};
use crate::keys::Keyring;
use crate::keys::code::{Code, RowCodes};

/// Days for which it is remembered when Slack was sent what.
pub const SENDS_KEPT_DAYS: i64 = 30;

/// A build's message as far as Slack has it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Where it stands.
    pub state: MessageState,
    /// Channel, as Slack answered it once it is live.
    pub channel: String,
    /// Slack's name for it, once it is known.
    pub ts: Option<String>,
    /// When a post was last attempted.
    pub attempted_at: DateTime<Utc>,
    /// Times that the channel's history was searched in vain since.
    pub lookups: i32,
    /// How long ago Slack last took it, by the database's clock.
    pub sent_ago_ms: Option<i64>,
    /// SHA-256 of what Slack was last sent.
    pub sent_digest: Option<Vec<u8>>,
    /// How often it was in doubt: see [`Messages::doubted`].
    pub doubts: i32,
    /// Slack refused the layout, and was sent the facts as text.
    pub plain: bool,
    /// Up to this position it is edited and not posted anew: see [`Messages::edit_out`].
    pub only_edit_until: i64,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// A post was attempted and its outcome is not known.
    Posting,
    /// Slack has it.
    Live,
    /// Somebody deleted it; it is posted again once, on the next change of its build.
    Gone,
    /// The channel can't be posted to.
    Blocked,
}

impl MessageState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Posting => "posting",
            Self::Live => "live",
            Self::Gone => "gone",
            Self::Blocked => "blocked",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "live" => Self::Live,
            "gone" => Self::Gone,
            "blocked" => Self::Blocked,
            _ => Self::Posting,
        }
    }
}

/// Where a message is.
#[derive(Debug, Clone, Copy)]
pub struct PostedAt<'a> {
    /// The channel's id.
    pub channel: &'a str,
    /// Slack's name for a message in it.
    pub ts: &'a str,
}

/// What was sent.
pub struct Payload<'a> {
    /// The canonical bytes.
    pub bytes: &'a str,
    /// What is kept of them.
    pub stamp: Stamp<'a>,
    /// Slack's word for why they are text without a layout.
    pub plain: Option<&'a str>,
}

/// What tells a message's content from any other.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// SHA-256 of its canonical bytes.
    pub digest: &'a [u8],
    /// The renderer's version.
    pub render_version: i32,
    /// Position of the last event that it tells.
    pub position: i64,
    /// It is text without a layout.
    pub is_plain: bool,
}

fn codes(keys: &Keyring) -> RowCodes {
    keys.row_codes("slack_message")
}

impl Stamp<'_> {
    /// The code of a build's row: whoever has no master key can't make one.
    pub fn code(&self, keys: &Keyring, build: BuildId) -> Vec<u8> {
        codes(keys).of(&self.row(build))
    }

    /// What that is of.
    fn row(&self, build: BuildId) -> Vec<u8> {
        let (version, position) = (self.render_version.to_be_bytes(), self.position.to_be_bytes());
        [build.0.as_bytes(), &version[..], &position, &[u8::from(self.is_plain)], self.digest].concat()
    }
}

/// What Slack was sent for each build, and what is on its way.
#[derive(Clone, Copy)]
pub struct Messages<'a>(pub(super) &'a Store);

impl Store {
    /// What Slack was sent for each build, and what is on its way.
    pub fn messages(&self) -> Messages<'_> {
        Messages(self)
    }
}

impl Messages<'_> {
    /// What Slack has of a build's message; none before the first attempt.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(self, build: BuildId) -> Result<Option<Sent>, sqlx::Error> {
        let row = sqlx::query!(
            r#"select state, channel, ts, attempted_at, lookups, sent_digest, doubts, plain, only_edit_until,
                      (extract(epoch from coolops_now() - sent_at) * 1000)::bigint as sent_ago_ms from slack_message where build_id = $1"#,
            build.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        Ok(row.map(|r| Sent {
            state: MessageState::parse(&r.state),
            channel: r.channel,
            ts: r.ts,
            attempted_at: r.attempted_at,
            lookups: r.lookups,
            sent_ago_ms: r.sent_ago_ms,
            sent_digest: r.sent_digest,
            doubts: r.doubts,
            only_edit_until: r.only_edit_until,
            plain: r.plain,
        }))
    }

    /// Notes, before the call, that a post is attempted: after a crash the message is looked for first. `false` when
    /// the lease was lost: then nothing may be posted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn attempted(self, claim: &Claim, build: BuildId, channel: &str) -> Result<bool, sqlx::Error> {
        sqlx::query!(
            "insert into slack_message (build_id, state, channel) select $1, 'posting', $2
              where holds($3, $4, $5)
             on conflict (build_id) do update set state = 'posting', channel = excluded.channel, ts = null, sent_digest = null,
               sent_payload = null, lookups = 0, attempted_at = coolops_now(), problem = null",
            build.0,
            channel,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// Notes that another history of the log may have posted it, up to that time: it is looked for before it is posted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_be_there(
        self,
        claim: &Claim,
        build: BuildId,
        channel: &str,
        at: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_message (build_id, state, channel, attempted_at) select $1, 'posting', $2, $3
              where holds($4, $5, $6)
             on conflict (build_id) do update set state = 'posting', channel = excluded.channel, ts = null, sent_digest = null,
               sent_payload = null, lookups = 0, attempted_at = excluded.attempted_at, problem = null",
            build.0,
            channel,
            at,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Notes how often the channel's history was searched for the message in vain.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn not_found(self, claim: &Claim, build: BuildId, looks: i32) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_message set lookups = $2
              where build_id = $1 and holds($3, $4, $5)",
            build.0,
            looks,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Notes where the message is; without a payload when it was found again and its content is not known. When it was
    /// in doubt again since there were `doubts`, its content isn't known either. `false` when the lease was lost
    /// meanwhile: then nothing is noted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sent(
        self,
        claim: &Claim,
        build: BuildId,
        place: PostedAt<'_>,
        payload: Option<Payload<'_>>,
        doubts: i32,
    ) -> Result<bool, sqlx::Error> {
        let p = payload.as_ref();
        let code = p.and_then(|p| Some(p.stamp.code(self.0.keys.as_deref()?, build)));
        sqlx::query!(
            // Whoever gets through opens Slack for everybody; not what was on its way when the app was taken away.
            "with open as (delete from rate_bucket where scope = 'slack' and (reason is null or blocked_until <= coolops_now()))
             , noted as (update slack_message set state = 'live', channel = $2, ts = $3, 
                    sent_payload = case when doubts = $10 then $4 end, sent_digest = case when doubts = $10 then $5::bytea end, render_version = $6,
                    sent_code = case when sent_position <= $7 then $13::bytea end,
                    sent_position = greatest(sent_position, $7), sent_at = coolops_now(), problem = $12, plain = $12::text is not null
              where build_id = $1 and holds($8, $9, $11) returning build_id, sent_at)
             insert into slack_sent (build_id, position, sent_at) select build_id, $7, sent_at from noted",
            build.0,
            place.channel,
            place.ts,
            p.map(|p| p.bytes),
            p.map(|p| p.stamp.digest),
            p.map(|p| p.stamp.render_version),
            p.map_or(0, |p| p.stamp.position),
            claim.id.0,
            claim.fence,
            doubts,
            claim.lease,
            p.and_then(|p| p.plain),
            code
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// What Slack was sent of a build's message, and when: the position that it told of, and a time; the newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sends(self, build: BuildId) -> Result<Vec<(i64, DateTime<Utc>)>, sqlx::Error> {
        let rows =
            sqlx::query!("select position, sent_at from slack_sent where build_id = $1 order by sent_at desc", build.0);
        Ok(rows.fetch_all(&self.0.pool).await?.into_iter().map(|r| (r.position, r.sent_at)).collect())
    }

    /// The messages that a channel should show, of those posted since a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live_since(self, channel: &str, since: DateTime<Utc>) -> Result<Vec<Live>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select build_id, ts as "ts!", sent_payload as payload from slack_message
                where channel = $1 and state = 'live' and ts is not null and ts::numeric > extract(epoch from $2::timestamptz)"#,
            channel,
            since
        );
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows.map(|r| Live { build: BuildId(r.build_id), ts: r.ts, payload: r.payload }).collect())
    }

    /// The channels in which something was sent since a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn channels_since(self, since: DateTime<Utc>) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select channel as "channel!" from slack_message where sent_at > $1 and state = 'live'
               union select channel from slack_report where attempted_at > $1 and state = 'sent' and text is not null and channel is not null"#,
            since
        )
        .fetch_all(&self.0.pool)
        .await
    }

    /// Forgets what was sent when, and the texts of reports, after [`SENDS_KEPT_DAYS`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_sends(self) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "delete from slack_sent where sent_at < coolops_now() - $1::float8 * interval '1 day'",
            SENDS_KEPT_DAYS as f64
        )
        .execute(&self.0.work)
        .await?;
        sqlx::query!(
            "update slack_report set text = null where text is not null and attempted_at < coolops_now() - $1::float8 * interval '1 day'",
            SENDS_KEPT_DAYS as f64
        )
        .execute(&self.0.work)
        .await
        .map(|_| ())
    }

    /// A message landed when this process had no right to post it any more: it may be a second one of its build.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_stray(self, build: BuildId, channel: &str, ts: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_stray (build_id, channel, ts) values ($1, $2, $3) on conflict do nothing",
            build.0,
            channel,
            ts
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Messages of a build that may be second ones: channel and `ts`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn strays(self, build: BuildId) -> Result<Vec<(String, String)>, sqlx::Error> {
        // Another build's message is none of this one's, whoever says so.
        let rows = sqlx::query!(
            "select channel, ts from slack_stray s where build_id = $1
                and not exists (select from slack_message m where m.channel = s.channel and m.ts = s.ts and m.build_id <> s.build_id) order by ts",
            build.0
        )
        .fetch_all(&self.0.pool)
        .await?;
        Ok(rows.into_iter().map(|r| (r.channel, r.ts)).collect())
    }

    /// One of them is gone, or is the build's message.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_stray(self, build: BuildId, channel: &str, ts: &str) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from slack_stray where build_id = $1 and channel = $2 and ts = $3", build.0, channel, ts)
            .execute(&self.0.pool)
            .await
            .map(|_| ())
    }

    /// Builds whose message is text because Slack refused its layout, newest first, with Slack's word.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn plain(self) -> Result<Vec<(BuildId, String)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select build_id, coalesce(problem, '') as "problem!" from slack_message where plain order by sent_at desc limit 20"#
        );
        Ok(rows.fetch_all(&self.0.pool).await?.into_iter().map(|r| (BuildId(r.build_id), r.problem)).collect())
    }

    /// It isn't known what Slack shows: the next sync sends the present state whatever was sent last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn doubted(self, build: BuildId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_message set sent_digest = null, sent_payload = null, doubts = doubts + 1 where build_id = $1",
            build.0
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// The message that is noted is gone from Slack, and this one of the same build is there: it takes its place.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn adopt(self, build: BuildId, channel: &str, ts: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "with known as (delete from slack_stray where build_id = $1 and channel = $2 and ts = $3)
             update slack_message set state = 'live', channel = $2, ts = $3, sent_digest = null, sent_payload = null, doubts = doubts + 1
              where build_id = $1",
            build.0,
            channel,
            ts
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Slack does not show the message any more: the next sync sends it whatever was sent last, and posts it, also where it was
    /// to be edited only.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn missed(self, build: BuildId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_message set sent_digest = null, sent_payload = null, doubts = doubts + 1, only_edit_until = 0 where build_id = $1",
            build.0
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Something was erased that the message may show: what was sent is forgotten, and it is edited, but not posted again
    /// where it is gone, until something new happens.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn edit_out(self, build: BuildId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_message set sent_digest = null, sent_payload = null, doubts = doubts + 1,
               only_edit_until = (select position from event_head) where build_id = $1",
            build.0
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Notes that what was sent already tells everything up to a position.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unchanged(self, claim: &Claim, build: BuildId, stamp: Stamp<'_>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_message set sent_position = $2, sent_code = $6, render_version = $7, state = case when ts is null then state else 'live' end
              where build_id = $1 and holds($3, $4, $5) and sent_position <= $2 and sent_digest = $8",
            build.0,
            stamp.position,
            claim.id.0,
            claim.fence,
            claim.lease,
            self.0.keys.as_deref().map(|keys| stamp.code(keys, build)),
            stamp.render_version,
            stamp.digest
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Slack said no, for now: nothing was posted, and nothing is to be looked for.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn not_posted(self, claim: &Claim, build: BuildId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "delete from slack_message where build_id = $1 and holds($2, $3, $4)",
            build.0,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Notes what became of the message when Slack refused it for good or for now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn mark(
        self,
        claim: &Claim,
        build: BuildId,
        state: MessageState,
        channel: &str,
        problem: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_message (build_id, state, channel, problem) select $1, $2, $3, $4
              where holds($5, $6, $7)
             on conflict (build_id) do update set state = excluded.state, problem = excluded.problem,
               sent_digest = case when excluded.state <> 'gone' then slack_message.sent_digest end,
               sent_payload = case when excluded.state <> 'gone' then slack_message.sent_payload end",
            build.0,
            state.as_str(),
            channel,
            problem,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// A channel may be posted to again: what waits for it is due now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retry_channel(self, channel: &str) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update job set run_at = coolops_now(), rung_at = null where state = 'ready' and kind = 'sync_message'
                and key in (select build_id from slack_message where channel = $1 and state = 'blocked')",
            channel
        )
        .execute(&self.0.work)
        .await?;
        self.0.wake.appended(0);
        Ok(())
    }

    /// A project's messages go elsewhere from now on: those that could never be posted are due now.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn retry_project(self, project: ProjectId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update job set run_at = coolops_now(), rung_at = null where state = 'ready' and kind = 'sync_message'
                and key in (select m.build_id from slack_message m join build b on b.id = m.build_id
                             where b.project_id = $1 and m.state = 'blocked' and m.ts is null)",
            project.0
        )
        .execute(&self.0.work)
        .await?;
        self.0.wake.appended(0);
        Ok(())
    }

    /// Channels that can't be posted to, with Slack's word for it and how many messages wait.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn blocked_channels(self) -> Result<Vec<(String, String, i64)>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select channel, coalesce(problem, '') as "problem!", count(*) as "n!" from slack_message where state = 'blocked' group by 1, 2 order by 1"#
        )
        .fetch_all(&self.0.pool)
        .await?;
        Ok(rows.into_iter().map(|r| (r.channel, r.problem, r.n)).collect())
    }
}

/// A build's message as an audit compares it.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Its build.
    pub build: BuildId,
    /// Where it stands.
    pub state: MessageState,
    /// Its channel.
    pub channel: String,
    /// Slack's name for it, where it was posted.
    pub ts: Option<String>,
    /// What was sent last, where that is known.
    pub sent: Option<LastSent>,
}

/// What Slack was sent last, without its bytes.
#[derive(Debug, Clone)]
pub struct LastSent {
    /// Position of the last event that it tells.
    pub position: i64,
    /// SHA-256 of it.
    pub digest: Vec<u8>,
    /// The renderer's version; none is written by nobody.
    pub render_version: Option<i32>,
    /// It was text, without a layout.
    pub is_plain: bool,
    /// Whether digest, version, position and form are as they were noted when it was sent.
    pub code: Code,
}

/// A message that Slack should show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its build.
    pub build: BuildId,
    /// Slack's name for it.
    pub ts: String,
    /// What was sent last, where that is known.
    pub payload: Option<String>,
}

impl Messages<'_> {
    /// The message of every build.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn all(self) -> Result<Vec<Audited>, sqlx::Error> {
        let rows = sqlx::query!(
            "select build_id, state, channel, ts, sent_position, sent_digest, render_version, plain, sent_code from slack_message"
        )
        .fetch_all(&mut self.0.bulk().await?)
        .await?;
        let codes = self.0.keys.as_deref().map(codes);
        let audited = rows.into_iter().map(|r| {
            let build = BuildId(r.build_id);
            let sent = r.sent_digest.map(|digest| {
                let (position, render_version, is_plain) = (r.sent_position, r.render_version, r.plain);
                let code =
                    codes.as_ref().zip(render_version).zip(r.sent_code).map(|((codes, render_version), code)| {
                        let stamp = Stamp { digest: &digest, render_version, position, is_plain };
                        codes.check(&stamp.row(build), &code)
                    });
                LastSent { code: code.unwrap_or(Code::Unknown), position, render_version, is_plain, digest }
            });
            Audited { build, state: MessageState::parse(&r.state), channel: r.channel, ts: r.ts, sent }
        });
        Ok(audited.collect())
    }

    /// Builds whose message has a digest that is not of the bytes beside it, and the position that these tell of.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn with_other_bytes(self) -> Result<Vec<(BuildId, i64)>, sqlx::Error> {
        let rows = sqlx::query!(
            "select build_id, sent_position from slack_message
              where sent_digest is not null and sent_digest is distinct from sha256(convert_to(sent_payload, 'UTF8')) order by sent_position, build_id"
        )
        .fetch_all(&mut self.0.bulk().await?)
        .await?;
        Ok(rows.into_iter().map(|r| (BuildId(r.build_id), r.sent_position)).collect())
    }

    /// How many builds' messages are still to be brought up to date.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn behind(self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar!(r#"select count(*) as "n!" from job where kind = 'sync_message' and wanted > done"#)
            .fetch_one(&self.0.pool)
            .await
    }
}
