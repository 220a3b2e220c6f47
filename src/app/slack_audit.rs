//! What Slack shows of ours, held against what it was sent; and how it is made right.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::App;
use crate::domain::event::Event;
use crate::domain::ids::{BuildId, LockableId, ReportId};
use crate::domain::react::Task;
use crate::projections::build_card::BuildCard;
use crate::projections::lock_card::{self, LockCard};
use crate::projections::reports;
use crate::slack::client::{Slack, SlackError, TOO_MUCH};
use crate::slack::shown::{Of, Said, Shown};
use crate::slack::{render, report};
use crate::store::limits::Pace;
use crate::store::log::ReadError;
use crate::store::reports::{ReportState, Stray};

/// Pages of a channel's history that are looked through, of 200 messages each.
const PAGES_MAX: usize = 50;

/// How often another turn is waited for where Slack closed the scope meanwhile; after that it is asked, and says why.
const CLOSED_LOOKS: usize = 3;
/// Events after a lock that are searched for what its message said.
const LOCK_CHANGES_MAX: usize = 20;

/// In what way a message is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrong {
    /// Slack does not show it any more, and it shows what is older or as new.
    Missing,
    /// It is a second one.
    Doubled,
    /// It says what the log does not bear out.
    Edited,
    /// It says what was so before.
    Stale,
    /// It is marked as ours, and another app posted it, as that of another installation; or what it is about is not known here: of a
    /// history that was given up.
    NotOurs,
}

impl Wrong {
    /// The word for it in counts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Doubled => "doubled",
            Self::Edited => "edited",
            Self::Stale => "stale",
            Self::NotOurs => "not_ours",
        }
    }
}

/// A message that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Found {
    /// In what way.
    pub wrong: Wrong,
    /// What it is.
    #[serde(flatten)]
    pub of: Of,
    /// The channel.
    pub channel: String,
    /// Slack's name for it there.
    pub ts: String,
    /// What it says, where it is there.
    #[serde(skip)]
    pub said: String,
    /// Our app posted it, as far as that is known.
    #[serde(skip)]
    pub is_by_us: bool,
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

/// A message that a channel should show.
#[derive(PartialEq, Eq, Hash)]
struct Expected {
    of: Of,
    thread: Option<String>,
    ts: String,
    /// What it was sent last, where that is known; of a report its text.
    sent: Option<Said>,
}

/// Reads a channel, in turn with everybody else who reads.
struct Reader<'a> {
    app: &'a App,
    slack: &'a Slack,
    turns: (&'a str, Pace),
    channel: &'a str,
    since: DateTime<Utc>,
}

impl Reader<'_> {
    /// What the channel shows, or a thread there; none where there is no such thread any more.
    async fn shown(&self, thread: Option<&str>) -> Result<Option<Vec<Shown>>, NoAudit> {
        let refused = |why| NoAudit::Slack { channel: self.channel.to_owned(), why };
        let paces = self.app.store.paces();
        let (mut shown, mut from) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let (scope, pace) = self.turns;
            for _ in 0..CLOSED_LOOKS {
                tokio::time::sleep(paces.reserve_turn(scope, pace).await?).await;
                // Slack may have closed it to somebody else meanwhile.
                if paces.closed_for(scope).await?.is_zero() {
                    break;
                }
            }
            let (page, next) = match self.slack.shown(self.channel, thread, self.since, &from).await {
                Err(SlackError::Refused(word)) if thread.is_some() && word.starts_with("thread_not_found") => {
                    return Ok(None);
                }
                Err(why) => {
                    if let SlackError::RateLimited(wait) = &why {
                        paces.block(scope, *wait).await?;
                    }
                    return Err(refused(why));
                }
                Ok(page) => page,
            };
            shown.extend(page);
            match next {
                Some(next) => from = next,
                None => return Ok(Some(shown)),
            }
        }
        Err(refused(SlackError::Refused(TOO_MUCH.to_owned())))
    }
}

