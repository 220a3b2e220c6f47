//! Makes a build's Slack message say what the log says.
//!
//! Level-triggered: it renders the present state whatever asked for it, and compares with what was last sent. A build
//! has one message: before a second post it looks for the first one by its metadata, and before the first one where another
//! history of the log may have posted it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Outcome;
use super::slack_calls::{BLOCKED, HISTORY, Lost, POSTS, REMOVED, SlackJob, find, is_one_of};
use crate::app::{App, posts_into};
use crate::domain::event::{Actor, Event, Recorded};
use crate::domain::ids::{BuildId, EventId, message_stream};
use crate::domain::message::MessagePosted;
use crate::domain::react::Task;
use crate::failpoint;
use crate::keys::{self, Links};
use crate::projections::build_card::BuildCard;
use crate::slack::client::{Posted, SlackError};
use crate::slack::render::{self, Metadata, RENDER_VERSION};
use crate::store::append::{Append, AppendError};
use crate::store::messages::{MessageState, Payload, PostedAt, Sent, Stamp};

pub(super) const UPDATE: &str = "slack:chat.update";
pub(super) const DELETE: &str = "slack:chat.delete";
const GONE: &[&str] = &["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"];
/// Of these, those for a message that is still there, as it was.
const NOT_EDITABLE: &[&str] = &["cant_update_message", "edit_window_closed"];
/// Slack's words for a layout that it does not take, whatever the facts are.
const LAYOUT: &[&str] = &[
    "invalid_blocks",
    "invalid_attachments",
    "msg_blocks_too_long",
    "msg_too_long",
    "too_many_attachments",
    "attachment_payload_limit_exceeded",
];
/// Looks for a message that was posted without an answer, before it is posted again.
const LOOKS: i32 = 2;
/// CI may announce the same build again for this long.
const ANNOUNCED_AGAIN: chrono::Duration = chrono::Duration::days(7);

/// A message as it goes over the wire.
struct Form {
    payload: render::Payload,
    bytes: String,
    digest: [u8; 32],
}

impl Form {
    fn of(payload: render::Payload) -> Self {
        let bytes = payload.bytes();
        Self { digest: render::digest(&bytes), payload, bytes }
    }
}

/// What is about to be sent.
struct Draft {
    build: BuildId,
    channel: String,
    card: BuildCard,
    links: Links,
    form: Form,
    /// Slack's word for why the layout is left out.
    plain: Option<String>,
    position: i64,
    /// How often the message was in doubt when this was begun.
    doubts: i32,
    /// Nothing has happened since something was erased: what is gone is not posted for that.
    only_edits: bool,
    /// When the build was registered, and when its message was last posted, if that was attempted.
    registered_at: DateTime<Utc>,
    attempted_at: Option<DateTime<Utc>>,
}

/// Does the job.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(job: SlackJob<'_>, build: BuildId) -> anyhow::Result<Outcome> {
    let events = job.app.store.log().build(build).await?;
    let Some(card) = BuildCard::fold(&events) else { return Ok(Outcome::Done) };
    let Some(links) = job.app.keys.links(&card.link_key) else {
        let problem = format!(
            "the master key {} of its links is not set; add it to COOLOPS_MASTER_KEY_PREVIOUS",
            keys::master_key_of(&card.link_key)
        );
        return Ok(Outcome::Later(Duration::from_secs(10), Some(problem)));
    };
    let known = job.app.store.messages().get(build).await?;
    if let Some(there) = known.as_ref().and_then(|sent| unrecorded(sent, &card)) {
        record_posted(job.app, build, card.posted.len(), &there).await?;
        // It is read anew with that.
        return Ok(Outcome::Later(Duration::ZERO, None));
    }
    let draft = Draft::of(job.app, build, (card, links), &events, known.as_ref()).await?;
    let live = known.as_ref().filter(|sent| sent.state == MessageState::Live).and_then(|sent| sent.ts.clone());
    let said = say(job, &draft, known).await?;
    match live {
        // Not before it is known that the message is there: the second one may be all that is left.
        Some(live) if said == Outcome::Done => Ok(delete_strays(job, build, &live).await?.unwrap_or(Outcome::Done)),
        _ => Ok(said),
    }
}

