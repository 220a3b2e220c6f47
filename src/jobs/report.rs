//! Tells people beside a build's message: directly, and in the thread under it.
//!
//! Level-triggered: what is to be told is read from the log, and what was told from the rows. **Invariant:** each once,
//! whatever crashes: before a second post it is looked for by its metadata, and before the first one where another history of
//! the log may have told it.

use std::time::Duration;

use uuid::Uuid;

use super::last_words::LastWords;
use super::slack_calls::{HISTORY, Lost, POSTS, REMOVED, SlackJob, find, is_one_of};
use super::{Outcome, edit_report};
use crate::app::posts_into;
use crate::domain::deployment::{Person, State};
use crate::domain::event::{DeploymentEvent, Event};
use crate::domain::ids::{BuildId, DeploymentId, ReportId};
use crate::domain::somebody;
use crate::failpoint;
use crate::projections::build_card::BuildCard;
use crate::projections::reports::{self, Fact, Report, To};
use crate::slack::client::{SlackError, TOO_MUCH, Thread};
use crate::slack::render::{self, Metadata, Payload};
use crate::slack::report::{self, LINES};
use crate::store::checkpoints::Parting;
use crate::store::messages::{MessageState, PostedAt};
use crate::store::reports::{ReportState, SentReport, Stray};

/// Chunks of a journal that are searched for the last lines.
const CHUNKS: i32 = 4;
const OPEN: &str = "slack:conversations.open";
/// Slack's words for what an operator will mend: until then nothing is lost.
const FOR_NOW: &[&str] = &["missing_scope", "not_in_channel", "is_archived", "restricted_action"];

/// Somebody is told directly of what happened so long ago at most.
const NEWS_FOR: chrono::Duration = chrono::Duration::days(1);
/// What is noted of what was not told in that time.
pub const TOO_LATE: &str = "too_late";
/// Time between two tries of what the app is not allowed to do.
const NOT_ALLOWED_RETRY: Duration = Duration::from_mins(10);

/// What a report is sent as, and where to.
struct Draft<'a> {
    id: ReportId,
    about: Uuid,
    to: &'a To,
    payload: Payload,
    /// The channel of the direct messages, or of the build's message.
    channel: String,
    /// The build's message, and whether the channel sees the report too.
    thread: Option<(String, bool)>,
}

/// Does the job for a deployment.
///
/// # Errors
/// When the database does not answer.
pub async fn perform(job: SlackJob<'_>, deployment: DeploymentId) -> anyhow::Result<Outcome> {
    // Before the log: what is erased after it was read is not renewed yet.
    let to_renew = job.app.store.reports().to_renew(deployment.0).await?;
    let log = job.app.store.log();
    let own = log.stream(deployment.0).await?;
    let Some(Event::Deployment(DeploymentEvent::Requested(requested))) = own.first().map(|e| &e.event) else {
        return Ok(Outcome::Done);
    };
    let build = requested.of.build_id;
    let Some(card) = BuildCard::fold(&log.build(build).await?) else { return Ok(Outcome::Done) };
    let locks = job.app.locks_on(requested.of.project_id, requested.of.environment_id).await?;
    let owed = reports::of_deployment(&own, &locks);
    let aside = match edit_report::renew(job, to_renew, Some(&card), || reports::ever_of_deployment(&own)).await? {
        Step::Wait(wait) => return Ok(wait),
        Step::Aside(outcome) => outcome,
        Step::Over => Outcome::Done,
    };
    if let Step::Wait(wait) = settle(job, deployment, build, &owed).await? {
        return Ok(wait);
    }
    match tell(job, deployment.0, &owed, Some((build, &card))).await? {
        Outcome::Done => Ok(aside.or_sooner(edit_report::delete_stray(job, deployment.0).await?)),
        outcome => Ok(aside.or_sooner(outcome)),
    }
}

/// What became of one report.
pub(super) enum Step {
    /// It says what it is to say, or never will.
    Over,
    /// The job has to wait; or to come back, with a turn of its own for the next one.
    Wait(Outcome),
    /// What it needs is not there yet, or in its channel's way alone: the others don't wait for that.
    Aside(Outcome),
}