impl App {
    /// Reads back what Slack shows in a channel since a time, and in the threads there where something was told since, and
    /// tells what is not as it was sent. Each page waits for a turn in a scope. What is being posted, edited or deleted is
    /// not judged.
    ///
    /// # Errors
    /// See [`NoAudit`].
    pub async fn audit_slack(
        &self,
        slack: &Slack,
        channel: &str,
        since: DateTime<Utc>,
        turns: (&str, Pace),
    ) -> Result<Vec<Found>, NoAudit> {
        let mut found = self.audit_channel(&Reader { app: self, slack, turns, channel, since }).await?;
        found.sort_by(|one, other| one.ts.cmp(&other.ts));
        let mut at_rest = Vec::new();
        for one in found {
            let is_idle = match self.task_of(one.of).await? {
                Some((_, task)) => self.store.jobs().is_idle(task).await?,
                None => true,
            };
            at_rest.extend(is_idle.then_some(one));
        }
        Ok(at_rest)
    }

    /// The channels of all projects, and those where something was posted or edited since a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn channels_since(&self, since: DateTime<Utc>) -> Result<BTreeSet<String>, sqlx::Error> {
        let mut channels: BTreeSet<String> = self.store.directory().channels().await?.into_iter().collect();
        channels.extend(self.store.messages().channels_since(since).await?);
        Ok(channels)
    }

    async fn audit_channel(&self, reader: &Reader<'_>) -> Result<Vec<Found>, NoAudit> {
        let (channel, since) = (reader.channel, reader.since);
        let before = self.expected(channel, since).await?;
        let mut shown = reader.shown(None).await?.unwrap_or_default();
        let mut unreadable = HashSet::new();
        let threads: BTreeSet<&String> = before.iter().filter_map(|one| one.thread.as_ref()).collect();
        for thread in threads {
            match reader.shown(Some(thread)).await? {
                Some(replies) => shown.extend(replies),
                None => drop(unreadable.insert(thread)),
            }
        }
        let oldest_shown = shown.iter().map(|shown| shown.ts.clone()).min();
        // A thread shows its first message again; the channel shows some replies too.
        let mut seen = HashSet::new();
        shown.retain(|shown| seen.insert(shown.ts.clone()));
        let mut expected = self.expected(channel, since).await?;
        let before: HashSet<&Expected> = before.iter().collect();
        expected.retain(|now| {
            before.contains(now) && now.thread.as_ref().is_none_or(|thread| !unreadable.contains(thread))
        });
        let tell = |wrong, of, ts: &str, said: &str, is_by_us| {
            let (channel, ts, said) = (channel.to_owned(), ts.to_owned(), said.to_owned());
            Found { wrong, of, channel, ts, said, is_by_us }
        };
        // Slack lets go of what is older than a channel keeps, which is a day or more: of everything from the oldest on.
        let a_day_ago = format!("{}.000000", (self.store.clock().now() - TimeDelta::days(1)).timestamp());
        let may_have_expired =
            |ts: &String| *ts < a_day_ago && oldest_shown.as_ref().is_none_or(|oldest_shown| ts < oldest_shown);
        let missing = expected.iter().filter(|one| !seen.contains(&one.ts) && !may_have_expired(&one.ts));
        let mut found: Vec<Found> = missing.map(|one| tell(Wrong::Missing, one.of, &one.ts, "", true)).collect();
        let by_ts: HashMap<&str, &Expected> = expected.iter().map(|one| (one.ts.as_str(), one)).collect();
        for shown in &shown {
            let wrong = match (by_ts.get(shown.ts.as_str()).copied(), shown.of) {
                // Its mark was taken away.
                (Some(own), of) if of != Some(own.of) => Some((own.of, Wrong::Edited)),
                (Some(Expected { sent: Some(sent), of, .. }), _) if !shown.says(sent) => {
                    Some((*of, self.how_it_differs(*of, channel, shown).await?))
                }
                (None, Some(of)) => self.what_else_it_is(of, channel, shown).await?.map(|wrong| (of, wrong)),
                (Some(_), _) | (None, None) => None,
            };
            found.extend(wrong.map(|(of, wrong)| tell(wrong, of, &shown.ts, &shown.said.text, shown.is_by_us)));
        }
        Ok(found)
    }

    async fn expected(&self, channel: &str, since: DateTime<Utc>) -> Result<Vec<Expected>, sqlx::Error> {
        let messages = self.store.messages().live_since(channel, since).await?.into_iter();
        let messages = messages.map(|m| Expected {
            of: Of::Build(m.build),
            thread: None,
            ts: m.ts,
            sent: m.payload.and_then(|payload| Said::of_bytes(&payload)),
        });
        let reports = self.store.reports().live_since(channel, since).await?.into_iter();
        let reports = reports.map(|r| Expected {
            of: Of::Report(r.id),
            thread: r.thread,
            ts: r.ts,
            sent: Some(Said::text(r.text)),
        });
        Ok(messages.chain(reports).collect())
    }

    /// What is wrong with one that says something else than it was sent last.
    async fn how_it_differs(&self, of: Of, channel: &str, shown: &Shown) -> Result<Wrong, sqlx::Error> {
        let said = match of {
            Of::Build(build) => self.ever_said(build).await,
            Of::Report(report) => match self.store.reports().subject(report).await? {
                Some((_, Task::ReportLock(lockable))) => self.ever_said_of_lock(report, lockable, channel).await,
                // A reply says the same for as long as it is there.
                _ => Ok(Vec::new()),
            },
        };
        match said {
            Ok(said) if said.iter().any(|said| shown.says(said)) => Ok(Wrong::Stale),
            Ok(_) => Ok(Wrong::Edited),
            Err(ReadError::Database(e)) => Err(e),
            // It can't be told what it said before.
            Err(_) => Ok(Wrong::Stale),
        }
    }

    /// What a build's message said after each of its events.
    async fn ever_said(&self, build: BuildId) -> Result<Vec<Said>, ReadError> {
        let (mut card, mut said) = (None, Vec::new());
        for event in self.store.log().build(build).await? {
            BuildCard::apply(&mut card, &event.event, event.recorded_at);
            let Some(card) = &card else { continue };
            let Some(links) = self.keys.links(&card.link_key) else { continue };
            said.extend([Said::of(&render::render(card, &links)), Said::of(&render::render_plainly(card, &links))]);
        }
        Ok(said)
    }

    /// What the message of a lock said after each event of what it lies on.
    async fn ever_said_of_lock(
        &self,
        id: ReportId,
        lockable: LockableId,
        channel: &str,
    ) -> Result<Vec<Said>, ReadError> {
        let Some(about) = self.told_of_locks(lockable).await? else { return Ok(Vec::new()) };
        let events = self.store.log().stream(lockable.0).await?;
        let what = (lockable, about.what.as_str());
        let is_it = |card: &LockCard| reports::of_lock(card, channel).id == id;
        let Some(card) = lock_card::of_stream(&events, what).into_iter().find(is_it) else { return Ok(Vec::new()) };
        let first = events.iter().position(|event| event.event_id == card.event).unwrap_or(events.len());
        let last = events.len().min(first + LOCK_CHANGES_MAX);
        let moments = (first + 1..=last).map(|n| lock_card::of_stream(&events[..n], what));
        let reports = moments.flatten().map(|card| reports::of_lock(&card, channel)).filter(|report| report.id == id);
        Ok(reports
            .filter_map(|report| report::render(&report, None, &[]))
            .map(|payload| Said::text(payload.text))
            .collect())
    }

    /// What is wrong with one that should not be where it is.
    async fn what_else_it_is(&self, of: Of, channel: &str, shown: &Shown) -> Result<Option<Wrong>, sqlx::Error> {
        let (is_known, there) = match of {
            Of::Build(build) => {
                let there = self.store.messages().get(build).await?.and_then(|own| Some((own.channel, own.ts?)));
                (self.store.directory().build(build).await?.is_some(), there)
            }
            Of::Report(report) => match self.store.reports().get(report).await? {
                Some(ReportState::Sent { channel, ts, .. }) => (true, Some((channel, ts))),
                told => (told.is_some(), None),
            },
        };
        let is_it = |(at, ts): &(String, String)| at == channel && *ts == shown.ts;
        Ok(match there {
            _ if !is_known || !shown.is_by_us => Some(Wrong::NotOurs),
            Some(there) if !is_it(&there) => Some(Wrong::Doubled),
            _ => None,
        })
    }

    /// What a message is about, and who sees to it; none when it is not known here.
    async fn task_of(&self, of: Of) -> Result<Option<(Uuid, Task)>, sqlx::Error> {
        match of {
            Of::Build(build) => Ok(Some((build.0, Task::SyncMessage(build)))),
            Of::Report(report) => self.store.reports().subject(report).await,
        }
    }

    /// Whether a build's message was posted a second time, which is done once.
    async fn was_posted_again(&self, build: BuildId) -> Result<bool, sqlx::Error> {
        match self.store.log().build(build).await {
            Ok(events) => Ok(events.iter().filter(|r| matches!(r.event, Event::MessagePosted(_))).count() > 1),
            Err(ReadError::Database(e)) => Err(e),
            Err(_) => Ok(false),
        }
    }

    /// Has what was found made right from the log, by whoever syncs messages: an edit, a new post of a build's message
    /// (once in its life), the deletion of a second one. A reply or a lock's message that somebody deleted is not told again:
    /// it may have been deleted for what it shows. What is not ours, or was made right `but` is there again, is left alone. Tells how
    /// many are on their way.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn repair_slack(&self, found: &[Found], but: &HashSet<Found>) -> Result<usize, sqlx::Error> {
        let (messages, reports) = (self.store.messages(), self.store.reports());
        // Of which the second one is all that is left.
        let mut lost: HashSet<Of> = found.iter().filter(|f| f.wrong == Wrong::Missing).map(|f| f.of).collect();
        // That one takes its place before anybody sees to what is missing.
        let (doubled, others): (Vec<&Found>, Vec<&Found>) =
            found.iter().filter(|found| !but.contains(found)).partition(|found| found.wrong == Wrong::Doubled);
        let mut wanted = 0;
        for Found { wrong, of, channel, ts, .. } in doubled.into_iter().chain(others) {
            let Some((about, task)) = self.task_of(*of).await?.filter(|_| *wrong != Wrong::NotOurs) else { continue };
            match (of, wrong) {
                (Of::Build(build), Wrong::Doubled) if lost.remove(of) => messages.adopt(*build, channel, ts).await?,
                (Of::Build(build), Wrong::Doubled) => {
                    messages.note_stray(*build, channel, ts).await?;
                    messages.doubted(*build).await?;
                }
                // It is there, and may stay.
                (Of::Report(_), Wrong::Doubled) if lost.contains(of) => continue,
                (Of::Report(id), Wrong::Doubled) => {
                    reports.note_stray(about, &Stray { id: *id, channel: channel.clone(), ts: ts.clone() }).await?;
                }
                // Another one has taken its place.
                (Of::Build(_), Wrong::Missing) if !lost.contains(of) => continue,
                (Of::Build(build), Wrong::Missing) => messages.missed(*build).await?,
                (Of::Build(build), _) => messages.doubted(*build).await?,
                (Of::Report(id), _) => reports.doubted(*id).await?,
            }
            self.store.jobs().want(task).await?;
            let stays_away = match (of, wrong) {
                (Of::Report(_), Wrong::Missing) => true,
                (Of::Build(build), Wrong::Missing) => self.was_posted_again(*build).await?,
                _ => false,
            };
            wanted += usize::from(!stays_away);
        }
        Ok(wanted)
    }
}