/// Posts the message, looks for it, or edits it, as it is known.
async fn say(job: SlackJob<'_>, draft: &Draft, known: Option<Sent>) -> anyhow::Result<Outcome> {
    let build = draft.build;
    let digest = known.as_ref().map(|sent| draft.digest_as(sent.plain)).unwrap_or_default();
    match known {
        None => post(job, draft).await,
        Some(Sent { state: MessageState::Posting, lookups: LOOKS.., .. }) => post(job, draft).await,
        Some(Sent { state: MessageState::Posting, channel, attempted_at, lookups, .. }) => {
            look_for(job, draft, channel, attempted_at, lookups).await
        }
        Some(sent) if sent.sent_digest.as_deref() == Some(&digest[..]) => {
            job.app.store.messages().unchanged(job.claim, build, draft.stamp(&digest, sent.plain)).await?;
            Ok(Outcome::Done)
        }
        Some(Sent { state: MessageState::Gone, .. }) if draft.card.posted.len() >= 2 || draft.only_edits => {
            Ok(Outcome::Done)
        }
        Some(Sent {
            ts: Some(ts), state: MessageState::Live | MessageState::Blocked, channel, sent_ago_ms, ..
        }) => {
            // A time in the future is from before the clock was set back.
            let ago = sent_ago_ms.and_then(|ms| u64::try_from(ms).ok()).map_or(Duration::MAX, Duration::from_millis);
            if let Some(wait) = job.paces.edit_every.checked_sub(ago).filter(|w| !w.is_zero()) {
                return Ok(Outcome::Later(wait, None));
            }
            update(job, draft, &Posted { channel, ts }).await
        }
        Some(_) => post(job, draft).await,
    }
}

/// Where Slack said that it posted the message, if a crash kept that from being recorded as an event.
fn unrecorded(sent: &Sent, card: &BuildCard) -> Option<Posted> {
    let ts = sent.ts.as_ref().filter(|ts| sent.state == MessageState::Live && !card.posted.contains(ts))?;
    Some(Posted { channel: sent.channel.clone(), ts: ts.clone() })
}

/// Looks in the channel for a message that was posted without an answer. What is found is brought up to date; what isn't
/// is posted again after enough looks.
async fn look_for(
    job: SlackJob<'_>,
    draft: &Draft,
    channel: String,
    attempted_at: DateTime<Utc>,
    lookups: i32,
) -> anyhow::Result<Outcome> {
    if let Some(wait) = job.turn(HISTORY, job.paces.history).await? {
        return Ok(wait);
    }
    let (build, messages) = (draft.build, job.app.store.messages());
    let parting = job.app.store.checkpoints().parting().await?;
    let lost = Lost { channel: &channel, thread: None, attempted_at, lookups, parting };
    match find(job.slack, lost, &Metadata::build(build)).await {
        Ok(Some(ts)) => {
            let there = Posted { channel, ts };
            messages.sent(job.claim, build, place(&there), None, draft.doubts).await?;
            record_posted(job.app, build, draft.card.posted.len(), &there).await?;
            update(job, &draft.posted_once_more(), &there).await
        }
        // Where nobody may look, it is not known to be there either.
        Err(SlackError::Refused(word)) if is_one_of(&word, REMOVED) => {
            job.trouble(HISTORY, SlackError::Refused(word)).await
        }
        Ok(None) | Err(SlackError::Refused(_)) => {
            let looks = if lost.is_of_other_history() { LOOKS } else { lookups + 1 };
            messages.not_found(job.claim, build, looks).await?;
            Ok(match looks {
                LOOKS.. => Outcome::Later(Duration::ZERO, None),
                _ => Outcome::Later(
                    job.paces.look_again,
                    Some("a post without an answer; the message is not in the channel yet".to_owned()),
                ),
            })
        }
        Err(e) => job.trouble(HISTORY, e).await,
    }
}