/// Tells the first that was not told yet; the job comes back for the others, so that each has a turn of its own.
pub(super) async fn tell(
    job: SlackJob<'_>,
    about: Uuid,
    owed: &[Report],
    of: Option<(BuildId, &BuildCard)>,
) -> anyhow::Result<Outcome> {
    let mut aside = Outcome::Done;
    for report in owed {
        let told = job.app.store.reports().get(report.id).await?;
        if matches!(told, Some(ReportState::Over | ReportState::Sent { .. })) {
            continue;
        }
        match tell_one(job, about, report, of, told).await? {
            Step::Over => return Ok(Outcome::Later(Duration::ZERO, None)),
            Step::Wait(outcome) => return Ok(outcome),
            Step::Aside(outcome) => aside = aside.or_sooner(outcome),
        }
    }
    Ok(aside)
}

/// What it needs is not there yet.
fn not_yet(job: SlackJob<'_>, why: &str) -> Step {
    Step::Aside(Outcome::retry(job.claim.attempts, why))
}

async fn tell_one(
    job: SlackJob<'_>,
    about: Uuid,
    report: &Report,
    of: Option<(BuildId, &BuildCard)>,
    told: Option<ReportState>,
) -> anyhow::Result<Step> {
    let reports = job.app.store.reports();
    let not_told =
        async |why: Option<&str>| reports.not_told(job.claim, report.id, about, why).await.map(|()| Step::Over);
    if let To::Person(person) = &report.to
        && somebody::nobody(&person.user).is_some()
    {
        return Ok(not_told(None).await?);
    }
    // What is on its way was wanted then.
    if let (To::Person(person), None) = (&report.to, &told)
        && !job.app.wants(person).await?.takes(report.went_wrong)
    {
        return Ok(not_told(None).await?);
    }
    let message = match (of, &report.to) {
        (Some((build, _)), To::Thread) => job.app.store.messages().get(build).await?,
        _ => None,
    };
    let (there, thread) = match (&report.to, message) {
        (To::Person(_), _) => (None, None),
        (To::Channel(channel), _) => (Some(channel.clone()), None),
        (To::Thread, Some(sent)) => match (sent.state, sent.ts) {
            (MessageState::Live, Some(ts)) => (Some(sent.channel), Some(ts)),
            (MessageState::Gone, _) => return Ok(not_told(Some("message_not_found")).await?),
            _ => return Ok(not_yet(job, "the message of its build can't be posted to")),
        },
        (To::Thread, None) => return Ok(not_yet(job, "the message of its build is not there yet")),
    };
    if let Some(ReportState::Posting { channel, attempted_at, lookups }) = &told {
        let (attempted_at, lookups) = (*attempted_at, *lookups);
        let parting = job.app.store.checkpoints().parting().await?;
        let lost = Lost { channel, thread: thread.as_deref(), attempted_at, lookups, parting };
        if let Some(step) = look_for(job, report.id, about, lost).await? {
            return Ok(step);
        }
    }
    if let (To::Person(person), None) = (&report.to, &told) {
        // What could not be told for so long is nobody's news any more.
        if matches!(report.fact, Fact::Deployment(_)) && report.since < job.app.store.clock().now() - NEWS_FOR {
            return Ok(not_told(Some(TOO_LATE)).await?);
        }
        let is_known = job.app.store.reports().channel_of(person).await?.is_some();
        let closed = job.app.store.paces().closed_for(OPEN).await?;
        if !is_known && !closed.is_zero() {
            return Ok(Step::Aside(Outcome::Later(closed, None)));
        }
    }
    // First a turn in the channel, then one in the workspace; people don't get so many.
    if let Some(channel) = &there
        && job.claim.turn.as_deref() != Some(POSTS)
        && let Some(wait) = job.turn(&posts_into(channel), job.paces.post).await?
    {
        return Ok(Step::Wait(wait));
    }
    if let Some(wait) = job.turn(POSTS, job.paces.posts).await? {
        return Ok(Step::Wait(wait));
    }
    let channel = match (there, &report.to) {
        (Some(channel), _) => channel,
        (None, To::Person(person)) => match channel_of(job, person).await? {
            Ok(channel) => channel,
            Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) && !is_one_of(&word, FOR_NOW) => {
                return Ok(not_told(Some(&word)).await?);
            }
            Err(SlackError::Refused(word)) if is_one_of(&word, FOR_NOW) => {
                // Nobody can be asked for until an operator has seen to it; the others don't wait for that.
                job.app.store.paces().block(OPEN, NOT_ALLOWED_RETRY).await?;
                return Ok(Step::Aside(Outcome::Later(NOT_ALLOWED_RETRY, Some(word))));
            }
            Err(e) => return Ok(Step::Wait(job.trouble(OPEN, e).await?)),
        },
        (None, To::Thread | To::Channel(_)) => return Ok(Step::Over),
    };
    if told.is_none()
        && let Some(parting) = may_be_told(job, about, report).await?
    {
        let person = if let To::Person(person) = &report.to { Some(person) } else { None };
        reports.may_be_told(job.claim, report.id, about, person, (&channel, parting.decided)).await?;
        return Ok(Step::Wait(Outcome::Later(Duration::ZERO, None)));
    }
    let Some(payload) = payload(job, report, of.map(|(_, card)| card)).await? else {
        return Ok(not_yet(job, "the master key of its links is not set"));
    };
    let thread = match thread {
        Some(ts) => Some((ts, broadcasts(job, report).await?)),
        None => None,
    };
    post(job, Draft { id: report.id, about, to: &report.to, payload, channel, thread }).await
}

