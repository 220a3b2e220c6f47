//! What people were told beside a build's message, and what is on its way.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use super::jobs::Claim;
use super::messages::PostedAt;
use crate::domain::deployment::Person;
use crate::domain::ids::{DeploymentId, LockableId, ReportId};
use crate::domain::react::Task;

/// How far a report got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportState {
    /// A post was attempted and its outcome is not known.
    Posting {
        /// Where.
        channel: String,
        /// When.
        attempted_at: DateTime<Utc>,
        /// Times that it was looked for in vain since.
        lookups: i32,
    },
    /// Slack has it.
    Sent {
        /// Where.
        channel: String,
        /// Slack's name for it.
        ts: String,
        /// SHA-256 of what it says, where that is known.
        digest: Option<Vec<u8>>,
        /// How many reasons there were so far to render it again.
        reasons: i32,
    },
    /// It is not wanted, or was refused for good.
    Over,
}

/// A report that is there and is to be rendered again.
#[derive(Debug, Clone)]
pub struct Renewable {
    /// Which.
    pub id: ReportId,
    /// Where it is.
    pub channel: String,
    /// Slack's name for it there.
    pub ts: String,
    /// SHA-256 of what it says, where that is known.
    pub digest: Option<Vec<u8>>,
    /// How many reasons there were so far to render it again.
    pub reasons: i32,
}

/// A report that a channel should show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Which.
    pub id: ReportId,
    /// Slack's name for the message that it answers.
    pub thread: Option<String>,
    /// Slack's name for it.
    pub ts: String,
    /// What it was sent.
    pub text: String,
}

/// What a report says, as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct SentReport<'a> {
    /// Its text, for those who see no layout.
    pub text: &'a str,
    /// SHA-256 of all of it.
    pub digest: &'a [u8],
    /// How many reasons there were by then to render it again.
    pub reasons: i32,
}

/// A second one of a report.
#[derive(Debug, Clone)]
pub struct Stray {
    /// Of which.
    pub id: ReportId,
    /// Where it is.
    pub channel: String,
    /// Slack's name for it there.
    pub ts: String,
}

/// A report that Slack refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Slack's word.
    pub problem: String,
    /// How many.
    pub count: i64,
}

/// What people were told beside a build's message.
#[derive(Clone, Copy)]
pub struct Reports<'a>(pub(super) &'a Store);

impl Store {
    /// What people were told beside a build's message.
    pub fn reports(&self) -> Reports<'_> {
        Reports(self)
    }
}

/// Who sees to the reports about a thing.
pub(super) fn task(about: Uuid, is_deployment: bool) -> Task {
    if is_deployment { Task::Report(DeploymentId(about)) } else { Task::ReportLock(LockableId(about)) }
}

fn key(person: &Person) -> String {
    format!("{} {}", person.team, person.user)
}