impl Draft {
    /// What a build's message is to say now, and where.
    async fn of(
        app: &App,
        build: BuildId,
        (card, links): (BuildCard, Links),
        events: &[Recorded],
        known: Option<&Sent>,
    ) -> anyhow::Result<Self> {
        let position = events.last().map_or(0, |last| last.position);
        Ok(Self {
            build,
            // Where the project's messages go now, not where they went when it was announced.
            channel: match app.project_anew(card.project_id).await? {
                Some(project) => project.value.channel.clone(),
                None => card.channel.clone(),
            },
            form: Form::of(render::render(&card, &links)),
            plain: None,
            card,
            links,
            position,
            doubts: known.map_or(0, |sent| sent.doubts),
            only_edits: known.is_some_and(|sent| sent.only_edit_until > 0 && position <= sent.only_edit_until),
            registered_at: events.first().map_or(DateTime::UNIX_EPOCH, |first| first.recorded_at),
            attempted_at: known.map(|sent| sent.attempted_at),
        })
    }

    /// The same facts as text, because Slack does not take the layout.
    fn plainly(&self, word: &str) -> Self {
        let form = Form::of(render::render_plainly(&self.card, &self.links));
        let (card, links, channel) = (self.card.clone(), self.links.clone(), self.channel.clone());
        Self { form, plain: Some(word.to_owned()), card, links, channel, ..*self }
    }

    /// What it says once it was posted another time.
    fn posted_once_more(&self) -> Self {
        let mut card = self.card.clone();
        // Slack names it in its answer.
        card.posted.push(String::new());
        let render = if self.plain.is_some() { render::render_plainly } else { render::render };
        let form = Form::of(render(&card, &self.links));
        let (plain, links, channel) = (self.plain.clone(), self.links.clone(), self.channel.clone());
        Self { channel, card, links, form, plain, ..*self }
    }

    /// What is kept of it, sent in a form of that digest.
    fn stamp<'a>(&self, digest: &'a [u8], is_plain: bool) -> Stamp<'a> {
        Stamp { digest, render_version: RENDER_VERSION, position: self.position, is_plain }
    }

    fn digest_as(&self, plain: bool) -> Vec<u8> {
        let digest =
            if plain { Form::of(render::render_plainly(&self.card, &self.links)).digest } else { self.form.digest };
        digest.to_vec()
    }
}

/// Deletes second messages of a build that landed when nobody waited for them any more. Comes back with what the job
/// has to wait for, if there is something.
async fn delete_strays(job: SlackJob<'_>, build: BuildId, live: &str) -> anyhow::Result<Option<Outcome>> {
    for (channel, ts) in job.app.store.messages().strays(build).await? {
        if ts != live {
            if let Some(wait) = job.turn(DELETE, job.paces.update).await? {
                return Ok(Some(wait));
            }
            match job.slack.delete(&channel, &ts).await {
                Ok(()) => {
                    tracing::warn!(
                        build.id = %build,
                        "a second message of a build was deleted; a frozen process had posted it"
                    );
                }
                Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) => {
                    tracing::warn!(
                        build.id = %build, slack.error = %word,
                        "a second message of a build can't be deleted; it stays"
                    );
                }
                Err(e) => return job.trouble(DELETE, e).await.map(Some),
            }
        }
        job.app.store.messages().forget_stray(build, &channel, &ts).await?;
    }
    Ok(None)
}