/// Where this log parts from another history that may have told the same: what was so then, or is said of a deployment that
/// both have, where the same step is the same event.
async fn may_be_told(job: SlackJob<'_>, about: Uuid, report: &Report) -> Result<Option<Parting>, sqlx::Error> {
    match report.fact {
        Fact::Deployment(_) => job.app.parting_of(about).await,
        Fact::Lock(_) | Fact::LockTaken { .. } | Fact::LockForgotten { .. } => {
            let parting = job.app.store.checkpoints().parting().await?;
            Ok(parting.filter(|parting| report.since <= parting.decided))
        }
    }
}

/// Looks for a report that was posted without an answer; `None` when it is not there.
async fn look_for(job: SlackJob<'_>, id: ReportId, about: Uuid, lost: Lost<'_>) -> anyhow::Result<Option<Step>> {
    let reports = job.app.store.reports();
    if let Some(wait) = job.turn(HISTORY, job.paces.history).await? {
        return Ok(Some(Step::Wait(wait)));
    }
    let (channel, thread) = (lost.channel, lost.thread);
    let is_of_other_history = lost.is_of_other_history();
    let is_last = lost.lookups >= 1 || is_of_other_history;
    Ok(match find(job.slack, lost, &Metadata::report(id)).await {
        Ok(Some(ts)) => {
            reports.sent(job.claim, id, PostedAt { channel, ts: &ts }, thread, None).await?;
            Some(Step::Over)
        }
        Ok(None) if is_last => None,
        // Where nobody can look it is posted: nothing says that it was.
        Err(SlackError::Refused(word)) if is_of_other_history && !is_one_of(&word, REMOVED) => None,
        Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) && word != TOO_MUCH => {
            reports.not_told(job.claim, id, about, Some(&word)).await?;
            Some(Step::Over)
        }
        Ok(None) | Err(SlackError::Refused(_)) => {
            reports.not_found(job.claim, id).await?;
            let problem = "a post without an answer; the report is not there yet".to_owned();
            Some(Step::Wait(Outcome::Later(job.paces.look_again, Some(problem))))
        }
        Err(e) => Some(Step::Wait(job.trouble(HISTORY, e).await?)),
    })
}

/// What was posted without an answer and is not so any more is not told again; whether it was is found out.
async fn settle(job: SlackJob<'_>, deployment: DeploymentId, build: BuildId, owed: &[Report]) -> anyhow::Result<Step> {
    let reports = job.app.store.reports();
    for id in reports.on_their_way(deployment.0).await?.into_iter().filter(|id| owed.iter().all(|of| of.id != *id)) {
        let Some(ReportState::Posting { channel, attempted_at, lookups }) = reports.get(id).await? else { continue };
        let message = job.app.store.messages().get(build).await?.filter(|message| message.channel == channel);
        let thread = message.and_then(|message| message.ts);
        let parting = job.app.store.checkpoints().parting().await?;
        let lost = Lost { channel: &channel, thread: thread.as_deref(), attempted_at, lookups, parting };
        match look_for(job, id, deployment.0, lost).await? {
            Some(Step::Over) => return Ok(Step::Wait(Outcome::Later(Duration::ZERO, None))),
            Some(step) => return Ok(step),
            None => reports.not_told(job.claim, id, deployment.0, None).await?,
        }
    }
    Ok(Step::Over)
}

/// The channel of the direct messages with a person.
async fn channel_of(job: SlackJob<'_>, person: &Person) -> Result<Result<String, SlackError>, sqlx::Error> {
    Ok(match job.app.store.reports().channel_of(person).await? {
        Some(channel) => Ok(channel),
        None => job.slack.direct(&person.user).await,
    })
}