impl Reports<'_> {
    /// How far a report got; none before the first attempt.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(self, id: ReportId) -> Result<Option<ReportState>, sqlx::Error> {
        let row = sqlx::query!(
            "select state, channel, ts, digest, attempted_at, lookups, renew from slack_report where id = $1",
            id.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        Ok(row.map(|r| match (r.state.as_str(), r.channel) {
            ("posting", Some(channel)) => {
                ReportState::Posting { channel, attempted_at: r.attempted_at, lookups: r.lookups }
            }
            ("sent", Some(channel)) => {
                ReportState::Sent { channel, ts: r.ts.unwrap_or_default(), digest: r.digest, reasons: r.renew }
            }
            _ => ReportState::Over,
        }))
    }

    /// The channels where something about a thing was told.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn channels_about(self, about: Uuid) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select distinct channel as "channel!" from slack_report
                where about = $1 and person is null and channel is not null and state in ('sent', 'posting') order by 1"#,
            about
        )
        .fetch_all(&self.0.pool)
        .await
    }

    /// The channel of the direct messages with a person, where it is known from an earlier one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn channel_of(self, person: &Person) -> Result<Option<String>, sqlx::Error> {
        let found = sqlx::query_scalar!(
            r#"select channel as "channel!" from slack_report
                where person = $1 and channel is not null and state = 'sent' order by attempted_at desc limit 1"#,
            key(person)
        );
        found.fetch_optional(&self.0.pool).await
    }

    /// The channel of the direct messages with a person is not there any more: it is asked for anew.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_channel_of(self, person: &Person) -> Result<(), sqlx::Error> {
        sqlx::query!("update slack_report set person = null where person = $1", key(person))
            .execute(&self.0.pool)
            .await
            .map(|_| ())
    }

    /// Notes, before the call, that a post is attempted: after a crash it is looked for first. What it tells was read before,
    /// and may be erased by now: it is rendered again when it is there. Tells how many reasons for that there are; `None` when
    /// the lease was lost: then nothing may be posted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn attempted(
        self,
        claim: &Claim,
        id: ReportId,
        about: Uuid,
        person: Option<&Person>,
        channel: &str,
    ) -> Result<Option<i32>, sqlx::Error> {
        sqlx::query_scalar!(
            "insert into slack_report (id, about, state, person, channel, renew) select $1, $2, 'posting', $3, $4, 1
              where holds($5, $6, $7)
             on conflict (id) do update set state = 'posting', renew = slack_report.renew + 1, channel = excluded.channel, ts = null, text = null, lookups = 0,
               attempted_at = coolops_now(), problem = null returning renew",
            id.0,
            about,
            person.map(key),
            channel,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .fetch_optional(&self.0.pool)
        .await
    }

    /// Notes that another history of the log may have told it, at about that time: it is looked for before it is told.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_be_told(
        self,
        claim: &Claim,
        id: ReportId,
        about: Uuid,
        person: Option<&Person>,
        (channel, at): (&str, DateTime<Utc>),
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_report (id, about, state, person, channel, renew, attempted_at)
             select $1, $2, 'posting', $3, $4, 1, $5 where holds($6, $7, $8) on conflict do nothing",
            id.0,
            about,
            person.map(key),
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

    /// Notes that it was looked for in vain.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn not_found(self, claim: &Claim, id: ReportId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_report set lookups = lookups + 1 where id = $1 and holds($2, $3, $4)",
            id.0,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Notes that Slack has it, in which thread, and what it says: not where it was found again, nor where there are more
    /// reasons to render it again than when that was done. `false` when the lease was lost meanwhile: then nothing is noted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sent(
        self,
        claim: &Claim,
        id: ReportId,
        place: PostedAt<'_>,
        thread: Option<&str>,
        said: Option<SentReport<'_>>,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query!(
            // Nobody holds direct messages against what they say.
            "update slack_report set state = 'sent', channel = $2, ts = $3, thread = coalesce($4, thread),
               text = case when renew = $7 and person is null then $5 end, digest = case when renew = $7 then $6::bytea end
              where id = $1 and holds($8, $9, $10)",
            id.0,
            place.channel,
            place.ts,
            thread,
            said.map(|said| said.text),
            said.map(|said| said.digest),
            said.map(|said| said.reasons),
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|done| done.rows_affected() == 1)
    }

    /// It isn't known what it says: the next one to see to it sends the present state.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn doubted(self, id: ReportId) -> Result<(), sqlx::Error> {
        sqlx::query!("update slack_report set digest = null, text = null, renew = renew + 1 where id = $1", id.0)
            .execute(&self.0.pool)
            .await
            .map(|_| ())
    }

    /// Those about a thing that were posted without an answer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn on_their_way(self, about: Uuid) -> Result<Vec<ReportId>, sqlx::Error> {
        let ids = sqlx::query_scalar!("select id from slack_report where about = $1 and state = 'posting'", about);
        Ok(ids.fetch_all(&self.0.pool).await?.into_iter().map(ReportId).collect())
    }

    /// Somebody or something was erased of which reports about a thing may tell: they are to be rendered again. Tells how
    /// many there are.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(self, about: Uuid) -> Result<u64, sqlx::Error> {
        let renewed = sqlx::query!("update slack_report set text = null, renew = renew + 1 where about = $1", about);
        Ok(renewed.execute(&self.0.pool).await?.rows_affected())
    }

    /// Those about a thing that are to be rendered again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn to_renew(self, about: Uuid) -> Result<Vec<Renewable>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select id, channel as "channel!", ts as "ts!", digest, renew from slack_report
                where about = $1 and renew > 0 and state = 'sent' and channel is not null and ts is not null order by ts"#,
            about
        );
        let told = rows.fetch_all(&self.0.pool).await?.into_iter();
        let renewable = |id, channel, ts, digest, reasons| Renewable { id: ReportId(id), channel, ts, digest, reasons };
        Ok(told.map(|r| renewable(r.id, r.channel, r.ts, r.digest, r.renew)).collect())
    }

    /// One says what it is to say, for the reasons that there were when it was looked at: this text, where that is known.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renewed(self, claim: &Claim, one: &Renewable, text: Option<&str>) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update slack_report set renew = 0, text = case when state = 'sent' and person is null then coalesce($3, text) end
              where id = $1 and renew = $2 and holds($4, $5, $6)",
            one.id.0,
            one.reasons,
            text,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Those that a channel should show, of those posted since a time, as far as it is known what they say.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn live_since(self, channel: &str, since: DateTime<Utc>) -> Result<Vec<Live>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select id, thread, ts as "ts!", text as "text!" from slack_report
                where channel = $1 and state = 'sent' and text is not null and ts::numeric > extract(epoch from $2::timestamptz)
                  and attempted_at > $2::timestamptz - interval '1 day'
                  -- Of a reply that was found again, or that the program before sent, it is not known in which thread it is.
                  and (thread is not null or not exists (select from event e where e.stream_id = about and e.stream_type = 'deployment'))"#,
            channel,
            since
        );
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows.map(|r| Live { id: ReportId(r.id), thread: r.thread, ts: r.ts, text: r.text }).collect())
    }

    /// What a report is about, and who sees to it; none when it is not known here.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn subject(self, id: ReportId) -> Result<Option<(Uuid, Task)>, sqlx::Error> {
        let row = sqlx::query!(
            r#"select about, exists (select from event e where e.stream_id = about and e.stream_type = 'deployment') as "is_of_deployment!"
                 from slack_report where id = $1"#,
            id.0
        );
        Ok(row.fetch_optional(&self.0.pool).await?.map(|r| (r.about, task(r.about, r.is_of_deployment))))
    }

    /// One may be a second one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_stray(self, about: Uuid, stray: &Stray) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_report_stray (report, about, channel, ts) values ($1, $2, $3, $4) on conflict do nothing",
            stray.id.0,
            about,
            stray.channel,
            stray.ts
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Those about a thing that may be second ones.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn strays(self, about: Uuid) -> Result<Vec<Stray>, sqlx::Error> {
        let rows =
            sqlx::query!("select report, channel, ts from slack_report_stray where about = $1 order by ts", about);
        let rows = rows.fetch_all(&self.0.pool).await?.into_iter();
        Ok(rows.map(|r| Stray { id: ReportId(r.report), channel: r.channel, ts: r.ts }).collect())
    }

    /// There is no other one: it is the report.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn adopt(self, claim: &Claim, about: Uuid, stray: &Stray) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_report (id, about, state, channel, ts) select $1, $2, 'sent', $3, $4 where holds($5, $6, $7)
             on conflict (id) do nothing",
            stray.id.0,
            about,
            stray.channel,
            stray.ts,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// One of them is gone, or is the report itself.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_stray(self, stray: &Stray) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "delete from slack_report_stray where report = $1 and channel = $2 and ts = $3",
            stray.id.0,
            stray.channel,
            stray.ts
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// Slack said no, for now: nothing was posted, and nothing is to be looked for.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn not_posted(self, claim: &Claim, id: ReportId) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "delete from slack_report where id = $1 and holds($2, $3, $4)",
            id.0,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// It is not told: the person does not want it, or, with Slack's word, Slack refused it for good.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn not_told(
        self,
        claim: &Claim,
        id: ReportId,
        about: Uuid,
        refused: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into slack_report (id, about, state, problem)
             select $1, $2, case when $3::text is null then 'unwanted' else 'refused' end, $3 where holds($4, $5, $6)
             on conflict (id) do update set state = excluded.state, problem = excluded.problem, text = null, person = null",
            id.0,
            about,
            refused,
            claim.id.0,
            claim.fence,
            claim.lease
        )
        .execute(&self.0.pool)
        .await
        .map(|_| ())
    }

    /// What Slack refused within the last day, by its word; not what somebody deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refused(self) -> Result<Vec<Refused>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select coalesce(problem, '') as "problem!", count(*) as "n!" from slack_report
                where state = 'refused' and problem is distinct from 'message_not_found' and attempted_at > coolops_now() - interval '1 day' group by 1 order by 2 desc, 1"#
        );
        let rows = rows.fetch_all(&self.0.pool).await?;
        Ok(rows.into_iter().map(|r| Refused { problem: r.problem, count: r.n }).collect())
    }
}