/// Whether another history of the log may have posted the message, which nobody has looked for yet. CI may have announced
/// the build again since: it is the same one.
async fn may_be_there(job: SlackJob<'_>, draft: &Draft) -> anyhow::Result<bool> {
    let Some(parting) = job.app.store.checkpoints().parting().await? else { return Ok(false) };
    if draft.registered_at > parting.decided + ANNOUNCED_AGAIN
        || draft.attempted_at.is_some_and(|at| at >= parting.decided)
    {
        return Ok(false);
    }
    job.app.store.messages().may_be_there(job.claim, draft.build, &draft.channel, parting.decided).await?;
    Ok(true)
}

async fn post(job: SlackJob<'_>, draft: &Draft) -> anyhow::Result<Outcome> {
    if may_be_there(job, draft).await? {
        return Ok(Outcome::Later(Duration::ZERO, None));
    }
    // First a turn in the channel, then one in the workspace: a busy channel must not keep turns that others could use.
    let in_channel = posts_into(&draft.channel);
    if job.claim.turn.as_deref() != Some(POSTS)
        && let Some(wait) = job.turn(&in_channel, job.paces.post).await?
    {
        return Ok(wait);
    }
    if let Some(wait) = job.turn(POSTS, job.paces.posts).await? {
        return Ok(wait);
    }
    if !job.app.store.messages().attempted(job.claim, draft.build, &draft.channel).await? {
        return Ok(Outcome::Lost);
    }
    let posting = draft.posted_once_more();
    failpoint!("after_attempted");
    let answer = job.slack.post(&draft.channel, &posting.form.payload).await;
    failpoint!("after_post");
    match answer {
        Ok(posted) => {
            if !sent(job, &posting, &posted).await? {
                return Ok(Outcome::Lost);
            }
            failpoint!("after_sent");
            record_posted(job.app, draft.build, draft.card.posted.len(), &posted).await?;
            Ok(Outcome::Done)
        }
        Err(e @ SlackError::Unclear(_)) => job.trouble(POSTS, e).await,
        Err(e) => {
            // A clear no: nothing was posted, so nothing is to be looked for.
            match &e {
                SlackError::Refused(word) if is_one_of(word, BLOCKED) => {
                    job.app
                        .store
                        .messages()
                        .mark(job.claim, draft.build, MessageState::Blocked, &draft.channel, word)
                        .await?;
                }
                _ => job.app.store.messages().not_posted(job.claim, draft.build).await?,
            }
            match layout_refused(draft, &e) {
                Some(plain) => Box::pin(post(job, &plain)).await,
                None => job.trouble(POSTS, e).await,
            }
        }
    }
}

async fn update(job: SlackJob<'_>, draft: &Draft, there: &Posted) -> anyhow::Result<Outcome> {
    if let Some(wait) = job.turn(UPDATE, job.paces.update).await? {
        return Ok(wait);
    }
    if !job.app.store.jobs().renew(job.claim).await? {
        return Ok(Outcome::Lost);
    }
    let answer = job.slack.update(&there.channel, &there.ts, &draft.form.payload).await;
    failpoint!("after_update");
    match answer {
        Ok(posted) => {
            sent(job, draft, &posted).await?;
            Ok(Outcome::Done)
        }
        Err(SlackError::Refused(word)) if is_one_of(&word, GONE) => {
            if is_one_of(&word, NOT_EDITABLE) {
                tracing::warn!(
                    build.id = %draft.build, slack.channel = there.channel, slack.ts = there.ts, slack.error = %word,
                    "Slack does not let a build's message be edited any more: it stays as it is there, with what was erased since"
                );
            }
            let messages = job.app.store.messages();
            if let Some(outcome) = adopt_stray(job, draft, there).await? {
                return Ok(outcome);
            }
            messages.mark(job.claim, draft.build, MessageState::Gone, &there.channel, &word).await?;
            // This edit is the build's next change after the deletion; it posts anew, once in the build's life.
            if draft.card.posted.len() >= 2 || draft.only_edits { Ok(Outcome::Done) } else { post(job, draft).await }
        }
        // It may still land: nothing else is sent before it can't any more.
        Err(SlackError::Unclear(problem)) => {
            job.app.store.paces().failed().await?;
            Ok(Outcome::Later(job.paces.look_again, Some(problem)))
        }
        Err(e) => {
            if let SlackError::Refused(word) = &e
                && is_one_of(word, BLOCKED)
            {
                job.app
                    .store
                    .messages()
                    .mark(job.claim, draft.build, MessageState::Blocked, &there.channel, word)
                    .await?;
            }
            match layout_refused(draft, &e) {
                Some(plain) => Box::pin(update(job, &plain, there)).await,
                None => job.trouble(UPDATE, e).await,
            }
        }
    }
}