/// What is sent. None when its links can't be made because their master key is not set, which the build's message says.
pub(super) async fn payload(
    job: SlackJob<'_>,
    report: &Report,
    card: Option<&BuildCard>,
) -> anyhow::Result<Option<Payload>> {
    let links = card.and_then(|card| job.app.keys.links(&card.link_key));
    let lines = match (&report.fact, &report.to) {
        (Fact::Deployment(line), To::Thread) if report.went_wrong => {
            last_lines(job, line.deployment.of.deployment_id).await?
        }
        _ => Vec::new(),
    };
    Ok(report::render(report, card.zip(links.as_ref()), &lines))
}

/// The last lines that a deployment printed, masked as they are kept.
async fn last_lines(job: SlackJob<'_>, id: DeploymentId) -> Result<Vec<String>, sqlx::Error> {
    let journals = job.app.store.journals();
    let from = journals.last_line(id).await? - i64::try_from(LINES).unwrap_or(i64::MAX) + 1;
    let newest = journals.chunk_of_line(id, i64::MAX).await?;
    // Lines may be long: what stands further back is in the log.
    let first = journals.chunk_of_line(id, from.max(1)).await?.max(newest - (CHUNKS - 1));
    let mut last = LastWords::new(LINES);
    for number in first..=newest {
        for chunk in journals.chunks_from(id, number, 1).await? {
            last.push(false, &chunk.body);
        }
    }
    Ok(last.lines())
}

/// Whether the channel sees a report of a failure too: as the environment is set now.
async fn broadcasts(job: SlackJob<'_>, report: &Report) -> anyhow::Result<bool> {
    let Fact::Deployment(line) = &report.fact else { return Ok(false) };
    if !report.went_wrong || !matches!(line.deployment.state(), State::Failed | State::TimedOut | State::Unknown) {
        return Ok(false);
    }
    let project = job.app.project_anew(line.deployment.of.project_id).await?;
    Ok(project.is_some_and(|p| p.value.environment(line.deployment.of.environment_id).is_some_and(|e| e.broadcasting)))
}

async fn post(job: SlackJob<'_>, draft: Draft<'_>) -> anyhow::Result<Step> {
    let Draft { id, about, to, payload, channel, thread } = draft;
    let reports = job.app.store.reports();
    let person = if let To::Person(person) = to { Some(person) } else { None };
    let was_known = match person {
        Some(person) => reports.channel_of(person).await?.is_some(),
        None => false,
    };
    let Some(reasons) = reports.attempted(job.claim, id, about, person, &channel).await? else {
        return Ok(Step::Wait(Outcome::Lost));
    };
    failpoint!("after_report_attempted");
    let of = thread.as_ref().map(|(ts, _)| ts.as_str());
    let thread = Thread { of, broadcast: thread.as_ref().is_some_and(|(_, broadcast)| *broadcast) };
    let answer = job.slack.post_in(&channel, &payload, thread).await;
    failpoint!("after_report");
    match answer {
        Ok(posted) => {
            let place = PostedAt { channel: &posted.channel, ts: &posted.ts };
            let digest = render::digest(&payload.bytes());
            if reports
                .sent(job.claim, id, place, of, Some(SentReport { text: &payload.text, digest: &digest, reasons }))
                .await?
            {
                return Ok(Step::Over);
            }
            // We froze for longer than the lease, and somebody else may have posted the same meanwhile.
            let stray = Stray { id, channel: posted.channel, ts: posted.ts };
            reports.note_stray(about, &stray).await?;
            job.app.store.jobs().want(job.claim.task).await?;
            Ok(Step::Wait(Outcome::Lost))
        }
        Err(e @ SlackError::Unclear(_)) => Ok(Step::Wait(job.trouble(POSTS, e).await?)),
        // Another app, or another workspace, by now: the next look opens another channel.
        Err(SlackError::Refused(word)) if word == "channel_not_found" && was_known => {
            if let Some(person) = person {
                reports.forget_channel_of(person).await?;
            }
            reports.not_posted(job.claim, id).await?;
            Ok(not_yet(job, &word))
        }
        Err(SlackError::Refused(word)) if !is_one_of(&word, REMOVED) && !is_one_of(&word, FOR_NOW) => {
            tracing::warn!(slack.error = %word, "Slack refuses a report; coolops doctor tells how many");
            reports.not_told(job.claim, id, about, Some(&word)).await?;
            Ok(Step::Over)
        }
        Err(e) => {
            reports.not_posted(job.claim, id).await?;
            let is_of_channel = matches!(&e, SlackError::Refused(word) if is_one_of(word, FOR_NOW));
            let outcome = job.trouble(POSTS, e).await?;
            Ok(if is_of_channel { Step::Aside(outcome) } else { Step::Wait(outcome) })
        }
    }
}