/// Has a second message take the place of the one that is gone, where Slack has one. Comes back with nothing where it has none.
async fn adopt_stray(job: SlackJob<'_>, draft: &Draft, gone: &Posted) -> anyhow::Result<Option<Outcome>> {
    let messages = job.app.store.messages();
    for (channel, ts) in messages.strays(draft.build).await? {
        if ts == gone.ts {
            continue;
        }
        match job.slack.update(&channel, &ts, &draft.form.payload).await {
            Ok(posted) => {
                messages.adopt(draft.build, &channel, &ts).await?;
                sent(job, draft, &posted).await?;
                return Ok(Some(Outcome::Later(Duration::ZERO, None)));
            }
            Err(SlackError::Refused(word)) if is_one_of(&word, GONE) => {
                messages.forget_stray(draft.build, &channel, &ts).await?;
            }
            Err(e) => return job.trouble(UPDATE, e).await.map(Some),
        }
    }
    Ok(None)
}

/// The draft as text, when it is the layout that Slack refused: people are told the facts in any case, and `doctor`
/// tells of it.
fn layout_refused(draft: &Draft, error: &SlackError) -> Option<Draft> {
    let SlackError::Refused(word) = error else { return None };
    if draft.plain.is_some() || !is_one_of(word, LAYOUT) {
        return None;
    }
    tracing::error!(
        build.id = %draft.build, slack.error = %word,
        "Slack refuses a message's layout; it gets the facts as text (a fault of coolops)"
    );
    Some(draft.plainly(word))
}

/// Notes what Slack took; `false` when the job is somebody else's by now.
async fn sent(job: SlackJob<'_>, draft: &Draft, posted: &Posted) -> Result<bool, sqlx::Error> {
    let Form { bytes, digest, .. } = &draft.form;
    let plain = draft.plain.as_deref();
    let payload = Payload { bytes, stamp: draft.stamp(digest, plain.is_some()), plain };
    let noted =
        job.app.store.messages().sent(job.claim, draft.build, place(posted), Some(payload), draft.doubts).await?;
    if !noted {
        // We froze for longer than the lease. What we said may have landed on top of something newer; what we posted
        // may be the second one. Whoever syncs the build next sees to it, so it is noted before that is wanted.
        job.app.store.messages().note_stray(draft.build, &posted.channel, &posted.ts).await?;
        job.app.store.messages().doubted(draft.build).await?;
        job.app.store.jobs().want(Task::SyncMessage(draft.build)).await?;
    }
    Ok(noted)
}

fn place(posted: &Posted) -> PostedAt<'_> {
    PostedAt { channel: &posted.channel, ts: &posted.ts }
}

/// Records where the message is, which was posted so often before. Losing the race to another record of it is fine: the fact is there.
async fn record_posted(app: &App, build: BuildId, before: usize, posted: &Posted) -> anyhow::Result<()> {
    let event = Event::from(MessagePosted { build_id: build, channel: posted.channel.clone(), ts: posted.ts.clone() });
    let id = EventId::following(message_stream(build), &posted.ts);
    let version = i32::try_from(before).unwrap_or(i32::MAX);
    let mut append = Append::default();
    append.event(id, &event, &Actor::System, version);
    match app.store.append(append).await {
        Ok(_) | Err(AppendError::Conflict) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
